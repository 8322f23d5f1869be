import { closeSync, openSync, writeFileSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { GranuleError } from "../../core/errors.js";
import { type Granule, levelShift } from "../../model/granule.js";
import { findManifest, TruthFolder, traceName } from "../../replay/files.js";
import type { ReplayPolicy } from "../../replay/policy.js";
import { type ReplayOptions, replayTrace } from "../../replay/replay.js";
import { TraceStory } from "../../replay/story.js";
import { ReplayTimeline } from "../../replay/timeline.js";
import { printableJson } from "../../report/printable.js";
import { ptdumpLines } from "../../report/ptdump.js";
import { hadNoSlots, passed, type ReplayReport } from "../../report/replay.js";
import { HOST_ONLY, NO_SLOTS, reportText } from "../../report/replay-text.js";
import { plural } from "../../report/text.js";
import { CasemateWriter, isAccessFormat, type Manifest, sniff, TraceError } from "../../trace/node.js";
import type { SlotRequest } from "../../vm/machine.js";
import { accessOptions, refuseAccessOptions, replayAccesses } from "../accesses.js";
import { BACKINGS, backingOf } from "../backing.js";
import {
  booleanOption,
  type Command,
  type CommandArgs,
  type CommandIo,
  choiceOption,
  Exit,
  InputError,
  Interrupted,
  integerOption,
  oneOperand,
  stringOption,
  UsageError,
} from "../command.js";
import { HTML_OPTION, htmlTarget, writeHtml } from "../html.js";
import { type CountedInput, countedInput, inputName, refuseOverwrite, unreadable } from "../input.js";
import { OUT_OPTION, outKind, timelineTo } from "../out.js";
import { TABLES } from "../tables/columns.js";
import { ReplayTables, tablesOf } from "../tables/replay-tables.js";
import { settingsOf } from "../workload.js";

const SLOT = /^(0x[0-9a-f]+|\d+):(0x[0-9a-f]+|\d+):(0x[0-9a-f]+|\d+)(?::(0x[0-9a-f]+|\d+))?$/i;
const MAX_LOSS_NOTES = 4;

/** Slots of `gpa:size:hva[:flags],...`; UsageError for anything else. */
function parseSlots(text: string | undefined): SlotRequest[] {
  if (text === undefined) return [];
  return text.split(",").map((part, slot) => {
    const [gpa, size, hva, flags] = (SLOT.exec(part)?.slice(1) ?? []).map((digits) => Number(digits ?? 0)) as number[];
    const numbers = [gpa, size, hva, flags];
    if (!numbers.every((n) => Number.isSafeInteger(n))) {
      throw new UsageError(`--slots is gpa:size:hva[:flags],... with numbers such as 0x40000000, not ${part}`);
    }
    return { slot, gpa: gpa as number, size: size as number, hva: hva as number, flags: flags as number };
  });
}

function parseBacking(args: CommandArgs): ReplayOptions["backing"] {
  const backing = choiceOption(args, "backing", BACKINGS);
  return backing === undefined ? undefined : backingOf(backing);
}

function parseGeometry(args: CommandArgs): NonNullable<ReplayOptions["geometry"]> {
  const granule = choiceOption(args, "granule", ["4096", "16384", "65536", "4k", "16k", "64k"] as const);
  const sizes: Record<string, Granule> = { "4k": 4096, "16k": 16384, "64k": 65536 };
  const fwb = args.options.fwb;
  const lpa2 = booleanOption(args, "lpa2") || undefined;
  const bytes = granule === undefined ? undefined : ((sizes[granule] ?? Number(granule)) as Granule);
  const ipaBits = integerOption(args, "ipa-bits", 32, 52);
  if (lpa2 && bytes === 65536) throw new UsageError("--lpa2 is of 4k and 16k pages");
  if (ipaBits !== undefined && ipaBits > 48 && !lpa2 && bytes !== 65536)
    throw new UsageError("more than 48 IPA bits need --lpa2");
  return { granule: bytes, ipaBits, lpa2, fwb: typeof fwb === "boolean" ? fwb : undefined };
}

/** What --compare replays under: what the command line says, and for the rest what was recorded. */
function policyOf(args: CommandArgs, backing: ReplayOptions["backing"], granule: Granule | undefined): ReplayPolicy {
  for (const name of ["verify", "dump", "casemate"]) {
    if (stringOption(args, name) !== undefined)
      throw new UsageError(`--${name} is of the recording as it was: not with --compare`);
  }
  if (args.options.from === "ops") throw new UsageError("--compare asks what becomes of faults: not with --from ops");
  const { dirty, splitChunk } = settingsOf({ dirty: args.options.dirty, "split-chunk": args.options["split-chunk"] });
  if (dirty === "ring") throw new UsageError("--compare --dirty ring: a ring takes the same faults as wp");
  if (dirty === "hdbss") throw new UsageError("--compare --dirty hdbss: it takes the same faults as dbm");
  const block = 2 ** levelShift(granule ?? 4096, 2);
  return {
    granule,
    backing,
    dirty,
    splitChunk: splitChunk ?? (dirty === "eager" || dirty === "dbm" ? block : dirty && 0),
  };
}

/** An error of an input with the input's name before it. A file that cannot be opened or read names itself. */
function inputError(path: string, error: unknown): unknown {
  if (error instanceof TraceError || error instanceof GranuleError) {
    return new InputError(`${inputName(path)}: ${error.message.replace(/\s*\n\s*/g, " ")}`);
  }
  if (error instanceof Error && "code" in error && "syscall" in error) {
    return unreadable("path" in error ? String(error.path) : inputName(path), error);
  }
  return error;
}

async function manifestOf(args: CommandArgs, path: string): Promise<Manifest | undefined> {
  const named = stringOption(args, "manifest");
  return findManifest(path, named).catch((error: unknown) => {
    throw inputError(named ?? `${traceName(path)}.manifest.json`, error);
  });
}

function truthOf(folder: string): TruthFolder {
  let truth: TruthFolder;
  try {
    truth = new TruthFolder(folder);
  } catch (error) {
    throw unreadable(folder, error);
  }
  if (truth.size === 0) throw new InputError(`${folder}: the folder holds no raw tables (*.s2raw)`);
  return truth;
}

/** Collects the dump of the table that a replay is about. */
function dumper(manifest: Manifest | undefined): {
  text: () => string;
  onTable: NonNullable<ReplayOptions["onTable"]>;
} {
  let lines: string[] = [];
  const format = manifest?.numbering === "7.x" ? "7.x" : "6.12";
  return {
    text: () => `${lines.join("\n")}\n`,
    onTable: (table) => {
      lines = [...ptdumpLines(table, { format })];
    },
  };
}

/** A log that is written as it comes; each piece of a .gz is a member of its own. */
function logTo(path: string | undefined): { onJournal: ReplayOptions["onJournal"]; close: () => void } {
  if (path === undefined) return { onJournal: undefined, close: () => undefined };
  let file: number;
  try {
    file = openSync(path, "w");
  } catch (error) {
    throw unreadable(path, error);
  }
  const writer = new CasemateWriter();
  return {
    onJournal: (records) => {
      const lines = writer.write(records);
      if (lines.length === 0) return;
      const text = `${lines.join("\n")}\n`;
      writeFileSync(file, path.endsWith(".gz") ? gzipSync(text) : text);
    },
    close: () => closeSync(file),
  };
}

/** Says at once where events were lost; after a few places the report's count has to do. */
function lossNotes(io: CommandIo): NonNullable<ReplayOptions["onLost"]> {
  let places = 0;
  return ({ line, cpu, count: lost }) => {
    if (++places > MAX_LOSS_NOTES) return;
    const where = cpu < 0 ? "the recorder" : `CPU ${cpu}`;
    const many = lost === undefined ? "events, how many is not known" : plural(lost, "event");
    io.note(`granule: line ${line}: ${where} lost ${many}: a comparison after this place means little`);
  };
}

/** Refuses to write over the trace or its manifest, and to write two things to one file. */
async function refuseMixing(args: CommandArgs, path: string): Promise<void> {
  const [dump, log, out, manifest] = ["dump", "casemate", "out", "manifest"].map((name) => stringOption(args, name));
  if (args.json && dump === "-") throw new UsageError("--json and --dump - both write to standard output");
  if (dump !== undefined && dump === log) throw new UsageError(`--dump and --casemate both write to ${dump}`);
  if (out !== undefined && (out === dump || out === log)) throw new UsageError(`two options write to ${out}`);
  const inputs = manifest === undefined ? [path] : [path, manifest];
  for (const target of [dump, log, out]) {
    if (target !== undefined && target !== "-") await refuseOverwrite(target, inputs);
  }
}

/** The tables that `--out` asks for. */
async function replayTables(
  args: CommandArgs,
  path: string,
  from: "faults" | "ops",
): Promise<ReplayTables | undefined> {
  const out = stringOption(args, "out");
  const names = tablesOf(stringOption(args, "tables"));
  const isWanted = out !== undefined && outKind(out) === "tables";
  if (!isWanted && args.options.tables !== undefined)
    throw new UsageError("--tables goes with --out FILE.parquet, .csv or .ndjson");
  if (!isWanted) return undefined;
  const tables = await ReplayTables.create(out, names, from);
  for (const target of tables.paths) await refuseOverwrite(target, path === "-" ? [] : [path]);
  return tables;
}

/** A trace without a single event was not replayed. */
function refuseEmpty(path: string, report: ReplayReport): void {
  if (report.events > 0) return;
  const why = report.trace.errors[0] ?? (report.trace.lines === 0 ? "it is empty" : "it has comments only");
  throw new InputError(`${inputName(path)}: there is no event in it: ${why}`);
}

async function writeDump(io: CommandIo, file: string | undefined, text: string): Promise<void> {
  if (file === "-") await io.out(text);
  else if (file !== undefined) {
    await writeFile(file, text).catch((error: unknown) => {
      throw unreadable(file, error);
    });
  }
}

/** What the command line says of the trace at `path`, checked. */
async function optionsOf(args: CommandArgs, path: string) {
  await refuseMixing(args, path);
  const geometry = parseGeometry(args);
  const backing = parseBacking(args);
  integerOption(args, "seed", 0, Number.MAX_SAFE_INTEGER);
  return {
    slots: parseSlots(stringOption(args, "slots")),
    geometry,
    backing,
    from: choiceOption(args, "from", ["faults", "ops"] as const) ?? "faults",
    folder: stringOption(args, "verify"),
    dumpFile: stringOption(args, "dump"),
    policy: booleanOption(args, "compare") ? policyOf(args, backing, geometry.granule) : undefined,
  };
}

/** Replays the trace at `path` as the options say, and writes what they ask for. */
export async function replay(
  args: CommandArgs,
  io: CommandIo,
  path: string,
  options?: Awaited<ReturnType<typeof optionsOf>>,
  { source, share }: CountedInput = countedInput(path, io),
): Promise<ReplayReport> {
  const { folder, dumpFile, ...asked } = options ?? (await optionsOf(args, path));
  const manifest = await manifestOf(args, path);
  const dump = dumper(manifest);
  const file = timelineTo(stringOption(args, "out"));
  const timeline = file && new ReplayTimeline(file.writer);
  const log = logTo(stringOption(args, "casemate"));
  const html = await htmlTarget(args, [path]);
  const story = html === undefined ? undefined : new TraceStory();
  const tables = await replayTables(args, path, asked.from);
  const report = await replayTrace(source, {
    ...asked,
    name: path === "-" ? undefined : traceName(path),
    manifest,
    signal: io.signal,
    truth: folder === undefined ? undefined : truthOf(folder),
    lenient: booleanOption(args, "lenient"),
    onProgress: (events) => io.progress({ done: events, unit: "events", share: share() }),
    onLost: lossNotes(io),
    onJournal: log.onJournal,
    onlookers: [story, timeline, tables].filter((one) => one !== undefined),
    ...(dumpFile === undefined ? {} : { onTable: dump.onTable }),
  })
    .catch((error: unknown) => {
      file?.abandon();
      tables?.abandon();
      throw inputError(path, error);
    })
    .finally(log.close);
  if (io.signal.aborted || report.events === 0) {
    file?.abandon();
    tables?.abandon();
  }
  if (io.signal.aborted) throw new Interrupted();
  refuseEmpty(path, report);
  file?.finish();
  for (const line of tables?.finish() ?? []) io.note(line);
  await writeDump(io, dumpFile, dump.text());
  if (html !== undefined && story !== undefined) await writeHtml(html, story.story(report), io);
  return report;
}

/** Notes for what the report says on standard output too, which may be redirected. */
function warn(args: CommandArgs, io: CommandIo, report: ReplayReport): void {
  if (hadNoSlots(report)) io.note(`granule: ${NO_SLOTS}`);
  if (report.trace.hostOnly) io.note(`granule: ${HOST_ONLY}`);
  if (stringOption(args, "verify") !== undefined && report.checks.length === 0) {
    io.note("granule: nothing was compared: the trace has no FREEZE marker for which there is a raw table");
  }
}

/** Dumps that are all of other machines, or none at all, prove nothing: most likely the folder is the wrong one. */
function provesNothing(args: CommandArgs, { checks }: ReplayReport): boolean {
  return stringOption(args, "verify") !== undefined && checks.every((check) => check.skipped !== undefined);
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const path = oneOperand(args, "TRACE");
  const asked = await optionsOf(args, path);
  const input = countedInput(path, io);
  const { format, source } = await sniff(input.source).catch((error: unknown) => {
    throw inputError(path, error);
  });
  if (isAccessFormat(format)) {
    return replayAccesses(args, io, format, source, asked.slots, input.share).catch((error: unknown) => {
      throw inputError(path, error);
    });
  }
  refuseAccessOptions(args);
  // A file is opened again: the recordings of trace-cmd are read from several places. A pipe cannot be.
  const isFile = path !== "-" && (await stat(path)).isFile();
  const report = await replay(args, io, path, asked, isFile ? countedInput(path, io) : { ...input, source });
  io.progress(undefined);
  if (stringOption(args, "dump") !== "-") {
    await io.out(args.json ? `${printableJson(report, 1)}\n` : reportText(report, io.style));
  }
  warn(args, io, report);
  return passed(report) && !provesNothing(args, report) ? Exit.OK : Exit.FINDING;
}

const HELP = `
Replays a trace of a KVM guest: trace.dat of trace-cmd, perf.data with tracepoints, or the text of
/sys/kernel/tracing/trace, trace-cmd report or perf script; gzipped or not. The first bytes tell which it is; - is standard
input. docs/formats/traces.md says what is read of each.

--out FILE.perfetto writes a time line for ui.perfetto.dev: docs/formats/timelines.md.

--from faults services each kvm_guest_fault on a virtual machine whose memory slots come from the manifest beside the
trace (NAME.manifest.json, docs/formats/manifest.md), from markers in it, or from --slots. Where the trace also holds the kernel's own s2_map
lines, the two are compared; where nothing tells of slots, these lines show where there is memory. Physical addresses
are the guest's plus a constant.

--from ops applies the recorded s2_* operations of the page-table engine to tables of the same shape. With --verify the
leaves are compared, at each "vmm: FREEZE" marker, with the raw tables of the kernel that was running (NAME.POINT.cpuNN.s2raw
in DIR): address, level and descriptor; the access flag, and dirty state where hardware keeps it, are counted apart.
Kernel dumps (NAME.POINT.s2ptdump) are compared as text. docs/formats/raw-tables.md says what such files hold. With --from faults output addresses are not compared.

--compare asks which of the recorded faults would not have happened, or happen again, under another policy: --granule, --backing, --dirty,
--split-chunk. The rest is as recorded.

TRACE may also be one of memory accesses: of valgrind's lackey, DynamoRIO's drmemtrace view, ChampSim, or CSV (docs/formats/accesses.md).
They run on simulated vCPUs, and fault by themselves; the report is that of granule run.

--out FILE.parquet writes what the replay saw as tables for DuckDB, pandas or Spark, one file each; docs/formats/tables.md has
their columns, and questions to begin with.

If the line of an event that the replay needs cannot be read, the replay ends with its number and what was expected;
--lenient counts and skips it. Other events are counted, whether they can be read or not. Exit code 1 when a comparison
finds a difference, when --verify compares nothing, and when no memory slot is known; 3 when there is no event.
`;

/** `granule replay` */
export const replayCommand: Command = {
  name: "replay",
  usage: "TRACE [--from faults|ops] [--verify DIR] [--html FILE] [--out FILE] [options]",
  summary: "make a recorded guest's page tables again, and compare them with the kernel's",
  help: HELP,
  options: {
    from: { type: "string", value: "faults|ops", default: "faults", help: "what to replay" },
    verify: { type: "string", value: "DIR", help: "compare with the raw tables in this folder" },
    manifest: {
      type: "string",
      value: "FILE",
      help: "manifest of the capture, if not NAME.manifest.json beside the trace",
    },
    dump: {
      type: "string",
      value: "FILE",
      help: "write the table as ptdump text, as it was at its end; - for standard output",
    },
    casemate: {
      type: "string",
      value: "FILE",
      help: "write a log of what the walkers did, for granule check; gzipped if FILE ends in .gz",
    },
    html: HTML_OPTION,
    out: OUT_OPTION,
    tables: { type: "string", value: "A,B,..", help: `which tables --out writes: ${TABLES.join(", ")} (all)` },
    lenient: { type: "boolean", help: "count and skip lines that cannot be read" },
    slots: { type: "string", value: "LIST", help: "memory slots gpa:size:hva[:flags],... where no manifest tells" },
    backing: { type: "string", value: "KIND", help: `the VMM's memory where no manifest tells: ${BACKINGS.join(" ")}` },
    granule: {
      type: "string",
      value: "4k|16k|64k",
      help: "page size where neither dump nor manifest tells (default 4k)",
    },
    "ipa-bits": { type: "string", value: "N", help: "bits of guest address, likewise (default 40)" },
    lpa2: { type: "boolean", help: "52-bit descriptors, likewise" },
    fwb: { type: "boolean", help: "--no-fwb: the CPU has no forced write-back, likewise" },
    seed: { type: "string", value: "N", help: "of adversarial TLBs; a replay of events draws nothing at random" },
    compare: {
      type: "boolean",
      help: "which recorded faults would not have happened, or happen again, under --granule --backing --dirty --split-chunk",
    },
    ...accessOptions(),
  },
  examples: [
    {
      line: "granule replay guest.trace.gz --from ops --verify raw/",
      shows: "whether the kernel's own calls make its tables",
    },
    { line: "granule replay guest.trace.gz", shows: "the recorded faults, serviced by granule" },
    { line: "granule replay trace.dat --out guest.perfetto", shows: "the time line, for ui.perfetto.dev" },
    {
      line: "granule replay guest.trace.gz --compare --backing thp",
      shows: "which of them huge pages would have saved",
    },
    {
      line: "granule replay prog.lackey --backing page --every 100000",
      shows: "a program's accesses, its dirty pages in between",
    },
  ],
  run,
};
