import * as K from "../core/constants.generated.js";
import { decodeAddress } from "../core/descriptor.js";
import { invalid } from "../core/errors.js";
import { put } from "../core/field.js";
import { entries, shift } from "../core/granule.js";
import { JournalRecordView } from "../core/record-views.generated.js";
import { Words } from "../core/view.js";
import type { Engine } from "../tables/engine.js";
import { JournalKind } from "../tables/journal.js";
import type { Table } from "../tables/table.js";
import type { Violation } from "./violation.js";

const RECORD_WORDS = JournalRecordView.BYTES / 4;
/** What the judge has no use for: an ISB orders the issuing CPU's own use only. */
const USELESS: readonly number[] = [JournalKind.DCACHE, JournalKind.ICACHE, JournalKind.WARN, JournalKind.ISB];
const KINDS: readonly number[] = Object.values(JournalKind).filter((kind) => !USELESS.includes(kind));

/** What a watch needs of its judge. */
export interface RecordJudge {
  /** Violations so far, counted, and the first of them. */
  readonly count: number;
  violations(): Violation[];
  /** Judges `n` records of 12 words each. */
  feed(words: Uint32Array, n?: number): void;
}

/** A walker's journal. */
interface Ring {
  walker: number;
  pointer: number;
  /** Records that it holds, and all that were ever written. */
  capacity: number;
  total: number;
}

/**
 * An engine under a judge's eyes, all of its walkers in one order.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { createJudge } from "granule/audit";
 * using engine = createEngine({ journalRecords: 4096 });
 * const table = engine.createStage2();
 * table.map(0, 2 << 20, 0, "rw");
 * const watch = createJudge().watch(engine);
 * watch.adopt(table);
 * table.unmap(0, 2 << 20);
 * console.log(watch.drain().length, watch.room > 0); // 0 true
 * ```
 */
export class Watch {
  readonly #judge: RecordJudge;
  readonly #engine: Engine;
  /** Records of each walker's journal that are judged, and all of them. */
  #seen: number[] = [];
  #judged = 0;
  #reported = 0;

  /** Use `judge.watch`. */
  constructor(judge: RecordJudge, engine: Engine) {
    this.#judge = judge;
    this.#engine = engine;
    engine.journal.start(KINDS);
  }

  /** Tells the judge of a table that was made before the watch began, as it is now. */
  adopt(table: Table): void {
    const { rootPa, rootPages, granule, startLevel, inputBits } = table.info();
    if (rootPa === 0n) throw invalid("adopt", "the table is destroyed");
    this.drain();
    const records: bigint[][] = [];
    const handle = table.handle;
    for (const e of table.entries({ tables: true })) {
      if (e.kind === "hole") continue;
      records.push([BigInt(K.J_WRITE), this.#slot(table, e.address, e.level), 0n, e.descriptor]);
    }
    const geometry =
      put(Math.log2(granule), K.GEOMETRY_GRANULE) |
      put(startLevel - K.FIRST_LEVEL, K.GEOMETRY_START) |
      put(rootPages, K.GEOMETRY_TABLES) |
      put(inputBits, K.GEOMETRY_INPUT) |
      put(table.format.flags, K.GEOMETRY_FLAGS);
    const shared = this.#engine.walkerCount > 1 ? 1n << BigInt(K.MADE_PARALLEL) : 0n;
    records.push([BigInt(K.J_TABLE_MADE), rootPa, geometry | shared, 0n]);
    this.#feed(records, handle);
  }

  /** Physical address of the entry of `level` for an input address. */
  #slot(table: Table, address: bigint, level: number): bigint {
    const { rootPa, granule, startLevel, rootPages } = table.info();
    const ps = Math.log2(granule);
    let page: bigint = rootPa;
    for (let at = startLevel; ; at++) {
      const n = at === startLevel ? rootPages * entries(ps) : entries(ps);
      const index = (address >> BigInt(shift(ps, at))) & BigInt(n - 1);
      const slot = page + index * BigInt(K.ENTRY_BYTES);
      if (at === level) return slot;
      const { u64, physBase, arenaPointer } = this.#engine;
      const value = u64[Number(slot - physBase + BigInt(arenaPointer)) / K.ENTRY_BYTES] as bigint;
      page = decodeAddress(ps, (table.format.flags & K.T_LPA2) !== 0, value);
    }
  }

  #feed(records: bigint[][], handle: number): void {
    const words = new Words(new ArrayBuffer(records.length * JournalRecordView.BYTES));
    const record = new JournalRecordView(words);
    for (const [i, [kind, address, a, b]] of records.entries()) {
      record.at = i * JournalRecordView.BYTES;
      record.kind = Number(kind);
      record.table = handle;
      record.address = address as bigint;
      record.a = a as bigint;
      record.b = b as bigint;
    }
    this.#judge.feed(words.u32);
  }

