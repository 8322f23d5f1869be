// Contiguous groups held as one entry. Arm promises that a TLBI by address takes the leaf that it names, of a group too
// (R_LQLSD, I_JQPNP): a plain TLB drops the whole group, which it may; an adversary keeps the other leaves [HWM-37].

import { describe, expect, it } from "vitest";
import { createMmu, createTlb, type Mmu, type Tlb, type TlbOptions } from "../../bindings/mmu/index.js";
import * as W from "./world.js";
import { World } from "./world.js";

const VA = 0x4000_0000n;
const IPA = 0x8000_0000n;
const PA = 0x9_0000_0000n;
const PAGE = 0x1000n;
const GROUP = 16n;
const CONTIGUOUS = 1n << 52n;
const QUIET = { early: 0, drop: 0, prefetch: 0 };
const ADVERSARY: TlbOptions = { adversarial: true, whims: QUIET };
/** Range operands of 4K. */
const TG_4K = 1n << 46n;

/** A guest with a contiguous group at stage 1, and one at stage 2 for the same pages. */
function group(): World {
  const made = new World();
  for (let i = 0n; i < GROUP; i++) {
    made.map1(VA + i * PAGE, IPA + i * PAGE, W.S1_LEAF | CONTIGUOUS);
    made.map2(IPA + i * PAGE, PA + i * PAGE, W.S2_LEAF | CONTIGUOUS);
  }
  return made;
}

function poke(mmu: Mmu, pa: bigint, value: bigint): void {
  const bytes = mmu.image();
  new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(Number(pa - W.BASE), value, true);
}

/** The pages that still have a translation, when no descriptor of stage 1 has one any more. */
function answered(made: World, mmu: Mmu, tlb: Tlb): number[] {
  const pages = Array.from({ length: Number(GROUP) }, (_, i) => BigInt(i));
  for (const i of pages) poke(mmu, World.physical(made.entry1(VA + i * PAGE)), 0n);
  return pages.flatMap((i) => (tlb.access(VA + i * PAGE).ok ? [Number(i)] : []));
}

function except(...gone: number[]): number[] {
  return Array.from({ length: Number(GROUP) }, (_, i) => i).filter((i) => !gone.includes(i));
}

function translations(tlb: Tlb) {
  return tlb.entries().filter(({ kind }) => kind === "leaf");
}

