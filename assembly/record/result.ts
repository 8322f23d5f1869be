// What exports return beside their status. Each record is one layout of the calling walker's result block of
// RESULT_BLOCK_BYTES; the next call overwrites it.

import { demand, RULE_WALKER } from "../demand";
import { me, resultBlock } from "../memory/layout";

/** The result block as a record of type `T`. Precondition: this instance is a walker. */
export function result<T>(): T {
  demand(me !== 0, RULE_WALKER);
  return changetype<T>(resultBlock());
}

/** The result of an operation on a table: `value` is a descriptor, a count or a number of bytes, depending on the operation. */
@view("writes", "halves")
@unmanaged
export class Answer {
  value: u64;
  /** Level of the leaf that was read. */
  level: i32;
}

/** Identity and use of an engine. */
@view()
@unmanaged
export class EngineInfo {
  physBase: u64;
  /** Pointer of the arena's first byte. */
  arena: u32;
  arenaBytes: u32;
  /** Units taken now, and the most that ever were. */
  taken: u32;
  peak: u32;
  /** Walkers that the engine was laid out for. */
  walkers: u32;
  /** The walker that this instance is. */
  walker: u32;
}

/** The journal of one walker. */
@view()
@unmanaged
export class JournalInfo {
  /** Records ever written; the ring keeps the last `capacity`. */
  total: u64;
  /** Pointer of the ring. */
  pointer: u32;
  /** Records that it holds, 0 while it is off. */
  capacity: u32;
}

/** Geometry and use of a table. */
@view()
@unmanaged
export class TableInfo {
  /** Pointer of the start tables, 0 once destroyed. */
  root: u32;
  rootPages: u32;
  startLevel: i32;
  inputBits: u32;
  outputBits: u32;
  /** Table pages in use, and the most that ever were. */
  pages: u32;
  peak: u32;
  /** T_* */
  flags: u32;
}

/** A detached subtree. */
@view()
@unmanaged
export class Unlinked {
  /** Pointer of its page. */
  page: u32;
}

/** The tables in limbo. */
@view()
@unmanaged
export class LimboInfo {
  /** Tables in limbo now, and tables that ever were retired. */
  waiting: u32;
  retired: u32;
  /** Walker that holds them up, -1 for none. */
  heldUpBy: i32;
}

/** One walker. */
@view()
@unmanaged
export class WalkerInfo {
  attached: u32;
  /** Handle of the table whose lock it holds for reading, 0 for none. */
  reads: u32;
  /** Is it in a read section? */
  inSection: u32;
  /** Tables that it holds for writing. */
  writes: u32;
}

/** The next TLBI of a range. */
@view()
@unmanaged
export class RangeStep {
  /** Pages that it covers. */
  pages: u64;
  operand: u64;
  /** SCALE and NUM; scale is -1 for a single-entry operation. */
  scale: i32;
  num: i32;
  /** Scale from which to try for the next one. */
  next: i32;
}
