import { checkChoice, checkFunction, checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { GranuleError, invalid } from "../core/errors.js";
import { span } from "../core/granule.js";
import { ScanRecordView } from "../core/table-views.generated.js";
import { Words } from "../core/view.js";
import { type AddressLike, type Ipa, type Like, type Pa, type SizeLike, toAddress, type Va } from "../model/address.js";
import type { Granule } from "../model/granule.js";
import { Columns, checkColumns } from "./columns.js";
import { decodeEntry, type Entry, entryStart, type Format } from "./entry.js";
import { assertPrompt, checkBrought, hostOf, type TableFunctions } from "./hooks.js";
import type { TableHost, VisitInProgress } from "./host.js";
import type { EntryOptions, Range, TableInfo } from "./info.js";
import type { EngineMemory } from "./memory.js";
import { type CacheOption, cacheHandle } from "./options.js";
import { type Asked, askedOf, isPartial, partial, refusal, unmade } from "./refusal.js";
import { ADOPT, type AdoptOptions, type TableTicket } from "./ticket.js";
import {
  emptyRun,
  type RunVisitor,
  runVisitor,
  Visit,
  type Visitor,
  type WalkOptions,
  walkFlags,
  walkVisitor,
} from "./visitor.js";
import { walkersOf } from "./walkers.js";

export type { EntryOptions, Outcome, Range, TableInfo } from "./info.js";

/** Rows that a copied column goes through at once. */
const COLUMN = 2048;

const SCAN: OptionKinds<EntryOptions> = {
  from: "address",
  to: "address",
  tables: "boolean",
  holes: "boolean",
  root: "any",
};

/**
 * What stage-1 and stage-2 tables have in common. `E` is what the table knows of its engine, `A` the space of its input
 * addresses.
 *
 * @example
 * ```ts
 * import { createEngine, type Table } from "granule";
 * const pagesOf = (table: Table) => table.info().pages;
 * using engine = createEngine();
 * console.log(pagesOf(engine.createHyp())); // 1
 * ```
 */
export abstract class Table<E extends EngineMemory = EngineMemory, A extends Ipa | Va = Ipa | Va>
  implements Disposable
{
  /** The engine that it lives in. */
  readonly engine: E;
  /** Page size in bytes. */
  readonly granule: Granule;
  /** @internal */
  readonly format: Format;
  /** Are ranges refused that are not of whole pages? */
  readonly strict: boolean;
  /** @internal The bits of an address that whole pages have not, of a strict table; 0 otherwise. */
  readonly rest: number;
  /** Is this a hypervisor stage-1 table? */
  abstract readonly isHyp: boolean;
  #handle = 0;
  #owned = false;
  #hooks = 0;

  /** @internal */
  protected constructor(engine: E, granule: Granule, format: Format, strict: boolean) {
    this.engine = engine;
    this.granule = granule;
    this.format = format;
    this.strict = strict;
    this.rest = strict ? granule - 1 : 0;
  }

  /** @internal Makes the table with its hooks in place. */
  protected create(functions: TableFunctions, make: (mask: number) => number, operation: string, vtcr?: bigint): void {
    const { hosts } = this.engine;
    const host = hostOf(this.engine, operation, functions);
    if (host.mask !== 0) assertPrompt(this.engine, operation, functions.maySleep);
    hosts.pending = host;
    const handle = make(host.mask);
    hosts.pending = undefined;
    this.engine.check(handle, operation, (errno) => unmade(this.engine, this.granule, errno, vtcr));
    this.#handle = handle;
    this.#owned = true;
    this.#hooks = host.mask;
    hosts.tables.set(handle, host);
  }

  /** @internal Works on a table that another walker owns; `force`: its function for that, as the core calls it. */
  protected borrow({ handle, hooks }: TableTicket, brought: AdoptOptions, force?: TableHost["forcePte"]): void {
    const { hosts } = this.engine;
    checkOptions("adopt", brought, ADOPT);
    this.engine.check(this.engine.core.tableInfo(handle), "adopt", () => "the ticket's table is gone");
    // A slot that another table has taken since looks different, unless that one is of the same make.
    if (this.engine.results.table.flags !== this.format.flags) throw invalid("adopt", "the ticket is of another table");
    const host = hostOf(this.engine, "adopt", brought);
    const brings = host.mask !== 0 || force !== undefined;
    if (brings) assertPrompt(this.engine, "adopt", brought.maySleep);
    // Without functions: those that this walker has already, having made the table or adopted it before.
    if (brings || !hosts.tables.has(handle)) checkBrought(host, hooks);
    if (brings) hosts.tables.set(handle, force ? { ...host, forcePte: force } : host);
    this.#handle = handle;
    this.#hooks = hooks;
  }

  /** @internal */
  protected ticketOf(): Omit<TableTicket, "vtcr"> {
    this.assertUsable("ticket");
    return {
      engine: this.engine.id,
      hyp: this.isHyp,
      handle: this.#handle,
      granule: this.granule,
      format: this.format,
      strict: this.strict,
      hooks: this.#hooks,
    };
  }

  /**
   * What another walker of the same engine needs to use this table: a value to post to a worker, for `engine.adopt` there.
   *
   * @example
   * ```ts
   * import { createEngine, joinEngine } from "granule";
   * using engine = createEngine({ walkers: 2 });
   * using table = engine.createStage2();
   * using other = joinEngine(engine.ticket(1)); // on another thread, as a rule
   * other.adopt(table.ticket()).map(0x1000, 4096, 0x9000, "rw", { shared: true });
   * console.log(table.leaf(0x1000).kind); // page
   * ```
   */
  abstract ticket(): TableTicket;

  /**
   * Holds the table's lock over several operations, until the result is disposed of: `"write"` keeps everybody out, `"read"`
   * keeps writers out. Operations take it by themselves; hold it where two of them must not be parted, a write protection and
   * its flush for instance [LCK-3]. EDEADLK (thrown) where this walker would wait for itself, ETIMEDOUT when the holder is gone.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * using engine = createEngine({ walkers: 2 });
   * using table = engine.createStage2();
   * {
   *   using _held = table.lock("write");
   *   table.wrprotect(0, 1 << 21);
   *   table.flushTlbRange(0, 1 << 21);
   * }
   * console.log(table.holders().writer); // undefined
   * ```
   */
  lock(mode: "read" | "write"): Disposable {
    this.assertUsable("lock");
    checkChoice("lock", "the mode", mode, ["read", "write"]);
    const { engine } = this;
    const exclusive = mode === "write" ? 1 : 0;
    engine.check(engine.core.lockTable(this.#handle, exclusive), "lock");
    return {
      [Symbol.dispose]: () => {
        if (!engine.closed) engine.check(engine.core.unlockTable(this.#handle, exclusive), "unlock");
      },
    };
  }

  /** Who holds the table's lock now: the walker that writes, or is about to, and those that read. */
  holders(): {
    /** The walker that holds it for writing. */
    writer: number | undefined;
    /** The walkers that hold it for reading. */
    readers: number[];
  } {
    this.assertUsable("holders");
    const { engine } = this;
    const writer = engine.core.writerOfTable(this.#handle);
    const readers = walkersOf(engine).filter((w) => w.reads === this.#handle);
    return { writer: writer < 0 ? undefined : writer, readers: readers.map(({ id }) => id) };
  }

  /** The core's name of the table; 0 once closed. */
  get handle(): number {
    return this.#handle;
  }

  /** @internal One operation: numbers as they are, bigints through the engine's submission record. Both run the same operation of the core. */
  perform(
    op: number,
    name: string,
    addr: AddressLike,
    size: AddressLike,
    phys: AddressLike,
    prot = 0,
    flags = 0,
    cache: CacheOption = undefined,
    level = 0,
  ): number {
    const { engine } = this;
    this.assertUsable(name, level);
    const from = cacheHandle(cache, engine, name);
    let status: number;
    if (typeof addr === "number" && typeof size === "number" && typeof phys === "number") {
      if (isPartial(op, this.rest, addr, size, phys)) throw partial(this.granule, op, name, addr, size, phys);
      status = engine.core.call(op, this.#handle, flags, from, addr, size, phys, prot, level);
    } else {
      status = this.#submit(op, name, addr, size, phys, prot, flags, from, level);
    }
    engine.hosts.rethrow();
    if (status < 0 && status !== K.EAGAIN) {
      throw this.refused(status, name, askedOf(op, name, addr, size, phys, prot, cache, level));
    }
    return status;
  }

  #submit(
    op: number,
    name: string,
    addr: AddressLike,
    size: AddressLike,
    phys: AddressLike,
    prot: number,
    flags: number,
    cache: number,
    level: number,
  ): number {
    const { io, core } = this.engine;
    io.address = toAddress(addr, name);
    io.size = toAddress(size, name);
    io.phys = toAddress(phys, name);
    if (isPartial(op, this.rest, io.addressLow, io.sizeLow, io.physLow)) {
      throw partial(this.granule, op, name, addr, size, phys);
    }
    io.op = op;
    io.flags = flags;
    io.table = this.#handle;
    io.cache = cache;
    io.prot = prot;
    io.level = level;
    core.submit(io.at, 1, 0);
    return io.status;
  }

  /** @internal The error of a status: the values that the operation was asked, and the limit that one of them broke. */
  protected refused(status: number, operation: string, asked: Asked): GranuleError {
    const hint = refusal(this, status, asked);
    const { address } = asked;
    return new GranuleError(status, hint === undefined ? { operation, address } : { operation, address, hint });
  }

  /** @internal Is the table there, and `integer` one that the core takes as it is? EINVAL otherwise. */
  protected assertUsable(operation: string, integer = 0): void {
    if (this.#handle === 0) throw invalid(operation, "the table is closed");
    this.engine.assertOpen(operation);
    if ((integer | 0) !== integer) throw invalid(operation, `${integer} is no 32-bit integer`);
  }

  /** @internal What the last `perform` answered: a descriptor, a count or bytes. */
  protected performed(): bigint {
    return this.engine.results.answer.value;
  }

  /** Geometry and use. */
  info(): TableInfo {
    const { engine } = this;
    this.assertUsable("info");
    engine.check(engine.core.tableInfo(this.#handle), "info");
    const { root, startLevel, rootPages, inputBits, outputBits, pages, peak } = engine.results.table;
    const rootPa = (root === 0 ? 0n : engine.physBase + BigInt(root - engine.arenaPointer)) as Pa;
    return { granule: this.granule, startLevel, rootPages, rootPa, inputBits, outputBits, pages, peakPages: peak };
  }

  /**
   * The leaf that translates `addr`, or the hole or annotation where the walk ends [WLK-14]. ERANGE beyond the input space.
   */
  leaf(addr: Like<A>): Entry<A> {
    this.perform(K.OP_GET_LEAF, "leaf", addr, 0, 0);
    const { engine, format } = this;
    const { answer } = engine.results;
    const { level } = answer;
    return decodeEntry(engine, format, entryStart(addr, format.ps, level) as A, answer.value, level);
  }

  /**
   * Where the byte at `address` goes: its physical address as a number, or -1 where no leaf maps it. The call for loops: no object, no
   * bigint, no exception. `address` is a number below 2^53; -34 (ERANGE) beyond the input space, -22 (EINVAL) for what is no
   * address, or once closed. With other walkers it takes what `leaf` takes, and can be -110 (ETIMEDOUT) [WLK-14].
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * using engine = createEngine();
   * const table = engine.createStage2();
   * table.map(0x4000_0000, 2 << 20, 0x8000_0000, "rw");
   * console.log(table.lookup(0x4001_2345).toString(16), table.lookup(0)); // 80012345 -1
   * ```
   */
  lookup(address: number): number {
    const { engine } = this;
    if (typeof address !== "number" || engine.closed) return K.EINVAL;
    return engine.core.lookup(this.#handle, address);
  }

  /**
   * Leaves of many addresses in one call: 64-bit columns in, 64-bit columns and levels out. Level -128 marks an
   * address beyond the input space. `addresses` and `leaves` may be the same array.
   */
  leaves64(addresses: BigUint64Array, leaves: BigUint64Array, levels: Int8Array): void {
    const n = addresses.length;
    if (leaves.length < n || levels.length < n) throw invalid("leaves64", "the result columns are too short");
    using columns = new Columns(this.engine, COLUMN);
    for (let from = 0; from < n; from += COLUMN) {
      const rows = Math.min(COLUMN, n - from);
      columns.addresses.set(addresses.subarray(from, from + rows));
      this.leafColumns(columns, rows);
      leaves.set(columns.values.subarray(0, rows), from);
      levels.set(columns.statuses.subarray(0, rows), from);
    }
  }

  /**
   * Leaves of the first `n` addresses of the columns, in place: descriptors to `values`, levels to `statuses`
   * (-128 beyond the input space). The quickest form: some 7 ns an address.
   */
  leafColumns(columns: Columns, n: number): void {
    this.assertUsable("leafColumns");
    const { core } = this.engine;
    checkColumns("leafColumns", columns).run(this.engine, "leafColumns", n, (addresses, values, levels) => {
      const status = core.getLeaves(this.#handle, addresses, values, levels, n);
      return status < 0 ? status : n;
    });
  }

  /** Valid leaves, in order of address: blocks and pages. The table must not change meanwhile. */
  *leaves(range: Range<A> = {}): IterableIterator<Entry<A>> {
    for (const entry of this.entries(range)) if (entry.descriptor & 1n) yield entry;
  }

  /** All entries that are not empty, in order of address; parents before children with `tables`. */
  *entries(options: EntryOptions<A> = {}): IterableIterator<Entry<A>> {
    const { engine, format } = this;
    for (const r of this.scan(options)) {
      yield decodeEntry(engine, format, r.address as A, r.descriptor, r.level, r.references, r.entries);
    }
  }

  /** @internal Records of the entries that are not empty, one view for all: each is valid until the next. */
  *scan(options: EntryOptions<A> = {}): IterableIterator<ScanRecordView> {
    checkOptions("entries", options, SCAN);
    this.assertUsable("entries");
    const root = options.root ?? { pointer: 0, level: 0 };
    const end = options.to === undefined ? this.#end(options.root) : toAddress(options.to, "entries");
    const what = (options.tables ? K.SCAN_TABLES : 0) | (options.holes ? K.SCAN_HOLES : 0);
    let cursor = toAddress(options.from ?? 0, "entries");
    let level = -2;
    for (;;) {
      const { words, records, more } = this.#scanOnce(root, cursor, level, end, what);
      const record = new ScanRecordView(words);
      for (let i = 0; i < records; i++) {
        record.at = i * ScanRecordView.BYTES;
        yield record;
        this.assertUsable("entries"); // the caller may have closed it
      }
      if (!more) return;
      level = record.level;
      const skipped = BigInt(record.entries - 1) * span(this.format.ps, level);
      cursor = record.address + skipped;
    }
  }

  /** The next records behind a cursor, copied: an iteration that is dropped half way leaves nothing in the arena. */
  #scanOnce(
    root: { pointer: number; level: number },
    cursor: bigint,
    level: number,
    end: bigint,
    what: number,
  ): { words: Words; records: number; more: boolean } {
    this.assertUsable("entries");
    const { engine } = this;
    const { core, bufferBytes } = engine;
    const buffer = engine.borrowBuffer();
    try {
      const max = bufferBytes / ScanRecordView.BYTES;
      const status = core.scan(this.#handle, root.pointer, root.level, cursor, level, end, what, buffer, max);
      if (status < 0) throw this.refused(status, "entries", { address: cursor, size: end - cursor });
      const { records, more } = engine.results.scanEnd;
      const bytes = engine.u32.slice(buffer / 4, (buffer + records * ScanRecordView.BYTES) / 4).buffer;
      return { words: new Words(bytes), records, more: more !== 0 };
    } finally {
      engine.returnBuffer(buffer);
    }
  }

  #end(root: EntryOptions["root"]): bigint {
    if (root) return span(this.format.ps, root.level - 1);
    return 1n << BigInt(this.info().inputBits);
  }

  /** Valid leaves of [addr, addr + size): a LEAF walk with the built-in counting visitor. */
  countLeaves(addr: Like<A> = 0, size?: SizeLike): number {
    const bytes = size ?? (1n << BigInt(this.info().inputBits)) - toAddress(addr, "countLeaves");
    this.perform(K.OP_COUNT_LEAVES, "countLeaves", addr, bytes, 0);
    return Number(this.performed());
  }

  /**
   * Walks [addr, addr + size) with a visitor of your own: one call per visit, with a context that can read, break,
   * make and set [WLK-4, WLK-5]. A visitor ends the walk by returning a negative errno; "again" (-11) only ends it
   * with `handleFault`. Returns the last status.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * using engine = createEngine();
   * const table = engine.createStage2();
   * table.map(0, 3 * 4096, 0, "r");
   * let pages = 0;
   * table.walk(0, 8 * 4096, (visit) => { if (visit.old & 1n) pages++; });
   * console.log(pages); // 3
   * ```
   */
  walk(addr: Like<A>, size: SizeLike, visitor: Visitor<A>, options: WalkOptions = {}): number {
    this.assertUsable("walk");
    const { engine } = this;
    const range = { at: toAddress(addr, "walk"), bytes: toAddress(size, "walk") };
    const flags = walkFlags(options);
    const cache = cacheHandle(options.cache, engine, "walk");
    const context = new Visit<A>(engine, this.format);
    const visit = walkVisitor(context, checkFunction("walk", "the visitor", visitor));
    return this.#walkOutside(range, flags, cache, { table: this.#handle, visit, context });
  }

  /**
   * Reads [addr, addr + size) with a visitor of your own that gets whole runs of entries: one call for up to a table page of
   * them, where `walk` makes a call for each. The visitor only reads. It ends the walk by returning a negative errno, which
   * `walkRuns` then returns. With several walkers the table is locked for writing meanwhile, so that no entry changes.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * using engine = createEngine();
   * const table = engine.createStage2({ forcePte: "all" });
   * table.map(0x3000, 3 * 4096, 0, "r");
   * table.walkRuns(0, 16 * 4096, ({ words, count, address, entryBytes }) => {
   *   for (let i = 0; i < count; i++) {
   *     if ((words[2 * i] as number) & 1) console.log((address + BigInt(i * entryBytes)).toString(16)); // 3000 4000 5000
   *   }
   * });
   * ```
   */
  walkRuns(addr: Like<A>, size: SizeLike, visitor: RunVisitor<A>): number {
    this.assertUsable("walkRuns");
    const { engine } = this;
    const range = { at: toAddress(addr, "walkRuns"), bytes: toAddress(size, "walkRuns") };
    const context = emptyRun<A>();
    const checked = checkFunction("walkRuns", "the visitor", visitor);
    const visit = runVisitor(engine.memory, this.format.ps, context, checked);
    return this.#walkOutside(range, K.LEAF | K.RUNS, K.CACHE_NONE, { table: this.#handle, visit, context });
  }

  #walkOutside(
    { at, bytes }: { at: bigint; bytes: bigint },
    flags: number,
    cache: number,
    walk: VisitInProgress,
  ): number {
    const { core, hosts } = this.engine;
    hosts.visits.push(walk);
    let status: number;
    try {
      status = core.walkOutside(this.#handle, at, bytes, flags, cache);
    } finally {
      hosts.visits.pop();
    }
    hosts.rethrow();
    return status;
  }

  /** Writes a descriptor where the translation of `addr` ends; nothing is flushed. For tests and foreign images. */
  poke(
    addr: Like<A>,
    descriptor: bigint,
  ): {
    /** The descriptor that was there. */
    old: bigint;
    /** Level of the entry. */
    level: number;
  } {
    this.assertUsable("poke");
    const { engine } = this;
    const at = toAddress(addr, "poke");
    const status = engine.core.poke(this.#handle, at, toAddress(descriptor, "poke"));
    if (status < 0) throw this.refused(status, "poke", { address: at });
    const { value, level } = engine.results.answer;
    return { old: value, level };
  }

  /**
   * Frees all tables; the object stays and every further operation is an EINVAL. Twice is harmless [S2-27, S1-7]. EBUSY (thrown)
   * from within a visitor or hook of this table: its walk still needs the table.
   */
  destroy(): void {
    this.engine.hosts.assertIdle("destroy", this.#handle);
    this.perform(K.OP_DESTROY, "destroy", 0, 0, 0);
  }

  /** Destroys, and gives the handle back; a table that was adopted is only let go of. EBUSY as of `destroy`. */
  close(): void {
    if (this.#handle === 0 || this.engine.closed) return;
    this.engine.hosts.assertIdle("close", this.#handle);
    if (this.#owned) {
      this.destroy();
      this.engine.core.releaseTable(this.#handle);
      this.engine.hosts.tables.delete(this.#handle);
    }
    this.#handle = 0;
  }

  /** The same as {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
