import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { WasmMemory } from "../core/platform.js";
import { hex, type Pa, type PaLike, toAddress } from "../model/address.js";
import { assertFree, checkMemory, checkPlace, OWN_BASE, PAGE } from "./place.js";

/**
 * How to make an engine. Every field has a default. Without `memory` the engine makes a memory of its own.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * // An emulator's memory: 8 MiB of guest RAM at 0x4000_0000, and 4 MiB behind it for the tables.
 * const memory = new WebAssembly.Memory({ initial: 192, maximum: 192, shared: true });
 * using engine = createEngine({ memory, offset: 8 << 20, physBase: 0x4080_0000 });
 * using table = engine.createStage2({ ipaBits: 40 });
 * table.map(0x4000_0000, 8 << 20, 0x4000_0000, "rwx");
 * console.log(engine.arenaPointer, engine.physBase.toString(16), engine.arenaBytes >> 20); // 9437184 40900000 3
 * ```
 */
export interface EngineOptions {
  /** Bytes for tables, a multiple of 1 MiB. Default 64 MiB; in a caller's memory what the range holds. Only touched pages cost memory. */
  arenaBytes?: number;
  /**
   * Physical address of the arena's first byte, a multiple of 1 MiB below 2^52. Default 0x8000_0000. With `memory`: of the range's
   * first byte, a multiple of 64 KiB; `engine.physBase` then says where the arena begins.
   */
  physBase?: PaLike;
  /**
   * A memory that the caller owns, shared. The engine lies in `bytes` of it from `offset` on, and neither reads nor writes what lies
   * outside; the first bytes of the range are the engine's records, the arena follows. The range need not be zeroed. The caller
   * may grow the memory.
   */
  memory?: WasmMemory;
  /** First byte of the range in `memory`, a multiple of 64 KiB. Default 0. */
  offset?: number;
  /** Bytes of the range, a multiple of 64 KiB; EINVAL says how many are needed. Default: up to the memory's end. */
  bytes?: number;
  /** Tables that can live at once. Default 256. */
  maxTables?: number;
  /**
   * Walkers that may work in it at once, 1..64: one for each thread, this one included [LCK-1]. Default 1, where nothing needs a
   * lock. With more, every table has a lock that operations take by themselves, and hooks must not sleep.
   */
  walkers?: number;
  /** Journal ring per walker, in records of 48 bytes; 0 (default) leaves no room for a journal. */
  journalRecords?: number;
  /** Touch every page of the arena now, so that no first access is paid for later. Default false. */
  pretouch?: boolean;
}

const OPTIONS: OptionKinds<EngineOptions> = {
  arenaBytes: "number",
  physBase: "address",
  memory: "object",
  offset: "number",
  bytes: "number",
  maxTables: "number",
  walkers: "number",
  journalRecords: "number",
  pretouch: "boolean",
};

/** How much an engine keeps beside its arena. */
interface Sizes {
  maxTables: number;
  walkers: number;
  journalRecords: number;
}

/** What an engine is laid out as. */
export interface EngineLayout extends Sizes {
  memory: WasmMemory;
  /** Pointer of the engine's first byte, and of the arena's. */
  base: number;
  arena: number;
  arenaBytes: number;
  /** Of the arena. */
  physBase: Pa;
  pretouch: boolean;
}

/** Bytes of a unit of the arena. */
export const UNIT = 4096;
const ADDRESSABLE = 2 ** 32;
const DEFAULT_ARENA = 64 << 20;
const DEFAULT_PHYS_BASE = 0x8000_0000n;
const PHYSICAL_END = 1n << 52n;

/** Bytes of the records of an engine, all that lies before its arena; the core checks that they fit. */
function recordBytes({ maxTables, walkers, journalRecords }: Sizes, arenaBytes: number): number {
  const fixed = K.HEADER_BYTES + maxTables * K.TABLE_BYTES;
  const perWalker = K.WALKER_BYTES + journalRecords * K.JOURNAL_BYTES;
  const perUnit = K.FRAME_BYTES + walkers * K.COUNT_BYTES;
  return fixed + walkers * perWalker + (arenaBytes / UNIT) * perUnit;
}

function roundUp(n: number, unit: number): number {
  return Math.ceil(n / unit) * unit;
}

/** Is `n` a whole number from `min` to `max`? */
export function isCount(n: number, min: number, max: number): boolean {
  return Number.isInteger(n) && n >= min && n <= max;
}

/** Whether `n` bytes can be an arena; EINVAL otherwise. */
function checkArena(arenaBytes: number): void {
  if (!isCount(arenaBytes, K.ARENA_ALIGN, ADDRESSABLE) || arenaBytes % K.ARENA_ALIGN) {
    throw invalid("createEngine", `arenaBytes ${arenaBytes} is not a multiple of 1 MiB between 1 MiB and 4 GiB`);
  }
}

/** `physBase` as an address, when it is a multiple of `unit` bytes, in words `what`; EINVAL otherwise. */
function toBase(physBase: PaLike, unit: number, what: string): bigint {
  const base = toAddress(physBase, "createEngine");
  if (base % BigInt(unit)) throw invalid("createEngine", `physBase ${hex(base)} is not a multiple of ${what}`);
  return base;
}

