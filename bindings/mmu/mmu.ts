import { checkChoice, checkOptions, describe, type OptionKinds, unknownName } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { type CoreSource, compile } from "../core/core.js";
import { GranuleError, invalid } from "../core/errors.js";
import { halvesOf } from "../core/field.js";
import { instantiateMmu, type MmuCore } from "../core/mmu-core.js";
import { ContextView, ResultView } from "../core/mmu-views.generated.js";
import type { WasmMemory, WasmModule } from "../core/platform.js";
import { Words } from "../core/view.js";
import { type AddressLike, type Ipa, type Like, type Pa, type PaLike, toAddress, type Va } from "../model/address.js";
import { paRangeCode } from "../model/registers.js";
import type { Engine } from "../tables/engine.js";
import { isCount } from "../tables/layout.js";
import { EngineMemory } from "../tables/memory.js";
import { isRegister, type MmuRegisters, REGISTER_NAMES } from "./registers.js";
import {
  Access,
  type AccessKind,
  type AccessOptions,
  accessWord,
  faultOf,
  isFault,
  type Translation,
  type TranslationFault,
  translationOf,
} from "./result.js";
import { engineSpace, imageSpace, memorySpace, type Space } from "./space.js";
import { STEPS_BYTES, stepsAt, type WalkExplanation } from "./steps.js";

/**
 * What an MMU looks at, and by which rules. One of `engine`, `memory`, `image` and `beside` is given.
 *
 * @example
 * ```ts
 * import { createMmu } from "granule/mmu";
 * // An emulator's RAM, 1 MiB at 0x4000_0000. The guest has written an EL1 table there: a block of 1 GiB, clean but writable.
 * const memory = new WebAssembly.Memory({ initial: 18, maximum: 18, shared: true });
 * const ram = new BigUint64Array(memory.buffer, 0, (1 << 20) / 8);
 * ram[0x8000 / 8 + 1] = 0x0008_0000_4000_0781n; // DBM, AF, Inner Shareable, read-only until it is written to
 * using mmu = createMmu({
 *   memory,
 *   bytes: 1 << 20,
 *   physBase: 0x4000_0000,
 *   scratch: { offset: 1 << 20, bytes: 128 << 10 },
 *   // 4K, 39 bits, HA and HD
 *   registers: { ttbr0: 0x4000_8000, tcr: (3n << 39n) | 25n | (3n << 12n) | (2n << 32n), sctlr: 1, mair: 0xff },
 * });
 * console.log(mmu.translate(0x4000_1234, "w").ok, (ram[0x1001] ?? 0n).toString(16)); // true 8000040000701
 * ```
 */
export interface MmuOptions {
  /** Walk the tables of this engine, in place. With `offset`: a window of the memory in which the engine lies. */
  engine?: Engine;
  /**
   * Walk a window of this memory in place: the caller's own, shared, such as an emulator's RAM. What hardware sets in a table
   * is there at once, and tables that a guest writes are walked as they are. Needs `scratch`.
   */
  memory?: WasmMemory;
  /** First byte of the window in `memory`, or in the engine's memory; a multiple of 8. Default 0; of an engine: its arena. */
  offset?: number;
  /** Bytes of the window, a multiple of 8 below 4 GiB. Default: up to the memory's end. */
  bytes?: number;
  /**
   * Where in `memory` the MMU keeps its registers, and its TLBs and columns theirs: multiples of 64 KiB. 64 KiB hold an MMU and
   * a small TLB. Not for the guest; nothing else may use it before all of them are closed.
   */
  scratch?: {
    /** First byte in `memory`. */
    offset: number;
    /** How many bytes. */
    bytes: number;
  };
  /** Walk a copy of this memory: tables that something else made. */
  image?: Uint8Array;
  /** Walk what this one walks, in the same memory: another CPU, or another regime of the same. */
  beside?: Mmu;
  /**
   * The walker's own core, in place of the one that is inlined here: a compiled module, or the bytes of `granule/mmu.wasm`.
   * For content security policies that allow no compilation, and to compile once for many workers.
   */
  module?: CoreSource;
  /** Physical address of the first byte of the window or image, a multiple of 8. Default 0; of an engine: as its arena's is. */
  physBase?: PaLike;
  /** `"el1"` (default): EL1&0, stage 1 over stage 2 as HCR_EL2 and SCTLR_EL1 say. `"el2"`: EL2, or EL2&0 with HCR_EL2.E2H. */
  regime?: "el1" | "el2";
  /** The registers to begin with. What is left out is 0. */
  registers?: MmuRegisters;
  /** Physical address size of the CPU: 32 36 40 42 44 48 52. Default 52. */
  paBits?: number;
  /** FEAT_XNX: execute rights of EL1 and EL0 apart at stage 2. Default true. */
  xnx?: boolean;
  /** A fetch needs read permission at stage 2 too [HWM-13]. Default false. */
  fetchReads?: boolean;
  /** Hardware updates stage-1 tables only in memory that stage 2 makes Normal cacheable; else fault 0x31 [HWM-27]. Default false. */
  updateCacheableOnly?: boolean;
}

