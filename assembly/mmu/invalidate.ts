// TLB maintenance: which entries a TLBI takes, and when [TLB-1..9, HWM-38..42].
//
// A form is a word:  11:10 HCR_EL2.TGE and E2H of the CPU that issues   9 its range operands count 64K (LPA2)
//                    8:7 who hears it   6 EL2's   5 range   4 last level only   3:0 scope
// One table says what each form does to each kind of entry: bindings/mmu/forms.ts. Where Arm promises less than one reading
// of it says, an adversary takes the weaker promise: docs/mmu.md has the list.

import { get, mask } from "../arch/field";
import {
  operandAddress,
  operandGranule,
  operandLevel,
  rangeAddress,
  rangeBytes,
  rangeLevel,
  TTL_UNKNOWN,
} from "../arch/tlbi";
import { EINVAL, OK } from "../memory/errno";
import { observe, replace } from "../memory/shared";
import * as T from "./tlb";
import { empty } from "./ways";

// Scopes.
/** Everything of the regime, all VMIDs: ALLE1, ALLE2. */
export const TLBI_ALL: u32 = 0;
/** What stage 1 had a part in, of one VMID: VMALLE1. */
export const TLBI_STAGE1: u32 = 1;
/** Both stages of one VMID: VMALLS12E1. */
export const TLBI_VMID: u32 = 2;
export const TLBI_ASID: u32 = 3;
/** By address and ASID; all ASIDs; by intermediate address. */
export const TLBI_VA: u32 = 4;
export const TLBI_VAA: u32 = 5;
export const TLBI_IPA: u32 = 6;
const SCOPES: u32 = 7;
export const TLBI_SCOPE: u32 = 15;
export const TLBI_LAST: u32 = 1 << 4;
export const TLBI_RANGE: u32 = 1 << 5;
export const TLBI_EL2: u32 = 1 << 6;
/** Who hears it: this CPU, the inner, the outer shareable domain. */
export const TLBI_DOMAIN_LOW: u32 = 7;
/** The issuing CPU has FEAT_LPA2, and DS of its regime is 1. */
export const TLBI_LPA2: u32 = 1 << 9;
/** HCR_EL2.E2H and TGE of the issuing CPU. */
export const TLBI_E2H: u32 = 1 << 10;
export const TLBI_TGE: u32 = 1 << 11;

const VA_TOP: u32 = 55;

function isRange(form: u32): bool {
  return <bool>(form & TLBI_RANGE);
}

/** Does the scope name what stage 1 has a part in, of one regime? */
function isOfStage1(scope: u32): bool {
  return scope === TLBI_STAGE1 || scope === TLBI_ASID || scope === TLBI_VA || scope === TLBI_VAA;
}

/**
 * The regime whose entries the form names. A CPU with HCR_EL2.{E2H, TGE} = {1, 1} runs a host: its EL1 forms act on EL2&0.
 * Arm ARM C5.5, ELIsInHost.
 */
function regimeOf(form: u32): u32 {
  const e2h = <bool>(form & TLBI_E2H);
  if (form & TLBI_EL2) return e2h ? T.REGIME_TAG_EL20 : T.REGIME_TAG_EL2;
  const host = e2h && <bool>(form & TLBI_TGE) && isOfStage1(form & TLBI_SCOPE);
  return host ? T.REGIME_TAG_EL20 : T.REGIME_TAG_EL10;
}

/** Level of the hint, or TTL_UNKNOWN for none [TLB-5, TLB-7]. */
function hintLevel(form: u32, operand: u64): i32 {
  const lpa2 = <bool>(form & TLBI_LPA2);
  return isRange(form) ? rangeLevel(operand, lpa2) : operandLevel(operand, lpa2);
}

/** First address; an input address is extended from its top bit. */
function firstOf(form: u32, operand: u64): u64 {
  if (!isRange(form)) return operandAddress(operand);
  const va = (form & TLBI_SCOPE) !== TLBI_IPA;
  return rangeAddress(operand, <bool>(form & TLBI_LPA2), va) & mask(VA_TOP, 0);
}

