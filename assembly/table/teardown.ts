// Freeing subtrees and whole tables [S2-27, S2-28].

import { isCounted, isTable, isValid } from "../arch/descriptor";
import { ENTRY_BYTES, entries, LAST_LEVEL, shift } from "../arch/granule";
import { countMapped, read } from "../memory/cell";
import { EBUSY, EFAULT, EINVAL, OK } from "../memory/errno";
import { T_HYP, Table, virtToPhys, Walk } from "../memory/layout";
import { J_TABLE_GONE, record } from "../record/journal";
import { warn } from "../record/maintenance";
import { clear, pageOf } from "./bbm";
import { Child, deferUnlinked, freePagesExact, pageCount, putPages } from "./mmops";
import { advance, close, LEAF, open, rows, TABLE_POST, Visitor, walk } from "./walk";

/** Stage 1 counts valid entries, stage 2 annotations too [FMT-43]. */
function holdsReference(w: Walk, old: u64): bool {
  return w.table.flags & T_HYP ? isValid(old) : isCounted(old, w.marker);
}

/**
 * Drops the reference of every counted entry, and the tables with them; nothing is flushed. As it is, slots keep what they
 * held: the whole table goes. With w.clear every slot is emptied and a table stays while something is left in it, so
 * that the teardown may stop anywhere [BUG-33].
 */
@final
@unmanaged
class FreeVisitor extends Visitor {
  @inline phases(): u32 {
    return LEAF | TABLE_POST;
  }

  run(w: Walk, p: usize, end: usize, level: i32): usize {
    const first = p;
    let n: u32 = 0;
    const mapped = level === LAST_LEVEL && !w.clear ? countMapped(p, end) : -1;
    if (mapped >= 0) {
      n = mapped;
      w.addr += (<u64>((end - p) >> 3)) << shift(w.ps, level);
      p = end;
    }
    while (p !== end) {
      const old = read(p, false);
      if (isTable(old, level)) break;
      if (holdsReference(w, old)) {
        if (w.clear) clear(w, p, old, level);
        n++;
      }
      advance(w, level);
      p += ENTRY_BYTES;
    }
    putPages(w.table, pageOf(w, first), n, false);
    return p;
  }

  @inline pre(_w: Walk, _p: usize, _old: u64, _level: i32): i32 {
    return OK;
  }

  post(w: Walk, p: usize, old: u64, level: i32, _addr: u64): i32 {
    const table = Child.table(w.table, old);
    if (!table) return EFAULT;
    if (w.clear) {
      if (pageCount(w.table, table) !== 1) return OK;
      clear(w, p, old, level);
    }
    putPages(w.table, pageOf(w, p), 1, false);
    putPages(w.table, table, 1, false);
    return OK;
  }
}

/** Opens a walk of a detached table of `level`, input addresses from 0. */
export function openSubtree(t: Table, flags: u32, level: i32): Walk {
  const w = open(t, flags);
  if (!w) return w;
  w.clear = 0;
  w.start = 0;
  w.addr = 0;
  w.end = (<u64>1) << shift(t.ps, level - 1);
  return w;
}

/** Tears down and frees the detached table at `table`, once named by an entry of `level` [S2-28]. */
export function releaseSubtree(t: Table, table: usize, level: i32): i32 {
  const w = openSubtree(t, LEAF | TABLE_POST, level + 1);
  if (!w) return EBUSY;
  if (rows<FreeVisitor>(w, table, entries(t.ps), level + 1)) warn(t, level, 0);
  close();
  if (pageCount(t, table) !== 1) warn(t, level, 0);
  putPages(t, table, 1, false);
  return OK;
}

/** Frees the subtree that table descriptor `old` of `level` names, at once or when the host says so [LCK-10, LCK-13]. */
export function freeUnlinked(t: Table, old: u64, level: i32): i32 {
  const table = Child.table(t, old);
  if (!table) return EFAULT;
  return deferUnlinked(t, table, level) ? OK : releaseSubtree(t, table, level);
}

function noteGone(t: Table): void {
  record(J_TABLE_GONE, changetype<usize>(t), t.startLevel, virtToPhys(t.root), 0, 0);
}

/** Frees everything; the handle stays, without a root, until `release` [S2-27, S1-7]. Twice is harmless. */
export function destroy(t: Table): i32 {
  if (!t.root) return OK;
  const w = open(t, LEAF | TABLE_POST);
  if (!w) return EBUSY;
  noteGone(t);
  w.clear = 0;
  const r = walk<FreeVisitor>(w, 0, (<u64>1) << t.inputBits);
  close();
  if (r) warn(t, 0, 0);
  freePagesExact(t, t.root, t.rootPages);
  t.root = 0;
  return OK;
}

/** Teardown in pieces, so that it can yield: empties the range, frees the tables that become empty [S2-27]. */
export function destroyRange(t: Table, addr: u64, size: u64): i32 {
  const w = open(t, LEAF | TABLE_POST);
  if (!w) return EBUSY;
  if (t.root) noteGone(t);
  w.clear = 1;
  const r = walk<FreeVisitor>(w, addr, size);
  close();
  return r;
}

/** Gives the handle back; only after `destroy`. */
export function release(t: Table): i32 {
  if (t.root) return EINVAL;
  t.used = 0;
  return OK;
}
