// The ways of a set: which one an address is in, and which one a new entry takes. Of the entries' own thread.
//
// Each entry has a key, a byte made of its first address. The keys of a set lie side by side, so that a set of 48 ways is searched by
// three comparisons of vectors and not by 48 entries, each in a cache line of its own; so do the clocks of when they were used last. Equal keys mean nothing yet: the entry decides.
// An entry that another thread takes away keeps its key, and has no tag.

import { ones } from "../arch/field";
import { UNIT_SHIFT } from "../arch/granule";
import { demand, RULE_TAG } from "../demand";
import { LANES, Lanes, leastSince } from "../memory/lanes";
import { observe, swap } from "../memory/shared";
import {
  Bank,
  bank,
  ENTRY_BYTES_SHIFT,
  entry,
  hasHoles,
  isFull,
  isHole,
  isThere,
  isUndisturbed,
  KIND_TABLE1,
  keysOf,
  kindOf,
  POLICY_FIFO,
  POLICY_PLRU,
  POLICY_RANDOM,
  plainTag,
  random,
  TAG_VALID,
  Tlb,
  Use,
  usesOf,
} from "./tlb";

const USE_BYTES: u32 = 4;
/** 2^32 over the golden ratio: pages side by side get keys far apart. */
const SPREAD: u32 = 0x9e3779b1;

/** The keys of a bank: every look-up compares them, so this is inlined. */
@final
@unmanaged
export class Keys {
  /** The key of an entry that begins at `base`. */
  @inline static of(base: u64): u32 {
    return (<u32>(base >> UNIT_SHIFT) * SPREAD) >> 24;
  }
}

/** Number of the first way, counted over the bank, of the set for an address in entries of 2^size bytes. */
export function firstWay(b: Bank, addr: u64, size: u32): u32 {
  return (<u32>(addr >> size) & (b.sets - 1)) * b.ways;
}

/** The entry of a way, counted over the bank. */
export function entryOf(b: Bank, way: u32): usize {
  return b.pointer + (way << ENTRY_BYTES_SHIFT);
}

function isTagged(tag: u64, tagged: u64, shared: u64): bool {
  const plain = plainTag(tag);
  return plain === tagged || plain === shared;
}

/**
 * The entry for an address under one of two tags, or 0; how many there are in t.matches. `tagged` tells `shared`: an access that is tried
 * again asks for the same.
 */
export function find(t: Tlb, b: Bank, tagged: u64, shared: u64, addr: u64): usize {
  let found: usize = 0;
  t.matches = 0;
  if (tagged === b.absentTag && addr === b.absent) return 0;
  if (!isThere(b)) return 0;
  const ways = b.ways,
    entries: usize = b.pointer,
    keys = keysOf(b);
  for (let sizes = b.present; sizes !== 0; sizes &= sizes - 1) {
    const size = <u32>ctz(sizes),
      inside = ones(size),
      base = addr & ~inside,
      first = firstWay(b, addr, size),
      key = Keys.of(base);
    for (let i: u32 = 0; i < ways; i += LANES) {
      for (let some = Lanes.equal(keys + first + i, ways - i, key); some !== 0; some &= some - 1) {
        const p = entries + ((first + i + <u32>ctz(some)) << ENTRY_BYTES_SHIFT),
          e = entry(p);
        if (e.base !== base || e.mask !== ~inside) continue;
        const tag = observe(p);
        if (!isTagged(tag, tagged, shared) || isHole(e, tag, addr)) continue;
        t.matches++;
        if (!found) found = p;
      }
    }
  }
  if (!found) {
    b.absent = addr;
    b.absentTag = tagged;
  }
  return found;
}

/** The entry at `p`, one of the bank's, is used now. */
export function touch(t: Tlb, b: Bank, p: usize): void {
  Use.at(Use.base(b), p, ++t.clock);
}