/** Does 2^reach bytes around `addr` meet the address or the range? */
function meets(addr: u64, reach: u32, form: u32, operand: u64): bool {
  const inside = ((<u64>1) << reach) - 1,
    base = addr & mask(VA_TOP, 0) & ~inside,
    first = firstOf(form, operand),
    extent = isRange(form) ? rangeBytes(operand) - 1 : 0;
  return base <= first + extent && first <= (base | inside);
}

function isTableKind(kind: u32): bool {
  return kind >= T.KIND_TABLE1;
}

/** Must a table go, wherever it lies? With a hint only in a range by VA, if it is above the hint [HWM-39, HWM-40]. */
function reachesTable(t: T.Tlb, tag: u64, form: u32, hint: i32): bool {
  if (form & TLBI_LAST) return false;
  if (hint === TTL_UNKNOWN) return true;
  const byVa = isRange(form) && (form & TLBI_SCOPE) !== TLBI_IPA;
  return byVa && !(t.flags & T.TLB_ADVERSARIAL) && T.tableLevel(tag) < hint;
}

/** By address: leaf or table, granule and hint. Where it lies is another question. */
function isHinted(t: T.Tlb, e: T.Entry, tag: u64, at: u32, form: u32, operand: u64): bool {
  const hint = hintLevel(form, operand);
  // The granule of a range is promised, whatever its hint; without a hint an operand by address promises none.
  const granular = isRange(form) || hint !== TTL_UNKNOWN;
  if (granular && T.granuleOf(e.meta, at) !== operandGranule(operand)) return false;
  if (isTableKind(T.kindOf(tag))) return reachesTable(t, tag, form, hint);
  return hint === TTL_UNKNOWN || T.levelOf(e.meta, at) === hint;
}

/** What the address or the range leaves of the entry's tag: of a run, the pages that it does not name [HWM-37, HWM-42]. */
function outside(e: T.Entry, tag: u64, at: u32, form: u32, operand: u64): u64 {
  const pages = T.runPages(e, at),
    page = T.reachOf(e.meta, at);
  if (pages === 1) return meets(e.base, max(page, T.sizeOf(e)), form, operand) ? 0 : tag;
  let left = tag;
  for (let i: u32 = 0; i < pages && left !== 0; i++) {
    if (meets(e.base + ((<u64>i) << page), page, form, operand)) left = T.withHole(left, i, pages);
  }
  return left;
}

/** What the form leaves of the entry's tag: all of it, nothing (0), or a run with more holes. */
function remains(t: T.Tlb, e: T.Entry, tag: u64, form: u32, operand: u64, vmid: u32): u64 {
  const second = T.isStage2Kind(T.kindOf(tag)),
    scope = form & TLBI_SCOPE,
    regime = <u32>get(tag, T.TAG_REGIME);
  if (regime !== regimeOf(form)) return tag;
  if (scope === TLBI_ALL) return 0;
  if (regime === T.REGIME_TAG_EL10 && <u32>get(tag, T.TAG_VMID) !== vmid) return tag;
  if (scope === TLBI_VMID) return 0;
  if (second !== (scope === TLBI_IPA)) return tag; // [HWM-38]
  if (scope === TLBI_STAGE1) return 0;
  const global = (tag & T.TAG_GLOBAL) !== 0,
    own = get(tag, T.TAG_ASID) === operand >> 48;
  if (scope === TLBI_ASID) return own && !global ? 0 : tag;
  if (scope === TLBI_VA && !own && !global && regime !== T.REGIME_TAG_EL2) return tag;
  const at: u32 = second ? 1 : 0;
  return isHinted(t, e, tag, at, form, operand) ? outside(e, tag, at, form, operand) : tag;
}

/**
 * Takes what the form names out of the entry at `p`. Its owner may mark it at any time: while what is there has to go, it is
 * tried again, so that nothing that the form names outlives it. Whether an entry went whole.
 */
function takeFrom(t: T.Tlb, p: usize, form: u32, operand: u64, vmid: u32): bool {
  for (let tag = observe(p); tag !== 0; tag = observe(p)) {
    const left = remains(t, T.entry(p), tag, form, operand, vmid);
    if (left === tag) return false;
    if (replace(p, tag, left)) return left === 0;
  }
  return false;
}

