// Freeing subtrees and whole tables [S2-27, S2-28].

import { entries, LAST_LEVEL, shift } from "../arch/granule";
import { countMapped, write } from "../memory/cell";
import { advance as advanceEpoch, enter, leave, reading, synchronize } from "../memory/epoch";
import { EBUSY, EDEADLK, EFAULT, EINVAL, EPERM, OK } from "../memory/errno";
import { POINT_FREE, POINT_RETIRED, point } from "../memory/guard";
import { handOverTree, holdTree } from "../memory/intent";
import {
  virtToPhys as arenaAddress,
  header,
  parallel,
  T_HYP,
  T_LOCK_FREE,
  Table,
  Walker,
  walker,
} from "../memory/layout";
import { ACCOUNTS, awaitCounts, isAccounted } from "../memory/leaves";
import { appendStrays, isLimboDoubtful, levelOf, ownerOf, retire, release as takeRetired } from "../memory/limbo";
import { isWriter, writeLock, writeUnlock } from "../memory/lock";
import { giveTable, isSameLife, isServed, rootOf, tableOfIndex, takeRoot } from "../memory/tables";
import { claim, peek, publish, swap } from "../memory/word";
import { C_WALKS, count } from "../record/counters";
import { J_TABLE_GONE, record } from "../record/journal";
import { warn } from "../record/maintenance";
import { clear, pageOf } from "./bbm";
import { rootEntries, tableBelow } from "./down";
import { deferUnlinked, freePagesExact, noteRetired, pageCount, putPages } from "./mmops";
import { doubt, holdsReference, isDoubtful, mend, mendIfDoubtful, recountDetached } from "./repair";
import {
  canOpen,
  close,
  FROM_ROOT,
  isShared,
  isWalked,
  LEAF,
  openAs,
  rows,
  skip,
  TABLE_POST,
  Visitor,
  Walk,
  walk,
} from "./walk";

/** A walk that tears down. */
@unmanaged
class FreeWalk extends Walk {
  /** Every slot is emptied, and a table is freed only when it is empty, so that the teardown may stop anywhere [BUG-33]. */
  emptying: bool;
}

/** Drops the reference of every counted entry and frees the tables, without a flush. Slots are emptied only if the walk says so: else the whole table is freed. */
@final
@unmanaged
class FreeVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_POST | FROM_ROOT;
  }

  /** Page entries up to the first that holds software state, at once. */
  bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    if (level !== LAST_LEVEL || changetype<FreeWalk>(w).emptying) return p;
    if (ACCOUNTS && isAccounted(w.table)) return p;
    const seen = countMapped(p, end);
    putPages(w.table, pageOf(w, p), <u32>seen);
    return skip(w, p, <usize>(seen >> 32), level);
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    if (!holdsReference(w, old)) return OK;
    if (ACCOUNTS && isAccounted(w.table)) {
      if (clear(w, p, old, level) === 0) return OK; // taken without the lock, and counted there
    } else if (changetype<FreeWalk>(w).emptying) clear(w, p, old, level);
    putPages(w.table, pageOf(w, p), 1);
    return OK;
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  post(w: Walk, p: usize, old: u64, level: i32, _addr: u64, table: usize): i32 {
    const t = w.table,
      emptying = changetype<FreeWalk>(w).emptying;
    if (emptying) {
      if (pageCount(t, table) !== 1) return OK;
      clear(w, p, old, level);
    }
    putPages(t, pageOf(w, p), 1);
    if (emptying) return discard(t, table, level);
    write(p, 0); // a teardown that stops here continues later without this table
    if (!ACCOUNTS || settle(t, table)) putPages(t, table, 1);
    return OK;
  }
}

/** Opens a walk that tears down; null when walks are nested too deep. */
function openFree(t: Table, emptying: bool): FreeWalk {
  const w = openAs<FreeWalk>(t, LEAF | TABLE_POST);
  if (w) w.emptying = emptying;
  return w;
}

/** Sets up an opened walk for a detached table of `level`, with input addresses from 0. */
export function toSubtree(w: Walk, level: i32): void {
  w.start = 0;
  w.addr = 0;
  w.end = (<u64>1) << shift(w.ps, level - 1);
}

/** Who took an entry of the table without the lock may not have counted that yet; it does so soon, or the page has to stay. */
function settle(t: Table, table: usize): bool {
  return !isAccounted(t) || pageCount(t, table) === 1 || awaitCounts(t);
}

