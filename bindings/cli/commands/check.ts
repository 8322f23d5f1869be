import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { CASEMATE_OPTIONS, createJudge, type JudgeOptions, type Verdict, type Violation } from "../../audit/index.js";
import { GranuleError } from "../../core/errors.js";
import { printable } from "../../report/printable.js";
import type { Section, Story } from "../../report/story.js";
import { readBytes, sniffTrace, TraceError } from "../../trace/node.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  InputError,
  Interrupted,
  integerOption,
  stringOption,
  UsageError,
  writeJson,
} from "../command.js";
import { HTML_OPTION, htmlTarget, writeHtml } from "../html.js";
import { countedInput, findFiles, inputName, readLines, unreadable } from "../input.js";
import { CheckTables } from "../tables/check-tables.js";

const READING = { highWaterMark: 1 << 18 };
const LOGS = /\.(log|casemate)(\.gz)?$/;

/** What is said of one log; of a good one the last three are null, of one that cannot be judged `kind` and `record`. */
interface FileVerdict {
  file: string;
  verdict: "ok" | "violation" | "unreadable";
  kind: string | null;
  /** Number of the record in the log, from 0. */
  record: number | null;
  message: string | null;
}

/** A recording of a kernel holds no descriptor writes to judge. What a replay of it does can be judged. */
function refuseRecording(file: string, opening: Uint8Array): void {
  const kind = sniffTrace(opening);
  if (kind === "text") return;
  const hint = "granule replay FILE --casemate LOG writes a log of what its replay does";
  throw new InputError(`${file}: this is a recording (${kind}), not a log: ${hint}`);
}

/** Judges a log as it is read; gzip is told by its first bytes. InputError for what is no log. */
async function judgeLog(
  path: string,
  options: JudgeOptions,
  io: CommandIo,
  progress: (records: number, share: number | undefined) => void,
): Promise<Verdict> {
  const file = inputName(path);
  const judge = createJudge(options);
  const parser = judge.casemate();
  try {
    const { source, share } = countedInput(path, io, (name) =>
      createReadStream(name, { ...READING, signal: io.signal }),
    );
    let first = true;
    for await (const block of readBytes(source)) {
      if (first) refuseRecording(file, block);
      first = false;
      parser.push(block);
      progress(parser.records, share());
    }
    parser.end();
    if (parser.records === 0) throw new InputError(`${file}: the log holds no record`);
    return judge.finish();
  } catch (error) {
    if (io.signal.aborted) throw new Interrupted();
    if (error instanceof TraceError || error instanceof GranuleError) {
      throw new InputError(`${file}: ${error.message.replace(/\s*\n\s*/g, " ")}`);
    }
    if (error instanceof Error && "code" in error) throw unreadable(file, error);
    throw error;
  }
}

function verdictOf(file: string, first: Violation | undefined): FileVerdict {
  if (first === undefined) return { file, verdict: "ok", kind: null, record: null, message: null };
  return { file, verdict: "violation", kind: first.kind, record: first.record, message: first.message };
}

/** Records before and after a violation that a report shows. */
const BEFORE = 40;
const AFTER = 4;
const THREAD = /\(tid (\d+)\)/;

/** The records around a violation, a column for each thread. */
async function violationSection(path: string, { record, kind, message }: FileVerdict, io: CommandIo): Promise<Section> {
  const at = record ?? 0;
  const shown: { thread: string; text: string; bad: boolean }[] = [];
  let n = 0;
  for await (const lines of readLines(path, io)) {
    for (const text of lines) {
      if (!text.startsWith("(")) continue;
      const i = n++;
      if (i < at - BEFORE || i > at + AFTER) continue;
      shown.push({ thread: THREAD.exec(text)?.[1] ?? "-", text, bad: i === at });
    }
    if (n > at + AFTER) break;
  }
  const threads = [...new Set(shown.map(({ thread }) => thread))].sort();
  return {
    kind: "steps",
    title: basename(path),
    note: `${kind} at record ${at}: ${message}`,
    lanes: threads.map((thread) => `thread ${thread}`),
    steps: shown.map(({ thread, text, bad }) => ({ lane: threads.indexOf(thread), text, bad })),
  };
}

/** The report of all logs: their verdicts, and what lay around each violation. */
async function verdictStory(files: readonly FileVerdict[], paths: readonly string[], io: CommandIo): Promise<Story> {
  const sections: Section[] = [
    {
      kind: "table",
      title: "Verdicts",
      columns: [{ name: "log" }, { name: "verdict" }, { name: "kind" }, { name: "record" }, { name: "what is wrong" }],
      rows: files.map((f) => [f.file, f.verdict, f.kind ?? "", f.record ?? "", f.message ?? ""]),
    },
  ];
  for (const [i, verdict] of files.entries())
    if (verdict.verdict === "violation" && paths[i] !== "-")
      sections.push(await violationSection(paths[i] as string, verdict, io));
  return { schemaVersion: 1, title: "Break-before-make, judged", summary: [summary(files)], facts: [], sections };
}

/** What `work` says, or why `file` cannot be judged: that stops no other file. */
async function attempt<T>(work: () => Promise<T>): Promise<T | InputError> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return error;
  }
}

function line({ file, verdict, record, message }: FileVerdict, io: CommandIo): string {
  if (verdict === "ok") return `${printable(file)}: ${io.style("green", "ok")}\n`;
  return `${printable(file)}: ${io.style("red", "violation")}: record ${record}: ${printable(message ?? "")}\n`;
}

/** Says what came of one log: a verdict on standard output, an error on standard error. */
async function tell(verdict: FileVerdict, args: CommandArgs, io: CommandIo): Promise<void> {
  if (verdict.verdict === "unreadable") io.note(`granule: ${verdict.message}`);
  else if (!args.json) await io.out(line(verdict, io));
}