/** A column of addresses and what became of them, in the MMU's memory. */
export interface MmuColumns extends Disposable {
  /** Input addresses, one a row. */
  readonly addresses: BigUint64Array;
  /** Two words a row: physical address (0 at a fault) and INFO, whose bits assembly/mmu/translate.ts draws. */
  readonly rows: BigUint64Array;
  /** Gives the memory back; twice is harmless. */
  close(): void;
}

const MAX_ROWS = 1 << 15;
/** The memory that columns lie in, until they are closed: their pointers mean something else in another. */
const OPEN_COLUMNS = new WeakMap<MmuColumns, WasmMemory>();

const OPTIONS: OptionKinds<MmuOptions> = {
  engine: "any",
  memory: "any",
  offset: "number",
  bytes: "number",
  scratch: "object",
  image: "any",
  beside: "any",
  module: "object",
  physBase: "address",
  regime: "any",
  registers: "object",
  paBits: "number",
  xnx: "boolean",
  fetchReads: "boolean",
  updateCacheableOnly: "boolean",
};

const SOURCES = ["engine", "memory", "image", "beside"] as const;

function spaceOf(options: MmuOptions): Space {
  checkOptions("createMmu", options, OPTIONS);
  const { engine, memory, image, beside, physBase, offset, bytes, scratch } = options;
  if (SOURCES.filter((name) => options[name] !== undefined).length !== 1) {
    throw invalid("createMmu", "give an engine, a memory, an image, or `beside`: another MMU");
  }
  if (memory === undefined && scratch !== undefined) throw invalid("createMmu", "`scratch` is a range of `memory`");
  if (memory === undefined && engine === undefined && (offset ?? bytes) !== undefined) {
    throw invalid("createMmu", "offset and bytes are a window of `memory`, or of an engine's memory");
  }
  if (memory !== undefined) return memorySpace(memory, scratch, { physBase, offset, bytes });
  if (engine !== undefined) {
    if (!(engine instanceof EngineMemory)) throw invalid("createMmu", "the engine is not an Engine");
    engine.assertOpen("createMmu");
    return engineSpace(engine, { physBase, offset, bytes });
  }
  if (image !== undefined) {
    if (!(image instanceof Uint8Array)) {
      throw invalid("createMmu", `the image is ${describe(image)}: give a Uint8Array`);
    }
    return imageSpace(image, physBase ?? 0);
  }
  if (!(beside instanceof Mmu)) throw invalid("createMmu", "`beside` is not an MMU");
  beside.assertOpen("createMmu");
  return beside.space;
}

/** The instance that works on each memory: several MMUs of one thread share it, so that a call from all of them is one function. */
const cores = new WeakMap<WasmMemory, { module: WasmModule; core: MmuCore }>();

function coreOn(module: WasmModule, memory: WasmMemory): MmuCore {
  const known = cores.get(memory);
  if (known?.module === module) return known.core;
  const core = instantiateMmu(module, memory);
  cores.set(memory, { module, core });
  return core;
}

/**
 * The hardware's side of translation tables: a walker that reads them as a CPU does, reports the faults that a CPU would,
 * and sets access flags and dirty state. Make one with `createMmu`. It belongs to one thread at a time.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { createMmu, stage2Registers } from "granule/mmu";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * table.map(0x4000_0000, 0x1000, 0x8000_0000, "rw");
 * using mmu = createMmu({ engine, registers: stage2Registers(table) });
 * const answer = mmu.translate(0x4000_0123, "w");
 * console.log(answer.ok && answer.pa.toString(16)); // 80000123
 * ```
 */
