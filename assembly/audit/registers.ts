// What a CPU writes to its system registers: which tables it walks, under which VMID or ASID, and by which rules.

import { ttbrId } from "../arch/control";
import { maskOf, put } from "../arch/field";
import {
  HCR_E2H,
  HCR_FWB,
  HCR_TGE,
  HCR_VM,
  SCTLR_M,
  TCR_IRGN0,
  TCR_ORGN0,
  TCR_PS,
  TCR_SH0,
  TTBR_ID,
  VTCR_HA,
  VTCR_HD,
  VTCR_VS,
} from "../arch/registers";
import { caseOf, caseOfRoot } from "./case";
import * as C from "./cpu";
import { register, retire } from "./life";
import { dischargeAll } from "./obligation";
import * as K from "./records";
import { violate, wants } from "./report";
import * as R from "./root";
import { state } from "./state";
import { giveUp, isForgotten, isFree, isHeldBy, leaveTag, Tag, tagAt, tagOf, tagPointer } from "./tag";
import * as U from "./unit";

const DEFAULT_TCR: u64 = 16;

/** Fields of VTCR_EL2 and TCR_EL2 that TLBs may hold. */
function held(control: u64): u64 {
  const cached = maskOf(TCR_IRGN0) | maskOf(TCR_ORGN0) | maskOf(TCR_SH0) | maskOf(TCR_PS) | VTCR_HA | VTCR_HD;
  return R.sizesOf(control) | (control & cached);
}

function bitOf(c: u32): u64 {
  return (<u64>1) << c;
}

export function isE2H(self: C.Cpu): bool {
  return <bool>(self.hcr & HCR_E2H);
}

/** Do TLBIs of EL1&0's stage 1 act on the host's EL2&0 regime? */
export function isHost(self: C.Cpu): bool {
  return (self.hcr & (HCR_E2H | HCR_TGE)) === (HCR_E2H | HCR_TGE);
}

/** VMID that the CPU's VTTBR_EL2 names: 8 bits where a real VTCR_EL2 says so. */
export function vmidOf(self: C.Cpu): u32 {
  const narrow = R.isReal(self.vtcr) && !(self.vtcr & VTCR_VS);
  return ttbrId(self.vttbr, !narrow);
}

/** The tag of the VMID in VTTBR_EL2; null if the CPU never wrote it. */
export function vmidTag(self: C.Cpu): Tag {
  return self.written & C.W_VTTBR ? tagOf(vmidOf(self), false) : tagAt(0);
}

/** A register is written. */
export function writeRegister(c: u32, which: i32, value: u64): void {
  const self = C.cpu(c);
  switch (which) {
    case K.SYSREG_VTTBR:
      return writeVttbr(c, value);
    case K.SYSREG_TTBR0:
      return writeTtbr0(c, value);
    case K.SYSREG_VTCR:
      return writeVtcr(self, value);
    case K.SYSREG_TCR:
      return writeTcr(c, value);
    case K.SYSREG_MAIR:
      return writeMair(c, value);
    case K.SYSREG_HCR:
      return writeHcr(c, value);
    case K.SYSREG_SCTLR:
      return writeSctlr(c, value);
  }
}

// --- stage 2 ------------------------------------------------------------------------------------

function writeVttbr(c: u32, value: u64): void {
  const self = C.cpu(c),
    before = vmidOf(self),
    first = !(self.written & C.W_VTTBR);
  leaveGuest(c);
  self.vttbr = value;
  self.written |= C.W_VTTBR;
  if (!first && vmidOf(self) !== before) self.written |= C.W_UNSYNCED;
  if (!(self.written & C.W_OFF)) enterGuest(c);
}

/** The CPU walks its stage-2 table no more. */
function leaveGuest(c: u32): void {
  const self = C.cpu(c),
    r = R.rootAt(self.root);
  self.root = 0;
  self.written &= ~C.W_VTCR_LIVE;
  if (!r || !(r.loaded & bitOf(c))) return;
  r.loaded &= ~bitOf(c);
  const t = tagAt(r.tag);
  if (t) leaveTag(t, r, c, self.rootSince);
}

/** The CPU walks the table in VTTBR_EL2; nothing while HCR_EL2.VM never was on and the register names no known page. */
function enterGuest(c: u32): void {
  const self = C.cpu(c),
    known = (self.written & C.W_VTCR) !== 0,
    control = known ? self.vtcr : DEFAULT_TCR,
    address = R.baseOf(self.vttbr, control),
    k = caseOf(c, address);
  if (!U.find(address) && (self.written & C.W_HCR) !== 0 && !(self.hcr & HCR_VM)) return;
  k.next = self.vttbr;
  let r = R.rootOfAddress(address);
  if (r && (r.flags & R.R_STAGE1) !== 0) {
    violate(K.V_LINKED_TWICE, k);
    return;
  }
  if (r && known && differsInSize(r, control) && r.loaded === 0) {
    retire(r);
    r = R.rootAt(0);
  }
  if (!r) r = register(k, false, control, known, false);
  if (!r || !takeVmid(r, c)) return;
  settleControl(r, c);
  r.loaded |= bitOf(c);
  self.root = R.rootPointer(r);
  self.rootSince = state().time;
}

