// Building detached subtrees and splitting blocks [S2-25, S2-26].

import {
  AF,
  addressMask,
  CONTIGUOUS,
  decodeAddress,
  isTable,
  isValid,
  LEAF_ATTRIBUTES,
  tableDescriptor,
} from "../arch/descriptor";
import { ENTRY_BYTES, entries, LAST_LEVEL, shift } from "../arch/granule";
import { isStage2Prot, stage2Prot } from "../arch/stage2";
import { available, isCache } from "../memory/cache";
import { read } from "../memory/cell";
import { EAGAIN, EBUSY, EINVAL, ENOMEM, ERANGE, OK } from "../memory/errno";
import { T_LINUX, T_XNX, Table, Walk } from "../memory/layout";
import { C_AGAIN, count } from "../record/counters";
import { storeBarrier, warn } from "../record/maintenance";
import { make, tryBreak } from "./bbm";
import { attributesOf, isOutputRange, MapVisitor } from "./map";
import { virtToPhys, zallocPage } from "./mmops";
import { openSubtree, releaseSubtree } from "./teardown";
import {
  advance,
  canOpen,
  close,
  DESCEND,
  LEAF,
  LeafOnly,
  open,
  retries,
  rows,
  SHARED,
  SKIP_BBM_TLBI,
  SKIP_CMO,
  stops,
  walk,
} from "./walk";

/**
 * A detached table that maps phys.. as one entry of `level` would, for that entry to name [S2-25].
 * Its pointer, or a negative errno. Nobody can see it: nothing is flushed or cleaned.
 */
export function createUnlinked(t: Table, phys: u64, level: i32, prot: u32, cache: u32, pages: bool): i64 {
  const linux = <bool>(t.flags & T_LINUX);
  if (!linux && (level < 1 || level >= LAST_LEVEL || !t.root)) return EINVAL;
  if (level < 0 || level > LAST_LEVEL || !isCache(cache, t.ps)) return EINVAL;
  const span = (<u64>1) << shift(t.ps, level);
  if (phys & (span - 1) || !isStage2Prot(prot, <bool>(t.flags & T_XNX))) return EINVAL;
  if (!linux && !isOutputRange(t, phys, span)) return ERANGE;
  return buildSubtree(t, phys, level, attributesOf(t, prot), cache, pages);
}

/** The subtree itself; its leaves get `attributes` as they are. */
function buildSubtree(t: Table, phys: u64, level: i32, attributes: u64, cache: u32, pages: bool): i64 {
  if (!canOpen()) return EBUSY;
  const table = zallocPage(t, cache);
  if (!table) return ENOMEM;
  const w = openSubtree(t, LEAF | SKIP_BBM_TLBI | SKIP_CMO, level + 1);
  w.phys = phys;
  w.annotate = phys >> t.paBits !== 0;
  w.annotation = 0;
  w.attributes = attributes;
  w.maintain = 0;
  w.cache = cache;
  w.forcePages = pages;
  const r = rows<MapVisitor>(w, table, entries(t.ps), level + 1);
  close();
  if (r === OK) return table;
  releaseSubtree(t, table, level);
  return r;
}

@final
@unmanaged
class SplitVisitor extends LeafOnly {
  run(w: Walk, p: usize, end: usize, level: i32): usize {
    if (level === LAST_LEVEL) {
      w.addr += (<u64>((end - p) >> 3)) << shift(w.ps, level);
      return end; // pages cannot be split
    }
    while (p !== end) {
      const old = read(p, <bool>(w.flags & SHARED));
      if (isTable(old, level)) return p;
      if (isValid(old)) {
        const r = splitBlock(w, p, old, level);
        if (r === OK) return p | DESCEND;
        if (r === EAGAIN && retries(w, p, old)) continue;
        if (stops(w, r)) w.status = r;
        if (w.status) return p;
      } else if (old === w.marker && retries(w, p, old)) {
        continue; // a block may be about to be made there
      }
      advance(w, level);
      p += ENTRY_BYTES;
    }
    return p;
  }
}

/** Tables of a tree of pages under one entry of `level`, 1 or 2 [S2-26]. */
function tablesOf(t: Table, level: i32): u32 {
  return level === 1 ? entries(t.ps) + 1 : 1;
}

/**
 * Attributes of a block, for its pages: all it has, and the access flag. 6.12 makes them anew from the
 * permissions and forgets the memory type [FMT-29, BUG-49].
 */
function attributesOfBlock(t: Table, old: u64): u64 {
  if (t.flags & T_LINUX) return attributesOf(t, stage2Prot(old, <bool>(t.flags & T_XNX)));
  return (old & LEAF_ATTRIBUTES & ~addressMask(t.addressLayout, t.ps) & ~CONTIGUOUS) | AF;
}

/** Builds the tree, then break, then make. A short cache gives one table of next smaller blocks, split on the way down. */
function splitBlock(w: Walk, p: usize, old: u64, level: i32): i32 {
  const t = w.table;
  if (level < 1) {
    warn(t, level, w.addr); // no block of this size is ever made
    return EINVAL;
  }
  const have = available(w.cache);
  if (have < 1) return ENOMEM;
  const phys = decodeAddress(w.layout, w.ps, old);
  const built = buildSubtree(t, phys, level, attributesOfBlock(t, old), w.cache, have >= tablesOf(t, level));
  if (built < 0) return <i32>built;
  if (!tryBreak(w, p, old, level)) {
    releaseSubtree(t, <usize>built, level);
    count(C_AGAIN, 1);
    return EAGAIN;
  }
  make(w, p, tableDescriptor(w.layout, w.ps, virtToPhys(t, <usize>built)), level);
  return OK;
}

/** Splits the blocks of the range into pages, as far as `cache` has tables [S2-26]. */
export function split(t: Table, addr: u64, size: u64, cache: u32, shared: bool): i32 {
  if (!isCache(cache, t.ps)) return EINVAL;
  const w = open(t, shared ? LEAF | SHARED : LEAF);
  if (!w) return EBUSY;
  w.cache = cache;
  const r = walk<SplitVisitor>(w, addr, size);
  storeBarrier(t);
  close();
  return r;
}
