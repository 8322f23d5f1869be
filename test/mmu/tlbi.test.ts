// Every TLBI against every kind of entry, cell by cell of the table in bindings/mmu/forms.ts [HWM-38..43, TLB-1..7].

import { describe, expect, it } from "vitest";
import {
  createMmu,
  createTlb,
  ENTRY_KINDS,
  type EntryKind,
  type Mmu,
  type MmuRegisters,
  TLBI_FORMS,
  type Tlb,
  type TlbEntry,
  type TlbiForm,
  tlbiEffect,
} from "../../bindings/mmu/index.js";
import * as W from "./world.js";
import { World } from "./world.js";

const VA = 0x12_3456_7000n;
const FAR_VA = 0x13_0000_0000n;
const GLOBAL_VA = VA + 0x1000n;
const IPA = 0x8000_0000n;
const FAR_IPA = 0x8800_0000n;
const PA = 0x9_0000_0000n;
const [ASID, OTHER_ASID, VMID, OTHER_VMID] = [7n, 9n, 3, 4];
/** TCR_EL2: T0SZ 25, 4K, PS 48 bits. */
const TCR_EL2 = 25n | (5n << 16n);

/** Both stages, an own page, a global one beside it and one far away. EL2 uses the guest's tables where they lie. */
function world(): World {
  const made = new World();
  made.map1(VA, IPA, W.S1_LEAF | W.NG);
  made.map1(GLOBAL_VA, IPA, W.S1_LEAF);
  made.map1(FAR_VA, FAR_IPA, W.S1_LEAF | W.NG);
  made.map2(IPA, PA, W.S2_LEAF);
  made.map2(FAR_IPA, PA + 0x1000n, W.S2_LEAF);
  // EL2's own table: the stage-2 one, whose entries have the same places for what matters here.
  return made;
}

interface Cpu {
  mmu: Mmu;
  el2: Mmu;
  tlb: Tlb;
  tlbOfEl2: Tlb;
  enter(vmid: number, asid: bigint): void;
}

function cpu(adversarial = false): Cpu {
  const made = world();
  const registers = (vmid: number, asid: bigint): MmuRegisters => ({
    ttbr0: made.s1Root | (asid << 48n),
    vttbr: made.s2Root | (BigInt(vmid) << 48n),
    tcr: W.TCR.T39 | (1n << 36n),
    vtcr: W.VTCR.T39 | (1n << 19n),
  });
  const mmu = made.mmu(registers(VMID, ASID));
  const el2 = createMmu({
    beside: mmu,
    regime: "el2",
    registers: { sctlr: 1, tcr: TCR_EL2, ttbr0: made.s2Root, mair: W.MAIR },
  });
  const preset = "neoverse-n1";
  const whims = { early: 0, drop: 0, prefetch: 0 };
  const tlb = createTlb(mmu, { preset, adversarial, whims });
  const enter = (vmid: number, asid: bigint) => mmu.setRegisters(registers(vmid, asid));
  return { mmu, el2, tlb, tlbOfEl2: createTlb(el2, { sharing: tlb }), enter };
}

/** Fills a TLB with one entry of each kind at least. */
function fill({ tlb, tlbOfEl2, enter }: Cpu): void {
  for (const [vmid, asid] of [
    [VMID, OTHER_ASID],
    [OTHER_VMID, ASID],
    [VMID, ASID],
  ] as const) {
    enter(vmid, asid);
    for (const va of [FAR_VA, GLOBAL_VA, VA]) expect(tlb.access(va).ok).toBe(true);
  }
  for (const ipa of [IPA, FAR_IPA]) expect(tlbOfEl2.access(ipa).ok).toBe(true);
}

const PAGE_MASK = ~0xfffn;
const covers = (e: TlbEntry, at: bigint) => ((at ^ e.address) & ~(e.size - 1n)) === 0n;

