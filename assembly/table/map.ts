// Stage-2 map and annotate [S2-2..8].

import {
  differsOnlyInSoftware,
  isAnnotation,
  isCounted,
  isTable,
  isValid,
  leafDescriptor,
  linearBits,
  MAX_OWNER,
  ownerAnnotation,
  tableDescriptor,
  typedAnnotation,
  VALID,
} from "../arch/descriptor";
import { ENTRY_BYTES, LAST_LEVEL, minBlockLevel, shift } from "../arch/granule";
import { isCacheable, isExecutable, isStage2Prot, permissionMask, stage2Attributes } from "../arch/stage2";
import { CACHE_NONE, isCache } from "../memory/cache";
import { compareExchange, fillHole, fillHoles, read } from "../memory/cell";
import { E2BIG, EAGAIN, EBUSY, EINVAL, ENOMEM, ERANGE, OK } from "../memory/errno";
import { addReferences } from "../memory/frames";
import { hostForcePte } from "../memory/host";
import {
  FORCE_ALL,
  FORCE_BELOW,
  FORCE_HOST,
  T_DCACHE,
  T_FWB,
  T_ICACHE,
  T_IDMAP,
  T_LINUX,
  T_LPA2,
  T_TYPED,
  T_XNX,
  Table,
  Walk,
} from "../memory/layout";
import { C_AGAIN, C_LEAVES_MADE, C_LOST, count } from "../record/counters";
import { journalling } from "../record/journal";
import { storeBarrier, warn } from "../record/maintenance";
import { make, pageOf, put, tryBreak } from "./bbm";
import { cleanDcache, getPages, invalidateIcache, putPages, virtToPhys, zallocPage } from "./mmops";
import { freeUnlinked } from "./teardown";
import {
  advance,
  canOpen,
  close,
  DESCEND,
  LEAF,
  open,
  retries,
  SHARED,
  SKIP_CMO,
  stops,
  TABLE_PRE,
  Visitor,
  WALK_FLAGS,
  walk,
} from "./walk";

/** What a new leaf needs, Walk.maintain. */
const CLEAN_DATA: u32 = 1;
const CLEAN_CODE: u32 = 2;
/** A visit made the entry a table. Not an errno: never leaves this file. */
const GREW: i32 = 1;

@final
@unmanaged
export class MapVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_PRE;
  }

  run(w: Walk, p: usize, end: usize, level: i32): usize {
    while (p !== end) {
      if (w.bulk) p = fill(w, p, end, level);
      if (p === end) break;
      const old = read(p, <bool>(w.flags & SHARED));
      if (isTable(old, level)) return p;
      const r = visitLeaf(w, p, old, level);
      if (r === GREW) return p | DESCEND;
      if (r === EAGAIN) {
        if (retries(w, p, old)) continue;
        count(C_AGAIN, 1);
      }
      if (stops(w, r)) w.status = r;
      if (w.status) return p;
      advance(w, level);
      p += ENTRY_BYTES;
    }
    return end;
  }

  /** A table where a leaf is possible becomes the leaf; its subtree is freed after the make [S2-6]. */
  pre(w: Walk, p: usize, old: u64, level: i32): i32 {
    const r = tryLeaf(w, p, old, level);
    if (r === E2BIG) return OK;
    return r === OK ? freeUnlinked(w, old, level) : r;
  }

  @inline post(w: Walk, p: usize, old: u64, level: i32, addr: u64): i32 {
    return OK;
  }
}

/** Output address of the entry that the walk is at; meaningless when annotating. */
function outputAddress(w: Walk): u64 {
  return w.phys + (w.addr - w.start);
}

/** Is the entry that the walk is at to hold a leaf at `level`? [GEO-4]; `mapped`: its output address is a real one */
function leafAllowed(w: Walk, level: i32, mapped: bool): bool {
  if (level < minBlockLevel(w.ps) || (w.forcePages && level < LAST_LEVEL)) return false;
  const span = (<u64>1) << shift(w.ps, level);
  if (span > w.end - w.addr || w.addr & (span - 1)) return false;
  return !mapped || (outputAddress(w) & (span - 1)) === 0;
}

/** Anything but permissions changes, so the entry must be rewritten [S2-3]. */
function needsUpdate(t: Table, old: u64, next: u64): bool {
  if (!isValid(old) || !isValid(next)) return true;
  return ((old ^ next) & ~permissionMask(<bool>(t.flags & T_XNX))) !== 0;
}

