// What most tests of tables need: a digest of everything a table holds, and the events of one operation.

import { createHash } from "node:crypto";
import { expect } from "vitest";
import {
  createEngine,
  type Engine,
  type EngineOptions,
  type Entry,
  GranuleError,
  JournalKind,
  type JournalRecord,
  type Table,
} from "../../bindings/index.js";

export const KB4 = 4096;
export const MB2 = 2 << 20;
export const GB1 = 1 << 30;

/** An engine with a journal, small enough to make many. */
export function smallEngine(options: EngineOptions = {}): Engine {
  return createEngine({ arenaBytes: 8 << 20, journalRecords: 1 << 14, ...options });
}

/** Every entry with its references, as text; empty for a destroyed table. */
export function contents(table: Table): string[] {
  if (table.info().rootPa === 0n) return [];
  return [...table.entries({ tables: true })].map(
    (e) => `${e.address.toString(16)} L${e.level} ${e.descriptor.toString(16)} ${e.references}`,
  );
}

/** Contents, root references and page counts, as one hash: equal digests mean that nothing changed. */
export function digest(table: Table): string {
  const { pages, rootPa } = table.info();
  const text = [...contents(table), ...rootReferences(table), pages, rootPa].join("\n");
  return createHash("sha256").update(text).digest("hex");
}

/** Pointer of the page at a physical address. */
export function pointerOf(engine: Engine, pa: bigint): number {
  return Number(pa - engine.physBase) + engine.arenaPointer;
}

/** References of each start table. */
export function rootReferences(table: Table): number[] {
  const { rootPa, rootPages, granule } = table.info();
  if (rootPa === 0n) return [];
  const root = pointerOf(table.engine, rootPa);
  return Array.from({ length: rootPages }, (_, i) => table.engine.core.pageReferences(root + i * granule));
}

/** [WLK-17]: the count of every table is one more than its entries that are not zero. */
export function expectReferences(table: Table): void {
  // A locked slot holds no reference [S2-23].
  const entries = [...table.entries({ tables: true })].filter((e) => e.kind !== "locked");
  const { rootPages, startLevel, granule, inputBits } = table.info();
  const perTable = granule / 8;
  const counts = new Map<string, number>();
  const key = (level: number, address: bigint) => `${level} ${address >> shiftOf(granule, level)}`;
  for (const e of entries) {
    const parent = key(e.level - 1, e.address);
    counts.set(parent, (counts.get(parent) ?? 0) + 1);
  }
  for (const e of entries) {
    if (e.kind === "table")
      expect(e.references, `table at ${e.address}`).toBe(1 + (counts.get(key(e.level, e.address)) ?? 0));
  }
  const roots = new Array<number>(rootPages).fill(1);
  for (const e of entries) {
    if (e.level !== startLevel) continue;
    const page = Number(e.address >> shiftOf(granule, startLevel)) / perTable;
    roots[Math.floor(page)] = (roots[Math.floor(page)] as number) + 1;
  }
  expect(rootReferences(table), `start tables of ${inputBits} bits`).toEqual(roots);
}

/** log2 of what an entry of `level` covers. */
export function shiftOf(granule: number, level: number): bigint {
  return BigInt((4 - level) * (Math.log2(granule) - 3) + 3);
}

/** The entries that are valid leaves, by address. */
export function leaves(table: Table): Entry[] {
  return [...table.leaves()];
}

const KIND_NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(JournalKind).map(([name, kind]) => [kind, name]),
);

/** Performs `operation` with the journal on and gives its records. */
export function recorded(engine: Engine, operation: () => unknown, kinds?: readonly number[]): JournalRecord[] {
  engine.journal.start(kinds);
  try {
    operation();
    expect(engine.journal.lost).toBe(0);
    return engine.journal.read();
  } finally {
    engine.journal.stop();
  }
}

const TLBI_KINDS: readonly number[] = [
  JournalKind.TLBI_IPA,
  JournalKind.TLBI_IPA_LOCAL,
  JournalKind.TLBI_RANGE,
  JournalKind.TLBI_VMID,
  JournalKind.TLBI_VA,
  JournalKind.TLBI_VA_LAST,
];

/** The TLBIs of an operation: `TLBI_IPA 0x1000 L3`, `TLBI_RANGE 0x0 x512`. */
export function tlbis(engine: Engine, operation: () => unknown): string[] {
  return recorded(engine, operation, TLBI_KINDS).map(describeRecord);
}

export const HINT_NONE = 0x7fffffff;

/** A record as text. */
export function describeRecord(r: JournalRecord): string {
  const name = KIND_NAMES[r.kind] ?? String(r.kind);
  if (r.kind === JournalKind.TLBI_VMID) return name;
  const tail = r.kind === JournalKind.TLBI_RANGE ? `x${r.a}` : r.level === HINT_NONE ? "no hint" : `L${r.level}`;
  return `${name} 0x${r.address.toString(16)} ${tail}`;
}

/** Names of the kinds of an operation's records, in order. */
export function kindsOf(records: readonly JournalRecord[]): string[] {
  return records.map((r) => KIND_NAMES[r.kind] ?? String(r.kind));
}

/** The code of the GranuleError that `operation` throws; "" if it throws none. Anything else fails the test. */
export function codeOf(operation: () => unknown): string {
  try {
    operation();
  } catch (error) {
    if (error instanceof GranuleError) return error.code;
    throw error;
  }
  return "";
}

/** `operation` is refused with `code`, and the table is exactly as before [PROP-8]. */
export function expectRefused(table: Table, code: string, operation: () => unknown): void {
  const before = digest(table);
  const { taken } = table.engine.arena();
  expect(codeOf(operation)).toBe(code);
  expect(digest(table)).toBe(before);
  expect(table.engine.arena().taken).toBe(taken);
}

/** Index in `engine.u64` of the entry where the translation of `addr` ends: for writing as the hardware would, or as an attacker. */
export function slotOf(table: Table, addr: bigint): number {
  const { engine, granule } = table;
  const { rootPa, startLevel, rootPages } = table.info();
  const perTable = BigInt(granule / 8);
  let at =
    pointerOf(engine, rootPa) / 8 + Number((addr >> shiftOf(granule, startLevel)) % (perTable * BigInt(rootPages)));
  for (let level = startLevel; level < 3; level++) {
    const descriptor = engine.u64[at] as bigint;
    if ((descriptor & 3n) !== 3n) break;
    const lpa2 = 0; // tables of these tests lie below 2^48
    const child = BigInt.asUintN(64, engine.core.outputAddress(Math.log2(granule), lpa2, descriptor));
    at = pointerOf(engine, child) / 8 + Number((addr >> shiftOf(granule, level + 1)) % perTable);
  }
  return at;
}
