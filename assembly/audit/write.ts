// One descriptor write against the rules: the break-before-make automaton, slot by slot [S2-20..24, PROP-3].

import { AF, isLocked, isTable, isValid } from "../arch/descriptor";
import { Case, rootOf, unitOf } from "./case";
import { holds, knows, learn, now } from "./clock";
import { discharge, isClean, Obligation, obligation, oblige, renew, settle } from "./obligation";
import { addressIn, covers, isCached, isDowngrade, isTableDowngrade, mustBreak, needsBreak } from "./predicate";
import {
  CAUSE_AGE,
  CAUSE_BREAK,
  CAUSE_DOWNGRADE,
  V_EARLY_MAKE,
  V_ENCODING,
  V_FROZEN,
  V_NO_BREAK,
  V_STOLEN,
  V_UNLOCKED,
} from "./records";
import { blame, violate } from "./report";
import { R_FILLED, R_PARALLEL, R_TYPED, rootAt } from "./root";
import { checkRun } from "./run";
import { isAbandoned, isInside, isShared, needsGrace, stampBelow, stampTable } from "./section";
import { MAX_CPUS, state } from "./state";
import { breakOf, disown, dropBelow, isRight, link, orphanIn, own, renewPage, standing } from "./tree";
import * as U from "./unit";

const LOCKED_BY: u32 = 0xff;
const LENT_TO: u32 = 0xff00;
const LENT_SHIFT: u32 = 8;
const LIFE_SHIFT: u32 = 16;

function setMark(u: U.Unit, word: u32, keep: u32, bits: u32): void {
  const at = U.markAt(u, word);
  store<u32>(at, (load<u32>(at) & keep) | bits);
}

/** Lends the slot to a CPU, or with `to` above all CPUs takes it back. */
export function lend(u: U.Unit, word: u32, to: u32): void {
  setMark(u, word, ~LENT_TO, to < MAX_CPUS ? (to + 1) << LENT_SHIFT : 0);
}

/** The slot's obligation, null for none. */
function slotOf(k: Case): Obligation {
  return obligation(load<u32>(U.obligationAt(unitOf(k), k.word)));
}

/** The write of a case. */
export function write(k: Case): void {
  const u = unitOf(k),
    where = standing(u);
  if (where === U.LIVE) return writeLive(k);
  const r = U.rootOf(u);
  if (u.retired !== 0 && r) stampBelow(r, u, k.next);
  if (where === U.FROZEN) {
    writeFrozen(k);
    return U.amend(u, k.word, k.next);
  }
  if (u.hung && u.retired === 0) renewPage(u);
  setMark(u, k.word, 0, u.life << LIFE_SHIFT);
  U.amend(u, k.word, k.next);
}

/** A table that is unlinked and not flushed: hardware may still walk it. Walkers that race may still install [LCK-11]. */
function writeFrozen(k: Case): void {
  if (k.old === k.next || (!isValid(k.old) && !isValid(k.next))) return;
  const r = rootOf(k),
    u = unitOf(k);
  if (k.ordered && r.handle !== 0 && (!isValid(k.old) || isInside(k.cpu))) return;
  blame(V_FROZEN, k, breakOf(U.parentOf(u), u));
}

function writeLive(k: Case): void {
  const r = rootOf(k),
    u = unitOf(k);
  checkOwner(k);
  const locked: u32 = isLocked(k.next, <bool>(r.flags & R_TYPED)) ? k.cpu + 1 : 0;
  setMark(u, k.word, LENT_TO, (u.life << LIFE_SHIFT) | locked);
  U.amend(u, k.word, k.next);
  if (k.next === k.old) return;
  if (k.ordered) observe(u, k.word, k.cpu);
  if (!isValid(k.next)) {
    if (isValid(k.old)) unmake(k);
    return;
  }
  r.flags |= R_FILLED;
  if (!isRight(r, k.next, u.level)) violate(V_ENCODING, k);
  else if (isValid(k.old)) change(k);
  else make(k);
  if (u.contiguous !== 0) checkRun(k);
}

/** A compare-exchange sees what is there: it comes after the write behind it. */
export function observe(u: U.Unit, word: u32, c: u32): void {
  const o = obligation(load<u32>(U.obligationAt(u, word)));
  if (o) learn(c, o.cpu, o.clock);
}

