import { checkOptions, describe, type OptionKinds } from "../core/check.js";
import { invalid } from "../core/errors.js";
import type { AccessBatch, AccessReader } from "../trace/index.js";
import type { AccessBuffer, Vm } from "../vm/index.js";
import { COSTS, checkCosts } from "./cost.js";
import { watchVm } from "./judged.js";
import {
  CONFIG,
  checkConfig,
  filledIn,
  policyOf,
  RAM,
  type RunConfig,
  type RunReport,
  reportOf,
  vmFor,
} from "./run.js";
import type { Rounds } from "./stage.js";

const GIB = 2 ** 30;
const IPA_BITS = 40;

/** How recorded accesses are run: the settings of a workload, but for those that say what a guest does, which a trace says here. */
export interface AccessConfig
  extends Omit<RunConfig, "workload" | "writes" | "iterations" | "random" | "overlap" | "slots" | "rate"> {
  /** Dirty logging is on, and the log is read each time after so many accesses, and at the end. Default 0: nothing is logged. */
  every?: number;
  /** Guest memory: ranges in bytes. Default: wherever an access goes, a GiB at a time. What is elsewhere goes to the VMM as a device. */
  ranges?: readonly {
    /** First guest address. */
    readonly gpa: number;
    /** Bytes. */
    readonly size: number;
  }[];
}

/** What a run of recorded accesses did: the form of a workload's report, whose name is `trace`. */
export interface AccessReport extends Omit<RunReport, "config"> {
  /** All settings, the default ones too. */
  config: Required<Omit<AccessConfig, "ranges" | "costs" | "judge">>;
  /** The trace. */
  trace: {
    /** `lackey`, `drmemtrace`, `csv` or `champsim`. */
    format: string;
    /** Lines or records. */
    records: number;
    /** Lines that are no accesses and need not be. */
    ignored: number;
    /** Lines that were skipped because they could not be read. */
    malformed: number;
    /** Threads or vCPUs that it names. */
    threads: number;
    /** Accesses that lie in two pages, and count as two. */
    crossing: number;
    /** Pages of virtual memory that were given guest memory; 0 where the trace has physical addresses. */
    pages: number;
    /** Pages that were stored to. */
    written: number;
  };
}

/**
 * Where a process's memory lies in the guest: each page gets the next free guest page when it is first touched, as a kernel does
 * it. Threads share it. A trace with physical addresses needs none of this.
 */
class Placement {
  readonly #frames = new Map<number, number>();
  readonly #page: number;
  #lastPage = -1;
  #lastFrame = 0;

  constructor(page: number) {
    this.#page = page;
  }

  get pages(): number {
    return this.#frames.size;
  }

  place(address: number): number {
    const offset = address % this.#page;
    const page = address - offset;
    if (page !== this.#lastPage) {
      let frame = this.#frames.get(page);
      if (frame === undefined) {
        frame = RAM + this.#frames.size * this.#page;
        this.#frames.set(page, frame);
      }
      this.#lastPage = page;
      this.#lastFrame = frame;
    }
    return this.#lastFrame + offset;
  }
}

/** A VM that performs batches. */
class AccessRun {
  readonly rounds: Rounds = { reported: [], unlogged: 0 };
  crossing = 0;
  readonly #vm: Vm;
  readonly #config: RunReport["config"];
  readonly #every: number;
  readonly #buffer: AccessBuffer;
  readonly #placement: Placement;
  readonly #slots: number[] = [];
  readonly #regions: Set<number> | undefined;
  #lastRegion = -1;
  #left: number;

  constructor(vm: Vm, config: RunReport["config"], { every = 0, ranges }: AccessConfig) {
    this.#vm = vm;
    this.#config = config;
    this.#every = every;
    this.#left = every === 0 ? Number.POSITIVE_INFINITY : every;
    this.#buffer = vm.createAccesses();
    this.#placement = new Placement(config.granule);
    this.#regions = ranges === undefined ? new Set() : undefined;
    vm.setDirtyPolicy(every === 0 ? {} : policyOf(config));
    for (const { gpa, size } of ranges ?? []) this.#addSlot(gpa, size);
  }

  get pages(): number {
    return this.#placement.pages;
  }

  #addSlot(gpa: number, size: number): void {
    const slot = this.#vm.addSlot({ gpa, size, backing: this.#config.backing });
    this.#slots.push(slot);
    if (this.#every !== 0) this.#vm.logDirty(slot, true);
  }

