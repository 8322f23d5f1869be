// How a new entry gets into a slot. There are three ways, chosen when the code is compiled. "Watched" means: the journal is on or
// the table has hooks.
//
//   Alone     no other walker, not watched: a plain store. Runs of holes may be filled at once.
//   Among     other walkers, not watched: one compare-exchange takes the hole and makes the leaf. A hole has no translation, so
//             there is nothing to break, and without cache maintenance nothing has to be done between marker and leaf.
//   Watched   break, then make. This is the general way: it also replaces entries, and does cache maintenance in between.
//
// All three do the cache maintenance before the entry is visible, store it, and count the reference of the table page and the leaf.

import { leafDescriptor, linearBits, VALID } from "../arch/descriptor";
import { ENTRY_SHIFT, LAST_LEVEL, minBlockLevel, shift } from "../arch/granule";
import { isCacheable, isExecutable, stage2Attributes } from "../arch/stage2";
import { demand, RULE_HOLE, RULE_UNWATCHED } from "../demand";
import { compareExchange, fillHole, fillHoles, read, write } from "../memory/cell";
import { addReferences } from "../memory/frames";
import { intendCount } from "../memory/intent";
import { T_DCACHE, T_FWB, T_ICACHE, T_LPA2, T_XNX, Table } from "../memory/layout";
import { ACCOUNTS, isAccounted } from "../memory/leaves";
import { C_LEAVES_MADE, C_LOST, count } from "../record/counters";
import { journalling } from "../record/journal";
import { make, pageOf, tryBreak } from "./bbm";
import { Access } from "./down";
import { cleanDcache, invalidateIcache } from "./mmops";
import { isShared, SKIP_CMO, skip, Walk } from "./walk";

/** Cache maintenance that a new leaf needs: bits of MapWalk.maintain. */
const CLEAN_DATA: u32 = 1;
const CLEAN_CODE: u32 = 2;

/** A walk that maps: the output address advances with the input address. */
@unmanaged
export class MapWalk extends Walk {
  /** Output address of the first entry. */
  phys: u64;
  attributes: u64;
  /** The annotation to write where `annotate` says so. */
  annotation: u64;
  /** Table pages come from here. */
  cache: u32;
  /** CLEAN_* that a new leaf needs. */
  maintain: u32;
  /** Write `annotation` in place of leaves: in a call that annotates, or that begins beyond the output addresses. */
  annotate: bool;
  forcePages: bool;
  /** May one exchange fill a hole? Only if the walk is shared and not watched, and leaves need no cache maintenance. */
  among: bool;
}

/** Attributes of `prot` for leaves of `t`. */
export function attributesOf(t: Table, prot: u32): u64 {
  return stage2Attributes(prot, <bool>(t.flags & T_FWB), <bool>(t.flags & T_LPA2), <bool>(t.flags & T_XNX));
}

/** Is the journal off, and has the table no hooks, and nobody who keeps account of its leaves? */
export function unwatched(t: Table): bool {
  return !journalling() && t.hooks === 0 && !(ACCOUNTS && isAccounted(t));
}

/** Sets the attributes of all leaves of a walk, and the cache maintenance that they need. */
export function prepareLeaves(w: MapWalk, attributes: u64): void {
  w.attributes = attributes;
  w.maintain = maintenanceOf(w.table, attributes, w.flags);
  w.among = isShared(w) && unwatched(w.table) && w.maintain === 0;
}

/** Cache maintenance that leaves of `attributes` need, for MapWalk.maintain; `flags` of the walk. */
export function maintenanceOf(t: Table, attributes: u64, flags: u32): u32 {
  if (flags & SKIP_CMO) return 0;
  const leaf = attributes | VALID,
    data = t.flags & T_DCACHE && isCacheable(leaf, <bool>(t.flags & T_FWB)),
    code = t.flags & T_ICACHE && isExecutable(leaf, <bool>(t.flags & T_XNX));
  return (data ? CLEAN_DATA : 0) | (code ? CLEAN_CODE : 0);
}

/** Output address of the current entry; has no meaning for annotations. */
export function outputAddress(w: MapWalk): u64 {
  return w.phys + (w.addr - w.start);
}

/** Cache maintenance of `n` leaves of 1 << sh bytes each, from `phys`: data cache first [S2-5]. */
export function clean(t: Table, phys: u64, sh: u32, n: u32, maintain: u32): void {
  if (maintain & CLEAN_DATA) cleanDcache(t, phys, sh, n);
  if (maintain & CLEAN_CODE) invalidateIcache(t, phys, sh, n);
}

