// What the host does to the memory behind the slots reaches the guest's tables [NOT-1..12], and what a VMM does to its slots.

import { alignDown } from "../arch/granule";
import { PROT_R } from "../arch/protection";
import { CACHE_NONE } from "../memory/cache";
import { EINVAL, OK } from "../memory/errno";
import { OP_FLUSH, OP_MAP, OP_TEST_CLEAR_YOUNG, OP_UNMAP } from "../table/submit";
import { hasDevice } from "./areas";
import { HARVEST_FREEZE, harvest } from "./dirty/dbm";
import { enable, startsDirty } from "./dirty/log";
import { assume } from "./host";
import { announce, enter, leave, settle } from "./invalidation";
import { onChunks, onRange, onTable, promise } from "./operate";
import { addMemory, mapsOf } from "./rmap/maps";
import { ageThrough, unmapInvalid, unmapThrough } from "./rmap/ranges";
import { removeMemory } from "./rmap/unmapper";
import {
  CHANGE_CREATE,
  CHANGE_DELETE,
  CHANGE_MOVE,
  CHANGE_NONE,
  changeOf,
  retireSlot,
  setSlot,
  slotAt,
  slotNamed,
  slots,
} from "./slots";
import { agent, hostOf, LOG_DBM, SLOT_LOG, SLOT_LOGS, SLOT_READ_ONLY, Slot, tracksInHardware, Vm } from "./state";

// What is done to the guest's part of a host range.
const UNMAP: u32 = 0;
const TEST: u32 = 1;
const AGE: u32 = 2;
const REPLACE: u32 = 3;
/** Unmaps in one operation, and lets nobody in between [NOT-7]. */
const UNMAP_AT_ONCE: u32 = 4;
/** Widens this walker's Agent, `ipa` and `size`, to the part. */
const ANNOUNCE: u32 = 5;
/** Nothing: the parts are counted. */
const MEET: u32 = 6;

/** Unmaps a part of a slot. Dirty state that the hardware keeps goes to the log first [DBM-6, NOT-12]. */
function unmapPart(v: Vm, s: Slot, gpa: u64, size: u64, yields: bool): void {
  if (v.strategy === LOG_DBM && s.flags & SLOT_LOGS) harvest(v, s, gpa, size, HARVEST_FREEZE);
  if (v.rmaps !== 0) unmapThrough(v, gpa, size);
  else onChunks(v, OP_UNMAP, gpa, size, yields);
}

/** Was a part of a slot accessed? `clear`: clears the access flags. */
function isYoung(v: Vm, gpa: u64, size: u64, clear: bool): bool {
  if (v.rmaps !== 0) return ageThrough(v, gpa, size, clear);
  return onRange(v, OP_TEST_CLEAR_YOUNG, gpa, size, clear ? 1 : 0) > 0;
}

/** The host has another page for a part of a slot; other mappings than the slot's own fault again. */
function replace(v: Vm, gpa: u64, size: u64): void {
  if (v.rmaps !== 0) unmapThrough(v, gpa, size);
  onTable(v, OP_MAP, gpa, size, PROT_R, CACHE_NONE, 0);
}

/** Does `what` to [gpa, gpa + size), a part of a slot. */
function apply(v: Vm, s: Slot, what: u32, gpa: u64, size: u64): void {
  if (what === UNMAP || what === UNMAP_AT_ONCE) unmapPart(v, s, gpa, size, what === UNMAP);
  else if (what === ANNOUNCE) announcePart(v, gpa, size);
  else if (what === MEET) return;
  else if (what === REPLACE) replace(v, gpa, size);
  else if (isYoung(v, gpa, size, what === AGE)) agent(v).status = 1;
}

