// What TLB entries are tagged with: a VMID, or an ASID of EL2. A tag remembers whose translations each CPU may hold
// under it, since when, and what was flushed; whoever takes the tag next must not meet them [VMID-1..10, HWM-43].

import { demand, RULE_JUDGED_TAG } from "../demand";
import { cpu } from "./cpu";
import { R_FILLED, Root, rootPointer } from "./root";
import { MAX_CPUS, state, tagSlot, take } from "./state";

@unmanaged
export class Tag {
  /** The root that has it; 0 for none. */
  root: u32;
  /** `serial` of the root that had it last, and its `changes` then. */
  last: u32;
  changes: u32;
  /** That root had translations to flush then. */
  owed: bool;
  stage1: bool;
  /** Issue time of the last complete flush, by any CPU and of all CPUs. */
  flushed: u64;
  // a Holding for each CPU follows at 32
}

/** What one CPU may hold under a tag. */
@unmanaged
export class Holding {
  /** `serial` of the root; 0 for none. */
  serial: u32;
  /** Since when it did nothing but barriers, TLBIs and register writes before it left: its own flush may lie there. */
  quiet: u64;
  /** When it left. */
  left: u64;
  /** Issue time of its own last complete flush. */
  own: u64;
}

const HEADER: u32 = 32;
const HOLDING_BYTES: u32 = 32;

export function tagAt(p: u32): Tag {
  return changetype<Tag>(p);
}

export function tagPointer(t: Tag): u32 {
  return <u32>changetype<usize>(t);
}

/** What CPU `c` may hold under a tag. */
export function holding(t: Tag, c: u32): Holding {
  return changetype<Holding>(changetype<usize>(t) + HEADER + c * HOLDING_BYTES);
}

/** The tag of a VMID, or with `stage1` of an ASID; made if need be, null when memory is spent. */
export function tagOf(id: u32, stage1: bool): Tag {
  const slot = tagSlot(id, stage1);
  let p = load<u32>(slot);
  if (!p) {
    p = take(HEADER + MAX_CPUS * HOLDING_BYTES);
    if (!p) return tagAt(0);
    store<u32>(slot, p);
    tagAt(p).stage1 = stage1;
  }
  return tagAt(p);
}

/** CPU `c`, which walked `r` under the tag since `since`, leaves it. */
export function leaveTag(t: Tag, r: Root, c: u32, since: u64): void {
  if (t.stage1 && !(r.flags & R_FILLED)) return; // there was nothing to hold
  const h = holding(t, c),
    busy = cpu(c).busy;
  h.serial = r.serial;
  h.quiet = max(since, busy);
  h.left = state().time;
}

/** Is what CPU `c` held flushed since it left? Its own flush may come before it leaves, if it did nothing in between. */
export function isForgotten(t: Tag, c: u32): bool {
  const h = holding(t, c),
    s = state(),
    self = cpu(c);
  if (h.serial === 0) return true;
  if (max(t.flushed, t.stage1 ? s.hypFlushed : s.allFlushed) > h.left) return true;
  return max(h.own, t.stage1 ? self.ownHyp : self.ownAll) > h.quiet;
}

/** May `r` take the tag: does no CPU hold translations of another table, or of its own from before it changed? */
export function isFree(t: Tag, r: Root): bool {
  const n = state().seen;
  for (let c: u32 = 0; c < n; c++) if (!isRightFor(t, r, c)) return false;
  return true;
}

/** Is all that CPU `c` may hold under the tag right for `r`? */
function isRightFor(t: Tag, r: Root, c: u32): bool {
  const same = t.last === r.serial && t.changes === r.changes && !t.owed;
  return (same && holding(t, c).serial === r.serial) || isForgotten(t, c);
}

/** Does CPU `c` hold translations of `r` under the tag, or none? */
export function isHeldBy(t: Tag, r: Root, c: u32): bool {
  return holding(t, c).serial === r.serial || isForgotten(t, c);
}

/** Its root lets go of the tag. */
export function giveUp(t: Tag, r: Root): void {
  demand(t.root === rootPointer(r) || t.root === 0 || t.stage1, RULE_JUDGED_TAG);
  if (t.root === rootPointer(r)) t.root = 0;
  t.last = r.serial;
  t.changes = r.changes;
  t.owed = r.open !== 0;
  r.tag = 0;
}

/** A flush of the tag by CPU `c`, issued at `time`, is complete; `local`: of that CPU only. */
export function flushTag(t: Tag, c: u32, time: u64, local: bool): void {
  if (!local && time > t.flushed) t.flushed = time;
  const h = holding(t, c);
  if (time > h.own) h.own = time;
}
