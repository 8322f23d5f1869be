// Many translations in one call. The fast path serves nearly all accesses: tables in the window, and a leaf that allows the
// access and needs no update. It uses plain loads and keeps in locals what does not change. What a leaf means is computed once
// and memoized under the bits that decide it (its key). Everything else, such as a fault, an access flag to set or an address
// with packed bits, goes through `resolve`, which is complete and gives the same answers.
//
// A key:  63:59 tables' attributes   54:50 leaf   32 half   27:24 access   21:16 level, as a shift   11:0 leaf

import { AF, isTable, TABLE, TABLE_ATTRIBUTES, TYPE, VALID } from "../arch/descriptor";
import { bit } from "../arch/field";
import { ENTRY_BYTES, ENTRY_SHIFT, FIRST_LEVEL, isGranule, LAST_LEVEL, levelBits, shift } from "../arch/granule";
import { isStage2Device } from "../arch/memory-type";
import { VA_HALF, VA_TAG_BITS } from "../arch/registers";
import { memAttr, S2_R } from "../arch/stage2";
import { read, write } from "../memory/cell";
import * as C from "./context";
import { accessOf, ROW_BYTES, ROW_INFO, resolve, stageOf } from "./translate";
import { A_EL0, A_FETCH, A_KIND, A_PAN, isBlockLevel } from "./walk";

const KEY_SHIFT: u32 = 16;
const KEY_ACCESS: u32 = 24;
const KEY_HALF: u32 = 32;

/** Bits of an access that decide what is allowed. */
const ACCESS: u32 = A_KIND | A_EL0 | A_PAN;

@final
@unmanaged
class Key {
  @inline static of(leaf: u64, keyMask: u64, at: u32): u64 {
    return (leaf & keyMask) | ((<u64>at) << KEY_SHIFT);
  }

  /** The bits of an address below an entry shift. */
  @inline static inside(at: u32): u64 {
    return (((<u64>1) << ENTRY_SHIFT) << at) - 1;
  }

  @inline static slot(key1: u64, key2: u64): u32 {
    const both = key1 ^ (key2 << 1);
    return <u32>both ^ <u32>(both >> 6) ^ <u32>(both >> 18) ^ <u32>(both >> 51);
  }
}

/** Tables' attributes that count: none at stage 2 and with HPD. */
function tableBits(s: C.Stage): u64 {
  return s.flags & (C.S_STAGE2 | C.S_HPD) ? 0 : TABLE_ATTRIBUTES;
}

/** The key of the leaf that the last walk of `s` found. */
function keyOf(s: C.Stage): u64 {
  return Key.of(s.raw, s.keyMask, shift(s.ps, s.level) - ENTRY_SHIFT) | (s.tables & tableBits(s));
}

/** What an access adds to the key of the first leaf. */
function accessKey(access: u32, half: u64): u64 {
  return ((<u64>(access & ACCESS)) << KEY_ACCESS) | (half << KEY_HALF);
}

/** Memoizes the answer of the last `resolve` under what it really read. */
function keep(c: C.Context, s: C.Stage, access: u64): void {
  const first = <bool>(c.flags & C.M_STAGE1),
    second = <bool>(c.flags & C.M_STAGE2);
  if (c.updates || !(first || second)) return;
  const key1 = keyOf(first ? s : C.stage2(c)) | access,
    key2 = first && second ? keyOf(C.stage2(c)) : 0;
  const m = C.memo(c, Key.slot(key1, key2));
  m.key1 = key1;
  m.key2 = key2;
  m.info = c.info;
}

/** One row by the complete walk. */
function row(c: C.Context, addr: u64, access: u32, rows: usize): void {
  if ((access & A_KIND) === A_FETCH) addr &= ~(<u64>3);
  if (resolve(c, addr, access))
    keep(c, stageOf(c, addr), accessKey(access, c.flags & C.M_STAGE1 ? halfOf(c, addr) : 0));
  else c.faults++;
  write(rows, c.pa);
  write(rows + ROW_INFO, c.info);
}

function halfOf(c: C.Context, addr: u64): u64 {
  return c.flags & C.M_TWO_RANGES ? bit(addr, VA_HALF) : 0;
}

/** The memoized answer for two keys, or 0. */
function recall(c: C.Context, key1: u64, key2: u64): u64 {
  const m = C.memo(c, Key.slot(key1, key2));
  return m.key1 === key1 && m.key2 === key2 ? m.info : 0;
}

