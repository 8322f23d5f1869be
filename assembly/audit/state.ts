// The judge's own memory: fixed parts first, then what it takes as it goes. Nothing here is the engine's.
//
//   0        1024     fixed arrays, input records, violations      grows to the memory's end
//   +--------+--------+-----------------------------------------+------------------------------+
//   | null   | State  | clocks, CPUs, VMIDs, ASIDs, locks         | units, obligations, hash, .. |
//   +--------+--------+-----------------------------------------+------------------------------+

import { ENTRY_SHIFT, UNIT_SHIFT } from "../arch/granule";
import { JOURNAL_BYTES } from "../memory/layout";

export const MAX_CPUS: u32 = 64;
/** Records that one call of `judge` takes. */
export const INPUT_RECORDS: u32 = 1 << 13;
/** Violations that are kept; more are counted. */
export const MAX_VIOLATIONS: u32 = 256;
export const VIOLATION_BYTES: u32 = 96;
/** VMIDs, and ASIDs, that 16 bits can tell apart. */
const TAGS: u32 = 1 << 16;
const HANDLES: u32 = 1 << 13;
export const LOCK_BUCKETS: u32 = 1 << 8;

/** Entries of a unit: 4K of table memory. */
export const UNIT_ENTRIES: u32 = 1 << (UNIT_SHIFT - ENTRY_SHIFT);
/** A CPU's vector: one clock of each CPU. */
export const CLOCK_BYTES: u32 = MAX_CPUS * 4;

const AT: usize = 1024;
/** Room for the state and the cases. */
const STATE_BYTES: usize = 3072;
/** The case in hand, and one for an entry that is met on the way. */
const CASES: usize = AT + 1024;
const CASE_ROOM: usize = 128;
const CLOCKS: usize = AT + STATE_BYTES;
const ORDERED: usize = CLOCKS + MAX_CPUS * CLOCK_BYTES;
const CPUS: usize = ORDERED + MAX_CPUS * CLOCK_BYTES;
export const CPU_BYTES: u32 = 256;
const TAG_TABLE: usize = CPUS + MAX_CPUS * CPU_BYTES;
const HANDLE_TABLE: usize = TAG_TABLE + 2 * TAGS * 4;
const LOCKS: usize = HANDLE_TABLE + HANDLES * 4;
const VIOLATIONS: usize = LOCKS + LOCK_BUCKETS * 4;
const INPUT: usize = VIOLATIONS + MAX_VIOLATIONS * VIOLATION_BYTES;
/** What is taken as it goes begins here. */
export const FIXED_END: u32 = <u32>INPUT + INPUT_RECORDS * JOURNAL_BYTES;

const MAGIC: u32 = 0x7467646a; // "jdgt"
const FIRST_HASH: u32 = 1 << 12;

@unmanaged
export class State {
  magic: u32;
  options: u32;
  /** CPUs of the machine; MAX_CPUS where nobody said. */
  cpus: u32;
  /** One more than the highest CPU seen. */
  seen: u32;
  /** Next byte to take, and the end. */
  bump: u32;
  limit: u32;
  hash: u32;
  hashMask: u32;
  hashUsed: u32;
  freeUnits: u32;
  freeObligations: u32;
  freeRoots: u32;
  freePending: u32;
  roots: u32;
  /** Changes whenever a table is linked or unlinked: cached standings are of one generation. */
  generation: u32;
  serial: u32;
  /** Key and unit of the last look-up. */
  lastUnit: u32;
  lastKey: u64;
  /** Records judged: the judge's time. */
  time: u64;
  /** Number of the record in hand, as its source counts. */
  sequence: u64;
  violations: u64;
  /** Highest table memory address seen: physical memory is at least as large. */
  highest: u64;
  owners: u32;
  ownersMask: u32;
  ownersUsed: u32;
  /** Clocks: writes that a complete ALLE1IS has covered. */
  full: u32;
  /** Issue time of the last ALLE1IS. */
  allTime: u64;
  /** The same of the last one that is complete, and of ALLE2IS. */
  allFlushed: u64;
  hypFlushed: u64;
  /** Roots and tables of the same VM, counted. */
  serials: u32;
  /** First record that the judge refused for want of memory; 0 for none. */
  starved: u32;
  obligations: u32;
}

export function state(): State {
  return changetype<State>(AT);
}

/** What happens at this moment; the CPU's own part of a clock. */
export function clockOf(cpu: u32): usize {
  return CLOCKS + cpu * CLOCK_BYTES;
}

/** What the last DSB of `cpu` ordered before whatever follows. */
export function orderedBy(cpu: u32): usize {
  return ORDERED + cpu * CLOCK_BYTES;
}

export function cpuAt(cpu: u32): usize {
  return CPUS + cpu * CPU_BYTES;
}

/** Where the tag of a VMID is kept, or with `stage1` that of an ASID of EL2. */
export function tagSlot(id: u32, stage1: bool): usize {
  return TAG_TABLE + ((id & (TAGS - 1)) + (stage1 ? TAGS : 0)) * 4;
}

/** The case in hand (0), or that of an entry met on the way (1). */
export function caseAt(i: u32): usize {
  return CASES + i * CASE_ROOM;
}

/** Slot of an engine's table handle; handles of one engine that fall together differ in what they name. */
export function handleSlot(handle: u32): usize {
  return HANDLE_TABLE + ((handle >> 7) & (HANDLES - 1)) * 4;
}

export function lockBucket(address: u64): usize {
  return LOCKS + (<u32>((address * 0x9e3779b97f4a7c15) >> 56) & (LOCK_BUCKETS - 1)) * 4;
}

export function violationAt(i: u32): usize {
  return VIOLATIONS + i * VIOLATION_BYTES;
}

export function inputAt(): usize {
  return INPUT;
}

/** A judge in this memory, whatever it holds. False if it is too small. */
export function initialise(options: u32, cpus: u32): bool {
  const bytes = (<u64>memory.size()) << 16;
  const first: u32 = FIRST_HASH * 16;
  if (bytes < FIXED_END + 2 * first || cpus === 0 || cpus > MAX_CPUS) return false;
  const s = state();
  memory.fill(0, 0, FIXED_END); // `take` clears what it gives
  s.magic = MAGIC;
  s.options = options;
  s.cpus = cpus;
  s.seen = 1;
  s.bump = FIXED_END;
  s.generation = 1;
  s.lastKey = u64.MAX_VALUE;
  refreshLimit();
  s.hash = take(first);
  s.hashMask = FIRST_HASH - 1;
  s.full = take(CLOCK_BYTES);
  for (let c: u32 = 0; c < MAX_CPUS; c++) store<u32>(clockOf(c) + c * 4, 1);
  return true;
}

export function isReady(): bool {
  return state().magic === MAGIC;
}

/** The memory may have grown. */
export function refreshLimit(): void {
  const bytes = (<u64>memory.size()) << 16;
  state().limit = bytes > u32.MAX_VALUE ? u32.MAX_VALUE & ~15 : <u32>bytes;
}

/** `bytes` zeroed bytes, aligned to 16; 0 when memory is spent. */
export function take(bytes: u32): u32 {
  const s = state();
  bytes = (bytes + 15) & ~15;
  if (s.limit - s.bump < bytes) {
    s.starved = 1;
    return 0;
  }
  const p = s.bump;
  s.bump += bytes;
  memory.fill(p, 0, bytes);
  return p;
}

/** Is there room for `bytes` more? */
export function hasRoom(bytes: u32): bool {
  const s = state();
  return s.limit - s.bump >= bytes;
}
