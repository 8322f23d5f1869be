import { checkWord } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { JournalRecordView } from "../core/record-views.generated.js";
import type { EngineMemory } from "./memory.js";

/**
 * Kinds of journal records, and what `address`, `level`, `a` and `b` are in each.
 *
 * @example
 * ```ts
 * import { createEngine, JournalKind } from "granule";
 * using engine = createEngine({ journalRecords: 100 });
 * const table = engine.createStage2();
 * engine.journal.start([JournalKind.WRITE]);
 * table.map(0, 4096, 0x8000_0000, "r");
 * const last = engine.journal.read().at(-1);
 * console.log(last?.b === table.leaf(0).descriptor); // true
 * ```
 */
export const JournalKind = {
  /** A descriptor was written: `address` is the slot's physical address, `a` the old descriptor, `b` the new one. */
  WRITE: K.J_WRITE,
  /** The same by a walk of several walkers: compare-exchange, or a store with release. */
  WRITE_SHARED: K.J_WRITE_SHARED,
  /** TLBI by IPA to all CPUs (IPAS2E1IS): `address`, and `level` as the hint. */
  TLBI_IPA: K.J_TLBI_IPA,
  /** TLBI by IPA on this CPU alone (IPAS2E1): `address`, `level`. */
  TLBI_IPA_LOCAL: K.J_TLBI_IPA_LOCAL,
  /** TLBI of a range (RIPAS2E1IS): `address`, and `a` pages. */
  TLBI_RANGE: K.J_TLBI_RANGE,
  /** TLBI of the whole VMID (VMALLS12E1IS). */
  TLBI_VMID: K.J_TLBI_VMID,
  /** TLBI by EL2's virtual address (VAE2IS): `address` is the operand, `level` the hint. */
  TLBI_VA: K.J_TLBI_VA,
  /** The same for last-level entries only (VALE2IS). */
  TLBI_VA_LAST: K.J_TLBI_VA_LAST,
  /** TLBI of all stage-1 entries of the VMID (VMALLE1IS). */
  TLBI_STAGE1: K.J_TLBI_STAGE1,
  /** The same on this CPU alone (VMALLE1). */
  TLBI_STAGE1_LOCAL: K.J_TLBI_STAGE1_LOCAL,
  /** A DSB: `a` is 0 for ISHST, 1 for ISH, 2 for NSHST, 3 for NSH. */
  DSB: K.J_DSB,
  /** An ISB. */
  ISB: K.J_ISB,
  /** The data cache was cleaned: `address` is a physical address, `a` the bytes. */
  DCACHE: K.J_DCACHE,
  /** The instruction cache was invalidated: `address` and `a` likewise. */
  ICACHE: K.J_ICACHE,
  /** A condition that the kernel would warn about: `level`, and `address` of the walk. */
  WARN: K.J_WARN,
  /** A page became a table: `address` is its physical address. */
  TABLE_TAKEN: K.J_TABLE_TAKEN,
  /** A table page was given back: `address`. */
  TABLE_FREED: K.J_TABLE_FREED,
  /**
   * A table was unlinked while other walkers may be in it: `address`, and `level` of the entry that named it. It is
   * freed after a grace period.
   */
  TABLE_RETIRED: K.J_TABLE_RETIRED,
  /** The lock of a table was taken: `a` is 1 for writing, 0 for reading. */
  LOCK: K.J_LOCK,
  /** It was let go: `a` likewise. */
  UNLOCK: K.J_UNLOCK,
  /** A read section without a lock was entered. */
  SECTION: K.J_SECTION,
  /** It was left. */
  SECTION_END: K.J_SECTION_END,
  /** Walker `a` is dead, and another one released what it held. */
  BURIED: K.J_BURIED,
  /** A CPU of a host of VMs writes VTTBR_EL2: `level` is the CPU, `a` the VMID. Without a table it walks none from here on. */
  VTTBR: K.J_VTTBR,
  /** TLBI of everything of all VMIDs (ALLE1IS). */
  TLBI_ALL: K.J_TLBI_ALL,
  /** A VM's walker returns from a notifier, a dirty log or a slot: nobody uses what it took away [PROP-5]. */
  PROMISE: K.J_PROMISE,
  /** A table was made: `address` is its first start table, `a` its geometry and flags, `b` VTCR_EL2. */
  TABLE_MADE: K.J_TABLE_MADE,
  /** From here on nobody walks the table at `address`: it is torn down without a flush. */
  TABLE_GONE: K.J_TABLE_GONE,
} as const;

const KNOWN: ReadonlySet<number> = new Set(Object.values(JournalKind));

/** One thing that happened. What `address`, `a` and `b` are depends on the kind: see {@link JournalKind}. */
export interface JournalRecord {
  /** One of {@link JournalKind}. */
  kind: number;
  /** Level of the entry or hint; 0x7fffffff when unknown. */
  level: number;
  /** Handle of the table. */
  table: number;
  /** Which walker did it. */
  walker: number;
  /** An address, by kind: see {@link JournalKind}. */
  address: bigint;
  /** First value, by kind. */
  a: bigint;
  /** Second value, by kind. */
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
