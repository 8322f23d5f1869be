import { checkOptions, describe, type OptionKinds } from "../core/check.js";
import { type CoreSource, compile } from "../core/core.js";
import { invalid } from "../core/errors.js";
import type { WasmModule } from "../core/platform.js";
import { ProcessorsView } from "../core/sim-views.generated.js";
import { instantiateVm, type VmCore } from "../core/vm-core.js";
import { VmidsView } from "../core/vm-views.generated.js";
import { createEngine } from "../index.js";
import { createMmu, createTlb, type Tlb, type TlbPreset } from "../mmu/index.js";
import type { Engine } from "../tables/engine.js";
import { inlinedVm } from "./machine.js";
import { checkCores, pointerOf, type VmOptions } from "./options.js";
import { Vm } from "./vm.js";
import type { Workload } from "./workload.js";

/** How a host is made. */
export interface HostOptions {
  /** CPUs, each with TLBs. Default 2, at most 64. */
  cpus?: number;
  /** Bits of a VMID: 8 or 16 in hardware. Fewer, 2 at least, make VMIDs run out sooner. Default 8. */
  vmidBits?: number;
  /** The shape of the TLBs. Default `cortex-a76`. */
  tlb?: TlbPreset;
  /** TLBs that keep whatever the architecture lets them keep, and drop what they may. Default false. */
  adversarial?: boolean;
  /** Of the choice of who runs where, and of adversarial TLBs. Default 1. */
  seed?: number;
  /** Room for so many records of the journal, of all VMs and of who runs where. Default 0. */
  journalRecords?: number;
  /** Bytes for the tables and logs of all VMs, and the TLBs. Default 256 MiB. */
  arenaBytes?: number;
  /** The package's `vm.wasm`, compiled or as bytes, in place of the inlined one. */
  module?: CoreSource;
}

const HOST: OptionKinds<HostOptions> = {
  cpus: "number",
  vmidBits: "number",
  tlb: "any",
  adversarial: "boolean",
  seed: "number",
  journalRecords: "number",
  arenaBytes: "number",
  module: "any",
};

/** What the VMIDs of a host went through. */
export interface HostStats {
  /** VMIDs that ran out, so that all TLBs were flushed [VMID-5]. */
  rollovers: number;
  /** Times that a CPU forgot a VM's stage-1 translations, because another vCPU of the VM had run there last [VMID-10]. */
  contextFlushes: number;
}

/** A vCPU and the CPU that it is loaded on. */
interface Loaded {
  readonly vm: Vm;
  readonly vcpu: number;
}

/**
 * CPUs that many VMs share: more VMs than there are VMIDs, more vCPUs than CPUs. Make one with `createHost`. A VM's vCPUs are loaded onto
 * CPUs and put again; VMIDs are given out as KVM does it [VMID-1..10].
 *
 * @example
 * ```ts
 * import { createHost } from "granule/vm";
 * using host = createHost({ cpus: 2, vmidBits: 3 }); // seven VMIDs
 * const work = { gpa: 0, size: 1 << 20, writes: 0.5 };
 * const vms = Array.from({ length: 20 }, () => host.createVm({ checkTranslations: true }));
 * for (const vm of vms) vm.addSlot({ gpa: 0, size: 1 << 20 });
 * host.run(100, 64, work);
 * const stale = vms.flatMap((vm) => vm.stats()).reduce((sum, cpu) => sum + cpu.stale, 0);
 * console.log(host.stats().rollovers > 5, stale); // true 0
 * ```
 */
export class Host implements Disposable {
  /** The engine that has the tables of all VMs. */
  readonly engine: Engine;
  /** The TLBs, one for each CPU. */
  readonly tlbs: readonly Tlb[];
  /** @internal Pointer of the CPUs in the engine's memory. */
  readonly pointer: number;
  /** @internal */
  readonly module: WasmModule;
  readonly #core: VmCore;
  readonly #vms: Vm[] = [];
  readonly #loaded: (Loaded | undefined)[] = [];
  #made = 0;
  #random: number;
  #closed = false;

