// The protocol between the unmapper, which holds no lock, and whoever removes entries of the same heads [HZ-1..7].
//
//   unmapper, for each head R                        remover of the descriptor at s
//     1 hazard := R                                    1 take *s
//     2 full barrier                                   2 find the entry of s and exchange it for SKIP
//     3 is the slot still the same? load the head      3 full barrier
//     4 e := an entry; SKIP goes on                    4 wait while the hazard is R
//     5 pending++, then take *e; undo if it was empty  5 now the page of s may go
//     6 exchange the entry for SKIP
//     7 full barrier, hazard := 0
//     after a batch: flush, pending--
//
// Suppose that the unmapper uses s after 5 of the remover. It loaded the entry before the remover exchanged it, so its store of
// the hazard comes before that too, and the remover's load in 4 comes after: it saw R and waited for 7, which is after the last
// use. That needs both barriers, and all of these accesses in one order that everybody agrees on: sequential consistency, which the
// atomic accesses of Wasm have. There are no weaker ones; an atomic store is the full barrier too.
//
// The unmapper takes no lock and never sleeps between 1 and 7, so nobody waits for ever [HZ-7]. One that makes no progress for as
// long as a lock's holder may is taken for dead (Maps.abandoned).

import { observe, publish } from "../../memory/shared";
import { isTooLate, nap } from "../../memory/wait";
import { hazardWord, Maps, tally } from "./maps";

/** The unmapper is in the chain of `head` from now on: stored before any entry is loaded. */
export function announce(r: Maps, head: usize): void {
  publish(hazardWord(r), head);
}

/** It uses nothing of the chain any more: stored after its last use. */
export function withdraw(r: Maps): void {
  publish(hazardWord(r), 0);
}

/** Waits while the unmapper is in `head`. Loaded after the entry was exchanged. False if it does not leave. */
export function sync(r: Maps, head: usize): bool {
  for (let i: u32 = 0; observe(hazardWord(r)) === head; i++) {
    if (i === 0) tally(r, offsetof<Maps>("waits"));
    if (isTooLate(i)) {
      tally(r, offsetof<Maps>("abandoned"));
      return false;
    }
    nap(i);
  }
  return true;
}

/** Waits until the unmapper has left the head where it is now, whichever that is: an entry that is empty does not say whose it was. */
export function syncAny(r: Maps): bool {
  const head = <usize>observe(hazardWord(r));
  return head === 0 || sync(r, head);
}
