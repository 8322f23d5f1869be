// The walker [WLK-1..15]. It has the order of visits and the error rules; operations are visitors. `walk<V>` is compiled once
// for each visitor, with its methods inlined.
//
// At one entry [WLK-5]:
//   a table:   PRE (if asked) -> read again -> descend -> POST (if asked)
//   other:     LEAF (if asked) -> descend if the visit made it a table. Whole runs of such entries may be visited at once.

import { isTable, isValid, lockedMarker } from "../arch/descriptor";
import {
  alignDown,
  ENTRY_BYTES,
  ENTRY_SHIFT,
  entries,
  FIRST_LEVEL,
  LAST_LEVEL,
  pageBytes,
  shift,
  span,
} from "../arch/granule";
import { demand, RULE_RUN, RULE_WALK_RANGE, RULE_WALK_STACK, RULE_WHOLE_TABLE } from "../demand";
import { read } from "../memory/cell";
import { inSection } from "../memory/epoch";
import { EAGAIN, EFAULT, EINVAL, EPERM, ERANGE, ETIMEDOUT, OK } from "../memory/errno";
import { BREACH_EXCLUSIVE, BREACH_SECTION, BREACH_SHARED, breach, POINT_CHILD, point } from "../memory/guard";
import {
  parallel,
  T_BARRIER,
  T_HD,
  T_HYP,
  T_LINUX,
  T_LOCK_FREE,
  T_TYPED,
  Table,
  WALK_BYTES,
  WALK_DEPTH,
  walker,
  walkFrame,
} from "../memory/layout";
import { ACCOUNTS, isAccounted } from "../memory/leaves";
import { isReader, isWriter } from "../memory/lock";
import { handleOf, rootOf } from "../memory/tables";
import { isTooLate, nap } from "../memory/wait";
import { C_AGAIN, C_WALKS, count } from "../record/counters";
import { warn } from "../record/maintenance";
import { descend, levelIn, pointerIn, rootEntries, tableBelow } from "./down";

// Flags of a walk, numbered as in 6.12 [WLK-3].
export const LEAF: u32 = 1 << 0;
export const TABLE_PRE: u32 = 1 << 1;
export const TABLE_POST: u32 = 1 << 2;
export const SHARED: u32 = 1 << 3;
export const HANDLE_FAULT: u32 = 1 << 4;
export const SKIP_BBM_TLBI: u32 = 1 << 5;
export const SKIP_CMO: u32 = 1 << 6;
export const WALK_FLAGS: u32 = 0x7f;

// Properties of a visitor, beside the visits that it asks for:
/** It may make an entry a table; the walk then descends into it. */
export const GROWS: u32 = 1 << 29;
/** It must see every table, also those that the range covers only in part. */
export const FROM_ROOT: u32 = 1 << 30;
/** The flags of the walk choose among its visits. */
export const CHOSEN: u32 = 1 << 31;

/** One walk in progress [WLK-4]. An operation adds the fields that it needs in a class of its own, at most WALK_BYTES in all. */
@unmanaged
export class Walk {
  table: Table;
  flags: u32;
  /** Current input address: page aligned, not entry aligned [WLK-1]. */
  addr: u64;
  start: u64;
  end: u64;
  /** The locked marker of this table. */
  marker: u64;
  /** Of the table: log2 of its page size, and how it packs addresses (ADDRESS_*). */
  ps: u32;
  layout: u32;
  /** Any value other than 0 ends the walk. */
  status: i32;
  /** The slot that a host's visitor is visiting, 0 when none is running. */
  visiting: u32;
  /** May runs be visited at once? Only without journal and hooks, and with no other walker in the table. */
  bulk: bool;
  /** Leaves change by atomic read-modify-write, because the hardware or walkers without the lock may write to them, too. */
  atomic: bool;
}

/** A walk that keeps the last entry that it visited. */
@unmanaged
export class EntryWalk extends Walk {
  /** The entry and its level. */
  old: u64;
  level: i32;
  /** Its slot; 0 when nothing was visited. */
  slot: u32;
}

