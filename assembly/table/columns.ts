// The work of many guest faults in one call: columns of page addresses instead of records. Arguments are checked
// and attributes made once; slots are found in groups, so that their cache misses overlap. A page that is more than one
// store goes the walker's way.
//
// Shared, a group is one turn at the table's lock. A hole has nothing to break and, without cache maintenance, nothing to do
// between the marker and the leaf, so one compare-exchange takes it and makes it; the reference is this walker's own part of
// the count (memory/frames.ts), where no other walker writes.

import { isTable, isValid, leafDescriptor } from "../arch/descriptor";
import { alignDown, LAST_LEVEL } from "../arch/granule";
import { isStage2Prot, S2_XN_FIELD } from "../arch/stage2";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { CACHE_ARENA, cached, isCache, resolve, topUp } from "../memory/cache";
import { compareExchange, read, touch, write } from "../memory/cell";
import { EAGAIN, EBUSY, EINVAL, ERANGE, OK } from "../memory/errno";
import { Reference } from "../memory/frames";
import { scratch, T_IDMAP, T_XNX, Table, Walk } from "../memory/layout";
import {
  C_AGAIN,
  C_DSB,
  C_LEAVES_MADE,
  C_LOST,
  C_TABLES_TAKEN,
  C_TLBI_IPA_LOCAL,
  C_WALKS,
  count,
  counted,
} from "../record/counters";
import { journalling } from "../record/journal";
import { flushIpaLocal, storeBarrier } from "../record/maintenance";
import { isRelaxation, openRelax, RelaxVisitor } from "./attrs";
import { pageOf } from "./bbm";
import { Access, Alone, Among, findSlots, GROUP } from "./lookup";
import { cleanMade, MapVisitor, setAttributes } from "./map";
import { begin, end as finish, LOCK_FREE, modeOf, SHARES_LEAF, SHARES_TABLE } from "./sharing";
import { close, HANDLE_FAULT, LEAF, open, SHARED, TABLE_PRE, WALK_FLAGS, walkOpened } from "./walk";

/** Output address bits from which on a layout may pack. */
const PACKED_FROM: u32 = 48;
// Scratch of a group: slots u64, levels i8, then the column that it is of.
const LEVELS: usize = (<usize>GROUP) << 3;
const COLUMN: usize = LEVELS + GROUP;

/** The columns of a call, and how far it came. */
@unmanaged
class Column {
  addrs: usize;
  physs: usize;
  statuses: usize;
  n: u32;
  done: u32;
  /** The next page needs a walk, and the cache has not enough for one. */
  hungry: bool;
}

function column(addrs: usize, physs: usize, statuses: usize, n: u32): Column {
  const c = changetype<Column>(scratch() + COLUMN);
  c.addrs = addrs;
  c.physs = physs;
  c.statuses = statuses;
  c.n = n;
  c.done = 0;
  c.hungry = false;
  return c;
}

/** Writes the status of the next row; true if it ends the call. */
function settle(c: Column, r: i32): bool {
  store<i8>(c.statuses + c.done, <i8>r);
  c.done++;
  return r < 0 && r !== EAGAIN;
}

function addressAt(c: Column): u64 {
  return load<u64>(c.addrs + (c.done << 3));
}

/** The last-level slot of member `i` of the group, 0 if its translation ends above. */
function slotOf(i: u32): usize {
  return load<i8>(scratch() + LEVELS + i) === LAST_LEVEL ? <usize>load<u64>(scratch() + (i << 3)) : 0;
}

/** Nobody watches: neither journal nor hooks. */
function unseen(t: Table): bool {
  return !journalling() && t.hooks === 0;
}

/** Points the opened walk at the page of `addr`; ERANGE beyond the input space. */
function aim(w: Walk, addr: u64): i32 {
  const t = w.table,
    page = (<u64>1) << t.ps,
    start = alignDown(addr, page);
  if (addr >> t.inputBits) return ERANGE;
  w.start = start;
  w.addr = start;
  w.end = start + page;
  w.status = OK;
  return OK;
}

/**
 * Maps the pages of `n` input addresses to `n` output addresses (columns of u64), one after the other, with fault
 * handling; the status of each goes to a column of i8. A real cache is topped up to one fault's worth before a page
 * that needs a walk, outside the lock [MC-6]. Returns how many were done: it stops behind the first error that is not
 * EAGAIN. Preconditions: the columns lie in the arena.
 */
