// What the host does to the memory behind the slots reaches the guest's tables [NOT-1..12], and what a VMM does to its slots.

import { alignDown } from "../arch/granule";
import { PROT_R } from "../arch/protection";
import { CACHE_NONE } from "../memory/cache";
import { EINVAL } from "../memory/errno";
import { OP_FLUSH, OP_MAP, OP_TEST_CLEAR_YOUNG, OP_UNMAP } from "../table/submit";
import { HARVEST_FREEZE, harvest } from "./dirty/dbm";
import { enable, startsDirty } from "./dirty/log";
import { assume } from "./host";
import { onRange, onTable } from "./operate";
import { addMemory, mapsOf } from "./rmap/maps";
import { ageThrough, unmapInvalid, unmapThrough } from "./rmap/ranges";
import { removeMemory } from "./rmap/unmapper";
import {
  CHANGE_CREATE,
  CHANGE_DELETE,
  CHANGE_MOVE,
  CHANGE_NONE,
  changeOf,
  setSlot,
  slotAt,
  slotNamed,
  slots,
} from "./slots";
import { agent, hostOf, LOG_DBM, SLOT_LOGS, Slot, Vm } from "./state";

// What is done to the guest's part of a host range.
const UNMAP: u32 = 0;
const TEST: u32 = 1;
const AGE: u32 = 2;
const REPLACE: u32 = 3;

/** Unmaps a part of a slot. Dirty state that the hardware keeps goes to the log first [DBM-6, NOT-12]. */
function unmapPart(v: Vm, s: Slot, gpa: u64, size: u64): void {
  if (v.strategy === LOG_DBM && s.flags & SLOT_LOGS) harvest(v, s, gpa, size, HARVEST_FREEZE);
  if (v.rmaps !== 0) unmapThrough(v, gpa, size);
  else onRange(v, OP_UNMAP, gpa, size, 0);
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
  if (what === UNMAP) unmapPart(v, s, gpa, size);
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
  return v.rmaps !== 0 && what === UNMAP ? met + unmapInvalid(v, start, end) : met;
}

/** The host is about to change [start, end) of the VMM's memory [NOT-1, NOT-6]. How many parts of slots that was. */
export function invalidate(v: Vm, start: u64, end: u64): u32 {
  return onHostRange(v, start, end, UNMAP);
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
  return onRange(v, OP_UNMAP, gpa, size, 0);
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
  for (let i: u32 = 0; i < s.count; i++) onRange(v, OP_FLUSH, slotAt(s, i).gpa, slotAt(s, i).size, 0);
}

/** Reverse maps are there before the slot: what the request will do, or why it cannot be done. A slot that has them does not move. */
function prepare(v: Vm, id: u32, flags: u32, gpa: u64, size: u64, hva: u64): i32 {
  if (v.rmaps === 0) return CHANGE_NONE;
  const change = changeOf(v, id, flags, gpa, size, hva);
  if (change === CHANGE_MOVE) return EINVAL;
  if (change !== CHANGE_CREATE) return change;
  const bad = addMemory(mapsOf(v), id, gpa, size, hva);
  return bad ? bad : change;
}

/** KVM_SET_USER_MEMORY_REGION: CHANGE_*, or an errno, and then nothing has changed [DLG-1, DLG-10, DLG-12, NOT-34]. */
export function setRegion(v: Vm, id: u32, flags: u32, gpa: u64, size: u64, hva: u64): i32 {
  const before = slotNamed(v, id),
    logged = <bool>(before && before.flags & SLOT_LOGS),
    from: u64 = before ? before.gpa : 0,
    bytes: u64 = before ? before.size : 0,
    refused = prepare(v, id, flags, gpa, size, hva),
    change = refused < 0 ? refused : setSlot(v, id, flags, gpa, size, hva, startsDirty(v));
  if (v.rmaps !== 0 && change < 0 && refused === CHANGE_CREATE) removeMemory(v, gpa); // it is not there after all
  if (change === CHANGE_DELETE && v.rmaps !== 0) removeMemory(v, from);
  else if (change === CHANGE_DELETE) onRange(v, OP_UNMAP, from, bytes, 0);
  else if (change === CHANGE_MOVE) unmapPart(v, before, from, bytes); // the log goes with the slot, and so does its dirty state
  if (change < 0 || change === CHANGE_DELETE) return change;
  const after: Slot = slotNamed(v, id);
  if (change === CHANGE_CREATE) assume(hostOf(v), after.hva, after.hva + after.size);
  if (after.flags & SLOT_LOGS && !logged) enable(v, after);
  return change;
}
