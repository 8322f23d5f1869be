// EL2 stage-1 leaf attributes [FMT-10..16].
//
//  58   55 54  53  52 51 50            11 10  9  8  7  6  5  4   2  1  0
// +-------+---+---+--+---+--+---------+--+--+-----+-----+--+------+---+---+
// | SW3-0 |XN |PXN|C |DBM|GP|   OA    |nG|AF| SH  | AP  | 0| Attr |typ| V |
// +-------+---+---+--+---+--+---------+--+--+-----+-----+--+------+---+---+
//
//  AP [7:6]      nVHE (one privilege level, bit 6 RES1)   hVHE (EL2&0)
//  read-write              01                                 00
//  read-only               11                                 10
//
//  XN            nVHE bit 54; hVHE UXN bit 54 and PXN bit 53 apart (from 6.19), bit 54 alone before [BUG-40]
//  AttrIndx      0 Normal, 4 Device-nGnRE

import { AF, GP, PXN, SH_INNER, SH_LOW, SW_LOW, SW_WIDTH, VALID, XN } from "./descriptor";
import { extract, insert } from "./field";
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

const ATTR_LOW: u32 = 2;
const ATTR_WIDTH: u32 = 3;
const ATTR_NORMAL: u64 = 0;
const ATTR_DEVICE: u64 = 4;
const AP_LOW: u32 = 6;
const AP_WIDTH: u32 = 2;

/** AP of read-only; bit 6 is RES1 where there is one privilege level [FMT-11]. */
export function apReadOnly(hvhe: bool): u64 {
  return hvhe ? 2 : 3;
}

/** AP of read-write [FMT-11]. */
export function apReadWrite(hvhe: bool): u64 {
  return hvhe ? 0 : 1;
}

/** Can EL2 stage 1 have these protections? R always; no X with W, nor with Device [FMT-15]. Half execute rights only with `split`. */
export function isStage1Prot(prot: u32, split: bool): bool {
  if (!isProtection(prot) || !(prot & PROT_R)) return false;
  const execute = executeBits(prot);
  if (execute && prot & (PROT_W | PROT_DEVICE)) return false;
  return split || execute === 0 || execute === (PROT_PX | PROT_UX);
}

/** Attribute bits of a leaf, never 0; precondition `isStage1Prot`. `split`: UXN and PXN apart. [FMT-10..14] */
export function stage1Attributes(prot: u32, hvhe: bool, bti: bool, lpa2: bool, split: bool): u64 {
  const execute = executeBits(prot);
  let bits = AF | insert(prot & PROT_DEVICE ? ATTR_DEVICE : ATTR_NORMAL, ATTR_LOW, ATTR_WIDTH);
  bits |= insert(prot & PROT_W ? apReadWrite(hvhe) : apReadOnly(hvhe), AP_LOW, AP_WIDTH);
  if (!lpa2) bits |= insert(SH_INNER, SH_LOW, 2);
  if (split) {
    if (!(execute & PROT_UX)) bits |= XN;
    if (!(execute & PROT_PX)) bits |= PXN;
  } else if (!execute) {
    bits |= XN;
  }
  if (execute && bti) bits |= GP;
  return bits | insert((prot & PROT_SW) >> PROT_SW_LOW, SW_LOW, SW_WIDTH);
}

/** Permissions and software bits of a descriptor [FMT-16]. */
export function stage1Prot(descriptor: u64, hvhe: bool, split: bool): u32 {
  let prot = (<u32>extract(descriptor, SW_LOW, SW_WIDTH)) << PROT_SW_LOW;
  if (!(descriptor & VALID)) return prot;
  const ux = !(descriptor & XN);
  prot |= joinExecute(split ? !(descriptor & PXN) : ux, ux);
  const ap = extract(descriptor, AP_LOW, AP_WIDTH);
  if (ap === apReadOnly(hvhe)) prot |= PROT_R;
  else if (ap === apReadWrite(hvhe)) prot |= PROT_R | PROT_W;
  return prot;
}

/** Device or Normal of a valid leaf, as protection bits. */
export function stage1MemoryType(descriptor: u64): u32 {
  return extract(descriptor, ATTR_LOW, ATTR_WIDTH) === ATTR_DEVICE ? PROT_DEVICE : 0;
}
