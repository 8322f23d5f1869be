import * as K from "../core/constants.generated.js";
import { ptdumpLines } from "../report/ptdump.js";
import type { Check, TextCheck } from "../report/replay.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { S2RawDump, S2RawLeaf } from "../trace/index.js";
import { scannedAddress } from "./replayer.js";

const MAX_EXAMPLES = 4;

function show(leaf: S2RawLeaf): string {
  return `0x${leaf.ipa.toString(16)} level ${leaf.level} 0x${leaf.descriptor.toString(16).padStart(16, "0")}`;
}

/** Counts what two lists of leaves have in common, in order of address. */
class Comparison {
  leaves = 0;
  matched = 0;
  missing = 0;
  extra = 0;
  differing = 0;
  hardwareDirty = 0;
  readonly accessFlag = { set: 0, clear: 0 };
  readonly examples: string[] = [];
  readonly #hardwareDirty: boolean;
  readonly #compared: bigint;

  /** @param ignored - bits that are not compared */
  constructor(hardwareDirty: boolean, ignored: bigint) {
    this.#hardwareDirty = hardwareDirty;
    this.#compared = ~ignored;
  }

  #example(text: string): void {
    if (this.examples.length < MAX_EXAMPLES) this.examples.push(text);
  }

  onlyTheirs(leaf: S2RawLeaf): void {
    this.missing++;
    this.#example(`missing: ${show(leaf)}`);
  }

  onlyOurs(leaf: S2RawLeaf): void {
    this.extra++;
    this.#example(`extra: ${show(leaf)}`);
  }

  both(theirs: S2RawLeaf, ours: bigint): void {
    let differing = (theirs.descriptor ^ ours) & this.#compared;
    if (differing === 0n) {
      this.matched++;
      return;
    }
    if (differing & K.AF) this.accessFlag[theirs.descriptor & K.AF ? "set" : "clear"]++;
    differing &= ~K.AF;
    if (this.#hardwareDirty && differing === K.S2_W && theirs.descriptor & K.DBM) {
      this.hardwareDirty++;
      differing = 0n;
    }
    if (differing === 0n) this.matched++;
    else {
      this.differing++;
      this.#example(`differs: ${show(theirs)}, here 0x${ours.toString(16).padStart(16, "0")}`);
    }
  }
}

/** Our leaves and annotations in order of address. */
function* ourLeaves(table: Stage2Table): Generator<S2RawLeaf, void, undefined> {
  for (const record of table.scan()) {
    yield { ipa: scannedAddress(record), level: record.level, descriptor: record.descriptor };
  }
}

/** The address bits of a table's leaves. */
function addressBits(table: Stage2Table): bigint {
  const { ps, flags } = table.format;
  return BigInt.asUintN(64, table.engine.core.outputMask(ps, flags & K.T_LPA2 ? 1 : 0));
}

function compare(table: Stage2Table | undefined, dump: S2RawDump, addresses: boolean): Comparison {
  const ignored = addresses || !table ? 0n : addressBits(table);
  const result = new Comparison(Boolean((dump.registers.get("VTCR_EL2") ?? 0n) & K.VTCR_HD), ignored);
  const ours: Iterator<S2RawLeaf, void> = table ? ourLeaves(table) : [][Symbol.iterator]();
  let mine = ours.next();
  for (const leaf of dump.leaves()) {
    result.leaves++;
    for (; !mine.done && mine.value.ipa < leaf.ipa; mine = ours.next()) result.onlyOurs(mine.value);
    if (mine.done || mine.value.ipa > leaf.ipa) {
      result.onlyTheirs(leaf);
      continue;
    }
    if (mine.value.level === leaf.level) result.both(leaf, mine.value.descriptor);
    else {
      result.onlyTheirs(leaf);
      result.onlyOurs(mine.value);
    }
    mine = ours.next();
  }
  for (; !mine.done; mine = ours.next()) result.onlyOurs(mine.value);
  return result;
}

/** How a comparison is made. */
export interface CheckOptions {
  /** Compare output addresses, too. Where granule chose them itself they cannot be equal. Default true. */
  readonly addresses?: boolean;
  /** Events were lost before this point. Default false. */
  readonly afterLoss?: boolean;
}

/**
 * Compares tables with a dump: address, level and descriptor of every leaf. The access flag, and dirty state where the
 * hardware keeps it, are counted apart, for the guest went on setting them.
 *
 * @param tables - tables of the VMs that exist now; a dump does not say whose it is, so the nearest one counts
 */
export function checkLeaves(
  tables: readonly Stage2Table[],
  dump: S2RawDump,
  file: string,
  { addresses = true, afterLoss = false }: CheckOptions = {},
): Check {
  let best: Comparison | undefined;
  for (const table of tables.length > 0 ? tables : [undefined]) {
    const next = compare(table, dump, addresses);
    if (best === undefined || faults(next) < faults(best)) best = next;
  }
  const { leaves, matched, missing, extra, differing, accessFlag, hardwareDirty, examples } = best as Comparison;
  const point = `${dump.scenario}.${dump.point}`;
  return { point, file, leaves, matched, missing, extra, differing, accessFlag, hardwareDirty, examples, afterLoss };
}

