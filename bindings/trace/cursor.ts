import { ARG, ARGUMENTS } from "./arguments.js";
import { TraceSyntaxError } from "./errors.js";
import { type Codes, codesOf, Interner, matches } from "./intern.js";
import type { ProbeArguments } from "./probe-forms.js";

export const SPACE: number = 32;
const MINUS = 45;
const ZERO = 48;
const QUOTE = 34;
const OPEN = 40;
const EQUALS = 61;
const NEWLINE = 10;

const POINTERS = (1 << ARG.pgt) | (1 << ARG.mmu);
const RETURNS = (1 << ARG.ret) | (1 << ARG.young);
/** What is missing where the value of an argument is no number. */
const NUMBER_AFTER: readonly string[] = ARGUMENTS.map((name) => `a number after ${name}=`);

const ARGUMENT_CODES = ARGUMENTS.map(codesOf);

/** A place in `SLOTS` for a key, from its ends and its length: no two arguments share one. */
function placeOf(first: number, last: number, length: number): number {
  return (first + 2 * last + 3 * length) & 63;
}

const SLOTS = new Int8Array(64).fill(-1);
ARGUMENTS.forEach((name, slot) => {
  const place = placeOf(name.charCodeAt(0), name.charCodeAt(name.length - 1), name.length);
  if (SLOTS[place] !== -1) throw new Error(`the place of ${name} is taken`);
  SLOTS[place] = slot;
});

const ENCODER = new TextEncoder();
/** How far behind the text a look ahead may go. */
const AHEAD = 2;

/** The codes of a text that is not all ASCII, and room behind them. */
function wide(text: string): Uint16Array {
  const codes = new Uint16Array(text.length + AHEAD);
  for (let i = 0; i < text.length; i++) codes[i] = text.charCodeAt(i);
  return codes;
}

const word = new DataView(new ArrayBuffer(8));

function bigOf(high: number, low: number): bigint {
  word.setUint32(0, high);
  word.setUint32(4, low);
  return word.getBigUint64(0);
}

/** Values of hex digits, by character; -1 for others. Digits and letters mix, so a branch would often be guessed wrong. */
const NIBBLES = Int8Array.from({ length: 128 }, (_, c) =>
  "0123456789abcdef".indexOf(String.fromCharCode(c).toLowerCase()),
);

function nibble(c: number): number {
  return c < 128 ? (NIBBLES[c] as number) : -1;
}

/**
 * A position in a line, and methods that read there. Each of them moves on or throws. None of them
 * makes a substring, since a trace has a million lines.
 */
export class Cursor implements ProbeArguments {
  text = "";
  /** The same text, and two line ends: a look ahead need not ask where the text ends. */
  codes: Codes = new Uint8Array(0);
  /** Next character, and the first one after the line. */
  pos = 0;
  end = 0;
  /** First character of the line. */
  start = 0;
  /** The columns of the line (see EventHead). */
  line = 0;
  time = 0;
  cpu = 0;
  task = "";
  pid = 0;
  event = "";

  /** The two halves of the last hex number: a double cannot hold every 64-bit number. */
  #high = 0;
  #low = 0;
  #seen = 0;
  readonly #numbers = new Float64Array(ARGUMENTS.length);
  readonly #pointers: string[] = ["", ""];
  #wideProt: bigint | undefined;
  readonly #words = new Interner((text) => text);
  /** Pointers apart from other words: mostly the same one comes again. */
  readonly #tables = new Interner((text) => text);
  /** Codes of ASCII text, which nearly all is; used again for each text. */
  #narrow = new Uint8Array(0);

