// Memory slots: guest addresses to the VMM's addresses and back [DLG-1, DLG-2, NOT-30].
//
// A set of slots never changes while somebody may read it: a change is made in the other set, which is then published, and
// waits until whoever used the old one has finished. A reader counts its word up when it begins and when it ends, so an odd
// count says that it is reading. Its first store must not pass the load of `active` after it, nor the publication of `active`
// the loads of the readers' words after it: that takes sequential consistency, which Wasm's atomics have. Readers may sleep.

import { UNIT_BYTES } from "../arch/granule";
import { EEXIST, EINVAL, ENOMEM, ETIMEDOUT } from "../memory/errno";
import { giveFrames, takeFrames } from "../memory/frames";
import { POINT_INSTALLED, visit } from "../memory/guard";
import { handOver } from "../memory/intent";
import { header, ORDERS, parallel } from "../memory/layout";
import { isTooLate, nap } from "../memory/wait";
import { peek, publish, publish64 } from "../memory/word";
import { admit, exclude } from "./invalidation";
import { drop } from "./sparse";
import {
  Agent,
  agent,
  agentOf,
  SLOT_ALL_DIRTY,
  SLOT_INVALID,
  SLOT_LOG,
  SLOT_LOGS,
  SLOT_READ_ONLY,
  Slot,
  SlotSet,
  setOf,
  Vm,
} from "./state";

/** KVM_USER_MEM_SLOTS of arm64. */
const MAX_SLOTS: u32 = 32767;
/** Pages of a slot are fewer than 1 << MAX_PAGE_BITS. */
const MAX_PAGE_BITS: u32 = 31;
const ASKED: u32 = SLOT_LOG | SLOT_READ_ONLY;

const SLOT_BYTES: u32 = <u32>offsetof<Slot>();

// What a request did.
export const CHANGE_NONE: u32 = 0;
export const CHANGE_CREATE: u32 = 1;
export const CHANGE_DELETE: u32 = 2;
export const CHANGE_MOVE: u32 = 3;
export const CHANGE_FLAGS: u32 = 4;

export function slotAt(s: SlotSet, i: u32): Slot {
  return changetype<Slot>(s.slots + i * SLOT_BYTES);
}

function activeWord(v: Vm): usize {
  return changetype<usize>(v) + offsetof<Vm>("active");
}

/** The set in use. */
export function slots(v: Vm): SlotSet {
  return setOf(v, peek(activeWord(v)));
}

function readsWord(a: Agent): usize {
  return changetype<usize>(a) + offsetof<Agent>("reads");
}

/** A VM of one walker has nobody who waits for its readers. */
function countRead(a: Agent): void {
  if (parallel()) publish(readsWord(a), a.reads + 1);
  else a.reads++;
}

/** This walker uses slots from here on. Not nested. */
export function beginReading(a: Agent): void {
  countRead(a);
}

/** What was found among the slots is not used any more. */
export function endReading(a: Agent): void {
  countRead(a);
}

/** Waits until everybody who may use the old set has finished; false if one makes no progress. */
export function awaitReaders(v: Vm): bool {
  if (!parallel()) return true;
  for (let id: u32 = 0; id < header().maxWalkers; id++) {
    const word = readsWord(agentOf(v, id)),
      seen = peek(word);
    for (let i: u32 = 0; seen & 1 && peek(word) === seen; i++) {
      if (isTooLate(i)) return false;
      nap(i);
    }
  }
  return true;
}

