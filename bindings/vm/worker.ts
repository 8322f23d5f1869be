import { checkOptions, describe, type OptionKinds } from "../core/check.js";
import { invalid } from "../core/errors.js";
import type { WasmModule } from "../core/platform.js";
import { CpuView } from "../core/sim-views.generated.js";
import { instantiateVm, type VmCore } from "../core/vm-core.js";
import { type Engine, type EngineTicket, joinEngine } from "../tables/engine.js";
import { setWorkload, TURN, type Workload } from "./workload.js";

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
