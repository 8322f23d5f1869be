// The work of many guest faults in one call: columns of page addresses instead of records. Arguments are checked
// and attributes computed once; slots are looked up in groups, so that their cache misses overlap. A page that needs more than
// one store is mapped by an ordinary walk.
//
// A shared call takes the table's lock once per group. A hole has nothing to break and, without cache maintenance, nothing has to
// be done between the marker and the leaf, so one compare-exchange takes the hole and makes the leaf. The reference is counted in
// this walker's own part of the count (memory/frames.ts), which no other walker writes.

import { isTable, isValid, LINEAR_BITS, leafDescriptor } from "../arch/descriptor";
import { alignDown, LAST_LEVEL, pageBytes } from "../arch/granule";
import { isStage2Prot, S2_XN_FIELD } from "../arch/stage2";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { CACHE_ARENA, cached, isCache, resolve, topUp } from "../memory/cache";
import { compareExchange, read, touch, write } from "../memory/cell";
import { EAGAIN, EBUSY, EINVAL, ERANGE, OK } from "../memory/errno";
import { scratch, T_IDMAP, T_XNX, Table } from "../memory/layout";
import { rootOf } from "../memory/tables";
import { C_AGAIN, C_DSB, C_TABLES_TAKEN, C_TLBI_IPA_LOCAL, C_WALKS, count, counted } from "../record/counters";
import { flushIpaLocal, storeBarrier } from "../record/maintenance";
import { isRelaxation, openRelax, RelaxVisitor, RelaxWalk } from "./attrs";
import { Access, findSlots } from "./down";
import { GROUP } from "./lookup";
import { MapVisitor, openMap } from "./map";
import { visitPage } from "./page";
import { Alone, Among, attributesOf, MapWalk, Place, prepareLeaves, unwatched, Way } from "./place";
import { begin, end as finish, LOCK_FREE, modeOf, SHARES_LEAF, SHARES_TABLE } from "./sharing";
import { close, HANDLE_FAULT, isShared, SHARED, WALK_FLAGS, Walk, walkOpened } from "./walk";

/** Pages that are mapped together: fewer than are looked up together, since the slots behind a new table are looked up again. */
const MAPPED_TOGETHER: u32 = GROUP / 2;
// Scratch of a group: slots (u64), levels (i8), then the Column record.
const LEVELS: usize = (<usize>GROUP) << 3;
const COLUMN: usize = LEVELS + GROUP;

