// One descriptor in memory: the only loads and stores of descriptors in the core.
//
// Orders: an exclusive walk has the table to itself, so plain accesses are enough among walkers.
// A shared walk reads with an atomic load (single copy, not torn: WLK-4), takes a slot with a
// compare-exchange on its snapshot, and publishes with an atomic store: whoever reads the new
// descriptor also reads the table that it names. Wasm atomics are sequentially consistent,
// which is more than the release and acquire that are needed.

import { ENTRY_BYTES } from "../arch/granule";
import { isPoison } from "./frames";
import {
  BREACH_FREED,
  breach,
  POINT_EXCHANGE,
  POINT_EXCHANGED,
  POINT_LOST,
  POINT_READ,
  POINT_RELEASE,
  POINT_RELEASED,
  point,
} from "./guard";

/** The descriptor at `p`, read once. */
export function read(p: usize, shared: bool): u64 {
  if (!shared) return load<u64>(p);
  point(POINT_READ, p);
  const value = atomic.load<u64>(p);
  if (isDefined(DEBUG)) {
    if (isPoison(value)) breach(BREACH_FREED, <u32>p);
  }
  return value;
}

/**
 * Brings the line of the descriptor at `p` near. A compare-exchange lets no later load begin before it has ended, so a row of
 * them waits for one miss after the other; a row of these before it waits for all at once.
 */
export function touch(p: usize): void {
  load<u64>(p);
}

/** Exclusive: writes the descriptor. */
export function write(p: usize, value: u64): void {
  store<u64>(p, value);
}

/** Shared: publishes `value` and all that was written before it. */
export function release(p: usize, value: u64): void {
  point(POINT_RELEASE, p);
  atomic.store<u64>(p, value);
  point(POINT_RELEASED, p);
}

/** Replaces the descriptor by `value`; returns the old one. */
export function exchange(p: usize, value: u64): u64 {
  point(POINT_EXCHANGE, p);
  const old = atomic.xchg<u64>(p, value);
  point(POINT_EXCHANGED, p);
  return old;
}

/** Stores `next` if `old` is still there; true if it was. */
export function compareExchange(p: usize, old: u64, next: u64): bool {
  point(POINT_EXCHANGE, p);
  const won = atomic.cmpxchg<u64>(p, old, next) === old;
  point(won ? POINT_EXCHANGED : POINT_LOST, p);
  return won;
}

// Whole runs, exclusive only: two descriptors a vector. A vector access is not atomic,
// which is why no shared walk may come here.

/** Bytes of four descriptors, and of eight. */
const FOUR: usize = 4 * ENTRY_BYTES;
const EIGHT: usize = 8 * ENTRY_BYTES;

/** Writes `value` into the hole at `p`; returns the next slot. */
export function fillHole(p: usize, value: u64): usize {
  store<u64>(p, value);
  return p + ENTRY_BYTES;
}

/** Writes value, value + step, ... into `holes`, that is while slots are zero; returns where it stopped. */
export function fillHoles(p: usize, end: usize, value: u64, step: u64): usize {
  const eight = p + ((end - p) & ~(EIGHT - 1));
  let pair = i64x2.replace_lane(i64x2.splat(value), 1, value + step);
  const two = i64x2.splat(step << 1);
  while (p !== eight) {
    const seen = v128.or(v128.or(v128.load(p), v128.load(p, 16)), v128.or(v128.load(p, 32), v128.load(p, 48)));
    if (v128.any_true(seen)) break;
    v128.store(p, pair);
    pair = i64x2.add(pair, two);
    v128.store(p, pair, 16);
    pair = i64x2.add(pair, two);
    v128.store(p, pair, 32);
    pair = i64x2.add(pair, two);
    v128.store(p, pair, 48);
    pair = i64x2.add(pair, two);
    p += EIGHT;
  }
  value = <u64>i64x2.extract_lane(pair, 0);
  while (p !== end && load<u64>(p) === 0) {
    store<u64>(p, value);
    value += step;
    p += ENTRY_BYTES;
  }
  return p;
}

/** All ones in the lanes that hold a valid descriptor. */
function validLanes(pair: v128): v128 {
  return i64x2.sub(i64x2.splat(0), v128.and(pair, i64x2.splat(1)));
}

function updatePair(old: v128, off: v128, on: v128): v128 {
  const valid = validLanes(old);
  return v128.or(v128.andnot(old, v128.and(off, valid)), v128.and(on, valid));
}

