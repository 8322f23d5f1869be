// Every TLBI against every kind of entry, cell by cell of the table in bindings/mmu/forms.ts [HWM-38..43, TLB-1..7].

import { describe, expect, it } from "vitest";
import {
  createMmu,
  createTlb,
  ENTRY_KINDS,
  type EntryKind,
  type HostBits,
  type Mmu,
  type MmuRegisters,
  TLBI_FORMS,
  type Tlb,
  TlbDomain,
  type TlbEntry,
  type TlbiForm,
  type TlbiOptions,
  tlbiEffect,
} from "../../bindings/mmu/index.js";
import * as W from "./world.js";
import { World } from "./world.js";

const VA = 0x12_3456_7000n;
const FAR_VA = 0x13_0000_0000n;
const GLOBAL_VA = VA + 0x1000n;
const IPA = 0x8000_0000n;
const FAR_IPA = 0x8800_0000n;
const HOST_VA = 0x9000_0000n;
const GLOBAL_HOST_VA = HOST_VA + 0x1000n;
const FAR_HOST_VA = 0x9800_0000n;
const PA = 0x9_0000_0000n;
const QUIET = { early: 0, drop: 0, prefetch: 0 };
const [ASID, OTHER_ASID, VMID, OTHER_VMID] = [7n, 9n, 3, 4];
/** TCR_EL2: T0SZ 25, 4K, PS 48 bits. */
const TCR_EL2 = 25n | (5n << 16n);
const ASIDS_16 = 1n << 36n;
const E2H = 1n << 34n;
const TGE = 1n << 27n;

/** Both stages, an own page, a global one beside it and one far away. EL2 and EL2&0 take the stage-2 table for their own. */
function world(): World {
  const made = new World();
  made.map1(VA, IPA, W.S1_LEAF | W.NG);
  made.map1(GLOBAL_VA, IPA, W.S1_LEAF);
  made.map1(FAR_VA, FAR_IPA, W.S1_LEAF | W.NG);
  made.map2(IPA, PA, W.S2_LEAF);
  made.map2(FAR_IPA, PA + 0x1000n, W.S2_LEAF);
  // In a stage-2 leaf the bit of "not global" has no meaning here.
  made.map2(HOST_VA, PA, W.S2_LEAF | W.NG);
  made.map2(GLOBAL_HOST_VA, PA, W.S2_LEAF);
  made.map2(FAR_HOST_VA, PA, W.S2_LEAF | W.NG);
  return made;
}

interface Cpu {
  mmu: Mmu;
  el2: Mmu;
  host: Mmu;
  tlb: Tlb;
  tlbOfEl2: Tlb;
  tlbOfHost: Tlb;
  enter(vmid: number, asid: bigint): void;
  enterHost(asid: bigint): void;
}

function cpu(adversarial = false): Cpu {
  const made = world();
  const registers = (vmid: number, asid: bigint): MmuRegisters => ({
    ttbr0: made.s1Root | (asid << 48n),
    vttbr: made.s2Root | (BigInt(vmid) << 48n),
    tcr: W.TCR.T39 | ASIDS_16,
    vtcr: W.VTCR.T39 | (1n << 19n),
  });
  const mmu = made.mmu(registers(VMID, ASID));
  const el2 = createMmu({
    beside: mmu,
    regime: "el2",
    registers: { sctlr: 1, tcr: TCR_EL2, ttbr0: made.s2Root, mair: W.MAIR },
  });
  const host = createMmu({
    beside: mmu,
    regime: "el2",
    registers: { hcr: E2H | TGE, sctlr: 1, tcr: W.TCR.T39 | ASIDS_16, ttbr0: made.s2Root, mair: W.MAIR },
  });
  const preset = "neoverse-n1";
  const tlb = createTlb(mmu, { preset, adversarial, whims: QUIET });
  const enter = (vmid: number, asid: bigint) => mmu.setRegisters(registers(vmid, asid));
  const enterHost = (asid: bigint) => host.setRegisters({ ttbr0: made.s2Root | (asid << 48n) });
  const [tlbOfEl2, tlbOfHost] = [el2, host].map((other) => createTlb(other, { sharing: tlb })) as [Tlb, Tlb];
  return { mmu, el2, host, tlb, tlbOfEl2, tlbOfHost, enter, enterHost };
}