describe("a group of an adversary", () => {
  it("is one entry, of which a TLBI takes the page that it names and no other", () => {
    const made = group();
    using mmu = made.mmu();
    using tlb = createTlb(mmu, ADVERSARY);
    expect(tlb.access(VA)).toMatchObject({ ok: true, pa: PA });
    expect(translations(tlb).map(({ size, holes }) => [size, holes])).toEqual(Array(2).fill([GROUP * PAGE, 0]));
    tlb.invalidate("VAALE1", (VA + 5n * PAGE) >> 12n);
    tlb.dsb();
    expect(translations(tlb).map(({ holes }) => holes)).toEqual(Array(2).fill(1 << 5));
    expect(answered(made, mmu, tlb)).toEqual(except(5));
  });

  it("loses the pages that a range names", () => {
    const made = group();
    using mmu = made.mmu();
    using tlb = createTlb(mmu, ADVERSARY);
    tlb.access(VA);
    tlb.invalidate("RVAAE1", TG_4K | (1n << 39n) | ((VA + 14n * PAGE) >> 12n)); // four pages, of which two are in the group
    tlb.dsb();
    expect(answered(made, mmu, tlb)).toEqual(except(14, 15));
  });

  it("goes when each of its pages has been named, by one TLBI each", () => {
    const made = group();
    using mmu = made.mmu();
    using tlb = createTlb(mmu, ADVERSARY);
    tlb.access(VA);
    for (let i = 0n; i < GROUP; i++) {
      expect(translations(tlb).length).toBe(2);
      tlb.invalidate("VAE1", (VA + i * PAGE) >> 12n);
      tlb.dsb();
    }
    expect(translations(tlb)).toEqual([]);
    const { inserts, evicted, flushedEntries, dropped, banks } = tlb.stats();
    const valid = Object.values(banks).reduce((n, bank) => n + bank.valid, 0);
    expect(inserts).toBe(valid + evicted + flushedEntries + dropped);
  });

  it("goes whole by what names no address, and not by a hint of another level", () => {
    for (const [form, operand, gone] of [
      ["VMALLE1", 0n, true],
      ["VAAE1", (VA >> 12n) | (6n << 44n), false],
    ] as const) {
      const made = group();
      using mmu = made.mmu();
      using tlb = createTlb(mmu, ADVERSARY);
      tlb.access(VA);
      tlb.invalidate(form, operand);
      tlb.dsb();
      expect(answered(made, mmu, tlb), form).toEqual(gone ? [] : except());
    }
  });

  it("is filled anew where a page was taken, and stands beside a page that has left the group", () => {
    const made = group();
    using mmu = made.mmu();
    using tlb = createTlb(mmu, ADVERSARY);
    tlb.access(VA);
    tlb.invalidate("VAAE1", (VA + 5n * PAGE) >> 12n);
    tlb.dsb();
    expect(tlb.access(VA + 5n * PAGE)).toMatchObject({ ok: true, pa: PA + 5n * PAGE });
    expect(translations(tlb).map(({ holes }) => holes)).toEqual([0, 0]);
    // The page leaves the group. What is left of it says nothing of that page, so the two are no conflict.
    poke(mmu, World.physical(made.entry1(VA + 5n * PAGE)), (IPA + 6n * PAGE) | W.S1_LEAF | 3n);
    tlb.invalidate("VAAE1", (VA + 5n * PAGE) >> 12n);
    tlb.dsb();
    expect(tlb.access(VA + 5n * PAGE)).toMatchObject({ ok: true, pa: PA + 6n * PAGE });
    expect(tlb.access(VA + 4n * PAGE)).toMatchObject({ ok: true, pa: PA + 4n * PAGE });
    expect(tlb.access(VA + 5n * PAGE)).toMatchObject({ ok: true, pa: PA + 6n * PAGE });
  });

  it("with a page of it made again and no TLBI is a conflict [HWM-33, HWM-35]", () => {
    const made = group();
    using mmu = made.mmu();
    // One entry for the group in the second level; pages alone fit into the first, which has room for one.
    const shape = { data: { entries: 1, sizes: [4096] }, second: { entries: 16 } };
    using tlb = createTlb(mmu, { ...ADVERSARY, shape });
    tlb.access(VA);
    poke(mmu, World.physical(made.entry1(VA + 5n * PAGE)), (IPA + 6n * PAGE) | W.S1_LEAF | 3n);
    tlb.invalidate("VAAE1", (VA + 5n * PAGE) >> 12n);
    tlb.dsb();
    tlb.access(VA + 5n * PAGE); // an entry of its own
    poke(mmu, World.physical(made.entry1(VA + 4n * PAGE)), (IPA + 4n * PAGE) | W.S1_LEAF | CONTIGUOUS | 3n);
    tlb.invalidate("VAAE1", (VA + 4n * PAGE) >> 12n);
    tlb.dsb();
    tlb.access(VA + 4n * PAGE); // the whole group again, over the page that has left it
    expect(tlb.access(VA + 5n * PAGE)).toMatchObject({ ok: false, kind: "conflict" });
  });

  it("that has lost a page is not copied into a level that holds parts of it", () => {
    const made = group();
    using mmu = made.mmu();
    const shape = { data: { entries: 1, sizes: [4 * 4096] }, second: { entries: 16 } };
    using tlb = createTlb(mmu, { ...ADVERSARY, shape });
    tlb.access(VA);
    tlb.invalidate("VAAE1", (VA + 9n * PAGE) >> 12n);
    tlb.dsb();
    // The first level holds pages 0 to 3. Page 8 comes from the second; page 9 beside it must not.
    expect(answered(made, mmu, tlb)).toEqual(except(9));
  });

  it("of stage 2 loses the page that IPAS2E1 names", () => {
    const made = group();
    using mmu = made.mmu({ sctlr: 0 });
    const shape = { data: { entries: 1 }, stage2: { entries: 16 } };
    using tlb = createTlb(mmu, { ...ADVERSARY, shape });
    tlb.access(IPA);
    const stage2 = () => tlb.entries().filter(({ kind }) => kind === "stage2");
    expect(stage2()).toMatchObject([{ size: GROUP * PAGE, holes: 0 }]);
    tlb.invalidate("IPAS2E1", (IPA + 3n * PAGE) >> 12n);
    tlb.invalidate("VMALLE1");
    tlb.dsb();
    expect(stage2()).toMatchObject([{ holes: 1 << 3 }]);
    for (let i = 0n; i < GROUP; i++) poke(mmu, made.entry2(IPA + i * PAGE), 0n);
    const ok = except().map((i) => tlb.access(IPA + BigInt(i) * PAGE).ok);
    expect(ok).toEqual(except().map((i) => i !== 3));
  });

  it("of 128 pages of 16K is held in parts of 16", () => {
    const base = 0x1_0000_0000n;
    const image = new Uint8Array(1 << 20);
    const words = new BigUint64Array(image.buffer);
    const [root, table, at] = [base, base + 0x4000n, 0x20_0000n];
    // EL2, 16K, 36 bits: levels 2 and 3.
    words[0] = table | 3n;
    for (let i = 0n; i < 128n; i++) {
      words[Number(0x4000n / 8n + at / 0x4000n + i)] = (PA + i * 0x4000n) | W.AF | W.INNER | CONTIGUOUS | 3n;
    }
    const tcr = 28n | (2n << 14n) | (5n << 16n);
    using mmu = createMmu({
      image,
      physBase: base,
      regime: "el2",
      registers: { sctlr: 1, tcr, ttbr0: root, mair: 0xff },
    });
    const shape = { data: { entries: 16 } };
    using plain = createTlb(mmu, { shape });
    using tlb = createTlb(mmu, { ...ADVERSARY, shape });
    for (const one of [plain, tlb]) expect(one.access(at + 20n * 0x4000n)).toMatchObject({ pa: PA + 20n * 0x4000n });
    expect(new Set(translations(plain).map(({ size }) => size))).toEqual(new Set([128n * 0x4000n]));
    expect(new Set(translations(tlb).map(({ size }) => size))).toEqual(new Set([16n * 0x4000n]));
    tlb.invalidate("VAE2", (at + 21n * 0x4000n) >> 12n);
    tlb.dsb();
    expect(translations(tlb).map(({ address, holes }) => [address, holes])).toEqual(
      translations(tlb).map(() => [at + 16n * 0x4000n, 1 << 5]),
    );
    expect(translations(tlb).length).toBeGreaterThan(0);
  });
});

describe("a group of a plain TLB", () => {
  it("goes whole by any page of it, which Arm allows", () => {
    const made = group();
    using mmu = made.mmu();
    using tlb = createTlb(mmu);
    tlb.access(VA);
    tlb.invalidate("VAAE1", (VA + 5n * PAGE) >> 12n);
    expect(translations(tlb)).toEqual([]);
    expect(answered(made, mmu, tlb)).toEqual([]);
  });
});