  /**
   * Judges what the engine did since the last call and returns the violations that are new. The ring must not have
   * gone round in between: EINVAL then, for what was lost cannot be judged. No walker may walk meanwhile.
   */
  drain(): Violation[] {
    const rings = this.#rings();
    if (rings.length === 1) this.#feedRing(rings[0] as Ring);
    else this.#feedInOrder(rings);
    if (this.#judge.count === this.#reported) return [];
    const fresh = this.#judge.violations().slice(this.#reported);
    this.#reported = this.#judge.count;
    return fresh;
  }

  /** The journals as they are; EINVAL where one has overwritten what was not judged yet. */
  #rings(): Ring[] {
    const engine = this.#engine;
    const rings = Array.from({ length: engine.walkerCount }, (_, walker): Ring => {
      engine.check(engine.core.journalInfo(walker), "drain");
      const { pointer, capacity, total } = engine.results.journal;
      return { walker, pointer, capacity, total: Number(total) };
    });
    // Started anew: what was there before is judged, or gone.
    if (rings.some(({ walker, total }) => total < (this.#seen[walker] ?? 0))) {
      this.#seen = [];
      this.#judged = 0;
    }
    for (const { walker, capacity, total } of rings) {
      const lost = total - (this.#seen[walker] ?? 0) - capacity;
      if (lost > 0)
        throw invalid("drain", `${lost} records were overwritten: drain more often, or raise journalRecords`);
    }
    return rings;
  }

  #feedRing({ walker, pointer, capacity, total }: Ring): void {
    const { u32 } = this.#engine;
    for (let seen = this.#seen[walker] ?? 0; seen < total; ) {
      const from = seen % capacity;
      const n = Math.min(total - seen, capacity - from);
      const word = pointer / 4 + from * RECORD_WORDS;
      this.#judge.feed(u32.subarray(word, word + n * RECORD_WORDS), n);
      seen += n;
      this.#seen[walker] = seen;
    }
  }

  /** Of several walkers: in the order of all, as far as no record is still to come. */
  #feedInOrder(rings: readonly Ring[]): void {
    const { u32 } = this.#engine;
    const record = new JournalRecordView(this.#engine.words);
    const waiting = rings.reduce((n, { walker, total }) => n + total - (this.#seen[walker] ?? 0), 0);
    const words = new Uint32Array(waiting * RECORD_WORDS);
    const next = rings.map(({ walker }) => this.#seen[walker] ?? 0);
    let n = 0;
    for (let found = true; found; ) {
      found = false;
      for (const { walker, pointer, capacity, total } of rings) {
        for (; (next[walker] as number) < total; next[walker] = (next[walker] as number) + 1) {
          record.at = pointer + ((next[walker] as number) % capacity) * JournalRecordView.BYTES;
          if (Number(record.sequence) !== this.#judged + n) break;
          words.set(u32.subarray(record.word, record.word + RECORD_WORDS), n * RECORD_WORDS);
          n++;
          found = true;
        }
      }
    }
    this.#judge.feed(words, n);
    this.#seen = next;
    this.#judged += n;
  }

  /** The room that is left before records are lost: that of the journal which has least. */
  get room(): number {
    return Math.min(
      ...this.#rings().map(({ walker, capacity, total }) => capacity - total + (this.#seen[walker] ?? 0)),
    );
  }
}
