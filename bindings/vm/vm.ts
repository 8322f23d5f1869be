import { checkChoice, checkOptions, describe, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import type { CoreSource } from "../core/core.js";
import { GranuleError, invalid } from "../core/errors.js";
import type { WasmModule } from "../core/platform.js";
import { CpuView } from "../core/sim-views.generated.js";
import { instantiateVm, type VmCore } from "../core/vm-core.js";
import { createEngine } from "../index.js";
import { createMmu, createTlb, stage2Registers, type Tlb, type TlbPreset } from "../mmu/index.js";
import { type Granule, levelShift } from "../model/granule.js";
import { type Engine, type EngineTicket, joinEngine } from "../tables/engine.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { HostMemory } from "./host-memory.js";
import { LOG_DIRTY, READ_ONLY, VirtualMachine } from "./machine.js";
import { type ReverseMapOptions, ReverseMaps } from "./reverse-maps.js";
import { type VmOnlooker, watched } from "./watch.js";

/** What the VMM's memory behind a slot is made of: small pages, transparent huge pages, or pages of hugetlbfs. */
export type Backing = "4k" | "thp" | "hugetlb-2m" | "hugetlb-1g";

/** How a VM is made. */
export interface VmOptions {
  /** Page size in bytes. Default 4096. */
  granule?: Granule;
  /** Bits of a guest physical address. Default 40. */
  ipaBits?: number;
  /** 52-bit descriptors of 4K and 16K pages (FEAT_LPA2). Default false. */
  lpa2?: boolean;
  /** CPUs that set access flags and dirty state in the tables themselves (FEAT_HAFDBS). Default false. */
  hardwareDirty?: boolean;
  /** CPUs, each with a vCPU and TLBs of its own. Default 1, at most 64. */
  cpus?: number;
  /** Threads that may work on the VM at the same time, this one included; `ticket` lets the others in. Default 1. */
  walkers?: number;
  /** The shape of the TLBs. Default `cortex-a76`. */
  tlb?: TlbPreset;
  /** TLBs that keep whatever the architecture lets them keep, and drop what they may. Default false. */
  adversarial?: boolean;
  /** Of the workloads and of adversarial TLBs: a run depends on it and on the settings alone. Default 1. */
  seed?: number;
  /** Count every store by page, so that `unlogged` can tell whether a dirty log missed one. Default false. */
  witness?: boolean;
  /** Know which descriptors map a page: slots go without a lock, notifiers find every mapping [RMAP-9]. Faults cost more. Default off. */
  reverseMaps?: boolean | ReverseMapOptions;
  /** Bytes for tables, dirty logs and TLBs. Default 256 MiB. */
  arenaBytes?: number;
  /** The package's `vm.wasm`, compiled or as bytes, in place of the inlined one. */
  module?: CoreSource;
}

const VM: OptionKinds<VmOptions> = {
  granule: "number",
  ipaBits: "number",
  lpa2: "boolean",
  hardwareDirty: "boolean",
  cpus: "number",
  walkers: "number",
  tlb: "any",
  adversarial: "boolean",
  seed: "number",
  witness: "boolean",
  reverseMaps: "any",
  arenaBytes: "number",
  module: "any",
};

/** A slot of guest memory; addresses and sizes in bytes, plain numbers. */
export interface SlotOptions {
  /** Its number, 0 to 32766. Default the number of slots that were added before. */
  slot?: number;
  /** First guest address, a multiple of the page. */
  gpa: number;
  /** Bytes, a multiple of the page. */
  size: number;
  /** First address in the VMM's memory. Default one that is aligned as `gpa` is. */
  hva?: number;
  /** Default `thp`. */
  backing?: Backing;
  /** Has the VMM written the memory before? Default false: it is untouched. */
  filled?: boolean;
  /** Stores go to the VMM as device accesses. Default false. */
  readOnly?: boolean;
}

const SLOT: OptionKinds<SlotOptions> = {
  slot: "number",
  gpa: "number",
  size: "number",
  hva: "number",
  backing: "any",
  filled: "boolean",
  readOnly: "boolean",
};

/** How dirty pages are logged, for the whole VM. */
export interface DirtyPolicy {
  /**
   * `protect`: pages are write-protected, and the fault of a store marks its page. `dbm`: hardware keeps the dirty state, and
   * reading the log collects it [DBM-9]; for a VM with `hardwareDirty`. `ring`: as `protect`, but the fault pushes the page onto a
   * ring of its vCPU, which stops when the ring is nearly full until it was collected [RNG-7]. Default `protect`.
   */
  strategy?: "protect" | "dbm" | "ring";
  /** Entries of a ring, a power of two from 128 to 32768. Default 4096. */
  ringEntries?: number;
  /** A read of the log leaves it as it is; `clear` clears it [DLG-6]. Default false. */
  manual?: boolean;
  /** With `manual`: all pages are dirty at first, and each clear protects [DLG-10]. Default false. */
  initiallySet?: boolean;
  /** Bytes of blocks that are split at once when logging begins, 0 for none [DLG-30]. Default 0. */
  eagerSplit?: number;
}

const POLICY: OptionKinds<DirtyPolicy> = {
  strategy: "any",
  ringEntries: "number",
  manual: "boolean",
  initiallySet: "boolean",
  eagerSplit: "number",
};

/** What the vCPUs do. */
export interface Workload {
  /** First guest address of the region, a multiple of the page. */
  gpa: number;
  /** Bytes of the region, a multiple of the page. */
  size: number;
  /** Any page at random, or one after the other. Default `random`. */
  pattern?: "random" | "sequential";
  /**
   * `shared`: every CPU works in the whole region. `disjoint`: each has its own part of it. `interleaved`, with `sequential`: of n CPUs
   * each has every n-th page. Default `shared`.
   */
  division?: "shared" | "disjoint" | "interleaved";
  /** Which share of the accesses are stores, 0 to 1. Default 0. */
  writes?: number;
  /** Which share are instruction fetches, 0 to 1. Default 0; what is left are loads. */
  fetches?: number;
}

const WORKLOAD: OptionKinds<Workload> = {
  gpa: "number",
  size: "number",
  pattern: "any",
  division: "any",
  writes: "number",
  fetches: "number",
};

/** What happened on one CPU since the VM was made. */
export interface CpuStats {
  /** Loads, stores and fetches. */
  accesses: number;
  /** Stores among them that were done. */
  stores: number;
  /** Stage-2 faults where nothing was mapped. */
  translationFaults: number;
  /** Stage-2 faults where the mapping did not allow the access. */
  permissionFaults: number;
  /** Stage-2 faults where the access flag was clear. */
  accessFaults: number;
  /** Accesses that the VMM emulates: outside the slots, or stores to a read-only one [FLT-6]. */
  exits: number;
  /** Accesses for which the guest gets an abort, or the VMM an error. */
  aborts: number;
  /** Faults that were taken again because another vCPU was faster. */
  retries: number;
  /** Accesses given up after 64 faults. */
  stuck: number;
  /** How often the vCPU stopped because its dirty ring was nearly full. */
  ringFull: number;
}

/** What a read of a dirty log said. */
export interface DirtyLog {
  /** Pages that were dirty. */
  pages: number;
  /** One bit a page, page 0 in bit 0 of the first word. */
  bitmap: BigUint64Array;
}

const SHARES = 1024;
const TURN = 1024;
const MAX_SLOTS = 32767;
/** Where the VMM's memory begins: far above the guest's addresses, and aligned as much as a block can be. */
const HVA_BASE = 2 ** 46;

const HUGETLB: Readonly<Record<Backing, number>> = { "4k": 0, thp: 0, "hugetlb-2m": 2 ** 21, "hugetlb-1g": 2 ** 30 };

/**
 * A virtual machine that runs: memory slots, vCPUs with TLBs, faults serviced as KVM does it, dirty logging. Make one with
 * `createVm`. Every access goes through TLB and walk; nothing crosses into JavaScript on the way.
 *
 * @example
 * ```ts
 * import { createVm } from "granule/vm";
 * using vm = createVm({ tlb: "tiny" });
 * vm.addSlot({ gpa: 0, size: 2 << 20, backing: "4k" });
 * vm.run(512, { gpa: 0, size: 2 << 20, pattern: "sequential", writes: 1 });
 * console.log(vm.stats()[0]?.translationFaults, vm.table.countLeaves()); // 512 512
 * ```
 */
export class Vm implements Disposable {
  /** The engine that has its table. */
  readonly engine: Engine;
  /** Its stage-2 table, for reading: operations of your own would not reach the TLBs. */
  readonly table: Stage2Table<Engine>;
  /** The VMM's memory, for what a host does to it. */
  readonly host: HostMemory;
  /** The TLBs, one for each CPU. */
  readonly tlbs: readonly Tlb[];
  /** Its reverse maps, if it was made with them. */
  readonly reverseMaps: ReverseMaps | undefined;
  readonly #machine: VirtualMachine;
  readonly #cpus: readonly CpuView[];
  readonly #pointer: number;
  readonly #slots = new Map<number, Required<SlotOptions>>();
  readonly #hardwareDirty: boolean;
  #manual = false;
  #closed = false;
  #onlooker: VmOnlooker | undefined;

  /** @internal Use `createVm`. */
  constructor(options: VmOptions) {
    checkOptions("createVm", options, VM);
    const { granule = 4096, ipaBits = 40, lpa2 = false, hardwareDirty = false } = options;
    const { cpus = 1, walkers = 1, witness = false, arenaBytes = 256 << 20 } = options;
    if (!Number.isInteger(cpus) || cpus < 1 || cpus > K.MAX_CPUS) {
      throw invalid("createVm", `cpus is ${describe(cpus)}: 1 to ${K.MAX_CPUS}`);
    }
    this.#hardwareDirty = hardwareDirty;
    this.engine = createEngine({ arenaBytes, walkers });
    this.table = this.engine.createStage2({ granule, ipaBits, lpa2, hardwareDirty, hardwareAf: hardwareDirty });
    this.#machine = new VirtualMachine({
      table: this.table,
      ipaBits,
      ...(options.module === undefined ? {} : { module: options.module }),
    });
    this.host = this.#machine.host;
    const { reverseMaps = false } = options;
    this.reverseMaps = reverseMaps === false ? undefined : new ReverseMaps(this.#machine, this.table, reverseMaps);
    this.#pointer = this.#check(this.#machine.core.machineCreate(this.#machine.pointer, witness ? 1 : 0), "createVm");
    this.tlbs = Array.from({ length: cpus }, (_, i) => this.#addTlb(options, i));
    this.#cpus = this.tlbs.map((_, i) => {
      const cpu = new CpuView(this.engine.words, this.#machine.core.machineCpu(this.#pointer, i) >>> 0);
      cpu.seed = seedOf(options.seed ?? 1, i);
      return cpu;
    });
  }

  #addTlb({ tlb = "cortex-a76", adversarial = false, seed = 1 }: VmOptions, i: number): Tlb {
    const mmu = createMmu({ engine: this.engine, registers: stage2Registers(this.table, 1) });
    const made = createTlb(mmu, { preset: tlb, adversarial, seed: (seed + i) >>> 0 });
    this.#check(this.#machine.core.machineAddCpu(this.#pointer, mmu.context, made.pointer), "createVm");
    return made;
  }

  /** A pointer or a count; throws what a negative errno says. */
  #check(status: number, operation: string): number {
    if (status < 0 && status >= -K.MAX_ERRNO) throw new GranuleError(status, { operation });
    return status >>> 0;
  }

  #open(operation: string): void {
    if (this.#closed) throw invalid(operation, "the VM is closed");
  }

  /**
   * Gives the guest memory: KVM_SET_USER_MEMORY_REGION. The slot's number. EINVAL for addresses that are not aligned or beyond
   * the guest's address space, EEXIST for a slot over another [DLG-1].
   */
  addSlot(options: SlotOptions): number {
    this.#open("addSlot");
    const {
      gpa,
      size,
      slot = this.#slots.size,
      backing = "thp",
      filled = false,
      readOnly = false,
    } = checkOptions("addSlot", options, SLOT);
    checkChoice("addSlot", "backing", backing, Object.keys(HUGETLB) as Backing[]);
    const { hva = HVA_BASE + gpa } = options;
    if (this.#slots.has(slot)) throw invalid("addSlot", `slot ${slot} is there already`);
    if (!Number.isInteger(slot) || slot < 0 || slot >= MAX_SLOTS)
      throw invalid("addSlot", `slot is ${describe(slot)}: 0 to ${MAX_SLOTS - 1}`);
    this.host.define({ hva, size, hugetlb: HUGETLB[backing], thp: backing === "thp", fresh: !filled });
    const all = { slot, gpa, size, hva, backing, filled, readOnly };
    this.#setRegion("addSlot", all, readOnly ? READ_ONLY : 0);
    this.#slots.set(slot, all);
    return slot;
  }

  #setRegion(operation: string, { slot, gpa, size, hva }: Required<SlotOptions>, flags: number): void {
    this.#check(this.#machine.core.vmSetRegion(this.#machine.pointer, slot, flags, gpa, size, hva), operation);
  }

  #slot(operation: string, slot: number): Required<SlotOptions> {
    this.#open(operation);
    const found = this.#slots.get(slot);
    if (found === undefined) throw invalid(operation, `there is no slot ${describe(slot)}`);
    return found;
  }

  /** Takes a slot away: its range is unmapped before the call returns [NOT-34]. */
  removeSlot(slot: number): void {
    this.#setRegion("removeSlot", { ...this.#slot("removeSlot", slot), size: 0 }, 0);
    this.#slots.delete(slot);
  }

  /** How logs work that are switched on from now on. */
  setDirtyPolicy(policy: DirtyPolicy): void {
    this.#open("setDirtyPolicy");
    const { manual = false, initiallySet = false, eagerSplit = 0 } = checkOptions("setDirtyPolicy", policy, POLICY);
    const { strategy = "protect" } = policy;
    checkChoice("setDirtyPolicy", "strategy", strategy, ["protect", "dbm", "ring"]);
    if (strategy === "dbm" && !this.#hardwareDirty) {
      throw invalid("setDirtyPolicy", "dbm needs CPUs that keep dirty state: createVm({ hardwareDirty: true })");
    }
    if (strategy === "dbm" && this.reverseMaps?.hasOthers) {
      throw invalid(
        "setDirtyPolicy",
        "dbm collects dirty state at the memory's own addresses: leave aliases and shadows out",
      );
    }
    if ([...this.#slots.keys()].some((slot) => this.#machine.core.vmSlotPages(this.#machine.pointer, slot) >= 0)) {
      throw invalid("setDirtyPolicy", "a slot logs already: end its log first");
    }
    if (initiallySet && !manual) throw invalid("setDirtyPolicy", "initiallySet needs manual");
    const shifts = [3, 2, 1, 0].map((level) => 2 ** levelShift(this.table.granule, level));
    if (eagerSplit !== 0 && !shifts.includes(eagerSplit)) {
      throw invalid("setDirtyPolicy", `eagerSplit is ${describe(eagerSplit)}: 0, or the bytes of a page or block`);
    }
    if (strategy === "ring" && manual)
      throw invalid("setDirtyPolicy", "a ring is collected as a whole: leave manual out");
    this.#machine.setStrategy(strategy);
    this.#setRings(strategy === "ring" ? (policy.ringEntries ?? 4096) : 0);
    this.#manual = manual;
    this.#machine.manualDirtyLog = (manual ? 1 : 0) | (initiallySet ? 2 : 0);
    this.#machine.eagerSplit = eagerSplit;
  }

  #setRings(entries: number): void {
    this.tlbs.forEach((_, i) => {
      this.#check(this.#machine.core.vmSetRing(this.#machine.pointer, i, entries), "setDirtyPolicy");
    });
  }

  /** Begins or ends the dirty log of a slot [DLG-10, DLG-12]. */
  logDirty(slot: number, on: boolean): void {
    const found = this.#slot("logDirty", slot);
    if (found.readOnly) throw invalid("logDirty", `slot ${slot} is read-only: it never logs [DLG-2]`);
    this.#setRegion("logDirty", found, on ? LOG_DIRTY : 0);
    if (on) this.#check(this.#machine.core.machineCopyAll(this.#pointer), "logDirty");
    this.#onlooker?.operation("logDirty");
  }

  /**
   * Runs `accesses` accesses on each CPU, in turns of 1,024. The CPUs go on where they were with their random numbers; a
   * sequential workload begins at its first page. EINVAL for a region that is not whole pages.
   */
  run(accesses: number, workload: Workload): void {
    this.#open("run");
    checkOptions("run", workload, WORKLOAD);
    if (!Number.isInteger(accesses) || accesses < 0) throw invalid("run", `accesses is ${describe(accesses)}`);
    this.#cpus.forEach((cpu, i) => {
      setWorkload(cpu, i, this.#cpus.length, workload, this.table.granule);
    });
    for (let done = 0; done < accesses; done += TURN) {
      const n = Math.min(TURN, accesses - done);
      for (let i = 0; i < this.#cpus.length; i++) {
        this.#runOne(i, n);
      }
    }
  }

  /**
   * Tells somebody of each access and each operation from now on; nobody for `undefined`. The accesses are the same, and take longer:
   * they are done one by one.
   */
  watch(onlooker: VmOnlooker | undefined): void {
    this.#open("watch");
    this.#onlooker = onlooker;
  }

  #runOne(i: number, n: number): void {
    if (this.#onlooker === undefined) this.#runPiece(i, n);
    else watched(this.#cpus[i] as CpuView, i, n, this.#onlooker, () => this.#runPiece(i, 1));
  }

  /** Runs one CPU. Where its ring is full, the rings are collected, and it goes on. */
  #runPiece(i: number, n: number): void {
    const { core, pointer } = this.#machine;
    for (let left = n; left > 0; ) {
      left = this.#check(core.machineRun(this.#pointer, i, left), "run");
      if (left > 0) this.#check(core.vmCollectRings(pointer), "run");
    }
  }

  /**
   * KVM_GET_DIRTY_LOG: the pages of a slot that were written since they were last clean. Unless the policy is manual they are
   * clean and write-protected afterwards. EINVAL for a slot that logs nothing.
   */
  dirtyLog(slot: number): DirtyLog {
    this.#slot("dirtyLog", slot);
    const all = this.#machine.core.vmSlotPages(this.#machine.pointer, slot);
    if (all < 0) throw invalid("dirtyLog", `slot ${slot} has no dirty log: logDirty(${slot}, true) begins one`);
    const pages = this.#check(this.#machine.core.machineCollect(this.#pointer, slot, 0), "dirtyLog");
    this.#onlooker?.operation("dirtyLog", pages);
    const live = this.#manual ? this.#machine.dirtyBitmap(slot) : undefined;
    return { pages, bitmap: live ?? this.#machine.takenBitmap(all) };
  }

  /** KVM_CLEAR_DIRTY_LOG of a whole slot: what is dirty is clean and write-protected afterwards [DLG-16]. */
  clearDirtyLog(slot: number): void {
    this.#slot("clearDirtyLog", slot);
    this.#check(this.#machine.core.machineCollect(this.#pointer, slot, 1), "clearDirtyLog");
    this.#onlooker?.operation("clearDirtyLog");
  }

  /**
   * The host changes the memory behind a guest range: the notifier unmaps it first [NOT-1, NOT-6]. `discard`: the pages are given
   * back (a balloon); `collapse`: small pages become a huge one; `share`: pages are merged and read-only until they are written
   * (KSM).
   */
  changeHost(what: "discard" | "collapse" | "share", gpa: number, size: number): void {
    this.#open("changeHost");
    checkChoice("changeHost", "what", what, ["discard", "collapse", "share"]);
    for (const { start, end } of this.#machine.hostRanges(gpa, size)) {
      this.#machine.invalidate(start, end);
      this.host[what](start, end);
    }
    this.#onlooker?.operation("changeHost");
  }

  /** Was a page of the guest range accessed since the last time? The access flags are clear afterwards [NOT-8]. */
  age(gpa: number, size: number): boolean {
    this.#open("age");
    const ranges = this.#machine.hostRanges(gpa, size);
    const young = ranges.map(({ start, end }) => {
      this.#machine.age(start, end, true);
      return this.#machine.young;
    });
    this.#onlooker?.operation("age");
    return young.some(Boolean);
  }

  /**
   * Pages with stores that no dirty log has reported, of each CPU for itself: 0 right after a collection, unless a store went
   * unlogged [DBM-10]. Only with `witness`.
   */
  unlogged(): number {
    this.#open("unlogged");
    return this.#check(this.#machine.core.machineUncopied(this.#pointer), "unlogged");
  }

  /** What happened on each CPU. */
  stats(): CpuStats[] {
    this.#open("stats");
    return this.#cpus.map((cpu, i) => ({
      accesses: Number(cpu.accesses),
      stores: Number(cpu.stores),
      translationFaults: Number(cpu.translationFaults),
      permissionFaults: Number(cpu.permissionFaults),
      accessFaults: Number(cpu.accessFaults),
      exits: Number(cpu.exits),
      aborts: Number(cpu.aborts),
      retries: Number(cpu.retries),
      stuck: Number(cpu.stuck),
      ringFull: this.#machine.core.vmRingFull(this.#machine.pointer, i) >>> 0,
    }));
  }

  /**
   * What another thread needs to run vCPUs as walker `walker`, 1 or more: a value to post to a worker, for `joinVm` there. EINVAL
   * for a walker that the VM was not made for.
   */
  ticket(walker: number): VmTicket {
    this.#open("ticket");
    const { pointer, module } = this.#machine;
    return { engine: this.engine.ticket(walker), module, vm: pointer, machine: this.#pointer, cpus: this.#cpus.length };
  }

  /** Lets go of everything, the engine too. Twice is harmless. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.engine.close();
  }

  /** The same as `close`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A VM as another thread gets it; can be posted to a worker. */
export interface VmTicket {
  /** The engine, as one of its walkers. */
  engine: EngineTicket;
  /** The compiled module of the VM. */
  module: WasmModule;
  /** Pointer of the VM in the engine's memory. */
  vm: number;
  /** Pointer of its machine, the CPUs. */
  machine: number;
  /** CPUs that there are. */
  cpus: number;
}

const TICKET: OptionKinds<VmTicket> = {
  engine: "object",
  module: "object",
  vm: "number",
  machine: "number",
  cpus: "number",
};

/**
 * The part of a VM that another thread has: it runs vCPUs. Make one with `joinVm`.
 *
 * @example
 * ```ts
 * import { createVm, joinVm, type VmWorker } from "granule/vm";
 * const populate = (vm: VmWorker, cpu: number) => vm.run(cpu, 512, { gpa: 0, size: 2 << 20, pattern: "sequential" });
 * using vm = createVm({ walkers: 2 });
 * vm.addSlot({ gpa: 0, size: 2 << 20, backing: "4k" });
 * using worker = joinVm(vm.ticket(1));
 * populate(worker, 0);
 * console.log(vm.table.countLeaves()); // 512
 * ```
 */
export class VmWorker implements Disposable {
  readonly #engine: Engine;
  readonly #core: VmCore;
  readonly #ticket: VmTicket;

  /** @internal Use `joinVm`. */
  constructor(ticket: VmTicket) {
    this.#ticket = checkOptions("joinVm", ticket, TICKET);
    this.#engine = joinEngine(ticket.engine);
    this.#core = instantiateVm(ticket.module, this.#engine.memory, this.#engine.offset, this.#engine.hosts);
    this.#engine.check(this.#core.vmAttach(this.#engine.walker), "joinVm");
  }

  /**
   * Runs `accesses` accesses on CPU `cpu`, which no other thread may run meanwhile; how many are left, because the vCPU's dirty
   * ring is full and whoever reads the log has to come first. EINVAL for a CPU that there is not, or a region that is not whole
   * pages.
   */
  run(cpu: number, accesses: number, workload: Workload): number {
    const { machine, cpus } = this.#ticket;
    checkOptions("run", workload, WORKLOAD);
    const pointer = this.#core.machineCpu(machine, cpu) >>> 0;
    if (pointer === 0) throw invalid("run", `cpu is ${describe(cpu)}: 0 to ${cpus - 1}`);
    const record = new CpuView(this.#engine.words, pointer);
    setWorkload(record, cpu, cpus, workload, 2 ** record.ps);
    for (let left = accesses; left > 0; ) {
      const n = Math.min(TURN, left);
      const rest = this.#core.machineRun(machine, cpu, n);
      this.#engine.check(rest, "run");
      left -= n - rest;
      if (rest > 0) return left;
    }
    return 0;
  }

  /** Leaves the VM. Twice is harmless. */
  close(): void {
    this.#engine.close();
  }

  /** The same as `close`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Writes a workload into the record of CPU `i` of `cpus`. EINVAL for one that makes no sense. */
function setWorkload(cpu: CpuView, i: number, cpus: number, workload: Workload, page: number): void {
  const { gpa, size, pattern = "random", division = "shared", writes = 0, fetches = 0 } = workload;
  checkChoice("run", "pattern", pattern, ["random", "sequential"]);
  checkChoice("run", "division", division, ["shared", "disjoint", "interleaved"]);
  const interleaved = division === "interleaved";
  if (interleaved && pattern === "random") throw invalid("run", "random pages are not interleaved: pattern is random");
  const all = size / page;
  const pages = division === "disjoint" ? Math.floor(all / cpus) : interleaved ? all - (all % cpus) : all;
  const first = division === "disjoint" ? i * pages : 0;
  if (!Number.isInteger(gpa / page) || !Number.isInteger(all) || pages < 1 || pages > 2 ** 30) {
    throw invalid(
      "run",
      `the region is ${describe(size)} bytes from ${describe(gpa)}: whole pages, one for each CPU at least`,
    );
  }
  if (!(writes >= 0 && fetches >= 0 && writes + fetches <= 1)) {
    throw invalid(
      "run",
      `writes is ${describe(writes)}, fetches ${describe(fetches)}: shares that are 1 together at most`,
    );
  }
  cpu.base = BigInt(gpa + first * page);
  cpu.pages = pages;
  cpu.pattern = pattern === "random" ? K.PATTERN_RANDOM : K.PATTERN_SEQUENTIAL;
  cpu.cursor = interleaved ? i : 0;
  cpu.stride = interleaved ? cpus : 1;
  cpu.writes = Math.round(writes * SHARES);
  cpu.fetches = Math.round(fetches * SHARES);
}

/** A state of the generator that is not 0, and different for each CPU. */
function seedOf(seed: number, cpu: number): bigint {
  return BigInt.asUintN(64, (BigInt(seed) + 1n) * 0x9e37_79b9_7f4a_7c15n + BigInt(cpu) * 0xbf58_476d_1ce4_e5b9n) | 1n;
}
