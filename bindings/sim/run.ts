import { checkChoice, checkOptions, describe, type OptionKinds, unknownName } from "../core/check.js";
import { invalid } from "../core/errors.js";
import type { TlbPreset } from "../mmu/index.js";
import type { Granule } from "../model/granule.js";
import { levelShift } from "../model/granule.js";
import type { Counters } from "../tables/memory.js";
import { type Backing, type CpuStats, createVm, type DirtyPolicy, type Vm, type VmOnlooker } from "../vm/index.js";
import { COSTS, type Costs, checkCosts, estimate } from "./cost.js";
import { journalFor, type RunJudge, watchVm } from "./judged.js";
import type { Rounds } from "./stage.js";
import { WORKLOADS } from "./workloads.js";

/** How stores are noticed: write protection, the same with blocks split at once, rings of the vCPUs, hardware dirty state. */
export type DirtyStrategy = "wp" | "eager" | "ring" | "dbm" | "hdbss";

/** A run of a workload. All of it but the time depends on these settings alone. */
export interface RunConfig {
  /** A name of `WORKLOADS`. */
  workload: string;
  /** vCPUs. Default 1. */
  vcpus?: number;
  /** Bytes of guest memory. Default 1 GiB. */
  memory?: number;
  /** Default `thp`. */
  backing?: Backing;
  /** Default `wp`. */
  dirty?: DirtyStrategy;
  /** Bytes that eager splitting splits at once. Default one block. */
  splitChunk?: number;
  /** What eager splitting looks at: blocks alone, or pages too, as Linux does without a change of 2026. Default `blocks`. */
  splitWalk?: "blocks" | "pages";
  /** Reading the log leaves it, clearing clears it. Default false. */
  manual?: boolean;
  /** With `manual`: all pages are dirty at first, and each clear protects, and splits where blocks are split at once. Default false. */
  initiallySet?: boolean;
  /** Page size in bytes. Default 4096. */
  granule?: Granule;
  /** Default `cortex-a76`. */
  tlb?: TlbPreset;
  /** TLBs that keep whatever the architecture lets them keep. Default false. */
  adversarial?: boolean;
  /** Share of accesses that store. Default 0.5. */
  writes?: number;
  /** Default 5. */
  iterations?: number;
  /** The guest's accesses go to any page, a quarter as many as there are pages; or to each page once, in order. Default true. */
  random?: boolean;
  /** All vCPUs work in the whole memory, rather than each in its own part. Default false. */
  overlap?: boolean;
  /** Slots that the memory is divided into. Default 1, and 32 for memslot_perf. */
  slots?: number;
  /** Accesses of the guest for each page that a migration copies. Default 0.25. */
  rate?: number;
  /** Of the random numbers. Default 1. */
  seed?: number;
  /** Cycles by event, for the estimate. */
  costs?: Costs;
  /**
   * Judges every write, barrier and TLBI of the run: `createJudge()` of `granule/audit`, whose `finish` has the verdict. Each translation is
   * compared with the table, too: `stale` of the VM's statistics. The run is the same, and takes longer.
   */
  judge?: RunJudge;
}

/** What a run was, and what it did. */
export interface RunReport {
  /** Of this form. */
  schemaVersion: 1;
  /** The workload's name. */
  workload: string;
  /** All settings, the default ones too. */
  config: Required<Omit<RunConfig, "workload" | "costs" | "judge">>;
  /** Of this machine, this time: the only part that differs from run to run. */
  seconds: number;
  /** Accesses of all vCPUs. */
  accesses: number;
  /** What left the guest. */
  faults: {
    /** Stage-2 faults where nothing was mapped. */
    translation: number;
    /** Stage-2 faults where the mapping did not allow the access. */
    permission: number;
    /** Stage-2 faults where the access flag was clear. */
    access: number;
    /** Accesses that the VMM emulates. */
    exits: number;
    /** Accesses that were refused. */
    aborts: number;
    /** Faults that were taken again. */
    retries: number;
    /** Stops of vCPUs whose dirty ring was nearly full. */
    ringFull: number;
  };
  /** Dirty logging. */
  dirty: {
    /** Stores of all vCPUs. */
    written: number;
    /** Pages that reads of the log reported, a page as often as it was reported. */
    reported: number;
    /** Pages with a store that no read reported: 0, unless logging is broken. */
    unlogged: number;
    /** Pages that each read reported. */
    rounds: number[];
  };
  /** What the table's walker counted. */
  counters: Counters;
  /** All TLBs together. */
  tlb: {
    /** Accesses that an entry answered. */
    hits: number;
    /** Accesses that took a walk. */
    misses: number;
    /** TLBIs that reached a TLB. */
    tlbis: number;
    /** Entries that they took. */
    flushed: number;
    /** Accesses for which more than one entry stood. */
    conflicts: number;
    /** Stores to clean pages, for which the descriptor is read again [HWM-24]. */
    rewalks: number;
  };
  /** The table in the end. */
  table: {
    /** Pages and blocks that are mapped. */
    leaves: number;
    /** Table pages. */
    pages: number;
    /** The most table pages that ever were. */
    peakPages: number;
    /** Bytes of the table pages. */
    bytes: number;
  };
  /** Cycles by cause and in all, estimated: counts times assumed costs. */
  estimate: Record<keyof Costs | "total", number>;
}

