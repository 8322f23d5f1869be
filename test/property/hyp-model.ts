// The hypervisor's stage 1 as a model [S1-1..7]: leaves by level and index, tables with their number of entries.
// With quirks "none" a map that meets anything else is refused before it changes anything; unmap counts up to the
// first hole, or to a block that is larger than what is left.

import type { Shape } from "./format.js";
import { levelBits, minBlock, spanPages } from "./format.js";
import type { Expected } from "./image.js";

/** A stage-1 table, as far as descriptors depend on it. */
export interface HypShape extends Shape {
  hvhe: boolean;
  bti: boolean;
}

export interface HypLeaf {
  pa: number;
  w: boolean;
  px: boolean;
  ux: boolean;
  device: boolean;
  sw: number;
}

export type HypStatus = "ok" | "EINVAL" | "EEXIST" | "ERANGE" | "ENOMEM";

const WORD = 2 ** 32;

function executeBits(leaf: HypLeaf, shape: HypShape): number {
  if (!shape.hvhe) return leaf.ux ? 0 : 1 << 22;
  return (leaf.ux ? 0 : 1 << 22) | (leaf.px ? 0 : 1 << 21);
}

/** The words of a leaf [FMT-10..14]. */
export function encodeHyp(shape: HypShape, leaf: HypLeaf, level: number): [number, number] {
  const low = leaf.pa % WORD,
    high = Math.floor(leaf.pa / WORD);
  const ap = shape.hvhe ? (leaf.w ? 0 : 2) : leaf.w ? 1 : 3;
  let lo = (low & ~((1 << shape.ps) - 1)) | (leaf.device ? 4 << 2 : 0) | (ap << 6) | (1 << 10) | (level === 3 ? 3 : 1);
  let hi = shape.lpa2 ? high & 0x3ffff : high & 0xffff;
  lo |= shape.lpa2 ? ((high >> 18) & 3) << 8 : 3 << 8;
  if (shape.ps === 16) lo |= ((high >> 16) & 15) << 12;
  hi |= executeBits(leaf, shape) | (leaf.sw << 23);
  if (shape.bti && (leaf.px || leaf.ux)) hi |= 1 << 18;
  return [lo >>> 0, hi >>> 0];
}

/** Protection bits as a leaf; undefined for what stage 1 cannot have [FMT-15]. */
export function hypLeafOf(prot: number, hvhe: boolean): Omit<HypLeaf, "pa"> | undefined {
  const px = (prot & 33) !== 0,
    ux = (prot & 65) !== 0;
  const w = (prot & 2) !== 0,
    device = (prot & 8) !== 0;
  if (prot >>> 12 || !(prot & 4) || ((px || ux) && (w || device)) || (px !== ux && !hvhe)) return undefined;
  return { w, px, ux, device, sw: (prot >> 8) & 15 };
}

export class HypModel implements Expected {
  readonly shape: HypShape;
  readonly start: number;
  readonly limitPages: number;
  readonly page: number;
  readonly #leaves: Map<number, HypLeaf>[] = Array.from({ length: 5 }, () => new Map());
  readonly #tables: Map<number, number>[] = Array.from({ length: 5 }, () => new Map());
  readonly rootCounts = [0];

  constructor(shape: HypShape) {
    this.shape = shape;
    this.start = 4 - Math.floor((shape.inputBits - 4) / levelBits(shape.ps));
    this.page = 2 ** shape.ps;
    this.limitPages = 2 ** (shape.inputBits - shape.ps);
  }

  get tablePages(): number {
    return this.#tables.reduce((sum, level) => sum + level.size, 0);
  }

  tablesAt(level: number): Map<number, number> {
    return this.#tables[level + 1] as Map<number, number>;
  }

