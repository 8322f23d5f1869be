// The hypervisor's own stage 1 [S1-1..8]. Always exclusive: there are no read sections at EL2.

import { differsOnlyInSoftware, isValid, leafDescriptor, tableDescriptor } from "../arch/descriptor";
import { alignDown, LAST_LEVEL, span } from "../arch/granule";
import { isStage1Prot, stage1Attributes } from "../arch/stage1";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { isCache } from "../memory/cache";
import { synchronize } from "../memory/epoch";
import { EBUSY, EEXIST, EINVAL, ENOMEM, ERANGE, OK } from "../memory/errno";
import { intendMake } from "../memory/intent";
import { T_BARRIER, T_BTI, T_HVHE, T_LINUX, T_LPA2, Table } from "../memory/layout";
import { retire } from "../memory/limbo";
import { rootOf } from "../memory/tables";
import { C_LEAVES_CLEARED, C_LEAVES_MADE, count } from "../record/counters";
import { contextBarrier, flushVa, warn } from "../record/maintenance";
import { Answer, result } from "../record/result";
import { clear, pageOf, replace } from "./bbm";
import { isOutputRange } from "./map";
import { getPages, hasPageCount, noteRetired, pageCount, putPages, virtToPhys, zallocPage } from "./mmops";
import { leafAllowed, MapWalk, outputAddress } from "./place";
import { close, FROM_ROOT, GREW, GROWS, LEAF, openAs, TABLE_POST, Visitor, Walk, walk } from "./walk";

/** Does the table have separate UXN and PXN? With hVHE it has; 6.12 wrote bit 54 alone [FMT-13, BUG-40]. */
export function splitsExecute(flags: u32): bool {
  return (flags & (T_HVHE | T_LINUX)) === T_HVHE;
}

/** Can the current entry of the walk be a leaf of `level`? The alignment of an output address beyond the limit is ignored [GEO-4]. */
function fits(w: MapWalk, level: i32): bool {
  return leafAllowed(w, level, outputAddress(w) >> w.table.paBits === 0);
}

function leafOf(w: MapWalk, level: i32): u64 {
  return leafDescriptor(w.layout, w.ps, outputAddress(w), w.attributes, level);
}

/** A walk that maps in the hypervisor's table. */
@unmanaged
class HypMapWalk extends MapWalk {
  /** The walk only checks whether it could map. */
  checking: bool;
}

/** Maps [S1-2], or checks that nothing else is mapped there [S1-5a]. */
@final
@unmanaged
class HypMapVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | GROWS;
  }

  @inline bulk(_w: Walk, p: usize, _end: usize, _level: i32): usize {
    return p;
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    const m = changetype<HypMapWalk>(w);
    if (m.checking) return isValid(old) ? clash(m, old, level) : OK;
    return tryLeaf(m, p, old, level) ? OK : grow(m, p, old, level);
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  @inline post(_w: Walk, _p: usize, _old: u64, _level: i32, _addr: u64, _table: usize): i32 {
    return OK;
  }
}

/** Is the valid `old` in the way? Only software bits of the same leaf may change: EINVAL for a page, EEXIST for a block. */
function clash(w: MapWalk, old: u64, level: i32): i32 {
  if (fits(w, level) && differsOnlyInSoftware(old, leafOf(w, level))) return OK;
  return level === LAST_LEVEL ? EINVAL : EEXIST;
}

/** True if the leaf is there now [S1-2]. */
function tryLeaf(w: MapWalk, p: usize, old: u64, level: i32): bool {
  if (!fits(w, level)) return false;
  const next = leafOf(w, level);
  if (next === old) return true;
  if (!isValid(old)) {
    count(C_LEAVES_MADE, 1);
  } else if (!differsOnlyInSoftware(old, next)) {
    warn(w.table, level, w.addr); // only with quirks "linux-6.12": else the check before the walk refuses this
    return false;
  }
  return replace(w, p, old, next, level);
}

/**
 * Puts a new table into this entry [S1-3]. Over a block this is a bug of 6.12, which does not break the block first and
 * takes a reference on the parent that is never dropped [S1-5a]; with quirks "none" the check refuses it before.
 */
