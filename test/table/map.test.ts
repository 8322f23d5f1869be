import { describe, expect, it } from "vitest";
import { JournalKind, Prot } from "../../bindings/index.js";
import { CONFIGURATIONS, made } from "../support/configurations.js";
import {
  codeOf,
  contents,
  expectReferences,
  expectRefused,
  kindsOf,
  leaves,
  recorded,
  smallEngine,
  tlbis,
} from "../support/tables.js";

const KINDS = [
  JournalKind.WRITE,
  JournalKind.TLBI_IPA,
  JournalKind.TLBI_RANGE,
  JournalKind.TLBI_VMID,
  JournalKind.DCACHE,
  JournalKind.ICACHE,
];

describe.each(CONFIGURATIONS)("map on %s", (_name, config) => {
  it("GEO-4, S2-2: maps the largest leaves that fit, and nothing beside them", () => {
    const { table, page, block } = made(config);
    table.map(block - 2 * page, block + 4 * page, 8 * block - 2 * page, "rw");
    expect(leaves(table).map((e) => [Number(e.address), Number(e.pa), e.level])).toEqual([
      [block - 2 * page, 8 * block - 2 * page, 3],
      [block - page, 8 * block - page, 3],
      [block, 8 * block, 2],
      [2 * block, 9 * block, 3],
      [2 * block + page, 9 * block + page, 3],
    ]);
    expectReferences(table);
  });

  it("GEO-4: a block needs its output aligned, its input aligned and its whole size", () => {
    for (const [addr, size, phys] of [
      [0, 1, 1],
      [0, -1, 0],
      [1, 0, 0],
    ] as const) {
      const { table, page, block } = made(config);
      const pages = Math.min(block, 40 * page); // short: the first entries tell
      table.map(addr * page, size < 0 ? block - page : pages, phys * page, "r");
      expect(leaves(table).every((e) => e.level === 3)).toBe(true);
    }
  });

  it("S2-5, TLB-20: a hole is filled with nothing flushed", () => {
    const { table, page } = made(config);
    expect(tlbis(table.engine, () => table.map(0, 3 * page, 0, "rw"))).toEqual([]);
  });

  it("S2-5, TLB-21: a leaf is replaced by break, TLBI of its level, make; its neighbours stay", () => {
    const { table, page } = made(config);
    table.map(0, 3 * page, 0, "rw");
    const before = contents(table);
    const records = recorded(table.engine, () => table.map(page, page, 7 * page, "rw"), [
      JournalKind.WRITE,
      JournalKind.TLBI_IPA,
    ]);
    expect(kindsOf(records)).toEqual(["WRITE", "TLBI_IPA", "WRITE"]);
    expect(records[1]).toMatchObject({ address: BigInt(page), level: 3 });
    expect(records[0]?.b).toBe(0x400n);
    const changed = contents(table).filter((line, i) => line !== before[i]);
    expect(changed).toHaveLength(1);
    expect(table.leaf(page).pa).toBe(BigInt(7 * page));
  });

  it("S2-5, CMO-1, CMO-2, CMO-7: data before code before the leaf; the size is the leaf's", () => {
    const { table, block } = made(config);
    const records = recorded(table.engine, () => table.map(0, block, 4 * block, "rx"), KINDS);
    const kinds = kindsOf(records);
    expect(kinds.slice(-4)).toEqual(["WRITE", "DCACHE", "ICACHE", "WRITE"]);
    expect(records.at(-3)).toMatchObject({ address: BigInt(4 * block), a: BigInt(block) });
  });

  it("CMO-1, CMO-4: Device and NC memory is not cleaned", () => {
    const { table, page } = made(config);
    const records = recorded(table.engine, () => {
      table.map(0, page, 0, "rwd");
      table.map(page, page, 0, "rwn");
    }, [JournalKind.DCACHE, JournalKind.ICACHE]);
    expect(records).toEqual([]);
  });

  it("S2-6, TLB-22: a table becomes a block: its range is flushed, its pages are freed after the make", () => {
    const { table, page, block } = made(config);
    table.map(0, 3 * page, page, "rw");
    const records = recorded(table.engine, () => table.map(0, block, 0, "rw"), [
      JournalKind.WRITE,
      JournalKind.TLBI_RANGE,
      JournalKind.TLBI_VMID,
      JournalKind.TABLE_FREED,
    ]);
    const flush = config.tlbiRange === false ? "TLBI_VMID" : "TLBI_RANGE";
    expect(kindsOf(records)).toEqual(["WRITE", flush, "WRITE", "TABLE_FREED"]);
    if (flush === "TLBI_RANGE") expect(records[1]).toMatchObject({ address: 0n, a: BigInt(block / page) });
    expect(leaves(table)).toHaveLength(1);
    expectReferences(table);
  });

  it("S2-7: through a block: it is flushed, and the rest of it becomes holes", () => {
    const { table, page, block } = made(config);
    table.map(0, block, 0, "rw");
    expect(tlbis(table.engine, () => table.map(3 * page, page, 9 * page, "rw"))).toEqual([
      `TLBI_IPA 0x${(3 * page).toString(16)} L2`,
    ]);
    expect(leaves(table).map((e) => Number(e.address))).toEqual([3 * page]);
    expectReferences(table);
  });

  it("S2-4, TLB-23: only software bits differ: one store, nothing flushed or cleaned", () => {
    const { table, page } = made(config);
    table.map(0, page, 0, "rw");
    const records = recorded(table.engine, () => table.map(0, page, 0, Prot.R | Prot.W | Prot.SW1), KINDS);
    expect(kindsOf(records)).toEqual(["WRITE"]);
    expect(table.leaf(0).prot).toBe(Prot.R | Prot.W | Prot.SW1);
  });

  it("S2-3, S2-29: equal, or other permissions only: again, nothing written", () => {
    const { table, page } = made(config);
    table.map(0, page, 0, "rw");
    for (const prot of ["rw", "r", "rwx"]) {
      const records = recorded(
        table.engine,
        () => expect(table.map(0, page, 0, prot, { handleFault: true })).toBe("again"),
        KINDS,
      );
      expect(records).toEqual([]);
    }
    expect(table.map(0, page, 0, "r")).toBe("done"); // skipped without handleFault [WLK-10]
    expect(table.leaf(0).prot).toBe(Prot.R | Prot.W);
  });

  it("S2-2, S2-7, PROP-8: no page for a table: ENOMEM; what was mapped before stays, and nothing leaks", () => {
    const { table, page, block } = made(config);
    table.map(0, page, 0, "rw");
    const { taken } = table.engine.arena();
    expect(codeOf(() => table.map(0, 2 * block, block * 4 + page, "r", { cache: null }))).toBe("ENOMEM");
    expect(table.engine.arena().taken).toBe(taken);
    expect(table.leaf(block).kind).toBe("hole");
    expectReferences(table);
  });

  it("FMT-28, S2-2, PROP-8: impossible protections are refused before any walk", () => {
    const { table, page } = made(config);
    table.map(0, page, 0, "r");
    for (const prot of ["rdn", "rxd", "rxn"]) expectRefused(table, "EINVAL", () => table.map(0, 4 * page, 0, prot));
    expectRefused(table, "EINVAL", () => table.map(1n << 60n, page, 0, "rxd"));
  });

  it("S2-8, FMT-40, FMT-43: owners are pages, counted, and erased by owner 0", () => {
    const { table, page, block } = made(config);
    table.map(0, block, 0, "rw");
    expect(tlbis(table.engine, () => table.setOwner(page, page, 1))).toEqual([`TLBI_IPA 0x${page.toString(16)} L2`]);
    expect(contents(table).filter((line) => line.includes(" L3 "))).toEqual([`${page.toString(16)} L3 4 -1`]);
    expectReferences(table);
    expect(tlbis(table.engine, () => table.setOwner(page, page, 0))).toEqual([]);
    expect(table.leaf(page)).toMatchObject({ kind: "hole", level: 3 });
    expectReferences(table);
  });
});

