import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { Engine } from "../tables/engine.js";
import { JournalKind } from "../tables/journal.js";
import type { Table } from "../tables/table.js";
import type { Judge } from "./judge.js";
import type { Violation } from "./violation.js";

const RECORD_WORDS = K.JOURNAL_BYTES / 4;
/** What the judge has no use for: an ISB orders the issuing CPU's own use only. */
const USELESS: readonly number[] = [JournalKind.DCACHE, JournalKind.ICACHE, JournalKind.WARN, JournalKind.ISB];
const KINDS: readonly number[] = Object.values(JournalKind).filter((kind) => !USELESS.includes(kind));

/**
 * An engine under a judge's eyes.
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
  readonly #judge: Judge;
  readonly #engine: Engine;
  /** Records of the journal that are judged. */
  #seen = 0;
  #reported = 0;

  /** @internal Use `judge.watch`. */
  constructor(judge: Judge, engine: Engine) {
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
    const flags = BigInt(table.format.flags);
    const sizes = BigInt(Math.log2(granule) | ((startLevel + 1) << 8) | (rootPages << 16) | (inputBits << 24));
    records.push([BigInt(K.J_TABLE_MADE), rootPa, sizes | (flags << 32n), 0n]);
    this.#feed(records, handle);
  }

  /** Physical address of the entry of `level` for an input address. */
  #slot(table: Table, address: bigint, level: number): bigint {
    const { rootPa, granule, startLevel, rootPages } = table.info();
    const ps = BigInt(Math.log2(granule));
    const shift = (at: number) => BigInt(4 - at) * (ps - 3n) + 3n;
    let page = rootPa;
    for (let at = startLevel; ; at++) {
      const mask = BigInt(at === startLevel ? (rootPages * granule) / 8 : granule / 8) - 1n;
      const slot = page + ((address >> shift(at)) & mask) * 8n;
      if (at === level) return slot;
      const { u64, physBase, arenaPointer, core } = this.#engine;
      const value = u64[Number(slot - physBase + BigInt(arenaPointer)) / 8] as bigint;
      page = BigInt.asUintN(64, core.outputAddress(Number(ps), table.format.flags & K.T_LPA2 ? 1 : 0, value));
    }
  }

  #feed(records: bigint[][], handle: number): void {
    const words = new BigUint64Array((records.length * RECORD_WORDS) / 2);
    const halves = new Uint32Array(words.buffer);
    for (const [i, [kind, address, a, b]] of records.entries()) {
      halves[i * RECORD_WORDS] = Number(kind);
      halves[i * RECORD_WORDS + 2] = handle;
      const at = (i * RECORD_WORDS) / 2;
      words[at + 2] = address as bigint;
      words[at + 3] = a as bigint;
      words[at + 4] = b as bigint;
    }
    this.#judge.feed(halves);
  }

  /**
   * Judges what the engine did since the last call and returns the violations that are new. The ring must not have
   * gone round in between: EINVAL then, for what was lost cannot be judged.
   */
  drain(): Violation[] {
    const { core, u32 } = this.#engine;
    this.#engine.check(core.journalInfo(), "drain");
    const [pointer, capacity, total] = [0, 1, 2].map((i) => Number(this.#engine.result(i))) as [number, number, number];
    if (total < this.#seen) this.#seen = 0; // started anew
    if (total - this.#seen > capacity)
      throw invalid(
        "drain",
        `${total - this.#seen - capacity} records were overwritten: drain more often, or raise journalRecords`,
      );
    while (this.#seen < total) {
      const from = this.#seen % capacity;
      const n = Math.min(total - this.#seen, capacity - from);
      const word = pointer / 4 + from * RECORD_WORDS;
      this.#judge.feed(u32.subarray(word, word + n * RECORD_WORDS), n);
      this.#seen += n;
    }
    if (this.#judge.count === this.#reported) return [];
    const fresh = this.#judge.violations().slice(this.#reported);
    this.#reported = this.#judge.count;
    return fresh;
  }

  /** The room that is left before records are lost. */
  get room(): number {
    this.#engine.check(this.#engine.core.journalInfo(), "room");
    return Number(this.#engine.result(1)) - (Number(this.#engine.result(2)) - this.#seen);
  }
}
