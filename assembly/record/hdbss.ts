// The hardware's log of dirty pages in memory: one CPU's MMU appends, the hypervisor takes everything out when that CPU has left the
// guest. Both are the thread that runs the vCPU, so accesses are plain.

import { hdbssEntry } from "../arch/hdbss";
import { write } from "../memory/cell";
import { isInMemory } from "../memory/physical";

/** HDBSSBR_EL2.SZ as a number of entries, and HDBSSPROD_EL2.INDEX; entries of 8 bytes follow. */
@unmanaged
export class Hdbss {
  entries: u32;
  index: u32;
}

const ENTRY_SHIFT: u32 = 3;
export const HDBSS_BYTES: u32 = <u32>offsetof<Hdbss>();

export function hdbssAt(p: u32): Hdbss {
  return changetype<Hdbss>(p);
}

/** Where entry `i` is. */
export function entryOf(p: u32, i: u32): usize {
  return p + HDBSS_BYTES + (i << ENTRY_SHIFT);
}

/** Appends an entry; false if there is no room. `p` may hold anything: what is not in memory has no room. */
export function append(p: u32, ipa: u64, level: i32): bool {
  if (!isInMemory(p, HDBSS_BYTES)) return false;
  const log = hdbssAt(p),
    i = log.index;
  if (i >= log.entries || !isInMemory(p, HDBSS_BYTES + ((<u64>i + 1) << ENTRY_SHIFT))) return false;
  write(entryOf(p, i), hdbssEntry(ipa, level));
  log.index = i + 1;
  return true;
}
