// The judge: record after record, each against what is known. Off-line logs and the engine's journal come the same way.

import { addressLayout, isLocked, isValid } from "../arch/descriptor";
import { extract, get, mask } from "../arch/field";
import {
  GEOMETRY_FLAGS,
  GEOMETRY_GRANULE,
  GEOMETRY_INPUT,
  GEOMETRY_TABLES,
  geometryStart,
  UNIT_SHIFT,
} from "../arch/granule";
import { TTL_UNKNOWN, ttl } from "../arch/tlbi";
import { JOURNAL_BYTES, T_BARRIER, T_HD, T_HYP, T_LOCK_FREE, T_LPA2, T_TYPED, T_WIDE } from "../memory/layout";
import * as J from "../record/journal";
import { acquire, unlock } from "./clock";
import { cpu, W_HCR, W_TCR, W_VTCR } from "./cpu";
import * as F from "./flush";
import { activate, adoptRoot, freePage, initPage, loadRoot, releaseRoot, retire, setLock } from "./life";
import { isClean, OBLIGATION_BYTES, obligation } from "./obligation";
import * as K from "./records";
import { violate } from "./report";
import * as R from "./root";
import * as S from "./section";
import { handleSlot, hasRoom, inputAt, MAX_CPUS, refreshLimit, state, UNIT_ENTRIES } from "./state";
import { blame, standing } from "./tree";
import * as U from "./unit";
import { lend, observe, write } from "./write";

const LEVEL: usize = 4;
const TABLE: usize = 8;
const WALKER: usize = 12;
const ADDRESS: usize = 16;
const A: usize = 24;
const B: usize = 32;
const SEQUENCE: usize = 40;
/** Units of the largest root: 16 pages of 64K. */
const ROOT_UNITS: u32 = 256;
const PAGE_UNITS: u32 = 16;
const SLACK: u32 = 8192;

/** Judges `n` records of the input; how many were judged. Fewer means that memory is spent: grow it and go on behind them. */
export function judge(n: u32): u32 {
  const s = state();
  refreshLimit();
  s.starved = 0;
  for (let i: u32 = 0; i < n; i++) {
    const p: usize = inputAt() + i * JOURNAL_BYTES;
    const kind = load<u32>(p);
    if (takesMemory(kind) && !hasRoom(needed(kind))) return i;
    s.time++;
    s.sequence = load<u64>(p, SEQUENCE);
    const c = load<u32>(p, WALKER) & (MAX_CPUS - 1);
    if (c >= s.seen) s.seen = c + 1;
    if (kind < K.R_INIT) judgeJournal(p, kind, c);
    else judgeLog(p, kind, c);
    if (s.starved) return i; // a TLBI that reached part of a table: once more with room
  }
  return n;
}

/** Barriers and flushes of stage 1 are most of a journal, and take none. */
function takesMemory(kind: u32): bool {
  return kind !== J.J_DSB && kind !== J.J_TLBI_STAGE1;
}

function needed(kind: u32): u32 {
  if (kind === J.J_WRITE || kind === J.J_WRITE_SHARED || kind === K.R_STORE)
    return SLACK + OBLIGATION_BYTES + U.roomFor(1);
  if (kind === J.J_TABLE_MADE) return SLACK + U.roomFor(ROOT_UNITS);
  if (kind === K.R_SET) return SLACK + UNIT_ENTRIES * OBLIGATION_BYTES;
  return SLACK + U.roomFor(PAGE_UNITS);
}

// --- the engine's journal -----------------------------------------------------------------------

function judgeJournal(p: usize, kind: u32, c: u32): void {
  if (kind === J.J_WRITE || kind === J.J_WRITE_SHARED) return journalStore(p, kind, c);
  if (kind === J.J_DSB) return dsb(p, c);
  const handle = load<u32>(p, TABLE),
    address = load<u64>(p, ADDRESS);
  if (kind === J.J_TABLE_MADE) return made(p, handle, address, c);
  if (kind === J.J_SECTION) return S.enterSection(c);
  if (kind === J.J_SECTION_END) return S.leaveSection(c);
  if (kind === J.J_BURIED) return S.bury(<u32>load<u64>(p, A) & (MAX_CPUS - 1));
  const r = R.rootOfHandle(handle);
  if (!r) return;
  if (kind >= J.J_TABLE_RETIRED && kind <= J.J_UNLOCK) return shareOf(p, r, kind, address, c);
  if (kind === J.J_TABLE_TAKEN || kind === J.J_TABLE_FREED) return pages(r, kind, address, load<u64>(p, A), c);
  if (kind === J.J_TABLE_GONE) return gone(r, c);
  flushOf(p, r, kind, address, c);
}

