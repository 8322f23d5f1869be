// How an operation shares its table with other walkers [IDE-1, LCK-1..4]. In an engine of one walker nothing is shared, and
// nothing here costs anything.
//
//   exclusive   lock for writing: nobody else is in the table. Plain stores, whole vectors, tables freed at once.
//   shared      lock for reading and a read section: compare-exchange on each entry; tables freed after a grace period.
//   lock-free   read section only: attributes of one leaf, by one compare-exchange that succeeds or gives up. Nothing is
//               installed or removed. Only on tables whose exclusive walks use atomics, too (T_LOCK_FREE).

import { EINVAL, EPERM, OK } from "../memory/errno";
import { intendNothing } from "../memory/intent";
import { parallel, T_BARRIER, T_HYP, T_LOCK_FREE, Table, walker } from "../memory/layout";
import { someWait } from "../memory/limbo";
import {
  lock as lockTable,
  MODE_EXCLUSIVE,
  MODE_LOCK_FREE,
  MODE_NONE,
  MODE_SHARED,
  unlock as unlockTable,
} from "../memory/lock";
import { isSameLife, isServed, rootOf } from "../memory/tables";
import { J_LOCK, J_SECTION, J_SECTION_END, J_UNLOCK, record } from "../record/journal";
import { isDoubtful, mendIfAlone, mendIfDoubtful } from "./repair";
import { collect } from "./teardown";
import { SHARED } from "./walk";

/** What operations may do while other walkers are in the table. */
export const SHARES_NOTHING: u32 = 0;
/** Installs, or changes attributes over a range; never removes. */
export const SHARES_TABLE: u32 = 1;
/** Changes attributes of one leaf. */
export const SHARES_LEAF: u32 = 2;
/** Reads. */
export const SHARES_READ: u32 = 3;

/** Beside the walk flags: without the table's lock. */
export const LOCK_FREE: u32 = 1 << 17;
/** Most tables that one operation frees when it ends, so that no operation pays for many. */
const FEW: u32 = 4;

/** How an operation that `shares` uses `t`, called with `flags`: MODE_*, or EPERM [LCK-4, WLK-12]. */
export function modeOf(t: Table, shares: u32, flags: u32): i32 {
  if (flags & LOCK_FREE && shares !== SHARES_LEAF) return EPERM;
  if (flags & SHARED && (shares === SHARES_NOTHING || t.flags & T_HYP)) return EPERM;
  if (!parallel()) return MODE_NONE;
  if (shares === SHARES_READ) {
    if (t.flags & (T_LOCK_FREE | T_BARRIER)) return MODE_LOCK_FREE;
    return t.flags & T_HYP ? MODE_EXCLUSIVE : MODE_SHARED;
  }
  if (flags & LOCK_FREE) return t.flags & T_LOCK_FREE ? MODE_LOCK_FREE : EPERM;
  return flags & SHARED ? MODE_SHARED : MODE_EXCLUSIVE;
}

/** Takes what `mode` needs: 0, EDEADLK, ETIMEDOUT, EPERM where this walker lacks a function of the table, or EINVAL when there is no table any more. */
export function begin(t: Table, mode: u32): i32 {
  if (mode === MODE_NONE) return 0;
  if (!isServed(t)) return EPERM;
  const bad = lockTable(t, mode);
  if (bad) return bad;
  if (!rootOf(t) || !isSameLife(t)) {
    unlockTable(t, mode); // destroyed while this walker waited
    return EINVAL;
  }
  if (mode === MODE_EXCLUSIVE) mendIfDoubtful(t);
  note(mode === MODE_LOCK_FREE ? J_SECTION : J_LOCK, t, mode);
  return OK;
}

/** Lets go of the lock, then frees some tables whose grace period is over. */
export function end(t: Table, mode: u32): void {
  if (mode === MODE_NONE) return;
  intendNothing(walker());
  note(mode === MODE_LOCK_FREE ? J_SECTION_END : J_UNLOCK, t, mode);
  unlockTable(t, mode);
  if (isDoubtful(t)) mendIfAlone(t);
  if (someWait()) collect(FEW);
}

function note(kind: u32, t: Table, mode: u32): void {
  record(kind, changetype<usize>(t), 0, 0, mode === MODE_EXCLUSIVE ? 1 : 0, 0);
}
