// Many translations in one call. The straight way is for what nearly all accesses are: tables in the window, a leaf that
// allows the access and needs no update. It has plain loads, everything that stays the same in locals, and asks nobody:
// what a leaf means was worked out once and is kept by the bits that decide it (its key). Whatever is not plain, a fault,
// an access flag to set, an address with packed bits, goes through `resolve`, which knows all and says the same.
//
// A key:  63:59 tables' attributes   54:50 leaf   32 half   27:24 access   21:16 level, as a shift   11:0 leaf

import { AF, isTable, TABLE, TYPE, VALID } from "../arch/descriptor";
import { bit, mask } from "../arch/field";
import { ENTRY_SHIFT, levelBits, shift } from "../arch/granule";
import { isStage2Device } from "../arch/memory-type";
import { S2_R } from "../arch/stage2";
import { read, write } from "../memory/cell";
import * as C from "./context";
import { accessOf, INFO_OK, INFO_UPDATED, resolve, ROW_BYTES, stageOf } from "./translate";
import { A_EL0, A_FETCH, A_KIND, A_PAN, isBlockLevel, memAttr } from "./walk";

const KEY_SHIFT: u32 = 16;
const KEY_ACCESS: u32 = 24;
const KEY_HALF: u32 = 32;
const TAG_BITS: u32 = 8;
const HALF_AT: u32 = 55;

/** Bits of an access that decide what is allowed. */
const ACCESS: u32 = A_KIND | A_EL0 | A_PAN;

@final
@unmanaged
class Key {
  @inline static of(leaf: u64, keyMask: u64, at: u32): u64 {
    return (leaf & keyMask) | ((<u64>at) << KEY_SHIFT);
  }

  @inline static slot(key1: u64, key2: u64): u32 {
    const both = key1 ^ (key2 << 1);
    return <u32>both ^ <u32>(both >> 6) ^ <u32>(both >> 18) ^ <u32>(both >> 51);
  }
}

/** Tables' attributes that count: none at stage 2 and with HPD. */
function tableBits(s: C.Stage): u64 {
  return s.flags & (C.S_STAGE2 | C.S_HPD) ? 0 : mask(63, 59);
}

/** The key of the leaf that the last walk of `s` found. */
function keyOf(s: C.Stage): u64 {
  return Key.of(s.raw, s.keyMask, shift(s.ps, s.level) - ENTRY_SHIFT) | (s.tables & tableBits(s));
}

/** What an access adds to the key of the first leaf. */
function accessKey(access: u32, half: u64): u64 {
  return ((<u64>(access & ACCESS)) << KEY_ACCESS) | (half << KEY_HALF);
}

/** Keeps the answer of the last `resolve`, by what it really read. */
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

/** One row, whatever it takes. */
function row(c: C.Context, addr: u64, access: u32, rows: usize): void {
  if ((access & A_KIND) === A_FETCH) addr &= ~(<u64>3);
  if (resolve(c, addr, access)) keep(c, stageOf(c, addr), accessKey(access, c.flags & C.M_STAGE1 ? halfOf(c, addr) : 0));
  else c.faults++;
  write(rows, c.pa);
  write(rows + 8, c.info);
}

function halfOf(c: C.Context, addr: u64): u64 {
  return c.flags & C.M_TWO_RANGES ? bit(addr, HALF_AT) : 0;
}

/** What was kept for two keys, or 0. */
function recall(c: C.Context, key1: u64, key2: u64): u64 {
  const m = C.memo(c, Key.slot(key1, key2));
  return m.key1 === key1 && m.key2 === key2 ? m.info : 0;
}

