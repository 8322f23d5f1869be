// Tables that were unlinked while others may still walk them [LCK-10]: a queue, oldest first, in the words of their frames.
// A shared walk that reached such a table may even install something in it; that is lost, and found when it is freed [LCK-11].
//
//   link: next in the queue          note: level + 1 (bits 31:29) | table (28:19) | epoch / 2 (18:0)

import { FIRST_LEVEL } from "../arch/granule";
import { epoch, GRACE } from "./epoch";
import { blockNamed, linkOf, nameOf, noteOf, setLink, setNote } from "./frames";
import { handOverTree, holdTree, LEVEL_BITS } from "./intent";
import { header, Limbo, limbo, Table, Walker, walker } from "./layout";
import { ACCOUNTS } from "./leaves";
import { acquire, inherit, relinquish } from "./spin";
import { isServed, tableIndex, tableOfIndex } from "./tables";
import { peek, publish } from "./word";

const EPOCH_BITS: u32 = 19;
const EPOCHS: u32 = (1 << EPOCH_BITS) - 1;
const TABLE_BITS: u32 = 10;
const LEVEL_AT: u32 = EPOCH_BITS + TABLE_BITS;

function lockWord(): usize {
  return changetype<usize>(limbo());
}

/** The table page at `p`, once named by an entry of `level` of `t`, waits for its grace period. */
export function retire(t: Table, p: usize, level: i32): void {
  setNote(p, ((level - FIRST_LEVEL) << LEVEL_AT) | (tableIndex(changetype<usize>(t)) << EPOCH_BITS));
  holdTree(t, p, level);
  append(p);
}

/** Appends the table at `p` to the queue. If the holder of the queue's lock makes no progress, the table becomes a stray of this walker. */
function append(p: usize): void {
  const l = limbo(),
    name = nameOf(p);
  if (acquire(lockWord())) {
    setLink(p, walker().strays);
    walker().strays = name;
    handOverTree();
    return;
  }
  setNote(p, (noteOf(p) & ~EPOCHS) | ((epoch() >> 1) & EPOCHS));
  setLink(p, 0);
  if (l.youngest) setLink(blockNamed(l.youngest), name);
  else l.oldest = name;
  l.youngest = name;
  setWaiting(l.waiting + 1);
  l.retired++;
  handOverTree();
  relinquish(lockWord());
}

/** Moves the strays of `w` (this walker, or a dead one) into the queue. */
export function appendStrays(w: Walker): void {
  while (w.strays !== 0) {
    const p = blockNamed(w.strays),
      before = walker().strays;
    w.strays = linkOf(p);
    holdTree(ownerOf(p), p, levelOf(p));
    append(p);
    if (walker().strays === before && before !== 0) return; // the queue still cannot be locked
  }
}

function waitingWord(): usize {
  return changetype<usize>(limbo()) + offsetof<Limbo>("waiting");
}

/** Precondition: the lock. Others read the word without it. */
function setWaiting(n: u32): void {
  publish(waitingWord(), n);
}

/** Are there tables in limbo? A hint: no order is needed. */
export function someWait(): bool {
  return peek(waitingWord()) !== 0;
}

/**
 * Takes the oldest table that may go out of the queue, to be torn down by this walker: its grace period is over, and this walker
 * has the functions that its owner calls. 0 if there is none.
 */
export function release(): usize {
  if (acquire(lockWord())) return 0;
  const l = limbo();
  let before: u32 = 0,
    p: usize = 0,
    found: usize = 0;
  for (let name = l.oldest; name !== 0; name = linkOf(p)) {
    p = blockNamed(name);
    // The difference is modulo the bits of the stamp: no table waits for half their range. Those behind are younger.
    if ((((epoch() >> 1) - noteOf(p)) & EPOCHS) < GRACE >> 1) break;
    if (!isServed(ownerOf(p)) || (!ACCOUNTS && ownerOf(p).rmaps !== 0)) {
      before = name;
      continue;
    }
    found = p;
    const next = linkOf(p);
    holdTree(ownerOf(p), p, levelOf(p));
    if (before === 0) l.oldest = next;
    else setLink(blockNamed(before), next);
    if (next === 0) l.youngest = before;
    setWaiting(l.waiting - 1);
    break;
  }
  relinquish(lockWord());
  return found;
}

/** Walker `w` is dead: repairs the queue if `w` was changing it. A table in the queue is no longer in the hand of `w`. */
export function recoverLimbo(w: Walker): bool {
  if (!inherit(lockWord(), w.id + 1)) return false;
  const l = limbo();
  let n: u32 = 0,
    last: u32 = 0;
  for (let name = l.oldest; name !== 0 && n < header().units; name = linkOf(blockNamed(name))) {
    const p = <u32>blockNamed(name);
    if ((w.tree & ~LEVEL_BITS) === p) w.tree = 0;
    last = name;
    n++;
  }
  l.youngest = last;
  setWaiting(n);
  relinquish(lockWord());
  return true;
}

/** A walker died in a table that may be in limbo: references of tables in limbo must be counted again before they are used. */
export function doubtLimbo(): void {
  publish(changetype<usize>(limbo()) + offsetof<Limbo>("doubtful"), 1);
}

export function isLimboDoubtful(): bool {
  return peek(changetype<usize>(limbo()) + offsetof<Limbo>("doubtful")) !== 0;
}

/** The table that the page at `p` was part of; below, the level of the entry that named it. */
export function ownerOf(p: usize): Table {
  return tableOfIndex((noteOf(p) >> EPOCH_BITS) & ((1 << TABLE_BITS) - 1));
}

export function levelOf(p: usize): i32 {
  return <i32>(noteOf(p) >> LEVEL_AT) + FIRST_LEVEL;
}
