// System registers that control a translation: positions of their fields, and the codes in them [REG-1..10].
// Arm DDI 0487, part D, "AArch64 System Register Descriptions". A field of several bits is a field of field.ts,
// a single bit is a mask. TCR_ELx and VTCR_EL2 share a constant where a field has the same position in both.
//
// VTCR_EL2
//   33  32  31 30     23 22 21 20 19  18 16 15 14 13 12 11   10 9     8 7   6 5    0
// +---+---+---+---------+--+--+--+--+------+-----+-----+-------+-------+-----+------+
// |SL2| DS| 1 |    0    |HD|HA| 0|VS|  PS  | TG0 | SH0 | ORGN0 | IRGN0 | SL0 | T0SZ |
// +---+---+---+---------+--+--+--+--+------+-----+-----+-------+-------+-----+------+
//
// TCR_EL2, one range (HCR_EL2.E2H 0)
//       32  31 30  29 28 25 24  23 22 21 20  19 18 16 15 14 13 12 11   10 9     8 7   6 5    0
//     +---+---+--+----+----+---+--+--+--+---+--+-----+-----+-----+-------+-------+-----+------+
//     | DS| 1 | 0|TBID|  0 |HPD| 1|HD|HA|TBI| 0|  PS | TG0 | SH0 | ORGN0 | IRGN0 |  0  | T0SZ |
//     +---+---+--+----+----+---+--+--+--+---+--+-----+-----+-----+-------+-------+-----+------+
//
// TCR_EL1, and TCR_EL2 of EL2&0 (E2H 1): two ranges
//   59  56 55   52 51   42 41  40 39 38 37 36 34 32 31 30 29 28 27   26 25   24  23  22 21  16
// +---+-------+-------+------+--+--+-----+--+-----+-----+-----+-------+-------+----+---+------+
// | DS| E0PD  | TBID  | HPD  |HD|HA| TBI |AS| IPS | TG1 | SH1 | ORGN1 | IRGN1 |EPD1| A1| T1SZ |
// |   | 1 | 0 | 1 | 0 | 1| 0 |  |  |1 | 0|  |     | TG0 | SH0 | ORGN0 | IRGN0 |EPD0| 0 | T0SZ |  [15:0]
// +---+-------+-------+------+--+--+-----+--+-----+-----+-----+-------+-------+----+---+------+
//
// TTBR0_ELx, TTBR1_ELx, VTTBR_EL2
//  63        48 47                       6 5           2  1   0
// +------------+--------------------------+-------------+---+---+
// |ASID or VMID|      address [47:6]      |addr. [51:48]| 0 |CnP|    without 52-bit addresses [5:1] belong to the address
// +------------+--------------------------+-------------+---+---+

import { WIDTH } from "./field";
import { PS_4K, PS_16K, PS_64K } from "./granule";

// --- TCR_ELx, VTCR_EL2 ------------------------------------------------------------------------------

/** Of VTCR_EL2, TCR_EL2 and the lower half of TCR_EL1. */
export const TCR_T0SZ: u32 = 0 | (6 << WIDTH);
export const TCR_IRGN0: u32 = 8 | (2 << WIDTH);
export const TCR_ORGN0: u32 = 10 | (2 << WIDTH);
export const TCR_SH0: u32 = 12 | (2 << WIDTH);
export const TCR_TG0: u32 = 14 | (2 << WIDTH);
/** Output size, of VTCR_EL2 and of TCR_EL2 with one range. */
export const TCR_PS: u32 = 16 | (3 << WIDTH);

export const VTCR_SL0: u32 = 6 | (2 << WIDTH);
export const VTCR_VS: u64 = 1 << 19;
export const VTCR_HA: u64 = 1 << 21;
export const VTCR_HD: u64 = 1 << 22;
export const VTCR_RES1: u64 = 1 << 31;
export const VTCR_DS: u64 = 1 << 32;
export const VTCR_SL2: u64 = 1 << 33;

export const TCR_EL2_TBI: u64 = 1 << 20;
export const TCR_EL2_HA: u64 = VTCR_HA;
export const TCR_EL2_HD: u64 = VTCR_HD;
export const TCR_EL2_HPD: u64 = 1 << 24;
export const TCR_EL2_TBID: u64 = 1 << 29;
export const TCR_EL2_DS: u64 = VTCR_DS;
export const TCR_EL2_RES1: u64 = (1 << 31) | (1 << 23);

/** Distance from a field of TTBR0's half to the same field of TTBR1's, where each half has 16 bits of its own. */
export const TCR_EL1_HALF: u32 = 16;
// A single bit of TTBR1's half is the next one up; these are those of TTBR0.
export const TCR_EL1_EPD0: u64 = 1 << 7;
export const TCR_EL1_EPD1: u64 = 1 << 23;
/** The ASID is that of TTBR1. */
export const TCR_EL1_A1: u64 = 1 << 22;
export const TCR_EL1_IPS: u32 = 32 | (3 << WIDTH);
/** ASIDs have 16 bits. */
export const TCR_EL1_AS: u64 = 1 << 36;
export const TCR_EL1_TBI0: u64 = 1 << 37;
export const TCR_EL1_HA: u64 = 1 << 39;
export const TCR_EL1_HD: u64 = 1 << 40;
export const TCR_EL1_HPD0: u64 = 1 << 41;
export const TCR_EL1_TBID0: u64 = 1 << 51;
export const TCR_EL1_E0PD0: u64 = 1 << 55;
export const TCR_EL1_DS: u64 = 1 << 59;