/** Fills a TLB with one entry of each kind at least. */
function fill({ tlb, tlbOfEl2, tlbOfHost, enter, enterHost }: Cpu): void {
  for (const [vmid, asid] of [
    [VMID, OTHER_ASID],
    [OTHER_VMID, ASID],
    [VMID, ASID],
  ] as const) {
    enter(vmid, asid);
    for (const va of [FAR_VA, GLOBAL_VA, VA]) expect(tlb.access(va).ok).toBe(true);
  }
  for (const ipa of [IPA, FAR_IPA]) expect(tlbOfEl2.access(ipa).ok).toBe(true);
  for (const asid of [OTHER_ASID, ASID]) {
    enterHost(asid);
    for (const va of [FAR_HOST_VA, GLOBAL_HOST_VA, HOST_VA]) expect(tlbOfHost.access(va).ok).toBe(true);
  }
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
  hostLeaf: (e) => isHostLeaf(e, ASID) && e.address === HOST_VA,
  hostLeafOfOtherAsid: (e) => isHostLeaf(e, OTHER_ASID) && e.address === HOST_VA,
  globalHostLeaf: (e) => e.kind === "leaf" && e.regime === "EL2&0" && e.global && e.address === GLOBAL_HOST_VA,
  hostLeafElsewhere: (e) => isHostLeaf(e, ASID) && e.address === FAR_HOST_VA,
  hostTable: (e) => isHostTable(e, ASID),
  hostTableOfOtherAsid: (e) => isHostTable(e, OTHER_ASID),
  el2Leaf: (e) => e.kind === "leaf" && e.regime === "EL2" && e.address === IPA,
  el2LeafElsewhere: (e) => e.kind === "leaf" && e.regime === "EL2" && e.address === FAR_IPA,
  el2Table: (e) => isTable1(e) && e.regime === "EL2" && covers(e, IPA) && e.size === 1n << 21n,
};

function isTable1({ kind }: TlbEntry): boolean {
  return kind === "table1" || kind === "tableOfBoth";
}

function isHostLeaf(e: TlbEntry, asid: bigint): boolean {
  return e.kind === "leaf" && e.regime === "EL2&0" && e.asid === Number(asid) && !e.global;
}

/** The table of the pages around HOST_VA. */
function isHostTable(e: TlbEntry, asid: bigint): boolean {
  const level2 = isTable1(e) && e.size === 1n << 21n;
  return level2 && e.regime === "EL2&0" && e.asid === Number(asid) && covers(e, HOST_VA);
}

function isLeaf(e: TlbEntry, vmid: number, asid: bigint): boolean {
  return e.kind === "leaf" && e.regime === "EL1&0" && e.vmid === vmid && e.asid === Number(asid) && !e.global;
}

/** Operand that names `va` or `ipa`: the forms of EL2 name what EL2 maps. */
function operand(form: TlbiForm, kind: EntryKind): bigint {
  const isHost = /[hH]ost/.test(kind);
  const isIpa = !isHost && /IPAS2|E2/.test(form);
  const hostAt = kind === "globalHostLeaf" ? GLOBAL_HOST_VA : HOST_VA;
  const at = isHost ? hostAt : isIpa ? IPA : kind === "globalLeaf" ? GLOBAL_VA : VA;
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
  const tlb = createTlb(made.mmu, { shape, adversarial, whims: QUIET });
  const [tlbOfEl2, tlbOfHost] = [made.el2, made.host].map((other) => createTlb(other, { sharing: tlb })) as [Tlb, Tlb];
  const plain = { ...made, tlb, tlbOfEl2, tlbOfHost };
  fill(plain);
  return plain;
}

