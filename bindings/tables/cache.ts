import { ENOMEM, MAX_ERRNO } from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { EngineMemory } from "./memory.js";

function isPages(n: number): boolean {
  return Number.isInteger(n) && n >= 0 && n <= 0xffffffff;
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
  #handle: number;

  /** @internal */
  constructor(engine: EngineMemory, ps: number, capacity: number) {
    if (!isPages(capacity) || capacity < 1) throw invalid("createCache", `capacity ${capacity} makes no sense`);
    this.#engine = engine;
    this.#ps = ps;
    const handle = engine.core.cacheCreate(ps, capacity);
    if (handle < 0 && handle >= -MAX_ERRNO) engine.check(handle, "createCache");
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
    this.#engine.check(n, "cache.count");
    return n;
  }

  /** At least `min` pages, and then as many as fit. ENOMEM (thrown) only below `min`; EINVAL above the capacity. */
  topUp(min: number): void {
    this.#engine.assertOpen("cache.topUp");
    if (!isPages(min)) throw invalid("cache.topUp", `${min} pages make no sense`);
    this.#engine.check(this.#engine.core.cacheTopUp(this.#handle, this.#ps, min), "cache.topUp");
  }

  /** Exactly `n` pages; false if the arena did not have them. */
  fill(n: number): boolean {
    this.#engine.assertOpen("cache.fill");
    if (!isPages(n)) throw invalid("cache.fill", `${n} pages make no sense`);
    const status = this.#engine.core.cacheFill(this.#handle, this.#ps, n);
    if (status === ENOMEM) return false;
    this.#engine.check(status, "cache.fill");
    return true;
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
