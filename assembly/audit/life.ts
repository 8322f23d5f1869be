// Roots and pages: registered, loaded, released, given back; VMIDs with them [VMID-1..10, LCK-10..13].

import { vtcrIpaBits } from "../arch/control";
import { extract } from "../arch/field";
import { shift, UNIT_SHIFT } from "../arch/granule";
import { now } from "./clock";
import { cpu, W_HCR, W_TCR, W_VTCR } from "./cpu";
import { discharge, isClean, Obligation, obligation } from "./obligation";
import { reachable } from "./owner";
import {
  CAUSE_BREAK,
  O_KNOWN_PAGES,
  V_ASID,
  V_EARLY_FREE,
  V_FRAME_REUSE,
  V_GEOMETRY,
  V_KNOWN_PAGE,
  V_LINKED_TWICE,
  V_LOADED,
  V_NO_TABLE,
  V_RELEASE_UNFLUSHED,
  V_UNKNOWN_PAGE,
  V_VMID,
  V_VMID_REUSE,
} from "./records";
import { violate } from "./report";
import * as R from "./root";
import { checkGrace } from "./section";
import { state, UNIT_ENTRIES, vmidSlot } from "./state";
import { adopt, blame, breakOf, disown, forget, parentOf, standing } from "./tree";
import * as U from "./unit";

/** BADDR of a TTBR: [47:1], and PA[51:48] in [5:2] under LPA2 or 64K. */
const BADDR: u64 = 0x0000fffffffffffe;
const DEFAULT_TCR: u64 = 16;
const DEPTH: u32 = 5;

// --- pages --------------------------------------------------------------------------------------

/** A page of table memory is set up, all zero. */
export function initPage(c: u32, address: u64): void {
  const u = U.find(address);
  if (u) return initKnown(u, c, address);
  const o = reachable(address);
  if (o) blame(V_FRAME_REUSE, c, R.rootAt(o.root), o.level, address, o.old, 0, o);
  U.add(address);
}

function initKnown(u: U.Unit, c: u32, address: u64): void {
  const where = standing(u);
  if (where !== U.PRIVATE) violate(V_KNOWN_PAGE, c, 0, u.level, address, 0, 0);
  else if (u.valid !== 0) violate(V_KNOWN_PAGE, c, 0, 0, address, 0, 0);
}

/** A page is given back. */
export function freePage(c: u32, address: u64): void {
  const u = U.find(address);
  const o = reachable(address);
  if (o) blame(V_FRAME_REUSE, c, R.rootAt(o.root), o.level, address, o.old, 0, o);
  if (!u) return;
  checkGrace(u, c, address);
  const where = standing(u);
  const r = R.rootAt(u.root);
  if (where === U.LIVE) violate(V_EARLY_FREE, c, r ? r.handle : 0, u.level, address, 0, 0);
  else if (where === U.FROZEN) {
    const why = frozenBy(u);
    blame(V_EARLY_FREE, c, r, u.level, address, why ? why.old : 0, 0, why);
  }
  if (u.rootOf) R.rootAt(u.rootOf).flags |= R.R_RETIRED;
  forget(u);
}

/** The broken link above a frozen page. */
function frozenBy(u: U.Unit): Obligation {
  let at = u;
  for (let i: u32 = 0; i < DEPTH; i++) {
    const parent = parentOf(at);
    if (!parent) break;
    const o = breakOf(parent, at);
    if (o) return o;
    at = parent;
  }
  return obligation(0);
}

// --- roots --------------------------------------------------------------------------------------

