// Dirty rings: each vCPU has a ring of the pages that it stored to, which the VMM collects [RNG-1..12].
//
//   Ring:  entries (a power of two)   dirty index   reset index   how often it was full   then the entries
//   Entry: flags u32 (0 free, 1 dirty)   slot u32   page u64
//
// The vCPU's thread pushes, one collector at a time takes: it reads the flags before the rest of an entry (acquire), and frees it
// after (release). The collector here is VMM and kernel in one, so an entry goes from dirty to free at once. Indices run freely;
// their difference is what is used. At the soft limit a vCPU stops before it enters the guest: what it can push until it
// looks again fits into the reserve [RNG-7, RNG-8].

import { UNIT_BYTES } from "../../arch/granule";
import { giveFrames, takeFrames } from "../../memory/frames";
import { handOver } from "../../memory/intent";
import { ORDERS } from "../../memory/layout";
import { peek, publish } from "../../memory/word";
import { slotNamed } from "../slots";
import { Slot, Vm } from "../state";
import { mark } from "./bitmap";
import { protectPages } from "./protect";

/** Entries that a vCPU may push between two looks at its ring. */
export const RING_RESERVED: u32 = 64;
const DIRTY: u32 = 1;
const FREE: u32 = 0;

@unmanaged
class Ring {
  entries: u32;
  dirty: u32;
  reset: u32;
  /** Times that its vCPU stopped because of it. */
  full: u32;
}

@unmanaged
class RingEntry {
  flags: u32;
  slot: u32;
  page: u64;
}

const RING_BYTES: u32 = <u32>offsetof<Ring>();
const ENTRY_BYTES: u32 = <u32>offsetof<RingEntry>();

function ringAt(p: u32): Ring {
  return changetype<Ring>(p);
}

function entryAt(r: Ring, index: u32): RingEntry {
  return changetype<RingEntry>(changetype<usize>(r) + RING_BYTES + (index & (r.entries - 1)) * ENTRY_BYTES);
}

/** A ring of `entries`, a power of two above the reserve; 0 when memory is spent, or for a size that cannot be [RNG-3]. */
export function createRing(entries: u32): u32 {
  if ((entries & (entries - 1)) !== 0 || entries <= RING_RESERVED) return 0;
  let order: u32 = 0;
  while (order < ORDERS && (<u64>UNIT_BYTES) << order < RING_BYTES + <u64>entries * ENTRY_BYTES) order++;
  if (order >= ORDERS) return 0;
  const p = <u32>takeFrames(order);
  if (p === 0) return 0;
  ringAt(p).entries = entries;
  handOver();
  return p;
}

export function discardRing(p: u32): void {
  giveFrames(p);
}

/** Must the vCPU stop before it enters the guest? Of its own thread. */
export function isSoftFull(p: u32): bool {
  const r = ringAt(p);
  return r.dirty - r.reset >= r.entries - RING_RESERVED;
}

/** Counts a stop. */
export function noteFull(p: u32): void {
  ringAt(p).full++;
}

export function timesFull(p: u32): u32 {
  return ringAt(p).full;
}

/** Pushes a page of slot `id`; false if there is no room. Of the vCPU's own thread. */
export function push(p: u32, id: u32, page: u32): bool {
  const r = ringAt(p),
    e = entryAt(r, r.dirty);
  if (peek(changetype<usize>(e)) !== FREE) return false;
  e.slot = id;
  e.page = page;
  publish(changetype<usize>(e), DIRTY); // behind the payload [RNG-6]
  r.dirty++;
  return true;
}

/** Marks and protects the pages of a group [RNG-9]. */
function close(v: Vm, slot: Slot, base: u32, mask: u64): void {
  if (mask === 0) return;
  for (let bits = mask; bits !== 0; bits &= bits - 1) mark(slot, base + <u32>ctz(bits));
  const low = <u32>ctz(mask);
  protectPages(v, slot, base + low, 64 - <u32>clz(mask) - low);
}

/**
 * Takes everything out of a ring: its pages are marked in the bitmaps of their slots, where the VMM keeps what it has to copy, and
 * are protected again, neighbours of 64 pages together. How many entries. The caller flushes [RNG-10].
 */
export function collectRing(v: Vm, p: u32): u32 {
  const r = ringAt(p);
  let slot = changetype<Slot>(0),
    id: u32 = u32.MAX_VALUE,
    base: u32 = 0,
    mask: u64 = 0,
    taken: u32 = 0;
  for (; taken < r.entries; taken++) {
    const e = entryAt(r, r.reset);
    if (peek(changetype<usize>(e)) !== DIRTY) break;
    const page = <u32>e.page,
      owner = e.slot;
    publish(changetype<usize>(e), FREE);
    r.reset++;
    if (owner === id && page >= base && page - base < 64) {
      mask |= (<u64>1) << (page - base);
      continue;
    }
    if (slot) close(v, slot, base, mask);
    slot = slotNamed(v, owner);
    id = owner;
    base = page;
    mask = 1;
  }
  if (slot) close(v, slot, base, mask);
  return taken;
}
