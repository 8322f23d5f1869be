// The flat page model of [S2-30]. To a page number belongs a leaf (an output address with permissions, memory
// type, access flag and software bits) or an annotation; a leaf may be a block, which the model knows as one thing,
// since unmap removes it whole and a map through it drops the rest. Tables are known too, empty ones included, so
// that running out of pages and reference counts [WLK-17] are predicted exactly.

import {
  type Annotation,
  type Content,
  encode,
  type Leaf,
  leafOf,
  levelBits,
  minBlock,
  outputBits,
  rootPages,
  type Shape,
  spanPages,
  stage2Start,
} from "./format.js";

export type Status = "ok" | "again" | "EINVAL" | "ERANGE" | "ENOMEM";

/** Where tables come from: pages that are left; Infinity for the arena. */
export interface Supply {
  pages: number;
}

/** What a walk of map or setOwner puts where it comes by. */
interface Target {
  /** Content for the entry at page `at`; null is an empty entry. */
  content(at: number): Content | null;
  /** Does the entry's own output address allow a leaf of `span` pages? */
  aligned(at: number, span: number): boolean;
  pagesOnly: boolean;
  handleFault: boolean;
}

export class Stage2Model {
  readonly shape: Shape;
  readonly start: number;
  readonly roots: number;
  readonly limitPages: number;
  readonly page: number;
  /** Content by index, one map for each level (-1..3 at 0..4). */
  readonly content: Map<number, Content>[] = Array.from({ length: 5 }, () => new Map());
  /** Tables by the index of the entry that names them, with the number of entries in them that are not empty. */
  readonly tables: Map<number, number>[] = Array.from({ length: 5 }, () => new Map());
  readonly rootCounts: number[];

  constructor(shape: Shape) {
    this.shape = shape;
    this.start = stage2Start(shape.ps, shape.inputBits);
    this.roots = rootPages(shape.ps, shape.inputBits, this.start);
    this.rootCounts = new Array<number>(this.roots).fill(0);
    this.page = 2 ** shape.ps;
    this.limitPages = 2 ** (shape.inputBits - shape.ps);
  }

  span(level: number): number {
    return spanPages(this.shape.ps, level);
  }

  at(level: number): Map<number, Content> {
    return this.content[level + 1] as Map<number, Content>;
  }

  tablesAt(level: number): Map<number, number> {
    return this.tables[level + 1] as Map<number, number>;
  }

  get tablePages(): number {
    return this.tables.reduce((sum, level) => sum + level.size, 0);
  }

  /** The leaf or annotation that a page belongs to. */
  find(page: number): { level: number; index: number; content: Content } | undefined {
    for (let level = 3; level >= this.start; level--) {
      const index = Math.floor(page / this.span(level));
      const content = this.at(level).get(index);
      if (content) return { level, index, content };
    }
    return undefined;
  }

  /** Words of the entry at (level, index), none if it is empty. */
  words(level: number, index: number): [number, number] | undefined {
    const content = this.at(level).get(index);
    return content && encode(this.shape, content, level);
  }