function grow(w: MapWalk, p: usize, old: u64, level: i32): i32 {
  const t = w.table;
  if (level === LAST_LEVEL) {
    warn(t, level, w.addr);
    return EINVAL;
  }
  const table = zallocPage(t, w.cache);
  if (!table) return ENOMEM;
  if (isValid(old)) getPages(t, pageOf(w, p), 1);
  intendMake(p);
  replace(w, p, old, tableDescriptor(w.layout, w.ps, virtToPhys(t, table)), level);
  return GREW;
}

/** A walk that unmaps from the hypervisor's table. */
@unmanaged
class HypUnmapWalk extends Walk {
  /** Bytes removed so far. */
  bytes: u64;
}

/** Clears leaves up to the first hole, or the first block larger than the rest of the range; frees tables that become empty [S1-6]. */
@final
@unmanaged
class HypUnmapVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_POST | FROM_ROOT;
  }

  @inline bulk(_w: Walk, p: usize, _end: usize, _level: i32): usize {
    return p;
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    const bytes = span(w.ps, level);
    if (!isValid(old) || w.end - w.addr < bytes) return EINVAL;
    clear(w, p, old, level);
    count(C_LEAVES_CLEARED, 1);
    flushVa(w.table, w.addr, level, true);
    putPages(w.table, pageOf(w, p), 1);
    changetype<HypUnmapWalk>(w).bytes += bytes;
    return OK;
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  post(w: Walk, p: usize, old: u64, level: i32, addr: u64, table: usize): i32 {
    const t = w.table;
    if (pageCount(t, table) !== 1) return OK;
    clear(w, p, old, level);
    flushVa(t, addr, TTL_UNKNOWN, false);
    putPages(t, pageOf(w, p), 1);
    // The barrier of [IDE-3]: if lookups that began before have not all ended in time, the table goes to limbo.
    if (t.flags & T_BARRIER) {
      noteRetired(t, table, level);
      if (synchronize()) {
        retire(t, table, level);
        return OK;
      }
    }
    putPages(t, table, 1);
    return OK;
  }
}

/** Maps [va, va + size) to phys.. with `prot`; tables come from `cache`, or from the arena [S1-1]. */
export function hypMap(t: Table, va: u64, size: u64, phys: u64, prot: u32, cache: u32): i32 {
  if (!isCache(cache, t.ps) || !isStage1Prot(prot, splitsExecute(t.flags))) return EINVAL;
  const strict = !(t.flags & T_LINUX);
  if (strict && !isOutputRange(t, phys, size)) return ERANGE;
  const w = openAs<HypMapWalk>(t, LEAF);
  if (!w) return EBUSY;
  w.phys = alignDown(phys, span(t.ps, LAST_LEVEL));
  w.forcePages = false;
  w.attributes = stage1Attributes(
    prot,
    <bool>(t.flags & T_HVHE),
    <bool>(t.flags & T_BTI),
    <bool>(t.flags & T_LPA2),
    splitsExecute(t.flags),
  );
  w.cache = cache;
  w.checking = true;
  let r = strict ? walk<HypMapVisitor>(w, va, size) : OK;
  if (r === OK) {
    w.checking = false;
    r = walk<HypMapVisitor>(w, va, size);
    contextBarrier(t); // a stale "no translation" must not be used [S1-4]
  }
  close();
  return r;
}

/** Unmaps from va on; answers the bytes unmapped [S1-6]. A short count is no error. */
export function hypUnmap(t: Table, va: u64, size: u64): i32 {
  result<Answer>().value = 0;
  if (!hasPageCount(t)) return OK; // without counts an empty table cannot be recognised: nothing is unmapped
  const w = openAs<HypUnmapWalk>(t, LEAF | TABLE_POST);
  if (!w) return EBUSY;
  w.bytes = 0;
  const r = walk<HypUnmapVisitor>(w, va, size);
  result<Answer>().value = w.bytes;
  close();
  return r === EINVAL && rootOf(t) ? OK : r; // it stopped at a hole or a block that is too big: the bytes say where
}
