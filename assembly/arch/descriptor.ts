// Translation table descriptors: what all stages and regimes have in common [FMT-1..9, FMT-40..44].
// Arm DDI 0487 D8.3, "Translation table descriptor formats"; attributes that both stages have, D8.4..D8.7.
// stage1.ts and stage2.ts show the bits of the leaves of each stage.
//
// Hardware ignores everything else when bit 0 is 0, so software may keep its own state in an invalid descriptor:
//
//  63                                                                        11 10  9              2  1   0
// +----------------------------------------------------------------------------+---+----------------+---+---+
// |                                      0                                     | 0 |       0        | 0 | 0 |  a hole
// |                                      0                                     | 0 |  owner [9:2]   | 0 | 0 |  annotation, 5.13..7.0
// |                                      0                                     | 1 |       0        | 0 | 0 |  locked marker, 6.0..7.0
// +----------------------------------------------------------------------------+---+----------------+---+---+
//  63     60 59                                                                                      1   0
// +---------+------------------------------------------------------------------------------------------+---+
// | type > 1|                                   payload [59:1]                                         | 0 |  annotation, 7.1
// | type = 1|                                          0                                               | 0 |  locked marker, 7.1
// +---------+------------------------------------------------------------------------------------------+---+
//
//   owner, type and payload: set by set_owner and annotate; cleared when something is mapped there, or by owner 0.
//   locked marker: set by a walker that breaks the entry (table/bbm.ts); the same walker then makes the new entry.
//
// A table, above level 3. At stage 2, [63:59] are RES0; the library leaves them 0 at stage 1 too [FMT-7]:
//
//   63    62 61    60      59   58      50 49/47         PS                     12 11            2  1   0
// +------+-------+-------+-------+---------+--------------------------------------+---------------+---+---+
// |  NS  |APTable|UXNTable|PXN   |ignored  |   next table: [49:PS] with LPA2,     |    ignored    | 1 | 1 |
// |Table |       |XNTable|Table  |  or 0   |   else [47:PS]; packed bits below    |               |   |   |
// +------+-------+-------+-------+---------+--------------------------------------+---------------+---+---+
//
// A block (type 0, above level 3) or page (type 1, at level 3):
//
//  63  59 58    55 54            50 49/47                  12 11 10  9   8 7             2  1    0
// +------+--------+----------------+-------------------------+--+---+-----+---------------+----+---+
// |ignor.| SW3..0 |upper attributes| output address [49/47:PS]|  | AF| SH  |lower attributes|type| 1 |
// +------+--------+----------------+-------------------------+--+---+-----+---------------+----+---+
//
//   type 0 at level 3 is reserved: hardware faults on it, software still calls it a leaf [FMT-5].
//   SW3..SW0: set by the caller, as software bits of a protection. Changes of attributes and splits keep them; they are
//     cleared when the leaf is removed [FMT-9]. Hardware ignores them.
//   AF: set in every new leaf. Aging clears it; mkyoung, or the hardware (HA), sets it again.
//   DBM [51], contiguous [52], and nT [16] of a block: never set here; the hardware's walker and the judge read
//     them [FMT-26, FMT-27].
//
// Where the bits of an output or table address are [FMT-1]:
//   48 bits        PA[47:PS] in place
//   64K, 52 bits   PA[47:16] in place, PA[51:48] in [15:12]
//   LPA2           PA[49:PS] in place, PA[51:50] in [9:8], where SH would be

import { demand, RULE_ANNOTATION } from "../demand";
import { bit, get, mask, maskOf, put, WIDTH } from "./field";
import { LAST_LEVEL, PS_64K } from "./granule";

export const VALID: u64 = 1;
export const TYPE: u64 = 1 << 1;
export const TABLE: u64 = VALID | TYPE;
export const AF: u64 = 1 << 10;
export const AF_BIT: u32 = 10;
/** Shareability; absent with LPA2. */
export const SH: u32 = 8 | (2 << WIDTH);
/** nT: TLBs may hold entries of other sizes for this block's addresses at the same time; FEAT_BBM. */
export const NT: u64 = 1 << 16;
export const GP: u64 = 1 << 50;
export const DBM: u64 = 1 << 51;
export const CONTIGUOUS: u64 = 1 << 52;
/** PXN of stage 1, the lower bit of XN at stage 2. */
export const PXN: u64 = 1 << 53;
/** XN or UXN of stage 1, the upper bit of XN at stage 2. */
export const XN: u64 = 1 << 54;
export const SW: u32 = 55 | (4 << WIDTH);
/** Bits of a leaf that the hardware ignores: software bits, and implementation defined ones. */
export const IGNORED: u64 = 0xff80000000000000;
/** Software bits SW3..SW0 [FMT-9]. */
export const SW_MASK: u64 = 0xf << 55;

// Attributes of stage-1 tables, for all below them; D8.4, "Hierarchical control".
/** No access for EL0, no writes. */
export const AP_TABLE_EL0: u64 = 1 << 61;
export const AP_TABLE_READ_ONLY: u64 = 1 << 62;
export const PXN_TABLE: u64 = 1 << 59;
export const XN_TABLE: u64 = 1 << 60;
export const NS_TABLE: u64 = 1 << 63;
/** All of them, and NSTable. */
export const TABLE_ATTRIBUTES: u64 = 0xf800000000000000;

/** Attribute bits that a leaf takes from a computed attribute: [11:2] and [63:50] [FMT-8]. */
export const LEAF_ATTRIBUTES: u64 = 0xfffc000000000ffc;

