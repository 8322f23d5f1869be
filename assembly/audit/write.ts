// One descriptor write against the rules: the break-before-make automaton, slot by slot [S2-20..24, PROP-3].

import { AF, isLocked, isTable, isValid } from "../arch/descriptor";
import { shift } from "../arch/granule";
import { holds, knows, learn, now } from "./clock";
import { discharge, isClean, Obligation, obligation, oblige, renew, settle } from "./obligation";
import { addressIn, covers, isCached, isDowngrade, needsBreak } from "./predicate";
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
import { violate } from "./report";
import { R_PARALLEL, R_TYPED, Root, rootAt } from "./root";
import { isAbandoned, isInside, isShared, needsGrace, stampBelow, stampTable } from "./section";
import { state } from "./state";
import { blame, breakOf, disown, dropBelow, isRight, link, orphanIn, own, parentOf, renewPage, standing } from "./tree";
import * as U from "./unit";

const LOCKED_BY: u32 = 0xff;
const LENT_TO: u32 = 0xff00;
const LENT_SHIFT: u32 = 8;
const LIFE_SHIFT: u32 = 16;
/** How deep a table is looked for leaves. */
const DEPTH: u32 = 5;

function setMark(u: U.Unit, word: u32, keep: u32, bits: u32): void {
  const at = U.markAt(u, word);
  store<u32>(at, (load<u32>(at) & keep) | bits);
}

function setValue(u: U.Unit, word: u32, old: u64, next: u64): void {
  store<u64>(U.valueAt(u, word), next);
  u.valid += (<u32>next & 1) - (<u32>old & 1);
}

/** Lends the slot to a CPU, or with `to` above all CPUs takes it back. */
export function lend(u: U.Unit, word: u32, to: u32): void {
  setMark(u, word, ~LENT_TO, to < 64 ? (to + 1) << LENT_SHIFT : 0);
}

/** CPU `c` writes `next` where `old` is; `ordered`: by release or compare-exchange. */
export function write(u: U.Unit, word: u32, old: u64, next: u64, c: u32, ordered: bool): void {
  const where = standing(u);
  if (where === U.LIVE) return writeLive(u, word, old, next, c, ordered);
  if (u.retired !== 0 && u.root !== 0) stampBelow(rootAt(u.root), u, next);
  if (where === U.FROZEN) {
    writeFrozen(u, word, old, next, c, ordered);
    setValue(u, word, old, next);
    return;
  }
  if (u.root && u.retired === 0) renewPage(u);
  setMark(u, word, 0, u.life << LIFE_SHIFT);
  setValue(u, word, old, next);
}

/** A table that is unlinked and not flushed: hardware may still walk it. Walkers that race may still install [LCK-11]. */
function writeFrozen(u: U.Unit, word: u32, old: u64, next: u64, c: u32, ordered: bool): void {
  if (old === next || (!isValid(old) && !isValid(next))) return;
  const r = rootAt(u.root);
  if (ordered && r.handle !== 0 && (!isValid(old) || isInside(c))) return;
  const parent = parentOf(u);
  blame(V_FROZEN, c, r, u.level, U.addressOf(u, word), old, next, breakOf(parent, u));
}

function writeLive(u: U.Unit, word: u32, old: u64, next: u64, c: u32, ordered: bool): void {
  const r = rootAt(u.root);
  checkOwner(r, u, word, old, next, c, ordered);
  const typed = <bool>(r.flags & R_TYPED);
  const locked: u32 = isLocked(next, typed) ? c + 1 : 0;
  setMark(u, word, LENT_TO, (u.life << LIFE_SHIFT) | locked);
  setValue(u, word, old, next);
  if (next === old) return;
  if (ordered) observe(u, word, c);
  if (!isValid(next)) {
    if (!isValid(old)) return;
    if (isTable(old, u.level) && needsGrace(r, ordered)) stampTable(r, addressIn(r, old), u.level + 1, U.UNRETIRED);
    unmake(r, u, word, old, c);
    return;
  }
  if (!isRight(r, next, u.level)) violate(V_ENCODING, c, r.handle, u.level, U.addressOf(u, word), old, next);
  else if (isValid(old)) change(r, u, word, old, next, c);
  else make(r, u, word, old, next, c);
}