/** Rows of one stage until the half changes; where it stopped. `s` walks, and its tables are in the window. */
function runSingle(c: C.Context, s: C.Stage, addrs: usize, end: usize, rows: usize, access: u32): usize {
  const walks1 = <bool>(c.flags & C.M_STAGE1);
  const half: u64 = walks1 ? halfOf(c, read(addrs, false)) : 0,
    halfMask: u64 = walks1 && c.flags & C.M_TWO_RANGES ? (<u64>1) << VA_HALF : 0;
  const high: i64 = -(<i64>half),
    halfBits = half << VA_HALF,
    tag = walks1 && s.flags & ((access & A_KIND) === A_FETCH ? C.S_TBI_FETCH : C.S_TBI_DATA) ? VA_TAG_BITS : 0,
    inputBits = <i64>(walks1 ? s.inputBits : min(s.inputBits, c.paMax)),
    word: u64 = (access & A_KIND) === A_FETCH ? ~(<u64>3) : ~(<u64>0);
  const root: usize = s.rootPointer,
    rootShift = s.rootShift,
    rootMask = s.rootMask,
    indexMask = s.indexMask,
    bits = levelBits(s.ps),
    last = s.ps - ENTRY_SHIFT;
  const tableMask = s.tableMask,
    leafMask = tableMask & ~TABLE,
    addressMask = s.addressMask,
    keyMask = s.keyMask,
    attributes = tableBits(s),
    origin = c.physBase,
    lastTable = s.lastTable,
    shifted: usize = c.pointer - <usize>origin,
    accessBits = accessKey(access, half);
  let lastKey: u64 = 0,
    lastInfo: u64 = 0;
  for (; addrs !== end; addrs += 8, rows += ROW_BYTES) {
    const raw = read(addrs, false);
    if ((raw & halfMask) !== halfBits) break;
    const addr = <u64>(<i64>(raw << tag) >> tag) & word;
    if (<i64>addr >> inputBits !== high) {
      row(c, raw, access, rows);
      if (c.updates) return addrs + 8;
      continue;
    }
    let at = rootShift,
      tables: u64 = 0,
      d = read(root + (<u32>(addr >> at) & rootMask), false);
    while ((d & tableMask) === TABLE && at !== last) {
      const offset = (d & addressMask) - origin;
      tables |= d;
      at -= bits;
      d = offset <= lastTable ? read(<usize>(d & addressMask) + (shifted + (<u32>(addr >> at) & indexMask)), false) : 0;
    }
    const key = Key.of(d, keyMask, at) | (tables & attributes) | accessBits;
    if (key !== lastKey) {
      lastKey = key;
      lastInfo = recall(c, key, 0);
    }
    if (lastInfo === 0 || (d & leafMask) !== 0) {
      row(c, raw, access, rows);
      if (c.updates) return addrs + 8;
      lastKey = 0;
      continue;
    }
    const inside = Key.inside(at);
    write(rows, (d & addressMask & ~inside) | (addr & inside));
    write(rows + ROW_INFO, lastInfo);
  }
  return addrs;
}

/** May a table of stage 1 be read through this leaf of stage 2, whose entry shift is `at`, with nothing to update? */
function readsTable(c: C.Context, s: C.Stage, d: u64, at: u32): bool {
  const level = 4 - <i32>(at / levelBits(s.ps));
  if ((d & (VALID | AF | S2_R)) !== (VALID | AF | S2_R) || isTable(d, level)) return false;
  if (!(d & TYPE) && !isBlockLevel(c, s, level)) return false;
  return !(c.flags & C.M_PTW && isStage2Device(memAttr(d), <bool>(c.flags & C.M_FWB)));
}

/**
 * The fast path through both stages: returns INFO, with the physical address in c.pa, or 0 if the access needs `resolve`. `at`
 * goes through stage 2 once for each descriptor of stage 1, and finally for the output of stage 1.
 */
function nested(c: C.Context, s: C.Stage, s2: C.Stage, addr: u64, access: u64, attributes: u64): u64 {
  const origin = c.physBase,
    shifted: usize = c.pointer - <usize>origin;
  let at1 = s.rootShift,
    at = s.root + (<u32>(addr >> at1) & s.rootMask),
    tables: u64 = 0,
    key1: u64 = 0;
  while (at >> s2.inputBits === 0) {
    let at2 = s2.rootShift,
      d = read(s2.rootPointer + (<u32>(at >> at2) & s2.rootMask), false);
    while ((d & s2.tableMask) === TABLE && at2 !== s2.last) {
      const table = d & s2.addressMask;
      at2 -= s2.bits;
      if (table - origin > s2.lastTable) return 0;
      d = read(<usize>table + (shifted + (<u32>(at >> at2) & s2.indexMask)), false);
    }
    if ((d & s2.leafMask) !== 0) return 0;
    const key2 = Key.of(d, s2.keyMask, at2),
      inside = Key.inside(at2),
      pa = (d & s2.addressMask & ~inside) | (at & inside);
    if (key1 !== 0) {
      c.pa = pa;
      return recall(c, key1, key2);
    }
    if (key2 !== c.tableKey) {
      if (!readsTable(c, s2, d, at2)) return 0;
      c.tableKey = key2;
    }
    if (pa - origin > <u64>c.bytes - ENTRY_BYTES) return 0;
    d = read(<usize>pa + shifted, false);
    if ((d & s.tableMask) === TABLE && at1 !== s.last) {
      tables |= d;
      at1 -= s.bits;
      at = (d & s.addressMask) + (<u32>(addr >> at1) & s.indexMask);
      continue;
    }
    if ((d & s.leafMask) !== 0 || !(d & VALID)) return 0;
    key1 = Key.of(d, s.keyMask, at1) | (tables & attributes) | access;
    at = (d & s.addressMask & ~Key.inside(at1)) | (addr & Key.inside(at1));
  }
  return 0;
}

