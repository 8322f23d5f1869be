// The journal: what each record says, field by field; the ring of a walker; which kinds are recorded, and in which order.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { type Engine, JournalKind, type JournalRecord, joinEngine, type Stage2Table } from "../../bindings/index.js";
import { codeOf, GB1, KB4, kindsOf, MB2, recorded, slotOf, smallEngine } from "../support/tables.js";
import { BASE, home, pair, pointsOf } from "../support/walkers.js";

const DSB = ["ishst", "ish", "nshst", "nsh"];
const NO_HINT = 0x7fffffff;

/** A record in full: kind, level or "-" for no hint, address, a and b; a barrier has its domain alone. */
function inFull(record: JournalRecord): string {
  const [kind] = kindsOf([record]);
  const { level, address, a, b } = record;
  if (record.kind === JournalKind.DSB && level === 0 && address === 0n && b === 0n) return `DSB ${DSB[Number(a)]}`;
  return `${kind} ${level === NO_HINT ? "-" : level} ${[address, a, b].map((n) => n.toString(16)).join(" ")}`;
}

const MAINTENANCE = Object.values(JournalKind).filter(
  (kind) => ![JournalKind.WRITE, JournalKind.TABLE_TAKEN, JournalKind.TABLE_FREED].includes(kind as never),
);

function said(engine: Engine, operation: () => unknown): string[] {
  const records = recorded(engine, operation, MAINTENANCE);
  expect(records.map((r) => r.sequence)).toEqual(records.map((_, i) => BigInt(i)));
  expect(records.filter((r) => r.walker !== 0)).toEqual([]);
  return records.map(inFull);
}

function stage2(config: Parameters<Engine["createStage2"]>[0] = {}) {
  const engine = smallEngine();
  return { engine, table: engine.createStage2({ ipaBits: 39, ...config }) };
}

const STAGE1 = (domain: string, form: string) => [`DSB ${domain}`, `${form} - 0 0 0`, `DSB ${domain}`, "ISB 0 0 0 0"];

describe("a record says, in full", () => {
  it("an invalidation by IPA, broadcast [TLB-1]", () => {
    const { engine, table } = stage2({ tlbiRange: false });
    table.map(0, 4 * KB4, 0, "r");
    expect(said(engine, () => table.unmap(KB4, KB4))).toEqual([
      "DSB ishst",
      "TLBI_IPA 3 1000 0 0",
      ...STAGE1("ish", "TLBI_STAGE1"),
    ]);
  });

  it("an invalidation by IPA on this CPU, with and without a leaf [TLB-2, BUG-31]", () => {
    const { engine, table } = stage2();
    table.map(MB2, MB2, 0, "r");
    expect(said(engine, () => table.relaxPerms(MB2 + KB4, "r"))).toEqual([
      "DSB nshst",
      "TLBI_IPA_LOCAL 2 201000 0 0",
      ...STAGE1("nsh", "TLBI_STAGE1_LOCAL"),
    ]);
    expect(said(engine, () => table.relaxPerms(GB1, "r"))[1]).toBe("TLBI_IPA_LOCAL - 40000000 0 0");
  });

  it("an invalidation of a range: address and pages [TLB-3]", () => {
    const { engine, table } = stage2();
    expect(said(engine, () => table.flushTlbRange(GB1, 5 * KB4))).toEqual([
      "DSB ishst",
      "TLBI_RANGE - 40000000 5 0",
      ...STAGE1("ish", "TLBI_STAGE1"),
    ]);
  });

  it("each piece of a large range, one after the other [TLB-9]", () => {
    const { engine, table } = stage2();
    const piece = 2 ** 21;
    const ranges = said(engine, () => table.flushTlbRange(0, BigInt(3 * piece + 2) * 4096n)).filter((l) =>
      /RANGE/.test(l),
    );
    const pieces = [0, 1, 2].map((i) => `TLBI_RANGE - ${(i * piece * KB4).toString(16)} ${piece.toString(16)} 0`);
    expect(ranges).toEqual([...pieces, `TLBI_RANGE - ${(3 * piece * KB4).toString(16)} 2 0`]);
  });

  it("an invalidation of a VMID [TLB-4, TLB-11]", () => {
    const { engine, table } = stage2({ tlbiRange: false });
    const whole = ["DSB ishst", "TLBI_VMID - 0 0 0", "DSB ish", "ISB 0 0 0 0"];
    expect(said(engine, () => table.flushTlbRange(GB1, 5 * KB4))).toEqual(whole);
  });

  it("an invalidation by VA at EL2: the operand, and the level of a leaf [TLB-33]", () => {
    const engine = smallEngine();
    const hyp = engine.createHyp({ vaBits: 39 });
    hyp.map(0x7000_1000, 2 * KB4, 0x9000_0000, "rw");
    const end = ["DSB ish", "ISB 0 0 0 0"];
    expect(said(engine, () => hyp.unmap(0x7000_1000, KB4))).toEqual(["DSB ishst", "TLBI_VA_LAST 3 70001 0 0", ...end]);
    const [leaf, ...tables] = said(engine, () => hyp.unmap(0x7000_2000, KB4)).filter((line) => line.startsWith("TLBI"));
    expect(leaf).toBe("TLBI_VA_LAST 3 70002 0 0");
    expect(tables).toEqual(["TLBI_VA - 70002 0 0", "TLBI_VA - 70002 0 0"]);
  });

  it("the barriers after a map, at stage 1 with an ISB [S1-4, S2-2]", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    const hyp = engine.createHyp({ vaBits: 39 });
    expect(said(engine, () => table.map(0, KB4, 0, "r", { skipCacheMaintenance: true }))).toEqual(["DSB ishst"]);
    expect(said(engine, () => hyp.map(0, KB4, 0, "r"))).toEqual(["DSB ishst", "ISB 0 0 0 0"]);
  });

  it("cache maintenance: the output address and the bytes [CMO-1, CMO-2, CMO-7]", () => {
    const { engine, table } = stage2({ fwb: false });
    expect(said(engine, () => table.map(0, MB2, 0x8000_0000, "rx"))).toEqual([
      "DCACHE 0 80000000 200000 0",
      "ICACHE 0 80000000 200000 0",
      "DSB ishst",
    ]);
  });

  it("a warning: the level, and the address where the walk was", () => {
    const { engine, table } = stage2({ quirks: "linux-6.12" });
    table.poke(0, 0x400n);
    const warnings = said(engine, () => table.walk(0, KB4, (visit) => void visit.tryBreak())).filter((l) =>
      /WARN/.test(l),
    );
    expect(warnings).toEqual(["WARN 1 0 0 0"]);
  });

  it("a write of a descriptor: the slot, what was there and what is there now", () => {
    const { engine, table } = stage2();
    table.map(0, 2 * KB4, 0x4000_0000, "rw");
    const [old, slot] = [table.leaf(0).descriptor, slotOf(table, 0n)];
    const pa = engine.physBase + BigInt(slot * 8 - engine.arenaPointer);
    const writes = recorded(engine, () => table.wrprotect(0, KB4), [JournalKind.WRITE, JournalKind.WRITE_SHARED]);
    expect(writes.map(({ address, a, b }) => [address, a, b])).toEqual([[pa, old, old & ~0x80n]]);
  });

  it("the table, whichever it is", () => {
    const engine = smallEngine();
    const tables = [engine.createStage2({ ipaBits: 39 }), engine.createStage2({ ipaBits: 40 })];
    const named = tables.map((table) => {
      const records = recorded(engine, () => {
        table.map(0, KB4, 0, "r");
        table.unmap(0, KB4);
        table.relaxPerms(0, "r");
        table.flushTlbRange(0, KB4);
      });
      const handles = new Set(records.map((r) => r.table));
      expect(handles.size).toBe(1);
      return [...handles][0];
    });
    expect(named[0]).not.toBe(named[1]);
    expect(named).toEqual(tables.map((table) => table.handle));
  });
});

