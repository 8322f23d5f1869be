// Read sections and the grace period [LCK-10..12, WLK-12, WLK-13]: who may still be looking at a table.
//
// Every walker has a slot of 8 bytes in a cache line of its own:
//
//   63                    32 31                     1  0
//   +-----------------------+-----------------------+---+
//   | table whose lock it   | epoch at which it     | 1 |   0: in no section
//   | holds for reading, 0  | entered               |   |
//   +-----------------------+-----------------------+---+
//
// One store says which table the walker reads, and since when. The epoch advances (by 2: bit 0 is the flag of the slot)
// when every walker in a section entered in the current one. When it has advanced twice since a table was unlinked, no
// walker can be in that table any more. No walker waits for this: the unlinked table does.
//
// Orders: the store into the slot must not pass the load of the lock word after it, nor the store into the lock word the
// loads of the slots after it. That takes sequential consistency, which Wasm atomics have.

import { demand, RULE_IN_SECTION } from "../demand";
import { ETIMEDOUT, OK } from "./errno";
import { BREACH_SLEEP, breach } from "./guard";
import { epochWord, header, me, parallel, slot, slotOf, walker } from "./layout";
import { isTooLate, nap } from "./wait";
import { claim, peek, peek64, publish64 } from "./word";

const ACTIVE: u32 = 1;
/** One step of the epoch. */
const STEP: u32 = 2;
/** Steps after which no walker can be in an unlinked table. */
export const GRACE: u32 = 2 * STEP;

/** The current epoch. */
export function epoch(): u32 {
  return peek(epochWord());
}

/** Is this walker in a section? Its own slot needs no order. */
export function inSection(): bool {
  return me !== 0 && load<u32>(slot()) !== 0;
}

/** The table that this walker holds for reading, 0 for none. */
export function reading(): u32 {
  return load<u32>(slot(), 4);
}

/** Enters a section, which may be inside another one; `table`: its lock, 0 for none. */
export function enter(table: u32): void {
  const w = walker();
  if (w.sections++ === 0) publish64(slot(), ((<u64>table) << 32) | epoch() | ACTIVE);
}

/** Leaves it: what was read there must not be used any more. */
export function leave(): void {
  const w = walker();
  demand(w.sections !== 0, RULE_IN_SECTION);
  if (--w.sections === 0) publish64(slot(), 0);
}

/** What walker `id` reads, and since when; 0 for nothing. */
export function slotOfWalker(id: u32): u64 {
  return peek64(slotOf(id));
}

/** Takes a walker that is dead out of its section; true if it was in one. */
export function expel(id: u32): bool {
  const was = slotOfWalker(id) !== 0;
  publish64(slotOf(id), 0);
  return was;
}

/** The first walker in a section that has not seen `now`, -1 if all have. */
function laggard(now: u32): i32 {
  const n = header().maxWalkers;
  for (let id: u32 = 0; id < n; id++) {
    const seen = <u32>slotOfWalker(id);
    if (seen !== 0 && seen !== (now | ACTIVE)) return id;
  }
  return -1;
}

/** Advances the epoch if it can; returns the walker that prevents it, or -1. */
export function advance(): i32 {
  const now = epoch();
  const late = laggard(now);
  if (late < 0) claim(epochWord(), now, now + STEP);
  return late;
}

/** Has everybody left who was in a section at epoch `then`? */
export function isPast(then: u32): bool {
  return <i32>(epoch() - then - GRACE) >= 0;
}

/**
 * Waits until every walker has passed a quiescent point: nobody reads what was unlinked before the call [IDE-3].
 * ETIMEDOUT if one makes no progress. Precondition: this walker is in no section.
 */
export function synchronize(): i32 {
  if (!parallel()) return OK;
  if (inSection()) breach(BREACH_SLEEP, 0);
  const then = epoch();
  for (let i: u32 = 0; !isTooLate(i); i++) {
    advance();
    if (isPast(then)) return OK;
    nap(i);
  }
  return ETIMEDOUT;
}