/** HCR_EL2 of the CPU that issues: a guest's or nVHE's, a VHE hypervisor's with a guest loaded, a host's. */
const HOSTS: readonly HostBits[] = [{}, { e2h: true }, { e2h: true, tge: true }, { tge: true }];

function hcrOf({ e2h, tge }: HostBits): bigint {
  return (e2h ? E2H : 0n) | (tge ? TGE : 0n);
}

const SCOPES = TLBI_FORMS.filter((form) => !/(?:IS|OS)$/.test(form));

describe("the table of TLBI effects", () => {
  it.each(SCOPES)("%s does to each kind of entry what it says [HWM-38, HWM-40, HWM-43]", (form) => {
    for (const kind of ENTRY_KINDS) {
      for (const host of HOSTS) {
        for (const suffix of host.e2h || host.tge ? ["IS"] : ["", "IS", "OS"]) {
          const name = `${form}${suffix}` as TlbiForm;
          const { tlb } = cpuFor(kind);
          expect(tlb.entries().some(IS[kind]), `${kind} is there`).toBe(true);
          tlb.invalidate(name, operand(form, kind), { vmid: VMID, hcr: hcrOf(host) });
          const message = `${name} ${kind} ${JSON.stringify(host)}`;
          expect(tlb.entries().some(IS[kind]), message).toBe(tlbiEffect(name, kind, host) !== "drop");
        }
      }
    }
  });

  it.each(SCOPES)("%s with an adversary takes nothing before the DSB, and what it must at it [HWM-41]", (form) => {
    for (const kind of ENTRY_KINDS) {
      const { tlb } = cpuFor(kind, true);
      const name = `${form}IS` as TlbiForm;
      const host = /[hH]ost/.test(kind) ? { e2h: true, tge: true } : {};
      tlb.invalidate(name, operand(form, kind), { vmid: VMID, issuer: 2, hcr: hcrOf(host) });
      tlb.dsb("ish", 1);
      tlb.dsb("nsh", 2);
      expect(tlb.entries().some(IS[kind]), `${name} ${kind} waits`).toBe(true);
      tlb.dsb("ish", 2);
      expect(tlb.entries().some(IS[kind]), `${name} ${kind}`).toBe(tlbiEffect(name, kind, host) !== "drop");
    }
  });

  it("goes by HCR_EL2 of the CPU that issues: a host that leaves TGE set does not flush its guest", () => {
    const { tlb, tlbOfHost } = cpuFor("leaf");
    const domain = new TlbDomain([tlbOfHost, tlb]);
    domain.invalidate(0, "VMALLE1IS", 0, { vmid: VMID });
    expect([IS.leaf, IS.hostLeaf].map((is) => tlb.entries().some(is))).toEqual([true, false]);
    domain.invalidate(0, "VMALLE1IS", 0, { vmid: VMID, hcr: E2H });
    expect(tlb.entries().some(IS.leaf)).toBe(false);
  });

  it("has an answer for each form and kind, and each kind is dropped by some form", () => {
    for (const kind of ENTRY_KINDS) {
      const effects = TLBI_FORMS.flatMap((form) => HOSTS.map((host) => tlbiEffect(form, kind, host)));
      for (const effect of effects) expect(["drop", "may", "keep"]).toContain(effect);
      expect(effects).toContain("drop");
    }
    expect(() => tlbiEffect("VAE9" as TlbiForm, "leaf")).toThrow("VAE9 is not a TLBI");
  });
});

