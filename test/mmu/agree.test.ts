// Two ways to the same answer must agree: translations in one call and one by one; software's walk and hardware's.

import { describe, expect, it } from "vitest";
import { optionsOf } from "../../bindings/conform/translations.js";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine, GRANULES, type Granule, Prot, type Table } from "../../bindings/index.js";
import {
  createMmu,
  hypRegisters,
  type Mmu,
  type MmuRegisters,
  rowAddress,
  stage2Registers,
} from "../../bindings/mmu/index.js";
import type { AccessKind, AccessOptions } from "../../bindings/mmu/result.js";
import { Random, runs, SEED } from "../support/random.js";
import { FAMILIES, recordedSets } from "./sets.js";
import * as W from "./world.js";
import { World } from "./world.js";

const ACCESSES: readonly (readonly [AccessKind, AccessOptions])[] = [
  ["r", {}],
  ["w", {}],
  ["x", {}],
  ["w", { el0: true }],
  ["r", { el0: true }],
  ["x", { el0: true }],
  ["r", { pan: true }],
];

/** The same accesses on twins, one by one and together, twice (what was worked out is kept): rows and memory are equal. */
function expectEqual(
  single: Mmu,
  many: Mmu,
  addresses: readonly bigint[],
  kind: AccessKind,
  options: AccessOptions,
): void {
  using columns = many.createColumns(addresses.length);
  columns.addresses.set(addresses);
  for (let round = 0; round < 2; round++) {
    const faults = many.translateMany(columns, addresses.length, kind, options);
    let expected = 0;
    addresses.forEach((address, i) => {
      const t = single.translate(address, kind, options);
      if (!t.ok) expected++;
      const [pa, info] = new BigUint64Array(single.memory.buffer, single.context + K.CONTEXT_BYTES, 2);
      expect([columns.rows[2 * i], columns.rows[2 * i + 1]], `${address.toString(16)} ${kind}`).toEqual([pa, info]);
      expect(rowAddress(columns, i)).toBe(t.ok ? t.pa : undefined);
    });
    expect(faults).toBe(expected);
  }
}

describe("many translations in one call say what each says for itself", () => {
  it.each(FAMILIES)("on the recorded sets, %s", (family) => {
    for (const { manifest, image, answers } of recordedSets(family)) {
      const addresses = answers.slice(0, 120).map(({ addr }) => BigInt(addr));
      for (const [kind, options] of ACCESSES.slice(0, 4)) {
        using single = createMmu(optionsOf(manifest, image));
        using many = createMmu(optionsOf(manifest, image));
        expectEqual(single, many, addresses, kind, options);
        expect(Buffer.compare(single.image(), many.image())).toBe(0);
      }
    }
  });

  it("with both stages, on random tables, both halves, updates and all", () => {
    const random = new Random(SEED);
    for (let run = 0; run < runs(60); run++) {
      const { made, addresses } = randomWorld(random);
      for (let i = 0; i < 2; i++) {
        const registers = randomRegisters(random);
        using single = made.mmu(registers);
        using many = made.mmu(registers);
        // Several kinds of access by one MMU: what was worked out for one says nothing about another.
        for (let kinds = 0; kinds < 3; kinds++) expectEqual(single, many, addresses, ...random.pick(ACCESSES));
        expect(Buffer.compare(single.image(), many.image())).toBe(0);
      }
    }
  });
});

function attributes(random: Random): bigint {
  const rare = [50n, 51n, 52n, 53n, 54n].reduce((bits, at) => (random.oneIn(6) ? bits | (1n << at) : bits), 0n);
  return rare | (random.oneIn(8) ? 0n : W.AF) | (BigInt(random.below(4)) << 8n);
}

/** Few kinds of leaves, so that most of what is asked was worked out before. */
function palette(random: Random): readonly (readonly [leaf1: bigint, leaf2: bigint])[] {
  const odd = Array.from({ length: 2 }, () => {
    const leaf1 = attributes(random) | (BigInt(random.below(8)) << 2n) | (BigInt(random.below(4)) << 6n);
    const leaf2 = attributes(random) | (BigInt(random.below(16)) << 2n) | (BigInt(random.below(4)) << 6n);
    return [leaf1, leaf2] as const;
  });
  return [...odd, [W.S1_LEAF | W.AP_EL0, W.S2_LEAF], [W.S1_LEAF, W.S2_LEAF]];
}

