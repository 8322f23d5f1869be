// Two tables compared by what they map, from whatever sources.

import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { span } from "../core/granule.js";
import { hex } from "../model/address.js";
import { granuleShift } from "../model/granule.js";
import { explain } from "./explain.js";
import { digits, type Field } from "./fields.js";
import type { LeafRun, LeafTable } from "./leaf-runs.js";
import { sizeName } from "./ptdump.js";

/** One field in which the leaves of a range differ, and what it says on both sides. */
export interface FieldDifference {
  /** `level`, `PA`, or the field's name as `explain` has it: `S2AP`, `XN`, `AF`, `MemAttr`, `SH`, ... */
  field: string;
  /** What it says in the first table. */
  a: string;
  /** What it says in the second table. */
  b: string;
}

/** A range that both tables map, but not in the same way. */
export interface LeafDifference {
  /** First input address. */
  start: bigint;
  /** First input address behind the range. */
  end: bigint;
  /** The fields that differ. */
  fields: FieldDifference[];
}

/** What two tables map differently. */
export interface TableDifference {
  /** Mapped only by the first. */
  onlyA: LeafRun[];
  /** Mapped only by the second. */
  onlyB: LeafRun[];
  /** Mapped by both, but not in the same way. */
  different: LeafDifference[];
}

/** What not to compare. */
export interface DiffOptions {
  /** Names of fields, as `FieldDifference` has them; capitals do not matter. */
  ignore?: readonly string[];
}

/** The fields of `FieldDifference` that a stage has. */
const FIELDS: Readonly<Record<LeafTable["stage"], readonly string[]>> = {
  "2": ["level", "PA", "XN", "S2AP", "AF", "MemAttr", "SH", "Cont", "DBM", "SW", "nT", "other"],
  hyp: [
    "level",
    "PA",
    "XN",
    "UXN",
    "PXN",
    "AP",
    "AF",
    "Attr",
    "SH",
    "Cont",
    "DBM",
    "GP",
    "nG",
    "NS",
    "SW",
    "nT",
    "other",
  ],
};

/**
 * The fields in which leaves can differ, by the names that `ignore` takes.
 *
 * @example
 * ```ts
 * import { diffFields } from "granule/report";
 * console.log(diffFields("2").slice(0, 4).join()); // level,PA,XN,S2AP
 * ```
 */
export function diffFields(stage: "2" | "hyp"): readonly string[] {
  return FIELDS[stage];
}

/** Fields whose meaning is clearer than their bits. */
const IN_WORDS = new Set(["XN", "UXN", "PXN", "S2AP", "AP", "AF", "MemAttr", "Attr", "SH"]);

