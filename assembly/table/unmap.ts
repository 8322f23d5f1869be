// Stage-2 unmap [S2-10..12].

import { decodeAddress, isCounted, isValid } from "../arch/descriptor";
import { alignDown, ENTRY_BYTES, ENTRY_SHIFT, entries, LAST_LEVEL, pageBytes, shift } from "../arch/granule";
import { isCacheable } from "../arch/stage2";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { demand, RULE_RUN } from "../demand";
import { clearRun, countMapped, read } from "../memory/cell";
import { EBUSY, OK } from "../memory/errno";
import { addReferences, isPlain, references } from "../memory/frames";
import { parallel, T_FWB, T_LINUX, T_RANGE_TLBI, Table } from "../memory/layout";
import { ACCOUNTS, isAccounted } from "../memory/leaves";
import { C_LEAVES_CLEARED, count } from "../record/counters";
import { flushIpa, flushRange } from "../record/maintenance";
import { clear, pageOf } from "./bbm";
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
class UnmapWalk extends Walk {
  /** The range that covers all leaves cleared so far. */
  low: u64;
  high: u64;
  /** May whole runs of pages go at once, with one flush at the end? */
  sweeps: bool;
  /** The last table whose pages went all at once. */
  swept: usize;
  /** Can nobody look at a table that is about to go? */
  unseen: bool;
}

@final
@unmanaged
class UnmapVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_POST | FROM_ROOT;
  }

  @inline bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    return level === LAST_LEVEL && changetype<UnmapWalk>(w).sweeps ? sweep(changetype<UnmapWalk>(w), p, end) : p;
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    if (isCounted(old, w.marker)) remove(changetype<UnmapWalk>(w), p, old, level);
    return OK;
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  /** An empty table is removed: clear, flush at once without a level hint, then free. This flush is never deferred [BUG-26, BUG-27]. */
  post(w: Walk, p: usize, old: u64, level: i32, addr: u64, table: usize): i32 {
    const t = w.table;
    if (table !== changetype<UnmapWalk>(w).swept && pageCount(t, table) !== 1) return OK;
    clear(w, p, old, level);
    flushIpa(t, addr, TTL_UNKNOWN);
    putPages(t, pageOf(w, p), 1);
    return discard(t, table, level);
  }
}

/** Empties page entries from `p` up to the first that holds software state; returns where it stopped. */
function sweep(w: UnmapWalk, p: usize, end: usize): usize {
  if (end - p === pageBytes(w.ps) && sweepTable(w, p, end)) return skip(w, p, end, LAST_LEVEL);
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

/**
 * Empties the whole table page at `p`. Without software state its reference count says how many pages it maps, and nobody need look
 * at them. The table then goes as soon as the walk leaves it, and a page that is taken is zeroed: so what nobody can see in between
 * is not cleared. False, and nothing done, if the count does not say it.
 */
function sweepTable(w: UnmapWalk, p: usize, end: usize): bool {
  if (!isPlain(p) || w.table.startLevel === LAST_LEVEL) return false;
  const n = references(p) - 1,
    all = entries(w.ps),
    sh = shift(w.ps, LAST_LEVEL);
  if (n <= 0 || <u32>n > all) return false;
  if (<u32>n === all) widen(w, w.addr, w.addr + ((<u64>all) << sh));
  else if (!noteCleared(w, p, end, sh)) return false;
  if (!w.unseen) clearRun(p, end);
  count(C_LEAVES_CLEARED, n);
  addReferences(p, -n);
  w.swept = p;
  return true;
}

/** Widens the cleared range by the valid pages of [p, stop); false if there are none. */
function noteCleared(w: UnmapWalk, p: usize, stop: usize, sh: u32): bool {
  demand(p < stop, RULE_RUN);
  let first = p,
    last = stop;
  while (!isValid(read(first, false))) {
    first += ENTRY_BYTES;
    if (first === stop) return false;
  }
  while (!isValid(read(last - ENTRY_BYTES, false))) last -= ENTRY_BYTES;
  widen(w, w.addr + ((<u64>((first - p) >> ENTRY_SHIFT)) << sh), w.addr + ((<u64>((last - p) >> ENTRY_SHIFT)) << sh));
  return true;
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
  if (ACCOUNTS && isAccounted(t) && old === 0) return; // taken without the lock, and counted there
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
  w.sweeps = w.bulk && !w.atomic && deferred(t);
  w.swept = 0;
  w.unseen = !parallel(); // else a walker may die here, and leave entries and a count that must agree
  const r = walk<UnmapVisitor>(w, addr, size);
  if (deferred(t)) {
    // The kernel flushes the range of the call, even if nothing was removed. Without quirks only what was cleared is flushed [S2-12].
    if (t.flags & T_LINUX) flushRange(t, addr, size);
    else if (w.high) flushRange(t, w.low, w.high - w.low);
  }
  close();
  return r;
}
