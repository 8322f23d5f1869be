// The account of leaves. In the module of the VM this file is compiled in place of memory/leaves.ts: tables with reverse maps enter each
// leaf and strike it out; for all others these calls are one branch.

import { Table } from "../memory/layout";
import { awaitTaker, enterLeaf, strikeLeaf } from "../vm/rmap/account";

export const ACCOUNTS: bool = true;

export function isAccounted(t: Table): bool {
  return t.rmaps !== 0;
}

export function leafMade(t: Table, p: usize, leaf: u64, level: i32): void {
  if (t.rmaps !== 0) enterLeaf(t, p, leaf, level);
}

export function leafGone(t: Table, p: usize, old: u64, level: i32): void {
  if (t.rmaps !== 0) strikeLeaf(t, p, old, level);
}

export function awaitCounts(t: Table): bool {
  return awaitTaker(t);
}