/** What a field's bits say on both sides: the beginning of its meaning, or its digits. */
function sides(a: Field, b: Field): [string, string] {
  const [left = "", right = ""] = [a, b].map(({ meaning }) => meaning.replace(/ \(.*|[:,] .*/, ""));
  return IN_WORDS.has(a.name) && left !== right ? [left, right] : [digits(a), digits(b)];
}

class Comparison {
  readonly #a: LeafTable;
  readonly #b: LeafTable;
  readonly #ignore: ReadonlySet<string>;
  readonly #known: bigint;
  readonly found: TableDifference = { onlyA: [], onlyB: [], different: [] };
  /** Where the last difference's output addresses lead, one from the other. */
  #distance: bigint | undefined;

  constructor(a: LeafTable, b: LeafTable, ignore: ReadonlySet<string>) {
    this.#a = a;
    this.#b = b;
    this.#ignore = ignore;
    this.#known = a.known & b.known;
  }

  /** What of a run lies in [start, end). */
  static part(run: LeafRun, start: bigint, end: bigint): LeafRun {
    return { ...run, start, end, pa: run.pa === undefined ? undefined : run.pa + (start - run.start) };
  }

  #levelName(table: LeafTable, level: number): string {
    const size = table.granule === undefined ? "" : ` (${sizeName(span(granuleShift(table.granule), level))})`;
    return `${level}${size}`;
  }

  #bits(run: LeafRun, table: LeafTable): Field[] {
    const descriptor = run.attributes | K.VALID | (run.level === K.LAST_LEVEL ? K.TYPE : 0n);
    const { stage, hvhe, granule = 4096 } = table;
    return explain(descriptor, { stage, hvhe, granule, level: run.level, xnx: true })[0]?.fields ?? [];
  }

  #attributes(a: LeafRun, b: LeafRun): FieldDifference[] {
    const differing = (a.attributes ^ b.attributes) & this.#known;
    if (differing === 0n) return [];
    const other = this.#bits(b, this.#b);
    const fields: FieldDifference[] = [];
    for (const field of this.#bits(a, this.#a)) {
      const mask = ((1n << BigInt(field.high - field.low + 1)) - 1n) << BigInt(field.low);
      const twin = other.find(({ high, low }) => high === field.high && low === field.low);
      if ((differing & mask) === 0n) continue;
      const name = field.name === "-" || !twin ? "other" : field.name;
      const [left, right] = twin ? sides(field, twin) : [hex(a.attributes), hex(b.attributes)];
      fields.push({ field: name, a: left, b: right });
    }
    return fields;
  }

  #fields(a: LeafRun, b: LeafRun): FieldDifference[] {
    const fields: FieldDifference[] = [];
    if (a.level !== b.level) {
      fields.push({ field: "level", a: this.#levelName(this.#a, a.level), b: this.#levelName(this.#b, b.level) });
    }
    if (a.pa !== undefined && b.pa !== undefined && a.pa !== b.pa)
      fields.push({ field: "PA", a: hex(a.pa), b: hex(b.pa) });
    return [...fields, ...this.#attributes(a, b)].filter(({ field }) => !this.#ignore.has(field.toLowerCase()));
  }

  both(a: LeafRun, b: LeafRun): void {
    const fields = this.#fields(a, b);
    if (fields.length === 0) return;
    const last = this.found.different.at(-1);
    const distance = a.pa === undefined || b.pa === undefined ? undefined : a.pa - b.pa;
    if (last?.end === a.start && distance === this.#distance && sameFields(last.fields, fields)) last.end = a.end;
    else this.found.different.push({ start: a.start, end: a.end, fields });
    this.#distance = distance;
  }
}

function sameFields(a: readonly FieldDifference[], b: readonly FieldDifference[]): boolean {
  const same = (one: FieldDifference, other: FieldDifference | undefined) =>
    one.field === other?.field && (one.field === "PA" || (one.a === other.a && one.b === other.b));
  return a.length === b.length && a.every((one, i) => same(one, b[i]));
}

/** Goes through both lists at once, from one beginning or end of a run to the next. */
function sweep(a: readonly LeafRun[], b: readonly LeafRun[], comparison: Comparison): void {
  const { found } = comparison;
  let i = 0,
    j = 0,
    at = 0n;
  while (i < a.length || j < b.length) {
    const left = a[i],
      right = b[j];
    const from = (run: LeafRun | undefined) => (run === undefined ? undefined : run.start > at ? run.start : at);
    const [x, y] = [from(left), from(right)];
    if (left && x !== undefined && (y === undefined || x < y)) {
      at = y === undefined || left.end <= y ? left.end : y;
      found.onlyA.push(Comparison.part(left, x, at));
    } else if (right && y !== undefined && (x === undefined || y < x)) {
      at = x === undefined || right.end <= x ? right.end : x;
      found.onlyB.push(Comparison.part(right, y, at));
    } else if (left && right && x !== undefined) {
      at = left.end < right.end ? left.end : right.end;
      comparison.both(Comparison.part(left, x, at), Comparison.part(right, x, at));
    }
    if (left && left.end <= at) i++;
    if (right && right.end <= at) j++;
  }
}

/**
 * Compares what two tables map: ranges that only one of them maps, and ranges that both map with other fields. What one
 * of the sources does not tell is not compared. A block and the pages that map the same differ in their level alone.
 * EINVAL for tables of different stages, and for a name in `ignore` that is no field.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { diffTables, leafTable } from "granule/report";
 * using engine = createEngine();
 * const tables = ["rw", "r"].map((prot) => {
 *   const table = engine.createStage2();
 *   table.map(0x4000_0000, 2 << 20, 0x8000_0000, prot);
 *   return leafTable(table.leaves(), { stage: "2", granule: 4096 });
 * });
 * const { different } = diffTables(tables[0]!, tables[1]!);
 * console.log(different[0]?.fields); // [ { field: 'S2AP', a: 'read and write', b: 'read only' } ]
 * ```
 */
export function diffTables(a: LeafTable, b: LeafTable, options: DiffOptions = {}): TableDifference {
  if (a.stage !== b.stage) throw invalid("diffTables", "one table is a stage 2, the other EL2's own");
  const fields = FIELDS[a.stage];
  const ignore = (options.ignore ?? []).map((name) => name.toLowerCase());
  for (const [i, name] of ignore.entries()) {
    if (!fields.some((field) => field.toLowerCase() === name))
      throw invalid("diffTables", `${options.ignore?.[i]} is not a field: ${fields.join(" ")}`);
  }
  const comparison = new Comparison(a, b, new Set(ignore));
  sweep(a.runs, b.runs, comparison);
  return comparison.found;
}
