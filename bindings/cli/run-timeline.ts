// The time line of a workload: what its vCPUs did, each TLBI and DSB, in cycles as the costs estimate them.

import type { TlbStats } from "../mmu/index.js";
import { MaintenanceTrack } from "../report/maintenance-track.js";
import type { PerfettoWriter } from "../report/perfetto.js";
import { tlbiName } from "../report/windows.js";
import type { Costs } from "../sim/cost.js";
import { JournalKind, type JournalRecord } from "../tables/journal.js";
import type { Counters } from "../tables/memory.js";
import type { CpuStats, Vm, VmOnlooker } from "../vm/index.js";

/** Accesses between two values of a hit rate. */
const RATE_ACCESSES = 1024;
const PERCENT = 100;

/** TLBIs that end a flush by IPA or range: that one took what a TLB has of stage 2 alone, these take whole translations [HWM-38]. */
const STAGE1: readonly number[] = [JournalKind.TLBI_STAGE1, JournalKind.TLBI_STAGE1_LOCAL];
/** What is read of the journal. */
const RECORDED: readonly number[] = Object.values(JournalKind).filter(
  (kind) => kind === JournalKind.DSB || tlbiName(kind) !== undefined,
);

/** What one vCPU has, and what was last known of it. */
interface Cpu {
  readonly track: MaintenanceTrack;
  readonly rate: number;
  readonly faults: number;
  /** Its clock, in cycles. */
  clock: number;
  accesses: number;
  exits: number;
  stats: CpuStats;
  tlb: TlbStats;
  hits: number;
  misses: number;
}

const hitsOf = (t: TlbStats): number => t.rdHits + t.wrHits + t.instHits;
const missesOf = (t: TlbStats): number => t.rdMisses + t.wrMisses + t.instMisses;
const tlbisOf = (t: TlbStats): number =>
  t.flushTlb + t.flushTlbMva + t.flushTlbMvaAsid + t.flushTlbAsid + t.flushTlbIpa;

/** The TLBIs of the only flush among the records: what was lost was lost to them. None where there are several flushes. */
function onlyFlush(records: readonly JournalRecord[]): readonly JournalRecord[] {
  const tlbis = records.filter(({ kind }) => tlbiName(kind) !== undefined);
  return tlbis.filter(({ kind }) => !STAGE1.includes(kind)).length === 1 ? tlbis : [];
}

/** The name of what made a guest be left, from the counts before and after. */
function reasonOf(before: CpuStats, after: CpuStats): string {
  if (after.translationFaults > before.translationFaults) return "translation fault";
  if (after.permissionFaults > before.permissionFaults) return "permission fault";
  if (after.accessFaults > before.accessFaults) return "access flag fault";
  return "emulated access";
}

/**
 * Writes the time line of a workload while it runs. A cycle is shown as a nanosecond. An access takes one, and what it leads to as
 * much as the costs say; the VMM's operations begin when every vCPU has come so far. It starts the journal of the VM's engine; a
 * judge that watches the engine afterwards starts it with more kinds, and both read it.
 */
export class RunTimeline implements VmOnlooker {
  readonly #writer: PerfettoWriter;
  readonly #vm: Vm;
  readonly #costs: Costs;
  readonly #cpus: readonly Cpu[];
  readonly #vmm: MaintenanceTrack;
  readonly #counts: { readonly pages: number; readonly dirty: number };
  #counters: Counters;
  #pages = -1;
  /** Records of the journal that were read. */
  #read = 0;