// --- who may write ------------------------------------------------------------------------------

/** May the CPU write this slot? The root's lock, the marker, or a loan says so [LCK-4, S2-21]. */
function checkOwner(k: Case): void {
  const r = rootOf(k),
    mark = load<u32>(U.markAt(unitOf(k), k.word)),
    lockedBy = isLocked(k.old, <bool>(r.flags & R_TYPED)) ? mark & LOCKED_BY : 0,
    lent = (mark & LENT_TO) >> LENT_SHIFT,
    self = k.cpu + 1;
  const locked = r.lock !== 0 && holds(k.cpu, r.lock);
  if ((lent !== 0 && lent !== self) || (lockedBy !== 0 && lockedBy !== self && !mayTake(k, lockedBy - 1, locked))) {
    violate(V_STOLEN, k);
    return;
  }
  if (r.lock === 0 || locked || lent !== 0 || k.old === k.next) return;
  const mine = lockedBy === self;
  if (r.flags & R_PARALLEL && lockedBy !== 0 && !mine) return; // what a burial does needs no lock
  if (r.flags & R_PARALLEL ? !isShared(k, mine) : !isSharedStep(k, mine)) violate(V_UNLOCKED, k);
}

/** May the CPU write where CPU `by` has put its marker? */
function mayTake(k: Case, by: u32, locked: bool): bool {
  return rootOf(k).flags & R_PARALLEL ? isAbandoned(by, k.next) : handedOver(k, by, locked);
}

/** Was the locked slot given to the CPU on purpose? Then it knows of the marker, by the lock that it holds. */
function handedOver(k: Case, by: u32, locked: bool): bool {
  const o = slotOf(k);
  if (o && o.cpu === by && knows(k.cpu, by, o.clock)) return true;
  return locked && !o;
}

/** What walkers may do that share a table without its lock: lock a slot, publish in one, and add rights [LCK-4]. */
function isSharedStep(k: Case, mine: bool): bool {
  if (mine) return true;
  const r = rootOf(k),
    old = k.old,
    next = k.next;
  if (!k.ordered) return false;
  if (isLocked(next, <bool>(r.flags & R_TYPED))) return true;
  if (!isValid(old) || !isValid(next) || isTable(old, k.level) !== isTable(next, k.level)) return false;
  return !mustBreak(r, old, next, k.level) && !isDowngrade(r, old, next) && !(old & ~next & AF);
}

// --- what it owes -------------------------------------------------------------------------------

/** Valid to invalid. What hardware cannot cache may have been cached before it became so: AF=0 behind AF=1. */
function unmake(k: Case): void {
  const r = rootOf(k),
    old = k.old,
    before = slotOf(k);
  let o = obligation(0);
  if (isTable(old, k.level) && needsGrace(r, k.ordered)) stampTable(r, addressIn(r, old), k.level + 1, U.UNRETIRED);
  if (isCached(r, old, k.level) || (before && !isClean(before))) o = owe(k, CAUSE_BREAK);
  if (isTable(old, k.level)) {
    state().generation++;
    const child = U.find(addressIn(r, old));
    if (o && child) o.child = child.serial;
  }
  disown(r, old, k.level, o);
}

/** The slot's obligation for the old descriptor, new or renewed. */
function owe(k: Case, cause: u32): Obligation {
  const r = rootOf(k),
    u = unitOf(k);
  let o = slotOf(k);
  if (o && (o.below || isTable(o.old, k.level) || isClean(o))) {
    settle(o);
    o = obligation(0);
  }
  if (o) {
    if (needsBreak(r, o.old, k.old, k.level) || isDowngrade(r, k.old, o.old)) o.mixed = true;
    renew(o, k.cpu, now(k.cpu), cause);
    return o;
  }
  o = oblige(r, u, k.word, U.inputOf(r, u, k.word), k.level, k.old, k.cpu, now(k.cpu));
  if (o) o.cause = cause;
  return o;
}

