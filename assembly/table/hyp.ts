// The hypervisor's own stage 1 [S1-1..8]. Always exclusive: there are no read sections at EL2.

import { differsOnlyInSoftware, isTable, isValid, leafDescriptor, tableDescriptor } from "../arch/descriptor";
import { ENTRY_BYTES, LAST_LEVEL, minBlockLevel, shift } from "../arch/granule";
import { isStage1Prot, stage1Attributes } from "../arch/stage1";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { isCache } from "../memory/cache";
import { read } from "../memory/cell";
import { synchronize } from "../memory/epoch";
import { EBUSY, EEXIST, EFAULT, EINVAL, ENOMEM, ERANGE, OK } from "../memory/errno";
import { T_BARRIER, T_BTI, T_HVHE, T_LINUX, T_LPA2, Table, Walk } from "../memory/layout";
import { retire } from "../memory/limbo";
import { C_LEAVES_CLEARED, C_LEAVES_MADE, count } from "../record/counters";
import { contextBarrier, flushVa, warn } from "../record/maintenance";
import { Answer, result } from "../record/result";
import { clear, pageOf, put } from "./bbm";
import { isOutputRange } from "./map";
import { Child, getPages, hasPageCount, noteRetired, pageCount, putPages, virtToPhys, zallocPage } from "./mmops";
import { advance, close, DESCEND, LEAF, LeafOnly, open, TABLE_POST, Visitor, walk } from "./walk";

/** UXN and PXN stand apart under hVHE; 6.12 still wrote bit 54 alone [FMT-13, BUG-40]. */
export function splitsExecute(flags: u32): bool {
  return (flags & (T_HVHE | T_LINUX)) === T_HVHE;
}

function outputAddress(w: Walk): u64 {
  return w.phys + (w.addr - w.start);
}

/** Can the entry that the walk is at be a leaf of `level`? An output address beyond the limit is not looked at [GEO-4]. */
function leafAllowed(w: Walk, level: i32): bool {
  if (level < minBlockLevel(w.ps)) return false;
  const span = (<u64>1) << shift(w.ps, level),
    phys = outputAddress(w);
  if (span > w.end - w.addr || w.addr & (span - 1)) return false;
  return phys >> w.table.paBits !== 0 || (phys & (span - 1)) === 0;
}

function leaf(w: Walk, level: i32): u64 {
  return leafDescriptor(w.layout, w.ps, outputAddress(w), w.attributes, level);
}

/** Maps, or with w.clear only looks whether it could: nothing else may be mapped in the range [S1-2, S1-5a]. */
@final
@unmanaged
class HypMapVisitor extends LeafOnly {
  run(w: Walk, p: usize, end: usize, level: i32): usize {
    while (p !== end) {
      const old = read(p, false);
      if (isTable(old, level)) return p;
      if (w.clear) {
        w.status = isValid(old) ? clash(w, old, level) : OK;
      } else if (!tryLeaf(w, p, old, level)) {
        w.status = grow(w, p, old, level);
        if (w.status === OK) return p | DESCEND;
      }
      if (w.status) return p;
      advance(w, level);
      p += ENTRY_BYTES;
    }
    return p;
  }
}

/** Is the valid `old` in the way? Only software bits of the same leaf may change: EINVAL for a page, EEXIST for a block. */
function clash(w: Walk, old: u64, level: i32): i32 {
  if (leafAllowed(w, level) && differsOnlyInSoftware(old, leaf(w, level))) return OK;
  return level === LAST_LEVEL ? EINVAL : EEXIST;
}

/** True if the leaf is there now [S1-2]. */
function tryLeaf(w: Walk, p: usize, old: u64, level: i32): bool {
  if (!leafAllowed(w, level)) return false;
  const next = leaf(w, level);
  if (next === old) return true;
  if (!isValid(old)) {
    getPages(w.table, pageOf(w, p), 1);
    count(C_LEAVES_MADE, 1);
  } else if (!differsOnlyInSoftware(old, next)) {
    warn(w.table, level, w.addr); // with quirks "none" the check before the walk has refused this
    return false;
  }
  put(w, p, old, next, level);
  return true;
}

