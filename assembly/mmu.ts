// The exports of the hardware's walker: a module of its own, on the memory that the engine has too.
// Pointers are checked here. Statuses are 0 or a negative errno.

import { EINVAL, OK } from "./memory/errno";
import { isInMemory, memoryBytes } from "./memory/physical";
import { accessMany, accessOne, hit, speculate, through } from "./mmu/access";
import { configure } from "./mmu/configure";
import { CONTEXT_BYTES, Context, contextAt, isUsable } from "./mmu/context";
import { complete, post } from "./mmu/invalidate";
import { endSteps, startSteps } from "./mmu/steps";
import { translateMany, translateOne } from "./mmu/straight";
import { initialiseTlb, isUsableTlb, TLB_HEADER_BYTES, tlbAt } from "./mmu/tlb";
import { RESULT_BYTES, ROW_BYTES, report, translate } from "./mmu/translate";
import { A_EL0, A_FETCH, A_KIND, A_PAN } from "./mmu/walk";

/** Decodes the registers of the context at `context`; see mmu/context.ts for its bytes. */
export function mmuConfigure(context: u32): i32 {
  return isInMemory(context, CONTEXT_BYTES) ? configure(context) : EINVAL;
}

/** Do `bytes` from `p` and `others` from `q` share a byte? What is written there would change the rules on the way. */
function overlap(p: u32, bytes: u64, q: u32, others: u64): bool {
  return <u64>p + bytes > q && <u64>q + others > p;
}

function isContext(p: u32): bool {
  return isInMemory(p, CONTEXT_BYTES) && isUsable(contextAt(p));
}

/** The context, for walks that ask no TLB, whatever was written there. */
function plain(p: u32): Context {
  const c = unrecorded(p);
  c.tlb = 0;
  return c;
}

/** The context, for walks whose steps nobody wants, whatever was written there. */
function unrecorded(p: u32): Context {
  const c = contextAt(p);
  c.steps = 0;
  return c;
}

/** Translates one access; the record at `out`. 0, 1 for a fault, EINVAL for pointers that cannot be. */
export function mmuTranslate(context: u32, lo: u32, hi: u32, access: u32, out: u32): i32 {
  if (!isContext(context) || !isInMemory(out, RESULT_BYTES)) return EINVAL;
  return translate(plain(context), ((<u64>hi) << 32) | lo, access, out);
}

/** mmuTranslate that writes each step of its way to the `bytes` at `steps`; see mmu/steps.ts for what it leaves there. */
export function mmuExplain(context: u32, lo: u32, hi: u32, access: u32, out: u32, steps: u32, bytes: u32): i32 {
  if (!isContext(context) || !isInMemory(out, RESULT_BYTES) || !isInMemory(steps, bytes)) return EINVAL;
  if (overlap(steps, bytes, context, CONTEXT_BYTES) || overlap(steps, bytes, out, RESULT_BYTES)) return EINVAL;
  const c = plain(context);
  startSteps(c, steps, bytes);
  const status = translate(c, ((<u64>hi) << 32) | lo, access, out);
  endSteps(c, steps);
  return status;
}

/** Translates `n` accesses of one kind: a column of u64, rows of 16 bytes. How many were faults, or EINVAL. */
export function mmuTranslateMany(context: u32, addrs: u32, rows: u32, n: u32, access: u32): i32 {
  if (!isContext(context) || n > <u32>i32.MAX_VALUE) return EINVAL;
  if (!isInMemory(addrs, (<u64>n) << 3) || !isInMemory(rows, <u64>n * ROW_BYTES)) return EINVAL;
  if (overlap(rows, <u64>n * ROW_BYTES, context, CONTEXT_BYTES)) return EINVAL;
  return <i32>translateMany(plain(context), addrs, rows, n, access);
}

/** The largest double of which its neighbours are whole numbers too. */
const MOST: i64 = ((<i64>1) << 53) - 1;

/** Is `wide` what a caller gave as a double? In two's complement, so that addresses of the upper half are negative and exact. */
function isExact(wide: i64, given: f64): bool {
  return <f64>wide === given && <u64>(wide + MOST) <= 2 * MOST;
}

/** Is this a read, a write or a fetch, from EL0 or with PAN or neither, and no more? */
function isPlainAccess(access: u32): bool {
  return access <= (A_KIND | A_EL0 | A_PAN) && (access & A_KIND) !== A_KIND;
}

