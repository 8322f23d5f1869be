// Freeing subtrees and whole tables [S2-27, S2-28].

import { isCounted, isValid } from "../arch/descriptor";
import { entries, LAST_LEVEL, shift } from "../arch/granule";
import { countMapped } from "../memory/cell";
import { advance as advanceEpoch, enter, leave, reading, synchronize } from "../memory/epoch";
import { EBUSY, EDEADLK, EFAULT, EINVAL, OK } from "../memory/errno";
import { POINT_FREE, POINT_RETIRED, point } from "../memory/guard";
import { virtToPhys as arenaAddress, giveTable, parallel, T_HYP, T_LOCK_FREE, Table, takeRoot } from "../memory/layout";
import { levelOf, ownerOf, retire, release as takeRetired } from "../memory/limbo";
import { isWriter, writeLock, writeUnlock } from "../memory/lock";
import { C_WALKS, count } from "../record/counters";
import { J_TABLE_GONE, record } from "../record/journal";
import { warn } from "../record/maintenance";
import { clear, pageOf } from "./bbm";
import { rootEntries, tableBelow } from "./down";
import { deferUnlinked, freePagesExact, noteRetired, pageCount, putPages } from "./mmops";
import { canOpen, close, FROM_ROOT, isShared, LEAF, openAs, rows, skip, TABLE_POST, Visitor, Walk, walk } from "./walk";

/** Stage 1 counts valid entries, stage 2 annotations too [FMT-43]. */
function holdsReference(w: Walk, old: u64): bool {
  return w.table.flags & T_HYP ? isValid(old) : isCounted(old, w.marker);
}

/** A walk that tears down. */
@unmanaged
class FreeWalk extends Walk {
  /** Every slot is emptied, and a table stays while something is left in it: the teardown may stop anywhere [BUG-33]. */
  emptying: bool;
}

/** Drops the reference of every counted entry, and the tables with them; nothing is flushed. Unless emptied, slots keep what they held: the whole table goes. */
@final
@unmanaged
class FreeVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_POST | FROM_ROOT;
  }

  /** Pages up to the first software state, at once. */
  bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    if (level !== LAST_LEVEL || changetype<FreeWalk>(w).emptying) return p;
    const seen = countMapped(p, end);
    putPages(w.table, pageOf(w, p), <u32>seen);
    return skip(w, p, <usize>(seen >> 32), level);
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    if (!holdsReference(w, old)) return OK;
    if (changetype<FreeWalk>(w).emptying) clear(w, p, old, level);
    putPages(w.table, pageOf(w, p), 1);
    return OK;
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  post(w: Walk, p: usize, old: u64, level: i32, _addr: u64): i32 {
    const t = w.table,
      table = tableBelow(t, old),
      emptying = changetype<FreeWalk>(w).emptying;
    if (!table) return EFAULT;
    if (emptying) {
      if (pageCount(t, table) !== 1) return OK;
      clear(w, p, old, level);
    }
    putPages(t, pageOf(w, p), 1);
    if (emptying) return discard(t, table, level);
    putPages(t, table, 1);
    return OK;
  }
}

/** Opens a walk that tears down; null when walks are nested too deep. */
function openFree(t: Table, emptying: bool): FreeWalk {
  const w = openAs<FreeWalk>(t, LEAF | TABLE_POST);
  if (w) w.emptying = emptying;
  return w;
}

/** Aims an opened walk at a detached table of `level`, input addresses from 0. */
export function toSubtree(w: Walk, level: i32): void {
  w.start = 0;
  w.addr = 0;
  w.end = (<u64>1) << shift(w.ps, level - 1);
}

/** Tears down and frees the detached table at `table`, once named by an entry of `level` [S2-28]. */
export function releaseSubtree(t: Table, table: usize, level: i32): i32 {
  const w = openFree(t, false);
  if (!w) return EBUSY;
  toSubtree(w, level + 1);
  if (rows<FreeVisitor>(w, table, entries(t.ps), level + 1)) warn(t, level, 0);
  close();
  if (pageCount(t, table) !== 1) warn(t, level, 0);
  putPages(t, table, 1);
  return OK;
}

/**
 * Frees the subtree that table descriptor `old` of `level` named: at once, since the lock for writing keeps everybody out
 * [LCK-13]; after a grace period when others may be in it [LCK-10]; or when the host says so.
 */
