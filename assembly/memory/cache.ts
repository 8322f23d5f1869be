// Page caches: pages taken before a lock, so that a walk never has to wait for memory [MC-1..8].
// A cache is a block of the arena:  capacity | count | ps | magic + walker | page, page, ...
// It belongs to the walker that made it; no other may use it, so nothing of it is atomic. The caches of a walker are linked
// (by the words of their frames, as free blocks are), so that a burial finds them.

import { isGranule, PS_4K, PS_16K, UNIT_SHIFT } from "../arch/granule";
import { demand, RULE_CACHE } from "../demand";
import { EINVAL, ENOMEM, MAX_ERRNO, OK } from "./errno";
import { blockNamed, giveFrames, isTaken, linkOf, nameOf, orderOf, setLink, takeFrames } from "./frames";
import { maySleep } from "./guard";
import { COUNTED, handOver, holdPage, intendGive } from "./intent";
import { header, isArenaPage, ORDERS, Walker, walker } from "./layout";

/** Pages that Linux/arm64 keeps ready for a vCPU [MC-1]. */
export const CACHE_CAPACITY: u32 = 40;
/** In place of a cache: no limit, pages come straight from the arena. */
export const CACHE_ARENA: u32 = 1;
/** In place of a cache: the one that this walker has for itself, made and topped up when it is needed [MC-7]. */
export const CACHE_OWN: u32 = 2;
/** In place of a cache: there is none; a walk that needs a page fails. */
export const CACHE_NONE: u32 = 0;
const COUNT: usize = 4;
const PS: usize = 8;
const MAGIC_AT: usize = 12;
const PAGES: usize = 16;
const MAGIC: u32 = 0x68636163; // "cach"

function slot(cache: u32, i: u32): usize {
  return cache + PAGES + (i << 2);
}

/** Slots of the block, from its size: its own words are in memory that the host can write. */
function slots(cache: u32): u32 {
  return ((1 << (UNIT_SHIFT + orderOf(cache))) - <u32>PAGES) >> 2;
}

/** Pages in a cache, not more than it has slots. */
function countOf(cache: u32): u32 {
  return min(load<u32>(cache, COUNT), slots(cache));
}

function capacityOf(cache: u32): u32 {
  return min(load<u32>(cache), slots(cache));
}

/** Page `i`; 0 if the slot does not hold a taken page. */
function pageAt(cache: u32, i: u32, ps: u32): usize {
  const p = load<u32>(slot(cache, i));
  return isArenaPage(p, ps) && isTaken(p) ? p : 0;
}

/** Is `cache` a cache for pages of 1 << ps, or one of the two stand-ins? Any u32 is allowed. */
export function isCache(cache: u32, ps: u32): bool {
  if (cache <= CACHE_ARENA) return true;
  if (!isArenaPage(cache, UNIT_SHIFT)) return false;
  return isTaken(cache) && isMine(cache) && load<u32>(cache, PS) === ps;
}

function ownWord(w: Walker, ps: u32): usize {
  const first = changetype<usize>(w) + offsetof<Walker>("cache0");
  return first + (ps === PS_4K ? 0 : ps === PS_16K ? 4 : 8);
}

/** What `cache` stands for: this walker's own cache in place of CACHE_OWN, made if there is none yet; CACHE_NONE if memory is spent. */
export function resolve(cache: u32, ps: u32): u32 {
  if (cache !== CACHE_OWN) return cache;
  const word = ownWord(walker(), ps);
  const own = load<u32>(word);
  if (own !== 0 && isCache(own, ps)) return own;
  const made = createCache(ps, CACHE_CAPACITY);
  if (made < 0 && made >= -MAX_ERRNO) return CACHE_NONE;
  store<u32>(word, made);
  return <u32>made;
}

/** Gives back this walker's own caches, with their pages. */
export function giveOwn(): void {
  for (let i: usize = 0; i < 3; i++) {
    const word = changetype<usize>(walker()) + offsetof<Walker>("cache0") + (i << 2);
    const own = load<u32>(word);
    store<u32>(word, 0);
    if (isArenaPage(own, UNIT_SHIFT) && isTaken(own) && isMine(own)) destroyCache(own);
  }
}

function isMine(cache: u32): bool {
  return load<u32>(cache, MAGIC_AT) === MAGIC + walker().id;
}

/** Walker `w` is dead: gives back all its caches, with their pages. False if one could not be given back. */
export function giveAll(w: Walker): bool {
  w.cache0 = 0;
  w.cache1 = 0;
  w.cache2 = 0;
  while (w.caches !== 0) {
    const cache = <u32>blockNamed(w.caches),
      ps = load<u32>(cache, PS);
    if (!isTaken(cache) || load<u32>(cache, MAGIC_AT) !== MAGIC + w.id) break; // its owner gave the block itself away
    if ((w.hand & ~COUNTED) === cache) w.hand = 0;
    for (let n = countOf(cache); n !== 0; ) {
      const p = pageAt(cache, --n, ps);
      if ((w.hand & ~COUNTED) === <u32>p) w.hand = 0; // it was about to leave the cache, or had just come
      if (p && !giveFrames(p)) return false;
      store<u32>(cache, n, COUNT);
    }
    const next = linkOf(cache);
    if (!giveFrames(cache)) return false;
    w.caches = next;
  }
  w.caches = 0;
  return true;
}

