// What a change of a descriptor asks for: pure functions of the two values and of the table they are in [HWM-30..37].

import {
  AF,
  AP_TABLE_EL0,
  AP_TABLE_READ_ONLY,
  addressMask,
  CONTIGUOUS,
  DBM,
  decodeAddress,
  GP,
  IGNORED,
  isTable,
  NT,
  PXN,
  PXN_TABLE,
  TABLE,
  TYPE,
  XN,
  XN_TABLE,
} from "../arch/descriptor";
import { firstLeafLevel, LAST_LEVEL, PS_64K, shift } from "../arch/granule";
import { AP2 } from "../arch/stage1";
import { S2_R, S2_W } from "../arch/stage2";
import { R_ASID, R_BBM_SHIFT, R_HA, R_HD, R_HPD, R_LPA2, R_STAGE1, R_WIDE, Root } from "./root";

/** AP[2:1] of stage 1 and S2AP of stage 2 lie in the same place. */
const ACCESS: u64 = S2_R | S2_W;
const FREE: u64 = ACCESS | AF | DBM | XN | PXN | IGNORED;
/** nG of stage 1: the entry belongs to one ASID. */
const NOT_GLOBAL: u64 = 1 << 11;
/** MemAttr[3:2] of stage 2: zero is Device, with FWB or without. */
const MEMORY: u64 = 3 << 4;

/** Changes that need neither break nor make: permissions, access flag, dirty state, software bits [HWM-33]. */
function freeBits(r: Root): u64 {
  return r.flags & R_STAGE1 ? FREE | GP : FREE;
}

/** Level of FEAT_BBM. */
function bbm(r: Root): u32 {
  return (r.flags >> R_BBM_SHIFT) & 3;
}

/** May hardware have cached this valid descriptor? [HWM-30, HWM-31] */
export function isCached(r: Root, value: u64, level: i32): bool {
  return isTable(value, level) || <bool>(value & AF) || <bool>(r.flags & R_HA);
}

/** May a leaf be at this level? */
function hasLeaves(r: Root, level: i32): bool {
  return level >= firstLeafLevel(r.ps, <bool>(r.flags & (r.ps === PS_64K ? R_WIDE : R_LPA2)));
}

/** Is the valid `value` a descriptor that the architecture has at `level`? */
export function isEncoded(value: u64, level: i32, r: Root): bool {
  if (level === LAST_LEVEL) return <bool>(value & TYPE);
  return <bool>(value & TYPE) || hasLeaves(r, level);
}

/** The table or page that a descriptor names. */
export function addressIn(r: Root, value: u64): u64 {
  return decodeAddress(r.layout, r.ps, value);
}

/** Output address of a leaf of `level`. */
export function outputOf(r: Root, value: u64, level: i32): u64 {
  return addressIn(r, value) & ~(((<u64>1) << shift(r.ps, level)) - 1);
}

/** Is it a leaf of a device's registers, which is no memory that anybody owns? */
export function isDevice(value: u64): bool {
  return (value & MEMORY) === 0;
}

/** Must a valid `old` that TLBs may hold be broken before a valid `next` may be made? */
export function needsBreak(r: Root, old: u64, next: u64, level: i32): bool {
  const was = isTable(old, level),
    is = isTable(next, level);
  if (was && is) return ((old ^ next) & (addressMask(r.layout, r.ps) | TABLE)) !== 0;
  if (was !== is) return bbm(r) < 2 && !(bbm(r) === 1 && <bool>((was ? next : old) & NT));
  let fixed = ~freeBits(r);
  if (level < LAST_LEVEL) fixed &= ~NT;
  if (bbm(r) === 2) fixed &= ~CONTIGUOUS;
  return ((old ^ next) & fixed) !== 0;
}

/** The same of a descriptor that hardware can have cached or not. */
export function mustBreak(r: Root, old: u64, next: u64, level: i32): bool {
  return isCached(r, old, level) && needsBreak(r, old, next, level);
}

/** Permissions that a descriptor grants, as bits of which more is more. */
function grants(r: Root, value: u64): u64 {
  const deny: u64 = r.flags & R_STAGE1 ? AP2 | XN | PXN : 0;
  if (deny) return ~value & deny;
  let g = value & ACCESS;
  if (r.flags & R_HD && value & DBM) g |= S2_W; // hardware makes it writable at the first write
  if (!(value & XN)) g |= XN; // EL1 or EL0 may execute where XN[1] is clear ..
  const privileged = ((value ^ (value >> 1)) & PXN) === 0; // .. and EL1 where XN[1] equals XN[0]
  return privileged ? g | PXN : g;
}

/** Does the leaf `next` take away something that `old`, which may be cached, grants? */
export function isDowngrade(r: Root, old: u64, next: u64): bool {
  return (grants(r, old) & ~grants(r, next)) !== 0;
}

/** Does the table descriptor `next` take away something that `old` grants below it? Stage 2 has no such bits. */
export function isTableDowngrade(r: Root, old: u64, next: u64): bool {
  if (!(r.flags & R_STAGE1) || r.flags & R_HPD) return false;
  const deny = AP_TABLE_READ_ONLY | XN_TABLE | (r.flags & R_ASID ? AP_TABLE_EL0 | PXN_TABLE : 0);
  return (~old & next & deny) !== 0;
}

/** Does `next` grant all that the cached `old` does, for the same memory? Then `old` in a TLB harms no more. */
export function covers(r: Root, old: u64, next: u64, level: i32): bool {
  return !needsBreak(r, old, next, level) && !isDowngrade(r, old, next) && <bool>(next & AF);
}

/** Is what TLBs hold of a descriptor tagged with an ASID? */
export function isTagged(r: Root, value: u64, level: i32): bool {
  return (r.flags & R_ASID) !== 0 && (isTable(value, level) || (value & NOT_GLOBAL) !== 0);
}

/** May two leaves of a contiguous run stand `distance` bytes apart? Permissions may differ while they are changed. */
export function agree(r: Root, a: u64, b: u64, level: i32, distance: u64): bool {
  if (bbm(r) === 2) return true;
  const fixed = ~freeBits(r) & ~addressMask(r.layout, r.ps);
  if ((a & b & CONTIGUOUS) === 0 || ((a ^ b) & fixed) !== 0) return false;
  return outputOf(r, b, level) - outputOf(r, a, level) === distance;
}