/** Does `what` to the guest's parts of the host range [start, end), in whole pages [NOT-2]. How many there were. */
function onHostRange(v: Vm, start: u64, end: u64, what: u32): u32 {
  const s = slots(v),
    page = ((<u64>1) << v.ps) - 1;
  let met: u32 = 0;
  for (let i: u32 = 0; i < s.count; i++) {
    const slot = slotAt(s, i),
      from = max(start, slot.hva),
      to = min(end, slot.hva + slot.size);
    if (from >= to) continue;
    const first = alignDown(from - slot.hva, page + 1),
      last = alignDown(to - slot.hva + page, page + 1);
    apply(v, slot, what, slot.gpa + first, last - first);
    met++;
  }
  // A slot on its way out is not among those in use, and the host's memory behind it may still be mapped.
  const unmaps = what === UNMAP || what === UNMAP_AT_ONCE;
  return v.rmaps !== 0 && unmaps ? met + unmapInvalid(v, start, end) : met;
}

function announcePart(v: Vm, gpa: u64, size: u64): void {
  const a = agent(v),
    stop = max(a.size === 0 ? 0 : a.ipa + a.size, gpa + size);
  a.ipa = a.size === 0 ? gpa : min(a.ipa, gpa);
  a.size = stop - a.ipa;
}

/**
 * The host is about to change [start, end) of the VMM's memory: faults there try again until `endInvalidation` of the same range, and what
 * is mapped there goes [NOT-1, NOT-6]. With `mayBlock` others get the table in between [NOT-7]. How many parts of slots that was, or
 * ETIMEDOUT, and then nothing has begun.
 */
export function beginInvalidation(v: Vm, start: u64, end: u64, mayBlock: bool): i32 {
  const bad = enter(v);
  if (bad) return bad;
  const a = agent(v);
  a.size = 0;
  const met = onHostRange(v, start, end, ANNOUNCE);
  if (met === 0 && v.rmaps === 0) return 0; // the table's lock is never taken
  const r = met === 0 ? OK : announce(v, a.ipa, a.ipa + a.size);
  if (r) {
    leave(v);
    return r;
  }
  const parts = onHostRange(v, start, end, mayBlock ? UNMAP : UNMAP_AT_ONCE);
  promise();
  return parts;
}

/** The host has changed [start, end) [NOT-3]. Slots are as they were when it began. EINVAL if nothing began. */
export function endInvalidation(v: Vm, start: u64, end: u64): i32 {
  if (v.invalidations === 0) return EINVAL;
  if (onHostRange(v, start, end, MEET) !== 0) settle(v);
  leave(v);
  return OK;
}

/** Both at once, for a host that changes its memory meanwhile: how many parts of slots that was, or ETIMEDOUT. */
export function invalidate(v: Vm, start: u64, end: u64): i32 {
  const met = beginInvalidation(v, start, end, true);
  if (met >= 0) endInvalidation(v, start, end);
  return met;
}

/**
 * The host asks whether [start, end) was accessed; with `clear` it also clears the access flags [NOT-8]. This walker's Agent says
 * it: status 1 for young.
 */
export function age(v: Vm, start: u64, end: u64, clear: bool): u32 {
  agent(v).status = 0;
  return onHostRange(v, start, end, clear ? AGE : TEST);
}

/** The host replaced a page: the new one is mapped read-only, without memory for tables (before 6.10) [NOT-11]. */
export function changePage(v: Vm, hva: u64): u32 {
  return onHostRange(v, hva, hva + 1, REPLACE);
}

/** Unmaps a guest range. */
export function unmapGuest(v: Vm, gpa: u64, size: u64): i32 {
  if (v.strategy === LOG_DBM) freezeGuest(v, gpa, size);
  const status = onChunks(v, OP_UNMAP, gpa, size, true);
  promise();
  return status;
}

/** Collects the dirty state that the hardware keeps for a guest range; stores fault afterwards. */
function freezeGuest(v: Vm, gpa: u64, size: u64): void {
  const s = slots(v);
  for (let i: u32 = 0; i < s.count; i++) {
    const slot = slotAt(s, i),
      from = max(gpa, slot.gpa),
      to = min(gpa + size, slot.gpa + slot.size);
    if (from < to && slot.flags & SLOT_LOGS) harvest(v, slot, from, to - from, HARVEST_FREEZE);
  }
}

/**
 * The host's part of the guest range [gpa, gpa + size) in the first slot from position `i` on that has one: left in this
 * walker's Agent as `ipa` and `size`. The position after that slot; 0 if there is none.
 */