  /** EINVAL for a VM without `journalRecords`. */
  constructor(writer: PerfettoWriter, vm: Vm, costs: Costs) {
    vm.engine.journal.start(RECORDED);
    this.#writer = writer;
    this.#vm = vm;
    this.#costs = costs;
    const group = writer.track("vCPUs");
    const stats = vm.stats();
    this.#cpus = vm.tlbs.map((tlb, i) => ({
      track: new MaintenanceTrack(writer, writer.track(`vCPU ${i}`, group)),
      rate: writer.counterTrack(`TLB hit rate of vCPU ${i}`, "%", group),
      faults: writer.counterTrack(`stage-2 faults of vCPU ${i}`, "", group),
      clock: 0,
      accesses: 0,
      exits: 0,
      stats: stats[i] as CpuStats,
      tlb: tlb.stats(),
      hits: 0,
      misses: 0,
    }));
    this.#vmm = new MaintenanceTrack(writer, writer.track("VMM and host"));
    this.#counts = {
      dirty: writer.counterTrack("dirty pages reported"),
      pages: writer.counterTrack("table pages", "pages"),
    };
    this.#counters = vm.engine.counters();
    this.#countPages(0);
  }

  access(i: number, exits: number): void {
    const cpu = this.#cpus[i] as Cpu;
    cpu.clock++;
    if (exits > 0) this.#exit(cpu, i, exits);
    if (++cpu.accesses % RATE_ACCESSES === 0) this.#rate(cpu, i);
  }

  /** The share of a vCPU's accesses that an entry answered, since the last time. */
  #rate(cpu: Cpu, i: number): void {
    const tlb = this.#vm.tlbs[i]?.stats() as TlbStats;
    const [hits, misses] = [hitsOf(tlb) - cpu.hits, missesOf(tlb) - cpu.misses];
    cpu.clock += misses * this.#costs.walk;
    cpu.hits += hits;
    cpu.misses += misses;
    if (hits + misses > 0) this.#writer.count(cpu.rate, cpu.clock, (PERCENT * hits) / (hits + misses));
  }

  #exit(cpu: Cpu, i: number, exits: number): void {
    const before = cpu.stats;
    cpu.stats = this.#vm.stats()[i] as CpuStats;
    const start = cpu.clock;
    const { args, cycles, flushed } = this.#since();
    cpu.clock += exits * (this.#costs.exit + this.#costs.fault) + cycles;
    const name = reasonOf(before, cpu.stats);
    const retries = cpu.stats.retries - before.retries;
    this.#slice(cpu.track, name, start, cpu.clock, flushed, { ...args, exits, retries: retries || undefined });
    cpu.exits += exits;
    // A counter for each: the vCPUs' clocks differ, and a count of all would go back in time.
    this.#writer.count(cpu.faults, start, cpu.exits);
  }

  operation(name: string, pages?: number): void {
    const start = Math.max(...this.#cpus.map(({ clock }) => clock));
    const { args, cycles, flushed } = this.#since();
    const end = start + Math.max(1, cycles);
    this.#slice(this.#vmm, name, start, end, flushed, { ...args, pages });
    if (pages !== undefined) this.#writer.count(this.#counts.dirty, end, pages);
    for (const cpu of this.#cpus) cpu.clock = end;
  }

  /** What the table and the TLBs say of the time since the last look. */
  #since(): { args: Readonly<Record<string, number | undefined>>; cycles: number; flushed: readonly number[] } {
    const now = this.#vm.engine.counters();
    const grown = (name: keyof Counters): number => now[name] - this.#counters[name];
    const pages = grown("tablesTaken") + grown("tablesFreed");
    const leaves = grown("leavesMade") + grown("leavesCleared");
    const args = {
      "leaves made": grown("leavesMade") || undefined,
      "leaves cleared": grown("leavesCleared") || undefined,
      "table pages taken": grown("tablesTaken") || undefined,
      "table pages freed": grown("tablesFreed") || undefined,
      "valid entries broken": grown("breaksValid") || undefined,
      DSBs: grown("dsb") || undefined,
    };
    const cost = this.#costs;
    let cycles = pages * cost.page + leaves * cost.leaf + grown("dsb") * cost.dsb;
    this.#counters = now;
    const flushed = this.#cpus.map((cpu, i) => {
      const tlb = this.#vm.tlbs[i]?.stats() as TlbStats;
      cycles += (tlbisOf(tlb) - tlbisOf(cpu.tlb)) * cost.tlbi;
      const lost = tlb.flushedEntries - cpu.tlb.flushedEntries;
      cpu.tlb = tlb;
      return lost;
    });
    return { args, cycles, flushed };
  }

  /** The TLBIs and DSBs since the last look, and how many records the journal had no room for. */
  #issued(): { records: readonly JournalRecord[]; overwritten: number } {
    const { journal } = this.#vm.engine;
    const { total } = journal;
    if (total === this.#read) return { records: [], overwritten: 0 };
    const records = journal.read(0, this.#read);
    const overwritten = total - this.#read - records.length;
    this.#read = total;
    return { records: records.filter(({ kind }) => RECORDED.includes(kind)), overwritten };
  }

  /**
   * A slice with the TLBIs and DSBs of its time, and arrows to each vCPU whose TLB lost entries: through the TLBIs of the flush that
   * took them, or from the slice where it could be any of several.
   */
  #slice(
    on: MaintenanceTrack,
    name: string,
    start: number,
    end: number,
    flushed: readonly number[],
    args: Readonly<Record<string, number | undefined>>,
  ): void {
    const flows = flushed.map((lost) => (lost > 0 ? this.#writer.flow() : 0));
    const begun = flows.filter((flow) => flow > 0);
    const { records, overwritten } = this.#issued();
    const flush = overwritten > 0 ? [] : onlyFlush(records);
    const told = { ...args, "records overwritten": overwritten || undefined };
    this.#writer.begin(on.track, start, name, { args: told, flows: flush.length === 0 ? begun : [] });
    const apart = (end - start) / (records.length + 1);
    for (const [n, record] of records.entries()) {
      on.add(record, start + (n + 1) * apart, flush.includes(record) ? begun : []);
    }
    this.#writer.end(on.track, end);
    for (const [i, flow] of flows.entries()) {
      const cpu = this.#cpus[i] as Cpu;
      if (flow === 0) continue;
      const details = { category: "tlbi", args: { entries: flushed[i] as number }, endingFlows: [flow] };
      this.#writer.instant(cpu.track.track, Math.max(end, cpu.clock), "entries lost", details);
    }
    this.#countPages(end);
  }

  #countPages(time: number): void {
    const { pages } = this.#vm.table.info();
    if (pages !== this.#pages) this.#writer.count(this.#counts.pages, time, pages);
    this.#pages = pages;
  }
}
