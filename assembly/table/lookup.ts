// Reading a table: one leaf, many leaves, counting, and a scan of all entries in order.

import { isTable } from "../arch/descriptor";
import { ENTRY_BYTES, ENTRY_SHIFT, entries, FIRST_LEVEL, index, LAST_LEVEL, levelBits, shift } from "../arch/granule";
import { countValid, read } from "../memory/cell";
import { EBUSY, EFAULT, EINVAL, ERANGE, OK } from "../memory/errno";
import { header, parallel, T_BARRIER, T_HYP, Table, Walk } from "../memory/layout";
import { MODE_EXCLUSIVE, MODE_NONE } from "../memory/lock";
import { Answer, result } from "../record/result";
import { Child, pageCount } from "./mmops";
import { begin, end, modeOf, SHARES_READ } from "./sharing";
import { advance, close, LEAF, LeafOnly, open, rootEntries, SHARED, walk } from "./walk";

/** Finds where the translation of one page ends: slot, descriptor and level. */
@final
@unmanaged
export class LeafVisitor extends LeafOnly {
  @inline run(w: Walk, p: usize, end: usize, level: i32): usize {
    const old = read(p, <bool>(w.flags & SHARED));
    if (isTable(old, level)) return p;
    w.old = old;
    w.level = level;
    w.slot = p;
    advance(w, level);
    return p + ENTRY_BYTES;
  }
}

/** A lookup of a table that others may change meanwhile reads each descriptor once and whole [WLK-4]. */
function lookupFlags(t: Table): u32 {
  return parallel() && (t.flags & (T_HYP | T_BARRIER)) !== T_HYP ? LEAF | SHARED : LEAF;
}

/** The leaf at `addr` and its level, as an Answer; of a hole, the level where the walk ended [WLK-14]. */
export function getLeaf(t: Table, addr: u64): i32 {
  const w = open(t, lookupFlags(t));
  if (!w) return EBUSY;
  w.old = 0;
  w.level = LAST_LEVEL;
  const r = walk<LeafVisitor>(w, addr, 1);
  const answer = result<Answer>();
  answer.value = w.old;
  answer.level = w.level;
  close();
  return r;
}

/** Addresses whose last descriptors are read together. */
export const GROUP: u32 = 64;

/**
 * Leaves of many addresses in one call: `n` u64 at `addrs` -> `n` u64 at `leaves`, `n` i8 at `levels`.
 * An address outside the input space gives leaf 0 and level -128. 0, or EFAULT for a damaged table.
 * Preconditions: the three columns lie in the arena.
 *
 * Two passes over a group: first where each walk ends, then what is there. The second pass is a row of loads that
 * wait for no other, so that their cache misses overlap.
 */
export function getLeaves(t: Table, addrs: usize, leaves: usize, levels: usize, n: u32): i32 {
  const mode = modeOf(t, SHARES_READ, 0);
  if (mode === MODE_NONE || mode === MODE_EXCLUSIVE) {
    const bad = begin(t, mode);
    if (bad) return bad;
    const r = leavesOf<Alone>(t, addrs, leaves, levels, n);
    end(t, mode);
    return r;
  }
  // A group at a time, so that nobody waits for a whole column.
  for (let i: u32 = 0; i < n; i += GROUP) {
    const bad = begin(t, mode);
    if (bad) return bad;
    const r = leavesOf<Among>(t, addrs + (i << 3), leaves + (i << 3), levels + i, min(n - i, GROUP));
    end(t, mode);
    if (r) return r;
  }
  return OK;
}

function leavesOf<A extends Access>(t: Table, addrs: usize, leaves: usize, levels: usize, n: u32): i32 {
  const shared = changetype<A>(0).shared();
  if (!t.root) return EINVAL;
  while (n !== 0) {
    const group = min(n, GROUP);
    if (!findSlots<A>(t, addrs, leaves, levels, group)) return t.root ? EFAULT : EINVAL;
    for (let i: u32 = 0; i < group; i++) {
      const p = leaves + (i << 3),
        slot = <usize>load<u64>(p),
        old: u64 = slot ? read(slot, shared) : 0;
      store<u64>(p, old);
      if (shared && isTable(old, load<i8>(levels + i)) && !leafBelow(t, load<u64>(addrs + (i << 3)), p, levels + i))
        return EFAULT;
    }
    addrs += group << 3;
    leaves += group << 3;
    levels += group;
    n -= group;
  }
  return OK;
}

/** What was a leaf or a hole when it was found is a table by now: the leaf below it to `leaf`. False for a damaged table. */
function leafBelow(t: Table, addr: u64, leaf: usize, levelAt: usize): bool {
  let level: i32, old: u64;
  do {
    const found = findSlot(t, t.root, addr, true);
    if (!found) return false;
    level = <i32>(found & LEVEL_MASK) + FIRST_LEVEL;
    old = read(found & ~LEVEL_MASK, true);
  } while (isTable(old, level));
  store<u64>(leaf, old);
  store<i8>(levelAt, <i8>level);
  return true;
}