/** A compare-exchange sees what is there: it comes after the write behind it. */
export function observe(u: U.Unit, word: u32, c: u32): void {
  const o = obligation(load<u32>(U.obligationAt(u, word)));
  if (o) learn(c, o.cpu, o.clock);
}

/** May CPU `c` write this slot? The root's lock, the marker, or a loan says so [LCK-4, S2-21]. */
function checkOwner(r: Root, u: U.Unit, word: u32, old: u64, next: u64, c: u32, ordered: bool): void {
  const mark = load<u32>(U.markAt(u, word)),
    typed = <bool>(r.flags & R_TYPED),
    lockedBy = isLocked(old, typed) ? mark & LOCKED_BY : 0,
    lent = (mark & LENT_TO) >> LENT_SHIFT;
  const locked = r.lock !== 0 && holds(c, r.lock);
  if (lent !== 0 && lent !== c + 1) {
    violate(V_STOLEN, c, r.handle, u.level, U.addressOf(u, word), old, next);
    return;
  }
  if (lockedBy !== 0 && lockedBy !== c + 1 && !mayTake(r, u, word, lockedBy - 1, next, c, locked)) {
    violate(V_STOLEN, c, r.handle, u.level, U.addressOf(u, word), old, next);
    return;
  }
  if (r.lock === 0 || locked || lent !== 0 || old === next) return;
  const mine = lockedBy === c + 1,
    parallel = <bool>(r.flags & R_PARALLEL);
  if (parallel ? !isShared(r, c, old, next, u.level, ordered, mine) : !isSharedStep(r, u, old, next, ordered, mine))
    violate(V_UNLOCKED, c, r.handle, u.level, U.addressOf(u, word), old, next);
}

/** May `c` write where CPU `by` has put its marker? */
function mayTake(r: Root, u: U.Unit, word: u32, by: u32, next: u64, c: u32, locked: bool): bool {
  return r.flags & R_PARALLEL ? isAbandoned(by, next, locked) : handedOver(u, word, by, c, locked);
}

/** Was the locked slot given to `c` on purpose? Then it knows of the marker, by the lock that it holds. */
function handedOver(u: U.Unit, word: u32, by: u32, c: u32, locked: bool): bool {
  const o = obligation(load<u32>(U.obligationAt(u, word)));
  if (o && o.cpu === by && knows(c, by, o.clock)) return true;
  return locked && !o;
}

/** What walkers may do that share a table without its lock: lock a slot, publish in one, and add rights [LCK-4]. */
function isSharedStep(r: Root, u: U.Unit, old: u64, next: u64, ordered: bool, mine: bool): bool {
  if (mine) return true;
  if (!ordered) return false;
  if (isLocked(next, <bool>(r.flags & R_TYPED))) return true;
  if (!isValid(old) || !isValid(next) || isTable(old, u.level) !== isTable(next, u.level)) return false;
  return !needsBreak(r, old, next, u.level) && !isDowngrade(r, old, next) && !(old & ~next & AF);
}

/** Valid to invalid. */
function unmake(r: Root, u: U.Unit, word: u32, old: u64, c: u32): void {
  const table = isTable(old, u.level);
  let o = obligation(0);
  if (isCached(r, old, u.level)) o = owe(r, u, word, old, c, CAUSE_BREAK);
  if (table) {
    state().generation++;
    const child = U.find(addressIn(r, old));
    if (o && child) o.child = child.serial;
  }
  disown(r, old, u.level, o, DEPTH);
}

/** The slot's obligation, new or renewed. */
function owe(r: Root, u: U.Unit, word: u32, old: u64, c: u32, cause: u32): Obligation {
  let o = obligation(load<u32>(U.obligationAt(u, word)));
  if (o && (o.below || isTable(o.old, u.level) || isClean(o))) {
    settle(o);
    o = obligation(0);
  }
  if (o) {
    renew(o, c, now(c), cause);
    return o;
  }
  o = oblige(r, u, word, u.base + ((<u64>word) << shift(r.ps, u.level)), u.level, old, c, now(c));
  if (o) o.cause = cause;
  return o;
}

