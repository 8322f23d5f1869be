// Accesses that somebody recorded, performed by the vCPUs that made them, in the order of the record. One word each:
//
//   63:62 A_READ, A_WRITE or A_FETCH    61:56 vCPU    51:0 guest physical address

import { get, WIDTH } from "../arch/field";
import { EINVAL } from "../memory/errno";
import { accessOf } from "../mmu/translate";
import { A_FETCH, A_WRITE } from "../mmu/walk";
import { isSoftFull, noteFull, RING_RESERVED } from "../vm/dirty/ring";
import { agent, hdbssOf, ringOf } from "../vm/state";
import {
  Cpu,
  contextOf,
  cpuAt,
  isWhole,
  Machine,
  NO_CPU,
  passStep,
  setRunning,
  turn,
  vmOf,
  WITNESS_STORES,
} from "./machine";
import { enterGuest } from "./processors";
import { heed, leaveGuest, slow } from "./vcpu";
import { witness } from "./witness";

export const RECORDED_ADDRESS: u32 = 0 | (52 << WIDTH);
export const RECORDED_CPU: u32 = 56 | (6 << WIDTH);
export const RECORDED_KIND: u32 = 62 | (2 << WIDTH);

const WORD: u32 = 8;

/** This walker runs CPU `i` from here on. False if the CPU cannot enter the guest. */
function enter(m: Machine, i: u32): bool {
  const cpu = cpuAt(m, i);
  if (m.processors !== 0 && enterGuest(m, cpu)) return false;
  setRunning(m, i);
  agent(vmOf(m)).ring = ringOf(vmOf(m), i);
  contextOf(cpu).hdbss = hdbssOf(vmOf(m), i);
  turn(cpu);
  return true;
}

/** This walker runs CPU `i` no more; NO_CPU for none. */
function leave(m: Machine, i: u32): void {
  if (i === NO_CPU) return;
  const cpu = cpuAt(m, i);
  leaveGuest(m, contextOf(cpu));
  turn(cpu);
  contextOf(cpu).hdbss = 0;
  agent(vmOf(m)).ring = 0;
  setRunning(m, NO_CPU);
}

function perform(m: Machine, cpu: Cpu, word: u64): void {
  const addr = get(word, RECORDED_ADDRESS),
    kind = <u32>get(word, RECORDED_KIND);
  cpu.accesses++;
  if (!slow(m, cpu, addr, accessOf(contextOf(cpu), kind)) || kind !== A_WRITE) return;
  cpu.stores++;
  if (m.witness & WITNESS_STORES) witness(m, cpu, addr);
}

/**
 * Performs the `n` accesses at `p`; how many are left, because a dirty ring is full [RNG-7], or EINVAL at a word that names no CPU
 * that can run, or no kind of access: those before it are done. Preconditions: `p` are `n` words of the arena; no other walker runs
 * these CPUs.
 */
export function runRecorded(m: Machine, p: usize, n: u32): i32 {
  let i = NO_CPU,
    cpu = cpuAt(m, 0),
    bad = false;
  for (; n !== 0; n--, p += WORD) {
    const word = load<u64>(p),
      id = <u32>get(word, RECORDED_CPU);
    if (id !== i) {
      leave(m, i);
      i = NO_CPU;
      bad = id >= m.cpus || !isWhole(cpuAt(m, id)) || !enter(m, id);
      if (bad) break;
      cpu = cpuAt(m, id);
      i = id;
    }
    bad = get(word, RECORDED_KIND) > A_FETCH;
    if (bad) break;
    const ring = agent(vmOf(m)).ring;
    if (ring !== 0 && isSoftFull(ring)) {
      noteFull(ring);
      break;
    }
    perform(m, cpu, word);
    if (n % RING_RESERVED !== 0) continue;
    heed(m, cpu, contextOf(cpu));
    passStep(cpu);
  }
  leave(m, i);
  return bad ? EINVAL : <i32>n;
}
