// Spin locks: for a few stores that wait for nothing. Word: 0 free, id + 1 held by that walker.

import { demand, RULE_HOLDER } from "../demand";
import { ETIMEDOUT, OK } from "./errno";
import { me, walker } from "./layout";
import { nap, PATIENCE } from "./wait";

/** Takes the spin lock at `p`; ETIMEDOUT when its holder is gone. */
export function acquire(p: usize): i32 {
  const id = me !== 0 ? walker().id + 1 : 1; // walker 0 lays out before it is one
  for (let i: u32 = 0; atomic.cmpxchg<u32>(p, 0, id) !== 0; i++) {
    if (i >= PATIENCE) return ETIMEDOUT;
    nap(i);
  }
  return OK;
}

/** Looks of a thread that is no walker and may not sleep: some seconds. */
const LOOKS: u32 = 1 << 27;

/**
 * Takes the spin lock at `p` as `holder`, not 0, for a thread that need not be a walker and may not be allowed to sleep:
 * it looks until the lock is free. ETIMEDOUT when the holder makes no progress for seconds; the lock is not held then.
 */
export function acquireAs(p: usize, holder: u32): i32 {
  demand(holder !== 0, RULE_HOLDER);
  for (let i: u32 = 0; atomic.cmpxchg<u32>(p, 0, holder) !== 0; i++) if (i >= LOOKS) return ETIMEDOUT;
  return OK;
}

/** Takes the spin lock at `p` as `holder`, not 0, if it is free. */
export function tryAcquire(p: usize, holder: u32): bool {
  return atomic.cmpxchg<u32>(p, 0, holder) === 0;
}

/** Does anybody hold the spin lock at `p`? */
export function isHeld(p: usize): bool {
  return atomic.load<u32>(p) !== 0;
}

/** The dead `holder` (id + 1) lets go; 1 if it had the lock. */
export function wrest(p: usize, holder: u32): u32 {
  return atomic.cmpxchg<u32>(p, holder, 0) === holder ? 1 : 0;
}

/** Lets go; everything stored before is seen by the next holder. */
export function relinquish(p: usize): void {
  atomic.store<u32>(p, 0);
}
