// What the VM does to its table, and how often with which outcome.

import { GRANULE_LEVELS, minBlockLevel, span } from "../arch/granule";
import { CACHE_ARENA, CACHE_NONE, CACHE_OWN, resolve, topUp } from "../memory/cache";
import { EAGAIN, EFAULT, EINVAL, ENOMEM, ERANGE, ETIMEDOUT, OK } from "../memory/errno";
import { POINT_LOCK, POINT_YIELD, visit } from "../memory/guard";
import { parallel } from "../memory/layout";
import { isTableHandle, rootOf } from "../memory/tables";
import { J_PROMISE, record } from "../record/journal";
import { flushVmid } from "../record/maintenance";
import { begin, end, modeOf, SHARES_TABLE } from "../table/sharing";
import { OP_GET_LEAF, OP_SPLIT, OP_TLB_FLUSH_RANGE, operate, SUBMIT_TOP_UP } from "../table/submit";
import { mustRetry } from "./invalidation";
import { enterMaps, leaveMaps } from "./rmap/maps";
import { countOf, tableOf, Vm } from "./state";

// How an operation ended.
export const OUTCOME_DONE: u32 = 0;
export const OUTCOME_EAGAIN: u32 = 1;
export const OUTCOME_ENOMEM: u32 = 2;
export const OUTCOME_EINVAL: u32 = 3;
export const OUTCOME_ERANGE: u32 = 4;
export const OUTCOME_EFAULT: u32 = 5;
export const OUTCOME_ETIMEDOUT: u32 = 6;
/** Any other errno. */
export const OUTCOME_OTHER: u32 = 7;

function outcomeOf(status: i32): u32 {
  if (status >= 0) return OUTCOME_DONE;
  switch (status) {
    case EAGAIN:
      return OUTCOME_EAGAIN;
    case ENOMEM:
      return OUTCOME_ENOMEM;
    case EINVAL:
      return OUTCOME_EINVAL;
    case ERANGE:
      return OUTCOME_ERANGE;
    case EFAULT:
      return OUTCOME_EFAULT;
    case ETIMEDOUT:
      return OUTCOME_ETIMEDOUT;
    default:
      return OUTCOME_OTHER;
  }
}

/** Counts an operation of this walker; its status. */
function settled(v: Vm, op: u32, status: i32): i32 {
  const p = countOf(v, op, outcomeOf(status));
  store<u32>(p, load<u32>(p) + 1);
  return status;
}

/** An operation on a range that needs no page. */
export function onRange(v: Vm, op: u32, gpa: u64, size: u64, level: i32): i32 {
  enterMaps(v);
  const status = operate(op, v.table, 0, CACHE_NONE, gpa, size, 0, 0, level);
  leaveMaps(v);
  return settled(v, op, status);
}

/** An operation with all that it can have. */
export function onTable(v: Vm, op: u32, gpa: u64, size: u64, prot: u32, cache: u32, flags: u32): i32 {
  return onTableAt(v, op, gpa, gpa, size, prot, cache, flags);
}

/** The same at `ipa`, for what lies at the guest address `gpa` itself. */
export function onTableAt(v: Vm, op: u32, ipa: u64, gpa: u64, size: u64, prot: u32, cache: u32, flags: u32): i32 {
  enterMaps(v);
  const status = operate(op, v.table, flags, cache, ipa, size, v.physBase + gpa, prot, 0);
  leaveMaps(v);
  return settled(v, op, status);
}

/** Splits the blocks of a range. The walk looks at entries down to `Vm.splitWalk`. */
export function onBlocks(v: Vm, gpa: u64, size: u64): i32 {
  enterMaps(v);
  const status = operate(OP_SPLIT, v.table, 0, CACHE_ARENA, gpa, size, 0, 0, v.splitWalk);
  leaveMaps(v);
  return settled(v, OP_SPLIT, status);
}

