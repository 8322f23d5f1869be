// The built Wasm against every vector of the specification's golden.json, which was computed from the statements alone.

import { afterAll, describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine, hex, Prot, paRangeCode } from "../../bindings/index.js";
import { gunzipText } from "../support/fixtures.js";

type GranuleName = "4K" | "16K" | "64K";
type Operation = ["single", string] | ["range", string, number, number, number, string];

interface Golden {
  geometry: { granule: GranuleName; ipa: number; start_level: number; start_pages: number; min_cache: number }[];
  shifts: Record<GranuleName, Record<string, number>>;
  block_sizes: Record<GranuleName, number[]>;
  vtcr: {
    granule: GranuleName;
    ipa: number;
    parange: number;
    vmid16: boolean;
    ha: boolean;
    lpa2: boolean;
    value: string;
  }[];
  s2_leaf: {
    granule: GranuleName;
    level: number;
    pa: string;
    prot: string;
    fwb: boolean;
    lpa2: boolean;
    pte: string;
  }[];
  hyp_leaf: {
    granule: GranuleName;
    level: number;
    pa: string;
    prot: string;
    hvhe: boolean;
    lpa2: boolean;
    pte: string;
  }[];
  tlbi: { start: string; pages: number; page_shift: number; lpa2: boolean; range_ops: boolean; ops: Operation[] }[];
  split_tables: { granule: GranuleName; chunk: number; tables: number }[];
}

const golden = JSON.parse(gunzipText("fixtures/golden.json.gz", import.meta.url)) as Golden;
const PS: Record<GranuleName, number> = { "4K": 12, "16K": 14, "64K": 16 };
const engine = createEngine({ arenaBytes: 16 << 20 });
const { core } = engine;
let checked = 0;

afterAll(() => engine.close());

/** A 64-bit result as golden.json spells it. */
function word(value: bigint): string {
  return hex(BigInt.asUintN(64, value), 16);
}

function check(actual: unknown, expected: unknown, of: unknown): void {
  checked++;
  // One comparison per vector is cheaper than one message per vector.
  if (actual !== expected) expect(actual, JSON.stringify(of)).toBe(expected);
}

const LETTERS: Record<string, number> = { R: Prot.R, W: Prot.W, X: Prot.X, D: Prot.DEVICE, N: Prot.NC };

function protOf(text: string): number {
  return [...text].reduce((prot, letter) => prot | (LETTERS[letter] as number), 0);
}

