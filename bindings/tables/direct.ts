import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import type { EngineMemory } from "./memory.js";
import { type CacheOption, cacheHandle, type LeafShareOptions, type MapOptions, mapFlags } from "./options.js";
import { isPartial } from "./refusal.js";

/** How the calls of a `direct` object share their table, and where tables come from: said once, for all of its calls. */
export interface DirectOptions extends LeafShareOptions {
  /** Where tables come from. Default: the arena. */
  cache?: CacheOption;
  /** Maps handle faults: a lost race, or nothing to do, ends the walk and is -11. Default false: skipped [WLK-10]. */
  handleFault?: boolean;
}

const OPTIONS: OptionKinds<DirectOptions> = {
  shared: "boolean",
  lockFree: "boolean",
  cache: "any",
  handleFault: "boolean",
};

/** @internal What the calls need of their table. */
export interface DirectTable {
  readonly engine: EngineMemory;
  readonly handle: number;
  readonly rest: number;
}

/** Operations of one table on plain numbers: no object, no bigint, no exception for what a caller may expect. */
abstract class Direct {
  readonly #table: DirectTable;
  readonly #memory: EngineMemory;
  readonly #rest: number;

  /** @internal */
  protected constructor(table: DirectTable) {
    this.#table = table;
    this.#memory = table.engine;
    this.#rest = table.rest;
  }

