import type { ByteStream } from "../core/platform.js";
import { TraceInputError } from "./errors.js";

/** No line of a trace comes near this; a file with one is something else. */
const MAX_LINE_BYTES = 1 << 20;
/**
 * Small chunks are gathered until a block has this size, and large ones are taken in pieces of it. V8 makes strings of up to
 * 128 KiB where garbage costs least; a larger one costs eight times as much a byte.
 */
const BLOCK_BYTES = 1 << 16;
/** What Node unpacks at a time, and how much of it may wait to be read. */
const UNPACKED = { chunkSize: 1 << 18, readableHighWaterMark: 1 << 20 };
const NEWLINE = 10;
const MIB = 1 << 20;

/** What granule uses of a `Blob`, such as a file that was dropped on a page. */
export interface ByteBlob {
  /** Bytes in all. */
  readonly size: number;
  /** The bytes from `start` up to `end`. */
  slice(
    start: number,
    end: number,
  ): {
    /** Reads them. */
    arrayBuffer(): Promise<ArrayBuffer>;
  };
  /** All bytes, one after the other. */
  stream(): ByteStream;
}

/**
 * Where bytes come from: a `Blob`, the body of a `fetch`, a Node stream, or bytes that
 * are already in memory. Gzip data is recognised by its first two bytes.
 */
export type ByteSource = ByteBlob | ByteStream | AsyncIterable<Uint8Array> | Iterable<Uint8Array> | Uint8Array;

function isStream(source: ByteSource): source is ByteStream {
  return typeof (source as ByteStream).getReader === "function";
}

/** Can this source be read at any place, as a blob can? */
export function isBlob(source: ByteSource): source is ByteBlob {
  const { slice, stream } = source as ByteBlob;
  return typeof slice === "function" && typeof stream === "function";
}

/** Not every browser can iterate over a stream, so it is read by hand. */
async function* chunksOf(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined> {
  if (source instanceof Uint8Array) {
    yield source;
    return;
  }
  if (isBlob(source)) {
    yield* chunksOf(source.stream());
    return;
  }
  if (!isStream(source)) {
    yield* source;
    return;
  }
  const reader = source.getReader();
  let finished = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      finished = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!finished) await reader.cancel().catch(() => undefined);
    reader.releaseLock();
  }
}

/** The chunks again, with the first one that was read to look at it. */
export async function* following(
  first: Uint8Array,
  rest: AsyncGenerator<Uint8Array, void, undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    if (first.length > 0) yield first;
    yield* rest;
  } finally {
    await rest.return();
  }
}

/** The first bytes, as many as are asked for if there are so many: they may come in several chunks. */
export async function opening(chunks: AsyncGenerator<Uint8Array, void, undefined>, least: number): Promise<Uint8Array> {
  let first: Uint8Array = new Uint8Array(0);
  while (first.length < least) {
    const { done, value } = await chunks.next();
    if (done) break;
    first = first.length === 0 ? value : joined([first, value]);
  }
  return first;
}

function joined([one, two]: readonly [Uint8Array, Uint8Array]): Uint8Array {
  const whole = new Uint8Array(one.length + two.length);
  whole.set(one);
  whole.set(two, one.length);
  return whole;
}

/** JavaScript engines word the error for cut gzip data differently; each of them mentions an end. */
function gzipError(cause: unknown): TraceInputError {
  const said = cause instanceof Error ? `${cause.message} ${String(cause.cause ?? "")}` : String(cause);
  const code = (cause as { code?: unknown } | null)?.code;
  return code === "Z_BUF_ERROR" || /unexpected end|premature|truncat|incomplete|finish/i.test(said)
    ? new TraceInputError("truncated-gzip", "the gzip data ends too early: is the file complete?", {
        cause,
      })
    : new TraceInputError("bad-gzip", "the gzip data is damaged", { cause });
}

/** Bytes in, bytes out: what unpacks gzip data here. */
type Unpack = (chunks: AsyncGenerator<Uint8Array, void, undefined>) => AsyncIterable<Uint8Array>;

/** With what every browser has, and Node as well. */
const unpackOnWeb: Unpack = (chunks) => {
  const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller): Promise<void> {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value as Uint8Array<ArrayBuffer>);
    },
    async cancel(): Promise<void> {
      await chunks.return();
    },
  });
  return chunksOf(packed.pipeThrough(new DecompressionStream("gzip")));
};

/** With Node's own, on a thread beside this one: Node's DecompressionStream gives small pieces, and each costs a turn. */
function unpackOnNode(): Unpack | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const zlib = process?.getBuiltinModule?.("node:zlib") as typeof import("node:zlib") | undefined;
  const stream = process?.getBuiltinModule?.("node:stream") as typeof import("node:stream") | undefined;
  if (!zlib || !stream) return undefined;
  return (chunks) => {
    const gunzip = zlib.createGunzip(UNPACKED);
    // An error on either side ends the other one, and reaches the reader of `gunzip`: nothing is left for the callback.
    return stream.pipeline(stream.Readable.from(chunks, { objectMode: true }), gunzip, () => {});
  };
}