function journalStore(p: usize, kind: u32, c: u32): void {
  const address = load<u64>(p, ADDRESS);
  let u = U.find(address);
  if (!u) u = U.add(address);
  if (!u) return;
  const word = U.wordOf(address),
    known = load<u64>(U.valueAt(u, word));
  // Hardware may have set flags since; but what was valid and is now said to have been invalid was never broken.
  const said = load<u64>(p, A);
  const old = isValid(known) && !isValid(said) ? known : said;
  if (known !== said) checkMarker(p, u, word, known, said, c);
  if (old !== known) U.amend(u, word, old);
  write(u, word, old, load<u64>(p, B), c, kind === J.J_WRITE_SHARED);
}

/** A walker makes what it says it has locked: then its marker is there. */
function checkMarker(p: usize, u: U.Unit, word: u32, known: u64, said: u64, c: u32): void {
  const r = R.rootOfHandle(load<u32>(p, TABLE));
  if (!r || !(r.flags & R.R_PARALLEL) || standing(u) !== U.LIVE) return;
  const typed = <bool>(r.flags & R.R_TYPED);
  if (isLocked(said, typed) !== isLocked(known, typed))
    violate(K.V_STOLEN, c, r.handle, u.level, U.addressOf(u, word), known, load<u64>(p, B));
}

/** Locks, sections and what waits for them. */
function shareOf(p: usize, r: R.Root, kind: u32, address: u64, c: u32): void {
  if (!(r.flags & R.R_PARALLEL) || r.flags & R.R_RETIRED) return;
  const writing = load<u64>(p, A) === 1;
  if (kind === J.J_LOCK) S.lockTable(r, c, writing);
  else if (kind === J.J_UNLOCK) S.unlockTable(r, c, writing);
  else S.stampTable(r, address, load<i32>(p, LEVEL) + 1, state().time);
}

function flushOf(p: usize, r: R.Root, kind: u32, address: u64, c: u32): void {
  const level = load<i32>(p, LEVEL);
  if (kind === J.J_TLBI_STAGE1) return F.flushStage1(r, c, false);
  const hint = ttl(r.ps, level) === 0 ? TTL_UNKNOWN : level;
  const va = address << UNIT_SHIFT;
  if (kind === J.J_TLBI_IPA) F.flushAddress(r, c, address, hint, false, false);
  else if (kind === J.J_TLBI_IPA_LOCAL) F.flushAddress(r, c, address, hint, false, true);
  else if (kind === J.J_TLBI_RANGE) F.flushRange(r, c, address, load<u64>(p, A), hint);
  else if (kind === J.J_TLBI_VMID) F.flushAll(r, c, false);
  else if (kind === J.J_TLBI_VA) F.flushAddress(r, c, va, hint, false, false);
  else if (kind === J.J_TLBI_VA_LAST) F.flushAddress(r, c, va, hint, true, false);
  else if (kind === J.J_TLBI_STAGE1_LOCAL) F.flushStage1(r, c, true);
}

/** An engine's table: address = start table, a = geometry (see J_TABLE_MADE), b = VTCR. */
function made(p: usize, handle: u32, address: u64, c: u32): void {
  const a = load<u64>(p, A),
    flags = <u32>get(a, GEOMETRY_FLAGS),
    before = R.rootOfHandle(handle);
  if (before) {
    gone(before, c);
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
    violate(K.V_GEOMETRY, c, handle, 0, address, 0, a);
    R.dropRoot(r);
    return;
  }
  r.flags = R.R_USED;
  if (flags & T_HYP) r.flags |= R.R_STAGE1;
  if (flags & T_LPA2) r.flags |= R.R_LPA2;
  if (flags & T_WIDE) r.flags |= R.R_WIDE;
  if (flags & T_TYPED) r.flags |= R.R_TYPED;
  if (flags & T_HD) r.flags |= R.R_HD;
  if (R.hasHardwareAf(load<u64>(p, B)) && !(flags & T_HYP)) r.flags |= R.R_HA;
  if ((a >> J.MADE_PARALLEL) & 1) {
    r.flags |= flags & (T_LOCK_FREE | T_BARRIER) ? R.R_PARALLEL | R.R_LOCK_FREE : R.R_PARALLEL;
    r.lock = S.lockName(handle);
  }
  store<u32>(handleSlot(handle), R.rootPointer(r));
  adoptRoot(r, c);
}

