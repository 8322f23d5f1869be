import { EINVAL, ENOMEM, MAX_ERRNO } from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { Granule } from "../model/granule.js";
import type { EngineMemory } from "./memory.js";

function isPages(n: number): boolean {
  return Number.isInteger(n) && n >= 0 && n <= 0xffffffff;
}

function spent(engine: EngineMemory, what: string): string {
  const { bytes, taken } = engine.arena();
  return `${what}: ${taken} of the arena's ${bytes} bytes are taken (raise arenaBytes)`;
}

/**
 * Pages taken before a walk, so that it never waits for memory [MC-1..8]. Make one with `engine.createCache`.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * using cache = engine.createCache(4096);
 * cache.topUp(2);
 * table.map(0x4000_0000, 4096, 0, "rw", { cache });
 * ```
 */
export class PageCache implements Disposable {
  readonly #engine: EngineMemory;
  readonly #ps: number;
  /** Bytes of a page, as of the tables that it is for. */
  readonly granule: Granule;
  /** Most pages that it holds. */
  readonly capacity: number;
  #handle: number;

  /** @internal */
  constructor(engine: EngineMemory, ps: number, capacity: number) {
    if (!isPages(capacity) || capacity < 1) throw invalid("createCache", `capacity ${capacity} makes no sense`);
    this.#engine = engine;
    this.#ps = ps;
    this.granule = (1 << ps) as Granule;
    this.capacity = capacity;
    const handle = engine.core.cacheCreate(ps, capacity);
    if (handle < 0 && handle >= -MAX_ERRNO) {
      engine.check(handle, "createCache", (errno) =>
        errno === EINVAL ? `capacity ${capacity} is too large` : spent(engine, "no block for the cache"),
      );
    }
    this.#handle = handle >>> 0;
  }

  /** @internal The core's name of the cache; 0 once closed. */
  get handle(): number {
    return this.#handle;
  }

  /** @internal The handle, for an operation in `memory`; EINVAL once closed, or for a cache of another engine. */
  handleIn(memory: EngineMemory, operation: string): number {
    memory.assertSame(this.#engine, operation, "cache");
    if (this.#handle === 0) throw invalid(operation, "the cache is closed");
    return this.#handle;
  }

  /** Pages in it. */
  get count(): number {
    this.#engine.assertOpen("cache.count");
    const n = this.#engine.core.cacheCount(this.#handle, this.#ps);
    this.#check(n, "cache.count", 0);
    return n;
  }

  /** At least `min` pages, and then as many as fit. ENOMEM (thrown) only below `min`; EINVAL above the capacity. */
  topUp(min: number): void {
    this.#engine.assertOpen("cache.topUp");
    if (!isPages(min)) throw invalid("cache.topUp", `${min} pages make no sense`);
    this.#check(this.#engine.core.cacheTopUp(this.#handle, this.#ps, min), "cache.topUp", min);
  }

  /** Exactly `n` pages; false if the arena did not have them. */
  fill(n: number): boolean {
    this.#engine.assertOpen("cache.fill");
    if (!isPages(n)) throw invalid("cache.fill", `${n} pages make no sense`);
    const status = this.#engine.core.cacheFill(this.#handle, this.#ps, n);
    if (status === ENOMEM) return false;
    this.#check(status, "cache.fill", n);
    return true;
  }

  #check(status: number, operation: string, pages: number): void {
    this.#engine.check(status, operation, (errno) => {
      if (errno === EINVAL && this.#handle === 0) return "the cache is closed";
      if (errno === EINVAL) return `${pages} pages are more than the cache's capacity, ${this.capacity}`;
      return errno === ENOMEM ? spent(this.#engine, `no ${pages} pages of ${this.granule} bytes`) : undefined;
    });
  }

  /** Gives back the pages and the cache. Twice is harmless. */
  close(): void {
    if (this.#handle !== 0 && !this.#engine.closed) this.#engine.core.cacheDestroy(this.#handle, this.#ps);
    this.#handle = 0;
  }

  /** The same as {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
