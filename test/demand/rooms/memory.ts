// Breaks each rule of memory/ once. AssemblyScript, compiled by the test beside it: a function is named after the rule.

import { PS_4K } from "../../../assembly/arch/granule";
import { topUp } from "../../../assembly/memory/cache";
import { leave } from "../../../assembly/memory/epoch";
import { initFrames, references, takeFrames } from "../../../assembly/memory/frames";
import { ARENA_ALIGN, attach, layOut, ORDERS, pool, Table } from "../../../assembly/memory/layout";
import { writeUnlock } from "../../../assembly/memory/lock";
import { relinquish } from "../../../assembly/memory/spin";
import { tableAt, tableIndex } from "../../../assembly/memory/tables";
import { createHyp } from "../../../assembly/table/config";

const INPUT_BITS: u32 = 39;
const TABLES: u32 = 64;

/** A table of an engine for two walkers that is laid out here. */
function table(): Table {
  if (layOut((memory.size() << 16) - ARENA_ALIGN, ARENA_ALIGN, 0, TABLES, 2, 0) === 0) {
    initFrames();
    attach(0, false);
  }
  return tableAt(createHyp(PS_4K, INPUT_BITS, 0, 0));
}

export function RULE_ORDER(): void {
  table();
  takeFrames(ORDERS);
}

export function RULE_COUNTED_PAGE(): void {
  table();
  references(8);
}

export function RULE_IN_SECTION(): void {
  table();
  leave();
}

export function RULE_WRITER(): void {
  writeUnlock(table());
}

export function RULE_SPIN(): void {
  table();
  relinquish(changetype<usize>(pool()));
}

export function RULE_TABLE_RECORD(): void {
  tableIndex(changetype<usize>(table()) + 1);
}

export function RULE_CACHE(): void {
  table();
  topUp(0, 1);
}
