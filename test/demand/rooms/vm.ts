// Breaks each rule of vm/ once. AssemblyScript, compiled by the test beside it: a function is named after the rule.

import { addEntry, countOf } from "../../../assembly/vm/rmap/chain";
import { Maps } from "../../../assembly/vm/rmap/maps";
import { FREED } from "../../../assembly/vm/rmap/pool";
import { find, KEY_BITS } from "../../../assembly/vm/sparse";

export function RULE_SPARSE_KEY(): void {
  find(64, 1 << KEY_BITS);
}

/** A chain whose descriptor says that it is free. */
export function RULE_DESCRIPTOR(): void {
  const head: usize = 4096,
    free: u32 = 8192;
  store<u32>(head, free | 1);
  store<u32>(free, FREED);
  countOf(load<u32>(head));
}

export function RULE_ENTRY(): void {
  addEntry(changetype<Maps>(16384), 4096, 3);
}
