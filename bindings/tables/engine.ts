import * as K from "../core/constants.generated.js";
import { type Core, type CoreSource, compile, instantiate } from "../core/core.js";
import { GranuleError, invalid } from "../core/errors.js";
import { SubmissionView } from "../core/table-views.generated.js";
import { Words } from "../core/view.js";
import { type AddressLike, toAddress } from "../model/address.js";
import type { Granule } from "../model/granule.js";
import { granuleShift } from "../model/granule.js";
import { Batch } from "./batch.js";
import { PageCache } from "./cache.js";
import { Columns } from "./columns.js";
import { Hosts } from "./host.js";
import { type HypConfig, HypTable } from "./hyp.js";
import { Journal } from "./journal.js";
import { Results } from "./results.js";
import { type Stage2Config, Stage2Table } from "./stage2.js";
import type { TableTicket } from "./table.js";
import {
  type Burial,
  explainBreach,
  type LimboInfo,
  limboInfo,
  maySleep,
  type WalkerInfo,
  walkerInfo,
} from "./walkers.js";

/** How to make an engine. Every field has a default. */
export interface EngineOptions {
  /** Bytes for tables, a multiple of 1 MiB. Default 64 MiB; up to nearly 4 GiB. Only touched pages cost memory. */
  arenaBytes?: number;
  /** Physical address of the arena's first byte, a multiple of 1 MiB below 2^52. Default 0x8000_0000. */
  physBase?: AddressLike;
  /** Tables that can live at once. Default 256. */
  maxTables?: number;
  /**
   * Walkers that may work in it at once, 1..64: one for each thread, this one included [LCK-1]. Default 1, where nothing needs a
   * lock. With more, every table has a lock that operations take by themselves, and none may have hooks.
   */
  walkers?: number;
  /** Journal ring per walker, in records of 48 bytes; 0 (default) leaves no room for a journal. */
  journalRecords?: number;
  /** Touch every page of the arena now, so that no first access is paid for later. Default false. */
  pretouch?: boolean;
}

/** What was counted since the engine was made; names as in assembly/record/counters.ts. */
export type Counters = Record<(typeof K.COUNTER_NAMES)[number], number>;

/** The arena: bytes in all, bytes taken now, and the most that ever were. */
export interface ArenaUse {
  bytes: number;
  taken: number;
  peak: number;
}

const UNIT = 4096;
const WASM_PAGE = 65536;
const MAX_WASM_PAGES = 65536;
const FIXED_BYTES = 1 << 20;
const BUFFER_BYTES = 65536;

function wasmPages(options: Required<Omit<EngineOptions, "physBase">>): number {
  const metadata = (options.arenaBytes / UNIT) * (K.FRAME_BYTES + options.walkers * K.COUNT_BYTES);
  const walkers = options.walkers * (options.journalRecords * K.JOURNAL_BYTES + K.WALKER_BYTES);
  const rest = options.maxTables * K.TABLE_BYTES + walkers + FIXED_BYTES;
  return Math.ceil((options.arenaBytes + metadata + rest) / WASM_PAGE);
}

function isCount(n: number, min: number, max: number): boolean {
  return Number.isInteger(n) && n >= min && n <= max;
}

function complete(options: EngineOptions): Required<Omit<EngineOptions, "physBase">> {
  const o = { arenaBytes: 64 << 20, maxTables: 256, journalRecords: 0, walkers: 1, pretouch: false, ...options };
  if (!isCount(o.arenaBytes, K.ARENA_ALIGN, 2 ** 32) || o.arenaBytes % K.ARENA_ALIGN) {
    throw invalid("createEngine", `arenaBytes ${o.arenaBytes} is not a multiple of 1 MiB between 1 MiB and 4 GiB`);
  }
  if (!isCount(o.maxTables, 1, K.MAX_TABLES)) throw invalid("createEngine", `maxTables is 1..${K.MAX_TABLES}`);
  if (!isCount(o.journalRecords, 0, 2 ** 24)) throw invalid("createEngine", "journalRecords is 0..16777216");
  if (!isCount(o.walkers, 1, K.MAX_WALKERS)) throw invalid("createEngine", `walkers is 1..${K.MAX_WALKERS}`);
  if (wasmPages(o) > MAX_WASM_PAGES) {
    throw invalid("createEngine", "arena and its metadata do not fit the 4 GiB of a wasm32 memory: try 4000 MiB");
  }
  return o;
}

