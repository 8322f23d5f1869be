import * as K from "../../core/constants.generated.js";
import { GranuleError } from "../../core/errors.js";
import { maskOf } from "../../core/field.js";
import { hex } from "../../model/address.js";
import { diffFields, diffTables, type LeafDifference, type TableDifference } from "../../report/diff.js";
import { explain } from "../../report/explain.js";
import type { LeafRun, LeafTable } from "../../report/leaf-runs.js";
import { printable } from "../../report/printable.js";
import { sizeName } from "../../report/ptdump.js";
import { bytes, columns, plural } from "../../report/text.js";
import { type Command, type CommandArgs, type CommandIo, Exit, UsageError } from "../command.js";
import { writeJsonLists, writeLines } from "../output.js";
import { readSource, type Source } from "../sources.js";

/** Rows that are aligned with one another. */
const ALIGNED = 4096;

function totalBytes(ranges: readonly { start: bigint; end: bigint }[]): number {
  return ranges.reduce((sum, { start, end }) => sum + Number(end - start), 0);
}

/** Fields that ptdump text may lack, by name. */
const UNTOLD: readonly (readonly [name: string, mask: bigint])[] = [
  ["MemAttr", maskOf(K.S2_ATTR)],
  ["SH", maskOf(K.SH)],
  ["XN[0]", K.PXN],
  ["Cont", K.CONTIGUOUS],
  ["DBM", K.DBM],
  ["SW", maskOf(K.SW)],
];

/** Names of what the dumps among the sources do not tell. */
function untold(sources: readonly Source[]): string[] {
  const dumps = sources.filter(({ kind }) => kind === "ptdump");
  if (dumps.length === 0) return [];
  const known = dumps.reduce((both, { table }) => both & table.known, dumps[0]?.table.known ?? 0n);
  return ["PA", ...UNTOLD.filter(([, mask]) => (known & mask) === 0n).map(([name]) => name)];
}

/** The range, and what of its mapping is known. */
function runText(run: LeafRun, { stage, granule, known, hvhe }: LeafTable): string {
  const { level, pa, attributes } = run;
  const descriptor = attributes | K.VALID | (level === K.LAST_LEVEL ? K.TYPE : 0n);
  const [reading] = explain(descriptor, { stage, hvhe, granule: granule ?? 4096, level });
  const about = reading?.brief.replace(/^.*?: /, "") ?? "";
  const memory = known & maskOf(stage === "2" ? K.S2_ATTR : K.S1_ATTR);
  const rights = memory === 0n ? about.replace(/, .*/, "") : about;
  return `level ${level}, ${pa === undefined ? "" : `PA ${hex(pa)}, `}${rights}`;
}

function fieldsText({ fields }: LeafDifference): string {
  return fields.map(({ field, a, b }) => `${field}: ${a} -> ${b}`).join(", ");
}

interface Row {
  readonly start: bigint;
  readonly cells: string[];
}

/** A row for each difference, in order of address. */
function rowsOf({ onlyA, onlyB, different }: TableDifference, a: Source, b: Source, io: CommandIo): Row[] {
  const row = (mark: string, range: { start: bigint; end: bigint }, about: string): Row => {
    const { start, end } = range;
    return { start, cells: [mark, `${hex(start)}-${hex(end)}`, sizeName(end - start), about] };
  };
  const rows = [
    ...onlyA.map((run) => row(io.style("red", "only A"), run, runText(run, a.table))),
    ...onlyB.map((run) => row(io.style("green", "only B"), run, runText(run, b.table))),
    ...different.map((one) => row(io.style("yellow", "differs"), one, fieldsText(one))),
  ];
  return rows.sort((x, y) => (x.start < y.start ? -1 : x.start > y.start ? 1 : 0));
}

function* textLines(found: TableDifference, a: Source, b: Source, io: CommandIo): Generator<string> {
  const rows = rowsOf(found, a, b, io);
  for (let i = 0; i < rows.length; i += ALIGNED) yield* columns(rows.slice(i, i + ALIGNED).map(({ cells }) => cells));
  const { onlyA, onlyB, different } = found;
  const part = (what: string, ranges: readonly { start: bigint; end: bigint }[]) =>
    ranges.length === 0 ? [] : [`${bytes(totalBytes(ranges))} ${what}`];
  const parts = [...part("only in A", onlyA), ...part("only in B", onlyB), ...part("mapped otherwise", different)];
  const mapped = `${bytes(totalBytes(a.table.runs))} and ${bytes(totalBytes(b.table.runs))} mapped`;
  if (rows.length > 0) yield `\n${plural(rows.length, "difference")}: ${parts.join(", ")} (${mapped})`;
  else yield `${io.style("green", "equal")}: ${mapped}`;
}

