import { checkOptions, checkWord, describe, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { type Core, type CoreSource, compile } from "../core/core.js";
import { invalid } from "../core/errors.js";
import { HeaderView } from "../core/memory-views.generated.js";
import type { WasmMemory, WasmModule } from "../core/platform.js";
import { Words } from "../core/view.js";
import { type Granule, granuleShift } from "../model/granule.js";
import { Batch } from "./batch.js";
import { PageCache } from "./cache.js";
import { Columns } from "./columns.js";
import { type HypConfig, HypTable } from "./hyp.js";
import { Journal } from "./journal.js";
import { type EngineOptions, isCount, layoutOf } from "./layout.js";
import { EngineMemory, type EnginePlace } from "./memory.js";
import { type Stage2Config, Stage2Table } from "./stage2.js";
import { type AdoptOptions, checkTableTicket, type TableTicket } from "./ticket.js";
import {
  type Burial,
  explainBreach,
  type LimboInfo,
  limboInfo,
  maySleep,
  type WalkerInfo,
  walkersOf,
} from "./walkers.js";

/**
 * Tables with their memory, caches, counters and journal.
 * Make one with `createEngine`; close it with `close()` or `using`.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * const engine = createEngine({ arenaBytes: 4 << 20 });
 * const table = engine.createStage2();
 * table.map(0, 4096, 0, "rw");
 * console.log(engine.counters().leavesMade); // 1
 * engine.close();
 * ```
 */
export class Engine extends EngineMemory {
  /** What happened, when asked for. */
  readonly journal: Journal;
  readonly #module: WasmModule;

  private constructor(place: EnginePlace, begin: (core: Core) => number, operation: string) {
    super(place, begin, operation);
    this.#module = place.module;
    this.journal = new Journal(this);
    this.hosts.explain = (rule, table) =>
      explainBreach(walkersOf(this), this.walker, this.core.writerOfTable(table), rule, table);
  }

  /** @internal Use `createEngine`. */
  static make(source: CoreSource, options: EngineOptions): Engine {
    const module = compile(source, "createEngine");
    const layout = layoutOf(options);
    const { memory, base, arena, arenaBytes, physBase, maxTables, walkers, journalRecords } = layout;
    const begin = (core: Core) =>
      core.initialise(arena, arenaBytes, physBase, maxTables, walkers, journalRecords) ||
      core.attach(0, maySleep() ? 1 : 0);
    const life = newLife();
    const engine = new Engine({ module, memory, offset: base, id: idOf(life) }, begin, "createEngine");
    new HeaderView(engine.words, base).life = life;
    if (layout.pretouch) engine.pretouch();
    return engine;
  }

  /** @internal Use `joinEngine`. */
  static join(ticket: EngineTicket): Engine {
    const { memory, walker, offset, id } = checkEngineTicket(ticket);
    const { magic, self, life } = new HeaderView(new Words(memory.buffer), offset);
    if (magic !== K.MAGIC || self !== offset || life !== lifeOf(id)) {
      throw invalid("joinEngine", "the engine of this ticket is gone");
    }
    return new Engine(ticket, (core) => core.attach(walker, maySleep() ? 1 : 0), "joinEngine");
  }

  /**
   * What another thread needs to join as walker `walker`: a value to post to a worker, for `joinEngine` there. EINVAL for a
   * walker that the engine was not made for.
   */
  ticket(walker: number): EngineTicket {
    this.assertOpen("ticket");
    if (!isCount(walker, 0, this.walkerCount - 1)) throw invalid("ticket", `walkers are 0..${this.walkerCount - 1}`);
    return { module: this.#module, memory: this.memory, offset: this.offset, walker, id: this.id };
  }

  /**
   * The table of a ticket, to be used by this walker too. Its owner closes it. EINVAL for a ticket of another engine, or of a table
   * that is gone. A table with hooks wants all of them from each walker, EPERM names what is missing, or may sleep [LCK-15].
   */
  adopt(ticket: TableTicket, options: AdoptOptions = {}): Stage2Table<Engine> | HypTable<Engine> {
    this.assertOpen("adopt");
    checkTableTicket(ticket, this.id);
    return ticket.hyp
      ? HypTable.adopt<Engine>(this, ticket, options)
      : Stage2Table.adopt<Engine>(this, ticket, options);
  }

  /** Who is who among the walkers, and who reads what. */
  walkers(): WalkerInfo[] {
    this.assertOpen("walkers");
    return walkersOf(this);
  }

  /** Frees what may go without waiting, and says what is left in limbo and who holds it up. */
  limbo(): LimboInfo {
    this.assertOpen("limbo");
    return limboInfo(this);
  }

  /**
   * Waits until every walker has left the section it is in, and frees every table that was unlinked before [LCK-10, IDE-3].
   * ETIMEDOUT (thrown) when one makes no progress: `limbo().heldUpBy` says which; EDEADLK in a section of its own. Tables that call
   * functions which this walker has not brought are left to one that has.
   */
  reclaim(): void {
    this.assertOpen("reclaim");
    this.check(this.core.reclaim(), "reclaim");
  }

  /**
   * Walker `id` will not run again, its thread has ended: ends its section, releases its locks, gives its caches back, and makes
   * holes of the descriptors that it left locked. Says what it held. A pool does this by itself. EPERM (thrown) when it was writing
   * to a table that calls functions which this walker has not brought: one that has them can bury it.
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
    this.check(this.core.bury(checkWord("bury", "walker", id)), "bury", (errno) => {
      if (errno === K.EBUSY) return `walker ${id} is being buried by another walker`;
      if (errno !== K.EINVAL) return undefined;
      if (id >= this.walkerCount) return `there is no walker ${id}: walkers are 0..${this.walkerCount - 1}`;
      return id === this.walker ? `walker ${id} is this one` : `walker ${id} is not attached: there is nothing to bury`;
    });
    const { inSection, unlocked, wroteTables, coreLocks } = this.results.burial;
    return { walker: id, inSection: inSection !== 0, unlocked, wroteTables, coreLocks };
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
  createStage2(config: Stage2Config = {}): Stage2Table<Engine> {
    this.assertOpen("createStage2");
    return Stage2Table.make<Engine>(this, config);
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
  createHyp(config: HypConfig = {}): HypTable<Engine> {
    this.assertOpen("createHyp");
    return HypTable.make<Engine>(this, config);
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
}

/** A number that no other engine of this memory has, as far as chance goes. */
function newLife(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

const LIFE_END = "-";

/** A name that no other engine has, in this thread or another. */
function idOf(life: number): string {
  return life.toString(36) + LIFE_END + Math.random().toString(36).slice(2);
}

function lifeOf(id: string): number {
  return Number.parseInt(id.slice(0, id.indexOf(LIFE_END)), 36);
}

/** An engine as another thread gets it; can be posted to a worker. */
export interface EngineTicket {
  /** The compiled core. */
  module: WasmModule;
  /** The memory that all walkers share. */
  memory: WasmMemory;
  /** Pointer of the engine's first byte in `memory`. */
  offset: number;
  /** Which walker its receiver becomes. */
  walker: number;
  /** Which engine it is: tickets of its tables say the same. */
  id: string;
}

const TICKET: OptionKinds<EngineTicket> = {
  module: "object",
  memory: "object",
  offset: "number",
  walker: "number",
  id: "any",
};

function checkEngineTicket(ticket: EngineTicket): EngineTicket {
  const { module, memory, offset, walker, id } = checkOptions("joinEngine", ticket, TICKET);
  if (!(module instanceof WebAssembly.Module) || !(memory instanceof WebAssembly.Memory) || typeof id !== "string") {
    throw invalid("joinEngine", "this is not a ticket: `engine.ticket(walker)` makes one");
  }
  if (!isCount(offset, 0, memory.buffer.byteLength - K.HEADER_BYTES) || offset % K.HEADER_BYTES) {
    throw invalid("joinEngine", `the ticket's offset is ${describe(offset)}`);
  }
  if (!isCount(walker, 0, K.MAX_WALKERS - 1)) throw invalid("joinEngine", `the ticket's walker is ${describe(walker)}`);
  return ticket;
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