/** Makes an empty cache; its pointer, or a negative errno. */
export function createCache(ps: u32, capacity: u32): i32 {
  if (!isGranule(ps) || capacity === 0) return EINVAL;
  const bytes = PAGES + ((<u64>capacity) << 2);
  let order: u32 = 0;
  while (order < ORDERS && (<u64>1) << (UNIT_SHIFT + order) < bytes) order++;
  if (order >= ORDERS) return EINVAL;
  const cache = takeFrames(order);
  if (!cache) return ENOMEM;
  store<u32>(cache, capacity);
  store<u32>(cache, ps, PS);
  store<u32>(cache, MAGIC + walker().id, MAGIC_AT);
  setLink(cache, walker().caches);
  walker().caches = nameOf(cache);
  handOver();
  return <i32>cache;
}

/** Pages in a real cache. */
export function cached(cache: u32): u32 {
  return countOf(cache);
}

/** At least `min` pages, and then as many as fit [MC-2, MC-3]. ENOMEM only below `min`. Precondition: a real cache. */
export function topUp(cache: u32, min: u32): i32 {
  demand(cache > CACHE_ARENA && isCache(cache, load<u32>(cache, PS)), RULE_CACHE);
  let n = countOf(cache);
  maySleep();
  if (n >= min) return OK;
  const capacity = capacityOf(cache),
    order = load<u32>(cache, PS) - UNIT_SHIFT;
  if (min > capacity) return EINVAL;
  while (n < capacity) {
    const p = takeFrames(order);
    if (!p) break;
    put(cache, n++, p);
  }
  return n >= min ? OK : ENOMEM;
}

/** The page in hand becomes page `i` of the cache, and its last. */
function put(cache: u32, i: u32, p: usize): void {
  store<u32>(slot(cache, i), p);
  store<u32>(cache, i + 1, COUNT);
  handOver();
}

/** Holds exactly `n` pages afterwards, if memory allows. */
export function fillTo(cache: u32, n: u32): i32 {
  if (n > capacityOf(cache)) return EINVAL;
  const ps = load<u32>(cache, PS),
    order = ps - UNIT_SHIFT;
  let have = countOf(cache);
  while (have > n) {
    const p = pageAt(cache, --have, ps);
    if (p) intendGive(p);
    store<u32>(cache, have, COUNT);
    if (p) giveFrames(p);
  }
  while (have < n) {
    const p = takeFrames(order);
    if (!p) break;
    put(cache, have++, p);
  }
  return have === n ? OK : ENOMEM;
}

/** A zeroed page with count 0, or 0 when there is none [MC-4]. `cache` passed `isCache`. */
export function takePage(cache: u32, ps: u32): usize {
  if (cache === CACHE_NONE) return 0;
  if (cache === CACHE_ARENA) return takeFrames(ps - UNIT_SHIFT);
  const n = countOf(cache);
  // A range may take more than one fault's worth: the walker's own cache then tries the arena, which waits for nothing [MC-4].
  if (n === 0) return load<u32>(ownWord(walker(), ps)) === cache ? takeFrames(ps - UNIT_SHIFT) : 0;
  const p = pageAt(cache, n - 1, ps);
  holdPage(p);
  store<u32>(cache, n - 1, COUNT);
  return p;
}

/** Pages that a walk could take; the arena counts as endless. */
export function available(cache: u32): u32 {
  if (cache === CACHE_NONE) return 0;
  return cache === CACHE_ARENA ? u32.MAX_VALUE : countOf(cache);
}

/** Takes the cache out of this walker's list. It goes back to the arena. */
function unlist(cache: u32): void {
  const w = walker(),
    name = nameOf(cache);
  intendGive(cache);
  if (w.caches === name) {
    w.caches = linkOf(cache);
    return;
  }
  // Bounded: a host that frees the block of a cache as a plain block can turn the list into a ring.
  for (let at = w.caches, n = header().units; at !== 0 && n !== 0; at = linkOf(blockNamed(at)), n--) {
    if (linkOf(blockNamed(at)) === name) return setLink(blockNamed(at), linkOf(cache));
  }
}

/** Gives back the pages and the cache [MC-5]. */
export function destroyCache(cache: u32): void {
  fillTo(cache, 0);
  unlist(cache);
  store<u32>(cache, 0, MAGIC_AT);
  giveFrames(cache);
}