/**
 * A new table at this entry [S1-3]. Over a block this is 6.12's flaw: nothing is broken first and the
 * parent gets a reference too many (KERNEL-NOTES 49); with quirks "none" the check has refused it.
 */
function grow(w: Walk, p: usize, old: u64, level: i32): i32 {
  const t = w.table;
  if (level === LAST_LEVEL) {
    warn(t, level, w.addr);
    return EINVAL;
  }
  const table = zallocPage(t, w.cache);
  if (!table) return ENOMEM;
  getPages(t, pageOf(w, p), 1);
  put(w, p, old, tableDescriptor(w.layout, w.ps, virtToPhys(t, table)), level);
  return OK;
}

/** Clears leaves up to the first hole, or a block that is larger than what is left; frees tables that become empty [S1-6]. */
@final
@unmanaged
class HypUnmapVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_POST;
  }

  run(w: Walk, p: usize, end: usize, level: i32): usize {
    const sh = shift(w.ps, level);
    while (p !== end) {
      const old = read(p, false);
      if (isTable(old, level)) return p;
      if (!isValid(old) || w.end - w.addr < (<u64>1) << sh) {
        w.status = EINVAL;
        return p;
      }
      clear(w, p, old, level);
      count(C_LEAVES_CLEARED, 1);
      flushVa(w.table, w.addr, level, true);
      putPages(w.table, pageOf(w, p), 1);
      w.tally += (<u64>1) << sh;
      advance(w, level);
      p += ENTRY_BYTES;
    }
    return p;
  }

  @inline pre(w: Walk, p: usize, old: u64, level: i32): i32 {
    return OK;
  }

  post(w: Walk, p: usize, old: u64, level: i32, addr: u64): i32 {
    const t = w.table;
    const table = Child.table(t, old);
    if (!table) return EFAULT;
    if (pageCount(t, table) !== 1) return OK;
    clear(w, p, old, level);
    flushVa(t, addr, TTL_UNKNOWN, false);
    putPages(t, pageOf(w, p), 1);
    // The barrier of [IDE-3]: lookups that began before have ended, or the table waits as others do.
    if (t.flags & T_BARRIER) {
      noteRetired(t, table, level);
      if (synchronize()) return retire(t, table, level);
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
  const w = open(t, LEAF);
  if (!w) return EBUSY;
  w.phys = phys & ~(((<u64>1) << t.ps) - 1);
  w.attributes = stage1Attributes(
    prot,
    <bool>(t.flags & T_HVHE),
    <bool>(t.flags & T_BTI),
    <bool>(t.flags & T_LPA2),
    splitsExecute(t.flags),
  );
  w.cache = cache;
  w.clear = 1;
  let r = strict ? walk<HypMapVisitor>(w, va, size) : OK;
  if (r === OK) {
    w.clear = 0;
    r = walk<HypMapVisitor>(w, va, size);
    contextBarrier(t); // a stale "no translation" must not be used [S1-4]
  }
  close();
  return r;
}

/** Unmaps from va on; answers the bytes unmapped [S1-6]. A short count is no error. */
export function hypUnmap(t: Table, va: u64, size: u64): i32 {
  result<Answer>().value = 0;
  if (!hasPageCount(t)) return OK; // empty tables cannot be told: nothing is unmapped
  const w = open(t, LEAF | TABLE_POST);
  if (!w) return EBUSY;
  w.tally = 0;
  const r = walk<HypUnmapVisitor>(w, va, size);
  result<Answer>().value = w.tally;
  close();
  return r === EINVAL && t.root ? OK : r; // a hole or a block that is too big: the count says how far it came
}