/** Registers the start tables; false if one cannot be. */
export function adoptRoot(r: R.Root, c: u32): bool {
  const n = R.unitsOf(r) * r.pages;
  const each = (<u64>UNIT_ENTRIES) << shift(r.ps, r.startLevel);
  let ok = true;
  for (let i: u32 = 0; i < n; i++) {
    const at = r.address + ((<u64>i) << UNIT_SHIFT);
    let u = U.find(at);
    if (!u && !(state().options & O_KNOWN_PAGES)) u = U.add(at);
    const wrong = !u ? V_UNKNOWN_PAGE : u.rootOf || standing(u) !== U.PRIVATE ? V_LINKED_TWICE : 0;
    if (wrong) {
      violate(wrong, c, r.handle, r.startLevel, at, 0, 0);
      ok = false;
      continue;
    }
    if (!u) continue;
    u.rootOf = R.rootPointer(r);
    u.root = R.rootPointer(r);
    u.parent = 0;
    u.level = r.startLevel;
    u.base = each * i;
  }
  state().generation++;
  for (let i: u32 = 0; i < n; i++) {
    const u = U.find(r.address + ((<u64>i) << UNIT_SHIFT));
    if (u && u.rootOf === R.rootPointer(r)) adopt(r, u, c);
  }
  return ok;
}

/** Nobody walks it any more, and what TLBs hold of its VMID waits for the VMID's next user. */
export function retire(r: R.Root, c: u32): void {
  if (r.flags & R.R_RETIRED) return;
  const n = R.unitsOf(r) * r.pages;
  for (let i: u32 = 0; i < n; i++) {
    const u = U.find(r.address + ((<u64>i) << UNIT_SHIFT));
    if (!u || u.rootOf !== R.rootPointer(r)) continue;
    disownPage(r, u);
    u.rootOf = 0;
  }
  while (r.open) discharge(obligation(r.open));
  if (!r.left) {
    r.left = true;
    r.leftCpu = c;
    r.leftClock = now(c);
  }
  r.flags |= R.R_RETIRED;
  state().generation++;
}

function disownPage(r: R.Root, u: U.Unit): void {
  for (let word: u32 = 0; word < UNIT_ENTRIES && u.valid !== 0; word++) {
    const value = load<u64>(U.valueAt(u, word));
    if (value & 1) disown(r, value, r.startLevel, obligation(0), DEPTH);
  }
}

/** hint release_table. */
export function releaseRoot(c: u32, address: u64): void {
  const r = R.rootOfAddress(address);
  if (!r) {
    violate(V_NO_TABLE, c, 0, 0, address, 0, 0);
    return;
  }
  if (r.loaded !== 0) violate(V_LOADED, c, r.handle, r.startLevel, address, 0, r.loaded);
  let o = obligation(r.open);
  while (o) {
    const next = obligation(o.next);
    if (o.cause === CAUSE_BREAK && !o.below && !isClean(o)) {
      blame(V_RELEASE_UNFLUSHED, c, r, o.level, slotOf(o.unit, o.word), o.old, 0, o);
      break;
    }
    o = next;
  }
  r.lock = 0;
  retire(r, c);
}

function slotOf(unit: u32, word: u32): u64 {
  return unit ? U.addressOf(U.unitAt(unit), word) : 0;
}

// --- registers ----------------------------------------------------------------------------------

/** CPU `c` loads VTTBR_EL2 or TTBR0_EL2. */
export function loadRoot(c: u32, value: u64, stage1: bool): void {
  const self = cpu(c),
    before = R.rootAt(stage1 ? self.hyp : self.root);
  if (before) leave(before, c);
  if (stage1) {
    self.ttbr0 = value;
    self.hyp = 0;
  } else {
    self.vttbr = value;
    self.root = 0;
  }
  activate(c, stage1);
}

function leave(r: R.Root, c: u32): void {
  r.loaded &= ~((<u64>1) << c);
  if (r.loaded !== 0) return;
  r.left = true;
  r.leftCpu = c;
  r.leftClock = now(c);
}

