// Who keeps account of the leaves of a table. In the engine nobody does: ACCOUNTS is false, and what asks for it is not compiled. The
// module of the VM is compiled with vm/leaves.ts in place of this file, and there a table may have reverse maps, which know every
// leaf [RMAP-9].

import { Table } from "./layout";

/** Does this module keep account of leaves? */
export const ACCOUNTS: bool = false;

/**
 * Is every leaf of `t` accounted for here? Then leaves come and go one by one, through break and make, and may be taken without the
 * table's lock, by an exchange.
 */
export function isAccounted(_t: Table): bool {
  return false;
}

/** The slot at `p`, which this walker has, is about to hold a leaf of `level`. */
export function leafMade(_t: Table, _p: usize, _leaf: u64, _level: i32): void {}

/** The slot at `p` held `old`, and this walker has just taken it out. `old` may be anything. */
export function leafGone(_t: Table, _p: usize, _old: u64, _level: i32): void {}

/** The table page at `p` is about to be freed, and entries are still counted in it that are gone: whoever took them counts first. False if it makes no progress: then the page must stay. */
export function awaitCounts(_t: Table): bool {
  return true;
}
