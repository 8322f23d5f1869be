// Stage-2 operations that change permissions or the access flag of leaves, and remove none [S2-13..19].

import { AF, AF_BIT, decodeAddress, isValid, XN } from "../arch/descriptor";
import { alignDown, LAST_LEVEL, pageBytes, shift } from "../arch/granule";
import { executeBits, isProtection, PROT_PX, PROT_R, PROT_SW, PROT_UX, PROT_W } from "../arch/protection";
import { executeNever, executeOf, isCacheable, isExecutable, S2_R, S2_W, S2_XN_FIELD } from "../arch/stage2";
import { TTL_UNKNOWN } from "../arch/tlbi";
import { testClear, updateValid } from "../memory/cell";
import { EAGAIN, EBUSY, EINVAL, OK } from "../memory/errno";
import { T_FWB, T_LINUX, T_XNX, Table } from "../memory/layout";
import { C_AGAIN, count } from "../record/counters";
import { flushIpaLocal, storeBarrier, warn } from "../record/maintenance";
import { Answer, result } from "../record/result";
import { put } from "./bbm";
import { openEntry } from "./lookup";
import { cleanDcache, invalidateIcache } from "./mmops";
import { changePage, isOnePage, walkPage } from "./page";
import {
  close,
  EntryWalk,
  HANDLE_FAULT,
  LEAF,
  LeafOnly,
  OneByOne,
  open,
  openAs,
  SHARED,
  setRange,
  skip,
  Walk,
  walk,
} from "./walk";

/** Stage-2 leaf changers: `next` says what a valid leaf becomes. Precondition: the walk is an EntryWalk. */
@unmanaged
abstract class AttributeVisitor extends LeafOnly {
  abstract next(w: Walk, old: u64): u64;
}

/** Changes one leaf from its snapshot. EAGAIN for an invalid entry, or after a lost race [S2-13]; the walk may visit it again. */
function update<V extends AttributeVisitor>(w: EntryWalk, p: usize, old: u64, level: i32): i32 {
  if (!isValid(old)) return EAGAIN;
  const next = changetype<V>(0).next(w, old);
  w.old = old;
  w.level = level;
  if (next === old) return OK;
  if ((old ^ next) & S2_XN_FIELD) prepareToExecute(w, old, next, level);
  if (put(w, p, old, next, level)) return OK;
  count(C_AGAIN, 1);
  return EAGAIN;
}

/** Code that becomes executable must not be fetched from a stale instruction cache [S2-13, CMO-5]. */
function prepareToExecute(w: Walk, old: u64, next: u64, level: i32): void {
  const xnx = <bool>(w.table.flags & T_XNX);
  if (!isExecutable(next, xnx) || isExecutable(old, xnx)) return;
  invalidateIcache(w.table, decodeAddress(w.layout, w.ps, old), shift(w.ps, level), 1);
}

/** May whole vectors of pages change at once? Only without journal and hooks, and when nobody else writes. */
function inBulk(w: Walk, level: i32): bool {
  return level === LAST_LEVEL && w.bulk && !w.atomic;
}

@final
@unmanaged
class WriteProtectVisitor extends AttributeVisitor {
  @inline next(_w: Walk, old: u64): u64 {
    return old & ~S2_W;
  }

  bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    if (!inBulk(w, level)) return p;
    updateValid(p, end, S2_W, 0);
    return skip(w, p, end, level);
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    return update<WriteProtectVisitor>(changetype<EntryWalk>(w), p, old, level);
  }
}

/** A walk that adds permissions. */
@unmanaged
export class RelaxWalk extends EntryWalk {
  /** Bits to set and to clear in a leaf. */
  set: u64;
  clear: u64;
  /** The permissions asked for. */
  prot: u32;
}

/** `next` with the execute rights of `old` and `prot` together, with FEAT_XNX. */
function uniteExecute(old: u64, next: u64, prot: u32): u64 {
  const execute = executeBits(prot) | executeBits(executeOf(old, true));
  return (next & ~S2_XN_FIELD) | executeNever(<bool>(execute & PROT_PX), <bool>(execute & PROT_UX), true);
}

/** Adds permissions to one leaf, or the access flag. Precondition: the walk is a RelaxWalk. */
@final
@unmanaged
export class RelaxVisitor extends AttributeVisitor {
  /** The union of what is granted and what is asked for, never less [S2-17, S2-18]. */
  @inline next(w: Walk, old: u64): u64 {
    const r = changetype<RelaxWalk>(w);
    const next = (old & ~r.clear) | r.set;
    return w.table.flags & T_XNX ? uniteExecute(old, next, r.prot) : next;
  }

  @inline bulk(_w: Walk, p: usize, _end: usize, _level: i32): usize {
    return p;
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    return update<RelaxVisitor>(changetype<EntryWalk>(w), p, old, level);
  }
}

/** A walk that looks for access flags. */
@unmanaged
class AgeWalk extends EntryWalk {
  /** Has a leaf had its access flag? */
  young: bool;
  /** Clear the flags? */
  clear: bool;
}

@final
@unmanaged
class AgeVisitor extends AttributeVisitor {
  @inline next(w: Walk, old: u64): u64 {
    if (!(old & AF)) return old;
    const a = changetype<AgeWalk>(w);
    a.young = true;
    return a.clear ? old & ~AF : old;
  }

  bulk(w: Walk, p: usize, end: usize, level: i32): usize {
    if (!inBulk(w, level)) return p;
    const a = changetype<AgeWalk>(w);
    if (testClear(p, end, AF_BIT, a.clear)) a.young = true;
    return skip(w, p, end, level);
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    return update<AgeVisitor>(changetype<EntryWalk>(w), p, old, level);
  }
}

