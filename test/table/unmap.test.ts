import { describe, expect, it } from "vitest";
import { JournalKind } from "../../bindings/index.js";
import { CONFIGURATIONS, made } from "../support/configurations.js";
import {
  codeOf,
  contents,
  expectReferences,
  expectRefused,
  KB4,
  kindsOf,
  leaves,
  pointerOf,
  recorded,
  smallEngine,
  tlbis,
} from "../support/tables.js";

describe.each(CONFIGURATIONS)("unmap on %s", (_name, config) => {
  const deferred = config.fwb !== false && config.tlbiRange !== false;
  const linux = config.quirks === "linux-6.12";

  it("S2-10: removes the leaf, keeps its neighbours, drops one reference", () => {
    const { table, page } = made(config);
    table.map(0, 3 * page, 0, "rw");
    table.unmap(page, page);
    expect(leaves(table).map((e) => Number(e.address))).toEqual([0, 2 * page]);
    expectReferences(table);
  });

  it("S2-11: a block goes whole, whatever part was asked for", () => {
    const { table, page, block } = made(config);
    table.map(0, 2 * block, 0, "rw");
    table.unmap(block + 3 * page, page);
    expect(leaves(table).map((e) => Number(e.address))).toEqual([0]);
    expectReferences(table);
  });

  it("S2-12, TLB-24: each leaf at once with its level, or one range for all of them", () => {
    const { table, page, block } = made(config);
    table.map(0, 3 * page, page, "rw");
    table.map(block, block, 0, "rw");
    const flushes = tlbis(table.engine, () => table.unmap(page, block + page));
    if (deferred) {
      const end = linux ? page + block + page : 2 * block;
      expect(flushes).toEqual([`TLBI_RANGE 0x${page.toString(16)} x${(end - page) / page}`]);
    } else {
      expect(flushes.map((f) => f.slice(-2))).toEqual(["L3", "L3", "L2"]);
    }
  });

  it("S2-10, CMO-3: clear, then TLBI, then cache maintenance of the whole leaf, only without FWB", () => {
    const { table, block } = made(config);
    table.map(0, block, block, "rw");
    table.map(block, block, block, "rwd");
    const kinds = [JournalKind.WRITE, JournalKind.TLBI_IPA, JournalKind.TLBI_RANGE, JournalKind.DCACHE];
    const records = recorded(table.engine, () => table.unmap(block / 2, 1), kinds);
    const cleaned = records.filter((r) => r.kind === JournalKind.DCACHE);
    if (config.fwb === false) {
      expect(kindsOf(records).slice(0, 3)).toEqual(["WRITE", "TLBI_IPA", "DCACHE"]);
      expect(cleaned).toMatchObject([{ address: BigInt(block), a: BigInt(block) }]);
    } else {
      expect(cleaned).toEqual([]);
    }
    expect(recorded(table.engine, () => table.unmap(block, block), [JournalKind.DCACHE])).toEqual([]); // Device
  });

  it("S2-10, TLB-25, BUG-26: an empty table goes: cleared, flushed without hint, then freed; one in use stays", () => {
    const { table, page } = made(config);
    table.map(0, 2 * page, 0, "rw");
    table.unmap(0, page);
    expect(table.leaf(0).level).toBe(3);
    const records = recorded(table.engine, () => table.unmap(page, page), [
      JournalKind.TLBI_IPA,
      JournalKind.TABLE_FREED,
    ]);
    const freed = records.findIndex((r) => r.kind === JournalKind.TABLE_FREED);
    expect(records[freed - 1]).toMatchObject({ kind: JournalKind.TLBI_IPA, level: 0x7fffffff });
    expect(contents(table)).toEqual([]);
    expect(table.info().pages).toBe(table.info().rootPages);
  });

  it("S2-10, S2-29: annotations go without a flush; holes are no error; twice is harmless", () => {
    const { table, page } = made(config);
    table.setOwner(0, 2 * page, 1);
    const leafFlushes = tlbis(table.engine, () => table.unmap(0, page)).filter((f) => f.endsWith("L3"));
    expect(leafFlushes).toEqual([]);
    table.unmap(0, page);
    table.unmap(0, 8 * page);
    expect(contents(table)).toEqual([]);
    expectReferences(table);
  });

  it("WLK-2, PROP-8: beyond the input space nothing happens; the very end is legal [GEO-11]", () => {
    const { table, page } = made(config);
    const limit = 1n << BigInt(config.ipaBits ?? 40);
    table.map(limit - BigInt(page), page, 0, "r");
    expectRefused(table, "ERANGE", () => table.unmap(limit, page));
    expectRefused(table, "ERANGE", () => table.unmap(limit - BigInt(page), 2 * page));
    expect(codeOf(() => table.unmap(limit, 0))).toBe("");
    table.unmap(0, limit);
    expect(contents(table)).toEqual([]);
  });
});

