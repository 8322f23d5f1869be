// Frames: who has which page of the arena, and its reference count.
// A buddy allocator over 4K units gives pages of every granule and start tables side by side,
// each aligned to its size; blocks that are given back are free at once.
//
// Word of a unit (12 bytes):   state u32 | next u32 | previous u32
// state: 0 inside a larger block, FREE|order, TAKEN|order, and SOFTWARE. next and previous are unit numbers + 1.
// While a table waits in limbo (memory/limbo.ts) its last two words link it there and say since when.
//
// The free lists belong to the holder of the pool's lock, which waits for nothing while it holds it. An engine of one walker
// has nobody to keep out: it takes no lock, which would cost as much as the rest of giving a page back.

import { UNIT_BYTES, UNIT_SHIFT } from "../arch/granule";
import { demand, RULE_COUNTED_PAGE, RULE_ORDER, RULE_SPIN } from "../demand";
import { BREACH_DIRTY, breach } from "./guard";
import { base } from "./host";
import { finishGive, holdPage, intendGive } from "./intent";
import {
  COUNT_BYTES,
  FRAME_BYTES,
  HEADER_BYTES,
  Header,
  header,
  isArenaPage,
  ORDERS,
  Pool,
  parallel,
  pool,
  walker,
} from "./layout";
import { acquire, inherit, isHeld, relinquish } from "./spin";

const STATE: usize = 0;
const NEXT: usize = 4;
const PREVIOUS: usize = 8;
const FREE: u32 = 0x100;
const TAKEN: u32 = 0x200;
const KIND: u32 = 0x300;
/** The taken page may hold software state: entries that are neither valid nor zero. */
const SOFTWARE: u32 = 0x400;
const ORDER: u32 = 0xff;
const TOP: u32 = ORDERS - 1;
/** log2 of COUNT_BYTES. */
const COUNT_SHIFT: u32 = 2;
const POISON: u8 = 0xa5;
const POISONED: u64 = 0xa5a5a5a5a5a5a5a5;

function word(h: Header, unit: u32): usize {
  return h.frames + unit * FRAME_BYTES;
}

function unitOf(h: Header, p: usize): u32 {
  return (p - h.arena) >> UNIT_SHIFT;
}

function head(order: u32): usize {
  return changetype<usize>(pool()) + offsetof<Pool>("free0") + (order << 2);
}

function push(h: Header, unit: u32, order: u32): void {
  const list = head(order),
    first = load<u32>(list),
    w = word(h, unit);
  store<u32>(w, FREE | order, STATE);
  store<u32>(w, first, NEXT);
  store<u32>(w, 0, PREVIOUS);
  if (first) store<u32>(word(h, first - 1), unit + 1, PREVIOUS);
  store<u32>(list, unit + 1);
}

function unlink(h: Header, unit: u32, order: u32): void {
  const w = word(h, unit),
    next = load<u32>(w, NEXT),
    previous = load<u32>(w, PREVIOUS);
  if (next) store<u32>(word(h, next - 1), previous, PREVIOUS);
  if (previous) store<u32>(word(h, previous - 1), next, NEXT);
  else store<u32>(head(order), next);
  store<u32>(w, 0, STATE);
}

/** Puts the whole arena on the free list. Once, after layOut. */
export function initFrames(): void {
  const h = header();
  // A memory of the engine's own is zero, and a caller's may hold anything.
  if (isDefined(DEBUG) && base !== HEADER_BYTES) memory.fill(h.arena, POISON, h.arenaBytes);
  for (let unit = h.units; unit; ) {
    unit -= 1 << TOP;
    push(h, unit, TOP);
  }
}

/**
 * A block of 4K << order, zeroed, aligned to its size in physical memory, count of every page 0; 0 when memory is spent.
 * It is in this walker's hand until it is handed over. Precondition: order < ORDERS.
 */
export function takeFrames(order: u32): usize {
  demand(order < ORDERS, RULE_ORDER);
  const h = header();
  if (lock()) return 0;
  const unit = takeUnits(h, order);
  unlock();
  if (unit === 0) return 0;
  const p: usize = h.arena + ((unit - 1) << UNIT_SHIFT);
  if (isDefined(DEBUG)) examine(p, order);
  memory.fill(p, 0, (<usize>1) << (UNIT_SHIFT + order));
  forgetCounts(h, unit - 1, 1 << order);
  return p;
}

