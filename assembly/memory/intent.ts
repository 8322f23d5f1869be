// What a walker has in hand or is about to change, in words of its own block, so that whoever buries it (table/burial.ts)
// finds what would be lost with it. Each word is written before its step, and cleared after it:
//
//   breaking, old, level   slot that is taken by break-before-make, and what it held; MAKING once the new value is on its way
//   hand                   page that was taken and is linked nowhere yet
//   giving                 page that goes back to the arena and is linked nowhere any more
//   tree                   detached table, with all below it: being built, just unlinked, or being torn down
//   counting               entries change in one exchange each, their references after them
//   owner                  table that all of these belong to
//
// The stores are plain: the walker's own line, which nobody else writes. Who reads them either knows that the walker's thread
// has ended, which orders all of its stores before, or has read the marker that the walker exchanged into its slot after
// them, and the exchange is a full barrier. So a word costs one store to a line that is in the cache anyway.

import { header, Table, Walker, walker, walkerAt } from "./layout";

/** Bit of Walker.breaking: the next store to the slot is the make. */
export const MAKING: u32 = 1;
/** Bit of Walker.hand and Walker.giving: the page is counted among those of the table. */
export const COUNTED: u32 = 1;
/** Low bits of Walker.tree: the level of the entry that named the table, plus LEVEL_BIAS. */
export const LEVEL_BITS: u32 = 7;
export const LEVEL_BIAS: i32 = 2;

/** The slot at `p`, which holds `old`, is about to be taken. */
export function intendBreak(t: Table, p: usize, old: u64, level: i32): void {
  const w = walker();
  w.owner = <u32>changetype<usize>(t);
  w.old = old;
  w.level = level;
  w.breaking = <u32>p;
}

/** Another walker was faster: the slot is not this walker's. */
export function abandonBreak(): void {
  walker().breaking = 0;
}

/** The slot that was taken is about to hold its new value, or an entry about to be written over by a table descriptor. */
export function intendMake(p: usize): void {
  walker().breaking = <u32>p | MAKING;
}

/** The slot holds it. `table`: the page that it names, which is no longer in hand; 0 for none. */
export function finishMake(table: usize): void {
  const w = walker();
  if (table !== 0) forgetLinked(w, table);
  w.breaking = 0;
}

/** The page at `p` is linked, or on its way to the arena: `w` has it in hand no more. */
export function forgetLinked(w: Walker, p: usize): void {
  const at = <u32>p;
  if ((w.hand & ~COUNTED) === at) w.hand = 0;
  if ((w.tree & ~LEVEL_BITS) === at) w.tree = 0;
}

/** Entries are about to change in one exchange each, their references to follow: the counts of their pages may be off. */
export function intendCount(): void {
  walker().counting = 1;
}

/** A page was taken; it is not yet counted among those of a table. */
export function holdPage(p: usize): void {
  walker().hand = <u32>p;
}

/** The page in hand is counted among those of `t`. */
export function countHeld(t: Table, p: usize): void {
  const w = walker();
  w.owner = <u32>changetype<usize>(t);
  w.hand = <u32>p | COUNTED;
}

/** Whoever asked for the page in hand has it now. */
export function handOver(): void {
  walker().hand = 0;
}

/** The page at `p` of `t` is about to go back; it is still counted. */
export function intendGiveCounted(t: Table, p: usize): void {
  const w = walker();
  w.owner = <u32>changetype<usize>(t);
  w.giving = <u32>p | COUNTED;
  forgetLinked(w, p);
}

/** The page at `p` is about to go back to the arena. */
export function intendGive(p: usize): void {
  walker().giving = <u32>p;
}

/** The page is back in the arena. */
export function finishGive(): void {
  walker().giving = 0;
}

/** The table at `table` of `t`, once or soon named by an entry of `level`, is detached. */
export function holdTree(t: Table, table: usize, level: i32): void {
  const w = walker();
  w.owner = <u32>changetype<usize>(t);
  w.tree = <u32>table | (level + LEVEL_BIAS);
  if ((w.hand & ~COUNTED) === <u32>table) w.hand = 0;
}

/** It waits for its grace period, or is somebody else's. */
export function handOverTree(): void {
  walker().tree = 0;
}

/** The end of an operation: nothing is in hand, and nothing is about to change. */
export function intendNothing(w: Walker): void {
  w.breaking = 0;
  w.hand = 0;
  w.giving = 0;
  w.tree = 0;
  w.counting = 0;
}

/** Does a living walker say that it is taking the slot at `p`? */
export function isClaimed(p: usize, except: u32): bool {
  const n = header().maxWalkers;
  for (let id: u32 = 0; id < n; id++) {
    const w = walkerAt(id);
    if (id !== except && w.attached === 1 && (w.breaking & ~MAKING) === <u32>p) return true;
  }
  return false;
}