/** Makes the loaded register's table known; nothing while translation is off and the register names no known page. */
export function activate(c: u32, stage1: bool): void {
  const self = cpu(c),
    value = stage1 ? self.ttbr0 : self.vttbr,
    address = value & BADDR,
    id = <u32>extract(value, 48, 16);
  const off = !stage1 && (self.written & W_HCR) !== 0 && !(self.hcr & 1);
  if (!U.find(address) && off) return;
  if (stage1 && id !== 0) {
    violate(V_ASID, c, 0, 0, address, 0, value);
    return;
  }
  let r = R.rootOfAddress(address);
  if (r && !stage1 && !(r.vmid === id + 1 || renumber(r, id, c))) return;
  if (!r) r = register(c, address, stage1, id);
  if (!r) return;
  r.flags |= R.R_USED;
  r.loaded |= (<u64>1) << c;
  if (stage1) self.hyp = R.rootPointer(r);
  else self.root = R.rootPointer(r);
}

/** A table that has a VMID gets another: only when nobody uses it, and after a flush. */
function renumber(r: R.Root, id: u32, c: u32): bool {
  if (r.vmid !== 0 && (r.loaded !== 0 || !isForgotten(r))) {
    violate(V_VMID, c, r.handle, r.startLevel, r.address, r.vmid - 1, id);
    return false;
  }
  if (r.vmid !== 0) store<u32>(vmidSlot(r.vmid - 1), 0);
  r.vmid = 0;
  return name(r, id, c);
}

/** Is all that TLBs held of its VMID flushed since the last CPU let go of it? */
function isForgotten(r: R.Root): bool {
  if (!r.left) return false;
  const at = r.leftCpu * 4;
  return load<u32>(R.fullOf(r) + at) >= r.leftClock || load<u32>(state().full + at) >= r.leftClock;
}

/** Gives the root its VMID; false if another table has it. */
function name(r: R.Root, id: u32, c: u32): bool {
  const slot = vmidSlot(id),
    other = R.rootAt(load<u32>(slot));
  if (other && other !== r) {
    const retired = <bool>(other.flags & R.R_RETIRED);
    if (!retired) {
      violate(V_VMID, c, r.handle, r.startLevel, r.address, other.address, r.address);
      return false;
    }
    if (!isForgotten(other)) violate(V_VMID_REUSE, c, r.handle, r.startLevel, r.address, other.address, id);
    R.dropRoot(other);
  }
  r.vmid = id + 1;
  store<u32>(slot, R.rootPointer(r));
  return true;
}

function register(c: u32, address: u64, stage1: bool, id: u32): R.Root {
  const self = cpu(c),
    none = R.rootAt(0);
  if (!U.find(address)) {
    violate(V_UNKNOWN_PAGE, c, 0, 0, address, 0, stage1 ? self.ttbr0 : self.vttbr);
    return none;
  }
  const known = <bool>(self.written & (stage1 ? W_TCR : W_VTCR));
  const control = known ? (stage1 ? self.tcr : self.vtcr) : DEFAULT_TCR;
  const r = R.addRoot(address);
  if (!r) return r;
  r.lock = lockOf(address);
  if (!R.setGeometry(r, control, stage1, known)) {
    violate(V_GEOMETRY, c, 0, 0, address, vtcrIpaBits(control), control);
    R.dropRoot(r);
    return none;
  }
  if (!stage1 && !name(r, id, c)) {
    R.dropRoot(r);
    return none;
  }
  if (stage1) r.flags |= R.R_STAGE1;
  adoptRoot(r, c);
  return r;
}

// Locks of tables that are not roots yet wait in the page: the hint comes before the register.

/** hint set_root_lock. */
export function setLock(c: u32, address: u64, lock: u64): void {
  const r = R.rootOfAddress(address);
  if (r) {
    r.lock = lock;
    return;
  }
  const u = U.find(address);
  if (!u) {
    violate(V_UNKNOWN_PAGE, c, 0, 0, address, 0, lock);
    return;
  }
  u.lock = lock;
}

function lockOf(address: u64): u64 {
  const u = U.find(address);
  return u ? u.lock : 0;
}