/**
 * One memory with its tables, caches, counters and journal.
 * Make one with `createEngine`; close it with `close()` or `using`.
 */
export class Engine implements Disposable {
  /** The linear memory; tables lie in it as real Arm tables. */
  readonly memory: WebAssembly.Memory;
  /** The core's exports, for those who want no facade. Handles and pointers are checked there. */
  readonly core: Core;
  /** What happened, when asked for. */
  readonly journal: Journal;
  /** Walkers that the engine was made for. */
  readonly walkerCount: number;
  /** Which of them this is; 0 is the one that made it. */
  readonly walker: number;
  /** Physical address of the arena's first byte. */
  readonly physBase: bigint;
  /** Pointer of the arena's first byte in `memory`. */
  readonly arenaPointer: number;
  /** Bytes of the arena. */
  readonly arenaBytes: number;
  /** @internal */
  readonly hosts: Hosts = new Hosts();
  /** @internal One submission record, for single operations. */
  readonly io: SubmissionView;
  /** @internal Bytes of a borrowed buffer. */
  readonly bufferBytes: number = BUFFER_BYTES;
  readonly #buffers: number[] = [];
  /** @internal The memory, for views of its records. */
  readonly words: Words;
  /** @internal What the last call answered. */
  readonly results: Results;
  #u32: Uint32Array;
  #u64: BigUint64Array;
  readonly #module: WebAssembly.Module;
  #closed = false;

  private constructor(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    begin: (core: Core) => number,
    operation: string,
  ) {
    this.memory = memory;
    this.#module = module;
    this.core = instantiate(module, memory, this.hosts);
    this.check(begin(this.core), operation);
    this.words = new Words(this.memory.buffer);
    this.#u32 = this.words.u32;
    this.#u64 = this.words.u64;
    this.results = new Results(this.words, this.core.resultPointer() >>> 0);
    this.core.engineInfo();
    const info = this.results.engine;
    this.arenaPointer = info.arena;
    this.arenaBytes = info.arenaBytes;
    this.physBase = info.physBase;
    this.walkerCount = info.walkers;
    this.walker = info.walker;
    this.io = new SubmissionView(this.words, this.takeBlock(UNIT));
    const buffer = this.takeBlock(BUFFER_BYTES);
    this.#buffers.push(buffer);
    this.core.entrust(this.io.at, buffer);
    this.journal = new Journal(this);
    this.hosts.explain = (rule, table) =>
      explainBreach(this.walkers(), this.walker, this.core.writerOfTable(table), rule, table);
  }

  /** @internal Use `createEngine`. */
  static make(source: CoreSource, options: EngineOptions = {}): Engine {
    const o = complete(options);
    const physBase = toAddress(options.physBase ?? 0x8000_0000n, "createEngine");
    const pages = wasmPages(o);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const begin = (core: Core) =>
      core.initialise(o.arenaBytes, physBase, o.maxTables, o.walkers, o.journalRecords) ||
      core.attach(0, maySleep() ? 1 : 0);
    const engine = new Engine(compile(source), memory, begin, "createEngine");
    if (o.pretouch) engine.#pretouch();
    return engine;
  }

  /** @internal Use `joinEngine`. */
  static join({ module, memory, walker }: EngineTicket): Engine {
    return new Engine(module, memory, (core) => core.attach(walker, maySleep() ? 1 : 0), "joinEngine");
  }

