// The whims of an adversary, one at a time; where an entry is put; many accesses under PAN [HWM-20, HWM-41].

import { describe, expect, it } from "vitest";
import { createTlb, type TlbWhims } from "../../bindings/mmu/index.js";
import { Random, runs, SEED } from "../support/random.js";
import * as W from "./world.js";
import { World } from "./world.js";

const VA = 0x4000_0000n;
const IPA = 0x8000_0000n;
const PA = 0x9_0000_0000n;

function world(leaf1 = 0n, pages = 1): World {
  const made = new World();
  for (let i = 0n; i < BigInt(pages); i++) made.map1(VA + (i << 12n), IPA + (i << 12n), W.S1_LEAF | leaf1);
  for (let i = 0n; i < BigInt(pages); i++) made.map2(IPA + (i << 12n), PA + (i << 12n), W.S2_LEAF);
  return made;
}

function adversary(whims: Partial<TlbWhims>, pages = 1) {
  const mmu = world(0n, pages).mmu();
  return createTlb(mmu, { adversarial: true, whims: { early: 0, drop: 0, prefetch: 0, ...whims } });
}

describe("a whim", () => {
  it("completes a waiting TLBI before its DSB, and nothing else does", () => {
    for (const early of [0, 1]) {
      using tlb = adversary({ early }, 2);
      tlb.access(VA);
      tlb.invalidate("VMALLE1IS");
      tlb.access(VA + 0x1000n);
      expect(tlb.stats().pending, `early ${early}`).toBe(1 - early);
      expect(tlb.entries().some(({ kind, address }) => kind === "leaf" && address === VA)).toBe(early === 0);
    }
  });

  it("loses entries", () => {
    for (const drop of [0, 1]) {
      using tlb = adversary({ drop }, 16);
      for (let i = 0; i < 1600; i++) tlb.access(VA + (BigInt(i % 16) << 12n));
      expect(tlb.stats().dropped > 0, `drop ${drop}`).toBe(drop === 1);
    }
  });

  it("reads ahead in the neighbourhood, which is no access", () => {
    for (const prefetch of [0, 1]) {
      using tlb = adversary({ prefetch }, 16);
      for (let i = 0; i < 64; i++) tlb.access(VA + 0x8000n);
      const { prefetches, rdHits, rdMisses } = tlb.stats();
      expect([prefetches > 0, rdHits, rdMisses]).toEqual([prefetch === 1, 63, 1]);
      const others = tlb.entries().filter(({ kind, address }) => kind === "leaf" && address !== VA + 0x8000n);
      expect(others.length > 0).toBe(prefetch === 1);
    }
  });
});

describe("a full set", () => {
  it.each(["lru", "plru", "fifo", "random"] as const)("gives up one of its own ways, %s", (replacement) => {
    const random = new Random(SEED);
    const pages = 64;
    using mmu = world(0n, pages).mmu();
    for (let seed = 1; seed <= runs(10); seed++) {
      using tlb = createTlb(mmu, { shape: { data: { entries: 16, ways: 2, replacement } }, seed });
      for (let i = 0; i < 200; i++) {
        const va = VA + (BigInt(random.below(pages)) << 12n);
        tlb.access(va);
        const misses = tlb.stats().rdMisses;
        tlb.access(va); // an entry outside of its set would not be found
        expect(tlb.stats().rdMisses, `seed ${seed} GRANULE_SEED=${SEED} access ${i}`).toBe(misses);
      }
    }
  });
});

describe("TLBIs that wait", () => {
  const FORMS = ["VAE1IS", "VAAE1IS", "VALE1IS"] as const;
  const page = (i: number) => VA + (BigInt(i) << 12n);

  /** Three TLBIs wait, each of a CPU of its own and for a page of its own; those of `issuers` are completed. Pages that are left. */
  function left(...issuers: number[]): number[] {
    using tlb = adversary({ early: 0 }, 3);
    for (const i of [0, 1, 2]) tlb.access(page(i));
    for (const [i, form] of FORMS.entries()) tlb.invalidate(form, page(i) >> 12n, { issuer: i });
    for (const issuer of issuers) tlb.dsb("ish", issuer);
    expect(tlb.stats().pending).toBe(3 - issuers.length);
    const leaves = tlb.entries().filter(({ kind }) => kind === "leaf");
    return [0, 1, 2].filter((i) => leaves.some(({ address }) => address === page(i)));
  }

  it("take each its own page, in whatever order their CPUs complete them [HWM-41]", () => {
    expect(left()).toEqual([0, 1, 2]);
    expect([left(0), left(1), left(2)]).toEqual([
      [1, 2],
      [0, 2],
      [0, 1],
    ]);
    expect([left(0, 1), left(0, 2), left(1, 0), left(2, 1)]).toEqual([[2], [1], [2], [0]]);
  });

  it("of one VMID leave another's entries, also when they move up in the queue [HWM-41]", () => {
    for (const vmid of [0, 9]) {
      using tlb = adversary({ early: 0 });
      tlb.access(VA);
      tlb.invalidate("VMALLE1IS", 0, { issuer: 1, vmid: 5 });
      tlb.invalidate("VMALLE1IS", 0, { issuer: 2, vmid });
      tlb.dsb("ish", 1);
      expect(tlb.entries().length).toBeGreaterThan(0);
      tlb.dsb("ish", 2);
      expect(
        tlb.entries().some(({ kind }) => kind === "leaf"),
        `VMID ${vmid}`,
      ).toBe(vmid !== 0);
    }
  });
});

