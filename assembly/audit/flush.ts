// TLBIs and the DSBs that complete them: which obligations they reach [TLB-1..11, HWM-38..42].

import { isTable, isValid } from "../arch/descriptor";
import { ENTRY_SHIFT, index, LAST_LEVEL, shift, span, UNIT_SHIFT } from "../arch/granule";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { demand, RULE_JUDGED_ROOT } from "../demand";
import { DSB_ISH, DSB_ISHST, DSB_NSHST } from "../record/journal";
import { join, now, order, tick } from "./clock";
import { awaitDsb, coveredBy, cpu, P_ALL, P_FULL, P_HYP, P_LOCAL, P_STAGE1, Pending, pending } from "./cpu";
import * as O from "./obligation";
import { addressIn, isCached, isTagged } from "./predicate";
import { MISS_ASID, MISS_DSB_BEFORE, MISS_LAST_LEVEL, MISS_LEVEL, MISS_LOCAL } from "./records";
import { fullOf, R_STAGE1, Root, rootAt, rootPointer } from "./root";
import { MAX_CPUS, orderedBy, state, UNIT_ENTRIES } from "./state";
import { flushTag, Tag, tagAt, tagPointer } from "./tag";
import { breakOf, MAX_DEPTH } from "./tree";
import { find, inputOf, obligationAt, parentOf, Unit, unitAt, valueAt } from "./unit";

// What a TLBI by address is, beside its level hint.
/** Of last-level entries only. */
export const F_LAST: u32 = 1;
/** Of one CPU only. */
export const F_LOCAL: u32 = 2;
/** Of another ASID than the table's: global entries only. */
export const F_GLOBAL: u32 = 4;

/** Does the last DSB of CPU `c` order the write behind `o` before what follows? */
function isOrdered(o: O.Obligation, c: u32, local: bool): bool {
  if (load<u32>(orderedBy(c) + o.cpu * 4) >= o.clock) return true;
  return local && o.cpu === c && cpu(c).ordered >= o.clock;
}

/** Is a table above its slot unlinked by a write that CPU `c` has ordered? Then nobody walks there, whoever wrote what below. */
function isCutOff(o: O.Obligation, c: u32, local: bool): bool {
  let u = unitAt(o.unit);
  for (let i: u32 = 0; u && i < MAX_DEPTH; i++) {
    const parent = parentOf(u);
    if (!parent) return false;
    const link = breakOf(parent, u);
    if (link && isOrdered(link, c, local)) return true;
    u = parent;
  }
  return false;
}

/** Another CPU's TLBI is of an older write, or this one's is the writer's own: that one's DSB is not waited for. */
function withdraw(o: O.Obligation): void {
  const other = cpu(o.pending - 1),
    p = O.obligationPointer(o);
  if (other.awaiting === p) other.awaiting = o.nextPending;
  else {
    let before = O.obligation(other.awaiting);
    while (before && before.nextPending !== p) before = O.obligation(before.nextPending);
    if (before) before.nextPending = o.nextPending;
  }
  o.pending = 0;
  o.nextPending = 0;
}

/** A TLBI of CPU `c` covers the address of `o`: does it reach it? */
function reach(o: O.Obligation, c: u32, level: i32, how: u32): void {
  const table = isTable(o.old, o.level),
    local = <bool>(how & F_LOCAL);
  if (how & F_GLOBAL && isTagged(rootAt(o.root), o.old, o.level)) return O.noteMiss(o, MISS_ASID);
  if (table && how & F_LAST) return O.noteMiss(o, MISS_LAST_LEVEL);
  if (level !== TTL_UNKNOWN && (table || level !== o.level)) return O.noteMiss(o, MISS_LEVEL);
  if (local && state().cpus === MAX_CPUS) return O.noteMiss(o, MISS_LOCAL);
  if (!isOrdered(o, c, local) && !isCutOff(o, c, local)) return O.noteMiss(o, MISS_DSB_BEFORE);
  if (o.pending !== 0 && o.pending !== c + 1 && (o.pendingId !== o.id || o.cpu === c)) withdraw(o);
  if (o.pending === 0) {
    const self = cpu(c);
    o.pending = c + 1;
    o.nextPending = self.awaiting;
    self.awaiting = O.obligationPointer(o);
  } else if (o.pending !== c + 1) return;
  else if (o.pendingId === o.id && !o.pendingLocal) return;
  o.pendingId = o.id;
  o.pendingLocal = local;
}

/** A TLBI that reached all that the table held is complete, or issued: one that reaches less adds nothing. */
function isReached(o: O.Obligation): bool {
  return !o.apart && (o.flushed !== 0 || (o.pending !== 0 && o.pendingId === o.id && !o.pendingLocal));
}

/** Lets the obligations below a table stand apart, for TLBIs that reach but some of them. False: memory is spent. */
function setApart(o: O.Obligation): bool {
  if (o.apart) return true;
  const r = rootAt(o.root),
    page = addressIn(r, o.old),
    u = find(page);
  if (u && u.serial === o.child && !setPageApart(o, r, page, o.level + 1)) return false;
  o.apart = true;
  return true;
}

