// Lookups by number against translate and access, on twins: the same addresses and faults, updates of the tables, and for TLBs the
// same statistics and entries, with their places, hits, misses and replacement.

import { describe, expect, it } from "vitest";
import {
  Access,
  createTlb,
  Fault,
  type FaultKind,
  type Mmu,
  type Tlb,
  type TlbPreset,
  type TranslationFault,
} from "../../bindings/mmu/index.js";
import { Random, runs, SEED } from "../support/random.js";
import {
  AP_EL0,
  AP_RO,
  DBM,
  HCR,
  NG,
  S1_LEAF,
  S2_LEAF,
  S2_R,
  S2_W,
  SCTLR,
  TCR,
  VTCR,
  World,
  wordOf,
  XN,
} from "./world.js";

const RUNS = runs(60);
const ACCESSES = 120;
const LOW = 0x4020_0000n;
const HIGH = 0xffff_ff80_0000_0000n;
const IPA = 0x5000_0000n;
const PAGES = 80;

const CODES: Readonly<Record<FaultKind, number>> = {
  translation: Fault.TRANSLATION,
  access: Fault.ACCESS,
  permission: Fault.PERMISSION,
  "address-size": Fault.ADDRESS_SIZE,
  "external-walk": Fault.EXTERNAL_WALK,
  update: Fault.UPDATE,
  conflict: Fault.CONFLICT,
};

/** Pages in both halves, at random with their attributes, over pages of stage 2. */
function world(random: Random): World {
  const w = new World();
  for (let i = 0n; i < PAGES; i++) {
    const s2 =
      S2_LEAF & ~(random.oneIn(8) ? S2_W : 0n) & ~(random.oneIn(12) ? S2_R : 0n) & ~(random.oneIn(12) ? 1n << 10n : 0n);
    if (!random.oneIn(12)) w.map2(IPA + i * 4096n, BASE_OF_MEMORY + i * 4096n, s2 | (random.oneIn(4) ? DBM : 0n));
    const s1 =
      (S1_LEAF & ~(random.oneIn(8) ? 1n << 10n : 0n)) |
      (random.oneIn(3) ? AP_EL0 : 0n) |
      (random.oneIn(4) ? AP_RO : 0n) |
      (random.oneIn(4) ? XN : 0n) |
      (random.oneIn(4) ? NG : 0n) |
      (random.oneIn(4) ? DBM : 0n);
    if (!random.oneIn(12)) w.map1((i % 2n ? HIGH : LOW) + (i >> 1n) * 4096n, IPA + i * 4096n, s1);
  }
  return w;
}

/** Output addresses that no table lies at. */
const BASE_OF_MEMORY = 0x9_0000_0000n;

function registers(random: Random) {
  const tcr = TCR.T39 | (random.oneIn(2) ? TCR.HA | TCR.HD : 0n);
  const vtcr = VTCR.T39 | (random.oneIn(2) ? VTCR.HA | VTCR.HD : 0n);
  const hcr = random.oneIn(4) ? 0n : HCR.VM;
  const sctlr = random.oneIn(5) ? 0n : SCTLR.M;
  return { tcr, vtcr, hcr, sctlr };
}

interface Step {
  va: bigint;
  word: number;
  kind: "r" | "w" | "x";
  el0: boolean;
  pan: boolean;
}

function step(random: Random): Step {
  const kind = random.pick(["r", "r", "w", "x"] as const);
  const [el0, pan] = [random.oneIn(3), random.oneIn(4)];
  const base = random.oneIn(20) ? random.pick([0n, 1n << 39n, IPA]) : random.pick([LOW, HIGH]);
  const va = base + BigInt(random.below(PAGES / 2)) * 4096n + BigInt(random.below(4096));
  const word =
    { r: Access.READ, w: Access.WRITE, x: Access.FETCH }[kind] | (el0 ? Access.EL0 : 0) | (pan ? Access.PAN : 0);
  return { va, word, kind, el0, pan };
}

/** Both ways with one access; the same answer, and the same details of a fault. */
function expectSame(
  number: number,
  fault: () => TranslationFault | undefined,
  rich: ReturnType<Mmu["translate"]>,
  where: string,
): void {
  if (rich.ok) {
    expect(number, where).toBe(Number(rich.pa));
    return;
  }
  expect(number, where).toBe(CODES[rich.kind]);
  expect(fault(), where).toEqual(rich);
}

function asNumber(va: bigint): number {
  return Number(BigInt.asIntN(64, va));
}