/** Which entries are of a kind, when the operand names VA or IPA, ASID and VMID. */
const IS: Readonly<Record<EntryKind, (e: TlbEntry) => boolean>> = {
  leaf: (e) => isLeaf(e, VMID, ASID) && e.address === VA,
  leafOfOtherAsid: (e) => isLeaf(e, VMID, OTHER_ASID) && e.address === VA,
  globalLeaf: (e) => e.kind === "leaf" && e.regime === "EL1&0" && e.vmid === VMID && e.global,
  leafOfOtherVmid: (e) => isLeaf(e, OTHER_VMID, ASID) && e.address === VA,
  leafElsewhere: (e) => isLeaf(e, VMID, ASID) && e.address === FAR_VA,
  table1: (e) => e.kind === "table1" && e.vmid === VMID && e.asid === Number(ASID) && covers(e, VA),
  table1OfOtherAsid: (e) => isTable1(e) && e.vmid === VMID && e.asid === Number(OTHER_ASID) && covers(e, VA),
  tableOfBoth: (e) => e.kind === "tableOfBoth" && e.vmid === VMID && e.asid === Number(ASID) && covers(e, VA),
  stage2Leaf: (e) => e.kind === "stage2" && e.vmid === VMID && e.address === IPA,
  stage2LeafElsewhere: (e) => e.kind === "stage2" && e.vmid === VMID && e.address === FAR_IPA,
  stage2LeafOfOtherVmid: (e) => e.kind === "stage2" && e.vmid === OTHER_VMID && e.address === IPA,
  stage2Table: (e) => e.kind === "table2" && e.vmid === VMID && covers(e, IPA) && e.size === 1n << 21n,
  el2Leaf: (e) => e.kind === "leaf" && e.regime === "EL2" && e.address === IPA,
  el2LeafElsewhere: (e) => e.kind === "leaf" && e.regime === "EL2" && e.address === FAR_IPA,
  el2Table: (e) => isTable1(e) && e.regime === "EL2" && covers(e, IPA) && e.size === 1n << 21n,
};

function isTable1({ kind }: TlbEntry): boolean {
  return kind === "table1" || kind === "tableOfBoth";
}

function isLeaf(e: TlbEntry, vmid: number, asid: bigint): boolean {
  return e.kind === "leaf" && e.regime === "EL1&0" && e.vmid === vmid && e.asid === Number(asid) && !e.global;
}

/** Operand that names `va` or `ipa`: the forms of EL2 name what EL2 maps. */
function operand(form: TlbiForm, kind: EntryKind): bigint {
  const isIpa = /IPAS2|E2/.test(form);
  const at = isIpa ? IPA : kind === "globalLeaf" ? GLOBAL_VA : VA;
  const asid = isIpa ? 0n : ASID << 48n;
  // Two pages from an even one: NUM 0, SCALE 0. TG 4K.
  return form.startsWith("R") ? asid | (1n << 46n) | ((at >> 12n) & ~1n) : asid | (at >> 12n);
}

/** A CPU whose walk caches hold tables of stage 1 as the kind has them. */
function cpuFor(kind: EntryKind, adversarial = false): Cpu {
  const made = cpu(adversarial);
  fill(made);
  if (made.tlb.entries().some(IS[kind])) return made;
  // Tables of stage 1 without their physical address: a shape without combined walk caches.
  const shape = { data: { entries: 64 }, stage2: { entries: 64 }, walk: { entries: 64 }, combinedWalks: false };
  const tlb = createTlb(made.mmu, { shape, adversarial, whims: { early: 0, drop: 0, prefetch: 0 } });
  const plain = { ...made, tlb, tlbOfEl2: createTlb(made.el2, { sharing: tlb }) };
  fill(plain);
  return plain;
}

const SCOPES = TLBI_FORMS.filter((form) => !/(?:IS|OS)$/.test(form));

describe("the table of TLBI effects", () => {
  it.each(SCOPES)("%s does to each kind of entry what it says [HWM-38, HWM-40, HWM-43]", (form) => {
    for (const kind of ENTRY_KINDS) {
      for (const suffix of ["", "IS", "OS"]) {
        const name = `${form}${suffix}` as TlbiForm;
        const { tlb } = cpuFor(kind);
        expect(tlb.entries().some(IS[kind]), `${kind} is there`).toBe(true);
        tlb.invalidate(name, operand(form, kind), { vmid: VMID });
        expect(tlb.entries().some(IS[kind]), `${name} ${kind}`).toBe(tlbiEffect(name, kind) !== "drop");
      }
    }
  });

  it.each(SCOPES)("%s with an adversary takes nothing before the DSB, and what it must at it [HWM-41]", (form) => {
    for (const kind of ENTRY_KINDS) {
      const { tlb } = cpuFor(kind, true);
      const name = `${form}IS` as TlbiForm;
      tlb.invalidate(name, operand(form, kind), { vmid: VMID, issuer: 2 });
      tlb.dsb("ish", 1);
      tlb.dsb("nsh", 2);
      expect(tlb.entries().some(IS[kind]), `${name} ${kind} waits`).toBe(true);
      tlb.dsb("ish", 2);
      expect(tlb.entries().some(IS[kind]), `${name} ${kind}`).toBe(tlbiEffect(name, kind) !== "drop");
    }
  });

  it("has a letter for each form and kind", () => {
    for (const form of TLBI_FORMS) {
      for (const kind of ENTRY_KINDS) expect(["drop", "may", "keep"]).toContain(tlbiEffect(form, kind));
    }
    expect(() => tlbiEffect("VAE9" as TlbiForm, "leaf")).toThrow("VAE9 is no TLBI");
  });
});

