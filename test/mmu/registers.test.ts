// Registers: which half, which size, tags, switches; memory types of both stages [HWM-44, REG-1, FMT-22].

import { describe, expect, it } from "vitest";
import { createEngine } from "../../bindings/index.js";
import { createMmu, hypRegisters, stage2Registers } from "../../bindings/mmu/index.js";
import * as W from "./world.js";
import { World } from "./world.js";

const VA = 0x12_3456_7000n;
const HIGH = 0xffff_ff80_0000_3000n;
const IPA = 0x8000_0000n;
const PA = 0x9_0000_0000n;

function world(leaf1 = 0n, leaf2 = W.S2_LEAF): World {
  const made = new World();
  made.map1(VA, IPA, W.S1_LEAF | leaf1);
  made.map1(HIGH, IPA + 0x1000n, W.S1_LEAF | leaf1);
  made.map2(IPA, PA, leaf2);
  made.map2(IPA + 0x1000n, PA + 0x5000n, leaf2);
  return made;
}

describe("the two halves", () => {
  it("have a table each, and a gap between them", () => {
    using mmu = world().mmu();
    expect(mmu.translate(VA)).toMatchObject({ ok: true, pa: PA });
    expect(mmu.translate(HIGH + 5n)).toMatchObject({ ok: true, pa: PA + 0x5005n });
    for (const address of [1n << 39n, 1n << 54n, 1n << 55n, 0xffff_ff00_0000_3000n, VA | (1n << 56n)]) {
      expect(mmu.translate(address), address.toString(16)).toMatchObject({
        kind: "translation",
        fsc: 4,
        stage2: false,
      });
    }
  });

  it("have a size each", () => {
    const made = world();
    using mmu = made.mmu({ tcr: (W.TCR.T39 & ~(63n << 16n)) | (26n << 16n) });
    expect(mmu.translate(HIGH).ok).toBe(false);
    expect(mmu.translate(VA).ok).toBe(true);
    for (const t0sz of [0n, 11n, 15n, 49n, 63n]) {
      mmu.setRegisters({ tcr: (W.TCR.T39 & ~63n) | t0sz });
      expect(mmu.translate(VA)).toMatchObject({ kind: "translation", level: 0, stage2: false });
      expect(mmu.translate(HIGH).ok).toBe(true);
    }
  });

  it("are switched off by EPD, and for EL0 by E0PD", () => {
    using mmu = world(W.AP_EL0 | W.AP_RO).mmu({ tcr: W.TCR.T39 | W.TCR.EPD1 | W.TCR.E0PD0 });
    expect(mmu.translate(HIGH)).toMatchObject({ ok: false, fsc: 4 });
    expect(mmu.translate(VA).ok).toBe(true);
    expect(mmu.translate(VA, "r", { el0: true })).toMatchObject({ ok: false, fsc: 4 });
  });

  it("ignore the top byte where TBI says so, for fetches unless TBID", () => {
    const tag = 0xa5n << 56n;
    using mmu = world().mmu({ tcr: W.TCR.T39 | W.TCR.TBI0 | W.TCR.TBID0 });
    expect(mmu.translate(VA | tag)).toMatchObject({ ok: true, pa: PA });
    expect(mmu.translate(VA | tag, "x").ok).toBe(false);
    expect(mmu.translate(HIGH & ~tag).ok).toBe(false);
    mmu.setRegisters({ tcr: W.TCR.T39 | W.TCR.TBI0 | W.TCR.TBI1 });
    expect(mmu.translate(VA | tag, "x")).toMatchObject({ ok: true, pa: PA });
    expect(mmu.translate(HIGH & ~tag)).toMatchObject({ ok: true, pa: PA + 0x5000n });
    const fault = mmu.translate((VA + 0x1000n) | tag, "x");
    expect(!fault.ok && fault.exception?.far).toBe(VA + 0x1000n);
    const data = mmu.translate((VA + 0x1000n) | tag, "r");
    expect(!data.ok && data.exception?.far).toBe((VA + 0x1000n) | tag);
  });
});