function lockWord(): usize {
  return changetype<usize>(pool());
}

function lock(): i32 {
  return parallel() ? acquire(lockWord()) : 0;
}

function unlock(): void {
  if (parallel()) relinquish(lockWord());
}

/** Unit + 1 of a block off the lists, 0 if there is none. Precondition: the lock. */
function takeUnits(h: Header, order: u32): u32 {
  demand(!parallel() || isHeld(lockWord()), RULE_SPIN);
  let from = order;
  while (from < ORDERS && load<u32>(head(from)) === 0) from++;
  if (from >= ORDERS) return 0;
  const found = load<u32>(head(from));
  const unit = found - 1;
  unlink(h, unit, from);
  while (from > order) push(h, unit + (1 << --from), from);
  const w = word(h, unit);
  holdPage(h.arena + (unit << UNIT_SHIFT));
  store<u32>(w, TAKEN | order, STATE);
  const frames = pool();
  frames.taken += 1 << order;
  if (frames.taken > frames.peak) frames.peak = frames.taken;
  return found;
}

/** Debug build: a free page is as it was given back, or as it always was. */
function examine(p: usize, order: u32): void {
  for (let unit = p, end = p + ((<usize>1) << (UNIT_SHIFT + order)); unit < end; unit += UNIT_BYTES) {
    const first = load<u64>(unit);
    let bad = first !== 0 && first !== POISONED;
    for (let at = unit; at < unit + UNIT_BYTES; at += 8) if (load<u64>(at) !== first) bad = true;
    if (bad) breach(BREACH_DIRTY, <u32>unit);
  }
}

/** Is `p` the first byte of a block that is taken? Any pointer into the arena is allowed. */
export function isTaken(p: usize): bool {
  const h = header();
  return (load<u32>(word(h, unitOf(h, p)), STATE) & KIND) === TAKEN;
}

/** log2 of the block's size in units; 0 for a block that is not taken. */
export function orderOf(p: usize): u32 {
  const h = header();
  return load<u32>(word(h, unitOf(h, p)), STATE) & ORDER;
}

/** Gives a block back; buddies merge. False (and nothing done) if `p` is not a taken block. */
export function giveFrames(p: usize): bool {
  if (!isTaken(p)) return false;
  const h = header();
  intendGive(p);
  if (isDefined(DEBUG)) memory.fill(p, POISON, (<usize>1) << (UNIT_SHIFT + orderOf(p)));
  if (lock()) return false;
  const taken = isTaken(p); // two may give the same page back: one of them is wrong
  if (taken) giveUnits(h, unitOf(h, p), orderOf(p));
  finishGive();
  unlock();
  return taken;
}

/** Precondition: the lock, and the units are a taken block. */
function giveUnits(h: Header, unit: u32, order: u32): void {
  demand(!parallel() || isHeld(lockWord()), RULE_SPIN);
  pool().taken -= 1 << order;
  store<u32>(word(h, unit), 0, STATE);
  while (order < TOP) {
    const buddy = unit ^ (1 << order);
    if (load<u32>(word(h, buddy), STATE) !== (FREE | order)) break;
    unlink(h, buddy, order);
    unit &= buddy;
    order++;
  }
  push(h, unit, order);
}

/**
 * The dead `holder` (walker id + 1) lets go of the free lists, which are made anew from the states of the blocks: what it was
 * taking is free, what it was giving back too. True if it had them.
 */
export function recoverFrames(holder: u32): bool {
  if (!inherit(lockWord(), holder)) return false;
  const h = header();
  for (let order: u32 = 0; order < ORDERS; order++) store<u32>(head(order), 0);
  for (let unit: u32 = 0; unit < h.units; ) {
    const w = word(h, unit),
      state = load<u32>(w, STATE);
    if ((state & KIND) !== TAKEN) store<u32>(w, 0, STATE);
    unit += 1 << (state & ORDER);
  }
  pool().taken = h.units;
  for (let unit: u32 = 0; unit < h.units; ) {
    const state = load<u32>(word(h, unit), STATE);
    // What is free comes together again, unit by unit: by now a block that begins here is taken or just made.
    if (state === 0) giveUnits(h, unit, 0);
    unit += 1 << (state & ORDER);
  }
  relinquish(lockWord());
  return true;
}