@final
@unmanaged
class FlushVisitor extends OneByOne {
  leaf(w: Walk, _p: usize, old: u64, level: i32): i32 {
    if (isCacheable(old, false)) cleanDcache(w.table, decodeAddress(w.layout, w.ps, old), shift(w.ps, level), 1);
    return OK;
  }
}

function rangeFlags(shared: bool): u32 {
  return shared ? LEAF | SHARED : LEAF;
}

/** Clears the write permission of every leaf of the range; the caller flushes [S2-14]. */
export function wrprotect(t: Table, addr: u64, size: u64, shared: bool): i32 {
  if (isOnePage(t, addr, size) && changePage(t, addr, 0, S2_W, shared)) return OK;
  const w = openAs<EntryWalk>(t, rangeFlags(shared));
  if (!w) return EBUSY;
  const r = walk<WriteProtectVisitor>(w, addr, size);
  close();
  return r;
}

/** Walk flags of the operations that serve a guest's fault: a lost race is reported, not skipped. */
function faultFlags(t: Table, shared: bool): u32 {
  return LEAF | HANDLE_FAULT | (isFaultShared(t, shared) ? SHARED : 0);
}

/** 6.12 has the operations that serve a fault walk as one of several walkers, whoever calls. */
function isFaultShared(t: Table, shared: bool): bool {
  return shared || <bool>(t.flags & T_LINUX);
}

/** Sets the access flag of one leaf; answers its old descriptor, or 0. No TLBI: a clear flag is never cached [S2-15]. */
export function mkyoung(t: Table, addr: u64, shared: bool): i32 {
  let old = isOnePage(t, addr, 1) ? changePage(t, addr, AF, 0, isFaultShared(t, shared)) : 0,
    r = OK;
  if (old === 0) {
    const w = openRelax(t, 0, shared);
    if (!w) return EBUSY;
    w.set = AF;
    r = walkPage<RelaxVisitor>(w, addr);
    old = w.old;
    close();
  }
  if (r === OK) storeBarrier(t);
  result<Answer>().value = old;
  return r;
}

/** 1 if a valid leaf of the range had its access flag, else 0; with `clear` the flags are cleared [S2-16]. No TLBI. */
export function testClearYoung(t: Table, addr: u64, size: u64, clear: bool, shared: bool): i32 {
  const w = openAs<AgeWalk>(t, rangeFlags(shared));
  if (!w) return EBUSY;
  w.young = false;
  w.clear = clear;
  const r = walk<AgeVisitor>(w, addr, size);
  const young = w.young ? 1 : 0;
  close();
  if (r === OK || !(t.flags & T_LINUX)) return r === OK ? young : r;
  warn(t, 0, addr); // the kernel's caller gets "not young"
  return young;
}

/** Can `prot` be added? No software bits, and different execute rights for EL1 and EL0 only with FEAT_XNX [S2-17, FMT-25]. */
export function isRelaxation(t: Table, prot: u32): bool {
  const execute = executeBits(prot);
  if (!isProtection(prot) || prot & PROT_SW) return false;
  return <bool>(t.flags & T_XNX) || execute === 0 || execute === (PROT_PX | PROT_UX);
}

/** Opens a walk that adds `prot`, which is checked; null when walks are nested too deep. */
export function openRelax(t: Table, prot: u32, shared: bool): RelaxWalk {
  const w = changetype<RelaxWalk>(openEntry(t, faultFlags(t, shared), TTL_UNKNOWN)); // a hole has no level to hint at [BUG-31]
  if (!w) return w;
  w.prot = prot;
  w.set = granted(prot);
  w.clear = executeBits(prot) && !(t.flags & T_XNX) ? XN : 0;
  return w;
}

/** The bits that `prot` sets in a leaf. */
function granted(prot: u32): u64 {
  return (prot & PROT_R ? S2_R : 0) | (prot & PROT_W ? S2_W : 0);
}

/** Adds permissions to one leaf, and flushes this CPU's stale entry that denies them [S2-17]. Removes none. */
export function relax(t: Table, addr: u64, prot: u32, shared: bool): i32 {
  if (!isRelaxation(t, prot)) return EINVAL;
  // Rights to execute may need cache maintenance, and a union with what there is.
  const plain = isOnePage(t, addr, 1) && executeBits(prot) === 0;
  if (plain && changePage(t, addr, granted(prot), 0, isFaultShared(t, shared))) {
    flushIpaLocal(t, flushAddress(t, addr), LAST_LEVEL);
    return OK;
  }
  const w = openRelax(t, prot, shared);
  if (!w) return EBUSY;
  const r = walkPage<RelaxVisitor>(w, addr);
  // EAGAIN flushes too: with a stale entry this CPU would fault again and again [BUG-25].
  if (r === OK || r === EAGAIN) flushIpaLocal(t, flushAddress(t, addr), w.level);
  close();
  return r;
}

function flushAddress(t: Table, addr: u64): u64 {
  return t.flags & T_LINUX ? addr : alignDown(addr, pageBytes(t.ps));
}

/** Cleans the data cache of every cacheable leaf of the range; nothing to do with FWB [S2-19]. */
export function flush(t: Table, addr: u64, size: u64, shared: bool): i32 {
  const fwb = <bool>(t.flags & T_FWB);
  if (fwb && t.flags & T_LINUX) return OK;
  const w = open(t, rangeFlags(shared));
  if (!w) return EBUSY;
  const r = fwb ? setRange(w, addr, size) : walk<FlushVisitor>(w, addr, size);
  close();
  return r;
}
