// Shared words that are no descriptors, 64 bits each: the only way to them outside this room. Descriptors have cell.ts.
//
// Orders. `observe` needs acquire: whoever reads a word reads what its writer wrote before it published it. `publish` needs
// release. `swap`, `raise` and `replace` need both. A protocol in which two threads each write one word and then read the other's,
// and one of them must see the other, needs sequential consistency, and mmu/tlb.ts has one. Wasm's atomics are
// sequentially consistent, so all five are.

import { POINT_EXCHANGE, POINT_EXCHANGED, POINT_LOST, POINT_READ, POINT_RELEASE, POINT_RELEASED, visit } from "./guard";

/** The word at `p`, and with it all that was written before it was published. */
export function observe(p: usize): u64 {
  visit(POINT_READ, p);
  return atomic.load<u64>(p);
}

/** Publishes `value` and all that was written before it. */
export function publish(p: usize, value: u64): void {
  visit(POINT_RELEASE, p);
  atomic.store<u64>(p, value);
  visit(POINT_RELEASED, p);
}

/** Takes what is there and leaves `value`. */
export function swap(p: usize, value: u64): u64 {
  visit(POINT_EXCHANGE, p);
  const old = atomic.xchg<u64>(p, value);
  visit(POINT_EXCHANGED, p);
  return old;
}

/** Sets `bits` and leaves the others as they are. */
export function raise(p: usize, bits: u64): void {
  visit(POINT_EXCHANGE, p);
  atomic.or<u64>(p, bits);
  visit(POINT_EXCHANGED, p);
}

/** Stores `next` if `old` is still there; true if it was. Another thread may have been faster: the caller looks again. */
export function replace(p: usize, old: u64, next: u64): bool {
  visit(POINT_EXCHANGE, p);
  const won = atomic.cmpxchg<u64>(p, old, next) === old;
  visit(won ? POINT_EXCHANGED : POINT_LOST, p);
  return won;
}
