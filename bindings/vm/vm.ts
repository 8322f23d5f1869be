import { checkChoice, checkOptions, describe } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { WasmModule } from "../core/platform.js";
import { CpuView } from "../core/sim-views.generated.js";
import { createEngine } from "../index.js";
import { createMmu, createTlb, stage2Registers, type Tlb } from "../mmu/index.js";
import { levelShift } from "../model/granule.js";
import type { Engine } from "../tables/engine.js";
import type { Stage2Table } from "../tables/stage2.js";
import { AccessBuffer } from "./accesses.js";
import type { HostMemory } from "./host-memory.js";
import { LOG_DIRTY, READ_ONLY, VirtualMachine } from "./machine.js";
import {
  type Backing,
  type CpuStats,
  checkCores,
  checkPages,
  type DirtyLog,
  type DirtyPolicy,
  type HostChange,
  POLICY,
  pointerOf,
  SLOT,
  type SlotOptions,
  VM,
  type VmOptions,
} from "./options.js";
import { ReverseMaps } from "./reverse-maps.js";
import { type AccessOnlooker, seesAccesses, type VmOnlooker, watched } from "./watch.js";
import type { VmTicket } from "./worker.js";
import { seedOf, setWorkload, TURN, type Workload } from "./workload.js";

/** What a VM needs of a host whose CPUs it shares with others. */
interface Cores {
  readonly engine: Engine;
  readonly module: WasmModule;
  readonly tlbs: readonly Tlb[];
  /** Pointer of the CPUs in the engine's memory. */
  readonly pointer: number;
  load(cpu: number, vm: Vm, vcpu: number): number;
  /** The VM goes. */
  forget(vm: Vm): void;
}

/** Where such a VM lives, and where its physical addresses begin. */
interface Place {
  readonly host: Cores;
  readonly physBase: number;
}

const MAX_SLOTS = 32767;
/** Where the VMM's memory begins: far above the guest's addresses, and aligned as much as a block can be. */
const HVA_BASE = 2 ** 46;

