/*
 * The VMM's own memory, as a guest fault sees it: how large a page is, and whether the guest may write to it without
 * asking the host first. A trace does not show this. It follows from the kind of memory and from what happened to it:
 *
 *   untouched --read--> zero (the zero page)       untouched --write--> private
 *   zero, shared --write--> private (a copy)       private --fork, KSM--> shared
 *
 * With transparent huge pages the same holds for whole blocks, until they are split.
 */

import { levelShift } from "../model/granule.js";
import { countUpTo } from "./sorted.js";

/** Kind of memory of a stretch of the VMM's address space. */
export interface Backing {
  readonly hva: number;
  readonly size: number;
  /** Bytes of a hugetlb page; 0 for anonymous memory. */
  readonly hugetlb: number;
  /** Anonymous memory gets huge pages where a whole one fits. */
  readonly thp: boolean;
  /** The memory was untouched when the VM started; otherwise the VMM had filled it. */
  readonly fresh: boolean;
}

/** The page that the host provides for a fault. */
export interface HostPage {
  /** Bytes of the host's mapping. */
  readonly size: number;
  /** Size comes from hugetlb, not from a transparent huge page. */
  readonly hugetlb: boolean;
  readonly writable: boolean;
}

interface Area extends Backing {
  readonly end: number;
  writable: boolean;
}

const UNTOUCHED = 0;
const ZERO = 1;
const SHARED = 2;
const PRIVATE = 3;
type State = typeof UNTOUCHED | typeof ZERO | typeof SHARED | typeof PRIVATE;

/** A block of anonymous memory. A whole block has one state, a split one a state for each page. */
interface Block {
  whole: boolean;
  state: State;
  pages: Uint8Array | undefined;
  /** Shared with a child of fork that still lives: a write copies one page, not the block. */
  forked: boolean;
}

/** Most blocks that one event may change; an event of more changes none. */
const MAX_BLOCKS = 1 << 14;

/** What the host is like. */
export interface HostKind {
  readonly granule: number;
  /** The kind of memory that nobody described. */
  readonly otherwise: { readonly hugetlb: number; readonly thp: boolean };
  /** A write to the huge zero page gives a small page (Linux before 6.13), not a huge one. */
  readonly splitsHugeZero: boolean;
}

const firstOf = (area: Area): number => area.hva;

/** A model of the VMM's memory. */
export class HostMemory {
  readonly #kind: HostKind;
  readonly #blockSize: number;
  #areas: Area[] = [];
  readonly #blocks = new Map<number, Block>();
  readonly #hugetlbWritten = new Set<number>();
  #forks = 0;

  /** Bytes of a small page. */
  get pageSize(): number {
    return this.#kind.granule;
  }

  constructor(kind: HostKind) {
    this.#kind = kind;
    this.#blockSize = 2 ** levelShift(kind.granule, 2);
  }

