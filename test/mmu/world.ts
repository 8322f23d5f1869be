// A guest by hand: an image of 1 MiB with stage-2 tables and, in memory that stage 2 maps, a guest's stage-1 tables.
// 4K pages, 39-bit inputs at both stages, so that walks start at level 1. Descriptors are written as Arm says, by the test.

import { createMmu, type Mmu, type MmuOptions, type MmuRegisters } from "../../bindings/mmu/index.js";

export const BASE = 0x4000_0000n;
const BYTES = 1 << 20;
const PAGE = 4096n;
/** The guest's tables lie at these IPAs; page n of the image is page n there. */
export const TABLE_IPA = 0x1000_0000n;

export const AF = 1n << 10n;
export const INNER = 3n << 8n;
export const S2_R = 1n << 6n;
export const S2_W = 1n << 7n;
export const DBM = 1n << 51n;
export const XN = 1n << 54n;
export const PXN = 1n << 53n;
export const NG = 1n << 11n;
/** AP[1]: EL0 too; AP[2]: read only. */
export const AP_EL0 = 1n << 6n;
export const AP_RO = 1n << 7n;
/** MemAttr of write-back without FWB. */
export const S2_WB = 0xfn << 2n;
export const S2_LEAF: bigint = AF | INNER | S2_WB | S2_R | S2_W;
export const S1_LEAF: bigint = AF | INNER;
const TABLE = 3n;

export const HCR = { VM: 1n, PTW: 1n << 2n, DC: 1n << 12n, CD: 1n << 32n, FWB: 1n << 46n };
export const SCTLR = { M: 1n, I: 1n << 12n, WXN: 1n << 19n, EPAN: 1n << 57n };
export const TCR = {
  T39: 25n | (25n << 16n) | (2n << 30n) | (5n << 32n),
  EPD1: 1n << 23n,
  TBI0: 1n << 37n,
  TBI1: 1n << 38n,
  HA: 1n << 39n,
  HD: 1n << 40n,
  HPD0: 1n << 41n,
  TBID0: 1n << 51n,
  E0PD0: 1n << 55n,
};
export const VTCR = { T39: 25n | (1n << 6n) | (5n << 16n) | (1n << 31n), HA: 1n << 21n, HD: 1n << 22n };
/** Attribute 0 write-back, 1 Device-nGnRE, 2 non-cacheable, 3 write-through, 4 Device-GRE. */
export const MAIR = 0x0c_bb_44_04_ffn;

export class World {
  readonly image: Uint8Array = new Uint8Array(BYTES);
  readonly #words = new BigUint64Array(this.image.buffer);
  #next = 0n;
  readonly s2Root: bigint;
  readonly s1Root: bigint;
  readonly s1High: bigint;

  constructor() {
    this.s2Root = this.page();
    this.s1Root = this.#guestPage();
    this.s1High = this.#guestPage();
  }

  /** A page of the image, by its physical address. */
  page(): bigint {
    const pa = BASE + this.#next * PAGE;
    this.#next++;
    return pa;
  }

  word(pa: bigint): bigint {
    return this.#words[Number(pa - BASE) / 8] as bigint;
  }

  set(pa: bigint, value: bigint): void {
    this.#words[Number(pa - BASE) / 8] = value;
  }

  /** A page for a table of the guest, which stage 2 maps; its IPA. */
  #guestPage(): bigint {
    const pa = this.page();
    const ipa = TABLE_IPA + (pa - BASE);
    this.map2(ipa, pa, S2_LEAF);
    return ipa;
  }

  /** Physical address of a guest table. */
  static physical(ipa: bigint): bigint {
    return BASE + (ipa - TABLE_IPA);
  }

  static index(address: bigint, level: number): bigint {
    return (address >> BigInt(39 - 9 * level)) & 511n;
  }

  /** Physical address of the stage-2 entry of `level` for `ipa`; tables are made on the way. */
  entry2(ipa: bigint, level = 3): bigint {
    let table = this.s2Root;
    for (let at = 1; at < level; at++) {
      const entry = table + World.index(ipa, at) * 8n;
      if (this.word(entry) === 0n) this.set(entry, this.page() | TABLE);
      table = this.word(entry) & 0xffff_ffff_f000n;
    }
    return table + World.index(ipa, level) * 8n;
  }

  map2(ipa: bigint, pa: bigint, leaf: bigint, level = 3): void {
    this.set(this.entry2(ipa, level), pa | leaf | (level === 3 ? 3n : 1n));
  }

  /** IPA of the guest's entry of `level` for `va`; tables are made on the way. */
  entry1(va: bigint, level = 3): bigint {
    let table = (va >> 55n) & 1n ? this.s1High : this.s1Root;
    for (let at = 1; at < level; at++) {
      const entry = World.physical(table + World.index(va, at) * 8n);
      if (this.word(entry) === 0n) this.set(entry, this.#guestPage() | TABLE);
      table = this.word(entry) & 0xffff_ffff_f000n;
    }
    return table + World.index(va, level) * 8n;
  }

  map1(va: bigint, ipa: bigint, leaf: bigint, level = 3): void {
    this.set(World.physical(this.entry1(va, level)), ipa | leaf | (level === 3 ? 3n : 1n));
  }

  /** An MMU on a copy of the image: EL1&0, both stages on, unless registers say otherwise. */
  mmu(registers: MmuRegisters = {}, options: MmuOptions = {}): Mmu {
    const all: MmuRegisters = {
      hcr: HCR.VM,
      sctlr: SCTLR.M,
      tcr: TCR.T39,
      ttbr0: this.s1Root,
      ttbr1: this.s1High,
      mair: MAIR,
      vtcr: VTCR.T39,
      vttbr: this.s2Root,
      ...registers,
    };
    return createMmu({ image: this.image, physBase: BASE, ...options, registers: all });
  }
}

/** A word of an MMU's image. */
export function wordOf(mmu: Mmu, pa: bigint): bigint {
  const bytes = mmu.image();
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(Number(pa - BASE), true);
}
