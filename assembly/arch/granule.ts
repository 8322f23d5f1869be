// Translation granules and the geometry that follows from them [GEO-1..13].
// Every 9, 12 or 512 of the core comes from here. A granule is named by `ps`,
// the log2 of its size: 12 (4K), 14 (16K) or 16 (64K). Arm DDI 0487 D8.2, "Translation process".
//
// An input address: the bits that each level resolves; the start level resolves the rest above it.
//
//                 level -1      0        1        2        3      offset
//   4K     [63:52 | 51:48 | 47:39 | 38:30 | 29:21 | 20:12 | 11:0]
//   16K    [63:52 |       | 51:47 | 46:36 | 35:25 | 24:14 | 13:0]
//   64K    [63:52 |       |       | 51:42 | 41:29 | 28:16 | 15:0]

import { demand, RULE_GRANULE, RULE_LEVEL } from "../demand";
import { get, put, WIDTH } from "./field";

export const PS_4K: u32 = 12;
export const PS_16K: u32 = 14;
export const PS_64K: u32 = 16;

/** log2 of the size of a descriptor. */
export const ENTRY_SHIFT: u32 = 3;
/** Descriptors are 64-bit words. */
export const ENTRY_BYTES: u32 = 8;
/** The last level; its leaves are pages. */
export const LAST_LEVEL: i32 = 3;
/** Levels 0..3; topping up for a start level s needs GRANULE_LEVELS - 1 - s pages [GEO-12]. */
export const GRANULE_LEVELS: i32 = 4;
/** The first level that can exist: 4K pages and 52-bit input only. */
export const FIRST_LEVEL: i32 = -1;
/** A stage-2 start level may have up to 16 concatenated tables: 4 address bits. */
export const CONCATENATED_BITS: u32 = 4;
/** The smallest unit of table memory: one 4K page. */
export const UNIT_SHIFT: u32 = 12;
export const UNIT_BYTES: usize = 1 << UNIT_SHIFT;

export function isGranule(ps: u32): bool {
  return ps === PS_4K || ps === PS_16K || ps === PS_64K;
}

/** Input-address bits that one level resolves: 9, 11 or 13 [GEO-1]. */
export function levelBits(ps: u32): u32 {
  demand(isGranule(ps), RULE_GRANULE);
  return ps - ENTRY_SHIFT;
}

/** Descriptors in one table [GEO-1]. */
export function entries(ps: u32): u32 {
  return 1 << levelBits(ps);
}

/** Bytes of a table, and of a page. */
export function pageBytes(ps: u32): u32 {
  return 1 << ps;
}

/** log2 of what one entry of `level` covers [GEO-2]. `level` in -1..3. */
export function shift(ps: u32, level: i32): u32 {
  demand(level >= FIRST_LEVEL && level <= LAST_LEVEL, RULE_LEVEL);
  return <u32>(4 - level) * levelBits(ps) + ENTRY_SHIFT;
}

/** Bytes of input space that one entry of `level` covers. */
export function span(ps: u32, level: i32): u64 {
  return (<u64>1) << shift(ps, level);
}

/**
 * The first level with leaves, blocks or pages; D8.3.1. `wide`: output addresses have 52 bits, by LPA2 with 4K and 16K,
 * by the CPU alone with 64K.
 */
export function firstLeafLevel(ps: u32, wide: bool): i32 {
  demand(isGranule(ps), RULE_GRANULE);
  const first = ps === PS_4K ? 1 : 2;
  return wide ? first - 1 : first;
}

/** First level at which KVM installs blocks [GEO-3]. */
export function minBlockLevel(ps: u32): i32 {
  return firstLeafLevel(ps, false);
}

/** log2 of the entries in a contiguous group [HWM-37]; D8.7, "The Contiguous bit". */
export function contiguousBits(ps: u32, level: i32): u32 {
  if (ps === PS_4K) return 4;
  return ps === PS_16K && level === LAST_LEVEL ? 7 : 5;
}

/** Bits of an output address: 48, or 52 with LPA2 or with 64K pages and support for 52 bits (`wide`) [GEO-5]. */
export function outputBits(ps: u32, lpa2: bool, wide: bool): u32 {
  return lpa2 || (ps === PS_64K && wide) ? 52 : 48;
}

/** Index into a table of `level` [GEO-7]. */
export function index(ps: u32, level: i32, addr: u64): u32 {
  return <u32>(addr >> shift(ps, level)) & (entries(ps) - 1);
}

/** `addr` rounded down to a multiple of `bytes`, a power of two. */
export function alignDown(addr: u64, bytes: u64): u64 {
  return addr & ~(bytes - 1);
}

/** Levels that a stage-1 walk of `bits` input bits needs; start level is 4 minus this [GEO-8]. */
export function stage1Levels(ps: u32, bits: u32): u32 {
  return bits < 5 ? 0 : (bits - 4) / levelBits(ps);
}

/** Levels of a stage-2 walk, two at least; up to 16 start tables are concatenated [GEO-8]. */
export function stage2Levels(ps: u32, bits: u32): u32 {
  const n = bits < CONCATENATED_BITS ? 0 : stage1Levels(ps, bits - CONCATENATED_BITS);
  return max<u32>(n, 2);
}

/** Start tables for `bits` of input from `start`; 1..16 for every legal geometry [GEO-9]. */
export function startTables(ps: u32, bits: u32, start: i32): u32 {
  const above = shift(ps, start - 1);
  if (bits <= above) return 1;
  return (<u32>1) << (bits - above);
}

/** Can `start`, with up to 16 start tables, be the start level for `bits` of input? It must resolve at least one bit itself [GEO-9]. */
export function isStart(ps: u32, bits: u32, start: i32): bool {
  const below = shift(ps, start);
  return bits > below && bits <= below + levelBits(ps) + CONCATENATED_BITS;
}

/** Sizes that a leaf can have, as a bitmap of powers of two [GEO-6]. */
export function blockSizes(ps: u32): u64 {
  let sizes: u64 = 0;
  for (let level = minBlockLevel(ps); level <= LAST_LEVEL; level++) sizes |= span(ps, level);
  return sizes;
}

// The geometry of a table as one word, for records: geometry in the lower half, flags of the writer in the upper half.
//
//  63      32 31      24 23      16 15           8 7       0
// +----------+----------+----------+--------------+---------+
// |  flags   |input bits|start     |start level +1| log2 of |
// |          |          |tables    |              | granule |
// +----------+----------+----------+--------------+---------+
export const GEOMETRY_GRANULE: u32 = 0 | (8 << WIDTH);
/** Start level, counted from FIRST_LEVEL. */
export const GEOMETRY_START: u32 = 8 | (8 << WIDTH);
export const GEOMETRY_TABLES: u32 = 16 | (8 << WIDTH);
export const GEOMETRY_INPUT: u32 = 24 | (8 << WIDTH);
export const GEOMETRY_FLAGS: u32 = 32 | (31 << WIDTH);

/** The geometry word of a table: granule, start level, start tables, bits of input, and the writer's flags. */
export function geometryWord(ps: u32, start: i32, tables: u32, bits: u32, flags: u32): u64 {
  return (
    put(ps, GEOMETRY_GRANULE) |
    put(<u64>(start - FIRST_LEVEL), GEOMETRY_START) |
    put(tables, GEOMETRY_TABLES) |
    put(bits, GEOMETRY_INPUT) |
    put(flags, GEOMETRY_FLAGS)
  );
}

/** Start level of a geometry word. */
export function geometryStart(word: u64): i32 {
  return <i32>get(word, GEOMETRY_START) + FIRST_LEVEL;
}
