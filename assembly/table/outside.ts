// Visitors from outside: one host call per visit, and what such a visitor may do there [WLK-4, WLK-6].

import { isCounted, isTable, tableDescriptor } from "../arch/descriptor";
import { ENTRY_BYTES } from "../arch/granule";
import { isCache } from "../memory/cache";
import { read } from "../memory/cell";
import { EAGAIN, EBUSY, EINVAL, ENOMEM, EPERM, OK } from "../memory/errno";
import { hostVisit } from "../memory/host";
import { Table, Walk, walker, walkFrame } from "../memory/layout";
import { Answer, result } from "../record/result";
import { make, pageOf, put, tryBreak } from "./bbm";
import { LeafVisitor } from "./lookup";
import { getPages, putPages, virtToPhys, zallocPage } from "./mmops";
import { freeUnlinked } from "./teardown";
import {
  advance,
  close,
  DESCEND,
  LEAF,
  open,
  SHARED,
  stops,
  TABLE_POST,
  TABLE_PRE,
  Visitor,
  WALK_FLAGS,
  walk,
} from "./walk";

/** Did this visit take its slot? Kept in Walk.tally. */
const NOT_TAKEN: u64 = 0;
const TAKEN: u64 = 1;

function visit(w: Walk, phase: u32, p: usize, old: u64, level: i32, addr: u64): i32 {
  const here = w.addr;
  w.addr = addr; // at POST the walk is already behind the child
  w.slot = p;
  w.old = old;
  w.level = level;
  w.tally = NOT_TAKEN;
  const r = hostVisit(phase, level, <u32>addr, <u32>(addr >> 32), <u32>old, <u32>(old >> 32));
  // Who took the slot must make [S2-24]: a visitor that did not, or threw, leaves what was there.
  if (w.tally === TAKEN) make(w, p, old, level);
  w.slot = 0;
  w.addr = here;
  return r;
}

@final
@unmanaged
class OutsideVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_PRE | TABLE_POST;
  }

  run(w: Walk, p: usize, end: usize, level: i32): usize {
    const shared = <bool>(w.flags & SHARED);
    while (p !== end) {
      const old = read(p, shared);
      if (isTable(old, level)) return p;
      const r = visit(w, LEAF, p, old, level, w.addr);
      if (stops(w, r)) {
        w.status = r;
        return p;
      }
      if (isTable(read(p, shared), level)) return p | DESCEND;
      advance(w, level);
      p += ENTRY_BYTES;
    }
    return p;
  }

  pre(w: Walk, p: usize, old: u64, level: i32): i32 {
    return visit(w, TABLE_PRE, p, old, level, w.addr);
  }

  post(w: Walk, p: usize, old: u64, level: i32, addr: u64): i32 {
    return visit(w, TABLE_POST, p, old, level, addr);
  }
}

/** Walks with the host's visitor. Any nonzero result but EAGAIN ends the walk and is returned [WLK-10]. */
export function walkOutside(t: Table, addr: u64, size: u64, flags: u32, cache: u32): i32 {
  if (flags & ~WALK_FLAGS || !isCache(cache, t.ps)) return EINVAL;
  const w = open(t, flags);
  if (!w) return EBUSY;
  w.cache = cache;
  const r = walk<OutsideVisitor>(w, addr, size);
  close();
  return r;
}

/** The walk whose visitor is running now; 0 if there is none. */
function current(): Walk {
  const depth = walker().depth;
  if (depth === 0) return changetype<Walk>(0);
  const w = walkFrame(depth - 1);
  return w.slot ? w : changetype<Walk>(0);
}

/** Reads the visited slot again; answers its descriptor. EPERM outside a visit, as for all functions below. */
export function visitRead(): i32 {
  const w = current();
  if (!w) return EPERM;
  result<Answer>().value = read(w.slot, <bool>(w.flags & SHARED));
  return OK;
}

/** Takes the visited slot from the snapshot: EAGAIN if it is not to be had [S2-20]. */
export function visitTryBreak(): i32 {
  const w = current();
  if (!w) return EPERM;
  if (!tryBreak(w, w.slot, w.old, w.level)) return EAGAIN;
  w.tally = TAKEN;
  return OK;
}

/** Publishes `next` in the slot that visitTryBreak took; EPERM if this visit has not taken it. */
export function visitMake(next: u64): i32 {
  const w = current();
  if (!w || w.tally !== TAKEN) return EPERM;
  w.tally = NOT_TAKEN;
  make(w, w.slot, next, w.level);
  return OK;
}

/** Writes `next` over the snapshot in one step, no flush, references kept right; EAGAIN if the slot changed. */
export function visitSet(next: u64): i32 {
  const w = current();
  if (!w) return EPERM;
  const shared = <bool>(w.flags & SHARED),
    slot: usize = w.slot;
  if (read(slot, shared) !== w.old) return EAGAIN;
  if (!replace(w, slot, w.old, next)) return EAGAIN;
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
 * Puts `descriptor` where the translation of `addr` ends, reference count kept, nothing flushed: for tests
 * and for images that come from elsewhere. Answers the old descriptor and its level.
 */
export function poke(t: Table, addr: u64, descriptor: u64): i32 {
  const w = open(t, LEAF);
  if (!w) return EBUSY;
  w.old = 0;
  w.level = 0;
  const r = walk<LeafVisitor>(w, addr, 1);
  const answer = result<Answer>();
  answer.value = w.old;
  answer.level = w.level;
  // Past the end of the range nothing was visited.
  if (r === OK && w.slot) replace(w, w.slot, w.old, descriptor);
  close();
  return r;
}

/** One store over the snapshot, with the reference of the table kept right. */
function replace(w: Walk, p: usize, old: u64, next: u64): bool {
  if (!put(w, p, old, next, w.level)) return false;
  const before = isCounted(old, w.marker),
    after = isCounted(next, w.marker);
  if (before && !after) putPages(w.table, pageOf(w, p), 1);
  if (after && !before) getPages(w.table, pageOf(w, p), 1);
  return true;
}