/** Invalid to valid. */
function make(k: Case): void {
  const r = rootOf(k),
    o = slotOf(k),
    fresh = !o;
  if (o) {
    if (restores(o, k)) return restore(o, k);
    if (isClean(o)) dropBelow(r, o);
    else if (resumes(o, k)) return resume(o, k);
    else blame(V_EARLY_MAKE, k, o);
    settle(o);
  }
  const from = U.inputOf(r, unitOf(k), k.word);
  const left = orphanIn(r, from, from + U.spanOf(r, unitOf(k)));
  if (left) {
    blame(V_EARLY_MAKE, k, left);
    discharge(left);
  }
  r.fresh = fresh;
  settleIn(k);
  r.fresh = false;
}

/** The slot holds its new descriptor: the table hangs there, or the memory is this table's. */
function settleIn(k: Case): void {
  if (isTable(k.next, k.level)) link(k, unitOf(k), k.word);
  else own(k, unitOf(k), k.word);
}

/** Does the very table come back that was unlinked? Then what hardware holds of it is right again. */
function restores(o: Obligation, k: Case): bool {
  if (o.old !== k.next || o.mixed || o.below) return false;
  const child = U.find(addressIn(rootAt(o.root), k.next));
  return child !== null && child.serial === o.child && child.parent === k.unit;
}

function restore(o: Obligation, k: Case): void {
  const r = rootOf(k);
  learn(k.cpu, o.cpu, o.clock);
  discharge(o);
  state().generation++;
  if (r.flags & R_PARALLEL) stampTable(r, addressIn(r, k.next), k.level + 1, 0);
}

/** Does a leaf come back that maps the same memory in the same way? Then it is as if it had been changed in place. */
function resumes(o: Obligation, k: Case): bool {
  if (o.mixed || o.below || isTable(o.old, k.level) || isTable(k.next, k.level)) return false;
  return !needsBreak(rootOf(k), o.old, k.next, k.level);
}

function resume(o: Obligation, k: Case): void {
  learn(k.cpu, o.cpu, o.clock);
  if (isDowngrade(rootOf(k), o.old, k.next)) o.cause = CAUSE_DOWNGRADE;
  else if (o.old & ~k.next & AF) o.cause = CAUSE_AGE;
  else discharge(o);
  own(k, unitOf(k), k.word);
}

/** Valid to valid: judged by what stands there, and by what stood there and is not flushed. */
function change(k: Case): void {
  const r = rootOf(k),
    old = k.old,
    next = k.next,
    level = k.level;
  let o = slotOf(k);
  if (o && isClean(o)) {
    settle(o);
    o = obligation(0);
  }
  const stale = o !== null && needsBreak(r, o.old, next, level);
  if (stale || mustBreak(r, old, next, level)) {
    if (stale && !mustBreak(r, old, next, level)) blame(V_NO_BREAK, k, o);
    else violate(V_NO_BREAK, k);
    if (o) settle(o);
    return exchange(k, false);
  }
  if (isTable(old, level) && isTable(next, level)) {
    if (isTableDowngrade(r, old, next)) restrict(k);
    return;
  }
  if (addressIn(r, old) !== addressIn(r, next) || isTable(old, level) !== isTable(next, level))
    return exchange(k, true);
  if (o && covers(r, o.old, next, level) && !o.mixed) {
    settle(o);
    o = obligation(0);
  }
  const cached = isCached(r, old, level);
  if (isDowngrade(r, old, next)) {
    if (cached || o) owe(k, CAUSE_DOWNGRADE);
  } else if (cached && !o && old & ~next & AF) owe(k, CAUSE_AGE);
}

/** A table descriptor takes rights from all below it: a flush has to reach the table, and every leaf. */
function restrict(k: Case): void {
  const o = owe(k, CAUSE_DOWNGRADE),
    child = U.find(addressIn(rootOf(k), k.old));
  if (o && child) o.child = child.serial;
}

/** Another memory or table stands in the slot: that was allowed (nothing cached, FEAT_BBM), or has been said to be wrong. */
function exchange(k: Case, owed: bool): void {
  const r = rootOf(k),
    child = U.find(addressIn(r, k.old));
  let o = obligation(0);
  if (owed && isCached(r, k.old, k.level)) o = owe(k, CAUSE_BREAK);
  if (o && child && isTable(k.old, k.level)) o.child = child.serial;
  disown(r, k.old, k.level, o);
  state().generation++;
  settleIn(k);
}
