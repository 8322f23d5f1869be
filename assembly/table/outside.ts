// Visitors written in the host's language: one host call per visit, and what such a visitor may call [WLK-4, WLK-6]. In a shared
// walk the rules are those of the core's own visitors; whoever asks for one says that the visitor does not sleep [LCK-15].

import { isTable, tableDescriptor } from "../arch/descriptor";
import { alignDown, ENTRY_BYTES, ENTRY_SHIFT, LAST_LEVEL, span } from "../arch/granule";
import { isCache } from "../memory/cache";
import { read } from "../memory/cell";
import { EAGAIN, EBUSY, EINVAL, ENOMEM, EPERM, OK } from "../memory/errno";
import { hostVisit } from "../memory/host";
import { parallel, T_HYP, Table, walker, walkFrame } from "../memory/layout";
import { MODE_EXCLUSIVE, MODE_NONE, MODE_SHARED } from "../memory/lock";
import { Answer, result } from "../record/result";
import { make, replace, tryBreak } from "./bbm";
import { LeafVisitor, openEntry } from "./lookup";
import { virtToPhys, zallocPage } from "./mmops";
import { walkPage } from "./page";
import { freeUnlinked } from "./teardown";
import {
  CHOSEN,
  close,
  EntryWalk,
  FROM_ROOT,
  GREW,
  GROWS,
  isShared,
  LEAF,
  SHARED,
  skip,
  stops,
  TABLE_POST,
  TABLE_PRE,
  Visitor,
  WALK_FLAGS,
  Walk,
  walk,
} from "./walk";

/** Beside the walk flags: the host's visitor only reads, and gets runs of entries. */
export const RUNS: u32 = 1 << 18;
/** The phase of such a visit: the pointer of the first entry and the number of entries take the place of the descriptor. */
export const RUN: u32 = 1 << 3;

/** A walk whose visits are made by the host. */
@unmanaged
class OutsideWalk extends EntryWalk {
  /** Table pages come from here. */
  cache: u32;
  /** Has the current visit broken its slot, and not made it yet? */
  taken: bool;
}

function visit(w: OutsideWalk, phase: u32, p: usize, old: u64, level: i32, addr: u64): i32 {
  const here = w.addr;
  w.addr = addr; // at POST w.addr has already passed the child
  w.visiting = <u32>p;
  w.old = old;
  w.level = level;
  w.taken = false;
  const r = hostVisit(phase, level, <u32>addr, <u32>(addr >> 32), <u32>old, <u32>(old >> 32));
  // A slot that was broken must be made [S2-24]: if the visitor did not, or threw, the old entry is put back.
  if (w.taken) make(w, p, old, level);
  w.visiting = 0;
  w.addr = here;
  return r;
}

@final
@unmanaged
class OutsideVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_PRE | TABLE_POST | GROWS | FROM_ROOT | CHOSEN;
  }

  bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    return w.flags & RUNS ? visitRun(w, p, end, level) : p;
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    const r = visit(changetype<OutsideWalk>(w), LEAF, p, old, level, w.addr);
    if (r === GREW) return EINVAL; // GREW is the walker's own, a host's visitor cannot return it
    if (stops(w, r)) return r;
    // Among other walkers an entry that changed is visited again [WLK-11]; alone the host's visitor has decided.
    if (r === EAGAIN && isShared(w) && parallel()) return EAGAIN;
    return isTable(read(p, isShared(w)), level) ? GREW : OK;
  }

  pre(w: Walk, p: usize, old: u64, level: i32): i32 {
    return visit(changetype<OutsideWalk>(w), TABLE_PRE, p, old, level, w.addr);
  }

  post(w: Walk, p: usize, old: u64, level: i32, addr: u64, _table: usize): i32 {
    return visit(changetype<OutsideWalk>(w), TABLE_POST, p, old, level, addr);
  }
}

/** Beside the walk flags: the visitor does not sleep. */
export const NO_SLEEP: u32 = 1 << 19;

/** How a walk with `flags` uses `t`: MODE_*, or EPERM for a shared one whose visitor may sleep, or at EL2 [LCK-15, WLK-12]. */
export function modeOfVisitor(t: Table, flags: u32): i32 {
  if (!parallel()) return MODE_NONE;
  if (!(flags & SHARED)) return MODE_EXCLUSIVE;
  return flags & NO_SLEEP && !(t.flags & T_HYP) ? <i32>MODE_SHARED : EPERM;
}

