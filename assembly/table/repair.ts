// After a walker that died: what it held is let go, what it left half done is undone where that can be.

import { isTable } from "../arch/descriptor";
import { ENTRY_BYTES } from "../arch/granule";
import { giveOwn } from "../memory/cache";
import { read, write } from "../memory/cell";
import { expel } from "../memory/epoch";
import { EBUSY, OK } from "../memory/errno";
import {
  header,
  limbo,
  orderLock,
  pool,
  setResult,
  T_HYP,
  Table,
  tableOfIndex,
  Walk,
  walkerAt,
} from "../memory/layout";
import { forget, MODE_EXCLUSIVE } from "../memory/lock";
import { wrest } from "../memory/spin";
import { begin, end as finish } from "./sharing";
import { advance, close, LEAF, LeafOnly, open, walk } from "./walk";

/**
 * Walker `id` does not run any more: ends its section, lets go of its locks, gives back its caches and its place.
 * Results 0..2: was it in a section; tables it held for writing; locks of the core, whose lists may be torn.
 */
export function bury(id: u32): i32 {
  const w = walkerAt(id),
    holder = id + 1,
    section = expel(id);
  let tables: u64 = 0;
  for (let i: u32 = 0; i < header().maxTables; i++) if (forget(tableOfIndex(i), holder)) tables++;
  const locks =
    wrest(changetype<usize>(pool()), holder) + wrest(changetype<usize>(limbo()), holder) + wrest(orderLock(), holder);
  w.sections = 0;
  w.writing = 0;
  w.depth = 0;
  giveOwn(id);
  w.attached = 0;
  setResult(0, section ? 1 : 0);
  setResult(1, tables);
  setResult(2, locks);
  return OK;
}

@final
@unmanaged
class SweepVisitor extends LeafOnly {
  run(w: Walk, p: usize, end: usize, level: i32): usize {
    while (p !== end) {
      const old = read(p, false);
      if (isTable(old, level)) return p;
      if (old === w.marker) {
        write(p, 0); // not counted, and nothing is cached of it: the next fault finds a hole
        w.tally++;
      }
      advance(w, level);
      p += ENTRY_BYTES;
    }
    return p;
  }
}

/** Makes holes of the slots that a dead walker took and never made [S2-24]; how many, in result 0. */
export function sweep(t: Table): i32 {
  setResult(0, 0);
  if (t.flags & T_HYP || !t.root) return OK;
  const bad = begin(t, MODE_EXCLUSIVE);
  if (bad) return bad;
  const w = open(t, LEAF);
  let r = EBUSY;
  if (w) {
    w.tally = 0;
    r = walk<SweepVisitor>(w, 0, (<u64>1) << t.inputBits);
    setResult(0, w.tally);
    close();
  }
  finish(t, MODE_EXCLUSIVE);
  return r;
}
