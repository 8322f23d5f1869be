// What a VM keeps, in one block of the arena. The host writes the policy; the rest is this room's.
//
//   Vm: its table, its policy
//   two SlotSets, one of them in use
//   Host: the memory behind the slots
//   RINGS words: the rings of the vCPUs
//   RINGS words: the hardware's logs of the vCPUs
//   LAST_RAN words: which vCPU ran last on each CPU of the host
//   at AGENTS_AT, an Agent for each walker: the record of its last operation, and what it did
//
// Walkers service faults at the same time. Slots change by copies: a change publishes a new set, and waits until nobody
// reads the old one [NOT-30, NOT-33].

import { LAST_LEVEL, shift } from "../arch/granule";
import { EINVAL, ENOMEM, OK } from "../memory/errno";
import { giveFrames, takeFrames } from "../memory/frames";
import { handOver } from "../memory/intent";
import { isArenaRange, MAX_WALKERS, Table, walker } from "../memory/layout";
import { isTableHandle, tableAt } from "../memory/tables";
import { peek, publish } from "../memory/word";

export const VM_MAGIC: u32 = 0x6d766d67; // "gmvm"
/** An Agent and its counts, with room to spare. */
export const AGENT_BYTES: u32 = 1024;
/** log2 of the block in units: the smallest that holds VM_BYTES. */
const VM_ORDER: u32 = 5;

/** Operations that are counted: OP_* of table/submit.ts are smaller. */
export const OPERATIONS: u32 = 24;
/** Outcomes that are counted apart; vm/operate.ts names them. */
export const OUTCOMES: u32 = 8;

// Slot.flags; the first two are those of the ioctl.
/** KVM_MEM_LOG_DIRTY_PAGES. */
export const SLOT_LOG: u32 = 1 << 0;
/** KVM_MEM_READONLY. */
export const SLOT_READ_ONLY: u32 = 1 << 1;
/** It has a dirty bitmap [DLG-4]. */
export const SLOT_LOGS: u32 = 1 << 2;
/** Words of the bitmap that nobody used are all ones [DLG-5]. */
export const SLOT_ALL_DIRTY: u32 = 1 << 3;
/** It is about to be deleted or moved: it has no memory for faults, and notifiers still find it [NOT-30, NOT-31]. */
export const SLOT_INVALID: u32 = 1 << 4;

/** A stretch of guest memory and its place in the VMM's address space. */
@unmanaged
export class Slot {
  gpa: u64;
  size: u64;
  hva: u64;
  id: u16;
  flags: u16;
  /** Top node of the dirty bitmap's words (sparse.ts), 0 without a bitmap: two copies of a slot have the same bits. */
  log: u32;
}

/** A set of memory slots, sorted by guest address. */
@unmanaged
export class SlotSet {
  /** Pointer of its block, 0 for an empty set. */
  slots: u32;
  count: u32;
  /** log2 of the block in units. */
  order: u32;
  spare: u32;
}

/** The address space of the VMM: areas, and the state of their pages. */
@unmanaged
export class Host {
  /** Areas sorted by address: pointer of their block, how many, log2 of the block in units. */
  areas: u32;
  areaCount: u32;
  areaOrder: u32;
  /** Root word of the sparse array of blocks. */
  blocks: u32;
  /** log2 of a page and of a block, the size of a transparent huge page. */
  ps: u32;
  blockShift: u32;
  /** HOST_* */
  flags: u32;
  /** Children of fork that are still there. */
  forks: u32;
  /** Bytes of a hugetlb page where nobody described the memory; 0: ordinary memory. */
  otherwise: u64;
  /** A spin lock, of whoever touches or changes memory. */
  lock: u32;
  spare: u32;
}

/** A write to the huge zero page gives a small page (Linux before 6.13), not a huge one. */
export const HOST_SPLITS_HUGE_ZERO: u32 = 1 << 0;
/** Memory that nobody described has transparent huge pages. */
export const HOST_THP: u32 = 1 << 1;

