import { checkNow, checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import { shift } from "../core/granule.js";
import type { WasmMemory } from "../core/platform.js";
import { type Ipa, toAddress, type Va } from "../model/address.js";
import { type EntryKind, type Format, kindOf } from "./entry.js";
import { join, type RawVisit } from "./host.js";
import type { EngineMemory } from "./memory.js";
import type { CacheOption } from "./options.js";

/** When a visit happens: at an entry that is no table, at a table before its entries, at a table after them [WLK-5]. */
export type Phase = "leaf" | "pre" | "post";

/** Which visits to make, and how to walk. */
export interface WalkOptions {
  /** Visit entries that are no tables, empty ones too. Default true. */
  leaf?: boolean;
  /** Visit tables before their entries. Default false. */
  tablePre?: boolean;
  /** Visit tables after their entries. Default false. */
  tablePost?: boolean;
  /** Walk as one of several walkers: every change is a compare-exchange. Default false: exclusive. */
  shared?: boolean;
  /** A visitor's EAGAIN ends the walk and is reported. Default false: the walk goes on [WLK-10]. */
  handleFault?: boolean;
  /** `tryBreak` issues no TLBI. Only for tables that nothing walks yet. Default false. */
  skipBreakTlbi?: boolean;
  /** No cache maintenance for what is made. Default false. */
  skipCacheMaintenance?: boolean;
  /**
   * May the visitor wait for something? In a shared walk it runs in a read section, as one of several walkers: one that may
   * sleep is refused there, with status EPERM [LCK-15]. Default true.
   */
  maySleep?: boolean;
  /** Where `newTable` takes pages. Default: the arena. */
  cache?: CacheOption;
}

const OPTIONS: OptionKinds<WalkOptions> = {
  leaf: "boolean",
  tablePre: "boolean",
  tablePost: "boolean",
  shared: "boolean",
  handleFault: "boolean",
  skipBreakTlbi: "boolean",
  skipCacheMaintenance: "boolean",
  maySleep: "boolean",
  cache: "any",
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Called for each visit. The walk continues after nothing or 0, and ends after a negative errno. */
export type Visitor<A extends Ipa | Va = Ipa | Va> = (visit: Visit<A>) => number | void;

/**
 * Neighbouring entries of one table page, none of them a table: pages, blocks, holes and annotations. One object serves the whole
 * walk: keep values, not the object.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * using engine = createEngine();
 * const table = engine.createStage2({ forcePte: "all" });
 * table.map(0, 2 << 20, 0, "rw");
 * table.wrprotect(0, 5 * 4096);
 * const WRITE = 1 << 7;
 * let writable = 0;
 * table.walkRuns(0, 2 << 20, ({ words, count }) => {
 *   for (let i = 0; i < count; i++) if ((words[2 * i] as number) & WRITE) writable++;
 * });
 * console.log(writable); // 507
 * ```
 */
export interface Run<A extends Ipa | Va = Ipa | Va> {
  /**
   * The entries: the lower half of entry `i` is `words[2 * i]`, its upper half `words[2 * i + 1]`, both signed. This is the
   * engine's memory itself, for the time of the call, and not to be written to.
   */
  readonly words: Int32Array;
  /** Number of entries. */
  readonly count: number;
  /** First input address of the first entry. */
  readonly address: A;
  /** Bytes of input addresses that each entry covers. */
  readonly entryBytes: number;
  /** Level of the entries, -1 to 3. */
  readonly level: number;
}

/** Called for each run of entries. The walk continues after nothing or 0, and ends after a negative errno. */
export type RunVisitor<A extends Ipa | Va = Ipa | Va> = (run: Run<A>) => number | void;

/** The flags of walk options [WLK-3]. */
export function walkFlags(options: WalkOptions): number {
  checkOptions("walk", options, OPTIONS);
  return (
    (options.leaf === false ? 0 : K.LEAF) |
    (options.tablePre ? K.TABLE_PRE : 0) |
    (options.tablePost ? K.TABLE_POST : 0) |
    (options.shared ? K.SHARED : 0) |
    (options.handleFault ? K.HANDLE_FAULT : 0) |
    (options.skipBreakTlbi ? K.SKIP_BBM_TLBI : 0) |
    (options.skipCacheMaintenance ? K.SKIP_CMO : 0) |
    (options.maySleep === false ? K.NO_SLEEP : 0)
  );
}

/**
 * Where a walk is, and what may be done there. One object serves the whole walk: keep values, not the object.
 * Decide on `old`, the snapshot, not on a second read [WLK-4].
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * table.map(0x1000, 4096, 0x9000, "r");
 * // Move the page by break-before-make: the TLBI is done by tryBreak.
 * table.walk(0x1000, 4096, (visit) => {
 *   if (visit.tryBreak()) visit.make(visit.old + 0x1000n);
 * });
 * console.log(table.leaf(0x1000).pa); // 40960n
 * ```
 */
export class Visit<A extends Ipa | Va = Ipa | Va> {
  readonly #engine: EngineMemory;
  readonly #format: Format;
  /** Which visit this is. */
  phase: Phase = "leaf";
  /** Level of the entry. */
  level = 0;
  #addressLow = 0;
  #addressHigh = 0;
  #oldLow = 0;
  #oldHigh = 0;

  /** @internal */
  constructor(engine: EngineMemory, format: Format) {
    this.#engine = engine;
    this.#format = format;
  }

  /** @internal Moves on; bigints are made only when asked for. */
  moveTo(phase: Phase, level: number, addrLo: number, addrHi: number, oldLo: number, oldHi: number): void {
    this.phase = phase;
    this.level = level;
    this.#addressLow = addrLo;
    this.#addressHigh = addrHi;
    this.#oldLow = oldLo;
    this.#oldHigh = oldHi;
  }

  /** Where the walk is, page aligned. */
  get address(): A {
    return join(this.#addressLow, this.#addressHigh) as A;
  }

  /** The entry as it was read, once. */
  get old(): bigint {
    return join(this.#oldLow, this.#oldHigh);
  }

  /** Is `old` valid? Quicker than its bit 0, which takes a bigint. */
  get valid(): boolean {
    return (this.#oldLow & 1) === 1;
  }

  /** What `old` is. */
  get kind(): EntryKind {
    return kindOf(this.#format, this.old, this.level);
  }

  /** Is this walk the innermost one? EPERM otherwise: the core's current visit is another's, or none. */
  #assertCurrent(operation: string): void {
    if (this.#engine.hosts.visits.at(-1)?.context === this) return;
    throw new GranuleError(K.EPERM, { operation, hint: "the walk is over, or another one runs within this visit" });
  }

  #call(status: number, operation: string): void {
    if (status < 0)
      throw new GranuleError(status, { operation, address: this.address, level: this.level, oldValue: this.old });
  }

  /** The entry as it is now. */
  read(): bigint {
    this.#assertCurrent("visit.read");
    this.#call(this.#engine.core.visitRead(), "visit.read");
    return this.#engine.results.answer.value;
  }

  /**
   * Takes the slot: marker in, stale translations flushed, reference dropped. False: somebody else has or changed it
   * [S2-20]. A visit that ends without `make`, or throws, leaves what was there before [S2-24].
   */
  tryBreak(): boolean {
    this.#assertCurrent("visit.tryBreak");
    const status = this.#engine.core.visitTryBreak();
    if (status === K.EAGAIN) return false;
    this.#call(status, "visit.tryBreak");
    return true;
  }

  /** Publishes a descriptor in the slot that `tryBreak` took; EPERM if it is not taken. */
  make(descriptor: bigint): void {
    this.#assertCurrent("visit.make");
    this.#call(this.#engine.core.visitMake(toAddress(descriptor, "visit.make")), "visit.make");
  }

  /**
   * Writes a descriptor over the snapshot in one step, nothing flushed; false if the slot changed meanwhile. EPERM for a table's
   * descriptor in a shared walk of several walkers: tables come and go by `tryBreak` and `make`.
   */
  set(descriptor: bigint): boolean {
    this.#assertCurrent("visit.set");
    const status = this.#engine.core.visitSet(toAddress(descriptor, "visit.set"));
    if (status === K.EAGAIN) return false;
    this.#call(status, "visit.set");
    this.#oldLow = Number(BigInt.asIntN(32, descriptor));
    this.#oldHigh = Number(BigInt.asIntN(32, descriptor >> 32n));
    return true;
  }

  /** A new empty table; its descriptor, to `make` in a broken slot: the walk descends into it. ENOMEM without pages. */
  newTable(): bigint {
    this.#assertCurrent("visit.newTable");
    this.#call(this.#engine.core.visitNewTable(), "visit.newTable");
    return this.#engine.results.answer.value;
  }

  /** Frees the subtree of a table descriptor that this visit has replaced. */
  freeTable(descriptor: bigint): void {
    this.#assertCurrent("visit.freeTable");
    this.#call(this.#engine.core.visitFreeTable(toAddress(descriptor, "visit.freeTable")), "visit.freeTable");
  }
}

const PHASES: Readonly<Record<number, Phase>> = { [K.LEAF]: "leaf", [K.TABLE_PRE]: "pre", [K.TABLE_POST]: "post" };

/** @internal A visitor in the shape in which the core calls it. */
export function walkVisitor<A extends Ipa | Va>(visit: Visit<A>, visitor: Visitor<A>): RawVisit {
  return (phase, level, addrLo, addrHi, oldLo, oldHi) => {
    visit.moveTo(PHASES[phase] ?? "leaf", level, addrLo, addrHi, oldLo, oldHi);
    const status = checkNow("walk", visitor(visit));
    return typeof status === "number" ? status : 0;
  };
}

/** @internal A visitor of runs in the shape in which the core calls it; `run` is the object that it gets. */
export function runVisitor<A extends Ipa | Va>(
  memory: WasmMemory,
  ps: number,
  run: Mutable<Run<A>>,
  visitor: RunVisitor<A>,
): RawVisit {
  return (_phase, level, addrLo, addrHi, pointer, count) => {
    run.words = new Int32Array(memory.buffer, pointer >>> 0, 2 * count);
    run.count = count;
    run.address = join(addrLo, addrHi) as A;
    run.entryBytes = 2 ** shift(ps, level);
    run.level = level;
    const status = checkNow("walkRuns", visitor(run));
    return typeof status === "number" ? status : 0;
  };
}

/** @internal An empty run, for `runVisitor`. */
export function emptyRun<A extends Ipa | Va>(): Mutable<Run<A>> {
  return { words: new Int32Array(0), count: 0, address: 0n as A, entryBytes: 0, level: 0 };
}
