// What the VM does to its table, and how often with which outcome.

import { CACHE_ARENA, CACHE_NONE } from "../memory/cache";
import { EAGAIN, EFAULT, EINVAL, ENOMEM, ERANGE, ETIMEDOUT } from "../memory/errno";
import { OP_GET_LEAF, OP_SPLIT, operate } from "../table/submit";
import { enterMaps, leaveMaps } from "./rmap/maps";
import { countOf, Vm } from "./state";

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

/** Reads the leaf of `gpa` into the Answer. It changes nothing, and is not counted. */
export function look(v: Vm, gpa: u64): i32 {
  return operate(OP_GET_LEAF, v.table, 0, CACHE_NONE, gpa, 0, 0, 0, 0);
}
