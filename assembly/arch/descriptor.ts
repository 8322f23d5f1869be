// Translation table descriptors: what stages and regimes share [FMT-1..9, FMT-40..44].
//
//  63        59 58   55 54  53  52   51  50                              12 11 10 9  8 7   6 5      2  1   0
// +------------+-------+---+---+----+---+---------------------------------+--+--+----+-----+--------+---+---+
// |            | SW3-0 |upper attributes|   output address [49/47:PS]     |  |AF| SH |  AP | attr   |typ| V |  leaf
// +------------+-------+----------------+---------------------------------+--+--+----+-----+--------+---+---+
// |                  0                  |   next table    [49/47:PS]      |          0             | 1 | 1 |  table
// +-------------------------------------+---------------------------------+------------------------+---+---+
// |                  0                                         | 1 (bit 10)|     owner [9:2]       | 0 | 0 |  locked / owned
// +------------------------------------------------------------+-----------+----------------------+---+---+
//
// V and type: V=0 invalid whatever else is set; V=1 type=1 a table above level 3 and a page at level 3;
// V=1 type=0 a block above level 3 (reserved at level 3, where software still calls it a leaf, FMT-5).

import { bit, extract, insert, mask } from "./field";
import { LAST_LEVEL, PS_64K } from "./granule";

export const VALID: u64 = 1;
export const TYPE: u64 = 1 << 1;
export const TABLE: u64 = VALID | TYPE;
export const AF: u64 = 1 << 10;
export const AF_BIT: u32 = 10;
export const SH_LOW: u32 = 8;
export const SH_INNER: u64 = 3;
export const GP: u64 = 1 << 50;
export const DBM: u64 = 1 << 51;
export const CONTIGUOUS: u64 = 1 << 52;
export const PXN: u64 = 1 << 53;
export const XN: u64 = 1 << 54;
export const SW_LOW: u32 = 55;
export const SW_WIDTH: u32 = 4;
/** Software bits SW3..SW0 [FMT-9]. */
export const SW_MASK: u64 = 0xf << 55;

/** Attribute bits that a leaf takes from a computed attribute: [11:2] and [63:50] [FMT-8]. */
export const LEAF_ATTRIBUTES: u64 = 0xfffc000000000ffc;

// How an output address lies in a descriptor [FMT-1].
/** PA[47:PS] in place; nothing above. */
export const ADDRESS_48: u32 = 0;
/** 64K: PA[51:48] in [15:12]. */
export const ADDRESS_64K_52: u32 = 1;
/** LPA2 (DS=1): PA[49:PS] in place, PA[51:50] in [9:8], where SH would be. */
export const ADDRESS_LPA2: u32 = 2;

/** The layout that granule and LPA2 choose. 64K always packs the upper bits, 52-bit PA or not (KERNEL-NOTES 10). */
export function addressLayout(ps: u32, lpa2: bool): u32 {
  if (lpa2) return ADDRESS_LPA2;
  return ps === PS_64K ? ADDRESS_64K_52 : ADDRESS_48;
}

/** Bits of a descriptor that hold an output address. */
export function addressMask(layout: u32, ps: u32): u64 {
  if (layout === ADDRESS_LPA2) return mask(49, ps) | mask(9, 8);
  return layout === ADDRESS_64K_52 ? mask(47, ps) | mask(15, 12) : mask(47, ps);
}

/** Output address -> descriptor bits; address bits that have no place are dropped [FMT-2]. */
export function encodeAddress(layout: u32, ps: u32, pa: u64): u64 {
  if (layout === ADDRESS_LPA2) return (pa & mask(49, ps)) | insert(extract(pa, 50, 2), 8, 2);
  const low = pa & mask(47, ps);
  return layout === ADDRESS_64K_52 ? low | insert(extract(pa, 48, 4), 12, 4) : low;
}