/** Debug build: is this what a page holds that was given back? */
export function isPoison(descriptor: u64): bool {
  return descriptor === POISONED;
}

/**
 * Software state is about to be written to the table page at `p`. The mark goes when the page is taken anew. Walkers that mark a
 * page at the same time store the same value; who relies on the mark holds the table's lock for writing.
 */
export function markSoftware(p: usize): void {
  const h = header(),
    at = word(h, unitOf(h, p)),
    state = load<u32>(at, STATE);
  if ((state & (KIND | SOFTWARE)) === TAKEN) store<u32>(at, state | SOFTWARE, STATE);
}

/** Is `p` a page of its own, not one of several start tables, to which software state was never written? */
export function isPlain(p: usize): bool {
  const h = header();
  return (load<u32>(word(h, unitOf(h, p)), STATE) & (KIND | SOFTWARE)) === TAKEN;
}

// A taken block in a list of its owner: the words that link free blocks are its own meanwhile.

/** The block that `p` is linked to, as a unit number + 1; and a word beside it. */
export function linkOf(p: usize): u32 {
  const h = header();
  return load<u32>(word(h, unitOf(h, p)), NEXT);
}

export function noteOf(p: usize): u32 {
  const h = header();
  return load<u32>(word(h, unitOf(h, p)), PREVIOUS);
}

export function setLink(p: usize, next: u32): void {
  const h = header();
  store<u32>(word(h, unitOf(h, p)), next, NEXT);
}

export function setNote(p: usize, note: u32): void {
  const h = header();
  store<u32>(word(h, unitOf(h, p)), note, PREVIOUS);
}

/** Unit number + 1 of the block at `p`, and back. */
export function nameOf(p: usize): u32 {
  return unitOf(header(), p) + 1;
}

export function blockNamed(name: u32): usize {
  const h = header();
  return h.arena + ((name - 1) << UNIT_SHIFT);
}

// Reference counts belong to pages: the count of a page is that of its first unit. Every walker has a part of it in an array
// of its own, and only ever adds to that; the parts can be negative, their sum is the count. So a walker in a shared walk
// counts with a plain store to a line that no other walker touches. Who reads the sum holds the lock for
// writing, or the page is its own: all that was added is then visible, since the lock changed hands in between [S2-23].

function part(h: Header, id: u32, unit: u32): usize {
  return h.counts + (id * h.units + unit) * COUNT_BYTES;
}

/** A block of `n` units is new: no references, whoever had some on what it was. */
function forgetCounts(h: Header, unit: u32, n: u32): void {
  for (let id: u32 = 0; id < h.maxWalkers; id++) memory.fill(part(h, id, unit), 0, n * COUNT_BYTES);
}

/** References on the page at `p`. */
export function references(p: usize): i32 {
  demand(isArenaPage(<u32>p, UNIT_SHIFT), RULE_COUNTED_PAGE);
  const h = header(),
    unit = unitOf(h, p);
  let sum = load<i32>(part(h, 0, unit));
  for (let id: u32 = 1; id < h.maxWalkers; id++) sum += load<i32>(part(h, id, unit));
  return sum;
}

/** Adds `n` references, 0 or fewer too. Precondition: this instance is a walker. */
export function addReferences(p: usize, n: i32): void {
  const at: usize = walker().counts + unitOf(header(), p) * COUNT_BYTES;
  store<i32>(at, load<i32>(at) + n);
}

/** One more reference for each of many entries, without a call. */
@final
@unmanaged
export class Reference {
  /** Where this walker's counts would begin if the arena began at 0. Precondition: this instance is a walker. */
  @inline static base(): usize {
    const h = header();
    return walker().counts - (h.arena >> (UNIT_SHIFT - COUNT_SHIFT));
  }

  /** One more reference on the page that holds the entry at `p`: `pageMask` takes the bits below its address off. */
  @inline static add(base: usize, p: usize, pageMask: usize): void {
    const at = base + ((p & pageMask) >> (UNIT_SHIFT - COUNT_SHIFT));
    store<i32>(at, load<i32>(at) + 1);
  }
}