function setPageApart(o: O.Obligation, r: Root, page: u64, level: i32): bool {
  const units: u64 = (<u64>1) << (r.ps - UNIT_SHIFT);
  for (let i: u64 = 0; i < units; i++) {
    const u = find(page + (i << UNIT_SHIFT));
    if (!u || u.valid === 0 || u.root !== o.root || u.level !== level) continue;
    for (let word: u32 = 0; word < UNIT_ENTRIES; word++) {
      const value = load<u64>(valueAt(u, word));
      if (!isValid(value) || !isCached(r, value, level)) continue;
      if (load<u32>(obligationAt(u, word)) === 0 && !addKid(o, r, u, word, value)) return false;
      if (isTable(value, level) && !setPageApart(o, r, addressIn(r, value), level + 1)) return false;
    }
  }
  return true;
}

function addKid(o: O.Obligation, r: Root, u: Unit, word: u32, value: u64): bool {
  const kid = O.oblige(r, u, word, inputOf(r, u, word), u.level, value, o.cpu, o.clock);
  if (!kid) return false;
  kid.record = o.record;
  kid.time = o.time;
  kid.below = true;
  kid.apart = true;
  kid.nextKid = o.kids;
  o.kids = O.obligationPointer(kid);
  return true;
}

/** The unit with the entry for `ipa` of the table page at `page`. */
function unitFor(r: Root, page: u64, level: i32, ipa: u64): Unit {
  return find(page + ((<u64>index(r.ps, level, ipa)) << ENTRY_SHIFT));
}

/** Did the slot name a table, which is left below it? */
function goesOn(o: O.Obligation): bool {
  if (!o) return false;
  return o.child !== 0 && isTable(o.old, o.level);
}

/** By address: the entries on the way to `ipa`, and what is left of tables that are gone. */
export function flushAddress(r: Root, c: u32, ipa: u64, level: i32, how: u32): bool {
  demand(r.serial !== 0, RULE_JUDGED_ROOT);
  if (r.opened === 0) return true;
  const start = shift(r.ps, r.startLevel);
  let page = r.address + ((ipa >> (start + r.ps - ENTRY_SHIFT)) << r.ps);
  if (ipa >> r.inputBits) return true;
  for (let at = r.startLevel; at <= LAST_LEVEL; at++) {
    const u = unitFor(r, page, at, ipa);
    if (!u) break;
    const word = index(r.ps, at, ipa) & (UNIT_ENTRIES - 1);
    const value = load<u64>(valueAt(u, word));
    const o = O.obligation(load<u32>(obligationAt(u, word)));
    if (o && !(o.child && isReached(o))) {
      if (o.child && !setApart(o)) return false;
      reach(o, c, level, how);
    }
    if (isTable(value, at)) page = addressIn(r, value);
    else if (goesOn(o)) page = addressIn(r, o.old);
    else break;
  }
  if (ipa >= r.low && ipa < r.high) return flushOpen(r, c, ipa, ipa + 1, level, how, true);
  return true;
}

/** Every obligation that touches [from, to); with `orphans`, those without a slot only. */
function flushOpen(r: Root, c: u32, from: u64, to: u64, level: i32, how: u32, orphans: bool): bool {
  let o = O.obligation(r.open);
  while (o) {
    if (isPart(r, o, from, to) && !o.apart && !isReached(o) && !setApart(o)) return false;
    o = O.obligation(o.next);
  }
  o = O.obligation(r.open);
  while (o) {
    const touched = o.ipa < to && o.ipa + span(r.ps, o.level) > from && !(orphans && o.unit);
    if (touched && !(isPart(r, o, from, to) && isReached(o))) reach(o, c, level, how);
    o = O.obligation(o.next);
  }
  return true;
}

/** Does [from, to) touch a part of the table that went, and not all of it? */
function isPart(r: Root, o: O.Obligation, from: u64, to: u64): bool {
  const end = o.ipa + span(r.ps, o.level);
  return o.child !== 0 && o.ipa < to && end > from && !(from <= o.ipa && to >= end);
}

/** A range of pages: address by address where that is less. */
export function flushRange(r: Root, c: u32, from: u64, pages: u64, level: i32): bool {
  if (pages > <u64>r.opened >> 2 || pages > 1 << 16) {
    const to = from + (pages << r.ps);
    return flushOpen(r, c, from, to < from ? u64.MAX_VALUE : to, level, 0, false);
  }
  for (let i: u64 = 0; i < pages; i++) {
    if (!flushAddress(r, c, from + (i << r.ps), level, 0)) return false;
  }
  return true;
}

function kindOf(kind: u32, local: bool): u32 {
  return local ? kind | P_LOCAL : kind;
}

/** Everything of a VMID: of its tag in a log, and of the root that has it. */
export function flushVmid(t: Tag, r: Root, c: u32, local: bool): void {
  const time = state().time;
  if (r && local) r.localTime = time;
  else if (r) r.fullTime = time;
  awaitDsb(c, rootPointer(r), r ? r.serial : 0, tagPointer(t), kindOf(P_FULL, local));
}

