// Roots: registered, and released [VMID-1..10].

import { vtcrIpaBits } from "../arch/control";
import { UNIT_SHIFT } from "../arch/granule";
import { demand, RULE_JUDGED_ROOT } from "../demand";
import { Case, caseOf, caseOfRoot } from "./case";
import { dischargeAll, isClean, Obligation, obligation } from "./obligation";
import {
  CAUSE_BREAK,
  CAUSE_DOWNGRADE,
  O_KNOWN_PAGES,
  V_EARLY_RETURN,
  V_GEOMETRY,
  V_LINKED_TWICE,
  V_LOADED,
  V_NO_TABLE,
  V_RELEASE_UNFLUSHED,
  V_UNKNOWN_PAGE,
} from "./records";
import { blame, violate } from "./report";
import * as R from "./root";
import { state, UNIT_ENTRIES } from "./state";
import { giveUp, tagAt } from "./tag";
import { adopt, disown, renewPage, standing } from "./tree";
import * as U from "./unit";

/** A start table covers input from 0: what each of its units covers. */
function unitSpan(r: R.Root, u: U.Unit): u64 {
  return U.spanOf(r, u) * UNIT_ENTRIES;
}

/** Registers the start tables; false if one cannot be. */
export function adoptRoot(k: Case, r: R.Root): bool {
  demand(r.serial !== 0, RULE_JUDGED_ROOT);
  const n = R.unitsOf(r) * r.pages;
  let ok = true;
  for (let i: u32 = 0; i < n; i++) {
    const at = r.address + ((<u64>i) << UNIT_SHIFT);
    let u = U.find(at);
    if (!u && !(state().options & O_KNOWN_PAGES)) u = U.add(at);
    const wrong = !u ? V_UNKNOWN_PAGE : u.rootOf || standing(u) !== U.PRIVATE ? V_LINKED_TWICE : 0;
    if (wrong) {
      k.address = at;
      violate(wrong, k);
      ok = false;
    } else if (u) becomeStart(r, u, i);
  }
  state().generation++;
  for (let i: u32 = 0; i < n; i++) {
    const u = U.find(r.address + ((<u64>i) << UNIT_SHIFT));
    if (u && u.rootOf === R.rootPointer(r)) adopt(k, r, u, false);
  }
  return ok;
}

/** Unit `i` of the start tables. */
function becomeStart(r: R.Root, u: U.Unit, i: u32): void {
  if (u.hung) renewPage(u);
  u.rootOf = R.rootPointer(r);
  U.setRoot(u, r);
  u.level = r.startLevel;
  u.base = unitSpan(r, u) * i;
}

/** Nobody walks it any more, and what TLBs hold of its VMID waits for the VMID's next user. Its tables stay as they are. */
export function retire(r: R.Root): void {
  release(r);
  R.dropRoot(r);
}

/** `retire`, but what is known of the root is kept: whoever tells of its pages names it. */
export function release(r: R.Root): void {
  const n = R.unitsOf(r) * r.pages;
  for (let i: u32 = 0; i < n; i++) {
    const u = U.find(r.address + ((<u64>i) << UNIT_SHIFT));
    if (!u || u.rootOf !== R.rootPointer(r)) continue;
    disownPage(r, u);
    u.rootOf = 0;
    u.root = 0;
  }
  const t = tagAt(r.tag);
  if (t) giveUp(t, r);
  dischargeAll(r);
  state().generation++;
}

function disownPage(r: R.Root, u: U.Unit): void {
  for (let word: u32 = 0; word < UNIT_ENTRIES && u.valid !== 0; word++) {
    const value = load<u64>(U.valueAt(u, word));
    if (value & 1) disown(r, value, r.startLevel, obligation(0));
  }
}

/** A break that is not flushed is a violation of who ends the table. */
export function checkFlushed(k: Case, r: R.Root): void {
  demand(r.serial !== 0, RULE_JUDGED_ROOT);
  let o = obligation(r.open);
  while (o) {
    const next = obligation(o.next);
    if (o.cause === CAUSE_BREAK && !o.below && !isClean(o)) {
      k.level = o.level;
      k.address = slotOf(o);
      blame(V_RELEASE_UNFLUSHED, k, o);
      return;
    }
    o = next;
  }
}

/** CPU `c` says that nobody uses what it took away: one objection for each table where that is not so. */
export function checkPromise(c: u32): void {
  for (let r = R.rootAt(state().roots); r; r = R.rootAt(r.next)) {
    let o = obligation(r.open);
    while (o && !isDue(o, c)) o = obligation(o.next);
    if (!o) continue;
    const k = caseOfRoot(c, r);
    k.level = o.level;
    k.address = slotOf(o);
    blame(V_EARLY_RETURN, k, o);
  }
}

/** Did CPU `c` take it away, and does its flush lack? An access flag needs none. */
function isDue(o: Obligation, c: u32): bool {
  return o.cpu === c && o.cause <= CAUSE_DOWNGRADE && !o.below && !isClean(o);
}

function slotOf(o: Obligation): u64 {
  return o.unit ? U.addressOf(U.unitAt(o.unit), o.word) : 0;
}

/** hint release_table. */
export function releaseRoot(c: u32, address: u64): void {
  const r = R.rootOfAddress(address);
  if (!r) {
    violate(V_NO_TABLE, caseOf(c, address));
    return;
  }
  const k = caseOfRoot(c, r);
  if (r.loaded !== 0) {
    k.next = r.loaded;
    violate(V_LOADED, k);
  }
  checkFlushed(k, r);
  retire(r);
}

/** A root at `address` by its control register; null where it cannot be one. */
export function register(k: Case, stage1: bool, control: u64, known: bool, e2h: bool): R.Root {
  const none = R.rootAt(0),
    u = U.find(k.address);
  if (!u) {
    violate(V_UNKNOWN_PAGE, k);
    return none;
  }
  const r = R.addRoot(k.address);
  if (!r) return r;
  joinLock(r, u.lock);
  if (!R.setGeometry(r, control, stage1, known, e2h)) {
    k.next = control;
    k.old = vtcrIpaBits(control);
    violate(V_GEOMETRY, k);
    R.dropRoot(r);
    return none;
  }
  k.root = R.rootPointer(r);
  k.level = r.startLevel;
  adoptRoot(k, r);
  return r;
}

// Locks of tables that are not roots yet wait in the page: the hint comes before the register.

/** hint set_root_lock. */
export function setLock(c: u32, address: u64, lock: u64): void {
  const r = R.rootOfAddress(address);
  if (r) return joinLock(r, lock);
  const u = U.find(address);
  if (u) u.lock = lock;
  else {
    const k = caseOf(c, address);
    k.next = lock;
    violate(V_UNKNOWN_PAGE, k);
  }
}

/** The root has this lock. A VM has one lock for all its tables, nested ones too: they are one family. */
function joinLock(r: R.Root, lock: u64): void {
  r.lock = lock;
  if (lock === 0) return;
  for (let other = R.rootAt(state().roots); other; other = R.rootAt(other.next)) {
    if (other !== r && other.lock === lock) {
      r.family = other.family;
      return;
    }
  }
}

/** hint set_owner_root of a root: it belongs to the VM of another. */
export function setOwner(address: u64, owner: u64): void {
  const r = R.rootOfAddress(address),
    other = R.rootOfAddress(owner);
  if (r && other) r.family = other.family;
}
