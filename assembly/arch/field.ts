// Bit fields of 64-bit words. A field is named by its lowest bit and its width;
// no other room writes a shift or a mask for a field by hand.

/** A run of `width` ones, `width` in 1..63. */
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
