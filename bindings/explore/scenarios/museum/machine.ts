// The VM around the tables: faults against notifiers, VMIDs that run out, dirty rings. See docs/museum/machine.md.

import type { ProtocolWalker, Shared } from "../../protocol.js";
import { type Exhibit, exhibit, lock, type Steps, unlock } from "./exhibit.js";

const PAGE = "machine";
const EAGAIN = -11;

type SequenceFlaw = "end-reversed" | "check-reversed" | "late-sample" | "sequence-only" | "progress-only";
type SequenceWord = "host page" | "in progress" | "sequence" | "entry" | "lock";

/** Must the fault begin again? In progress first: whoever ends raises the sequence before. */
function* mustRetry(m: Shared<SequenceWord>, sampled: number, flaw: SequenceFlaw | undefined): Steps {
  const early = flaw === "check-reversed" && (yield* m.load("sequence")) !== sampled;
  if (flaw !== "sequence-only" && (yield* m.load("in progress")) !== 0) return 1;
  if (flaw === "check-reversed") return early ? 1 : 0;
  return flaw !== "progress-only" && (yield* m.load("sequence")) !== sampled ? 1 : 0;
}

const fault = (flaw: SequenceFlaw | undefined): ProtocolWalker<SequenceWord> =>
  function* (m) {
    let sampled = flaw === "late-sample" ? 0 : yield* m.load("sequence");
    const page = yield* m.load("host page");
    if (flaw === "late-sample") sampled = yield* m.load("sequence");
    if (page === 0) return EAGAIN;
    yield* lock(m, "lock");
    const retry = yield* mustRetry(m, sampled, flaw);
    if (retry === 0) yield* m.store("entry", page);
    yield* unlock(m, "lock");
    return retry ? EAGAIN : 0;
  };

/** The host takes its page away: start with the lock, end without, so that only its order is left to rely on. */
const notifier = (flaw: SequenceFlaw | undefined): ProtocolWalker<SequenceWord> =>
  function* (m) {
    yield* lock(m, "lock");
    yield* m.add("in progress", 1);
    yield* m.store("entry", 0);
    yield* unlock(m, "lock");
    yield* m.store("host page", 0);
    if (flaw === "end-reversed") yield* m.add("in progress", -1);
    yield* m.add("sequence", 1);
    if (flaw !== "end-reversed") yield* m.add("in progress", -1);
  };

const sequence = exhibit<SequenceWord, SequenceFlaw>({
  page: PAGE,
  name: "notifier-fault",
  title: "a fault looks its page up while the host takes this page away",
  cites: ["FLT-22", "FLT-23", "FLT-24", "NOT-1", "NOT-3", "NOT-4", "BUG-13", "PROP-12", "commit 13ec9308a857"],
  words: { "host page": 1, "in progress": 0, sequence: 0, entry: 0, lock: 0 },
  flaws: {
    "end-reversed": "the end says that nothing is in progress, and raises the sequence afterwards",
    "check-reversed": "the fault compares the sequence, and asks afterwards what is in progress",
    "late-sample": "the sequence is sampled after the page was looked up",
    "sequence-only": "the fault does not ask what is in progress",
    "progress-only": "the fault does not compare the sequence",
  },
  walkers: (flaw) => [fault(flaw), notifier(flaw)],
  check: (words) =>
    words.entry === words["host page"] || words.entry === 0
      ? undefined
      : "a page is mapped that the host has taken away",
});

/** An id is generation and index. */
const INDEX = 15;
const GENERATION = 16;
/** Of a CPU that is in no VM: not 0, so that the short way stays open, and index 0, which no VM has [VMID-6]. */
const IDLE = GENERATION;
const INDICES = [1, 2] as const;
const ACTIVE = ["active on 0", "active on 1"] as const;
const RESERVED = ["reserved on 0", "reserved on 1"] as const;

type VmidFlaw = "blind-store" | "unreserved" | "active-kept" | "no-flush";
type VmidWord =
  | "generation"
  | "taken"
  | "stale"
  | "lock"
  | (typeof ACTIVE)[number]
  | (typeof RESERVED)[number]
  | "running on 0"
  | "running on 1";

function* freeIndex(m: Shared<VmidWord>): Steps {
  const taken = yield* m.load("taken"),
    index = INDICES.find((i) => !(taken & (1 << i))) ?? 0;
  if (index !== 0) yield* m.store("taken", taken | (1 << index));
  return index;
}

/** No index is free: a new generation, in which only what runs keeps its index. */
function* rollOver(m: Shared<VmidWord>, flaw: VmidFlaw | undefined): Steps {
  const generation = (yield* m.add("generation", GENERATION)) + GENERATION;
  let taken = 0;
  for (const [cpu, active] of ACTIVE.entries()) {
    const was = flaw === "active-kept" ? yield* m.load(active) : yield* m.exchange(active, 0),
      reserved = RESERVED[cpu] ?? "reserved on 0";
    if (was === 0) taken |= 1 << ((yield* m.load(reserved)) & INDEX);
    else if (flaw !== "unreserved" && was !== IDLE) {
      yield* m.store(reserved, was);
      taken |= 1 << (was & INDEX);
    }
  }
  yield* m.store("taken", taken & ~1);
  if (flaw !== "no-flush") yield* m.store("stale", 0);
  return generation;
}