/** The fault that `c` has just met: its record at `out`, and minus its FAULT_*. */
function refused(c: Context, addr: u64, access: u32, out: u32): f64 {
  report(c, (access & A_KIND) === A_FETCH ? addr & ~(<u64>3) : addr, access, false, out);
  return -(<f64>c.kind);
}

/** Translates one access: its output address, or minus a FAULT_* with the record at `out`; EINVAL as mmuTranslate, and for no such access or address. */
export function mmuLookup(context: u32, addr: f64, access: u32, out: u32): f64 {
  const wide = <i64>addr;
  if (!isContext(context) || !isInMemory(out, RESULT_BYTES)) return EINVAL;
  if (!isExact(wide, addr) || !isPlainAccess(access)) return EINVAL;
  const c = plain(context),
    pa = translateOne(c, wide, access);
  return pa >= 0 ? <f64>pa : refused(c, wide, access, out);
}

/** The same through a TLB. */
export function mmuLookupTlb(context: u32, tlb: u32, addr: f64, access: u32, out: u32): f64 {
  const wide = <i64>addr;
  if (!isExact(wide, addr) || !isPlainAccess(access)) return EINVAL;
  // A hit needs no more of the two than that they are in memory.
  if (<u64>max(context, tlb) + TLB_HEADER_BYTES <= memoryBytes()) {
    const pa = hit(contextAt(context), tlbAt(tlb), wide, access);
    if (pa >= 0) return <f64>pa;
  }
  if (!isContext(context) || !isUsableTlb(tlb) || !isInMemory(out, RESULT_BYTES)) return EINVAL;
  const c = contextAt(context);
  return through(c, tlbAt(tlb), wide, access) ? <f64>(<i64>c.pa) : refused(c, wide, access, out);
}

/** Makes a TLB of the `bytes` at `tlb`, whose header the host has filled in; see mmu/tlb.ts for its bytes. */
export function mmuTlb(tlb: u32, bytes: u32): i32 {
  return bytes >= TLB_HEADER_BYTES && isInMemory(tlb, bytes) ? initialiseTlb(tlb, bytes) : EINVAL;
}

/** One access through a TLB; otherwise as mmuTranslate. */
export function mmuAccess(context: u32, tlb: u32, lo: u32, hi: u32, access: u32, out: u32): i32 {
  if (!isContext(context) || !isUsableTlb(tlb) || !isInMemory(out, RESULT_BYTES)) return EINVAL;
  return accessOne(unrecorded(context), tlbAt(tlb), ((<u64>hi) << 32) | lo, access, out);
}

/** `n` accesses of one kind through a TLB; otherwise as mmuTranslateMany. */
export function mmuAccessMany(context: u32, tlb: u32, addrs: u32, rows: u32, n: u32, access: u32): i32 {
  if (!isContext(context) || !isUsableTlb(tlb) || n > <u32>i32.MAX_VALUE) return EINVAL;
  if (!isInMemory(addrs, (<u64>n) << 3) || !isInMemory(rows, <u64>n * ROW_BYTES)) return EINVAL;
  if (overlap(rows, <u64>n * ROW_BYTES, context, CONTEXT_BYTES)) return EINVAL;
  if (overlap(rows, <u64>n * ROW_BYTES, tlb, tlbAt(tlb).bytes)) return EINVAL;
  return <i32>accessMany(unrecorded(context), tlbAt(tlb), addrs, rows, n, access);
}

/** Reads ahead: fills the TLB by a speculative read. */
export function mmuSpeculate(context: u32, tlb: u32, lo: u32, hi: u32): i32 {
  if (!isContext(context) || !isUsableTlb(tlb)) return EINVAL;
  speculate(unrecorded(context), tlbAt(tlb), ((<u64>hi) << 32) | lo, 0);
  return OK;
}

/** A TLBI of CPU `issuer` arrives at a TLB; `form` as mmu/invalidate.ts draws it. ETIMEDOUT when another thread holds its queue for seconds. */
export function mmuTlbi(tlb: u32, issuer: u32, form: u32, lo: u32, hi: u32, vmid: u32): i32 {
  return isUsableTlb(tlb) ? post(tlbAt(tlb), issuer, form, ((<u64>hi) << 32) | lo, vmid) : EINVAL;
}

/** The DSB of CPU `issuer` waits for a TLB: 0 this CPU's own TLBIs, 1 inner shareable, 2 outer. ETIMEDOUT as mmuTlbi. */
export function mmuDsb(tlb: u32, issuer: u32, domain: u32): i32 {
  return isUsableTlb(tlb) ? complete(tlbAt(tlb), issuer, domain) : EINVAL;
}