/** In every valid descriptor of [p, end): clears `clear`, then sets `set`. Invalid ones stay. */
export function updateValid(p: usize, end: usize, clear: u64, set: u64): void {
  const eight = p + ((end - p) & ~(EIGHT - 1));
  const off = i64x2.splat(clear),
    on = i64x2.splat(set);
  while (p !== eight) {
    v128.store(p, updatePair(v128.load(p), off, on));
    v128.store(p, updatePair(v128.load(p, 16), off, on), 16);
    v128.store(p, updatePair(v128.load(p, 32), off, on), 32);
    v128.store(p, updatePair(v128.load(p, 48), off, on), 48);
    p += EIGHT;
  }
  while (p !== end) {
    const old = load<u64>(p);
    if (old & 1) store<u64>(p, (old & ~clear) | set);
    p += ENTRY_BYTES;
  }
}

/** The flag where a valid descriptor has it. */
function flagPair(old: v128, flag: v128): v128 {
  return v128.and(old, v128.and(flag, validLanes(old)));
}

/** True if a valid descriptor of [p, end) has `flag` (one bit, at `at`); with `clear`, clears it in those. */
export function testClear(p: usize, end: usize, at: u32, clear: bool): bool {
  const eight = p + ((end - p) & ~(EIGHT - 1));
  const flag = i64x2.splat((<i64>1) << at);
  let seen = i64x2.splat(0);
  while (p !== eight) {
    const a = v128.load(p),
      b = v128.load(p, 16),
      c = v128.load(p, 32),
      d = v128.load(p, 48);
    const fa = flagPair(a, flag),
      fb = flagPair(b, flag),
      fc = flagPair(c, flag),
      fd = flagPair(d, flag);
    seen = v128.or(seen, v128.or(v128.or(fa, fb), v128.or(fc, fd)));
    if (clear) {
      v128.store(p, v128.xor(a, fa));
      v128.store(p, v128.xor(b, fb), 16);
      v128.store(p, v128.xor(c, fc), 32);
      v128.store(p, v128.xor(d, fd), 48);
    }
    p += EIGHT;
  }
  let any: u64 = v128.any_true(seen) ? 1 : 0;
  while (p !== end) {
    const old = load<u64>(p);
    const flag = old & ((old & 1) << at);
    any |= flag;
    if (clear) store<u64>(p, old ^ flag);
    p += ENTRY_BYTES;
  }
  return any !== 0;
}

/** How many of [p, end) are valid. */
export function countValid(p: usize, end: usize): u32 {
  const four = p + ((end - p) & ~(FOUR - 1));
  const one = i64x2.splat(1);
  let sum = i64x2.splat(0);
  while (p !== four) {
    sum = i64x2.add(sum, i64x2.add(v128.and(v128.load(p), one), v128.and(v128.load(p, 16), one)));
    p += FOUR;
  }
  let n = <u32>(i64x2.extract_lane(sum, 0) + i64x2.extract_lane(sum, 1));
  while (p !== end) {
    n += <u32>load<u64>(p) & 1;
    p += ENTRY_BYTES;
  }
  return n;
}

/** What the invalid lanes hold. */
function softwarePair(old: v128): v128 {
  return v128.andnot(old, validLanes(old));
}

/**
 * Counts valid descriptors from `p` up to the first that is neither valid nor zero (software state, which needs a visit of its
 * own). The upper half of the result is the slot where it stopped, or `end`; the lower half is the count.
 */
export function countMapped(p: usize, end: usize): u64 {
  const eight = p + ((end - p) & ~(EIGHT - 1));
  let sum = i64x2.splat(0),
    software = i64x2.splat(0),
    at = p;
  // Software state is rare: it is looked for after the loop, and then the run ends before it.
  while (at !== eight) {
    const a = v128.load(at),
      b = v128.load(at, 16),
      c = v128.load(at, 32),
      d = v128.load(at, 48);
    sum = i64x2.add(sum, i64x2.add(i64x2.add(validLanes(a), validLanes(b)), i64x2.add(validLanes(c), validLanes(d))));
    const ab = v128.or(softwarePair(a), softwarePair(b));
    software = v128.or(software, v128.or(ab, v128.or(softwarePair(c), softwarePair(d))));
    at += EIGHT;
  }
  // A valid lane is all ones, which is -1.
  let n = -(<i32>(i64x2.extract_lane(sum, 0) + i64x2.extract_lane(sum, 1)));
  if (v128.any_true(software)) {
    at = p;
    n = 0;
  }
  while (at !== end) {
    const old = load<u64>(at);
    if (old & 1) n++;
    else if (old !== 0) break;
    at += ENTRY_BYTES;
  }
  return ((<u64>at) << 32) | n;
}

/** Zeroes [p, end). */
export function clearRun(p: usize, end: usize): void {
  memory.fill(p, 0, end - p);
}
