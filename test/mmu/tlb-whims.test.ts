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