  /** Takes a text to read in. */
  open(text: string): void {
    const { length } = text;
    this.text = text;
    if (this.#narrow.length < length + AHEAD) this.#narrow = new Uint8Array(length + AHEAD);
    const { read, written } = ENCODER.encodeInto(text, this.#narrow);
    // As many bytes as characters: then each byte is one.
    this.codes = read === length && written === length ? this.#narrow : wide(text);
    this.codes.fill(NEWLINE, length, length + AHEAD);
  }

  fail(expected: string): never {
    throw new TraceSyntaxError(this.line, this.text.slice(this.start, this.end), expected);
  }

  char(): number {
    return this.pos < this.end ? (this.codes[this.pos] as number) : -1;
  }

  skipBlanks(): void {
    const { codes, end } = this;
    let { pos } = this;
    while (pos < end && (codes[pos] as number) === SPACE) pos++;
    this.pos = pos;
  }

  /** Goes to the next blank, or to the end of the line. */
  skipWord(): void {
    const { codes, end } = this;
    let { pos } = this;
    while (pos < end && (codes[pos] as number) !== SPACE) pos++;
    this.pos = pos;
  }

  /** Goes past exactly this text. */
  expect(literal: string): void {
    const { codes, pos } = this;
    const { length } = literal;
    if (pos + length > this.end) this.fail(`"${literal.trim()}"`);
    for (let i = 0; i < length; i++) {
      if ((codes[pos + i] as number) !== literal.charCodeAt(i)) this.fail(`"${literal.trim()}"`);
    }
    this.pos = pos + length;
  }

  /** Expects the end of the line, after blanks at most. */
  finish(): void {
    this.skipBlanks();
    if (this.pos !== this.end) this.fail("the end of the line");
  }

  /** The text up to a literal; the cursor goes past the literal. */
  until(literal: string): string {
    const stop = this.text.indexOf(literal, this.pos);
    if (stop < 0 || stop + literal.length > this.end) this.fail(`"${literal.trim()}"`);
    const found = this.#words.get(this.codes, this.pos, stop);
    this.pos = stop + literal.length;
    return found;
  }

  /** The rest of the line. */
  rest(): string {
    return this.text.slice(this.pos, this.end);
  }

  /**
   * A hex number of up to 64 bits, with or without 0x: a zero may come without (TRC-20). Above
   * 2^53 the result is rounded; `exact` gives all its bits.
   */
  hex(what: string): number {
    const { codes, end } = this;
    let pos = this.pos;
    if ((codes[pos] as number) === ZERO && ((codes[pos + 1] as number) | 32) === 120) pos += 2;
    const first = pos;
    let high = 0;
    let low = 0;
    for (; pos < end; pos++) {
      const digit = nibble(codes[pos] as number);
      if (digit < 0) break;
      if (high >>> 28 !== 0) this.fail(`${what} of at most 64 bits`);
      high = (high << 4) | (low >>> 28);
      low = (low << 4) | digit;
    }
    if (pos === first || pos > end) this.fail(what);
    this.pos = pos;
    this.#high = high >>> 0;
    this.#low = low >>> 0;
    return this.#high * 0x1_0000_0000 + this.#low;
  }

  /** A hex number below 2^53, exact. */
  address(what = "an address"): number {
    const value = this.hex(what);
    if (value > Number.MAX_SAFE_INTEGER) this.fail(`${what} below 2^53`);
    return value;
  }

  /** A hex number of 64 bits. */
  big(what = "a 64-bit hex number"): bigint {
    this.hex(what);
    return this.exact();
  }

  /** The hex number just read, exactly. */
  exact(): bigint {
    return bigOf(this.#high, this.#low);
  }

  /** A decimal number below 2^53, exact. */
  decimal(what = "a decimal number"): number {
    const { codes, end } = this;
    let pos = this.pos;
    const negative = (codes[pos] as number) === MINUS && pos < end;
    if (negative) pos++;
    const first = pos;
    let value = 0;
    for (; pos < end; pos++) {
      const digit = (codes[pos] as number) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (pos === first || value > Number.MAX_SAFE_INTEGER) this.fail(what);
    this.pos = pos;
    return negative && value !== 0 ? -value : value;
  }

  /**
   * Reads the arguments of a probe: `(place) key=value key=value`, in any order. Unknown arguments
   * are skipped: a probe may record more than granule needs.
   */
  arguments(): void {
    const { codes, end } = this;
    this.#seen = 0;
    this.#wideProt = undefined;
    this.skipBlanks();
    if (this.char() === OPEN) this.#passPlace();
    for (this.skipBlanks(); this.pos < end; this.skipBlanks()) {
      const key = this.pos;
      let equals = key;
      while (equals < end && (codes[equals] as number) !== EQUALS) equals++;
      if (equals === end) this.fail("key=value");
      const slot = this.#slotOf(key, equals);
      this.pos = equals + 1;
      if (slot < 0) this.#passValue();
      else this.#argument(slot);
    }
  }

  #slotOf(from: number, to: number): number {
    const { codes } = this;
    const slot = SLOTS[placeOf(codes[from] as number, codes[to - 1] as number, to - from)] as number;
    return slot >= 0 && matches(codes, from, to, ARGUMENT_CODES[slot] as Uint16Array) ? slot : -1;
  }

  #passPlace(): void {
    const close = this.text.indexOf(")", this.pos);
    if (close < 0 || close >= this.end) this.fail('")"');
    this.pos = close + 1;
  }

  /** Skips the value of an unknown argument: a string in quotes may hold blanks. */
  #passValue(): void {
    const close = this.char() === QUOTE ? this.text.indexOf('"', this.pos + 1) : -1;
    if (close >= 0 && close < this.end) this.pos = close;
    this.skipWord();
  }

  #argument(slot: number): void {
    const bit = 1 << slot;
    if (this.#seen & bit) this.fail(`${ARGUMENTS[slot]}= only once`);
    this.#seen |= bit;
    if (bit & POINTERS) {
      this.#pointer(slot);
      return;
    }
    this.#numbers[slot] = this.#value(slot, bit);
    if (this.pos < this.end && this.char() !== SPACE) this.fail(NUMBER_AFTER[slot] as string);
  }

  #pointer(slot: number): void {
    const from = this.pos;
    this.skipWord();
    if (this.pos === from) this.fail(`a pointer after ${ARGUMENTS[slot]}=`);
    this.#pointers[slot] = this.#tables.get(this.codes, from, this.pos);
  }