function count(files: readonly FileVerdict[], verdict: FileVerdict["verdict"]): number {
  return files.filter((file) => file.verdict === verdict).length;
}

/** One line for several logs. */
function summary(files: readonly FileVerdict[]): string {
  const parts = [`${count(files, "ok")} ok`, `${count(files, "violation")} with a violation`];
  const unread = count(files, "unreadable");
  if (unread > 0) parts.push(`${unread} could not be judged`);
  return `${files.length} logs: ${parts.join(", ")}\n`;
}

function exitCode(files: readonly FileVerdict[]): number {
  if (count(files, "unreadable") > 0) return Exit.UNREADABLE;
  return count(files, "violation") > 0 ? Exit.FINDING : Exit.OK;
}

/** What is said of the logs, as they are judged one after the other. */
class Judged {
  readonly files: FileVerdict[] = [];
  readonly paths: string[] = [];
  readonly #args: CommandArgs;
  readonly #io: CommandIo;
  readonly #tables: CheckTables | undefined;
  /** Of all logs before the one at hand. */
  #records = 0;

  constructor(args: CommandArgs, io: CommandIo, tables: CheckTables | undefined) {
    this.#args = args;
    this.#io = io;
    this.#tables = tables;
  }

  /** What came of one log, or of a folder of them that cannot be read. */
  async add(path: string, result: Verdict | InputError): Promise<void> {
    const file = inputName(path);
    const verdict: FileVerdict =
      result instanceof InputError
        ? { file, verdict: "unreadable", kind: null, record: null, message: result.message }
        : verdictOf(file, result.violations[0]);
    if (result instanceof InputError) this.#tables?.unreadable(file, result.message);
    else this.#tables?.log(file, result);
    this.files.push(verdict);
    this.paths.push(path);
    await tell(verdict, this.#args, this.#io);
  }

  /** The logs that operand `i` names. */
  async operand(i: number, options: JudgeOptions): Promise<void> {
    const operand = this.#args.operands[i] as string,
      paths = await attempt(() => findFiles([operand], LOGS));
    if (paths instanceof InputError) return this.add(operand, paths);
    for (const [j, path] of paths.entries()) {
      if (this.#io.signal.aborted) throw new Interrupted();
      let records = 0;
      const tell = (now: number, share: number | undefined): void => {
        records = now;
        const part = share === undefined ? undefined : (i + (j + share) / paths.length) / this.#args.operands.length;
        this.#io.progress({ name: path, done: this.#records + records, unit: "records", share: part });
      };
      tell(0, 0);
      await this.add(path, await attempt(() => judgeLog(path, options, this.#io, tell)));
      this.#records += records;
    }
  }
}

/** Judges all logs, and writes the tables that --out asks for. */
async function judgeAll(args: CommandArgs, options: JudgeOptions, io: CommandIo): Promise<Judged> {
  const out = stringOption(args, "out");
  const tables = out === undefined ? undefined : await CheckTables.create(out);
  const judged = new Judged(args, io, tables);
  try {
    for (const i of args.operands.keys()) await judged.operand(i, options);
  } catch (error) {
    tables?.abandon();
    throw error;
  }
  for (const line of tables?.finish() ?? []) io.note(line);
  return judged;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.operands.length === 0) throw new UsageError("LOG is missing: casemate logs, or folders of them");
  integerOption(args, "seed", 0, Number.MAX_SAFE_INTEGER);
  const bbm = integerOption(args, "bbm", 0, 2) as JudgeOptions["bbm"];
  const options: JudgeOptions = bbm === undefined ? CASEMATE_OPTIONS : { ...CASEMATE_OPTIONS, bbm };
  const html = await htmlTarget(args, args.operands);
  const { files, paths } = await judgeAll(args, options, io);
  if (html !== undefined) await writeHtml(html, await verdictStory(files, paths, io), io);
  io.progress(undefined);
  if (args.json) await writeJson(io, { schemaVersion: 1, files });
  else if (files.length > 1) await io.out(summary(files));
  return exitCode(files);
}

/** `granule check LOG...`. */
export const check: Command = {
  name: "check",
  usage: "LOG... [--html FILE] [--out FILE]",
  summary: "judge logs of page-table writes, barriers and TLBIs: is break-before-make kept?",
  help: `Judges logs in the dialect of casemate 3.0.2 (one s-expression a record), one verdict a file: every descriptor
write against break-before-make, every TLBI against what it must reach, tables, locks and VMIDs against their lives.
LOG is a file, gzipped or not, a folder of .log and .log.gz files, or - for standard input.
For each file the first violation is printed: the number of its record, from 0, and what would have been right.
--out FILE.parquet, .csv or .ndjson writes two tables, FILE.logs.parquet and FILE.violations.parquet, with all violations of
each log, 256 at most: docs/formats/tables.md.
A file that cannot be read, or is not of the dialect, stops no other. Exit code 3 if there is one, else 1 if a log
breaks a rule.`,
  options: {
    html: HTML_OPTION,
    out: {
      type: "string",
      value: "FILE",
      help: "write verdicts and violations as tables: FILE.parquet, .csv or .ndjson",
    },
    bbm: { type: "string", value: "N", help: "level of FEAT_BBM that the CPUs have: 0 (default), 1 or 2" },
    seed: { type: "string", value: "N", help: "accepted for scripts; nothing is drawn at random" },
  },
  exits: [
    { code: Exit.OK, meaning: "every log keeps the rules" },
    { code: Exit.FINDING, meaning: "a log breaks one" },
  ],
  examples: [{ line: "granule check vm.log.gz", shows: "whether every change of the tables kept break-before-make" }],
  run,
};