/** A CPU of an engine's host walks `r` under `vmid` from here on; none for null. */
export function walkTable(c: u32, r: R.Root, vmid: u64): void {
  const self = C.cpu(c);
  leaveGuest(c);
  if (!r) return;
  self.vttbr = put(vmid, TTBR_ID);
  self.written |= C.W_VTTBR;
  if (!takeVmid(r, c)) return;
  r.loaded |= bitOf(c);
  self.root = R.rootPointer(r);
  self.rootSince = state().time;
}

/** Gives the root the VMID of CPU `c`; false if CPUs walk another table under it, or this one under another VMID. */
function takeVmid(r: R.Root, c: u32): bool {
  const t = vmidTag(C.cpu(c));
  if (!t || t.root === R.rootPointer(r)) return true;
  const other = R.rootAt(t.root),
    mine = tagAt(r.tag),
    k = caseOfRoot(c, r);
  k.old = other ? other.address : <u64>r.id;
  k.next = <u64>vmidOf(C.cpu(c));
  if (other ? other.loaded !== 0 : mine && r.loaded !== 0) {
    violate(K.V_VMID, k);
    return false;
  }
  if (other) giveUpIdle(t, other);
  if (mine) giveUpIdle(mine, r);
  if (!isFree(t, r)) violate(other ? K.V_VMID : K.V_VMID_REUSE, k);
  t.root = R.rootPointer(r);
  r.tag = tagPointer(t);
  r.id = vmidOf(C.cpu(c));
  return true;
}

/** An idle table loses its VMID: what is left under it concerns whoever has the VMID next. */
function giveUpIdle(t: Tag, r: R.Root): void {
  giveUp(t, r);
  dischargeAll(r);
}

// --- EL2 ----------------------------------------------------------------------------------------

function writeTtbr0(c: u32, value: u64): void {
  const self = C.cpu(c);
  leaveHyp(c);
  self.ttbr0 = value;
  self.written |= C.W_TTBR0;
  if (!(self.written & C.W_HYP_OFF)) enterHyp(c);
}

function leaveHyp(c: u32): void {
  const self = C.cpu(c),
    r = R.rootAt(self.hyp);
  self.hyp = 0;
  if (!r || !(r.loaded & bitOf(c))) return;
  r.loaded &= ~bitOf(c);
  const t = tagAt(r.tag);
  // EL2 runs on this very table: whatever was flushed before may be there again.
  if (t) leaveTag(t, r, c, state().time);
}

function enterHyp(c: u32): void {
  const self = C.cpu(c),
    e2h = isE2H(self),
    known = (self.written & C.W_TCR) !== 0,
    control = known ? self.tcr : DEFAULT_TCR,
    address = R.baseOf(self.ttbr0, control),
    asid = ttbrId(self.ttbr0, true),
    k = caseOf(c, address);
  k.next = self.ttbr0;
  if (asid !== 0 && !e2h) {
    violate(K.V_ASID, k);
    return;
  }
  let r = R.rootOfAddress(address);
  if (r && !(r.flags & R.R_STAGE1)) {
    violate(K.V_LINKED_TWICE, k);
    return;
  }
  if (!r) r = register(k, true, control, known, e2h);
  if (!r) return;
  const t = tagOf(asid, true);
  if (t) {
    // A table that changed since the CPU left it was flushed on all CPUs as it changed.
    if (!isHeldBy(t, r, c)) violate(K.V_STALE_ROOT, caseOfRoot(c, r));
    r.tag = tagPointer(t);
    r.id = asid;
  }
  r.loaded |= bitOf(c);
  self.hyp = R.rootPointer(r);
  self.hypSince = state().time;
}

/** May the CPU's TLB hold translations of EL2 now? */
function holdsHyp(c: u32): bool {
  const self = C.cpu(c),
    r = R.rootAt(self.hyp);
  if (r) return (r.flags & R.R_FILLED) !== 0;
  if (!(self.written & C.W_TTBR0)) return false;
  const t = tagOf(isE2H(self) ? ttbrId(self.ttbr0, true) : 0, true);
  return t !== null && !isForgotten(t, c);
}

// --- what rules a translation -------------------------------------------------------------------

function differsInSize(r: R.Root, control: u64): bool {
  return R.sizesOf(r.control) !== R.sizesOf(control);
}

function writeVtcr(self: C.Cpu, value: u64): void {
  if (self.root !== 0 && (self.written & C.W_VTCR) !== 0 && held(self.vtcr) !== held(value))
    self.written |= C.W_VTCR_LIVE;
  self.vtcr = value;
  self.written |= C.W_VTCR;
}

