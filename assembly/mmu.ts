// The exports of the hardware's walker: a module of its own, on the memory that the engine has too.
// Pointers are checked here. Statuses are 0 or a negative errno.

import { EINVAL } from "./memory/errno";
import { isInMemory } from "./memory/physical";
import { configure } from "./mmu/configure";
import { CONTEXT_BYTES, contextAt, isUsable } from "./mmu/context";
import { translateMany } from "./mmu/straight";
import { RESULT_BYTES, ROW_BYTES, translate } from "./mmu/translate";

/** Decodes the registers of the context at `context`; see mmu/context.ts for its bytes. */
export function mmuConfigure(context: u32): i32 {
  return isInMemory(context, CONTEXT_BYTES) ? configure(context) : EINVAL;
}

function isContext(p: u32): bool {
  return isInMemory(p, CONTEXT_BYTES) && isUsable(contextAt(p));
}

/** Translates one access; the record at `out`. 0, 1 for a fault, EINVAL for pointers that cannot be. */
export function mmuTranslate(context: u32, lo: u32, hi: u32, access: u32, out: u32): i32 {
  if (!isContext(context) || !isInMemory(out, RESULT_BYTES)) return EINVAL;
  return translate(contextAt(context), ((<u64>hi) << 32) | lo, access, out);
}

/** Translates `n` accesses of one kind: a column of u64, rows of 16 bytes. How many were faults, or EINVAL. */
export function mmuTranslateMany(context: u32, addrs: u32, rows: u32, n: u32, access: u32): i32 {
  if (!isContext(context) || n > <u32>i32.MAX_VALUE) return EINVAL;
  if (!isInMemory(addrs, (<u64>n) << 3) || !isInMemory(rows, <u64>n * ROW_BYTES)) return EINVAL;
  // A row in the context would change the rules on the way.
  if (<u64>rows + <u64>n * ROW_BYTES > context && rows < context + CONTEXT_BYTES) return EINVAL;
  return <i32>translateMany(contextAt(context), addrs, rows, n, access);
}