/** IRGNn and ORGNn: write-back, read and write allocate. */
export const RGN_WRITE_BACK: u64 = 1;

// --- TTBRn_ELx, VTTBR_EL2 ---------------------------------------------------------------------------

export const TTBR_CNP: u64 = 1;
export const TTBR_ADDRESS: u32 = 0 | (48 << WIDTH);
/** PA[51:48], where addresses have 52 bits. */
export const TTBR_ADDRESS_HIGH: u32 = 2 | (4 << WIDTH);
/** ASID or VMID of 16 bits, and of 8. */
export const TTBR_ID: u32 = 48 | (16 << WIDTH);
export const TTBR_ID8: u32 = 48 | (8 << WIDTH);

// --- HCR_EL2, SCTLR_ELx ------------------------------------------------------------------------------

/** Stage 2 on. */
export const HCR_VM: u64 = 1 << 0;
/** Stage-1 tables in stage-2 Device memory fault. */
export const HCR_PTW: u64 = 1 << 2;
/** Default cacheability: stage 1 off, and its memory write-back. */
export const HCR_DC: u64 = 1 << 12;
export const HCR_TGE: u64 = 1 << 27;
/** Stage-2 data accesses are non-cacheable. */
export const HCR_CD: u64 = 1 << 32;
export const HCR_E2H: u64 = 1 << 34;
/** FEAT_S2FWB in use. */
export const HCR_FWB: u64 = 1 << 46;

export const SCTLR_M: u64 = 1 << 0;
export const SCTLR_I: u64 = 1 << 12;
export const SCTLR_WXN: u64 = 1 << 19;
export const SCTLR_EPAN: u64 = 1 << 57;

// --- ID registers -------------------------------------------------------------------------------------

export const MMFR0_PARANGE: u32 = 0 | (4 << WIDTH);
export const MMFR1_VMIDBITS: u32 = 4 | (4 << WIDTH);
/** VMIDBits of 16-bit VMIDs. */
export const VMIDBITS_16: u64 = 2;

// --- addresses ----------------------------------------------------------------------------------------

/** Bit of a VA that chooses TTBR0 or TTBR1, and from which a tagged address is sign-extended. */
export const VA_HALF: u32 = 55;
/** The tag: the bits above that one. */
export const VA_TAG_BITS: u32 = 8;

// --- codes --------------------------------------------------------------------------------------------

// ID_AA64MMFR0_EL1.PARange, and PS and IPS, which have the same codes but for three bits [REG-3].
export const PARANGE_32: u32 = 0;
export const PARANGE_36: u32 = 1;
export const PARANGE_40: u32 = 2;
export const PARANGE_42: u32 = 3;
export const PARANGE_44: u32 = 4;
export const PARANGE_48: u32 = 5;
export const PARANGE_52: u32 = 6;

/** Bits of a PARange, PS or IPS code; reserved codes count as 52. */
export function paRangeBits(code: u32): u32 {
  switch (code) {
    case PARANGE_32:
      return 32;
    case PARANGE_36:
      return 36;
    case PARANGE_40:
      return 40;
    case PARANGE_42:
      return 42;
    case PARANGE_44:
      return 44;
    case PARANGE_48:
      return 48;
    default:
      return 52;
  }
}

// TG0, of VTCR_EL2 too, and TG1, whose codes differ [REG-1].
export const TG0_4K: u32 = 0;
export const TG0_64K: u32 = 1;
export const TG0_16K: u32 = 2;
export const TG0_RESERVED: u32 = 3;
export const TG1_16K: u32 = 1;
export const TG1_4K: u32 = 2;
export const TG1_64K: u32 = 3;

/** TG0 of a granule [REG-1]; the reserved code for 0. */
export function tg0(ps: u32): u32 {
  return ps === PS_4K ? TG0_4K : ps === PS_64K ? TG0_64K : ps === PS_16K ? TG0_16K : TG0_RESERVED;
}

/** Granule of a TG0 code as log2; 0 for the reserved code. */
export function tg0Granule(code: u32): u32 {
  return code === TG0_4K ? PS_4K : code === TG0_64K ? PS_64K : code === TG0_16K ? PS_16K : 0;
}

/** Granule of a TG1 code as log2; 0 for the reserved code. */
export function tg1Granule(code: u32): u32 {
  return code === TG1_4K ? PS_4K : code === TG1_64K ? PS_64K : code === TG1_16K ? PS_16K : 0;
}