function runJson({ start, end, level, pa, attributes }: LeafRun): object {
  const pas = pa === undefined ? null : hex(pa);
  return { start: hex(start), end: hex(end), level, pa: pas, attributes: hex(attributes, 16) };
}

async function writeDocument(found: TableDifference, a: Source, b: Source, io: CommandIo): Promise<void> {
  const { onlyA, onlyB, different } = found;
  const about = ({ name, kind, table }: Source) => ({ name, kind, mapped: hex(totalBytes(table.runs)) });
  const equal = onlyA.length + onlyB.length + different.length === 0;
  const head = { schemaVersion: 1, equal, a: about(a), b: about(b), notCompared: untold([a, b]) };
  await writeJsonLists(io, head, [
    ["onlyA", onlyA.map(runJson)],
    ["onlyB", onlyB.map(runJson)],
    ["different", different.map(({ start, end, fields }) => ({ start: hex(start), end: hex(end), fields }))],
  ]);
}

/** The tables compared; UsageError for two that cannot be, and for names that are no fields. */
function compared(a: Source, b: Source, args: CommandArgs): TableDifference {
  const given = args.options.ignore;
  const ignore = (Array.isArray(given) ? given : []).flatMap((names) => String(names).split(","));
  try {
    return diffTables(a.table, b.table, { ignore });
  } catch (error) {
    if (error instanceof GranuleError) throw new UsageError(error.hint);
    throw error;
  }
}

/** Says what a person may not expect: what is not compared, and levels of different sizes. */
function remarks(a: Source, b: Source, io: CommandIo): void {
  const missing = untold([a, b]);
  const dumps = [a, b].filter(({ kind }) => kind === "ptdump").map(({ name }) => name);
  if (missing.length > 0) io.note(`not compared: ${missing.join(", ")} (not in ${dumps.join(" and ")})`);
  const [x, y] = [a.table.granule, b.table.granule];
  if (x !== undefined && y !== undefined && x !== y)
    io.note(`the page sizes differ, ${x / 1024}K and ${y / 1024}K: levels stand for different sizes`);
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const [first, second, third] = args.operands;
  if (first === undefined || second === undefined) throw new UsageError("two tables are compared: give A and B");
  if (third !== undefined) throw new UsageError(`two tables are compared: ${printable(third)} is one too many`);
  if (first === "-" && second === "-") throw new UsageError("only one of the tables can come from standard input");
  const a = await readSource(first, io);
  const b = await readSource(second, io);
  const found = compared(a, b, args);
  remarks(a, b, io);
  if (args.json) await writeDocument(found, a, b, io);
  else await writeLines(textLines(found, a, b, io), io);
  const { onlyA, onlyB, different } = found;
  return onlyA.length + onlyB.length + different.length === 0 ? Exit.OK : Exit.FINDING;
}

const KNOWN = [...new Set([...diffFields("2"), ...diffFields("hyp")])];

/** `granule diff A B`. */
export const diff: Command = {
  name: "diff",
  usage: "A B [--ignore FIELD]...",
  summary: "compare what two tables map: dumps, raw tables, images, operations files",
  help: `Compares the mappings of two tables: ranges that only one of them maps, and ranges that both map, with the fields that
differ, by name. Neighbours are compared as ranges: a block of 2M and 512 pages that map the same differ in level alone,
which --ignore level leaves out.

A and B are any of these, gzipped or not; - is standard input:
  ptdump text      stage2_page_tables of debugfs (Linux 6.12 to 7.x), or granule's own
  raw tables       .s2raw files
  image            a folder with image.bin and manifest.json, from granule image or make --image
  operations file  .jsonl; performed up to its end, or to the line that destroys the table

ptdump text has no output addresses and no memory types, so these are not compared. A kernel does not print the last run
of the address space.`,
  options: {
    ignore: {
      type: "string",
      short: "i",
      multiple: true,
      value: "FIELD",
      help: `do not compare it; repeatable, or several with commas: ${KNOWN.join(" ")}`,
    },
  },
  exits: [
    { code: Exit.OK, meaning: "equal" },
    { code: Exit.FINDING, meaning: "they differ" },
  ],
  examples: [
    { line: "granule diff before.s2raw.gz after.s2raw.gz", shows: "what changed between two points of a recording" },
    {
      line: "ssh host cat /sys/kernel/debug/kvm/12-3/stage2_page_tables | granule diff - table",
      shows: "a live host against an image",
    },
    { line: "granule diff a b --ignore level,AF", shows: "whether the same is mapped, with whatever block sizes" },
  ],
  run,
};
