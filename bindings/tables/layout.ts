import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { hex, type Pa, type PaLike, toAddress } from "../model/address.js";

/** How to make an engine. Every field has a default. */
export interface EngineOptions {
  /** Bytes for tables, a multiple of 1 MiB. Default 64 MiB; up to nearly 4 GiB. Only touched pages cost memory. */
  arenaBytes?: number;
  /** Physical address of the arena's first byte, a multiple of 1 MiB below 2^52. Default 0x8000_0000. */
  physBase?: PaLike;
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

const OPTIONS: OptionKinds<EngineOptions> = {
  arenaBytes: "number",
  physBase: "address",
  maxTables: "number",
  walkers: "number",
  journalRecords: "number",
  pretouch: "boolean",
};

/** What an engine is laid out as. */
export interface EngineLayout extends Required<Omit<EngineOptions, "physBase">> {
  physBase: Pa;
  /** Pages of the Wasm memory. */
  wasmPages: number;
}

/** Bytes of a unit of the arena. */
export const UNIT = 4096;
const WASM_PAGE = 65536;
const MAX_WASM_PAGES = 65536;
const FIXED_BYTES = 1 << 20;
const PHYSICAL_END = 1n << 52n;

function wasmPages(options: Required<Omit<EngineOptions, "physBase">>): number {
  const metadata = (options.arenaBytes / UNIT) * (K.FRAME_BYTES + options.walkers * K.COUNT_BYTES);
  const walkers = options.walkers * (options.journalRecords * K.JOURNAL_BYTES + K.WALKER_BYTES);
  const rest = options.maxTables * K.TABLE_BYTES + walkers + FIXED_BYTES;
  return Math.ceil((options.arenaBytes + metadata + rest) / WASM_PAGE);
}

/** Is `n` a whole number from `min` to `max`? */
export function isCount(n: number, min: number, max: number): boolean {
  return Number.isInteger(n) && n >= min && n <= max;
}

/** The physical window of the arena lies on whole MiB, below the end of physical addresses [GEO-5]. */
function checkBase(physBase: PaLike, arenaBytes: number): Pa {
  const base = toAddress(physBase, "createEngine");
  if (base % BigInt(K.ARENA_ALIGN) !== 0n) {
    throw invalid("createEngine", `physBase ${hex(base)} is not a multiple of 1 MiB`);
  }
  const end = base + BigInt(arenaBytes);
  if (end > PHYSICAL_END) {
    throw invalid("createEngine", `physBase ${hex(base)}: the arena would end at ${hex(end)}, above 2^52`);
  }
  return base as Pa;
}

/** The layout that options ask for; EINVAL for options that make no sense. */
export function layoutOf(options: EngineOptions): EngineLayout {
  const {
    arenaBytes = 64 << 20,
    maxTables = 256,
    journalRecords = 0,
    walkers = 1,
    pretouch = false,
    physBase = 0x8000_0000n,
  } = checkOptions("createEngine", options, OPTIONS);
  if (!isCount(arenaBytes, K.ARENA_ALIGN, 2 ** 32) || arenaBytes % K.ARENA_ALIGN) {
    throw invalid("createEngine", `arenaBytes ${arenaBytes} is not a multiple of 1 MiB between 1 MiB and 4 GiB`);
  }
  if (!isCount(maxTables, 1, K.MAX_TABLES)) throw invalid("createEngine", `maxTables is 1..${K.MAX_TABLES}`);
  if (!isCount(journalRecords, 0, 2 ** 24)) throw invalid("createEngine", "journalRecords is 0..16777216");
  if (!isCount(walkers, 1, K.MAX_WALKERS)) throw invalid("createEngine", `walkers is 1..${K.MAX_WALKERS}`);
  const sizes = { arenaBytes, maxTables, journalRecords, walkers, pretouch };
  const pages = wasmPages(sizes);
  if (pages > MAX_WASM_PAGES) {
    throw invalid("createEngine", "arena and its metadata do not fit the 4 GiB of a wasm32 memory: try 4000 MiB");
  }
  return { ...sizes, physBase: checkBase(physBase, arenaBytes), wasmPages: pages };
}