/** Tears down and frees the detached table at `table`, once named by an entry of `level` [S2-28]. */
export function releaseSubtree(t: Table, table: usize, level: i32): i32 {
  const w = openFree(t, false);
  if (!w) return EBUSY;
  toSubtree(w, level + 1);
  holdTree(t, table, level);
  if (rows<FreeVisitor>(w, table, entries(t.ps), level + 1)) warn(t, level, 0);
  close();
  if (ACCOUNTS && !settle(t, table)) return OK;
  if (pageCount(t, table) !== 1) warn(t, level, 0);
  putPages(t, table, 1);
  return OK;
}

/**
 * Frees the subtree that table descriptor `old` of `level` named: at once if the lock for writing keeps all others out [LCK-13],
 * after a grace period if others may be in it [LCK-10]; the host decides then, if it has that hook.
 */
export function freeUnlinked(w: Walk, old: u64, level: i32): i32 {
  const t = w.table,
    table = tableBelow(t, old);
  if (!table) return EFAULT;
  if (parallel() && (isShared(w) || t.flags & T_LOCK_FREE)) return defer(t, table, level);
  if (!deferUnlinked(t, table, level)) return releaseSubtree(t, table, level);
  handOverTree();
  return OK;
}

/** Frees a table that became empty under the lock for writing. Lookups without the lock may still be in it. */
export function discard(t: Table, table: usize, level: i32): i32 {
  if (parallel() && t.flags & T_LOCK_FREE) return defer(t, table, level);
  putPages(t, table, 1);
  return OK;
}

function defer(t: Table, table: usize, level: i32): i32 {
  noteRetired(t, table, level);
  retire(t, table, level);
  point(POINT_RETIRED, table);
  return OK;
}

/** Frees at most `most` tables whose grace period is over; returns the number. They are not reachable, so no lock is needed. */
export function collect(most: u32): u32 {
  advanceEpoch();
  enter(reading()); // a destroy of the table waits until what is taken out here is freed
  if (walker().strays !== 0) appendStrays(walker());
  let n: u32 = 0;
  while (n < most && canOpen()) {
    const table = takeRetired();
    if (!table) break;
    const t = ownerOf(table),
      level = levelOf(table);
    point(POINT_FREE, table);
    if (isLimboDoubtful()) recountDetached(t, table, level);
    if (deferUnlinked(t, table, level)) handOverTree();
    else releaseSubtree(t, table, level);
    n++;
  }
  leave();
  return n;
}

/** Waits for the grace period of all that is retired now and frees it; ETIMEDOUT if a walker makes no progress. */
export function drain(): i32 {
  const late = synchronize();
  if (late) return late;
  collect(u32.MAX_VALUE);
  return synchronize(); // other walkers may still be freeing some of them
}

/** No CPU uses the table any more: its VM is being torn down, and nothing of it is flushed [TLB-32]. */
function noteGone(t: Table, root: usize): void {
  record(J_TABLE_GONE, changetype<usize>(t), t.startLevel, arenaAddress(root), 0, 0);
}

// How a table ends. Under the lock for writing the root moves from `root` to `dying`, and `destroyer` names the walker that tears
// it down; from then on no walk can begin in the table. The record is kept until the teardown is over, even if the handle is given
// back meanwhile: then the destroyer gives the record back. If the destroyer dies, `dying` is left without one, and any walker may
// continue.

/** Bit of Table.destroyer. */
const RELEASED: u32 = 1 << 31;

function destroyerWord(t: Table): usize {
  return changetype<usize>(t) + offsetof<Table>("destroyer");
}

/** Frees everything; the handle stays valid, without a root, until `release` [S2-27, S1-7]. A second call does nothing, also at the same time. */
export function destroy(t: Table): i32 {
  if (isWalked(t) || !canOpen()) return EBUSY;
  if (parallel() && isWriter(t)) return EDEADLK; // a wait for readers while this walker holds the lock could last for ever
  const bad = begin(t);
  if (bad) return bad;
  const mine = isSameLife(t) && claimTeardown(t);
  end(t);
  return mine ? tearDown(t) : OK;
}

/** Takes the root away, or takes over from a destroyer that died; false if there is nothing to do. Precondition: this walker has the table to itself. */
function claimTeardown(t: Table): bool {
  const me = walker().id + 1,
    root = rootOf(t);
  if (root === 0) return resume(t);
  publish(destroyerWord(t), me); // before there is a teardown, so that it never seems to have no destroyer
  t.dying = root;
  takeRoot(t);
  return true;
}

