// Descriptors as every stage and regime has them. The twin of assembly/arch/descriptor.ts.

import * as K from "./constants.generated.js";
import { fieldOf, get, getIn, maskOf, put } from "./field.js";

/** Where an output address has the bits that are not in place; 0 where all are in place [FMT-1]. */
export function packedField(ps: number, lpa2: boolean): number {
  if (ps === K.PS_64K) return K.PACKED_64K;
  return lpa2 ? K.PACKED_LPA2 : 0;
}

/** How many bits of an output address are in place, counted from bit 0. */
export function linearBits(packed: number): number {
  return packed === K.PACKED_LPA2 ? K.LINEAR_BITS_LPA2 : K.LINEAR_BITS;
}

/** Output address of a leaf or table descriptor [FMT-2]. */
export function decodeAddress(ps: number, lpa2: boolean, descriptor: bigint): bigint {
  const packed = packedField(ps, lpa2),
    bits = linearBits(packed);
  const low = descriptor & maskOf(fieldOf(bits - 1, ps));
  return packed === 0 ? low : low | (BigInt(get(descriptor, packed)) << BigInt(bits));
}

/** The bits of a descriptor that hold an output address; bits that they cannot hold are dropped [FMT-2]. */
export function encodeAddress(ps: number, lpa2: boolean, pa: bigint): bigint {
  const packed = packedField(ps, lpa2),
    bits = linearBits(packed);
  const low = pa & maskOf(fieldOf(bits - 1, ps));
  return packed === 0 ? low : low | put(pa >> BigInt(bits), packed);
}

/** What `decodeAddress` gives, as a number, of the two halves of a descriptor. */
export function outputOf(ps: number, lpa2: boolean, low: number, high: number): number {
  const packed = packedField(ps, lpa2),
    bits = linearBits(packed);
  const inPlace = (high & ((1 << (bits - 32)) - 1)) * 2 ** 32 + (((low >>> ps) << ps) >>> 0);
  return packed === 0 ? inPlace : inPlace + getIn(low, high, packed) * 2 ** bits;
}

/** True for a table descriptor; level 3 has none [FMT-5]. */
export function isTable(descriptor: bigint, level: number): boolean {
  return (descriptor & K.TABLE) === K.TABLE && level < K.LAST_LEVEL;
}
