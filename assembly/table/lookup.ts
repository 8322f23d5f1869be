// Reading a table: one leaf, many leaves, counting. Scans of all entries are in scan.ts.

import { isTable, isValid } from "../arch/descriptor";
import { ENTRY_BYTES, ENTRY_SHIFT, LAST_LEVEL } from "../arch/granule";
import { countValid, read } from "../memory/cell";
import { EBUSY, EFAULT, EINVAL, OK } from "../memory/errno";
import { parallel, scratch, T_BARRIER, T_HYP, Table } from "../memory/layout";
import { MODE_EXCLUSIVE, MODE_NONE } from "../memory/lock";
import { rootOf } from "../memory/tables";
import { Answer, result } from "../record/result";
import { Access, findSlot, findSlots, isPageSlot, levelIn, pointerIn } from "./down";
import { Alone, Among } from "./place";
import { begin, end, modeOf, SHARES_READ } from "./sharing";
import { close, EntryWalk, LEAF, LeafOnly, OneByOne, openAs, SHARED, skip, Walk, walk } from "./walk";

/** Finds where the translation of one page ends: slot, descriptor and level. Precondition: the walk is an EntryWalk. */
@final
@unmanaged
export class LeafVisitor extends OneByOne {
  @inline leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    const seen = changetype<EntryWalk>(w);
    seen.old = old;
    seen.level = level;
    seen.slot = <u32>p;
    return OK;
  }
}

/** Opens a walk that has visited nothing yet; null when walks are nested too deep. */
export function openEntry(t: Table, flags: u32, level: i32): EntryWalk {
  const w = openAs<EntryWalk>(t, flags);
  if (!w) return w;
  w.old = 0;
  w.level = level;
  w.slot = 0;
  return w;
}

/** Walk flags of a lookup. If others may change the table meanwhile, each descriptor is read once, by one atomic load [WLK-4]. */
function lookupFlags(t: Table): u32 {
  return parallel() && (t.flags & (T_HYP | T_BARRIER)) !== T_HYP ? LEAF | SHARED : LEAF;
}

/** The leaf at `addr` and its level, as an Answer; of a hole, the level where the walk ended [WLK-14]. */
export function getLeaf(t: Table, addr: u64): i32 {
  const w = openEntry(t, lookupFlags(t), LAST_LEVEL);
  if (!w) return EBUSY;
  const r = walk<LeafVisitor>(w, addr, 1);
  const answer = result<Answer>();
  answer.value = w.old;
  answer.level = w.level;
  close();
  return r;
}

/** Addresses whose last descriptors are read together. */
export const GROUP: u32 = 256;

/**
 * Leaves of many addresses in one call: `n` u64 at `addrs` -> `n` u64 at `leaves`, `n` i8 at `levels`.
 * An address outside the input space gives leaf 0 and level -128. 0, or EFAULT for a damaged table.
 * Preconditions: the three columns lie in the arena.
 *
 * Two passes over a group: the first finds the slots, the second reads them. No load of the second pass depends on another,
 * so their cache misses overlap.
 */
export function getLeaves(t: Table, addrs: usize, leaves: usize, levels: usize, n: u32): i32 {
  const mode = modeOf(t, SHARES_READ, 0);
  if (mode === MODE_NONE || mode === MODE_EXCLUSIVE) {
    const bad = begin(t, mode);
    if (bad) return bad;
    const r = leavesOf<Alone>(t, addrs, leaves, levels, n);
    end(t, mode);
    return r;
  }
  // The lock is taken for one group at a time, so that no writer waits for a whole column.
  for (let i: u32 = 0; i < n; i += GROUP) {
    const bad = begin(t, mode);
    if (bad) return bad;
    const r = leavesOf<Among>(t, addrs + (i << 3), leaves + (i << 3), levels + i, min(n - i, GROUP));
    end(t, mode);
    if (r) return r;
  }
  return OK;
}

function leavesOf<A extends Access>(t: Table, addrs: usize, leaves: usize, levels: usize, n: u32): i32 {
  if (!rootOf(t)) return EINVAL;
  for (const end = levels + n; levels !== end; ) {
    const group = min(<u32>(end - levels), GROUP);
    if (!findSlots<A>(t, addrs, scratch(), group)) return rootOf(t) ? EFAULT : EINVAL;
    if (!readGroup<A>(t, addrs, leaves, levels, group)) return EFAULT;
    addrs += group << ENTRY_SHIFT;
    leaves += group << ENTRY_SHIFT;
    levels += group;
  }
  return OK;
}

/** Reads the slots of a group; false for a damaged table. Slots of pages need no call. */
function readGroup<A extends Access>(t: Table, addrs: usize, leaves: usize, levels: usize, n: u32): bool {
  const end = levels + n;
  let slot = scratch();
  do {
    while (levels !== end) {
      const p = <usize>load<u32>(slot);
      if (!isPageSlot(p)) break;
      store<u64>(leaves, read(p, changetype<A>(0).shared()));
      store<i8>(levels, LAST_LEVEL);
      slot += 4;
      addrs += ENTRY_BYTES;
      leaves += ENTRY_BYTES;
      levels++;
    }
    if (levels === end) break;
    if (!readAbove<A>(t, load<u32>(slot), load<u64>(addrs), leaves, levels)) return false;
    slot += 4;
    addrs += ENTRY_BYTES;
    leaves += ENTRY_BYTES;
    levels++;
  } while (levels !== end);
  return true;
}

/** Reads a slot above the last level, or none; false for a damaged table. */
function readAbove<A extends Access>(t: Table, found: usize, addr: u64, leaf: usize, levelAt: usize): bool {
  const p = pointerIn(found),
    level = levelIn(found),
    shared = changetype<A>(0).shared(),
    old: u64 = p ? read(p, shared) : 0;
  store<u64>(leaf, old);
  store<i8>(levelAt, p ? <i8>level : i8.MIN_VALUE);
  return !shared || !isTable(old, level) || leafBelow(t, addr, leaf, levelAt);
}

/** The entry has become a table since it was found: stores the leaf below it at `leaf`. False for a damaged table. */
function leafBelow(t: Table, addr: u64, leaf: usize, levelAt: usize): bool {
  let level: i32, old: u64;
  do {
    const found = findSlot(t, addr, true);
    if (!found) return false;
    level = levelIn(found);
    old = read(pointerIn(found), true);
  } while (isTable(old, level));
  store<u64>(leaf, old);
  store<i8>(levelAt, <i8>level);
  return true;
}

/** A walk that counts. */
@unmanaged
class CountWalk extends Walk {
  leaves: u64;
}

@final
@unmanaged
class CountVisitor extends LeafOnly {
  bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    if (level !== LAST_LEVEL) return p;
    changetype<CountWalk>(w).leaves += countValid(p, end);
    return skip(w, p, end, level);
  }

  @inline leaf(w: Walk, _p: usize, old: u64, _level: i32): i32 {
    if (isValid(old)) changetype<CountWalk>(w).leaves++;
    return OK;
  }
}

/** Answers how many valid leaves the range has: a LEAF walk with a counting visitor. */
export function countLeaves(t: Table, addr: u64, size: u64): i32 {
  const w = openAs<CountWalk>(t, LEAF);
  if (!w) return EBUSY;
  w.leaves = 0;
  const r = walk<CountVisitor>(w, addr, size);
  result<Answer>().value = w.leaves;
  close();
  return r;
}
