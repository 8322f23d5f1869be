// Counters: always on, the same with the journal and without, and as many as the journal has records of their kind.

import { describe, expect, it } from "vitest";
import {
  type Counters,
  createEngine,
  type Engine,
  JournalKind,
  joinEngine,
  type Stage2Table,
} from "../../bindings/index.js";
import { CONFIGURATIONS } from "../support/configurations.js";
import { Random, SEED } from "../support/random.js";
import { codeOf, GB1, KB4, MB2, recorded, smallEngine } from "../support/tables.js";

/** A bit of everything that leaves a trace. */
function operate(table: Stage2Table, page: number, block: number): void {
  table.map(0, 3 * block, 0x4000_0000, "rx");
  table.split(block, block);
  table.map(page, page, 0, "rw");
  table.wrprotect(0, block);
  table.relaxPerms(page, "w");
  table.relaxPerms(2 ** 35, "w");
  table.testClearYoung(0, 2 * block, true);
  table.mkyoung(page);
  table.flush(0, 3 * block);
  table.map(block, block, 0x4000_0000, "rw");
  table.flushTlbRange(0, 7 * page);
  table.unmap(page, 2 * block);
  table.unmap(0, 3 * block);
  table.setOwner(0, 3 * page, 1);
}

/** Instructions of a range flush, counted as TLB-8 says it in words. */
function instructions(start: number, pages: number, granule: number, lpa2: boolean): number {
  let [at, left, count] = [start, pages, 0];
  for (let scale = 3; left > 0; ) {
    const single = left === 1 || (lpa2 && at % 65536 !== 0) || scale < 0;
    const unit = 2 ** (5 * scale + 1);
    if (!single && left < unit) {
      scale--;
      continue;
    }
    const done = single ? 1 : Math.min(Math.floor(left / unit), 32) * unit;
    if (!single) scale--;
    at += done * granule;
    left -= done;
    count++;
  }
  return count;
}

/** How many records of a kind there are. */
function records(engine: Engine, operation: () => void): (kind: number) => number {
  const all = recorded(engine, operation);
  return (kind) => all.filter((r) => r.kind === kind).length;
}

describe.each(CONFIGURATIONS)("counters on %s", (_, config) => {
  const page = config.granule ?? KB4;
  const block = page * (page / 8);
  const make = (journalRecords: number) => {
    const engine = createEngine({ arenaBytes: 16 << 20, journalRecords });
    return { engine, table: engine.createStage2(config) };
  };

  it("are as many as the records of the journal", () => {
    const { engine, table } = make(1 << 17);
    const before = engine.counters();
    const of = records(engine, () => operate(table, page, block));
    const c = engine.counters();
    const K = JournalKind;
    expect({
      tlbiIpa: c.tlbiIpa,
      tlbiIpaLocal: c.tlbiIpaLocal,
      tlbiRange: c.tlbiRange,
      tlbiVmid: c.tlbiVmid,
      dsb: c.dsb - before.dsb,
      isb: c.isb - before.isb,
      dcache: c.dcache,
      icache: c.icache,
      warnings: c.warnings,
      tablesTaken: c.tablesTaken - before.tablesTaken,
      tablesFreed: c.tablesFreed,
    }).toEqual({
      tlbiIpa: of(K.TLBI_IPA),
      tlbiIpaLocal: of(K.TLBI_IPA_LOCAL),
      tlbiRange: of(K.TLBI_RANGE),
      tlbiVmid: of(K.TLBI_VMID),
      dsb: of(K.DSB),
      isb: of(K.ISB),
      dcache: of(K.DCACHE),
      icache: of(K.ICACHE),
      warnings: of(K.WARN),
      tablesTaken: of(K.TABLE_TAKEN),
      tablesFreed: of(K.TABLE_FREED),
    });
  });

  it("are the same without a journal, where walks go in bulk", () => {
    const counted = [0, 1 << 17].map((journalRecords): Counters => {
      const { engine, table } = make(journalRecords);
      if (journalRecords > 0) engine.journal.start();
      operate(table, page, block);
      return engine.counters();
    });
    expect(counted[0]).toEqual(counted[1]);
  });
});

