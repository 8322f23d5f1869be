import { invalid } from "../core/errors.js";
import { shift } from "../core/granule.js";

/** Translation granule: the page size in bytes [GEO-1]. */
export type Granule = 4096 | 16384 | 65536;

/**
 * The three granules, in bytes.
 *
 * @example
 * ```ts
 * import { createEngine, GRANULES } from "granule";
 * using engine = createEngine();
 * for (const granule of GRANULES) {
 *   using table = engine.createStage2({ granule, ipaBits: 40 });
 *   console.log(granule, table.info().startLevel); // 4096 1, 16384 2, 65536 2
 * }
 * ```
 */
export const GRANULES: readonly Granule[] = [4096, 16384, 65536];

/**
 * log2 of a granule: 12, 14 or 16; EINVAL for any other number.
 *
 * @example
 * ```ts
 * import { granuleShift } from "granule";
 * console.log(granuleShift(16384)); // 14
 * ```
 */
export function granuleShift(granule: number): number {
  if (granule === 4096) return 12;
  if (granule === 16384) return 14;
  if (granule === 65536) return 16;
  throw invalid("granule", `${granule} is not a granule: give 4096, 16384 or 65536`);
}

/**
 * The level of an entry: -1 (4K with 52-bit input only) to 3, where the pages are.
 *
 * @example
 * ```ts
 * import { type Level, levelShift } from "granule";
 * const bytes = (level: Level) => 2 ** levelShift(4096, level);
 * console.log(bytes(2)); // 2097152
 * ```
 */
export type Level = -1 | 0 | 1 | 2 | 3;

/**
 * log2 of the bytes that one entry of `level` covers [GEO-2]; EINVAL for a number that is no granule.
 *
 * @example
 * ```ts
 * import { levelShift } from "granule";
 * console.log(2 ** levelShift(4096, 2)); // 2097152
 * ```
 */
export function levelShift(granule: number, level: number): number {
  return shift(granuleShift(granule), level);
}
