// Who knows of what: a clock of every CPU in every CPU [HWM-41]. A CPU's own part counts what it has given away: it
// rises with each DSB and each release, so that what comes later is told apart.

import { CLOCK_BYTES, clockOf, lockBucket, orderedBy, state, take } from "./state";

/** This CPU's own clock. */
export function now(cpu: u32): u32 {
  return load<u32>(clockOf(cpu) + cpu * 4);
}

/** What follows is told apart from what was. */
export function tick(cpu: u32): void {
  const at = clockOf(cpu) + cpu * 4;
  store<u32>(at, load<u32>(at) + 1);
}

/** The larger of each clock goes into `to`. */
export function join(to: usize, from: usize): void {
  const n = state().seen;
  for (let i: u32 = 0; i < n; i++) {
    const t = load<u32>(from + i * 4);
    if (t > load<u32>(to + i * 4)) store<u32>(to + i * 4, t);
  }
}

/** `cpu` learns what `other` did up to `clock`. */
export function learn(cpu: u32, other: u32, clock: u32): void {
  const at = clockOf(cpu) + other * 4;
  if (clock > load<u32>(at)) store<u32>(at, clock);
}

/** Did what `other` did at `clock` happen before what `cpu` does now? */
export function knows(cpu: u32, other: u32, clock: u32): bool {
  return load<u32>(clockOf(cpu) + other * 4) >= clock;
}

/** A DSB of the inner shareable domain, or larger: all that `cpu` knows of is visible to everybody's walkers. */
export function order(cpu: u32): void {
  const n = state().seen,
    to = orderedBy(cpu),
    from = clockOf(cpu);
  for (let i: u32 = 0; i < n; i++) store<u32>(to + i * 4, load<u32>(from + i * 4));
  tick(cpu);
}

// Locks: address u64 | next u32 | holder u32 (CPU + 1) | depth u32 | .. | clock of writers | clock of readers.

const NEXT: usize = 8;
const HOLDER: usize = 12;
const DEPTH: usize = 16;
const LOCK_CLOCK: usize = 32;
/** Readers hand over to the next writer, and not to each other. */
const READERS: usize = LOCK_CLOCK + CLOCK_BYTES;

/** The lock at `address`, made if need be; 0 when memory is spent. */
function lockAt(address: u64): u32 {
  const bucket = lockBucket(address);
  let p = load<u32>(bucket);
  while (p && load<u64>(p) !== address) p = load<u32>(p, NEXT);
  if (p) return p;
  p = take(<u32>LOCK_CLOCK + 2 * CLOCK_BYTES);
  if (!p) return 0;
  store<u64>(p, address);
  store<u32>(p, load<u32>(bucket), NEXT);
  store<u32>(bucket, p);
  return p;
}

export function holds(cpu: u32, address: u64): bool {
  let p = load<u32>(lockBucket(address));
  while (p && load<u64>(p) !== address) p = load<u32>(p, NEXT);
  return p !== 0 && load<u32>(p, HOLDER) === cpu + 1;
}

/** Takes a lock; false if it is not to be had, or held already and not `again`. */
export function acquire(cpu: u32, address: u64, again: bool): bool {
  const p = lockAt(address);
  if (!p) return true; // memory is spent, and said so
  const holder = load<u32>(p, HOLDER);
  if (holder !== 0 && !(again && holder === cpu + 1)) return false;
  store<u32>(p, cpu + 1, HOLDER);
  store<u32>(p, load<u32>(p, DEPTH) + 1, DEPTH);
  join(clockOf(cpu), p + LOCK_CLOCK);
  join(clockOf(cpu), p + READERS);
  return true;
}

/** Takes a lock for reading; false if another CPU holds it for writing. */
export function acquireShared(cpu: u32, address: u64): bool {
  const p = lockAt(address);
  if (!p) return true;
  const holder = load<u32>(p, HOLDER);
  join(clockOf(cpu), p + LOCK_CLOCK);
  return holder === 0 || holder === cpu + 1;
}

/** Gives it back: the next writer knows what `cpu` knew. */
export function unlockShared(cpu: u32, address: u64): void {
  const p = lockAt(address);
  if (!p) return;
  join(p + READERS, clockOf(cpu));
  tick(cpu);
}

/** `cpu` is dead: what it held for writing is free. */
export function unlockAll(cpu: u32, address: u64): void {
  while (holds(cpu, address)) unlock(cpu, address);
}

/** Gives a lock back; false if `cpu` does not hold it. */
export function unlock(cpu: u32, address: u64): bool {
  const p = lockAt(address);
  if (!p) return true;
  if (load<u32>(p, HOLDER) !== cpu + 1) return false;
  const depth = load<u32>(p, DEPTH) - 1;
  store<u32>(p, depth, DEPTH);
  if (depth !== 0) return true;
  store<u32>(p, 0, HOLDER);
  memory.copy(p + LOCK_CLOCK, clockOf(cpu), state().seen * 4);
  tick(cpu);
  return true;
}