describe("start tables", () => {
  it("beyond the output size are an address size fault of level 0, in the stage that has them", () => {
    using mmu = world().mmu({ ttbr0: 1n << 41n, tcr: (W.TCR.T39 & ~(7n << 32n)) | (2n << 32n) });
    expect(mmu.translate(VA)).toMatchObject({ kind: "address-size", fsc: 0, level: 0, stage2: false });
    mmu.setRegisters({ ttbr0: 0, vttbr: 1n << 41n, vtcr: (W.VTCR.T39 & ~(7n << 16n)) | (2n << 16n) });
    expect(mmu.translate(VA)).toMatchObject({ kind: "address-size", fsc: 0, stage2: true, s1ptw: true });
  });

  it.each([
    // granule, SL0, T0SZ: accepted from one index bit to a table and four more, up to what the level has
    [0n, 0n, 33n, true],
    [0n, 0n, 30n, true],
    [0n, 0n, 29n, false],
    [0n, 1n, 33n, true],
    [0n, 1n, 34n, false],
    [0n, 1n, 21n, true],
    [0n, 1n, 20n, false],
    [0n, 2n, 16n, true],
    [2n, 1n, 28n, true],
    [2n, 1n, 24n, true],
    [2n, 1n, 23n, false],
    [2n, 3n, 16n, false],
    [1n, 1n, 22n, true],
    [1n, 1n, 17n, false],
    [1n, 3n, 16n, false],
  ])("TG0 %i, SL0 %i and T0SZ %i are taken: %s [HWM-15]", (tg0, sl0, t0sz, taken) => {
    const vtcr = t0sz | (sl0 << 6n) | (tg0 << 14n) | (5n << 16n);
    using mmu = createMmu({ image: new Uint8Array(1 << 20), registers: { hcr: W.HCR.VM | W.HCR.DC, vtcr, vttbr: 0 } });
    const t = mmu.translate(0);
    // An empty table is a translation fault at the start level; a pair that is refused is one of level 0.
    const base = tg0 === 0n ? 2 : 3;
    expect(t).toMatchObject({ kind: "translation", level: taken ? base - Number(sl0) : 0 });
  });

  it.each([
    // granule, SL0, the least PA that the start level is for
    [0n, 2n, 44],
    [1n, 2n, 44],
    [2n, 2n, 42],
  ])("TG0 %i, SL0 %i needs %i bits of PA [HWM-15]", (tg0, sl0, least) => {
    for (const paBits of [36, 40, 42, 44, 48, 52]) {
      const t0sz = tg0 === 0n ? 22n : tg0 === 1n ? 21n : 22n;
      const vtcr = t0sz | (sl0 << 6n) | (tg0 << 14n) | (5n << 16n);
      const registers = { hcr: W.HCR.VM | W.HCR.DC, vtcr, vttbr: 0 };
      using mmu = createMmu({ image: new Uint8Array(1 << 20), paBits, registers });
      const level = tg0 === 0n ? 0 : 1;
      // A level 0 of its own tells nothing: what is refused is not looked up, so a table there is not read.
      new DataView(mmu.image().buffer, mmu.image().byteOffset).setBigUint64(0, (1n << 16n) | 3n, true);
      const t = mmu.translate(0);
      expect(t, `${paBits} bits`).toMatchObject({ kind: "translation", level: paBits >= least ? level + 1 : 0 });
    }
  });

  it("of 64K pages hold bits 51:48 in 15:12 where the CPU has them, whatever PS says", () => {
    const image = new Uint8Array(1 << 17);
    new DataView(image.buffer).setBigUint64(0, 0x1_0000n | 3n | (1n << 12n), true);
    const registers = { hcr: W.HCR.VM | W.HCR.DC, vtcr: 22n | (1n << 6n) | (1n << 14n) | (5n << 16n), vttbr: 0 };
    using wide = createMmu({ image, registers });
    expect(wide.translate(0)).toMatchObject({ kind: "address-size", level: 2 });
    using narrow = createMmu({ image, registers, paBits: 48 });
    expect(narrow.translate(0)).toMatchObject({ kind: "translation", level: 3 });
  });
});

