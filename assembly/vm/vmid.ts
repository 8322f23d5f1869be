// VMIDs for more VMs than there are, as KVM's allocator gives them out [VMID-1..10]. Kernel: arch/arm64/kvm/vmid.c.
//
//   Vmids: sizes, generation, cursor, lock
//   at 64            for each CPU: the id that it runs, the id that is kept for it
//   behind them      one bit for each index: taken in this generation
//
// An id is generation | index. An id of an older generation is as good as none, but its VM tries to keep the index. When all
// indices are taken the generation rises: everything is free but what CPUs run at that moment, and all TLBs are flushed before
// anybody gets an index of the new generation. Index 0 is the host's.
//
// A CPU that finds its id current enters without the lock, by an exchange of its active word: the rollover exchanges the
// same word for 0, so either it sees the id and reserves it, or the CPU sees 0 and takes the lock.

import { UNIT_BYTES } from "../arch/granule";
import { EINVAL, ENOMEM, ETIMEDOUT, OK } from "../memory/errno";
import { giveFrames, takeFrames } from "../memory/frames";
import { handOver } from "../memory/intent";
import { isArenaRange } from "../memory/layout";
import { observe, publish, replace, swap } from "../memory/shared";
import { acquire, relinquish } from "../memory/spin";
import { peek, publish as publishWord } from "../memory/word";
import { hearAll } from "../record/interconnect";
import { LAST_RAN, lastRanWord, Vm } from "./state";

export const VMIDS_MAGIC: u32 = 0x64766d67; // "gmvd"
/** CPUs at most. */
const MAX_CPUS: u32 = LAST_RAN;
const CPUS_AT: u32 = 64;
const BITMAP_AT: u32 = CPUS_AT + MAX_CPUS * 16;
const MIN_BITS: u32 = 2;
const MAX_BITS: u32 = 16;

@view()
@unmanaged
export class Vmids {
  magic: u32;
  /** Bits of an index: 8 or 16 in hardware; fewer for a small model. */
  bits: u32;
  cpus: u32;
  /** Where the search for a free index goes on. */
  cursor: u32;
  /** Of the ids that are current; a multiple of 1 << bits. */
  generation: u64;
  /** A spin lock: of everything but the active words. */
  lock: u32;
  /** Whoever hears ALLE1IS: pointer of the CPUs (sim/processors.ts); 0 for nobody. */
  listeners: u32;
  /** How often all indices were taken. */
  rollovers: u32;
}

export function vmidsAt(p: u32): Vmids {
  return changetype<Vmids>(p);
}

function bytesOf(bits: u32): u32 {
  return BITMAP_AT + max<u32>(8, (1 << bits) >> 3);
}

/** Are there VMIDs at `p`? Any u32 is allowed. */
export function isVmids(p: u32): bool {
  return isArenaRange(p, bytesOf(MAX_BITS)) && vmidsAt(p).magic === VMIDS_MAGIC;
}

/** VMIDs of `bits` bits for `cpus` CPUs: pointer, EINVAL or ENOMEM. Each CPU may keep one, and one more must be free [VMID-8]. */
export function createVmids(bits: u32, cpus: u32): i32 {
  if (bits < MIN_BITS || bits > MAX_BITS || cpus === 0 || cpus > MAX_CPUS || cpus >= (1 << bits) - 1) return EINVAL;
  let order: u32 = 0;
  while ((<u32>UNIT_BYTES) << order < bytesOf(MAX_BITS)) order++;
  const p = <u32>takeFrames(order);
  if (p === 0) return ENOMEM;
  const s = vmidsAt(p);
  s.bits = bits;
  s.cpus = cpus;
  s.cursor = 1;
  s.generation = (<u64>1) << bits;
  s.magic = VMIDS_MAGIC;
  handOver();
  return p;
}

export function discardVmids(s: Vmids): i32 {
  s.magic = 0;
  return giveFrames(changetype<usize>(s)) ? OK : EINVAL;
}

function activeWord(s: Vmids, cpu: u32): usize {
  return changetype<usize>(s) + CPUS_AT + (cpu << 4);
}

function reservedWord(s: Vmids, cpu: u32): usize {
  return activeWord(s, cpu) + 8;
}

function indexOf(s: Vmids, id: u64): u32 {
  return <u32>id & ((1 << s.bits) - 1);
}

/** The index of a VM's id: what VTTBR_EL2 and TLBIs name. It may be of an older generation. */
export function vmidOf(s: Vmids, v: Vm): u32 {
  return indexOf(s, observe(idWord(v)));
}

