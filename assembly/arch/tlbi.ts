// Operands of TLB maintenance instructions, encoded and decoded, and how ranges are split [TLB-5..11].
// Arm DDI 0487, C5.5, TLBI VAE1, IPAS2E1, RVAE1 and the like.
//
// by VA        63   48 47  46 45 44 43                              0
//             +-------+------+-----+--------------------------------+
//             | ASID  |  TG  |level|          VA [55:12]            |
//             +-------+------+-----+--------------------------------+
// by IPA       63   48 47  46 45 44 43   40 39                      0     IPA [51:48] are RES0 where the CPU has 48 bits
//             +-------+------+-----+-------+------------------------+
//             |   0   |  TG  |level|   0   |      IPA [51:12]       |
//             +-------+------+-----+-------+------------------------+
//                     \--- TTL ---/
// range        63   48 47  46 45 44 43  39 38  37 36                0     pages = (NUM + 1) << (5 * SCALE + 1)
//             +-------+------+-----+------+------+------------------+     BaseADDR counts granules,
//             | ASID  |  TG  |SCALE| NUM  | TTL  |     BaseADDR     |     64K units where DS is 1 (LPA2)
//             +-------+------+-----+------+------+------------------+
//
// TG: 1 is 4K, 2 is 16K, 3 is 64K; 0 gives no hint in TTL, and is reserved in a range.
//
// The hints that Arm defines; any other value is no hint:
//   level of TTL    0               1                  2   3          (in a range, 0 is never a hint)
//   4K              FEAT_LPA2       yes                yes yes
//   16K             no              FEAT_LPA2          yes yes
//   64K             no              yes                yes yes

import { demand, RULE_RANGE, RULE_RANGE_GRANULE } from "../demand";
import { get, ones, put, WIDTH } from "./field";
import { firstLeafLevel, LAST_LEVEL, PS_4K, PS_16K, PS_64K, UNIT_SHIFT } from "./granule";

/** "Level not known": no hint. Linux passes INT_MAX. */
export const TTL_UNKNOWN: i32 = 0x7fffffff;
/** Most pages that one series of range operations covers [TLB-9]. */
export const MAX_RANGE_PAGES: u64 = 1 << 21;
/** log2 of the unit of a range's base under LPA2. */
const RANGE_LPA2_UNIT: u32 = 16;
/** By-address operands count 4K units in every granule. */
const OPERAND_SHIFT: u32 = UNIT_SHIFT;

export const TG_4K: u32 = 1;
export const TG_16K: u32 = 2;
export const TG_64K: u32 = 3;

const VA_FIELD: u32 = 0 | (44 << WIDTH);
const IPA_FIELD: u32 = 0 | (40 << WIDTH);
const TTL_FIELD: u32 = 44 | (4 << WIDTH);
/** Of TTL and of ranges. */
export const TLBI_TG: u32 = 46 | (2 << WIDTH);
export const TLBI_LEVEL: u32 = 44 | (2 << WIDTH);
const RANGE_SCALE: u32 = 44 | (2 << WIDTH);
const RANGE_NUM: u32 = 39 | (5 << WIDTH);
const RANGE_TTL: u32 = 37 | (2 << WIDTH);
const RANGE_BASE: u32 = 0 | (37 << WIDTH);
/** The address of an operand by VA is sign-extended from the top bit of its base. */
const BASE_SIGN: u64 = 1 << 36;
/** Granule of a TTL code. */
const TTL_TG: u32 = 2 | (2 << WIDTH);

/** TG code of TTL and range operands: 4K 1, 16K 2, 64K 3 [TLB-5]. */
export function granuleCode(ps: u32): u64 {
  return ps === PS_4K ? TG_4K : ps === PS_16K ? TG_16K : TG_64K;
}

/** Granule of a TG code as log2; 0 for code 0. The inverse of `granuleCode`. */
export function codeGranule(code: u32): u32 {
  return code === TG_4K ? PS_4K : code === TG_16K ? PS_16K : code === TG_64K ? PS_64K : 0;
}

/** The lowest level that a hint can name. `lpa2`: FEAT_LPA2, implemented whether in use or not. */
function firstHint(ps: u32, lpa2: bool): i32 {
  return firstLeafLevel(ps, lpa2 || ps === PS_64K);
}

/** TTL field for `level`; 0 (no hint) when unknown or not 0..3 [TLB-5]. Linux writes level 0 in every granule: see `operandLevel`. */
export function ttl(ps: u32, level: i32): u64 {
  return level < 0 || level > LAST_LEVEL ? 0 : put(granuleCode(ps), TTL_TG) | <u64>level;
}

/** Granule that an operand by address or of a range names, as log2; 0 for none, which a range reserves. */
export function operandGranule(operand: u64): u32 {
  return codeGranule(<u32>get(operand, TLBI_TG));
}