function faults(c: Comparison): number {
  return c.missing + c.extra + c.differing;
}

/** A check that could not be made, with the reason. */
export function skippedCheck(dump: S2RawDump, file: string, skipped: string): Check {
  return {
    point: `${dump.scenario}.${dump.point}`,
    file,
    leaves: 0,
    matched: 0,
    missing: 0,
    extra: 0,
    differing: 0,
    accessFlag: { set: 0, clear: 0 },
    hardwareDirty: 0,
    examples: [],
    afterLoss: false,
    skipped,
  };
}

/** Columns of 7.x spell execution as two rights. */
const COLUMNS_7 = /\b(?:px|PXN) ?(?:ux|UXN)/;

/** Lines of a dump that are not those of another at the same place. */
interface TextDifference {
  readonly differing: number;
  readonly examples: readonly string[];
}

function textDifferences(ours: Iterator<string, void>, theirs: readonly string[]): TextDifference {
  const examples: string[] = [];
  let differing = 0;
  for (let i = 0; ; i++) {
    const line = ours.next();
    const mine = line.done ? undefined : line.value;
    if (mine === undefined && theirs[i] === undefined) return { differing, examples };
    if (mine === theirs[i]) continue;
    differing++;
    if (examples.length < MAX_EXAMPLES)
      examples.push(`line ${i + 1}: ${theirs[i] ?? "(none)"} / here ${mine ?? "(none)"}`);
  }
}

/** One line of a dump: a stretch of addresses of one level and one set of attributes. */
interface Stretch {
  readonly start: bigint;
  end: bigint;
  /** Level and attributes, without the access flag. */
  readonly what: string;
}

const STRETCH = /^(0x[0-9a-f]{1,16})-(0x[0-9a-f]{1,16}) +\d+[BKMGTPE] (-?\d)(.*)$/;
/** The last two columns of an entry: the access flag, and BLK. */
const ACCESS_FLAG = / (?:AF| {2})( BLK| {4})$/;

/** A dump without its access flags. */
interface Plain {
  /** Neighbours that differ in nothing but the flag are one stretch. */
  readonly stretches: Stretch[];
  /** Lines that are no stretches, such as the title. */
  readonly others: string[];
}

function withoutAccessFlags(lines: Iterable<string>): Plain {
  const stretches: Stretch[] = [];
  const others: string[] = [];
  for (const line of lines) {
    const [, start, end, level, columns] = STRETCH.exec(line) ?? [];
    if (start === undefined || end === undefined) {
      others.push(line);
      continue;
    }
    const what = `${level}${columns?.replace(ACCESS_FLAG, "$1") ?? ""}`;
    const last = stretches.at(-1);
    if (last?.end === BigInt(start) && last.what === what) last.end = BigInt(end);
    else stretches.push({ start: BigInt(start), end: BigInt(end), what });
  }
  return { stretches, others };
}

/**
 * Are two dumps equal but for access flags? The kernel does not print its last run, so what lies behind the end of its
 * text is not compared; it can be one stretch only.
 */
function equalButAccessFlags(ours: Plain, theirs: Plain): boolean {
  const end = theirs.stretches.at(-1)?.end;
  if (end === undefined || ours.others.join("\n") !== theirs.others.join("\n")) return false;
  const inside = ours.stretches.filter((s) => s.start < end);
  const behind = ours.stretches.filter((s) => s.end > end);
  if (behind.length > 1 || inside.length !== theirs.stretches.length) return false;
  return inside.every((s, i) => {
    const other = theirs.stretches[i] as Stretch;
    return s.start === other.start && s.what === other.what && (s.end === other.end || other.end === end);
  });
}

/**
 * Compares our ptdump text with the kernel's own, line by line and byte for byte. The kernel never prints the last
 * run [DMP-17]; neither do we here. Where the texts differ in nothing but access flags, which hardware may have set,
 * the lines are counted apart.
 */
export function checkText(
  tables: readonly Stage2Table[],
  text: string,
  point: string,
  file: string,
  { afterLoss = false }: CheckOptions = {},
): TextCheck {
  const theirs = text.replace(/\n$/, "").split("\n");
  const lines = theirs.length;
  const format = COLUMNS_7.test(text) ? "7.x" : "6.12";
  let best: TextDifference | undefined;
  for (const table of tables) {
    const next = textDifferences(ptdumpLines(table, { format, kernelCompat: true }), theirs);
    const ours = next.differing === 0 ? [] : [...ptdumpLines(table, { format })];
    if (ours.length > 0 && equalButAccessFlags(withoutAccessFlags(ours), withoutAccessFlags(theirs))) {
      const same = new Set(ours);
      const accessFlag = theirs.filter((line) => !same.has(line)).length;
      return { point, file, lines, differing: 0, accessFlag, examples: [], afterLoss };
    }
    if (best === undefined || next.differing < best.differing) best = next;
  }
  const { differing, examples } = best ?? { differing: lines, examples: ["there is no table here"] };
  return { point, file, lines, differing, accessFlag: 0, examples, afterLoss };
}