function idWord(v: Vm): usize {
  return changetype<usize>(v) + offsetof<Vm>("vmid");
}

function isCurrent(s: Vmids, id: u64): bool {
  return (id ^ observe(changetype<usize>(s) + offsetof<Vmids>("generation"))) >> s.bits === 0;
}

function wordOf(s: Vmids, index: u32): usize {
  return changetype<usize>(s) + BITMAP_AT + ((index >> 6) << 3);
}

/** Takes an index; true if it was taken already. */
function testAndSet(s: Vmids, index: u32): bool {
  const p = wordOf(s, index),
    bit = (<u64>1) << (index & 63),
    word = observe(p);
  publish(p, word | bit);
  return (word & bit) !== 0;
}

/** The first free index from `from` on; 0 if there is none. */
function freeFrom(s: Vmids, from: u32): u32 {
  const end: u32 = 1 << s.bits;
  for (let i = from; i < end; ) {
    const rest = ~observe(wordOf(s, i)) >> (i & 63);
    if (rest !== 0) {
      const found = i + <u32>ctz(rest);
      return found < end ? found : 0;
    }
    i = (i | 63) + 1;
  }
  return 0;
}

/** All indices are taken: those that CPUs run are kept, all others are free, and no TLB knows any of them [VMID-5]. */
function rollOver(s: Vmids): void {
  for (let i: u32 = 0; i < 1 << s.bits; i += 64) publish(wordOf(s, i), 0);
  for (let cpu: u32 = 0; cpu < s.cpus; cpu++) {
    let id = swap(activeWord(s, cpu), 0);
    if (id === 0) id = observe(reservedWord(s, cpu)); // it has not entered since the last rollover
    testAndSet(s, indexOf(s, id));
    publish(reservedWord(s, cpu), id);
  }
  s.rollovers++;
  hearAll(s.listeners);
}

/** Was `id` kept for a CPU? Then it is kept as `fresh` from now on [VMID-4, VMID-7]. */
function moveReserved(s: Vmids, id: u64, fresh: u64): bool {
  let found = false;
  for (let cpu: u32 = 0; cpu < s.cpus; cpu++) {
    if (observe(reservedWord(s, cpu)) !== id) continue;
    publish(reservedWord(s, cpu), fresh); // of each CPU that has it: they all run this VM
    found = true;
  }
  return found;
}

/** An id of the current generation, the old index if it can be [VMID-4]. Under the lock. */
function newId(s: Vmids, id: u64): u64 {
  if (id !== 0) {
    const fresh = s.generation | indexOf(s, id);
    if (moveReserved(s, id, fresh) || !testAndSet(s, indexOf(s, id))) return fresh;
  }
  let index = freeFrom(s, s.cursor);
  if (index === 0) {
    publish(changetype<usize>(s) + offsetof<Vmids>("generation"), s.generation + ((<u64>1) << s.bits));
    rollOver(s);
    index = freeFrom(s, 1);
  }
  testAndSet(s, index);
  s.cursor = index;
  return s.generation | index;
}

/** CPU `cpu` is about to run the VM: its id is current afterwards [VMID-3]. 0 or ETIMEDOUT. */
export function updateVmid(s: Vmids, cpu: u32, v: Vm): i32 {
  const active = observe(activeWord(s, cpu)),
    known = observe(idWord(v));
  if (active !== 0 && isCurrent(s, known) && replace(activeWord(s, cpu), active, known)) return OK;
  if (acquire(changetype<usize>(s) + offsetof<Vmids>("lock"))) return ETIMEDOUT;
  let id = observe(idWord(v));
  if (!isCurrent(s, id)) {
    id = newId(s, id);
    publish(idWord(v), id);
  }
  publish(activeWord(s, cpu), id);
  relinquish(changetype<usize>(s) + offsetof<Vmids>("lock"));
  return OK;
}

/** CPU `cpu` runs no VM: nothing is kept for it at a rollover. The value is no VM's id, and not 0 [VMID-6]. */
export function clearVmid(s: Vmids, cpu: u32): void {
  publish(activeWord(s, cpu), (<u64>1) << s.bits);
}

/**
 * vCPU `vcpu` of the VM is about to run on CPU `cpu`. True if another one ran there last, or none: vCPUs of one VM may use one ASID for
 * different things, so the CPU forgets the VM's translations of stage 1 first [VMID-10].
 */
export function changesVcpu(v: Vm, cpu: u32, vcpu: u32): bool {
  const p = lastRanWord(v, cpu),
    same = peek(p) === vcpu + 1;
  publishWord(p, vcpu + 1);
  return !same;
}