describe("a level hint", () => {
  const BY_ADDRESS = SCOPES.filter((form) => /^R?(?:VA|IPA)/.test(form));
  const SINGLE = BY_ADDRESS.filter((form) => !form.startsWith("R"));
  const leafOf = (form: string): EntryKind => (/IPA/.test(form) ? "stage2Leaf" : /E2$/.test(form) ? "el2Leaf" : "leaf");
  const tableOf = (form: string): EntryKind =>
    /IPA/.test(form) ? "stage2Table" : /E2$/.test(form) ? "el2Table" : "tableOfBoth";
  const hinted = (form: TlbiForm, kind: EntryKind, tg: bigint, level: bigint) =>
    form.startsWith("R")
      ? (operand(form, kind) & ~(3n << 46n)) | (tg << 46n) | (level << 37n)
      : operand(form, kind) | (((tg << 2n) | level) << 44n);
  const survives = (form: TlbiForm, kind: EntryKind, operand: bigint, options: TlbiOptions = {}) => {
    const { tlb } = cpuFor(kind);
    tlb.invalidate(form, operand, { vmid: VMID, ...options });
    return tlb.entries().some(IS[kind]);
  };

  it.each(BY_ADDRESS)("of %s is taken at its word [HWM-39, TLB-5, TLB-6]", (form) => {
    const kind = leafOf(form);
    for (const tg of [1n, 2n, 3n]) {
      for (const level of [1n, 2n, 3n]) {
        // 16K has no level 1 without LPA2: no hint. A range promises nothing of another granule.
        const none = tg === 2n && level === 1n && !form.startsWith("R");
        const gone = none || (level === 3n && tg === 1n);
        expect(survives(form, kind, hinted(form, kind, tg, level)), `${form} TG ${tg} level ${level}`).toBe(!gone);
      }
    }
  });

  it.each(SINGLE)("of %s that Arm reserves is none: the entry goes [TLB-5]", (form) => {
    for (const kind of /L/.test(form) ? [leafOf(form)] : [leafOf(form), tableOf(form)]) {
      const gone = (ttl: bigint, lpa2: boolean) =>
        !survives(form, kind, operand(form, kind) | (ttl << 44n), { lpa2 }) ? [ttl] : [];
      const all = Array.from({ length: 16 }, (_, ttl) => BigInt(ttl));
      const level3 = kind === leafOf(form) ? [0b0111n] : [];
      expect(
        all.flatMap((ttl) => gone(ttl, false)),
        kind,
      ).toEqual([0n, 1n, 2n, 3n, 0b0100n, ...level3, 0b1000n, 0b1001n, 0b1100n]);
      // With LPA2 there is a level 0 of 4K, and a level 1 of 16K.
      expect(
        all.flatMap((ttl) => gone(ttl, true)),
        kind,
      ).toEqual([0n, 1n, 2n, 3n, ...level3, 0b1000n, 0b1100n]);
    }
  });

  it.each(BY_ADDRESS.filter((form) => !/L/.test(form)))("of %s leaves tables alone [HWM-39, BUG-26]", (form) => {
    const kind = tableOf(form);
    const kept = (adversarial: boolean, level: bigint) => {
      const { tlb } = cpuFor(kind, adversarial);
      tlb.invalidate(form, hinted(form, kind, 1n, level), { vmid: VMID });
      tlb.dsb();
      return tlb.entries().some(IS[kind]);
    };
    // A range by VA promises the tables above the level of its hint, in one reading of Arm's: the adversary takes the other.
    const promised = form.startsWith("RVA");
    expect([kept(true, 3n), kept(false, 3n)]).toEqual([true, !promised]);
    expect([kept(true, 1n), kept(false, 1n)]).toEqual([true, true]);
  });

  it.each(BY_ADDRESS.filter((form) => form.startsWith("R")))("%s promises its own granule only [TLB-7]", (form) => {
    for (const kind of /L/.test(form) ? [leafOf(form)] : [leafOf(form), tableOf(form)]) {
      const at = (operand(form, kind) & ((1n << 37n) - 1n)) << 12n;
      const word = (tg: bigint, ps: bigint) =>
        (operand(form, kind) & ~((3n << 46n) | ((1n << 37n) - 1n))) | (tg << 46n) | (at >> ps);
      expect(
        [survives(form, kind, word(1n, 12n)), survives(form, kind, word(2n, 14n)), survives(form, kind, word(3n, 16n))],
        kind,
      ).toEqual([false, true, true]);
    }
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
