// Stage-2 map and annotate [S2-2..8].

import {
  differsOnlyInSoftware,
  isAnnotation,
  isTable,
  isValid,
  leafDescriptor,
  MAX_OWNER,
  ownerAnnotation,
  tableDescriptor,
  typedAnnotation,
} from "../arch/descriptor";
import { alignDown, LAST_LEVEL, span } from "../arch/granule";
import { isStage2Prot, permissionMask } from "../arch/stage2";
import { demand, RULE_TABLE_DESCRIPTOR } from "../demand";
import { CACHE_NONE, isCache } from "../memory/cache";
import { E2BIG, EAGAIN, EBUSY, EINVAL, ENOMEM, ERANGE, OK } from "../memory/errno";
import { hostForcePte } from "../memory/host";
import { FORCE_ALL, FORCE_BELOW, FORCE_HOST, T_IDMAP, T_LINUX, T_TYPED, T_XNX, Table } from "../memory/layout";
import { handleOf } from "../memory/tables";
import { C_AGAIN, count } from "../record/counters";
import { storeBarrier, warn } from "../record/maintenance";
import { replace } from "./bbm";
import { putPages, virtToPhys, zallocPage } from "./mmops";
import {
  Among,
  attributesOf,
  leafAllowed,
  MapWalk,
  outputAddress,
  Place,
  placeRun,
  prepareLeaves,
  Watched,
} from "./place";
import { freeUnlinked } from "./teardown";
import {
  canOpen,
  close,
  GREW,
  GROWS,
  isShared,
  isWalked,
  LEAF,
  openAs,
  TABLE_POST,
  TABLE_PRE,
  Visitor,
  WALK_FLAGS,
  Walk,
  walk,
} from "./walk";

/** Preconditions: the walk is a MapWalk, its leaves prepared. */
@final
@unmanaged
export class MapVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_PRE | TABLE_POST | GROWS;
  }

  @inline bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    return w.bulk ? placeRun(changetype<MapWalk>(w), p, end, level) : p;
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    const m = changetype<MapWalk>(w);
    const r = tryLeaf(m, p, old, level);
    if (r === EAGAIN) count(C_AGAIN, 1);
    return r === E2BIG ? grow(m, p, old, level) : r;
  }

  /** A table where a leaf is possible becomes the leaf; its subtree is freed after the make [S2-6]. */
  pre(w: Walk, p: usize, old: u64, level: i32): i32 {
    const r = tryLeaf(changetype<MapWalk>(w), p, old, level);
    if (r === E2BIG) return OK;
    return r === OK ? freeUnlinked(w, old, level) : r;
  }

  /** 6.12 accepts the flag that asks for this visit, and then fails; quirks "none" refuses the flag. */
  @inline post(_w: Walk, _p: usize, _old: u64, _level: i32, _addr: u64, _table: usize): i32 {
    return EINVAL;
  }
}

/** Does anything other than permissions change? Then the entry must be rewritten [S2-3]. */
function needsUpdate(t: Table, old: u64, next: u64): bool {
  if (!isValid(old) || !isValid(next)) return true;
  return ((old ^ next) & ~permissionMask(<bool>(t.flags & T_XNX))) !== 0;
}

/** Puts the leaf into this entry, by break-before-make where that is needed; E2BIG if a leaf is not possible at this level [S2-3..5]. */
function tryLeaf(w: MapWalk, p: usize, old: u64, level: i32): i32 {
  const t = w.table,
    phys = outputAddress(w);
  // A range that begins below the output limit can cross it: from there on the kernel writes annotations.
  const mapped = !w.annotate && phys >> t.paBits === 0;
  if (!leafAllowed(w, level, mapped)) return E2BIG;
  const next = mapped ? leafDescriptor(w.layout, w.ps, phys, w.attributes, level) : w.annotation;
  if (!needsUpdate(t, old, next)) return EAGAIN;
  if (mapped && old === 0 && w.among) return Place.leaf<Among>(w, p, old, next, phys, level) ? OK : EAGAIN;
  // Only software bits change: one store, no flush [S2-4].
  if (!isShared(w) && differsOnlyInSoftware(old, next)) return replace(w, p, old, next, level) ? OK : EAGAIN;
  const done = mapped ? Place.leaf<Watched>(w, p, old, next, phys, level) : Place.entry(w, p, old, next, level);
  return done ? OK : EAGAIN;
}