describe("the ring of a walker", () => {
  /** As many records as operations: a map of one page with only barriers asked for. */
  function fill(table: Stage2Table, operations: number): void {
    for (let i = 0; i < operations; i++) table.map(i * KB4, KB4, 0, "r");
  }

  it("keeps the newest, oldest first, and says how many it lost", () => {
    const engine = smallEngine({ journalRecords: 8 });
    const table = engine.createStage2({ ipaBits: 39 });
    for (const operations of [0, 1, 7, 8, 9, 15, 16, 17, 40]) {
      engine.journal.start([JournalKind.DSB]);
      fill(table, operations);
      const lost = Math.max(0, operations - 8);
      expect([engine.journal.total, engine.journal.lost]).toEqual([operations, lost]);
      const kept = Array.from({ length: operations - lost }, (_, i) => BigInt(lost + i));
      expect(engine.journal.read().map((r) => r.sequence)).toEqual(kept);
    }
  });

  it("is its own: records of one walker stand in no other ring, and behind none", () => {
    const one = smallEngine({ journalRecords: 8, walkers: 2 });
    const two = joinEngine(one.ticket(1));
    const mine = one.createStage2({ ipaBits: 39 });
    const table = two.adopt(mine.ticket()) as Stage2Table;
    one.journal.start([JournalKind.DSB]);
    fill(mine, 3);
    fill(table, 20);
    fill(mine, 20);
    for (const walker of [0, 1]) {
      const records = one.journal.read(walker);
      expect(records.map((r) => r.walker)).toEqual(new Array(8).fill(walker));
      expect(records.every((r) => r.kind === JournalKind.DSB && r.table === mine.handle)).toBe(true);
    }
    // One order over both, 43 records in all, of which the newest 8 of each are kept.
    const order = one.journal.read().map((r) => Number(r.sequence));
    expect(order).toEqual([...Array(8).keys()].map((i) => 15 + i).concat([...Array(8).keys()].map((i) => 35 + i)));
    expect([one.journal.total, one.journal.lost]).toEqual([43, 27]);
    one.journal.start([JournalKind.DSB]);
    fill(table, 2);
    expect(one.journal.read().map((r) => r.sequence)).toEqual([0n, 1n]);
  });

  it("of one record holds the last", () => {
    const engine = smallEngine({ journalRecords: 1 });
    const table = engine.createStage2({ ipaBits: 39 });
    engine.journal.start([JournalKind.DSB]);
    fill(table, 3);
    expect(engine.journal.read().map((r) => r.sequence)).toEqual([2n]);
    expect(engine.journal.lost).toBe(2);
    engine.journal.start([JournalKind.TLBI_IPA_LOCAL]);
    table.relaxPerms(0, "r");
    expect(kindsOf(engine.journal.read())).toEqual(["TLBI_IPA_LOCAL"]);
  });

  it("is begun and ended for all walkers, and touches nothing else", () => {
    for (const journalRecords of [0, 8]) {
      const engine = smallEngine({ journalRecords, walkers: 2 });
      const memory = engine.u32;
      for (const [kinds, words] of [
        [6, journalRecords === 0 ? 2 : 4], // kinds and capacity of each walker
        [0, journalRecords === 0 ? 2 : 4],
        [0, 0],
      ] as const) {
        const before = memory.slice();
        engine.core.setJournal(kinds);
        let changed = 0;
        for (let i = 0; i < before.length; i++) if (before[i] !== memory[i]) changed++;
        expect(changed).toBe(words);
      }
      engine.core.journalInfo(0);
      const { capacity, total } = engine.results.journal;
      expect([capacity, total]).toEqual([0, 0n]);
    }
  });

  it("that an engine was made without is refused, and nothing is recorded anywhere", () => {
    const engine = smallEngine({ journalRecords: 0 });
    const table = engine.createStage2({ ipaBits: 39 });
    expect(codeOf(() => engine.journal.start())).toBe("EINVAL");
    fill(table, 20);
    expect([engine.journal.total, table.countLeaves()]).toEqual([0, 20]);
    table.destroy();
  });

  it("holds nothing when it is stopped, and starts empty", () => {
    const engine = smallEngine({ journalRecords: 8 });
    const table = engine.createStage2({ ipaBits: 39 });
    engine.journal.start([JournalKind.DSB]);
    fill(table, 5);
    engine.journal.clear();
    expect(engine.journal.read()).toEqual([]);
    fill(table, 2);
    expect(engine.journal.read()).toHaveLength(2);
    engine.journal.stop();
    fill(table, 2);
    expect(engine.journal.total).toBe(0);
  });
});

