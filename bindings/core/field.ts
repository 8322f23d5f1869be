// Bit fields of 64-bit words, as the constants that come from assembly/arch/ name them: the lowest bit, and the width above
// WIDTH. The twin of assembly/arch/field.ts.

import { WIDTH } from "./constants.generated.js";

const LOW = 0xff;

/** The value of field `f` in `word`. */
export function get(word: bigint, f: number): number {
  return Number(BigInt.asUintN(f >> WIDTH, word >> BigInt(f & LOW)));
}

/** `value` at the place of field `f`; bits that have no room are dropped. */
export function put(value: number | bigint, f: number): bigint {
  return BigInt.asUintN(f >> WIDTH, BigInt(value)) << BigInt(f & LOW);
}
