import { checkOptions } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { errnoName, invalid } from "../core/errors.js";
import { SubmissionView } from "../core/table-views.generated.js";
import {
  type AddressLike,
  type Ipa,
  type IpaLike,
  type Like,
  type PaLike,
  type SizeLike,
  toAddress,
  type Va,
  type VaLike,
} from "../model/address.js";
import { type ProtLike, toProt } from "../model/protection.js";
import type { EngineMemory } from "./memory.js";
import {
  type CacheOption,
  cacheHandle,
  checkMap,
  checkShare,
  type LeafShareOptions,
  type MapOptions,
  mapFlags,
  type ShareOptions,
  shareFlags,
} from "./options.js";
import { Table } from "./table.js";

const MAX_BYTES = 4096 << (K.ORDERS - 1);

/** How one operation of a batch ended. */
export interface BatchResult {
  /** 0, 1 (young), or a negative errno. */
  status: number;
  /** Level of a leaf that was read. */
  level: number;
  /** Leaf, old descriptor, count or bytes, by operation. */
  value: bigint;
}

/**
 * Operations collected in linear memory and performed in one call: about a nanosecond of overhead each, where a
 * single call costs some ten. Results stay in place until `clear`; `run` may be called again on the same records.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * using batch = engine.createBatch(2);
 * batch.map(table, 0x1000, 4096, 0x9000, "rw");
 * batch.getLeaf(table, 0x1000);
 * batch.run();
 * console.log(batch.result(1).value.toString(16)); // 400000000097db
 * ```
 */
export class Batch implements Disposable {
  readonly #engine: EngineMemory;
  /** Operations that fit. */
  readonly capacity: number;
  readonly #record: SubmissionView;
  #pointer: number;
  #length = 0;

