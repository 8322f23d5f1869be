import { checkWord } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { type Core, instantiate } from "../core/core.js";
import { GranuleError, invalid } from "../core/errors.js";
import type { WasmMemory, WasmModule } from "../core/platform.js";
import { SubmissionView } from "../core/table-views.generated.js";
import { Words } from "../core/view.js";
import type { Pa } from "../model/address.js";
import { Hosts } from "./host.js";
import { isCount, UNIT } from "./layout.js";
import { Results } from "./results.js";

/** What was counted since the engine was made; names as in assembly/record/counters.ts. */
export type Counters = Record<(typeof K.COUNTER_NAMES)[number], number>;

/** The arena: bytes in all, bytes taken now, and the most that ever were. */
export interface ArenaUse {
  /** Bytes in all. */
  bytes: number;
  /** Bytes taken now. */
  taken: number;
  /** The most that ever were taken. */
  peak: number;
}

const BUFFER_BYTES = 65536;

/** Which engine, and where. */
export interface EnginePlace {
  module: WasmModule;
  memory: WasmMemory;
  /** Pointer of the engine's first byte. */
  offset: number;
  /** Which engine it is: tickets of its tables say the same. */
  id: string;
}

/**
 * An engine's memory as one walker works in it: an instance of the core, views of what it writes, blocks of the arena. Tables,
 * caches, batches and columns need no more of their engine than this; `Engine` adds what makes them.
 *
 * @example
 * ```ts
 * import { createEngine, type EngineMemory } from "granule";
 * const share = (engine: EngineMemory) => engine.arena().taken / engine.arenaBytes;
 * using engine = createEngine();
 * console.log(share(engine) < 0.01); // true
 * ```
 */
export abstract class EngineMemory implements Disposable {
  /** The linear memory; tables lie in it as real Arm tables. */
  readonly memory: WasmMemory;
  /** The core's exports, for those who want no facade. Handles and pointers are checked there. */
  readonly core: Core;
  /** Walkers that the engine was made for. */
  readonly walkerCount: number;
  /** Which of them this is; 0 is the one that made it. */
  readonly walker: number;
  /** Physical address of the arena's first byte. */
  readonly physBase: Pa;
  /** Pointer of the arena's first byte in `memory`. */
  readonly arenaPointer: number;
  /** Bytes of the arena. */
  readonly arenaBytes: number;
  /** Pointer of the engine's first byte in `memory`; its records come first, its arena last. */
  readonly offset: number;
  /** @internal Which engine it is, in tickets: the same for all that work in it. */
  readonly id: string;
  /** @internal */
  readonly hosts: Hosts = new Hosts();
  /** @internal The memory, for views of its records. */
  readonly words: Words;
  /** @internal What the last call answered. */
  readonly results: Results;
  /** @internal One submission record, for single operations. */
  readonly io: SubmissionView;
  /** @internal Bytes of a borrowed buffer. */
  readonly bufferBytes: number = BUFFER_BYTES;
  readonly #buffers: number[] = [];
  #u32: Uint32Array;
  #u64: BigUint64Array;
  #closed = false;

  /** @internal `begin` makes the instance a walker: a status. */
  protected constructor({ module, memory, offset, id }: EnginePlace, begin: (core: Core) => number, operation: string) {
    this.memory = memory;
    this.offset = offset;
    this.id = id;
    this.core = instantiate(module, memory, offset, this.hosts);
    this.check(begin(this.core), operation, (errno) =>
      errno === K.EBUSY ? "somebody is this walker already" : undefined,
    );
    this.words = new Words(memory.buffer);
    this.#u32 = this.words.u32;
    this.#u64 = this.words.u64;
    this.results = new Results(this.words, this.core.resultPointer() >>> 0);
    this.core.engineInfo();
    const info = this.results.engine;
    this.arenaPointer = info.arena;
    this.arenaBytes = info.arenaBytes;
    this.physBase = info.physBase as Pa;
    this.walkerCount = info.walkers;
    this.walker = info.walker;
    this.io = new SubmissionView(this.words, this.takeBlock(UNIT));
    const buffer = this.takeBlock(BUFFER_BYTES);
    this.#buffers.push(buffer);
    this.core.entrust(this.io.at, buffer);
  }