/** Invalid to valid. */
function make(r: Root, u: U.Unit, word: u32, old: u64, next: u64, c: u32): void {
  const sh = shift(r.ps, u.level),
    ipa = u.base + ((<u64>word) << sh);
  const o = obligation(load<u32>(U.obligationAt(u, word)));
  if (o && restores(o, next, u, c)) return restore(r, u, word, next, o, c);
  const fresh = !o;
  if (o) {
    if (!isClean(o)) blame(V_EARLY_MAKE, c, r, u.level, U.addressOf(u, word), old, next, o);
    else dropBelow(r, o);
    settle(o);
  }
  const left = orphanIn(r, ipa, ipa + ((<u64>1) << sh));
  if (left) {
    blame(V_EARLY_MAKE, c, r, u.level, U.addressOf(u, word), old, next, left);
    discharge(left);
  }
  if (isTable(next, u.level)) {
    r.fresh = fresh;
    link(r, u, word, addressIn(r, next), u.level + 1, ipa, c);
    r.fresh = false;
  } else own(r, u, word, next, c);
}

/** Does the very descriptor come back that was broken? Then what hardware holds of it is right again. */
function restores(o: Obligation, next: u64, u: U.Unit, c: u32): bool {
  return (
    o.old === next && !o.mixed && !o.below && o.cause === CAUSE_BREAK && (!isTable(next, u.level) || stays(o, next, u))
  );
}

function stays(o: Obligation, next: u64, u: U.Unit): bool {
  const child = U.find(addressIn(rootAt(o.root), next));
  return child !== null && child.serial === o.child && child.parent === U.pointer(u);
}

function restore(r: Root, u: U.Unit, word: u32, next: u64, o: Obligation, c: u32): void {
  learn(c, o.cpu, o.clock);
  discharge(o);
  state().generation++;
  if (isTable(next, u.level) && r.flags & R_PARALLEL) stampTable(r, addressIn(r, next), u.level + 1, 0);
  if (!isTable(next, u.level)) own(r, u, word, next, c);
}

/** Valid to valid. */
function change(r: Root, u: U.Unit, word: u32, old: u64, next: u64, c: u32): void {
  const at = U.addressOf(u, word),
    level = u.level;
  let o = obligation(load<u32>(U.obligationAt(u, word)));
  if (needsBreak(r, old, next, level)) {
    violate(V_NO_BREAK, c, r.handle, level, at, old, next);
    return exchange(r, u, word, old, next, c, false);
  }
  if (isTable(old, level) && isTable(next, level)) return;
  if (addressIn(r, old) !== addressIn(r, next) || isTable(old, level) !== isTable(next, level))
    return exchange(r, u, word, old, next, c, true);
  if (o && covers(r, o.old, next, level) && !o.mixed) {
    settle(o);
    o = obligation(0);
  }
  if (!isCached(r, old, level)) return;
  const age = <bool>(old & ~next & AF);
  if (isDowngrade(r, old, next)) owe(r, u, word, old, c, CAUSE_DOWNGRADE);
  else if (age) owe(r, u, word, old, c, CAUSE_AGE);
}

/** Another memory or table stands in the slot: that was allowed (nothing cached, FEAT_BBM), or has been said to be wrong. */
function exchange(r: Root, u: U.Unit, word: u32, old: u64, next: u64, c: u32, owed: bool): void {
  const table = isTable(old, u.level),
    child = U.find(addressIn(r, old));
  let o = obligation(0);
  if (owed && isCached(r, old, u.level)) o = owe(r, u, word, old, c, CAUSE_BREAK);
  if (o && table && child) o.child = child.serial;
  disown(r, old, u.level, o, DEPTH);
  state().generation++;
  const ipa = u.base + ((<u64>word) << shift(r.ps, u.level));
  if (isTable(next, u.level)) link(r, u, word, addressIn(r, next), u.level + 1, ipa, c);
  else own(r, u, word, next, c);
}
