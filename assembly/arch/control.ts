// The registers of a translation, VTCR_EL2, TCR_ELx and TTBRn_ELx: how their values are made and read [REG-1..10].
// registers.ts draws them. Arm DDI 0487 D8.2, "Translation process".

import { get, mask, maskOf, ones, put, WIDTH } from "./field";
import { FIRST_LEVEL, LAST_LEVEL, levelBits, PS_4K, PS_16K, PS_64K, stage2Levels } from "./granule";
import { SHARE_INNER } from "./memory-type";
import {
  MMFR0_PARANGE,
  MMFR1_VMIDBITS,
  PARANGE_48,
  PARANGE_52,
  RGN_WRITE_BACK,
  TCR_EL1_DS,
  TCR_EL1_HA,
  TCR_EL1_HALF,
  TCR_EL1_HD,
  TCR_EL1_HPD0,
  TCR_EL1_IPS,
  TCR_EL1_TBI0,
  TCR_EL1_TBID0,
  TCR_EL2_DS,
  TCR_EL2_HA,
  TCR_EL2_HD,
  TCR_EL2_HPD,
  TCR_EL2_RES1,
  TCR_EL2_TBI,
  TCR_EL2_TBID,
  TCR_IRGN0,
  TCR_ORGN0,
  TCR_PS,
  TCR_SH0,
  TCR_T0SZ,
  TCR_TG0,
  TTBR_ADDRESS,
  TTBR_ADDRESS_HIGH,
  TTBR_CNP,
  TTBR_ID,
  TTBR_ID8,
  tg0,
  tg0Granule,
  tg1Granule,
  VMIDBITS_16,
  VTCR_DS,
  VTCR_HA,
  VTCR_RES1,
  VTCR_SL0,
  VTCR_SL2,
  VTCR_VS,
} from "./registers";

/** Largest TnSZ with FEAT_TTST, and the smallest without and with 52-bit addresses. */
const TSZ_MAX: u32 = 48;
const TSZ_MAX_64K: u32 = 47;
const TSZ_MIN: u32 = 16;
const TSZ_MIN_52: u32 = 12;
/** log2 of the alignment of a root whose address has 52 bits: 64 bytes. */
export const WIDE_ROOT_BITS: u32 = 6;
/** First address bit that a TTBR keeps in [5:2]: the one above those in place. */
const HIGH: u32 = TTBR_ADDRESS >> WIDTH;
/** There is no such start level. */
export const NO_LEVEL: i32 = i8.MIN_VALUE;

// --- made -------------------------------------------------------------------------------------------

/** Level that SL0 counts down from: 2 for 4K, 3 otherwise [REG-2]. */
export function sl0Base(ps: u32): i32 {
  return ps === PS_4K ? 2 : 3;
}

/** T0SZ, cacheability, shareability, granule and output size, which VTCR_EL2 and TCR_EL2 have at the same places. */
function sizes(ps: u32, bits: u32, paCode: u32): u64 {
  return (
    put(64 - bits, TCR_T0SZ) |
    put(RGN_WRITE_BACK, TCR_IRGN0) |
    put(RGN_WRITE_BACK, TCR_ORGN0) |
    put(SHARE_INNER, TCR_SH0) |
    put(tg0(ps), TCR_TG0) |
    put(paCode, TCR_PS)
  );
}

/**
 * VTCR_EL2 for `ipaBits` of IPA on a CPU with these ID registers [REG-1..5].
 * `af`: hardware access flag (HA); `wide`: 52-bit PA can be used (LPA2, or 64K with support built in).
 */
export function vtcr(ps: u32, ipaBits: u32, mmfr0: u64, mmfr1: u64, lpa2: bool, wide: bool, af: bool): u64 {
  const pa = min<u32>(<u32>get(mmfr0, MMFR0_PARANGE), wide ? PARANGE_52 : PARANGE_48);
  const start = 4 - <i32>stage2Levels(ps, ipaBits);
  let v = VTCR_RES1 | sizes(ps, ipaBits, pa) | put(<u64>(sl0Base(ps) - start), VTCR_SL0);
  if (get(mmfr1, MMFR1_VMIDBITS) === VMIDBITS_16) v |= VTCR_VS;
  if (af) v |= VTCR_HA;
  return lpa2 ? v | VTCR_DS : v;
}

/** TCR_EL2 of the nVHE hypervisor: `vaBits` of input, PS as `paCode`, DS under LPA2 [REG-9]. */
export function tcrEl2(ps: u32, vaBits: u32, paCode: u32, lpa2: bool): u64 {
  const v = TCR_EL2_RES1 | sizes(ps, vaBits, paCode);
  return lpa2 ? v | TCR_EL2_DS : v;
}

/** VTTBR_EL2: VMID, the start table's address, and CnP [REG-8]. PA[51:48] is in [5:2]. */
export function vttbr(pa: u64, vmid: u32, cnp: bool): u64 {
  const address = (pa & mask(HIGH - 1, WIDE_ROOT_BITS)) | put(pa >> HIGH, TTBR_ADDRESS_HIGH);
  return put(vmid, TTBR_ID) | address | (cnp ? TTBR_CNP : 0);
}

