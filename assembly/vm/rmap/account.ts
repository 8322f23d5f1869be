// The account of the leaves of all tables that have reverse maps: one entry for each leaf, while it is there [RMAP-9].
//
// A leaf is entered before its slot holds it, and struck out while the slot is the walker's who took it, so what happens to one slot
// happens in order. The page that it maps follows from its output address [RMAP-10].

import { isTable, isValid } from "../../arch/descriptor";
import { Table } from "../../memory/layout";
import { syncAny } from "./hazard";
import {
  doubtMemory,
  findHead,
  firstMemory,
  gpaOf,
  indexOf,
  isInvalid,
  Maps,
  Memory,
  makeHead,
  mapsAt,
  memoryFrom,
  QUIRK_CURRENT_SLOTS,
  QUIRK_SKIPS_ABSENT,
} from "./maps";
import { Invalid, Normal } from "./operations";

/** The slot at `p` is about to hold `leaf`. */
export function enterLeaf(t: Table, p: usize, leaf: u64, level: i32): void {
  const r = mapsAt(t.rmaps),
    gpa = gpaOf(r, leaf),
    m = memoryFrom(firstMemory(r), gpa);
  if (!m) return; // not the memory of a slot
  if (isInvalid(m)) return changetype<Invalid>(0).add(r, m, 0, <u32>p, level, 0);
  const head = makeHead(r, m, level, gpa);
  if (head === 0) doubtMemory(m);
  else changetype<Normal>(0).add(r, m, head, <u32>p, level, <u32>indexOf(r, m, level, gpa));
}

/** The slot at `p` held `old`, which may be anything. It has one entry: in the slot in use, or in one that is on its way out. */
export function strikeLeaf(t: Table, p: usize, old: u64, level: i32): void {
  if (!isValid(old) || isTable(old, level)) return;
  const r = mapsAt(t.rmaps),
    gpa = gpaOf(r, old);
  for (let m = memoryFrom(firstMemory(r), gpa); m; m = memoryFrom(m.next, gpa)) strikeFrom(r, m, <u32>p, level, gpa);
}

function strikeFrom(r: Maps, m: Memory, p: u32, level: i32, gpa: u64): void {
  const head = findHead(r, m, level, gpa);
  if (head === 0) return;
  if (!isInvalid(m)) changetype<Normal>(0).remove(r, head, p);
  else if (!(r.quirks & QUIRK_CURRENT_SLOTS)) changetype<Invalid>(0).remove(r, head, p);
}

/** Entries of a table page are gone, and still counted: whoever took them is about to count. False if it makes no progress. */
export function awaitTaker(t: Table): bool {
  const r = mapsAt(t.rmaps);
  return <bool>(r.quirks & QUIRK_SKIPS_ABSENT) || syncAny(r);
}
