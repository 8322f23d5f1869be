// Descent: from a descriptor to the table below it, and from the root to the last table on the way to an address.

import { isTable } from "../arch/descriptor";
import {
  ENTRY_BYTES,
  ENTRY_SHIFT,
  entries,
  index,
  LAST_LEVEL,
  levelBits,
  PS_4K,
  PS_16K,
  PS_64K,
  shift,
} from "../arch/granule";
import { demand, RULE_COLUMN, RULE_INPUT_ADDRESS } from "../demand";
import { read } from "../memory/cell";
import { header, isArenaRange, Table } from "../memory/layout";
import { rootOf } from "../memory/tables";
import { tableOf } from "./mmops";

/** The step that every walk makes at every level, so it is inlined. */
@final
@unmanaged
export class Step {
  /**
   * From table descriptor `d` to the table that it names; 0 unless `d` names a table of the arena exactly as this core writes
   * it. Such a descriptor is t.origin plus a multiple of the page size. Rotating the difference moves any stray low bit to the
   * top, so one comparison is enough. The fields of the table are arguments, so that a loop keeps them in locals.
   */
  @inline static down(d: u64, ps: u64, reach: u64, origin: u64, arena: usize): usize {
    const page = rotr<u64>(d - origin, ps);
    return page < reach ? arena + ((<usize>page) << (<usize>ps)) : 0;
  }
}

/** Where the entry of `addr` lies in a table of `level`: with a constant granule and level one shift and one mask. */
function offsetIn(addr: u64, ps: u32, level: i32): usize {
  return <usize>(addr >> (shift(ps, level) - ENTRY_SHIFT)) & ((entries(ps) - 1) << ENTRY_SHIFT);
}

/** Pointer of the table that table descriptor `d` names, 0 when that is no page of this memory. */
export function tableBelow(t: Table, d: u64): usize {
  const table = Step.down(d, t.ps, t.reach, t.origin, header().arena);
  return table ? table : tableOf(t, d);
}

/** Entries of the start tables, side by side. */
export function rootEntries(t: Table): u32 {
  return t.rootPages << levelBits(t.ps);
}

/** Tables and slots are aligned, so their low bits can carry a level: how far it is above the last one. */
const ABOVE_LAST: usize = 7;
/** What `findSlots` gives for an address outside the input space. */
const OUTSIDE: usize = ABOVE_LAST;

/** The pointer in what `descend`, `findSlot` or `findSlots` gave. */
export function pointerIn(found: usize): usize {
  return found & ~ABOVE_LAST;
}

/** The level in what `descend` or `findSlot` gave. */
export function levelIn(found: usize): i32 {
  return LAST_LEVEL - <i32>(found & ABOVE_LAST);
}

function withLevel(p: usize, level: i32): usize {
  return p | <usize>(LAST_LEVEL - level);
}

/** Is what `findSlots` gave the slot of a page? Then it is a plain pointer. */
export function isPageSlot(found: usize): bool {
  return (found & ABOVE_LAST) === 0;
}

/**
 * Descends towards `addr` while entries cover more than 1 << floor bytes and name a table. Returns the table where that ends,
 * with its level in the low bits; 0 for a damaged table, or when the root is gone.
 * Precondition: `addr` lies in the input space.
 */
export function descend(t: Table, addr: u64, floor: u32, shared: bool): usize {
  demand(addr >> t.inputBits === 0, RULE_INPUT_ADDRESS);
  const ps = <u64>t.ps,
    reach = <u64>t.reach,
    origin = t.origin,
    arena: usize = header().arena,
    bits = levelBits(t.ps);
  let table = rootOf(t),
    mask = rootEntries(t) - 1,
    level = t.startLevel;
  if (!table) return 0;
  for (let sh = shift(t.ps, level); sh > floor; sh -= bits) {
    const old = read(table + ((<u32>(addr >> sh) & mask) << ENTRY_SHIFT), shared);
    let below = Step.down(old, ps, reach, origin, arena);
    if (!below) {
      if (!isTable(old, level)) break;
      below = tableOf(t, old);
      if (!below) return 0;
    }
    table = below;
    mask = (1 << bits) - 1;
    level++;
  }
  return withLevel(table, level);
}

