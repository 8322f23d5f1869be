/**
 * A whole VM's memory life: slots, vCPUs with TLBs, faults, dirty logging. Runs in browsers too.
 *
 * @module
 */

import { Vm, type VmOptions } from "./vm.js";

export type { HostMemory, HostPage } from "./host-memory.js";
export type { Backing, CpuStats, DirtyLog, DirtyPolicy, SlotOptions, Vm, VmOptions, Workload } from "./vm.js";

/**
 * A VM without memory. Throws EINVAL for options that make no sense.
 *
 * @example
 * ```ts
 * import { createVm } from "granule/vm";
 * using vm = createVm({ cpus: 2, witness: true });
 * const ram = vm.addSlot({ gpa: 0x4000_0000, size: 64 << 20 });
 * const work = { gpa: 0x4000_0000, size: 64 << 20, writes: 0.25 } as const;
 * vm.run(20_000, work); // each CPU: TLB, walk, fault, map, retry
 * vm.logDirty(ram, true);
 * vm.run(20_000, work);
 * console.log(vm.dirtyLog(ram).pages > 0, vm.unlogged()); // true 0
 * ```
 */
export function createVm(options: VmOptions = {}): Vm {
  return new Vm(options);
}
