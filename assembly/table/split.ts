// Building detached subtrees and splitting blocks [S2-25, S2-26].

import {
  AF,
  addressMask,
  CONTIGUOUS,
  decodeAddress,
  isValid,
  LEAF_ATTRIBUTES,
  tableDescriptor,
} from "../arch/descriptor";
import { entries, LAST_LEVEL, span } from "../arch/granule";
import { isStage2Prot, stage2Prot } from "../arch/stage2";
import { available, isCache } from "../memory/cache";
import { EAGAIN, EBUSY, EINVAL, ENOMEM, ERANGE, OK } from "../memory/errno";
import { holdTree } from "../memory/intent";
import { parallel, T_LINUX, T_XNX, Table } from "../memory/layout";
import { rootOf } from "../memory/tables";
import { C_AGAIN, C_SPLIT_VISITS, count } from "../record/counters";
import { storeBarrier, warn } from "../record/maintenance";
import { isOutputRange, MapVisitor } from "./map";
import { virtToPhys, zallocPage } from "./mmops";
import { attributesOf, MapWalk, Place, prepareLeaves } from "./place";
import { releaseSubtree, toSubtree } from "./teardown";
import {
  canOpen,
  close,
  GREW,
  GROWS,
  isShared,
  LEAF,
  openAs,
  rows,
  SHARED,
  SKIP_BBM_TLBI,
  SKIP_CMO,
  skip,
  Visitor,
  Walk,
  walk,
} from "./walk";

/**
 * Builds a detached table that maps the same as one leaf of `level` at `phys`, and that this entry can name [S2-25].
 * Returns its pointer, or a negative errno. The table is not linked, so nothing is flushed or cleaned.
 */
export function createUnlinked(t: Table, phys: u64, level: i32, prot: u32, cache: u32, pages: bool): i64 {
  const linux = <bool>(t.flags & T_LINUX);
  if (!linux && (level < 1 || level >= LAST_LEVEL || !rootOf(t))) return EINVAL;
  if (level < 0 || level > LAST_LEVEL || !isCache(cache, t.ps)) return EINVAL;
  if (!isStage2Prot(prot, <bool>(t.flags & T_XNX))) return EINVAL;
  if (!linux && !isOutputRange(t, phys, span(t.ps, level))) return ERANGE;
  return buildSubtree(t, phys, level, attributesOf(t, prot), cache, pages);
}

/** The same with `attributes` for its leaves. EINVAL for an output address that no entry of `level` can have. */
function buildSubtree(t: Table, phys: u64, level: i32, attributes: u64, cache: u32, pages: bool): i64 {
  if (phys & (span(t.ps, level) - 1)) return EINVAL;
  if (!canOpen()) return EBUSY;
  const table = zallocPage(t, cache);
  if (!table) return ENOMEM;
  if (parallel()) holdTree(t, table, level);
  const w = openAs<MapWalk>(t, LEAF | SKIP_BBM_TLBI | SKIP_CMO);
  toSubtree(w, level + 1);
  w.phys = phys;
  w.annotate = phys >> t.paBits !== 0;
  w.annotation = 0;
  prepareLeaves(w, attributes);
  w.cache = cache;
  w.forcePages = pages;
  const r = rows<MapVisitor>(w, table, entries(t.ps), level + 1);
  close();
  if (r === OK) return table;
  releaseSubtree(t, table, level);
  return r;
}

/** A walk that splits. */
@unmanaged
class SplitWalk extends Walk {
  /** Table pages come from here. */
  cache: u32;
  /** Does it look at pages, too? No use to the split: Linux does it without a change of 2026 [HIS-5]. */
  pages: bool;
}

@final
@unmanaged
class SplitVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | GROWS;
  }

  /** Pages cannot be split. */
  @inline bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    return level === LAST_LEVEL && !changetype<SplitWalk>(w).pages ? skip(w, p, end, level) : p;
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    count(C_SPLIT_VISITS, 1);
    if (level === LAST_LEVEL) return OK;
    if (isValid(old)) return splitBlock(changetype<SplitWalk>(w), p, old, level);
    return old === w.marker ? EAGAIN : OK; // its owner may be about to make a block
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  @inline post(_w: Walk, _p: usize, _old: u64, _level: i32, _addr: u64, _table: usize): i32 {
    return OK;
  }
}

/** Tables of a tree of pages under one entry of `level`, 1 or 2 [S2-26]. */
function tablesOf(t: Table, level: i32): u32 {
  return level === 1 ? entries(t.ps) + 1 : 1;
}

/**
 * Attributes for the pages of a block: those of the block, with the access flag. 6.12 computes them from the permissions and
 * loses the memory type [FMT-29, BUG-49].
 */
function attributesOfBlock(t: Table, old: u64): u64 {
  if (t.flags & T_LINUX) return attributesOf(t, stage2Prot(old, <bool>(t.flags & T_XNX)));
  return (old & LEAF_ATTRIBUTES & ~addressMask(t.addressLayout, t.ps) & ~CONTIGUOUS) | AF;
}

/** Builds the tree, then breaks and makes. With too few pages in the cache it makes one table of the next smaller blocks, which the walk then splits. */
function splitBlock(w: SplitWalk, p: usize, old: u64, level: i32): i32 {
  const t = w.table;
  if (level < 1) {
    warn(t, level, w.addr); // the library makes no block of this size
    return EINVAL;
  }
  const have = available(w.cache);
  if (have < 1) return ENOMEM;
  const phys = decodeAddress(w.layout, w.ps, old);
  const built = buildSubtree(t, phys, level, attributesOfBlock(t, old), w.cache, have >= tablesOf(t, level));
  if (built < 0) return <i32>built;
  const table = <usize>built;
  if (Place.entry(w, p, old, tableDescriptor(w.layout, w.ps, virtToPhys(t, table)), level))
    return level + 1 === LAST_LEVEL && !isShared(w) && !w.pages ? OK : GREW; // alone, a table of pages has nothing left to split
  releaseSubtree(t, table, level);
  count(C_AGAIN, 1);
  return EAGAIN;
}

/**
 * Splits the blocks of the range into pages, as far as `cache` has tables [S2-26]. `pages`: the walk looks at every page, too. The
 * table is the same after it.
 */
export function split(t: Table, addr: u64, size: u64, cache: u32, shared: bool, pages: bool): i32 {
  if (!isCache(cache, t.ps)) return EINVAL;
  const w = openAs<SplitWalk>(t, shared ? LEAF | SHARED : LEAF);
  if (!w) return EBUSY;
  w.cache = cache;
  w.pages = pages;
  const r = walk<SplitVisitor>(w, addr, size);
  storeBarrier(t);
  close();
  return r;
}