/**
 * What a fault does to the table at the address `offset` above `gpa`: under the table's lock it asks again whether the host changed its memory since `sequence`
 * [FLT-22, FLT-24]. EAGAIN then, and nothing has changed. A cache is topped up before the lock [MC-6].
 */
export function onTableUnlessChanged(
  v: Vm,
  op: u32,
  gpa: u64,
  offset: u64,
  size: u64,
  prot: u32,
  cache: u32,
  flags: u32,
  sequence: u32,
): i32 {
  if (!parallel()) {
    if (mustRetry(v, sequence, gpa, size)) return EAGAIN;
    return onTableAt(v, op, gpa + offset, gpa, size, prot, cache, flags);
  }
  const t = tableOf(v),
    mode = modeOf(t, SHARES_TABLE, flags & ~SUBMIT_TOP_UP);
  let r = OK;
  if (cache === CACHE_OWN) {
    cache = resolve(CACHE_OWN, t.ps);
    r = topUp(cache, GRANULE_LEVELS - 1 - t.startLevel);
  }
  visit(POINT_LOCK, 0);
  if (r === OK) r = begin(t, mode);
  if (r) return settled(v, op, r);
  r = mustRetry(v, sequence, gpa, size)
    ? EAGAIN
    : onTableAt(v, op, gpa + offset, gpa, size, prot, cache, flags & ~SUBMIT_TOP_UP);
  end(t, mode);
  return r;
}

/** A range of more chunks is one operation. */
const MAX_CHUNKS: u64 = 1 << 14;

/** Is the range beyond the table's input space, or of too many chunks? */
function isOneOperation(v: Vm, gpa: u64, size: u64, chunk: u64): bool {
  return gpa + size > (<u64>1) << tableOf(v).inputBits || size / chunk > MAX_CHUNKS;
}

/**
 * An operation on a range that needs no page, chunk by chunk: each ends at a multiple of the first block level's size, and takes the
 * table's lock for itself, so that others get it in between [NOT-20..24]. Without `yields` all at once [NOT-7]. The first status that
 * is not 0 ends it. A table that is torn down in between is nothing to do, 0 [NOT-21].
 */
export function onChunks(v: Vm, op: u32, gpa: u64, size: u64, yields: bool): i32 {
  const chunk = span(v.ps, minBlockLevel(v.ps)), // 1 GiB, 32 MiB or 512 MiB
    stop = gpa + size;
  if (!yields || isOneOperation(v, gpa, size, chunk)) return onRange(v, op, gpa, size, 0);
  let r = OK;
  for (let at = gpa; ; ) {
    const next = min((at / chunk + 1) * chunk, stop);
    enterMaps(v);
    r = operate(op, v.table, 0, CACHE_NONE, at, next - at, 0, 0, 0);
    leaveMaps(v);
    at = next;
    if (r || at >= stop) break;
    visit(POINT_YIELD, 0);
    if (!isTableHandle(v.table) || rootOf(tableOf(v)) === 0) break;
  }
  return settled(v, op, r);
}

/** The whole VM's TLB entries go: one operation, whatever its size [TLB-4]. */
export function flushAll(v: Vm): void {
  flushVmid(tableOf(v));
}

/** TLB entries of a range go: by range, or with the VMID where the CPU has no such operation or the range is large [TLB-11, TLB-36]. */
export function flush(v: Vm, gpa: u64, size: u64): void {
  if (v.flushLimit !== 0 && size >> v.ps > v.flushLimit) flushAll(v);
  else onRange(v, OP_TLB_FLUSH_RANGE, gpa, size, 0);
}

/** What this walker took away from any table nobody uses any more: whoever asked for it may go on [PROP-5]. The judge takes it at its word. */
export function promise(): void {
  record(J_PROMISE, 0, 0, 0, 0, 0);
}

/** Reads the leaf of `gpa` into the Answer. It changes nothing, and is not counted. */
export function look(v: Vm, gpa: u64): i32 {
  return operate(OP_GET_LEAF, v.table, 0, CACHE_NONE, gpa, 0, 0, 0, 0);
}
