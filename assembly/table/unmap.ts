// Stage-2 unmap [S2-10..12].

import { decodeAddress, isCounted, isValid } from "../arch/descriptor";
import { alignDown, ENTRY_BYTES, ENTRY_SHIFT, LAST_LEVEL, pageBytes, shift } from "../arch/granule";
import { isCacheable } from "../arch/stage2";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { demand, RULE_MAPPED } from "../demand";
import { clearRun, countMapped, countValid, read } from "../memory/cell";
import { EBUSY, EFAULT, OK } from "../memory/errno";
import { T_FWB, T_LINUX, T_RANGE_TLBI, Table } from "../memory/layout";
import { C_LEAVES_CLEARED, count } from "../record/counters";
import { flushIpa, flushRange } from "../record/maintenance";
import { clear, pageOf } from "./bbm";
import { tableBelow } from "./down";
import { cleanDcache, pageCount, putPages } from "./mmops";
import { clearPage, isOnePage } from "./page";
import { discard } from "./teardown";
import { close, FROM_ROOT, LEAF, openAs, skip, TABLE_POST, Visitor, Walk, walk } from "./walk";

/** Is there one flush at the end for all leaves? With range TLBI and FWB only: without FWB each leaf must be flushed before its cache maintenance [S2-12]. */
function deferred(t: Table): bool {
  return (t.flags & (T_RANGE_TLBI | T_FWB)) === (T_RANGE_TLBI | T_FWB);
}

/** A walk that removes. */
@unmanaged
export class UnmapWalk extends Walk {
  /** The range that covers all leaves cleared so far. */
  low: u64;
  high: u64;
}

@final
@unmanaged
class UnmapVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_POST | FROM_ROOT;
  }

  @inline bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    return level === LAST_LEVEL && sweepable(w) ? sweep(changetype<UnmapWalk>(w), p, end) : p;
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    if (isCounted(old, w.marker)) remove(changetype<UnmapWalk>(w), p, old, level);
    return OK;
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  /** An empty table is removed: clear, flush at once without a level hint, then free. This flush is never deferred [BUG-26, BUG-27]. */
  post(w: Walk, p: usize, old: u64, level: i32, addr: u64): i32 {
    const t = w.table;
    const table = tableBelow(t, old);
    if (!table) return EFAULT;
    if (pageCount(t, table) !== 1) return OK;
    clear(w, p, old, level);
    flushIpa(t, addr, TTL_UNKNOWN);
    putPages(t, pageOf(w, p), 1);
    return discard(t, table, level);
  }
}

function sweepable(w: Walk): bool {
  return w.bulk && !w.atomic && deferred(w.table);
}

/** Empties page entries from `p` up to the first that holds software state; returns where it stopped. */
function sweep(w: UnmapWalk, p: usize, end: usize): usize {
  const seen = countMapped(p, end),
    n = <u32>seen,
    stop = <usize>(seen >> 32);
  if (n) {
    noteCleared(w, p, stop, shift(w.ps, LAST_LEVEL));
    clearRun(p, stop);
    count(C_LEAVES_CLEARED, n);
    putPages(w.table, pageOf(w, p), n);
  }
  return skip(w, p, stop, LAST_LEVEL);
}

/** Widens the cleared range by the valid pages of [p, stop). Precondition: there is at least one. */
export function noteCleared(w: UnmapWalk, p: usize, stop: usize, sh: u32): void {
  demand(countValid(p, stop) !== 0, RULE_MAPPED);
  let first = p,
    last = stop;
  while (!isValid(read(first, false))) first += ENTRY_BYTES;
  while (!isValid(read(last - ENTRY_BYTES, false))) last -= ENTRY_BYTES;
  widen(w, w.addr + ((<u64>((first - p) >> ENTRY_SHIFT)) << sh), w.addr + ((<u64>((last - p) >> ENTRY_SHIFT)) << sh));
}

function widen(w: UnmapWalk, low: u64, high: u64): void {
  if (low < w.low) w.low = low;
  if (high > w.high) w.high = high;
}

/** Removes one leaf or annotation. Order: clear, TLBI, cache maintenance [S2-10]. */
function remove(w: UnmapWalk, p: usize, old: u64, level: i32): void {
  const t = w.table,
    sh = shift(w.ps, level);
  old = clear(w, p, old, level);
  if (isValid(old)) {
    count(C_LEAVES_CLEARED, 1);
    const base = alignDown(w.addr, (<u64>1) << sh);
    widen(w, base, base + ((<u64>1) << sh)); // the whole leaf is removed, even if only a part of it was in the range [S2-11]
    if (!deferred(t)) flushIpa(t, w.addr, level);
  }
  putPages(t, pageOf(w, p), 1);
  if (!(t.flags & T_FWB) && isCacheable(old, false)) cleanDcache(t, decodeAddress(w.layout, w.ps, old), sh, 1);
}

/** Removes every leaf that [addr, addr + size) touches, whole, and the tables that become empty [S2-10, S2-11]. */
export function unmap(t: Table, addr: u64, size: u64): i32 {
  if (deferred(t) && isOnePage(t, addr, size) && clearPage(t, addr)) {
    const page = pageBytes(t.ps);
    if (t.flags & T_LINUX) flushRange(t, addr, size);
    else flushRange(t, alignDown(addr, page), page);
    return OK;
  }
  const w = openAs<UnmapWalk>(t, LEAF | TABLE_POST);
  if (!w) return EBUSY;
  w.low = u64.MAX_VALUE;
  w.high = 0;
  const r = walk<UnmapVisitor>(w, addr, size);
  if (deferred(t)) {
    // The kernel flushes the range of the call, even if nothing was removed. Without quirks only what was cleared is flushed [S2-12].
    if (t.flags & T_LINUX) flushRange(t, addr, size);
    else if (w.high) flushRange(t, w.low, w.high - w.low);
  }
  close();
  return r;
}