/** Level that the TTL of an operand by address promises, or TTL_UNKNOWN: no hint, or a reserved one [TLB-5, TLB-6]. */
export function operandLevel(operand: u64, lpa2: bool): i32 {
  const ps = operandGranule(operand),
    level = <i32>get(operand, TLBI_LEVEL);
  return ps !== 0 && level >= firstHint(ps, lpa2) ? level : TTL_UNKNOWN;
}

/** Operand of a by-address TLBI: address >> 12 in every granule, 44 bits. */
export function addressOperand(addr: u64): u64 {
  return put(addr >> OPERAND_SHIFT, VA_FIELD);
}

/** First address of an operand by VA or IPA, below 2^56. */
export function operandAddress(operand: u64): u64 {
  return get(operand, VA_FIELD) << OPERAND_SHIFT;
}

/** Operand of IPAS2E1IS with a level hint [TLB-1, TLB-5]. */
export function ipaOperand(ps: u32, ipa: u64, level: i32): u64 {
  return put(ipa >> OPERAND_SHIFT, IPA_FIELD) | put(ttl(ps, level), TTL_FIELD);
}

/**
 * NUM for as much of `pages` as one range operation of `scale` covers, or -1 if that scale is too coarse.
 * [TLB-8]; `pages` >= 1, `scale` 0..3.
 */
export function rangeNum(pages: u64, scale: u32): i32 {
  demand(pages !== 0 && scale <= 3, RULE_RANGE);
  const unit = 5 * scale + 1;
  return <i32>(min<u64>(pages, (<u64>32) << unit) >> unit) - 1;
}

/** Pages that a range operation covers [TLB-7]. */
export function rangePages(num: u32, scale: u32): u64 {
  return (<u64>(num + 1)) << (5 * scale + 1);
}

/** Operand of a range TLBI [TLB-7]; under LPA2 the base counts 64K units. */
export function rangeOperand(ps: u32, addr: u64, scale: u32, num: u32, level: i32, lpa2: bool): u64 {
  const hint = level >= 1 && level <= LAST_LEVEL ? put(level, RANGE_TTL) : 0;
  const base = put(addr >> (lpa2 ? RANGE_LPA2_UNIT : ps), RANGE_BASE);
  return base | hint | put(num, RANGE_NUM) | put(scale, RANGE_SCALE) | put(granuleCode(ps), TLBI_TG);
}

/** Level that the TTL of a range operand, whose granule is not reserved, promises; TTL_UNKNOWN: no hint, or a reserved one [TLB-7]. */
export function rangeLevel(operand: u64, lpa2: bool): i32 {
  demand(operandGranule(operand) !== 0, RULE_RANGE_GRANULE);
  const level = <i32>get(operand, RANGE_TTL);
  return level !== 0 && level >= firstHint(operandGranule(operand), lpa2) ? level : TTL_UNKNOWN;
}

/**
 * First address of a range operand whose granule is not reserved. `lpa2`: the base counts 64K units.
 * `va`: the address is extended from the top bit of the base, as a VA is; an IPA is not.
 */
export function rangeAddress(operand: u64, lpa2: bool, va: bool): u64 {
  demand(operandGranule(operand) !== 0, RULE_RANGE_GRANULE);
  const base = get(operand, RANGE_BASE),
    extended = va ? (base ^ BASE_SIGN) - BASE_SIGN : base;
  return extended << (lpa2 ? RANGE_LPA2_UNIT : operandGranule(operand));
}

/** Bytes that a range operand covers; its granule is not reserved. */
export function rangeBytes(operand: u64): u64 {
  demand(operandGranule(operand) !== 0, RULE_RANGE_GRANULE);
  return rangePages(<u32>get(operand, RANGE_NUM), <u32>get(operand, RANGE_SCALE)) << operandGranule(operand);
}

/** Must this step be a single-entry operation? No range support, one page left, or a base that LPA2 cannot express [TLB-8]. */
function needsSingle(addr: u64, pages: u64, lpa2: bool, ranged: bool): bool {
  return !ranged || pages === 1 || (lpa2 && (addr & ones(RANGE_LPA2_UNIT)) !== 0);
}

/**
 * SCALE of the next instruction for `pages` from `addr`, scales tried from `scale` (first 3) down; -1: a single-entry
 * operation [TLB-8]. The caller then continues with the next lower scale.
 */
export function rangeScale(addr: u64, pages: u64, scale: i32, lpa2: bool, ranged: bool): i32 {
  if (needsSingle(addr, pages, lpa2, ranged)) return -1;
  while (scale >= 0 && rangeNum(pages, scale) < 0) scale--;
  return scale;
}
