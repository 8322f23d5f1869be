// The journal: every descriptor write, barrier, TLBI and cache operation in order, while it is on.
// Each walker has a ring; `total` tells how many records were overwritten. `sequence` orders the records of all walkers: of two
// writes of one descriptor the earlier has the smaller number, since with the journal on a walker holds a lock from before the
// write until its record is there.

import { demand, RULE_JOURNALLING } from "../demand";
import { POINT_ORDER, point } from "../memory/guard";
import {
  header,
  JOURNAL_BYTES,
  nextOrder,
  orderLock,
  parallel,
  resetOrder,
  Table,
  walker,
  walkerAt,
} from "../memory/layout";
import { acquire, relinquishMine } from "../memory/spin";
import { handleOf } from "../memory/tables";

/** Descriptor write: address = the slot's physical address, a = old, b = new. */
export const J_WRITE: u32 = 1;
/** Descriptor write of a shared walk: compare-exchange or release. Same fields. */
export const J_WRITE_SHARED: u32 = 2;
/** TLBI by IPA broadcast: address, level. */
export const J_TLBI_IPA: u32 = 3;
/** TLBI by IPA on this CPU: address, level. */
export const J_TLBI_IPA_LOCAL: u32 = 4;
/** Range TLBI: address, a = pages. */
export const J_TLBI_RANGE: u32 = 5;
export const J_TLBI_VMID: u32 = 6;
/** TLBI by VA at EL2: address = operand, level. */
export const J_TLBI_VA: u32 = 7;
export const J_TLBI_VA_LAST: u32 = 8;
/** All stage-1 entries of the VMID, broadcast and local. */
export const J_TLBI_STAGE1: u32 = 9;
export const J_TLBI_STAGE1_LOCAL: u32 = 10;
/** Barriers: a = domain (DSB_*). */
export const J_DSB: u32 = 11;
export const J_ISB: u32 = 12;
/** Cache maintenance: address = PA, a = bytes. */
export const J_DCACHE: u32 = 13;
export const J_ICACHE: u32 = 14;
/** A condition that the kernel would warn about: level, address = walk address. */
export const J_WARN: u32 = 15;
/** Table page taken, given back: address = PA. */
export const J_TABLE_TAKEN: u32 = 16;
export const J_TABLE_FREED: u32 = 17;
/** A table unlinked while other walkers may be in it: address = PA, level of the entry that named it; freed after a grace period. */
export const J_TABLE_RETIRED: u32 = 18;
/** The lock of a table taken and let go: a = 1 for writing, 0 for reading (and a read section). */
export const J_LOCK: u32 = 19;
export const J_UNLOCK: u32 = 20;
/** A read section without a lock is entered and left. */
export const J_SECTION: u32 = 21;
export const J_SECTION_END: u32 = 22;
/** Walker a is dead: another one releases what it held. */
export const J_BURIED: u32 = 23;
/** A CPU of a host writes VTTBR_EL2: level = CPU, a = VMID; without a table it walks none from here on. */
export const J_VTTBR: u32 = 24;
/** ALLE1IS: everything of all VMIDs goes. */
export const J_TLBI_ALL: u32 = 25;
/** Whatever this walker took away from any table is flushed by now: it goes back to whoever asked for it. */
export const J_PROMISE: u32 = 26;

/** A table is made: address = first start table, a = its geometry word (arch/granule.ts) with the table's flags, b = VTCR; bit MADE_PARALLEL in an engine of several walkers. */
export const J_TABLE_MADE: u32 = 28;
/** From here on nobody walks the table: it is torn down without a flush, and its VMID with it. address = first start table. */
export const J_TABLE_GONE: u32 = 29;

/** Bit of `a` of J_TABLE_MADE: walkers share the table, and say so by locks and sections. */
export const MADE_PARALLEL: u32 = 63;

export const DSB_ISHST: u32 = 0;
export const DSB_ISH: u32 = 1;
export const DSB_NSHST: u32 = 2;
export const DSB_NSH: u32 = 3;

/** One thing that happened, JOURNAL_BYTES. What `address`, `a` and `b` are depends on the kind. */
@view("writes", "halves")
@unmanaged
export class JournalRecord {
  /** J_* */
  kind: u32;
  /** Level of the entry or hint. */
  level: i32;
  /** Handle of the table. */
  table: u32;
  walker: u32;
  address: u64;
  a: u64;
  b: u64;
  /** Position in the order of all walkers' records, from 0. */
  sequence: u64;
}

/** Is the journal on? */
export function journalling(): bool {
  return walker().capacity !== 0;
}

/** Appends a record, if its kind is recorded. */
export function record(kind: u32, table: usize, level: i32, address: u64, a: u64, b: u64): void {
  const w = walker();
  if (w.capacity === 0 || !((w.kinds >> kind) & 1)) return;
  const at = w.next,
    p: usize = w.journal + at * JOURNAL_BYTES;
  w.next = at + 1 === w.capacity ? 0 : at + 1;
  const r = changetype<JournalRecord>(p);
  r.kind = kind;
  r.level = level;
  r.table = handleOf(changetype<Table>(table));
  r.walker = w.id;
  r.address = address;
  r.a = a;
  r.b = b;
  r.sequence = parallel() ? nextOrder() : w.total;
  w.total++;
}

/** From here on no other walker changes a descriptor until `endWrite`. Precondition: journalling. */
export function beginWrite(): void {
  demand(journalling(), RULE_JOURNALLING);
  if (!parallel()) return;
  point(POINT_ORDER, 0);
  acquire(orderLock());
}

export function endWrite(): void {
  if (parallel()) relinquishMine(orderLock());
}

/** All walkers record `kinds` (one bit each) from now on, 0 for none; the rings start empty. Precondition: no walker walks. */
export function setJournal(kinds: u32): void {
  resetOrder();
  for (let id: u32 = 0; id < header().maxWalkers; id++) {
    const w = walkerAt(id);
    w.kinds = kinds;
    w.capacity = kinds ? w.ring : 0;
    w.total = 0;
    w.next = 0;
  }
}
