// One page without a walk's record: straight down to its entry, one store or one exchange, and the counts. It serves a hole to fill, a
// leaf to change, a leaf to clear whose table stays in use, and all of that only while nobody watches. Whatever else it meets it leaves as
// it is, and a walk does the operation. Both ways leave the same tables, reference counts and counters.

import { isTable, isValid, leafDescriptor } from "../arch/descriptor";
import { LAST_LEVEL, pageBytes } from "../arch/granule";
import { demand, RULE_WALK_RANGE } from "../demand";
import { compareExchange, read, write } from "../memory/cell";
import { EAGAIN, OK } from "../memory/errno";
import { addReferences, references } from "../memory/frames";
import { intendCount } from "../memory/intent";
import { Table } from "../memory/layout";
import { C_LEAVES_CLEARED, C_LEAVES_MADE, C_LOST, C_WALKS, count } from "../record/counters";
import { findSlot, levelIn, pointerIn } from "./down";
import { clean, unwatched } from "./place";
import { isAtomic, isShared, missing, retries, setRange, stops, Visitor, Walk, watch } from "./walk";

/** Is a range of `size` bytes from `addr`, rounded as walks do, one page of the input space [WLK-1]? */
export function isOnePage(t: Table, addr: u64, size: u64): bool {
  return size - 1 < pageBytes(t.ps) && addr >> t.inputBits === 0;
}

/** The slot of the page of `addr` in a last-level table, or 0. Precondition: `addr` lies in the input space. */
function slotOf(t: Table, addr: u64, shared: bool): usize {
  if (isDefined(DEBUG)) watch(t, shared);
  const found = findSlot(t, addr, shared);
  return levelIn(found) === LAST_LEVEL ? pointerIn(found) : 0;
}

function tableOf(t: Table, p: usize): usize {
  return p & ~(<usize>pageBytes(t.ps) - 1);
}

/** Puts `next` in place of the snapshot `old`; false if somebody was faster, and then nothing has changed. */
function put(t: Table, p: usize, old: u64, next: u64, shared: bool): bool {
  if (!shared && !isAtomic(t)) {
    write(p, next);
    return true;
  }
  if (compareExchange(p, old, next)) return true;
  count(C_LOST, 1);
  return false;
}

/** Makes the hole of the page of `addr` a leaf that maps `phys`; false if it is no such hole. `maintain` as of MapWalk. */
export function placePage(t: Table, addr: u64, phys: u64, attributes: u64, maintain: u32, shared: bool): bool {
  if (!unwatched(t) || phys >> t.paBits !== 0 || (shared && maintain !== 0)) return false;
  const p = slotOf(t, addr, shared);
  if (!p || read(p, shared) !== 0) return false;
  if (shared) intendCount();
  if (maintain !== 0) clean(t, phys, t.ps, 1, maintain);
  if (!put(t, p, 0, leafDescriptor(t.addressLayout, t.ps, phys, attributes, LAST_LEVEL), shared)) return false;
  addReferences(tableOf(t, p), 1);
  count(C_LEAVES_MADE, 1);
  count(C_WALKS, 1);
  return true;
}

/** References of a table that has another entry: its own, and two. */
const OCCUPIED: i32 = 3;

/** Empties the entry of the page of `addr`, a leaf whose table has other entries; false if it is not. Precondition: exclusive. */
export function clearPage(t: Table, addr: u64): bool {
  if (!unwatched(t) || isAtomic(t)) return false;
  const p = slotOf(t, addr, false);
  if (!p || !isValid(read(p, false)) || references(tableOf(t, p)) < OCCUPIED) return false;
  write(p, 0);
  addReferences(tableOf(t, p), -1);
  count(C_LEAVES_CLEARED, 1);
  count(C_WALKS, 1);
  return true;
}

/** Changes the leaf of a page by bits that need no cache maintenance; the leaf as it was, 0 if there is none. */
export function changePage(t: Table, addr: u64, set: u64, clear: u64, shared: bool): u64 {
  if (!unwatched(t)) return 0;
  const p = slotOf(t, addr, shared);
  if (!p) return 0;
  const old = read(p, shared),
    next = (old & ~clear) | set;
  if (!isValid(old)) return 0;
  if (next !== old && !put(t, p, old, next, shared)) return 0;
  count(C_WALKS, 1);
  return old;
}

/** Walks the page of `addr` with a visitor that makes no table and frees none: as `walk`, without its loops. */
export function walkPage<V extends Visitor>(w: Walk, addr: u64): i32 {
  const bad = setRange(w, addr, 1);
  return bad ? bad : visitPage<V>(w);
}

/** Visits the page at w.addr. Precondition: `setRange` has checked the range, which is one page. */
export function visitPage<V extends Visitor>(w: Walk): i32 {
  demand(w.end - w.addr === pageBytes(w.ps), RULE_WALK_RANGE);
  const shared = isShared(w);
  for (;;) {
    const found = findSlot(w.table, w.addr, shared);
    if (!found) return missing(w.table);
    const p = pointerIn(found),
      level = levelIn(found),
      old = read(p, shared);
    if (isTable(old, level)) continue; // it has become one since it was found
    const r = changetype<V>(0).leaf(w, p, old, level);
    if (r === OK) return OK;
    if (r === EAGAIN && retries(w, p, old)) continue;
    return stops(w, r) ? r : w.status;
  }
}