describe("unmap of a whole table", () => {
  const SPAN = 512 * KB4;

  function mapped(pages: number) {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39, forcePte: "all" });
    table.map(0, pages * KB4, 0, "rw");
    const page = [...table.entries({ tables: true })].find((e) => e.kind === "table" && e.level === 2);
    const entries = engine.u64.subarray(pointerOf(engine, page?.pa ?? 0n) / 8).subarray(0, 512);
    return { engine, table, entries };
  }

  it("S2-12: flushes from the first page to the last", () => {
    const { engine, table } = mapped(512);
    table.unmap(0, 5 * KB4);
    table.unmap(500 * KB4, 12 * KB4);
    const before = engine.counters();
    table.unmap(0, SPAN);
    const after = engine.counters();
    expect(after.leavesCleared - before.leavesCleared).toBe(495);
    expect(after.tlbiRangeOps - before.tlbiRangeOps).toBe(rangeOps(engine, 5 * KB4, 495));
    expect(contents(table)).toEqual([]);
  });

  it.each([512, 100])("does not trust the page: %i entries that the host has zeroed", (pages) => {
    const { engine, table, entries } = mapped(pages);
    expect(entries[pages - 1]).not.toBe(0n);
    entries.fill(0n);
    table.unmap(0, SPAN);
    table.map(0, SPAN, 0, "r");
    expect(leaves(table).length).toBe(512);
    table.unmap(0, SPAN);
    table.close();
    expect(engine.counters().warnings).toBe(0);
  });
});

/** Instructions of a range flush. */
function rangeOps(engine: ReturnType<typeof smallEngine>, address: number, pages: number): number {
  const before = engine.counters().tlbiRangeOps;
  const other = engine.createStage2({ ipaBits: 39, forcePte: "all" });
  other.map(address, pages * KB4, 0, "r");
  other.unmap(address, pages * KB4);
  return engine.counters().tlbiRangeOps - before;
}

describe("teardown", () => {
  it("S2-27, TLB-32: destroy frees every page, flushes nothing, and may come twice", () => {
    for (const [, config] of CONFIGURATIONS) {
      const { table, page, block } = made(config);
      const { taken } = table.engine.arena();
      table.map(page, 2 * page, 0, "rw");
      table.map(block, block, 0, "rw");
      table.setOwner(3 * block, page, 1);
      expect(tlbis(table.engine, () => table.destroy())).toEqual([]);
      table.destroy();
      expect(table.engine.arena().taken).toBeLessThan(taken);
      expect(table.info()).toMatchObject({ rootPa: 0n, pages: 0 });
      expect(table.engine.counters().warnings).toBe(0);
    }
  });

  it("S2-27: destroyRange empties a range and frees what becomes empty, without a flush", () => {
    const { table, page, block } = made({ ipaBits: 39 });
    table.map(0, 3 * page, 0, "rw");
    table.map(block, block, 0, "rw");
    expect(tlbis(table.engine, () => table.destroyRange(0, 2 * page))).toEqual([]);
    expect(leaves(table).map((e) => Number(e.address))).toEqual([2 * page, block]);
    expectReferences(table);
  });
});
