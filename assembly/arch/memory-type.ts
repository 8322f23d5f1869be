// Memory types and shareability, in the encoding of MAIR_ELx and PAR_EL1, and how the stages combine [FMT-22].
// Arm DDI 0487 D8.6, "Memory region attributes".
//
//  7    4 3    0
// +------+------+   0000 dd00 Device: dd = 00 nGnRnE, 01 nGnRE, 10 nGRE, 11 GRE
// | outer| inner|   others Normal: 0100 non-cacheable, 00RW 10RW write-through, 01RW 11RW write-back (R, W: allocate)
// +------+------+

import { extract } from "./field";

export const MEMORY_DEVICE: u32 = 0;
export const MEMORY_NON_CACHEABLE: u32 = 0x44;
export const MEMORY_WRITE_THROUGH_NT: u32 = 0xee;
export const MEMORY_WRITE_BACK: u32 = 0xff;
/** Write-back, tagged (FEAT_MTE): combines as write-back. */
const MEMORY_TAGGED: u32 = 0xf0;
/** Non-cacheable that FEAT_XS adds. */
const MEMORY_NON_CACHEABLE_XS: u32 = 0x40;
const NIBBLE_NON_CACHEABLE: u32 = 4;
const NIBBLE_WRITE_BACK: u32 = 15;
/** The least strict kind of Device, and the bits in which the kinds differ. */
const DEVICE_GRE: u32 = 12;

// MemAttr of Normal memory with FEAT_S2FWB in use: as stage 1 says, write-back whatever that says, non-cacheable.
export const FORCED_STAGE1: u32 = 7;
export const FORCED_WRITE_BACK: u32 = 6;
export const FORCED_NON_CACHEABLE: u32 = 5;

export const SHARE_NONE: u32 = 0;
export const SHARE_OUTER: u32 = 2;
export const SHARE_INNER: u32 = 3;

/** Attribute `index` of a MAIR. */
export function mairAttribute(mair: u64, index: u32): u32 {
  return <u32>extract(mair, index << 3, 8);
}

export function isDevice(attribute: u32): bool {
  return (attribute & 0xf0) === 0;
}

/** Shareability with memory type taken into account: Device and fully non-cacheable memory is always outer shareable. */
export function shareabilityOf(attribute: u32, asked: u32): u32 {
  const outer = isDevice(attribute) || attribute === MEMORY_NON_CACHEABLE || attribute === MEMORY_NON_CACHEABLE_XS;
  return outer ? SHARE_OUTER : asked;
}

/** The wider of two shareabilities: outer, inner, none. */
export function combineShareability(a: u32, b: u32): u32 {
  if (a === SHARE_OUTER || b === SHARE_OUTER) return SHARE_OUTER;
  return a === SHARE_INNER || b === SHARE_INNER ? SHARE_INNER : SHARE_NONE;
}

/** Two bits of a stage-2 MemAttr as half an attribute: 1 non-cacheable, 2 write-through, 3 write-back; both allocate. */
function stage2Nibble(code: u32): u32 {
  return (code << 2) | (code === 1 ? 0 : 3);
}

/** A stage-2 MemAttr [3:0] without FWB as an attribute; `cd`: HCR_EL2.CD makes Normal memory non-cacheable. */
export function stage2Attribute(memAttr: u32, cd: bool): u32 {
  const outer = memAttr >> 2,
    inner = memAttr & 3;
  if (outer === 0) return inner << 2;
  return cd ? MEMORY_NON_CACHEABLE : (stage2Nibble(outer) << 4) | stage2Nibble(inner);
}

/** Is stage-2 memory of this MemAttr Device for a table walk? Stage 1 counts as Normal there. */
export function isStage2Device(memAttr: u32, fwb: bool): bool {
  return fwb ? (memAttr & 4) === 0 : memAttr >> 2 === 0;
}

/** Is it Normal memory that is cacheable, both halves? */
function isCacheable(attribute: u32): bool {
  return attribute >> 4 > NIBBLE_NON_CACHEABLE && (attribute & 15) > NIBBLE_NON_CACHEABLE;
}

/** Is stage-2 memory of this MemAttr Normal cacheable for a table walk? Stage 1 counts as write-back there. */
export function isStage2Cacheable(memAttr: u32, fwb: bool, cd: bool): bool {
  return fwb ? memAttr === FORCED_WRITE_BACK || memAttr === FORCED_STAGE1 : isCacheable(stage2Attribute(memAttr, cd));
}

/** The weaker of two halves; allocation hints are those of stage 1. */
function combineNibble(s1: u32, s2: u32): u32 {
  if (s1 === NIBBLE_NON_CACHEABLE || s2 === NIBBLE_NON_CACHEABLE) return NIBBLE_NON_CACHEABLE;
  const writeThrough = (s1 & 4) === 0;
  if (!writeThrough && s2 >> 2 === 2) return 8 | (s1 & 3);
  return s1;
}

function combineWeaker(s1: u32, s2: u32): u32 {
  if (!isDevice(s1) && !isDevice(s2)) return (combineNibble(s1 >> 4, s2 >> 4) << 4) | combineNibble(s1 & 15, s2 & 15);
  // Normal memory has no bits for gathering: beside it, a Device type stays as it is.
  const a = isDevice(s1) ? s1 & DEVICE_GRE : DEVICE_GRE,
    b = isDevice(s2) ? s2 & DEVICE_GRE : DEVICE_GRE;
  return min(a, b);
}

/** Write-back, with the allocation hints of `s1`. */
function forceNibble(s1: u32): u32 {
  return s1 === 0 || s1 === NIBBLE_NON_CACHEABLE ? NIBBLE_WRITE_BACK : s1 | 4;
}

function combineForced(s1: u32, memAttr: u32): u32 {
  switch (memAttr) {
    case FORCED_STAGE1:
      return s1;
    case FORCED_WRITE_BACK:
      return isDevice(s1) ? MEMORY_WRITE_BACK : (forceNibble(s1 >> 4) << 4) | forceNibble(s1 & 15);
    case FORCED_NON_CACHEABLE:
      return isDevice(s1) ? s1 : MEMORY_NON_CACHEABLE;
    default:
      return memAttr < 4 ? memAttr << 2 : MEMORY_DEVICE; // reserved codes count as the strictest
  }
}

/** The attribute of stage 1 combined with a stage-2 MemAttr: what FWB forces, or the weaker of the two. */
export function combineAttributes(s1: u32, memAttr: u32, fwb: bool, cd: bool): u32 {
  const tagged = s1 === MEMORY_TAGGED;
  const plain = tagged ? MEMORY_WRITE_BACK : s1;
  const both = fwb ? combineForced(plain, memAttr) : combineWeaker(plain, stage2Attribute(memAttr, cd));
  return tagged && both === MEMORY_WRITE_BACK ? MEMORY_TAGGED : both;
}
