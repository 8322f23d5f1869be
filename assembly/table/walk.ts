// The walker [WLK-1..15]. It knows the order of visits and the error rules, and no operation.
// An operation is a visitor; `walk<V>` is compiled once for each, its methods inlined.
//
// At one entry [WLK-5]:
//   a table:   PRE (if asked) -> read again -> descend -> POST (if asked)
//   no table:  the whole run of such entries goes to `run`, which is the LEAF visit of each in turn;
//              a run that installs a table ends there, and the walk descends into it.

import { isTable, isValid, lockedMarker } from "../arch/descriptor";
import { alignDown, ENTRY_BYTES, entries, FIRST_LEVEL, index, LAST_LEVEL, levelBits, shift } from "../arch/granule";
import { read } from "../memory/cell";
import { inSection } from "../memory/epoch";
import { EAGAIN, EFAULT, EINVAL, EPERM, ERANGE, ETIMEDOUT, OK } from "../memory/errno";
import { BREACH_EXCLUSIVE, BREACH_SECTION, BREACH_SHARED, breach, POINT_CHILD, point } from "../memory/guard";
import {
  header,
  parallel,
  T_BARRIER,
  T_HD,
  T_HYP,
  T_LINUX,
  T_LOCK_FREE,
  T_TYPED,
  Table,
  WALK_DEPTH,
  Walk,
  walker,
  walkFrame,
} from "../memory/layout";
import { isReader, isWriter } from "../memory/lock";
import { nap, PATIENCE } from "../memory/wait";
import { C_AGAIN, C_WALKS, count } from "../record/counters";
import { warn } from "../record/maintenance";
import { Child, tableOf } from "./mmops";

// Flags of a walk, numbered as in 6.12 [WLK-3].
export const LEAF: u32 = 1 << 0;
export const TABLE_PRE: u32 = 1 << 1;
export const TABLE_POST: u32 = 1 << 2;
export const SHARED: u32 = 1 << 3;
export const HANDLE_FAULT: u32 = 1 << 4;
export const SKIP_BBM_TLBI: u32 = 1 << 5;
export const SKIP_CMO: u32 = 1 << 6;
export const WALK_FLAGS: u32 = 0x7f;

const ALL_PHASES: u32 = LEAF | TABLE_PRE | TABLE_POST;

/** Low bit of what `run` returns: the entry there now is a table, descend. */
export const DESCEND: usize = 1;

/** An operation, as the walker sees it. No object: `changetype<V>(0)` selects the methods at compile time. */
@unmanaged
export abstract class Visitor {
  /** The visits that it may ask for: LEAF, TABLE_PRE, TABLE_POST. What it never asks for is not compiled. */
  abstract phases(): u32;
  /**
   * Visits entries of `level` from `p` up to `end`, all no tables at first sight, moving w.addr along.
   * Returns the slot to go on at (one that holds a table, or `end`), with DESCEND if it made that a table.
   * w.status other than 0 ends the walk.
   */
  abstract run(w: Walk, p: usize, end: usize, level: i32): usize;
  abstract pre(w: Walk, p: usize, old: u64, level: i32): i32;
  abstract post(w: Walk, p: usize, old: u64, level: i32, addr: u64): i32;
}