  /** @internal The status of one operation. What a hook threw is thrown here. */
  protected call(
    op: number,
    flags: number,
    cache: number,
    address: number,
    size: number,
    phys: number,
    prot: number,
    level: number,
  ): number {
    const memory = this.#memory;
    // Other types would become some number on their way into Wasm.
    if (typeof address !== "number" || typeof size !== "number" || typeof phys !== "number") return K.EINVAL;
    if ((prot | 0) !== prot || memory.closed) return K.EINVAL;
    if (isPartial(op, this.#rest, address, size, phys)) return K.EINVAL;
    const status = memory.core.call(op, this.#table.handle, flags, cache, address, size, phys, prot, level);
    memory.hosts.rethrow();
    return status;
  }

  /** @internal The number that the last operation answered, below 2^53. */
  protected answered(): number {
    const { valueLow, valueHigh } = this.#memory.results.answer;
    return valueHigh * 2 ** 32 + valueLow;
  }
}

/**
 * A guest's table, one call after the other on plain numbers, as an emulator's or a VMM's loop makes them: `table.direct`, or
 * `table.createDirect` for calls that share the table. Addresses and sizes are bytes as numbers below 2^53, which every address of
 * stage 2 is; protections are masks of `Prot`. Each call does what the method of the same name on the table does, on the same path in the
 * core, and returns its status: 0 or more, or a negative errno (`errnoName`). -22 (EINVAL) for a number that is no address, for a
 * range that is not of whole pages where the method refuses it too (`strict`), and for a closed table; nothing has changed then. Only
 * what a hook throws is thrown.
 *
 * @example
 * ```ts
 * import { createEngine, Prot } from "granule";
 * using engine = createEngine();
 * const { direct } = engine.createStage2();
 * console.log(direct.map(0x4000_0000, 0x1000, 0x8000_0000, Prot.R)); // 0
 * console.log(direct.relaxPerms(0x4000_0123, Prot.W), direct.relaxPerms(0x5000_0000, Prot.W)); // 0 -11
 * ```
 */
export class Stage2Direct extends Direct {
  readonly #mapFlags: number;
  readonly #rangeFlags: number;
  readonly #leafFlags: number;
  readonly #cache: number;

  /** @internal Use `table.direct` or `table.createDirect`. */
  constructor(table: DirectTable, options: DirectOptions = {}) {
    super(table);
    const { shared, lockFree, cache, handleFault } = checkOptions("createDirect", options, OPTIONS);
    this.#rangeFlags = shared ? K.SHARED : 0;
    this.#leafFlags = this.#rangeFlags | (lockFree ? K.LOCK_FREE : 0);
    this.#mapFlags = mapFlags({ shared, handleFault } as MapOptions);
    this.#cache = cacheHandle(cache, table.engine, "createDirect");
  }

  /** As `Stage2Table.map`: 0; -11 (with `handleFault`: nothing to do, or a lost race), -12 when tables run out, -22, -34 [S2-2..7]. */
  map(ipa: number, size: number, pa: number, prot: number): number {
    return this.call(K.OP_MAP, this.#mapFlags, this.#cache, ipa, size, pa, prot, 0);
  }

  /** As `Stage2Table.unmap`: 0, -22, -34. Never shared: with several walkers it has the table to itself [S2-10, S2-11]. */
  unmap(ipa: number, size: number): number {
    return this.call(K.OP_UNMAP, 0, K.CACHE_ARENA, ipa, size, 0, 0, 0);
  }

  /** As `Stage2Table.relaxPerms`: 0; -11 if nothing is mapped, or after a lost race; -22, -34 [S2-17]. */
  relaxPerms(ipa: number, prot: number): number {
    return this.call(K.OP_RELAX_PERMS, this.#leafFlags, K.CACHE_ARENA, ipa, 0, 0, prot, 0);
  }

  /** As `Stage2Table.mkyoung`: 0; -11 if nothing is mapped, or after a lost race; -34 [S2-15]. */
  mkyoung(ipa: number): number {
    return this.call(K.OP_MKYOUNG, this.#leafFlags, K.CACHE_ARENA, ipa, 0, 0, 0, 0);
  }

  /** As `Stage2Table.wrprotect`: 0, -22, -34; flush afterwards [S2-14]. */
  wrprotect(ipa: number, size: number): number {
    return this.call(K.OP_WRPROTECT, this.#rangeFlags, K.CACHE_ARENA, ipa, size, 0, 0, 0);
  }

  /** As `Stage2Table.testClearYoung`: 1 if a leaf of the range was accessed, else 0; -22, -34 [S2-16]. */
  testClearYoung(ipa: number, size: number, clear: boolean): number {
    return this.call(K.OP_TEST_CLEAR_YOUNG, this.#rangeFlags, K.CACHE_ARENA, ipa, size, 0, 0, clear ? 1 : 0);
  }

  /** As `Stage2Table.split`, with tables from the cache of this object: 0, -12, -22, -34 [S2-26]. */
  split(ipa: number, size: number): number {
    return this.call(K.OP_SPLIT, this.#rangeFlags, this.#cache, ipa, size, 0, 0, 0);
  }

  /** As `Stage2Table.flushTlbRange`: 0, -22, -34 [TLB-3, TLB-11]. */
  flushTlbRange(ipa: number, size: number): number {
    return this.call(K.OP_TLB_FLUSH_RANGE, 0, K.CACHE_ARENA, ipa, size, 0, 0, 0);
  }
}

/**
 * The hypervisor's own table on plain numbers: `table.direct`, or `table.createDirect` with a cache. As `Stage2Direct`; VAs of such a table
 * start at 0, so numbers below 2^53 reach all of the input of up to 53 bits.
 *
 * @example
 * ```ts
 * import { createEngine, Prot } from "granule";
 * using engine = createEngine();
 * const { direct } = engine.createHyp();
 * direct.map(0x1000, 0x2000, 0x8000_0000, Prot.R | Prot.W);
 * console.log(direct.unmap(0x1000, 0x2000)); // 8192
 * ```
 */
export class HypDirect extends Direct {
  readonly #cache: number;

  /** @internal Use `table.direct` or `table.createDirect`. */
  constructor(table: DirectTable, options: Pick<DirectOptions, "cache"> = {}) {
    super(table);
    this.#cache = cacheHandle(
      checkOptions("createDirect", options, { cache: "any" }).cache,
      table.engine,
      "createDirect",
    );
  }

  /** As `HypTable.map`: 0; -12 when tables run out; -17 over a block and -22 over a page that maps something else; -22, -34 [S1-1..5]. */
  map(va: number, size: number, pa: number, prot: number): number {
    return this.call(K.OP_HYP_MAP, 0, this.#cache, va, size, pa, prot, 0);
  }

  /** As `HypTable.unmap`: the bytes unmapped, or -22, -34 [S1-6]. */
  unmap(va: number, size: number): number {
    const status = this.call(K.OP_HYP_UNMAP, 0, K.CACHE_ARENA, va, size, 0, 0, 0);
    return status < 0 ? status : this.answered();
  }
}