/** Replaces the hole or block by a new table; the rest of a block faults again [S2-7]. */
function grow(w: MapWalk, p: usize, old: u64, level: i32): i32 {
  demand(!isTable(old, level), RULE_TABLE_DESCRIPTOR);
  const t = w.table;
  if (level === LAST_LEVEL) {
    warn(t, level, w.addr);
    return EINVAL;
  }
  if (w.cache === CACHE_NONE) return ENOMEM;
  const table = zallocPage(t, w.cache);
  if (!table) return ENOMEM;
  if (Place.entry(w, p, old, tableDescriptor(w.layout, w.ps, virtToPhys(t, table)), level)) return GREW;
  putPages(t, table, 1);
  count(C_AGAIN, 1);
  return EAGAIN;
}

/** Must all leaves be pages? This is asked once per call, with the caller's unrounded range. */
function forcesPages(t: Table, addr: u64, size: u64, prot: u32): bool {
  if (t.force === FORCE_BELOW) return addr < t.forceBelow;
  if (t.force !== FORCE_HOST) return t.force === FORCE_ALL;
  const end = addr + size;
  return hostForcePte(handleOf(t), <u32>addr, <u32>(addr >> 32), <u32>end, <u32>(end >> 32), prot) !== 0;
}

/** Opens a walk that may replace tables by leaves: there is room for the walk that frees such a table too. */
export function openMap(t: Table, flags: u32): MapWalk {
  // From inside another walk, which may be in one of the tables, no table is replaced.
  const w = openAs<MapWalk>(t, flags | (isWalked(t) ? LEAF : LEAF | TABLE_PRE));
  if (!w || canOpen()) return w;
  close();
  return changetype<MapWalk>(0);
}

/** Is [phys, phys + size) within the output addresses of `t`? */
export function isOutputRange(t: Table, phys: u64, size: u64): bool {
  const limit = (<u64>1) << t.paBits;
  return size <= limit && phys <= limit && phys + size <= limit;
}

/** May a caller of map give these flags? 6.12 allows TABLE_POST too, and fails at the first table that the walk leaves. */
function isMapFlags(t: Table, flags: u32): bool {
  return (flags & ~WALK_FLAGS) === 0 && (!(flags & TABLE_POST) || <bool>(t.flags & T_LINUX));
}

/**
 * Maps [addr, addr + size) to phys.. with `prot`; tables come from `cache` [S2-2].
 * 0, EAGAIN (with HANDLE_FAULT: nothing to do, or a lost race), ENOMEM (the first part may be mapped), or EINVAL / ERANGE (nothing is mapped).
 */
export function map(t: Table, addr: u64, size: u64, phys: u64, prot: u32, cache: u32, flags: u32): i32 {
  if (!isMapFlags(t, flags) || !isCache(cache, t.ps)) return EINVAL;
  const pages = forcesPages(t, addr, size, prot);
  if (t.flags & T_IDMAP && addr !== phys) {
    warn(t, 0, addr);
    return EINVAL;
  }
  if (!isStage2Prot(prot, <bool>(t.flags & T_XNX))) return EINVAL;
  if (!(t.flags & T_LINUX) && !isOutputRange(t, phys, size)) return ERANGE;
  const w = openMap(t, flags);
  if (!w) return EBUSY;
  w.phys = alignDown(phys, span(t.ps, LAST_LEVEL));
  w.annotate = phys >> t.paBits !== 0;
  w.annotation = 0;
  prepareLeaves(w, attributesOf(t, prot));
  w.cache = cache;
  w.forcePages = pages;
  const r = walk<MapVisitor>(w, addr, size);
  storeBarrier(t);
  close();
  return r;
}

/** Replaces every page of the range by the annotation `value` [S2-8]. */
function annotatePages(t: Table, addr: u64, size: u64, cache: u32, value: u64): i32 {
  if (!isCache(cache, t.ps)) return EINVAL;
  const w = openMap(t, 0);
  if (!w) return EBUSY;
  w.phys = 0;
  w.annotate = true;
  w.annotation = value;
  w.among = false;
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
