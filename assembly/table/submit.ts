// Operations in batches: records in a buffer, one call, results in place.

import { GRANULE_LEVELS, LAST_LEVEL, span } from "../arch/granule";
import { demand, RULE_COLUMN } from "../demand";
import { CACHE_ARENA, CACHE_OWN, isCache, resolve, topUp } from "../memory/cache";
import { EAGAIN, EBUSY, EINVAL, ERANGE, ETIMEDOUT, OK } from "../memory/errno";
import { isArenaRange, T_HYP, T_LINUX, Table } from "../memory/layout";
import { MODE_NONE } from "../memory/lock";
import { isTableHandle, tableAt } from "../memory/tables";
import { C_SUBMITTED, count } from "../record/counters";
import { flushRange } from "../record/maintenance";
import { Answer, result } from "../record/result";
import { flush, mkyoung, relax, testClearYoung, wrprotect } from "./attrs";
import { hypMap, hypUnmap } from "./hyp";
import { countLeaves, getLeaf } from "./lookup";
import { annotate, map, setOwner } from "./map";
import { begin, end, LOCK_FREE, modeOf, SHARES_LEAF, SHARES_READ, SHARES_TABLE } from "./sharing";
import { split } from "./split";
import { destroy, destroyRange } from "./teardown";
import { unmap } from "./unmap";
import { isWalked, SHARED, WALK_FLAGS } from "./walk";

export const OP_MAP: u32 = 1;
export const OP_UNMAP: u32 = 2;
/** level = owner */
export const OP_SET_OWNER: u32 = 3;
export const OP_WRPROTECT: u32 = 4;
/** value = old descriptor */
export const OP_MKYOUNG: u32 = 5;
/** level = 1 to clear; status = 1 if young */
export const OP_TEST_CLEAR_YOUNG: u32 = 6;
export const OP_RELAX_PERMS: u32 = 7;
export const OP_FLUSH: u32 = 8;
export const OP_SPLIT: u32 = 9;
/** value = leaf */
export const OP_GET_LEAF: u32 = 10;
/** value = valid leaves in the range */
export const OP_COUNT_LEAVES: u32 = 11;
export const OP_TLB_FLUSH_RANGE: u32 = 12;
export const OP_DESTROY: u32 = 13;
export const OP_DESTROY_RANGE: u32 = 14;
export const OP_HYP_MAP: u32 = 15;
/** value = bytes unmapped */
export const OP_HYP_UNMAP: u32 = 16;
/** level = type, phys = payload */
export const OP_ANNOTATE: u32 = 17;
const LAST_STAGE2_OP: u32 = OP_SPLIT;

/** Flag beside the walk flags: top the cache up to one fault's worth first [MC-6]. */
export const SUBMIT_TOP_UP: u32 = 1 << 16;

/** One operation. The caller writes all but the last three fields. */
@view("writes", "halves")
@unmanaged
export class Submission {
  /** OP_* */
  op: u32;
  /** Walk flags, LOCK_FREE, SUBMIT_TOP_UP. */
  flags: u32;
  table: u32;
  cache: u32;
  address: u64;
  size: u64;
  phys: u64;
  prot: u32;
  level: i32;
  /** 0 or more, or a negative errno. */
  status: i32;
  /** Of reading operations: level of the leaf. */
  foundLevel: i32;
  /** A descriptor, a count or bytes, by operation. */
  value: u64;
}

export const SUBMIT_BYTES: u32 = <u32>offsetof<Submission>();

// What operations are, two bits or one for each: masks, since every call asks.
const AT_TABLE: u64 = SHARES_TABLE;
const AT_LEAF: u64 = SHARES_LEAF;
const READS: u64 = SHARES_READ;
/** How an operation may share its table: SHARES_*. Destroying takes its lock by itself; a flush touches no descriptor. */
const SHARES: u64 =
  (AT_TABLE << (2 * OP_MAP)) |
  (AT_TABLE << (2 * OP_WRPROTECT)) |
  (AT_TABLE << (2 * OP_TEST_CLEAR_YOUNG)) |
  (AT_TABLE << (2 * OP_SPLIT)) |
  (AT_TABLE << (2 * OP_FLUSH)) |
  (AT_LEAF << (2 * OP_MKYOUNG)) |
  (AT_LEAF << (2 * OP_RELAX_PERMS)) |
  (READS << (2 * OP_GET_LEAF));
/** Of EL2's tables alone. */
const OF_HYP: u32 = (1 << OP_HYP_MAP) | (1 << OP_HYP_UNMAP);
/** Of stage-2 tables alone. */
const OF_STAGE2: u32 = ((2 << LAST_STAGE2_OP) - 2) | (1 << OP_ANNOTATE) | (1 << OP_TLB_FLUSH_RANGE);
/** Those that free tables that become empty. */
const TAKES_TABLES: u32 = (1 << OP_UNMAP) | (1 << OP_HYP_UNMAP) | (1 << OP_DESTROY_RANGE);
/** Those that need no lock, or take it by themselves. */
const UNLOCKED: u32 = (1 << OP_DESTROY) | (1 << OP_TLB_FLUSH_RANGE);
const OPS: u32 = OP_ANNOTATE + 1;

function isOneOf(op: u32, ops: u32): bool {
  return <bool>((ops >> op) & 1);
}

