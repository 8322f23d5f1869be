// Write protection of what logs, and blocks that are split beside it.

import { OP_WRPROTECT } from "../../table/submit";
import { flush, onBlocks, onChunks } from "../operate";
import { flushOthers, protectThrough } from "../rmap/ranges";
import { Slot, Vm } from "../state";
import { HARVEST_STOP, sweep } from "./dbm";

/** A range of more chunks is split in one operation. */
const MAX_CHUNKS: u64 = 1 << 12;

/** Removes write permission from a range of a slot, and DBM where descriptors may have it [DBM-6]. The caller flushes. */
function protectRange(v: Vm, s: Slot, gpa: u64, size: u64): void {
  v.protects++;
  if (v.rmaps !== 0) protectThrough(v, gpa, size);
  if (v.hadHardware !== 0) sweep(v, s, gpa, size, HARVEST_STOP);
  else if (v.rmaps === 0) onChunks(v, OP_WRPROTECT, gpa, size, true);
}

/** Flushes a range, and where other addresses map it. */
export function flushRange(v: Vm, gpa: u64, size: u64): void {
  flush(v, gpa, size);
  if (v.rmaps !== 0) flushOthers(v, gpa, size);
}

/** Removes write permission and flushes [DLG-10, TLB-26]. */
export function protect(v: Vm, s: Slot, gpa: u64, size: u64): void {
  protectRange(v, s, gpa, size);
  flushRange(v, gpa, size);
}

/** Removes write permission of `pages` pages of a slot from page `first`. The caller flushes. */
export function protectPages(v: Vm, s: Slot, first: u32, pages: u32): void {
  protectRange(v, s, s.gpa + ((<u64>first) << v.ps), (<u64>pages) << v.ps);
}

/** Splits blocks chunk by chunk, if eager splitting is on [DLG-32]. A failure fails nothing [DLG-33]. */
export function splitEagerly(v: Vm, gpa: u64, size: u64): void {
  if (v.eagerSplit === 0) return;
  const chunk = size / v.eagerSplit > MAX_CHUNKS ? size : v.eagerSplit,
    end = gpa + size;
  for (let at = gpa; at < end; ) {
    const next = min(at - (at % chunk) + chunk, end);
    onBlocks(v, at, next - at);
    at = next;
  }
}