  #at(level: number): Map<number, HypLeaf> {
    return this.#leaves[level + 1] as Map<number, HypLeaf>;
  }

  words(level: number, index: number): [number, number] | undefined {
    const leaf = this.#at(level).get(index);
    return leaf && encodeHyp(this.shape, leaf, level);
  }

  #span(level: number): number {
    return spanPages(this.shape.ps, level);
  }

  #adjust(level: number, index: number, by: number): void {
    if (level === this.start) {
      this.rootCounts[0] = (this.rootCounts[0] as number) + by;
      return;
    }
    const parent = Math.floor(index / 2 ** levelBits(this.shape.ps));
    this.tablesAt(level - 1).set(parent, (this.tablesAt(level - 1).get(parent) as number) + by);
  }

  range(va: number, size: number): { first: number; end: number } | undefined {
    const first = Math.floor(va / this.page),
      end = first + Math.ceil(size / this.page);
    return first > this.limitPages || end > this.limitPages ? undefined : { first, end };
  }

  #level(at: number, end: number, pa: number): number {
    for (let level = minBlock(this.shape.ps); level < 3; level++) {
      const span = this.#span(level);
      if (level >= this.start && at % span === 0 && end - at >= span && pa % (span * this.page) === 0) return level;
    }
    return 3;
  }

  map(va: number, size: number, pa: number, prot: number, pages: number): HypStatus {
    const leaf = hypLeafOf(prot, this.shape.hvhe);
    if (!leaf) return "EINVAL";
    const limit = 2 ** (this.shape.lpa2 || (this.shape.ps === 16 && this.shape.wide) ? 52 : 48);
    if (pa > limit || size > limit || pa + size > limit) return "ERANGE";
    const range = this.range(va, size);
    if (!range) return "ERANGE";
    const base = Math.floor(pa / this.page) * this.page;
    const paOf = (at: number) => base + (at - range.first) * this.page;
    const refusal = this.#conflict(range.first, range.end, leaf, paOf);
    if (refusal) return refusal;
    return this.#install(range.first, range.end, leaf, paOf, { pages });
  }

  /** What is mapped already must be the very same, software bits apart [S1-2, S1-5, S1-5a]. */
  #conflict(
    first: number,
    end: number,
    leaf: Omit<HypLeaf, "pa">,
    paOf: (at: number) => number,
  ): HypStatus | undefined {
    for (let at = first; at < end; ) {
      const found = this.#find(at);
      if (!found) {
        at++;
        continue;
      }
      const fits = this.#level(at, end, paOf(at)) <= found.level && at % this.#span(found.level) === 0;
      const old = found.leaf,
        same = old.pa === paOf(at) && old.w === leaf.w && old.px === leaf.px && old.ux === leaf.ux;
      if (!fits || !same || old.device !== leaf.device) return found.level === 3 ? "EINVAL" : "EEXIST";
      at = (found.index + 1) * this.#span(found.level);
    }
    return undefined;
  }

  #find(page: number): { level: number; index: number; leaf: HypLeaf } | undefined {
    for (let level = this.start; level <= 3; level++) {
      const index = Math.floor(page / this.#span(level));
      const leaf = this.#at(level).get(index);
      if (leaf) return { level, index, leaf };
    }
    return undefined;
  }

  #install(
    first: number,
    end: number,
    leaf: Omit<HypLeaf, "pa">,
    paOf: (at: number) => number,
    supply: { pages: number },
  ): HypStatus {
    for (let at = first; at < end; ) {
      const top = this.#level(at, end, paOf(at));
      let level = this.start;
      // An existing table is descended into, even where a block would fit.
      for (; level < 3; level++) {
        const index = Math.floor(at / this.#span(level));
        if (this.tablesAt(level).has(index)) continue;
        if (level >= top) break;
        if (supply.pages-- < 1) return "ENOMEM";
        this.tablesAt(level).set(index, 0);
        this.#adjust(level, index, 1);
      }
      const index = Math.floor(at / this.#span(level));
      if (!this.#at(level).has(index)) this.#adjust(level, index, 1);
      this.#at(level).set(index, { ...leaf, pa: paOf(at) });
      at = (index + 1) * this.#span(level);
    }
    return "ok";
  }

  /** Bytes unmapped, or "ERANGE" [S1-6]. */
  unmap(va: number, size: number): number | "ERANGE" {
    const range = this.range(va, size);
    if (!range) return "ERANGE";
    let bytes = 0;
    for (let at = range.first; at < range.end; ) {
      const found = this.#find(at);
      const span = found ? this.#span(found.level) : 0;
      if (!found || range.end - at < span) return bytes;
      this.#at(found.level).delete(found.index);
      this.#adjust(found.level, found.index, -1);
      bytes += span * this.page;
      const next = (found.index + 1) * span;
      this.#leave(at, Math.min(next, range.end), next >= range.end);
      at = next;
    }
    return bytes;
  }

  /** Tables behind which the walk comes are freed when they are empty. */
  #leave(at: number, next: number, last: boolean): void {
    for (let level = 2; level >= this.start; level--) {
      const index = Math.floor(at / this.#span(level));
      const done = last || Math.floor(next / this.#span(level)) !== index;
      if (!done || this.tablesAt(level).get(index) !== 0) continue;
      this.tablesAt(level).delete(index);
      this.#adjust(level, index, -1);
    }
  }
}
