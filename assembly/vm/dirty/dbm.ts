// Dirty state by the hardware: DBM of stage-2 pages [DBM-1..12].
//
//             W  DBM
//   dirty     1   -    the guest has stored here since it was last clean, or may have
//   clean     0   1    the next store makes it dirty, without a fault: hardware sets W [HWM-22]
//   no store  0   0    a store faults: blocks, pages that nobody has stored to yet, pages that are read-only for another reason
//
// Only pages are made clean; blocks fault and are split, as without DBM. Software changes a leaf by a compare-exchange and
// decides by the value that the exchange replaced: a snapshot may be older than the hardware's store [DBM-8]. A page is marked
// before its entry is changed, so no state in between has lost it; whatever takes DBM away hands the dirty state on.

import { DBM, isValid } from "../../arch/descriptor";
import { LAST_LEVEL, span } from "../../arch/granule";
import { S2_W } from "../../arch/stage2";
import { read } from "../../memory/cell";
import { EBUSY, ENOMEM, OK } from "../../memory/errno";
import { put } from "../../table/bbm";
import { begin, end, modeOf, SHARES_TABLE } from "../../table/sharing";
import { close, EntryWalk, LEAF, OneByOne, openAs, Walk, walk } from "../../table/walk";
import { flush } from "../operate";
import { agent, Slot, tableOf, Vm } from "../state";
import { mark } from "./bitmap";

// What a harvest is for.
/** Dirty pages go to the log and become clean. */
export const HARVEST_COLLECT: u32 = 0;
/** Logging begins: dirty pages become clean, and what was stored before is nobody's concern. */
export const HARVEST_BEGIN: u32 = 1;
/** Dirty pages go to the log, and DBM goes too: afterwards hardware changes nothing. */
export const HARVEST_FREEZE: u32 = 2;
/** W and DBM go: from here on software alone notices stores. What was stored before is nobody's concern. */
export const HARVEST_STOP: u32 = 3;

@unmanaged
class HarvestWalk extends EntryWalk {
  memory: Slot;
  /** HARVEST_* */
  purpose: u32;
  /** Was an entry changed? */
  changed: bool;
}

/** Marks the pages of the entry at the walk's address, as far as they lie in the slot; false when memory is spent. */
function markEntry(w: HarvestWalk, level: i32): bool {
  const s = w.memory,
    bytes = span(w.ps, level),
    start = max(w.addr & ~(bytes - 1), s.gpa),
    stop = min((w.addr & ~(bytes - 1)) + bytes, s.gpa + s.size),
    last = <u32>((stop - s.gpa) >> w.ps);
  for (let page = <u32>((start - s.gpa) >> w.ps); page < last; page++) if (!mark(s, page)) return false;
  return true;
}

/** Do dirty pages go to the log? */
function marks(purpose: u32): bool {
  return purpose === HARVEST_COLLECT || purpose === HARVEST_FREEZE;
}

/** What a leaf becomes. */
function cleaned(w: HarvestWalk, old: u64, level: i32): u64 {
  if (w.purpose >= HARVEST_FREEZE) return old & ~(S2_W | DBM);
  if (!(old & S2_W)) return old;
  return level === LAST_LEVEL ? (old & ~S2_W) | DBM : old & ~S2_W;
}

/** Marks dirty leaves and makes them clean. Precondition: the walk is a HarvestWalk and has the table to itself. */
@final
@unmanaged
class HarvestVisitor extends OneByOne {
  leaf(walk: Walk, p: usize, old: u64, level: i32): i32 {
    const w = changetype<HarvestWalk>(walk);
    while (isValid(old)) {
      const next = cleaned(w, old, level);
      if (next === old) return OK;
      if (old & S2_W && marks(w.purpose) && !markEntry(w, level)) return ENOMEM;
      if (put(w, p, old, next, level)) {
        w.changed = true;
        return OK;
      }
      old = read(p, true); // the hardware was faster: decide anew, by what is there now
    }
    return OK;
  }
}

/**
 * Makes the pages of [gpa, gpa + size) of a slot clean, as `purpose` says, and flushes: afterwards a store is either in the log
 * or makes its page dirty again. 0, ENOMEM (the rest stays as it is), EBUSY, or an
 * errno of the table's lock.
 */
export function harvest(v: Vm, s: Slot, gpa: u64, size: u64, purpose: u32): i32 {
  const r = sweep(v, s, gpa, size, purpose);
  if (agent(v).status !== 0) flush(v, gpa, size);
  return r;
}

/** `harvest` without its flush, which the caller makes up for. In this walker's Agent: status 1 if there is something to flush. */
export function sweep(v: Vm, s: Slot, gpa: u64, size: u64, purpose: u32): i32 {
  const t = tableOf(v),
    mode = modeOf(t, SHARES_TABLE, 0),
    bad = begin(t, mode);
  agent(v).status = 0;
  if (bad) return bad;
  const w = openAs<HarvestWalk>(t, LEAF);
  let r: i32 = EBUSY,
    changed: bool = false;
  if (w) {
    w.memory = s;
    w.purpose = purpose;
    w.changed = false;
    r = walk<HarvestVisitor>(w, gpa, size);
    changed = w.changed;
    close();
  }
  end(t, mode);
  agent(v).status = changed ? 1 : 0;
  return r;
}
