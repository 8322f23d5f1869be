// What hardware does before it sets the dirty state of a page at stage 2. The MMU alone does nothing; in the module of the VM this file is
// replaced by sim/dirtied.ts, and there the page is written down [DBM-13].

import { Context } from "./context";

/** Writes the page of `addr` down, whose descriptor is of `level`. False if there is no room: then the descriptor must not change. */
export function noteDirtied(_c: Context, _addr: u64, _level: i32): bool {
  return true;
}
