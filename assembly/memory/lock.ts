// Locks of tables. Order of locks, from the outside in: table -> limbo -> pool -> order of the journal.
//
// The lock of a table is a reader/writer lock whose readers write no common word. A reader names the table in its own slot
// (memory/epoch.ts) and then checks for a writer; a writer announces itself and then checks all slots. One of the two sees the
// other [LCK-1, LCK-2]. New readers wait while a writer waits, so that a writer gets the lock however many readers there are.

import { demand, RULE_WRITER } from "../demand";
import { enter, inSection, leave, reading, slotOfWalker } from "./epoch";
import { EDEADLK, ETIMEDOUT, OK } from "./errno";
import { BREACH_SLEEP, breach } from "./guard";
import { header, Table, walker } from "./layout";
import { handleOf } from "./tables";
import { isTooLate, SPINS, sleepOn, wake } from "./wait";
import { add, claim, peek, publish } from "./word";

/** Ways to use a table [IDE-1]. */
export const MODE_NONE: u32 = 0;
/** Read section only: one compare-exchange that succeeds or gives up. */
export const MODE_LOCK_FREE: u32 = 1;
/** Lock held for reading, and a read section. */
export const MODE_SHARED: u32 = 2;
/** Lock held for writing. */
export const MODE_EXCLUSIVE: u32 = 3;

function self(): u32 {
  return walker().id + 1;
}

function writerWord(t: Table): usize {
  return changetype<usize>(t) + offsetof<Table>("writer");
}

function leftWord(t: Table): usize {
  return changetype<usize>(t) + offsetof<Table>("left");
}

/** Walker id + 1 that holds `t` for writing or is about to, 0 for nobody. */
export function writerOf(t: Table): u32 {
  return peek(writerWord(t));
}

/** Does this walker hold `t` for writing? */
export function isWriter(t: Table): bool {
  return writerOf(t) === self();
}

/** Does this walker hold `t` for reading? */
export function isReader(t: Table): bool {
  return inSection() && reading() === <u32>changetype<usize>(t);
}

function sleepersWord(t: Table): usize {
  return changetype<usize>(t) + offsetof<Table>("sleepers");
}

/** Round `i` of waiting until there is no writer. */
function awaitWriter(t: Table, i: u32): void {
  const word = writerWord(t),
    holder = peek(word);
  if (holder === 0 || i < SPINS) return;
  add(sleepersWord(t), 1);
  sleepOn(word, holder, i);
  add(sleepersWord(t), -1);
}

/** Holds `t` for reading, in a read section. EDEADLK inside another section, ETIMEDOUT when a writer makes no progress. */
export function readLock(t: Table): i32 {
  const handle = <u32>changetype<usize>(t);
  if (isWriter(t) || inSection()) {
    // A writer may read, and a reader may read again.
    if (!isWriter(t) && reading() !== handle) return EDEADLK;
    enter(handle);
    return OK;
  }
  for (let i: u32 = 0; !isTooLate(i); i++) {
    enter(handle);
    if (writerOf(t) === 0) return OK;
    readUnlock(t);
    awaitWriter(t, i);
  }
  return ETIMEDOUT;
}

/** Leaves the section, and wakes a writer that waits for it. */
export function readUnlock(t: Table): void {
  leave();
  if (!inSection() && writerOf(t) !== 0) {
    add(leftWord(t), 1);
    wake(leftWord(t));
  }
}

/** A walker that reads `t`, -1 for none. `except` (walker id, -1 for none) does not count: it is dead. */
function readerOf(t: Table, except: i32): i32 {
  const handle = <u32>changetype<usize>(t),
    n = header().maxWalkers;
  for (let id: u32 = 0; id < n; id++) {
    if (<i32>id !== except && <u32>(slotOfWalker(id) >> 32) === handle) return id;
  }
  return -1;
}

/** Waits until nobody but `except` reads `t`. Precondition: this walker is its writer, so that no reader enters. */
function awaitReaders(t: Table, except: i32): bool {
  for (let i: u32 = 0; !isTooLate(i); i++) {
    const seen = peek(leftWord(t));
    if (readerOf(t, except) < 0) {
      t.writes = 1; // from here on it may write: a burial looks at this
      return true;
    }
    sleepOn(leftWord(t), seen, i);
  }
  return false;
}

/** Holds `t` for writing. EDEADLK while it reads `t` or is in a section; ETIMEDOUT when a holder makes no progress. */
export function writeLock(t: Table): i32 {
  if (isWriter(t)) {
    t.writes++;
    return OK;
  }
  if (inSection()) {
    breach(BREACH_SLEEP, handleOf(t));
    return EDEADLK;
  }
  for (let i: u32 = 0; !claim(writerWord(t), 0, self()); i++) {
    if (isTooLate(i)) return ETIMEDOUT;
    awaitWriter(t, i);
  }
  walker().writing++;
  if (awaitReaders(t, -1)) return OK;
  letGo(t);
  return ETIMEDOUT;
}

/** Takes `t` for writing, if that needs no waiting. */
export function tryWriteLock(t: Table): bool {
  if (!claim(writerWord(t), 0, self())) return false;
  walker().writing++;
  if (readerOf(t, -1) < 0) {
    t.writes = 1;
    return true;
  }
  letGo(t);
  return false;
}

function letGo(t: Table): void {
  t.writes = 0;
  walker().writing--;
  publish(writerWord(t), 0);
  if (peek(sleepersWord(t)) !== 0) wake(writerWord(t));
}

/** Lets go of it; needed once for each time that it was taken. */
export function writeUnlock(t: Table): void {
  demand(isWriter(t), RULE_WRITER);
  if (t.writes > 1) t.writes--;
  else letGo(t);
}

/**
 * Walker `id` is dead: takes `t` over from it, if it held it for writing. True if it may have written, and then nobody else
 * is inside; one that still waited for readers has done nothing, and nothing is held afterwards.
 */
export function inheritWriteLock(t: Table, id: u32): bool {
  if (!claim(writerWord(t), id + 1, self())) return false;
  walker().writing++;
  const inside = t.writes !== 0;
  if (inside && awaitReaders(t, id)) return true; // readers that are entering see a writer and leave
  letGo(t);
  return false;
}

/** Makes `t` usable in `mode` until `unlock`: 0, EDEADLK or ETIMEDOUT. */
export function lock(t: Table, mode: u32): i32 {
  if (mode === MODE_EXCLUSIVE) return writeLock(t);
  if (mode === MODE_SHARED) return readLock(t);
  if (mode === MODE_LOCK_FREE) enter(reading());
  return OK;
}

export function unlock(t: Table, mode: u32): void {
  if (mode === MODE_EXCLUSIVE) writeUnlock(t);
  else if (mode === MODE_SHARED) readUnlock(t);
  else if (mode === MODE_LOCK_FREE) leave();
}
