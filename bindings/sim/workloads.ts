import type { DirtyPolicy, Vm } from "../vm/vm.js";

/** What a workload works on. */
export interface Stage {
  /** The VM. */
  readonly vm: Vm;
  /** The slot of the guest's memory. */
  readonly slot: number;
  /** First guest address of the memory. */
  readonly gpa: number;
  /** Bytes of it. */
  readonly size: number;
  /** vCPUs. */
  readonly cpus: number;
  /** Share of accesses that store, 0 to 1. */
  readonly writes: number;
  /** Rounds of workloads that have rounds. */
  readonly iterations: number;
  /** How dirty pages are logged. */
  readonly policy: DirtyPolicy;
}

/** What a workload says of dirty logging. */
export interface Rounds {
  /** Pages that each read of the log reported. */
  readonly reported: number[];
  /** Pages with stores that no log reported, summed over all reads: 0 unless logging is broken. */
  unlogged: number;
}

/** A workload: a sequence of what guest, VMM and host do. */
export interface WorkloadKind {
  /** One line for people. */
  readonly summary: string;
  /** Does it, and adds what the reads of dirty logs said to `rounds`. */
  run(stage: Stage, rounds: Rounds): void;
}

const PAGE_SHARE = 4;

/** Every page is touched once: each vCPU stores to its own part, page after page. */
function populate({ vm, gpa, size, cpus }: Stage): void {
  const pages = Math.floor(size / vm.table.granule / cpus);
  vm.run(pages, { gpa, size, pattern: "sequential", division: "disjoint", writes: 1 });
}

/** As many accesses as a quarter of the pages, at random. */
function work({ vm, gpa, size, cpus, writes }: Stage): void {
  const pages = size / vm.table.granule;
  vm.run(Math.ceil(pages / PAGE_SHARE / cpus), { gpa, size, writes });
}

/** Reads the log, and clears it where reading does not. */
function collect({ vm, slot, policy }: Stage, rounds: Rounds): number {
  const { pages } = vm.dirtyLog(slot);
  if (policy.manual) vm.clearDirtyLog(slot);
  rounds.reported.push(pages);
  rounds.unlogged += vm.unlogged();
  return pages;
}

function logged(stage: Stage, rounds: Rounds, iterations: number): void {
  const { vm, slot, policy } = stage;
  vm.setDirtyPolicy(policy);
  vm.logDirty(slot, true);
  for (let i = 0; i < iterations; i++) {
    work(stage);
    collect(stage, rounds);
  }
  vm.logDirty(slot, false);
}

/** Rounds until fewer pages than this share are dirty, or so many rounds. */
const CONVERGED = 1 / 256;
const MOST_ROUNDS = 30;

/** Pre-copy: each round copies what the round before wrote, and takes as long; the guest writes meanwhile. */
function migrate(stage: Stage, rounds: Rounds): void {
  const { vm, slot, gpa, size, cpus, writes, policy } = stage;
  const pages = size / vm.table.granule;
  vm.setDirtyPolicy(policy);
  vm.logDirty(slot, true);
  // A quarter of the pages is the working set, written while the rest is copied.
  const region = { gpa, size: Math.max(1, Math.floor(pages / PAGE_SHARE / cpus)) * cpus * vm.table.granule, writes };
  let left = pages;
  for (let i = 0; i < MOST_ROUNDS && left > pages * CONVERGED; i++) {
    vm.run(Math.max(1, Math.floor(left / PAGE_SHARE / cpus)), region);
    left = collect(stage, rounds);
  }
  collect(stage, rounds); // the guest stands still: what is left is copied
}

/**
 * The workloads by name, the names of the selftests of KVM that do the same.
 *
 * @example
 * ```ts
 * import { WORKLOADS } from "granule/sim";
 * console.log(WORKLOADS.demand_paging?.summary); // every page is touched for the first time, page after page
 * ```
 */
export const WORKLOADS: Readonly<Record<string, WorkloadKind>> = {
  demand_paging: {
    summary: "every page is touched for the first time, page after page",
    run: populate,
  },
  dirty_log_perf: {
    summary: "populate; log; in each iteration random accesses, then the log is read and cleared",
    run: (stage, rounds) => {
      populate(stage);
      logged(stage, rounds, stage.iterations);
    },
  },
  page_table_test: {
    summary: "create mappings, write to them under logging so that blocks split, and end logging so that blocks return",
    run: (stage, rounds) => {
      populate(stage);
      logged(stage, rounds, 1);
      stage.vm.changeHost("collapse", stage.gpa, stage.size);
      populate(stage);
    },
  },
  access_tracking_perf: {
    summary: "populate; in each iteration all access flags are cleared, and the guest reads",
    run: (stage) => {
      populate(stage);
      for (let i = 0; i < stage.iterations; i++) {
        stage.vm.age(stage.gpa, stage.size);
        work({ ...stage, writes: 0 });
      }
    },
  },
  memslot_modification_stress: {
    summary: "a slot comes and goes in each iteration while the guest works in another",
    run: (stage) => {
      const { vm, gpa, size, iterations } = stage;
      populate(stage);
      for (let i = 0; i < iterations; i++) {
        const other = vm.addSlot({ slot: 1, gpa: gpa + size, size: 16 * vm.table.granule, backing: "4k" });
        work(stage);
        vm.removeSlot(other);
      }
    },
  },
  migration: {
    summary: "pre-copy rounds until little is dirty; a quarter of the memory is written meanwhile",
    run: (stage, rounds) => {
      populate(stage);
      migrate(stage, rounds);
    },
  },
  balloon: {
    summary:
      "populate; in each iteration the host takes a quarter of the memory, and the guest touches all of it again",
    run: (stage) => {
      const { vm, gpa, size, iterations } = stage;
      const part = Math.max(1, Math.floor(size / vm.table.granule / PAGE_SHARE)) * vm.table.granule;
      populate(stage);
      for (let i = 0; i < iterations; i++) {
        vm.changeHost("discard", gpa + (i % PAGE_SHARE) * part, part);
        populate(stage);
      }
    },
  },
};
