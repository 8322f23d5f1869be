// Invalidations: the host takes memory back, and a fault that asked the host before must not map what it was told.
//
//   a fault                                     an invalidation
//   notes `sequence`                            counts itself in `inProgress`
//   asks the host for a page, without a lock    unmaps the guest's part, under the table's lock
//   under the table's lock: looks at            the host changes the memory
//   `inProgress`, then at `sequence`            counts `sequence` up, then itself out of `inProgress`
//
// A fault whose look comes before the invalidation counts itself in holds the table's lock since before that, so the unmap waits for
// it and takes away what it maps. A later look finds `inProgress`, or `sequence` changed: `sequence` changes first, so
// that there is no moment in between at which neither shows [NOT-3, NOT-4]. Two threads each write one word and read the
// other's, which takes sequential consistency, and Wasm's atomics have it.

import { EBUSY, ETIMEDOUT, OK } from "../memory/errno";
import { parallel } from "../memory/layout";
import { acquire, relinquish } from "../memory/spin";
import { isTooLate, nap, sleepOn, wake } from "../memory/wait";
import { add, peek } from "../memory/word";
import { Vm } from "./state";

function sequenceWord(v: Vm): usize {
  return changetype<usize>(v) + offsetof<Vm>("sequence");
}

function progressWord(v: Vm): usize {
  return changetype<usize>(v) + offsetof<Vm>("inProgress");
}

function lockWord(v: Vm): usize {
  return changetype<usize>(v) + offsetof<Vm>("invalidationLock");
}

/** What a fault notes before it asks the host for a page: everything that it decides by that page has to come after [FLT-22, FLT-23]. */
export function sequenceOf(v: Vm): u32 {
  return peek(sequenceWord(v));
}

/** Does [gpa, gpa + size) meet what is being invalidated? True when the lock's holder makes no progress. */
function isInvalidated(v: Vm, gpa: u64, size: u64): bool {
  if (acquire(lockWord(v))) return true;
  const meets = gpa < v.invalidEnd && v.invalidStart < gpa + size;
  relinquish(lockWord(v));
  return meets;
}

/** Has the host changed memory since `sequence` was noted, or is it about to [FLT-24]? Asked under the table's lock. */
export function mustRetry(v: Vm, sequence: u32, gpa: u64, size: u64): bool {
  if (peek(progressWord(v)) !== 0 && (v.retryByRange === 0 || isInvalidated(v, gpa, size))) return true;
  return peek(sequenceWord(v)) !== sequence;
}

/** Waits until no invalidation is under way, so that a vCPU does not fault again and again meanwhile. A walker that is alone does not wait. */
export function awaitInvalidations(v: Vm): void {
  if (!parallel()) return;
  for (let i: u32 = 0; !isTooLate(i); i++) {
    const n = peek(progressWord(v));
    if (n === 0) return;
    sleepOn(progressWord(v), n, i);
  }
}

/** An invalidation begins: slots stay as they are until it leaves [NOT-1]. 0 or ETIMEDOUT. */
export function enter(v: Vm): i32 {
  if (acquire(lockWord(v))) return ETIMEDOUT;
  v.invalidations++;
  relinquish(lockWord(v));
  return OK;
}

/** The invalidation has ended. Precondition: it had begun. */
export function leave(v: Vm): void {
  if (acquire(lockWord(v))) return; // slots stay as they are then: their changes end with ETIMEDOUT
  v.invalidations--;
  relinquish(lockWord(v));
}

/** Faults in [start, end), guest addresses, try again from here on [NOT-1]. 0 or ETIMEDOUT. Precondition: the invalidation has entered. */
export function announce(v: Vm, start: u64, end: u64): i32 {
  if (acquire(lockWord(v))) return ETIMEDOUT;
  const first = peek(progressWord(v)) === 0;
  v.invalidStart = first ? start : min(v.invalidStart, start);
  v.invalidEnd = first ? end : max(v.invalidEnd, end);
  add(progressWord(v), 1);
  relinquish(lockWord(v));
  return OK;
}

/** The host has changed what was announced: faults that asked it before try again, later ones do not [NOT-3]. */
export function settle(v: Vm): void {
  add(sequenceWord(v), 1);
  add(progressWord(v), -1);
  wake(progressWord(v));
}

/**
 * Waits until no invalidation is under way, and keeps new ones out until `admit`: slots may change [NOT-30]. ETIMEDOUT when one does
 * not end; EBUSY for a walker that is alone, which could only wait for itself.
 */
export function exclude(v: Vm): i32 {
  for (let i: u32 = 0; !isTooLate(i); i++) {
    if (acquire(lockWord(v))) return ETIMEDOUT;
    if (v.invalidations === 0) return OK;
    relinquish(lockWord(v));
    if (!parallel()) return EBUSY;
    nap(i);
  }
  return ETIMEDOUT;
}

export function admit(v: Vm): void {
  relinquish(lockWord(v));
}