/** The slot where the translation of `addr` ends, with its level in the low bits; 0 as `descend`. */
export function findSlot(t: Table, addr: u64, shared: bool): usize {
  const found = descend(t, addr, t.ps, shared);
  if (!found) return 0;
  const level = levelIn(found),
    i = level === t.startLevel ? <u32>(addr >> shift(t.ps, level)) & (rootEntries(t) - 1) : index(t.ps, level, addr);
  return withLevel(pointerIn(found) + (i << ENTRY_SHIFT), level);
}

/** How descriptors are read and written, chosen when the code is compiled. */
@unmanaged
export abstract class Access {
  /** May others walk at the same time? Then a descriptor is read once, by one atomic load [WLK-4]. */
  abstract shared(): bool;
  /** Stores `next` over the snapshot `old` of a leaf; false if another walker was faster. */
  abstract change(p: usize, old: u64, next: u64): bool;
}

/** A granule of which the compiler knows the shifts. */
@unmanaged
abstract class Granule {
  abstract ps(): u32;
}

@final
@unmanaged
class Granule4K extends Granule {
  @inline ps(): u32 {
    return PS_4K;
  }
}

@final
@unmanaged
class Granule16K extends Granule {
  @inline ps(): u32 {
    return PS_16K;
  }
}

@final
@unmanaged
class Granule64K extends Granule {
  @inline ps(): u32 {
    return PS_64K;
  }
}

/**
 * Slots where the translations of `n` addresses end, with their levels as `findSlot` gives them, as u32 at `slots`; OUTSIDE for
 * an address outside the input space. False for a damaged table, or none. Precondition: the columns lie in the arena.
 */
export function findSlots<A extends Access>(t: Table, addrs: usize, slots: usize, n: u32): bool {
  demand(isArenaRange(<u32>addrs, (<u64>n) << ENTRY_SHIFT), RULE_COLUMN);
  if (t.ps === PS_4K) return slotsIn<A, Granule4K>(t, addrs, slots, n);
  return t.ps === PS_16K ? slotsIn<A, Granule16K>(t, addrs, slots, n) : slotsIn<A, Granule64K>(t, addrs, slots, n);
}

/**
 * The inner loop is the common way: through one to three tables of the arena, told as `Step.down` tells them, down to the last
 * level. It has no call, and below the start tables constant shifts. Whatever else it meets ends it; `findSlot` does that row.
 */
function slotsIn<A extends Access, G extends Granule>(t: Table, addrs: usize, slots: usize, n: u32): bool {
  const ps = changetype<G>(0).ps(),
    shared = changetype<A>(0).shared();
  const root = rootOf(t),
    steps = LAST_LEVEL - t.startLevel,
    startShift = shift(ps, t.startLevel) - ENTRY_SHIFT,
    limit = steps > 0 && steps <= 3 ? t.inputEnd : 0,
    reach = <u64>t.reach,
    origin = t.origin,
    arena: usize = header().arena;
  if (!root) return false; // destroy may take it while a lookup without the lock begins
  const end = addrs + (n << ENTRY_SHIFT);
  do {
    while (addrs !== end) {
      const addr = load<u64>(addrs);
      if (addr >= limit) break;
      let below: u64,
        p = root + (<usize>(addr >> startShift) & ~(<usize>ENTRY_BYTES - 1));
      if (steps > 2) {
        below = read(p, shared) - origin;
        if (rotr<u64>(below, ps) >= reach) break;
        p = arena + <usize>below + offsetIn(addr, ps, 1);
      }
      if (steps > 1) {
        below = read(p, shared) - origin;
        if (rotr<u64>(below, ps) >= reach) break;
        p = arena + <usize>below + offsetIn(addr, ps, 2);
      }
      below = read(p, shared) - origin;
      if (rotr<u64>(below, ps) >= reach) break;
      store<u32>(slots, <u32>(arena + <usize>below + offsetIn(addr, ps, LAST_LEVEL)));
      addrs += ENTRY_BYTES;
      slots += 4;
    }
    if (addrs === end) break;
    const addr = load<u64>(addrs);
    const found = addr >= t.inputEnd ? OUTSIDE : findSlot(t, addr, shared);
    if (!found) return false;
    store<u32>(slots, <u32>found);
    addrs += ENTRY_BYTES;
    slots += 4;
  } while (addrs !== end);
  return true;
}