describe("an entry that is filled over others, without a TLBI", () => {
  const page = (i: number) => VA + (BigInt(i) << 12n);

  /** Eight pages of the leaf's kind and the ASID, then their table becomes a block of another kind, under another ASID. */
  function filled(pages: { leaf: bigint; asid: bigint }, block: { leaf: bigint; asid: bigint }) {
    const made = new World();
    for (let i = 0n; i < 8n; i++) made.map1(VA + (i << 12n), IPA + (i << 12n), W.S1_LEAF | pages.leaf);
    made.map2(IPA, PA & ~0x3fff_ffffn, W.S2_LEAF, 1);
    const mmu = made.mmu({ ttbr0: made.s1Root | (pages.asid << 48n) });
    const tlb = createTlb(mmu, { shape: { data: { entries: 16, ways: 2 } } });
    for (let i = 0; i < 8; i++) tlb.access(page(i));
    const image = mmu.image();
    const at = Number(World.physical(made.entry1(VA, 2)) - W.BASE);
    new DataView(image.buffer, image.byteOffset).setBigUint64(at, IPA | W.S1_LEAF | block.leaf | 1n, true);
    mmu.setRegisters({ ttbr0: made.s1Root | (block.asid << 48n) });
    tlb.access(VA + 0x1f_0000n);
    const kinds = Array.from({ length: 8 }, (_, i) => {
      const t = tlb.access(page(i));
      return t.ok ? "ok" : t.kind;
    });
    tlb.close();
    mmu.close();
    return new Set(kinds);
  }
  const GLOBAL = { leaf: 0n, asid: 0n };
  const own = (asid: bigint) => ({ leaf: W.NG, asid });

  it.each([
    ["global ones", GLOBAL, GLOBAL],
    ["those of its ASID", own(3n), own(3n)],
    ["those of any ASID, if it is global", own(3n), { ...GLOBAL, asid: 3n }],
    ["global ones, whatever its ASID", GLOBAL, own(3n)],
  ])("conflicts with %s, in whichever set they are [HWM-34, HWM-35]", (_, pages, block) => {
    expect(filled(pages, block)).toEqual(new Set(["conflict"]));
  });

  it("does not conflict with those of another ASID [HWM-35]", () => {
    expect(filled(own(3n), own(4n))).toEqual(new Set(["ok"]));
  });
});

describe("many accesses", () => {
  it("count as hits what hit, call by call", () => {
    using mmu = world(0n, 4).mmu();
    using tlb = createTlb(mmu);
    using columns = mmu.createColumns(4);
    columns.addresses.set([0n, 1n, 2n, 3n].map((i) => VA + (i << 12n)));
    const counted = [];
    for (const n of [2, 4, 4]) {
      tlb.accessMany(columns, n);
      const { rdHits, rdMisses } = tlb.stats();
      counted.push([rdHits, rdMisses]);
    }
    expect(counted).toEqual([
      [0, 2],
      [2, 4],
      [6, 4],
    ]);
  });
});

describe("many accesses under PAN", () => {
  it("are refused where EL0 has rights, though the hints know the entry", () => {
    using mmu = world(W.AP_EL0, 4).mmu();
    using tlb = createTlb(mmu);
    using columns = mmu.createColumns(4);
    columns.addresses.set([0n, 1n, 2n, 3n].map((i) => VA + (i << 12n)));
    expect(tlb.accessMany(columns, 4)).toBe(0);
    expect(tlb.accessMany(columns, 4)).toBe(0);
    expect(tlb.accessMany(columns, 4, "r", { pan: true })).toBe(4);
    expect(tlb.accessMany(columns, 4, "w", { pan: true })).toBe(4);
    expect(tlb.accessMany(columns, 4, "r", { pan: true, el0: true })).toBe(0);
  });
});
