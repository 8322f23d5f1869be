// Tables whose memory was damaged behind the core's back: entries that name no table, counts that say something else than the
// entries, pages that are no longer taken. The core warns, leaves what it cannot understand, and gives nothing back twice.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine, JournalKind, type Stage2Table } from "../../bindings/index.js";
import { codeOf, KB4, MB2, pointerOf, recorded, shiftOf, slotOf, smallEngine } from "../support/tables.js";

/** A table descriptor of a page that is nowhere in the arena. */
const NOWHERE = 0xdead_0000_0003n;

/** Index in `engine.u64` of the entry of `level` above the page of `addr`. */
function entryAbove(table: Stage2Table, addr: bigint, level: number): number {
  const { engine, granule } = table;
  const { rootPa, startLevel } = table.info();
  let at = pointerOf(engine, rootPa) / 8 + Number(addr >> shiftOf(granule, startLevel));
  for (let l = startLevel; l < level; l++) {
    const below = pointerOf(engine, (engine.u64[at] as bigint) & 0xffff_ffff_f000n);
    at = below / 8 + Number((addr >> shiftOf(granule, l + 1)) % BigInt(granule / 8));
  }
  return at;
}

function withPages(n = 3) {
  const engine = smallEngine();
  const before = engine.arena().taken;
  const table = engine.createStage2({ ipaBits: 39 });
  table.map(0, n * KB4, 0, "rw");
  return { engine, table, before };
}

const warnings = (table: Stage2Table) => table.engine.counters().warnings;

describe("an entry that names no table", () => {
  it("is an EFAULT for every walk that has to descend into it [WLK-9]", () => {
    const { engine, table } = withPages();
    table.map(MB2, KB4, 0, "rw");
    engine.u64[entryAbove(table, 0n, 2)] = NOWHERE;
    const operations: (() => unknown)[] = [
      () => table.leaf(0),
      () => table.countLeaves(),
      () => table.unmap(0, MB2),
      () => table.unmap(0, KB4),
      () => table.map(0, KB4, 0x9000, "r"),
      () => table.wrprotect(0, KB4),
      () => table.relaxPerms(0, "x"),
      () => table.mkyoung(0),
      () => table.testClearYoung(0, 2 * KB4, true),
      () => [...table.entries({ tables: true })],
    ];
    expect(operations.map(codeOf)).toEqual(operations.map(() => "EFAULT"));
    expect(table.leaf(MB2).kind).toBe("page"); // its neighbour is as before
  });

  it("ends a column of lookups with EFAULT", () => {
    const { engine, table } = withPages();
    engine.u64[entryAbove(table, 0n, 2)] = NOWHERE;
    using columns = engine.createColumns(2);
    columns.addresses.set([BigInt(MB2), 0n]);
    expect(codeOf(() => table.leafColumns(columns, 2))).toBe("EFAULT");
  });

  it("is a warning where the table goes: the rest of it is freed, and the page that nothing names is lost [S2-27]", () => {
    const { engine, table, before } = withPages();
    engine.u64[entryAbove(table, 0n, 2)] = NOWHERE;
    table.close();
    expect(engine.counters().warnings).toBe(1);
    expect(engine.arena().taken - before).toBe(2 * KB4); // that page, and its parent, where the walk had to stop
  });
});

describe("a page that is in use and no longer taken", () => {
  it("is not given back a second time: a warning [PROP-4]", () => {
    const { engine, table } = withPages();
    const page = Math.floor((slotOf(table, 0n) * 8) / KB4) * KB4;
    engine.giveBlock(page);
    const { taken } = engine.arena();
    table.unmap(0, 3 * KB4);
    expect(warnings(table)).toBe(1);
    expect(engine.arena().taken).toBe(taken - KB4); // its parent alone
  });

  it("inside a block of start tables goes with the block, and not before", () => {
    const engine = smallEngine();
    const { taken } = engine.arena();
    const table = engine.createStage2({ ipaBits: 40 });
    expect(table.info().rootPages).toBe(2);
    // The second start table is named by an entry of the first, as no table is.
    const root = pointerOf(engine, table.info().rootPa);
    engine.u64[root / 8] = table.info().rootPa + BigInt(KB4) + 3n;
    table.unmap(0, KB4);
    expect(warnings(table)).toBe(1);
    engine.u64[root / 8] = 0n;
    table.close();
    expect(engine.arena().taken).toBe(taken);
  });
});

describe("a count that says something else than the entries", () => {
  it("above: the table stays when it is empty, and nothing is counted that was not there [S2-12]", () => {
    const { engine, table } = withPages();
    for (let i = 0; i < 3; i++) engine.u64[slotOf(table, 0n) + i] = 0n;
    const before = engine.counters();
    table.unmap(0, MB2);
    const { leavesCleared, tablesFreed } = engine.counters();
    expect([leavesCleared, tablesFreed]).toEqual([before.leavesCleared, before.tablesFreed]);
    expect(table.leaf(0)).toMatchObject({ kind: "hole", level: 3 });
  });

  it("below: more entries than references are a warning, and the table is not freed under them", () => {
    const { engine, table } = withPages(1);
    const at = slotOf(table, 0n);
    engine.u64[at + 1] = engine.u64[at] as bigint;
    engine.u64[at + 2] = engine.u64[at] as bigint;
    const taken = engine.arena().taken;
    table.unmap(0, 3 * KB4);
    expect(warnings(table)).toBeGreaterThan(0);
    expect(engine.arena().taken).toBeLessThanOrEqual(taken);
  });
});

describe("creating a table", () => {
  it("that there is no memory for gives its record back: it can be tried as often as one likes [BUG-43]", () => {
    using engine = createEngine({ arenaBytes: 1 << 20, maxTables: 2 });
    const blocks: number[] = [];
    for (let p = engine.core.takeBlock(0); p !== 0; p = engine.core.takeBlock(0)) blocks.push(p >>> 0);
    const tries = Array.from({ length: 5 }, () => codeOf(() => engine.createStage2({ ipaBits: 39 })));
    expect(tries).toEqual(tries.map(() => "ENOMEM"));
    for (const block of blocks) engine.giveBlock(block);
    expect(engine.createStage2({ ipaBits: 39 }).info().rootPages).toBe(1);
  });
});

describe("a table that is torn down", () => {
  it.each([
    ["at once", (table: Stage2Table) => table.destroy()],
    ["in pieces", (table: Stage2Table) => table.destroyRange(0, MB2)],
  ])("%s is said to be gone before anything of it is freed, and nothing of it is flushed [TLB-32]", (_, end) => {
    const { engine, table } = withPages();
    const { rootPa, startLevel } = table.info();
    const { walks } = engine.counters();
    const records = recorded(engine, () => end(table));
    expect(engine.counters().walks).toBe(walks + 1);
    expect(records[0]).toMatchObject({ kind: JournalKind.TABLE_GONE, address: rootPa, level: startLevel });
    const flushes: number[] = [K.J_TLBI_IPA, K.J_TLBI_RANGE, K.J_TLBI_VMID];
    expect(records.filter(({ kind }) => flushes.includes(kind))).toEqual([]);
  });
});