describe("map", () => {
  it("S2-2: the force-pte callback is asked once, with what the caller gave", () => {
    const engine = smallEngine();
    const asked: unknown[] = [];
    const table = engine.createStage2({
      ipaBits: 39,
      strict: false,
      forcePte: (addr, end, prot) => {
        asked.push([addr, end, prot]);
        return true;
      },
    });
    table.map(0x20_0123, 0x20_0000, 0, "r");
    expect(asked).toEqual([[0x20_0123n, 0x40_0123n, Prot.R]]);
    expect(leaves(table).every((e) => e.level === 3)).toBe(true);
  });

  it("S2-2: force-pte below an address, always, and never", () => {
    const { table, block } = made({ ipaBits: 39, forcePte: { below: 2 << 20 } });
    table.map(0, block, 0, "r");
    table.map(block, block, block, "r");
    expect([table.leaf(0).level, table.leaf(block).level]).toEqual([3, 2]);
    table.setForcePte("all");
    table.map(2 * block, block, 0, "r");
    table.setForcePte("none");
    table.map(3 * block, block, 0, "r");
    expect([table.leaf(2 * block).level, table.leaf(3 * block).level]).toEqual([3, 2]);
  });

  it("S2-2: an identity table refuses anything else, and warns", () => {
    const { table, page } = made({ ipaBits: 39, flags: { identity: true } });
    expectRefused(table, "EINVAL", () => table.map(0, page, page, "r"));
    expect(table.engine.counters().warnings).toBe(1);
    expect(table.map(5 * page, page, 5 * page, "r")).toBe("done");
  });

  it("FMT-21: a table that refuses FWB has the encoding without it", () => {
    const { table, page } = made({ ipaBits: 39, flags: { noFwb: true } });
    table.map(0, page, 0, "r");
    expect((table.leaf(0).descriptor >> 2n) & 15n).toBe(15n);
  });

  it("GEO-3: no blocks of 512G, 64G or 4T, under LPA2 neither", () => {
    for (const [config, level] of [
      [{ ipaBits: 48, lpa2: true }, 1],
      [{ granule: 16384, ipaBits: 47 }, 2],
      [{ granule: 65536, ipaBits: 48 }, 2],
    ] as const) {
      const { table } = made(config);
      const size = 1n << BigInt((4 - (level - 1)) * (Math.log2(table.granule) - 3) + 3);
      // One entry of the level above would do; the arena holds the tables of this many blocks.
      using cache = table.engine.createCache(table.granule, 8);
      cache.fill(3);
      expect(codeOf(() => table.map(0, size, 0, "r", { cache }))).toMatch(/^(|ENOMEM)$/);
      expect(table.leaf(0).level).toBe(level);
    }
  });

  it("S2-20: SKIP_BBM_TLBI leaves out the flush of the break, SKIP_CMO the cache maintenance", () => {
    const { table, page } = made({ ipaBits: 39 });
    table.map(0, page, 0, "rx");
    const skipped = recorded(table.engine, () => table.map(0, page, page, "rx", { skipBreakTlbi: true }), KINDS);
    expect(kindsOf(skipped)).toEqual(["WRITE", "DCACHE", "ICACHE", "WRITE"]);
    const quiet = recorded(
      table.engine,
      () => table.map(0, page, 2 * page, "rx", { skipCacheMaintenance: true }),
      KINDS,
    );
    expect(kindsOf(quiet)).toEqual(["WRITE", "TLBI_IPA", "WRITE"]);
  });

  it("S2-20, S2-21: a slot that somebody has locked is not taken: again, with a warning", () => {
    const { table, page } = made({ ipaBits: 39 });
    table.map(0, page, 0, "r");
    table.poke(0, 0x400n);
    const before = contents(table);
    expect(table.map(0, page, page, "r", { handleFault: true })).toBe("again");
    expect(contents(table)).toEqual(before);
    expect(table.engine.counters().warnings).toBe(1);
    expect(table.map(0, page, page, "r", { handleFault: true, shared: true })).toBe("again");
    expect(table.engine.counters().warnings).toBe(1); // shared: just a race
  });
});