/** Rows of both stages until the half changes; where it stopped. `s` walks, stage 2 walks and its root is in the window. */
function runNested(c: C.Context, s: C.Stage, addrs: usize, end: usize, rows: usize, access: u32): usize {
  const half = halfOf(c, read(addrs, false)),
    halfBits = half << VA_HALF,
    halfMask: u64 = (<u64>1) << VA_HALF,
    high: i64 = -(<i64>half),
    fetch = (access & A_KIND) === A_FETCH,
    tag = s.flags & (fetch ? C.S_TBI_FETCH : C.S_TBI_DATA) ? VA_TAG_BITS : 0,
    word: u64 = fetch ? ~(<u64>3) : ~(<u64>0),
    s2 = C.stage2(c),
    attributes = tableBits(s),
    accessBits = accessKey(access, half);
  for (; addrs !== end; addrs += 8, rows += ROW_BYTES) {
    const raw = read(addrs, false);
    if ((raw & halfMask) !== halfBits) break;
    const addr = <u64>(<i64>(raw << tag) >> tag) & word;
    const info = <i64>addr >> s.inputBits === high ? nested(c, s, s2, addr, accessBits, attributes) : 0;
    if (info === 0) {
      row(c, raw, access, rows);
      if (c.updates) return addrs + 8;
      continue;
    }
    write(rows, c.pa);
    write(rows + ROW_INFO, info);
  }
  return addrs;
}

/** Rows by the complete walk alone. */
function runAny(c: C.Context, addrs: usize, end: usize, rows: usize, access: u32): usize {
  for (; addrs !== end; addrs += 8, rows += ROW_BYTES) row(c, read(addrs, false), access, rows);
  return addrs;
}

/** Are the decoded fields still such that no step of the fast path leaves the window? The host can write to them. */
function isSound(c: C.Context, s: C.Stage, physical: bool): bool {
  if (!(s.flags & C.S_STRAIGHT) || !isGranule(s.ps)) return false;
  // The way down ends: its steps are levels, and lead to the last one.
  const above = s.rootShift - s.last;
  if (s.bits !== levelBits(s.ps) || s.last !== s.ps - ENTRY_SHIFT) return false;
  if (above > <u32>(LAST_LEVEL - FIRST_LEVEL) * s.bits || above % s.bits !== 0) return false;
  if (!physical) return true;
  const bytes = <u64>c.bytes,
    root = <u64>s.rootPointer - c.pointer;
  if (s.lastTable > bytes || s.lastTable + s.indexMask + ENTRY_BYTES > bytes) return false;
  return s.rootPointer >= c.pointer && root + s.rootMask + ENTRY_BYTES <= bytes;
}

/** Rows by the fastest path that applies, as far as it goes; returns where it stopped, at least one row further. */
function run(c: C.Context, addrs: usize, end: usize, rows: usize, access: u32): usize {
  const first = <bool>(c.flags & C.M_STAGE1),
    second = <bool>(c.flags & C.M_STAGE2),
    s2 = C.stage2(c),
    s = first ? stageOf(c, read(addrs, false)) : s2;
  const closed = !(first || second) || (access & A_EL0 && s.flags & C.S_E0PD);
  if (closed || !C.isUsable(c) || !isSound(c, s, !(first && second)) || (second && !isSound(c, s2, true))) {
    return runAny(c, addrs, end, rows, access);
  }
  if (first && second) return runNested(c, s, addrs, end, rows, access);
  return runSingle(c, s, addrs, end, rows, access);
}

/** Translates one access by the same paths: its output address, or -1 for a fault, which `c` says. Precondition: `isUsable`. */
export function translateOne(c: C.Context, addr: u64, access: u32): i64 {
  const at = C.single(c),
    rows = at + ENTRY_BYTES;
  write(at, addr);
  return translateMany(c, at, rows, 1, access) ? -1 : <i64>read(rows, false);
}

/**
 * Translates `n` accesses of one kind, in order: `n` u64 at `addrs` -> `n` rows at `rows`, physical address (0 at a fault)
 * and INFO. How many were faults. Preconditions: `isUsable`, and the columns lie in memory.
 */
export function translateMany(c: C.Context, addrs: usize, rows: usize, n: u32, access: u32): u32 {
  const end = addrs + (n << 3);
  access = accessOf(c, access);
  c.faults = 0;
  while (addrs !== end) {
    const from = addrs;
    addrs = run(c, addrs, end, rows, access);
    rows += (addrs - from) << 1;
  }
  return c.faults;
}
