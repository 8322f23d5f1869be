// One vCPU runs: each access goes to the TLB, from there to the walk, from there as a fault to the hypervisor, and is tried again.
// Nothing leaves Wasm on the way.

import { FAULT_ACCESS, FAULT_PERMISSION, FAULT_TRANSLATION } from "../arch/fault";
import { put } from "../arch/field";
import { FIRST_LEVEL } from "../arch/granule";
import { EAGAIN, ENOMEM } from "../memory/errno";
import { parallel } from "../memory/layout";
import { isTooLate, letOthers, nap, SPINS } from "../memory/wait";
import { countHits, firstBank, Hinted, hintKind, isPlain, ownTag, sharedTag, through, wanted } from "../mmu/access";
import * as C from "../mmu/context";
import * as T from "../mmu/tlb";
import { accessOf, INFO_RIGHTS, resolve } from "../mmu/translate";
import { A_FETCH, A_KIND, A_READ, A_WRITE } from "../mmu/walk";
import { drain } from "../vm/dirty/hdbss";
import { isSoftFull, noteFull, RING_RESERVED } from "../vm/dirty/ring";
import { FAULT_EXEC, FAULT_LEVEL, FAULT_WALK, FAULT_WRITE, fault, SERVICE_MMIO } from "../vm/fault";
import { awaitInvalidations } from "../vm/invalidation";
import { agent, hdbssOf, ringOf, Vm } from "../vm/state";
import {
  answerKick,
  Cpu,
  contextOf,
  cpuAt,
  isKicked,
  Machine,
  NO_CPU,
  PATTERN_SEQUENTIAL,
  passStep,
  planOf,
  setRunning,
  tlbOf,
  turn,
  vmOf,
  WITNESS_STORES,
  WITNESS_TRANSLATIONS,
} from "./machine";
import { enterGuest } from "./processors";
import { witness } from "./witness";
import { Generator } from "./workload";

/** Faults that one access may take, not counting those that are taken again because another thread was faster: those may be so many. */
const MAX_TRIES: u32 = 64;
const MAX_RACES: u32 = 1 << 20;
/** Accesses between two steps: whoever waits for this CPU waits for so many at most, and its ring has room for their pages. */
const STEP: u32 = RING_RESERVED;

/**
 * An access that no hint answers; `c` and `t` are the CPU's. True if it was done, false if the hypervisor took it over, or it was given up
 * after MAX_TRIES faults, not counting those that lost a race. While another vCPU is at the page, whose thread may not run just now, it
 * is tried for longer.
 */
export function slow(m: Machine, cpu: Cpu, addr: u64, access: u32): bool {
  const c = contextOf(cpu),
    t = tlbOf(cpu);
  let races: u32 = 0;
  for (let tries: u32 = 0, again: bool = true; again; tries++) {
    if (through(c, t, addr, access)) {
      if (m.witness & WITNESS_TRANSLATIONS) compare(cpu, c, addr, access);
      return true;
    }
    if (!(c.where & C.W_STAGE2)) {
      cpu.aborts++; // a fault of stage 1 is the guest's own matter
      return false;
    }
    if (tries !== 0) cpu.retries++;
    leaveGuest(m, c);
    turn(cpu);
    if (c.where & C.W_HDBSS) {
      cpu.logFull++; // there is room now [DBM-13]
      turn(cpu);
      again = tries - races < MAX_TRIES;
      continue;
    }
    const mine = handle(m, cpu, c, access);
    if (parallel() && races < MAX_RACES && agent(vmOf(m)).status === EAGAIN) {
      races++;
      if (isDefined(EXPLORE)) explored(races);
    }
    const counted = tries + 1 - races;
    again = counted < MAX_TRIES || rest(vmOf(m), counted - MAX_TRIES);
    turn(cpu);
    if (!mine) return false;
  }
  cpu.stuck++;
  return false;
}

/** Tries before a nap: the first ones may find what has changed since the access. */
const EXPLORED_TRIES: u32 = 4;

/** After try `n` that lost a race, of the explore build: a vCPU that only tries again is in a new state with each try. */
function explored(n: u32): void {
  if (n % EXPLORED_TRIES === 0) nap(SPINS);
  else letOthers();
}

/**
 * Does a walk that asks no TLB lead where the access went? A load stands for a store: a walk for a store would set dirty state. An access
 * flag that was cleared is no reason to forget anything: ageing does not flush [NOT-8].
 */
function compare(cpu: Cpu, c: C.Context, addr: u64, access: u32): void {
  const went = c.pa,
    kind = (access & A_KIND) === A_WRITE ? (access & ~A_KIND) | A_READ : access;
  if (resolve(c, addr, kind) ? c.pa !== went : c.kind !== FAULT_ACCESS) cpu.stale++;
}

/** The vCPU is about to leave the guest: the hardware's log is emptied at each exit [DBM-13]. */
export function leaveGuest(m: Machine, c: C.Context): void {
  if (c.hdbss !== 0) drain(vmOf(m), c.hdbss);
}

/** Leaves the guest once if somebody asked for it. */
export function heed(m: Machine, cpu: Cpu, c: C.Context): void {
  if (!isKicked(cpu)) return;
  leaveGuest(m, c);
  answerKick(cpu);
}

/** Rests where another vCPU may be what the last fault lost against; false if there is none, or it makes no progress. The guest does not run. */
function rest(v: Vm, times: u32): bool {
  if (!parallel() || agent(v).status === ENOMEM || isTooLate(SPINS + times)) return false;
  nap(SPINS + times);
  return true;
}