describe("a level hint", () => {
  const BY_ADDRESS = SCOPES.filter((form) => /^R?(?:VA|IPA)/.test(form));
  const leafOf = (form: string): EntryKind => (/IPA/.test(form) ? "stage2Leaf" : /E2$/.test(form) ? "el2Leaf" : "leaf");
  const hinted = (form: TlbiForm, kind: EntryKind, tg: bigint, level: bigint) =>
    form.startsWith("R")
      ? (operand(form, kind) & ~(3n << 46n)) | (tg << 46n) | (level << 37n)
      : operand(form, kind) | (((tg << 2n) | level) << 44n);

  it.each(BY_ADDRESS)("of %s is taken at its word [HWM-39, TLB-5, TLB-6]", (form) => {
    for (const tg of [1n, 2n, 3n]) {
      for (const level of [1n, 2n, 3n]) {
        const kind = leafOf(form);
        const { tlb } = cpuFor(kind);
        tlb.invalidate(form, hinted(form, kind, tg, level));
        // A range of another granule begins at another address.
        const gone = level === 3n && tg === 1n;
        expect(tlb.entries().some(IS[kind]), `${form} TG ${tg} level ${level}`).toBe(!gone);
      }
    }
  });

  it.each(BY_ADDRESS.filter((form) => !/L/.test(form)))("of %s leaves tables alone [HWM-39, BUG-26]", (form) => {
    const kind = /IPA/.test(form) ? "stage2Table" : /E2$/.test(form) ? "el2Table" : "tableOfBoth";
    const { tlb } = cpuFor(kind);
    tlb.invalidate(form, hinted(form, kind, 1n, 3n));
    expect(tlb.entries().some(IS[kind])).toBe(true);
  });
});

describe("a range", () => {
  const CASES = [
    [0n, 0n, 2],
    [0n, 1n, 4],
    [1n, 0n, 64],
    [1n, 7n, 512],
    [2n, 0n, 2048],
    [3n, 31n, 2 ** 21],
  ] as const;

  it.each(CASES)("of SCALE %i, NUM %i covers %i pages [TLB-7, TLB-9]", (scale, num, pages) => {
    const word = (1n << 46n) | (scale << 44n) | (num << 39n);
    for (const [from, gone] of [
      [IPA >> 12n, true],
      [(IPA >> 12n) - BigInt(pages) + 1n, true],
      [(IPA >> 12n) - BigInt(pages), false],
      [(IPA >> 12n) + 1n, false],
    ] as const) {
      const { tlb } = cpuFor("stage2Leaf");
      if (from < 0n) continue;
      tlb.invalidate("RIPAS2E1", word | from);
      expect(!tlb.entries().some(IS.stage2Leaf), `from page ${from}`).toBe(gone);
    }
  });

  it("counts 64K under LPA2, and with the reserved granule names nothing", () => {
    const { tlb } = cpuFor("stage2Leaf");
    tlb.invalidate("RIPAS2E1", IPA >> 12n);
    tlb.invalidate("RIPAS2E1", (1n << 46n) | (IPA >> 12n), { lpa2: true });
    expect(tlb.entries().some(IS.stage2Leaf)).toBe(true);
    tlb.invalidate("RIPAS2E1", (1n << 46n) | (IPA >> 16n), { lpa2: true });
    expect(tlb.entries().some(IS.stage2Leaf)).toBe(false);
  });

  it("reaches the upper half of the addresses by its sign", () => {
    const made = new World();
    const high = 0xffff_ffff_ffff_f000n;
    made.map1(high, IPA, W.S1_LEAF);
    made.map2(IPA, PA, W.S2_LEAF);
    using mmu = made.mmu();
    using tlb = createTlb(mmu);
    expect(tlb.access(high).ok).toBe(true);
    const leaf = () => tlb.entries().some((e) => e.kind === "leaf" && (e.address & PAGE_MASK) === high);
    tlb.invalidate("RVAAE1", (1n << 46n) | ((high >> 12n) & ((1n << 36n) - 1n)));
    expect(leaf()).toBe(true);
    tlb.invalidate("RVAAE1", (1n << 46n) | ((high >> 12n) & ((1n << 37n) - 1n)));
    expect(leaf()).toBe(false);
  });
});
