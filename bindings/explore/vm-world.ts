// A world of a whole VM: vCPUs with TLBs that run, the faults that they take, dirty logs, and the host beside them.

import * as K from "../core/constants.generated.js";
import type { MmuCore, VmCore } from "../core/interfaces.generated.js";
import { BankView, ContextView, EntryView, TlbView } from "../core/mmu-views.generated.js";
import { CpuView } from "../core/sim-views.generated.js";
import { AgentView, VmView } from "../core/vm-views.generated.js";
import type { ExploreBuild } from "./build.js";
import { EngineWorld, type ExploredCore, type TableConfig } from "./engine-world.js";
import { offsetsOf } from "./names.js";

/** What the guest of a scenario is like. */
export interface VmConfig {
  /** vCPUs. */
  readonly cpus: number;
  /** How stores are noticed while the slot logs; LOG_PROTECT if it is not said. */
  readonly strategy?: number;
  /** Bytes of the chunks in which blocks are split when logging begins; 0 for none. */
  readonly eagerSplit?: number;
  /** 1: reading the log leaves the bits; 3: and all pages begin dirty. */
  readonly manual?: number;
  /** Entries of each vCPU's dirty ring, or of its log of the hardware's. */
  readonly entries?: number;
  /** Does the VMM's memory have huge pages? So if it is not said. */
  readonly huge?: boolean;
  /** Does each TLB keep what it may? */
  readonly adversarial?: boolean;
  /** Entries of each bank of the TLBs; 4 if it is not said. */
  readonly tlbEntries?: number;
  /** Bytes of the slot; two blocks if it is not said. */
  readonly size?: number;
}

/** Everything that the build of a VM exports. */
export type VmExplored = ExploredCore & MmuCore & VmCore;

/** What a vCPU's accesses do from now on. */
export interface CpuWork {
  /** First guest address. */
  readonly from: number;
  /** Pages, one after the other, round and round; 1 if it is not said. */
  readonly pages?: number;
  /** Of 1024 accesses, how many are stores; all if it is not said. */
  readonly writes?: number;
  /** Of 1024 accesses, how many are fetches; none if it is not said. */
  readonly fetches?: number;
}

/**
 * First guest address of the slot. The explore build has room to witness stores to 256 MiB from 0.
 *
 * @example
 * ```ts
 * import { RAM } from "granule/explore";
 * console.log(RAM); // 67108864
 * ```
 */
export const RAM: number = 64 << 20;
const HVA = 2 ** 46 + RAM;
const IPA_BITS = 39;
const PHYS_BASE = 2 ** IPA_BITS;
const BLOCK = 1 << 21;
const UNIT = 4096;
const SHARES = 1024;
const VMID = 1;
const PA_48 = 5;
const BANKS = 5;
/** The bank of fetches alone. */
const FETCHES = 1;
const ANY_SIZE = ((1n << 56n) - 1n) & ~0xfffn;
/** Tag of an entry: its kind. */
const KIND_SHIFT = 2n;
const KINDS = 8n;
/** Bytes of an agent's counts. */
const COUNTS_BYTES = K.OPERATIONS * K.OUTCOMES * 4;
/** The only slot. */
export const SLOT = 0;
const STORES = K.WITNESS_STORES;

/** The tables of VMs: as `createVm` makes them. */
const FLAGS = K.T_FWB | K.T_RANGE_TLBI | K.T_DCACHE | K.T_ICACHE | K.T_PAGE_COUNT | K.T_WIDE;

function tracksInHardware(strategy: number | undefined): boolean {
  return strategy === K.LOG_DBM || strategy === K.LOG_HDBSS;
}

/**
 * The walkers of a scenario of a VM, and the host: vCPUs are run by walkers, any of them by any walker, one at a time.
 *
 * @example
 * ```ts
 * import { VmWorld } from "granule/explore";
 * console.log(typeof VmWorld); // function
 * ```
 */
export class VmWorld extends EngineWorld {
  /** Pointer of the VM. */
  readonly vm: number;
  /** Pointer of the machine that its vCPUs are. */
  readonly machine: number;
  /** What the guest is like. */
  readonly guest: VmConfig;
  /** Contexts of the vCPUs, and their TLBs. */
  readonly #contexts: number[] = [];
  readonly #tlbs: number[] = [];
  readonly #blocks: number[] = [];
  readonly #out: number;