export function mapPages(
  t: Table,
  addrs: usize,
  physs: usize,
  statuses: usize,
  n: u32,
  prot: u32,
  cache: u32,
  flags: u32,
): i32 {
  cache = resolve(cache, t.ps);
  if (flags & ~WALK_FLAGS || !isCache(cache, t.ps) || !isStage2Prot(prot, <bool>(t.flags & T_XNX))) return EINVAL;
  if (!t.root) return EINVAL;
  const mode = modeOf(t, SHARES_TABLE, flags);
  if (mode < 0) return mode;
  const c = column(addrs, physs, statuses, n);
  for (let stop: bool = false; !stop && c.done < n; ) {
    let r = feed(c, t, cache);
    if (r === OK) r = begin(t, mode);
    if (r) {
      settle(c, r); // what was done before stays done
      break;
    }
    const w = open(t, flags | HANDLE_FAULT | LEAF | TABLE_PRE);
    if (w) {
      setAttributes(w, prot);
      w.cache = cache;
      w.annotate = false;
      w.forcePages = true; // one page is never a block
      stop = flags & SHARED ? mapAmong(w, c) : mapAlone(w, c);
      close();
    }
    finish(t, mode);
    if (!w) stop = settle(c, EBUSY);
  }
  return c.done;
}

/** Tables that one fault may take [MC-6]. */
function worth(t: Table): u32 {
  return LAST_LEVEL - t.startLevel;
}

/** Tops the cache up if the last turn ended for want of pages. */
function feed(c: Column, t: Table, cache: u32): i32 {
  if (!c.hungry) return OK;
  c.hungry = false;
  return topUp(cache, worth(t));
}

@final
@unmanaged
class PageLeaf {
  /** The leaf of a page at `phys`; `plain` is that of address 0. Below 2^48 every layout has the address in its place. */
  @inline static of(layout: u32, ps: u32, phys: u64, attributes: u64, plain: u64, pageMask: u64): u64 {
    return phys >> PACKED_FROM ? leafDescriptor(layout, ps, phys, attributes, LAST_LEVEL) : (phys & pageMask) | plain;
  }
}

/** The rows in order while nobody else is in the table; true if an error ends the call. */
function mapAlone(w: Walk, c: Column): bool {
  const t = w.table,
    ps = t.ps,
    layout = t.addressLayout,
    attributes = w.attributes,
    paBits = t.paBits,
    addrs = c.addrs,
    physs = c.physs,
    statuses = c.statuses,
    n = c.n;
  const simple = w.bulk && !(t.flags & T_IDMAP),
    maintain = w.maintain !== 0,
    pageMask = ~(((<u64>1) << ps) - 1),
    plain = leafDescriptor(layout, ps, 0, attributes, LAST_LEVEL);
  let done = c.done,
    made: u32 = 0,
    group: u32 = 0,
    end: u32 = done,
    tables: u64 = 0,
    found: bool = false,
    stop: bool = false;
  while (done < n && !stop) {
    // A slot found stays one, since mapping pages takes no table away; a table added is looked for again.
    if (done === end || tables !== counted(C_TABLES_TAKEN)) {
      group = done;
      end = min(n, done + GROUP);
      tables = counted(C_TABLES_TAKEN);
      found = simple && findSlots<Alone>(t, addrs + (done << 3), scratch(), scratch() + LEVELS, end - done);
    }
    const phys = load<u64>(physs + (done << 3));
    const p: usize = found && phys >> paBits === 0 ? slotOf(done - group) : 0;
    if (p !== 0 && read(p, false) === 0) {
      write(p, PageLeaf.of(layout, ps, phys, attributes, plain, pageMask));
      Reference.add(pageOf(w, p));
      if (maintain) cleanMade(w, phys & pageMask, ps, 1);
      store<i8>(statuses + done, OK);
      done++;
      made++;
    } else {
      c.done = done;
      stop = mapNext(w, c, phys);
      done = c.done;
      if (c.hungry) break;
    }
  }
  c.done = done;
  noteMade(made);
  return stop;
}

/** Leaves that were made without a walk of their own count as what they stand for. */
function noteMade(n: u32): void {
  count(C_WALKS, n);
  count(C_LEAVES_MADE, n);
  count(C_DSB, n);
}

/** The next rows, a group at most, while others are in the table; true if an error ends the call. */
function mapAmong(w: Walk, c: Column): bool {
  const t = w.table,
    ps = t.ps,
    layout = t.addressLayout,
    attributes = w.attributes,
    paBits = t.paBits,
    physs = c.physs,
    statuses = c.statuses,
    first = c.done,
    end = min(c.n, first + GROUP),
    tables = counted(C_TABLES_TAKEN);
  const simple = unseen(t) && w.maintain === 0 && !(t.flags & T_IDMAP),
    pageMask = ~(((<u64>1) << ps) - 1),
    plain = leafDescriptor(layout, ps, 0, attributes, LAST_LEVEL);
  const found = simple && findSlots<Among>(t, c.addrs + (first << 3), scratch(), scratch() + LEVELS, end - first);
  if (found) touchGroup(end - first);
  let done = first,
    made: u32 = 0,
    lost: u32 = 0,
    stop: bool = false;
  // A table that this walker added is looked for again, in the next turn; one that another added is met by a walk.
  while (done < end && !stop && tables === counted(C_TABLES_TAKEN)) {
    const phys = load<u64>(physs + (done << 3));
    const p: usize = found && phys >> paBits === 0 ? slotOf(done - first) : 0;
    if (p === 0 || read(p, true) !== 0) {
      c.done = done;
      stop = mapNext(w, c, phys);
      done = c.done;
      if (c.hungry) break;
      continue;
    }
    const won = compareExchange(p, 0, PageLeaf.of(layout, ps, phys, attributes, plain, pageMask));
    store<i8>(statuses + done, won ? OK : EAGAIN);
    done++;
    if (!won) {
      lost++;
      continue;
    }
    Reference.add(pageOf(w, p));
    made++;
  }
  c.done = done;
  noteMade(made);
  count(C_LOST, lost);
  count(C_AGAIN, lost);
  return stop;
}

