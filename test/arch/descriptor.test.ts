// Descriptors, registers and TLBI operands: the statements of docs/spec (A, F.1) that golden.json has no vector for.

import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import {
  createEngine,
  decodeVtcr,
  type Entry,
  GRANULES,
  hex,
  levelShift,
  Prot,
  paRangeCode,
} from "../../bindings/index.js";
import { SEED } from "../support/random.js";
import { codeOf, KB4, MB2 } from "../support/tables.js";

const engine = createEngine({ arenaBytes: 16 << 20 });
const { core } = engine;
afterAll(() => engine.close());

const u64 = (value: bigint) => BigInt.asUintN(64, value);
const leaf = (ps: number, level: number, pa: bigint, prot: number, flags = 0) =>
  u64(core.stage2Leaf(ps, level, pa, prot, flags));
const { R, W, X, PX, UX } = Prot;

/** Granule as log2, LPA2, and output bits that have a place in a descriptor. */
const LAYOUTS = [
  [12, 0, 48],
  [14, 0, 48],
  [16, 0, 52],
  [12, 1, 52],
  [14, 1, 52],
] as const;

describe("addresses in descriptors", () => {
  it.each(LAYOUTS)("FMT-1, FMT-2: page size 2^%i, LPA2 %i: every page below 2^%i comes back", (ps, lpa2, bits) => {
    fc.assert(
      fc.property(fc.bigInt(0n, (1n << BigInt(bits - ps)) - 1n), (page) => {
        const pa = page << BigInt(ps),
          encoded = u64(core.addressBits(ps, lpa2, pa));
        expect(encoded & ~u64(core.outputMask(ps, lpa2))).toBe(0n);
        expect(u64(core.outputAddress(ps, lpa2, encoded))).toBe(pa);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it.each(LAYOUTS)(
    "FMT-2: page size 2^%i, LPA2 %i: bits from 2^%i up and page offsets do not leak into attributes",
    (ps, lpa2, bits) => {
      const garbage = (~0n << BigInt(bits)) | ((1n << BigInt(ps)) - 1n);
      expect(u64(core.addressBits(ps, lpa2, u64(garbage)))).toBe(0n);
    },
  );

  it("FMT-1: 64K keeps PA[51:48] in [15:12], LPA2 keeps PA[51:50] in [9:8]", () => {
    expect(u64(core.addressBits(16, 0, 0xf_0000_0000_0000n))).toBe(0xf000n);
    expect(u64(core.addressBits(12, 1, 0xc_0000_0000_0000n))).toBe(0x300n);
  });
});

describe("kinds of entries", () => {
  const table = engine.createStage2({ ipaBits: 39 });
  const at = (addr: number, descriptor: bigint): Entry => {
    table.poke(addr, descriptor);
    return table.leaf(addr);
  };

  it("FMT-5: at level 3 a valid entry is a leaf whatever bit 1 says; without it, reserved", () => {
    table.map(0, KB4, 0x9000, "r");
    expect(table.leaf(0).kind).toBe("page");
    expect(at(0, table.leaf(0).descriptor & ~2n)).toMatchObject({ kind: "reserved", level: 3, pa: 0x9000n });
  });

  it("FMT-6: bit 0 clear is invalid whatever else is set", () => {
    const { descriptor } = at(0x1000, 0x0040_0000_4000_07fen & ~0x400n);
    expect(descriptor & 1n).toBe(0n);
    expect(table.leaf(0x1000)).toMatchObject({ kind: "annotation", pa: 0n, prot: 0 });
  });

  it("FMT-7: a table descriptor is the child's address and 3", () => {
    const tables = [...table.entries({ tables: true })].filter((e) => e.kind === "table");
    expect(tables.length).toBe(2);
    for (const e of tables) expect(e.descriptor).toBe(e.pa | 3n);
  });

  it("FMT-40: an owner stands in [9:2], the marker is bit 10 alone", () => {
    table.setOwner(0x2000, KB4, 1);
    expect(table.leaf(0x2000)).toMatchObject({ descriptor: 4n, kind: "annotation" });
    expect(at(0x3000, 0x400n).kind).toBe("locked");
    expect(codeOf(() => table.setOwner(0x2000, KB4, 2))).toBe("EINVAL");
  });

  it("FMT-41: typed annotations: the marker is a type, compared whole", () => {
    const typed = engine.createStage2({ ipaBits: 39, annotations: "7.x" });
    typed.annotate(0, KB4, 2, 0x0abc_0000_0000_0006n);
    expect(typed.leaf(0).descriptor).toBe(0x2abc_0000_0000_0006n);
    for (const [type, payload] of [
      [0, 0n],
      [1, 0n],
      [16, 0n],
      [2, 1n],
      [2, 1n << 60n],
    ] as const) {
      expect(
        codeOf(() => typed.annotate(0, KB4, type, payload)),
        `${type} ${payload}`,
      ).toBe("EINVAL");
    }
    typed.annotate(0, KB4, 3, 0x400n); // bit 10 says nothing here
    expect(typed.leaf(0).kind).toBe("annotation");
    typed.poke(0, 1n << 60n);
    expect(typed.leaf(0).kind).toBe("locked");
    typed.poke(0, 5n << 60n);
    expect(typed.leaf(0).kind).toBe("annotation");
    expect(codeOf(() => typed.setOwner(0, KB4, 1))).toBe("EINVAL");
  });
});

describe("stage-2 leaves", () => {
  it("FMT-31: the three examples", () => {
    expect(leaf(12, 3, 0x4000_0000n, R | W)).toBe(0x0040_0000_4000_07ffn);
    expect(leaf(12, 3, 0x4000_0000n, R | W, K.T_FWB)).toBe(0x0040_0000_4000_07dbn);
    expect(leaf(12, 2, 0x4000_0000n, R)).toBe(0x0040_0000_4000_077dn);
  });

  it("FMT-20: take the stage-1 attributes: 0x7 with FWB, 0xF without", () => {
    expect((leaf(12, 3, 0n, R | Prot.AS_STAGE1, K.T_FWB) >> 2n) & 15n).toBe(7n);
    expect((leaf(12, 3, 0n, R | Prot.AS_STAGE1) >> 2n) & 15n).toBe(15n);
  });

  it.each([
    [X, 0n],
    [UX, 1n],
    [0, 2n],
    [PX, 3n],
  ])("FMT-25: FEAT_XNX: execute %i is XN code %i", (execute, code) => {
    const descriptor = leaf(12, 3, 0n, R | execute, K.T_XNX);
    expect((descriptor >> 53n) & 3n).toBe(code);
    expect(core.protectionOf(descriptor, K.T_XNX, 0)).toBe(R | execute);
  });

  it("FMT-25: without FEAT_XNX half rights are refused, bit 53 is zero", () => {
    for (const half of [PX, UX, PX | W]) expect(leaf(12, 3, 0n, R | half)).toBe(0n);
    expect(leaf(12, 3, 0n, R | PX | UX)).toBe(leaf(12, 3, 0n, R | X));
    expect((leaf(12, 3, 0n, R) >> 53n) & 3n).toBe(2n);
  });

  it("FMT-23, FMT-28: no permission at all is legal; two memory types, or execute on Device or NC, are not", () => {
    expect(leaf(12, 3, 0n, 0)).not.toBe(0n);
    for (const bad of [
      Prot.DEVICE | Prot.NC,
      Prot.DEVICE | X,
      Prot.NC | X,
      Prot.DEVICE | PX | UX,
      0x1000,
      0x8000_0000,
    ]) {
      expect(leaf(12, 3, 0n, R | bad), String(bad)).toBe(0n);
    }
  });

  it("FMT-8, FMT-9, FMT-24, FMT-26: software bits are 58:55; AF is set, bit 11, DBM and contiguous are not", () => {
    expect(leaf(12, 3, 0n, R | Prot.SW0) ^ leaf(12, 3, 0n, R)).toBe(1n << 55n);
    expect(leaf(12, 3, 0n, R | Prot.SW3) ^ leaf(12, 3, 0n, R)).toBe(1n << 58n);
    const all = leaf(12, 3, ~0n & ((1n << 64n) - 1n), 0xf07);
    expect(all & (1n << 10n)).toBe(1n << 10n);
    expect(all & ((1n << 11n) | (3n << 51n) | (0x1fn << 59n))).toBe(0n);
  });

  it("FMT-29: decoding: software bits of any entry, the rest of valid ones; the type only when asked", () => {
    const device = leaf(12, 3, 0n, R | Prot.DEVICE | Prot.SW1);
    expect(core.protectionOf(device, 0, 0)).toBe(R | Prot.SW1);
    expect(core.protectionOf(device, 0, 1)).toBe(R | Prot.DEVICE | Prot.SW1);
    expect(core.protectionOf(device & ~1n, 0, 1)).toBe(Prot.SW1);
  });

  it("FMT-32: map changes nothing where only S2AP or XN differ", () => {
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(0, KB4, 0, R);
    for (const prot of [R | W, R | X, R | W | X, 0])
      expect(table.map(0, KB4, 0, prot, { handleFault: true })).toBe("again");
    expect(table.leaf(0).prot).toBe(R);
    expect(table.map(0, KB4, 0, R | Prot.DEVICE, { handleFault: true })).toBe("done");
  });
});

describe("stage-1 leaves", () => {
  const hyp = (prot: number, flags = 0) => u64(core.hypLeaf(12, 3, 0n, prot, K.T_HYP | flags));

  it("FMT-15: R is needed; no X with W or Device; NC is ignored", () => {
    for (const bad of [0, W, X, R | W | X, R | X | Prot.DEVICE, R | PX]) expect(hyp(bad), String(bad)).toBe(0n);
    expect(hyp(R | Prot.NC)).toBe(hyp(R));
  });

  it("FMT-14: guarded pages only where executable, and only with BTI", () => {
    const gp = 1n << 50n;
    expect([hyp(R | X, K.T_BTI) & gp, hyp(R, K.T_BTI) & gp, hyp(R | X) & gp]).toEqual([gp, 0n, 0n]);
  });

  it("FMT-16: decoding gives what was encoded; other AP values give nothing", () => {
    for (const flags of [0, K.T_HVHE]) {
      for (const prot of [R, R | W, R | X, R | Prot.SW2])
        expect(core.protectionOf(hyp(prot, flags), K.T_HYP | flags, 0)).toBe(prot);
    }
    expect(core.protectionOf(hyp(R) & ~(3n << 6n), K.T_HYP, 0)).toBe(0);
  });
});

describe("registers", () => {
  it("REG-6: the golden VTCR_EL2, and what it decodes to [REG-1, REG-2]", () => {
    const vtcr = u64(core.vtcr(12, 40, 5n, 0n, 0, 0, 1));
    expect(hex(vtcr)).toBe("0x80253558");
    expect(decodeVtcr(vtcr)).toEqual({
      granule: 4096,
      ipaBits: 40,
      startLevel: 1,
      paBits: 48,
      vmid16: false,
      hardwareAf: true,
      hardwareDirty: false,
      lpa2: false,
    });
  });

  it("REG-3: PS is PARange, capped to 48 bits unless 52 can be used", () => {
    const ps = (mmfr0: bigint, wide: number) => Number((core.vtcr(12, 40, mmfr0, 0n, 0, wide, 0) >> 16n) & 7n);
    expect([0, 1, 2, 3, 4, 5, 6, 7, 15].map((code) => ps(BigInt(code), 0))).toEqual([0, 1, 2, 3, 4, 5, 5, 5, 5]);
    expect([5, 6, 7].map((code) => ps(BigInt(code), 1))).toEqual([5, 6, 6]);
    expect([32, 36, 40, 42, 44, 48, 52].map(paRangeCode)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it("REG-1: VS only for VMIDBits of exactly 16, HA and DS as asked [REG-4, REG-5]", () => {
    const vtcr = (mmfr1: bigint, lpa2: number, af: number) => core.vtcr(12, 40, 5n, mmfr1, lpa2, lpa2, af);
    expect([0x00n, 0x10n, 0x20n, 0x30n].map((m) => (vtcr(m, 0, 0) >> 19n) & 1n)).toEqual([0n, 0n, 1n, 0n]);
    expect((vtcr(0n, 0, 1) >> 21n) & 3n).toBe(1n);
    expect((u64(vtcr(0n, 1, 0)) >> 32n) & 3n).toBe(1n);
  });

  it("REG-8: VTTBR_EL2 has VMID, base with PA[51:48] in [5:2], and CnP", () => {
    expect(u64(core.vttbr(0x8000_0000n, 0x1234, 1))).toBe(0x1234_0000_8000_0001n);
    expect(u64(core.vttbr(0xf_0000_0001_0000n, 0, 0))).toBe(0x1_003cn);
    expect(core.vttbrAlignment(12, 40)).toBe(13); // two start tables
    expect(core.vttbrAlignment(12, 39)).toBe(12);
  });

  it("REG-9: TCR_EL2 has T0SZ, granule, PS, DS and its two RES1 bits", () => {
    const tcr = u64(core.tcrEl2(14, 47, 5, 1));
    expect([tcr & 63n, (tcr >> 14n) & 3n, (tcr >> 16n) & 7n, (tcr >> 23n) & 1n, (tcr >> 31n) & 3n]).toEqual([
      17n,
      2n,
      5n,
      1n,
      3n,
    ]);
  });
});

describe("TLBI operands", () => {
  it.each([
    [12, 1n],
    [14, 2n],
    [16, 3n],
  ])("TLB-5: page size 2^%i is granule code %i in the hint", (ps, code) => {
    for (const level of [0, 1, 2, 3]) {
      expect(u64(core.tlbiIpaOperand(ps, 0n, level)) >> 44n).toBe((code << 2n) | BigInt(level));
    }
    for (const level of [-1, 4, K.TTL_UNKNOWN]) expect(core.tlbiIpaOperand(ps, 0x5000n, level)).toBe(5n);
  });

  it("TLB-6: no operation gives a level hint for a table", () => {
    const own = createEngine({ arenaBytes: 4 << 20, journalRecords: 4096 });
    const table = own.createStage2({ ipaBits: 39 });
    table.map(0, KB4, 0, "r");
    own.journal.start();
    table.map(0, MB2, 0, "r");
    table.map(0, KB4, 0, "r");
    table.unmap(0, KB4);
    const names = own.journal
      .read()
      .filter((r) => r.kind === K.J_TLBI_IPA)
      .map((r) => r.level);
    expect(names).toEqual([2, K.TTL_UNKNOWN, K.TTL_UNKNOWN]); // the block; then two tables that became empty
  });

  it("TLB-7: BADDR counts pages, 64K units under LPA2; levels 1..3 are hints", () => {
    const operand = (ps: number, addr: bigint, level: number, lpa2: number) => {
      expect(core.tlbiRangeStep(ps, addr, 64n, 3, level, lpa2, 1)).toBe(0);
      return engine.results.rangeStep.operand;
    };
    expect(operand(14, 0x4000_0000n, -1, 0) & ((1n << 37n) - 1n)).toBe(0x1_0000n);
    expect(operand(12, 0x4000_0000n, 3, 1) & ((1n << 37n) - 1n)).toBe(0x4000n);
    expect([0, 1, 2, 3, 4].map((level) => (operand(12, 0n, level, 0) >> 37n) & 3n)).toEqual([0n, 1n, 2n, 3n, 0n]);
  });

  it("TLB-8: under LPA2 a base that is not 64K aligned starts with single pages", () => {
    expect(core.tlbiRangeStep(12, 0xf000n, 64n, 3, -1, 1, 1)).toBe(0);
    expect(engine.results.rangeStep.scale).toBe(-1);
  });

  it("nonsense is an EINVAL", () => {
    for (const [ps, pages, scale] of [
      [13, 1n, 3],
      [12, 0n, 3],
      [12, 1n, 4],
      [12, 1n, -1],
    ] as const) {
      expect(core.tlbiRangeStep(ps, 0n, pages, scale, -1, 0, 1)).toBe(-22);
    }
  });
});

describe("geometry", () => {
  it("GEO-1, GEO-2: a level resolves PS-3 bits", () => {
    for (const granule of GRANULES) {
      const ps = Math.log2(granule);
      for (const level of [-1, 0, 1, 2, 3]) expect(core.levelShift(ps, level)).toBe(levelShift(granule, level));
      expect(levelShift(granule, 2) - levelShift(granule, 3)).toBe(ps - 3);
    }
  });

  it("GEO-11: the two review claims stay rejected: 64K of 40 bits is one start table, and an exclusive end at the limit is legal", () => {
    expect(core.startTables(16, 40, core.stage2StartLevel(16, 40))).toBe(1);
    const table = engine.createStage2({ granule: 65536, ipaBits: 40 });
    expect(codeOf(() => table.unmap(0, 1n << 40n))).toBe("");
    expect(codeOf(() => table.unmap(1n << 40n, 0))).toBe("");
  });
});
