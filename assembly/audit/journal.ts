// The engine's journal before the judge [PROP-3].

import { addressLayout, isLocked, isValid } from "../arch/descriptor";
import { get } from "../arch/field";
import {
  GEOMETRY_FLAGS,
  GEOMETRY_GRANULE,
  GEOMETRY_INPUT,
  GEOMETRY_TABLES,
  geometryStart,
  UNIT_SHIFT,
} from "../arch/granule";
import { ipaOperand, operandLevel } from "../arch/tlbi";
import { T_BARRIER, T_HD, T_HYP, T_LOCK_FREE, T_LPA2, T_TYPED, T_WIDE } from "../memory/layout";
import * as J from "../record/journal";
import { JournalRecord } from "../record/journal";
import { caseOf, caseOfRoot, caseOfWrite } from "./case";
import * as F from "./flush";
import { adoptRoot, checkFlushed, checkPromise, release } from "./life";
import { freePage, initPage } from "./page";
import * as K from "./records";
import { walkTable } from "./registers";
import { violate } from "./report";
import * as R from "./root";
import * as S from "./section";
import { handleSlot, MAX_CPUS, state } from "./state";
import { tagAt } from "./tag";
import { standing } from "./tree";
import * as U from "./unit";
import { write } from "./write";

/** Units of the largest root: 16 pages of 64K. */
export const ROOT_UNITS: u32 = 256;

export function judgeJournal(x: JournalRecord, kind: u32, c: u32): void {
  if (kind === J.J_WRITE || kind === J.J_WRITE_SHARED) return journalStore(x, kind, c);
  if (kind === J.J_DSB) return F.dsb(c, x.a);
  const handle = x.table,
    address = x.address;
  if (kind === J.J_TABLE_MADE) return made(x, handle, address, c);
  if (kind === J.J_SECTION) return S.enterSection(c);
  if (kind === J.J_SECTION_END) return S.leaveSection(c);
  if (kind === J.J_BURIED) return S.bury(<u32>x.a & (MAX_CPUS - 1));
  if (kind === J.J_TLBI_ALL) return F.flushAll(c, false);
  if (kind === J.J_PROMISE) return checkPromise(c);
  if (kind === J.J_VTTBR) return enter(x, handle);
  const r = R.rootOfHandle(handle);
  if (!r) return;
  if (r.flags & R.R_GONE) return leftover(x, r, kind, address, c);
  if (kind >= J.J_TABLE_RETIRED && kind <= J.J_UNLOCK) return shareOf(x, r, kind, address, c);
  if (kind === J.J_TABLE_TAKEN || kind === J.J_TABLE_FREED) return pages(r, kind, address, x.a, c);
  if (kind === J.J_TABLE_GONE) return gone(r, c);
  flushOf(x, r, kind, address, c);
}

function journalStore(x: JournalRecord, kind: u32, c: u32): void {
  const address = x.address;
  let u = U.find(address);
  if (!u) u = U.add(address);
  if (!u) return;
  const word = U.wordOf(address),
    known = load<u64>(U.valueAt(u, word));
  // Hardware may have set flags since; but what was valid and is now said to have been invalid was never broken.
  const said = x.a;
  const old = isValid(known) && !isValid(said) ? known : said;
  if (known !== said) checkMarker(x, u, word, known, said, c);
  if (old !== known) U.amend(u, word, old);
  const k = caseOfWrite(c, u, word, old, x.b);
  k.ordered = kind === J.J_WRITE_SHARED;
  write(k);
}

/** A walker makes what it says it has locked: then its marker is there. */
function checkMarker(x: JournalRecord, u: U.Unit, word: u32, known: u64, said: u64, c: u32): void {
  const r = R.rootOfHandle(x.table);
  if (!r || !(r.flags & R.R_PARALLEL) || standing(u) !== U.LIVE) return;
  const typed = <bool>(r.flags & R.R_TYPED);
  if (isLocked(said, typed) !== isLocked(known, typed)) violate(K.V_STOLEN, caseOfWrite(c, u, word, known, x.b));
}

/** Locks, sections and what waits for them. */
function shareOf(x: JournalRecord, r: R.Root, kind: u32, address: u64, c: u32): void {
  if (!(r.flags & R.R_PARALLEL)) return;
  const writing = x.a === 1;
  if (kind === J.J_LOCK) S.lockTable(r, c, writing);
  else if (kind === J.J_UNLOCK) S.unlockTable(r, c, writing);
  else S.stampTable(r, address, x.level + 1, state().time);
}

