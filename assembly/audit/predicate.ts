// What a change of a descriptor asks for: pure functions of the two values and of the table they are in [HWM-30..37].

import {
  AF,
  addressMask,
  CONTIGUOUS,
  DBM,
  decodeAddress,
  GP,
  IGNORED,
  isTable,
  NT,
  PXN,
  TABLE,
  TYPE,
  XN,
} from "../arch/descriptor";
import { firstLeafLevel, LAST_LEVEL, PS_64K, shift } from "../arch/granule";
import { AP2 } from "../arch/stage1";
import { S2_R, S2_W } from "../arch/stage2";
import { R_BBM_SHIFT, R_HA, R_HD, R_LPA2, R_STAGE1, R_WIDE, Root } from "./root";

/** AP[2:1] of stage 1 and S2AP of stage 2 lie in the same place. */
const ACCESS: u64 = S2_R | S2_W;
const FREE: u64 = ACCESS | AF | DBM | XN | PXN | IGNORED;

/** Changes that need neither break nor make: permissions, access flag, dirty state, software bits [HWM-33]. */
function freeBits(r: Root): u64 {
  return r.flags & R_STAGE1 ? FREE | GP : FREE;
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

/** Must a valid `old` be broken before a valid `next` may be made? */
export function needsBreak(r: Root, old: u64, next: u64, level: i32): bool {
  const was = isTable(old, level),
    is = isTable(next, level);
  if (was && is) return ((old ^ next) & (addressMask(r.layout, r.ps) | TABLE)) !== 0;
  const bbm = (r.flags >> R_BBM_SHIFT) & 3;
  if (was !== is) return bbm < 2 && !(bbm === 1 && <bool>((was ? next : old) & NT));
  if (!isCached(r, old, level)) return false;
  let fixed = ~freeBits(r);
  if (level < LAST_LEVEL) fixed &= ~NT;
  if (bbm === 2) fixed &= ~CONTIGUOUS;
  return ((old ^ next) & fixed) !== 0;
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

/** Does `next` grant all that the cached `old` does, for the same memory? Then `old` in a TLB harms no more. */
export function covers(r: Root, old: u64, next: u64, level: i32): bool {
  return !needsBreak(r, old, next, level) && !isDowngrade(r, old, next) && <bool>(next & AF);
}
