import { join } from "node:path";
import { GranuleError } from "../../core/errors.js";
import { createEngine } from "../../index.js";
import { createMmu, hypRegisters, stage2Registers } from "../../mmu/index.js";
import { hex } from "../../model/address.js";
import { levelShift } from "../../model/granule.js";
import { protNames } from "../../model/protection.js";
import { explain } from "../../report/explain.js";
import { tableImage } from "../../report/image.js";
import { type LeafFormat, leafTable } from "../../report/leaf-runs.js";
import { printable } from "../../report/printable.js";
import { ptdumpLines, sizeName } from "../../report/ptdump.js";
import { columns, plural } from "../../report/text.js";
import type { Engine } from "../../tables/engine.js";
import type { HypTable } from "../../tables/hyp.js";
import type { Stage2Table } from "../../tables/stage2.js";
import {
  booleanOption,
  type Command,
  type CommandArgs,
  type CommandIo,
  choiceOption,
  Exit,
  granuleOption,
  integerOption,
  stringOption,
  UsageError,
} from "../command.js";
import { writeImageFolder } from "../image-folder.js";
import { writeJsonLists, writeLines } from "../output.js";
import { checkApart, checkSpec, readSpecs, type Spec } from "../specs.js";
import { type Walk, type WalkRules, walkJson, walkText } from "../walk-text.js";
import { ask, type Question, questionsOf } from "./walk.js";

type Made = Stage2Table | HypTable;

/** Room for table pages; only what is used costs memory. */
const ARENA_BYTES = 1 << 30;
const DEFAULT_BASE = 0x8000_0000n;
const BASE_ALIGN = 1n << 30n;

interface Wanted {
  readonly stage: "2" | "hyp";
  readonly granule: 4096 | 16384 | 65536;
  readonly inputBits: number;
  readonly paBits: number | undefined;
  readonly lpa2: boolean;
  readonly pages: boolean;
  readonly fwb: boolean;
  readonly xnx: boolean;
}

function wantedOf(args: CommandArgs): Wanted {
  const stage = (choiceOption(args, "stage", ["2", "el2", "hyp"]) ?? "2") === "2" ? "2" : "hyp";
  const granule = granuleOption(args) ?? 4096;
  const lpa2 = booleanOption(args, "lpa2");
  if (lpa2 && granule === 65536)
    throw new UsageError("--lpa2 is for 4K and 16K pages: 64K pages have 52-bit addresses without it");
  const wide = lpa2 || granule === 65536 ? 52 : 48;
  const inputBits = integerOption(args, "ipa-bits", stage === "2" ? 32 : 25, wide) ?? (stage === "2" ? 40 : 48);
  const pages = booleanOption(args, "pages"),
    xnx = booleanOption(args, "xnx"),
    fwb = args.options.fwb;
  if (stage === "hyp" && (pages || xnx || fwb !== undefined))
    throw new UsageError("--pages, --xnx and --fwb are for stage 2: leave them out with --stage el2");
  const paBits = integerOption(args, "pa-bits", 32, 52);
  if (stage === "hyp" && paBits !== undefined)
    throw new UsageError("--pa-bits is for stage 2: leave it out with --stage el2");
  return {
    stage,
    granule,
    inputBits,
    paBits,
    lpa2,
    pages,
    xnx,
    fwb: fwb !== false,
  };
}

/** Where the table's memory lies: as asked for, or in the first GiB where no mapping leads, so that no table maps itself. */
function baseOf(args: CommandArgs, specs: readonly Spec[]): bigint {
  const text = stringOption(args, "base");
  if (text === undefined) {
    let base = DEFAULT_BASE;
    for (const { pa, size } of [...specs].sort((a, b) => (a.pa < b.pa ? -1 : 1))) {
      const end = pa + size;
      if (pa < base + BASE_ALIGN && end > base) base = ((end + BASE_ALIGN - 1n) / BASE_ALIGN) * BASE_ALIGN;
    }
    return base;
  }
  if (!/^0x[0-9a-f]{1,13}$/i.test(text) || BigInt(text) % (1n << 20n) !== 0n)
    throw new UsageError(`--base is a hex address below 2^52 on a 1 MiB boundary, not ${text}`);
  return BigInt(text);
}

/** Runs a step of the library; what it refuses is wrong usage here. */
function orUsage<T>(step: () => T, words: (error: GranuleError) => string): T {
  try {
    return step();
  } catch (error) {
    if (error instanceof GranuleError) throw new UsageError(words(error));
    throw error;
  }
}

function createTable(engine: Engine, wanted: Wanted): Made {
  const { stage, granule, inputBits, lpa2, paBits, pages, fwb, xnx } = wanted;
  if (stage === "hyp") return engine.createHyp({ granule, lpa2, vaBits: inputBits });
  const bits = paBits ?? (lpa2 || granule === 65536 ? 52 : 48);
  const forcePte = pages ? "all" : "none";
  return engine.createStage2({ granule, lpa2, ipaBits: inputBits, paBits: bits, forcePte, fwb, xnx });
}

