/** The kinds of fields of protobuf's wire format that are written here. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;

const HIGH = 2 ** 32;
/** A length that is not known yet has this many bytes: a varint may be longer than it need be. */
const LENGTH_BYTES = 4;
/** The longest message: what fits into these bytes. */
const MAX_LENGTH: number = 2 ** (7 * LENGTH_BYTES) - 1;
const ENCODER = new TextEncoder();

/** Writes messages in protobuf's wire format into a buffer that grows, and is used again. */
export class ProtobufWriter {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  /** Bytes written since the last `take`. */
  get length(): number {
    return this.#at;
  }

  /** What was written; the bytes are valid until something else is. */
  take(): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.#at);
    this.#at = 0;
    return bytes;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at + bytes));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }

  /** A number of 64 bits in two halves. */
  #varint(low: number, high: number): void {
    this.#reserve(10);
    const bytes = this.#bytes;
    let rest = low >>> 0;
    let above = high >>> 0;
    while (above !== 0 || rest > 127) {
      bytes[this.#at++] = (rest & 127) | 128;
      rest = ((rest >>> 7) | (above << 25)) >>> 0;
      above >>>= 7;
    }
    bytes[this.#at++] = rest;
  }

  #tag(field: number, kind: number): void {
    this.#varint(field * 8 + kind, 0);
  }

  /** A whole number, not negative and below 2^53. */
  uint(field: number, value: number): void {
    this.#tag(field, VARINT);
    this.#varint(value % HIGH, Math.floor(value / HIGH));
  }

  /** A number of 64 bits. */
  big(field: number, value: bigint): void {
    const word = BigInt.asUintN(64, value);
    this.#tag(field, VARINT);
    this.#varint(Number(word & 0xffff_ffffn), Number(word >> 32n));
  }

  /** A whole number of either sign, as `int64` has it. */
  int(field: number, value: number): void {
    if (value < 0) this.big(field, BigInt(value));
    else this.uint(field, value);
  }

  /** A `fixed64` below 2^53. */
  fixed(field: number, value: number): void {
    this.#tag(field, FIXED64);
    this.#reserve(8);
    this.#view.setUint32(this.#at, value % HIGH, true);
    this.#view.setUint32(this.#at + 4, Math.floor(value / HIGH), true);
    this.#at += 8;
  }

  double(field: number, value: number): void {
    this.#tag(field, FIXED64);
    this.#reserve(8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  string(field: number, text: string): void {
    this.#tag(field, LENGTH);
    const bytes = ENCODER.encode(text);
    this.#varint(bytes.length, 0);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Begins a message inside; gives what `end` needs. */
  begin(field: number): number {
    this.#tag(field, LENGTH);
    this.#reserve(LENGTH_BYTES);
    this.#at += LENGTH_BYTES;
    return this.#at;
  }

  /** Ends the message that began there. */
  end(start: number): void {
    let length = this.#at - start;
    if (length > MAX_LENGTH) throw new RangeError(`a message of ${length} bytes`);
    for (let i = LENGTH_BYTES; i > 0; i--) {
      this.#bytes[start - i] = i > 1 ? (length & 127) | 128 : length & 127;
      length >>>= 7;
    }
  }
}