  /** `walkers` of the scenario, and the host beside them. */
  constructor(build: ExploreBuild, walkers: number, guest: VmConfig, table: TableConfig = {}) {
    const hardware = tracksInHardware(guest.strategy) ? "dirty state" : "nothing";
    super(build, walkers, { flags: FLAGS, hardware, arenaBytes: 4 << 20, ...table });
    const core = this.coreOf(this.host);
    this.guest = guest;
    this.#out = this.#take(UNIT);
    this.vm = made(core.vmCreate(this.table, IPA_BITS, PHYS_BASE, 0, 0), "the VM");
    this.machine = made(core.machineCreate(this.vm, STORES, 0), "the machine");
    for (let i = 0; i < guest.cpus; i++) this.#addCpu(core, i);
    const thp = (guest.huge ?? true) ? K.AREA_THP : 0;
    made(core.hostDefine(this.vm, HVA, HVA + this.size, 0, thp | K.AREA_FRESH), "the host's memory");
    this.#setPolicy(core);
    this.setLog(false);
    this.#maskCounts();
  }

  /** Bytes of the slot, from RAM on. */
  get size(): number {
    return this.guest.size ?? 2 * BLOCK;
  }

  /** The exports of walker `id`'s instance. */
  coreOf(id: number): VmExplored {
    return (this.seats[id] as (typeof this.seats)[number]).core as VmExplored;
  }

  /** The exports of the walker that is asked for its call. */
  get core(): VmExplored {
    return this.current.core as VmExplored;
  }

