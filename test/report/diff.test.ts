// Tables compared by what they map: against a model page by page, and the fields by name.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEngine } from "../../bindings/index.js";
import { diffFields, diffTables } from "../../bindings/report/diff.js";
import { type LeafTable, leafTable } from "../../bindings/report/leaf-runs.js";
import { ptdump } from "../../bindings/report/ptdump.js";
import { parsePtdump, ptdumpLeaves } from "../../bindings/report/ptdump-parse.js";
import type { Stage2Config, Stage2Table } from "../../bindings/tables/stage2.js";

const PAGE = 0x1000n;
const MIB2 = 2n << 20n;

function made(build: (table: Stage2Table) => void, config: Stage2Config = {}): LeafTable {
  using engine = createEngine();
  const table = engine.createStage2({ xnx: true, ...config });
  build(table);
  return leafTable(table.leaves(), { stage: "2", granule: config.granule ?? 4096, lpa2: config.lpa2 ?? false });
}

const fieldsOf = (a: LeafTable, b: LeafTable, ignore: string[] = []) =>
  diffTables(a, b, { ignore }).different.map(({ fields }) => fields);

describe("what is mapped", () => {
  const one = (address: bigint, size: bigint, pa = address, prot = "rw") =>
    made((table) => table.map(address, size, pa, prot));

  it("only here or only there is told as ranges with their output addresses", () => {
    const { onlyA, onlyB, different } = diffTables(one(0n, 8n * PAGE), one(4n * PAGE, 8n * PAGE));
    expect(onlyA).toMatchObject([{ start: 0n, end: 4n * PAGE, pa: 0n, level: 3 }]);
    expect(onlyB).toMatchObject([{ start: 8n * PAGE, end: 12n * PAGE, pa: 8n * PAGE }]);
    expect(different).toEqual([]);
  });

  it("by a block and by 512 pages differs in level alone", () => {
    const block = one(MIB2, MIB2);
    const pages = made((table) => table.map(MIB2, MIB2, MIB2, "rw"), { forcePte: "all" });
    expect(diffTables(block, pages).different).toEqual([
      { start: MIB2, end: 2n * MIB2, fields: [{ field: "level", a: "2 (2M)", b: "3 (4K)" }] },
    ]);
    expect(fieldsOf(block, pages, ["LEVEL"])).toEqual([]);
  });

  it("elsewhere is told once, however the runs are cut", () => {
    const a = one(0n, 8n * PAGE, 0x10_0000n);
    const b = made((table) => {
      table.map(0n, 4n * PAGE, 0x20_0000n, "rw");
      table.map(4n * PAGE, 4n * PAGE, 0x20_4000n, "rw");
    });
    expect(diffTables(a, b).different).toEqual([
      { start: 0n, end: 8n * PAGE, fields: [{ field: "PA", a: "0x100000", b: "0x200000" }] },
    ]);
    const c = made((table) => {
      table.map(0n, 4n * PAGE, 0x20_0000n, "rw");
      table.map(4n * PAGE, 4n * PAGE, 0x30_0000n, "rw");
    });
    expect(diffTables(a, c).different).toHaveLength(2);
  });
});