/** How descriptors are read on the way down: plainly, or as one among several walkers must [WLK-4]. */
@unmanaged
export abstract class Access {
  abstract shared(): bool;
}

@final
@unmanaged
export class Alone extends Access {
  @inline shared(): bool {
    return false;
  }
}

@final
@unmanaged
export class Among extends Access {
  @inline shared(): bool {
    return true;
  }
}

@final
@unmanaged
class Step {
  /** From table descriptor `d` to the slot at `offset` of the table; 0 if it is anything else. As Child.table. */
  @inline static down(d: u64, offset: usize, ps: u64, reach: u64, origin: u64, arena: usize): usize {
    const page = rotr<u64>(d - origin, ps);
    return page < reach ? arena + ((<usize>page) << (<usize>ps)) + offset : 0;
  }
}

/**
 * Pointers of the slots where the translations of `n` addresses end, 0 for none, as u64 at `slots`; their levels.
 * False for a damaged table, or none. The way through tables of the arena down to the last level has no loop and everything that
 * stays the same in locals; `findSlot` knows the other ways.
 */
export function findSlots<A extends Access>(t: Table, addrs: usize, slots: usize, levels: usize, n: u32): bool {
  const shared = changetype<A>(0).shared();
  const root = t.root,
    inputBits = t.inputBits,
    steps = LAST_LEVEL - t.startLevel,
    bits = levelBits(t.ps);
  const rootMask = (rootEntries(t) - 1) << ENTRY_SHIFT,
    mask = ((1 << bits) - 1) << ENTRY_SHIFT,
    rootShift = shift(t.ps, t.startLevel) - ENTRY_SHIFT;
  const shift3 = t.ps - ENTRY_SHIFT,
    shift2 = shift3 + bits,
    shift1 = shift2 + bits,
    shift0 = shift1 + bits;
  const ps = <u64>t.ps,
    reach = <u64>t.reach,
    origin = t.origin,
    arena = header().arena;
  if (!root) return false; // it may go while a lookup without its lock begins
  for (const end = addrs + (n << 3); addrs !== end; addrs += 8, slots += 8, levels++) {
    const addr = load<u64>(addrs);
    let p: usize = 0,
      level: i32 = LAST_LEVEL;
    if (addr >> inputBits === 0) {
      p = root + (<u32>(addr >> rootShift) & rootMask);
      if (steps > 3) p = Step.down(read(p, shared), <u32>(addr >> shift0) & mask, ps, reach, origin, arena);
      if (steps > 2 && p) p = Step.down(read(p, shared), <u32>(addr >> shift1) & mask, ps, reach, origin, arena);
      if (steps > 1 && p) p = Step.down(read(p, shared), <u32>(addr >> shift2) & mask, ps, reach, origin, arena);
      if (steps > 0 && p) p = Step.down(read(p, shared), <u32>(addr >> shift3) & mask, ps, reach, origin, arena);
      if (!p) {
        const found = findSlot(t, root, addr, shared);
        if (!found) return false;
        p = found & ~LEVEL_MASK;
        level = <i32>(found & LEVEL_MASK) + FIRST_LEVEL;
      }
    } else {
      level = i8.MIN_VALUE;
    }
    store<u64>(slots, p);
    store<i8>(levels, <i8>level);
  }
  return true;
}

/** Slots are aligned, so their low bits can carry a level: level - FIRST_LEVEL. */
const LEVEL_MASK: usize = 7;

/** One slot and its level, step by step: holes and blocks above the last level, and tables that the arena alone does not lead to. */
function findSlot(t: Table, root: usize, addr: u64, shared: bool): usize {
  if (!root) return 0;
  let level = t.startLevel;
  let p = root + ((<u32>(addr >> shift(t.ps, level)) & (rootEntries(t) - 1)) << ENTRY_SHIFT);
  for (let old = read(p, shared); isTable(old, level); old = read(p, shared)) {
    const table = Child.table(t, old);
    if (!table) return 0;
    level++;
    p = table + (index(t.ps, level, addr) << ENTRY_SHIFT);
  }
  return p | (level - FIRST_LEVEL);
}

@final
@unmanaged
class CountVisitor extends LeafOnly {
  run(w: Walk, p: usize, end: usize, level: i32): usize {
    if (level === LAST_LEVEL) {
      w.tally += countValid(p, end);
      w.addr += (<u64>((end - p) >> 3)) << shift(w.ps, level);
      return end;
    }
    while (p !== end) {
      const old = read(p, false);
      if (isTable(old, level)) return p;
      w.tally += old & 1;
      advance(w, level);
      p += ENTRY_BYTES;
    }
    return p;
  }
}

/** Answers how many valid leaves the range has: a LEAF walk with a counting visitor. */
export function countLeaves(t: Table, addr: u64, size: u64): i32 {
  const w = open(t, LEAF);
  if (!w) return EBUSY;
  w.tally = 0;
  const r = walk<CountVisitor>(w, addr, size);
  result<Answer>().value = w.tally;
  close();
  return r;
}