/** Rows of one stage until the half changes; where it stopped. `s` walks, and its tables are in the window. */
function runSingle(c: C.Context, s: C.Stage, addrs: usize, end: usize, rows: usize, access: u32): usize {
  const walks1 = <bool>(c.flags & C.M_STAGE1);
  const half: u64 = walks1 ? halfOf(c, read(addrs, false)) : 0,
    halfMask: u64 = walks1 && c.flags & C.M_TWO_RANGES ? (<u64>1) << HALF_AT : 0;
  const high: i64 = -(<i64>half),
    halfBits = half << HALF_AT,
    tag = walks1 && s.flags & ((access & A_KIND) === A_FETCH ? C.S_TBI_FETCH : C.S_TBI_DATA) ? TAG_BITS : 0,
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
    const addr = <u64>((<i64>(raw << tag)) >> tag) & word;
    if ((<i64>addr) >> inputBits !== high) {
      row(c, raw, access, rows);
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
      lastKey = 0;
      continue;
    }
    const inside = ((<u64>1 << ENTRY_SHIFT) << at) - 1;
    write(rows, (d & addressMask & ~inside) | (addr & inside));
    write(rows + 8, lastInfo);
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

/** Rows of both stages until the half changes; where it stopped. `s` walks, stage 2 walks and its root is in the window. */
function runNested(c: C.Context, s: C.Stage, addrs: usize, end: usize, rows: usize, access: u32): usize {
  const half = halfOf(c, read(addrs, false)),
    halfBits = half << HALF_AT,
    halfMask: u64 = (<u64>1) << HALF_AT,
    high: i64 = -(<i64>half),
    tag = s.flags & ((access & A_KIND) === A_FETCH ? C.S_TBI_FETCH : C.S_TBI_DATA) ? TAG_BITS : 0,
    inputBits = <i64>s.inputBits,
    word: u64 = (access & A_KIND) === A_FETCH ? ~(<u64>3) : ~(<u64>0);
  const s2 = C.stage2(c),
    attributes = tableBits(s),
    accessBits = accessKey(access, half),
    origin = c.physBase,
    shifted: usize = c.pointer - <usize>origin,
    lastWord = <u64>c.bytes - 8,
    leafMask1 = s.tableMask & ~TABLE,
    leafMask2 = s2.tableMask & ~TABLE,
    last1 = s.ps - ENTRY_SHIFT,
    last2 = s2.ps - ENTRY_SHIFT,
    bits1 = levelBits(s.ps),
    bits2 = levelBits(s2.ps);
  const tableMask1 = s.tableMask,
    tableMask2 = s2.tableMask,
    addressMask1 = s.addressMask,
    addressMask2 = s2.addressMask,
    keyMask2 = s2.keyMask,
    lastTable = s2.lastTable,
    root2: usize = s2.rootPointer,
    rootShift2 = s2.rootShift,
    rootMask2 = s2.rootMask,
    indexMask2 = s2.indexMask,
    inputBits2 = <u64>s2.inputBits;
  let lastKey1: u64 = 0,
    lastKey2: u64 = 0,
    lastInfo: u64 = 0,
    tableKey: u64 = 0;
  for (; addrs !== end; addrs += 8, rows += ROW_BYTES) {
    const raw = read(addrs, false);
    if ((raw & halfMask) !== halfBits) break;
    const addr = <u64>((<i64>(raw << tag)) >> tag) & word;
    let at1 = s.rootShift,
      at = s.root + (<u32>(addr >> at1) & s.rootMask),
      tables: u64 = 0,
      key1: u64 = 0,
      info: u64 = 0,
      pa: u64 = 0;
    while ((<i64>addr) >> inputBits === high && at >> inputBits2 === 0) {
      let at2 = rootShift2,
        d = read(root2 + (<u32>(at >> at2) & rootMask2), false);
      while ((d & tableMask2) === TABLE && at2 !== last2) {
        const offset = (d & addressMask2) - origin;
        at2 -= bits2;
        d = offset <= lastTable ? read(<usize>(d & addressMask2) + (shifted + (<u32>(at >> at2) & indexMask2)), false) : 0;
      }
      if ((d & leafMask2) !== 0) break;
      const key2 = Key.of(d, keyMask2, at2),
        inside = ((<u64>1 << ENTRY_SHIFT) << at2) - 1;
      pa = (d & addressMask2 & ~inside) | (at & inside);
      if (key1 !== 0) {
        if (key1 !== lastKey1 || key2 !== lastKey2) {
          lastKey1 = key1;
          lastKey2 = key2;
          lastInfo = recall(c, key1, key2);
        }
        info = lastInfo;
        break;
      }
      if (key2 !== tableKey) {
        if (!readsTable(c, s2, d, at2)) break;
        tableKey = key2;
      }
      if (pa - origin > lastWord) break;
      d = read(<usize>pa + shifted, false);
      if ((d & tableMask1) === TABLE && at1 !== last1) {
        tables |= d;
        at1 -= bits1;
        at = (d & addressMask1) + (<u32>(addr >> at1) & s.indexMask);
        continue;
      }
      if ((d & leafMask1) !== 0 || !(d & VALID)) break;
      const inside1 = ((<u64>1 << ENTRY_SHIFT) << at1) - 1;
      key1 = Key.of(d, s.keyMask, at1) | (tables & attributes) | accessBits;
      at = (d & addressMask1 & ~inside1) | (addr & inside1);
    }
    if (info === 0) {
      row(c, raw, access, rows);
      lastKey1 = 0;
      continue;
    }
    write(rows, pa);
    write(rows + 8, info);
  }
  return addrs;
}

/** Rows as they come, without a straight way. */
function runAny(c: C.Context, addrs: usize, end: usize, rows: usize, access: u32): usize {
  for (; addrs !== end; addrs += 8, rows += ROW_BYTES) row(c, read(addrs, false), access, rows);
  return addrs;
}

/**
 * Translates `n` accesses of one kind, in order: `n` u64 at `addrs` -> `n` rows at `rows`, physical address (0 at a fault)
 * and INFO. How many were faults. Preconditions: `isUsable`, and the columns lie in memory.
 */
export function translateMany(c: C.Context, addrs: usize, rows: usize, n: u32, access: u32): u32 {
  const end = addrs + (n << 3),
    first = <bool>(c.flags & C.M_STAGE1),
    second = <bool>(c.flags & C.M_STAGE2);
  access = accessOf(c, access);
  c.faults = 0;
  while (addrs !== end) {
    const s = first ? stageOf(c, read(addrs, false)) : C.stage2(c);
    const straight = <bool>(s.flags & C.S_STRAIGHT) && (!(first && second) || <bool>(C.stage2(c).flags & C.S_STRAIGHT));
    const from = addrs;
    if (!straight || !(first || second) || (access & A_EL0 && s.flags & C.S_E0PD)) addrs = runAny(c, addrs, end, rows, access);
    else if (first && second) addrs = runNested(c, s, addrs, end, rows, access);
    else addrs = runSingle(c, s, addrs, end, rows, access);
    rows += (addrs - from) << 1;
  }
  return c.faults;
}
