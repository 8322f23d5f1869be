import { describe, expect, it } from "vitest";
import type { Granule } from "../../bindings/index.js";
import { codeOf, expectReferences, leaves, smallEngine } from "../support/tables.js";

/** [GEO-10]: start level and start tables by IPA bits; 51 and 52 bits need LPA2, or 64K. */
const ROWS: readonly (readonly [number, string, string, string])[] = [
  [32, "2/4", "2/1", "2/1"],
  [34, "2/16", "2/1", "2/1"],
  [35, "1/1", "2/1", "2/1"],
  [36, "1/1", "2/1", "2/1"],
  [39, "1/1", "2/8", "2/1"],
  [40, "1/2", "2/16", "2/1"],
  [42, "1/8", "1/1", "2/1"],
  [43, "1/16", "1/1", "2/2"],
  [44, "0/1", "1/1", "2/4"],
  [46, "0/1", "1/1", "2/16"],
  [48, "0/1", "1/2", "1/1"],
  [51, "0/8", "1/16", "1/1"],
  [52, "0/16", "0/1", "1/1"],
];
const CASES = ROWS.flatMap(([bits, ...cells]) =>
  cells.map((cell, i) => [([4096, 16384, 65536] as const)[i] as Granule, bits, cell] as const),
);

describe("geometry", () => {
  it.each(CASES)("GEO-8, GEO-9, GEO-10: granule %i, %i bits of IPA: %s", (granule, ipaBits, cell) => {
    const engine = smallEngine({ arenaBytes: 4 << 20 });
    const lpa2 = ipaBits > 48 && granule !== 65536;
    const table = engine.createStage2({ granule, ipaBits, lpa2 });
    const info = table.info();
    expect(`${info.startLevel}/${info.rootPages}`).toBe(cell);
    expect(info.inputBits).toBe(ipaBits);
    expect(Number(info.rootPa) % (info.rootPages * granule)).toBe(0); // aligned to their size [GEO-9, REG-8]
    // The last page of the input space is the last entry of the last start table.
    const last = (1n << BigInt(ipaBits)) - BigInt(granule);
    table.map(last, granule, 0, "rw");
    expect(leaves(table).map((e) => e.address)).toEqual([last]);
    expectReferences(table);
  });

  it("GEO-12, MC-6: one page or block takes one page less than there are levels", () => {
    for (const [granule, ipaBits, min] of [
      [4096, 40, 2],
      [4096, 48, 3],
      [65536, 40, 1],
    ] as const) {
      const engine = smallEngine();
      const table = engine.createStage2({ granule, ipaBits });
      using cache = engine.createCache(granule, 4);
      cache.fill(min);
      expect(codeOf(() => table.map(0, granule, 0, "r", { cache }))).toBe("");
      expect(cache.count).toBe(0);
    }
  });

  it("GEO-6: the sizes that a leaf can have", () => {
    const { core } = smallEngine();
    expect([12, 14, 16].map((ps) => core.blockSizes(ps))).toEqual([0x40201000n, 0x2004000n, 0x20010000n]);
  });

  it("GEO-5: output addresses end at 2^48, or 2^52 with LPA2 or with 64K and 52-bit support", () => {
    const bits = (config: object) => smallEngine().createStage2(config).info().outputBits;
    expect([
      bits({}),
      bits({ lpa2: true }),
      bits({ granule: 65536 }),
      bits({ granule: 65536, pa52: false }),
      bits({ granule: 16384 }),
    ]).toEqual([48, 52, 52, 48, 48]);
  });

  it("sizes that no CPU has are refused, and leave nothing", () => {
    const engine = smallEngine();
    const { taken } = engine.arena();
    for (const config of [
      { ipaBits: 31 },
      { ipaBits: 49 },
      { ipaBits: 53, lpa2: true },
      { ipaBits: 40.5 },
      { granule: 65536 as const, lpa2: true },
      { granule: 65536 as const, ipaBits: 50, pa52: false },
      { granule: 8192 as Granule },
      { paBits: 41 },
    ]) {
      expect(
        codeOf(() => engine.createStage2(config)),
        JSON.stringify(config),
      ).toBe("EINVAL");
    }
    expect(engine.arena().taken).toBe(taken);
  });

  it("S2-1: init: zeroed start tables, one reference each, a barrier", () => {
    const engine = smallEngine();
    const { dsb } = engine.counters();
    const table = engine.createStage2({ ipaBits: 43 });
    expect(engine.counters().dsb).toBe(dsb + 1);
    expect([...table.entries({ tables: true })]).toEqual([]);
    expectReferences(table);
  });
});