/** Descriptor -> output address, the inverse of `encodeAddress` [FMT-2]. */
export function decodeAddress(layout: u32, ps: u32, descriptor: u64): u64 {
  if (layout === ADDRESS_LPA2) return (descriptor & mask(49, ps)) | insert(extract(descriptor, 8, 2), 50, 2);
  const low = descriptor & mask(47, ps);
  return layout === ADDRESS_64K_52 ? low | insert(extract(descriptor, 12, 4), 48, 4) : low;
}

/** log2 of the distance over which consecutive output addresses encode by plain addition. */
export function linearBits(layout: u32): u32 {
  return layout === ADDRESS_LPA2 ? 50 : 48;
}

export function isValid(descriptor: u64): bool {
  return <bool>(descriptor & VALID);
}

/** True for a table descriptor; level 3 has none [FMT-5]. */
export function isTable(descriptor: u64, level: i32): bool {
  return (descriptor & TABLE) === TABLE && level < LAST_LEVEL;
}

/** A table descriptor for the child table at `pa`: address and type, nothing else [FMT-7]. */
export function tableDescriptor(layout: u32, ps: u32, pa: u64): u64 {
  return encodeAddress(layout, ps, pa) | TABLE;
}

/** A leaf of `level` for `pa` with `attributes` already encoded by stage1.ts or stage2.ts [FMT-8]. */
export function leafDescriptor(layout: u32, ps: u32, pa: u64, attributes: u64, level: i32): u64 {
  const type = level === LAST_LEVEL ? TABLE : VALID;
  return encodeAddress(layout, ps, pa) | (attributes & LEAF_ATTRIBUTES) | type;
}

/** Do two descriptors differ in software bits at most? [S2-4] */
export function differsOnlyInSoftware(a: u64, b: u64): bool {
  return ((a ^ b) & ~SW_MASK) === 0;
}

// Invalid descriptors carry software state [FMT-40, FMT-41].

/** The 6.12 marker of a descriptor that a walker is changing: bit 10 alone. */
export const LOCKED_612: u64 = 1 << 10;
/** The 7.x marker: type 1 in [63:60]. */
export const LOCKED_7X: u64 = 1 << 60;
/** Largest owner id of 6.12 [FMT-40]. */
export const MAX_OWNER: u32 = 1;
const OWNER_LOW: u32 = 2;
const OWNER_WIDTH: u32 = 8;
const KIND_LOW: u32 = 60;
const KIND_WIDTH: u32 = 4;
const KIND_LOCKED: u64 = 1;
const PAYLOAD_MASK: u64 = 0x0ffffffffffffffe;

/** The marker that a walker stores while it owns a slot. */
export function lockedMarker(typed: bool): u64 {
  return typed ? LOCKED_7X : LOCKED_612;
}

/** Is a walker changing this slot? 6.12 looks at bit 10 only, so an annotation with bit 10 matches too (KERNEL-NOTES 21). */
export function isLocked(descriptor: u64, typed: bool): bool {
  if (isValid(descriptor)) return false;
  if (typed) return extract(descriptor, KIND_LOW, KIND_WIDTH) === KIND_LOCKED;
  return <bool>bit(descriptor, AF_BIT);
}

/** An entry that holds a reference on its table: any but zero and the marker [FMT-43]. */
export function isCounted(descriptor: u64, marker: u64): bool {
  return descriptor !== 0 && descriptor !== marker;
}

/** The 6.12 annotation of a page that `owner` has [FMT-40]. */
export function ownerAnnotation(owner: u32): u64 {
  return insert(owner, OWNER_LOW, OWNER_WIDTH);
}

/** The 7.x annotation: a type in [63:60] over a payload in [59:1] [FMT-41]. Check with `isAnnotation` first. */
export function typedAnnotation(kind: u32, payload: u64): u64 {
  return insert(kind, KIND_LOW, KIND_WIDTH) | payload;
}

/** May `kind` and `payload` be annotated? Not type 0 or LOCKED, nor a payload that touches bit 0 or the type [FMT-41]. */
export function isAnnotation(kind: u32, payload: u64): bool {
  return kind > KIND_LOCKED && kind <= 15 && (payload & ~PAYLOAD_MASK) === 0;
}
