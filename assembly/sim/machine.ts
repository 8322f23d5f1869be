// A machine: CPUs with their TLBs, on which the vCPUs of a VM run. One block of the arena:
//
//   byte    0  Machine: the VM, and where its CPUs are
//         512  the CPU that each walker is running now, + 1
//        1024  Cpu records
//
// A CPU's context and TLB are records of mmu/, which the host has made (bindings/mmu): a CPU is run by one walker at a time,
// and any walker may take entries out of its TLB.

import { EINVAL, ENOMEM, ETIMEDOUT, OK } from "../memory/errno";
import { giveFrames, takeFrames } from "../memory/frames";
import { handOver } from "../memory/intent";
import { isArenaRange, MAX_WALKERS, parallel, Table, walker } from "../memory/layout";
import { isInMemory } from "../memory/physical";
import { isTooLate, nap } from "../memory/wait";
import { peek, publish } from "../memory/word";
import { CONTEXT_BYTES, Context, contextAt, isUsable } from "../mmu/context";
import { isUsableTlb, Tlb, tlbAt } from "../mmu/tlb";
import { isVm, tableOf, Vm } from "../vm/state";

export const MACHINE_MAGIC: u32 = 0x68636d67; // "gmch"
/** CPUs of a machine at most. */
export const MAX_CPUS: u32 = 64;
/** What a walker runs that runs no CPU. */
export const NO_CPU: u32 = u32.MAX_VALUE;
/** A Cpu and the pointers of its chunks, with room to spare. */
export const CPU_BYTES: u32 = 1024;
const MACHINE_ORDER: u32 = 5;
/** Chunks of a count for each page, each of 1 << CHUNK_ORDER units. */
export const CHUNKS: u32 = 64;

@view()
@unmanaged
export class Machine {
  magic: u32;
  /** Pointer of the VM. */
  vm: u32;
  /** CPUs that were added. */
  cpus: u32;
  /** WITNESS_* */
  witness: u32;
  /** The CPUs of a host that its vCPUs share with other machines' (processors.ts); 0: each vCPU has a CPU of its own. */
  processors: u32;
}

/** Stores are counted, so that a store that no dirty log reports is noticed. */
export const WITNESS_STORES: u32 = 1 << 0;
/** Each translation is compared with the tables. */
export const WITNESS_TRANSLATIONS: u32 = 1 << 1;

/** A word for each walker: the CPU that it runs. */
const RUNNING_AT: u32 = <u32>offsetof<Machine>();
/** On a cache line of its own: CPUs count here all the time. */
const CPUS_AT: u32 = (RUNNING_AT + MAX_WALKERS * 4 + 63) & ~63;
const MACHINE_BYTES: u32 = CPUS_AT + MAX_CPUS * CPU_BYTES;

// Cpu.pattern
/** Page after page, round the region. */
export const PATTERN_SEQUENTIAL: u32 = 0;
/** Any page, and any 8 bytes of it. */
export const PATTERN_RANDOM: u32 = 1;

/** One CPU, the workload that it runs, and what happened. */
@view("writes")
@unmanaged
export class Cpu {
  context: u32;
  tlb: u32;
  // The workload. The host writes it before a run.
  /** First guest address, a multiple of the page. */
  base: u64;
  /** Pages of the region. */
  pages: u32;
  /** Pages between one access and the next of PATTERN_SEQUENTIAL; 1 for all. */
  stride: u32;
  /** PATTERN_* */
  pattern: u32;
  /** Of 1024 accesses, how many are stores, and how many are fetches. */
  writes: u32;
  fetches: u32;
  /** Page of the next access of PATTERN_SEQUENTIAL. */
  cursor: u32;
  /** State of the generator, not 0. */
  seed: u64;
  // What happened.
  accesses: u64;
  stores: u64;
  translationFaults: u64;
  permissionFaults: u64;
  accessFaults: u64;
  /** Accesses that the VMM emulates, and those that the guest gets an abort for. */
  exits: u64;
  aborts: u64;
  /** Faults that had to be taken again: another vCPU was faster. */
  retries: u64;
  /** Accesses given up after MAX_TRIES faults. */
  stuck: u64;
  /** Faults because the hardware's log of dirty pages was full. */
  logFull: u64;
  /** Odd while the guest runs; changes every few accesses. */
  step: u32;
  /** log2 of the granule. */
  ps: u32;
  /** Accesses that a TLB translated otherwise than the tables do. */
  stale: u64;
  /** The host's CPU that it is loaded on, + 1; 0 for none. */
  processor: u32;
  /** Not 0: somebody waits until this vCPU has left the guest once. */
  kicked: u32;
  // Pointers of chunks follow: CHUNKS of the stores to each page, CHUNKS of how many of them a collector has copied.
}

