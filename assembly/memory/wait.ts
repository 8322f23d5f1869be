// How a walker waits: it looks again a number of times, then it sleeps, if its thread may sleep.

import { hostClock } from "./host";
import { me, orderWord, walker } from "./layout";
import { peek, sleepWhile, wakeAll } from "./word";

/** Looks before the first sleep. An explorer of schedules has nothing to gain from looking twice. */
export const SPINS: u32 = isDefined(EXPLORE) ? 0 : 2000;
/** Nanoseconds of one sleep, if nobody wakes the walker. */
const SLICE: i64 = 1_000_000;
/** Looks in place of one sleep, on a thread that may not sleep. */
const LOOKS: u32 = 10_000;
/** Milliseconds of waiting after which the result is ETIMEDOUT. */
export const PATIENCE: u32 = 10_000;

/** Has this walker waited too long? Asked in round `i` = 0, 1, ... of a wait; time counts from round SPINS on. */
export function isTooLate(i: u32): bool {
  if (i < SPINS) return false;
  const w = walker(),
    now = hostClock();
  if (i === SPINS) w.since = now;
  return now - w.since > PATIENCE;
}

/** Round `i` of waiting for something that wakes nobody. */
export function nap(i: u32): void {
  sleepOn(nobody(), 0, i);
}

/** Round `i` of waiting while the word at `p` is `value`; a thread that may not sleep looks at it meanwhile. */
export function sleepOn(p: usize, value: u32, i: u32): void {
  if (i < SPINS) return;
  if (walker().sleeps) {
    sleepWhile(p, value, SLICE);
    return;
  }
  for (let n: u32 = 0; n < LOOKS; n++) if (peek(p) !== value) return;
}

/** Others have a turn. For an explorer of schedules alone: a walker that tries again at once would never let them. */
export function letOthers(): void {
  sleepWhile(nobody(), 1, 0);
}

/** A word that is always 0: nothing is stored in the second half of the line of the journals' order. */
function nobody(): usize {
  return orderWord() + 64;
}

/** Wakes whoever sleeps on `p`. */
export function wake(p: usize): void {
  if (me !== 0) wakeAll(p);
}