// Layouts of addresses [FMT-1].
/** PA[47:PS] in place; nothing above. */
export const ADDRESS_48: u32 = 0;
/** 64K: PA[51:48] in [15:12]. */
export const ADDRESS_64K_52: u32 = 1;
/** LPA2 (DS=1): PA[49:PS] in place, PA[51:50] in [9:8], where SH would be. */
export const ADDRESS_LPA2: u32 = 2;
export const PACKED_64K: u32 = 12 | (4 << WIDTH);
export const PACKED_LPA2: u32 = 8 | (2 << WIDTH);

/** First output address bit that a layout may have elsewhere, without LPA2 and with it. */
export const LINEAR_BITS: u32 = 48;
export const LINEAR_BITS_LPA2: u32 = 50;

/** The layout that granule and LPA2 choose. 64K always packs the upper bits, also without 52-bit PAs [FMT-1]. */
export function addressLayout(ps: u32, lpa2: bool): u32 {
  if (lpa2) return ADDRESS_LPA2;
  return ps === PS_64K ? ADDRESS_64K_52 : ADDRESS_48;
}

/** log2 of the distance over which consecutive output addresses encode by plain addition: the rest is packed elsewhere. */
export function linearBits(layout: u32): u32 {
  return layout === ADDRESS_LPA2 ? LINEAR_BITS_LPA2 : LINEAR_BITS;
}

/** Bits of a descriptor that hold an output address in place. */
function plainMask(layout: u32, ps: u32): u64 {
  return mask(linearBits(layout) - 1, ps);
}

/** Bits of a descriptor that hold the upper bits of an output address out of place. */
export function packedMask(layout: u32): u64 {
  if (layout === ADDRESS_LPA2) return maskOf(PACKED_LPA2);
  return layout === ADDRESS_64K_52 ? maskOf(PACKED_64K) : 0;
}

/** Bits of a descriptor that hold an output address. */
export function addressMask(layout: u32, ps: u32): u64 {
  return plainMask(layout, ps) | packedMask(layout);
}

/** Output address -> descriptor bits; address bits that the layout cannot hold are dropped [FMT-2]. */
export function encodeAddress(layout: u32, ps: u32, pa: u64): u64 {
  if (layout === ADDRESS_LPA2) return (pa & mask(LINEAR_BITS_LPA2 - 1, ps)) | put(pa >> LINEAR_BITS_LPA2, PACKED_LPA2);
  const low = pa & mask(LINEAR_BITS - 1, ps);
  return layout === ADDRESS_64K_52 ? low | put(pa >> LINEAR_BITS, PACKED_64K) : low;
}

/** Descriptor -> output address, the inverse of `encodeAddress` [FMT-2]. */
export function decodeAddress(layout: u32, ps: u32, descriptor: u64): u64 {
  if (layout === ADDRESS_LPA2)
    return (descriptor & mask(LINEAR_BITS_LPA2 - 1, ps)) | (get(descriptor, PACKED_LPA2) << LINEAR_BITS_LPA2);
  const low = descriptor & mask(LINEAR_BITS - 1, ps);
  return layout === ADDRESS_64K_52 ? low | (get(descriptor, PACKED_64K) << LINEAR_BITS) : low;
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
/** Owner of a 6.12 annotation. */
export const ANNOTATION_OWNER: u32 = 2 | (8 << WIDTH);
/** Type and payload of a 7.x annotation. */
export const ANNOTATION_TYPE: u32 = 60 | (4 << WIDTH);
export const ANNOTATION_PAYLOAD: u32 = 1 | (59 << WIDTH);
/** Type of the 7.x marker. */
export const TYPE_LOCKED: u32 = 1;
const TYPE_LAST: u32 = 15;

/** The marker that a slot holds between break and make, while one walker owns it. */
export function lockedMarker(typed: bool): u64 {
  return typed ? LOCKED_7X : LOCKED_612;
}

/** Is a walker changing this slot? 6.12 tests bit 10 only, so an annotation with bit 10 set matches too. */
export function isLocked(descriptor: u64, typed: bool): bool {
  if (isValid(descriptor)) return false;
  if (typed) return get(descriptor, ANNOTATION_TYPE) === TYPE_LOCKED;
  return <bool>bit(descriptor, AF_BIT);
}

/** An entry that holds a reference on its table: any but zero and the marker [FMT-43]. */
export function isCounted(descriptor: u64, marker: u64): bool {
  return descriptor !== 0 && descriptor !== marker;
}

/** The 6.12 annotation of a page that belongs to `owner` [FMT-40]. */
export function ownerAnnotation(owner: u32): u64 {
  return put(owner, ANNOTATION_OWNER);
}

/** The 7.x annotation: a type in [63:60] over a payload in [59:1] [FMT-41]. Check with `isAnnotation` first. */
export function typedAnnotation(kind: u32, payload: u64): u64 {
  demand(isAnnotation(kind, payload), RULE_ANNOTATION);
  return put(kind, ANNOTATION_TYPE) | payload;
}

/** May `kind` and `payload` be annotated? Not type 0 or LOCKED, nor a payload that touches bit 0 or the type [FMT-41]. */
export function isAnnotation(kind: u32, payload: u64): bool {
  return kind > TYPE_LOCKED && kind <= TYPE_LAST && (payload & ~maskOf(ANNOTATION_PAYLOAD)) === 0;
}