describe("golden vectors", () => {
  it("geometry (GEO-8, GEO-9, GEO-10, GEO-12)", () => {
    for (const g of golden.geometry) {
      const ps = PS[g.granule],
        start = core.stage2StartLevel(ps, g.ipa);
      const actual = [start, core.startTables(ps, g.ipa, start), 3 - start].join();
      check(actual, [g.start_level, g.start_pages, g.min_cache].join(), g);
    }
  });

  it("shifts (GEO-2) and block sizes (GEO-6)", () => {
    for (const [name, levels] of Object.entries(golden.shifts) as [GranuleName, Record<string, number>][]) {
      for (const [level, shift] of Object.entries(levels))
        check(core.levelShift(PS[name], Number(level)), shift, name + level);
    }
    for (const [name, sizes] of Object.entries(golden.block_sizes) as [GranuleName, number[]][]) {
      const bitmap = core.blockSizes(PS[name]);
      for (const size of sizes) check((bitmap & BigInt(size)) !== 0n, true, [name, size]);
      expect(bitmap).toBe(sizes.reduce((sum, size) => sum + BigInt(size), 0n));
    }
  });

  it("VTCR_EL2 (REG-1, REG-2, REG-3, REG-4, REG-5)", () => {
    for (const v of golden.vtcr) {
      const wide = v.lpa2 || v.granule === "64K" ? 1 : 0;
      const mmfr0 = BigInt(paRangeCode(v.parange)),
        mmfr1 = v.vmid16 ? 0x20n : 0n;
      const value = core.vtcr(PS[v.granule], v.ipa, mmfr0, mmfr1, v.lpa2 ? 1 : 0, wide, v.ha ? 1 : 0);
      check(word(value), v.value, v);
    }
  });

  it("stage-2 leaves (FMT-1, FMT-5, FMT-20, FMT-23, FMT-24, FMT-25)", () => {
    for (const s of golden.s2_leaf) {
      const flags = (s.fwb ? K.T_FWB : 0) | (s.lpa2 ? K.T_LPA2 : 0);
      check(word(core.stage2Leaf(PS[s.granule], s.level, BigInt(s.pa), protOf(s.prot), flags)), s.pte, s);
    }
  });

  it("stage-1 leaves, hVHE with separate UXN and PXN (FMT-10, FMT-11, FMT-12, FMT-13, BUG-40)", () => {
    for (const s of golden.hyp_leaf) {
      const flags = K.T_HYP | (s.hvhe ? K.T_HVHE : 0) | (s.lpa2 ? K.T_LPA2 : 0);
      check(word(core.hypLeaf(PS[s.granule], s.level, BigInt(s.pa), protOf(s.prot), flags)), s.pte, s);
    }
  });

  it("range TLBIs, instruction by instruction (TLB-5, TLB-7, TLB-8, TLB-9, TLB-10)", () => {
    for (const t of golden.tlbi) check(JSON.stringify(rangeOperations(t)), JSON.stringify(t.ops), t);
  });

  it("instructions of a range are counted as they are (TLB-8, TLB-10)", () => {
    for (const t of golden.tlbi) {
      if (!t.range_ops || t.page_shift !== 12) continue;
      using table = engine.createStage2({ ipaBits: 40, lpa2: t.lpa2 });
      const before = engine.counters().tlbiRangeOps;
      table.flushTlbRange(BigInt(t.start), t.pages * 4096);
      expect(engine.counters().tlbiRangeOps - before, JSON.stringify(t)).toBe(t.ops.length);
    }
  });

  it("tables that a split takes (DLG-31, S2-26)", () => {
    for (const s of golden.split_tables) check(splitTables(PS[s.granule], s.chunk), s.tables, s);
  });

  it("all 1391 were checked", () => {
    expect(checked).toBe(countOf(golden));
    // 1369 vectors in six lists, 15 shifts and 7 block sizes in two small tables.
    expect(checked).toBe(1391);
  });
});

function countOf(g: Golden): number {
  const small = [g.shifts, g.block_sizes].flatMap((table) =>
    Object.values(table).map((row) => Object.keys(row).length),
  );
  const lists = [g.geometry, g.vtcr, g.s2_leaf, g.hyp_leaf, g.tlbi, g.split_tables].map((list) => list.length);
  return [...small, ...lists].reduce((sum, n) => sum + n, 0);
}

/** The instructions of one range, as the core steps through them. */
function rangeOperations(t: Golden["tlbi"][number]): Operation[] {
  const operations: Operation[] = [];
  let addr = BigInt(t.start),
    scale = 3;
  for (let left = BigInt(t.pages); left > 0n; ) {
    const status = core.tlbiRangeStep(t.page_shift, addr, left, scale, -1, t.lpa2 ? 1 : 0, t.range_ops ? 1 : 0);
    expect(status).toBe(0);
    const { pages, scale: used, num, operand, next } = engine.results.rangeStep;
    const at = hex(addr, 16);
    operations.push(used < 0 ? ["single", at] : ["range", at, used, num, Number(pages), hex(operand, 16)]);
    addr += pages << BigInt(t.page_shift);
    left -= pages;
    scale = next;
  }
  return operations;
}

/** Tables that splitting blocks of `chunk` bytes takes: the chunk is mapped as blocks, and split from the arena. */
function splitTables(ps: number, chunk: number): number {
  using table = engine.createStage2({ granule: (2 ** ps) as 4096, ipaBits: 40 });
  table.map(0, chunk, 0, "rw");
  const before = table.info().pages;
  table.split(0, chunk);
  const made = table.info().pages - before;
  // [DLG-31] counts, for 4K, the level-2 table above a 2M chunk too: it may have to be made first.
  return chunk === 2 << 20 ? made + 1 : made;
}
