import { checkChoice, checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { isTable } from "../core/descriptor.js";
import { invalid } from "../core/errors.js";
import { fieldOfMask, get, lowOf, maskOf, put } from "../core/field.js";
import { shift as levelShift } from "../core/granule.js";
import type { Table } from "../tables/table.js";

/** Which kernel's columns: 6.12 (and 6.13 up to 6.18), or those of 7.x with the two-bit XN field [DMP-14, DMP-15]. */
export type PtdumpFormat = "6.12" | "7.x";

/** How to print. */
export interface PtdumpOptions {
  /** Columns of a stage-2 table. Default "6.12". */
  format?: PtdumpFormat;
  /**
   * Byte for byte what the kernel prints: its last run is never printed, since only the next run's first entry makes
   * it print one [DMP-17]. Default false.
   */
  kernelCompat?: boolean;
}

/** How to print entries that no table says more about. */
export interface PtdumpEntryOptions extends PtdumpOptions {
  /** A guest's stage 2, or EL2's own stage 1, which has columns of its own. Default "2". */
  stage?: "2" | "hyp";
  /** EL2 with VHE's permission bits: execute rights of EL2 and EL0 apart. Default false. */
  hvhe?: boolean;
}

/** Consecutive equal entries: one leaf, or `count` empty entries side by side. */
export interface PtdumpEntry {
  /** First input address. */
  address: bigint;
  /** Level of the entry, -1 to 3. */
  level: number;
  /** The 64 bits; 0n for a hole. */
  descriptor: bigint;
  /** Entries that this stands for. */
  count: number;
}

/** A raw table page: what `parseS2Raw` of `granule/trace` gives. */
export interface RawTables {
  /** Shape of the table. */
  geometry: {
    /** Page size in bytes. */
    granule: number;
  };
  /** Every table page, parents before children. */
  tables: readonly {
    /** Its level, -1 to 3. */
    level: number;
    /** First input address that it translates. */
    ipa: number;
    /** How many entries it has, zero ones included. */
    entries: number;
    /** Numbers of the entries that are not zero, ascending. */
    indices: ArrayLike<number>;
    /** Their values, in the same order. */
    descriptors: ArrayLike<bigint>;
  }[];
}

/** @internal One attribute column: printed after a space, `set` if the masked entry is `value`. */
export interface Column {
  mask: number;
  value: number;
  set: string;
  clear: string;
}

// The attribute bits of an entry, squeezed into a number: bits 10..0 in place, XN [54:53] at 17:16, GP [50] at 18.
const VALID = Number(K.VALID);
const TYPE = Number(K.TYPE);
const READ = Number(K.S2_R);
const WRITE = Number(K.S2_W);
const AF = Number(K.AF);
const XN_LOW = 16;
const XN_FIELD = 3 << XN_LOW;
const XN = 2 << XN_LOW;
const ATTRIBUTE_LOW = lowOf(K.S1_ATTR);
const ATTRIBUTE_INDEX = Number(maskOf(K.S1_ATTR));
const READ_ONLY = Number(K.AP2);
const PXN = 1 << XN_LOW;
const GP = 1 << 18;
/** @internal An EL2 entry that is not valid, and not zero either. */
export const INVALID = 1 << 19;
const LOW_BITS = K.VALID | K.TYPE | K.S2_R | K.S2_W | K.AF;
const EL2_LOW_BITS = K.VALID | K.TYPE | maskOf(K.S1_ATTR) | K.AP2 | K.AF;
/** XN and PXN of stage 1, both bits of XN of stage 2. */
const XN_CODE = fieldOfMask(K.S2_XN_FIELD);

const FAULT: Column = { mask: VALID, value: VALID, set: " ", clear: "F" };
const BLOCK: Column = { mask: VALID | TYPE, value: VALID, set: "BLK", clear: "   " };

function bit(mask: number, set: string, needsValid: boolean): Column {
  const value = mask | (needsValid ? VALID : 0);
  return { mask: value, value, set, clear: " ".repeat(set.length) };
}

function execute(code: number, set: string): Column {
  return { mask: XN_FIELD, value: code << XN_LOW, set, clear: "" };
}

/** `set` for a valid entry whose masked bits are `value`, `clear` for another valid one; nothing for one that is not valid. */
function ofValid(mask: number, value: number, set: string, clear: string): Column[] {
  const whole = mask | VALID;
  return [
    { mask: whole, value: value | VALID, set, clear: "" },
    ...(clear === "" ? [] : [{ mask: whole, value: VALID, set: clear, clear: "" }]),
  ];
}

/** Memory types by MAIR_EL2 index in Linux's order [FMT-10]. */
const MEMORY = ["MEM/NORMAL", "MEM/NORMAL-TAGGED", "MEM/NORMAL-NC", "DEVICE/nGnRnE", "DEVICE/nGnRE"];

/** The columns of the kernel's own stage-1 dump that EL2's entries have; shareability is the same in all of them. */
function el2Columns(execute: readonly Column[]): readonly Column[] {
  return [
    FAULT,
    ...ofValid(READ_ONLY, READ_ONLY, "ro", "RW"),
    ...execute,
    ...ofValid(AF, AF, "AF", "  "),
    ...ofValid(TYPE, TYPE, "   ", "BLK"),
    ...ofValid(GP, GP, "GP", "  "),
    ...Array.from({ length: 8 }, (_, i) =>
      ofValid(ATTRIBUTE_INDEX, i << ATTRIBUTE_LOW, MEMORY[i] ?? `MAIR index ${i}`, ""),
    ).flat(),
  ];
}

/** @internal What distinguishes the dumps of one kind of table. */
export interface Form {
  title: string;
  /** The bits of a descriptor that make a run; 0 for a hole. */
  attributes: (descriptor: bigint) => number;
  columns: readonly Column[];
}

/** The bits of a stage-2 entry that make a run [DMP-14]: 6.12 sees one XN bit, 7.x two. */
function stage2Form(columns: readonly Column[], xnField: number): Form {
  const attributes = (descriptor: bigint) => {
    if (descriptor === 0n) return 0;
    const xn = get(descriptor, XN_CODE) << XN_LOW;
    return Number(descriptor & LOW_BITS) | (xn & xnField);
  };
  // First line of every stage-2 dump [DMP-10].
  return { title: "---[ Guest IPA ]---", attributes, columns };
}

function el2Form(execute: readonly Column[], xnField: number): Form {
  const attributes = (descriptor: bigint) => {
    if (descriptor === 0n) return 0;
    if (!(descriptor & K.VALID)) return INVALID;
    const xn = get(descriptor, XN_CODE) << XN_LOW;
    return Number(descriptor & EL2_LOW_BITS) | (xn & xnField) | (descriptor & K.GP ? GP : 0);
  };
  return { title: "---[ EL2 ]---", attributes, columns: el2Columns(execute) };
}

const STAGE2: Readonly<Record<PtdumpFormat, Form>> = {
  "6.12": stage2Form(
    [
      FAULT,
      bit(READ, "R", true),
      bit(WRITE, "W", true),
      // Inverted in the kernel, and so for all who read its dumps: X marks what may not be executed [BUG-42].
      { mask: XN | VALID, value: VALID, set: " ", clear: "X" },
      bit(AF, "AF", true),
      BLOCK,
    ],
    XN,
  ),
  "7.x": stage2Form(
    [
      FAULT,
      bit(READ, "R", false),
      bit(WRITE, "W", false),
      execute(0, "px ux "),
      execute(1, "PXNux "),
      execute(2, "PXNUXN"),
      execute(3, "px UXN"),
      bit(AF, "AF", false),
      BLOCK,
    ],
    XN_FIELD,
  ),
};

/** EL2 has one execute-never bit, or with VHE's permission bits one for itself and one for EL0. */
const EL2: Form = el2Form(ofValid(XN, XN, "NX", "x "), XN);
const EL2_HVHE: Form = el2Form([...ofValid(PXN, PXN, "PXN", "   "), ...ofValid(XN, XN, "UXN", "   ")], XN_FIELD);

/** @internal The dumps that there are, by what `parsePtdump` says of them. */
export const FORMS: readonly (readonly [options: PtdumpEntryOptions, form: Form])[] = [
  [{ stage: "2", format: "6.12" }, STAGE2["6.12"]],
  [{ stage: "2", format: "7.x" }, STAGE2["7.x"]],
  [{ stage: "hyp", hvhe: false }, EL2],
  [{ stage: "hyp", hvhe: true }, EL2_HVHE],
];

/** @internal The bits of a descriptor that squeezed attributes stand for. */
export function spread(attributes: number): bigint {
  const low = BigInt(attributes) & (LOW_BITS | EL2_LOW_BITS);
  return low | put((attributes & XN_FIELD) >> XN_LOW, XN_CODE) | (attributes & GP ? K.GP : 0n);
}

function formOf({ stage, hvhe, format = "6.12" }: PtdumpEntryOptions): Form {
  if (stage === "hyp") return hvhe ? EL2_HVHE : EL2;
  return STAGE2[format];
}

/** @internal The columns of an entry as they are printed. */
export function columnsText(form: Form, attributes: number): string {
  if (attributes === 0) return "";
  let text = "";
  for (const { mask, value, set, clear } of form.columns) {
    const column = (attributes & mask) === value ? set : clear;
    // A column whose clear form is empty prints nothing at all, not even its space.
    if (column !== "") text += ` ${column}`;
  }
  return text;
}

/** Digits of a size and its unit. */
const SIZE_WIDTH = 10;
const UNITS = ["K", "M", "G", "T", "P", "E"];

/** @internal Size in the largest unit that divides it, at least KiB [DMP-12]: `2M`, `2044K`. */
export function sizeName(bytes: bigint): string {
  let size = bytes >> 10n;
  let unit = 0;
  while (size % 1024n === 0n && unit < UNITS.length - 1 && size !== 0n) {
    size /= 1024n;
    unit++;
  }
  return size.toString() + (UNITS[unit] as string);
}

function digits(address: bigint): string {
  return `0x${address.toString(16).padStart(16, "0")}`;
}

/** Neighbouring entries of one level and equal attributes [DMP-11]. */
export interface PtdumpRun {
  /** First input address. */
  start: bigint;
  /** First address after it. */
  end: bigint;
  /** Level of its entries, -1 to 3. */
  level: number;
  /** The attribute columns as printed, their leading space included; "" for a hole. */
  columns: string;
}

/** @internal The line of a run. */
export function runLine({ start, end, level, columns }: PtdumpRun): string {
  return `${digits(start)}-${digits(end)}   ${sizeName(end - start).padStart(SIZE_WIDTH)} ${level}${columns}`;
}

/** The runs of entries in order of address [DMP-11..19]. */
function* runsOf(
  entries: Iterable<PtdumpEntry>,
  shift: number,
  o: PtdumpEntryOptions,
): Generator<PtdumpRun, void, undefined> {
  const form = formOf(o);
  let attributes = -1;
  let level = 0;
  let start = 0n;
  let end = 0n;
  for (const entry of entries) {
    const next = form.attributes(entry.descriptor);
    if (next !== attributes || entry.level !== level || entry.address !== end) {
      if (attributes >= 0) yield { start, end, level, columns: columnsText(form, attributes) };
      attributes = next;
      level = entry.level;
      start = entry.address;
    }
    end = entry.address + (BigInt(entry.count) << BigInt(levelShift(shift, entry.level)));
  }
  if (attributes >= 0 && !o.kernelCompat) yield { start, end, level, columns: columnsText(form, attributes) };
}

/**
 * The lines of a dump, without line ends, from entries in order of address: leaves, annotations and holes alike
 * [DMP-10..19]. The lines depend on nothing else, so raw tables of a real machine can be printed as well.
 *
 * @param shift - log2 of the granule: 12, 14 or 16
 * @example
 * ```ts
 * import { ptdumpOf } from "granule/report";
 * const entries = [
 *   { address: 0n, level: 3, descriptor: 0x0040_0000_4000_07ffn, count: 1 },
 *   { address: 0x1000n, level: 3, descriptor: 0n, count: 511 },
 * ];
 * const [, page, hole] = ptdumpOf(entries, 12);
 * console.log(page?.slice(40).trim()); // 4K 3   R W X AF
 * console.log(hole?.slice(40).trim()); // 2044K 3
 * ```
 */
export function* ptdumpOf(
  entries: Iterable<PtdumpEntry>,
  shift: number,
  options: PtdumpEntryOptions = {},
): Generator<string, void, undefined> {
  yield formOf(checkEntryOptions(options)).title;
  for (const run of runsOf(entries, shift, options)) yield runLine(run);
}

/** One object for all records: a dump keeps none of them. */
function* entriesOf(table: Table): Generator<PtdumpEntry, void, undefined> {
  const entry: PtdumpEntry = { address: 0n, level: 0, descriptor: 0n, count: 1 };
  for (const record of table.scan({ holes: true })) {
    entry.address = record.address;
    entry.descriptor = record.descriptor;
    entry.level = record.level;
    entry.count = record.entries;
    yield entry;
  }
}

const OPTIONS: OptionKinds<PtdumpEntryOptions> = {
  format: "any",
  kernelCompat: "boolean",
  stage: "any",
  hvhe: "boolean",
};

function checkEntryOptions(options: PtdumpEntryOptions): PtdumpEntryOptions {
  checkOptions("ptdump", options, OPTIONS);
  checkChoice("ptdump", "the format", options.format, [undefined, "6.12", "7.x"]);
  checkChoice("ptdump", "the stage", options.stage, [undefined, "2", "hyp"]);
  return options;
}

/** What a table itself says about its dump. EINVAL for what is no table. */
function optionsOf(table: Table, options: PtdumpOptions): PtdumpEntryOptions {
  if (typeof table?.isHyp !== "boolean") throw invalid("ptdump", "the first argument is not a table");
  checkEntryOptions(options);
  if (!table.isHyp) return options;
  return { ...options, stage: "hyp", hvhe: (table.format.flags & K.T_HVHE) !== 0 };
}

/**
 * The lines of a table's dump, without line ends, one by one: of a stage-2 table as `stage2_page_tables` of debugfs has
 * them; of EL2's table, which no kernel dumps, with the columns of the kernel's stage-1 dump.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { ptdumpLines } from "granule/report";
 * using engine = createEngine();
 * for (const line of ptdumpLines(engine.createStage2())) console.log(line.slice(0, 21).trim());
 * // ---[ Guest IPA ]---
 * // 0x0000000000000000-0x
 * ```
 */
export function ptdumpLines(table: Table, options: PtdumpOptions = {}): Generator<string, void, undefined> {
  const all = optionsOf(table, options);
  return ptdumpOf(entriesOf(table), table.format.ps, all);
}

/**
 * The runs behind the lines of `ptdumpLines`.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { ptdumpRuns } from "granule/report";
 * using engine = createEngine();
 * const table = engine.createStage2({ ipaBits: 40 });
 * table.map(0, 1 << 21, 0x8000_0000, "rw");
 * const [block] = ptdumpRuns(table);
 * console.log(block?.level, block?.end); // 2 2097152n
 * ```
 */
export function ptdumpRuns(table: Table, options: PtdumpOptions = {}): Generator<PtdumpRun, void, undefined> {
  const all = optionsOf(table, options);
  return runsOf(entriesOf(table), table.format.ps, all);
}

/**
 * A stage-2 table's dump in the text of `/sys/kernel/debug/kvm/<vm>/stage2_page_tables`, to `diff` with a live host's; EL2's
 * table in the same form, with columns of its own (`ptdumpLines`).
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { ptdump } from "granule/report";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * table.map(0x4000_0000, 4096, 0x8000_0000, "rw");
 * console.log(ptdump(table).split("\n")[2]?.slice(40).trim()); // 4K 3   R W X AF
 * ```
 */
export function ptdump(table: Table, options: PtdumpOptions = {}): string {
  let text = "";
  for (const line of ptdumpLines(table, options)) text += `${line}\n`;
  return text;
}

/**
 * The entries of raw tables with the holes between them, as `ptdumpOf` wants them. Tables without entries are one hole.
 *
 * @example
 * ```ts
 * import { ptdumpOf, rawEntries } from "granule/report";
 * import { parseS2Raw } from "granule/trace";
 * const raw = parseS2Raw(`# raw stage-2 tables of a VM at freeze point demo.start
 * # granule=4096 ia_bits=30 start_level=2 root_entries=512 root_pa=0x1000 DS=0
 * TABLE level=2 pa=0x1000 ipa=0x0 entries=512
 *   1 0x00400000400007fd
 * # tables=1 nonzero_entries=1
 * `);
 * console.log([...ptdumpOf(rawEntries(raw), 12)].length); // 4: the title, a hole, a block, a hole
 * ```
 */
export function* rawEntries(raw: RawTables): Generator<PtdumpEntry, void, undefined> {
  const places = new Map(raw.tables.map((table) => [`${table.level} ${table.ipa}`, table]));
  const ps = Math.log2(raw.geometry.granule);

  function* walk(table: RawTables["tables"][number]): Generator<PtdumpEntry, void, undefined> {
    const { level, entries } = table;
    const span = 2 ** levelShift(ps, level);
    const at = (index: number) => BigInt(table.ipa + index * span);
    let next = 0;
    for (let i = 0; i < table.indices.length; i++) {
      const index = table.indices[i] as number;
      const descriptor = table.descriptors[i] as bigint;
      if (index > next) yield { address: at(next), level, descriptor: 0n, count: index - next };
      next = index + 1;
      const child = isTable(descriptor, level) && places.get(`${level + 1} ${table.ipa + index * span}`);
      if (child) yield* walk(child);
      else yield { address: at(index), level, descriptor, count: 1 };
    }
    if (next < entries) yield { address: at(next), level, descriptor: 0n, count: entries - next };
  }

  const root = raw.tables[0];
  if (root) yield* walk(root);
}
