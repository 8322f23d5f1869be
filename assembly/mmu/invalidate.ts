// TLB maintenance: which entries a TLBI takes, and when [TLB-1..9, HWM-38..42].
//
// A form is a word:  9 range operands count 64K (LPA2)   8:7 who hears it   6 EL2's   5 range   4 last level only   3:0 scope
// One table says what each form does to each kind of entry: bindings/mmu/forms.ts.

import { extract, mask } from "../arch/field";
import { PS_4K, PS_16K, PS_64K, UNIT_SHIFT } from "../arch/granule";
import { read } from "../memory/cell";
import * as T from "./tlb";

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
export const TLBI_LPA2: u32 = 1 << 9;

const VA_TOP: u32 = 55;
const BASE_BITS: u32 = 37;
const ADDRESS_BITS: u32 = 44;
const LPA2_UNIT: u32 = 16;
const NO_LEVEL: i32 = i32.MIN_VALUE;

function granuleOf(code: u32): u32 {
  return code === 1 ? PS_4K : code === 2 ? PS_16K : code === 3 ? PS_64K : 0;
}

function isRange(form: u32): bool {
  return <bool>(form & TLBI_RANGE);
}

/** log2 of the granule that the operand names, or 0; TG of a range and the upper half of TTL lie in the same bits. */
function granule(operand: u64): u32 {
  return granuleOf(<u32>extract(operand, 46, 2));
}

/** Level of the hint, or NO_LEVEL for none [TLB-5, TLB-7]. */
function hintLevel(form: u32, operand: u64): i32 {
  if (isRange(form)) {
    const ttl = <i32>extract(operand, 37, 2);
    return ttl === 0 ? NO_LEVEL : ttl;
  }
  return granule(operand) === 0 ? NO_LEVEL : <i32>extract(operand, 44, 2);
}

/** First address; an input address is extended from its top bit. */
function firstOf(form: u32, operand: u64): u64 {
  if (!isRange(form)) return extract(operand, 0, ADDRESS_BITS) << UNIT_SHIFT;
  const unit = form & TLBI_LPA2 ? LPA2_UNIT : granule(operand),
    base = operand << (64 - BASE_BITS);
  const va = (form & TLBI_SCOPE) !== TLBI_IPA;
  return (va ? (<u64>(<i64>base >> (64 - BASE_BITS))) << unit : (base >> (64 - BASE_BITS)) << unit) & mask(VA_TOP, 0);
}

/** Bytes less one. */
function extentOf(form: u32, operand: u64): u64 {
  if (!isRange(form)) return 0;
  const pages = (extract(operand, 39, 5) + 1) << (5 * extract(operand, 44, 2) + 1);
  return (pages << granule(operand)) - 1;
}

/** Does what the entry was made of begin or end inside of the range? `reach`: log2 of its leaf [HWM-42]. */
function overlaps(e: T.Entry, reach: u32, form: u32, operand: u64): bool {
  const inside = ((<u64>1) << reach) - 1,
    base = e.base & mask(VA_TOP, 0) & ~inside,
    first = firstOf(form, operand);
  return base <= first + extentOf(form, operand) && first <= (base | inside);
}

function isTableKind(kind: u32): bool {
  return kind >= T.KIND_TABLE1;
}

function isStage2Kind(kind: u32): bool {
  return kind === T.KIND_STAGE2 || kind === T.KIND_TABLE2;
}

/** By address: leaf or table, hint, and place. */
function isAddressed(e: T.Entry, kind: u32, form: u32, operand: u64): bool {
  const at: u32 = isStage2Kind(kind) ? 1 : 0,
    level = hintLevel(form, operand);
  if (isRange(form) && granule(operand) === 0) return false; // reserved
  if (isTableKind(kind)) {
    if (form & TLBI_LAST || level !== NO_LEVEL) return false; // [HWM-39, HWM-40]
  } else if (level !== NO_LEVEL) {
    const own = <i32>extract(e.meta, T.META_LEVEL_LOW + (at << 2), 4) - 1;
    if (own !== level || <u32>extract(e.meta, T.META_GRANULE_LOW + (at << 3), 6) !== granule(operand)) return false;
  }
  const reach = max(T.reachOf(e.meta, at), <u32>popcnt(~e.mask));
  return overlaps(e, reach, form, operand);
}