// The scan: entries in order of address, parents before children, as records.
// A cursor (address, level) says what came last; a scan goes on behind it.

/** One entry that a scan found. */
@view("halves")
@unmanaged
export class ScanRecord {
  /** First input address that it covers. */
  address: u64;
  descriptor: u64;
  level: i32;
  /** References on the child page of a table, -1 for others. */
  references: i32;
  /** 1, or the length of a run of empty entries of one table when holes are asked for. */
  entries: u32;
  spare: u32;
}

/** How a scan ended. */
@view()
@unmanaged
export class ScanEnd {
  /** Records written. */
  records: u32;
  /** Is there more behind the last one? */
  more: u32;
}

export const SCAN_BYTES: u32 = <u32>offsetof<ScanRecord>();
export const SCAN_TABLES: u32 = 1;
export const SCAN_HOLES: u32 = 2;
const SCAN_ALL: u32 = 3;
const FULL: i32 = 1;
/** Cursor level of a scan that begins. */
const FROM_CURSOR: i32 = -2;

/** Where a scan writes; lives in spare fields of its walk record: cursor in start and level, buffer in slot and cache. */
function emit(w: Walk, addr: u64, descriptor: u64, level: i32, references: i32, n: u32): bool {
  if (w.tally === 0) return false;
  const r = changetype<ScanRecord>(w.slot);
  r.address = addr;
  r.descriptor = descriptor;
  r.level = level;
  r.references = references;
  r.entries = n;
  r.spare = 0;
  w.slot += SCAN_BYTES;
  w.tally--;
  return true;
}

/** Lies the entry of `level` at `addr` behind the cursor? At the start of a scan that is one that ends before it. */
function isBehind(w: Walk, addr: u64, level: i32): bool {
  if (w.level === FROM_CURSOR) return addr + ((<u64>1) << shift(w.ps, level)) <= w.low;
  return addr < w.low || (addr === w.low && level <= w.level);
}

function scanTable(w: Walk, table: usize, n: u32, base: u64, level: i32): i32 {
  const t = w.table,
    sh = shift(w.ps, level);
  const skip = w.low > base ? min<u64>((w.low - base) >> sh, n) : 0;
  for (let i = <u32>skip; i < n; i++) {
    const addr = base + ((<u64>i) << sh);
    if (addr >= w.end) return OK;
    const d = read(table + (i << 3), false);
    if (isTable(d, level)) {
      const child = Child.table(t, d);
      if (!child) return EFAULT;
      if (w.flags & SCAN_TABLES && !isBehind(w, addr, level) && !emit(w, addr, d, level, pageCount(t, child), 1))
        return FULL;
      const r = scanTable(w, child, entries(w.ps), addr, level + 1);
      if (r) return r;
    } else if (d !== 0) {
      if (!isBehind(w, addr, level) && !emit(w, addr, d, level, -1, 1)) return FULL;
    } else if (w.flags & SCAN_HOLES) {
      let run: u32 = 1;
      while (i + run < n && addr + ((<u64>run) << sh) < w.end && read(table + ((i + run) << 3), false) === 0) run++;
      const lastHole = addr + ((<u64>(run - 1)) << sh);
      if (!isBehind(w, lastHole, level) && !emit(w, addr, 0, level, -1, run)) return FULL;
      i += run - 1;
    }
  }
  return OK;
}

/**
 * Fills up to `max` records at `out`, from behind (cursor, cursorLevel) up to `end`; level -2 starts at the cursor itself.
 * `root` 0 scans the table; else the detached table page there, whose entries are of `level`, input addresses from 0.
 * Answers a ScanEnd. Preconditions: `out` holds `max` records in the arena; `root` is an arena page.
 */
export function scan(
  t: Table,
  root: usize,
  level: i32,
  cursor: u64,
  cursorLevel: i32,
  end: u64,
  what: u32,
  out: u32,
  max: u32,
): i32 {
  if (what & ~SCAN_ALL || max === 0) return EINVAL;
  let n = entries(t.ps),
    top = level,
    limit = (<u64>1) << t.inputBits;
  if (root === 0) {
    if (!t.root) return EINVAL;
    root = t.root;
    n = t.rootPages << levelBits(t.ps);
    top = t.startLevel;
  } else {
    if (level < FIRST_LEVEL || level > LAST_LEVEL) return EINVAL;
    limit = (<u64>n) << shift(t.ps, level);
  }
  if (end > limit) return ERANGE;
  const w = open(t, 0);
  if (!w) return EBUSY;
  w.flags = what;
  w.low = cursor;
  w.level = cursorLevel;
  w.end = end;
  w.slot = out;
  w.tally = max;
  const r = scanTable(w, root, n, 0, top);
  const scanned = result<ScanEnd>();
  scanned.records = max - <u32>w.tally;
  scanned.more = r === FULL ? 1 : 0;
  close();
  return r === FULL ? OK : r;
}
