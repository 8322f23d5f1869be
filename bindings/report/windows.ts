// Break to make: how long each descriptor was invalid between two valid states, and what lay between.

import { decodeAddress, isTable } from "../core/descriptor.js";
import { entries, shift } from "../core/granule.js";
import { type Granule, granuleShift } from "../model/granule.js";
import { JournalKind, type JournalRecord } from "../tables/journal.js";
import { Greatest } from "./adaptive.js";

/** The shape of the tables that a journal is about. */
export interface Shape {
  readonly granule: Granule;
  readonly lpa2: boolean;
  readonly startLevel: number;
  readonly rootPages: number;
}

/** A descriptor that was valid, then invalid, then valid again. */
export interface Window {
  /** First input address of the entry; undefined where its table was not linked yet. */
  readonly address: number | undefined;
  readonly level: number;
  readonly before: bigint;
  readonly after: bigint;
  /** When it was broken, and when it was made again, in seconds. */
  readonly broken: number;
  readonly made: number;
  /** Records of the journal between the two. */
  readonly records: number;
  /** Names of the TLBIs between them, at most `NAMED`; the count has all. */
  readonly tlbis: readonly string[];
  readonly tlbiCount: number;
}

interface Open {
  readonly before: bigint;
  readonly time: number;
  readonly record: number;
  readonly tlbis: number;
}

interface Place {
  /** Physical address of the slot that names the page; undefined for a start table. */
  readonly slot: number | undefined;
  readonly level: number;
  /** Input address of a start table. */
  readonly base: number;
}

const NAMED = 4;
const RECENT = 256;
const KEPT = 64;

const TLBIS: Readonly<Record<number, string>> = {
  [JournalKind.TLBI_IPA]: "IPAS2E1IS",
  [JournalKind.TLBI_IPA_LOCAL]: "IPAS2E1",
  [JournalKind.TLBI_RANGE]: "RIPAS2E1IS",
  [JournalKind.TLBI_VMID]: "VMALLS12E1IS",
  [JournalKind.TLBI_VA]: "VAE2IS",
  [JournalKind.TLBI_VA_LAST]: "VALE2IS",
  [JournalKind.TLBI_STAGE1]: "VMALLE1IS",
  [JournalKind.TLBI_STAGE1_LOCAL]: "VMALLE1",
  [JournalKind.TLBI_ALL]: "ALLE1IS",
};

/** The architecture's name of a record that is a TLBI, undefined for another. */
export function tlbiName(kind: number): string | undefined {
  return TLBIS[kind];
}

/** Follows a journal and keeps the longest windows. Its memory grows with the table pages, not with the journal. */
export class Windows {
  readonly #shape: Shape;
  readonly #ps: number;
  /** Where each table page hangs, by its physical address. */
  readonly #places = new Map<number, Place>();
  /** Broken entries by table page and slot. */
  readonly #open = new Map<number, Map<number, Open>>();
  readonly #recent: string[] = [];
  #tlbis = 0;
  #records = 0;
  readonly #longest: Greatest<Window>;
  /** Windows that were closed, and those of them without a TLBI inside. */
  closed = 0;
  withoutTlbi = 0;

  constructor(shape: Shape) {
    this.#shape = shape;
    this.#ps = granuleShift(shape.granule);
    this.#longest = new Greatest<Window>(KEPT, (w) => (w.made - w.broken) * 1e9 + w.records);
  }

  /** The longest windows, longest first. */
  get longest(): Window[] {
    return this.#longest.list();
  }

  /** Follows one record; `time` is when the event happened that led to it, in seconds. */
  add(record: JournalRecord, time: number): void {
    this.#records++;
    const name = TLBIS[record.kind];
    if (name !== undefined) {
      this.#recent[this.#tlbis++ % RECENT] = name;
      return;
    }
    switch (record.kind) {
      case JournalKind.WRITE:
      case JournalKind.WRITE_SHARED:
        this.#write(record, time);
        break;
      case JournalKind.TABLE_MADE:
        this.#root(Number(record.address));
        break;
      case JournalKind.TABLE_FREED:
        this.#places.delete(Number(record.address));
        this.#open.delete(Number(record.address));
        break;
    }
  }

  #root(address: number): void {
    const { granule, rootPages, startLevel } = this.#shape;
    const size = entries(this.#ps) * 2 ** shift(this.#ps, startLevel);
    for (let i = 0; i < rootPages; i++)
      this.#places.set(address + i * granule, { slot: undefined, level: startLevel, base: i * size });
  }

  #write({ address, level, a, b }: JournalRecord, time: number): void {
    const slot = Number(address);
    const page = slot - (slot % this.#shape.granule);
    if (isTable(b, level)) this.#hang(b, slot, level);
    const wasValid = (a & 1n) !== 0n,
      isNowValid = (b & 1n) !== 0n;
    if (wasValid && !isNowValid) {
      let broken = this.#open.get(page);
      if (broken === undefined) {
        broken = new Map();
        this.#open.set(page, broken);
      }
      broken.set(slot, { before: a, time, record: this.#records, tlbis: this.#tlbis });
    } else if (!wasValid && isNowValid) this.#make(page, slot, level, b, time);
  }

  #hang(descriptor: bigint, slot: number, level: number): void {
    const { lpa2 } = this.#shape;
    const child = Number(decodeAddress(this.#ps, lpa2, descriptor));
    this.#places.set(child, { slot, level: level + 1, base: 0 });
  }

  #make(page: number, slot: number, level: number, after: bigint, made: number): void {
    const broken = this.#open.get(page)?.get(slot);
    if (broken === undefined) return;
    this.#open.get(page)?.delete(slot);
    const tlbiCount = this.#tlbis - broken.tlbis;
    this.closed++;
    if (tlbiCount === 0) this.withoutTlbi++;
    const first = Math.max(broken.tlbis, this.#tlbis - RECENT);
    const tlbis = Array.from(
      { length: Math.min(NAMED, this.#tlbis - first) },
      (_, i) => this.#recent[(first + i) % RECENT],
    );
    this.#longest.add({
      address: this.#addressOf(slot),
      level,
      before: broken.before,
      after,
      broken: broken.time,
      made,
      records: this.#records - broken.record - 1,
      tlbis: tlbis as string[],
      tlbiCount,
    });
  }

  /** Input address of a slot, by the way from its page up to a start table. */
  #addressOf(slot: number): number | undefined {
    let address = 0;
    for (let at: number | undefined = slot; at !== undefined; ) {
      const page: number = at - (at % this.#shape.granule);
      const place: Place | undefined = this.#places.get(page);
      if (place === undefined) return undefined;
      address += ((at - page) / 8) * 2 ** shift(this.#ps, place.level) + place.base;
      at = place.slot;
    }
    return address;
  }
}