export function freeUnlinked(w: Walk, old: u64, level: i32): i32 {
  const t = w.table,
    table = tableBelow(t, old);
  if (!table) return EFAULT;
  if (parallel() && (isShared(w) || t.flags & T_LOCK_FREE)) return defer(t, table, level);
  return deferUnlinked(t, table, level) ? OK : releaseSubtree(t, table, level);
}

/** Frees a table that became empty under the lock for writing. Who reads without the lock may still be in it. */
export function discard(t: Table, table: usize, level: i32): i32 {
  if (parallel() && t.flags & T_LOCK_FREE) return defer(t, table, level);
  putPages(t, table, 1);
  return OK;
}

function defer(t: Table, table: usize, level: i32): i32 {
  noteRetired(t, table, level);
  const r = retire(t, table, level);
  point(POINT_RETIRED, table);
  return r;
}

/** Frees tables whose grace period is over, `most` of them; how many. Nobody can reach them, so no lock is needed. */
export function collect(most: u32): u32 {
  advanceEpoch();
  enter(reading()); // who destroys the table of one that is taken out here waits for its end
  let n: u32 = 0;
  while (n < most) {
    const table = takeRetired();
    if (!table) break;
    point(POINT_FREE, table);
    releaseSubtree(ownerOf(table), table, levelOf(table));
    n++;
  }
  leave();
  return n;
}

/** Waits for the grace period of all that is retired now and frees it; ETIMEDOUT if a walker does not come on. */
export function drain(): i32 {
  const late = synchronize();
  if (late) return late;
  collect(u32.MAX_VALUE);
  return synchronize(); // others may be about to free some of them
}

/** No CPU uses the table any more: its VM is being torn down, and nothing of it is flushed [TLB-32]. */
function noteGone(t: Table, root: usize): void {
  record(J_TABLE_GONE, changetype<usize>(t), t.startLevel, arenaAddress(root), 0, 0);
}

/** Frees everything; the handle stays, without a root, until `release` [S2-27, S1-7]. Twice is harmless. */
export function destroy(t: Table): i32 {
  if (!canOpen()) return EBUSY;
  if (!t.root) return OK;
  if (parallel() && isWriter(t)) return EDEADLK; // to wait for readers under a lock would be to wait for some of them for ever
  // The root goes first [LCK-3], to one caller only and while nobody is inside: from here on nobody finds the way in.
  const bad = begin(t);
  if (bad) return bad;
  const root = takeRoot(t);
  end(t);
  if (!root) return OK;
  const stuck = parallel() ? drain() : OK; // who looks without a lock, and what was unlinked before
  if (stuck) {
    t.root = root;
    return stuck;
  }
  noteGone(t, root);
  const w = openFree(t, false);
  toSubtree(w, t.startLevel);
  w.end = (<u64>1) << t.inputBits;
  count(C_WALKS, 1);
  if (rows<FreeVisitor>(w, root, rootEntries(t), t.startLevel)) warn(t, 0, 0);
  close();
  freeRoot(t, root);
  return OK;
}

/**
 * The hypervisor's root is given back as any other page: one that 6.12 has left with surplus references stays taken
 * (KERNEL-NOTES 49). Start tables of a guest go whatever their counts.
 */
function freeRoot(t: Table, root: usize): void {
  if (t.flags & T_HYP && pageCount(t, root) > 1) putPages(t, root, 1);
  else freePagesExact(t, root, t.rootPages);
}

function begin(t: Table): i32 {
  return parallel() ? writeLock(t) : OK;
}

function end(t: Table): void {
  if (parallel()) writeUnlock(t);
}

/** Teardown in pieces, so that it can yield: empties the range, frees the tables that become empty [S2-27]. */
export function destroyRange(t: Table, addr: u64, size: u64): i32 {
  const w = openFree(t, true);
  if (!w) return EBUSY;
  if (t.root) noteGone(t, t.root);
  const r = walk<FreeVisitor>(w, addr, size);
  close();
  return r;
}

/** Gives the handle back; only after `destroy`. */
export function release(t: Table): i32 {
  if (t.root) return EINVAL;
  giveTable(changetype<usize>(t));
  return OK;
}
