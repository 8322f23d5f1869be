// Spin locks: for a few stores that wait for nothing. Word: 0 free, id + 1 held by that walker.

import { ETIMEDOUT, OK } from "./errno";
import { walker } from "./layout";
import { isTooLate, nap } from "./wait";
import { claim } from "./word";

/** Takes the spin lock at `p`; ETIMEDOUT when its holder makes no progress. */
export function acquire(p: usize): i32 {
  for (let i: u32 = 0; !claim(p, 0, walker().id + 1); i++) {
    if (isTooLate(i)) return ETIMEDOUT;
    nap(i);
  }
  return OK;
}

/** Takes the lock over from the dead `holder` (id + 1); true if it had the lock, which is now this walker's. */
export function inherit(p: usize, holder: u32): bool {
  return claim(p, holder, walker().id + 1);
}

/** Lets go; everything stored before is seen by the next holder. Whoever failed to take the lock lets go of nothing. */
export function relinquish(p: usize): void {
  claim(p, walker().id + 1, 0);
}
