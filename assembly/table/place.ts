// Into a slot: a hole becomes a leaf or a table, or gives way to it. Who else is there decides how, when the code is compiled:
//
//   Alone     nobody else walks and nobody watches: a plain store. Runs of holes may be filled at once.
//   Among     others walk too, nobody watches: one compare-exchange takes the hole and makes the leaf. A hole has no translation,
//             so there is nothing to break, and without cache maintenance nothing to do between marker and leaf.
//   Watched   break, then make. The general way: also over what is mapped, with a journal, with hooks, with cache maintenance.
//
// All three clean what is mapped before it can be seen, store, count the reference of the table page, and count the leaf.

import { leafDescriptor, linearBits, VALID } from "../arch/descriptor";
import { ENTRY_SHIFT, LAST_LEVEL, minBlockLevel, shift } from "../arch/granule";
import { isCacheable, isExecutable, stage2Attributes } from "../arch/stage2";
import { demand, RULE_HOLE, RULE_UNWATCHED } from "../demand";
import { compareExchange, fillHole, fillHoles, read, write } from "../memory/cell";
import { addReferences, Reference } from "../memory/frames";
import { intendCount } from "../memory/intent";
import { T_DCACHE, T_FWB, T_ICACHE, T_LPA2, T_XNX, Table } from "../memory/layout";
import { C_LEAVES_MADE, C_LOST, count } from "../record/counters";
import { journalling } from "../record/journal";
import { make, pageOf, tryBreak } from "./bbm";
import { Access } from "./down";
import { cleanDcache, invalidateIcache } from "./mmops";
import { isShared, SKIP_CMO, skip, Walk } from "./walk";

/** What a new leaf needs, MapWalk.maintain. */
const CLEAN_DATA: u32 = 1;
const CLEAN_CODE: u32 = 2;

/** A walk that maps: output addresses go along with input addresses. */
@unmanaged
export class MapWalk extends Walk {
  /** Output address of the first entry. */
  phys: u64;
  attributes: u64;
  /** The annotation to write in place of leaves. */
  annotation: u64;
  /** Table pages come from here. */
  cache: u32;
  /** CLEAN_* that a new leaf needs. */
  maintain: u32;
  /** Every valid base adds the offset; an invalid one stays as it is (KERNEL-NOTES 13). */
  annotate: bool;
  forcePages: bool;
  /** A hole may be filled by one exchange: the walk is shared, nobody watches, and a leaf needs no cache maintenance. */
  among: bool;
}

/** Attributes of `prot` for leaves of `t`. */
export function attributesOf(t: Table, prot: u32): u64 {
  return stage2Attributes(prot, <bool>(t.flags & T_FWB), <bool>(t.flags & T_LPA2), <bool>(t.flags & T_XNX));
}

/** Does nobody watch the table: neither journal nor hooks? */
export function unwatched(t: Table): bool {
  return !journalling() && t.hooks === 0;
}

/** Sets what the leaves of a walk are made of: `attributes`, and the maintenance that they need. All of a walk are alike. */
export function prepareLeaves(w: MapWalk, attributes: u64): void {
  const t = w.table,
    leaf = attributes | VALID;
  w.attributes = attributes;
  w.maintain = 0;
  if (!(w.flags & SKIP_CMO)) {
    if (t.flags & T_DCACHE && isCacheable(leaf, <bool>(t.flags & T_FWB))) w.maintain |= CLEAN_DATA;
    if (t.flags & T_ICACHE && isExecutable(leaf, <bool>(t.flags & T_XNX))) w.maintain |= CLEAN_CODE;
  }
  w.among = isShared(w) && unwatched(t) && w.maintain === 0;
}

/** Output address of the entry that the walk is at; meaningless when annotating. */
export function outputAddress(w: MapWalk): u64 {
  return w.phys + (w.addr - w.start);
}

/** Data before code [S2-5]: `n` leaves of 1 << sh bytes each, from `phys`. */
function clean(w: MapWalk, phys: u64, sh: u32, n: u32): void {
  if (w.maintain & CLEAN_DATA) cleanDcache(w.table, phys, sh, n);
  if (w.maintain & CLEAN_CODE) invalidateIcache(w.table, phys, sh, n);
}

/** Who else is there. */
@unmanaged
export abstract class Way extends Access {
  /** Takes the slot for this walker; false if it is not to be had, and nothing has changed. */
  abstract take(w: Walk, p: usize, old: u64, level: i32): bool;
  /** Stores `next` in a slot that was taken, with its reference; false if somebody was faster. */
  abstract publish(w: Walk, p: usize, next: u64, level: i32): bool;
  /** Counts `n` leaves that were published. */
  abstract tally(n: u32): void;
}

@final
@unmanaged
export class Alone extends Way {
  @inline shared(): bool {
    return false;
  }

