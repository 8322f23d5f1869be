// Random stage-2 sequences: a configuration and operations as plain data, both from one seed, so that a failing
// sequence can be printed, run again by its seed, and shrunk by leaving operations out.

import type { Random } from "../support/random.js";
import type { Shape } from "./format.js";
import { spanPages } from "./format.js";

/** Which table, on which CPU. */
export interface Config extends Shape {
  tlbiRange: boolean;
  dirty: boolean;
  identity: boolean;
  force: "none" | "all" | { below: number };
}

export type Op =
  | { op: "map"; addr: number; size: number; pa: number; prot: number; cache: number; handleFault: boolean }
  | { op: "owner"; addr: number; size: number; owner: number; cache: number }
  | { op: "split"; addr: number; size: number; cache: number }
  | { op: "unmap" | "wrprotect" | "flush" | "destroyRange"; addr: number; size: number }
  | { op: "age"; addr: number; size: number; clear: boolean }
  | { op: "relax"; addr: number; prot: number }
  | { op: "young"; addr: number };

export interface Sequence {
  seed: number;
  config: Config;
  ops: Op[];
}

const SIZES: Readonly<Record<number, readonly number[]>> = {
  // Few start tables keep a sequence cheap; 40 and 34 bits have several side by side.
  12: [39, 39, 39, 40, 34, 48],
  14: [36, 36, 47, 42, 39],
  16: [42, 42, 34, 43, 48],
};

function randomConfig(random: Random): Config {
  const ps = random.pick([12, 12, 12, 12, 12, 14, 14, 16]);
  const lpa2 = ps !== 16 && random.oneIn(3);
  const inputBits = lpa2 && random.oneIn(4) ? (ps === 12 ? 51 : 50) : random.pick(SIZES[ps] as number[]);
  const linux = random.oneIn(2);
  return {
    ps,
    lpa2,
    inputBits,
    linux,
    fwb: random.oneIn(2),
    xnx: random.oneIn(4),
    typed: random.oneIn(4),
    wide: random.oneIn(2),
    tlbiRange: random.oneIn(2),
    dirty: !linux && random.oneIn(4),
    identity: random.oneIn(12),
    force: random.oneIn(8) ? "all" : random.oneIn(10) ? { below: random.below(4) * 2 ** (ps + 1) } : "none",
  };
}

const PROTS = [0, 4, 6, 5, 7, 6, 7, 4 | 8, 6 | 8, 6 | 16, 4 | 16, 6 | 128, 6 | 0x100, 4 | 0xf00, 7 | 0x500];
const ODD_PROTS = [9, 24, 21, 4 | 32, 4 | 64, 0x1006, 136, 0x80000000];

class Generator {
  readonly #random: Random;
  readonly #config: Config;
  readonly #block: number;
  readonly #base: number;
  readonly #giant: boolean;

  constructor(random: Random, config: Config) {
    this.#random = random;
    this.#config = config;
    this.#giant = config.ps === 12 && config.force === "none" && random.oneIn(12);
    this.#block = spanPages(config.ps, this.#giant ? 1 : 2);
    const pages = 2 ** (config.inputBits - config.ps),
      window = 3 * this.#block;
    const bases = [0, pages - window, Math.floor(pages / 2 / this.#block) * this.#block - this.#block];
    this.#base = Math.max(0, random.pick(bases));
  }

  get #page(): number {
    return 2 ** this.#config.ps;
  }

  #pageAt(): number {
    const { pick, below } = { pick: this.#random.below(3) * this.#block, below: this.#random.below(10) };
    if (below < 4) return this.#base + pick;
    if (below < 8) return this.#base + pick + this.#random.below(8);
    return this.#base + pick + this.#random.below(this.#block);
  }

  /** Mostly page aligned; now and then not, as callers do [WLK-1]. */
  #address(): number {
    return this.#pageAt() * this.#page + (this.#random.oneIn(10) ? this.#random.below(this.#page) : 0);
  }