  /** Sets the kind of a stretch; an earlier definition of it is dropped. */
  define(backing: Backing): void {
    const { hva, size } = backing;
    this.#cut(hva, hva + size);
    if (size === 0) return;
    const area = { ...backing, end: hva + size, writable: true };
    this.#areas.push(area);
    this.#areas.sort((a, b) => a.hva - b.hva);
    // A block that lies partly in the area exists already if a neighbouring area was touched.
    for (const start of [hva, area.end - 1].map((at) => Math.floor(at / this.#blockSize) * this.#blockSize)) {
      const block = this.#blocks.get(start);
      if (block?.pages) this.#fill(block.pages, start, area);
    }
  }

  /** Sets the pages of a block that lie in an area to their state before anyone touches them. */
  #fill(pages: Uint8Array, start: number, area: Area): void {
    const from = Math.max(0, Math.ceil((area.hva - start) / this.#kind.granule));
    const to = Math.min(pages.length, Math.ceil((area.end - start) / this.#kind.granule));
    if (from < to) pages.fill(area.fresh ? UNTOUCHED : PRIVATE, from, to);
  }

  /** Defines a stretch as memory of the default kind, unless something is known of it. */
  assume(hva: number, size: number): void {
    const known = this.#areas.some((a) => a.hva < hva + size && hva < a.end);
    if (!known) this.define({ hva, size, ...this.#kind.otherwise, fresh: false });
  }

  /** Cuts a hole into the areas; an area around the hole becomes two. */
  #cut(start: number, end: number): void {
    const rest: Area[] = [];
    for (const area of this.#areas) {
      if (area.end <= start || area.hva >= end) {
        rest.push(area);
        continue;
      }
      if (area.hva < start) rest.push({ ...area, size: start - area.hva, end: start });
      if (area.end > end) rest.push({ ...area, hva: end, size: area.end - end });
    }
    this.#areas = rest;
  }

  #area(hva: number): Area | undefined {
    const area = this.#areas[countUpTo(this.#areas, firstOf, hva) - 1];
    return area && hva < area.end ? area : undefined;
  }

  #block(area: Area, start: number): Block {
    let block = this.#blocks.get(start);
    if (!block) {
      const end = start + this.#blockSize;
      const whole = area.thp && start >= area.hva && end <= area.end;
      block = { whole, state: area.fresh ? UNTOUCHED : PRIVATE, pages: undefined, forked: false };
      this.#blocks.set(start, block);
      if (!whole) {
        const pages = this.#split(block);
        for (const other of this.#areas) if (other.hva < end && start < other.end) this.#fill(pages, start, other);
      }
    }
    return block;
  }

  #split(block: Block): Uint8Array {
    block.whole = false;
    block.pages ??= new Uint8Array(this.#blockSize / this.#kind.granule).fill(block.state);
    return block.pages;
  }

  /**
   * The guest touches a byte and the host provides a page: `undefined` where there is no memory, or none that may be
   * written. Executed memory counts as filled by the VMM: code must have been written before it can run.
   */
  touch(hva: number, write: boolean, exec = false): HostPage | undefined {
    const area = this.#area(hva);
    if (!area || (write && !area.writable)) return undefined;
    if (area.hugetlb > 0) return this.#touchHugetlb(area, hva, write || exec);
    const start = Math.floor(hva / this.#blockSize) * this.#blockSize;
    const block = this.#block(area, start);
    const page = Math.floor((hva - start) / this.#kind.granule);
    if (block.whole && write && this.#breaksUp(block)) this.#split(block);
    const next = (state: number): State => {
      if (write || (exec && state <= ZERO)) return PRIVATE;
      return (state || ZERO) as State;
    };
    if (block.whole) block.state = next(block.state);
    else {
      const pages = this.#split(block);
      pages[page] = next(pages[page] as number);
    }
    const state = block.whole ? block.state : (block.pages as Uint8Array)[page];
    const size = block.whole ? this.#blockSize : this.#kind.granule;
    return { size, hugetlb: false, writable: area.writable && state === PRIVATE };
  }

  /** hugetlb has no zero page: a read gets a page of its own, and the first write makes it writable. */
  #touchHugetlb(area: Area, hva: number, write: boolean): HostPage {
    const page = hva - (hva % area.hugetlb);
    if (write || !area.fresh) this.#hugetlbWritten.add(page);
    return { size: area.hugetlb, hugetlb: true, writable: area.writable && this.#hugetlbWritten.has(page) };
  }

  /** Does a write to a whole block copy only one page of it? */
  #breaksUp(block: Block): boolean {
    if (block.state === ZERO) return this.#kind.splitsHugeZero;
    return block.state === SHARED && block.forked;
  }

  /** Visits each block of [start, end) with the range of pages concerned; `all`: the range covers the block. */
  #each(start: number, end: number, visit: (block: Block, all: boolean, first: number, last: number) => void): void {
    const g = this.#kind.granule;
    const first = Math.floor(start / this.#blockSize);
    const last = Math.ceil(end / this.#blockSize);
    if (last - first > MAX_BLOCKS) return;
    for (let i = first; i < last; i++) {
      const base = i * this.#blockSize;
      const area = this.#area(Math.max(base, start));
      if (!area || area.hugetlb > 0) continue;
      const from = Math.max(0, Math.floor((start - base) / g));
      const to = Math.min(this.#blockSize / g, Math.ceil((end - base) / g));
      visit(this.#block(area, base), base >= start && base + this.#blockSize <= end, from, to);
    }
  }

  #set(start: number, end: number, state: State): void {
    this.#each(start, end, (block, all, first, last) => {
      if (block.whole && all) block.state = state;
      else if (!block.whole || block.state !== UNTOUCHED) this.#split(block).fill(state, first, last);
    });
  }

  /** The pages are given back (MADV_DONTNEED, a balloon). A block that is empty again may become a huge page again. */
  discard(start: number, end: number): void {
    for (const page of this.#hugetlbWritten) if (page >= start && page < end) this.#hugetlbWritten.delete(page);
    const first = Math.floor(start / this.#blockSize);
    const last = Math.ceil(end / this.#blockSize);
    if (last - first > MAX_BLOCKS) return;
    this.#set(start, end, UNTOUCHED);
    for (let i = first; i < last; i++) {
      const base = i * this.#blockSize;
      const block = this.#blocks.get(base);
      const area = this.#area(base);
      if (!block || block.whole || !area?.thp || base < area.hva || base + this.#blockSize > area.end) continue;
      if (block.pages?.every((p) => p === UNTOUCHED)) {
        Object.assign(block, { whole: true, state: UNTOUCHED, pages: undefined, forked: false });
      }
    }
  }

  /** KSM merged the pages: they are read-only until they are written. */
  share(start: number, end: number): void {
    this.#set(start, end, SHARED);
  }

  /** Splits the huge pages that [start, end) covers in part: the host cannot change a part of a huge page. */
  splitPartly(start: number, end: number): void {
    const size = this.#blockSize;
    for (const at of new Set([start - (start % size), end - (end % size)])) {
      const part = (at < start && start < at + size) || (at < end && end < at + size);
      const area = part ? this.#area(Math.max(at, start)) : undefined;
      if (!area || area.hugetlb > 0) continue;
      const block = this.#block(area, at);
      // An untouched block has no huge page yet, so there is nothing to split.
      if (block.whole && block.state !== UNTOUCHED) this.#split(block);
    }
  }

  /** One page was replaced, but not given back: the VMM wrote to a page that it could only read before. */
  replaced(hva: number): void {
    const area = this.#area(hva);
    if (!area || area.hugetlb > 0) return;
    const start = Math.floor(hva / this.#blockSize) * this.#blockSize;
    const block = this.#blocks.get(start);
    const page = Math.floor((hva - start) / this.#kind.granule);
    const state = block?.whole ? block.state : block?.pages?.[page];
    if (block && (state === ZERO || state === SHARED)) this.#split(block)[page] = PRIVATE;
  }

  /** Small pages become one huge page: khugepaged, MADV_COLLAPSE. */
  collapse(start: number, end: number): void {
    this.#each(start, end, (block, all) => {
      if (all) Object.assign(block, { whole: true, state: PRIVATE, pages: undefined, forked: false });
    });
  }

  /** mprotect: without PROT_WRITE, writes fail and reads map read-only. */
  protect(start: number, end: number, writable: boolean): void {
    const inside = this.#areas.filter((a) => a.hva < end && start < a.end);
    for (const area of inside) {
      const from = Math.max(start, area.hva);
      const to = Math.min(end, area.end);
      this.#cut(from, to);
      this.#areas.push({ ...area, hva: from, size: to - from, end: to, writable });
    }
    this.#areas.sort((a, b) => a.hva - b.hva);
  }

  /** munmap, and with `again` an mmap of ordinary memory in its place. */
  unmap(start: number, end: number, again: boolean): void {
    this.discard(start, end);
    this.#cut(start, end);
    if (again) this.define({ hva: start, size: end - start, hugetlb: 0, thp: false, fresh: true });
  }

  /** fork: private memory is shared with the child until one of them writes to it. */
  fork(): void {
    this.#forks++;
    for (const area of this.#areas) {
      if (area.hugetlb > 0 || area.size / this.#blockSize > MAX_BLOCKS) continue;
      this.#each(area.hva, area.end, (block) => {
        block.forked = true;
        if (block.state === PRIVATE) block.state = SHARED;
        block.pages?.forEach((p, i, pages) => {
          if (p === PRIVATE) pages[i] = SHARED;
        });
      });
    }
  }

  /** The child has exited: a write no longer copies what was shared with it. */
  forkGone(): void {
    this.#forks = Math.max(0, this.#forks - 1);
    if (this.#forks === 0) for (const block of this.#blocks.values()) block.forked = false;
  }
}
