import type { TraceInputError } from "../errors.js";
import { concatenated, damaged, unsupported } from "./bytes.js";

/** Most bytes that one piece of a stream may become: perf flushes what a ring buffer holds. */
const MAX_FLUSHED = 1 << 26;
/** Of the header of a zstd frame: there is no window beside the content. */
const SINGLE_SEGMENT = 1 << 5;
const MAX_WINDOW_BITS = 27;

/** Unpacks one piece whose size is known. */
export type Unpack = (packed: Uint8Array, size: number, offset: number) => Promise<Uint8Array>;

function badData(offset: number, cause: unknown): TraceInputError {
  return Object.assign(damaged(offset, "compressed data that cannot be unpacked"), { cause });
}

/** zlib with what browsers have, and Node too. Nothing beyond the size is kept. */
async function inflate(packed: Uint8Array, size: number, offset: number): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  let at = 0;
  const stream = new Blob([packed as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > size) throw new Error("longer than its size");
      out.set(value, at);
      at += value.length;
    }
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    throw badData(offset, error);
  }
  if (at !== size) throw damaged(offset, `compressed data of ${at} bytes that should be ${size}`);
  return out;
}

/** Refuses a frame that asks for more memory than zstd itself grants unless it is told otherwise. */
function refuseWideWindow(packed: Uint8Array, offset: number): void {
  const flags = packed[4];
  if (flags === undefined || packed[0] !== 0x28 || flags & SINGLE_SEGMENT) return;
  const exponent = 10 + ((packed[5] ?? 0) >> 3);
  if (exponent > MAX_WINDOW_BITS) throw damaged(offset, `zstd data with a window of 2^${exponent} bytes`);
}

async function zstd(packed: Uint8Array, size: number, offset: number): Promise<Uint8Array> {
  const { fzstd } = await import("../fzstd.generated.js");
  refuseWideWindow(packed, offset);
  const out = new Uint8Array(size);
  let at = 0;
  const stream = new fzstd.Decompress((piece) => {
    if (at + piece.length > size) throw new Error("longer than its size");
    out.set(piece, at);
    at += piece.length;
  });
  try {
    stream.push(packed, true);
  } catch (error) {
    throw badData(offset, error);
  }
  if (at !== size) throw damaged(offset, `compressed data of ${at} bytes that should be ${size}`);
  return out;
}

/** What unpacks data of the named algorithm. */
export function unpackerOf(algorithm: string): Unpack {
  if (algorithm === "zlib") return inflate;
  if (algorithm === "zstd") return zstd;
  throw unsupported(`the recording is compressed with ${JSON.stringify(algorithm)}: zlib and zstd can be read`);
}

/** Unpacks a zstd stream that comes in pieces, each of which its writer had flushed. */
export async function zstdStream(): Promise<(packed: Uint8Array, offset: number) => Uint8Array> {
  const { fzstd } = await import("../fzstd.generated.js");
  let pieces: Uint8Array[] = [];
  let size = 0;
  let first = true;
  const stream = new fzstd.Decompress((piece) => {
    size += piece.length;
    if (size > MAX_FLUSHED) throw new Error(`more than ${MAX_FLUSHED} bytes at once`);
    pieces.push(piece);
  });
  return (packed, offset) => {
    pieces = [];
    size = 0;
    if (first) refuseWideWindow(packed, offset);
    first = false;
    try {
      stream.push(packed);
    } catch (error) {
      throw badData(offset, error);
    }
    return concatenated(pieces);
  };
}
