// How a walker waits: a while by looking again, then asleep, where its thread may sleep.

import { me, orderWord, walker } from "./layout";

/** Looks before the first sleep. */
const SPINS: u32 = isDefined(EXPLORE) ? 0 : 2000;
/** Nanoseconds of one sleep that nobody ends. */
const SLICE: i64 = 1_000_000;
/** Rounds after which whoever is waited for counts as dead: some ten seconds of sleep, or as many looks as a thread that may not sleep can afford. */
export const PATIENCE: u32 = SPINS + 10_000;
const LOOKS: u32 = 10_000;

/** Round `i` of waiting for something that gives no sign. */
export function nap(i: u32): void {
  if (i >= SPINS) sleepOn(nobody(), 0);
}

/** Sleeps while the word at `p` is `value`, one slice at most; a thread that may not sleep looks around instead. */
export function sleepOn(p: usize, value: u32): void {
  if (walker().sleeps) {
    atomic.wait<i32>(p, value, SLICE);
    return;
  }
  for (let i: u32 = 0; i < LOOKS; i++) if (atomic.load<u32>(p) !== value) return;
}

/** A word that stays 0: the upper half of this walker's slot line is never written. */
function nobody(): usize {
  return orderWord() + 64;
}

/** Wakes whoever sleeps on `p`. */
export function wake(p: usize): void {
  if (me !== 0) atomic.notify(p, -1);
}
