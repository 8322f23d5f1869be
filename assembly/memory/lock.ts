// Locks of tables. Order of locks, from the outside in: table -> limbo -> pool -> order of the journal.
//
// The lock of a table is a reader/writer lock whose readers do not meet: a reader says in its own slot what it reads
// (memory/epoch.ts) and then looks whether there is a writer; a writer says that it is there and then looks whether a
// slot names its table. One of the two sees the other [LCK-1, LCK-2]. New readers wait while a writer does, so that a
// writer gets through however many readers there are.

import { enter, inSection, leave, reading, slotOfWalker } from "./epoch";
import { EDEADLK, ETIMEDOUT, OK } from "./errno";
import { BREACH_SLEEP, breach } from "./guard";
import { header, Table, walker } from "./layout";
import { PATIENCE, sleepOn, wake } from "./wait";

/** Ways to use a table [IDE-1]. */
export const MODE_NONE: u32 = 0;
/** Read section alone: one compare-exchange, success or give up. */
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
  return atomic.load<u32>(writerWord(t));
}

/** Does this walker hold `t` for writing? */
export function isWriter(t: Table): bool {
  return writerOf(t) === self();
}

/** Does this walker hold `t` for reading? */
export function isReader(t: Table): bool {
  return inSection() && reading() === <u32>changetype<usize>(t);
}

/** A writer is there: waits until it is not. */
function awaitWriter(t: Table, i: u32): void {
  const word = writerWord(t),
    holder = atomic.load<u32>(word);
  if (holder === 0) return;
  if (i < SLEEP_AFTER) return;
  const sleepers = changetype<usize>(t) + offsetof<Table>("sleepers");
  atomic.add<u32>(sleepers, 1);
  sleepOn(word, holder);
  atomic.sub<u32>(sleepers, 1);
}

/** Looks before a walker goes to sleep on a lock. */
const SLEEP_AFTER: u32 = isDefined(EXPLORE) ? 0 : 2000;

/** Holds `t` for reading, in a read section. EDEADLK inside another section, ETIMEDOUT when a writer does not come on. */
export function readLock(t: Table): i32 {
  const handle = <u32>changetype<usize>(t);
  if (isWriter(t) || inSection()) {
    // Whoever writes may read, and who reads may read again.
    if (!isWriter(t) && reading() !== handle) return EDEADLK;
    enter(handle);
    return OK;
  }
  for (let i: u32 = 0; i < PATIENCE; i++) {
    enter(handle);
    if (writerOf(t) === 0) return OK;
    readUnlock(t);
    awaitWriter(t, i);
  }
  return ETIMEDOUT;
}

/** Leaves the section, and tells a writer that waits for it. */
export function readUnlock(t: Table): void {
  leave();
  if (!inSection() && writerOf(t) !== 0) {
    atomic.add<u32>(leftWord(t), 1);
    wake(leftWord(t));
  }
}

/** Walker that reads `t`, -1 for none. */
export function readerOf(t: Table): i32 {
  const handle = <u32>changetype<usize>(t),
    n = header().maxWalkers;
  for (let id: u32 = 0; id < n; id++) {
    if (<u32>(slotOfWalker(id) >> 32) === handle) return id;
  }
  return -1;
}

/** Holds `t` for writing. EDEADLK while it reads `t` or is in a section; ETIMEDOUT when a holder does not come on. */
export function writeLock(t: Table): i32 {
  const w = walker();
  if (isWriter(t)) {
    t.writes++;
    return OK;
  }
  if (inSection()) {
    breach(BREACH_SLEEP, <u32>changetype<usize>(t));
    return EDEADLK;
  }
  for (let i: u32 = 0; atomic.cmpxchg<u32>(writerWord(t), 0, self()) !== 0; i++) {
    if (i >= PATIENCE) return ETIMEDOUT;
    awaitWriter(t, i);
  }
  t.writes = 1;
  w.writing++;
  for (let i: u32 = 0; i < PATIENCE; i++) {
    const seen = atomic.load<u32>(leftWord(t));
    if (readerOf(t) < 0) return OK;
    if (i >= SLEEP_AFTER) sleepOn(leftWord(t), seen);
  }
  writeUnlock(t);
  return ETIMEDOUT;
}

/** Lets go once for each time it was taken. */
export function writeUnlock(t: Table): void {
  if (--t.writes !== 0) return;
  walker().writing--;
  atomic.store<u32>(writerWord(t), 0);
  if (atomic.load<u32>(changetype<usize>(t) + offsetof<Table>("sleepers")) !== 0) wake(writerWord(t));
}

/** `holder` (walker id + 1) is dead: lets go of `t` if it held it for writing; true if it did. */
export function forget(t: Table, holder: u32): bool {
  if (writerOf(t) !== holder) return false;
  t.writes = 0; // before the word: the next writer counts from there on
  atomic.store<u32>(writerWord(t), 0);
  wake(writerWord(t));
  return true;
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
