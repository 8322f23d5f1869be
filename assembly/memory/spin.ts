// Spin locks: for a few stores that wait for nothing. Word: 0 free, id + 1 held by that walker.

import { demand, RULE_HOLDER, RULE_SPIN } from "../demand";
import { ETIMEDOUT, OK } from "./errno";
import { walker } from "./layout";
import { isTooLate, nap } from "./wait";
import { claim, peek, publish } from "./word";

/** Takes the spin lock at `p`; ETIMEDOUT when its holder makes no progress. */
export function acquire(p: usize): i32 {
  for (let i: u32 = 0; !claim(p, 0, walker().id + 1); i++) {
    if (isTooLate(i)) return ETIMEDOUT;
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
  for (let i: u32 = 0; !claim(p, 0, holder); i++) {
    if (i >= LOOKS) return ETIMEDOUT;
    if (isDefined(EXPLORE)) nap(i); // who only looks again is in a new state with each look
  }
  return OK;
}

/** Takes the spin lock at `p` as `holder`, not 0, if it is free. */
export function tryAcquire(p: usize, holder: u32): bool {
  return claim(p, 0, holder);
}

/** Does anybody hold the spin lock at `p`? */
export function isHeld(p: usize): bool {
  return peek(p) !== 0;
}

/** Takes the lock over from the dead `holder` (id + 1); true if it had the lock, which is now this walker's. */
export function inherit(p: usize, holder: u32): bool {
  return claim(p, holder, walker().id + 1);
}

/** Lets go; everything stored before is seen by the next holder. Precondition: the caller holds the lock. */
export function relinquish(p: usize): void {
  demand(isHeld(p), RULE_SPIN);
  publish(p, 0);
}

/** Lets go if this walker holds the lock: for one that may have failed to take it. */
export function relinquishMine(p: usize): void {
  claim(p, walker().id + 1, 0);
}
