// Stage-2 leaves [FMT-20..32]. Arm DDI 0487 D8.3.1 (formats), D8.4.2 (permissions), D8.6 (memory types).
//
//  63  59 58   55 54  53 52  51 50 49         12 11 10  9   8  7   6  5       2   1   0
// +------+-------+------+---+---+--+------------+--+--+------+---+---+----------+----+---+
// |ignor.| SW3-0 |  XN  | C |DBM| 0|     OA     | 0|AF|  SH  | W | R | MemAttr  |type| 1 |
// +------+-------+------+---+---+--+------------+--+--+------+---+---+----------+----+---+
//                                                             \ S2AP /
//  S2AP  both clear is legal: every access faults
//  XN    without FEAT_XNX bit 54 alone; with it [54:53]  00 EL1+EL0  01 EL0  10 none  11 EL1   execute
//  SH    inner shareable, absent under LPA2 (address bits are there)
//
//  MemAttr      Normal WB   Normal NC   Device-nGnRE   as stage 1
//  no FWB         0xF         0x5          0x1            0xF
//  FWB            0x6         0x5          0x1            0x7
//
// Software bits, AF and DBM: see descriptor.ts. With DBM and hardware updates, W is clean (0) or dirty (1) [HWM-22].

import { demand, RULE_PROTECTION } from "../demand";
import { AF, PXN, SH, SW, VALID, XN } from "./descriptor";
import { get, put, WIDTH } from "./field";
import { FORCED_STAGE1, FORCED_WRITE_BACK, SHARE_INNER } from "./memory-type";
import {
  executeBits,
  isProtection,
  joinExecute,
  PROT_AS_STAGE1,
  PROT_DEVICE,
  PROT_NC,
  PROT_PX,
  PROT_R,
  PROT_SW,
  PROT_SW_LOW,
  PROT_UX,
  PROT_W,
} from "./protection";

export const S2_ATTR: u32 = 2 | (4 << WIDTH);
export const S2_R: u64 = 1 << 6;
export const S2_W: u64 = 1 << 7;
const XN_CODE: u32 = 53 | (2 << WIDTH);
export const S2_XN_FIELD: u64 = XN | PXN;

/** MemAttr of write-back without FWB. */
export const S2_ATTR_NORMAL: u32 = 0xf;
const ATTR_NORMAL_FWB: u64 = FORCED_WRITE_BACK;
const ATTR_NC: u64 = 0x5;
const ATTR_DEVICE: u64 = 0x1;
const ATTR_AS_STAGE1_FWB: u64 = FORCED_STAGE1;

/** MemAttr of Normal write-back memory. */
export function normalAttr(fwb: bool): u64 {
  return fwb ? ATTR_NORMAL_FWB : S2_ATTR_NORMAL;
}

/** MemAttr of a leaf. */
export function memAttr(descriptor: u64): u32 {
  return <u32>get(descriptor, S2_ATTR);
}

/** The permission bits: leaves that differ in nothing else need no break-before-make [FMT-32]. */
export function permissionMask(xnx: bool): u64 {
  return S2_R | S2_W | (xnx ? S2_XN_FIELD : XN);
}

/** The XN field for the execute halves px (EL1) and ux (EL0) [FMT-25]. */
export function executeNever(px: bool, ux: bool, xnx: bool): u64 {
  if (!xnx) return px ? 0 : XN;
  const code: u64 = px ? (ux ? 0 : 3) : ux ? 1 : 2;
  return put(code, XN_CODE);
}

/** Execute rights that an XN field grants: PROT_X, PROT_PX, PROT_UX or 0. */
export function executeOf(descriptor: u64, xnx: bool): u32 {
  if (!xnx) return joinExecute(!(descriptor & XN), !(descriptor & XN));
  const code = <u32>get(descriptor, XN_CODE);
  return joinExecute(code === 0 || code === 3, code < 2);
}

/** Are these protections ones that stage 2 can have? [FMT-25, FMT-28] */
export function isStage2Prot(prot: u32, xnx: bool): bool {
  if (!isProtection(prot)) return false;
  const execute = executeBits(prot);
  const typed = prot & (PROT_DEVICE | PROT_NC | PROT_AS_STAGE1);
  if (typed & (typed - 1)) return false; // two memory types
  if (typed & (PROT_DEVICE | PROT_NC) && execute) return false;
  return xnx || execute === 0 || execute === (PROT_PX | PROT_UX);
}

/** Attribute bits of a leaf, never 0 (AF is set); precondition `isStage2Prot`. [FMT-20..26] */
export function stage2Attributes(prot: u32, fwb: bool, lpa2: bool, xnx: bool): u64 {
  demand(isStage2Prot(prot, xnx), RULE_PROTECTION);
  const execute = executeBits(prot);
  let attr = normalAttr(fwb);
  if (prot & PROT_DEVICE) attr = ATTR_DEVICE;
  else if (prot & PROT_NC) attr = ATTR_NC;
  else if (prot & PROT_AS_STAGE1) attr = fwb ? ATTR_AS_STAGE1_FWB : S2_ATTR_NORMAL;
  let bits = AF | put(attr, S2_ATTR);
  if (prot & PROT_R) bits |= S2_R;
  if (prot & PROT_W) bits |= S2_W;
  if (!lpa2) bits |= put(SHARE_INNER, SH);
  bits |= executeNever(<bool>(execute & PROT_PX), <bool>(execute & PROT_UX), xnx);
  return bits | put((prot & PROT_SW) >> PROT_SW_LOW, SW);
}

/** Permissions and software bits of a descriptor; an invalid one has software bits only, the memory type is not decoded [FMT-29]. */
export function stage2Prot(descriptor: u64, xnx: bool): u32 {
  let prot = (<u32>get(descriptor, SW)) << PROT_SW_LOW;
  if (!(descriptor & VALID)) return prot;
  if (descriptor & S2_R) prot |= PROT_R;
  if (descriptor & S2_W) prot |= PROT_W;
  return prot | executeOf(descriptor, xnx);
}

/** Memory type of a valid leaf as protection bits: 0 for Normal [FMT-20]. */
export function stage2MemoryType(descriptor: u64, fwb: bool): u32 {
  const attr = get(descriptor, S2_ATTR);
  if (attr === normalAttr(fwb)) return 0;
  if (attr === ATTR_NC) return PROT_NC;
  if (fwb && attr === ATTR_AS_STAGE1_FWB) return PROT_AS_STAGE1;
  return PROT_DEVICE;
}

/** Valid and Normal write-back: needs data cache maintenance without FWB [CMO-4]. */
export function isCacheable(descriptor: u64, fwb: bool): bool {
  return <bool>(descriptor & VALID) && get(descriptor, S2_ATTR) === normalAttr(fwb);
}

/** Valid and executable at some level: needs instruction cache maintenance [CMO-4]. */
export function isExecutable(descriptor: u64, xnx: bool): bool {
  return <bool>(descriptor & VALID) && executeOf(descriptor, xnx) !== 0;
}
