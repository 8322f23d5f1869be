// What an entry is tagged with when a stage is off, whose fault a conflict is, and what a TLBI names then [HWM-35, HWM-43, HWM-44].

import { describe, expect, it } from "vitest";
import { createMmu, createTlb, type Mmu, TlbDomain } from "../../bindings/mmu/index.js";
import * as W from "./world.js";
import { World } from "./world.js";

const VA = 0x4000_0000n;
const PA = 0x9_0000_0000n;
const VM = W.HCR.VM;
const DC = W.HCR.DC;
const VS = 1n << 19n;
const E2H = 1n << 34n;

/** A guest whose stage 1 leads to physical memory: stage 2 may be off. */
function flat(): World {
  const made = new World();
  for (let i = 0n; i < 4n; i++) made.map2(VA + (i << 12n), PA + (i << 12n), W.S2_LEAF);
  return made;
}

function poke(mmu: Mmu, pa: bigint, value: bigint): void {
  const bytes = mmu.image();
  new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(Number(pa - W.BASE), value, true);
}

describe("with stage 2 off", () => {
  /** Stage 1 by the tables of stage 2, where they lie; nothing behind it. */
  const off = (made: World, vmid: bigint) =>
    made.mmu({ hcr: 0n, ttbr0: made.s2Root, vtcr: W.VTCR.T39 | VS, vttbr: made.s2Root | (vmid << 48n) });

  it("entries are of the VMID in VTTBR_EL2 all the same (R_TLJCY)", () => {
    const made = flat();
    using mmu = off(made, 0x105n);
    expect(mmu.tags.vmid).toBe(0x105);
    using tlb = createTlb(mmu);
    expect(tlb.access(VA)).toMatchObject({ ok: true, pa: PA, stage2: undefined });
    expect(new Set(tlb.entries().map(({ vmid }) => vmid))).toEqual(new Set([0x105]));
    poke(mmu, made.entry2(VA), 0n);
    mmu.setRegisters({ vttbr: made.s2Root | (6n << 48n) });
    expect(tlb.access(VA).ok).toBe(false); // another VMID: no entry of the first one answers
    mmu.setRegisters({ vttbr: made.s2Root | (0x105n << 48n) });
    expect(tlb.access(VA).ok).toBe(true);
  });

  it.each(["VMALLE1IS", "VMALLS12E1IS"] as const)("%s reaches them, under the CPU's VMID", (form) => {
    const made = flat();
    using mmu = off(made, 5n);
    using tlb = createTlb(mmu);
    tlb.access(VA);
    poke(mmu, made.entry2(VA), 0n);
    new TlbDomain([tlb]).invalidate(0, form, 0, { vmid: 6 });
    expect(tlb.access(VA).ok).toBe(true);
    new TlbDomain([tlb]).invalidate(0, form);
    expect(tlb.access(VA).ok).toBe(false);
  });

  it("eight bits of the VMID count unless VTCR_EL2.VS, at EL2 too, which issues TLBIs for it", () => {
    const made = flat();
    using mmu = made.mmu({ hcr: 0n, vttbr: 0x105n << 48n });
    expect(mmu.tags.vmid).toBe(5);
    using el2 = createMmu({ beside: mmu, regime: "el2", registers: { vttbr: 0x105n << 48n, vtcr: VS } });
    expect(el2.tags).toEqual({ vmid: 0x105, asid: 0 });
  });
});

describe("a TLB conflict", () => {
  /** Pages of stage 2, then a block over them without a break, and an access that finds both. */
  function conflict(hcr: bigint, sctlr: bigint) {
    const made = flat();
    if (sctlr) for (let i = 0n; i < 4n; i++) made.map1(VA + (i << 12n), VA + (i << 12n), W.S1_LEAF);
    using mmu = made.mmu({ hcr, sctlr });
    const shape = { data: { entries: 16 } }; // no walk cache, which would still know the table
    using tlb = createTlb(mmu, { shape });
    tlb.access(VA);
    if (sctlr) poke(mmu, World.physical(made.entry1(VA, 2)), VA | W.S1_LEAF | 1n);
    poke(mmu, made.entry2(VA, 2), PA | W.S2_LEAF | 1n);
    tlb.access(VA + 0x3000n);
    return tlb.access(VA, "r", { iss: 0x0181_0000 });
  }

  it.each([
    ["VM", VM],
    ["DC, which takes stage 1 away", VM | DC],
  ])("is of stage 2 where there is no other: HCR_EL2.%s (R_ZMVZT)", (_name, hcr) => {
    const t = conflict(hcr, 0n);
    expect(t).toMatchObject({ ok: false, kind: "conflict", fsc: 0x30, stage2: true, s1ptw: false, ipa: VA });
    expect(!t.ok && t.exception).toMatchObject({ el: 2, hpfar: (VA >> 12n) << 4n });
  });

  it("is of stage 2 with DC whatever SCTLR_EL1.M says", () => {
    expect(conflict(DC, 1n)).toMatchObject({ kind: "conflict", stage2: true });
  });

  it("is of stage 1 where there are both", () => {
    const t = conflict(VM, 1n);
    expect(t).toMatchObject({ ok: false, kind: "conflict", stage2: false, level: 0 });
    expect(!t.ok && t.exception?.el).toBe(1);
  });
});

describe("a TLBI", () => {
  it("of a VMID that there is not is refused, and changes nothing", () => {
    using mmu = flat().mmu({ sctlr: 0 });
    using tlb = createTlb(mmu);
    tlb.access(VA);
    const before = tlb.stats();
    for (const vmid of [-1, 0.5, 65536, Number.NaN]) {
      expect(() => tlb.invalidate("VMALLS12E1", 0, { vmid })).toThrow(/is not a VMID: these are 0 to 65535/);
    }
    expect(tlb.stats()).toEqual(before);
  });

  it("of EL2 is for EL2&0 where its CPU has E2H, by ASID", () => {
    const made = flat();
    const tcr = W.TCR.T39 | (1n << 36n);
    const registers = { hcr: E2H, sctlr: 1n, tcr, ttbr0: made.s2Root | (7n << 48n), mair: W.MAIR };
    made.map2(VA, PA, W.S2_LEAF | W.NG);
    using mmu = made.mmu(registers, { regime: "el2" });
    using tlb = createTlb(mmu);
    const leaves = () => tlb.entries().filter(({ kind }) => kind === "leaf").length;
    tlb.access(VA);
    const all = leaves();
    expect(all).toBeGreaterThan(0);
    tlb.invalidate("VAE2", VA >> 12n, { hcr: 0 });
    tlb.invalidate("VAE2", (8n << 48n) | (VA >> 12n));
    expect(leaves()).toBe(all);
    tlb.invalidate("VAE2", (7n << 48n) | (VA >> 12n));
    expect(leaves()).toBe(0);
  });
});