/** The columns of a call, and its progress. */
@unmanaged
class Column {
  addrs: usize;
  physs: usize;
  statuses: usize;
  n: u32;
  done: u32;
  /** The next page needs a walk, and the cache has too few pages for it. */
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

/** Points the opened walk at the page of `addr`; ERANGE beyond the input space. */
function aim(w: Walk, addr: u64): i32 {
  const t = w.table,
    page = <u64>pageBytes(t.ps),
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
  if (!rootOf(t)) return EINVAL;
  const mode = modeOf(t, SHARES_TABLE, flags);
  if (mode < 0) return mode;
  const c = column(addrs, physs, statuses, n);
  for (let stop: bool = false; !stop && c.done < n; ) {
    let r = feed(c, t, cache);
    if (r === OK) r = begin(t, mode);
    if (r) {
      settle(c, r); // the rows before it stay done
      break;
    }
    const w = openMap(t, flags | HANDLE_FAULT);
    if (w) {
      prepareLeaves(w, attributesOf(t, prot));
      w.cache = cache;
      w.annotate = false;
      w.forcePages = true; // one page is never a block
      stop = isShared(w) ? mapGroup<Among>(w, c) : mapGroups(w, c);
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

/** Tops the cache up if the last group ended because it had too few pages. */
function feed(c: Column, t: Table, cache: u32): i32 {
  if (!c.hungry) return OK;
  c.hungry = false;
  return topUp(cache, worth(t));
}

@final
@unmanaged
class PageLeaf {
  /** The leaf of a page at `phys`; `plain` is that of address 0. Up to LINEAR_BITS every layout has the address in its place. */
  @inline static of(layout: u32, ps: u32, phys: u64, attributes: u64, plain: u64, pageMask: u64): u64 {
    return phys >> LINEAR_BITS ? leafDescriptor(layout, ps, phys, attributes, LAST_LEVEL) : (phys & pageMask) | plain;
  }
}

/** All rows, while nobody else is in the table; true if an error ends the call. */
function mapGroups(w: MapWalk, c: Column): bool {
  let stop: bool = false;
  while (!stop && c.done < c.n && !c.hungry) stop = mapGroup<Alone>(w, c);
  return stop;
}

/** May `W` make a hole a leaf without a walk? */
function isPlain<W extends Way>(w: MapWalk): bool {
  if (w.table.flags & T_IDMAP) return false;
  return changetype<W>(0).shared() ? w.among : w.bulk;
}

/** The next rows, a group at most; true if an error ends the call. */
function mapGroup<W extends Way>(w: MapWalk, c: Column): bool {
  const t = w.table,
    ps = t.ps,
    layout = t.addressLayout,
    attributes = w.attributes,
    paBits = t.paBits,
    shared = changetype<W>(0).shared(),
    physs = c.physs,
    statuses = c.statuses,
    first = c.done,
    end = min(c.n, first + MAPPED_TOGETHER),
    tables = counted(C_TABLES_TAKEN);
  const pageMask = ~(<u64>pageBytes(ps) - 1),
    plain = leafDescriptor(layout, ps, 0, attributes, LAST_LEVEL);
  const found = isPlain<W>(w) && findSlots<W>(t, c.addrs + (first << 3), scratch(), scratch() + LEVELS, end - first);
  if (found && shared) touchGroup(end - first);
  let done = first,
    placed: u32 = 0,
    lost: u32 = 0,
    stop: bool = false;
  if (found) changetype<W>(0).announce();
  // A slot that was found stays valid: mapping pages removes no table. Where this walker adds a table, the next group looks
  // its slots up again; where another walker added one, the slot changed, and a walk maps the page.
  while (done < end && !stop && tables === counted(C_TABLES_TAKEN)) {
    const phys = load<u64>(physs + (done << 3));
    const p: usize = found && phys >> paBits === 0 ? slotOf(done - first) : 0;
    if (p === 0 || read(p, shared) !== 0) {
      c.done = done;
      stop = mapNext(w, c, phys);
      done = c.done;
      if (c.hungry) break;
      continue;
    }
    const leaf = PageLeaf.of(layout, ps, phys, attributes, plain, pageMask);
    const won = Place.oneOfMany<W>(w, p, 0, leaf, phys & pageMask, LAST_LEVEL);
    store<i8>(statuses + done, won ? OK : EAGAIN);
    done++;
    if (won) placed++;
    else lost++;
  }
  c.done = done;
  // Each row counts as a walk of its own, with the barrier at its end.
  changetype<W>(0).tally(placed);
  count(C_WALKS, placed);
  count(C_DSB, placed);
  count(C_AGAIN, lost);
  return stop;
}

function touchGroup(n: u32): void {
  for (let slot = scratch(), end = slot + (n << 3); slot !== end; slot += 8) {
    const p = <usize>load<u64>(slot);
    if (p) touch(p);
  }
}

/** Maps the next row by a walk; true if an error ends the call. If the cache must be topped up first, sets c.hungry and maps nothing. */
function mapNext(w: MapWalk, c: Column, phys: u64): bool {
  if (w.cache > CACHE_ARENA && cached(w.cache) < worth(w.table)) {
    c.hungry = true;
    return false;
  }
  return settle(c, mapPage(w, addressAt(c), phys));
}

function mapPage(w: MapWalk, addr: u64, phys: u64): i32 {
  const t = w.table;
  if (phys >> t.paBits) return ERANGE;
  if (t.flags & T_IDMAP && addr !== phys) return EINVAL;
  if (aim(w, addr)) return ERANGE;
  w.phys = alignDown(phys, pageBytes(t.ps));
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
  if (!isRelaxation(t, prot) || !rootOf(t) || flags & ~(SHARED | LOCK_FREE)) return EINVAL;
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
      stop = isShared(w) ? relaxGroup<Among>(w, c) : relaxGroup<Alone>(w, c);
      close();
    }
    finish(t, mode);
    if (!w) stop = settle(c, EBUSY);
  }
  return c.done;
}

/** The next group of rows; true if an error ends the call. A leaf of any level is relaxed where it is found. */
function relaxGroup<A extends Access>(w: RelaxWalk, c: Column): bool {
  const t = w.table,
    set = w.set,
    clear = w.clear,
    shared = changetype<A>(0).shared(),
    addrs = c.addrs + (c.done << 3);
  const simple = unwatched(t) && (shared || !w.atomic) && !(t.flags & T_XNX);
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
    // The entry may have become a table since the lookup: it has no permissions to change.
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

/** Stores `next` over the snapshot. After a lost race the row is left to a walk, which reports it. */
function replace<A extends Access>(p: usize, old: u64, next: u64): bool {
  if (changetype<A>(0).shared()) return old === next || compareExchange(p, old, next);
  write(p, next);
  return true;
}

function relaxPage(w: RelaxWalk, addr: u64): i32 {
  if (aim(w, addr)) return ERANGE;
  w.level = TTL_UNKNOWN;
  count(C_WALKS, 1);
  const r = visitPage<RelaxVisitor>(w);
  if (r === OK || r === EAGAIN) flushIpaLocal(w.table, w.start, w.level);
  return r;
}
