/**
 * Benchmarks of a VM that runs: accesses that hit, demand faults, one round of dirty logging in each way, and the end of a slot, by
 * range and through reverse maps. Generator, TLB and counters are part of the work.
 *
 * @module
 */
import { createVm, type DirtyPolicy, type Vm } from "../bindings/vm/index.js";
import type { ResultRow } from "./rows.js";

/** Ids that a run may name. */
export const VM_IDS = [
  "vm-access-hit",
  "vm-access-miss",
  "vm-fault",
  "vm-dirty-round",
  "vm-dirty-64g",
  "vm-rmap-unmap",
] as const;

const RAM = 2 ** 30;
const PAGE = 4096;
const MIB = 2 ** 20;
const HELD_PAGES = 16;
const ACCESSES = 2_000_000;
const FAULT_BYTES = 128 * MIB;
const LOGGED_BYTES = 128 * MIB;
const SLOT_BYTES = 512 * MIB;
const ARENA_BYTES = 64 * MIB;
const WARM = 2;
/** A VM as large as those that are migrated: its tables, and what its host knows of its pages. */
const LARGE_BYTES = 64 * 2 ** 30;
const LARGE_ARENA_BYTES = 512 * MIB;
/** Stores between two reads of its log: as many as a ring holds. */
const LARGE_STORES = 2 ** 14;

const WAYS: Readonly<Record<string, DirtyPolicy>> = {
  wp: { strategy: "protect" },
  ring: { strategy: "ring" },
  dbm: { strategy: "dbm" },
};

function row(id: string, samples: readonly number[]): ResultRow {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
  return { id, peer: "wasm", unit: "ns", median: at(0.5), min: at(0), p99: at(0.99), samples: sorted.length };
}

export function nanoseconds(work: () => void): number {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start);
}

function guest(size: number): Vm {
  const vm = createVm({ arenaBytes: ARENA_BYTES, hardwareDirty: true });
  vm.addSlot({ gpa: RAM, size, backing: "4k" });
  return vm;
}

function hits(): number {
  using vm = guest(HELD_PAGES * PAGE);
  const work = { gpa: RAM, size: HELD_PAGES * PAGE, writes: 0.5 };
  vm.run(ACCESSES, work);
  return nanoseconds(() => vm.run(ACCESSES, work)) / ACCESSES;
}

function faults(): number {
  using vm = guest(FAULT_BYTES);
  const pages = FAULT_BYTES / PAGE;
  const work = { gpa: RAM, size: FAULT_BYTES, pattern: "sequential", writes: 1 } as const;
  return nanoseconds(() => vm.run(pages, work)) / pages;
}

/** Accesses to pages that are mapped, nearly none of which the TLB has: search, walk, and new entries. */
function misses(): number {
  using vm = guest(FAULT_BYTES);
  const work = { gpa: RAM, size: FAULT_BYTES, writes: 0.5 };
  vm.run(FAULT_BYTES / PAGE, { ...work, pattern: "sequential", writes: 1 });
  vm.run(ACCESSES / 8, work);
  return nanoseconds(() => vm.run(ACCESSES / 8, work)) / (ACCESSES / 8);
}

/** One read of the log of a guest that has stored to a quarter of its pages; per page of the slot. */
function round(policy: DirtyPolicy): number {
  using vm = guest(LOGGED_BYTES);
  const pages = LOGGED_BYTES / PAGE;
  vm.run(pages, { gpa: RAM, size: LOGGED_BYTES, pattern: "sequential", writes: 1 });
  vm.setDirtyPolicy(policy);
  vm.logDirty(0, true);
  vm.run(pages / 4, { gpa: RAM, size: LOGGED_BYTES, writes: 1 });
  return nanoseconds(() => vm.dirtyLog(0)) / pages;
}

/** Shares of a slot's pages that are mapped when it goes, in percent. */
const POPULATIONS = [1, 10, 100] as const;

/** The end of a slot of which a share is mapped; per page of the slot. */
function removal(reverseMaps: boolean, percent: number): number {
  using vm = createVm({ arenaBytes: ARENA_BYTES, reverseMaps });
  const pages = SLOT_BYTES / PAGE;
  const slot = vm.addSlot({ gpa: RAM, size: SLOT_BYTES, backing: "4k" });
  const pattern = percent === 100 ? "sequential" : "random";
  vm.run(Math.round((pages * percent) / 100), { gpa: RAM, size: SLOT_BYTES, pattern, writes: 1 });
  return nanoseconds(() => vm.removeSlot(slot)) / pages;
}

function removals(id: string, rounds: number): ResultRow[] {
  return POPULATIONS.flatMap((percent) =>
    [false, true].map((maps) =>
      measured(`${id}/${maps ? "rmap" : "range"}-${percent}`, rounds, () => removal(maps, percent)),
    ),
  );
}

export function measured(id: string, rounds: number, work: () => number): ResultRow {
  for (let i = 0; i < WARM; i++) work();
  return row(id, Array.from({ length: rounds }, work));
}

/** 64 GiB of 4 KiB pages: the log is switched on once, and then read in rounds, with stores to a thousandth of the pages in between. */
function large(id: string, way: string, policy: DirtyPolicy, rounds: number): ResultRow[] {
  using vm = createVm({ arenaBytes: LARGE_ARENA_BYTES, hardwareDirty: true, ipaBits: 40 });
  const work = { gpa: RAM, size: LARGE_BYTES, writes: 1 } as const;
  const pages = LARGE_BYTES / PAGE;
  vm.addSlot({ gpa: RAM, size: LARGE_BYTES, backing: "4k" });
  vm.run(pages, { ...work, pattern: "sequential" });
  if (vm.table.countLeaves() !== pages) throw new Error(`${id}: ${vm.table.countLeaves()} pages mapped`);
  vm.setDirtyPolicy(policy);
  const enabled = nanoseconds(() => vm.logDirty(0, true)) / pages;
  const samples = Array.from({ length: rounds + WARM }, () => {
    vm.run(LARGE_STORES, work);
    return nanoseconds(() => vm.dirtyLog(0)) / pages;
  });
  return [row(`${id}/${way}/enable`, [enabled]), row(`${id}/${way}/round`, samples.slice(WARM))];
}

/** The rows of one id, nanoseconds an access, a fault, or a page of the slot. */
export function vmRows(id: string, rounds: number): ResultRow[] {
  if (id === "vm-access-hit") return [measured(id, rounds, hits)];
  if (id === "vm-access-miss") return [measured(id, rounds, misses)];
  if (id === "vm-fault") return [measured(id, rounds, faults)];
  if (id === "vm-rmap-unmap") return removals(id, rounds);
  if (id === "vm-dirty-64g") {
    const ways = { ...WAYS, ring: { strategy: "ring", ringEntries: 2 * LARGE_STORES } as const };
    return Object.entries(ways).flatMap(([way, policy]) => large(id, way, policy, rounds));
  }
  return Object.entries(WAYS).map(([way, policy]) => measured(`${id}/${way}`, rounds, () => round(policy)));
}