function flushOf(x: JournalRecord, r: R.Root, kind: u32, address: u64, c: u32): void {
  const level = x.level;
  if (kind === J.J_TLBI_STAGE1) return F.flushStage1(r, c, false);
  const hint = operandLevel(ipaOperand(r.ps, 0, level), <bool>(r.flags & R.R_LPA2));
  const va = address << UNIT_SHIFT;
  if (kind === J.J_TLBI_IPA) F.flushAddress(r, c, address, hint, 0);
  else if (kind === J.J_TLBI_IPA_LOCAL) F.flushAddress(r, c, address, hint, F.F_LOCAL);
  else if (kind === J.J_TLBI_RANGE) F.flushRange(r, c, address, x.a, hint);
  else if (kind === J.J_TLBI_VMID) F.flushVmid(tagAt(r.tag), r, c, false);
  else if (kind === J.J_TLBI_VA) F.flushAddress(r, c, va, hint, 0);
  else if (kind === J.J_TLBI_VA_LAST) F.flushAddress(r, c, va, hint, F.F_LAST);
  else if (kind === J.J_TLBI_STAGE1_LOCAL) F.flushStage1(r, c, true);
}

/** An engine's table: address = start table, a = geometry (see J_TABLE_MADE), b = VTCR. */
function made(x: JournalRecord, handle: u32, address: u64, c: u32): void {
  const a = x.a,
    flags = <u32>get(a, GEOMETRY_FLAGS),
    before = R.rootOfHandle(handle);
  if (before) {
    if (!(before.flags & R.R_GONE)) gone(before, c);
    R.dropRoot(before);
  }
  const r = R.addRoot(address);
  if (!r) return;
  r.handle = handle;
  r.ps = <u32>get(a, GEOMETRY_GRANULE);
  r.startLevel = geometryStart(a);
  r.pages = <u32>get(a, GEOMETRY_TABLES);
  r.inputBits = <u32>get(a, GEOMETRY_INPUT);
  r.outputBits = 52;
  r.likelyBits = 52;
  r.layout = addressLayout(r.ps, <bool>(flags & T_LPA2));
  if (!R.isGeometry(r) || r.pages === 0 || r.pages > 16) {
    const k = caseOf(c, address);
    k.next = a;
    violate(K.V_GEOMETRY, k);
    R.dropRoot(r);
    return;
  }
  if (flags & T_HYP) r.flags |= R.R_STAGE1;
  if (flags & T_LPA2) r.flags |= R.R_LPA2;
  if (flags & T_WIDE) r.flags |= R.R_WIDE;
  if (flags & T_TYPED) r.flags |= R.R_TYPED;
  if (flags & T_HD) r.flags |= R.R_HD;
  if (R.hasHardwareAf(x.b) && !(flags & T_HYP)) r.flags |= R.R_HA;
  if ((a >> J.MADE_PARALLEL) & 1) {
    r.flags |= flags & (T_LOCK_FREE | T_BARRIER) ? R.R_PARALLEL | R.R_LOCK_FREE : R.R_PARALLEL;
    r.lock = S.lockName(handle);
  }
  store<u32>(handleSlot(handle), R.rootPointer(r));
  adoptRoot(caseOfRoot(c, r), r);
}

/** A CPU of a host, which need not be the walker that says it, enters a guest or leaves it. */
function enter(x: JournalRecord, handle: u32): void {
  const c = <u32>x.level & (MAX_CPUS - 1),
    s = state();
  if (c >= s.seen) s.seen = c + 1;
  const r = R.rootOfHandle(handle);
  walkTable(c, r && r.flags & R.R_GONE ? R.rootAt(0) : r, x.a);
}

/** An engine's table is gone. What TLBs hold of its VMID, where it has one, waits for the VMID's next user. */
function gone(r: R.Root, c: u32): void {
  const k = caseOfRoot(c, r);
  if (r.loaded !== 0) {
    k.next = r.loaded;
    violate(K.V_LOADED, k);
  }
  checkFlushed(k, r);
  release(r);
  r.flags |= R.R_GONE;
}

/** What comes after the end of a table: its pages go back, the first start table last. */
function leftover(x: JournalRecord, r: R.Root, kind: u32, address: u64, c: u32): void {
  if (kind !== J.J_TABLE_FREED) return;
  pages(r, kind, address, x.a, c);
  if (address === r.address) R.dropRoot(r);
}

function pages(r: R.Root, kind: u32, address: u64, n: u64, c: u32): void {
  const units = min<u64>(n * R.unitsOf(r), ROOT_UNITS);
  for (let i: u64 = 0; i < units; i++) {
    if (kind === J.J_TABLE_TAKEN) initPage(c, address + (i << UNIT_SHIFT));
    else freePage(c, address + (i << UNIT_SHIFT));
  }
}