/** The leaf at this entry, by break-before-make where it must; E2BIG if a leaf is too big here [S2-3..5]. */
function tryLeaf(w: Walk, p: usize, old: u64, level: i32): i32 {
  const t = w.table;
  // A base below the limit can still run into it: from there on the kernel annotates (KERNEL-NOTES 13).
  const mapped = !w.annotate && outputAddress(w) >> t.paBits === 0;
  if (!leafAllowed(w, level, mapped)) return E2BIG;
  const next = mapped ? leafDescriptor(w.layout, w.ps, outputAddress(w), w.attributes, level) : w.annotation;
  if (!needsUpdate(t, old, next)) return EAGAIN;
  if (w.direct && mapped && old === 0) return install(w, p, next);
  if (!(w.flags & SHARED) && differsOnlyInSoftware(old, next)) return rewriteSoftware(w, p, old, next, level);
  if (!tryBreak(w, p, old, level)) return EAGAIN;
  if (w.maintain && mapped) cleanMade(w, outputAddress(w), shift(w.ps, level), 1);
  make(w, p, next, level);
  return OK;
}

/** A leaf in place of a hole: nothing to break, nothing to do before the make, so one exchange is both. */
function install(w: Walk, p: usize, leaf: u64): i32 {
  if (!compareExchange(p, 0, leaf)) {
    count(C_LOST, 1);
    return EAGAIN;
  }
  addReferences(pageOf(w, p), 1);
  count(C_LEAVES_MADE, 1);
  return OK;
}

/** Only software bits change: one store, no flush [S2-4]. */
function rewriteSoftware(w: Walk, p: usize, old: u64, next: u64, level: i32): i32 {
  const before = isCounted(old, w.marker),
    after = isCounted(next, w.marker);
  if (!put(w, p, old, next, level)) return EAGAIN;
  if (before && !after) putPages(w.table, pageOf(w, p), 1);
  if (after && !before) getPages(w.table, pageOf(w, p), 1);
  return OK;
}

/** Data before code, before the new leaves can be seen [S2-5]: `n` of them, 1 << sh bytes each, from `phys`. */
export function cleanMade(w: Walk, phys: u64, sh: u32, n: u32): void {
  if (w.maintain & CLEAN_DATA) cleanDcache(w.table, phys, sh, n);
  if (w.maintain & CLEAN_CODE) invalidateIcache(w.table, phys, sh, n);
}

/** What leaves of `prot` need before they can be seen: all of a walk are alike. */
export function setAttributes(w: Walk, prot: u32): void {
  const t = w.table;
  w.attributes = attributesOf(t, prot);
  w.maintain = 0;
  if (!(w.flags & SKIP_CMO)) {
    const leaf = w.attributes | VALID;
    if (t.flags & T_DCACHE && isCacheable(leaf, <bool>(t.flags & T_FWB))) w.maintain |= CLEAN_DATA;
    if (t.flags & T_ICACHE && isExecutable(leaf, <bool>(t.flags & T_XNX))) w.maintain |= CLEAN_CODE;
  }
  w.direct = (w.flags & SHARED) !== 0 && !journalling() && t.hooks === 0 && w.maintain === 0;
}

function visitLeaf(w: Walk, p: usize, old: u64, level: i32): i32 {
  const r = tryLeaf(w, p, old, level);
  if (r !== E2BIG) return r;
  if (level === LAST_LEVEL) {
    warn(w.table, level, w.addr);
    return EINVAL;
  }
  return grow(w, p, old, level);
}

/** A new table in place of the hole or block; the rest of a block refaults [S2-7]. */
function grow(w: Walk, p: usize, old: u64, level: i32): i32 {
  const t = w.table;
  if (w.cache === CACHE_NONE) return ENOMEM;
  const table = zallocPage(t, w.cache);
  if (!table) return ENOMEM;
  if (!tryBreak(w, p, old, level)) {
    putPages(t, table, 1);
    return EAGAIN;
  }
  make(w, p, tableDescriptor(w.layout, w.ps, virtToPhys(t, table)), level);
  return GREW;
}

/**
 * The fast half of `run`: fills holes with leaves as far as they go in one sweep; returns where it stopped.
 * A hole has no old translation, so there is nothing to break or flush, and nobody else is walking.
 * References, counters and cache maintenance are kept for the whole sweep at once.
 */