/** A visitor of leaves alone, as most are. */
@unmanaged
export abstract class LeafOnly extends Visitor {
  @inline phases(): u32 {
    return LEAF;
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  @inline post(_w: Walk, _p: usize, _old: u64, _level: i32, _addr: u64): i32 {
    return OK;
  }
}

/** Does this result of a visit end the walk? EAGAIN does not, unless a fault is being handled [WLK-10]. */
export function stops(w: Walk, result: i32): bool {
  if (result === OK) return false;
  return result !== EAGAIN || <bool>(w.flags & HANDLE_FAULT);
}

/** The walk is at the next entry of `level`. */
export function advance(w: Walk, level: i32): void {
  const span = (<u64>1) << shift(w.ps, level);
  w.addr = alignDown(w.addr, span) + span;
}

/** Opens a walk of `t` on this walker's stack; 0 when walks are nested too deep. */
export function open(t: Table, flags: u32): Walk {
  const self = walker();
  if (self.depth >= WALK_DEPTH) return changetype<Walk>(0);
  const w = walkFrame(self.depth++);
  w.table = t;
  w.flags = flags;
  w.ps = t.ps;
  w.layout = t.addressLayout;
  w.status = OK;
  w.slot = 0;
  // 6.12 forgets the hardware; it has no walkers without a lock to forget.
  w.atomic = (t.flags & (T_HD | T_LINUX)) === T_HD || (t.flags & (T_LOCK_FREE | T_BARRIER)) !== 0;
  w.direct = false;
  // A vector store is not one access to whoever reads a descriptor without the lock.
  const watched = parallel() && (t.flags & (T_LOCK_FREE | T_BARRIER)) !== 0;
  w.bulk = self.capacity === 0 && t.hooks === 0 && !(flags & SHARED) && !watched;
  w.marker = lockedMarker(<bool>(t.flags & T_TYPED));
  return w;
}

export function close(): void {
  walker().depth--;
}

/** Is there room for one more walk? */
export function canOpen(): bool {
  return walker().depth < WALK_DEPTH;
}

/** Rounds the range to pages and checks it [WLK-1, WLK-2]; w.start, w.addr and w.end are set. */
export function setRange(w: Walk, addr: u64, size: u64): i32 {
  const t = w.table;
  count(C_WALKS, 1);
  const limit = (<u64>1) << t.inputBits,
    page = (<u64>1) << t.ps;
  w.start = alignDown(addr, page);
  w.addr = w.start;
  w.end = alignDown(w.start + size + page - 1, page);
  if (w.start > limit || w.end > limit) return ERANGE;
  // The kernel lets addr + size wrap, and then visits nothing (KERNEL-NOTES 2).
  if (size > limit && !(t.flags & T_LINUX)) return ERANGE;
  if (!t.root) return EINVAL;
  if ((t.flags & (T_HYP | T_LINUX | T_BARRIER)) === T_HYP && w.flags & SHARED) return EPERM; // no read sections at EL2 [WLK-12]
  if (isDefined(DEBUG)) watch(w);
  return OK;
}

/** Debug build: a walk from the root has what it needs [LCK-2, LCK-3, WLK-13]. */
function watch(w: Walk): void {
  const t = w.table;
  if (!parallel() || isWriter(t)) return;
  const handle = <u32>changetype<usize>(t);
  if (!(w.flags & SHARED)) breach(BREACH_EXCLUSIVE, handle);
  else if (!inSection()) breach(BREACH_SECTION, handle);
  else if (!isReader(t) && !(t.flags & (T_LOCK_FREE | T_BARRIER))) breach(BREACH_SHARED, handle);
}

/**
 * The visit of `old` came to nothing because the entry was changed meanwhile: is it to be visited again? A walk over a range
 * must not skip it: a write protection would be lost [WLK-11]. It goes on when it has seen a value that needs no change.
 * Whoever holds the locked marker can neither wait nor fail before its make [LCK-6], so that is waited for. A fault gives up.
 */
export function retries(w: Walk, p: usize, old: u64): bool {
  if (!(w.flags & SHARED)) return w.atomic && changed(p, old); // the hardware was faster [DBM-8]
  if (w.flags & HANDLE_FAULT || w.table.flags & T_LINUX || !parallel()) return false;
  for (let i: u32 = 0; i < PATIENCE; i++) {
    const now = read(p, true);
    if (now !== w.marker) return now !== old;
    nap(i);
  }
  w.status = ETIMEDOUT;
  return false;
}

function changed(p: usize, old: u64): bool {
  const now = read(p, true);
  return now !== old && isValid(now);
}

/** Walks [addr, addr + size) of w.table with visitor V. */
export function walk<V extends Visitor>(w: Walk, addr: u64, size: u64): i32 {
  const bad = setRange(w, addr, size);
  if (bad) return bad;
  return w.addr < w.end ? walkOpened<V>(w) : OK;
}

/** Walks w.addr..w.end, which is checked and not empty, from the root. */
export function walkOpened<V extends Visitor>(w: Walk): i32 {
  const t = w.table;
  const v = changetype<V>(0);
  // PRE alone is no reason to stop: no visitor does anything before a table that the range covers in part.
  if (v.phases() & TABLE_POST) return rows<V>(w, t.root, rootEntries(t), t.startLevel);
  const table = descend(w);
  if (!table) return t.root ? EFAULT : EINVAL; // it may go while a walk without its lock begins
  const level = w.depth;
  if (level === t.startLevel) return rows<V>(w, table, rootEntries(t), level);
  if (level < LAST_LEVEL) return rows<V>(w, table, entries(t.ps), level);
  // All that is left is one run of pages.
  const p = table + (index(t.ps, LAST_LEVEL, w.addr) << 3);
  v.run(w, p, p + ((<usize>(w.end - w.addr) >> t.ps) << 3), LAST_LEVEL);
  return w.status;
}

/** Entries of the start tables, side by side. */
export function rootEntries(t: Table): u32 {
  return t.rootPages << levelBits(t.ps);
}

/**
 * Straight down to the table in which the range is more than one entry, or one entry as a whole, or that has no table
 * there: no visitor that leaves partial tables alone looks at what lies above. Its pointer, its level in w.depth;
 * 0 for a damaged table, or none.
 */
function descend(w: Walk): usize {
  const t = w.table,
    first = w.addr,
    shared = <bool>(w.flags & SHARED);
  // As Child.table, with everything that stays the same in locals.
  const ps = <u64>t.ps,
    reach = <u64>t.reach,
    origin = t.origin,
    arena: usize = header().arena;
  const bits = levelBits(t.ps),
    floor = rangeBits(first, w.end - 1);
  let table: usize = t.root,
    mask = rootEntries(t) - 1,
    level = t.startLevel;
  if (!table) return 0;
  for (let sh = shift(t.ps, level); sh > floor; sh -= bits) {
    const old = read(table + ((<u32>(first >> sh) & mask) << 3), shared);
    const page = rotr<u64>(old - origin, ps);
    if (page < reach) {
      table = arena + ((<usize>page) << (<usize>ps));
    } else {
      if (!isTable(old, level)) break;
      table = tableOf(t, old);
      if (!table) return 0;
    }
    mask = (1 << bits) - 1;
    level++;
  }
  w.depth = level;
  return table;
}

/** The smallest k so that [first, last] is an aligned block of 1 << k bytes, or lies in one of 2 << k. */
function rangeBits(first: u64, last: u64): u32 {
  const differ = 64 - <u32>clz(first ^ last);
  return last - first === ((<u64>1) << differ) - 1 ? differ : differ - 1;
}

/**
 * The entries of one table (or of the start tables side by side) that w.addr..w.end touches.
 * Preconditions: w.addr < w.end; `table` holds `n` entries of `level`, n a power of two.
 */
export function rows<V extends Visitor>(w: Walk, table: usize, n: u32, level: i32): i32 {
  if (level < FIRST_LEVEL || level > LAST_LEVEL) {
    warn(w.table, level, w.addr);
    return EINVAL; // [WLK-9]
  }
  const v = changetype<V>(0);
  const sh = shift(w.ps, level);
  const first = <u32>(w.addr >> sh) & (n - 1);
  const touched = ((w.end - 1) >> sh) - (w.addr >> sh) + 1;
  let p = table + (first << 3);
  const stop = p + ((<u32>min<u64>(touched, n - first)) << 3);
  const shared = <bool>(w.flags & SHARED);
  do {
    let old = read(p, shared);
    if (isTable(old, level)) {
      if (v.phases() & TABLE_PRE && w.flags & TABLE_PRE) {
        const r = v.pre(w, p, old, level);
        if (stops(w, r)) return r;
        old = read(p, shared); // PRE may have put a block here: the child is gone [WLK-7]
        if (!isTable(old, level)) {
          advance(w, level);
          p += ENTRY_BYTES;
          continue;
        }
      }
    } else {
      if (v.phases() === ALL_PHASES && !(w.flags & LEAF)) {
        advance(w, level);
        p += ENTRY_BYTES;
        continue;
      }
      // A run stays in one page: start tables side by side have a reference count each.
      const next = v.run(w, p, min<usize>(stop, pageEnd(w.ps, p)), level);
      if (w.status) return w.status;
      p = next & ~DESCEND;
      if (!(next & DESCEND)) continue;
      old = read(p, shared);
      if (!isTable(old, level)) {
        // Another walker put a block in place of the table, or is about to [WLK-5]: a fault gives up, a range looks again.
        if (w.flags & HANDLE_FAULT) return again();
        continue;
      }
    }
    const r = child<V>(w, p, old, level);
    if (r) return r;
    p += ENTRY_BYTES;
  } while (p !== stop);
  return OK;
}

function again(): i32 {
  count(C_AGAIN, 1);
  return EAGAIN;
}

function pageEnd(ps: u32, p: usize): usize {
  return (p | (((<usize>1) << ps) - 1)) + 1;
}

function childTable(t: Table, old: u64): usize {
  return Child.table(t, old);
}

function child<V extends Visitor>(w: Walk, p: usize, old: u64, level: i32): i32 {
  const table = childTable(w.table, old);
  if (!table) return EFAULT;
  if (w.flags & SHARED) point(POINT_CHILD, table);
  const here = w.addr; // POST sees the address that the entry was met at, not where its child ends (KERNEL-NOTES 5)
  const r = rows<V>(w, table, entries(w.ps), level + 1);
  if (r) return r;
  if (!(changetype<V>(0).phases() & TABLE_POST && w.flags & TABLE_POST)) return OK;
  const after = changetype<V>(0).post(w, p, old, level, here);
  return stops(w, after) ? after : OK;
}
