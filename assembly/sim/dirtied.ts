// FEAT_HDBSS at work: in the module of the VM this file is compiled in place of mmu/dirtied.ts.

import { Context } from "../mmu/context";
import { append } from "../record/hdbss";

/** Writes the page of `addr` down in the log of the CPU, if it has one. False if there is no room. */
export function noteDirtied(c: Context, addr: u64, level: i32): bool {
  return c.hdbss === 0 || append(c.hdbss, addr, level);
}