describe("a write that the journal puts in order", () => {
  it("is announced at a schedule point, for several walkers only while a journal is on [WLK-4]", () => {
    const { one, a } = pair({}, { journalRecords: 64 });
    const order = () =>
      pointsOf(one, () => a.map(BASE, KB4, home(BASE), "rw")).filter(({ kind }) => kind === K.POINT_ORDER);
    expect(order()).toEqual([]);
    one.journal.start();
    a.unmap(BASE, KB4);
    expect(order().length).toBeGreaterThan(0);
    a.unmap(BASE, KB4);
    expect(order().every(({ pointer }) => pointer === 0)).toBe(true);
  });
});

describe("a lock", () => {
  it("is recorded with what it is for: 1 writing, 0 reading [LCK-1]", () => {
    const { one, a } = pair({}, { journalRecords: 256 });
    const locks = (operation: () => unknown) =>
      recorded(one, operation, [JournalKind.LOCK, JournalKind.UNLOCK]).map(({ kind, a: writes, table }) => {
        expect(table).toBe(a.handle);
        return `${kindsOf([{ kind } as JournalRecord])[0]} ${writes}`;
      });
    expect(locks(() => a.map(BASE, KB4, home(BASE), "rw"))).toEqual(["LOCK 1", "UNLOCK 1"]);
    expect(locks(() => a.map(BASE, KB4, home(BASE), "rw", { shared: true }))).toEqual(["LOCK 0", "UNLOCK 0"]);
  });
});

describe("what is asked for", () => {
  const operate = (table: Stage2Table) => {
    table.map(0, 2 * KB4, 0, "rx");
    table.map(0, KB4, 0x10_0000, "rx");
    table.relaxPerms(KB4, "w");
    table.unmap(0, KB4);
    table.flushTlbRange(0, MB2);
    table.destroy();
  };

  const all = (() => {
    const { engine, table } = stage2({ fwb: false });
    return kindsOf(recorded(engine, () => operate(table)));
  })();

  it.each([...new Set(all)])("only %s, as often as among all", (kind) => {
    const { engine, table } = stage2({ fwb: false });
    const asked = JournalKind[kind as keyof typeof JournalKind];
    const records = kindsOf(recorded(engine, () => operate(table), [asked]));
    expect(records).toEqual(all.filter((name) => name === kind));
  });

  it("many kinds occur", () => {
    expect(new Set(all).size).toBeGreaterThan(10);
  });
});