  /** Use `engine.createBatch`. */
  constructor(engine: EngineMemory, capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity * SubmissionView.BYTES > MAX_BYTES) {
      throw invalid("createBatch", `capacity is 1..${MAX_BYTES / SubmissionView.BYTES}`);
    }
    this.#engine = engine;
    this.capacity = capacity;
    this.#pointer = engine.takeBlock(capacity * SubmissionView.BYTES);
    this.#record = new SubmissionView(engine.words);
  }

  /** Operations in it. */
  get length(): number {
    return this.#length;
  }

  /** Pointer of the first record in `engine.memory`, for those who write records themselves (assembly/table/submit.ts). */
  get pointer(): number {
    return this.#pointer;
  }

  /** @internal Pointer of the first record, for a run in `memory`; EINVAL for a batch of another engine. */
  pointerIn(memory: EngineMemory, operation: string): number {
    memory.assertSame(this.#engine, operation, "batch");
    if (this.#pointer === 0) throw invalid(operation, "the batch is closed");
    return this.#pointer;
  }

  /** Takes `n` records that the caller wrote at `pointer`. */
  setLength(n: number): void {
    if (!Number.isInteger(n) || n < 0 || n > this.capacity)
      throw invalid("batch.setLength", `length is 0..${this.capacity}`);
    this.#length = n;
  }

  /** Forgets all operations. */
  clear(): void {
    this.#length = 0;
  }

  /** Adds a stage-2 map; as all of these, returns the operation's index and throws EINVAL when the batch is full. */
  map(table: Table, addr: IpaLike, size: SizeLike, phys: PaLike, prot: ProtLike, options: MapOptions = {}): number {
    return this.#add(
      K.OP_MAP,
      table,
      addr,
      size,
      phys,
      toProt(prot),
      mapFlags(checkMap("batch.map", options)),
      options.cache,
    );
  }

  /** Maps at EL2. */
  hypMap(table: Table, va: VaLike, size: SizeLike, phys: PaLike, prot: ProtLike, cache?: CacheOption): number {
    return this.#add(K.OP_HYP_MAP, table, va, size, phys, toProt(prot), 0, cache);
  }

  /** Adds an unmap, of either stage. */
  unmap(table: Table, addr: Like<Ipa | Va>, size: SizeLike): number {
    return this.#add(table.isHyp ? K.OP_HYP_UNMAP : K.OP_UNMAP, table, addr, size);
  }

  /** Adds a write protection. */
  wrprotect(table: Table, addr: IpaLike, size: SizeLike, options: ShareOptions = {}): number {
    return this.#add(K.OP_WRPROTECT, table, addr, size, 0, 0, shareFlags(checkShare("batch.wrprotect", options)));
  }

  /** Adds a relaxation of one leaf. */
  relaxPerms(table: Table, addr: IpaLike, prot: ProtLike, options: LeafShareOptions = {}): number {
    return this.#add(
      K.OP_RELAX_PERMS,
      table,
      addr,
      0,
      0,
      toProt(prot),
      shareFlags(checkShare("batch.relaxPerms", options)),
    );
  }

  /** Adds setting one access flag; the old descriptor becomes the value. */
  mkyoung(table: Table, addr: IpaLike, options: LeafShareOptions = {}): number {
    return this.#add(K.OP_MKYOUNG, table, addr, 0, 0, 0, shareFlags(checkShare("batch.mkyoung", options)));
  }

  /** Adds a test of access flags; the status becomes 1 if one was set. */
  testClearYoung(table: Table, addr: IpaLike, size: SizeLike, clear: boolean, options: ShareOptions = {}): number {
    const flags = shareFlags(checkShare("batch.testClearYoung", options));
    return this.#add(K.OP_TEST_CLEAR_YOUNG, table, addr, size, 0, 0, flags, undefined, clear ? 1 : 0);
  }

  /** Adds a split of blocks. */
  split(table: Table, addr: IpaLike, size: SizeLike, cache?: CacheOption, options: ShareOptions = {}): number {
    return this.#add(K.OP_SPLIT, table, addr, size, 0, 0, shareFlags(checkShare("batch.split", options)), cache);
  }

  /** Adds a cache clean of a range. */
  flush(table: Table, addr: IpaLike, size: SizeLike, options: ShareOptions = {}): number {
    return this.#add(K.OP_FLUSH, table, addr, size, 0, 0, shareFlags(checkShare("batch.flush", options)));
  }

  /** Adds a lookup; leaf and level become value and level. */
  getLeaf(table: Table, addr: Like<Ipa | Va>): number {
    return this.#add(K.OP_GET_LEAF, table, addr);
  }

  #add(
    op: number,
    table: Table,
    addr: AddressLike,
    size: AddressLike = 0,
    phys: AddressLike = 0,
    prot = 0,
    flags = 0,
    cache?: CacheOption,
    level = 0,
  ): number {
    if (this.#length >= this.capacity)
      throw invalid("batch", `it holds ${this.capacity} operations: run and clear it first`);
    if (this.#pointer === 0) throw invalid("batch", "it is closed");
    if (!(table instanceof Table)) throw invalid("batch", "the first argument is not a table");
    this.#engine.assertSame(table.engine, "batch", "table");
    const record = this.#record;
    record.at = this.#pointer + this.#length * SubmissionView.BYTES;
    record.address = toAddress(addr, "batch");
    record.size = toAddress(size, "batch");
    record.phys = toAddress(phys, "batch");
    record.op = op;
    record.flags = flags;
    record.table = table.handle;
    record.cache = cacheHandle(cache, this.#engine, "batch");
    record.prot = prot;
    record.level = level;
    return this.#length++;
  }

  /** Performs the operations in order; with `stop` (default) ends behind the first error. Returns how many were performed. */
  run(options: { stop?: boolean } = {}): number {
    checkOptions("batch.run", options, { stop: "boolean" });
    this.#engine.assertOpen("batch.run");
    const { core } = this.#engine;
    const n = core.submit(this.#pointer, this.#length, options.stop === false ? 0 : 1);
    this.#engine.check(n, "batch.run");
    return n;
  }

  /** How operation `i` ended. */
  result(i: number): BatchResult {
    if (!Number.isInteger(i) || i < 0 || i >= this.#length) throw invalid("batch.result", `no operation ${i}`);
    const record = this.#record;
    record.at = this.#pointer + i * SubmissionView.BYTES;
    const { status, foundLevel: level, value } = record;
    return { status, level, value };
  }

  /** Name of a status: `"ok"` or an errno's name. */
  static statusName(status: number): string {
    return status < 0 ? errnoName(status) : "ok";
  }

  /** Gives the buffer back. Twice is harmless. */
  close(): void {
    if (this.#pointer !== 0 && !this.#engine.closed) this.#engine.giveBlock(this.#pointer);
    this.#pointer = 0;
    this.#length = 0;
  }

  /** The same as {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
