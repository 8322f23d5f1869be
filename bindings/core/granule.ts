// What a granule means for tables. The twin of assembly/arch/granule.ts: a granule is named by `ps`, the log2 of its size.

import * as K from "./constants.generated.js";

/** Descriptors in one table [GEO-1]. */
export function entries(ps: number): number {
  return 2 ** (ps - K.ENTRY_SHIFT);
}

/** log2 of what one entry of `level` covers [GEO-2]. */
export function shift(ps: number, level: number): number {
  return (K.LAST_LEVEL + 1 - level) * (ps - K.ENTRY_SHIFT) + K.ENTRY_SHIFT;
}

/** Bytes of input space that one entry of `level` covers. */
export function span(ps: number, level: number): bigint {
  return 1n << BigInt(shift(ps, level));
}
