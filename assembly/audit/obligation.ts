// Obligations: a translation that hardware may still hold though its descriptor is gone or grants less. Each is
// discharged by DSB, matching TLBI, DSB (and, at stage 2, VMALLE1IS and DSB), or by a flush of its whole VMID.

import { shift } from "../arch/granule";
import { demand, RULE_JUDGED_ROOT, RULE_OWED, RULE_PLACED } from "../demand";
import { MISS_NONE } from "./records";
import { fullOf, R_STAGE1, Root, rootAt, rootPointer } from "./root";
import { MAX_CPUS, state, take } from "./state";
import { obligationAt, Unit, unitAt } from "./unit";

@unmanaged
export class Obligation {
  root: u32;
  /** Unit and word of the slot; 0 once the slot is another's. */
  unit: u32;
  word: u32;
  level: i32;
  ipa: u64;
  old: u64;
  /** The write that gave rise to it: CPU, clock, record. */
  cpu: u32;
  clock: u32;
  record: u64;
  /** When its by-address TLBI was complete; 0: it is not. */
  flushed: u64;
  cause: u32;
  /** MISS_* of the TLBI that nearly reached it, and its record. */
  miss: u32;
  missRecord: u64;
  /** `serial` of the table that the old descriptor named; 0 for a leaf. */
  child: u32;
  /** First obligation for an entry below that table, once they stand apart. */
  kids: u32;
  nextKid: u32;
  /** Obligations below stand apart. */
  apart: bool;
  /** Another descriptor of the slot is not flushed either, and granted what the old one did not: that cannot just come back. */
  mixed: bool;
  /** In the list of this CPU's TLBIs that await a DSB, CPU + 1. */
  pending: u32;
  nextPending: u32;
  /** `id` when that TLBI came; another one by now means a newer write. */
  pendingId: u32;
  /** That TLBI was of one CPU only. */
  pendingLocal: bool;
  /** It is one of the kids of another. */
  below: bool;
  /** When the write was judged. */
  time: u64;
  /** CPUs that dropped it by TLBIs of their own: entries of stage 2, and combined ones. */
  local: u64;
  localStage1: u64;
  next: u32;
  previous: u32;
  /** Used again: differs for every obligation. */
  id: u32;
}

export const OBLIGATION_BYTES: u32 = 160;

export function obligation(p: u32): Obligation {
  return changetype<Obligation>(p);
}

export function obligationPointer(o: Obligation): u32 {
  return <u32>changetype<usize>(o);
}

/** All zero: a handful of stores, for a call of memory.fill takes longer. */
function clear(p: usize): void {
  for (let end = p + OBLIGATION_BYTES; p < end; p += 32) {
    store<u64>(p, 0);
    store<u64>(p, 0, 8);
    store<u64>(p, 0, 16);
    store<u64>(p, 0, 24);
  }
}

/** A new obligation in the list of its root; null when memory is spent. */
export function oblige(r: Root, u: Unit, word: u32, ipa: u64, level: i32, old: u64, cpu: u32, clock: u32): Obligation {
  const s = state();
  let p = s.freeObligations;
  if (p) s.freeObligations = obligation(p).next;
  else p = take(OBLIGATION_BYTES);
  const o = obligation(p);
  if (!o) return o;
  clear(p);
  o.root = rootPointer(r);
  o.unit = <u32>changetype<usize>(u);
  o.word = word;
  o.level = level;
  o.ipa = ipa;
  o.old = old;
  o.cpu = cpu;
  o.clock = clock;
  o.record = s.sequence;
  o.time = s.time;
  o.id = ++s.obligations;
  o.next = r.open;
  if (r.open) obligation(r.open).previous = p;
  r.open = p;
  r.opened++;
  r.changes++;
  store<u32>(obligationAt(u, word), p);
  return o;
}

