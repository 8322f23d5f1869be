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
import { begin, end, LOCK_FREE, modeOf, SHARES_LEAF, SHARES_NOTHING, SHARES_READ, SHARES_TABLE } from "./sharing";
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

/** How an operation may share its table. Destroying takes its lock by itself; a flush touches no descriptor. */
function sharesOf(op: u32): u32 {
  switch (op) {
    case OP_MAP:
    case OP_WRPROTECT:
    case OP_TEST_CLEAR_YOUNG:
    case OP_SPLIT:
    case OP_FLUSH:
      return SHARES_TABLE;
    case OP_MKYOUNG:
    case OP_RELAX_PERMS:
      return SHARES_LEAF;
    case OP_GET_LEAF:
      return SHARES_READ;
    default:
      return SHARES_NOTHING;
  }
}

/** Does the table have this operation? Stage-2 tables have those of stage 2, EL2's tables those of EL2. */
function fits(op: u32, t: Table): bool {
  const hyp = <bool>(t.flags & T_HYP);
  if (op === OP_HYP_MAP || op === OP_HYP_UNMAP) return hyp;
  return !hyp || !(op <= LAST_STAGE2_OP || op === OP_ANNOTATE || op === OP_TLB_FLUSH_RANGE);
}

/** Does the operation free tables that become empty? */
function takesTables(op: u32): bool {
  return op === OP_UNMAP || op === OP_HYP_UNMAP || op === OP_DESTROY_RANGE;
}

function prepare(t: Table, asked: u32, flags: u32): i32 {
  const cache = resolve(asked, t.ps);
  if (!isCache(cache, t.ps)) return EINVAL;
  if (cache <= CACHE_ARENA) return OK;
  if (asked !== CACHE_OWN && !(flags & SUBMIT_TOP_UP)) return OK;
  return topUp(cache, GRANULE_LEVELS - 1 - t.startLevel);
}

function perform(t: Table, op: u32, addr: u64, size: u64, phys: u64, prot: u32, level: i32, asked: u32, all: u32): i32 {
  const cache = resolve(asked, t.ps),
    flags = all & WALK_FLAGS,
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
 * One operation on `t`, with the locks that it needs: 0 or more, or a negative errno. What it reads is in the Answer. Meaning of
 * the arguments by operation, as in a Submission.
 */
export function operate(
  t: Table,
  op: u32,
  addr: u64,
  size: u64,
  phys: u64,
  prot: u32,
  level: i32,
  cache: u32,
  flags: u32,
): i32 {
  if (flags & ~(WALK_FLAGS | SUBMIT_TOP_UP | LOCK_FREE) || !fits(op, t)) return EINVAL;
  if (takesTables(op) && isWalked(t)) return EBUSY; // a visitor or hook of this table is running: its walk may be in one of them
  const unlocked = op === OP_DESTROY || op === OP_TLB_FLUSH_RANGE;
  const mode: i32 = unlocked ? <i32>MODE_NONE : modeOf(t, sharesOf(op), flags); // an errno is negative: no u32
  if (mode < 0) return mode;
  let r = prepare(t, cache, flags); // before the lock, since it may take long [MC-6]
  if (r === OK) r = begin(t, mode);
  if (r) return r;
  r = perform(t, op, addr, size, phys, prot, level, cache, flags);
  end(t, mode);
  return r;
}

function submitOne(s: Submission): i32 {
  if (!isTableHandle(s.table)) return EINVAL;
  return operate(tableAt(s.table), s.op, s.address, s.size, s.phys, s.prot, s.level, s.cache, s.flags);
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
    const status = submitOne(s);
    s.status = status;
    s.foundLevel = answer.level;
    s.value = answer.value;
    p += SUBMIT_BYTES;
    done++;
    // The holder of the lock is probably dead: the next operations would wait as long.
    if (status === ETIMEDOUT || (stop && status < 0 && status !== EAGAIN)) break;
  }
  count(C_SUBMITTED, done);
  return done;
}