/** Why the table refuses a mapping whose addresses fit: rights that no entry can have, or no room. */
function refusal({ code, hint }: GranuleError, table: Made, prot: number): string {
  if (code === "ENOMEM") return `the table needs more than ${sizeName(BigInt(ARENA_BYTES))} for its pages`;
  if (code !== "EINVAL") return hint;
  const names = protNames(prot).join(" ") || "nothing";
  return `${table.isHyp ? "EL2" : "stage 2"} has no mapping that allows ${names}`;
}

/** Performs the mappings; UsageError names the one that the table refuses. */
function mapAll(table: Made, specs: readonly Spec[]): void {
  const { granule, inputBits, outputBits } = table.info();
  const limits = { granule, inputBits, outputBits, inputName: table.isHyp ? "VA" : "IPA" };
  for (const spec of specs) checkSpec(spec, limits);
  checkApart(specs);
  for (const { text, address, size, pa, prot } of specs) {
    orUsage(
      () => void table.map(address, size, pa, prot),
      (error) => `${printable(text)}: ${refusal(error, table, prot)}`,
    );
  }
}

function formatOf(table: Made, { stage, granule, lpa2 }: Wanted): LeafFormat & { fwb: boolean } {
  return { stage, granule, lpa2, fwb: stage === "2" && tableImage(table).manifest.fwb };
}

/** The table in a few lines: its shape, and its mappings. */
function summaryLines(table: Made, wanted: Wanted, io: CommandIo): string[] {
  const { granule, startLevel, rootPages, rootPa, inputBits, pages } = table.info();
  const roots = rootPages === 1 ? "1 start table" : `${rootPages} start tables`;
  const what = table.isHyp ? `EL2, ${inputBits}-bit VAs` : `Stage 2, ${inputBits}-bit IPAs`;
  const shape = `${what}, ${granule / 1024}K pages, levels ${startLevel} to 3`;
  const head = `${shape}: ${roots} at ${hex(rootPa)}, ${plural(pages, "table page")} in all`;
  const { runs } = leafTable(table.leaves(), formatOf(table, wanted));
  const { stage, lpa2, xnx, fwb } = { ...wanted, ...formatOf(table, wanted) };
  const rows = runs.map(({ start, end, level, pa = 0n, attributes }) => {
    const [reading] = explain(attributes | 1n | (level === 3 ? 2n : 0n), { stage, granule, level, lpa2, xnx, fwb });
    const one = 1n << BigInt(levelShift(granule, level));
    const n = Number((end - start) / one);
    const kind = level === 3 ? "page" : "block";
    const about = reading?.brief.replace(/^.*?: /, "") ?? "";
    return [
      `${hex(start)}-${hex(end)}`,
      sizeName(end - start),
      String(level),
      `${plural(n, kind)} of ${sizeName(one)}`,
      hex(pa),
      about,
    ];
  });
  const [first = "", ...others] = columns([
    [table.isHyp ? "VA" : "IPA", "size", "level", "mapped as", "PA", "rights, memory"],
    ...rows,
  ]);
  return [
    io.style("bold", head),
    "",
    ...(rows.length > 0 ? [io.style("dim", first), ...others] : ["nothing is mapped"]),
  ];
}

/** `ADDRESS`, or `ADDRESS:w`. */
function explainQuestions(args: CommandArgs): Question[] {
  const given = args.options.explain;
  const words = (Array.isArray(given) ? given : []).map(String);
  return words.flatMap((word) => questionsOf(word.split(":"), (problem) => new UsageError(`--explain ${problem}`)));
}

function walksOf(engine: Engine, table: Made, questions: readonly Question[]): Walk[] {
  if (questions.length === 0) return [];
  const el2 = table.isHyp;
  const registers = table.isHyp ? hypRegisters(table) : stage2Registers(table);
  using mmu = createMmu({ engine, registers, regime: el2 ? "el2" : "el1" });
  return questions.map((question) => ask(mmu, question, el2 ? 2 : 1));
}

interface Result {
  readonly table: Made;
  readonly wanted: Wanted;
  readonly walks: readonly Walk[];
  readonly rules: WalkRules;
  readonly folder: string | undefined;
}

async function writeText({ table, wanted, walks, rules, folder }: Result, dump: boolean, io: CommandIo): Promise<void> {
  if (dump) await writeLines(ptdumpLines(table), io);
  else await writeLines(summaryLines(table, wanted, io), io);
  for (const walk of walks) await io.out(`\n${walkText(walk, rules, io)}`);
  if (folder !== undefined) io.note(`${join(folder, "image.bin")} and manifest.json are written`);
}

function* leafObjects(table: Made): Generator<object> {
  for (const { address, level, kind, pa, prot, descriptor, shift } of table.leaves()) {
    const size = hex(1n << BigInt(shift));
    yield {
      address: hex(address),
      size,
      level,
      kind,
      pa: hex(pa),
      prot: protNames(prot),
      descriptor: hex(descriptor, 16),
    };
  }
}