/** Makes one thing strange on the way to `va`, or at its end. */
function disturb(random: Random, made: World, va: bigint, ipa: bigint): void {
  const own = World.physical(made.entry1(va));
  const above = World.physical(made.entry1(va, 2));
  const table = made.entry2(made.entry1(va) & ~4095n);
  const leaf2 = made.entry2(ipa);
  const flip = (at: bigint, bits: readonly number[]) => made.set(at, made.word(at) ^ (1n << BigInt(random.pick(bits))));
  const strange: readonly (() => void)[] = [
    () => made.set(own, random.u64()),
    () => flip(above, [59, 60, 61, 62, 63]),
    () => flip(own, [0, 1, 6, 7, 10, 41, 45, 51]),
    () => flip(leaf2, [0, 1, 6, 7, 10, 41, 45, 51]),
    () => flip(table, [0, 1, 6, 7, 10, 51, 2, 3]),
    () => flip(table, [33, 41, 45]),
  ];
  random.pick(strange)();
}

/** Some pages of the guest, some of them mapped; holes, refusals and odd tables among them. */
function randomWorld(random: Random): { made: World; addresses: bigint[] } {
  const made = new World();
  const leaves = palette(random);
  const addresses: bigint[] = [];
  for (let i = 0; i < 24; i++) {
    const high = random.oneIn(3) ? 0xffff_ff80_0000_0000n : 0n;
    const [gib, mib, page] = [random.below(3), random.below(3), random.below(512)].map(BigInt) as [
      bigint,
      bigint,
      bigint,
    ];
    const va = high | (gib << 30n) | (mib << 21n) | (page << 12n);
    const ipa = 0x20_0000_0000n | (BigInt(random.below(4)) << 21n) | (BigInt(random.below(512)) << 12n);
    const [leaf1, leaf2] = random.pick(leaves);
    made.map1(va, ipa, leaf1);
    made.map2(ipa, 0x9_0000_0000n | (BigInt(random.below(4096)) << 12n), leaf2);
    if (random.oneIn(8)) disturb(random, made, va, ipa);
    addresses.push(va | BigInt(random.below(4096)), va | (BigInt(random.below(256)) << 56n));
  }
  return { made, addresses: [...addresses, ...addresses.map((at) => at ^ (1n << BigInt(random.below(64))))] };
}

function randomRegisters(random: Random): MmuRegisters {
  const some = (...bits: readonly bigint[]) => bits.reduce((all, bit) => (random.oneIn(2) ? all | bit : all), 0n);
  const { HA, HD, HPD0, TBI0, TBI1, TBID0, E0PD0 } = W.TCR;
  return {
    hcr: W.HCR.VM | (random.oneIn(4) ? some(W.HCR.PTW, W.HCR.FWB, W.HCR.CD, W.HCR.DC) : 0n),
    sctlr: W.SCTLR.M | (random.oneIn(3) ? some(W.SCTLR.WXN, W.SCTLR.EPAN) : 0n),
    tcr:
      (W.TCR.T39 & ~(7n << 32n)) |
      (random.pick([2n, 5n]) << 32n) |
      some(HA, HD, HPD0, TBI0, TBI1) |
      (random.oneIn(4) ? some(TBID0, E0PD0) : 0n),
    // Outputs of 48 bits, or 40: some of the addresses are beyond.
    vtcr: (W.VTCR.T39 & ~(7n << 16n)) | (random.pick([2n, 5n]) << 16n) | some(W.VTCR.HA, W.VTCR.HD),
  };
}

/** What hardware must say of an address whose leaf software knows. */
function expectAgreement(mmu: Mmu, table: Table, address: bigint): void {
  const leaf = table.leaf(address);
  const t = mmu.translate(address);
  const valid = leaf.kind === "page" || leaf.kind === "block";
  const at = `${address.toString(16)} ${leaf.descriptor.toString(16)}`;
  if (!valid) {
    expect(t, at).toMatchObject({ ok: false, kind: "translation", level: leaf.level });
    return;
  }
  const size =
    1n <<
    BigInt(
      table.info().granule === 4096
        ? 39 - 9 * leaf.level
        : table.info().granule === 16384
          ? 47 - 11 * leaf.level
          : 55 - 13 * leaf.level,
    );
  const execute = (leaf.prot & (Prot.X | Prot.PX)) !== 0;
  for (const [kind, allowed] of [
    ["r", (leaf.prot & Prot.R) !== 0],
    ["w", (leaf.prot & Prot.W) !== 0],
    ["x", execute],
  ] as const) {
    const answer = mmu.translate(address & ~3n, kind);
    if (allowed) expect(answer, `${at} ${kind}`).toMatchObject({ ok: true, pa: leaf.pa + ((address & ~3n) % size) });
    else expect(answer, `${at} ${kind}`).toMatchObject({ ok: false, kind: "permission", level: leaf.level });
  }
}