export function hostPart(v: Vm, gpa: u64, size: u64, i: u32): u32 {
  const s = slots(v),
    a = agent(v);
  for (; i < s.count; i++) {
    const slot = slotAt(s, i),
      from = max(gpa, slot.gpa),
      to = min(gpa + size, slot.gpa + slot.size);
    if (from >= to) continue;
    a.ipa = slot.hva + (from - slot.gpa);
    a.size = to - from;
    return i + 1;
  }
  return 0;
}

/** The guest switched its caches on or off: without forced write-back, KVM cleans all of its memory. */
export function cleanCaches(v: Vm): void {
  const s = slots(v);
  for (let i: u32 = 0; i < s.count; i++) onChunks(v, OP_FLUSH, slotAt(s, i).gpa, slotAt(s, i).size, true);
}

/** What was mapped of a slot goes, while the slot takes no more faults and notifiers still find it [NOT-30, NOT-34]. 0 or an errno. */
function emptySlot(v: Vm, s: Slot): i32 {
  const id = s.id,
    bad = retireSlot(v, id, true);
  if (bad) return bad;
  const slot: Slot = slotNamed(v, id);
  // A slot that moves keeps its log, and what a vCPU has in a log of its own is for the old address.
  if (tracksInHardware(v) && slot.flags & SLOT_LOGS) harvest(v, slot, slot.gpa, slot.size, HARVEST_FREEZE);
  onChunks(v, OP_UNMAP, slot.gpa, slot.size, true);
  return OK;
}

/**
 * Before the request for a slot is performed: reverse maps are there before the slot, and a slot that goes is empty. A slot with reverse maps
 * does not move, and empties itself afterwards. 0 or an errno.
 */
function prepare(v: Vm, before: Slot, change: i32, id: u32, gpa: u64, size: u64, hva: u64): i32 {
  if (v.rmaps === 0) return change === CHANGE_DELETE || change === CHANGE_MOVE ? emptySlot(v, before) : OK;
  if (change === CHANGE_MOVE) return EINVAL;
  return change === CHANGE_CREATE ? addMemory(mapsOf(v), id, gpa, size, hva) : OK;
}

/** The request failed after all: everything is as it was before. */
function undo(v: Vm, change: i32, id: u32, gpa: u64): void {
  if (v.rmaps !== 0 && change === CHANGE_CREATE) removeMemory(v, gpa);
  else if (v.rmaps === 0 && (change === CHANGE_DELETE || change === CHANGE_MOVE)) retireSlot(v, id, false);
}

/** KVM_SET_USER_MEMORY_REGION: CHANGE_*, or an errno, and then nothing has changed [DLG-1, DLG-10, DLG-12, NOT-34]. */
export function setRegion(v: Vm, id: u32, flags: u32, gpa: u64, size: u64, hva: u64): i32 {
  const before = slotNamed(v, id),
    logged = <bool>(before && before.flags & SLOT_LOGS),
    from: u64 = before ? before.gpa : 0,
    asked = changeOf(v, id, flags, gpa, size, hva),
    logs = (flags & (SLOT_LOG | SLOT_READ_ONLY)) === SLOT_LOG;
  if (asked <= <i32>CHANGE_NONE) return asked;
  if (logs && asked !== CHANGE_DELETE && hasDevice(hostOf(v), hva, hva + size)) return EINVAL; // [DLG-3]
  const bad = prepare(v, before, asked, id, gpa, size, hva);
  if (bad) return bad;
  const change = setSlot(v, id, flags, gpa, size, hva, startsDirty(v));
  if (change < 0) undo(v, asked, id, gpa);
  if (change === CHANGE_DELETE && v.rmaps !== 0) removeMemory(v, from);
  promise();
  if (change < 0 || change === CHANGE_DELETE) return change;
  const after: Slot = slotNamed(v, id);
  if (change === CHANGE_CREATE) assume(hostOf(v), after.hva, after.hva + after.size);
  if (after.flags & SLOT_LOGS && !logged) enable(v, after);
  return change;
}