/** One of the three ways; see above. */
@unmanaged
export abstract class Way extends Access {
  /** May a leaf need cache maintenance? */
  abstract cleans(): bool;
  /** Writes down what is about to happen, before the first of the entries that are published together. */
  abstract announce(): void;
  /** Takes the slot for this walker; false if another one has it, and then nothing has changed. */
  abstract take(w: Walk, p: usize, old: u64, level: i32): bool;
  /** Stores `next` in a slot that was taken, with its reference; false if somebody was faster. */
  abstract publish(w: Walk, p: usize, next: u64, level: i32): bool;
  /** One leaf into a slot of many, and nothing else: no reference, no count, no maintenance. False unless the slot was a hole. */
  abstract fill(p: usize, next: u64): bool;
  /** Counts `n` leaves that were published. */
  abstract tally(n: u32): void;
}

@final
@unmanaged
export class Alone extends Way {
  @inline shared(): bool {
    return false;
  }

  @inline change(p: usize, _old: u64, next: u64): bool {
    write(p, next);
    return true;
  }

  @inline cleans(): bool {
    return true;
  }

  @inline announce(): void {}

  @inline take(w: Walk, p: usize, old: u64, _level: i32): bool {
    demand(old === 0 && read(p, false) === 0, RULE_HOLE);
    demand(unwatched(w.table) && !isShared(w), RULE_UNWATCHED);
    return true;
  }

  @inline publish(w: Walk, p: usize, next: u64, _level: i32): bool {
    write(p, next);
    addReferences(pageOf(w, p), 1);
    return true;
  }

  @inline fill(p: usize, next: u64): bool {
    if (read(p, false) !== 0) return false;
    write(p, next);
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

  @inline change(p: usize, old: u64, next: u64): bool {
    return old === next || compareExchange(p, old, next);
  }

  @inline cleans(): bool {
    return false;
  }

  @inline announce(): void {
    intendCount();
  }

  @inline take(w: Walk, _p: usize, old: u64, _level: i32): bool {
    demand(old === 0, RULE_HOLE);
    demand(unwatched(w.table) && isShared(w), RULE_UNWATCHED);
    return true;
  }

  /** The reference is this walker's own part of the count, where no other walker writes (memory/frames.ts). */
  @inline publish(w: Walk, p: usize, next: u64, _level: i32): bool {
    if (!compareExchange(p, 0, next)) {
      count(C_LOST, 1);
      return false;
    }
    addReferences(pageOf(w, p), 1);
    return true;
  }

  /** The exchange alone: to look first would move the line twice between CPUs, once to read and once to write. */
  @inline fill(p: usize, next: u64): bool {
    return compareExchange(p, 0, next);
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

  @inline change(p: usize, old: u64, next: u64): bool {
    return old === next || compareExchange(p, old, next);
  }

  @inline cleans(): bool {
    return true;
  }

  @inline announce(): void {}

  @inline take(w: Walk, p: usize, old: u64, level: i32): bool {
    return tryBreak(w, p, old, level);
  }

  @inline publish(w: Walk, p: usize, next: u64, level: i32): bool {
    make(w, p, next, level);
    return true;
  }

  @inline fill(_p: usize, _next: u64): bool {
    return false;
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
    const way = changetype<W>(0);
    way.announce();
    if (!way.take(w, p, old, level)) return false;
    if (way.cleans() && w.maintain) clean(w.table, phys, shift(w.ps, level), 1, w.maintain);
    if (!way.publish(w, p, next, level)) return false;
    way.tally(1);
    return true;
  }

  /** A table or an annotation, which needs no cache maintenance. Always by break and make, since the old entry may be a mapping. */
  static entry(w: Walk, p: usize, old: u64, next: u64, level: i32): bool {
    if (!tryBreak(w, p, old, level)) return false;
    make(w, p, next, level);
    return true;
  }
}

/** May the current entry be a leaf of `level` [GEO-4]? `mapped`: it has an output address. */
export function leafAllowed(w: MapWalk, level: i32, mapped: bool): bool {
  if (level < minBlockLevel(w.ps) || (w.forcePages && level < LAST_LEVEL)) return false;
  const span = (<u64>1) << shift(w.ps, level);
  if (span > w.end - w.addr || w.addr & (span - 1)) return false;
  return !mapped || (outputAddress(w) & (span - 1)) === 0;
}

/**
 * Fills consecutive holes from `p` with leaves; returns the first slot that was not filled, or `end`. References, counters and
 * cache maintenance of the whole run are done at once. Precondition: w.bulk.
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
  if (w.maintain) clean(t, phys, sh, made, w.maintain);
  return skip(w, p, stop, level);
}
