// The tables as they hang together: who names whom, who is reachable, who is unlinked and not yet flushed.

import { isTable, isValid } from "../arch/descriptor";
import { span, UNIT_SHIFT } from "../arch/granule";
import { demand, RULE_JUDGED_LINK } from "../demand";
import { Case, caseOfEntry } from "./case";
import { isClean, isFlushedWhole, Obligation, obligation, orphan, settle } from "./obligation";
import { claim, disclaim } from "./owner";
import { addressIn, isEncoded, outputOf } from "./predicate";
import { CAUSE_BREAK, V_ENCODING, V_LINKED_TWICE, V_STALE_TABLE, V_UNKNOWN_PAGE } from "./records";
import { violate } from "./report";
import { R_FILLED, Root, rootPointer, unitsOf } from "./root";
import { state, UNIT_ENTRIES } from "./state";
import * as U from "./unit";

/** How deep tables can hang: a damaged log cannot make the judge go round in circles. */
export const MAX_DEPTH: u32 = 6;

/** LIVE, PRIVATE or FROZEN. */
export function standing(u: U.Unit): u32 {
  const s = state();
  if (u.generation === s.generation) return u.standing;
  const now = standingOf(u, MAX_DEPTH);
  if (now !== U.FROZEN) {
    u.standing = now;
    u.generation = s.generation;
  }
  return now;
}

function standingOf(u: U.Unit, depth: u32): u32 {
  if (u.rootOf) return U.LIVE;
  const parent = U.parentOf(u);
  if (!parent || depth === 0) return U.PRIVATE;
  if (names(parent, u)) return standingOf(parent, depth - 1);
  const o = breakOf(parent, u);
  if (o && !isClean(o)) return U.FROZEN;
  u.parent = 0;
  return U.PRIVATE;
}

/** Does the word of the parent name this page now? */
function names(parent: U.Unit, u: U.Unit): bool {
  const value = load<u64>(U.valueAt(parent, u.parentWord));
  const r = U.rootOf(u);
  if (!isValid(value) || !r) return false;
  return addressIn(r, value) >> r.ps === u.key >> (r.ps - UNIT_SHIFT);
}

/** The broken link to this page; null once the slot has gone on. */
export function breakOf(parent: U.Unit, u: U.Unit): Obligation {
  const o = obligation(load<u32>(U.obligationAt(parent, u.parentWord)));
  const r = U.rootOf(u);
  if (!o || !r || o.cause !== CAUSE_BREAK || !isTable(o.old, o.level)) return obligation(0);
  return addressIn(r, o.old) >> r.ps === u.key >> (r.ps - UNIT_SHIFT) ? o : obligation(0);
}

/** Hangs the table that the word of `parent` names below it; checks what is in it. False: it is not to be linked. */
export function link(k: Case, parent: U.Unit, word: u32): bool {
  demand(isValid(load<u64>(U.valueAt(parent, word))), RULE_JUDGED_LINK);
  const r = U.rootOf(parent),
    n = unitsOf(r),
    place = U.addressOf(parent, word),
    page = addressIn(r, load<u64>(U.valueAt(parent, word)));
  let again = true;
  state().generation++;
  for (let i: u32 = 0; i < n; i++) {
    const u = U.find(page + ((<u64>i) << UNIT_SHIFT));
    const wrong = !u ? V_UNKNOWN_PAGE : isTaken(u, parent, word) ? V_LINKED_TWICE : 0;
    if (wrong) {
      violate(wrong, caseOfEntry(k, parent, word));
      return false;
    }
    if (u.place !== place || u.parentSerial !== parent.serial) {
      again = false;
      if (u.hung) renewPage(u);
    }
    hang(u, r, parent, word, i);
  }
  state().generation++;
  for (let i: u32 = 0; i < n; i++) adopt(k, r, U.find(page + ((<u64>i) << UNIT_SHIFT)), again);
  return true;
}

/** Is the page somebody's already: a root, linked elsewhere, or unlinked and not flushed? */
function isTaken(u: U.Unit, parent: U.Unit, word: u32): bool {
  if (u.rootOf) return true;
  const before = U.parentOf(u);
  if (!before || (u.parent === U.pointer(parent) && u.parentWord === word)) return false;
  return standingOf(u, MAX_DEPTH) !== U.PRIVATE;
}

/** Page `i` of a table hangs below the word of `parent`. */
function hang(u: U.Unit, r: Root, parent: U.Unit, word: u32, i: u32): void {
  U.setRoot(u, r);
  u.parent = U.pointer(parent);
  u.parentWord = word;
  u.parentSerial = parent.serial;
  u.level = parent.level + 1;
  u.base = U.inputOf(r, parent, word) + i * (U.spanOf(r, u) * UNIT_ENTRIES);
  u.place = U.addressOf(parent, word);
  u.hung = true;
}

