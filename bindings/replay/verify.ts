import { T_LPA2 } from "../core/constants.generated.js";
import { ptdumpLines } from "../report/ptdump.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { S2RawDump, S2RawLeaf } from "../trace/index.js";
import { scannedAddress } from "./replayer.js";

/** How our table compares with one dump of the running kernel's. */
export interface Check {
  /** Name of the freeze point. */
  readonly point: string;
  readonly file: string;
  /** Leaves of the dump, and how many of them ours has bit for bit (but for what the hardware sets). */
  readonly leaves: number;
  readonly matched: number;
  /** Leaves that only the dump has, that only ours has, and that differ. */
  readonly missing: number;
  readonly extra: number;
  readonly differing: number;
  /**
   * Leaves that are equal but for the access flag. `set`: the hardware set it since. `clear`: ours has it and the
   * dump has not, which no hardware does; a hardware that sets none leaves it to a fault.
   */
  readonly accessFlag: { readonly set: number; readonly clear: number };
  /** Leaves that are equal but for hardware dirty state. */
  readonly hardwareDirty: number;
  /** The first few differences, as text. */
  readonly examples: readonly string[];
  /** Why nothing was compared; such a check neither passes nor fails. */
  readonly skipped?: string;
}

/** How our text compares with the kernel's own dump of its table. */
export interface TextCheck {
  readonly point: string;
  readonly file: string;
  /** Lines of the kernel's text, and how many of them ours has not at the same place. */
  readonly lines: number;
  readonly differing: number;
  readonly examples: readonly string[];
}

/** Did a check of text find a difference? */
export function textDiffers(check: TextCheck): boolean {
  return check.differing > 0;
}

/** Did a check find a difference? */
export function differs(check: Check): boolean {
  return check.skipped === undefined && check.missing + check.extra + check.differing > 0;
}

const AF = 1n << 10n;
const S2AP_W = 1n << 7n;
const DBM = 1n << 51n;
const VTCR_HD = 1n << 22n;
const MAX_EXAMPLES = 4;

function show(leaf: S2RawLeaf): string {
  return `0x${leaf.ipa.toString(16)} level ${leaf.level} 0x${leaf.descriptor.toString(16).padStart(16, "0")}`;
}

/** Walks two lists of leaves in order of address. */
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
    if (differing & AF) this.accessFlag[theirs.descriptor & AF ? "set" : "clear"]++;
    differing &= ~AF;
    if (this.#hardwareDirty && differing === S2AP_W && theirs.descriptor & DBM) {
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
  return BigInt.asUintN(64, table.engine.core.outputMask(ps, flags & T_LPA2 ? 1 : 0));
}

function compare(table: Stage2Table | undefined, dump: S2RawDump, addresses: boolean): Comparison {
  const ignored = addresses || !table ? 0n : addressBits(table);
  const result = new Comparison(Boolean((dump.registers.get("VTCR_EL2") ?? 0n) & VTCR_HD), ignored);
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

/**
 * Compares tables with a dump: address, level and descriptor of every leaf. The access flag, and dirty state where the
 * hardware keeps it, are apart, for the guest went on setting them.
 *
 * @param tables - tables of the VMs that live now; a dump does not say whose it is, so the nearest one counts
 * @param addresses - whether output addresses are compared: where we chose them ourselves they cannot be equal
 */
export function checkLeaves(tables: readonly Stage2Table[], dump: S2RawDump, file: string, addresses = true): Check {
  let best: Comparison | undefined;
  for (const table of tables.length > 0 ? tables : [undefined]) {
    const next = compare(table, dump, addresses);
    if (best === undefined || faults(next) < faults(best)) best = next;
  }
  const { leaves, matched, missing, extra, differing, accessFlag, hardwareDirty, examples } = best as Comparison;
  const point = `${dump.scenario}.${dump.point}`;
  return { point, file, leaves, matched, missing, extra, differing, accessFlag, hardwareDirty, examples };
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
    skipped,
  };
}

/** Columns of 7.x spell execution as two rights. */
const COLUMNS_7 = /\b(?:px|PXN) ?(?:ux|UXN)/;

function textDifferences(
  ours: Iterator<string, void>,
  theirs: readonly string[],
): { differing: number; examples: string[] } {
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

/**
 * Compares our ptdump text with the kernel's own, line by line and byte for byte. The kernel never prints the last
 * run [DMP-17]; neither do we here.
 */
export function checkText(tables: readonly Stage2Table[], text: string, point: string, file: string): TextCheck {
  const theirs = text.replace(/\n$/, "").split("\n");
  const format = COLUMNS_7.test(text) ? "7.x" : "6.12";
  let best: { differing: number; examples: string[] } | undefined;
  for (const table of tables) {
    const next = textDifferences(ptdumpLines(table, { format, kernelCompat: true }), theirs);
    if (best === undefined || next.differing < best.differing) best = next;
  }
  const { differing, examples } = best ?? { differing: theirs.length, examples: ["no table is left here"] };
  return { point, file, lines: theirs.length, differing, examples };
}