/** The hypervisor handles the fault that the context holds. False if the access is not to be tried again. */
function handle(m: Machine, cpu: Cpu, c: C.Context, access: u32): bool {
  // On the way to a table of stage 1 hardware reads, unless it may not write there [FLT-2].
  const walk = c.kind === FAULT_PERMISSION ? A_WRITE : A_READ,
    kind = c.where & C.W_S1PTW ? walk : access & A_KIND;
  if (c.kind === FAULT_TRANSLATION) cpu.translationFaults++;
  else if (c.kind === FAULT_PERMISSION) cpu.permissionFaults++;
  else if (c.kind === FAULT_ACCESS) cpu.accessFaults++;
  const what =
    c.kind |
    (kind === A_WRITE ? FAULT_WRITE : 0) |
    (kind === A_FETCH ? FAULT_EXEC : 0) |
    (c.where & C.W_S1PTW ? FAULT_WALK : 0) |
    <u32>put(c.level - FIRST_LEVEL, FAULT_LEVEL);
  fault(vmOf(m), c.ipa, what);
  const a = agent(vmOf(m)),
    service = a.kind;
  if (service < SERVICE_MMIO) {
    if (a.status === EAGAIN) awaitInvalidations(vmOf(m));
    return true;
  }
  if (service === SERVICE_MMIO) cpu.exits++;
  else cpu.aborts++;
  return false;
}

/**
 * Runs `n` accesses of the CPU's workload, as this walker; how many are left, because the vCPU's dirty ring is full [RNG-7]. Preconditions: no other walker runs this CPU; the context has a
 * stage 2, no stage 1.
 */
export function run(m: Machine, i: u32, n: u32): u32 {
  const cpu = cpuAt(m, i),
    c = contextOf(cpu),
    t = tlbOf(cpu);
  const ring = ringOf(vmOf(m), i);
  if (m.processors !== 0 && enterGuest(m, cpu)) return n;
  setRunning(m, i);
  agent(vmOf(m)).ring = ring;
  c.hdbss = hdbssOf(vmOf(m), i);
  turn(cpu);
  while (n !== 0) {
    if (ring !== 0 && isSoftFull(ring)) {
      noteFull(ring);
      break;
    }
    const some = min(n, STEP);
    runSome(m, cpu, c, t, some);
    heed(m, cpu, c);
    passStep(cpu);
    n -= some;
  }
  leaveGuest(m, c);
  turn(cpu);
  c.hdbss = 0;
  agent(vmOf(m)).ring = 0;
  setRunning(m, NO_CPU);
  return n;
}

/** Writes down what `runSome` needs of the context and the TLB, which may change between two steps. */
function plan(m: Machine, cpu: Cpu, c: C.Context, t: T.Tlb): void {
  const p = planOf(cpu),
    bank = T.bank(t, firstBank(t, A_READ));
  p.shared = sharedTag(c, A_READ);
  p.own = ownTag(c, p.shared);
  p.need = put(wanted(A_READ), INFO_RIGHTS);
  p.hints = <u32>T.hintsOf(t, hintKind(A_READ));
  p.top = isPlain(c, t, A_READ) && !(m.witness & WITNESS_TRANSLATIONS) ? <u32>T.lastEntry(bank) : 0;
  p.uses = <u32>T.Use.base(bank);
}

/**
 * Runs `n` accesses. Loads and stores that a hint answers are done here: without a call, and without a branch on what is random.
 * A store wants the right above that of a load.
 */
function runSome(m: Machine, cpu: Cpu, c: C.Context, t: T.Tlb, n: u32): void {
  plan(m, cpu, c, t);
  const p = planOf(cpu),
    shared = p.shared,
    own = p.own,
    need = p.need,
    hints: usize = p.hints,
    top = p.top,
    uses: usize = p.uses,
    counts = (m.witness & WITNESS_STORES) !== 0,
    writes = cpu.writes,
    fetches = cpu.fetches,
    base = cpu.base,
    pages = <u64>cpu.pages,
    ps = cpu.ps,
    sequential = cpu.pattern === PATTERN_SEQUENTIAL;
  let hits: u32 = 0,
    stores: u32 = 0,
    seed = cpu.seed,
    clock = t.clock;
  for (let left = n; left !== 0; left--) {
    seed = Generator.step(seed);
    const page = sequential ? Generator.next(cpu) : Generator.any(seed, pages),
      addr = base + (page << ps) + Generator.within(seed),
      share = Generator.share(seed),
      isStore: u32 = share < writes ? 1 : 0,
      at: u32 = share - writes < fetches ? 0 : T.hintOf(T.hintSlot(hints, addr));
    if (at - 1 < top && Hinted.answers(at, addr, shared, own, need << isStore)) {
      T.Use.at(uses, at, ++clock);
      stores += isStore;
      hits++;
    } else {
      t.clock = clock;
      cpu.seed = seed;
      const done = slow(m, cpu, addr, accessOf(c, isStore ? A_WRITE : share - writes < fetches ? A_FETCH : A_READ));
      clock = t.clock;
      if (!done) continue;
      cpu.stores += isStore;
    }
    if (counts && isStore) witness(m, cpu, addr);
  }
  t.clock = clock;
  cpu.seed = seed;
  cpu.accesses += n;
  cpu.stores += stores;
  T.bank(t, firstBank(t, A_READ)).hits += hits;
  countHits(t, A_READ, hits - stores);
  countHits(t, A_WRITE, stores);
}