  @inline take(w: Walk, p: usize, old: u64, _level: i32): bool {
    demand(old === 0 && read(p, false) === 0, RULE_HOLE);
    demand(unwatched(w.table) && !isShared(w), RULE_UNWATCHED);
    return true;
  }

  @inline publish(w: Walk, p: usize, next: u64, _level: i32): bool {
    write(p, next);
    Reference.add(pageOf(w, p));
    return true;
  }

  @inline tally(n: u32): void {
    count(C_LEAVES_MADE, n);
  }
}

@final
@unmanaged
export class Among extends Way {
  @inline shared(): bool {
    return true;
  }

  @inline take(w: Walk, _p: usize, old: u64, _level: i32): bool {
    demand(old === 0, RULE_HOLE);
    demand(unwatched(w.table) && isShared(w), RULE_UNWATCHED);
    return true;
  }

  /** The reference is this walker's own part of the count, where no other walker writes (memory/frames.ts). */
  @inline publish(w: Walk, p: usize, next: u64, _level: i32): bool {
    intendCount(p);
    if (!compareExchange(p, 0, next)) {
      count(C_LOST, 1);
      return false;
    }
    Reference.add(pageOf(w, p));
    return true;
  }

  @inline tally(n: u32): void {
    count(C_LEAVES_MADE, n);
  }
}

@final
@unmanaged
export class Watched extends Way {
  @inline shared(): bool {
    return true;
  }

  @inline take(w: Walk, p: usize, old: u64, level: i32): bool {
    return tryBreak(w, p, old, level);
  }

  @inline publish(w: Walk, p: usize, next: u64, level: i32): bool {
    make(w, p, next, level);
    return true;
  }

  /** `make` has counted it. */
  @inline tally(_n: u32): void {}
}

/** One entry into one slot. */
@final
@unmanaged
export class Place {
  /** A leaf of `level` that maps `phys`; false if somebody was faster. */
  @inline static leaf<W extends Way>(w: MapWalk, p: usize, old: u64, next: u64, phys: u64, level: i32): bool {
    if (!Place.untallied<W>(w, p, old, next, phys, level)) return false;
    changetype<W>(0).tally(1);
    return true;
  }

  /** The same for one of many, which the caller counts together. */
  @inline static untallied<W extends Way>(w: MapWalk, p: usize, old: u64, next: u64, phys: u64, level: i32): bool {
    const way = changetype<W>(0);
    if (!way.take(w, p, old, level)) return false;
    if (w.maintain) clean(w, phys, shift(w.ps, level), 1);
    return way.publish(w, p, next, level);
  }

  /** A table, or an annotation: nothing to clean. Always watched, since what it replaces may be mapped. */
  static entry(w: Walk, p: usize, old: u64, next: u64, level: i32): bool {
    if (!tryBreak(w, p, old, level)) return false;
    make(w, p, next, level);
    return true;
  }
}

/** May the entry that the walk is at be a leaf of `level`? [GEO-4] `mapped`: its output address is a real one. */
export function leafAllowed(w: MapWalk, level: i32, mapped: bool): bool {
  if (level < minBlockLevel(w.ps) || (w.forcePages && level < LAST_LEVEL)) return false;
  const span = (<u64>1) << shift(w.ps, level);
  if (span > w.end - w.addr || w.addr & (span - 1)) return false;
  return !mapped || (outputAddress(w) & (span - 1)) === 0;
}

/**
 * Fills holes of [p, end) with leaves as far as they go in one sweep; returns where it stopped. Alone, with the references,
 * the count and the cache maintenance of the whole sweep at once. Precondition: w.bulk.
 */
export function placeRun(w: MapWalk, p: usize, end: usize, level: i32): usize {
  demand(w.bulk && unwatched(w.table), RULE_UNWATCHED);
  if (read(p, false) !== 0 || w.annotate) return p;
  const phys = outputAddress(w),
    t = w.table;
  if ((level !== LAST_LEVEL && !leafAllowed(w, level, true)) || phys >> t.paBits) return p;
  const sh = shift(w.ps, level);
  let n = min<u64>((w.end - w.addr) >> sh, (end - p) >> ENTRY_SHIFT);
  const boundary = ((phys >> linearBits(w.layout)) + 1) << linearBits(w.layout);
  if (phys + (n << sh) > boundary) n = (boundary - phys) >> sh;
  const first = leafDescriptor(w.layout, w.ps, phys, w.attributes, level);
  const stop = n > 1 ? fillHoles(p, p + ((<usize>n) << ENTRY_SHIFT), first, (<u64>1) << sh) : fillHole(p, first);
  const made = <u32>(stop - p) >> ENTRY_SHIFT;
  addReferences(pageOf(w, p), made);
  count(C_LEAVES_MADE, made);
  if (w.maintain) clean(w, phys, sh, made);
  return skip(w, p, stop, level);
}
