// Descent: from a descriptor to the table below it, and from the root to the last table on the way to an address.

import { isTable } from "../arch/descriptor";
import { ENTRY_SHIFT, FIRST_LEVEL, LAST_LEVEL, levelBits, pageBytes, shift } from "../arch/granule";
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
   * From table descriptor `d` to `offset` bytes into the table that it names; 0 unless `d` names a table of the arena exactly
   * as this core writes it. Such a descriptor is t.origin plus a multiple of the page size. Rotating the difference moves any
   * stray low bit to the top, so one comparison is enough. The fields of the table are arguments, so that a loop keeps them in
   * locals.
   */
  @inline static down(d: u64, offset: usize, ps: u64, reach: u64, origin: u64, arena: usize): usize {
    const page = rotr<u64>(d - origin, ps);
    return page < reach ? arena + ((<usize>page) << (<usize>ps)) + offset : 0;
  }
}

/** Pointer of the table that table descriptor `d` names, 0 when that is no page of this memory. */
export function tableBelow(t: Table, d: u64): usize {
  const table = Step.down(d, 0, t.ps, t.reach, t.origin, header().arena);
  return table ? table : tableOf(t, d);
}

/** Entries of the start tables, side by side. */
export function rootEntries(t: Table): u32 {
  return t.rootPages << levelBits(t.ps);
}

/** Tables and slots are aligned, so their low bits can carry a level: level - FIRST_LEVEL. */
const LEVEL_MASK: usize = 7;

/** The pointer in what `descend` or `findSlot` returned. */
export function pointerIn(found: usize): usize {
  return found & ~LEVEL_MASK;
}

/** The level in what `descend` or `findSlot` returned. */
export function levelIn(found: usize): i32 {
  return <i32>(found & LEVEL_MASK) + FIRST_LEVEL;
}

/**
 * Descends towards `addr` while entries cover more than 1 << floor bytes and name a table. Returns the slot where that ends, with its
 * level in the low bits; 0 for a damaged table, or when the root is gone. Precondition: `addr` lies in the input space.
 */
function slotAbove(t: Table, addr: u64, floor: u32, shared: bool): usize {
  demand(addr >> t.inputBits === 0, RULE_INPUT_ADDRESS);
  const ps = <u64>t.ps,
    reach = <u64>t.reach,
    origin = t.origin,
    arena: usize = header().arena,
    bits = levelBits(t.ps),
    mask = (((<usize>1) << bits) - 1) << ENTRY_SHIFT,
    root = rootOf(t);
  if (!root) return 0;
  let level = t.startLevel,
    sh = shift(t.ps, level),
    p = root + ((<usize>(addr >> sh)) << ENTRY_SHIFT);
  for (; sh > floor; level++) {
    const old = read(p, shared);
    sh -= bits;
    const inside = <usize>(addr >> (sh - ENTRY_SHIFT)) & mask;
    let below = Step.down(old, inside, ps, reach, origin, arena);
    if (!below) {
      if (!isTable(old, level)) break;
      below = tableOf(t, old);
      if (!below) return 0;
      below += inside;
    }
    p = below;
  }
  return p | (level - FIRST_LEVEL);
}

/** The table where `slotAbove` ends, with its level in the low bits; 0 as there. */
export function descend(t: Table, addr: u64, floor: u32, shared: bool): usize {
  const found = slotAbove(t, addr, floor, shared),
    level = levelIn(found);
  if (!found || level !== t.startLevel) return found & ~((<usize>pageBytes(t.ps) - 1) & ~LEVEL_MASK);
  // The start tables lie side by side.
  return found - ((<usize>(addr >> shift(t.ps, level))) << ENTRY_SHIFT);
}

/** The slot where the translation of `addr` ends, with its level in the low bits; 0 as `slotAbove`. */
export function findSlot(t: Table, addr: u64, shared: bool): usize {
  return slotAbove(t, addr, t.ps, shared);
}

/** How descriptors are read and written, chosen when the code is compiled. */
@unmanaged
export abstract class Access {
  /** May others walk at the same time? Then a descriptor is read once, by one atomic load [WLK-4]. */
  abstract shared(): bool;
}

/**
 * Slots where the translations of `n` addresses end, 0 for none, as u64 at `slots`; their levels as i8 at `levels`, -128 for
 * an address outside the input space. False for a damaged table, or none. Preconditions: the columns lie in the arena.
 * The common path, through tables of the arena down to the last level, has no loop over levels and keeps all constants in
 * locals; `findSlot` handles every other case.
 */
export function findSlots<A extends Access>(t: Table, addrs: usize, slots: usize, levels: usize, n: u32): bool {
  demand(isArenaRange(<u32>addrs, (<u64>n) << ENTRY_SHIFT), RULE_COLUMN);
  const shared = changetype<A>(0).shared();
  const root = rootOf(t),
    inputBits = t.inputBits,
    steps = LAST_LEVEL - t.startLevel,
    bits = levelBits(t.ps);
  const rootMask = (rootEntries(t) - 1) << ENTRY_SHIFT,
    mask = ((1 << bits) - 1) << ENTRY_SHIFT,
    rootShift = shift(t.ps, t.startLevel) - ENTRY_SHIFT;
  const shift3 = t.ps - ENTRY_SHIFT,
    shift2 = shift3 + bits,
    shift1 = shift2 + bits,
    shift0 = shift1 + bits;
  const ps = <u64>t.ps,
    reach = <u64>t.reach,
    origin = t.origin,
    arena = header().arena;
  if (!root) return false; // destroy may take it while a lookup without the lock begins
  for (const end = addrs + (n << 3); addrs !== end; addrs += 8, slots += 8, levels++) {
    const addr = load<u64>(addrs);
    let p: usize = 0,
      level: i32 = LAST_LEVEL;
    if (addr >> inputBits === 0) {
      p = root + (<u32>(addr >> rootShift) & rootMask);
      if (steps > 3) p = Step.down(read(p, shared), <u32>(addr >> shift0) & mask, ps, reach, origin, arena);
      if (steps > 2 && p) p = Step.down(read(p, shared), <u32>(addr >> shift1) & mask, ps, reach, origin, arena);
      if (steps > 1 && p) p = Step.down(read(p, shared), <u32>(addr >> shift2) & mask, ps, reach, origin, arena);
      if (steps > 0 && p) p = Step.down(read(p, shared), <u32>(addr >> shift3) & mask, ps, reach, origin, arena);
      if (!p) {
        const found = findSlot(t, addr, shared);
        if (!found) return false;
        p = pointerIn(found);
        level = levelIn(found);
      }
    } else {
      level = i8.MIN_VALUE;
    }
    store<u64>(slots, p);
    store<i8>(levels, <i8>level);
  }
  return true;
}
