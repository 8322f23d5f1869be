// The work of many guest faults in one call: columns of page addresses instead of records. Arguments are checked
// and XX

import { isValid, leafDescriptor } from "../arch/descriptor";
import { alignDown, LAST_LEVEL } from "../arch/granule";
import { isStage2Prot, S2_XN_FIELD } from "../arch/stage2";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { CACHE_ARENA, isCache, topUp } from "../memory/cache";
import { read, write } from "../memory/cell";
import { EAGAIN, EBUSY, EINVAL, ERANGE, OK } from "../memory/errno";
import { Reference } from "../memory/frames";
import { scratch, T_IDMAP, T_XNX, Table, Walk } from "../memory/layout";
import { C_DSB, C_LEAVES_MADE, C_TLBI_IPA_LOCAL, C_WALKS, count } from "../record/counters";
import { flushIpaLocal, storeBarrier } from "../record/maintenance";
import { isRelaxation, openRelax, RelaxVisitor } from "./attrs";
import { pageOf } from "./bbm";
import { findSlots, GROUP } from "./lookup";
import { cleanMade, MapVisitor, setAttributes } from "./map";
import { close, HANDLE_FAULT, LEAF, open, TABLE_PRE, WALK_FLAGS, walkOpened } from "./walk";

/** Output address bits from which on a layout may pack. */
const PACKED_FROM: u32 = 48;
// Scratch of a group: slots u64, levels i8.
const LEVELS: usize = (<usize>GROUP) << 3;

/** Finds the slots of a group; true if they are there to be used (a damaged table is left to the walks). */
function findGroup(t: Table, addrs: usize, n: u32): bool {
  return findSlots(t, addrs, scratch(), scratch() + LEVELS, n);
}

/** The last-level slot of member `i` of the group, 0 if its translation ends above. */
function slotOf(i: u32): usize {
  return load<i8>(scratch() + LEVELS + i) === LAST_LEVEL ? <usize>load<u64>(scratch() + (i << 3)) : 0;
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
 * that needs a walk [MC-6]. Returns how many were done: it stops behind the first error that is not EAGAIN.
 * Preconditions: the columns lie in the arena.
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
  if (flags & ~WALK_FLAGS || !isCache(cache, t.ps) || !isStage2Prot(prot, <bool>(t.flags & T_XNX))) return EINVAL;
  if (!t.root) return EINVAL;
  const w = open(t, flags | HANDLE_FAULT | LEAF | TABLE_PRE);
  if (!w) return EBUSY;
  setAttributes(w, prot);
  w.cache = cache;
  w.annotate = false;
  w.forcePages = true; // one page is never a block
  const ps = t.ps,
    layout = t.addressLayout,
    attributes = w.attributes,
    paBits = t.paBits;
  const simple = w.bulk && !(t.flags & T_IDMAP),
    maintain = w.maintain !== 0,
    pageMask = ~(((<u64>1) << ps) - 1),
    plain = leafDescriptor(layout, ps, 0, attributes, LAST_LEVEL);
  let done: u32 = 0,
    made: u32 = 0,
    group: u32 = 0,
    end: u32 = 0,
    pages: u32 = 0,
    found: bool = false;
  while (done < n) {
    // A slot found stays one, since mapping pages takes no table away; a table added is looked for again.
    if (done === end || pages !== t.pages) {
      group = done;
      end = min(n, done + GROUP);
      pages = t.pages;
      found = simple && findGroup(t, addrs + (done << 3), end - done);
    }
    const addr = load<u64>(addrs + (done << 3)),
      phys = load<u64>(physs + (done << 3));
    const p: usize = found && phys >> paBits === 0 ? slotOf(done - group) : 0;
    let r: i32 = OK;
    if (p !== 0 && read(p, false) === 0) {
      // Below 2^48 every layout has the address in its place.
      const leaf =
        phys >> PACKED_FROM ? leafDescriptor(layout, ps, phys, attributes, LAST_LEVEL) : (phys & pageMask) | plain;
      write(p, leaf);
      Reference.add(pageOf(w, p));
      if (maintain) cleanMade(w, phys & pageMask, ps, 1);
      made++;
    } else {
      r = mapPage(w, addr, phys);
    }
    store<i8>(statuses + done, <i8>r);
    done++;
    if (r < 0 && r !== EAGAIN) break;
  }
  count(C_WALKS, made);
  count(C_LEAVES_MADE, made);
  count(C_DSB, made);
  close();
  return done;
}

function mapPage(w: Walk, addr: u64, phys: u64): i32 {
  const t = w.table;
  if (phys >> t.paBits) return ERANGE;
  if (t.flags & T_IDMAP && addr !== phys) return EINVAL;
  if (aim(w, addr)) return ERANGE;
  w.phys = alignDown(phys, (<u64>1) << t.ps);
  if (w.cache > CACHE_ARENA) {
    const full = topUp(w.cache, LAST_LEVEL - t.startLevel);
    if (full) return full;
  }
  count(C_WALKS, 1);
  const r = walkOpened<MapVisitor>(w);
  storeBarrier(t);
  return r;
}

/**
 * Adds `prot` to the leaves of `n` addresses (a column of u64), each with its local flush; statuses to a column of i8.
 * Returns how many were done: all, unless an address is out of range. Preconditions: the columns lie in the arena.
 */
export function relaxPages(t: Table, addrs: usize, statuses: usize, n: u32, prot: u32, shared: bool): i32 {
  if (!isRelaxation(t, prot) || !t.root) return EINVAL;
  const w = openRelax(t, prot, shared);
  if (!w) return EBUSY;
  const set = w.set,
    clear = w.clear,
    simple = w.bulk && !w.atomic && !(t.flags & T_XNX);
  let done: u32 = 0,
    relaxed: u32 = 0,
    r: i32 = OK;
  while (done < n && (r >= 0 || r === EAGAIN)) {
    const end = min(n, done + GROUP);
    const found = simple && findGroup(t, addrs + (done << 3), end - done);
    for (let slot = scratch(); done < end; slot += 8) {
      // A leaf of any level is relaxed where it is found.
      const p: usize = found ? <usize>load<u64>(slot) : 0;
      const old: u64 = p ? read(p, false) : 0;
      const next = (old & ~clear) | set;
      r = OK;
      if (isValid(old) && ((old ^ next) & S2_XN_FIELD) === 0) {
        write(p, next);
        relaxed++;
      } else {
        r = relaxPage(w, load<u64>(addrs + (done << 3)));
      }
      store<i8>(statuses + done, <i8>r);
      done++;
      if (r < 0 && r !== EAGAIN) break;
    }
  }
  count(C_WALKS, relaxed);
  count(C_TLBI_IPA_LOCAL, relaxed);
  close();
  return done;
}

function relaxPage(w: Walk, addr: u64): i32 {
  if (aim(w, addr)) return ERANGE;
  w.level = TTL_UNKNOWN;
  count(C_WALKS, 1);
  const r = walkOpened<RelaxVisitor>(w);
  if (r === OK || r === EAGAIN) flushIpaLocal(w.table, w.start, w.level);
  return r;
}