const HUGETLB: Readonly<Record<Backing, number>> = {
  "4k": 0,
  thp: 0,
  "hugetlb-64k": 2 ** 16,
  "hugetlb-2m": 2 ** 21,
  "hugetlb-32m": 2 ** 25,
  "hugetlb-512m": 2 ** 29,
  "hugetlb-1g": 2 ** 30,
  device: 0,
  "device-uncached": 0,
};
const DEVICES: Partial<Record<Backing, "device" | "uncached">> = { device: "device", "device-uncached": "uncached" };

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
  /** @internal Pointer of its CPUs in the engine's memory. */
  readonly machinePointer: number;
  readonly #slots = new Map<number, Required<SlotOptions>>();
  readonly #hardwareDirty: boolean;
  readonly #host: Cores | undefined;
  #manual = false;
  #closed = false;
  #onlooker: VmOnlooker | undefined;

  /** @internal Use `createVm`. */
  constructor(options: VmOptions, place?: Place) {
    checkOptions("createVm", options, VM);
    const { granule = 4096, ipaBits = 40, lpa2 = false, hardwareDirty = false, tlbiRange = true } = options;
    const { cpus = 1, walkers = 1, witness = false, checkTranslations = false } = options;
    const { arenaBytes = 256 << 20, journalRecords = 0 } = options;
    checkCores("createVm", cpus);
    this.#hardwareDirty = hardwareDirty;
    this.#host = place?.host;
    this.engine = place?.host.engine ?? createEngine({ arenaBytes, walkers, journalRecords });
    const hardware = { hardwareDirty, hardwareAf: hardwareDirty, tlbiRange };
    this.table = this.engine.createStage2({ granule, ipaBits, lpa2, ...hardware });
    const module = place?.host.module ?? options.module;
    this.#machine = new VirtualMachine({
      table: this.table,
      ipaBits,
      physBase: place?.physBase,
      ...(module === undefined ? {} : { module }),
    });
    this.host = this.#machine.host;
    const { reverseMaps = false } = options;
    this.reverseMaps = reverseMaps === false ? undefined : new ReverseMaps(this.#machine, this.table, reverseMaps);
    this.#machine.flushLimit = checkPages(options.flushLimit ?? 0);
    const watches = (witness ? K.WITNESS_STORES : 0) | (checkTranslations ? K.WITNESS_TRANSLATIONS : 0);
    const { core, pointer } = this.#machine;
    this.machinePointer = pointerOf(core.machineCreate(pointer, watches, place?.host.pointer ?? 0), "createVm");
    this.tlbs = Array.from({ length: cpus }, (_, i) => this.#addCpu(options, i));
    this.#cpus = this.tlbs.map((_, i) => {
      const cpu = new CpuView(this.engine.words, core.machineCpu(this.machinePointer, i) >>> 0);
      cpu.seed = seedOf(options.seed ?? 1, i);
      return cpu;
    });
  }

  /** Adds a vCPU: its TLBs, which are those of the host's first CPU until it is loaded onto another one. */
  #addCpu({ tlb = "cortex-a76", adversarial = false, seed = 1, registers }: VmOptions, i: number): Tlb {
    const stage2 = stage2Registers(this.table, 1);
    const mmu = createMmu({ engine: this.engine, registers: { ...stage2, ...registers?.(i, stage2) } });
    const made = this.#host?.tlbs[0] ?? createTlb(mmu, { preset: tlb, adversarial, seed: (seed + i) >>> 0 });
    this.#check(this.#machine.core.machineAddCpu(this.machinePointer, mmu.context, made.pointer), "createVm");
    return made;
  }

  /** A pointer or a count; throws what a negative errno says. */
  #check(status: number, operation: string): number {
    return pointerOf(status, operation);
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
    const device = DEVICES[backing];
    const area = { hva, size, hugetlb: HUGETLB[backing], thp: backing === "thp", fresh: !filled };
    this.host.define(device === undefined ? area : { ...area, device });
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
    this.#onlooker?.operation?.("removeSlot");
  }

  /** Moves a slot to another guest address: its old range is unmapped before the call returns; its memory and its log go with it. */
  moveSlot(slot: number, gpa: number): void {
    const found = this.#slot("moveSlot", slot);
    const logs = this.#machine.core.vmSlotPages(this.#machine.pointer, slot) >= 0;
    const moved = { ...found, gpa };
    this.#setRegion("moveSlot", moved, (found.readOnly ? READ_ONLY : 0) | (logs ? LOG_DIRTY : 0));
    this.#slots.set(slot, moved);
    this.#onlooker?.operation?.("moveSlot");
  }

  /** How logs work that are switched on from now on. */
  setDirtyPolicy(policy: DirtyPolicy): void {
    this.#open("setDirtyPolicy");
    const { manual = false, initiallySet = false, eagerSplit = 0 } = checkOptions("setDirtyPolicy", policy, POLICY);
    const { strategy = "protect", splitWalk = "blocks" } = policy;
    checkChoice("setDirtyPolicy", "strategy", strategy, ["protect", "dbm", "ring", "hdbss"]);
    checkChoice("setDirtyPolicy", "splitWalk", splitWalk, ["blocks", "pages"]);
    if ((strategy === "dbm" || strategy === "hdbss") && !this.#hardwareDirty) {
      throw invalid(
        "setDirtyPolicy",
        `${strategy} needs CPUs that keep dirty state: createVm({ hardwareDirty: true })`,
      );
    }
    if ((strategy === "dbm" || strategy === "hdbss") && this.reverseMaps?.hasOthers) {
      throw invalid(
        "setDirtyPolicy",
        `${strategy} collects dirty state at the memory's own addresses: leave aliases and shadows out`,
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
    this.#setLogs(strategy === "hdbss" ? (policy.hdbssEntries ?? 512) : 0, strategy === "hdbss" ? 1 : 0);
    this.#manual = manual;
    this.#machine.manualDirtyLog = (manual ? 1 : 0) | (initiallySet ? 2 : 0);
    this.#machine.eagerSplit = eagerSplit;
    this.#machine.splitWalk = splitWalk;
  }

  #setLogs(entries: number, least: number): void {
    if (!Number.isInteger(entries) || entries < least || entries > K.MAX_HDBSS) {
      throw invalid("setDirtyPolicy", `hdbssEntries is ${describe(entries)}: 1 to ${K.MAX_HDBSS}`);
    }
    this.tlbs.forEach((_, i) => {
      this.#check(this.#machine.core.vmSetHdbss(this.#machine.pointer, i, entries), "setDirtyPolicy");
    });
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
    if (on) this.#check(this.#machine.core.machineCopyAll(this.machinePointer), "logDirty");
    this.#onlooker?.operation?.("logDirty");
  }

  /**
   * Runs `accesses` accesses on each CPU, in turns of 1,024. The CPUs go on where they were with their random numbers; a
   * sequential workload begins at its first page. EINVAL for a region that is not whole pages.
   */
  run(accesses: number, workload: Workload): void {
    this.#open("run");
    if (!Number.isInteger(accesses) || accesses < 0) throw invalid("run", `accesses is ${describe(accesses)}`);
    this.#cpus.forEach((cpu, i) => {
      setWorkload(cpu, i, this.#cpus.length, workload, this.table.granule);
    });
    for (let done = 0; done < accesses; done += TURN) {
      const n = Math.min(TURN, accesses - done);
      for (let i = 0; i < this.#cpus.length; i++) {
        this.#host?.load(i % this.#host.tlbs.length, this, i);
        this.#runOne(i, n);
      }
    }
  }

  /**
   * Tells somebody of each operation from now on, and of each access or each turn of accesses, as far as he asks; nobody for `undefined`.
   * The accesses are the same.
   */
  watch(onlooker: VmOnlooker | undefined): void {
    this.#open("watch");
    this.#onlooker = onlooker;
  }

  /** A buffer for `capacity` recorded accesses, for `perform`. EINVAL for a capacity that cannot be, ENOMEM for no memory. */
  createAccesses(capacity = 4096): AccessBuffer {
    this.#open("createAccesses");
    return new AccessBuffer(this.engine, capacity, this.#cpus.length);
  }

  /**
   * Performs recorded accesses, in their order, each on its vCPU, and clears the buffer. They fault by themselves. Where a dirty
   * ring is full, the rings are collected, and it goes on. EINVAL for a buffer of another VM.
   */
  perform(accesses: AccessBuffer): void {
    this.#open("perform");
    if (!(accesses instanceof AccessBuffer) || accesses.engine !== this.engine) {
      throw invalid("perform", "these are no accesses of this VM: createAccesses makes them");
    }
    const end = accesses.pointer + 8 * accesses.length;
    const onlooker = this.#onlooker;
    if (!seesAccesses(onlooker)) this.#performUntil(end, accesses.length);
    else for (let i = 0; i < accesses.length; i++) this.#performWatched(accesses, i, onlooker);
    onlooker?.turn?.();
    accesses.clear();
  }

  /** A vCPU has stopped, for its ring is full: the VMM collects all rings. */
  #collectRings(during: string): void {
    const { core, pointer } = this.#machine;
    this.#check(core.vmCollectRings(pointer), during);
    this.#onlooker?.operation?.("collectRings");
  }

  /** Performs the last `n` recorded accesses before `end`. */
  #performUntil(end: number, n: number): void {
    const { core } = this.#machine;
    for (let left = n; left > 0; ) {
      left = this.#check(core.machineRunRecorded(this.machinePointer, end - 8 * left, left), "perform");
      if (left > 0) this.#collectRings("perform");
    }
  }

  #performWatched(accesses: AccessBuffer, i: number, onlooker: AccessOnlooker): void {
    const cpu = accesses.cpuOf(i);
    watched(this.#cpus[cpu] as CpuView, cpu, 1, onlooker, () => this.#performUntil(accesses.pointer + 8 * (i + 1), 1));
  }

  /** @internal Runs one vCPU that is loaded onto a CPU of the host. */
  runVcpu(vcpu: number, accesses: number, workload: Workload): void {
    this.#open("run");
    setWorkload(this.#cpus[vcpu] as CpuView, vcpu, this.#cpus.length, workload, this.table.granule);
    this.#runOne(vcpu, accesses);
  }

  /** @internal Its VMID: generation and index. */
  get vmid(): number {
    return this.#machine.vmid;
  }

  /** Runs one CPU; access by access where somebody looks on. */
  #runOne(i: number, n: number): void {
    const onlooker = this.#onlooker;
    if (!seesAccesses(onlooker)) this.#runPiece(i, n);
    else watched(this.#cpus[i] as CpuView, i, n, onlooker, () => this.#runPiece(i, 1));
    onlooker?.turn?.();
  }

  /** Runs one CPU. Where its ring is full, the rings are collected, and it goes on. */
  #runPiece(i: number, n: number): void {
    const { core } = this.#machine;
    for (let left = n; left > 0; ) {
      left = this.#check(core.machineRun(this.machinePointer, i, left), "run");
      if (left > 0) this.#collectRings("run");
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
    const pages = this.#check(this.#machine.core.machineCollect(this.machinePointer, slot), "dirtyLog");
    this.#onlooker?.operation?.("dirtyLog", pages);
    const live = this.#manual ? this.#machine.dirtyBitmap(slot) : undefined;
    return { pages, bitmap: live ?? this.#machine.takenBitmap(all) };
  }

  /**
   * KVM_CLEAR_DIRTY_LOG: what is dirty of a slot is clean and write-protected afterwards [DLG-16]; of all of it, or of `pages` pages
   * from `first`, a multiple of 64. EINVAL for anything else.
   */
  clearDirtyLog(slot: number, first = 0, pages?: number): void {
    const { size } = this.#slot("clearDirtyLog", slot);
    const all = size / this.table.granule;
    const n = pages ?? all - first;
    if (!(Number.isInteger(first / 64) && Number.isInteger(n) && first >= 0 && n >= 0 && first + n <= all)) {
      throw invalid(
        "clearDirtyLog",
        `first is ${describe(first)}, pages ${describe(n)}: of ${all}, from a multiple of 64`,
      );
    }
    this.#check(this.#machine.core.machineClear(this.machinePointer, slot, first, n), "clearDirtyLog");
    this.#onlooker?.operation?.("clearDirtyLog");
  }

  /**
   * The host changes the memory behind a guest range: the notifier unmaps it first [NOT-1, NOT-6]. `discard`: the pages are given
   * back (a balloon); `collapse`: small pages become a huge one; `share`: pages are merged and read-only until they are written
   * (KSM); `fill`: the VMM writes to all of it; `fork`: the VMM forks, and all of its memory is shared until one of the two writes
   * to it; `forkGone`: the child has exited, which changes no mapping.
   */
  changeHost(what: HostChange, gpa: number, size: number): void {
    this.#open("changeHost");
    checkChoice("changeHost", "what", what, ["discard", "collapse", "share", "fill", "fork", "forkGone"]);
    if (what === "forkGone") this.host.forkGone();
    else this.#changeRanges(what, gpa, size);
  }

  #changeRanges(what: Exclude<HostChange, "forkGone">, gpa: number, size: number): void {
    for (const { start, end } of this.#machine.hostRanges(gpa, size)) {
      this.#machine.beginInvalidation(start, end);
      try {
        if (what !== "fork") this.host[what](start, end);
      } finally {
        this.#machine.endInvalidation(start, end);
      }
    }
    if (what === "fork") this.host.fork();
    this.#onlooker?.operation?.("changeHost");
  }

  /** Was a page of the guest range accessed since the last time? The access flags are clear afterwards [NOT-8]. */
  age(gpa: number, size: number): boolean {
    this.#open("age");
    const ranges = this.#machine.hostRanges(gpa, size);
    const young = ranges.map(({ start, end }) => {
      this.#machine.age(start, end, true);
      return this.#machine.young;
    });
    this.#onlooker?.operation?.("age");
    return young.some(Boolean);
  }

  /**
   * Pages with stores that no dirty log has reported, of each CPU for itself: 0 right after a collection, unless a store went
   * unlogged [DBM-10]. Only with `witness`.
   */
  unlogged(): number {
    this.#open("unlogged");
    return this.#check(this.#machine.core.machineUncopied(this.machinePointer), "unlogged");
  }

  /** Pages of the guest that were stored to since the VM was made, by whichever CPU. Only with `witness`. */
  written(): number {
    this.#open("written");
    return this.#check(this.#machine.core.machineWritten(this.machinePointer), "written");
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
      logFull: Number(cpu.logFull),
      stale: Number(cpu.stale),
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
    return {
      engine: this.engine.ticket(walker),
      module,
      vm: pointer,
      machine: this.machinePointer,
      cpus: this.#cpus.length,
    };
  }

  /** Lets go of everything, the engine too unless the VM is one of a host. Twice is harmless. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#host === undefined) {
      this.engine.close();
      return;
    }
    this.#host.forget(this);
    this.#machine.core.machineDestroy(this.machinePointer);
    this.#machine.close();
    this.table.destroy();
  }

  /** The same as `close`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
