// Barriers, TLB and cache maintenance as the hardware would see them. They are always counted, and journalled when the
// journal is on. Each function is one function of the kernel's, and records its instructions [TLB-1..4].

import { alignDown, LAST_LEVEL, span } from "../arch/granule";
import { addressOperand, MAX_RANGE_PAGES, rangeNum, rangePages, rangeScale, TTL_UNKNOWN } from "../arch/tlbi";
import { T_LPA2, T_RANGE_TLBI, Table } from "../memory/layout";
import * as C from "./counters";
import { hearIpa, hearRange, hearVmid } from "./interconnect";
import * as J from "./journal";

/** Most pieces of one range flush that are journalled one by one: as many as the largest input space needs, 2^52 bytes of 4K pages. */
const JOURNALLED_PIECES: u64 = 1 << 19;

function handle(t: Table): usize {
  return changetype<usize>(t);
}

// Barriers of a TLBI sequence are not counted: their number follows from the number of sequences.
/** DSBs and ISBs in a flush by IPA or range. */
export const IPA_SEQUENCE_DSB: u32 = 3;
/** DSBs in a flush by VMID or VA; every sequence ends with one ISB. */
export const VA_SEQUENCE_DSB: u32 = 2;

function barrier(t: Table, domain: u64): void {
  J.record(J.J_DSB, handle(t), 0, 0, domain, 0);
}

function synchronize(t: Table): void {
  J.record(J.J_ISB, handle(t), 0, 0, 0, 0);
}

/** dsb ishst: earlier descriptor writes are visible to every walker before what follows. */
export function storeBarrier(t: Table): void {
  C.count(C.C_DSB, 1);
  barrier(t, J.DSB_ISHST);
}

/** dsb ishst, isb: this CPU must not use a stale "no translation" either [S1-4]. */
export function contextBarrier(t: Table): void {
  storeBarrier(t);
  C.count(C.C_ISB, 1);
  synchronize(t);
}

/** A condition that the kernel would warn about. */
export function warn(t: Table, level: i32, addr: u64): void {
  C.count(C.C_WARNINGS, 1);
  J.record(J.J_WARN, handle(t), level, addr, 0, 0);
}

/** By IPA, broadcast, with a level hint or TTL_UNKNOWN [TLB-1]. */
export function flushIpa(t: Table, ipa: u64, level: i32): void {
  C.count(C.C_TLBI_IPA, 1);
  hearIpa(t, ipa, level, false);
  if (!J.journalling()) return;
  barrier(t, J.DSB_ISHST);
  J.record(J.J_TLBI_IPA, handle(t), level, ipa, 0, 0);
  completeStage1(t);
}

function completeStage1(t: Table): void {
  barrier(t, J.DSB_ISH);
  J.record(J.J_TLBI_STAGE1, handle(t), TTL_UNKNOWN, 0, 0, 0);
  barrier(t, J.DSB_ISH);
  synchronize(t);
}

/** By IPA, this CPU only [TLB-2]. */
export function flushIpaLocal(t: Table, ipa: u64, level: i32): void {
  C.count(C.C_TLBI_IPA_LOCAL, 1);
  hearIpa(t, ipa, level, true);
  if (!J.journalling()) return;
  barrier(t, J.DSB_NSHST);
  J.record(J.J_TLBI_IPA_LOCAL, handle(t), level, ipa, 0, 0);
  barrier(t, J.DSB_NSH);
  J.record(J.J_TLBI_STAGE1_LOCAL, handle(t), TTL_UNKNOWN, 0, 0, 0);
  barrier(t, J.DSB_NSH);
  synchronize(t);
}

/** Everything of the VMID [TLB-4]. */
export function flushVmid(t: Table): void {
  C.count(C.C_TLBI_VMID, 1);
  hearVmid(t);
  if (!J.journalling()) return;
  barrier(t, J.DSB_ISHST);
  J.record(J.J_TLBI_VMID, handle(t), TTL_UNKNOWN, 0, 0, 0);
  barrier(t, J.DSB_ISH);
  synchronize(t);
}

