// Operands of TLB maintenance instructions and the splitting of ranges [TLB-5..11].
//
// by address   63   48 47 44 43                     0
//             +-------+-----+-----------------------+
//             |  ASID | TTL |   address >> 12       |
//             +-------+-----+-----------------------+
// range        63   48 47 46 45 44 43  39 38 37 36  0
//             +-------+-----+-----+------+-----+-----+
//             |  ASID | TG  |SCALE| NUM  | TTL |BADDR|     pages = (NUM + 1) << (5 * SCALE + 1)
//             +-------+-----+-----+------+-----+-----+

import { insert, ones } from "./field";
import { PS_4K, PS_16K, UNIT_SHIFT } from "./granule";

/** "Level not known": no hint. Linux passes INT_MAX. */
export const TTL_UNKNOWN: i32 = 0x7fffffff;
/** Most pages that one series of range operations covers [TLB-9]. */
export const MAX_RANGE_PAGES: u64 = 1 << 21;
const RANGE_LPA2_UNIT: u32 = 16;
/** By-address operands count 4K units in every granule. */
const OPERAND_SHIFT: u32 = UNIT_SHIFT;

/** TG code of TTL and range operands: 4K 1, 16K 2, 64K 3 [TLB-5]. */
export function granuleCode(ps: u32): u64 {
  return ps === PS_4K ? 1 : ps === PS_16K ? 2 : 3;
}

/** TTL field for `level`; 0 (no hint) when unknown or not 0..3 [TLB-5]. */
export function ttl(ps: u32, level: i32): u64 {
  if (level < 0 || level > 3) return 0;
  return (granuleCode(ps) << 2) | <u64>level;
}

/** Operand of a by-address TLBI: address >> 12 in every granule, 44 bits (KERNEL-NOTES 53). */
export function addressOperand(addr: u64): u64 {
  return (addr >> OPERAND_SHIFT) & ones(44);
}

/** Operand of IPAS2E1IS with a level hint [TLB-1, TLB-5]. */
export function ipaOperand(ps: u32, ipa: u64, level: i32): u64 {
  return ((ipa >> OPERAND_SHIFT) & ones(36)) | insert(ttl(ps, level), 44, 4);
}

/**
 * NUM for as much of `pages` as one range operation of `scale` covers, or -1 if that scale is too coarse.
 * [TLB-8]; `pages` >= 1, `scale` 0..3.
 */
export function rangeNum(pages: u64, scale: u32): i32 {
  const unit = 5 * scale + 1;
  return <i32>(min<u64>(pages, (<u64>32) << unit) >> unit) - 1;
}

/** Pages that a range operation covers [TLB-7]. */
export function rangePages(num: u32, scale: u32): u64 {
  return (<u64>(num + 1)) << (5 * scale + 1);
}

/** Operand of a range TLBI [TLB-7]; under LPA2 the base counts 64K units. */
export function rangeOperand(ps: u32, addr: u64, scale: u32, num: u32, level: i32, lpa2: bool): u64 {
  const hint: u64 = level >= 1 && level <= 3 ? <u64>level : 0;
  const base = (addr >> (lpa2 ? RANGE_LPA2_UNIT : ps)) & ones(37);
  return base | (hint << 37) | ((<u64>num) << 39) | ((<u64>scale) << 44) | (granuleCode(ps) << 46);
}

/** Must this step be a single-entry operation? No range support, one page left, or a base that LPA2 cannot express [TLB-8]. */
export function needsSingle(addr: u64, pages: u64, lpa2: bool, ranged: bool): bool {
  return !ranged || pages === 1 || (lpa2 && (addr & ones(RANGE_LPA2_UNIT)) !== 0);
}