/** The physical address of an arena `ahead` bytes behind `base`; EINVAL where it would end above all physical addresses [GEO-5]. */
function arenaBase(base: bigint, ahead: number, arenaBytes: number): Pa {
  const arena = base + BigInt(ahead);
  const end = arena + BigInt(arenaBytes);
  if (end > PHYSICAL_END) {
    throw invalid("createEngine", `physBase ${hex(base)}: the arena would end at ${hex(end)}, above 2^52`);
  }
  return arena as Pa;
}

function sizesOf({ maxTables = 256, journalRecords = 0, walkers = 1 }: EngineOptions): Sizes {
  const check = (name: string, value: number, min: number, max: number) => {
    if (!isCount(value, min, max)) throw invalid("createEngine", `${name} is ${value}, not ${min} to ${max}`);
  };
  check("maxTables", maxTables, 1, K.MAX_TABLES);
  check("journalRecords", journalRecords, 0, 2 ** 24);
  check("walkers", walkers, 1, K.MAX_WALKERS);
  return { maxTables, walkers, journalRecords };
}

/** An engine in a memory of its own. */
function inOwnMemory(options: EngineOptions, sizes: Sizes): Omit<EngineLayout, "pretouch"> {
  const { arenaBytes = DEFAULT_ARENA, physBase = DEFAULT_PHYS_BASE } = options;
  if (options.offset !== undefined || options.bytes !== undefined) {
    throw invalid("createEngine", "offset and bytes are a range of `memory`, which is not given");
  }
  checkArena(arenaBytes);
  const arena = roundUp(OWN_BASE + recordBytes(sizes, arenaBytes), K.ARENA_POINTER_ALIGN);
  if (arena + arenaBytes >= ADDRESSABLE) {
    throw invalid("createEngine", "arena and its records do not fit the 4 GiB of a wasm32 memory: try 4000 MiB");
  }
  const address = arenaBase(toBase(physBase, K.ARENA_ALIGN, "1 MiB"), 0, arenaBytes);
  const pages = (arena + arenaBytes) / PAGE;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  return { ...sizes, memory, base: OWN_BASE, arena, arenaBytes, physBase: address };
}

/** Bytes from the start of the range to that of an arena: behind the records, at a multiple of 1 MiB of physical memory. */
function arenaOffset(sizes: Sizes, arenaBytes: number, lead: number): number {
  return roundUp(lead + recordBytes(sizes, arenaBytes), K.ARENA_ALIGN) - lead;
}

/** An engine in a range of the caller's memory. */
function inMemory(options: EngineOptions, memory: WasmMemory, sizes: Sizes): Omit<EngineLayout, "pretouch"> {
  checkMemory("createEngine", memory);
  const { offset = 0, bytes = memory.buffer.byteLength - offset } = options;
  const place = checkPlace("createEngine", memory, { offset, bytes }, PAGE);
  const start = toBase(options.physBase ?? DEFAULT_PHYS_BASE, PAGE, "64 KiB");
  const lead = Number(start % BigInt(K.ARENA_ALIGN));
  // A pointer behind the arena's end must not be 2^32.
  const usable = Math.min(bytes, ADDRESSABLE - PAGE - offset);
  const most = Math.floor(usable / K.ARENA_ALIGN) * K.ARENA_ALIGN;
  const arenaBytes = options.arenaBytes ?? mostArena(sizes, most, lead, usable);
  checkArena(arenaBytes);
  const behind = arenaOffset(sizes, arenaBytes, lead);
  const needed = behind + arenaBytes;
  if (needed > usable) {
    const what = `an arena of ${arenaBytes >>> 20} MiB and its records need ${roundUp(needed, PAGE)}`;
    throw invalid("createEngine", `bytes ${bytes} from offset ${offset} are too few: ${what}`);
  }
  const address = arenaBase(start, behind, arenaBytes);
  assertFree("createEngine", memory, place);
  new Uint8Array(memory.buffer, offset, behind).fill(0);
  return { ...sizes, memory, base: offset, arena: offset + behind, arenaBytes, physBase: address };
}

/** The largest arena that fits, at least 1 MiB: whether that fits is for the caller to see. */
function mostArena(sizes: Sizes, most: number, lead: number, usable: number): number {
  let arenaBytes = most;
  while (arenaBytes > K.ARENA_ALIGN && arenaOffset(sizes, arenaBytes, lead) + arenaBytes > usable) {
    arenaBytes -= K.ARENA_ALIGN;
  }
  return Math.max(arenaBytes, K.ARENA_ALIGN);
}

/** The layout that options ask for, in a memory where the records are zeroed; EINVAL for options that make no sense. */
export function layoutOf(options: EngineOptions): EngineLayout {
  const { memory, pretouch = false } = checkOptions("createEngine", options, OPTIONS);
  const sizes = sizesOf(options);
  const layout = memory === undefined ? inOwnMemory(options, sizes) : inMemory(options, memory, sizes);
  return { ...layout, pretouch };
}
