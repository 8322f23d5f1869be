// Bit fields of 64-bit words, as the constants that come from assembly/arch/ name them: the lowest bit, and the width above
// WIDTH. The twin of assembly/arch/field.ts.

import { LOW, WIDTH } from "./constants.generated.js";

/** The value of field `f` in `word`. */
export function get(word: bigint, f: number): number {
  return Number(bitsOf(word, f));
}

/** The value of field `f` in `word`, whatever its width. */
export function bitsOf(word: bigint, f: number): bigint {
  return BigInt.asUintN(f >> WIDTH, word >> BigInt(f & LOW));
}

/** The value of field `f`, of 32 bits at most, in the word of two halves. */
export function getIn(low: number, high: number, f: number): number {
  const at = f & LOW,
    width = f >> WIDTH,
    bits = at >= 32 ? high >>> (at - 32) : at === 0 ? low : (low >>> at) | (high << (32 - at));
  return width >= 32 ? bits >>> 0 : bits & ((1 << width) - 1);
}

const halves = new Uint32Array(2);
const whole = new BigUint64Array(halves.buffer);

/** The word of two halves, signed or not: by way of memory, which is quicker than shifting. */
export function joined(low: number, high: number): bigint {
  halves[0] = low;
  halves[1] = high;
  return whole[0] as bigint;
}

/** The low and the high half of a word, until the next call of any function here. */
export function halvesOf(word: bigint): Uint32Array {
  whole[0] = word;
  return halves;
}

/** A whole number in 0..2^53-1 as a bigint. */
export function widened(n: number): bigint {
  return joined(n, n / 2 ** 32);
}

/** `value` at the place of field `f`; bits that have no room are dropped. */
export function put(value: number | bigint, f: number): bigint {
  return BigInt.asUintN(f >> WIDTH, BigInt(value)) << BigInt(f & LOW);
}

/** The bits of a word that field `f` takes. */
export function maskOf(f: number): bigint {
  return put(-1, f);
}

/** Lowest bit of field `f`. */
export function lowOf(f: number): number {
  return f & LOW;
}

/** How many bits field `f` has. */
export function widthOf(f: number): number {
  return f >> WIDTH;
}

/** Highest bit of field `f`. */
export function highOf(f: number): number {
  return (f & LOW) + (f >> WIDTH) - 1;
}

/** How many values field `f` can have. */
export function valuesOf(f: number): number {
  return 2 ** (f >> WIDTH);
}

/** The field of bits `high` down to `low`. */
export function fieldOf(high: number, low: number): number {
  return low | ((high - low + 1) << WIDTH);
}

/** The field that a mask of neighbouring bits, one at least, covers. */
export function fieldOfMask(mask: bigint): number {
  const bits = mask.toString(2);
  return fieldOf(bits.length - 1, bits.length - 1 - bits.lastIndexOf("1"));
}
