// What the debug build watches, and the release build pays nothing for: the discipline of locks and read sections.
// A breach goes to the host with the rule and the table; the host says in words who holds what.

import { hostBreach, hostPoint } from "./host";
import { me, parallel, walker } from "./layout";

/** Something that may sleep, in a read section or under a lock [LCK-15]. */
export const BREACH_SLEEP: u32 = 1;
/** A shared walk outside a read section [WLK-13]. */
export const BREACH_SECTION: u32 = 2;
/** An exclusive walk without the table's lock for writing [LCK-3]. */
export const BREACH_EXCLUSIVE: u32 = 3;
/** A shared walk without the table's lock for reading [LCK-2]. */
export const BREACH_SHARED: u32 = 4;
/** A descriptor read from a page that was given back. */
export const BREACH_FREED: u32 = 5;
/** A page that somebody wrote to after it was given back. */
export const BREACH_DIRTY: u32 = 6;

// Schedule points: where another walker may come in between. A test forces its windows there. In the explore build every access
// is one (memory/schedule.ts), and these are left out.
export const POINT_READ: u32 = 1;
export const POINT_EXCHANGE: u32 = 2;
export const POINT_EXCHANGED: u32 = 3;
export const POINT_LOST: u32 = 4;
export const POINT_RELEASE: u32 = 5;
export const POINT_RELEASED: u32 = 6;
/** A walk is about to descend into the table of a descriptor. */
export const POINT_CHILD: u32 = 7;
/** A table was unlinked and waits for its grace period. */
export const POINT_RETIRED: u32 = 8;
/** A table is about to be given back. */
export const POINT_FREE: u32 = 9;
/** Before a write that the journal puts in order: afterwards nobody else writes until its record is there. */
export const POINT_ORDER: u32 = 10;
/** A fault knows its host page, and is about to take the table's lock. */
export const POINT_LOCK: u32 = 11;
/** Between two chunks of a range: nobody holds the table's lock. */
export const POINT_YIELD: u32 = 12;
/** A set of slots is in use; whoever uses the old one is waited for next. */
export const POINT_INSTALLED: u32 = 13;

/** Reports a broken rule. */
export function breach(rule: u32, table: u32): void {
  if (isDefined(DEBUG)) hostBreach(rule, table);
}

/** A shared access of this walker at `p`. */
export function point(kind: u32, p: usize): void {
  if (isDefined(DEBUG) && !isDefined(EXPLORE)) {
    if (me !== 0 && parallel()) hostPoint(kind, <u32>p);
  }
}

/** A shared access at `p` of a thread that need not be a walker: whether anybody else is there is for the host to know. */
export function visit(kind: u32, p: usize): void {
  if (isDefined(DEBUG) && !isDefined(EXPLORE)) hostPoint(kind, <u32>p);
}

/** This may sleep: not in a read section, not under a lock [LCK-15, MC-6]. */
export function maySleep(): void {
  if (isDefined(DEBUG)) {
    if (!parallel()) return;
    const w = walker();
    if (w.sections !== 0 || w.writing !== 0) hostBreach(BREACH_SLEEP, 0);
  }
}