/** Must the entry, tagged `tag`, go? */
function isTaken(e: T.Entry, tag: u64, form: u32, operand: u64, vmid: u32): bool {
  const kind = T.kindOf(tag),
    scope = form & TLBI_SCOPE,
    el2 = extract(tag, T.TAG_REGIME_LOW, 2) !== T.REGIME_TAG_EL10;
  if (el2 !== <bool>(form & TLBI_EL2)) return false;
  if (scope === TLBI_ALL) return true;
  if (!el2 && <u32>extract(tag, T.TAG_VMID_LOW, 16) !== vmid) return false;
  if (scope === TLBI_VMID) return true;
  if (scope === TLBI_IPA) return isStage2Kind(kind) && isAddressed(e, kind, form, operand);
  if (isStage2Kind(kind)) return false; // [HWM-38]
  if (scope === TLBI_STAGE1) return true;
  const global = (tag & T.TAG_GLOBAL) !== 0,
    own = extract(tag, T.TAG_ASID_LOW, 16) === operand >> 48;
  if (scope === TLBI_ASID) return own && !global;
  const single = extract(tag, T.TAG_REGIME_LOW, 2) === T.REGIME_TAG_EL2;
  if (scope === TLBI_VA && !own && !global && !single) return false;
  return isAddressed(e, kind, form, operand);
}

/** Takes what the form names out of every bank; how many entries. */
function apply(t: T.Tlb, form: u32, operand: u64, vmid: u32): u32 {
  let n: u32 = 0;
  T.unsettle(t);
  for (let i: u32 = 0; i < T.BANKS; i++) {
    const b = T.bank(t, i);
    if (!T.isThere(b)) continue;
    let p: usize = b.pointer;
    for (let left = b.sets * b.ways; left !== 0; left--, p += T.TLB_ENTRY_BYTES) {
      const tag = read(p, true);
      if (tag === 0 || !isTaken(T.entry(p), tag, form, operand, vmid) || !T.take(p, tag)) continue;
      b.flushed++;
      n++;
    }
  }
  T.settle(t);
  return n;
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

/** A TLBI arrives: at once, or with an adversary when it must. Whether the form is one. */
export function post(t: T.Tlb, issuer: u32, form: u32, operand: u64, vmid: u32): bool {
  if ((form & TLBI_SCOPE) >= SCOPES || ((form >> TLBI_DOMAIN_LOW) & 3) === 3) return false;
  T.lock(t);
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
  return true;
}

/** The issuer's DSB for a domain (0 this CPU, 1 inner, 2 outer): what it issued up to there is done now [HWM-41]. */
export function complete(t: T.Tlb, issuer: u32, domain: u32): void {
  T.lock(t);
  t.pending = min(t.pending, T.TLB_QUEUE);
  for (let i: u32 = 0; i < t.pending; ) {
    const m = T.message(t, i);
    if (m.issuer === issuer && ((m.form >> TLBI_DOMAIN_LOW) & 3) <= domain) deliver(t, i);
    else i++;
  }
  T.unlock(t);
}

/** One waiting message before its time. */
export function invalidateOne(t: T.Tlb): void {
  T.lock(t);
  t.pending = min(t.pending, T.TLB_QUEUE);
  if (t.pending !== 0) deliver(t, T.random(t) % t.pending);
  T.unlock(t);
  T.begin(t);
}

/** Loses an entry of any bank. */
export function dropOne(t: T.Tlb): void {
  const b = T.bank(t, T.random(t) % T.BANKS),
    n = b.sets * b.ways;
  if (!T.isThere(b)) return;
  const p = b.pointer + <usize>(T.random(t) % n) * T.TLB_ENTRY_BYTES;
  if (T.take(p, read(p, true))) b.dropped++;
}