/** Where the guest's memory begins. */
export const RAM: number = 2 ** 30;
const MIB = 2 ** 20;
const MAX_RATE = 1024;

/** The settings of a run and their kinds. */
export const CONFIG: OptionKinds<RunConfig> = {
  workload: "any",
  vcpus: "number",
  memory: "number",
  backing: "any",
  dirty: "any",
  splitChunk: "number",
  splitWalk: "any",
  manual: "boolean",
  initiallySet: "boolean",
  granule: "any",
  tlb: "any",
  adversarial: "boolean",
  writes: "number",
  iterations: "number",
  random: "boolean",
  overlap: "boolean",
  slots: "number",
  rate: "number",
  seed: "number",
  costs: "object",
  judge: "object",
};

/** What the VM does not check itself. */
export function checkConfig({ dirty, granule, memory, iterations, writes, slots, rate }: RunReport["config"]): void {
  checkChoice("runWorkload", "dirty", dirty, ["wp", "eager", "ring", "dbm", "hdbss"]);
  checkChoice("runWorkload", "granule", granule, [4096, 16384, 65536]);
  if (!(Number.isSafeInteger(memory) && memory > 0 && memory % granule === 0)) {
    throw invalid("runWorkload", `memory is ${describe(memory)}: bytes, whole pages of ${granule}`);
  }
  if (!(Number.isSafeInteger(iterations) && iterations > 0)) {
    throw invalid("runWorkload", `iterations is ${describe(iterations)}: a whole number of 1 or more`);
  }
  if (!(Number.isSafeInteger(slots) && slots > 0 && slots <= memory / granule)) {
    throw invalid("runWorkload", `slots is ${describe(slots)}: 1 to the pages of the memory, ${memory / granule}`);
  }
  if (!(rate > 0 && rate <= MAX_RATE))
    throw invalid("runWorkload", `rate is ${describe(rate)}: above 0, at most ${MAX_RATE}`);
  if (!(writes >= 0 && writes <= 1)) throw invalid("runWorkload", `writes is ${describe(writes)}: 0 to 1`);
}

/** All settings, the default ones too. */
export function filledIn(config: RunConfig): RunReport["config"] {
  const { granule = 4096, memory = 1024 * MIB, dirty = "wp" } = config;
  const { vcpus = 1, backing = "thp", manual = false, tlb = "cortex-a76", adversarial = false } = config;
  const { writes = 0.5, iterations = 5, seed = 1, splitWalk = "blocks", initiallySet = false } = config;
  const {
    random = true,
    overlap = false,
    slots = Math.min(WORKLOADS[config.workload]?.slots ?? 1, Math.floor(memory / granule)),
    rate = 0.25,
  } = config;
  const access = { writes, iterations, random, overlap, slots, rate };
  const splitChunk = config.splitChunk ?? (dirty === "wp" || dirty === "ring" ? 0 : 2 ** levelShift(granule, 2));
  const logging = { dirty, manual, initiallySet, splitChunk, splitWalk };
  return { granule, memory, vcpus, backing, tlb, adversarial, ...logging, ...access, seed };
}

/** How the VM logs. */
export function policyOf({ dirty, manual, initiallySet, splitChunk, splitWalk }: RunReport["config"]): DirtyPolicy {
  const strategy = dirty === "wp" || dirty === "eager" ? "protect" : dirty;
  return { strategy, manual, initiallySet, eagerSplit: splitChunk, splitWalk };
}

/** Bytes for tables, logs and what the witness counts: a store count and a copy of it for each page and CPU. */
function arenaFor({ granule, memory, vcpus }: RunReport["config"]): number {
  const pages = memory / granule;
  const needed = 64 * MIB + (pages / 512) * granule * 1.5 + pages * vcpus * 8 + vcpus * 4 * MIB;
  return Math.ceil(needed / (16 * MIB)) * 16 * MIB;
}

function sumOf(stats: readonly CpuStats[], field: keyof CpuStats): number {
  return stats.reduce((sum, cpu) => sum + cpu[field], 0);
}

function tlbOf(vm: Vm): RunReport["tlb"] {
  const all = vm.tlbs.map((tlb) => tlb.stats());
  const sum = (pick: (s: (typeof all)[number]) => number) => all.reduce((n, s) => n + pick(s), 0);
  return {
    hits: sum((s) => s.rdHits + s.wrHits + s.instHits),
    misses: sum((s) => s.rdMisses + s.wrMisses + s.instMisses),
    tlbis: sum((s) => s.flushTlb + s.flushTlbMva + s.flushTlbMvaAsid + s.flushTlbAsid + s.flushTlbIpa),
    flushed: sum((s) => s.flushedEntries),
    conflicts: sum((s) => s.conflicts),
    rewalks: sum((s) => s.rewalks),
  };
}