export class Mmu implements Disposable {
  /** The memory it works in. */
  readonly memory: WasmMemory;
  /** The compiled walker: give it to `createMmu` as `module`, in a worker too, and nothing is compiled there. */
  readonly module: WasmModule;
  /** The walker's exports, for those who want no facade. Pointers are checked there. */
  readonly core: MmuCore;
  /** Pointer of its context in `memory`; assembly/mmu/context.ts draws it. */
  readonly context: number;
  /** @internal */
  readonly space: Space;
  readonly #context: ContextView;
  readonly #result: ResultView;
  readonly #fault: ResultView;
  /** @internal Pointer of the record of the last access. */
  readonly out: number;
  /** Room for the steps of a walk, once one was asked for. */
  #steps: { pointer: number; words: Words } | undefined;
  /** @internal Pointer of the record of the last fault of a lookup. */
  readonly faultOut: number;
  #closed = false;

  /** Use `createMmu`. */
  constructor(source: CoreSource, options: MmuOptions) {
    this.space = spaceOf(options);
    const { memory, physBase, pointer, bytes } = this.space;
    this.memory = memory;
    this.module = compile(source, "createMmu");
    this.core = coreOn(this.module, memory);
    this.context = this.space.take(K.CONTEXT_BYTES + 2 * K.RESULT_BYTES);
    this.out = this.context + K.CONTEXT_BYTES;
    this.faultOut = this.out + K.RESULT_BYTES;
    const words = new Words(memory.buffer);
    const context = new ContextView(words, this.context);
    this.#context = context;
    this.#result = new ResultView(words, this.out);
    this.#fault = new ResultView(words, this.faultOut);
    const { regime = "el1", xnx = true, fetchReads = false, updateCacheableOnly = false, paBits = 52 } = options;
    checkChoice("createMmu", "the regime", regime, ["el1", "el2"]);
    context.physBase = physBase;
    context.pointer = pointer;
    context.bytes = bytes;
    context.regime = regime === "el2" ? K.REGIME_EL2 : K.REGIME_EL10;
    context.features =
      paRangeCode(paBits) |
      (xnx ? K.F_XNX : 0) |
      (fetchReads ? K.F_FETCH_READS : 0) |
      (updateCacheableOnly ? K.F_UPDATE_CACHEABLE : 0);
    this.setRegisters(options.registers ?? {});
  }

