import { checkWord } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { JournalRecordView } from "../core/record-views.generated.js";
import type { EngineMemory } from "./memory.js";

/** Kinds of journal records, as numbered in assembly/record/journal.ts. */
export const JournalKind = {
  WRITE: K.J_WRITE,
  WRITE_SHARED: K.J_WRITE_SHARED,
  TLBI_IPA: K.J_TLBI_IPA,
  TLBI_IPA_LOCAL: K.J_TLBI_IPA_LOCAL,
  TLBI_RANGE: K.J_TLBI_RANGE,
  TLBI_VMID: K.J_TLBI_VMID,
  TLBI_VA: K.J_TLBI_VA,
  TLBI_VA_LAST: K.J_TLBI_VA_LAST,
  TLBI_STAGE1: K.J_TLBI_STAGE1,
  TLBI_STAGE1_LOCAL: K.J_TLBI_STAGE1_LOCAL,
  DSB: K.J_DSB,
  ISB: K.J_ISB,
  DCACHE: K.J_DCACHE,
  ICACHE: K.J_ICACHE,
  WARN: K.J_WARN,
  TABLE_TAKEN: K.J_TABLE_TAKEN,
  TABLE_FREED: K.J_TABLE_FREED,
  TABLE_RETIRED: K.J_TABLE_RETIRED,
  LOCK: K.J_LOCK,
  UNLOCK: K.J_UNLOCK,
  SECTION: K.J_SECTION,
  SECTION_END: K.J_SECTION_END,
  BURIED: K.J_BURIED,
  TABLE_MADE: K.J_TABLE_MADE,
  TABLE_GONE: K.J_TABLE_GONE,
} as const;

const KNOWN: ReadonlySet<number> = new Set(Object.values(JournalKind));

/** One thing that happened. What `address`, `a` and `b` are depends on the kind; see assembly/record/journal.ts. */
export interface JournalRecord {
  kind: number;
  /** Level of the entry or hint; 0x7fffffff when unknown. */
  level: number;
  /** Handle of the table. */
  table: number;
  walker: number;
  address: bigint;
  a: bigint;
  b: bigint;
  /** Position in the order of all walkers' records, from 0. */
  sequence: bigint;
}

/**
 * The journal of an engine: descriptor writes, barriers, TLBIs and cache maintenance in order.
 * Reserve room with `createEngine({ journalRecords })` and `start` it. While it is on, walks go entry by entry;
 * switched off it costs nothing.
 *
 * @example
 * ```ts
 * import { createEngine, JournalKind } from "granule";
 * using engine = createEngine({ journalRecords: 1024 });
 * const table = engine.createStage2();
 * engine.journal.start();
 * table.map(0, 4096, 0, "r");
 * table.unmap(0, 4096);
 * console.log(engine.journal.read().some((r) => r.kind === JournalKind.TLBI_RANGE)); // true
 * ```
 */
export class Journal {
  readonly #engine: EngineMemory;
  #kinds = 0;

  /** @internal */
  constructor(engine: EngineMemory) {
    this.#engine = engine;
  }

  /** Where a walker's ring is. EINVAL for a walker that the engine was not made for. */
  #info(walker: number): { pointer: number; capacity: number; total: number } {
    const e = this.#engine;
    e.assertOpen("journal");
    checkWord("journal", "the walker", walker);
    e.check(e.core.journalInfo(walker), "journal");
    const { pointer, capacity, total } = e.results.journal;
    return { pointer, capacity, total: Number(total) };
  }

  /** Starts an empty journal of these kinds (default all). EINVAL for kinds that there are not, or if the engine was made without room for one. */
  start(kinds: readonly number[] = Object.values(JournalKind)): void {
    if (!Array.isArray(kinds) || kinds.some((kind) => !KNOWN.has(kind))) {
      throw invalid("journal.start", "kinds are a list of JournalKind");
    }
    this.#switch(kinds.reduce((mask, kind) => mask | (1 << kind), 0));
    if (this.#info(0).capacity === 0) throw invalid("journal.start", "make the engine with journalRecords");
  }

  /** Stops; what was recorded is gone. */
  stop(): void {
    this.#switch(0);
  }

  /** Empties it and keeps on recording. */
  clear(): void {
    this.#switch(this.#kinds);
  }

  #switch(kinds: number): void {
    this.#engine.assertOpen("journal");
    this.#kinds = kinds;
    this.#engine.core.setJournal(kinds);
  }

  #rings(): { pointer: number; capacity: number; total: number }[] {
    return Array.from({ length: this.#engine.walkerCount }, (_, id) => this.#info(id));
  }

  /** Records written since it was started, by all walkers. */
  get total(): number {
    return this.#rings().reduce((sum, { total }) => sum + total, 0);
  }

  /** Records that the rings have lost to newer ones. */
  get lost(): number {
    return this.#rings().reduce((sum, { capacity, total }) => sum + Math.max(0, total - capacity), 0);
  }

  /**
   * The records that are still there, oldest first: of all walkers, in one order, in which each descriptor's writes stand as
   * they happened. With `walker` those of one, and with `from` only those written since its total was `from`: a hook may
   * read so what the operation under way has recorded. No other walker may walk meanwhile.
   */
  read(walker?: number, from = 0): JournalRecord[] {
    if (walker !== undefined) return this.#ring(this.#info(walker), from);
    const rings = this.#rings();
    const records = rings.flatMap((ring) => this.#ring(ring));
    return rings.length === 1 ? records : records.sort((a, b) => (a.sequence < b.sequence ? -1 : 1));
  }

  #ring({ pointer, capacity, total }: { pointer: number; capacity: number; total: number }, from = 0): JournalRecord[] {
    const records: JournalRecord[] = [];
    const view = new JournalRecordView(this.#engine.words);
    for (let i = Math.max(from, total - capacity); i < total; i++) {
      view.at = pointer + (i % capacity) * JournalRecordView.BYTES;
      const { kind, level, table, walker, address, a, b, sequence } = view;
      records.push({ kind, level, table, walker, address, a, b, sequence });
    }
    return records;
  }
}