@view("writes")
@unmanaged
export class Vm {
  magic: u32;
  /** Handle of its stage-2 table. */
  table: u32;
  /** log2 of the granule. */
  ps: u32;
  ipaBits: u32;
  /** Guest address + physBase is the physical address. */
  physBase: u64;
  /** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: 1 on, 2 initially set [DLG-6]. */
  manualDirtyLog: u32;
  /** Which of the two sets of slots is in use. */
  active: u32;
  /** KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE in bytes, 0 for off [DLG-30]. */
  eagerSplit: u64;
  /** Changes with every invalidation that ends [NOT-3]. */
  sequence: u32;
  /** Invalidations that have met a slot and not ended. */
  inProgress: u32;
  /** The most slots that there were at one time. */
  mostSlots: u32;
  /** Ranges that were write-protected for the dirty log. */
  protects: u32;
  /** Top node of the words that were last taken out of a dirty log, and how many words that log has. */
  report: u32;
  reportWords: u32;
  /** LOG_* */
  strategy: u32;
  /** A ring had no room once, and a bitmap took its page. */
  overflowed: u32;
  /** Invalidations that have begun and not ended, whether they met a slot or not: while there are any, slots stay as they are. */
  invalidations: u32;
  /** A spin lock, of `invalidations` and of the range. */
  invalidationLock: u32;
  /** 1: only faults in the range that is being invalidated try again, as on x86 [NOT-5]; 0: all do, as on arm64. */
  retryByRange: u32;
  /** The guest's addresses that are being invalidated, from the lowest to the highest; while `inProgress` is not 0. */
  invalidStart: u64;
  invalidEnd: u64;
  /** Grows with every change of the slots; bit 63 is set during one [NOT-32]. */
  generation: u64;
  /** Its VMID: generation and index (vmid.ts); 0 for none yet. */
  vmid: u64;
  /** Pages above which a range is flushed with the whole VMID; 0 for no limit. */
  flushLimit: u32;
  /** Hardware kept dirty state once: descriptors may have DBM. */
  hadHardware: u32;
  /** Pointer of its reverse maps, 0 for none; see rmap/maps.ts. */
  rmaps: u32;
  /** The last level that eager splitting looks at: that of pages, or 0 for the blocks alone, which is all that it needs. */
  splitWalk: u32;
}

// Vm.strategy: how stores to pages that log are noticed.
/** They are write-protected; the fault marks them. */
export const LOG_PROTECT: u32 = 0;
/** Hardware keeps their dirty state; reading the log collects it. */
export const LOG_DBM: u32 = 1;
/** They are write-protected; the fault pushes them onto the vCPU's ring. */
export const LOG_RING: u32 = 2;
/** As LOG_DBM, and hardware writes down which pages became dirty: reading the log looks at those alone. */
export const LOG_HDBSS: u32 = 3;

/** Does hardware keep the dirty state of pages that log? */
export function tracksInHardware(v: Vm): bool {
  return v.strategy === LOG_DBM || v.strategy === LOG_HDBSS;
}

/** vCPUs that can have a ring. */
export const RINGS: u32 = 64;
const SETS_AT: u32 = (<u32>offsetof<Vm>() + 7) & ~7;
const HOST_AT: u32 = SETS_AT + 2 * <u32>offsetof<SlotSet>();
const RINGS_AT: u32 = HOST_AT + <u32>offsetof<Host>();
/** CPUs of a host at most; a word for each: the vCPU that ran there last, + 1. */
export const LAST_RAN: u32 = 64;
const HDBSS_AT: u32 = RINGS_AT + RINGS * 4;
const LAST_RAN_AT: u32 = HDBSS_AT + RINGS * 4;
/** On a cache line of its own: walkers count here all the time. */
const AGENTS_AT: u32 = (LAST_RAN_AT + LAST_RAN * 4 + 63) & ~63;
const VM_BYTES: u32 = AGENTS_AT + MAX_WALKERS * AGENT_BYTES;

/** What one walker does for the VM. */
@view()
@unmanaged
export class Agent {
  // What the last fault led to; or, with ipa and size, a range of host addresses that was asked for.
  /** SERVICE_* */
  kind: u32;
  prot: u32;
  ipa: u64;
  size: u64;
  /** The operation's status. */
  status: i32;
  /** Pages that it marked in dirty logs. */
  marks: u32;
  /** The slot that it found last. */
  lastSlot: u32;
  /** Odd while it uses a set of slots. */
  reads: u32;
  /** Ring of the vCPU that it runs, 0 for none. */
  ring: u32;
  /** Odd while it may be in a chain of the reverse maps, or in a page that their entries name. */
  inside: u32;
  /** Its free descriptors of chains: the first, and how many. */
  descriptors: u32;
  descriptorCount: u32;
  /** Entries of reverse maps that it has made and removed. */
  entriesMade: u32;
  entriesRemoved: u32;
  /** OPERATIONS rows of OUTCOMES counts follow. */
  counts: u32;
}

