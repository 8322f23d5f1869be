// Logs of other programs before the judge: casemate's dialect, record by record.

import { ttbrId } from "../arch/control";
import { mask } from "../arch/field";
import { ENTRY_SHIFT, UNIT_SHIFT } from "../arch/granule";
import { operandAddress, operandGranule, operandLevel, TTL_UNKNOWN } from "../arch/tlbi";
import { JournalRecord } from "../record/journal";
import { caseOf, caseOfWrite } from "./case";
import { acquire, unlock } from "./clock";
import { Cpu, cpu, W_UNSYNCED, W_VTCR_LIVE } from "./cpu";
import * as F from "./flush";
import { releaseRoot, setLock, setOwner } from "./life";
import { freePage, initPage } from "./page";
import * as K from "./records";
import { isHost, settleLive, vmidTag, writeRegister } from "./registers";
import { violate } from "./report";
import * as R from "./root";
import { MAX_CPUS, state, UNIT_ENTRIES } from "./state";
import * as U from "./unit";
import { lend, observe, write } from "./write";

/** A level that no entry has. */
const NO_LEVEL: i32 = -2;

/** Does a CPU that makes this record do more than to flush, and to write registers? */
function isWork(kind: u32): bool {
  return kind <= K.R_READ || kind === K.R_LOCK;
}

export function judgeLog(x: JournalRecord, kind: u32, c: u32): void {
  const self = cpu(c);
  if (kind !== K.R_SYSREG && self.written & W_VTCR_LIVE) settleLive(c);
  if (isWork(kind)) self.busy = state().time;
  const address = x.address,
    level = x.level,
    a = x.a;
  switch (kind) {
    case K.R_STORE:
      return plainStore(address, a, c, level === 1);
    case K.R_DSB:
      return F.dsb(c, a);
    case K.R_TLBI:
      return tlbi(level, a, c);
    case K.R_LOCK:
      if (!acquire(c, address, level === 1)) violate(K.V_LOCK, caseOf(c, address));
      return;
    case K.R_UNLOCK:
      if (!unlock(c, address)) violate(K.V_LOCK, caseOf(c, address));
      return;
    case K.R_INIT:
      return initPage(c, address);
    case K.R_FREE:
      return freePage(c, address);
    case K.R_SET:
      return fill(address, a, c);
    case K.R_SYSREG:
      return writeRegister(c, level, a);
    case K.R_HINT:
      return hint(level, address, a, c);
    case K.R_READ:
      return readWord(address, c);
    case K.R_ISB:
      cpu(c).written &= ~W_UNSYNCED;
  }
}

function plainStore(address: u64, value: u64, c: u32, ordered: bool): void {
  let u = U.find(address);
  if (!u) {
    if (state().options & K.O_KNOWN_PAGES) {
      const k = caseOf(c, address);
      k.next = value;
      violate(K.V_UNKNOWN_PAGE, k);
    }
    u = U.add(address);
    if (!u) return;
  }
  const word = U.wordOf(address);
  const k = caseOfWrite(c, u, word, load<u64>(U.valueAt(u, word)), value);
  k.ordered = ordered;
  write(k);
}

function fill(address: u64, value: u64, c: u32): void {
  const from = address & ~mask(UNIT_SHIFT - 1, 0);
  const before = state().violations;
  for (let i: u32 = 0; i < UNIT_ENTRIES; i++) {
    plainStore(from + ((<u64>i) << ENTRY_SHIFT), value, c, false);
    if (state().violations !== before) return; // one is enough for a page
  }
}

function readWord(address: u64, c: u32): void {
  const u = U.find(address);
  if (u) observe(u, U.wordOf(address), c);
}

// --- TLBIs --------------------------------------------------------------------------------------

function tlbi(op: i32, a: u64, c: u32): void {
  const self = cpu(c);
  switch (op) {
    case K.OP_ALLE1IS:
    case K.OP_ALLE1:
      return F.flushAll(c, op === K.OP_ALLE1);
    case K.OP_ALLE2IS:
    case K.OP_ALLE2:
      return F.flushHyp(c, op === K.OP_ALLE2);
    case K.OP_VAE2IS:
    case K.OP_VALE2IS:
      return flushVa(a, c, op === K.OP_VALE2IS ? F.F_LAST : 0);
    case K.OP_VMALLE1IS:
    case K.OP_VMALLE1:
      if (isHost(self)) return F.flushHyp(c, op === K.OP_VMALLE1);
  }
  tlbiOfVmid(op, a, c, self);
}

/** Of the VMID in VTTBR_EL2, whether stage 2 is on or off; which that is, only an ISB settles. */
function tlbiOfVmid(op: i32, a: u64, c: u32, self: Cpu): void {
  const t = vmidTag(self);
  if (!t) return;
  const r = R.rootAt(t.root);
  if (self.written & W_UNSYNCED) {
    if (r) r.unsynced = state().time;
    return;
  }
  const local = op === K.OP_VMALLS12E1 || op === K.OP_VMALLE1;
  if (op === K.OP_VMALLS12E1IS || op === K.OP_VMALLS12E1) F.flushVmid(t, r, c, local);
  else if (!r) return;
  else if (op === K.OP_IPAS2E1IS) F.flushAddress(r, c, operandAddress(a), levelOf(r, a), 0);
  else F.flushStage1(r, c, local);
}

/** EL2's TLBIs by address reach all tables of EL2: its regime has no VMID. An ASID, where there are any, must be the table's. */
function flushVa(a: u64, c: u32, how: u32): void {
  const asid = ttbrId(a, true); // operands and registers have it in the same place
  for (let r = R.rootAt(state().roots); r; r = R.rootAt(r.next)) {
    if (!(r.flags & R.R_STAGE1)) continue;
    const other = r.flags & R.R_ASID && asid !== r.id ? F.F_GLOBAL : 0;
    F.flushAddress(r, c, operandAddress(a), levelOf(r, a), how | other);
  }
}

/** Level of a hint: TTL_UNKNOWN for none, and for a reserved one; one of another granule is of no entry here. */
function levelOf(r: R.Root, a: u64): i32 {
  const level = operandLevel(a, <bool>(r.flags & R.R_LPA2));
  return level !== TTL_UNKNOWN && operandGranule(a) !== r.ps ? NO_LEVEL : level;
}

// --- hints --------------------------------------------------------------------------------------

function hint(kind: i32, address: u64, value: u64, c: u32): void {
  if (kind === K.HINT_ROOT_LOCK) return setLock(c, address, value);
  if (kind === K.HINT_OWNER_ROOT) return setOwner(address, value);
  if (kind === K.HINT_RELEASE) return releaseRoot(c, address);
  if (kind !== K.HINT_THREAD_OWNER) return;
  const u = U.find(address);
  if (u) return lend(u, U.wordOf(address), value < MAX_CPUS ? <u32>value : MAX_CPUS);
  const k = caseOf(c, address);
  k.next = value;
  violate(K.V_UNKNOWN_PAGE, k);
}