function fill(w: Walk, p: usize, end: usize, level: i32): usize {
  if (read(p, false) !== 0 || w.annotate) return p;
  const phys = outputAddress(w),
    t = w.table;
  if ((level !== LAST_LEVEL && !leafAllowed(w, level, true)) || phys >> t.paBits) return p;
  const sh = shift(w.ps, level);
  let n = min<u64>((w.end - w.addr) >> sh, (end - p) >> 3);
  const boundary = ((phys >> linearBits(w.layout)) + 1) << linearBits(w.layout);
  if (phys + (n << sh) > boundary) n = (boundary - phys) >> sh;
  const first = leafDescriptor(w.layout, w.ps, phys, w.attributes, level);
  const stop = n > 1 ? fillHoles(p, p + ((<usize>n) << 3), first, (<u64>1) << sh) : fillHole(p, first);
  const made = <u32>(stop - p) >> 3;
  addReferences(pageOf(w, p), made); // no hooks in bulk
  count(C_LEAVES_MADE, made);
  if (w.maintain) cleanMade(w, phys, sh, made);
  w.addr += (<u64>made) << sh;
  return stop;
}

/** Are leaves to be pages only? Asked once per call, with what the caller gave (KERNEL-NOTES 17). */
function forcesPages(t: Table, addr: u64, size: u64, prot: u32): bool {
  if (t.force === FORCE_BELOW) return addr < t.forceBelow;
  if (t.force !== FORCE_HOST) return t.force === FORCE_ALL;
  const end = addr + size;
  return hostForcePte(<u32>changetype<usize>(t), <u32>addr, <u32>(addr >> 32), <u32>end, <u32>(end >> 32), prot) !== 0;
}

/** Attributes of `prot` for leaves of `t`. */
export function attributesOf(t: Table, prot: u32): u64 {
  return stage2Attributes(prot, <bool>(t.flags & T_FWB), <bool>(t.flags & T_LPA2), <bool>(t.flags & T_XNX));
}

/** Opens a walk that may replace tables by leaves: there is room for the walk that frees such a table too. */
function openMap(t: Table, flags: u32): Walk {
  const w = open(t, flags | LEAF | TABLE_PRE);
  if (!w || canOpen()) return w;
  close();
  return changetype<Walk>(0);
}

/** Is [phys, phys + size) within the output addresses of `t`? */
export function isOutputRange(t: Table, phys: u64, size: u64): bool {
  const limit = (<u64>1) << t.paBits;
  return size <= limit && phys <= limit && phys + size <= limit;
}

/**
 * Maps [addr, addr + size) to phys.. with `prot`; tables come from `cache` [S2-2].
 * 0, EAGAIN (with HANDLE_FAULT: nothing to do, or a race lost), ENOMEM (a prefix may be done), or EINVAL / ERANGE (nothing done).
 */
export function map(t: Table, addr: u64, size: u64, phys: u64, prot: u32, cache: u32, flags: u32): i32 {
  if (flags & ~WALK_FLAGS || !isCache(cache, t.ps)) return EINVAL;
  const pages = forcesPages(t, addr, size, prot);
  if (t.flags & T_IDMAP && addr !== phys) {
    warn(t, 0, addr);
    return EINVAL;
  }
  if (!isStage2Prot(prot, <bool>(t.flags & T_XNX))) return EINVAL;
  if (!(t.flags & T_LINUX) && !isOutputRange(t, phys, size)) return ERANGE;
  const w = openMap(t, flags);
  if (!w) return EBUSY;
  w.phys = phys & ~(((<u64>1) << t.ps) - 1);
  w.annotate = phys >> t.paBits !== 0;
  w.annotation = 0;
  setAttributes(w, prot);
  w.cache = cache;
  w.forcePages = pages;
  const r = walk<MapVisitor>(w, addr, size);
  storeBarrier(t);
  close();
  return r;
}

/** Writes annotation `value` on every page of the range, in place of what is mapped there [S2-8]. */
function annotatePages(t: Table, addr: u64, size: u64, cache: u32, value: u64): i32 {
  if (!isCache(cache, t.ps)) return EINVAL;
  const w = openMap(t, 0);
  if (!w) return EBUSY;
  w.annotate = true;
  w.annotation = value;
  w.maintain = 0;
  w.cache = cache;
  w.forcePages = true;
  const r = walk<MapVisitor>(w, addr, size);
  close();
  return r;
}

/** Gives the pages of the range to `owner`; 0 erases [S2-8, FMT-40]. */
export function setOwner(t: Table, addr: u64, size: u64, cache: u32, owner: u32): i32 {
  if (owner > MAX_OWNER || t.flags & T_TYPED) return EINVAL;
  return annotatePages(t, addr, size, cache, ownerAnnotation(owner));
}

/** The 7.x form: a type over a payload [FMT-41]; only on tables with typed annotations. */
export function annotate(t: Table, addr: u64, size: u64, cache: u32, kind: u32, payload: u64): i32 {
  if (!(t.flags & T_TYPED) || !isAnnotation(kind, payload)) return EINVAL;
  return annotatePages(t, addr, size, cache, typedAnnotation(kind, payload));
}