/** An engine's table is gone, its VMID with it: as an engine gives no VMIDs, nothing can meet what is left in TLBs. */
function gone(r: R.Root, c: u32): void {
  let o = obligation(r.open);
  while (o) {
    const next = obligation(o.next);
    if (o.cause === K.CAUSE_BREAK && !o.below && !isClean(o)) {
      blame(K.V_RELEASE_UNFLUSHED, c, r, o.level, 0, o.old, 0, o);
      break;
    }
    o = next;
  }
  retire(r, c);
}

function pages(r: R.Root, kind: u32, address: u64, n: u64, c: u32): void {
  const units = min<u64>(n * R.unitsOf(r), ROOT_UNITS);
  for (let i: u64 = 0; i < units; i++) {
    if (kind === J.J_TABLE_TAKEN) initPage(c, address + (i << UNIT_SHIFT));
    else freePage(c, address + (i << UNIT_SHIFT));
  }
}

function dsb(p: usize, c: u32): void {
  const domain = load<u64>(p, A);
  const inner = domain === J.DSB_ISH || domain === J.DSB_ISHST;
  F.barrier(c, inner, domain === J.DSB_ISHST || domain === J.DSB_NSHST);
}

// --- logs ---------------------------------------------------------------------------------------

function judgeLog(p: usize, kind: u32, c: u32): void {
  const address = load<u64>(p, ADDRESS),
    level = load<i32>(p, LEVEL),
    a = load<u64>(p, A);
  switch (kind) {
    case K.R_STORE:
      return plainStore(address, a, c, level === 1);
    case K.R_DSB:
      return dsb(p, c);
    case K.R_TLBI:
      return tlbi(level, a, c);
    case K.R_LOCK:
      if (!acquire(c, address, level === 1)) violate(K.V_LOCK, c, 0, 0, address, 0, 0);
      return;
    case K.R_UNLOCK:
      if (!unlock(c, address)) violate(K.V_LOCK, c, 0, 0, address, 0, 0);
      return;
    case K.R_INIT:
      return initPage(c, address);
    case K.R_FREE:
      return freePage(c, address);
    case K.R_SET:
      return fill(address, a, c);
    case K.R_SYSREG:
      return sysreg(level, a, c);
    case K.R_HINT:
      return hint(level, address, a, c);
    case K.R_READ:
      return readWord(address, c);
  }
}

function plainStore(address: u64, value: u64, c: u32, ordered: bool): void {
  let u = U.find(address);
  if (!u) {
    if (state().options & K.O_KNOWN_PAGES) violate(K.V_UNKNOWN_PAGE, c, 0, 0, address, 0, value);
    u = U.add(address);
    if (!u) return;
  }
  const word = U.wordOf(address);
  write(u, word, load<u64>(U.valueAt(u, word)), value, c, ordered);
}

function fill(address: u64, value: u64, c: u32): void {
  const from = address & ~mask(UNIT_SHIFT - 1, 0);
  const before = state().violations;
  for (let i: u32 = 0; i < UNIT_ENTRIES; i++) {
    plainStore(from + ((<u64>i) << 3), value, c, false);
    if (state().violations !== before) return; // one is enough for a page
  }
}

function readWord(address: u64, c: u32): void {
  const u = U.find(address);
  if (u) observe(u, U.wordOf(address), c);
}

