// What a translation that fails reports: fault status codes, ESR_ELx, HPFAR_EL2 and PAR_EL1 [HWM-1..6].
//
// ESR_ELx of an abort
//  31  26 25 24  23 22 21 20 16 15 14    9  8   7    6   5    0
// +------+--+---+-----+---+-----+--+-----+--+--+-----+---+------+
// |  EC  |IL|ISV| SAS |SSE| SRT |SF| ... |EA|CM|S1PTW|WnR| FSC  |   (EA is bit 9, CM bit 8)
// +------+--+---+-----+---+-----+--+-----+--+--+-----+---+------+

import { extract, insert, mask } from "./field";

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

const STATUS_TRANSLATION: u32 = 0x04;
const STATUS_ACCESS: u32 = 0x08;
const STATUS_PERMISSION: u32 = 12;
const STATUS_EXTERNAL: u32 = 0x14;
const STATUS_CONFLICT: u32 = 0x30;
const STATUS_UPDATE: u32 = 0x31;
const EC_INSTRUCTION: u64 = 0x20;
const EC_DATA: u64 = 0x24;
const IL: u64 = 1 << 25;

/** The 6-bit fault status code; level -1 has codes of its own [HWM-1]. */
export function faultStatus(kind: u32, level: i32): u32 {
  switch (kind) {
    case FAULT_TRANSLATION:
      return level < 0 ? 0x2b : STATUS_TRANSLATION + level;
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
  return insert(ec, 26, 6) | IL | iss | insert(s1ptw ? 1 : 0, 7, 1) | insert(write && !fetch ? 1 : 0, 6, 1) | status;
}

/** ISS bits that an address translation instruction adds to an abort of its own: CM, and WnR as for all of them. */
export const ISS_CACHE_MAINTENANCE: u64 = (1 << 8) | (1 << 6);

/** HPFAR_EL2 for a faulting IPA: FIPA in [43:4] [HWM-4]. */
export function hpfar(ipa: u64): u64 {
  return insert(extract(ipa, 12, 40), 4, 40);
}

// PAR_EL1
//  63  56        51                    12 11 10 9  8 7  6        1 0
// +------+------+------------------------+--+--+--+-----+---------+--+
// | ATTR |  0   |        PA [51:12]      | 1| 0|NS| SH  |    0    |0 |   translated
// |             0                        | 1| 0| S|PTW  |FST [6:1]|1 |   a fault (PTW is bit 8)
// +--------------------------------------+--+--+--+-----+---------+--+

const PAR_RES1: u64 = 1 << 11;
const PAR_NS: u64 = 1 << 9;

/** PAR_EL1 of a translation that succeeds. */
export function parOutput(pa: u64, attributes: u32, shareability: u32): u64 {
  return insert(attributes, 56, 8) | (pa & mask(51, 12)) | PAR_RES1 | PAR_NS | insert(shareability, 7, 2);
}

/** PAR_EL1 of a translation that fails. */
export function parFault(status: u32, stage2: bool, s1ptw: bool): u64 {
  return PAR_RES1 | insert(stage2 ? 1 : 0, 9, 1) | insert(s1ptw ? 1 : 0, 8, 1) | insert(status, 1, 6) | 1;
}
