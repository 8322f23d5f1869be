import { describe, expect, it } from "vitest";
import { JournalKind, Prot } from "../../bindings/index.js";
import { CONFIGURATIONS, made } from "../support/configurations.js";
import {
  codeOf,
  contents,
  expectReferences,
  expectRefused,
  GB1,
  kindsOf,
  leaves,
  MB2,
  recorded,
  smallEngine,
  tlbis,
} from "../support/tables.js";

describe.each(CONFIGURATIONS)("split on %s", (_name, config) => {
  it("S2-26, TLB-30: pages map what the block mapped; one flush, between break and make; no cache maintenance", () => {
    const { table, page, block } = made(config);
    table.map(0, 2 * block, 8 * block, Prot.R | Prot.W | Prot.SW3);
    table.wrprotect(block, block);
    const kinds = [JournalKind.WRITE, JournalKind.TLBI_IPA, JournalKind.DCACHE, JournalKind.ICACHE];
    const records = recorded(table.engine, () => table.split(block, page), kinds);
    const visible = records.filter((r) => r.kind !== JournalKind.WRITE || r.level === 2);
    expect(kindsOf(visible)).toEqual(["WRITE", "TLBI_IPA", "WRITE"]);
    expect(visible[1]).toMatchObject({ address: BigInt(block), level: 2 });
    const pages = leaves(table).slice(1);
    expect(pages).toHaveLength(block / page);
    expect(pages.map((e) => Number(e.pa))).toEqual(pages.map((_, i) => 9 * block + i * page));
    expect(new Set(pages.map((e) => e.prot))).toEqual(new Set([Prot.R | Prot.SW3]));
    expect(table.leaf(0)).toMatchObject({ level: 2, prot: Prot.R | Prot.W | Prot.SW3 });
    expectReferences(table);
  });

  it("S2-26: pages and holes need nothing; without pages ENOMEM, and what was split before stays", () => {
    const { table, page, block } = made(config);
    table.map(page, page, 0, "rw");
    table.map(block, 2 * block, 0, "rw");
    table.split(0, block, null);
    using cache = table.engine.createCache(table.granule, 4);
    cache.fill(1);
    expect(codeOf(() => table.split(0, 3 * block, cache))).toBe("ENOMEM");
    expect([table.leaf(block).level, table.leaf(2 * block).level]).toEqual([3, 2]);
    expectReferences(table);
  });

  it("S2-25, TLB-31: a detached tree: aligned outputs only, nothing flushed, freed whole", () => {
    const { table, page, block } = made(config);
    const { taken } = table.engine.arena();
    expectRefused(table, "EINVAL", () => table.createUnlinked(page, 2, "r"));
    expectRefused(table, "EINVAL", () => table.createUnlinked(0, 2, "rxd"));
    let root = 0;
    expect(
      tlbis(table.engine, () => {
        root = table.createUnlinked(4 * block, 2, "rw");
      }),
    ).toEqual([]);
    expect(table.engine.core.pageReferences(root)).toBe(1 + block / page);
    table.freeUnlinked(root, 2);
    expect(table.engine.arena().taken).toBe(taken);
    expect(table.engine.counters().warnings).toBe(0);
  });

  it("S2-25: without pages the tree that was begun is freed", () => {
    const { table } = made(config);
    const { taken } = table.engine.arena();
    expect(codeOf(() => table.createUnlinked(0, 2, "rw", { cache: null }))).toBe("ENOMEM");
    expect(table.engine.arena().taken).toBe(taken);
  });
});

describe("split of a gibibyte", () => {
  it("S2-26: with 513 pages to pages at once, with fewer level by level within the range", () => {
    for (const [pages, flushes] of [
      [513, 1],
      [3, 3],
    ] as const) {
      const engine = smallEngine({ arenaBytes: 8 << 20, journalRecords: 1 << 20 });
      const table = engine.createStage2({ ipaBits: 39 });
      table.map(0, GB1, GB1, "rw");
      using cache = engine.createCache(4096, 600);
      cache.fill(pages);
      const seen = tlbis(engine, () => table.split(0, 2 * MB2, cache));
      expect(seen[0]).toBe("TLBI_IPA 0x0 L1");
      expect(seen).toHaveLength(flushes);
      expect(cache.count).toBe(0);
      expect(table.leaf(2 * MB2).level).toBe(pages === 513 ? 3 : 2);
      const last = table.leaf(GB1 - 4096);
      expect(last.pa - last.address).toBe(BigInt(GB1));
    }
  });

  it("S2-25, BUG-21: createUnlinked of level 1 that runs out of pages half-way frees them all", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    using cache = engine.createCache(4096, 40);
    cache.fill(7);
    const { taken } = engine.arena();
    expect(codeOf(() => table.createUnlinked(0, 1, "rw", { cache, forcePte: true }))).toBe("ENOMEM");
    expect(engine.arena().taken).toBe(taken - 7 * 4096);
    expect(contents(table)).toEqual([]);
  });

  it("FMT-28, FMT-29: a Device block that was made executable is split as it is, or not at all", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(0, MB2, 0, "rw");
    table.map(MB2, MB2, GB1, "rd");
    table.relaxPerms(MB2, "x");
    const { prot } = table.leaf(MB2);
    table.split(0, 2 * MB2);
    expect(
      new Set(
        leaves(table)
          .slice(512)
          .map((e) => e.prot),
      ),
    ).toEqual(new Set([prot]));
  });
});