interface Shape {
  readonly granule: Granule;
  readonly lpa2: boolean;
  readonly bits: number;
  readonly paBits: 48 | 52;
}

const SHAPES: readonly Shape[] = GRANULES.flatMap((granule) => [
  { granule, lpa2: false, bits: 40, paBits: 48 as const },
  { granule, lpa2: false, bits: 48, paBits: 48 as const },
  granule === 65536
    ? { granule, lpa2: false, bits: 52, paBits: 52 as const }
    : { granule, lpa2: true, bits: 52, paBits: 52 as const },
]);

/** Maps a few ranges of random size and place with random rights; addresses in and around them. */
function fill(
  random: Random,
  shape: Shape,
  map: (at: bigint, size: bigint, pa: bigint, prot: number) => void,
  prots: readonly string[],
): bigint[] {
  const page = BigInt(shape.granule);
  const block = page * (page / 8n);
  const addresses: bigint[] = [];
  for (let i = 0; i < 12; i++) {
    const unit = random.oneIn(2) ? block : page;
    const at = (random.u64() % (1n << BigInt(shape.bits))) & ~(unit - 1n);
    const size = unit === block ? block : page * BigInt(1 + random.below(20));
    const pa = (random.u64() % (1n << BigInt(shape.paBits - 1))) & ~(unit - 1n);
    const letters = random.pick(prots);
    try {
      map(
        at,
        size,
        pa,
        [...letters].reduce(
          (mask, letter) => mask | ({ r: Prot.R, w: Prot.W, x: Prot.X, d: Prot.DEVICE }[letter] ?? 0),
          0,
        ),
      );
    } catch {
      continue; // overlaps, or beyond the end
    }
    for (const address of [at, at + size - 1n, at + size / 2n + 5n, at + size, at - 1n]) {
      if (address >= 0n && address >> BigInt(shape.bits) === 0n) addresses.push(address);
    }
  }
  return addresses;
}

describe("software and hardware agree on tables that granule made", () => {
  it.each(SHAPES)("stage 2, $granule bytes, $bits bits, LPA2 $lpa2", ({ granule, lpa2, bits, paBits }) => {
    const random = new Random(SEED + bits);
    for (let run = 0; run < runs(12); run++) {
      using engine = createEngine({ arenaBytes: 8 << 20, physBase: random.pick([0n, 0x8000_0000n, 0x7f_ff00_0000n]) });
      const xnx = random.oneIn(2),
        fwb = random.oneIn(2);
      const table = engine.createStage2({ granule, lpa2, ipaBits: bits, paBits, xnx, fwb });
      const shape = { granule, lpa2, bits, paBits };
      const addresses = fill(random, shape, (at, size, pa, prot) => table.map(at, size, pa, prot), [
        "r",
        "rw",
        "rwx",
        "rx",
        "rwd",
        "w",
        "x",
      ]);
      using mmu = createMmu({ engine, xnx, registers: stage2Registers(table) });
      for (const address of addresses) expectAgreement(mmu, table, address);
    }
  });

  it.each(SHAPES)("EL2, $granule bytes, $bits bits, LPA2 $lpa2", ({ granule, lpa2, bits, paBits }) => {
    const random = new Random(SEED + bits + 1);
    for (let run = 0; run < runs(12); run++) {
      using engine = createEngine({ arenaBytes: 8 << 20 });
      const hvhe = random.oneIn(2);
      const table = engine.createHyp({ granule, lpa2, vaBits: bits, hvhe });
      const shape = { granule, lpa2, bits, paBits };
      const addresses = fill(random, shape, (at, size, pa, prot) => table.map(at, size, pa, prot), [
        "r",
        "rw",
        "rx",
        "rwd",
      ]);
      using mmu = createMmu({ engine, regime: "el2", registers: hypRegisters(table, paBits) });
      for (const address of addresses) expectAgreement(mmu, table, address);
    }
  });
});
