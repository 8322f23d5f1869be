// What a translation that fails reports: fault status codes, ESR_ELx, HPFAR_EL2 and PAR_EL1 [HWM-1..6].
// Arm DDI 0487 D8.15, "Memory aborts", and the descriptions of the registers.
//
// ESR_ELx of an abort
//  31  26 25 24  23 22 21 20 16 15 14    9  8   7    6   5    0
// +------+--+---+-----+---+-----+--+-----+--+--+-----+---+------+
// |  EC  |IL|ISV| SAS |SSE| SRT |SF| ... |EA|CM|S1PTW|WnR| FSC  |   (EA is bit 9, CM bit 8)
// +------+--+---+-----+---+-----+--+-----+--+--+-----+---+------+

import { mask, put, WIDTH } from "./field";
import { UNIT_SHIFT } from "./granule";

// Kinds of faults.
export const FAULT_NONE: u32 = 0;
export const FAULT_TRANSLATION: u32 = 1;
export const FAULT_ACCESS: u32 = 2;
export const FAULT_PERMISSION: u32 = 3;
export const FAULT_ADDRESS_SIZE: u32 = 4;
/** A table that is not in memory: synchronous external abort on a walk. */
export const FAULT_EXTERNAL_WALK: u32 = 5;
/** Hardware would update a descriptor that it cannot update atomically. */
export const FAULT_UPDATE: u32 = 6;
/** More than one TLB entry for an address. */
export const FAULT_CONFLICT: u32 = 7;

export const STATUS_TRANSLATION: u32 = 0x04;
/** Of level -1, whose codes are apart from those of the other levels. */
export const STATUS_TRANSLATION_MINUS_1: u32 = 0x2b;
export const STATUS_ACCESS: u32 = 0x08;
export const STATUS_PERMISSION: u32 = 12;
const STATUS_EXTERNAL: u32 = 0x14;
const STATUS_CONFLICT: u32 = 0x30;
const STATUS_UPDATE: u32 = 0x31;
/** Exception class; each of these is of a lower exception level, and the next code of the same one. */
export const ESR_EC: u32 = 26 | (6 << WIDTH);
export const EC_INSTRUCTION: u32 = 0x20;
export const EC_DATA: u32 = 0x24;
export const ESR_IL: u64 = 1 << 25;
const ESR_CM: u64 = 1 << 8;
export const ESR_S1PTW: u64 = 1 << 7;
export const ESR_WNR: u64 = 1 << 6;
/** The hardware's log of dirty pages was full: HDBSSF, in ISS2. */
export const ESR_HDBSSF: u64 = (<u64>1) << 43;
export const ESR_FSC: u32 = 0 | (6 << WIDTH);
/** ISV, SAS, SSE, SRT, SF and AR: what a syndrome says of the instruction. */
export const ISS_INSTRUCTION: u32 = 0x01ffc000;
/** FIPA of HPFAR_EL2: IPA[51:12]. */
const FIPA: u32 = 4 | (40 << WIDTH);

/** The 6-bit fault status code; level -1 has codes of its own [HWM-1]. */
export function faultStatus(kind: u32, level: i32): u32 {
  switch (kind) {
    case FAULT_TRANSLATION:
      return level < 0 ? STATUS_TRANSLATION_MINUS_1 : STATUS_TRANSLATION + level;
    case FAULT_ACCESS:
      return STATUS_ACCESS + level;
    case FAULT_PERMISSION:
      return STATUS_PERMISSION + level;
    case FAULT_ADDRESS_SIZE:
      return level < 0 ? 0x29 : level;
    case FAULT_EXTERNAL_WALK:
      return level < 0 ? 0x13 : STATUS_EXTERNAL + level;
    case FAULT_CONFLICT:
      return STATUS_CONFLICT;
    default:
      return STATUS_UPDATE;
  }
}

/** ESR_ELx of an instruction or data abort; `iss` is what the instruction itself adds [HWM-2, HWM-3]. */
export function abortSyndrome(fetch: bool, sameLevel: bool, write: bool, s1ptw: bool, iss: u64, status: u32): u64 {
  const ec = (fetch ? EC_INSTRUCTION : EC_DATA) + (sameLevel ? 1 : 0);
  return put(ec, ESR_EC) | ESR_IL | iss | (s1ptw ? ESR_S1PTW : 0) | (write && !fetch ? ESR_WNR : 0) | status;
}

/** ISS bits that an address translation instruction adds to an abort of its own: CM, and WnR as for all of them. */
export const ISS_CACHE_MAINTENANCE: u64 = ESR_CM | ESR_WNR;

/** HPFAR_EL2 for a faulting IPA: FIPA in [43:4] [HWM-4]. */
export function hpfar(ipa: u64): u64 {
  return put(ipa >> UNIT_SHIFT, FIPA);
}

// PAR_EL1
//  63  56        51                    12 11 10 9  8 7  6        1 0
// +------+------+------------------------+--+--+--+-----+---------+--+
// | ATTR |  0   |        PA [51:12]      | 1| 0|NS| SH  |    0    |0 |   translated
// |             0                        | 1| 0| S|PTW  |FST [6:1]|1 |   a fault (PTW is bit 8)
// +--------------------------------------+--+--+--+-----+---------+--+

const PAR_RES1: u64 = 1 << 11;
const PAR_NS: u64 = 1 << 9;
const PAR_F: u64 = 1;
const PAR_ATTR: u32 = 56 | (8 << WIDTH);
const PAR_SH: u32 = 7 | (2 << WIDTH);
const PAR_S: u64 = 1 << 9;
const PAR_PTW: u64 = 1 << 8;
const PAR_FST: u32 = 1 | (6 << WIDTH);

/** PAR_EL1 of a translation that succeeds. */
export function parOutput(pa: u64, attributes: u32, shareability: u32): u64 {
  return put(attributes, PAR_ATTR) | (pa & mask(51, UNIT_SHIFT)) | PAR_RES1 | PAR_NS | put(shareability, PAR_SH);
}

/** PAR_EL1 of a translation that fails. */
export function parFault(status: u32, stage2: bool, s1ptw: bool): u64 {
  return PAR_RES1 | (stage2 ? PAR_S : 0) | (s1ptw ? PAR_PTW : 0) | put(status, PAR_FST) | PAR_F;
}
