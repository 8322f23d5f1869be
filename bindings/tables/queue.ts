import * as K from "../core/constants.generated.js";
import { SubmissionView } from "../core/table-views.generated.js";
import type { Batch } from "./batch.js";
import type { Engine } from "./engine.js";

const HIGH = 2 ** 32;

const NAMES: Readonly<Record<number, string>> = {
  [K.OP_MAP]: "map",
  [K.OP_UNMAP]: "unmap",
  [K.OP_WRPROTECT]: "wrprotect",
  [K.OP_MKYOUNG]: "mkyoung",
  [K.OP_TEST_CLEAR_YOUNG]: "test_clear_young",
  [K.OP_RELAX_PERMS]: "relax_perms",
  [K.OP_FLUSH]: "flush",
  [K.OP_SPLIT]: "split",
  [K.OP_TLB_FLUSH_RANGE]: "flush_tlb_range",
  [K.OP_DESTROY_RANGE]: "destroy_range",
};

/** What a report calls the operation of an opcode. */
export function operationName(op: number): string {
  return NAMES[op] ?? String(op);
}

/**
 * Called for each operation once it is done, with its opcode, its status and the tag it was given; for one that reads a
 * leaf also with the leaf's level and whether it is valid.
 */
export type Settle = (op: number, status: number, tag: number, level: number, valid: boolean) => void;

/**
 * A queue of operations on stage-2 tables, which are done in order and in one call. It is for callers that do not need
 * the result of one operation before the next, such as a replay: a record costs some nanoseconds, and no bigint.
 *
 * Addresses are plain numbers: whole, not negative, below 2^53. The caller checks what comes from outside.
 */
export class OperationQueue implements Disposable {
  readonly #batch: Batch;
  readonly #settle: Settle;
  readonly #record: SubmissionView;
  readonly #tags: Int32Array;
  #length = 0;

  /** @param settle - called for each operation, in order, from `flush`; it must not push */
  constructor(engine: Engine, settle: Settle, capacity = 2048) {
    this.#batch = engine.createBatch(capacity);
    this.#settle = settle;
    this.#record = new SubmissionView(engine.words);
    this.#tags = new Int32Array(capacity);
  }

  /** Operations in the queue. */
  get length(): number {
    return this.#length;
  }

  /** Adds an operation. If the queue is full, the operations in it are done first. */
  push(
    op: number,
    table: number,
    cache: number,
    addr: number,
    size: number,
    phys: number,
    prot: number,
    flags: number,
    level: number,
    tag: number,
  ): void {
    if (this.#length === this.#batch.capacity) this.flush();
    const record = this.#record;
    record.at = this.#batch.pointer + this.#length * SubmissionView.BYTES;
    record.op = op;
    record.flags = flags;
    record.table = table;
    record.cache = cache;
    record.addressLow = addr;
    record.addressHigh = addr / HIGH;
    record.sizeLow = size;
    record.sizeHigh = size / HIGH;
    record.physLow = phys;
    record.physHigh = phys / HIGH;
    record.prot = prot;
    record.level = level;
    this.#tags[this.#length++] = tag;
  }

  /** Does all operations in the queue. If one fails, those behind it are done all the same. */
  flush(): void {
    const n = this.#length;
    if (n === 0) return;
    this.#batch.setLength(n);
    this.#batch.run({ stop: false });
    this.#length = 0;
    const record = this.#record;
    for (let i = 0; i < n; i++) {
      record.at = this.#batch.pointer + i * SubmissionView.BYTES;
      const { op, status, foundLevel, valueLow } = record;
      this.#settle(op, status, this.#tags[i] as number, foundLevel, (valueLow & 1) !== 0);
    }
  }

  /** Gives the buffer back; operations still in the queue are dropped. */
  close(): void {
    this.#length = 0;
    this.#batch.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