/** Do two images hold the same words? */
function sameImages(a: Mmu, b: Mmu): boolean {
  return Buffer.compare(Buffer.from(a.image()), Buffer.from(b.image())) === 0;
}

describe(`lookups, first seed ${SEED}`, () => {
  it("of an MMU are what translate says, with its updates", () => {
    let faults = 0;
    for (let seed = SEED; seed < SEED + RUNS; seed++) {
      const random = new Random(seed);
      const w = world(random);
      const all = registers(random);
      const [a, b] = [w.mmu(all), w.mmu(all)];
      expect(a.lastFault()).toBeUndefined();
      for (let i = 0; i < ACCESSES; i++) {
        const { va, word, kind, el0, pan } = step(random);
        const rich = b.translate(va, kind, { el0, pan });
        expectSame(a.lookup(asNumber(va), word), () => a.lastFault(), rich, `seed ${seed}, access ${i}`);
        if (!rich.ok) faults++;
      }
      expect(sameImages(a, b), `seed ${seed}`).toBe(true);
    }
    expect(faults).toBeGreaterThan(RUNS);
  });

  it.each([
    ["neoverse-n1", false],
    ["tiny", false],
    ["cortex-a53", true],
  ] as [TlbPreset, boolean][])(
    "of a TLB are what access says, and leave it the same: %s, adversarial %s",
    (preset, adversarial) => {
      let hits = 0;
      for (let seed = SEED; seed < SEED + RUNS; seed++) {
        const random = new Random(seed);
        const w = world(random);
        const all = registers(random);
        const [a, b] = [w.mmu(all), w.mmu(all)].map((mmu) => createTlb(mmu, { preset, adversarial, seed })) as [
          Tlb,
          Tlb,
        ];
        const twice: Step[] = [];
        for (let i = 0; i < ACCESSES; i++) {
          const next = twice.length > 0 && random.oneIn(2) ? random.pick(twice) : step(random);
          twice.push(next);
          const { va, word, kind, el0, pan } = next;
          const rich = b.access(va, kind, { el0, pan });
          expectSame(a.lookup(asNumber(va), word), () => a.lastFault(), rich, `seed ${seed}, access ${i}`);
          if (random.oneIn(20)) for (const tlb of [a, b]) tlb.invalidate("VMALLS12E1IS");
        }
        expect(a.stats(), `seed ${seed}`).toEqual(b.stats());
        expect(a.entries(), `seed ${seed}`).toEqual(b.entries());
        expect(sameImages(a.mmu, b.mmu), `seed ${seed}`).toBe(true);
        hits += a.stats().rdHits;
      }
      expect(hits).toBeGreaterThan(RUNS);
    },
  );

  it("refuse what is no address or access by a number, and count nothing", () => {
    const random = new Random(SEED);
    const mmu = world(random).mmu();
    const tlb = createTlb(mmu);
    const wrong: unknown[] = [
      NaN,
      0.5,
      Infinity,
      -Infinity,
      2 ** 53,
      -(2 ** 53),
      "4096",
      null,
      undefined,
      1n,
      {},
      true,
    ];
    for (const value of wrong as number[]) {
      expect([mmu.lookup(value), tlb.lookup(value)], String(value)).toEqual([-22, -22]);
    }
    for (const access of [3, 16, 32, -1]) expect([mmu.lookup(0, access), tlb.lookup(0, access)]).toEqual([-22, -22]);
    expect(tlb.stats().rdMisses).toBe(0);
    expect(tlb.lookup(0)).toBeLessThan(0);
    expect(tlb.lastFault()).toEqual(mmu.lastFault());
    tlb.close();
    expect([tlb.lookup(0), mmu.lookup(0) < -7]).toEqual([-22, false]);
    mmu.close();
    expect(mmu.lookup(0)).toBe(-22);
    expect(() => mmu.lastFault()).toThrow("EINVAL");
  });

  it("keep the details of a fault until the next one", () => {
    const w = new World();
    w.map2(0n, BASE_OF_MEMORY, S2_LEAF);
    const mmu = w.mmu({ sctlr: 0n });
    expect(mmu.lookup(0x2000, Access.WRITE)).toBe(Fault.TRANSLATION);
    const first = mmu.lastFault();
    expect(mmu.lookup(8)).toBe(Number(BASE_OF_MEMORY) + 8);
    expect(mmu.translate(8).ok).toBe(true);
    expect(mmu.lastFault()).toEqual(first);
    expect(first).toMatchObject({ kind: "translation", stage2: true, ipa: 0x2000n });
    expect(wordOf(mmu, w.entry2(0n))).not.toBe(0n);
  });
});
