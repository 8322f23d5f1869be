// Dirty logging by the hardware's own log (FEAT_HDBSS): pages are clean or dirty as with DBM, and the MMU writes down each page that it
// makes dirty. So a read of the log looks at those pages alone, and not at the whole table [DBM-13].
//
// A page that hardware may change is dirty only if its bit is in the bitmap, or its entry in the log of a vCPU. The vCPU's thread moves its
// entries into the bitmap whenever it leaves the guest: then nothing is in its log that anybody else waits for. A reader first makes all
// vCPUs leave, then takes bits, then makes their pages clean, then flushes.

import { UNIT_BYTES } from "../../arch/granule";
import { hdbssIpa, isHdbssEntry } from "../../arch/hdbss";
import { read, write } from "../../memory/cell";
import { giveFrames, takeFrames } from "../../memory/frames";
import { handOver } from "../../memory/intent";
import { ORDERS } from "../../memory/layout";
import { entryOf, HDBSS_BYTES, hdbssAt } from "../../record/hdbss";
import { beginReading, endReading, findSlot } from "../slots";
import { agent, SLOT_LOGS, Vm } from "../state";
import { mark } from "./bitmap";

/** Entries at most: 2 MiB of them, SZ 9. */
export const MAX_HDBSS: u32 = 1 << 18;

/** A log of `entries`; 0 when memory is spent, or for a number that cannot be. */
export function createHdbss(entries: u32): u32 {
  if (entries === 0 || entries > MAX_HDBSS) return 0;
  let order: u32 = 0;
  while (order < ORDERS && (<u64>UNIT_BYTES) << order < HDBSS_BYTES + ((<u64>entries) << 3)) order++;
  if (order >= ORDERS) return 0;
  const p = <u32>takeFrames(order);
  if (p === 0) return 0;
  hdbssAt(p).entries = entries;
  handOver();
  return p;
}

export function discardHdbss(p: u32): void {
  giveFrames(p);
}

/**
 * The vCPU has left the guest: the pages in its log are marked. Pages of no slot that logs are nobody's concern. An entry that cannot
 * be marked, since memory is spent, stays. Precondition: this walker runs the vCPU, and reads no slots.
 */
export function drain(v: Vm, p: u32): void {
  const log = hdbssAt(p),
    n = min(log.index, log.entries);
  if (n === 0) return;
  const a = agent(v);
  let kept: u32 = 0;
  beginReading(a);
  for (let i: u32 = 0; i < n; i++) {
    const entry = read(entryOf(p, i), false),
      ipa = hdbssIpa(entry);
    if (!isHdbssEntry(entry)) continue;
    const s = findSlot(v, ipa);
    if (!s || !(s.flags & SLOT_LOGS)) continue;
    if (mark(s, <u32>((ipa - s.gpa) >> v.ps))) a.marks++;
    else write(entryOf(p, kept++), entry);
  }
  endReading(a);
  log.index = kept;
}
