import * as K from "../core/constants.generated.js";
import { GranuleError, invalid } from "../core/errors.js";
import { HeaderView } from "../core/memory-views.generated.js";
import type { WasmMemory } from "../core/platform.js";
import { Words } from "../core/view.js";

/** Ranges of a caller's memory begin and end at Wasm pages: 64 KiB, which is the largest granule too. */
export const PAGE = 65536;
/** Where the engine begins in a memory of its own: pointer 0 stays none. */
export const OWN_BASE: number = K.HEADER_BYTES;
/** What stands in place of a version in the header of a range that is no engine. */
const NO_ENGINE = 0;

/** A range of a memory. */
export interface Place {
  readonly offset: number;
  readonly bytes: number;
}

function isShared(memory: WasmMemory): boolean {
  // A page that is not cross-origin isolated has such memories, though no name for their buffers.
  return Object.prototype.toString.call(memory.buffer) === "[object SharedArrayBuffer]";
}

/** EINVAL for what is no memory that the core can work in. */
export function checkMemory(operation: string, memory: WasmMemory): void {
  if (!(memory instanceof WebAssembly.Memory)) throw invalid(operation, "`memory` is not a WebAssembly.Memory");
  if (!isShared(memory)) {
    throw invalid(operation, "the memory is not shared: new WebAssembly.Memory({ initial, maximum, shared: true })");
  }
}

/** The range, when it lies in the memory and begins and ends at multiples of `unit`; EINVAL names what does not. */
export function checkPlace(
  operation: string,
  memory: WasmMemory,
  { offset, bytes }: Place,
  unit: number,
  what = "",
): Place {
  const end = memory.buffer.byteLength;
  const check = (name: string, value: number) => {
    if (Number.isInteger(value) && value >= 0 && value % unit === 0) return;
    throw invalid(operation, `${what}${name} ${value} is not a multiple of ${unit}`);
  };
  check("offset", offset);
  check("bytes", bytes);
  if (offset + bytes > end) {
    throw invalid(operation, `${what}offset ${offset} + bytes ${bytes} is beyond the memory's end, ${end}`);
  }
  return { offset, bytes };
}

/** Is the header that of an engine with walkers, or of a range in use that is no engine? */
function isLive({ magic, version, self, walkers, maxWalkers }: HeaderView, { u32 }: Words, at: number): boolean {
  if (magic !== K.MAGIC || self !== at) return false;
  if (version === NO_ENGINE) return true;
  if (version !== K.LAYOUT_VERSION || maxWalkers > K.MAX_WALKERS) return false;
  return Array.from({ length: maxWalkers }, (_, id) => {
    const word = walkers + id * K.WALKER_BYTES + K.ATTACHED_AT;
    return word / 4 < u32.length && Atomics.load(u32, word / 4) !== K.DETACHED;
  }).some(Boolean);
}

/**
 * EEXIST when an engine with walkers, or the scratch range of an MMU, shares a byte with the range: each begins with a header at
 * the start of a Wasm page. What nobody uses any more may be overwritten.
 */
export function assertFree(operation: string, memory: WasmMemory, { offset, bytes }: Place): void {
  const words = new Words(memory.buffer);
  const header = new HeaderView(words);
  const end = offset + bytes;
  for (let at = OWN_BASE; at < end; at = at === OWN_BASE ? 0 : at + PAGE) {
    if (words.u32[at / 4] !== K.MAGIC) continue;
    header.at = at;
    if (at + header.bytes <= offset || !isLive(header, words, at)) continue;
    const who = header.version === NO_ENGINE ? "the scratch range of an MMU" : "an engine";
    throw new GranuleError(K.EEXIST, {
      operation,
      hint: `${who} uses bytes ${at} to ${at + header.bytes} of this memory: close it first, or take another range`,
    });
  }
}

/** Says in the range itself that it is in use, though not by an engine. */
export function mark(memory: WasmMemory, { offset, bytes }: Place): void {
  const header = new HeaderView(new Words(memory.buffer), offset);
  header.version = NO_ENGINE;
  header.self = offset;
  header.bytes = bytes;
  header.magic = K.MAGIC;
}

/** Takes the mark away. */
export function unmark(memory: WasmMemory, { offset }: Place): void {
  new HeaderView(new Words(memory.buffer), offset).magic = 0;
}
