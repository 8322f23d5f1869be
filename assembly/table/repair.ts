// After a walker that died: what it held is let go, what it left half done is undone where that can be.

import { ENTRY_BYTES, entries, pageBytes, UNIT_SHIFT } from "../arch/granule";
import { giveOwn } from "../memory/cache";
import { read } from "../memory/cell";
import { expel, slotOfWalker } from "../memory/epoch";
import { EBUSY, EFAULT, OK } from "../memory/errno";
import { addReferences, giveFrames, references } from "../memory/frames";
import { header, isArenaPage, limbo, orderLock, pool, T_HYP, Table, tableOfIndex, walkerAt } from "../memory/layout";
import { forget, MODE_EXCLUSIVE } from "../memory/lock";
import { wrest } from "../memory/spin";
import { J_BURIED, record } from "../record/journal";
import { flushVmid } from "../record/maintenance";
import { result } from "../record/result";
import { clear } from "./bbm";
import { tableBelow } from "./down";
import { begin, end as finish } from "./sharing";
import { close, FROM_ROOT, LEAF, openAs, TABLE_POST, Visitor, Walk, walk } from "./walk";

/** What a walker held when it died. */
@view()
@unmanaged
export class Burial {
  /** Was it in a read section? */
  inSection: u32;
  /** Tables that it held for writing. */
  wroteTables: u32;
  /** Locks of the core that it held; the lists that they guard may be torn. */
  coreLocks: u32;
  /** Descriptors that it had locked: holes now. */
  unlocked: u32;
}

/**
 * Walker `id` does not run any more: ends its section, lets go of its locks, gives back its caches and its place, and repairs
 * the tables whose locks it held. Answers a Burial. Its first errno if a table could not be repaired.
 */
export function bury(id: u32): i32 {
  const w = walkerAt(id),
    holder = id + 1,
    read = <u32>(slotOfWalker(id) >> 32),
    section = expel(id);
  const locks =
    wrest(changetype<usize>(pool()), holder) + wrest(changetype<usize>(limbo()), holder) + wrest(orderLock(), holder);
  w.sections = 0;
  w.writing = 0;
  w.depth = 0;
  record(J_BURIED, 0, 0, 0, id, 0);
  giveOwn(id);
  if (isArenaPage(w.block0, UNIT_SHIFT)) giveFrames(w.block0);
  if (isArenaPage(w.block1, UNIT_SHIFT)) giveFrames(w.block1);
  w.block0 = 0;
  w.block1 = 0;
  let tables: u32 = 0,
    unlocked: u32 = 0,
    bad: i32 = OK;
  for (let i: u32 = 0; i < header().maxTables; i++) {
    const t = tableOfIndex(i),
      wrote = forget(t, holder);
    if (wrote) tables++;
    if (!wrote && <u32>changetype<usize>(t) !== read) continue;
    const swept = sweep(t);
    if (swept > 0) unlocked += swept;
    else if (bad === OK) bad = swept;
  }
  w.attached = 0;
  const r = result<Burial>();
  r.inSection = section ? 1 : 0;
  r.wroteTables = tables;
  r.coreLocks = locks;
  r.unlocked = unlocked;
  return bad;
}

/** References are what is there: a walker may die between a descriptor and its reference, or the other way round. */
function recount(p: usize, bytes: u32): void {
  let n: i32 = 1;
  for (let at = p; at < p + bytes; at += ENTRY_BYTES) if (read(at, false) !== 0) n++;
  addReferences(p, n - references(p));
}

/** A walk that unlocks. */
@unmanaged
class SweepWalk extends Walk {
  /** Slots that a dead walker had taken. */
  unlocked: u32;
}

@final
@unmanaged
class SweepVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_POST | FROM_ROOT;
  }

  @inline bulk(_w: Walk, p: usize, _end: usize, _level: i32): usize {
    return p;
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  post(w: Walk, _p: usize, old: u64, _level: i32, _addr: u64): i32 {
    const table = tableBelow(w.table, old);
    if (!table) return EFAULT;
    recount(table, entries(w.ps) * <u32>ENTRY_BYTES);
    return OK;
  }

  leaf(w: Walk, p: usize, old: u64, level: i32): i32 {
    if (old !== w.marker) return OK;
    clear(w, p, old, level); // not counted: the next fault finds a hole
    changetype<SweepWalk>(w).unlocked++;
    return OK;
  }
}

/** Makes holes of the slots that a dead walker took and never made [S2-24], and counts references anew; how many slots, or an errno. */
export function sweep(t: Table): i32 {
  if (t.flags & T_HYP || !t.root) return OK;
  const bad = begin(t, MODE_EXCLUSIVE);
  if (bad) return bad;
  const w = openAs<SweepWalk>(t, LEAF | TABLE_POST);
  let r = EBUSY;
  if (w) {
    w.unlocked = 0;
    r = walk<SweepVisitor>(w, 0, (<u64>1) << t.inputBits);
    if (r === OK) r = <i32>w.unlocked;
    if (w.unlocked) flushVmid(t); // it may have died before its own flush
    close();
  }
  const page = pageBytes(t.ps);
  for (let i: u32 = 0; i < t.rootPages; i++) recount(t.root + i * page, page);
  finish(t, MODE_EXCLUSIVE);
  return r;
}