async function writeDocument({ table, wanted, walks, rules, folder }: Result, io: CommandIo): Promise<void> {
  const { granule, startLevel, rootPages, rootPa, inputBits, outputBits, pages } = table.info();
  const { manifest } = tableImage(table);
  const { vtcr, vttbr, tcr, ttbr0, mair } = manifest;
  const about = {
    stage: wanted.stage === "hyp" ? "el2" : "2",
    granule,
    ipaBits: inputBits,
    outputBits,
    lpa2: wanted.lpa2,
    startLevel,
    rootPages,
    rootPa: hex(rootPa),
    pages,
    bytes: pages * granule,
    registers: { vtcr, vttbr, tcr, ttbr0, mair },
  };
  const head = { schemaVersion: 1, table: about, ...(folder === undefined ? {} : { image: folder }) };
  const lists: [string, Iterable<object>][] = [["leaves", leafObjects(table)]];
  if (walks.length > 0) lists.push(["walks", walks.map((walk) => walkJson(walk, rules))]);
  await writeJsonLists(io, head, lists);
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.operands.length === 0) throw new UsageError("SPEC is missing: 0x40000000:4M:0x80000000:rw, for example");
  const wanted = wantedOf(args);
  const questions = explainQuestions(args);
  const folder = stringOption(args, "image");
  const dump = booleanOption(args, "dump");
  if (dump && args.json) throw new UsageError("--dump and --json are two forms of the same: choose one");
  const specs = await readSpecs(args.operands, io);
  using engine = createEngine({ arenaBytes: ARENA_BYTES, physBase: baseOf(args, specs) });
  const table = orUsage(
    () => createTable(engine, wanted),
    ({ hint }) => hint,
  );
  mapAll(table, specs);
  const made = tableImage(table);
  if (folder !== undefined) await writeImageFolder(folder, made);
  const rules: WalkRules = { regime: made.manifest.stage, fwb: made.manifest.fwb };
  const result: Result = { table, wanted, walks: walksOf(engine, table, questions), rules, folder };
  if (args.json) await writeDocument(result, io);
  else await writeText(result, dump, io);
  return Exit.OK;
}

/** `granule make SPEC...`. */
export const make: Command = {
  name: "make",
  usage: "SPEC... [--granule 4K] [--ipa-bits N] [--stage 2|el2] [--dump] [--image DIR] [--explain ADDRESS]",
  summary: "make a table from one-line mappings, and show it, dump it, or write it as an image",
  help: `Makes a table with the given mappings and prints its shape and what it maps. Blocks are used wherever they fit, as KVM
uses them; --pages forces pages.

SPEC is IPA:SIZE:PA:PROT (a VA for EL2). Addresses and sizes are hex with 0x or decimal, and may end in K, M, G or T. PROT
is letters: r read, w write, x execute, d device memory, n non-cacheable; or the library's names joined by + (R+W+SW0, PX,
UX, AS_STAGE1). - reads SPECs from standard input, one a line; # begins a comment.`,
  options: {
    granule: { type: "string", value: "SIZE", help: "page size: 4K, 16K or 64K (default 4K)" },
    "ipa-bits": { type: "string", value: "N", help: "bits of an input address (default 40, EL2 48)" },
    "pa-bits": {
      type: "string",
      value: "N",
      help: "stage 2: bits of an output address (default 48; 52 with LPA2 or 64K)",
    },
    lpa2: { type: "boolean", help: "52-bit descriptors of 4K and 16K pages (FEAT_LPA2)" },
    stage: { type: "string", value: "2|el2", help: "a guest's stage 2, or EL2's own stage 1 (default 2)" },
    pages: { type: "boolean", help: "stage 2: pages only, no blocks" },
    xnx: { type: "boolean", help: "stage 2: separate execute rights of EL1 and EL0 (FEAT_XNX)" },
    fwb: {
      type: "boolean",
      help: "stage 2: the CPU has forced write-back, FEAT_S2FWB (default; --no-fwb: it has not)",
    },
    base: {
      type: "string",
      value: "ADDRESS",
      help: "physical address of the table's memory (default: in a GiB that nothing is mapped to)",
    },
    dump: { type: "boolean", help: "print ptdump text in place of the summary" },
    image: {
      type: "string",
      value: "DIR",
      help: "write image.bin and manifest.json, for granule translate or another MMU",
    },
    explain: {
      type: "string",
      multiple: true,
      value: "ADDRESS[:r|w|x]",
      help: "walk the table for an address, level by level; repeatable",
    },
  },
  exits: [{ code: Exit.USAGE, meaning: "usage, or a mapping that the table refuses" }],
  examples: [
    { line: "granule make 0x40000000:4M:0x80000000:rw", shows: "two blocks of 2M" },
    {
      line: "granule make 0x40000000:4M:0x80000000:rw 0x9000000:4K:0x9000000:rwd --explain 0x9000000:w",
      shows: "a device page beside them, and how a write to it is translated",
    },
    { line: "granule make 1G:1G:2G:rx --granule 64K --image table", shows: "an image to walk with granule translate" },
  ],
  run,
};