describe("counters", () => {
  it("of stage 1: by VA, last level and all levels, with the barriers of each [TLB-33, S1-4]", () => {
    const engine = smallEngine();
    const hyp = engine.createHyp({ vaBits: 39 });
    const made = engine.counters();
    hyp.map(GB1, MB2 + 2 * KB4, 0x4000_0000, "rw");
    expect(engine.counters()).toMatchObject({ dsb: made.dsb + 1, isb: made.isb + 1, tlbiVa: 0, tlbiVaLast: 0 });
    hyp.unmap(GB1, MB2 + 2 * KB4);
    // Three leaves and the level-3 and level-2 tables that are empty then: 2 DSBs and an ISB each.
    expect(engine.counters()).toMatchObject({
      tlbiVa: 2,
      tlbiVaLast: 3,
      dsb: made.dsb + 1 + 10,
      isb: made.isb + 1 + 5,
      leavesMade: 3,
      leavesCleared: 3,
    });
  });

  it("of bytes: each operation's size, at PoC and PoU [CMO-7]", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39, fwb: false });
    table.map(MB2, MB2, 0x4000_0000, "rx");
    table.map(0, 3 * KB4, 0x8000_0000, "rx");
    const total = { dcache: 4, dcacheBytes: MB2 + 3 * KB4, icache: 4, icacheBytes: MB2 + 3 * KB4 };
    expect(engine.counters()).toMatchObject(total);
  });

  it("of range instructions: as TLB-8 and TLB-10 say, over several pieces too", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 48 });
    const cases = [
      [513, 1, 2],
      [1, 1, 1],
      [2, 1, 1],
      [3, 1, 2],
      [62, 1, 1],
      [64, 1, 1],
      [65, 1, 2],
      [2 ** 21, 1, 1],
      [2 ** 21 + 1, 2, 2],
      [2 ** 22 + 3, 3, 4],
    ] as const;
    for (const [pages, ranges, operations] of cases) {
      const before = engine.counters();
      table.flushTlbRange(0, BigInt(pages) * 4096n);
      const after = engine.counters();
      expect([after.tlbiRange - before.tlbiRange, after.tlbiRangeOps - before.tlbiRangeOps], `${pages}`).toEqual([
        ranges,
        operations,
      ]);
    }
  });

  it("of range instructions: as an independent count of TLB-8, from any page, with LPA2 and without", () => {
    const random = new Random(SEED);
    for (const [granule, lpa2] of [
      [4096, false],
      [4096, true],
      [16384, true],
      [65536, false],
    ] as const) {
      const engine = smallEngine();
      const table = engine.createStage2({ granule, ipaBits: 42, lpa2 });
      for (let i = 0; i < 60; i++) {
        const first = random.below(200);
        const pages = 1 + random.below(2 ** (1 + random.below(20)));
        const before = engine.counters().tlbiRangeOps;
        table.flushTlbRange(first * granule, pages * granule);
        const counted = engine.counters().tlbiRangeOps - before;
        expect(counted, `seed ${SEED}: ${pages} pages of ${granule} from ${first}, LPA2 ${lpa2}`).toBe(
          instructions(first * granule, pages, granule, lpa2),
        );
      }
    }
  });

  it("of a flush beyond any input space, which 6.12 takes: all pieces and instructions, and one record [TLB-9]", () => {
    const engine = smallEngine({ journalRecords: 1 << 10 });
    const table = engine.createStage2({ ipaBits: 39, quirks: "linux-6.12" });
    const piece = 2 ** 21;
    const known = 2 ** 19;
    for (const [more, operations] of [
      [0, 0],
      [1, 1],
      [3, 2],
      [piece, 1],
      [piece + 3, 3],
      [5 * piece + 1, 6],
    ] as const) {
      const before = engine.counters();
      const bytes = (BigInt(known) * BigInt(piece) + BigInt(more)) * 4096n;
      table.flushTlbRange(0, bytes);
      const after = engine.counters();
      expect(after.tlbiRange - before.tlbiRange, `${more}`).toBe(known + Math.ceil(more / piece));
      expect(after.tlbiRangeOps - before.tlbiRangeOps, `${more}`).toBe(known + operations);
    }
    // What is beyond is one record, behind those of the pieces.
    const beyond = 2 * piece + 1;
    engine.journal.start([JournalKind.TLBI_RANGE]);
    table.flushTlbRange(0, (BigInt(known) * BigInt(piece) + BigInt(beyond)) * 4096n);
    const [last, rest] = engine.journal
      .read()
      .slice(-2)
      .map(({ address, a }) => [address, a]);
    expect(last).toEqual([BigInt(known - 1) * BigInt(piece) * 4096n, BigInt(piece)]);
    expect(rest).toEqual([BigInt(known) * BigInt(piece) * 4096n, BigInt(beyond)]);
    expect(engine.journal.total).toBe(known + 1);
    // From a page that is not 64K aligned each piece takes singles first, under LPA2.
    const lpa2 = engine.createStage2({ ipaBits: 39, lpa2: true, quirks: "linux-6.12" });
    const start = engine.counters().tlbiRangeOps;
    lpa2.flushTlbRange(KB4, BigInt(known + 3) * BigInt(piece) * 4096n);
    const plain = engine.counters().tlbiRangeOps;
    table.flushTlbRange(KB4, BigInt(known + 3) * BigInt(piece) * 4096n);
    expect(engine.counters().tlbiRangeOps - plain).toBe(known + 3);
    const each = instructions(KB4, piece, KB4, true);
    expect(each).toBeGreaterThan(15);
    expect(plain - start).toBe((known + 3) * each);
  });

  it("of a column: what as many single maps count", () => {
    const counted = [false, true].map((inColumns) => {
      const engine = smallEngine();
      const table = engine.createStage2({ ipaBits: 39 });
      table.map(0, KB4, 0x4000_0000, "rw");
      using columns = engine.createColumns(20);
      for (let i = 0; i < 20; i++) {
        columns.addresses[i] = BigInt((i + 1) * KB4);
        columns.values[i] = BigInt(0x4000_0000 + (i + 1) * KB4);
      }
      if (inColumns) table.mapColumns(columns, 20, "rw");
      else for (let i = 1; i <= 20; i++) table.map(i * KB4, KB4, 0x4000_0000 + i * KB4, "rw");
      const { dsb, dcache, dcacheBytes, leavesMade, tablesTaken } = engine.counters();
      return { dsb, dcache, dcacheBytes, leavesMade, tablesTaken };
    });
    expect(counted[1]).toEqual(counted[0]);
    expect(counted[0]).toMatchObject({ leavesMade: 21, dcache: 21 });
  });

  it("are each walker's own, and the sum of all", () => {
    const one = smallEngine({ walkers: 2 });
    const two = joinEngine(one.ticket(1));
    const table = one.createStage2({ ipaBits: 39 });
    const start = one.counters(0).walks;
    table.map(0, KB4, 0, "r");
    (two.adopt(table.ticket()) as Stage2Table).unmap(0, KB4);
    expect([one.counters(0).leavesMade, one.counters(1).leavesMade]).toEqual([1, 0]);
    expect([one.counters(0).leavesCleared, one.counters(1).leavesCleared]).toEqual([0, 1]);
    expect(one.counters(0).walks).toBe(start + 1);
    expect(one.counters().leavesCleared).toBe(1);
    expect(codeOf(() => one.counters(2))).toBe("EINVAL");
  });
});