describe("stages that are off", () => {
  it("pass addresses on: stage 1 as Device, or write-back with DC", () => {
    const made = world();
    using mmu = made.mmu({ sctlr: 0n });
    expect(mmu.translate(IPA)).toMatchObject({
      pa: PA,
      stage1: undefined,
      attributes: { attr: 0, shareability: "OSH" },
    });
    mmu.setRegisters({ hcr: W.HCR.DC, sctlr: W.SCTLR.M });
    expect(mmu.translate(IPA)).toMatchObject({ pa: PA, attributes: { type: "Normal-WB", shareability: "ISH" } });
    expect(mmu.translate(1n << 52n)).toMatchObject({ kind: "address-size", fsc: 0, level: 0, stage2: false });
    expect(mmu.translate(1n << 40n)).toMatchObject({ kind: "translation", fsc: 4, stage2: true });
  });

  it("pass addresses on: stage 2", () => {
    using engine = createEngine();
    const hyp = engine.createHyp({ vaBits: 48 });
    hyp.map(0x7000, 0x1000, 0x9_0000_0000, "r");
    const { ttbr0, mair } = hypRegisters(hyp);
    const tcr = 16n | W.TCR.EPD1 | (5n << 32n);
    using mmu = createMmu({ engine, registers: { sctlr: 1, tcr, ttbr0: ttbr0 ?? 0, mair: mair ?? 0 } });
    expect(mmu.translate(0x7abc)).toMatchObject({ pa: 0x9_0000_0abcn, ipa: 0n, stage2: undefined });
  });

  it("both: the address itself, fetches by SCTLR.I", () => {
    using mmu = createMmu({ image: new Uint8Array(8), paBits: 40 });
    expect(mmu.translate(0x12_3456_789an)).toMatchObject({ pa: 0x12_3456_789an, size: 4096n, attributes: { attr: 0 } });
    expect(mmu.translate(1n << 40n)).toMatchObject({ kind: "address-size", fsc: 0 });
    expect(mmu.translate(0, "x")).toMatchObject({ attributes: { attr: 0x44 } });
    mmu.setRegisters({ sctlr: W.SCTLR.I });
    expect(mmu.translate(0, "x")).toMatchObject({ attributes: { attr: 0xee } });
  });
});

/** Attribute of stage 1 (MAIR index), MemAttr of stage 2 -> attribute and shareability of both. */
const WEAKER: readonly (readonly [bigint, bigint, number, string])[] = [
  [0n, 0xfn, 0xff, "ISH"],
  [0n, 0x5n, 0x44, "OSH"],
  [0n, 0xan, 0xbb, "ISH"],
  [0n, 0x7n, 0x4f, "ISH"],
  [0n, 0x0n, 0x00, "OSH"],
  [0n, 0x3n, 0x0c, "OSH"],
  [1n, 0xfn, 0x04, "OSH"],
  [1n, 0x3n, 0x04, "OSH"],
  [1n, 0x0n, 0x00, "OSH"],
  [2n, 0xfn, 0x44, "OSH"],
  [2n, 0x3n, 0x0c, "OSH"],
  [3n, 0xfn, 0xbb, "ISH"],
  [3n, 0xan, 0xbb, "ISH"],
  [3n, 0x5n, 0x44, "OSH"],
  [4n, 0x2n, 0x08, "OSH"],
];
const FORCED: readonly (readonly [bigint, bigint, number, string])[] = [
  [0n, 0x6n, 0xff, "ISH"],
  [1n, 0x6n, 0xff, "ISH"],
  [2n, 0x6n, 0xff, "ISH"],
  [3n, 0x6n, 0xff, "ISH"],
  [3n, 0x7n, 0xbb, "ISH"],
  [1n, 0x7n, 0x04, "OSH"],
  [0n, 0x5n, 0x44, "OSH"],
  [1n, 0x5n, 0x04, "OSH"],
  [0n, 0x1n, 0x04, "OSH"],
  [2n, 0x2n, 0x08, "OSH"],
];

