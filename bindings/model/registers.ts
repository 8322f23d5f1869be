import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { get } from "../core/field.js";
import type { Granule } from "./granule.js";

/** PARange codes by bits of physical address [REG-3]. */
const PA_RANGES: ReadonlyMap<number, number> = new Map([
  [32, K.PARANGE_32],
  [36, K.PARANGE_36],
  [40, K.PARANGE_40],
  [42, K.PARANGE_42],
  [44, K.PARANGE_44],
  [48, K.PARANGE_48],
  [52, K.PARANGE_52],
]);
const PA_BITS: ReadonlyMap<number, number> = new Map([...PA_RANGES].map(([bits, code]) => [code, bits]));

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
  const code = PA_RANGES.get(bits);
  if (code === undefined)
    throw invalid(
      "paBits",
      `${bits} is not a physical address size: CPUs have ${[...PA_RANGES.keys()].join(", ")} bits`,
    );
  return code;
}

/** MAIR of Linux: Normal, tagged, non-cacheable, Device-nGnRnE, Device-nGnRE [FMT-10]. */
export const LINUX_MAIR = 0x04_00_44_f0_ffn;

/** The fields of a VTCR_EL2 that concern tables [REG-1]. */
export interface VtcrFields {
  /** TG0: page size in bytes. */
  granule: Granule;
  /** 64 minus T0SZ: bits of input address. */
  ipaBits: number;
  /** SL0: level of the first table that is walked. */
  startLevel: number;
  /** PS, as bits of output. */
  paBits: number;
  /** VS: VMIDs have 16 bits, not 8. */
  vmid16: boolean;
  /** HA: the hardware sets the access flag. */
  hardwareAf: boolean;
  /** HD: the hardware sets dirty state. */
  hardwareDirty: boolean;
  /** DS: 52-bit descriptors of 4K and 16K. */
  lpa2: boolean;
}

const GRANULE_OF_TG0: ReadonlyMap<number, Granule> = new Map([
  [K.TG0_4K, 4096],
  [K.TG0_16K, 16384],
  [K.TG0_64K, 65536],
]);

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
  const granule = GRANULE_OF_TG0.get(get(vtcr, K.TCR_TG0));
  if (granule === undefined) throw invalid("decodeVtcr", "TG0 is the reserved 0b11");
  return {
    granule,
    ipaBits: 64 - get(vtcr, K.TCR_T0SZ),
    startLevel: (granule === 4096 ? 2 : 3) - get(vtcr, K.VTCR_SL0),
    paBits: PA_BITS.get(get(vtcr, K.TCR_PS)) ?? 52,
    vmid16: (vtcr & K.VTCR_VS) !== 0n,
    hardwareAf: (vtcr & K.VTCR_HA) !== 0n,
    hardwareDirty: (vtcr & K.VTCR_HD) !== 0n,
    lpa2: (vtcr & K.VTCR_DS) !== 0n,
  };
}