/**
 * What the loop of accesses needs of a CPU's context and TLB. Written before the loop and loaded again, since what a compiler can compute
 * it computes in each turn of a loop that is short of registers.
 */
@unmanaged
export class Plan {
  /** Tags of entries that answer: of all ASIDs, and of the context's own. */
  shared: u64;
  own: u64;
  /** What INFO has of a page that may be read; shifted by the kind of the access. */
  need: u64;
  hints: u32;
  /** The last entry that a hint may name, 0 for none. */
  top: u32;
  /** As of Use.base. */
  uses: u32;
  spare: u32;
}

const PLAN_AT: u32 = 192;
const STORES_AT: u32 = 256;
const COPIED_AT: u32 = STORES_AT + CHUNKS * 4;

export function machineAt(p: u32): Machine {
  return changetype<Machine>(p);
}

/** Is there a machine at `p`? Any u32 is allowed. */
export function isMachine(p: u32): bool {
  return isArenaRange(p, MACHINE_BYTES) && machineAt(p).magic === MACHINE_MAGIC && isVm(machineAt(p).vm);
}

/** The machine whose TLBs hear a table's TLBIs; null for none. */
export function machineOf(t: Table): Machine {
  return machineAt(t.machine);
}

export function vmOf(m: Machine): Vm {
  return changetype<Vm>(m.vm);
}

export function cpuAt(m: Machine, i: u32): Cpu {
  return changetype<Cpu>(changetype<usize>(m) + CPUS_AT + i * CPU_BYTES);
}

export function contextOf(cpu: Cpu): Context {
  return contextAt(cpu.context);
}

export function tlbOf(cpu: Cpu): Tlb {
  return tlbAt(cpu.tlb);
}

export function planOf(cpu: Cpu): Plan {
  // Decided when this is compiled.
  if (offsetof<Cpu>() > PLAN_AT || PLAN_AT + offsetof<Plan>() > STORES_AT) ERROR("records of a CPU overlap");
  return changetype<Plan>(changetype<usize>(cpu) + PLAN_AT);
}

/** Where the chunk `i` of stores, or of copied stores, is named. */
export function storesWord(cpu: Cpu, i: u32): usize {
  return changetype<usize>(cpu) + STORES_AT + (i << 2);
}

export function copiedWord(cpu: Cpu, i: u32): usize {
  return changetype<usize>(cpu) + COPIED_AT + (i << 2);
}

function runningWord(m: Machine): usize {
  return changetype<usize>(m) + RUNNING_AT + (walker().id << 2);
}

/** The CPU that this walker runs; NO_CPU if it runs none, as a VMM's thread does. */
export function running(m: Machine): u32 {
  return load<u32>(runningWord(m)) - 1;
}

/** This walker runs CPU `i` from now on; NO_CPU for none. */
export function setRunning(m: Machine, i: u32): void {
  store<u32>(runningWord(m), i + 1);
}

function stepWord(cpu: Cpu): usize {
  return changetype<usize>(cpu) + offsetof<Cpu>("step");
}

/**
 * A step forward. Everything that the guest did before is seen by whoever waits for the step. The guest's loads from the TLB come
 * after it, so either they miss what was invalidated, or whoever invalidated it sees the guest run and waits: the store must not
 * pass the load behind it, which takes sequential consistency of both, and plain loads stay behind an acquiring one.
 */
function advance(cpu: Cpu, n: u32): void {
  if (!parallel()) {
    cpu.step += n; // nobody else waits for it
    return;
  }
  publish(stepWord(cpu), cpu.step + n);
  peek(stepWord(cpu));
}

/** The guest runs from here on, or not any more: the hypervisor does. */
export function turn(cpu: Cpu): void {
  advance(cpu, 1);
}