function touchGroup(n: u32): void {
  for (let slot = scratch(), end = slot + (n << 3); slot !== end; slot += 8) {
    const p = <usize>load<u64>(slot);
    if (p) touch(p);
  }
}

/** The next row by a walk; true if an error ends the call. Nothing is done, and c.hungry, if the cache must be topped up first. */
function mapNext(w: Walk, c: Column, phys: u64): bool {
  if (w.cache > CACHE_ARENA && cached(w.cache) < worth(w.table)) {
    c.hungry = true;
    return false;
  }
  return settle(c, mapPage(w, addressAt(c), phys));
}

function mapPage(w: Walk, addr: u64, phys: u64): i32 {
  const t = w.table;
  if (phys >> t.paBits) return ERANGE;
  if (t.flags & T_IDMAP && addr !== phys) return EINVAL;
  if (aim(w, addr)) return ERANGE;
  w.phys = alignDown(phys, (<u64>1) << t.ps);
  count(C_WALKS, 1);
  const r = walkOpened<MapVisitor>(w);
  storeBarrier(t);
  return r;
}

/**
 * Adds `prot` to the leaves of `n` addresses (a column of u64), each with its local flush; statuses to a column of i8.
 * Returns how many were done: all, unless an address is out of range. Preconditions: the columns lie in the arena.
 */
export function relaxPages(t: Table, addrs: usize, statuses: usize, n: u32, prot: u32, flags: u32): i32 {
  if (!isRelaxation(t, prot) || !t.root || flags & ~(SHARED | LOCK_FREE)) return EINVAL;
  const mode = modeOf(t, SHARES_LEAF, flags);
  if (mode < 0) return mode;
  const c = column(addrs, 0, statuses, n);
  for (let stop: bool = false; !stop && c.done < n; ) {
    const bad = begin(t, mode);
    if (bad) {
      settle(c, bad);
      break;
    }
    const w = openRelax(t, prot, flags !== 0);
    if (w) {
      stop = w.flags & SHARED ? relaxGroup<Among>(w, c) : relaxGroup<Alone>(w, c);
      close();
    }
    finish(t, mode);
    if (!w) stop = settle(c, EBUSY);
  }
  return c.done;
}

/** The next group of rows; true if an error ends the call. A leaf of any level is relaxed where it is found. */
function relaxGroup<A extends Access>(w: Walk, c: Column): bool {
  const t = w.table,
    set = w.set,
    clear = w.clear,
    shared = changetype<A>(0).shared(),
    addrs = c.addrs + (c.done << 3);
  const simple = unseen(t) && (shared || !w.atomic) && !(t.flags & T_XNX);
  const n = min(c.n - c.done, GROUP);
  const found = simple && findSlots<A>(t, addrs, scratch(), scratch() + LEVELS, n);
  if (found && shared) touchGroup(n);
  let relaxed: u32 = 0,
    done: u32 = 0,
    stop: bool = false;
  while (done < n && !stop) {
    const p: usize = found ? <usize>load<u64>(scratch() + (done << 3)) : 0;
    const old: u64 = p ? read(p, shared) : 0,
      next = (old & ~clear) | set;
    // What was a leaf when it was found may be a table by now: no place for permissions.
    if (isLeaf(old, done) && ((old ^ next) & S2_XN_FIELD) === 0 && replace<A>(p, old, next)) {
      store<i8>(c.statuses + c.done, OK);
      c.done++;
      relaxed++;
    } else {
      stop = settle(c, relaxPage(w, addressAt(c)));
    }
    done++;
  }
  count(C_WALKS, relaxed);
  count(C_TLBI_IPA_LOCAL, relaxed);
  return stop;
}

/** Is the descriptor of member `i` of the group a leaf? */
function isLeaf(old: u64, i: u32): bool {
  return isValid(old) && !isTable(old, load<i8>(scratch() + LEVELS + i));
}

/** Stores `next` over the snapshot; what lost the race is left to the walk, which says so. */
function replace<A extends Access>(p: usize, old: u64, next: u64): bool {
  if (changetype<A>(0).shared()) return old === next || compareExchange(p, old, next);
  write(p, next);
  return true;
}

function relaxPage(w: Walk, addr: u64): i32 {
  if (aim(w, addr)) return ERANGE;
  w.level = TTL_UNKNOWN;
  count(C_WALKS, 1);
  const r = walkOpened<RelaxVisitor>(w);
  if (r === OK || r === EAGAIN) flushIpaLocal(w.table, w.start, w.level);
  return r;
}