/** Alignment of the start tables of a VTTBR, log2 [REG-8]. */
export function vttbrAlignment(ps: u32, ipaBits: u32): u32 {
  const levels = stage2Levels(ps, ipaBits);
  return max<u32>(ipaBits - levels * levelBits(ps), WIDE_ROOT_BITS);
}

// --- read -------------------------------------------------------------------------------------------

/** Input size of a VTCR_EL2, of a TCR_EL2, or of the lower half of a TCR_EL1, in bits: 64 - T0SZ. */
export function vtcrIpaBits(v: u64): u32 {
  return 64 - <u32>get(v, TCR_T0SZ);
}

/** Start level of a VTCR as KVM reads it [REG-2]; `stage2Start` is what hardware makes of it. */
export function vtcrStartLevel(ps: u32, v: u64): i32 {
  return sl0Base(ps) - <i32>get(v, VTCR_SL0);
}

/** Granule of a VTCR_EL2 or TCR_EL2 as log2, 0 for the reserved code. */
export function vtcrGranule(v: u64): u32 {
  return tg0Granule(<u32>get(v, TCR_TG0));
}

/** Is this TnSZ valid for the granule? D8.2.3. `lpa2`: DS is 1. */
export function isInputSize(ps: u32, tsz: u32, lpa2: bool): bool {
  if (ps === PS_64K) return tsz >= TSZ_MIN_52 && tsz <= TSZ_MAX_64K;
  return tsz >= (lpa2 ? TSZ_MIN_52 : TSZ_MIN) && tsz <= TSZ_MAX;
}

/** The start level of a stage-2 walk that SL0, SL2 and the granule give, or NO_LEVEL; J1, AArch64.S2InvalidSL. `paBits`: of the CPU. */
export function stage2Start(ps: u32, v: u64, paBits: u32): i32 {
  const sl0 = <i32>get(v, VTCR_SL0),
    ds = <bool>(v & VTCR_DS);
  if (ps === PS_4K) {
    if (v & VTCR_SL2 && ds) return sl0 === 0 ? FIRST_LEVEL : NO_LEVEL;
    if (sl0 === 2 && paBits < 44) return NO_LEVEL;
    return sl0 === 3 ? LAST_LEVEL : sl0Base(ps) - sl0;
  }
  if (sl0 === 2 && paBits < (ps === PS_16K ? <u32>42 : <u32>44)) return NO_LEVEL;
  if (sl0 === 3 && !(ps === PS_16K && ds)) return NO_LEVEL;
  return sl0Base(ps) - sl0;
}

/** Physical address of the start tables of a TTBR or VTTBR. `bits`: log2 of their size; `wide`: addresses have 52 bits [REG-8]. */
export function ttbrAddress(ttbr: u64, bits: u32, wide: bool): u64 {
  const low = get(ttbr, TTBR_ADDRESS);
  if (!wide) return low & ~ones(bits);
  return (low & ~ones(max<u32>(bits, WIDE_ROOT_BITS))) | (get(ttbr, TTBR_ADDRESS_HIGH) << HIGH);
}

/** ASID or VMID of a TTBR, with 16 bits or with 8. */
export function ttbrId(ttbr: u64, wide: bool): u32 {
  return <u32>(wide ? get(ttbr, TTBR_ID) : get(ttbr, TTBR_ID8));
}

// --- one range and two ------------------------------------------------------------------------------

/** `to` if `word` has the bit `from`, else 0. */
function move(word: u64, from: u64, to: u64): u64 {
  return word & from ? to : 0;
}

/**
 * One half of a TCR_EL1, or of the TCR_EL2 of EL2&0, in the layout of a TCR_EL2 with one range. Fields that this layout
 * does not have are left out: EPDn, E0PDn, A1, AS.
 */
export function tcrHalf(tcr: u64, high: bool): u64 {
  const fields = high ? tcr >> TCR_EL1_HALF : tcr,
    flags = high ? tcr >> 1 : tcr;
  const code = <u32>get(fields, TCR_TG0),
    tg = high ? tg0(tg1Granule(code)) : code;
  return (
    TCR_EL2_RES1 |
    (fields & (maskOf(TCR_T0SZ) | maskOf(TCR_IRGN0) | maskOf(TCR_ORGN0) | maskOf(TCR_SH0))) |
    put(tg, TCR_TG0) |
    put(get(tcr, TCR_EL1_IPS), TCR_PS) |
    move(tcr, TCR_EL1_HA, TCR_EL2_HA) |
    move(tcr, TCR_EL1_HD, TCR_EL2_HD) |
    move(tcr, TCR_EL1_DS, TCR_EL2_DS) |
    move(flags, TCR_EL1_HPD0, TCR_EL2_HPD) |
    move(flags, TCR_EL1_TBI0, TCR_EL2_TBI) |
    move(flags, TCR_EL1_TBID0, TCR_EL2_TBID)
  );
}