  #take(bytes: number): number {
    const order = Math.max(0, Math.ceil(Math.log2(bytes / UNIT))),
      block = this.hostSeat.core.takeBlock(order) >>> 0;
    if (block === 0) throw new Error("the arena of the scenario is too small");
    this.#blocks.push(block);
    return block;
  }

  #addCpu(core: VmExplored, i: number): void {
    const context = this.#take(K.CONTEXT_BYTES),
      tlb = this.#makeTlb(core);
    const { pointer, bytes, physBase } = this.arena,
      root = this.tableInfo()?.root ?? 0;
    const c = new ContextView(this.views, context);
    c.physBase = physBase;
    c.pointer = pointer;
    c.bytes = bytes;
    c.regime = K.REGIME_EL10;
    c.features = PA_48;
    c.hcr = K.HCR_VM | K.HCR_DC | K.HCR_FWB;
    c.vtcr = BigInt.asUintN(64, this.vtcr);
    c.vttbr = BigInt.asUintN(64, core.vttbr(physBase + BigInt(root - pointer), VMID, 0));
    made(core.mmuConfigure(context), "a context");
    if (made(core.machineAddCpu(this.machine, context, tlb), "a vCPU") !== i) throw new Error("vCPUs are out of order");
    this.#contexts.push(context);
    this.#tlbs.push(tlb);
  }

  #makeTlb(core: VmExplored): number {
    const { tlbEntries = 4, adversarial = false } = this.guest,
      bytes = K.TLB_HEADER_BYTES + BANKS * (K.TLB_BANK_SLACK + tlbEntries * (K.TLB_ENTRY_BYTES + K.TLB_APART_BYTES));
    const tlb = this.#take(bytes);
    for (let i = 0; i < BANKS; i++) {
      const bank = this.#bank(tlb, i);
      if (i === FETCHES) continue; // one bank for data and code
      bank.sets = 1;
      bank.ways = tlbEntries;
      bank.policy = K.POLICY_LRU;
      bank.sizes = ANY_SIZE;
    }
    const head = new TlbView(this.views, tlb);
    head.flags = K.TLB_COMBINED_WALKS | K.TLB_CONTIGUOUS | (adversarial ? K.TLB_ADVERSARIAL : 0);
    made(core.mmuTlb(tlb, bytes), "a TLB");
    return tlb;
  }

  #bank(tlb: number, i: number): BankView {
    return new BankView(this.views, tlb + K.TLB_BANKS_AT + i * K.TLB_BANK_BYTES);
  }

  #setPolicy(core: VmExplored): void {
    const vm = new VmView(this.views, this.vm),
      { strategy = K.LOG_PROTECT, manual = 0, eagerSplit = 0, entries = 128, cpus } = this.guest;
    vm.strategy = strategy;
    vm.manualDirtyLog = manual;
    vm.eagerSplit = BigInt(eagerSplit);
    for (let i = 0; i < cpus; i++) {
      if (strategy === K.LOG_RING) made(core.vmSetRing(this.vm, i, entries), "a ring");
      if (strategy === K.LOG_HDBSS) made(core.vmSetHdbss(this.vm, i, entries), "a log");
    }
  }

  /** What only counts, and what only says when an entry was used, makes no two states different. */
  #maskCounts(): void {
    const cpu = offsetsOf(CpuView),
      tlb = offsetsOf(TlbView),
      bank = offsetsOf(BankView),
      agent = offsetsOf(AgentView);
    const mask = (at: number, offsets: ReadonlyMap<string, number>, from: string, to: string) => {
      const [first = 0, end = 0] = [offsets.get(from), offsets.get(to)];
      this.mask(at + first, end - first);
    };
    for (let i = 0; i < this.guest.cpus; i++) {
      const record = this.cpu(i).pointer;
      mask(record, cpu, "accesses", "exits");
      mask(record, cpu, "retries", "stuck");
    }
    for (const at of this.#tlbs) {
      mask(at, tlb, "clock", "lock");
      this.mask(at + (tlb.get("readHits") ?? 0), TlbView.BYTES - (tlb.get("readHits") ?? 0));
      for (let i = 0; i < BANKS; i++) {
        mask(at + K.TLB_BANKS_AT + i * K.TLB_BANK_BYTES, bank, "inserts", "absent");
        this.#maskUses(this.#bank(at, i));
      }
    }
    for (let id = 0; id <= this.host; id++) {
      const at = this.coreOf(id).vmAgent(this.vm) >>> 0;
      mask(at, agent, "marks", "lastSlot");
      this.mask(at + (agent.get("counts") ?? 0), COUNTS_BYTES);
    }
    this.mask(this.vm + (offsetsOf(VmView).get("protects") ?? 0), 4);
  }

  #maskUses({ pointer, sets, ways }: BankView): void {
    const born = offsetsOf(EntryView).get("born") ?? 0,
      n = sets * ways;
    for (let i = 0; i < n; i++) this.mask(pointer + i * K.TLB_ENTRY_BYTES + born, 4);
    if (n > 0) this.mask(pointer + n * K.TLB_ENTRY_BYTES, n * 4);
  }

  /** The record of vCPU `i`. */
  cpu(i: number): { readonly record: CpuView; readonly pointer: number } {
    const pointer = this.coreOf(this.host).machineCpu(this.machine, i) >>> 0;
    return { record: new CpuView(this.views, pointer), pointer };
  }

  /** vCPU `i` does this from now on. */
  setWork(i: number, { from, pages = 1, writes = SHARES, fetches = 0 }: CpuWork): void {
    const { record } = this.cpu(i);
    record.base = BigInt(from);
    record.pages = pages;
    record.stride = 1;
    record.pattern = K.PATTERN_SEQUENTIAL;
    record.cursor = 0;
    record.writes = writes;
    record.fetches = fetches;
  }

  /** vCPU `i` makes `n` accesses now, before the walkers begin; walker `by` runs it, whose page cache is full then. */
  runNow(i: number, work: CpuWork, n = 1, by: number = Math.min(i, this.host - 1)): void {
    this.setWork(i, work);
    const call = () => ({ run: () => this.core.machineRun(this.machine, i, n) });
    this.setUp({ says: `vCPU ${i} runs`, call }, by);
  }

  /** The slot is there, and logs or not, from now on. */
  setLog(on: boolean): void {
    const core = this.coreOf(this.host);
    made(
      this.quietly(() => core.vmSetRegion(this.vm, SLOT, on ? K.SLOT_LOG : 0, RAM, this.size, HVA)),
      "the slot",
    );
    if (on)
      made(
        this.quietly(() => core.machineCopyAll(this.machine)),
        "the first round",
      );
  }

  /** The log begins now, at the end, so that stores are not asked after; words for a failure. */
  startLog(): string | undefined {
    this.setLog(true);
    return undefined;
  }

  /** Would a store of vCPU 0 to `gpa` be done, as far as the table goes? */
  mayStore(gpa: number): boolean {
    const context = this.#contexts[0] as number;
    return this.coreOf(this.host).mmuLookup(context, gpa, K.A_WRITE, this.#out) >= 0;
  }

  /** Is the host's page behind `gpa` the VM's own? */
  isPrivate(gpa: number): boolean {
    return (this.coreOf(this.host).hostTouch(this.vm, hostAddress(gpa), 0, 0) & K.PAGE_WRITABLE) !== 0;
  }

  /** The host reads the log until nothing is dirty: words for a store that went unlogged, or for a vCPU that gave up. */
  wrongLog(): string | undefined {
    const core = this.coreOf(this.host);
    const status = core.machineCollect(this.machine, SLOT);
    if (status < 0) return `reading the log returns ${status}`;
    if (this.guest.manual) core.machineClear(this.machine, SLOT, 0, this.size / UNIT);
    const unlogged = core.machineUncopied(this.machine);
    if (unlogged !== 0) return `${unlogged} stores went unlogged`;
    for (let i = 0; i < this.guest.cpus; i++) {
      const { stuck, aborts, exits } = this.cpu(i).record;
      if (stuck + aborts + exits !== 0n) return `vCPU ${i} did not make its accesses`;
    }
    return undefined;
  }

  /** A TLB that still answers where a walk does not, in words. */
  staleEntry(): string | undefined {
    const core = this.coreOf(this.host);
    for (const [i, tlb] of this.#tlbs.entries()) {
      const context = this.#contexts[i] as number;
      for (const { kind, address } of this.#leaves(tlb)) {
        const cached = core.mmuLookupTlb(context, tlb, address, kind, this.#out);
        if (cached >= 0 && core.mmuLookup(context, address, kind, this.#out) !== cached)
          return `the TLB of vCPU ${i} has a ${kind === K.A_WRITE ? "store" : "load"} to ${hex(address)}, which the table has not`;
      }
    }
    return undefined;
  }

  /** First addresses of what a TLB holds, each as a load and as a store. */
  #leaves(tlb: number): { kind: number; address: number }[] {
    const found: { kind: number; address: number }[] = [];
    for (let b = 0; b < BANKS; b++) {
      const { pointer, sets, ways } = this.#bank(tlb, b);
      for (let e = 0; e < sets * ways; e++) {
        const { tag, base } = new EntryView(this.views, pointer + e * K.TLB_ENTRY_BYTES);
        const isTable = (tag >> KIND_SHIFT) % KINDS >= K.KIND_TABLE1;
        if (tag === 0n || isTable) continue;
        for (const kind of [K.A_READ, K.A_WRITE]) found.push({ kind, address: Number(base) });
      }
    }
    return found;
  }

  /** Gives everything of the VM back but its table. */
  tearDown(): string | undefined {
    const core = this.coreOf(this.host);
    const status = core.machineDestroy(this.machine) || core.vmDestroy(this.vm);
    if (status !== 0) return `the VM cannot be given back: ${status}`;
    for (const block of this.#blocks) if (core.giveBlock(block) !== 0) return "a block is not the VM's any more";
    return undefined;
  }
}

/** A pointer or a count; throws for a negative errno. */
function made(status: number, what: string): number {
  if (status < 0 && status >= -K.MAX_ERRNO) throw new Error(`${what} cannot be made: ${status}`);
  return status >>> 0;
}

/**
 * The VMM's address of a guest address.
 *
 * @example
 * ```ts
 * import { hostAddress, RAM } from "granule/explore";
 * console.log(hostAddress(RAM + 4096) - hostAddress(RAM)); // 4096
 * ```
 */
export function hostAddress(gpa: number): number {
  return HVA + (gpa - RAM);
}

const hex = (n: number) => `0x${n.toString(16)}`;
