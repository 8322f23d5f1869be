// VTCR_EL2, TCR_EL2 and VTTBR_EL2 [REG-1..10].
//
// VTCR_EL2
//  33  32 31 30          22 21 20 19 18  16 15 14 13 12 11  10 9    8 7  6 5    0
// +---+--+--+--------------+--+--+--+------+-----+-----+------+------+----+------+
// |SL2|DS| 1|      0       |HD|HA|VS|  PS  | TG0 | SH0 |ORGN0 |IRGN0 |SL0 | T0SZ |   (HD is bit 22, HA 21)
// +---+--+--+--------------+--+--+--+------+-----+-----+------+------+----+------+

import { extract, insert, mask } from "./field";
import { levelBits, PS_4K, PS_16K, PS_64K, stage2Levels } from "./granule";

export const VTCR_HA: u64 = 1 << 21;
export const VTCR_HD: u64 = 1 << 22;
const VTCR_VS: u64 = 1 << 19;
export const VTCR_RES1: u64 = 1 << 31;
export const VTCR_DS: u64 = 1 << 32;
const WRITE_BACK: u64 = 1;
const INNER: u64 = 3;
const PARANGE_48: u32 = 5;
const PARANGE_52: u32 = 6;

/** TG0 of a granule: 4K 0, 64K 1, 16K 2 [REG-1]. */
export function tg0(ps: u32): u64 {
  return ps === PS_4K ? 0 : ps === PS_64K ? 1 : 2;
}

/** Level that SL0 counts down from: 2 for 4K, 3 otherwise [REG-2]. */
export function sl0Base(ps: u32): i32 {
  return ps === PS_4K ? 2 : 3;
}

/**
 * VTCR_EL2 for `ipaBits` of IPA on a CPU with these ID registers [REG-1..5].
 * `af`: hardware access flag (HA); `wide`: 52-bit PA can be used (LPA2, or 64K with support built in).
 */
export function vtcr(ps: u32, ipaBits: u32, mmfr0: u64, mmfr1: u64, lpa2: bool, wide: bool, af: bool): u64 {
  const pa = min<u32>(<u32>extract(mmfr0, 0, 4), wide ? PARANGE_52 : PARANGE_48);
  const vmid16 = extract(mmfr1, 4, 4) === 2;
  const start = 4 - <i32>stage2Levels(ps, ipaBits);
  let v = VTCR_RES1 | insert(64 - ipaBits, 0, 6) | insert(<u64>(sl0Base(ps) - start), 6, 2);
  v |= insert(WRITE_BACK, 8, 2) | insert(WRITE_BACK, 10, 2) | insert(INNER, 12, 2) | insert(tg0(ps), 14, 2);
  v |= insert(pa, 16, 3);
  if (vmid16) v |= VTCR_VS;
  if (af) v |= VTCR_HA;
  if (lpa2) v |= VTCR_DS;
  return v;
}

/** Input size of a VTCR in bits: 64 - T0SZ. */
export function vtcrIpaBits(v: u64): u32 {
  return 64 - <u32>extract(v, 0, 6);
}

/** Start level of a VTCR [REG-2]. */
export function vtcrStartLevel(ps: u32, v: u64): i32 {
  return sl0Base(ps) - <i32>extract(v, 6, 2);
}

/** Granule of a VTCR as log2, 0 for the reserved code. */
export function vtcrGranule(v: u64): u32 {
  const code = extract(v, 14, 2);
  return code === 0 ? PS_4K : code === 1 ? PS_64K : code === 2 ? PS_16K : 0;
}

/** VTTBR_EL2: VMID, the start table's address, and CnP [REG-8]. PA[51:48] lies in [5:2]. */
export function vttbr(pa: u64, vmid: u32, cnp: bool): u64 {
  return insert(vmid, 48, 16) | (pa & mask(47, 6)) | insert(extract(pa, 48, 4), 2, 4) | (cnp ? 1 : 0);
}

/** Alignment of the start tables of a VTTBR, log2 [REG-8]. */
export function vttbrAlignment(ps: u32, ipaBits: u32): u32 {
  const levels = stage2Levels(ps, ipaBits);
  return max<u32>(ipaBits - levels * levelBits(ps), 6);
}

/** TCR_EL2 of the nVHE hypervisor: `vaBits` of input, PS as `paCode`, DS under LPA2 [REG-9]. */
export function tcrEl2(ps: u32, vaBits: u32, paCode: u32, lpa2: bool): u64 {
  let v: u64 = (1 << 31) | (1 << 23);
  v |= insert(64 - vaBits, 0, 6) | insert(WRITE_BACK, 8, 2) | insert(WRITE_BACK, 10, 2) | insert(INNER, 12, 2);
  v |= insert(tg0(ps), 14, 2) | insert(paCode, 16, 3);
  return lpa2 ? v | VTCR_DS : v;
}
