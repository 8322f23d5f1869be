import { describe, expect, it } from "vitest";
import { JournalKind, Prot } from "../../bindings/index.js";
import { CONFIGURATIONS, made } from "../support/configurations.js";
import { contents, expectRefused, kindsOf, leaves, recorded, tlbis } from "../support/tables.js";

const AF = 1n << 10n;
const WRITES = [JournalKind.WRITE, JournalKind.WRITE_SHARED];

describe.each(CONFIGURATIONS)("attributes on %s", (_name, config) => {
  it("S2-14, TLB-26: wrprotect takes W from pages and blocks of the range, and nothing else; no flush, holes are fine", () => {
    const { table, page, block } = made(config);
    table.map(0, 4 * page, page, "rwx");
    table.map(2 * block, block, 0, Prot.R | Prot.W | Prot.SW2);
    const before = leaves(table);
    expect(tlbis(table.engine, () => table.wrprotect(page, 2 * block + page))).toEqual([]);
    leaves(table).forEach((e, i) => {
      const inRange = e.address >= BigInt(page);
      expect(e.descriptor).toBe(inRange ? (before[i]?.descriptor ?? 0n) & ~(1n << 7n) : before[i]?.descriptor);
    });
    expect(recorded(table.engine, () => table.wrprotect(page, 2 * block + page), WRITES)).toEqual([]); // [S2-29]
  });

  it("S2-15, TLB-27: mkyoung sets AF of one leaf, gives the old entry, flushes nothing", () => {
    const { table, page } = made(config);
    table.map(0, 3 * page, 0, "rw");
    table.testClearYoung(0, 3 * page);
    const old = table.leaf(page).descriptor;
    expect(old & AF).toBe(0n);
    expect(tlbis(table.engine, () => expect(table.mkyoung(page)).toBe(old))).toEqual([]);
    expect(leaves(table).map((e) => e.descriptor & AF)).toEqual([0n, AF, 0n]);
    expect(recorded(table.engine, () => expect(table.mkyoung(page)).toBe(old | AF), WRITES)).toEqual([]);
    expect(table.mkyoung(3 * page)).toBe(0n);
  });

  it("S2-16, TLB-28: testClearYoung tells, and clears AF alone when asked; annotations are nobody's", () => {
    const { table, page, block } = made(config);
    table.map(0, 3 * page, 0, "rw");
    table.map(block, block, 0, "r");
    table.setOwner(2 * block, page, 1);
    const before = leaves(table).map((e) => e.descriptor);
    expect(table.testClearYoung(0, 3 * block, false)).toBe(true);
    expect(leaves(table).map((e) => e.descriptor)).toEqual(before);
    expect(tlbis(table.engine, () => table.testClearYoung(0, 3 * block))).toEqual([]);
    expect(leaves(table).map((e) => e.descriptor)).toEqual(before.map((d) => d & ~AF));
    expect(table.testClearYoung(0, 3 * block)).toBe(false);
    expect(table.testClearYoung(2 * block, page)).toBe(false);
    expect(table.testClearYoung(5 * block, page)).toBe(false);
  });

  it("S2-17, TLB-29: relax adds to what is there, flushes this CPU with the leaf's level, keeps AF as it is", () => {
    const { table, page, block } = made(config);
    table.map(0, 2 * page, 0, "r");
    table.map(block, block, 0, "rx");
    table.testClearYoung(0, 2 * block);
    expect(tlbis(table.engine, () => table.relaxPerms(page, "w"))).toEqual([
      `TLBI_IPA_LOCAL 0x${page.toString(16)} L3`,
    ]);
    expect(tlbis(table.engine, () => table.relaxPerms(block, "w"))).toEqual([
      `TLBI_IPA_LOCAL 0x${block.toString(16)} L2`,
    ]);
    expect(leaves(table).map((e) => [e.prot, e.descriptor & AF])).toEqual([
      [Prot.R, 0n],
      [Prot.R | Prot.W, 0n],
      [Prot.R | Prot.W | Prot.X, 0n],
    ]);
  });

  it("S2-13, CMO-5: execute is added behind the instruction cache's back never: icache first, then the entry", () => {
    const { table, block } = made(config);
    table.map(0, block, 4 * block, "r");
    const records = recorded(table.engine, () => table.relaxPerms(0, "x"), [...WRITES, JournalKind.ICACHE]);
    expect(kindsOf(records)[0]).toBe("ICACHE");
    expect(records).toHaveLength(2);
    expect(records[0]).toMatchObject({ address: BigInt(4 * block), a: BigInt(block) });
    expect(recorded(table.engine, () => table.relaxPerms(0, "x"), [...WRITES, JournalKind.ICACHE])).toEqual([]);
  });

  it("S2-17, FMT-25, PROP-8: software bits, unknown bits, and half rights without FEAT_XNX are refused", () => {
    const { table, page } = made(config);
    table.map(0, page, 0, "r");
    for (const prot of [Prot.SW0, Prot.W | Prot.SW3, 0x1000])
      expectRefused(table, "EINVAL", () => table.relaxPerms(0, prot));
    if (!config.xnx)
      for (const prot of [Prot.PX, Prot.UX]) expectRefused(table, "EINVAL", () => table.relaxPerms(0, prot));
    expect(tlbis(table.engine, () => expect(() => table.relaxPerms(0, Prot.SW0)).toThrow())).toEqual([]);
  });

  it("S2-19, CMO-7: flush cleans each cacheable leaf whole, and nothing with FWB", () => {
    const { table, page, block } = made(config);
    table.map(0, 2 * page, 4 * page, "rw");
    table.map(block, block, 0, "rw");
    table.map(2 * block, block, 0, "rwd");
    const before = contents(table);
    const cleaned = recorded(table.engine, () => table.flush(page, 3 * block - page), [JournalKind.DCACHE]);
    const expected =
      config.fwb === false
        ? [
            [BigInt(5 * page), BigInt(page)],
            [0n, BigInt(block)],
          ]
        : [];
    expect(cleaned.map((r) => [r.address, r.a])).toEqual(expected);
    expect(contents(table)).toEqual(before);
  });

  it("CMO-5, FMT-25: what becomes executable is invalidated once; without FEAT_XNX bit 54 alone says so, whatever bit 53 holds", () => {
    const { table, page } = made(config);
    table.map(0, 3 * page, 4 * page, "rw");
    const never = (table.leaf(page).descriptor & ~(3n << 53n)) | ((config.xnx ? 2n : 3n) << 53n);
    table.poke(page, never);
    const invalidated = (at: number) =>
      recorded(table.engine, () => table.relaxPerms(at, "x"), [JournalKind.ICACHE]).map((r) => [r.address, r.a]);
    expect(invalidated(page)).toEqual([[BigInt(5 * page), BigInt(page)]]);
    expect(invalidated(page)).toEqual([]);
    expect(invalidated(2 * page)).toEqual([[BigInt(6 * page), BigInt(page)]]);
  });
});
