// What a journal must show of one operation [TLB-20..33, PROP-3..5]: the writes of live descriptors, each with the TLBI
// that it needs and in time. Works on numbers from the records alone, knowing where each table page is mapped.

import { JournalKind as J, type JournalRecord } from "../../bindings/index.js";
import { outputAddress, type Shape, spanPages } from "./format.js";

/** A translation that the hardware may still hold. */
interface Stale {
  slot: number;
  first: number;
  end: number;
  level: number;
  table: boolean;
  /** Page of the child, for a table. */
  child: number;
  /** A TLBI was issued, and the barrier behind it has not come yet. */
  issued: boolean;
}

interface Place {
  first: number;
  level: number;
}

const WORD = 2n ** 32n;
const NO_HINT = 0x7fffffff;
const ISH = 1n;
/** Bits that may change in place: permissions, access flag, software, DBM [HWM-33]. */
const IN_PLACE = (1n << 6n) | (1n << 7n) | (1n << 10n) | (3n << 53n) | (1n << 51n) | (0xfn << 55n);

/** How an operation flushes. */
export interface Rules {
  /** Leaves of a removed table were flushed one by one: the table itself needs a TLBI without hint only. */
  unmap: boolean;
  /** Everything stale must be flushed when the call returns. */
  complete: boolean;
}

export class Obligations {
  readonly #shape: Shape;
  readonly #places = new Map<number, Place>();
  #stale: Stale[] = [];

  /** `root` is the physical address of the first start table. */
  constructor(shape: Shape, root: number, rootPages: number, start: number) {
    this.#shape = shape;
    const perPage = spanPages(shape.ps, start - 1);
    for (let i = 0; i < rootPages; i++)
      this.#places.set(root + i * 2 ** shape.ps, { first: i * perPage, level: start });
  }

  #isTable(d: bigint, level: number): boolean {
    return (d & 3n) === 3n && level < 3;
  }

  #child(d: bigint): number {
    return outputAddress(this.#shape, Number(d % WORD), Number(d / WORD));
  }

  /** Follows the records of one operation; throws at the first that breaks a rule. */
  follow(records: readonly JournalRecord[], rules: Rules): void {
    this.#stale = [];
    for (const r of records) this.#step(r, rules);
    const left = this.#stale[0];
    if (left && rules.complete) throw new Error(`level ${left.level} at page ${left.first}: removed and never flushed`);
  }

  #step(r: JournalRecord, rules: Rules): void {
    if (r.kind === J.WRITE || r.kind === J.WRITE_SHARED) this.#write(r);
    else if (r.kind === J.TLBI_IPA) this.#flushIpa(r, rules);
    else if (r.kind === J.TLBI_RANGE) this.#flushRange(Number(r.address), Number(r.a));
    else if (r.kind === J.TLBI_VMID) for (const s of this.#stale) s.issued = true;
    else if (r.kind === J.DSB && r.a === ISH) this.#stale = this.#stale.filter((s) => !s.issued);
    else if (r.kind === J.TABLE_FREED) this.#free(Number(r.address));
  }

  #write(r: JournalRecord): void {
    const pageBytes = 2 ** this.#shape.ps;
    const slotAt = Number(r.address);
    const page = Math.floor(slotAt / pageBytes) * pageBytes;
    const place = this.#places.get(page);
    if (!place) return; // a detached table: no hardware walks it
    const span = spanPages(this.#shape.ps, place.level);
    const first = place.first + ((slotAt - page) / 8) * span;
    if (r.b & 1n) this.#publish(r, slotAt, first, place.level);
    else if (r.a & 1n) this.#remove(r, slotAt, first, span, place.level);
  }

  #publish(r: JournalRecord, slot: number, first: number, level: number): void {
    const open = this.#stale.find((s) => s.slot === slot);
    if (open) throw new Error(`level ${level} at page ${first}: made before the TLBI of its break was complete`);
    if (r.a & 1n && (this.#isTable(r.a, level) || this.#isTable(r.b, level) || ((r.a ^ r.b) & ~IN_PLACE) !== 0n)) {
      throw new Error(
        `level ${level} at page ${first}: ${r.a.toString(16)} became ${r.b.toString(16)} without a break`,
      );
    }
    if (this.#isTable(r.b, level)) this.#places.set(this.#child(r.b), { first, level: level + 1 });
  }

  #remove(r: JournalRecord, slot: number, first: number, span: number, level: number): void {
    const table = this.#isTable(r.a, level);
    const child = table ? this.#child(r.a) : 0;
    this.#stale.push({ slot, first, end: first + span, level, table, child, issued: false });
  }

  #flushIpa(r: JournalRecord, rules: Rules): void {
    const at = Number(r.address) / 2 ** this.#shape.ps;
    for (const s of this.#stale) {
      const hit = at >= s.first && at < s.end;
      if (hit && (s.table ? rules.unmap && r.level === NO_HINT : r.level === s.level || r.level === NO_HINT))
        s.issued = true;
    }
  }

  #flushRange(address: number, pages: number): void {
    const first = address / 2 ** this.#shape.ps;
    for (const s of this.#stale) if (first <= s.first && first + pages >= s.end) s.issued = true;
  }

  #free(page: number): void {
    if (this.#stale.some((s) => s.table && s.child === page)) {
      throw new Error(`table at 0x${page.toString(16)}: freed while the hardware may still walk it`);
    }
    this.#places.delete(page);
  }
}
