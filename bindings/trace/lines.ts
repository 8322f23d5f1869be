import type { ByteStream } from "../core/platform.js";
import { TraceInputError } from "./errors.js";

/** No line of a trace comes near this; a file with one is something else. */
const MAX_LINE_BYTES = 1 << 20;
/** Small chunks are gathered until a block has this size. */
const BLOCK_BYTES = 1 << 16;
const NEWLINE = 10;
const MIB = 1 << 20;

/**
 * Where bytes come from: the body of a `fetch`, a `Blob.stream()`, a Node stream, or bytes that
 * are already in memory. Gzip data is recognised by its first two bytes.
 */
export type ByteSource = ByteStream | AsyncIterable<Uint8Array> | Iterable<Uint8Array> | Uint8Array;

function isStream(source: ByteSource): source is ByteStream {
  return typeof (source as ByteStream).getReader === "function";
}

/** Not every browser can iterate over a stream, so it is read by hand. */
async function* chunksOf(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined> {
  if (source instanceof Uint8Array) {
    yield source;
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
async function* following(
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

/** The first two bytes may come in two chunks. */
async function opening(chunks: AsyncGenerator<Uint8Array, void, undefined>): Promise<Uint8Array> {
  let first: Uint8Array = new Uint8Array(0);
  while (first.length < 2) {
    const { done, value } = await chunks.next();
    if (done) break;
    first = joined([first, value]);
  }
  return first;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
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

async function* gunzip(
  chunks: AsyncGenerator<Uint8Array, void, undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sourceFailed = false;
  const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller): Promise<void> {
      try {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value as Uint8Array<ArrayBuffer>);
      } catch (error) {
        sourceFailed = true;
        throw error;
      }
    },
    async cancel(): Promise<void> {
      await chunks.return();
    },
  });
  try {
    yield* chunksOf(packed.pipeThrough(new DecompressionStream("gzip")));
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
  const first = await opening(raw);
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
  const chunks = readBytes(source, totalBytes);
  const decoder = new TextDecoder("utf-8", { fatal: strict });
  let held: Uint8Array[] = [];
  let size = 0;
  let offset = 0;
  for await (const chunk of chunks) {
    held.push(chunk);
    size += chunk.length;
    if (size < BLOCK_BYTES) continue;
    // Cut behind the last line end, so that no line and no character is ever split.
    const bytes = joined(held);
    const cut = bytes.lastIndexOf(NEWLINE) + 1;
    refuseLongLine(bytes, offset, lineBytes);
    if (cut > 0) yield decode(decoder, bytes.subarray(0, cut), offset);
    held = [bytes.slice(cut)];
    size = bytes.length - cut;
    offset += cut;
  }
  const rest = joined(held);
  refuseLongLine(rest, offset, lineBytes);
  if (rest.length > 0) yield decode(decoder, rest, offset);
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