/** An id for a VM that had `old`, or none (0); with the lock. */
function* newId(m: Shared<VmidWord>, old: number, flaw: VmidFlaw | undefined): Steps {
  let generation = yield* m.load("generation");
  const index = old & INDEX;
  if (old !== 0) {
    if (old - index === generation) return old;
    for (const reserved of RESERVED) {
      if ((yield* m.load(reserved)) !== old) continue;
      yield* m.store(reserved, generation | index);
      return generation | index;
    }
  }
  let free = yield* freeIndex(m);
  if (free === 0) {
    generation = yield* rollOver(m, flaw);
    free = yield* freeIndex(m);
  }
  return generation | free;
}

/** A CPU enters the VM whose id was `old`. */
const enter = (flaw: VmidFlaw | undefined, old: number): ProtocolWalker<VmidWord> =>
  function* (m, cpu) {
    const active = ACTIVE[cpu] ?? "active on 0";
    let id = old;
    const isReady = old !== 0 && (yield* m.load(active)) !== 0 && (yield* m.load("generation")) === old - (old & INDEX);
    let isShort = isReady;
    if (isReady && flaw === "blind-store") yield* m.store(active, old);
    else if (isReady) isShort = (yield* m.exchange(active, old)) !== 0;
    if (!isShort) {
      yield* lock(m, "lock");
      id = yield* newId(m, old, flaw);
      yield* m.store(active, id);
      yield* unlock(m, "lock");
    }
    yield* m.store(cpu === 0 ? "running on 0" : "running on 1", id & INDEX);
  };

const vmids = exhibit<VmidWord, VmidFlaw>({
  page: PAGE,
  name: "vmid-rollover",
  title: "one CPU enters a VM that has an id while another one finds no id free: a new generation",
  cites: ["VMID-3", "VMID-4", "VMID-5", "VMID-6", "VMID-7", "VMID-8", "PROP-10"],
  words: {
    generation: GENERATION,
    taken: (1 << 1) | (1 << 2),
    stale: 1 << 2,
    lock: 0,
    "active on 0": IDLE,
    "active on 1": IDLE,
    "reserved on 0": 0,
    "reserved on 1": 0,
    "running on 0": 0,
    "running on 1": 0,
  },
  flaws: {
    "blind-store": "the short way stores its id, and does not ask whether a rollover came between",
    unreserved: "a rollover does not keep the ids of VMs that run",
    "active-kept": "a rollover reads what is active on each CPU, and does not clear it",
    "no-flush": "a rollover does not flush the TLBs",
  },
  walkers: (flaw) => [enter(flaw, GENERATION | 1), enter(flaw, 0)],
  check: (words) => {
    const [a, b] = [words["running on 0"], words["running on 1"]];
    if (a === b) return "two VMs run with one VMID";
    return words.stale & (1 << b) ? "a VM runs with a VMID of which stale translations are left" : undefined;
  },
});

type RingFlaw = "flag-first" | "late-read" | "no-limit";
type RingWord = "payload" | "flags" | "dirty index" | "reset index";
const DIRTY = 1;
const RESET = 2;
/** Two pages, as bits. */
const PAGES = [1, 2] as const;

/** A vCPU that writes two pages, with a ring of one entry; which pages it has pushed. */
const push = (flaw: RingFlaw | undefined): ProtocolWalker<RingWord> =>
  function* (m) {
    let pushed = 0;
    for (const page of PAGES) {
      const used = (yield* m.load("dirty index")) - (yield* m.load("reset index"));
      if (used > 0 && flaw !== "no-limit") return pushed; // the ring is full: out to the user
      if (flaw === "flag-first") yield* m.store("flags", DIRTY);
      yield* m.plain.store("payload", page);
      if (flaw !== "flag-first") yield* m.store("flags", DIRTY);
      yield* m.add("dirty index", 1);
      pushed |= page;
    }
    return pushed;
  };

/** The user reads what is dirty, twice; which pages these were. */
const collect: ProtocolWalker<RingWord> = function* (m) {
  let read = 0;
  for (const _ of PAGES) {
    if ((yield* m.load("flags")) !== DIRTY) continue;
    read |= yield* m.plain.load("payload");
    yield* m.store("flags", RESET);
  }
  return read;
};

/** Takes back what was read, twice, and protects these pages again: which they were. */
const reset = (flaw: RingFlaw | undefined): ProtocolWalker<RingWord> =>
  function* (m) {
    let again = 0;
    for (const _ of PAGES) {
      if ((yield* m.load("flags")) !== RESET) continue;
      if (flaw !== "late-read") again |= yield* m.plain.load("payload");
      yield* m.store("flags", 0);
      yield* m.add("reset index", 1);
      if (flaw === "late-read") again |= yield* m.plain.load("payload");
    }
    return again;
  };

const ring = exhibit<RingWord, RingFlaw>({
  page: PAGE,
  name: "ring-reset",
  title: "a vCPU pushes dirty pages, the user reads them, and the ring is reset",
  cites: ["RNG-5", "RNG-6", "RNG-7", "RNG-8", "RNG-9", "RNG-11"],
  words: { payload: 0, flags: 0, "dirty index": 0, "reset index": 0 },
  flaws: {
    "flag-first": "an entry says DIRTY before its page is there",
    "late-read": "an entry is given back before its page is read",
    "no-limit": "a vCPU pushes into a ring that is full",
  },
  walkers: (flaw) => [push(flaw), collect, reset(flaw)],
  check: ({ flags, payload }, [pushed = 0, read = 0, again = 0]) => {
    const left = flags === DIRTY ? payload : 0;
    if (pushed & ~(read | left)) return "a page that was pushed is neither read nor in the ring";
    return again & ~read ? "a page is protected again that nobody has read" : undefined;
  },
});

export const MACHINE: readonly Exhibit[] = [sequence, vmids, ring];