/** [addr, addr + size) of the VMID: range operations in pieces of MAX_RANGE_PAGES, or the whole VMID without them [TLB-3, TLB-9, TLB-11]. */
export function flushRange(t: Table, addr: u64, size: u64): void {
  if (!(t.flags & T_RANGE_TLBI)) return flushVmid(t);
  let pages = size >> t.ps;
  for (let i: u64 = 0; pages !== 0 && i < JOURNALLED_PIECES; i++) {
    const piece = min<u64>(pages, MAX_RANGE_PAGES);
    flushPiece(t, addr, piece);
    addr += piece << t.ps;
    pages -= piece;
  }
  if (pages) flushRest(t, addr, pages);
}

function flushPiece(t: Table, addr: u64, pages: u64): void {
  C.count(C.C_TLBI_RANGE, 1);
  C.count(C.C_TLBI_RANGE_OPS, rangeOperations(addr, pages, t.ps, <bool>(t.flags & T_LPA2)));
  recordRange(t, addr, pages);
}

/**
 * The part of a range flush beyond any input space: 6.12 accepts any size, and nearly 2^64 bytes are 2^31 pieces [TLB-9].
 * All are counted; the journal has one record for them.
 */
function flushRest(t: Table, addr: u64, pages: u64): void {
  const lpa2 = <bool>(t.flags & T_LPA2),
    whole = pages / MAX_RANGE_PAGES,
    tail = pages % MAX_RANGE_PAGES;
  C.count(C.C_TLBI_RANGE, whole + (tail ? 1 : 0));
  C.count(C.C_TLBI_RANGE_OPS, whole * rangeOperations(addr, MAX_RANGE_PAGES, t.ps, lpa2));
  C.count(C.C_TLBI_RANGE_OPS, rangeOperations(addr, tail, t.ps, lpa2));
  recordRange(t, addr, pages);
}

function recordRange(t: Table, addr: u64, pages: u64): void {
  hearRange(t, addr, pages);
  if (!J.journalling()) return;
  barrier(t, J.DSB_ISHST);
  J.record(J.J_TLBI_RANGE, handle(t), TTL_UNKNOWN, addr, pages, 0);
  completeStage1(t);
}

/** Instructions that a range of 1..MAX_RANGE_PAGES pages takes [TLB-8]. */
export function rangeOperations(addr: u64, pages: u64, ps: u32, lpa2: bool): u64 {
  addr = alignDown(addr, span(ps, LAST_LEVEL)); // an address inside a page would never reach a 64K boundary
  let n: u64 = 0;
  let scale: i32 = 3;
  while (pages !== 0) {
    const found = rangeScale(addr, pages, scale, lpa2, true);
    let step: u64 = 1;
    if (found >= 0) {
      step = rangePages(rangeNum(pages, found), found);
      scale = found - 1;
    }
    addr += step << ps;
    pages -= step;
    n++;
  }
  return n;
}

/** By VA at EL2, broadcast; the last-level form names a leaf [TLB-33]. */
export function flushVa(t: Table, va: u64, level: i32, last: bool): void {
  C.count(last ? C.C_TLBI_VA_LAST : C.C_TLBI_VA, 1);
  if (!J.journalling()) return;
  barrier(t, J.DSB_ISHST);
  J.record(last ? J.J_TLBI_VA_LAST : J.J_TLBI_VA, handle(t), level, addressOperand(va), 0, 0);
  barrier(t, J.DSB_ISH);
  synchronize(t);
}

/** `n` data cache operations of `bytes` each from `pa` [CMO-1]. */
export function cleanData(t: Table, pa: u64, bytes: u64, n: u64): void {
  C.count(C.C_DCACHE, n);
  C.count(C.C_DCACHE_BYTES, n * bytes);
  J.record(J.J_DCACHE, handle(t), 0, pa, bytes, 0);
}

/** `n` instruction cache operations of `bytes` each from `pa` [CMO-2]. */
export function invalidateCode(t: Table, pa: u64, bytes: u64, n: u64): void {
  C.count(C.C_ICACHE, n);
  C.count(C.C_ICACHE_BYTES, n * bytes);
  J.record(J.J_ICACHE, handle(t), 0, pa, bytes, 0);
}
