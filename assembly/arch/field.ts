// Bit fields of 64-bit words. A field is one number: its lowest bit in bits 7:0, its width from bit 8 up. The layout of a
// register is then a list of constants, and `get` is the inverse of `put`. With a constant field each of them compiles to a
// shift and a mask.

import { demand, RULE_FIELD } from "../demand";

/** A field is `low | (width << WIDTH)`; `width` in 1..63. */
export const WIDTH: u32 = 8;
/** The bits of a field that are its lowest bit. */
export const LOW: u32 = 0xff;

function isField(f: u32): bool {
  return f >> WIDTH !== 0 && (f >> WIDTH) + (f & LOW) <= 64;
}

/** The value of field `f` in `word`. */
export function get(word: u64, f: u32): u64 {
  demand(isField(f), RULE_FIELD);
  return (word >> (f & LOW)) & ones(f >> WIDTH);
}

/** `value` at the place of field `f`, all other bits 0; bits of `value` above the width are dropped. */
export function put(value: u64, f: u32): u64 {
  demand(isField(f), RULE_FIELD);
  return (value & ones(f >> WIDTH)) << (f & LOW);
}

/** The bits of a word that field `f` takes. */
export function maskOf(f: u32): u64 {
  return ones(f >> WIDTH) << (f & LOW);
}

/** A run of `width` ones, `width` in 0..63. */
export function ones(width: u32): u64 {
  return ((<u64>1) << width) - 1;
}

/** The mask of bits `[high:low]`, both inclusive, `low <= high <= 63`. */
export function mask(high: u32, low: u32): u64 {
  return (~(<u64>0) >> (63 - high)) & (~(<u64>0) << low);
}

/** `value` placed at bit `low`; bits above `width` are dropped. */
export function insert(value: u64, low: u32, width: u32): u64 {
  return (value & ones(width)) << low;
}

/** The field of `width` bits at bit `low` of `word`. */
export function extract(word: u64, low: u32, width: u32): u64 {
  return (word >> low) & ones(width);
}

/** One bit of `word`, 0 or 1. */
export function bit(word: u64, at: u32): u64 {
  return (word >> at) & 1;
}