/** What a VM did. */
export function reportOf(
  vm: Vm,
  config: RunReport["config"],
  workload: string,
  rounds: Rounds,
  seconds: number,
  costs: Costs,
): RunReport {
  const stats = vm.stats();
  const counters = vm.engine.counters();
  const tlb = tlbOf(vm);
  const { pages, peakPages } = vm.table.info();
  const faults = {
    translation: sumOf(stats, "translationFaults"),
    permission: sumOf(stats, "permissionFaults"),
    access: sumOf(stats, "accessFaults"),
    exits: sumOf(stats, "exits"),
    aborts: sumOf(stats, "aborts"),
    retries: sumOf(stats, "retries"),
    ringFull: sumOf(stats, "ringFull"),
  };
  const taken = faults.translation + faults.permission + faults.access;
  const events = {
    exit: taken + faults.exits + faults.ringFull,
    fault: taken,
    walk: tlb.misses,
    tlbi: tlb.tlbis,
    dsb: counters.dsb,
    page: counters.tablesTaken + counters.tablesFreed,
    leaf: counters.leavesMade + counters.leavesCleared,
    visit: counters.splitVisits,
  };
  return {
    schemaVersion: 1,
    workload,
    config,
    seconds,
    accesses: sumOf(stats, "accesses"),
    faults,
    dirty: {
      written: sumOf(stats, "stores"),
      reported: rounds.reported.reduce((sum, n) => sum + n, 0),
      unlogged: rounds.unlogged,
      rounds: rounds.reported,
    },
    counters,
    tlb,
    table: { leaves: vm.table.countLeaves(), pages, peakPages, bytes: pages * config.granule },
    estimate: estimate(events, costs),
  };
}

/** A VM as the settings say, without memory. With `journal` its engine has room for one; for a judge each translation is compared, too. */
export function vmFor(
  all: RunReport["config"],
  judge: RunJudge | undefined,
  journal: boolean = judge !== undefined,
): Vm {
  const { granule, vcpus, tlb, adversarial, seed } = all;
  const hardwareDirty = all.dirty === "dbm" || all.dirty === "hdbss";
  const arenaBytes = arenaFor(all);
  const shape = { granule, hardwareDirty, cpus: vcpus, tlb, adversarial, seed, arenaBytes };
  const journalRecords = journal ? journalFor(all.memory, granule) : 0;
  return createVm({ ...shape, witness: true, checkTranslations: judge !== undefined, journalRecords });
}

/** The memory in slots of as many pages, one after the other; of whole blocks where there are enough. */
function addSlots(vm: Vm, { memory, granule, slots, backing }: RunReport["config"]): number[] {
  const block = 2 ** levelShift(granule, 2);
  const unit = memory / slots >= block ? block : granule;
  const part = Math.floor(memory / slots / unit) * unit;
  return Array.from({ length: slots }, (_, i) => {
    const size = i === slots - 1 ? memory - i * part : part;
    return vm.addSlot({ gpa: RAM + i * part, size, backing });
  });
}

/**
 * Runs a workload on a VM of its own. `begin` sees the VM before the workload, whose engine then has room for a journal, and
 * returns who looks on while it runs, beside the judge if there is one; `look` sees it after the workload, before it is closed.
 * EINVAL for settings that make no sense, ENOMEM for more memory than 4 GiB of bookkeeping can describe.
 *
 * @example
 * ```ts
 * import { runWorkload } from "granule/sim";
 * const { faults, dirty } = runWorkload({ workload: "dirty_log_perf", memory: 16 << 20, dirty: "dbm" });
 * console.log(faults.translation, dirty.unlogged); // 8 0
 * ```
 */
export function runWorkload(
  config: RunConfig,
  look?: (vm: Vm) => void,
  begin?: (vm: Vm) => VmOnlooker | undefined,
): RunReport {
  const { workload } = checkOptions("runWorkload", config, CONFIG);
  const kind = Object.hasOwn(WORKLOADS, workload) ? WORKLOADS[workload] : undefined;
  if (kind === undefined) throw unknownName("runWorkload", "workload", String(workload), Object.keys(WORKLOADS));
  const all = filledIn(config);
  checkConfig(all);
  const costs = checkCosts("runWorkload", config.costs ?? COSTS);
  const { granule, memory, vcpus, backing, writes, iterations } = all;
  const { judge } = config;
  const vm = vmFor(all, judge, judge !== undefined || begin !== undefined);
  try {
    const slots = addSlots(vm, all);
    watchVm(vm, judge, begin?.(vm));
    const rounds: Rounds = { reported: [], unlogged: 0 };
    const large =
      backing === "4k" ? granule : 2 ** levelShift(granule, backing === "hugetlb-1g" && granule === 4096 ? 1 : 2);
    const { random, overlap, rate } = all;
    const how = { writes, iterations, random, overlap, rate, policy: policyOf(all) };
    const start = performance.now();
    kind.run({ vm, slots, gpa: RAM, size: memory, large, cpus: vcpus, ...how }, rounds);
    const seconds = (performance.now() - start) / 1000;
    look?.(vm);
    return reportOf(vm, all, workload, rounds, seconds, costs);
  } finally {
    vm.close();
  }
}