async function* gunzip(
  chunks: AsyncGenerator<Uint8Array, void, undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sourceFailed = false;
  async function* watched(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* chunks;
    } catch (error) {
      sourceFailed = true;
      throw error;
    }
  }
  try {
    yield* (unpackOnNode() ?? unpackOnWeb)(watched());
  } catch (error) {
    throw sourceFailed ? error : gzipError(error);
  }
}

/** What `readBlocks` takes at most; more is refused. */
export interface ReadBounds {
  /** Longest line in bytes. Default 1 MiB. */
  lineBytes?: number;
  /** Longest input in bytes, unpacked. Default: any. */
  totalBytes?: number;
  /** Refuse bytes that are not UTF-8, rather than read them as U+FFFD. Default false. */
  strict?: boolean;
}

/** Only a block of more than the bound can hold a line of more: the others need no look. */
function refuseLongLine(bytes: Uint8Array, offset: number, bound: number): void {
  for (let start = 0; bytes.length - start > bound; ) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline < 0 ? bytes.length : newline;
    if (end - start > bound) {
      throw new TraceInputError(
        "long-line",
        `the line at byte ${offset + start} is longer than ${bound / MIB} MiB, the most that a line may have`,
      );
    }
    start = end + 1;
  }
}

/** Passes the bytes on until there are more of them than the bound. */
async function* bounded(source: AsyncIterable<Uint8Array>, bound: number): AsyncGenerator<Uint8Array, void, undefined> {
  let total = 0;
  for await (const chunk of source) {
    total += chunk.length;
    if (total > bound) {
      throw new TraceInputError("too-long", `the input is longer than ${bound / MIB} MiB (unpacked)`);
    }
    yield chunk;
  }
}

function decode(decoder: TextDecoder, bytes: Uint8Array, offset: number): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new TraceInputError("not-text", `not UTF-8 text, in the lines from byte ${offset} on`, { cause });
  }
}

/**
 * The bytes of a source as they come; gzip is told by its first two bytes, and unpacked.
 *
 * @param totalBytes - most bytes that are given, unpacked
 * @throws {@link TraceInputError} on gzip data that is cut short or damaged, and on more than `totalBytes`
 * @example
 * ```ts
 * import { readBytes } from "granule/trace";
 *
 * for await (const bytes of readBytes([Uint8Array.of(1, 2)])) console.log(bytes.length); // 2
 * ```
 */
export async function* readBytes(
  source: ByteSource,
  totalBytes: number = Number.POSITIVE_INFINITY,
): AsyncGenerator<Uint8Array, void, undefined> {
  const raw = chunksOf(source);
  const first = await opening(raw, 2);
  const whole = following(first, raw);
  yield* bounded(first[0] === 0x1f && first[1] === 0x8b ? gunzip(whole) : whole, totalBytes);
}

/**
 * Turns bytes into blocks of text, each made of whole lines. Unpacks gzip (one member; some
 * engines refuse what follows it). Text is UTF-8; a byte that is not becomes U+FFFD, unless the bounds are strict.
 *
 * @throws {@link TraceInputError} on gzip data that is cut short or damaged, and on what goes beyond the bounds
 * @example
 * ```ts
 * import { readBlocks } from "granule/trace";
 *
 * const bytes = new TextEncoder().encode("one\ntwo");
 * for await (const block of readBlocks([bytes])) console.log(block); // "one\ntwo"
 * ```
 */
export async function* readBlocks(
  source: ByteSource,
  { lineBytes = MAX_LINE_BYTES, totalBytes, strict = false }: ReadBounds = {},
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder("utf-8", { fatal: strict });
  let held = new Uint8Array(2 * BLOCK_BYTES);
  let size = 0;
  let offset = 0;
  for await (const chunk of readBytes(source, totalBytes)) {
    for (let at = 0; at < chunk.length; at += BLOCK_BYTES) {
      const piece = chunk.subarray(at, at + BLOCK_BYTES);
      if (size + piece.length > held.length) held = grown(held);
      held.set(piece, size);
      size += piece.length;
      if (size < BLOCK_BYTES) continue;
      refuseLongLine(held.subarray(0, size), offset, lineBytes);
      // Cut behind the last line end, so that no line and no character is ever split.
      const cut = held.lastIndexOf(NEWLINE, size - 1) + 1;
      if (cut > 0) yield decode(decoder, held.subarray(0, cut), offset);
      held.copyWithin(0, cut, size);
      size -= cut;
      offset += cut;
    }
  }
  const rest = held.subarray(0, size);
  refuseLongLine(rest, offset, lineBytes);
  if (size > 0) yield decode(decoder, rest, offset);
}

/** The same bytes with room for as many again. */
function grown(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(2 * bytes.length);
  larger.set(bytes);
  return larger;
}

/**
 * The text of a small file as a whole: {@link readBlocks} put together.
 *
 * @param totalBytes - most bytes that are taken, unpacked, so that a small gzip file cannot fill the memory
 * @throws {@link TraceInputError} as {@link readBlocks} does
 * @example
 * ```ts
 * import { readWhole } from "granule/trace";
 *
 * console.log(await readWhole(new TextEncoder().encode("text"), 1 << 20)); // "text"
 * ```
 */
export async function readWhole(source: ByteSource, totalBytes: number): Promise<string> {
  let text = "";
  for await (const block of readBlocks(source, { totalBytes })) text += block;
  return text;
}
