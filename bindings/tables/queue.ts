import * as K from "../core/constants.generated.js";
import type { Batch } from "./batch.js";
import type { Engine } from "./engine.js";

const WORDS = K.SUBMIT_BYTES / 4;
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
  readonly #u32: Uint32Array;
  readonly #first: number;
  readonly #tags: Int32Array;
  #length = 0;

  /** @param settle - called for each operation, in order, from `flush`; it must not push */
  constructor(engine: Engine, settle: Settle, capacity = 2048) {
    this.#batch = engine.createBatch(capacity);
    this.#settle = settle;
    this.#u32 = engine.u32;
    this.#first = this.#batch.pointer / 4;
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
    const u32 = this.#u32;
    const word = this.#first + this.#length * WORDS;
    u32[word] = op;
    u32[word + 1] = flags;
    u32[word + 2] = table;
    u32[word + 3] = cache;
    u32[word + 4] = addr;
    u32[word + 5] = addr / HIGH;
    u32[word + 6] = size;
    u32[word + 7] = size / HIGH;
    u32[word + 8] = phys;
    u32[word + 9] = phys / HIGH;
    u32[word + 10] = prot;
    u32[word + 11] = level;
    this.#tags[this.#length++] = tag;
  }

  /** Does all operations in the queue. If one fails, those behind it are done all the same. */
  flush(): void {
    const n = this.#length;
    if (n === 0) return;
    this.#batch.setLength(n);
    this.#batch.run({ stop: false });
    this.#length = 0;
    const u32 = this.#u32;
    for (let i = 0; i < n; i++) {
      const word = this.#first + i * WORDS;
      const status = (u32[word + 12] as number) | 0;
      const level = (u32[word + 13] as number) | 0;
      this.#settle(u32[word] as number, status, this.#tags[i] as number, level, ((u32[word + 14] as number) & 1) !== 0);
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
