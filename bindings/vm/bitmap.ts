/** Pages of one chunk, a multiple of the 64 that one word of KVM's bitmap has. */
const CHUNK_PAGES = 4096;
const WORD_PAGES = 64;
const ALL = 0xffff_ffff;

/** Called with a run of pages: from the first to the last dirty page of one 64-bit word, or of neighbouring words. */
export type Span = (firstPage: number, pages: number) => void;

function bitCount(n: number): number {
  let v = n - ((n >>> 1) & 0x5555_5555);
  v = (v & 0x3333_3333) + ((v >>> 2) & 0x3333_3333);
  return (((v + (v >>> 4)) & 0x0f0f_0f0f) * 0x0101_0101) >>> 24;
}

/** Position of the lowest and of the highest bit of a word that is not zero. */
function lowest(n: number): number {
  return 31 - Math.clz32(n & -n);
}

/** Passes spans on, and joins those that touch. */
class Merger {
  #first = 0;
  #pages = 0;
  readonly #span: Span;

  constructor(span: Span) {
    this.#span = span;
  }

  add(first: number, pages: number): void {
    if (this.#pages > 0 && first === this.#first + this.#pages) {
      this.#pages += pages;
      return;
    }
    this.flush();
    this.#first = first;
    this.#pages = pages;
  }

  flush(): void {
    if (this.#pages > 0) this.#span(this.#first, this.#pages);
    this.#pages = 0;
  }
}

/** Which pages of a slot were written. A chunk takes memory only when a page of it is used. */
export class DirtyBitmap {
  readonly pages: number;
  /** The words of a chunk that has no memory yet. */
  readonly #initial: number;
  readonly #chunks = new Map<number, Uint32Array>();

  /** @param set - all pages dirty at first (KVM_DIRTY_LOG_INITIALLY_SET) [DLG-5] */
  constructor(pages: number, set = false) {
    this.pages = pages;
    this.#initial = set ? ALL : 0;
  }

  #chunk(index: number): Uint32Array {
    let chunk = this.#chunks.get(index);
    if (!chunk) {
      chunk = new Uint32Array(CHUNK_PAGES / 32).fill(this.#initial);
      const rest = this.pages - index * CHUNK_PAGES;
      // Bits beyond the last page stay clear.
      if (rest < CHUNK_PAGES) {
        chunk.fill(0, Math.ceil(rest / 32));
        if (rest % 32) chunk[rest >>> 5] = (chunk[rest >>> 5] as number) & ((1 << (rest % 32)) - 1);
      }
      this.#chunks.set(index, chunk);
    }
    return chunk;
  }

  /** Marks a page as written. */
  mark(page: number): void {
    const chunk = this.#chunk(Math.floor(page / CHUNK_PAGES));
    const at = page % CHUNK_PAGES;
    chunk[at >>> 5] = (chunk[at >>> 5] as number) | (1 << (at & 31));
  }

  /** Pages that are dirty. */
  count(): number {
    let n = this.#initial === 0 ? 0 : this.pages;
    for (const [index, chunk] of this.#chunks) {
      if (this.#initial !== 0) n -= Math.min(CHUNK_PAGES, this.pages - index * CHUNK_PAGES);
      for (const word of chunk) n += bitCount(word);
    }
    return n;
  }

  /**
   * Clears the dirty pages of [first, first + pages), in whole words of 64. For each word, `span` gets the pages from
   * the lowest to the highest bit that was set [DLG-18].
   */
  clear(first: number, pages: number, span: Span): void {
    const end = Math.min(first + pages, this.pages);
    const merged = new Merger(span);
    for (let page = Math.floor(first / WORD_PAGES) * WORD_PAGES; page < end; ) {
      const index = Math.floor(page / CHUNK_PAGES);
      if (this.#initial === 0 && !this.#chunks.has(index)) {
        page = (index + 1) * CHUNK_PAGES;
        continue;
      }
      this.#clearWord(page, merged);
      page += WORD_PAGES;
    }
    merged.flush();
  }

  #clearWord(page: number, merged: Merger): void {
    const chunk = this.#chunk(Math.floor(page / CHUNK_PAGES));
    const at = (page % CHUNK_PAGES) >>> 5;
    const low = chunk[at] as number;
    const high = chunk[at + 1] as number;
    if (low === 0 && high === 0) return;
    chunk[at] = 0;
    chunk[at + 1] = 0;
    const first = low !== 0 ? lowest(low) : 32 + lowest(high);
    const last = high !== 0 ? 63 - Math.clz32(high) : 31 - Math.clz32(low);
    merged.add(page + first, last - first + 1);
  }
}
