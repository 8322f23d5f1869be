// Repair of a table in which a walker died: reference counts are computed from the entries, and locked entries become holes.
// The next walker that has the table to itself does it before anything else (table/sharing.ts).

import { isCounted, isTable, isValid } from "../arch/descriptor";
import { ENTRY_BYTES, entries } from "../arch/granule";
import { read } from "../memory/cell";
import { forgetLinked } from "../memory/intent";
import { header, T_HYP, Table, Walker, walker, walkerAt } from "../memory/layout";
import { someWait } from "../memory/limbo";
import { tryWriteLock, writeUnlock } from "../memory/lock";
import { growthOf, rootOf } from "../memory/tables";
import { peek, publish } from "../memory/word";
import { clear } from "./bbm";
import { tableBelow } from "./down";
import { setReferences } from "./mmops";
import { close, openAs, Walk } from "./walk";

/** A walk that repairs. */
@unmanaged
class RepairWalk extends Walk {
  /** Slots that were locked. */
  unlocked: u32;
  /** Pages that are linked. */
  pages: u32;
}

/** Stage 1 counts valid entries, stage 2 annotations too [FMT-43]. */
export function holdsReference(w: Walk, old: u64): bool {
  return w.table.flags & T_HYP ? isValid(old) : isCounted(old, w.marker);
}

/**
 * Counts the references of the table page at `page`, whose entries are of `level`, and of all pages below it; locked entries become
 * holes. Pages that are linked here are removed from the hand of `dead`, if given. Precondition: nobody else is in them.
 */
function recount(w: Walk, page: usize, level: i32, dead: Walker): void {
  let n: i32 = 1;
  changetype<RepairWalk>(w).pages++;
  for (let p = page, end = page + ((<usize>entries(w.ps)) << 3); p !== end; p += ENTRY_BYTES) {
    const old = read(p, false);
    if (old === w.marker) {
      clear(w, p, old, level); // the next fault finds a hole
      changetype<RepairWalk>(w).unlocked++;
    } else if (holdsReference(w, old)) {
      n++;
      const table: usize = isTable(old, level) ? tableBelow(w.table, old) : 0;
      if (table === 0) continue;
      if (dead) forgetLinked(dead, table);
      recount(w, table, level + 1, dead);
    }
  }
  setReferences(w.table, page, n);
}

function doubtWord(t: Table): usize {
  return changetype<usize>(t) + offsetof<Table>("doubtful");
}

/** A walker died in `t`: the next walker that has it to itself repairs it first. */
export function doubt(t: Table): void {
  publish(doubtWord(t), 1);
}

export function isDoubtful(t: Table): bool {
  return peek(doubtWord(t)) !== 0;
}

/**
 * Repairs the tables below the start tables `root` of `t`; returns the number of slots that were locked. Precondition: this walker
 * has them to itself, or `dead` had.
 */
export function mend(t: Table, root: usize, dead: Walker): u32 {
  const w = openAs<RepairWalk>(t, 0);
  if (!w) return 0; // walks are nested too deep: the next walker does it
  publish(doubtWord(t), 0);
  w.unlocked = 0;
  w.pages = 0;
  for (let i: u32 = 0; i < t.rootPages; i++) recount(w, root + ((<usize>i) << t.ps), t.startLevel, dead);
  close();
  if (isWhole(t)) growthOf(t).pages = w.pages;
  else doubt(t); // its pages are counted once they are all linked or free
  return w.unlocked;
}

/**
 * Are all pages of `t` linked? In limbo there are none after the grace period of a teardown; another walker may have some in hand.
 * Precondition: this walker has the table to itself.
 */
function isWhole(t: Table): bool {
  for (let id: u32 = 0, n = header().maxWalkers; id < n; id++) {
    const w = walkerAt(id);
    if (id !== walker().id && w.owner === <u32>changetype<usize>(t) && (w.hand | w.giving | w.tree) !== 0) return false;
  }
  return rootOf(t) === 0 || !someWait();
}

/** Repairs `t`, which this walker has just locked for writing, if that is needed. A table that is being torn down is left to its destroyer. */
export function mendIfDoubtful(t: Table): void {
  const root = rootOf(t);
  if (root !== 0 && isDoubtful(t)) mend(t, root, changetype<Walker>(0));
}

/** The same, if nobody else is in the table at the moment. */
export function mendIfAlone(t: Table): void {
  if (!tryWriteLock(t)) return;
  mendIfDoubtful(t);
  writeUnlock(t);
}

/** Counts the references of the detached table at `table`, once named by an entry of `level`. Precondition: nobody else is in it. */
export function recountDetached(t: Table, table: usize, level: i32): void {
  const w = openAs<RepairWalk>(t, 0);
  if (!w) return;
  recount(w, table, level + 1, changetype<Walker>(0));
  close();
}