/** Everything of stage 2, of all VMIDs. */
export function flushAll(c: u32, local: bool): void {
  const s = state();
  if (!local) s.allTime = s.time;
  else for (let r = rootAt(s.roots); r; r = rootAt(r.next)) if (!(r.flags & R_STAGE1)) r.localTime = s.time;
  awaitDsb(c, 0, 0, 0, kindOf(P_ALL, local));
}

/** Everything of EL2, whatever the ASID. */
export function flushHyp(c: u32, local: bool): void {
  for (let r = rootAt(state().roots); r; r = rootAt(r.next)) {
    if (r.flags & R_STAGE1) flushVmid(tagAt(0), r, c, local);
  }
  awaitDsb(c, 0, 0, 0, kindOf(P_HYP, local));
}

/** Combined and stage-1 entries of a VMID. */
export function flushStage1(r: Root, c: u32, local: bool): void {
  demand(r.serial !== 0, RULE_JUDGED_ROOT);
  if (!local || state().cpus !== MAX_CPUS) awaitDsb(c, rootPointer(r), r.serial, 0, kindOf(P_STAGE1, local));
}

/** A DSB of CPU `c`, of a domain DSB_*. */
export function dsb(c: u32, domain: u64): void {
  const inner = domain === DSB_ISH || domain === DSB_ISHST;
  barrier(c, inner, domain === DSB_ISHST || domain === DSB_NSHST);
}

/** It completes the CPU's TLBIs (unless it waits for stores only), and orders what the CPU knows of. */
function barrier(c: u32, inner: bool, stores: bool): void {
  if (!stores) complete(c, inner);
  cpu(c).ordered = now(c);
  if (inner) order(c);
  else tick(c);
}

/** The CPU's TLBIs are complete: of others only by a DSB of their domain. */
function complete(c: u32, inner: bool): void {
  const self = cpu(c),
    s = state();
  let at = self.pending,
    kept: u32 = 0;
  while (at) {
    const p = pending(at),
      next = p.next;
    if (inner || p.kind & P_LOCAL) {
      completeFlush(c, p);
      p.next = s.freePending;
      s.freePending = at;
    } else {
      p.next = kept;
      kept = at;
    }
    at = next;
  }
  self.pending = kept;
  completeAddresses(c, inner);
}

function completeFlush(c: u32, p: Pending): void {
  const found = rootAt(p.root),
    r = found && found.serial === p.serial ? found : rootAt(0),
    local = <bool>(p.kind & P_LOCAL),
    kind = p.kind & ~P_LOCAL;
  if (kind === P_ALL || kind === P_HYP) return completeAll(c, p, kind === P_HYP, local);
  if (kind === P_FULL && p.tag) flushTag(tagAt(p.tag), c, p.time, local);
  if (!r) return;
  if (local) completeLocal(c, r, kind === P_FULL);
  else if (kind === P_FULL) join(fullOf(r), coveredBy(p));
  else if (p.time > r.stage1Time) r.stage1Time = p.time;
}

/** A flush of all VMIDs, or of EL2, whose tables have theirs beside it. */
function completeAll(c: u32, p: Pending, hyp: bool, local: bool): void {
  const self = cpu(c),
    s = state();
  if (hyp) self.ownHyp = max(self.ownHyp, p.time);
  else self.ownAll = max(self.ownAll, p.time);
  if (hyp) {
    if (!local) s.hypFlushed = max(s.hypFlushed, p.time);
  } else if (!local) {
    s.allFlushed = max(s.allFlushed, p.time);
    join(<usize>s.full, coveredBy(p));
  } else {
    for (let r = rootAt(s.roots); r; r = rootAt(r.next)) if (!(r.flags & R_STAGE1)) completeLocal(c, r, true);
  }
}

/** Only where somebody said how many CPUs there are can each flush for itself. */
function completeLocal(c: u32, r: Root, full: bool): void {
  if (state().cpus === MAX_CPUS) return;
  const bit = (<u64>1) << c;
  let o = O.obligation(r.open);
  while (o) {
    if (full && isOrdered(o, c, true)) {
      o.local |= bit;
      o.localStage1 |= bit;
    } else if (o.local & bit) o.localStage1 |= bit;
    o = O.obligation(o.next);
  }
}

function completeAddresses(c: u32, inner: bool): void {
  const self = cpu(c),
    s = state();
  let p = self.awaiting,
    kept: u32 = 0;
  while (p) {
    const o = O.obligation(p),
      next = o.nextPending;
    if (o.root !== 0 && !inner && !o.pendingLocal) {
      o.nextPending = kept;
      kept = p;
    } else {
      o.pending = 0;
      if (o.root === 0) {
        o.next = s.freeObligations;
        s.freeObligations = p;
      } else if (o.pendingId === o.id) {
        if (o.pendingLocal) o.local |= (<u64>1) << c;
        else if (o.flushed === 0) o.flushed = s.time; // a later one, of another CPU, takes nothing back
      }
    }
    p = next;
  }
  self.awaiting = kept;
}