/** The accesses up to here are complete. Precondition: the guest runs. */
export function passStep(cpu: Cpu): void {
  advance(cpu, 2);
}

/** Waits until the accesses that another CPU had begun are complete. It makes progress, or its thread does not run at all: then false. */
export function awaitAccesses(cpu: Cpu): bool {
  const seen = peek(stepWord(cpu));
  for (let i: u32 = 0; seen & 1 && peek(stepWord(cpu)) === seen; i++) {
    if (isTooLate(i)) return false;
    nap(i);
  }
  return true;
}

function kickWord(cpu: Cpu): usize {
  return changetype<usize>(cpu) + offsetof<Cpu>("kicked");
}

/** Has somebody asked this vCPU to leave the guest? It does, and says so by `answerKick`. */
export function isKicked(cpu: Cpu): bool {
  return peek(kickWord(cpu)) !== 0;
}

export function answerKick(cpu: Cpu): void {
  publish(kickWord(cpu), 0);
}

/**
 * Makes every vCPU leave the guest once, and waits until it has: what it does whenever it leaves was done for all that it stored before.
 * The one that this walker runs has left. ETIMEDOUT when one makes no progress.
 */
export function kickAll(m: Machine): i32 {
  const mine = running(m);
  for (let i: u32 = 0; i < m.cpus; i++) if (i !== mine) publish(kickWord(cpuAt(m, i)), 1);
  for (let i: u32 = 0; i < m.cpus; i++) {
    const cpu = cpuAt(m, i);
    if (i === mine) continue;
    for (let n: u32 = 0; peek(stepWord(cpu)) & 1 && isKicked(cpu); n++) {
      if (isTooLate(n)) return ETIMEDOUT;
      nap(n);
    }
  }
  return OK;
}

/** A machine without CPUs for a VM; its pointer, or a negative errno. Its TLBs hear the TLBIs of the VM's table. */
export function createMachine(vm: u32, witness: u32): i32 {
  const p = takeFrames(MACHINE_ORDER);
  if (!p) return ENOMEM;
  const m = changetype<Machine>(p);
  m.vm = vm;
  m.witness = witness;
  m.magic = MACHINE_MAGIC;
  tableOf(vmOf(m)).machine = <u32>p;
  handOver();
  return <i32>p;
}

/** Adds a CPU of a context and a TLB; its number, or EINVAL. */
export function addCpu(m: Machine, context: u32, tlb: u32): i32 {
  if (m.cpus >= MAX_CPUS || !isInMemory(context, CONTEXT_BYTES) || !isUsable(contextAt(context))) return EINVAL;
  if (!isUsableTlb(tlb)) return EINVAL;
  const cpu = cpuAt(m, m.cpus);
  cpu.context = context;
  cpu.tlb = tlb;
  cpu.stride = 1;
  cpu.ps = vmOf(m).ps;
  cpu.seed = m.cpus + 1;
  return m.cpus++;
}

/** Can the CPU run? Its context and TLB are still what they were, and its workload makes sense; the host may have written here. */
export function isReady(cpu: Cpu): bool {
  if (cpu.pages === 0 || cpu.stride === 0 || cpu.stride > cpu.pages || cpu.cursor >= cpu.pages || cpu.seed === 0)
    return false;
  if (cpu.pages > 1 << 30 || cpu.base >> 52 !== 0) return false;
  return isWhole(cpu);
}

/** Are the CPU's context and TLB still what they were? The host may have written there. */
export function isWhole(cpu: Cpu): bool {
  return isInMemory(cpu.context, CONTEXT_BYTES) && isUsable(contextAt(cpu.context)) && isUsableTlb(cpu.tlb);
}

/** Gives the machine back. Its table's TLBIs are heard by nobody then. */
export function discardMachine(m: Machine): i32 {
  tableOf(vmOf(m)).machine = 0;
  for (let i: u32 = 0; i < m.cpus; i++) {
    for (let j: u32 = 0; j < 2 * CHUNKS; j++) {
      const chunk = load<u32>(storesWord(cpuAt(m, i), j));
      if (chunk !== 0) giveFrames(chunk);
    }
  }
  m.magic = 0;
  return giveFrames(changetype<usize>(m)) ? OK : EINVAL;
}