  /** 0x... is hex, anything else signed decimal: the type of a probe's argument decides which it is. */
  #value(slot: number, bit: number): number {
    const hex = this.char() === ZERO && ((this.codes[this.pos + 1] as number) | 32) === 120;
    const what = NUMBER_AFTER[slot] as string;
    if (!hex) return this.decimal(what);
    const value = this.hex(what);
    // A probe of the default type shows -11 as 0xfffffff5 or as 0xfffffffffffffff5.
    if (bit & RETURNS) return this.#low | 0;
    if (value <= Number.MAX_SAFE_INTEGER) return value;
    // A kernel without this argument shows the content of a register.
    if (slot === ARG.flags) return this.#low;
    if (slot !== ARG.prot) this.fail(`${ARGUMENTS[slot]}= below 2^53`);
    this.#wideProt = this.exact();
    return 0;
  }

  /** Was the argument given? Arguments are named by `ARG`. */
  has(argument: number): boolean {
    return (this.#seen & (1 << argument)) !== 0;
  }

  number(argument: number): number {
    if ((this.#seen & (1 << argument)) === 0) this.fail(`${ARGUMENTS[argument]}=`);
    return this.#numbers[argument] as number;
  }

  /** An address or a size: never negative. */
  natural(argument: number): number {
    const value = this.number(argument);
    if (value < 0) this.fail(`${ARGUMENTS[argument]}= not below 0`);
    return value;
  }

  pointer(argument: number): string {
    if (!this.has(argument)) this.fail(`${ARGUMENTS[argument]}=`);
    return this.#pointers[argument] as string;
  }

  prot(): number | bigint {
    const narrow = this.natural(ARG.prot);
    return this.#wideProt ?? narrow;
  }

  /** Interns a stretch of the text, so that equal names are one string. */
  word(from: number, to: number): string {
    return this.#words.get(this.codes, from, to);
  }
}
