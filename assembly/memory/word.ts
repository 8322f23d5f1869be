// The words that walkers share, apart from descriptors (memory/cell.ts): the only other atomic accesses of the core.
//
// Every atomic access of Wasm is sequentially consistent. What each protocol needs of that:
//   a lock word      acquire when it is taken, release when it is let go
//   a walker's slot  its store must not pass the load of the lock word after it, nor a writer's store its look into the
//   and a lock word  slots: one of the two must see the other, which takes sequential consistency (memory/lock.ts)
//   the epoch        as the slot: entered before the first descriptor is read, left after the last
//   a table's root   acquire: it is read after the slot says that this walker is inside, and not before
//   counters         none: atomic only so that nothing that is added is lost

/** The word at `p`; nothing after it is read earlier. */
export function peek(p: usize): u32 {
  return atomic.load<u32>(p);
}

/** Stores `value`; whoever reads it sees all that was written before. */
export function publish(p: usize, value: u32): void {
  atomic.store<u32>(p, value);
}

/** Turns `from` into `to`; true if it was `from`. Of several callers one has it. */
export function claim(p: usize, from: u32, to: u32): bool {
  return atomic.cmpxchg<u32>(p, from, to) === from;
}

/** Leaves `value` and returns what was there. */
export function swap(p: usize, value: u32): u32 {
  return atomic.xchg<u32>(p, value);
}

/** Adds `n` and returns what was there before. */
export function add(p: usize, n: u32): u32 {
  return atomic.add<u32>(p, n);
}

/** The same three for a word of 64 bits. */
export function peek64(p: usize): u64 {
  return atomic.load<u64>(p);
}

export function publish64(p: usize, value: u64): void {
  atomic.store<u64>(p, value);
}

export function add64(p: usize, n: u64): u64 {
  return atomic.add<u64>(p, n);
}

/**
 * Sleeps while the word at `p` is `value`, `nanoseconds` at most. Precondition: this thread may sleep. It does nothing else, and is never
 * inlined (bindings/core/cold.mjs): V8 11.3 loses what a function holds in registers when it sleeps.
 */
export function sleepWhile(p: usize, value: u32, nanoseconds: i64): void {
  atomic.wait<i32>(p, value, nanoseconds);
}

/** Wakes everybody who sleeps on `p`. */
export function wakeAll(p: usize): void {
  atomic.notify(p, -1);
}
