// The work of many guest faults in one call: columns of page addresses instead of records. Arguments are checked
// and attributes computed once; slots are looked up in groups, so that their cache misses overlap. A page that needs more than
// one store is mapped by an ordinary walk.
//
// The plain rows are done by inner loops that call nothing, load what they need before they begin, and end at the first row that
// is anything else. A function of its own does that row, and the loop begins again behind it.
//
// A shared call takes the table's lock once per group. A hole has nothing to break and, without cache maintenance, nothing has to
// be done between the marker and the leaf, so one compare-exchange takes the hole and makes the leaf. The reference is counted in
// this walker's own part of the count (memory/frames.ts), which no other walker writes.

import { isTable, isValid, leafDescriptor, linearBits, VALID } from "../arch/descriptor";
import { alignDown, LAST_LEVEL, pageBytes } from "../arch/granule";
import { isStage2Prot, S2_XN_FIELD } from "../arch/stage2";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { CACHE_ARENA, cached, isCache, resolve, topUp } from "../memory/cache";
import { read, touch } from "../memory/cell";
import { EAGAIN, EBUSY, EINVAL, ERANGE, OK } from "../memory/errno";
import { Reference } from "../memory/frames";
import { scratch, T_IDMAP, T_XNX, Table } from "../memory/layout";
import { rootOf } from "../memory/tables";
import { C_AGAIN, C_DSB, C_TLBI_IPA_LOCAL, C_WALKS, count } from "../record/counters";
import { flushIpaLocal, storeBarrier } from "../record/maintenance";
import { isRelaxation, openRelax, RelaxVisitor, RelaxWalk } from "./attrs";
import { Access, findSlot, findSlots, isPageSlot, levelIn, pointerIn } from "./down";
import { GROUP } from "./lookup";
import { MapVisitor, openMap } from "./map";
import { visitPage } from "./page";
import { Alone, Among, attributesOf, clean, MapWalk, Place, prepareLeaves, unwatched, Way } from "./place";
import { begin, end as finish, LOCK_FREE, modeOf, SHARES_LEAF, SHARES_TABLE } from "./sharing";
import { close, HANDLE_FAULT, isShared, SHARED, WALK_FLAGS, Walk, walkOpened } from "./walk";

// Scratch of a group: slots as `findSlots` gives them (u32), then the Column record.
const COLUMN: usize = (<usize>GROUP) << 2;

/** The columns of a call, and its progress. What the inner loops need is computed here before they begin, and loaded by them. */
@unmanaged
class Column {
  addrs: usize;
  physs: usize;
  statuses: usize;
  n: u32;
  done: u32;
  /** The next page needs a walk, and the cache has too few pages for it. */
  hungry: bool;
  /** The group of rows whose slots were looked up together. */
  first: u32;
  end: u32;
  /** The first output address that needs more than plain addition, or more than one store. */
  physEnd: u64;
  /** The leaf of output address 0. */
  plain: u64;
  pageMask: u64;
  /** Where references are counted. */
  counts: usize;
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

/** The slot of the next row, as it was looked up. */
function found(c: Column): usize {
  return load<u32>(scratch() + ((c.done - c.first) << 2));
}

/** The next rows, a group at most, are looked up together; false if that is not possible. */
function lookUp<A extends Access>(t: Table, c: Column): bool {
  c.first = c.done;
  return findSlots<A>(t, c.addrs + (c.done << 3), scratch(), c.end - c.done);
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
      prepareRows(w, c);
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

/** Computes what the inner loop of a map needs. */
function prepareRows(w: MapWalk, c: Column): void {
  const t = w.table,
    linear = min<u32>(t.paBits, linearBits(w.layout));
  c.physEnd = (<u64>1) << linear;
  c.plain = leafDescriptor(w.layout, w.ps, 0, w.attributes, LAST_LEVEL);
  c.pageMask = ~(<u64>pageBytes(w.ps) - 1);
  c.counts = Reference.base();
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
  c.end = min(c.n, c.done + GROUP);
  const quick = isPlain<W>(w) && lookUp<W>(w.table, c);
  if (quick) changetype<W>(0).announce();
  let stop: bool = false;
  do {
    if (quick) fill<W>(w, c);
    if (c.done === c.end) break;
    stop = quick ? mapRow<W>(w, c) : mapNext(w, c);
  } while (!stop && !c.hungry && c.done !== c.end);
  return stop;
}

/** Fills holes, and counts the cache maintenance of their leaves at once: nobody watches its order. */
function fill<W extends Way>(w: MapWalk, c: Column): void {
  const before = c.done;
  fillHoles<W>(c);
  if (w.maintain !== 0 && c.done !== before) clean(w.table, 0, w.ps, c.done - before, w.maintain);
}

/**
 * Maps the next rows as long as each is a hole of a last-level table. A slot that was found stays valid: mapping pages removes no
 * table. The loop has no call; the first row that is anything else ends it.
 */
function fillHoles<W extends Way>(c: Column): void {
  const physEnd = c.physEnd,
    plain = c.plain,
    pageMask = c.pageMask,
    counts = c.counts,
    last = c.statuses + c.end;
  let slot = scratch() + ((c.done - c.first) << 2),
    phys = c.physs + (c.done << 3),
    status = c.statuses + c.done;
  while (status !== last) {
    const p = <usize>load<u32>(slot),
      to = load<u64>(phys);
    if (!isPageSlot(p)) break;
    if (to >= physEnd) break;
    if (!changetype<W>(0).fill(p, (to & pageMask) | plain)) break;
    Reference.add(counts, p, <usize>pageMask);
    store<i8>(status, OK);
    slot += 4;
    phys += 8;
    status++;
  }
  const done = <u32>(status - c.statuses),
    placed = done - c.done;
  c.done = done;
  changetype<W>(0).tally(placed);
  noteRows(placed);
}

/** Each row counts as a walk of its own, with the barrier at its end. */
function noteRows(n: u32): void {
  count(C_WALKS, n);
  count(C_DSB, n);
}

/** Maps the next row, which `fillHoles` could not; true if an error ends the call. */
function mapRow<W extends Way>(w: MapWalk, c: Column): bool {
  const t = w.table,
    shared = changetype<W>(0).shared(),
    phys = load<u64>(c.physs + (c.done << 3)),
    addr = addressAt(c);
  // A row before it, or another walker, may have made the table.
  const p: usize = addr < t.inputEnd && phys >> t.paBits === 0 ? findSlot(t, addr, shared) : 0;
  if (p === 0 || !isPageSlot(p) || read(p, shared) !== 0) return mapNext(w, c);
  const leaf = leafDescriptor(w.layout, w.ps, phys, w.attributes, LAST_LEVEL);
  if (!Place.leaf<W>(w, p, 0, leaf, alignDown(phys, pageBytes(w.ps)), LAST_LEVEL)) {
    count(C_AGAIN, 1);
    return settle(c, EAGAIN);
  }
  noteRows(1);
  return settle(c, OK);
}

/** Maps the next row by a walk; true if an error ends the call. If the cache must be topped up first, sets c.hungry and maps nothing. */
function mapNext(w: MapWalk, c: Column): bool {
  if (w.cache > CACHE_ARENA && cached(w.cache) < worth(w.table)) {
    c.hungry = true;
    return false;
  }
  return settle(c, mapPage(w, addressAt(c), load<u64>(c.physs + (c.done << 3))));
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
      stop = isShared(w) ? relaxGroup<Among>(w, c) : relaxGroups(w, c);
      close();
    }
    finish(t, mode);
    if (!w) stop = settle(c, EBUSY);
  }
  return c.done;
}

