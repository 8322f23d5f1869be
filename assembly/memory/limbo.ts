// Tables that were unlinked while others may still walk them [LCK-10]: a queue, oldest first, in the words of their frames.
// A shared walk that reached such a table may even install something in it; that is lost, and found when it is freed [LCK-11].
//
//   link: next in the queue          note: level + 1 (bits 31:29) | table (28:19) | epoch / 2 (18:0)

import { FIRST_LEVEL } from "../arch/granule";
import { epoch, GRACE } from "./epoch";
import { ETIMEDOUT, OK } from "./errno";
import { blockNamed, linkOf, nameOf, noteOf, setLink, setNote } from "./frames";
import { limbo, Table, tableIndex, tableOfIndex } from "./layout";
import { acquire, relinquish } from "./spin";

const EPOCH_BITS: u32 = 19;
const EPOCHS: u32 = (1 << EPOCH_BITS) - 1;
const TABLE_BITS: u32 = 10;
const LEVEL_AT: u32 = EPOCH_BITS + TABLE_BITS;

function lockWord(): usize {
  return changetype<usize>(limbo());
}

/** The table page at `p`, once named by an entry of `level` of `t`, waits for its grace period. */
export function retire(t: Table, p: usize, level: i32): i32 {
  const stamp = (epoch() >> 1) & EPOCHS;
  setNote(p, ((level - FIRST_LEVEL) << LEVEL_AT) | (tableIndex(changetype<usize>(t)) << EPOCH_BITS) | stamp);
  setLink(p, 0);
  if (acquire(lockWord())) return ETIMEDOUT;
  const l = limbo(),
    name = nameOf(p);
  if (l.youngest) setLink(blockNamed(l.youngest), name);
  else l.oldest = name;
  l.youngest = name;
  l.waiting++;
  l.retired++;
  relinquish(lockWord());
  return OK;
}

/** Are there tables in limbo? A hint: no order is needed. */
export function someWait(): bool {
  return limbo().waiting !== 0;
}

/** Takes the oldest table out if its grace period is over; 0 if there is none, or none that may go. */
export function release(): usize {
  if (acquire(lockWord())) return 0;
  const l = limbo();
  let p: usize = 0;
  if (l.oldest) {
    const oldest = blockNamed(l.oldest);
    // A difference modulo the bits of the stamp: what waits for half their range has been freed long ago.
    const age = ((epoch() >> 1) - noteOf(oldest)) & EPOCHS;
    if (age >= GRACE >> 1) {
      p = oldest;
      l.oldest = linkOf(oldest);
      if (!l.oldest) l.youngest = 0;
      l.waiting--;
    }
  }
  relinquish(lockWord());
  return p;
}

/** Whose table the one at `p` was, and the level of the entry that named it. */
export function ownerOf(p: usize): Table {
  return tableOfIndex((noteOf(p) >> EPOCH_BITS) & ((1 << TABLE_BITS) - 1));
}

export function levelOf(p: usize): i32 {
  return <i32>(noteOf(p) >> LEVEL_AT) + FIRST_LEVEL;
}
