// Stage-1 leaves: those of EL2 that the library makes [FMT-10..16], and those of EL1&0, which the hardware's walker reads.
// Arm DDI 0487 D8.3.1 (formats), D8.4 (permissions), D8.6 (memory types).
//
// EL2, one privilege level (nVHE): AP[1] is RES1, one XN
//  63  59 58   55 54  53 52  51 50            12 11 10  9   8 7    6  5   4    2   1   0
// +------+-------+---+--+---+---+--+------------+--+--+------+------+--+--------+----+---+
// |ignor.| SW3-0 |XN | 0| C |DBM|GP|     OA     | 0|AF|  SH  |AP2  1| 0| Attr   |type| 1 |
// +------+-------+---+--+---+---+--+------------+--+--+------+------+--+--------+----+---+
//
// EL1&0, and EL2&0 (hVHE): two privilege levels
//  63  59 58   55 54  53 52  51 50            12 11 10  9   8 7    6  5   4    2   1   0
// +------+-------+---+---+---+---+--+-----------+--+--+------+------+--+--------+----+---+
// |ignor.| SW3-0 |UXN|PXN| C |DBM|GP|    OA     |nG|AF|  SH  |AP2 AP1|NS| Attr  |type| 1 |
// +------+-------+---+---+---+---+--+-----------+--+--+------+------+--+--------+----+---+
//
//  AP [7:6]      nVHE    hVHE      AP2: nobody may write; AP1: EL0 may
//  read-write     01      00
//  read-only      11      10
//
//  UXN, PXN      hVHE: two rights since 6.19; before that, bit 54 alone [BUG-40]
//  SH            inner shareable; under LPA2 address bits are there
//  Attr          index into MAIR: 0 Normal, 4 Device-nGnRE [FMT-10]
//  GP            set on executable leaves if the host uses BTI [FMT-14]
//  nG            the leaf belongs to one ASID; the library leaves it 0 [FMT-12]
//
// Software bits, AF and DBM: see descriptor.ts. With DBM and hardware updates, AP2 is clean (1) or dirty (0) [HWM-22].

import { demand, RULE_PROTECTION } from "../demand";
import { AF, GP, PXN, SH, SW, VALID, XN } from "./descriptor";
import { get, put, WIDTH } from "./field";
import { SHARE_INNER } from "./memory-type";
import {
  executeBits,
  isProtection,
  joinExecute,
  PROT_DEVICE,
  PROT_PX,
  PROT_R,
  PROT_SW,
  PROT_SW_LOW,
  PROT_UX,
  PROT_W,
} from "./protection";

export const S1_NS: u64 = 1 << 5;
/** Index into MAIR. */
export const S1_ATTR: u32 = 2 | (3 << WIDTH);
const ATTR_NORMAL: u64 = 0;
const ATTR_DEVICE: u64 = 4;
export const S1_AP: u32 = 6 | (2 << WIDTH);
/** AP[1]: EL0 has access. AP[2]: read-only. */
export const AP1: u64 = 1 << 6;
export const AP2: u64 = 1 << 7;
export const NOT_GLOBAL: u64 = 1 << 11;

/** AP of read-only; bit 6 is RES1 where there is one privilege level [FMT-11]. */
export function apReadOnly(hvhe: bool): u64 {
  return hvhe ? 2 : 3;
}

/** AP of read-write [FMT-11]. */
export function apReadWrite(hvhe: bool): u64 {
  return hvhe ? 0 : 1;
}

/** Can EL2 stage 1 have these protections? R always; no X with W, nor with Device [FMT-15]. PX or UX alone only with `split`. */
export function isStage1Prot(prot: u32, split: bool): bool {
  if (!isProtection(prot) || !(prot & PROT_R)) return false;
  const execute = executeBits(prot);
  if (execute && prot & (PROT_W | PROT_DEVICE)) return false;
  return split || execute === 0 || execute === (PROT_PX | PROT_UX);
}

/** Attribute bits of a leaf, never 0; precondition `isStage1Prot`. `split`: UXN and PXN are separate [FMT-10..14]. */
export function stage1Attributes(prot: u32, hvhe: bool, bti: bool, lpa2: bool, split: bool): u64 {
  demand(isStage1Prot(prot, split), RULE_PROTECTION);
  const execute = executeBits(prot);
  let bits = AF | put(prot & PROT_DEVICE ? ATTR_DEVICE : ATTR_NORMAL, S1_ATTR);
  bits |= put(prot & PROT_W ? apReadWrite(hvhe) : apReadOnly(hvhe), S1_AP);
  if (!lpa2) bits |= put(SHARE_INNER, SH);
  if (split) {
    if (!(execute & PROT_UX)) bits |= XN;
    if (!(execute & PROT_PX)) bits |= PXN;
  } else if (!execute) {
    bits |= XN;
  }
  if (execute && bti) bits |= GP;
  return bits | put((prot & PROT_SW) >> PROT_SW_LOW, SW);
}

/** Permissions and software bits of a descriptor [FMT-16]. */
export function stage1Prot(descriptor: u64, hvhe: bool, split: bool): u32 {
  let prot = (<u32>get(descriptor, SW)) << PROT_SW_LOW;
  if (!(descriptor & VALID)) return prot;
  const ux = !(descriptor & XN);
  prot |= joinExecute(split ? !(descriptor & PXN) : ux, ux);
  const ap = get(descriptor, S1_AP);
  if (ap === apReadOnly(hvhe)) prot |= PROT_R;
  else if (ap === apReadWrite(hvhe)) prot |= PROT_R | PROT_W;
  return prot;
}

/** Memory type of a valid leaf as protection bits: Device or Normal. */
export function stage1MemoryType(descriptor: u64): u32 {
  return get(descriptor, S1_ATTR) === ATTR_DEVICE ? PROT_DEVICE : 0;
}