/** A cache of its own is topped up before the lock, since it may take long [MC-6]. */
function feed(asked: u32, cache: u32, flags: u32, t: Table): i32 {
  if (!isCache(cache, t.ps)) return EINVAL;
  if (cache <= CACHE_ARENA || (asked !== CACHE_OWN && !(flags & SUBMIT_TOP_UP))) return OK;
  return topUp(cache, GRANULE_LEVELS - 1 - t.startLevel);
}

/** The step of `operate` that the operation names: inlined, since its arguments are many. */
@final
@unmanaged
class Named {
  @inline static perform(
    op: u32,
    t: Table,
    all: u32,
    cache: u32,
    addr: u64,
    size: u64,
    phys: u64,
    prot: u32,
    level: i32,
  ): i32 {
    const flags = all & WALK_FLAGS,
      shared = <bool>(all & (SHARED | LOCK_FREE));
    switch (op) {
      case OP_MAP:
        return map(t, addr, size, phys, prot, cache, flags);
      case OP_UNMAP:
        return unmap(t, addr, size);
      case OP_SET_OWNER:
        return setOwner(t, addr, size, cache, level);
      case OP_WRPROTECT:
        return wrprotect(t, addr, size, shared);
      case OP_MKYOUNG:
        return mkyoung(t, addr, shared);
      case OP_TEST_CLEAR_YOUNG:
        return testClearYoung(t, addr, size, level !== 0, shared);
      case OP_RELAX_PERMS:
        return relax(t, addr, prot, shared);
      case OP_FLUSH:
        return flush(t, addr, size, shared);
      case OP_SPLIT:
        return split(t, addr, size, cache, shared);
      case OP_GET_LEAF:
        return getLeaf(t, addr);
      case OP_COUNT_LEAVES:
        return countLeaves(t, addr, size);
      case OP_TLB_FLUSH_RANGE:
        return flushTlb(t, addr, size);
      case OP_DESTROY:
        return destroy(t);
      case OP_DESTROY_RANGE:
        return destroyRange(t, addr, size);
      case OP_HYP_MAP:
        return hypMap(t, addr, size, phys, prot, cache);
      case OP_HYP_UNMAP:
        return hypUnmap(t, addr, size);
      case OP_ANNOTATE:
        return annotate(t, addr, size, cache, level, phys);
      default:
        return EINVAL;
    }
  }
}

/**
 * Performs the operation `op` on the table of `handle`: its status. What it answers beside that is the Answer. `level` and `prot`
 * mean what the operation says. Any values are allowed.
 */
export function operate(
  op: u32,
  handle: u32,
  flags: u32,
  asked: u32,
  addr: u64,
  size: u64,
  phys: u64,
  prot: u32,
  level: i32,
): i32 {
  if (!isTableHandle(handle) || op >= OPS || flags & ~(WALK_FLAGS | SUBMIT_TOP_UP | LOCK_FREE)) return EINVAL;
  count(C_SUBMITTED, 1);
  const t = tableAt(handle);
  if (isOneOf(op, t.flags & T_HYP ? OF_STAGE2 : OF_HYP)) return EINVAL;
  if (isOneOf(op, TAKES_TABLES) && isWalked(t)) return EBUSY; // a visitor or hook of this table is running: its walk may be in one of them
  const mode: i32 = isOneOf(op, UNLOCKED) ? <i32>MODE_NONE : modeOf(t, <u32>(SHARES >> (2 * op)) & 3, flags); // an errno is negative: no u32
  if (mode < 0) return mode;
  let cache = asked,
    r = OK;
  if (asked > CACHE_ARENA) {
    cache = resolve(asked, t.ps);
    r = feed(asked, cache, flags, t);
  }
  if (r === OK && mode !== MODE_NONE) r = begin(t, mode);
  if (r) return r;
  r = Named.perform(op, t, flags, cache, addr, size, phys, prot, level);
  if (mode !== MODE_NONE) end(t, mode);
  return r;
}

/** Flushes the pages that the range touches; the kernel rounds the size down to pages [S2-12]. */
function flushTlb(t: Table, addr: u64, size: u64): i32 {
  if (t.flags & T_LINUX) {
    flushRange(t, addr, size);
    return OK;
  }
  const limit = (<u64>1) << t.inputBits,
    page = span(t.ps, LAST_LEVEL) - 1;
  if (addr > limit || size > limit - addr) return ERANGE;
  const start = addr & ~page;
  flushRange(t, start, ((addr + size + page) & ~page) - start);
  return OK;
}

/**
 * Performs `n` records at `p` in order and writes the result of each. With `stop` it ends after the first error, EAGAIN not
 * counted; without, after the first ETIMEDOUT. Returns how many were performed. Precondition: the records lie in the arena.
 */
export function submit(p: usize, n: u32, stop: bool): u32 {
  demand(isArenaRange(<u32>p, <u64>n * SUBMIT_BYTES), RULE_COLUMN);
  const answer = result<Answer>();
  let done: u32 = 0;
  while (done < n) {
    const s = changetype<Submission>(p);
    answer.value = 0;
    answer.level = 0;
    const status = operate(s.op, s.table, s.flags, s.cache, s.address, s.size, s.phys, s.prot, s.level);
    s.status = status;
    s.foundLevel = answer.level;
    s.value = answer.value;
    p += SUBMIT_BYTES;
    done++;
    // The holder of the lock is probably dead: the next operations would wait as long.
    if (status === ETIMEDOUT || (stop && status < 0 && status !== EAGAIN)) break;
  }
  return done;
}
