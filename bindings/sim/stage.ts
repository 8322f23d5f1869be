import * as K from "../core/constants.generated.js";
import type { AccessBuffer } from "../vm/accesses.js";
import type { DirtyPolicy } from "../vm/options.js";
import type { Vm } from "../vm/vm.js";

/** What a workload works on. */
export interface Stage {
  /** The VM. */
  readonly vm: Vm;
  /** The slots of the guest's memory, in the order of their addresses. */
  readonly slots: readonly number[];
  /** First guest address of the memory. */
  readonly gpa: number;
  /** Bytes of it. */
  readonly size: number;
  /** Bytes of a block, where the memory is made of blocks; else of a page. */
  readonly large: number;
  /** vCPUs. */
  readonly cpus: number;
  /** Share of accesses that store, 0 to 1. */
  readonly writes: number;
  /** Rounds of workloads that have rounds. */
  readonly iterations: number;
  /** Any page at random, or each page once, in order. */
  readonly random: boolean;
  /** All vCPUs work in the whole memory, or each in its own part. */
  readonly overlap: boolean;
  /** Accesses of the guest for each page that a migration copies. */
  readonly rate: number;
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

/** A part of the guest's memory, in bytes. */
export interface Part {
  readonly gpa: number;
  readonly size: number;
}

/** Pages of a part. */
export function pagesOf({ vm }: Stage, { size }: Part): number {
  return size / vm.table.granule;
}

/** The pages from share `from` of the memory up to share `to`; a page at least. */
export function share(stage: Stage, from: number, to: number): Part {
  const page = stage.vm.table.granule;
  const pages = stage.size / page;
  const first = Math.min(Math.floor(pages * from), pages - 1);
  const last = Math.max(Math.floor(pages * to), first + 1);
  return { gpa: stage.gpa + first * page, size: (last - first) * page };
}

/** Who works where in a part. With fewer pages than vCPUs nobody has a part of its own. */
export function divisionOf(stage: Stage, part: Part): "shared" | "disjoint" {
  return stage.overlap || pagesOf(stage, part) < stage.cpus ? "shared" : "disjoint";
}

/** Each page of a part once, in order: each vCPU its own part of it, or all of it. `writes`: share of stores. */
export function touch(stage: Stage, part: Part, writes: number, fetches = 0): void {
  const division = divisionOf(stage, part);
  const pages = pagesOf(stage, part);
  const each = division === "shared" ? pages : Math.floor(pages / stage.cpus);
  const { gpa, size } = part;
  stage.vm.run(each, { gpa, size, pattern: "sequential", division, writes, fetches });
}

/** Accesses of every vCPU to the pages that `addresses` gives, one after the other: all of them do the first, then the second. */
export function step(
  { vm, cpus }: Stage,
  buffer: AccessBuffer,
  addresses: Iterable<number>,
  kind: (cpu: number) => number,
): void {
  for (const gpa of addresses) {
    for (let cpu = 0; cpu < cpus; cpu++) if (!buffer.push(gpa, kind(cpu), cpu)) vm.perform(buffer);
  }
  vm.perform(buffer);
}

export const LOAD = (): number => K.A_READ;
export const STORE = (): number => K.A_WRITE;

/** Begins or ends the logs of all slots. */
export function log({ vm, slots, policy }: Stage, on: boolean): void {
  if (on) vm.setDirtyPolicy(policy);
  for (const slot of slots) vm.logDirty(slot, on);
}

/** Reads the logs of all slots, and clears them where reading does not; how many pages were dirty. */
export function collect({ vm, slots, policy }: Stage, rounds: Rounds): number {
  let pages = 0;
  for (const slot of slots) {
    pages += vm.dirtyLog(slot).pages;
    if (policy.manual) vm.clearDirtyLog(slot);
  }
  rounds.reported.push(pages);
  rounds.unlogged += vm.unlogged();
  return pages;
}
