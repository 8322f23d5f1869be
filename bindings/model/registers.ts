import { invalid } from "../core/errors.js";
import { type Granule, granuleShift } from "./granule.js";

const PA_BITS: readonly number[] = [32, 36, 40, 42, 44, 48, 52];

/**
 * PARange code of a physical address size: 32 36 40 42 44 48 52 bits [REG-3]; EINVAL for another.
 *
 * @example
 * ```ts
 * import { paRangeCode } from "granule";
 * console.log(paRangeCode(48)); // 5
 * ```
 */
export function paRangeCode(bits: number): number {
  const code = PA_BITS.indexOf(bits);
  if (code < 0) throw invalid("paBits", `${bits}: CPUs have ${PA_BITS.join(" ")} bits`);
  return code;
}

/** The fields of a VTCR_EL2 that concern tables [REG-1]. */
export interface VtcrFields {
  granule: Granule;
  ipaBits: number;
  startLevel: number;
  /** PS, as bits of output. */
  paBits: number;
  vmid16: boolean;
  hardwareAf: boolean;
  hardwareDirty: boolean;
  /** DS: 52-bit descriptors of 4K and 16K. */
  lpa2: boolean;
}

const GRANULE_OF_TG0: readonly (Granule | undefined)[] = [4096, 65536, 16384, undefined];

/**
 * Decodes a VTCR_EL2 [REG-1, REG-2]; EINVAL for the reserved granule.
 *
 * @example
 * ```ts
 * import { decodeVtcr } from "granule";
 * console.log(decodeVtcr(0x80253558n).ipaBits); // 40
 * ```
 */
export function decodeVtcr(vtcr: bigint): VtcrFields {
  const field = (low: number, width: number) => Number((vtcr >> BigInt(low)) & ((1n << BigInt(width)) - 1n));
  const granule = GRANULE_OF_TG0[field(14, 2)];
  if (granule === undefined) throw invalid("decodeVtcr", "TG0 is the reserved 0b11");
  return {
    granule,
    ipaBits: 64 - field(0, 6),
    startLevel: (granuleShift(granule) === 12 ? 2 : 3) - field(6, 2),
    paBits: PA_BITS[field(16, 3)] ?? 52,
    vmid16: field(19, 1) === 1,
    hardwareAf: field(21, 1) === 1,
    hardwareDirty: field(22, 1) === 1,
    lpa2: field(32, 1) === 1,
  };
}
