import { describe, expect, it } from "vitest";
import { type HypConfig, JournalKind, Prot } from "../../bindings/index.js";
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

const CONFIGURATIONS: readonly (readonly [string, HypConfig])[] = [
  ["4K", { vaBits: 39 }],
  ["4K of 52 bits, from level -1", { vaBits: 52, lpa2: true }],
  ["4K, hVHE, BTI", { vaBits: 48, hvhe: true, bti: true }],
  ["16K", { granule: 16384, vaBits: 47 }],
  ["64K", { granule: 65536, vaBits: 42 }],
];

function made(config: HypConfig) {
  const engine = smallEngine();
  const page = config.granule ?? 4096;
  return { engine, table: engine.createHyp(config), page, block: page * (page / 8) };
}

describe.each(CONFIGURATIONS)("stage 1 on %s", (_name, config) => {
  it("S1-1, GEO-4: blocks where they fit; the output counts from the walk's start", () => {
    const { table, page, block } = made(config);
    table.map(block - page, block + 2 * page, 8 * block - page, "rw");
    expect(leaves(table).map((e) => [Number(e.address), Number(e.pa), e.level])).toEqual([
      [block - page, 8 * block - page, 3],
      [block, 8 * block, 2],
      [2 * block, 9 * block, 3],
    ]);
    expectReferences(table);
  });

  it("S1-4: barriers after the walk: dsb ishst, isb", () => {
    const { table, engine, page } = made(config);
    const kinds = kindsOf(recorded(engine, () => table.map(0, page, 0, "r")));
    expect(kinds.slice(-2)).toEqual(["DSB", "ISB"]);
    expect(tlbis(engine, () => table.map(page, page, 0, "r"))).toEqual([]);
  });

  it("S1-2: the same again writes nothing", () => {
    const { table, engine, page, block } = made(config);
    table.map(0, block + page, 0, "r");
    const before = contents(table);
    expect(recorded(engine, () => table.map(0, block + page, 0, "r"), [JournalKind.WRITE])).toEqual([]);
    expect(contents(table)).toEqual(before);
  });

  it("S1-5: only software bits differ: allowed, without a flush", () => {
    const { table, engine, page } = made(config);
    table.map(0, page, 0, "r");
    expect(tlbis(engine, () => table.map(0, page, 0, Prot.R | Prot.SW1))).toEqual([]);
    expect(table.leaf(0).prot).toBe(Prot.R | Prot.SW1);
    expectReferences(table);
  });

  it("FMT-15, S1-1, PROP-8: impossible protections are refused first", () => {
    const { table, page } = made(config);
    for (const prot of ["", "w", "x", "rwx", "rxd"]) expectRefused(table, "EINVAL", () => table.map(0, page, 0, prot));
    expectRefused(table, "EINVAL", () => table.map(1n << 60n, page, 0, "rwx"));
    expectRefused(table, "ERANGE", () => table.map(1n << 60n, page, 0, "r"));
  });

  it("S1-3: no page for a table: ENOMEM, references right", () => {
    const { table, page } = made(config);
    expect(codeOf(() => table.map(0, page, 0, "r", { cache: null }))).toBe("ENOMEM");
    expectReferences(table);
    expect(leaves(table)).toEqual([]);
  });

  it("S1-6, TLB-33: unmap: leaf by the last-level form with its level, table by the form for all levels, no hint", () => {
    const { table, engine, page } = made(config);
    table.map(page, page, 0, "r");
    const flushes = tlbis(engine, () => expect(table.unmap(page, page)).toBe(BigInt(page)));
    expect(flushes[0]).toBe(`TLBI_VA_LAST 0x${(page >> 12).toString(16)} L3`);
    expect(flushes.slice(1).every((f) => f === `TLBI_VA 0x${(page >> 12).toString(16)} no hint`)).toBe(true);
    expect(flushes.length).toBe(1 + 3 - table.info().startLevel);
    expect(contents(table)).toEqual([]);
  });

  it("S1-6: clear, dsb ishst, TLBI, dsb, isb, and then the reference", () => {
    const { table, engine, page } = made(config);
    table.map(0, 2 * page, 0, "r");
    expect(kindsOf(recorded(engine, () => table.unmap(0, page)))).toEqual([
      "WRITE",
      "DSB",
      "TLBI_VA_LAST",
      "DSB",
      "ISB",
    ]);
    expectReferences(table);
  });

  it("S1-6: a hole ends it with a short count; what was unmapped stays so", () => {
    const { table, page } = made(config);
    table.map(0, 2 * page, 0, "r");
    table.map(3 * page, page, 0, "r");
    expect(table.unmap(0, 8 * page)).toBe(BigInt(2 * page));
    expect(leaves(table).map((e) => Number(e.address))).toEqual([3 * page]);
    expectReferences(table);
  });

  it("WLK-16: without page counts nothing is unmapped", () => {
    const { table, page } = made({ ...config, pageCount: false });
    table.map(0, page, 0, "r");
    expect(table.unmap(0, page)).toBe(0n);
    expect(leaves(table)).toHaveLength(1);
  });

  it("S1-7: destroy flushes nothing, frees all, and may come twice", () => {
    const { table, engine, page, block } = made(config);
    const { taken } = engine.arena();
    table.map(0, block + page, 0, "r");
    expect(
      tlbis(engine, () => {
        table.destroy();
        table.destroy();
      }),
    ).toEqual([]);
    expect(engine.arena().taken).toBe(taken - page);
  });
});

describe("stage 1", () => {
  it("GEO-13: one start table; a start level that does not exist is refused", () => {
    const engine = smallEngine();
    expect(engine.createHyp({ vaBits: 52, lpa2: true }).info()).toMatchObject({ startLevel: -1, rootPages: 1 });
    for (const vaBits of [0, 4, 12, 58, 63, 64])
      expect(
        codeOf(() => engine.createHyp({ vaBits })),
        String(vaBits),
      ).toBe("EINVAL");
  });

  it("WLK-12: a shared walk is refused at EL2", () => {
    const { table } = made({ vaBits: 39 });
    expect(table.walk(0, 4096, () => 0, { shared: true })).toBe(-1);
  });
});
