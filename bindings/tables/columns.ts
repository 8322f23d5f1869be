import { EINVAL } from "../core/constants.generated.js";
import { GranuleError, invalid } from "../core/errors.js";
import type { EngineMemory } from "./memory.js";

/** Bytes of one row: address, value, status. */
const ROW_BYTES = 17;
/** Most rows that fit one block of the arena, in whole eights. */
const MAX_ROWS = Math.floor((1 << 20) / ROW_BYTES) & ~7;

/** @internal Columns, when they are such. */
export function checkColumns(operation: string, columns: Columns): Columns {
  if (columns instanceof Columns) return columns;
  throw invalid(operation, "these are not columns: `engine.createColumns` makes them");
}

/**
 * Columns in the engine's memory for operations on many pages: what a caller writes there is used in place, nothing is
 * copied. Make them with `engine.createColumns`.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * using columns = engine.createColumns(2);
 * columns.addresses.set([0x1000n, 0x7000n]);
 * columns.values.set([0x9000n, 0xa000n]);
 * table.mapColumns(columns, 2, "rw");
 * table.leafColumns(columns, 2);
 * console.log(columns.values[1] === table.leaf(0x7000).descriptor); // true
 * ```
 */
export class Columns implements Disposable {
  /** Rows that fit. */
  readonly capacity: number;
  /** Input addresses. */
  readonly addresses: BigUint64Array;
  /** Output addresses of a map; leaf descriptors of a lookup. */
  readonly values: BigUint64Array;
  /** Statuses (0 or a negative errno) of a map or relaxation; levels of a lookup. */
  readonly statuses: Int8Array;
  readonly #engine: EngineMemory;
  #pointer: number;

  /** @internal Use `engine.createColumns`. */
  constructor(engine: EngineMemory, capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_ROWS) {
      throw invalid("createColumns", `capacity is 1..${MAX_ROWS}`);
    }
    const rows = (capacity + 7) & ~7;
    this.#engine = engine;
    this.capacity = capacity;
    this.#pointer = engine.takeBlock(rows * ROW_BYTES);
    const { buffer } = engine.memory;
    this.addresses = new BigUint64Array(buffer, this.#pointer, rows);
    this.values = new BigUint64Array(buffer, this.#pointer + rows * 8, rows);
    this.statuses = new Int8Array(buffer, this.#pointer + rows * 16, rows);
  }

  /** @internal Where the columns lie, if `n` rows are there and `memory` is theirs. */
  pointers(
    memory: EngineMemory,
    operation: string,
    n: number,
  ): { addresses: number; values: number; statuses: number } {
    memory.assertSame(this.#engine, operation, "columns");
    if (this.#pointer === 0) throw invalid(operation, "the columns are closed");
    if (!Number.isInteger(n) || n < 0 || n > this.capacity) throw invalid(operation, `there are ${this.capacity} rows`);
    return { addresses: this.#pointer, values: this.values.byteOffset, statuses: this.statuses.byteOffset };
  }

  /** @internal Runs an operation of the core on the first `n` rows; throws what stopped it. */
  run(
    memory: EngineMemory,
    operation: string,
    n: number,
    call: (addresses: number, values: number, statuses: number) => number,
    why?: (errno: number, address: bigint, value: bigint) => string | undefined,
  ): void {
    const { addresses, values, statuses } = this.pointers(memory, operation, n);
    const done = call(addresses, values, statuses);
    this.#engine.check(done, operation, (errno) => why?.(errno, this.addresses[0] ?? 0n, this.values[0] ?? 0n));
    if (done === n) {
      const last = n > 0 ? (this.statuses[n - 1] as number) : 0;
      if (last >= -1 || last === -11 || last === -128) return; // done, "again", or a level
    }
    const row = Math.max(0, Math.min(done, n) - 1);
    const errno = (this.statuses[row] as number) || EINVAL;
    const [address, value] = [this.addresses[row] as bigint, this.values[row] as bigint];
    const hint = why?.(errno, address, value);
    throw new GranuleError(errno, hint === undefined ? { operation, address } : { operation, address, hint });
  }

  /** Gives the memory back. Twice is harmless. */
  close(): void {
    if (this.#pointer !== 0 && !this.#engine.closed) this.#engine.giveBlock(this.#pointer);
    this.#pointer = 0;
  }

  /** The same as {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
