import { damaged, viewOf, wordAt } from "./bytes.js";
import type { PageLayout } from "./layout.js";

/*
 * The kernel's ring buffer, page by page. A page begins with a timestamp and the number of bytes in use; then come records, each
 * behind a word that has its kind or length in five bits and the time since the one before in 27.
 */

const KIND_BITS = 31;
const PADDING = 29;
const TIME_EXTEND = 30;
const TIME_STAMP = 31;
const DELTA_SHIFT = 5;
/** Worth of one step of the high part of a time. */
const DELTA_SPAN = 2 ** 27;
/** A time stamp has 59 bits; the ones above are those of the time before. */
const STAMP_SPAN = 2 ** 59;

const COMMIT_MASK = 0x7ff_ffff;
const MISSED = 1 << 31;
const MISSED_STORED = 1 << 30;

/** No events were lost before a record; others are counts, 0 for an unknown one. */
export const NONE_LOST = -1;

/** Pages of one CPU's buffer, some at a time. */
export interface Pages {
  /** The next whole pages, and where in the file they lie; undefined at the end. */
  next(): Promise<{ readonly bytes: Uint8Array; readonly offset: number; readonly packed: boolean } | undefined>;
}

/** The records of one CPU's buffer, one after the other. */
export class RingStream {
  readonly cpu: number;
  /** The record: its time, and where it lies. */
  time = 0;
  view: DataView = new DataView(new ArrayBuffer(0));
  at = 0;
  length = 0;
  /** Events lost right before it; `NONE_LOST` for none. */
  lost: number = NONE_LOST;
  readonly #pages: Pages;
  readonly #layout: PageLayout;
  readonly #pageSize: number;
  #offset = 0;
  #packed = false;
  #nextPage = 0;
  #next = 0;
  #end = 0;
  #clock = 0;
  #missing = NONE_LOST;

  constructor(cpu: number, pages: Pages, layout: PageLayout, pageSize: number) {
    this.cpu = cpu;
    this.#pages = pages;
    this.#layout = layout;
    this.#pageSize = pageSize;
  }

  /** Where in the file the record lies; of a compressed piece, where the piece lies. */
  get offset(): number {
    return this.#place(this.at);
  }

  #place(at: number): number {
    return this.#packed ? this.#offset : this.#offset + at;
  }

  /** Goes to the next record, reading on where pages are needed; false at the end. */
  async start(): Promise<boolean> {
    while (!this.advance()) {
      const pages = await this.#pages.next();
      if (pages === undefined) return false;
      this.view = viewOf(pages.bytes);
      this.#offset = pages.offset;
      this.#packed = pages.packed;
      this.#nextPage = this.#next = this.#end = 0;
    }
    return true;
  }

  /** Goes to the next record of the pages that are here; false when there is none. */
  advance(): boolean {
    for (;;) {
      const at = this.#next;
      if (at >= this.#end) {
        if (!this.#openPage()) return false;
        continue;
      }
      const word = this.view.getUint32(at, true);
      const kind = word & KIND_BITS;
      const delta = word >>> DELTA_SHIFT;
      if (kind > 0 && kind < PADDING) {
        this.#clock += delta;
        return this.#found(at + 4, kind * 4);
      }
      if (kind === 0) {
        const length = this.#argument(at);
        if (length < 4) throw damaged(this.#place(at), `a record of ${length} bytes`);
        this.#clock += delta;
        return this.#found(at + 8, length - 4);
      }
      this.#control(at, kind, delta);
    }
  }

  /** The word behind the head of a record. */
  #argument(at: number): number {
    if (at + 8 > this.#end) throw damaged(this.#place(at), "a record that leaves its page");
    return this.view.getUint32(at + 4, true);
  }

  #found(at: number, length: number): true {
    const next = at + ((length + 3) & ~3);
    if (next > this.#end) throw damaged(this.#place(at), "a record that leaves its page");
    this.at = at;
    this.length = length;
    this.time = this.#clock;
    this.#next = next;
    this.lost = this.#missing;
    this.#missing = NONE_LOST;
    return true;
  }

  /** What is no event: room that was given up, and time. */
  #control(at: number, kind: number, delta: number): void {
    if (kind === PADDING && delta === 0) {
      this.#next = this.#end;
      return;
    }
    const argument = this.#argument(at);
    this.#next = at + 8;
    if (kind === TIME_EXTEND) this.#clock += argument * DELTA_SPAN + delta;
    else if (kind === TIME_STAMP) {
      this.#clock = Math.floor(this.#clock / STAMP_SPAN) * STAMP_SPAN + argument * DELTA_SPAN + delta;
    } else {
      // A record that its writer gave up: its length counts from the word that has it.
      if (argument < 4) throw damaged(this.#place(at), `a record of ${argument} bytes`);
      this.#next = at + 4 + ((argument + 3) & ~3);
      this.#clock += delta;
    }
  }

  #openPage(): boolean {
    const page = this.#nextPage;
    const { view } = this;
    if (page + this.#pageSize > view.byteLength) return false;
    this.#nextPage = page + this.#pageSize;
    const { timestamp, commit, word, data } = this.#layout;
    const state = view.getUint32(page + commit, true);
    const end = page + data + (state & COMMIT_MASK);
    if (end > this.#nextPage || (state & 3) !== 0)
      throw damaged(this.#place(page), "a page with more than it can hold");
    this.#clock = wordAt(view, page + timestamp);
    if (state & MISSED) {
      const stored = (state & MISSED_STORED) !== 0 && end + word <= this.#nextPage;
      const count = stored ? (word === 8 ? wordAt(view, end) : view.getUint32(end, true)) : 0;
      this.#missing = Math.max(0, this.#missing) + count;
    }
    this.#next = page + data;
    this.#end = end;
    return true;
  }
}
