// Breaks each rule of table/ once. AssemblyScript, compiled by the test beside it: a function is named after the rule.

import { TABLE, VALID } from "../../../assembly/arch/descriptor";
import { PS_4K } from "../../../assembly/arch/granule";
import { initFrames } from "../../../assembly/memory/frames";
import { ARENA_ALIGN, attach, layOut, Table, walker } from "../../../assembly/memory/layout";
import { tableAt } from "../../../assembly/memory/tables";
import { clear, make, put } from "../../../assembly/table/bbm";
import { createHyp } from "../../../assembly/table/config";
import { descend } from "../../../assembly/table/down";
import { MapVisitor, openMap } from "../../../assembly/table/map";
import { Alone, MapWalk, Place, placeRun } from "../../../assembly/table/place";
import { submit } from "../../../assembly/table/submit";
import { close, open, rows, SHARED, skip, Walk, walkOpened } from "../../../assembly/table/walk";

const LEVEL: i32 = 3;
const INPUT_BITS: u32 = 39;
const TABLES: u32 = 64;

/** A table of an engine that is laid out here. */
function table(): Table {
  if (layOut((memory.size() << 16) - ARENA_ALIGN, ARENA_ALIGN, 0, TABLES, 1, 0) === 0) {
    initFrames();
    attach(0, false);
  }
  walker().depth = 0; // whoever broke a rule before left a walk open
  return tableAt(createHyp(PS_4K, INPUT_BITS, 0, 0));
}

function shared(): Walk {
  return open(table(), SHARED);
}

function alone(): MapWalk {
  return openMap(table(), 0);
}

export function RULE_WALK_RANGE(): void {
  const w = alone();
  w.addr = 0;
  w.end = 0;
  walkOpened<MapVisitor>(w);
}

export function RULE_WALK_STACK(): void {
  alone();
  for (let i = 0; i < 64; i++) close();
}

export function RULE_WHOLE_TABLE(): void {
  const w = alone();
  w.addr = 0;
  w.end = 1 << PS_4K;
  rows<MapVisitor>(w, w.table.root, 3, LEVEL);
}

export function RULE_RUN(): void {
  const w = alone();
  skip(w, w.table.root, w.table.root + 4, LEVEL);
}

export function RULE_INPUT_ADDRESS(): void {
  descend(table(), (<u64>1) << INPUT_BITS, PS_4K, false);
}

export function RULE_SLOT(): void {
  put(alone(), 8, 0, 0, LEVEL);
}

export function RULE_NO_MARKER(): void {
  const w = alone();
  make(w, w.table.root, w.marker, LEVEL);
}

export function RULE_EXCLUSIVE(): void {
  const w = shared();
  clear(w, w.table.root, VALID, LEVEL);
}

export function RULE_HOLE(): void {
  const w = alone();
  Place.leaf<Alone>(w, w.table.root, VALID, VALID, 0, LEVEL);
}

export function RULE_UNWATCHED(): void {
  const w = alone();
  w.bulk = false;
  placeRun(w, w.table.root, w.table.root + 8, LEVEL);
}

export function RULE_TABLE_DESCRIPTOR(): void {
  const w = alone();
  changetype<MapVisitor>(0).leaf(w, w.table.root, TABLE, 1);
}

export function RULE_COLUMN(): void {
  table();
  submit(8, 1, false);
}