  /** True once closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** @internal */
  assertOpen(operation: string): void {
    if (this.#closed) throw invalid(operation, "the MMU is closed");
  }

  /** Writes registers and decodes them; those that are left out stay as they are. What a CPU would have in its TLB is not kept. */
  setRegisters(registers: MmuRegisters): void {
    this.assertOpen("setRegisters");
    for (const [name, value] of Object.entries(registers)) {
      if (!isRegister(name)) throw unknownName("setRegisters", "register", name, REGISTER_NAMES);
      if (value !== undefined) this.#context[name] = toAddress(value, "setRegisters");
    }
    const status = this.core.mmuConfigure(this.context);
    if (status < 0) throw new GranuleError(status, { operation: "setRegisters" });
  }

  /** @internal The access word of the core. */
  accessWord(kind: AccessKind, options: AccessOptions | undefined): number {
    const word = accessWord(kind, options);
    if (word === undefined) throw invalid("translate", `${describe(kind)} is not an access: r, w or x`);
    return word;
  }

  /**
   * Translates one access: where it goes and what it may, or the fault. Access flags and dirty state are set in the tables
   * as TCR and VTCR say.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * import { createMmu, stage2Registers } from "granule/mmu";
   * using engine = createEngine();
   * const table = engine.createStage2();
   * table.map(0x4000_0000, 0x1000, 0x8000_0000, "r");
   * using mmu = createMmu({ engine, registers: stage2Registers(table) });
   * const fault = mmu.translate(0x4000_0123, "w");
   * console.log(fault.ok, !fault.ok && fault.kind, fault.par.toString(16)); // false permission a1f
   * ```
   */
  translate(
    address: Like<Ipa | Va>,
    access: AccessKind = "r",
    options?: AccessOptions,
  ): Translation | TranslationFault {
    this.assertOpen("translate");
    const word = this.accessWord(access, options);
    const at = halvesOf(toAddress(address, "translate"));
    const status = this.core.mmuTranslate(this.context, at[0] as number, at[1] as number, word, this.out);
    return this.lastResult(status, "translate", address);
  }

  /**
   * Translates one access as `translate` does, hardware's updates of the tables included, and tells each descriptor on the
   * way: of both stages, in the order in which they are read [HWM-10]. EINVAL for what is no address or access.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * import { createMmu, stage2Registers } from "granule/mmu";
   * using engine = createEngine();
   * const table = engine.createStage2({ ipaBits: 40 });
   * table.map(0x4000_0000, 2 << 20, 0x8000_0000, "rw");
   * using mmu = createMmu({ engine, registers: stage2Registers(table) });
   * const { steps, result } = mmu.explainWalk(0x4000_1234, "r");
   * for (const { level, kind, output } of steps) console.log(level, kind, output?.toString(16));
   * // 1 table 80001000
   * // 2 block 80000000
   * console.log(result.ok && result.pa.toString(16)); // 80001234
   * ```
   */
  explainWalk(address: Like<Ipa | Va>, access: AccessKind = "r", options?: AccessOptions): WalkExplanation {
    this.assertOpen("explainWalk");
    const word = this.accessWord(access, options);
    const at = toAddress(address, "explainWalk");
    const { pointer, words } = this.#stepRoom();
    const halves = halvesOf(at);
    const [lo, hi] = [halves[0] as number, halves[1] as number];
    const status = this.core.mmuExplain(this.context, lo, hi, word, this.out, pointer, STEPS_BYTES);
    const result = this.lastResult(status, "explainWalk", at);
    return { steps: stepsAt(words, pointer, this.#context.stepsTaken), result };
  }

  #stepRoom(): { pointer: number; words: Words } {
    if (!this.#steps) {
      const pointer = this.space.take(STEPS_BYTES);
      this.#steps = { pointer, words: new Words(this.memory.buffer) };
    }
    return this.#steps;
  }

  /** @internal What the record of the last access says. */
  lastResult(status: number, operation: string, address: AddressLike): Translation | TranslationFault {
    if (status < 0) throw new GranuleError(status, { operation, address: toAddress(address) });
    return status === 0 ? translationOf(this.#result) : faultOf(this.#result);
  }

  /**
   * Where one access goes, as a number; a negative `Fault` if it does not translate. The call for loops: no object, no bigint, no
   * exception. It does what `translate` does, and `lastFault` has the details of a fault. `address` is a whole number of at most 53
   * bits; addresses of the upper half are negative, as two's complement has them: `Number(BigInt.asIntN(64, va))`. `access` is of
   * `Access`. -22 (EINVAL) for what is no address or access, or once closed.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * import { Access, createMmu, Fault, stage2Registers } from "granule/mmu";
   * using engine = createEngine();
   * const table = engine.createStage2();
   * table.map(0x4000_0000, 0x1000, 0x8000_0000, "r");
   * using mmu = createMmu({ engine, registers: stage2Registers(table) });
   * console.log(mmu.lookup(0x4000_0123).toString(16)); // 80000123
   * console.log(mmu.lookup(0x4000_0123, Access.WRITE) === Fault.PERMISSION, mmu.lastFault()?.level); // true 3
   * ```
   */
  lookup(address: number, access: number = Access.READ): number {
    if (typeof address !== "number" || this.#closed) return K.EINVAL;
    return this.core.mmuLookup(this.context, address, access, this.faultOut);
  }

  /**
   * The details of the last fault that `lookup` gave, of this MMU or of a TLB over it: as `translate` gives them. Undefined if it never gave one.
   *
   * @example
   * ```ts
   * import { createMmu } from "granule/mmu";
   * using mmu = createMmu({ image: new Uint8Array(8), paBits: 40 }); // both stages off
   * console.log(mmu.lastFault(), mmu.lookup(2 ** 40), mmu.lastFault()?.kind); // undefined -4 address-size
   * ```
   */
  lastFault(): TranslationFault | undefined {
    this.assertOpen("lastFault");
    return isFault(this.#fault) ? faultOf(this.#fault) : undefined;
  }

  /** @internal HCR_EL2 as it was set. */
  get hcr(): bigint {
    return this.#context.hcr;
  }

  /** VMID of VTTBR_EL2, whether stage 2 is on or off, and ASID of the regime. */
  get tags(): {
    /** VTTBR_EL2.VMID. */
    vmid: number;
    /** The ASID of the TTBR that TCR_EL1.A1 names; 0 where the regime has none. */
    asid: number;
  } {
    const { vmid, asid } = this.#context;
    return { vmid, asid };
  }

  /** Columns for up to `capacity` accesses, at most 32,768. */
  createColumns(capacity: number): MmuColumns {
    this.assertOpen("createColumns");
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_ROWS) {
      throw invalid("createColumns", `the capacity is ${describe(capacity)}: 1..${MAX_ROWS}`);
    }
    const space = this.space;
    const pointer = space.take(capacity * (8 + K.ROW_BYTES));
    const { buffer } = this.memory;
    const addresses = new BigUint64Array(buffer, pointer, capacity);
    const rows = new BigUint64Array(buffer, pointer + capacity * 8, capacity * (K.ROW_BYTES / 8));
    const close = () => {
      if (OPEN_COLUMNS.delete(columns)) space.give(pointer);
    };
    const columns: MmuColumns = { addresses, rows, close, [Symbol.dispose]: close };
    OPEN_COLUMNS.set(columns, this.memory);
    return columns;
  }

  /**
   * Translates the first `n` addresses of columns, accesses of one kind, in order; how many were faults. Nothing is copied:
   * this is the quick way for many.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * import { createMmu, rowAddress, stage2Registers } from "granule/mmu";
   * using engine = createEngine();
   * const table = engine.createStage2();
   * table.map(0, 0x1000, 0x9000_0000, "r");
   * using mmu = createMmu({ engine, registers: stage2Registers(table) });
   * using columns = mmu.createColumns(2);
   * columns.addresses.set([0x10n, 0x1010n]);
   * console.log(mmu.translateMany(columns, 2, "r")); // 1
   * console.log(rowAddress(columns, 0), rowAddress(columns, 1)); // 2415919120n undefined
   * ```
   */
  translateMany(columns: MmuColumns, n: number, access: AccessKind = "r", options?: AccessOptions): number {
    this.assertOpen("translateMany");
    const { addresses, rows } = this.checkColumns("translateMany", columns, n);
    return this.#many(addresses, rows, n, this.accessWord(access, options));
  }

  /** @internal Columns that lie in this memory, are open and have `n` rows; EINVAL for others. */
  checkColumns(operation: string, columns: MmuColumns, n: number): MmuColumns {
    const open = OPEN_COLUMNS.get(columns);
    if (open === undefined) {
      throw invalid(operation, "these are not columns of an MMU, or they are closed: `mmu.createColumns` makes them");
    }
    if (open !== this.memory) throw invalid(operation, "the columns of another memory cannot be used here");
    const { length } = columns.addresses;
    if (isCount(n, 0, length)) return columns;
    throw invalid(operation, `there are ${length} rows, and ${describe(n)} were asked for`);
  }

  #many(addresses: BigUint64Array, rows: BigUint64Array, n: number, word: number): number {
    const faults = this.core.mmuTranslateMany(this.context, addresses.byteOffset, rows.byteOffset, n, word);
    if (faults < 0) throw new GranuleError(faults, { operation: "translateMany" });
    return faults;
  }

  /** The window's bytes as they are now, without a copy: an image after hardware has set its flags. */
  image(): Uint8Array {
    this.assertOpen("image");
    return new Uint8Array(this.memory.buffer, this.space.pointer, this.space.bytes);
  }

  /** Gives its memory back. Twice is harmless. */
  close(): void {
    if (!this.#closed) this.space.give(this.context);
    if (!this.#closed && this.#steps) this.space.give(this.#steps.pointer);
    this.#closed = true;
  }

  /** The same as {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Where row `i` went: its physical address, or undefined for a fault.
 *
 * @example
 * ```ts
 * import { createMmu, rowAddress } from "granule/mmu";
 * using mmu = createMmu({ image: new Uint8Array(8) }); // both stages off
 * using columns = mmu.createColumns(1);
 * columns.addresses[0] = 0x1234n;
 * mmu.translateMany(columns, 1);
 * console.log(rowAddress(columns, 0)); // 4660n
 * ```
 */
export function rowAddress(columns: MmuColumns, i: number): Pa | undefined {
  const [pa = 0n, info = K.INFO_FAULT] = columns.rows.subarray(2 * i, 2 * i + 2);
  return info & K.INFO_FAULT ? undefined : (pa as Pa);
}