  #pages(most: number): number {
    const kind = this.#random.below(10);
    if (kind < 5) return 1 + this.#random.below(6);
    if (kind < 7) return 1 + this.#random.below(Math.min(most, 60));
    return most < this.#block ? most : this.#block * (1 + this.#random.below(3));
  }

  #size(most = Infinity): number {
    const bytes = this.#pages(most) * this.#page;
    if (this.#random.oneIn(12)) return Math.max(0, bytes - this.#random.below(this.#page));
    // 6.12 flushes what was asked for: 2^52 bytes are more range TLBIs than the journals of these tests hold.
    return this.#random.oneIn(40) ? 2 ** Math.min(this.#config.inputBits, 48) : bytes;
  }

  #output(addr: number): number {
    if (this.#config.identity && !this.#random.oneIn(4)) return addr;
    const limit = 2 ** (this.#config.lpa2 || (this.#config.ps === 16 && this.#config.wide) ? 52 : 48);
    if (this.#random.oneIn(25)) return limit - this.#random.below(4) * this.#page;
    const blockBytes = this.#block * this.#page;
    const base = this.#random.below(limit / blockBytes - 8) * blockBytes;
    const offset = this.#random.oneIn(4) ? this.#random.below(5) * this.#page : 0;
    return base + (addr % blockBytes) + offset;
  }

  #cache(): number {
    return this.#random.oneIn(3) ? this.#random.below(5) : this.#giant ? 6 : -1;
  }

  #map(): Op {
    const { force, ps } = this.#config;
    const addr = this.#address();
    const pagesOnly = force !== "none" || this.#giant;
    const size =
      pagesOnly && !this.#giant
        ? Math.min(this.#size(48), 64 * this.#page)
        : this.#size(ps === 16 ? this.#block : Infinity);
    const prot = this.#random.oneIn(12) ? this.#random.pick(ODD_PROTS) : this.#random.pick(PROTS);
    // A block of the same output address now and then, so that only permissions or software bits differ.
    const pa = this.#random.oneIn(3) ? addr + 2 ** 40 : this.#output(addr);
    // What is not congruent becomes pages: keep those short.
    const odd = pa % this.#page === addr % this.#page && (pa - addr) % (this.#block * this.#page) !== 0;
    return {
      op: "map",
      addr,
      pa,
      prot,
      cache: this.#cache(),
      handleFault: this.#random.oneIn(5),
      size: Math.min(size, (odd ? 64 : 3 * this.#block) * this.#page),
    };
  }

  one(): Op {
    const r = this.#random,
      addr = this.#address();
    switch (r.below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return this.#map();
      case 5:
      case 6:
      case 7:
        return { op: "unmap", addr, size: this.#size() };
      case 8:
        return {
          op: "owner",
          addr,
          size: Math.min(this.#size(40), 64 * this.#page),
          owner: r.below(4),
          cache: this.#cache(),
        };
      case 9:
      case 10:
        return { op: "wrprotect", addr, size: this.#size() };
      case 11:
        return { op: "age", addr, size: this.#size(), clear: r.oneIn(2) };
      case 12:
        return { op: "young", addr };
      case 13:
        return { op: "relax", addr, prot: r.pick([1, 2, 4, 6, 7, 0, 32, 64, 0x100, 0x400, 10, 18]) };
      case 14:
        return { op: "split", addr, size: this.#size(), cache: this.#giant ? r.below(6) : this.#cache() };
      default:
        return { op: r.pick(["flush", "destroyRange"]), addr, size: this.#size() };
    }
  }
}

/** The sequence of a seed. */
export function randomSequence(random: Random, seed: number): Sequence {
  const config = randomConfig(random);
  const generator = new Generator(random, config);
  const length = config.ps === 16 ? 6 : 6 + random.below(14);
  return { seed, config, ops: Array.from({ length }, () => generator.one()) };
}

/** A failing sequence with as few operations as leaving out finds. */
export function shrink(sequence: Sequence, fails: (s: Sequence) => boolean): Sequence {
  let best = sequence;
  for (let i = 0; i < best.ops.length; ) {
    const shorter = { ...best, ops: best.ops.filter((_, at) => at !== i) };
    if (fails(shorter)) best = shorter;
    else i++;
  }
  return best;
}