function tlbi(op: i32, a: u64, c: u32): void {
  const self = cpu(c),
    none = R.rootAt(0);
  let r = R.rootAt(op === K.OP_VAE2IS || op === K.OP_VALE2IS ? self.hyp : self.root);
  if (op === K.OP_ALLE1IS || op === K.OP_ALLE1) return F.flushAll(none, c, op === K.OP_ALLE1);
  if (op === K.OP_ALLE2IS || op === K.OP_ALLE2) {
    for (r = R.rootAt(state().roots); r; r = R.rootAt(r.next)) {
      if (r.flags & R.R_STAGE1) F.flushAll(r, c, op === K.OP_ALLE2);
    }
    return;
  }
  if (!r) return;
  if (op === K.OP_VMALLS12E1IS || op === K.OP_VMALLS12E1) return F.flushAll(r, c, op === K.OP_VMALLS12E1);
  if (op === K.OP_VMALLE1IS || op === K.OP_VMALLE1) return F.flushStage1(r, c, op === K.OP_VMALLE1);
  const hint = <u32>extract(a, 44, 4);
  let level = <i32>(hint & 3);
  if (hint >> 2 === 0)
    level = TTL_UNKNOWN; // no hint, whatever the low bits say
  else if (ttl(r.ps, level) !== hint) level = -1; // another granule's: reaches nothing
  F.flushAddress(r, c, extract(a, 0, 44) << UNIT_SHIFT, level, op === K.OP_VALE2IS, false);
}

function sysreg(which: i32, value: u64, c: u32): void {
  const self = cpu(c);
  if (which === K.SYSREG_VTTBR) return loadRoot(c, value, false);
  if (which === K.SYSREG_TTBR0) return loadRoot(c, value, true);
  if (which === K.SYSREG_VTCR) {
    self.vtcr = value;
    self.written |= W_VTCR;
  } else if (which === K.SYSREG_TCR) {
    self.tcr = value;
    self.written |= W_TCR;
  } else if (which === K.SYSREG_HCR) {
    const on = !(self.hcr & 1) && (value & 1) !== 0;
    self.hcr = value;
    self.written |= W_HCR;
    if (on && self.vttbr !== 0 && self.root === 0) activate(c, false);
  }
}

function hint(kind: i32, address: u64, value: u64, c: u32): void {
  if (kind === K.HINT_ROOT_LOCK) return setLock(c, address, value);
  if (kind === K.HINT_RELEASE) return releaseRoot(c, address);
  if (kind !== K.HINT_THREAD_OWNER) return;
  const u = U.find(address);
  if (u) lend(u, U.wordOf(address), value < MAX_CPUS ? <u32>value : MAX_CPUS);
  else violate(K.V_UNKNOWN_PAGE, c, 0, 0, address, 0, value);
}

// --- the end ------------------------------------------------------------------------------------

/** The end of a log: what was never flushed is a violation of each table. Returns how many obligations are open. */
export function finish(): u32 {
  const s = state();
  let open: u32 = 0;
  for (let r = R.rootAt(s.roots); r; r = R.rootAt(r.next)) {
    let told = false;
    let o = obligation(r.open);
    while (o) {
      const next = obligation(o.next);
      if (!o.below && (o.cause !== K.CAUSE_AGE || s.options & K.O_AGE) && !isClean(o)) {
        open++;
        const at = o.unit ? U.addressOf(U.unitAt(o.unit), o.word) : 0;
        const now = o.unit ? load<u64>(U.valueAt(U.unitAt(o.unit), o.word)) : 0;
        if (!told) blame(K.V_UNFLUSHED, o.cpu, r, o.level, at, o.old, now, o);
        told = true;
      }
      o = next;
    }
  }
  leftLocked();
  return open;
}

/** Markers of an engine's walkers that nobody made anything of. */
function leftLocked(): void {
  const s = state();
  for (let at: usize = s.hash; at < <usize>s.hash + (<usize>s.hashMask + 1) * 16; at += 16) {
    const u = U.unitAt(load<u32>(at, 8));
    if (!u || standing(u) !== U.LIVE) continue;
    const r = R.rootAt(u.root);
    if (r.handle === 0) continue;
    for (let word: u32 = 0; word < UNIT_ENTRIES; word++) {
      const value = load<u64>(U.valueAt(u, word));
      if (!isLocked(value, <bool>(r.flags & R.R_TYPED))) continue;
      const by = load<u32>(U.markAt(u, word)) & 0xff;
      violate(K.V_LEFT_LOCKED, by ? by - 1 : 0, r.handle, u.level, U.addressOf(u, word), value, value);
    }
  }
}