  /** @internal Writes a zero to every page that nobody has taken yet. */
  protected pretouch(): void {
    const untouched = Math.max(this.io.at, ...this.#buffers) + BUFFER_BYTES;
    new Uint8Array(this.memory.buffer, untouched, this.arenaPointer + this.arenaBytes - untouched).fill(0);
  }

  /** The whole memory as 32-bit words, as large as it was when the engine was made or joined. */
  get u32(): Uint32Array {
    return this.#u32;
  }

  /** The whole memory as 64-bit words. */
  get u64(): BigUint64Array {
    return this.#u64;
  }

  /** True once closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** @internal */
  assertOpen(operation: string): void {
    if (this.#closed) throw invalid(operation, "the engine is closed");
  }

  /** @internal Throws what a status says; what a hook threw comes first. `why` says more of an errno where it can. */
  check(status: number, operation: string, why?: (errno: number) => string | undefined): void {
    this.hosts.rethrow();
    if (status >= 0) return;
    const hint = why?.(status);
    throw new GranuleError(status, hint === undefined ? { operation } : { operation, hint });
  }

  /** @internal Does `other` work in the same engine? EINVAL otherwise: its pointers and handles mean something else there. */
  assertSame(other: EngineMemory, operation: string, what: string): void {
    if (other.id !== this.id) throw invalid(operation, `the ${what} of another engine cannot be used here`);
  }

  /** @internal A buffer of `bufferBytes` in the arena, for the time of one call. */
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

  /** A block of arena memory, zeroed, `bytes` rounded up to 4K << n, at most 1 MiB: for batches, columns and replaced allocators. */
  takeBlock(bytes: number): number {
    this.assertOpen("takeBlock");
    checkWord("takeBlock", "bytes", bytes);
    const order = Math.max(0, Math.ceil(Math.log2(bytes / UNIT)));
    const most = UNIT << (K.ORDERS - 1);
    const p = isCount(bytes, 1, most) ? this.core.takeBlock(order) >>> 0 : 0;
    if (p !== 0) return p;
    const { taken } = this.arena();
    const hint =
      bytes > most
        ? `${bytes} bytes are more than a block has, ${most}`
        : `no block of ${bytes} bytes: ${taken} of the arena's ${this.arenaBytes} bytes are taken (raise arenaBytes)`;
    throw new GranuleError(K.ENOMEM, { operation: "takeBlock", hint });
  }

  /** Gives a block of `takeBlock` back; EINVAL for anything else. */
  giveBlock(pointer: number): void {
    this.assertOpen("giveBlock");
    const status = this.core.giveBlock(checkWord("giveBlock", "pointer", pointer));
    this.check(status, "giveBlock", () => `no block of takeBlock begins at ${pointer}`);
  }

  /** Everything counted so far, by all walkers or by `walker`. */
  counters(walker?: number): Counters {
    this.assertOpen("counters");
    const ids = walker === undefined ? Array.from({ length: this.walkerCount }, (_, id) => id) : [walker];
    if (ids.some((id) => !isCount(id, 0, this.walkerCount - 1))) {
      throw invalid("counters", `walkers are 0..${this.walkerCount - 1}`);
    }
    const blocks = ids.map((id) => (this.core.counterPointer(id) >>> 0) / 8);
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
   * gives back what is its own, and its place. EBUSY (thrown) from within a visitor or hook: a walk is under way.
   */
  close(): void {
    if (this.#closed) return;
    this.hosts.assertIdle("close");
    this.#leave();
    this.#closed = true;
    this.#u32 = new Uint32Array(0);
    this.#u64 = new BigUint64Array(0);
  }

  #leave(): void {
    this.giveBlock(this.io.at);
    for (const buffer of this.#buffers) this.giveBlock(buffer);
    this.core.detach();
  }

  /** The same as {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