  #adjust(level: number, index: number, by: number): void {
    const parent = Math.floor(index / 2 ** levelBits(this.shape.ps));
    if (level === this.start) {
      this.rootCounts[parent] = (this.rootCounts[parent] as number) + by;
      return;
    }
    const tables = this.tablesAt(level - 1);
    tables.set(parent, (tables.get(parent) as number) + by);
  }

  #put(level: number, index: number, content: Content | null): void {
    const level_ = this.at(level);
    const had = level_.has(index);
    if (content) level_.set(index, content);
    else level_.delete(index);
    if (had !== (content !== null)) this.#adjust(level, index, content ? 1 : -1);
  }

  #addTable(level: number, index: number): void {
    this.#put(level, index, null);
    this.tablesAt(level).set(index, 0);
    this.#adjust(level, index, 1);
  }

  #dropTable(level: number, index: number): void {
    this.tablesAt(level).delete(index);
    this.#adjust(level, index, -1);
  }

  /** Removes what lies under a table, and the table. */
  #dropSubtree(level: number, index: number): void {
    const first = index * this.span(level),
      end = first + this.span(level);
    for (let l = level + 1; l <= 3; l++) {
      for (const i of this.#within(this.at(l), l, first, end)) this.at(l).delete(i);
      for (const i of this.#within(this.tablesAt(l), l, first, end)) this.tablesAt(l).delete(i);
    }
    this.#dropTable(level, index);
  }

  /** Indices of `level` that pages [first, end) touch. */
  #within(map: ReadonlyMap<number, unknown>, level: number, first: number, end: number): number[] {
    const span = this.span(level);
    const low = Math.floor(first / span),
      high = Math.ceil(end / span);
    return [...map.keys()].filter((i) => i >= low && i < high).sort((a, b) => a - b);
  }

  /** The pages of a range [WLK-1], or undefined beyond the input space [WLK-2]. */
  range(addr: number, size: number): { first: number; end: number } | undefined {
    const first = Math.floor(addr / this.page);
    const end = first + Math.ceil(size / this.page);
    return first > this.limitPages || end > this.limitPages ? undefined : { first, end };
  }

  map(
    addr: number,
    size: number,
    pa: number,
    prot: number,
    supply: Supply,
    how: { pagesOnly: boolean; handleFault: boolean },
  ): Status {
    const leaf = leafOf(prot, this.shape.xnx);
    if (!leaf) return "EINVAL";
    if (leaf.type === "stage1" && !this.shape.fwb) leaf.type = "normal"; // one encoding for both [FMT-20]
    const limit = 2 ** outputBits(this.shape);
    if (!this.shape.linux && (pa > limit || size > limit || pa + size > limit)) return "ERANGE";
    const range = this.range(addr, size);
    if (!range) return "ERANGE";
    const base = Math.floor(pa / this.page) * this.page;
    const paOf = (at: number) => (base >= limit ? base : base + (at - range.first) * this.page);
    return this.#install(range.first, range.end, supply, {
      ...how,
      // 6.12 writes "no owner" where the output address is out of range.
      content: (at) => (paOf(at) >= limit ? null : { ...leaf, pa: paOf(at) }),
      aligned: (at, span) => paOf(at) >= limit || paOf(at) % (span * this.page) === 0,
    });
  }

  setOwner(addr: number, size: number, value: Annotation | null, supply: Supply): Status {
    const range = this.range(addr, size);
    if (!range) return "ERANGE";
    return this.#install(range.first, range.end, supply, {
      content: () => value && { ...value },
      aligned: () => true,
      pagesOnly: true,
      handleFault: false,
    });
  }

  #install(first: number, end: number, supply: Supply, target: Target): Status {
    for (let at = first; at < end; ) {
      const level = this.#descend(at, end, supply, target);
      if (level === undefined) return "ENOMEM";
      const index = Math.floor(at / this.span(level));
      if (!this.#replace(level, index, target.content(at)) && target.handleFault) return "again";
      at = (index + 1) * this.span(level);
    }
    return "ok";
  }

  /** Makes the tables down to where the leaf at page `at` goes; its level, or undefined when pages run out. */
  #descend(at: number, end: number, supply: Supply, target: Target): number | undefined {
    for (let level = this.start; level < 3; level++) {
      const span = this.span(level),
        index = Math.floor(at / span);
      const fits = level >= minBlock(this.shape.ps) && !target.pagesOnly && at % span === 0 && end - at >= span;
      if (fits && target.aligned(at, span)) return level;
      if (this.tablesAt(level).has(index)) continue;
      if (supply.pages < 1) return undefined;
      supply.pages--;
      this.#addTable(level, index); // a block that was here is dropped whole [S2-7]
    }
    return 3;
  }

  /** False if only permissions would change: map never does that [S2-3]. */
  #replace(level: number, index: number, next: Content | null): boolean {
    if (this.tablesAt(level).has(index)) this.#dropSubtree(level, index);
    const old = this.at(level).get(index);
    if (old?.kind === "leaf" && next?.kind === "leaf") {
      const same = old.pa === next.pa && old.type === next.type && old.af === next.af && old.sw === next.sw;
      if (same) return false;
    }
    this.#put(level, index, next);
    return true;
  }

  /** Whole leaves go, and tables that are empty [S2-10, S2-11]. */
  unmap(addr: number, size: number): Status {
    const range = this.range(addr, size);
    if (!range) return "ERANGE";
    if (range.end === range.first) return "ok";
    for (let level = this.start; level <= 3; level++) {
      for (const i of this.#within(this.at(level), level, range.first, range.end)) this.#put(level, i, null);
    }
    for (let level = 2; level >= this.start; level--) {
      for (const i of this.#within(this.tablesAt(level), level, range.first, range.end)) {
        if (this.tablesAt(level).get(i) === 0) this.#dropTable(level, i);
      }
    }
    return "ok";
  }

  /** Valid leaves that a range touches, in order of address. */
  leavesIn(first: number, end: number): { level: number; index: number; leaf: Leaf }[] {
    const found = [];
    for (let level = this.start; end > first && level <= 3; level++) {
      for (const index of this.#within(this.at(level), level, first, end)) {
        const leaf = this.at(level).get(index) as Content;
        if (leaf.kind === "leaf") found.push({ level, index, leaf });
      }
    }
    return found.sort((a, b) => a.index * this.span(a.level) - b.index * this.span(b.level));
  }

  wrprotect(addr: number, size: number): Status {
    const range = this.range(addr, size);
    if (!range) return "ERANGE";
    for (const { leaf } of this.leavesIn(range.first, range.end)) leaf.w = false;
    return "ok";
  }

  testClearYoung(addr: number, size: number, clear: boolean): Status | "young" {
    const range = this.range(addr, size);
    if (!range) return "ERANGE";
    const young = this.leavesIn(range.first, range.end).filter(({ leaf }) => leaf.af);
    if (clear) for (const { leaf } of young) leaf.af = false;
    return young.length > 0 ? "young" : "ok";
  }

  /** The words that were there, and the status. */
  mkyoung(addr: number): { status: Status; old: [number, number] } {
    const range = this.range(addr, 1);
    if (!range) return { status: "ERANGE", old: [0, 0] };
    const found = this.find(range.first);
    if (found?.content.kind !== "leaf") return { status: "again", old: [0, 0] };
    const old = encode(this.shape, found.content, found.level);
    found.content.af = true;
    return { status: "ok", old };
  }

  /** The union of what is granted and asked for [S2-17, S2-18]. */
  relax(addr: number, prot: number): Status {
    if (prot >>> 8) return "EINVAL";
    const ask = { px: (prot & 33) !== 0, ux: (prot & 65) !== 0 };
    if (ask.px !== ask.ux && !this.shape.xnx) return "EINVAL";
    const range = this.range(addr, 1);
    if (!range) return "ERANGE";
    const found = this.find(range.first);
    if (found?.content.kind !== "leaf") return "again";
    const leaf = found.content;
    leaf.r ||= (prot & 4) !== 0;
    leaf.w ||= (prot & 2) !== 0;
    leaf.px ||= ask.px;
    leaf.ux ||= ask.ux;
    return "ok";
  }

  /** Blocks become pages as far as there are tables; what they map stays [S2-26]. */
  split(addr: number, size: number, supply: Supply): Status {
    const range = this.range(addr, size);
    if (!range) return "ERANGE";
    for (const { level, index } of this.leavesIn(range.first, range.end)) {
      if (level !== 1 && level !== 2) continue;
      const status = this.#splitBlock(level, index, range, supply);
      if (status !== "ok") return status;
    }
    return "ok";
  }

  #splitBlock(level: number, index: number, range: { first: number; end: number }, supply: Supply): Status {
    const whole = level === 1 ? 2 ** levelBits(this.shape.ps) + 1 : 1;
    if (supply.pages < 1) return "ENOMEM";
    const toPages = supply.pages >= whole;
    const old = this.at(level).get(index) as Leaf;
    supply.pages--;
    this.#addTable(level, index);
    this.#fillFrom(old, level + 1, index);
    if (level === 2) return "ok";
    const child = index * 2 ** levelBits(this.shape.ps);
    for (let i = 0; i < 2 ** levelBits(this.shape.ps); i++) {
      const first = (child + i) * this.span(2);
      if (!toPages && (first >= range.end || first + this.span(2) <= range.first)) continue;
      const status = this.#splitBlock(2, child + i, range, supply);
      if (status !== "ok") return status;
    }
    return "ok";
  }

  #fillFrom(old: Leaf, level: number, parent: number): void {
    const entries = 2 ** levelBits(this.shape.ps),
      bytes = this.span(level) * this.page;
    const type = this.shape.linux ? "normal" : old.type; // 6.12 forgets the type [BUG-49]
    for (let i = 0; i < entries; i++) {
      this.#put(level, parent * entries + i, { ...old, type, af: true, pa: old.pa + i * bytes });
    }
  }
}
