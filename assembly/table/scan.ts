// The scan: entries in order of address, parents before children, as records.
// A cursor (address, level) names the last entry that was written; the next scan continues after it.

import {
  alignDown,
  ENTRY_BYTES,
  ENTRY_SHIFT,
  entries,
  FIRST_LEVEL,
  LAST_LEVEL,
  pageBytes,
  shift,
} from "../arch/granule";
import { read } from "../memory/cell";
import { EBUSY, EFAULT, EINVAL, ERANGE, OK } from "../memory/errno";
import { Table } from "../memory/layout";
import { rootOf } from "../memory/tables";
import { result } from "../record/result";
import { rootEntries, tableBelow } from "./down";
import { pageCount } from "./mmops";
import { close, LEAF, openAs, rows, skip, TABLE_PRE, Visitor, Walk } from "./walk";

// Entries to report beside leaves and annotations.
export const SCAN_TABLES: u32 = 1;
export const SCAN_HOLES: u32 = 2;
const SCAN_ALL: u32 = 3;

/** One entry, or a run of zero entries of one table page. */
@view("halves")
@unmanaged
export class ScanRecord {
  /** Input address of the (first) entry. */
  address: u64;
  descriptor: u64;
  level: i32;
  /** References of the page that a table descriptor names; -1 for others. */
  references: i32;
  /** Length of the run, 1 for an entry. */
  entries: u32;
  /** 0 */
  padding: u32;
}

/** How a scan ended. */
@view()
@unmanaged
export class ScanEnd {
  /** Records written. */
  records: u32;
  /** Is there more behind the last one? */
  more: u32;
}

/** The buffer is full. Not an errno: it never leaves this file. */
const FULL: i32 = 1;
/** Cursor level at the start: nothing at the cursor has been reported yet. */
const FROM_CURSOR: i32 = -2;

/** A walk that writes records. */
@unmanaged
class ScanWalk extends Walk {
  /** The last entry that was reported. */
  cursor: u64;
  cursorLevel: i32;
  /** SCAN_* */
  what: u32;
  /** Where the next record goes, and how many more fit. */
  out: u32;
  room: u32;
}

/** Has the entry of `level` at `addr` been reported? */
function isBehind(w: ScanWalk, addr: u64, level: i32): bool {
  if (w.cursorLevel === FROM_CURSOR) return false;
  return addr < w.cursor || (addr === w.cursor && level <= w.cursorLevel);
}

/** Reports `n` entries from the current one of the walk in one record, unless that was done before: OK or FULL. */
function emit(w: ScanWalk, descriptor: u64, level: i32, references: i32, n: u32): i32 {
  const sh = shift(w.ps, level),
    addr = alignDown(w.addr, (<u64>1) << sh);
  if (isBehind(w, addr + ((<u64>(n - 1)) << sh), level)) return OK;
  if (w.room === 0) return FULL;
  const record = changetype<ScanRecord>(<usize>w.out);
  record.address = addr;
  record.descriptor = descriptor;
  record.level = level;
  record.references = references;
  record.entries = n;
  record.padding = 0;
  w.out += offsetof<ScanRecord>();
  w.room--;
  return OK;
}

@final
@unmanaged
class ScanVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_PRE;
  }

  /** A run of zeros. */
  bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    let stop = p;
    while (stop !== end && read(stop, false) === 0) stop += ENTRY_BYTES;
    if (stop === p) return p;
    const s = changetype<ScanWalk>(w);
    if (s.what & SCAN_HOLES) {
      w.status = emit(s, 0, level, -1, <u32>(stop - p) >> ENTRY_SHIFT);
      if (w.status) return end;
    }
    return skip(w, p, stop, level);
  }

  leaf(w: Walk, _p: usize, old: u64, level: i32): i32 {
    return emit(changetype<ScanWalk>(w), old, level, -1, 1);
  }

  pre(w: Walk, _p: usize, old: u64, level: i32): i32 {
    const s = changetype<ScanWalk>(w);
    if (!(s.what & SCAN_TABLES)) return OK;
    const table = tableBelow(w.table, old);
    return table ? emit(s, old, level, pageCount(w.table, table), 1) : EFAULT;
  }

  @inline post(_w: Walk, _p: usize, _old: u64, _level: i32, _addr: u64, _table: usize): i32 {
    return OK;
  }
}

/**
 * Writes up to `max` records at `out`, for entries after (cursor, cursorLevel) and before `end`; level -2 starts at the cursor
 * itself. With `root` 0 it scans the table, else the detached table page `root`, whose entries are of `level`, from input
 * address 0.
 * Answers a ScanEnd. Preconditions: `out` holds `max` records in the arena; `root` is an arena page.
 */
export function scan(
  t: Table,
  root: usize,
  level: i32,
  cursor: u64,
  cursorLevel: i32,
  end: u64,
  what: u32,
  out: u32,
  max: u32,
): i32 {
  if (what & ~SCAN_ALL || max === 0) return EINVAL;
  let n = entries(t.ps),
    limit = (<u64>1) << t.inputBits;
  if (root === 0) {
    root = rootOf(t);
    if (!root) return EINVAL;
    n = rootEntries(t);
    level = t.startLevel;
  } else {
    if (level < FIRST_LEVEL || level > LAST_LEVEL) return EINVAL;
    limit = (<u64>n) << shift(t.ps, level);
  }
  if (end > limit) return ERANGE;
  const w = openAs<ScanWalk>(t, LEAF | TABLE_PRE);
  if (!w) return EBUSY;
  w.start = alignDown(cursor, pageBytes(t.ps));
  w.addr = w.start;
  w.end = end;
  w.cursor = cursor;
  w.cursorLevel = cursorLevel;
  w.what = what;
  w.out = out;
  w.room = max;
  const r = w.addr < end ? rows<ScanVisitor>(w, root, n, level) : OK;
  const scanned = result<ScanEnd>();
  scanned.records = max - w.room;
  scanned.more = r === FULL ? 1 : 0;
  close();
  return r === FULL ? OK : r;
}
