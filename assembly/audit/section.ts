// Walkers of an engine that share a table: its lock, read sections, and the grace period of what they unlink [LCK-1..13].

import { isLocked, isTable, isValid } from "../arch/descriptor";
import { UNIT_SHIFT } from "../arch/granule";
import { Case, caseOf, caseOfRoot, rootOf } from "./case";
import { acquire, acquireShared, unlock, unlockAll, unlockShared } from "./clock";
import { cpu } from "./cpu";
import { addressIn, isDowngrade } from "./predicate";
import { CAUSE_BREAK, MISS_GRACE, V_EARLY_FREE, V_LOCK } from "./records";
import { violate, wants } from "./report";
import { R_LOCK_FREE, R_PARALLEL, R_TYPED, Root, rootAt, unitsOf } from "./root";
import { state, UNIT_ENTRIES } from "./state";
import * as U from "./unit";

/** The lock of an engine's table: no address has bit 63. */
export function lockName(handle: u32): u64 {
  return (1 << 63) | <u64>handle;
}

/** Walker `c` holds the table for writing, or for reading and is in a section. */
export function lockTable(r: Root, c: u32, writing: bool): void {
  if (writing) {
    if (!acquire(c, r.lock, true) || isRead(r, c)) violate(V_LOCK, caseOfRoot(c, r));
    return;
  }
  if (!acquireShared(c, r.lock)) violate(V_LOCK, caseOfRoot(c, r));
  enter(c);
  cpu(c).reads++;
  cpu(c).reading = r.handle;
}

export function unlockTable(r: Root, c: u32, writing: bool): void {
  const self = cpu(c);
  if (writing ? !unlock(c, r.lock) : self.reads === 0 || self.reading !== r.handle) {
    violate(V_LOCK, caseOfRoot(c, r));
    return;
  }
  if (writing) return;
  self.reads--;
  unlockShared(c, r.lock);
}

/** Does a walker other than `c` hold the table for reading? */
function isRead(r: Root, c: u32): bool {
  const n = state().seen;
  for (let d: u32 = 0; d < n; d++) if (d !== c && cpu(d).reads !== 0 && cpu(d).reading === r.handle) return true;
  return false;
}

function enter(c: u32): void {
  if (!isInside(c)) cpu(c).entered = state().time;
}

/** A section without a lock. */
export function enterSection(c: u32): void {
  enter(c);
  cpu(c).sections++;
}

export function leaveSection(c: u32): void {
  const self = cpu(c);
  if (self.sections === 0) violate(V_LOCK, caseOf(c, 0));
  else self.sections--;
}

/** Is walker `c` in a read section of any kind? */
export function isInside(c: u32): bool {
  return cpu(c).reads + cpu(c).sections !== 0;
}

/** Walker `c` is dead, and another has let go of what it held. */
export function bury(c: u32): void {
  cpu(c).reads = 0;
  cpu(c).sections = 0;
  for (let r = rootAt(state().roots); r; r = rootAt(r.next)) if (r.flags & R_PARALLEL) unlockAll(c, r.lock);
}

/**
 * May the walker, which does not hold the lock for writing, change the entry so? In a section it locks, publishes what it
 * has locked, fills holes, and changes leaves in place; without the lock for reading it only adds rights [LCK-4].
 */
export function isShared(k: Case, mine: bool): bool {
  const self = cpu(k.cpu),
    r = rootOf(k),
    reads = self.reads !== 0 && self.reading === r.handle;
  if (!k.ordered || !(reads || self.sections !== 0)) return false;
  if (!reads) return isValid(k.old) && isValid(k.next) && !isTable(k.old, k.level) && !isDowngrade(r, k.old, k.next);
  return mine || isValid(k.next) || isLocked(k.next, <bool>(r.flags & R_TYPED));
}

/** A marker of walker `by` that anybody may take away: `by` is in no section any more, it died. */
export function isAbandoned(by: u32, next: u64): bool {
  return next === 0 && !isInside(by);
}

/** Does a table that goes out of `r` need a grace period? Where others may be in it, whoever unlinks it. */
export function needsGrace(r: Root, ordered: bool): bool {
  return (r.flags & R_PARALLEL) !== 0 && (ordered || (r.flags & R_LOCK_FREE) !== 0);
}

/** Marks the table page at `page` and what hangs below it: `time` as in Unit.retired. */
export function stampTable(r: Root, page: u64, level: i32, time: u64): void {
  for (let i: u32 = 0; i < unitsOf(r); i++) {
    const u = U.find(page + ((<u64>i) << UNIT_SHIFT));
    if (!u || u.retired === time || u.rootOf !== 0) continue;
    u.retired = time;
    u.retiredBy = state().sequence;
    for (let word: u32 = 0; word < UNIT_ENTRIES && u.valid !== 0; word++) {
      const value = load<u64>(U.valueAt(u, word));
      if (isTable(value, level)) stampTable(r, addressIn(r, value), level + 1, time);
    }
  }
}

/** A walker installs a table in one that is unlinked already: it goes with it [LCK-11]. */
export function stampBelow(r: Root, u: U.Unit, next: u64): void {
  if (isTable(next, u.level)) stampTable(r, addressIn(r, next), u.level + 1, u.retired);
}

/** The page is given back: has everybody left who may have met it? */
export function checkGrace(k: Case, u: U.Unit): void {
  if (u.retired === 0 || (u.retired !== U.UNRETIRED && !isMet(u.retired))) return;
  wants(V_EARLY_FREE, k, MISS_GRACE, u.retiredBy, CAUSE_BREAK);
}

/** Is a walker in the section that it was in at `time`? */
function isMet(time: u64): bool {
  const n = state().seen;
  for (let d: u32 = 0; d < n; d++) if (isInside(d) && cpu(d).entered <= time) return true;
  return false;
}