  /**
   * What another thread needs to join as walker `walker`: a value to post to a worker, for `joinEngine` there. EINVAL for a
   * walker that the engine was not made for.
   */
  ticket(walker: number): EngineTicket {
    this.assertOpen("ticket");
    if (!isCount(walker, 0, this.walkerCount - 1)) throw invalid("ticket", `walkers are 0..${this.walkerCount - 1}`);
    return { module: this.#module, memory: this.memory, walker };
  }

  /** The table of a ticket, to be used by this walker too. Its owner closes it. */
  adopt(ticket: TableTicket): Stage2Table | HypTable {
    this.assertOpen("adopt");
    return ticket.hyp ? HypTable.adopt(this, ticket) : Stage2Table.adopt(this, ticket);
  }

  /** Who is who among the walkers, and who reads what. */
  walkers(): WalkerInfo[] {
    this.assertOpen("walkers");
    return Array.from({ length: this.walkerCount }, (_, id) => walkerInfo(this.core, this.results.walker, id));
  }

  /** Frees what may go without waiting, and says what is left in limbo and who holds it up. */
  limbo(): LimboInfo {
    this.assertOpen("limbo");
    return limboInfo(this.core, this.results.limbo);
  }

  /**
   * Waits until every walker has left the section it is in, and frees every table that was unlinked before [LCK-10, IDE-3].
   * ETIMEDOUT (thrown) when one does not come on: `limbo().heldUpBy` says which; EDEADLK in a section of its own.
   */
  reclaim(): void {
    this.assertOpen("reclaim");
    this.check(this.core.reclaim(), "reclaim");
  }

  /**
   * Walker `id` is gone for good, its thread stopped: ends its section, lets go of its locks, gives its caches back, and makes
   * holes of the descriptors that it left locked. Says what it held. A pool does this by itself.
   *
   * @example
   * ```ts
   * import { createEngine, joinEngine } from "granule";
   * using engine = createEngine({ walkers: 2 });
   * using table = engine.createStage2();
   * joinEngine(engine.ticket(1)).adopt(table.ticket()).lock("read"); // and its thread dies
   * console.log(engine.bury(1).inSection, table.holders().readers.length); // true 0
   * ```
   */
  bury(id: number): Burial {
    this.assertOpen("bury");
    this.check(this.core.bury(id), "bury");
    const { inSection, unlocked, wroteTables, coreLocks } = this.results.burial;
    return { walker: id, inSection: inSection !== 0, unlocked, wroteTables, coreLocks };
  }

  /** Writes a zero to every page that nobody has taken yet. */
  #pretouch(): void {
    const untouched = Math.max(this.io.at, ...this.#buffers) + BUFFER_BYTES;
    new Uint8Array(this.memory.buffer, untouched, this.arenaPointer + this.arenaBytes - untouched).fill(0);
  }

  /** @internal A buffer of `bufferBytes` in the arena, for the time of one call or one iteration. */
  borrowBuffer(): number {
    return this.#buffers.pop() ?? this.takeBlock(BUFFER_BYTES);
  }

  /** @internal One stays for the next; more go back to the arena. */
  returnBuffer(pointer: number): void {
    if (this.#buffers.length > 0) {
      this.giveBlock(pointer);
    } else {
      this.#buffers.push(pointer);
      this.core.entrust(this.io.at, pointer); // the one that stays is the one that must not be lost
    }
  }

  /** The whole memory as 32-bit words. */
  get u32(): Uint32Array {
    return this.#u32;
  }

  /** The whole memory as 64-bit words. */
  get u64(): BigUint64Array {
    return this.#u64;
  }

  /** @internal Throws what a status says; what a hook threw comes first. */
  check(status: number, operation: string, address?: bigint): void {
    this.hosts.rethrow();
    if (status < 0) throw new GranuleError(status, address === undefined ? { operation } : { operation, address });
  }

  /** True once closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** @internal */
  assertOpen(operation: string): void {
    if (this.#closed) throw invalid(operation, "the engine is closed");
  }

  /**
   * A guest's stage-2 table.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * using engine = createEngine();
   * const table = engine.createStage2({ granule: 4096, ipaBits: 40 });
   * table.map(0x4000_0000, 2 << 20, 0x8000_0000, "rw");
   * console.log(table.leaf(0x4010_0000).level); // 2
   * ```
   */
  createStage2(config: Stage2Config = {}): Stage2Table {
    this.assertOpen("createStage2");
    return Stage2Table.make(this, config);
  }

  /**
   * The hypervisor's own stage-1 table.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * using engine = createEngine();
   * const hyp = engine.createHyp({ vaBits: 48 });
   * hyp.map(0x1000, 0x1000, 0x4000_0000, "rw");
   * console.log(hyp.unmap(0x1000, 0x1000)); // 4096n
   * ```
   */
  createHyp(config: HypConfig = {}): HypTable {
    this.assertOpen("createHyp");
    return HypTable.make(this, config);
  }

  /** A page cache for tables of `granule` [MC-1..8]; capacity 40 pages unless said otherwise. */
  createCache(granule: Granule = 4096, capacity: number = K.CACHE_CAPACITY): PageCache {
    this.assertOpen("createCache");
    return new PageCache(this, granuleShift(granule), capacity);
  }

  /** A buffer for `capacity` operations that run in one call. */
  createBatch(capacity = 1024): Batch {
    this.assertOpen("createBatch");
    return new Batch(this, capacity);
  }

  /** Columns in this memory for `capacity` pages, at most 61,680: for `leafColumns`, `mapColumns` and `relaxColumns`. */
  createColumns(capacity: number): Columns {
    this.assertOpen("createColumns");
    return new Columns(this, capacity);
  }

  /** A block of arena memory, zeroed, `bytes` rounded up to 4K << n, at most 1 MiB: for batches, columns and replaced allocators. */
  takeBlock(bytes: number): number {
    const order = Math.max(0, Math.ceil(Math.log2(bytes / UNIT)));
    const p = isCount(bytes, 1, UNIT << (K.ORDERS - 1)) ? this.core.takeBlock(order) >>> 0 : 0;
    if (p === 0) throw new GranuleError(K.ENOMEM, { operation: "takeBlock" });
    return p;
  }

  /** Gives a block of `takeBlock` back; EINVAL for anything else. */
  giveBlock(pointer: number): void {
    this.check(this.core.giveBlock(pointer), "giveBlock");
  }

  /** Everything counted so far, by all walkers or by `walker`. */
  counters(walker?: number): Counters {
    this.assertOpen("counters");
    const ids = walker === undefined ? Array.from({ length: this.walkerCount }, (_, id) => id) : [walker];
    const blocks = ids.map((id) => (this.core.counterPointer(id) >>> 0) / 8);
    if (blocks.includes(0)) throw invalid("counters", `walkers are 0..${this.walkerCount - 1}`);
    const counters = {} as Counters;
    K.COUNTER_NAMES.forEach((name, i) => {
      counters[name] = blocks.reduce((sum, at) => sum + Number(this.u64[at + i]), 0);
    });
    // The core counts barriers that stand alone; each TLBI sequence has its own [TLB-1..4].
    const byIpa = counters.tlbiIpa + counters.tlbiIpaLocal + counters.tlbiRange;
    const byVa = counters.tlbiVmid + counters.tlbiVa + counters.tlbiVaLast;
    counters.dsb += byIpa * K.IPA_SEQUENCE_DSB + byVa * K.VA_SEQUENCE_DSB;
    counters.isb += byIpa + byVa;
    return counters;
  }

  /** How full the arena is, in bytes. */
  arena(): ArenaUse {
    this.assertOpen("arena");
    this.core.engineInfo();
    const { taken, peak } = this.results.engine;
    return { bytes: this.arenaBytes, taken: taken * UNIT, peak: peak * UNIT };
  }

  /** The arena's bytes: the physical memory from `physBase` on, without a copy. */
  image(): Uint8Array {
    return new Uint8Array(this.memory.buffer, this.arenaPointer, this.arenaBytes);
  }

  /**
   * Lets go of everything; tables and caches of this engine are unusable afterwards. Twice is harmless. A walker that joined
   * gives back what is its own, and its place.
   */
  close(): void {
    if (!this.#closed && this.walkerCount > 1) this.#leave();
    this.#closed = true;
    this.#u32 = new Uint32Array(0);
    this.#u64 = new BigUint64Array(0);
  }

  #leave(): void {
    this.giveBlock(this.io.at);
    for (const buffer of this.#buffers) this.giveBlock(buffer);
    this.core.detach();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** An engine as another thread gets it; can be posted to a worker. */
export interface EngineTicket {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  walker: number;
}

/**
 * Joins the engine of a ticket as one of its walkers: an engine of its own on the same memory, on this thread. EBUSY (thrown)
 * if somebody is that walker already.
 *
 * @example
 * ```ts
 * import { createEngine, joinEngine } from "granule";
 * using engine = createEngine({ walkers: 2 });
 * using table = engine.createStage2();
 * using other = joinEngine(engine.ticket(1)); // on another thread, as a rule
 * const same = other.adopt(table.ticket());
 * same.map(0x4000, 4096, 0x8000, "rw", { shared: true, handleFault: true, cache: "own" });
 * console.log(table.countLeaves()); // 1
 * ```
 */
export function joinEngine(ticket: EngineTicket): Engine {
  return Engine.join(ticket);
}