/** Down the tree of `n` ways whose uses begin at `p`, each time away from what was used last. */
function leastOfTree(p: usize, n: u32, now: u32): usize {
  while (n > 1) {
    const half = (n + 1) >> 1,
      right = p + half * USE_BYTES,
      left = leastSince(p, right, now),
      other = leastSince(right, p + n * USE_BYTES, now);
    n = left >= other ? half : n - half;
    p = left >= other ? p : right;
  }
  return p;
}

/** The way that makes room in the set whose first way is `first`. */
function victim(t: Tlb, b: Bank, first: u32): u32 {
  const uses = usesOf(b);
  if (b.policy === POLICY_PLRU) return (leastOfTree(uses + first * USE_BYTES, b.ways, t.clock) - uses) / USE_BYTES;
  if (b.policy === POLICY_RANDOM) return first + (random(t) % b.ways);
  let oldest = first,
    most: u32 = 0;
  for (let i: u32 = 0, w = first; i < b.ways; i++, w++) {
    const since = t.clock - (b.policy === POLICY_FIFO ? entry(entryOf(b, w)).born : Lanes.word(uses + w * USE_BYTES));
    if (since > most) {
      most = since;
      oldest = w;
    }
  }
  return oldest;
}

/** The way for a new entry: its own from before, an empty one, or the victim. `first`: of the set. */
function wayFor(t: Tlb, b: Bank, first: u32, tag: u64, base: u64, held: u64): u32 {
  const ways = b.ways,
    keys = keysOf(b) + first,
    key = Keys.of(base);
  for (let i: u32 = 0; i < ways; i += LANES) {
    for (let some = Lanes.equal(keys + i, ways - i, key); some !== 0; some &= some - 1) {
      const w = first + i + <u32>ctz(some),
        p = entryOf(b, w),
        e = entry(p);
      if (e.base === base && e.mask === held && plainTag(observe(p)) === plainTag(tag)) return w;
    }
  }
  if (!isFull(b)) {
    for (let i: u32 = 0; i < ways; i++) if (observe(entryOf(b, first + i)) === 0) return first + i;
  }
  return victim(t, b, first);
}

/** The largest size not above `size` that a bank holds, or 0 [HWM-42]. */
function heldSize(b: Bank, size: u32): u32 {
  const fitting = b.sizes & ones(size + 1);
  return fitting && isThere(b) ? 63 - <u32>clz(fitting) : 0;
}

/** Takes away whatever entry is at `p`; whether there was one. Of the entries' own thread: no other makes new ones. */
export function empty(p: usize): bool {
  return swap(p, 0) !== 0;
}

/**
 * A new entry for `addr` -> `out`, exact addresses inside of a leaf of 2^size bytes; its pointer, or 0. `tag` has no holes.
 * Of the entries' own thread.
 */
export function put(t: Tlb, i: u32, tag: u64, addr: u64, out: u64, size: u32, info: u64, meta: u64, ipa: u64): usize {
  demand((tag & TAG_VALID) !== 0 && !hasHoles(tag), RULE_TAG);
  const b = bank(t, i),
    held = heldSize(b, size);
  if (held === 0) return 0;
  const inside = ones(held),
    base = addr & ~inside,
    way = wayFor(t, b, firstWay(b, addr, held), tag, base, ~inside),
    p = entryOf(b, way),
    e = entry(p),
    offset = kindOf(tag) >= KIND_TABLE1 ? 0 : inside; // where a table lies has nothing to do with what it maps
  e.base = base;
  e.mask = ~inside;
  e.out = out & ~offset;
  e.info = info;
  e.meta = meta;
  e.ipa = ipa & ~offset;
  touch(t, b, p);
  e.born = t.clock;
  Lanes.setByte(keysOf(b) + way, Keys.of(base));
  b.present |= (<u64>1) << held;
  b.absentTag = 0;
  // Until here a thread that invalidates sees the old tag, and may take it away by what it reads here of either: both have gone afterwards.
  if (swap(p, tag) !== 0) b.evicted++;
  const stands = isUndisturbed(t);
  if (!stands && empty(p)) return 0; // discarded: as if it had never been there
  b.inserts++;
  return stands ? p : 0;
}
