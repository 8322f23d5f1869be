// Break-before-make: `tryBreak` and `make`, the two functions that change what a slot maps [S2-20..24].
// Between the two calls the slot holds the locked marker and belongs to this walker alone; nothing may fail there.
// The other writes: `put` changes attributes of a leaf, `replace` changes software state, `clear` removes an entry.

import { isCounted, isLocked, isTable, isValid } from "../arch/descriptor";
import { alignDown, ENTRY_BYTES, pageBytes, shift } from "../arch/granule";
import { demand, RULE_EXCLUSIVE, RULE_NO_MARKER, RULE_SLOT } from "../demand";
import { compareExchange, exchange, read, release, write } from "../memory/cell";
import { markSoftware } from "../memory/frames";
import { abandonBreak, finishMake, holdTree, intendBreak, intendCount, intendMake } from "../memory/intent";
import { isArenaRange, parallel, T_TYPED, virtToPhys } from "../memory/layout";
import { ACCOUNTS, leafGone, leafMade } from "../memory/leaves";
import { C_BREAKS_VALID, C_LEAVES_MADE, C_LOST, count } from "../record/counters";
import { beginWrite, endWrite, J_WRITE, J_WRITE_SHARED, journalling, record } from "../record/journal";
import { flushIpa, flushRange, warn } from "../record/maintenance";
import { tableBelow } from "./down";
import { dropReference, getPages } from "./mmops";
import { isShared, SKIP_BBM_TLBI, Walk } from "./walk";

/** The table page that holds the slot at `p`. */
export function pageOf(w: Walk, p: usize): usize {
  return p & ~(<usize>pageBytes(w.ps) - 1);
}

/** Before a descriptor changes: while the journal is on, the order of changes is that of their records. */
function begin(): void {
  if (journalling()) beginWrite();
}

function journal(w: Walk, p: usize, old: u64, next: u64, level: i32): void {
  if (!journalling()) return;
  const kind = isShared(w) ? J_WRITE_SHARED : J_WRITE;
  record(kind, changetype<usize>(w.table), level, virtToPhys(p), old, next);
  endWrite();
}

/** The page of the slot at `p` may hold software state from now on. */
function note(w: Walk, p: usize, next: u64): void {
  if (!isValid(next) && next !== 0) markSoftware(pageOf(w, p));
}

/**
 * Changes the slot from the snapshot `old` to `next` in one step; false if another walker or the hardware was faster.
 * A shared walk uses a compare-exchange. An exclusive walk stores, unless the hardware may write to the leaf too
 * (w.atomic): a plain store would lose a dirty bit [BUG-50]. Precondition: `p` is a slot of the arena.
 */
export function put(w: Walk, p: usize, old: u64, next: u64, level: i32): bool {
  demand(isArenaRange(<u32>p, ENTRY_BYTES), RULE_SLOT);
  begin();
  if (isShared(w) || (w.atomic && isValid(old))) {
    if (!compareExchange(p, old, next)) {
      if (journalling()) endWrite();
      count(C_LOST, 1);
      return false;
    }
  } else if (w.atomic) {
    release(p, next);
  } else {
    write(p, next);
  }
  journal(w, p, old, next, level);
  return true;
}

/**
 * Breaks the slot: replaces the snapshot by the marker, flushes stale translations, drops the reference. False if another walker
 * was faster; then nothing has changed. After true this walker must `make` the slot.
 */
export function tryBreak(w: Walk, p: usize, old: u64, level: i32): bool {
  // A compare-exchange of the marker for the marker would succeed, and two walkers would own the slot [S2-21].
  if (isLocked(old, <bool>(w.table.flags & T_TYPED))) {
    if (!isShared(w)) warn(w.table, level, w.addr);
    return false;
  }
  intendBreak(w.table, p, old, level);
  if (!put(w, p, old, w.marker, level)) {
    abandonBreak();
    return false;
  }
  if (parallel() && isTable(old, level)) holdTree(w.table, tableBelow(w.table, old), level);
  if (isValid(old)) {
    count(C_BREAKS_VALID, 1);
    if (ACCOUNTS) leafGone(w.table, p, old, level);
    if (!(w.flags & SKIP_BBM_TLBI)) flushOld(w, old, level);
  }
  if (isCounted(old, w.marker)) dropReference(w.table, pageOf(w, p), isShared(w));
  return true;
}

/** Flushes a table by its whole range without a level hint, a leaf by address and level [TLB-21, TLB-22]. */
function flushOld(w: Walk, old: u64, level: i32): void {
  const span = (<u64>1) << shift(w.ps, level);
  if (isTable(old, level)) flushRange(w.table, alignDown(w.addr, span), span);
  else flushIpa(w.table, w.addr, level);
}

/** Publishes `next` in a slot that `tryBreak` took, with a reference if `next` is counted. Precondition: `next` is not the marker. */
export function make(w: Walk, p: usize, next: u64, level: i32): void {
  demand(next !== w.marker, RULE_NO_MARKER);
  if (read(p, isShared(w)) !== w.marker) warn(w.table, level, w.addr);
  if (isCounted(next, w.marker)) getPages(w.table, pageOf(w, p), 1);
  if (isValid(next) && !isTable(next, level)) {
    count(C_LEAVES_MADE, 1);
    if (ACCOUNTS) leafMade(w.table, p, next, level);
  }
  note(w, p, next);
  intendMake(p);
  begin();
  if (isShared(w) || w.atomic) release(p, next);
  else write(p, next);
  journal(w, p, w.marker, next, level);
  finishMake(parallel() && isTable(next, level) ? tableBelow(w.table, next) : 0);
}

/**
 * Replaces the snapshot by `next` in one store; keeps the reference count of the table page right, flushes nothing. False as `put`.
 * Precondition: a shared walk links and unlinks no table this way.
 */
export function replace(w: Walk, p: usize, old: u64, next: u64, level: i32): bool {
  demand(!isShared(w) || !(isTable(old, level) || isTable(next, level)), RULE_EXCLUSIVE);
  const before = isCounted(old, w.marker),
    after = isCounted(next, w.marker);
  if (before !== after) intendCount();
  note(w, p, next);
  if (!put(w, p, old, next, level)) return false;
  if (parallel() && isTable(next, level)) finishMake(tableBelow(w.table, next));
  if (before && !after) dropReference(w.table, pageOf(w, p), isShared(w));
  if (after && !before) getPages(w.table, pageOf(w, p), 1);
  return true;
}

/** Empties the slot; returns its last value, with hardware updates. Precondition: an exclusive walk. */
export function clear(w: Walk, p: usize, old: u64, level: i32): u64 {
  demand(!isShared(w), RULE_EXCLUSIVE);
  if (parallel() && isTable(old, level)) holdTree(w.table, tableBelow(w.table, old), level);
  begin();
  if (w.atomic) old = exchange(p, 0);
  else write(p, 0);
  if (journalling()) journal(w, p, old, 0, level);
  if (ACCOUNTS) leafGone(w.table, p, old, level);
  return old;
}