/** Ends an obligation; those below it go too. */
export function discharge(o: Obligation): void {
  demand(o.id !== 0 && o.root !== 0, RULE_OWED);
  const s = state(),
    p = obligationPointer(o),
    r = rootAt(o.root);
  while (o.kids) {
    const kid = obligation(o.kids);
    o.kids = kid.nextKid;
    discharge(kid);
  }
  if (o.unit) {
    const at = obligationAt(unitAt(o.unit), o.word);
    if (load<u32>(at) === p) store<u32>(at, 0);
  } else if (--r.orphans === 0) r.low = u64.MAX_VALUE; // no address lies in the span
  if (o.previous) obligation(o.previous).next = o.next;
  else r.open = o.next;
  if (o.next) obligation(o.next).previous = o.previous;
  r.opened--;
  o.id = 0;
  if (o.pending) {
    o.root = 0; // who completes the TLBI takes it from there
    return;
  }
  o.next = s.freeObligations;
  s.freeObligations = p;
}

/** Ends all of a root's: nobody walks under its VMID any more. */
export function dischargeAll(r: Root): void {
  demand(r.serial !== 0, RULE_JUDGED_ROOT);
  while (r.open) discharge(obligation(r.open));
}

/** Its slot is no longer its own: the span is remembered instead. */
export function orphan(o: Obligation): void {
  demand(o.unit !== 0, RULE_PLACED);
  const r = rootAt(o.root);
  store<u32>(obligationAt(unitAt(o.unit), o.word), 0);
  o.unit = 0;
  r.orphans++;
  const end = o.ipa + ((<u64>1) << shift(r.ps, o.level));
  if (o.ipa < r.low) r.low = o.ipa;
  if (end > r.high) r.high = end;
}

/** Has a flush of the whole VMID come after it? */
export function isFlushedWhole(o: Obligation, r: Root): bool {
  if (load<u32>(fullOf(r) + o.cpu * 4) >= o.clock) return true;
  return !(r.flags & R_STAGE1) && load<u32>(state().full + o.cpu * 4) >= o.clock;
}

/** Is every translation of its own old descriptor gone, on every CPU? */
export function isFlushed(o: Obligation, r: Root): bool {
  if (isFlushedWhole(o, r)) return true;
  if (o.flushed !== 0) {
    if (r.flags & R_STAGE1) return true;
    if (r.stage1Time > o.flushed) return true;
  }
  return isFlushedLocally(o, r);
}

/** Only where somebody said how many CPUs there are can all of them flush for themselves. */
function isFlushedLocally(o: Obligation, r: Root): bool {
  const s = state();
  if (s.cpus === MAX_CPUS) return false;
  const all = ((<u64>1) << s.cpus) - 1;
  return (o.local & all) === all && (<bool>(r.flags & R_STAGE1) || (o.localStage1 & all) === all);
}

/** Is it discharged? Ends those below it that are. */
export function isClean(o: Obligation): bool {
  const r = rootAt(o.root);
  if (!isFlushed(o, r)) return false;
  let before = obligation(0),
    kid = obligation(o.kids);
  while (kid) {
    const next = kid.nextKid;
    if (isClean(kid)) {
      if (before) before.nextKid = next;
      else o.kids = next;
      discharge(kid);
    } else before = kid;
    kid = obligation(next);
  }
  return o.kids === 0;
}

/** The slot lets go of an obligation that is clean; one that stands below another ends with that one. */
export function settle(o: Obligation): void {
  if (o.below) orphan(o);
  else discharge(o);
}

/** A TLBI of the address comes to nothing: why. */
export function noteMiss(o: Obligation, why: u32): void {
  o.miss = why;
  o.missRecord = state().sequence;
}

/** The newer write, of `old`, takes the place of the older one: it needs the later flush. */
export function renew(o: Obligation, cpu: u32, clock: u32, cause: u32): void {
  demand(o.id !== 0 && o.root !== 0, RULE_OWED);
  o.cpu = cpu;
  o.clock = clock;
  o.record = state().sequence;
  o.time = state().time;
  o.flushed = 0;
  o.miss = MISS_NONE;
  o.local = 0;
  o.localStage1 = 0;
  if (cause < o.cause) o.cause = cause;
  o.id = ++state().obligations;
}