/** All rows, while nobody else is in the table; true if an error ends the call. */
function relaxGroups(w: RelaxWalk, c: Column): bool {
  let stop: bool = false;
  while (!stop && c.done < c.n) stop = relaxGroup<Alone>(w, c);
  return stop;
}

/** The next rows, a group at most; true if an error ends the call. A leaf of any level is relaxed where it is found. */
function relaxGroup<A extends Access>(w: RelaxWalk, c: Column): bool {
  const t = w.table,
    simple = unwatched(t) && (changetype<A>(0).shared() || !w.atomic) && !(t.flags & T_XNX);
  c.end = min(c.n, c.done + GROUP);
  const quick = simple && lookUp<A>(t, c);
  if (quick && changetype<A>(0).shared()) touchGroup(c);
  let stop: bool = false;
  do {
    if (quick) relaxLeaves<A>(w, c);
    if (c.done === c.end) break;
    stop = relaxRow<A>(w, c, quick);
  } while (!stop && c.done !== c.end);
  return stop;
}

/** Before a row of compare-exchanges: the lines of their slots come near at once. */
function touchGroup(c: Column): void {
  for (let slot = scratch(), end = slot + ((c.end - c.first) << 2); slot !== end; slot += 4) {
    const p = pointerIn(load<u32>(slot));
    if (p) touch(p);
  }
}

/** Relaxes the next rows as long as each is a page that does not become executable. The loop has no call. */
function relaxLeaves<A extends Access>(w: RelaxWalk, c: Column): void {
  const set = w.set,
    seen = w.clear | VALID,
    last = c.statuses + c.end;
  let slot = scratch() + ((c.done - c.first) << 2),
    status = c.statuses + c.done;
  while (status !== last) {
    const p = <usize>load<u32>(slot);
    if (!isPageSlot(p)) break;
    const old = read(p, changetype<A>(0).shared());
    if ((old & seen) !== VALID) break;
    if (!changetype<A>(0).change(p, old, old | set)) break;
    store<i8>(status, OK);
    slot += 4;
    status++;
  }
  const done = <u32>(status - c.statuses);
  noteRelaxed(done - c.done);
  c.done = done;
}

function noteRelaxed(n: u32): void {
  count(C_WALKS, n);
  count(C_TLBI_IPA_LOCAL, n);
}

/** Relaxes the next row: a block where it was found, anything else by a walk; true if an error ends the call. */
function relaxRow<A extends Access>(w: RelaxWalk, c: Column, quick: bool): bool {
  const at: usize = quick ? found(c) : 0,
    p = pointerIn(at);
  if (p) {
    const old = read(p, changetype<A>(0).shared()),
      next = (old & ~w.clear) | w.set;
    // The entry may have become a table since the lookup: it has no permissions to change.
    const isLeaf = isValid(old) && !isTable(old, levelIn(at));
    if (isLeaf && ((old ^ next) & S2_XN_FIELD) === 0 && changetype<A>(0).change(p, old, next)) {
      noteRelaxed(1);
      return settle(c, OK);
    }
  }
  return settle(c, relaxPage(w, addressAt(c)));
}

function relaxPage(w: RelaxWalk, addr: u64): i32 {
  if (aim(w, addr)) return ERANGE;
  w.level = TTL_UNKNOWN;
  count(C_WALKS, 1);
  const r = visitPage<RelaxVisitor>(w);
  if (r === OK || r === EAGAIN) flushIpaLocal(w.table, w.start, w.level);
  return r;
}