/** CPU `c` goes on under a table whose VTCR_EL2 it has changed, instead of loading another. */
export function settleLive(c: u32): void {
  const self = C.cpu(c),
    r = R.rootAt(self.root);
  self.written &= ~C.W_VTCR_LIVE;
  if (!r) return;
  if (!differsInSize(r, self.vtcr)) return settleControl(r, c);
  const k = caseOfRoot(c, r);
  k.old = r.control;
  k.next = self.vtcr;
  violate(K.V_LIVE_CONTROL, k);
  r.control = self.vtcr;
}

/** The table is walked by the rules of CPU `c`: where they are new, what was cached by the old ones is to be flushed. */
function settleControl(r: R.Root, c: u32): void {
  const self = C.cpu(c),
    t = tagAt(r.tag);
  let changed = false;
  if (self.written & C.W_VTCR) {
    changed = held(r.control) !== held(self.vtcr);
    R.setControl(r, self.vtcr);
  }
  if (self.written & C.W_HCR && self.hcr & HCR_VM) {
    const fwb = <bool>(self.hcr & HCR_FWB);
    if (r.flags & R.R_RULED && fwb !== <bool>(r.flags & R.R_FWB)) changed = true;
    r.flags = (r.flags & ~R.R_FWB) | R.R_RULED | (fwb ? R.R_FWB : 0);
  }
  if (!changed || !(r.flags & R.R_FILLED) || (r.loaded === 0 && t && isFlushed(t))) return;
  r.changed = state().time;
  r.changedBy = state().sequence;
}

/** Does no CPU hold anything of the tag? */
function isFlushed(t: Tag): bool {
  const n = state().seen;
  for (let c: u32 = 0; c < n; c++) if (!isForgotten(t, c)) return false;
  return true;
}

function writeTcr(c: u32, value: u64): void {
  const self = C.cpu(c);
  if (self.written & C.W_TCR && held(self.tcr) !== held(value)) changeHyp(c);
  self.tcr = value;
  self.written |= C.W_TCR;
}

function writeMair(c: u32, value: u64): void {
  const self = C.cpu(c);
  if (self.written & C.W_MAIR && self.mair !== value) changeHyp(c);
  self.mair = value;
  self.written |= C.W_MAIR;
}

/** What EL2's translations mean changes: those that the TLB holds are to be flushed. */
function changeHyp(c: u32): void {
  if (!holdsHyp(c)) return;
  const self = C.cpu(c);
  self.hypChanged = state().time;
  self.hypChangedBy = state().sequence;
}

function writeHcr(c: u32, value: u64): void {
  const self = C.cpu(c),
    before = self.hcr,
    known = (self.written & C.W_HCR) !== 0;
  self.hcr = value;
  self.written |= C.W_HCR;
  if (known && ((before ^ value) & (HCR_E2H | HCR_TGE)) !== 0) self.written |= C.W_UNSYNCED;
  if (!(value & HCR_VM)) {
    if (!(before & HCR_VM)) return;
    leaveGuest(c);
    self.written |= C.W_OFF;
    return;
  }
  self.written &= ~C.W_OFF;
  const r = R.rootAt(self.root);
  if (r) settleControl(r, c);
  else if (self.vttbr !== 0) enterGuest(c);
}

function writeSctlr(c: u32, value: u64): void {
  const self = C.cpu(c),
    before = self.sctlr & SCTLR_M;
  self.sctlr = value;
  if (!(value & SCTLR_M)) {
    if (!before) return;
    leaveHyp(c);
    self.written |= C.W_HYP_OFF;
    return;
  }
  self.written &= ~C.W_HYP_OFF;
  if (self.hyp === 0 && (self.written & C.W_TTBR0) !== 0) enterHyp(c);
}

// --- the end ------------------------------------------------------------------------------------

/** A control register that changed under what TLBs may hold, which nobody flushed. */
export function checkControl(): void {
  const s = state(),
    n = s.seen;
  for (let r = R.rootAt(s.roots); r; r = R.rootAt(r.next)) {
    const t = tagAt(r.tag);
    if (r.changed === 0 || max(t ? t.flushed : 0, s.allFlushed) > r.changed) continue;
    wants(K.V_LIVE_CONTROL, caseOfRoot(0, r), K.MISS_TLBI, r.changedBy, K.CAUSE_CONTROL);
  }
  for (let c: u32 = 0; c < n; c++) {
    const self = C.cpu(c);
    if (self.hypChanged === 0 || max(s.hypFlushed, self.ownHyp) > self.hypChanged) continue;
    wants(K.V_LIVE_CONTROL, caseOf(c, self.ttbr0), K.MISS_TLBI, self.hypChangedBy, K.CAUSE_CONTROL);
  }
}
