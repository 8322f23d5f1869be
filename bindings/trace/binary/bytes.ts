import { TraceInputError } from "../errors.js";

/** Most bytes that are taken in one piece: no section of a real recording comes near this. */
export const MAX_PIECE: number = 1 << 28;
/** What is fetched at once for small reads. */
const WINDOW = 1 << 16;
const HIGH = 2 ** 32;
const DECODER = new TextDecoder();

/** Bytes that can be read at any place. */
export interface RandomAccess {
  /** Bytes in all. */
  readonly size: number;
  /** Up to `length` bytes from `at` on; fewer only at the end. */
  read(at: number, length: number): Promise<Uint8Array>;
}

/** Bytes in memory as {@link RandomAccess}. */
export function inMemory(bytes: Uint8Array): RandomAccess {
  return { size: bytes.length, read: async (at, length) => bytes.subarray(at, at + length) };
}

/** A recording that ends too early. */
export function truncated(offset: number, what: string): TraceInputError {
  return new TraceInputError("truncated", `the recording ends in ${what}, at byte ${offset}: is the file complete?`, {
    offset,
  });
}

/** A recording that contradicts its format. */
export function damaged(offset: number, what: string): TraceInputError {
  return new TraceInputError("damaged", `${what}, at byte ${offset}: the recording is damaged`, { offset });
}

/** A recording that is well-formed, and is not read here. */
export function unsupported(what: string, offset = 0): TraceInputError {
  return new TraceInputError("unsupported", what, { offset });
}

/** Pieces put together. */
export function concatenated(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** A view of bytes, wherever they lie in their buffer. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A 64-bit number as a double: exact below 2^53. */
export function wordAt(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * HIGH + view.getUint32(at, true);
}

/** A text that ends at a zero byte, or with the bytes. */
export function stringOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return DECODER.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Reads little-endian fields one after the other, and checks that each is there before it asks for memory. */
export class FieldReader {
  at: number;
  readonly #source: RandomAccess;
  /** First byte after what may be read. */
  readonly #end: number;
  /** Added to a place where an error is reported: the place in the file of what was unpacked. */
  readonly #origin: number;
  #window: Uint8Array = new Uint8Array(0);
  #first = 0;

  constructor(source: RandomAccess, at = 0, end: number = source.size, origin = 0) {
    if (at > source.size) throw truncated(source.size, "what it points to");
    this.#source = source;
    this.at = at;
    this.#end = Math.min(end, source.size);
    this.#origin = origin;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#end - this.at;
  }

  /** Where in the file the reader stands; of unpacked data, where its section lies. */
  get offset(): number {
    return this.#origin > 0 ? this.#origin : this.at;
  }

  /** The next `length` bytes. */
  async take(length: number, what: string): Promise<Uint8Array> {
    if (length > this.left) throw truncated(this.offset, what);
    if (length > MAX_PIECE) throw damaged(this.offset, `${what} of ${length} bytes`);
    const from = this.at - this.#first;
    if (from < 0 || from + length > this.#window.length) await this.#fetch(Math.max(length, WINDOW), length, what);
    const start = this.at - this.#first;
    this.at += length;
    return this.#window.subarray(start, start + length);
  }

  async #fetch(wanted: number, needed: number, what: string): Promise<void> {
    this.#window = await this.#source.read(this.at, Math.min(wanted, this.left));
    this.#first = this.at;
    if (this.#window.length < needed) throw truncated(this.offset, what);
  }

  /** Goes past bytes without reading them. */
  skip(length: number, what: string): void {
    if (length > this.left) throw truncated(this.offset, what);
    this.at += length;
  }

  async u8(what: string): Promise<number> {
    return (await this.take(1, what))[0] as number;
  }

  async u16(what: string): Promise<number> {
    return viewOf(await this.take(2, what)).getUint16(0, true);
  }

  async u32(what: string): Promise<number> {
    return viewOf(await this.take(4, what)).getUint32(0, true);
  }

  /** A size or a place in the file: below 2^53. */
  async u64(what: string): Promise<number> {
    const value = wordAt(viewOf(await this.take(8, what)), 0);
    if (value > Number.MAX_SAFE_INTEGER) throw damaged(this.offset, `${what} of ${value} bytes`);
    return value;
  }

  /** A text up to its zero byte, which is passed. */
  async string(what: string, longest = 4096): Promise<string> {
    const from = this.at;
    const bytes = await this.take(Math.min(longest, this.left), what);
    const end = bytes.indexOf(0);
    if (end < 0) throw damaged(this.offset, `${what} without an end`);
    this.at = from + end + 1;
    return DECODER.decode(bytes.subarray(0, end));
  }

  /** Goes past a fixed text, its zero byte included. */
  async expect(text: string, what: string): Promise<void> {
    if ((await this.string(what, text.length + 1)) !== text) throw damaged(this.offset, `no ${what}`);
  }
}