describe("fields", () => {
  const page = (prot: string | number, config: Stage2Config = {}) =>
    made((table) => table.map(0n, PAGE, 0x9000_0000n, prot), config);

  it.each([
    ["rw", "r", [{ field: "S2AP", a: "read and write", b: "read only" }]],
    ["r", "rx", [{ field: "XN", a: "not executable", b: "executable at EL1 and EL0" }]],
    ["rw", "rwd", [{ field: "MemAttr", a: "Normal write-back", b: "Device-nGnRE" }]],
    ["rw", 6 | (5 << 8), [{ field: "SW", a: "0000", b: "0101" }]],
    ["rwd", "rx", ["XN", "S2AP", "MemAttr"].map((field) => expect.objectContaining({ field }) as object)],
  ])("%s and %s", (a, b, fields) => {
    expect(fieldsOf(page(a), page(b))).toEqual([fields]);
  });

  it("tell the access flag", () => {
    const old = made((table) => {
      table.map(0n, PAGE, 0x9000_0000n, "rw");
      table.testClearYoung(0n, PAGE);
    });
    expect(fieldsOf(page("rw"), old)).toEqual([[{ field: "AF", a: "accessed", b: "not accessed yet" }]]);
    expect(fieldsOf(page("rw"), old, ["af"])).toEqual([]);
  });

  it("that one source does not tell are not compared", () => {
    using engine = createEngine();
    const table = engine.createStage2();
    table.map(0n, 3n * PAGE, 0x9000_0000n, "rwd");
    const dump = ptdumpLeaves(parsePtdump(ptdump(table)));
    const whole = made((other) => other.map(0n, 3n * PAGE, 0x7000_0000n, "rw"));
    expect(diffTables(dump, whole)).toEqual({ onlyA: [], onlyB: [], different: [] });
    expect(fieldsOf(dump, page("r"))).toEqual([[{ field: "S2AP", a: "read and write", b: "read only" }]]);
  });

  it("of LPA2 have no shareability: address bits are there", () => {
    const wide = made((table) => table.map(0n, PAGE, 1n << 50n, "rw"), { lpa2: true, paBits: 52 });
    expect(fieldsOf(wide, page("rw"), ["PA"])).toEqual([]);
    expect(fieldsOf(wide, page("rw"))).toEqual([[{ field: "PA", a: "0x4000000000000", b: "0x90000000" }]]);
  });

  it("are checked by name, and stages are not mixed", () => {
    expect(diffFields("hyp")).toContain("Attr");
    expect(() => diffTables(page("r"), page("r"), { ignore: ["colour"] })).toThrow(/EINVAL.*colour is not a field/);
    expect(() => diffTables(page("r"), { ...page("r"), stage: "hyp" })).toThrow(/EINVAL/);
  });
});

describe("random tables", () => {
  const mapping = fc.record({
    page: fc.integer({ min: 0, max: 60 }),
    pages: fc.integer({ min: 1, max: 12 }),
    pa: fc.integer({ min: 0, max: 3 }),
  });
  type Mapping = { page: number; pages: number; pa: number };
  // A map does not change rights alone [S2-3]: another right comes with another address.
  const PROTS = ["r", "rw", "rx", "rwd"];

  const build = (mappings: readonly Mapping[]) =>
    made((table) => {
      for (const { page, pages, pa } of mappings)
        table.map(BigInt(page) * PAGE, BigInt(pages) * PAGE, BigInt(page + 64 * pa) * PAGE, PROTS[pa] as string);
    });
  const model = (mappings: readonly Mapping[]) => {
    const pages = new Map<number, number>();
    for (const { page, pages: n, pa } of mappings) for (let i = page; i < page + n; i++) pages.set(i, pa);
    return pages;
  };
  const pagesOf = (ranges: readonly { start: bigint; end: bigint }[]) =>
    ranges.flatMap(({ start, end }) =>
      Array.from({ length: Number((end - start) / PAGE) }, (_, i) => Number(start / PAGE) + i),
    );

  it("differ where a page model differs", () => {
    fc.assert(
      fc.property(fc.array(mapping, { maxLength: 6 }), fc.array(mapping, { maxLength: 6 }), (one, other) => {
        const [x, y] = [model(one), model(other)];
        const found = diffTables(build(one), build(other));
        const all = [...Array(80).keys()];
        expect(pagesOf(found.onlyA)).toEqual(all.filter((p) => x.has(p) && !y.has(p)));
        expect(pagesOf(found.onlyB)).toEqual(all.filter((p) => y.has(p) && !x.has(p)));
        expect(pagesOf(found.different)).toEqual(all.filter((p) => x.has(p) && y.has(p) && x.get(p) !== y.get(p)));
      }),
      { numRuns: 150 },
    );
  });
});