  /** @internal Use `createHost`. */
  constructor(options: HostOptions) {
    checkOptions("createHost", options, HOST);
    const { cpus = 2, vmidBits = 8, tlb = "cortex-a76", adversarial = false, seed = 1 } = options;
    checkCores("createHost", cpus);
    if (!Number.isInteger(vmidBits) || vmidBits < 2 || vmidBits > 16 || cpus >= 2 ** vmidBits - 1) {
      throw invalid("createHost", `vmidBits is ${describe(vmidBits)}: 2 to 16, with more VMIDs than CPUs`);
    }
    this.#random = seed;
    this.engine = createEngine({
      arenaBytes: options.arenaBytes ?? 256 << 20,
      journalRecords: options.journalRecords ?? 0,
    });
    this.module = options.module === undefined ? inlinedVm() : compile(options.module, "createHost");
    this.#core = instantiateVm(this.module, this.engine.memory, this.engine.offset, this.engine.hosts);
    this.engine.check(this.#core.vmAttach(this.engine.walker), "createHost");
    const mmu = createMmu({ engine: this.engine });
    this.tlbs = Array.from({ length: cpus }, (_, i) => createTlb(mmu, { preset: tlb, adversarial, seed: seed + i }));
    this.pointer = pointerOf(this.#core.processorsCreate(cpus, vmidBits), "createHost");
    this.tlbs.forEach(({ pointer }, i) => {
      this.engine.check(this.#core.processorSetTlb(this.pointer, i, pointer), "createHost");
    });
  }

  #open(operation: string): void {
    if (this.#closed) throw invalid(operation, "the host is closed");
  }

  /**
   * A VM without memory on this host. Of `options`, those that say how CPUs and memory are made belong to the host. Its physical addresses
   * are its own: ERANGE when no more fit. Default of `ipaBits`: 32.
   */
  createVm(
    options: Pick<
      VmOptions,
      "granule" | "ipaBits" | "lpa2" | "hardwareDirty" | "cpus" | "seed" | "witness" | "checkTranslations" | "registers"
    > = {},
  ): Vm {
    this.#open("createVm");
    this.#made++;
    const all = { ipaBits: 32, ...options };
    const vm = new Vm({ seed: this.#made, ...all }, { host: this, physBase: this.#made * 2 ** all.ipaBits });
    this.#vms.push(vm);
    return vm;
  }

  /**
   * Loads a vCPU onto a CPU, in place of what is there, and puts it where it was before. The index of the VMID with which it enters the
   * guest. EINVAL for a CPU, a VM or a vCPU that there is not.
   */
  load(cpu: number, vm: Vm, vcpu: number): number {
    this.#open("load");
    if (!this.#vms.includes(vm)) throw invalid("load", "the VM is not one of this host's");
    const at = this.#loaded.findIndex((one) => one?.vm === vm && one.vcpu === vcpu);
    if (at >= 0 && at !== cpu) this.put(at);
    this.engine.check(this.#core.processorLoad(this.pointer, cpu, vm.machinePointer, vcpu), "load");
    this.#loaded[cpu] = { vm, vcpu };
    return vm.vmid & (2 ** this.#vmids().bits - 1);
  }

  /** A CPU runs no vCPU any more. EINVAL for a CPU that there is not. */
  put(cpu: number): void {
    this.#open("put");
    this.engine.check(this.#core.processorPut(this.pointer, cpu), "put");
    this.#loaded[cpu] = undefined;
  }

  /** @internal A VM goes: none of its vCPUs is loaded. */
  forget(vm: Vm): void {
    this.#vms.splice(this.#vms.indexOf(vm), 1);
    for (const [cpu, one] of this.#loaded.entries()) if (one?.vm === vm) this.put(cpu);
  }

  /**
   * In each turn every CPU loads a vCPU, chosen at random among those that no other CPU has, and then all of them run `accesses` accesses of
   * the workload.
   */
  run(turns: number, accesses: number, workload: Workload): void {
    this.#open("run");
    for (let turn = 0; turn < turns; turn++) {
      this.tlbs.forEach((_, cpu) => {
        this.#loadAny(cpu);
      });
      for (const one of [...this.#loaded]) one?.vm.runVcpu(one.vcpu, accesses, workload);
    }
  }

  #loadAny(cpu: number): void {
    this.put(cpu);
    const all = this.#vms.flatMap((vm) => vm.tlbs.map((_, vcpu) => ({ vm, vcpu })));
    const free = all.filter(({ vm, vcpu }) => !this.#loaded.some((one) => one?.vm === vm && one.vcpu === vcpu));
    const chosen = free[this.#below(free.length)];
    if (chosen !== undefined) this.load(cpu, chosen.vm, chosen.vcpu);
  }

  /** A number below `n`: mulberry32. */
  #below(n: number): number {
    this.#random = (this.#random + 0x6d2b_79f5) | 0;
    const a = Math.imul(this.#random ^ (this.#random >>> 15), this.#random | 1);
    const b = a ^ (a + Math.imul(a ^ (a >>> 7), a | 61));
    return Math.floor((((b ^ (b >>> 14)) >>> 0) / 2 ** 32) * n);
  }

  #vmids(): VmidsView {
    return new VmidsView(this.engine.words, new ProcessorsView(this.engine.words, this.pointer).vmids);
  }

  /** What the VMIDs went through. */
  stats(): HostStats {
    this.#open("stats");
    const { contextFlushes } = new ProcessorsView(this.engine.words, this.pointer);
    return { rollovers: this.#vmids().rollovers, contextFlushes };
  }

  /** Lets go of everything, the VMs too. Twice is harmless. */
  close(): void {
    if (this.#closed) return;
    for (const vm of [...this.#vms]) vm.close();
    this.#closed = true;
    this.engine.close();
  }

  /** The same as `close`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