/** Takes what the form names out of every bank. Under the lock. */
function apply(t: T.Tlb, form: u32, operand: u64, vmid: u32): void {
  T.unsettle(t);
  for (let i: u32 = 0; i < T.BANKS; i++) {
    const b = T.bank(t, i);
    if (!T.isThere(b)) continue;
    let p: usize = b.pointer;
    for (let left = b.sets * b.ways; left !== 0; left--, p += T.TLB_ENTRY_BYTES) {
      if (takeFrom(t, p, form, operand, vmid)) b.flushed++;
    }
  }
  T.settle(t);
}

function count(t: T.Tlb, form: u32): void {
  const scope = form & TLBI_SCOPE;
  if (scope === TLBI_VA) t.flushMvaAsid++;
  else if (scope === TLBI_VAA) t.flushMva++;
  else if (scope === TLBI_ASID) t.flushAsid++;
  else if (scope === TLBI_IPA) t.flushIpa++;
  else t.flushAll++;
}

/** Applies the waiting message `i` and closes the gap. */
function deliver(t: T.Tlb, i: u32): void {
  const m = T.message(t, i);
  apply(t, m.form, m.operand, m.vmid);
  t.pending--;
  for (; i < t.pending; i++) {
    const to = T.message(t, i),
      from = T.message(t, i + 1);
    to.form = from.form;
    to.issuer = from.issuer;
    to.operand = from.operand;
    to.vmid = from.vmid;
  }
}

/** A TLBI of CPU `issuer` arrives: it acts at once, or with an adversary when it must. EINVAL for a form that there is not, ETIMEDOUT. */
export function post(t: T.Tlb, issuer: u32, form: u32, operand: u64, vmid: u32): i32 {
  if ((form & TLBI_SCOPE) >= SCOPES || ((form >> TLBI_DOMAIN_LOW) & 3) === 3) return EINVAL;
  const status = T.lock(t, issuer);
  if (status !== OK) return status;
  count(t, form);
  if (!(t.flags & T.TLB_ADVERSARIAL)) {
    apply(t, form, operand, vmid);
  } else {
    t.pending = min(t.pending, T.TLB_QUEUE);
    if (t.pending === T.TLB_QUEUE) deliver(t, 0);
    const m = T.message(t, t.pending++);
    m.form = form;
    m.issuer = issuer;
    m.operand = operand;
    m.vmid = vmid;
  }
  T.unlock(t);
  return OK;
}

/** The DSB of CPU `issuer` for a domain (0 this CPU, 1 inner, 2 outer): what it issued before is done now [HWM-41]. ETIMEDOUT. */
export function complete(t: T.Tlb, issuer: u32, domain: u32): i32 {
  const status = T.lock(t, issuer);
  if (status !== OK) return status;
  t.pending = min(t.pending, T.TLB_QUEUE);
  for (let i: u32 = 0; i < t.pending; ) {
    const m = T.message(t, i);
    if (m.issuer === issuer && ((m.form >> TLBI_DOMAIN_LOW) & 3) <= domain) deliver(t, i);
    else i++;
  }
  T.unlock(t);
  return OK;
}

/** Completes one waiting TLBI before its DSB, unless another thread is at the queue. Of the entries' own thread. */
export function invalidateOne(t: T.Tlb): void {
  if (!T.tryLock(t)) return;
  t.pending = min(t.pending, T.TLB_QUEUE);
  if (t.pending !== 0) deliver(t, T.random(t) % t.pending);
  T.unlock(t);
  T.begin(t);
}

/** Loses an entry of any bank. Of the entries' own thread. */
export function dropOne(t: T.Tlb): void {
  const b = T.bank(t, T.random(t) % T.BANKS),
    n = b.sets * b.ways;
  if (!T.isThere(b)) return;
  if (empty(b.pointer + <usize>(T.random(t) % n) * T.TLB_ENTRY_BYTES)) b.dropped++;
}