  /** There is memory around a guest address from now on. */
  #ensure(gpa: number): void {
    const region = Math.floor(gpa / GIB);
    if (region === this.#lastRegion || this.#regions === undefined) return;
    this.#lastRegion = region;
    if (this.#regions.has(region) || gpa >= 2 ** IPA_BITS) return;
    this.#regions.add(region);
    this.#flush();
    this.#addSlot(region * GIB, GIB);
  }

  /** Performs the accesses of a batch. */
  add(batch: AccessBatch, isPhysical: boolean): void {
    const { addresses, kinds, sizes, threads, length } = batch;
    const { granule, vcpus } = this.#config;
    for (let i = 0; i < length; i++) {
      const address = addresses[i] as number;
      const kind = kinds[i] as number;
      const cpu = (threads[i] as number) % vcpus;
      this.#push(isPhysical ? address : this.#placement.place(address), kind, cpu);
      const end = (address % granule) + (sizes[i] as number);
      if (end <= granule) continue;
      const next = address - (address % granule) + granule;
      this.crossing++;
      this.#push(isPhysical ? next : this.#placement.place(next), kind, cpu);
    }
  }

  #push(gpa: number, kind: number, cpu: number): void {
    this.#ensure(gpa);
    if (!this.#buffer.push(gpa, kind, cpu)) this.#flush();
    if (--this.#left > 0) return;
    this.#left = this.#every;
    this.collect();
  }

  #flush(): void {
    this.#vm.perform(this.#buffer);
  }

  /** Reads the dirty logs of all slots, if anything is logged. */
  collect(): void {
    this.#flush();
    if (this.#every === 0) return;
    let pages = 0;
    for (const slot of this.#slots) {
      pages += this.#vm.dirtyLog(slot).pages;
      if (this.#config.manual) this.#vm.clearDirtyLog(slot);
    }
    this.rounds.reported.push(pages);
    this.rounds.unlogged += this.#vm.unlogged();
  }
}

const { workload: _w, writes: _s, iterations: _i, random: _r, overlap: _o, slots: _p, rate: _m, ...SETTINGS } = CONFIG;
const ACCESS_CONFIG: OptionKinds<AccessConfig> = { ...SETTINGS, every: "number", ranges: "object" };

function checkAccessConfig(config: AccessConfig): RunReport["config"] {
  const { every = 0, ranges: _, ...rest } = checkOptions("runAccesses", config, ACCESS_CONFIG);
  if (!(Number.isSafeInteger(every) && every >= 0)) {
    throw invalid("runAccesses", `every is ${describe(every)}: a whole number of accesses`);
  }
  const all = filledIn({ memory: 16 * GIB, ...rest, workload: "trace" });
  checkConfig(all);
  return all;
}

/**
 * Runs recorded memory accesses on the vCPUs of a VM of its own: TLB, walk, fault, map, retry. A thread is a vCPU, as far as there
 * are enough. Virtual addresses get guest memory in the order in which their pages are touched. The trace is a stream: memory grows
 * with the pages that it touches, not with its length. EINVAL for settings that make no sense, ENOMEM for more memory than
 * `memory` says, and what the reader throws.
 *
 * @example
 * ```ts
 * import { runAccesses } from "granule/sim";
 * import { readAccesses } from "granule/trace";
 * const trace = readAccesses(new TextEncoder().encode(" S 1fff000688,8\n L 1fff000690,8\nI  0401ab70,3\n"));
 * const { accesses, faults, trace: seen } = await runAccesses(trace, { backing: "4k" });
 * console.log(accesses, faults.translation, seen.written); // 3 2 1
 * ```
 */
export async function runAccesses(trace: AccessReader, config: AccessConfig = {}): Promise<AccessReport> {
  const all = checkAccessConfig(config);
  const costs = checkCosts("runAccesses", config.costs ?? COSTS);
  const vm = vmFor(all, config.judge);
  try {
    watchVm(vm, config.judge);
    const run = new AccessRun(vm, all, config);
    const start = performance.now();
    for await (const batch of trace) run.add(batch, trace.isPhysical);
    run.collect();
    const report = reportOf(vm, all, "trace", run.rounds, (performance.now() - start) / 1000, costs);
    const { records, ignored, malformed, threads } = trace.stats;
    const { crossing, pages } = run;
    const seen = { format: trace.format ?? "", records, ignored, malformed, threads, crossing, pages };
    const { writes: _w, iterations: _i, random: _r, overlap: _o, slots: _s, rate: _m, ...settings } = all;
    const own = { config: { ...settings, every: config.every ?? 0 }, trace: { ...seen, written: vm.written() } };
    return { ...report, ...own };
  } finally {
    vm.close();
  }
}