/** Pages of a slot. */
export function pagesOf(v: Vm, s: Slot): u32 {
  return <u32>(s.size >> v.ps);
}

export function setOf(v: Vm, i: u32): SlotSet {
  return changetype<SlotSet>(changetype<usize>(v) + SETS_AT + i * <u32>offsetof<SlotSet>());
}

export function hostOf(v: Vm): Host {
  return changetype<Host>(changetype<usize>(v) + HOST_AT);
}

/** The part of walker `id`. */
export function agentOf(v: Vm, id: u32): Agent {
  return changetype<Agent>(changetype<usize>(v) + AGENTS_AT + id * AGENT_BYTES);
}

/** This walker's part. */
export function agent(v: Vm): Agent {
  return agentOf(v, walker().id);
}

/** The count of operations `op` of this walker that ended as `outcome`. */
export function countOf(v: Vm, op: u32, outcome: u32): usize {
  return changetype<usize>(agent(v)) + offsetof<Agent>("counts") + ((op * OUTCOMES + outcome) << 2);
}

function ringWord(v: Vm, i: u32): usize {
  return changetype<usize>(v) + RINGS_AT + (i << 2);
}

/** Where the vCPU that ran last on CPU `i` is noted. */
export function lastRanWord(v: Vm, i: u32): usize {
  return changetype<usize>(v) + LAST_RAN_AT + (i << 2);
}

/** The ring of vCPU `i`, 0 for none. */
export function ringOf(v: Vm, i: u32): u32 {
  return peek(ringWord(v, i));
}

export function setRing(v: Vm, i: u32, ring: u32): void {
  publish(ringWord(v, i), ring);
}

/** The hardware's log of vCPU `i`, 0 for none. */
export function hdbssOf(v: Vm, i: u32): u32 {
  return peek(changetype<usize>(v) + HDBSS_AT + (i << 2));
}

export function setHdbss(v: Vm, i: u32, log: u32): void {
  publish(changetype<usize>(v) + HDBSS_AT + (i << 2), log);
}

function overflowWord(v: Vm): usize {
  return changetype<usize>(v) + offsetof<Vm>("overflowed");
}

/** A page that a ring had no room for is about to be marked in a bitmap: whoever sees the mark sees this first. */
export function noteOverflow(v: Vm): void {
  publish(overflowWord(v), 1);
}

export function hasOverflowed(v: Vm): bool {
  return peek(overflowWord(v)) !== 0;
}

export function tableOf(v: Vm): Table {
  return tableAt(v.table);
}

/** Is there a VM at `p`, and does its table live? Any u32 is allowed. */
export function isVm(p: u32): bool {
  return isArenaRange(p, VM_BYTES) && changetype<Vm>(p).magic === VM_MAGIC && isTableHandle(changetype<Vm>(p).table);
}

/** A VM without slots around a stage-2 table; its pointer, or a negative errno. */
export function createVm(table: u32, ipaBits: u32, physBase: u64, host: u32, otherwise: u64): i32 {
  const t = tableAt(table);
  if (ipaBits > t.inputBits || host & ~(HOST_SPLITS_HUGE_ZERO | HOST_THP)) return EINVAL;
  const p = takeFrames(VM_ORDER);
  if (!p) return ENOMEM;
  const v = changetype<Vm>(p);
  v.table = table;
  v.ps = t.ps;
  v.ipaBits = ipaBits;
  v.physBase = physBase;
  const h = hostOf(v);
  h.ps = t.ps;
  h.blockShift = shift(t.ps, LAST_LEVEL - 1);
  h.flags = host;
  h.otherwise = otherwise;
  v.magic = VM_MAGIC;
  handOver();
  return <i32>p;
}

/** Gives the VM's own block back. Precondition: its slots and areas were given back. */
export function discardVm(v: Vm): i32 {
  v.magic = 0;
  return giveFrames(changetype<usize>(v)) ? OK : EINVAL;
}
