// Translations that were made before are made again without the complete walk, and hits without a search: the promise of
// mmu/straight.ts and mmu/access.ts, seen in what the complete walk would write into its context, and in what a TLB counts.

import { describe, expect, it } from "vitest";
import { type AccessKind, createTlb, type Mmu } from "../../bindings/mmu/index.js";
import * as W from "./world.js";
import { World } from "./world.js";

const VA = 0x12_3456_0000n;
const IPA = 0x8000_0000n;
const PA = 0x9_0000_0000n;
const PAGES = 6;
const HIGH = 0xffff_ff80_0000_0000n;
/** TCR_EL2: T0SZ 25, 4K, PS 48 bits. */
const TCR_EL2 = 25n | (5n << 16n);
/** Offset of Context.info in assembly/mmu/context.ts: the complete walk leaves its answer there. */
const INFO = 160;
const UNTOUCHED = 0x1234_5678_9abc_def0n;

/** Pages and a block in one or both stages; `at` are the addresses to ask for. */
interface Case {
  make: () => Mmu;
  at: readonly bigint[];
  kinds: readonly AccessKind[];
}

function guest(): World {
  const made = new World();
  for (let i = 0n; i < PAGES; i++) {
    made.map1(VA + i * 0x1000n, IPA + i * 0x1000n, W.S1_LEAF);
    made.map1(HIGH + VA + i * 0x1000n, IPA + i * 0x1000n, W.S1_LEAF);
    made.map2(IPA + i * 0x1000n, PA + i * 0x1000n, W.S2_LEAF);
  }
  made.map2(IPA + (1n << 30n), PA + (1n << 30n), W.S2_LEAF, 2);
  return made;
}

const pagesFrom = (first: bigint) => Array.from({ length: PAGES }, (_, i) => first + BigInt(i) * 0x1000n + 0x18n);

const CASES: Record<string, Case> = {
  "both stages": { make: () => guest().mmu(), at: pagesFrom(VA), kinds: ["r", "w", "x"] },
  "both stages, the high half": { make: () => guest().mmu(), at: pagesFrom(HIGH + VA), kinds: ["r", "x"] },
  "both stages, tagged addresses": {
    make: () => guest().mmu({ tcr: W.TCR.T39 | W.TCR.TBI0 }),
    at: pagesFrom(VA | (0x5bn << 56n)),
    kinds: ["r"],
  },
  "stage 2 alone": {
    make: () => guest().mmu({ sctlr: 0n }),
    at: [...pagesFrom(IPA), IPA + (1n << 30n) + 0x1_2340n],
    kinds: ["r", "w", "x"],
  },
  "EL2&0's stage 1, tagged addresses": {
    make: () => {
      const made = guest();
      const { s2Root } = made;
      const tcr = W.TCR.T39 | W.TCR.TBI0 | W.TCR.TBI1;
      return made.mmu({ hcr: 1n << 34n, tcr, ttbr0: s2Root, ttbr1: s2Root }, { regime: "el2" });
    },
    at: [...pagesFrom(IPA | (0x5bn << 56n)), IPA],
    kinds: ["r"],
  },
  "EL2's stage 1": {
    make: () => {
      const made = guest();
      return made.mmu({ tcr: TCR_EL2, ttbr0: made.s2Root, sctlr: W.SCTLR.M }, { regime: "el2" });
    },
    at: [...pagesFrom(IPA), IPA + (1n << 30n) + 0x1_2340n],
    kinds: ["r", "x"],
  },
};

function info(mmu: Mmu): BigUint64Array {
  return new BigUint64Array(mmu.memory.buffer, mmu.context + INFO, 1);
}

describe.each(Object.entries(CASES))("%s", (_, { make, at, kinds }) => {
  it.each(kinds)("asks the complete walk once for each kind of leaf, access %s", (kind) => {
    const mmu = make();
    const columns = mmu.createColumns(at.length);
    columns.addresses.set(at);
    expect(mmu.translateMany(columns, at.length, kind)).toBe(0);
    const first = [...columns.rows];
    expect(info(mmu)[0]).not.toBe(0n);
    info(mmu)[0] = UNTOUCHED;
    expect(mmu.translateMany(columns, at.length, kind)).toBe(0);
    expect(info(mmu)[0]).toBe(UNTOUCHED);
    expect([...columns.rows]).toEqual(first);
    for (const [i, address] of at.entries()) {
      const alone = mmu.translate(address, kind);
      expect(alone.ok && alone.pa).toBe(first[2 * i]);
    }
  });

  it("answers hits of a TLB by its hints, and counts them as hits", () => {
    if (at.some((address) => address >> 56n === 0x5bn)) return; // entries are found by the address without its tag
    const mmu = make();
    const tlb = createTlb(mmu);
    const columns = mmu.createColumns(at.length);
    columns.addresses.set(at);
    for (const kind of kinds) {
      tlb.accessMany(columns, at.length, kind);
      const first = [...columns.rows];
      const before = tlb.stats();
      info(mmu)[0] = UNTOUCHED;
      tlb.accessMany(columns, at.length, kind);
      expect(info(mmu)[0]).toBe(UNTOUCHED);
      expect([...columns.rows]).toEqual(first);
      const hits = (s: typeof before) => s.rdHits + s.wrHits + s.instHits;
      expect(hits(tlb.stats()) - hits(before)).toBe(at.length);
    }
  });

  it("answers single lookups that hit by their hint, and counts them", () => {
    if (at.some((address) => address >> 56n === 0x5bn)) return; // as above
    const mmu = make();
    const tlb = createTlb(mmu);
    const numbers = at.map((address) => Number(BigInt.asIntN(64, address)));
    const first = numbers.map((address) => tlb.lookup(address));
    info(mmu)[0] = UNTOUCHED;
    const { rdHits } = tlb.stats();
    expect(numbers.map((address) => tlb.lookup(address))).toEqual(first);
    expect(info(mmu)[0]).toBe(UNTOUCHED);
    expect(tlb.stats().rdHits - rdHits).toBe(at.length);
  });
});