/** An operation, as the walker sees it. No object: `changetype<V>(0)` selects the methods at compile time. */
@unmanaged
export abstract class Visitor {
  /** The visits that it may ask for (LEAF, TABLE_PRE, TABLE_POST), and its properties. Other visits are not compiled. */
  abstract phases(): u32;
  /**
   * Visits entries of `level` from `p` at once, as far as it can before `end`, and advances w.addr. Returns where it stopped: `p`
   * if it can do nothing at once. Entries may hold anything. All are in one page.
   */
  abstract bulk(w: Walk, p: usize, end: usize, level: i32): usize;
  /** Visits one entry that is no table. Returns a status, or GREW if the visit made it a table. */
  abstract leaf(w: Walk, p: usize, old: u64, level: i32): i32;
  abstract pre(w: Walk, p: usize, old: u64, level: i32): i32;
  /** `table`: the page that `old` names. */
  abstract post(w: Walk, p: usize, old: u64, level: i32, addr: u64, table: usize): i32;
}

/** Returned by `leaf` when it made the entry a table. It is not an errno, and never leaves the walker. */
export const GREW: i32 = i32.MIN_VALUE;

/** A visitor of leaves alone. */
@unmanaged
export abstract class LeafOnly extends Visitor {
  @inline phases(): u32 {
    return LEAF;
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  @inline post(_w: Walk, _p: usize, _old: u64, _level: i32, _addr: u64, _table: usize): i32 {
    return OK;
  }
}

/** A visitor of leaves alone, one by one. (A method that subclasses override would be called through a table.) */
@unmanaged
export abstract class OneByOne extends LeafOnly {
  @inline bulk(_w: Walk, p: usize, _end: usize, _level: i32): usize {
    return p;
  }
}

/** Does this result of a visit end the walk? EAGAIN does not, unless a fault is being handled [WLK-10]. */
export function stops(w: Walk, result: i32): bool {
  if (result === OK) return false;
  return result !== EAGAIN || <bool>(w.flags & HANDLE_FAULT);
}

/** Moves the walk to the next entry of `level`. */
function advance(w: Walk, level: i32): void {
  const span = (<u64>1) << shift(w.ps, level);
  w.addr = alignDown(w.addr, span) + span;
}

/** Moves the walk behind the run of `level` that ends at `end`. Precondition: the run begins at the walk's address. */
export function skip(w: Walk, p: usize, end: usize, level: i32): usize {
  demand(p <= end && ((p | end) & (ENTRY_BYTES - 1)) === 0, RULE_RUN);
  w.addr += (<u64>((end - p) >> ENTRY_SHIFT)) << shift(w.ps, level);
  return end;
}

export function isShared(w: Walk): bool {
  return (w.flags & SHARED) !== 0;
}

/**
 * Opens a walk of `t` on this walker's stack; null when walks are nested too deep. The fields that an operation
 * adds are not initialised.
 */
export function open(t: Table, flags: u32): Walk {
  const self = walker();
  if (self.depth >= WALK_DEPTH) return changetype<Walk>(0);
  const w = changetype<Walk>(walkFrame(self.depth++));
  w.table = t;
  w.flags = flags;
  w.ps = t.ps;
  w.layout = t.addressLayout;
  w.status = OK;
  w.visiting = 0;
  w.atomic = isAtomic(t);
  // A lookup without the lock could see half of a vector store.
  const watched = parallel() && (t.flags & (T_LOCK_FREE | T_BARRIER)) !== 0;
  w.bulk = self.capacity === 0 && t.hooks === 0 && !(flags & SHARED) && !watched && !(ACCOUNTS && isAccounted(t));
  w.marker = lockedMarker(<bool>(t.flags & T_TYPED));
  return w;
}

/** Must leaves change by atomic read-modify-write? 6.12 ignores hardware updates, and has no walkers without a lock. */
export function isAtomic(t: Table): bool {
  if (ACCOUNTS && isAccounted(t)) return true;
  return (t.flags & (T_HD | T_LINUX)) === T_HD || (t.flags & (T_LOCK_FREE | T_BARRIER)) !== 0;
}

/** Opens a walk of the class `W`; null as `open`. */
export function openAs<W extends Walk>(t: Table, flags: u32): W {
  demand(offsetof<W>() <= WALK_BYTES, RULE_WALK_STACK);
  return changetype<W>(open(t, flags));
}

/** Is this walker inside a walk of `t`, called by its visitor or hook? */
export function isWalked(t: Table): bool {
  for (let i: u32 = 0, n = walker().depth; i < n; i++) if (changetype<Walk>(walkFrame(i)).table === t) return true;
  return false;
}

/** Ends the innermost walk. */
export function close(): void {
  demand(walker().depth !== 0, RULE_WALK_STACK);
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
    page = span(t.ps, LAST_LEVEL),
    start = alignDown(addr, page),
    end = alignDown(start + size + page - 1, page);
  w.start = start;
  w.addr = start;
  w.end = end;
  if (start > limit || end > limit) return ERANGE;
  // In the kernel addr + size may wrap; it then visits nothing [WLK-2].
  if (size > limit && !(t.flags & T_LINUX)) return ERANGE;
  if (!rootOf(t)) return EINVAL;
  if ((t.flags & (T_HYP | T_LINUX | T_BARRIER)) === T_HYP && w.flags & SHARED) return EPERM; // no read sections at EL2 [WLK-12]
  if (isDefined(DEBUG)) watch(t, isShared(w));
  return OK;
}

/** Debug build: checks that a walk from the root holds the lock or section that it needs [LCK-2, LCK-3, WLK-13]. */
export function watch(t: Table, shared: bool): void {
  if (!parallel() || isWriter(t)) return;
  const handle = handleOf(t);
  if (!shared) breach(BREACH_EXCLUSIVE, handle);
  else if (!inSection()) breach(BREACH_SECTION, handle);
  else if (!isReader(t) && !(t.flags & (T_LOCK_FREE | T_BARRIER))) breach(BREACH_SHARED, handle);
}

/**
 * After a visit of `old` that returned EAGAIN: must the entry be visited again? A walk over a range must not skip an entry that
 * another walker changed: a write protection would be lost [WLK-11]. It visits the entry again until that has a value that needs no
 * change, and waits while the entry is locked: its owner can neither wait nor fail before its make [LCK-6]. A fault gives up.
 */
export function retries(w: Walk, p: usize, old: u64): bool {
  if (!(w.flags & SHARED)) return w.atomic && changed(p, old); // the hardware was faster [DBM-8]
  if (w.flags & HANDLE_FAULT || w.table.flags & T_LINUX || !parallel()) return false;
  for (let i: u32 = 0; !isTooLate(i); i++) {
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

/** Walks w.addr..w.end from the root. Precondition: `setRange` has checked the range, and it is not empty. */
export function walkOpened<V extends Visitor>(w: Walk): i32 {
  const found = startOf(w, changetype<V>(0).phases());
  if (!found) return missing(w.table);
  return rows<V>(w, pointerIn(found), entriesAt(w.table, found), levelIn(found));
}

/** The table where the walk begins, with its level in the low bits; 0 for a damaged table, or without a root. */
function startOf(w: Walk, phases: u32): usize {
  demand(w.addr < w.end, RULE_WALK_RANGE);
  const t = w.table;
  // Most visitors ignore tables that the range covers only in part: their walk begins at the lowest table that holds the range.
  const floor = phases & FROM_ROOT || phases & w.flags & TABLE_POST ? NO_FLOOR : rangeBits(w.addr, w.end - 1);
  return descend(t, w.addr, floor, isShared(w));
}

function entriesAt(t: Table, found: usize): u32 {
  return levelIn(found) === t.startLevel ? rootEntries(t) : entries(t.ps);
}

/** Why no walk began: the table is damaged, or the root was taken while a walk without the lock began. */
export function missing(t: Table): i32 {
  return rootOf(t) ? EFAULT : EINVAL;
}

/** log2 of more than any entry covers. */
const NO_FLOOR: u32 = 64;

/** The smallest k so that [first, last] is an aligned block of 1 << k bytes, or is inside one of 2 << k bytes. */
function rangeBits(first: u64, last: u64): u32 {
  const differ = 64 - <u32>clz(first ^ last);
  return last - first === ((<u64>1) << differ) - 1 ? differ : differ - 1;
}

/** Low bit of the result of `eachEntry`: the visit made that entry a table, descend. */
const DESCEND: usize = 1;

/**
 * Visits entries of `level` from `p` up to the first table or `end`, and advances w.addr. Returns the slot where it stopped, with
 * DESCEND if the visit made that entry a table. A w.status other than 0 ends the walk.
 * Precondition: one page holds the entries.
 */
function eachEntry<V extends Visitor>(w: Walk, p: usize, end: usize, level: i32): usize {
  demand(p < end && end <= pageEnd(w.ps, p), RULE_RUN);
  const v = changetype<V>(0),
    shared = isShared(w);
  do {
    p = v.bulk(w, p, end, level);
    if (p === end) break;
    const old = read(p, shared);
    if (isTable(old, level)) break;
    const r = v.leaf(w, p, old, level);
    if (r) {
      if (v.phases() & GROWS && r === GREW) return p | DESCEND;
      if (r === EAGAIN && retries(w, p, old)) continue;
      if (stops(w, r)) w.status = r;
      if (w.status) break;
    }
    advance(w, level);
    p += ENTRY_BYTES;
  } while (p !== end);
  return p;
}

/**
 * Walks the entries of one table, or of all start tables, that w.addr..w.end touches.
 * Preconditions: w.addr < w.end; `table` holds `n` entries of `level`, n a power of two.
 */
export function rows<V extends Visitor>(w: Walk, table: usize, n: u32, level: i32): i32 {
  if (level < FIRST_LEVEL || level > LAST_LEVEL) {
    warn(w.table, level, w.addr);
    return EINVAL; // [WLK-9]
  }
  demand(w.addr < w.end, RULE_WALK_RANGE);
  demand(popcnt(n) === 1 && (table & (pageBytes(w.ps) - 1)) === 0, RULE_WHOLE_TABLE);
  const v = changetype<V>(0);
  const sh = shift(w.ps, level);
  const first = <u32>(w.addr >> sh) & (n - 1);
  const touched = ((w.end - 1) >> sh) - (w.addr >> sh) + 1;
  let p = table + (first << ENTRY_SHIFT);
  const stop = p + ((<u32>min<u64>(touched, n - first)) << ENTRY_SHIFT);
  const shared = isShared(w);
  do {
    let old: u64 = level === LAST_LEVEL ? 0 : read(p, shared); // pages are read one by one, or not at all
    if (isTable(old, level)) {
      if (v.phases() & TABLE_PRE && w.flags & TABLE_PRE) {
        const r = v.pre(w, p, old, level);
        if (stops(w, r)) return r;
        old = read(p, shared); // PRE may have replaced the table by a block [WLK-7]
        if (!isTable(old, level)) {
          advance(w, level);
          p += ENTRY_BYTES;
          continue;
        }
      }
    } else {
      if (!(v.phases() & CHOSEN) || w.flags & LEAF) {
        // A run ends with its page: each start table has a reference count of its own.
        const next = eachEntry<V>(w, p, min<usize>(stop, pageEnd(w.ps, p)), level);
        if (w.status) return w.status;
        p = next & ~DESCEND;
        if (!(v.phases() & GROWS) || !(next & DESCEND)) continue;
        old = read(p, shared);
        if (!isTable(old, level)) {
          // Another walker has replaced the table by a block, or is about to [WLK-5]: a fault gives up, a range visits it again.
          if (w.flags & HANDLE_FAULT) return again();
          continue;
        }
      } else {
        advance(w, level);
        p += ENTRY_BYTES;
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
  return (p | (<usize>pageBytes(ps) - 1)) + 1;
}

function child<V extends Visitor>(w: Walk, p: usize, old: u64, level: i32): i32 {
  const table = tableBelow(w.table, old);
  if (!table) return EFAULT;
  if (isShared(w)) point(POINT_CHILD, table);
  const here = w.addr; // POST gets the address at which the entry was met, not the end of its child [WLK-5]
  const r = rows<V>(w, table, entries(w.ps), level + 1);
  if (r) return r;
  if (!(changetype<V>(0).phases() & TABLE_POST && w.flags & TABLE_POST)) return OK;
  const after = changetype<V>(0).post(w, p, old, level, here, table);
  return stops(w, after) ? after : OK;
}