/** Takes over a teardown that has no destroyer; true if this walker is now the destroyer. */
function resume(t: Table): bool {
  const nobody = peek(destroyerWord(t)) & RELEASED;
  if (t.dying === 0 || !claim(destroyerWord(t), nobody, nobody | (walker().id + 1))) return false;
  if (t.dying !== 0) return true;
  finishTeardown(t); // the last destroyer has just finished
  return false;
}

/** Nothing is left of the table; the record goes too, if the handle was given back meanwhile. */
function finishTeardown(t: Table): void {
  if (swap(destroyerWord(t), 0) & RELEASED) giveTable(t);
}

/** Walker `id` is dead: if it was tearing down `t`, any walker may now continue. */
export function orphan(t: Table, id: u32): void {
  const was = peek(destroyerWord(t));
  if ((was & ~RELEASED) !== id + 1) return;
  if (rootOf(t) !== 0)
    t.dying = 0; // it had not begun
  else doubt(t);
  leaveTeardown(t, id);
}

/** Walker `id` is no longer the destroyer; the handle may be given back at any moment. */
function leaveTeardown(t: Table, id: u32): void {
  if (!claim(destroyerWord(t), id + 1, 0)) publish(destroyerWord(t), RELEASED);
}

/** Continues teardowns that have no destroyer; those that have to wait for another walker are left as they are. */
export function resumeTeardowns(): void {
  for (let i: u32 = 0, n = header().maxTables; i < n; i++) {
    const t = tableOfIndex(i);
    if (isServed(t) && resume(t)) tearDown(t);
  }
}

/** Frees the tables of `dying` once no walker can be in them; after ETIMEDOUT another call continues. Precondition: this walker is the destroyer. */
function tearDown(t: Table): i32 {
  const root: usize = t.dying;
  const stuck = parallel() ? drain() : OK; // for lookups without a lock, and for tables that were unlinked before
  if (stuck) {
    leaveTeardown(t, walker().id);
    return stuck;
  }
  if (isDoubtful(t)) mend(t, root, changetype<Walker>(0));
  noteGone(t, root);
  const w = openFree(t, false);
  toSubtree(w, t.startLevel);
  w.end = (<u64>1) << t.inputBits;
  count(C_WALKS, 1);
  if (rows<FreeVisitor>(w, root, rootEntries(t), t.startLevel)) warn(t, 0, 0);
  close();
  // Start tables go whatever their counts.
  if (ACCOUNTS && isAccounted(t) && !awaitCounts(t)) t.dying = 0;
  else freeRoot(t, root);
  finishTeardown(t);
  return OK;
}

/**
 * The hypervisor's root is freed like any other page: if 6.12 left too many references on it, it is never freed [S1-5a].
 * Start tables of a guest are freed whatever their counts.
 */
function freeRoot(t: Table, root: usize): void {
  if (t.flags & T_HYP && pageCount(t, root) > 1) {
    t.dying = 0;
    putPages(t, root, 1);
  } else {
    freePagesExact(t, root, t.rootPages);
  }
}

function begin(t: Table): i32 {
  if (!parallel()) return OK;
  if (!isServed(t)) return EPERM;
  const bad = writeLock(t);
  if (bad === OK) mendIfDoubtful(t);
  return bad;
}

function end(t: Table): void {
  if (parallel()) writeUnlock(t);
}

/** Teardown in pieces, so that the caller can yield: empties the range and frees the tables that become empty [S2-27]. */
export function destroyRange(t: Table, addr: u64, size: u64): i32 {
  const w = openFree(t, true);
  if (!w) return EBUSY;
  const root = rootOf(t);
  if (root) noteGone(t, root);
  const r = walk<FreeVisitor>(w, addr, size);
  close();
  return r;
}

/**
 * Gives the handle back: EINVAL before `destroy`, EBUSY while this walker walks the table. While another walker tears the table
 * down, the record goes with the end of that.
 */
export function release(t: Table): i32 {
  if (rootOf(t)) return EINVAL;
  if (isWalked(t)) return EBUSY;
  for (;;) {
    const who = peek(destroyerWord(t));
    if (who === 0) break;
    if (who & RELEASED) return EINVAL; // given back before
    if (claim(destroyerWord(t), who, who | RELEASED)) return OK;
  }
  if (t.dying !== 0) return EBUSY; // its destroyer died: destroy it again
  return giveTable(t) ? OK : EINVAL;
}