/** Visits the entries from `p` up to the first table, or to `end`, in one call; returns where they end. */
function visitRun(w: Walk, p: usize, end: usize, level: i32): usize {
  let stop = p;
  while (stop !== end && !isTable(read(stop, false), level)) stop = level === LAST_LEVEL ? end : stop + ENTRY_BYTES;
  if (stop === p) return p;
  w.addr = alignDown(w.addr, span(w.ps, level)); // the range may begin inside a block
  const n = (stop - p) >> ENTRY_SHIFT;
  const r = hostVisit(RUN, level, <u32>w.addr, <u32>(w.addr >> 32), <u32>p, <u32>n);
  if (stops(w, r)) w.status = r;
  return skip(w, p, stop, level);
}

/** May a host's visitor walk so? One that gets runs visits leaves alone, and has the table to itself. */
function isVisit(flags: u32): bool {
  return flags & RUNS ? flags === (RUNS | LEAF) : (flags & ~WALK_FLAGS) === 0;
}

/** Walks with the host's visitor. Any nonzero result but EAGAIN ends the walk and is returned [WLK-10]. */
export function walkOutside(t: Table, addr: u64, size: u64, flags: u32, cache: u32): i32 {
  if (!isVisit(flags & ~NO_SLEEP) || !isCache(cache, t.ps)) return EINVAL;
  const w = changetype<OutsideWalk>(openEntry(t, flags & ~NO_SLEEP, 0));
  if (!w) return EBUSY;
  w.cache = cache;
  const r = walk<OutsideVisitor>(w, addr, size);
  close();
  return r;
}

/** The walk whose visitor is running now; 0 if there is none. */
function current(): OutsideWalk {
  const depth = walker().depth;
  if (depth === 0) return changetype<OutsideWalk>(0);
  const w = changetype<OutsideWalk>(walkFrame(depth - 1));
  return w.visiting ? w : changetype<OutsideWalk>(0);
}

/** Reads the visited slot again; answers its descriptor. EPERM outside a visit, as for all functions below. */
export function visitRead(): i32 {
  const w = current();
  if (!w) return EPERM;
  result<Answer>().value = read(w.visiting, isShared(w));
  return OK;
}

/** Breaks the visited slot from its snapshot; EAGAIN if it cannot [S2-20]. */
export function visitTryBreak(): i32 {
  const w = current();
  if (!w) return EPERM;
  if (!tryBreak(w, w.visiting, w.old, w.level)) return EAGAIN;
  w.taken = true;
  return OK;
}

/** Publishes `next` in the slot that visitTryBreak took; EPERM if this visit has not taken it. */
export function visitMake(next: u64): i32 {
  const w = current();
  if (!w) return EPERM;
  if (!w.taken) return EPERM;
  w.taken = false;
  make(w, w.visiting, next, w.level);
  return OK;
}

/**
 * Writes `next` over the snapshot in one step, no flush, references kept right; EAGAIN if the slot changed. EPERM for a table
 * in a shared walk: others may be in it, or find it half linked, so that takes a break and a make.
 */
export function visitSet(next: u64): i32 {
  const w = current();
  if (!w) return EPERM;
  const shared = isShared(w),
    slot: usize = w.visiting;
  if (shared && isTable(w.old | next, w.level)) return EPERM; // no annotation has the bit that makes a block a table
  if (read(slot, shared) !== w.old) return EAGAIN;
  if (!replace(w, slot, w.old, next, w.level)) return EAGAIN;
  w.old = next;
  return OK;
}

/** A new, empty table from the walk's cache; answers its table descriptor. */
export function visitNewTable(): i32 {
  const w = current();
  if (!w) return EPERM;
  const table = zallocPage(w.table, w.cache);
  if (!table) return ENOMEM;
  result<Answer>().value = tableDescriptor(w.layout, w.ps, virtToPhys(w.table, table));
  return OK;
}

/** Frees the subtree of the table descriptor that the visit replaced. */
export function visitFreeTable(descriptor: u64): i32 {
  const w = current();
  if (!w || !isTable(descriptor, w.level)) return EPERM;
  return freeUnlinked(w, descriptor, w.level);
}

/**
 * Stores `descriptor` in the slot where the translation of `addr` ends. Reference counts are kept right, nothing is flushed: for
 * tests, and for images that come from elsewhere. Answers the old descriptor and its level.
 */
export function poke(t: Table, addr: u64, descriptor: u64): i32 {
  const w = openEntry(t, LEAF, 0);
  if (!w) return EBUSY;
  const r = walkPage<LeafVisitor>(w, addr);
  const answer = result<Answer>();
  answer.value = w.old;
  answer.level = w.level;
  // Past the end of the range nothing was visited.
  if (r === OK && w.slot) replace(w, w.slot, w.old, descriptor, w.level);
  close();
  return r;
}