/** How many slots of `s` begin at or below `gpa`. */
function slotsUpTo(s: SlotSet, gpa: u64): u32 {
  let low: u32 = 0,
    high = s.count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (slotAt(s, middle).gpa <= gpa) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The slot of a guest address, null where there is none. The one that this walker found last is tried first. */
export function findSlot(v: Vm, gpa: u64): Slot {
  const s = slots(v),
    a = agent(v);
  if (a.lastSlot < s.count) {
    const last = slotAt(s, a.lastSlot);
    if (gpa - last.gpa < last.size) return last;
  }
  const n = slotsUpTo(s, gpa);
  if (n === 0) return changetype<Slot>(0);
  const slot = slotAt(s, n - 1);
  if (gpa - slot.gpa >= slot.size) return changetype<Slot>(0);
  a.lastSlot = n - 1;
  return slot;
}

/** The position of slot `id` in `s`; s.count if there is none. */
function positionOf(s: SlotSet, id: u32): u32 {
  let i: u32 = 0;
  while (i < s.count && slotAt(s, i).id !== id) i++;
  return i;
}

/** Slot `id`, null if there is none. */
export function slotNamed(v: Vm, id: u32): Slot {
  const s = slots(v),
    i = positionOf(s, id);
  return i < s.count ? slotAt(s, i) : changetype<Slot>(0);
}

/** Does [gpa, gpa + size) share a byte with a slot other than the one at `except`? */
function overlapsOthers(s: SlotSet, gpa: u64, size: u64, except: u32): bool {
  // Slots do not overlap each other, so only the nearest ones can overlap a new one: two, in case one is `except`.
  for (let n = slotsUpTo(s, gpa + size - 1), looks = 3; n > 0 && looks > 0; looks--) {
    n--;
    const slot = slotAt(s, n);
    if (n !== except && slot.gpa < gpa + size && gpa < slot.gpa + slot.size) return true;
  }
  return false;
}

/** What KVM_SET_USER_MEMORY_REGION says to a request before it changes anything [DLG-1, DLG-2]: CHANGE_*, or an errno. */
function judge(v: Vm, s: SlotSet, i: u32, flags: u32, gpa: u64, size: u64, hva: u64): i32 {
  const page = ((<u64>1) << v.ps) - 1,
    limit = (<u64>1) << v.ipaBits,
    exists = i < s.count;
  if (flags & ~ASKED || (gpa | size | hva) & page) return EINVAL;
  if (size === 0) return exists ? CHANGE_DELETE : EINVAL;
  if (gpa > limit || size > limit - gpa || (size >> v.ps) >> MAX_PAGE_BITS) return EINVAL;
  if (exists) {
    const old = slotAt(s, i);
    if (old.size !== size || old.hva !== hva || (old.flags ^ flags) & SLOT_READ_ONLY) return EINVAL;
  }
  if (overlapsOthers(s, gpa, size, i)) return EEXIST;
  if (!exists) return CHANGE_CREATE;
  const old = slotAt(s, i);
  if (old.gpa !== gpa) return CHANGE_MOVE;
  return (old.flags & ASKED) === flags ? CHANGE_NONE : CHANGE_FLAGS;
}

/** What a request would do: CHANGE_*, or an errno. */
export function changeOf(v: Vm, id: u32, flags: u32, gpa: u64, size: u64, hva: u64): i32 {
  const s = slots(v);
  return id >= MAX_SLOTS ? EINVAL : judge(v, s, positionOf(s, id), flags, gpa, size, hva);
}

/** The set that is not in use, with room for `n` slots; null when memory is spent. */
function spareSet(v: Vm, n: u32): SlotSet {
  const s = setOf(v, 1 - v.active);
  if (s.slots !== 0 && n * SLOT_BYTES <= (<u32>UNIT_BYTES) << s.order) return s;
  let order: u32 = 0;
  while ((<u32>UNIT_BYTES) << order < n * SLOT_BYTES) order++;
  if (order >= ORDERS) return changetype<SlotSet>(0);
  const p = <u32>takeFrames(order);
  if (p === 0) return changetype<SlotSet>(0);
  if (s.slots !== 0) giveFrames(s.slots);
  s.slots = p;
  s.order = order;
  handOver();
  return s;
}

/** Bit of `generation` while slots change: whatever is remembered under it is not to be used [NOT-32]. */
export const GENERATION_CHANGES: u64 = (<u64>1) << 63;

function setGeneration(v: Vm, value: u64): void {
  publish64(changetype<usize>(v) + offsetof<Vm>("generation"), value);
}

// What came of a new set.
const INSTALLED: i32 = 0;
/** It is in use, but a reader of the old one makes no progress. */
const STILL_READ: i32 = 1;

/**
 * Puts the set that is not in use into use, between two invalidations, and waits for whoever uses the other one [NOT-30]: INSTALLED,
 * STILL_READ, or an errno, and then nothing has changed.
 */
function install(v: Vm): i32 {
  const bad = exclude(v);
  if (bad) return bad;
  setGeneration(v, v.generation | GENERATION_CHANGES);
  publish(activeWord(v), 1 - v.active);
  admit(v);
  visit(POINT_INSTALLED, 0);
  const quiet = awaitReaders(v);
  setGeneration(v, (v.generation & ~GENERATION_CHANGES) + 1);
  return quiet ? INSTALLED : STILL_READ;
}

/** Copies all slots but the one at `except`. */
function copyOthers(to: SlotSet, from: SlotSet, except: u32): void {
  const before = min(except, from.count),
    rest = before < from.count ? from.count - before - 1 : 0;
  memory.copy(to.slots, from.slots, before * SLOT_BYTES);
  memory.copy(to.slots + before * SLOT_BYTES, from.slots + (before + 1) * SLOT_BYTES, rest * SLOT_BYTES);
  to.count = before + rest;
}

function insert(to: SlotSet, gpa: u64): Slot {
  const i = slotsUpTo(to, gpa),
    p = changetype<usize>(to.slots + i * SLOT_BYTES);
  memory.copy(p + SLOT_BYTES, p, (to.count - i) * SLOT_BYTES);
  to.count++;
  return slotAt(to, i);
}

/** Whether a slot with these flags keeps a bitmap; READONLY slots never log. */
function logFlags(flags: u32, allDirty: bool): u32 {
  if ((flags & ASKED) !== SLOT_LOG) return flags;
  return flags | SLOT_LOGS | (allDirty ? SLOT_ALL_DIRTY : 0);
}

/**
 * Slot `id` takes no faults from here on, and no fault that met it before is under way: it is about to go. Without `invalid` it is back.
 * 0, or an errno, and then nothing has changed. Preconditions: the slot is there; as setSlot.
 */
export function retireSlot(v: Vm, id: u32, invalid: bool): i32 {
  const from = slots(v),
    to = spareSet(v, from.count);
  if (!to) return ENOMEM;
  copyOthers(to, from, from.count);
  const slot = slotAt(to, positionOf(to, id));
  slot.flags = <u16>(invalid ? slot.flags | SLOT_INVALID : slot.flags & ~SLOT_INVALID);
  const r = install(v);
  if (r !== STILL_READ) return r;
  if (invalid) retireSlot(v, id, false); // somebody may map it yet: it cannot go
  return ETIMEDOUT;
}

/** No memory for a log. */
const NO_LOG: u32 = u32.MAX_VALUE;

/** Top node of the dirty log that a changed slot has: a new one, the old one, or 0 for none; NO_LOG when memory is spent. */
function logOf(change: u32, flags: u32, old: u32): u32 {
  if (change === CHANGE_DELETE || !(flags & SLOT_LOGS)) return 0;
  if (change === CHANGE_MOVE && old !== 0) return old;
  const made = <u32>takeFrames(0);
  if (made === 0) return NO_LOG;
  handOver();
  return made;
}

/**
 * Creates, moves, changes or deletes slot `id`; `allDirty`: a new bitmap has all bits set. CHANGE_*, or an errno, and then
 * nothing has changed. Preconditions: the caller is the only one who changes slots, and is in no read section.
 */
export function setSlot(v: Vm, id: u32, flags: u32, gpa: u64, size: u64, hva: u64, allDirty: bool): i32 {
  const change = changeOf(v, id, flags, gpa, size, hva);
  if (change <= <i32>CHANGE_NONE) return change;
  const from = slots(v),
    i = positionOf(from, id),
    to = spareSet(v, from.count + 1);
  if (!to) return ENOMEM;
  const old: u32 = i < from.count ? slotAt(from, i).log : 0,
    all = logFlags(flags, allDirty),
    log = logOf(change, all, old);
  if (log === NO_LOG) return ENOMEM;
  copyOthers(to, from, i);
  if (change !== CHANGE_DELETE) {
    const slot = insert(to, gpa);
    slot.gpa = gpa;
    slot.size = size;
    slot.hva = hva;
    slot.id = <u16>id;
    slot.flags = <u16>(
      (change === CHANGE_MOVE ? (all & ASKED) | (slotAt(from, i).flags & ~(ASKED | SLOT_INVALID)) : all)
    );
    slot.log = log;
  }
  const r = install(v);
  if (r < 0) {
    if (log !== old) drop(log);
    return r;
  }
  v.mostSlots = max(v.mostSlots, to.count);
  if (r === STILL_READ) return change; // what it may read stays
  if (old !== 0 && old !== log) drop(old);
  return change;
}

/** Gives all that the slots keep back. */
export function discardSlots(v: Vm): void {
  const s = slots(v);
  for (let i: u32 = 0; i < s.count; i++) if (slotAt(s, i).log !== 0) drop(slotAt(s, i).log);
  for (let i: u32 = 0; i < 2; i++) {
    const each = setOf(v, i);
    if (each.slots !== 0) giveFrames(each.slots);
    each.slots = 0;
    each.count = 0;
  }
}