/** A page that becomes reachable: its entries are of this life, or of its last one if it comes `again`, and of the format. */
export function adopt(k: Case, r: Root, u: U.Unit, again: bool): void {
  if (u.valid !== 0) r.flags |= R_FILLED;
  else if (u.life === 0) return;
  for (let word: u32 = 0; word < UNIT_ENTRIES; word++) {
    const value = load<u64>(U.valueAt(u, word));
    if (value === 0) continue;
    if (!again && ((load<u32>(U.markAt(u, word)) >> 16) & 255) !== u.life) {
      violate(V_STALE_TABLE, caseOfEntry(k, u, word));
      return;
    }
    if (isValid(value)) adoptWord(k, r, u, word, value);
  }
}

function adoptWord(k: Case, r: Root, u: U.Unit, word: u32, value: u64): void {
  if (!isRight(r, value, u.level) || (r.fresh && !isLikely(r, value, u.level))) {
    violate(V_ENCODING, caseOfEntry(k, u, word));
    return;
  }
  if (isTable(value, u.level)) link(k, u, word);
  else own(k, u, word);
}

/** A descriptor of the format, whose leaf memory can exist. */
export function isRight(r: Root, value: u64, level: i32): bool {
  if (!isEncoded(value, level, r)) return false;
  return isTable(value, level) || outputOf(r, value, level) >> r.outputBits === 0;
}

/** A leaf that came with its table, which replaces no block: a model's register has no PS to measure it by, so garbage is what is far off. */
function isLikely(r: Root, value: u64, level: i32): bool {
  return isTable(value, level) || outputOf(r, value, level) >> r.likelyBits === 0;
}

/** A leaf is there: its memory is this table's. */
export function own(k: Case, u: U.Unit, word: u32): void {
  demand(isValid(load<u64>(U.valueAt(u, word))), RULE_JUDGED_LINK);
  const r = U.rootOf(u),
    value = load<u64>(U.valueAt(u, word));
  const wrong = claim(r, outputOf(r, value, u.level), span(r.ps, u.level), value);
  if (wrong) violate(wrong, caseOfEntry(k, u, word));
}

/** The memory of a leaf, or of all leaves below a table, is nobody's; `o` says until when it can be reached. */
export function disown(r: Root, value: u64, level: i32, o: Obligation): void {
  if (!isTable(value, level)) return disclaim(r, outputOf(r, value, level), span(r.ps, level), value, o);
  const page = addressIn(r, value);
  for (let i: u32 = 0; i < unitsOf(r); i++) {
    const u = U.find(page + ((<u64>i) << UNIT_SHIFT));
    if (!u || u.valid === 0 || u.root !== rootPointer(r)) continue;
    for (let word: u32 = 0; word < UNIT_ENTRIES; word++) {
      const below = load<u64>(U.valueAt(u, word));
      if (isValid(below)) disown(r, below, level + 1, o);
    }
  }
}

/**
 * A table went, and one flush reached all that TLBs held of it: what walkers had broken below it before is gone too, though
 * whoever flushed did not know of it.
 */
export function dropBelow(r: Root, o: Obligation): void {
  if (o.child === 0 || (o.apart && !isFlushedWhole(o, r))) return;
  const page = addressIn(r, o.old),
    u = U.find(page);
  if (u && u.serial === o.child && r.opened > 1) dropPage(r, page, o.level + 1, o);
}

function dropPage(r: Root, page: u64, level: i32, except: Obligation): void {
  for (let i: u32 = 0; i < unitsOf(r); i++) {
    const u = U.find(page + ((<u64>i) << UNIT_SHIFT));
    if (!u || u.root !== rootPointer(r) || u.level !== level) continue;
    for (let word: u32 = 0; word < UNIT_ENTRIES; word++) {
      const o = obligation(load<u32>(U.obligationAt(u, word))),
        value = load<u64>(U.valueAt(u, word));
      if (isTable(value, level)) dropPage(r, addressIn(r, value), level + 1, except);
      if (o && o !== except) settle(o);
    }
  }
}

/** Obligations for the entries of a page live on by their addresses. */
function letGo(u: U.Unit): void {
  for (let word: u32 = 0; word < UNIT_ENTRIES; word++) {
    const o = obligation(load<u32>(U.obligationAt(u, word)));
    if (!o) continue;
    if (isClean(o)) settle(o);
    else orphan(o);
  }
}

/** A page is forgotten. */
export function forget(u: U.Unit): void {
  const parent = U.parentOf(u),
    o = parent ? breakOf(parent, u) : obligation(0);
  if (o && isClean(o)) dropBelow(U.rootOf(u), o);
  letGo(u);
  U.remove(u);
}

/** A page that was linked begins another life: what it holds now is stale until it is written again. */
export function renewPage(u: U.Unit): void {
  letGo(u);
  u.root = 0;
  u.parent = 0;
  u.hung = false;
  u.life = (u.life + 1) & 255;
}

/** An open obligation without a slot in [from, to), of another entry than `except`; null for none. */
export function orphanIn(r: Root, from: u64, to: u64): Obligation {
  if (r.orphans === 0 || from >= r.high || to <= r.low) return obligation(0);
  let o = obligation(r.open);
  while (o) {
    const next = obligation(o.next);
    if (o.unit === 0 && o.ipa < to && o.ipa + span(r.ps, o.level) > from && !o.below) {
      if (!isClean(o)) return o;
      settle(o);
    }
    o = next;
  }
  return o;
}
