import { ARG, ARGUMENTS } from "../arguments.js";
import { TraceRecordError } from "../errors.js";
import type { ProbeArguments } from "../probe-forms.js";
import { stringOf } from "./bytes.js";
import type { EventLayout, FieldLayout } from "./layout.js";

const HIGH = 2 ** 32;
const ABSENT = -1;
const NO_VIEW = new DataView(new ArrayBuffer(0));
const POINTERS: readonly number[] = [ARG.pgt, ARG.mmu];
/** Pointers that are kept as text: a trace has a few, a hostile one many. */
const MAX_POINTERS = 4096;

/** The fields of one event, as slots: a form asks for its fields by their place in its list. */
export class FieldSlots {
  readonly names: readonly string[];
  readonly layouts: readonly (FieldLayout | undefined)[];
  readonly offsets: Int32Array;
  readonly sizes: Int32Array;
  readonly signed: Uint8Array;
  /** Pointers that the kernel prints in decimal: as text has them. */
  readonly decimal: Uint8Array;
  /** Bytes that a record must have. */
  readonly least: number;

  constructor(layout: EventLayout, names: readonly string[]) {
    this.names = names;
    this.layouts = names.map((name) => layout.fields.get(name));
    this.offsets = Int32Array.from(this.layouts, (field) => field?.offset ?? ABSENT);
    this.sizes = Int32Array.from(this.layouts, (field) => field?.size ?? 0);
    this.signed = Uint8Array.from(this.layouts, (field) => (field?.signed ? 1 : 0));
    this.decimal = Uint8Array.from(names, (name, slot) =>
      POINTERS.includes(slot) && layout.print.includes(` ${name}=%`) ? 1 : 0,
    );
    this.least = Math.max(0, ...this.layouts.map((field) => (field ? field.offset + field.size : 0)));
  }
}

/** A record of a binary trace, and methods that read its fields. None of them makes an object. */
export class Fields implements ProbeArguments {
  /** The columns of the record (see EventHead). */
  line = 0;
  time = 0;
  cpu = 0;
  task = "";
  pid = 0;
  event = "";
  /** The record, and where it is in the file. */
  view: DataView = NO_VIEW;
  at = 0;
  length = 0;
  offset = 0;
  slots!: FieldSlots;
  print = "";
  #low = 0;
  #high = 0;
  readonly #pointers = new Map<number, Map<number, string>>();
  #pointersKept = 0;
  #lastLow = 0;
  #lastHigh = 0;
  #lastPointer = "";

  fail(expected: string): never {
    throw new TraceRecordError(this.line, this.offset, this.event, expected);
  }

  /** What a text reader does here; the fields of a record need no preparation. */
  arguments(): void {}

  has(slot: number): boolean {
    return (this.slots.offsets[slot] as number) !== ABSENT;
  }

  /** Reads a field as two halves, sign-extended where it is signed. */
  #read(slot: number): void {
    const { offsets, sizes, signed } = this.slots;
    const offset = offsets[slot] as number;
    if (offset === ABSENT) this.fail(`a field ${this.slots.names[slot]}`);
    const at = this.at + offset;
    const size = sizes[slot] as number;
    if (size === 8) {
      this.#low = this.view.getUint32(at, true);
      this.#high = this.view.getUint32(at + 4, true);
      return;
    }
    let value = 0;
    if (size === 4) value = this.view.getInt32(at, true);
    else if (size === 2) value = this.view.getInt16(at, true);
    else if (size === 1) value = this.view.getInt8(at);
    else this.fail(`${this.slots.names[slot]} of 1, 2, 4 or 8 bytes`);
    const negative = value < 0 && signed[slot] === 1;
    this.#low = (size === 4 || negative ? value : value & ((1 << (8 * size)) - 1)) >>> 0;
    this.#high = negative ? 0xffff_ffff : 0;
  }

  /** A field below 2^53, or a negative one above -2^31. */
  number(slot: number): number {
    this.#read(slot);
    const low = this.#low;
    // Results come as 32 bits of a register, or as a signed number of 32 or 64 bits.
    if (this.slots.names === ARGUMENTS && (slot === ARG.ret || slot === ARG.young)) return low | 0;
    if (this.#high === 0xffff_ffff && this.slots.signed[slot] === 1) return low | 0;
    if (this.#high > 0x1f_ffff) this.fail(`${this.slots.names[slot]} below 2^53`);
    return this.#high * HIGH + low;
  }

  natural(slot: number): number {
    if (slot === ARG.flags && this.slots.names === ARGUMENTS) {
      // A kernel without this argument shows the content of a register.
      this.#read(slot);
      return this.#high > 0x1f_ffff ? this.#low : this.#high * HIGH + this.#low;
    }
    const value = this.number(slot);
    if (value < 0) this.fail(`${this.slots.names[slot]} not below 0`);
    return value;
  }

  /** A field of 64 bits as a double: exact below 2^53. */
  rounded(slot: number): number {
    this.#read(slot);
    return this.#high * HIGH + this.#low;
  }

  /** A field of 64 bits, exactly. */
  big(slot: number): bigint {
    const offset = this.slots.offsets[slot] as number;
    if (offset !== ABSENT && this.slots.sizes[slot] === 8) return this.view.getBigUint64(this.at + offset, true);
    this.#read(slot);
    return (BigInt(this.#high) << 32n) | BigInt(this.#low);
  }

  prot(): number | bigint {
    this.#read(ARG.prot);
    return this.#high > 0x1f_ffff ? this.big(ARG.prot) : this.#high * HIGH + this.#low;
  }

  pointer(slot: number): string {
    this.#read(slot);
    const low = this.#low;
    const high = this.#high;
    if (low !== this.#lastLow || high !== this.#lastHigh || this.#lastPointer === "") {
      this.#lastLow = low;
      this.#lastHigh = high;
      this.#lastPointer = this.#spelled(slot, low, high);
    }
    return this.#lastPointer;
  }

  #spelled(slot: number, low: number, high: number): string {
    const known = this.#pointers.get(low)?.get(high);
    if (known !== undefined) return known;
    const value = (BigInt(high) << 32n) | BigInt(low);
    const text = this.slots.decimal[slot] ? value.toString() : `0x${value.toString(16)}`;
    if (this.#pointersKept++ < MAX_POINTERS) {
      const same = this.#pointers.get(low) ?? new Map<number, string>();
      this.#pointers.set(low, same.set(high, text));
    }
    return text;
  }

  /** A text: an array to the end of the record, one of a fixed size, or one that a word points to. */
  text(slot: number): string {
    const field = this.slots.layouts[slot];
    if (field === undefined) this.fail(`a field ${this.slots.names[slot]}`);
    let from = field.offset;
    let to = field.size === 0 ? this.length : field.offset + field.size;
    if (field.dynamic !== "no") {
      const word = this.view.getUint32(this.at + field.offset, true);
      from = (word & 0xffff) + (field.dynamic === "relative" ? to : 0);
      to = from + (word >>> 16);
    }
    if (from > to || to > this.length) this.fail(`${this.slots.names[slot]} inside the record`);
    return stringOf(new Uint8Array(this.view.buffer, this.view.byteOffset + this.at + from, to - from));
  }
}