describe("memory types", () => {
  it.each(WEAKER)("stage 1 attribute %i under MemAttr %i without FWB: the weaker [FMT-22]", (index, attr, type, sh) => {
    const made = world(index << 2n, (W.S2_LEAF & ~W.S2_WB) | (attr << 2n));
    using mmu = made.mmu();
    expect(mmu.translate(VA)).toMatchObject({ attributes: { attr: type, shareability: sh } });
    mmu.setRegisters({ hcr: W.HCR.VM | W.HCR.CD });
    // HCR_EL2.CD makes what stage 2 calls Normal non-cacheable; Device stays what it is.
    const attributes = { attr: type < 16 ? type : 0x44, shareability: "OSH" };
    expect(mmu.translate(VA)).toMatchObject({ ok: true, ipa: IPA | (VA & 0xfffn), attributes });
  });

  it.each(FORCED)("stage 1 attribute %i under MemAttr %i with FWB [FMT-22]", (index, attr, type, sh) => {
    const made = world(index << 2n, (W.S2_LEAF & ~W.S2_WB) | (attr << 2n));
    // Tables must stay readable: their own leaves are of MemAttr 0xf, which FWB knows as 7 with a reserved bit.
    using mmu = made.mmu({ hcr: W.HCR.VM | W.HCR.FWB });
    expect(mmu.translate(VA)).toMatchObject({ attributes: { attr: type, shareability: sh } });
  });

  it("share as the wider of both stages", () => {
    for (const [one, two, both] of [
      [0n, 0n, "NSH"],
      [3n, 0n, "ISH"],
      [0n, 3n, "ISH"],
      [2n, 3n, "OSH"],
      [3n, 2n, "OSH"],
    ] as const) {
      const made = world(0n, (W.S2_LEAF & ~W.INNER) | (two << 8n));
      made.map1(VA, IPA, W.AF | (one << 8n));
      using mmu = made.mmu();
      expect(mmu.translate(VA)).toMatchObject({ attributes: { shareability: both } });
    }
  });
});

describe("an address translation instruction", () => {
  it("reports in PAR_EL1, and raises external aborts alone", () => {
    using mmu = world().mmu();
    expect(mmu.translate(VA, "r", { at: true }).par).toBe((0xffn << 56n) | PA | 0xb80n);
    expect(mmu.translate(0n, "r", { at: true })).toMatchObject({ ok: false, par: 0x80bn, exception: undefined });
    mmu.setRegisters({ vttbr: 0x1_0000_0000n });
    expect(mmu.translate(VA, "r", { at: true })).toMatchObject({
      kind: "external-walk",
      exception: { esr: 0x9600_01d5n },
    });
  });
});

describe("misuse", () => {
  it("is refused", () => {
    using engine = createEngine();
    expect(() => createMmu({})).toThrow(/an engine, a memory, an image/);
    expect(() => createMmu({ engine, paBits: 41 })).toThrow(/41/);
    expect(() => createMmu({ engine, regime: "el3" as "el2" })).toThrow(/el3/);
    expect(() => createMmu({ image: new Uint8Array(8), physBase: 4 })).toThrow(/aligned/);
    using mmu = createMmu({ engine, registers: stage2Registers(engine.createStage2()) });
    expect(() => mmu.translate(-1)).toThrow(/not an address/);
    expect(() => mmu.translate(0, "q" as "r")).toThrow(/not an access/);
    for (const name of ["ttbr2", "toString"]) {
      expect(() => mmu.setRegisters({ [name]: 0 } as object)).toThrow(
        `unknown register ${name}: the registers are hcr, sctlr`,
      );
    }
    expect(() => mmu.createColumns(0)).toThrow(/capacity/);
    using columns = mmu.createColumns(3);
    expect(() => mmu.translateMany(columns, 4)).toThrow(/3 rows/);
    mmu.close();
    expect(() => mmu.translate(0)).toThrow(/closed/);
  });
});
