/**
 * A whole VM's memory life: slots, vCPUs with TLBs, faults, dirty logging. Runs in browsers too.
 *
 * @module
 */

import { Host, type HostOptions } from "./host.js";
import type { VmOptions } from "./options.js";
import { Vm } from "./vm.js";
import { type VmTicket, VmWorker } from "./worker.js";

export type { AccessBuffer } from "./accesses.js";
export type { Host, HostOptions, HostStats } from "./host.js";
export type { HostMemory, HostPage, MemoryArea } from "./host-memory.js";
export type { Backing, CpuStats, DirtyLog, DirtyPolicy, HostChange, SlotOptions, VmOptions } from "./options.js";
export type {
  AliasOptions,
  ReverseEntry,
  ReverseMap,
  ReverseMapOptions,
  ReverseMapStats,
  ReverseMaps,
  Shadow,
  ShadowMapping,
} from "./reverse-maps.js";
export type { Vm } from "./vm.js";
export type { VmOnlooker } from "./watch.js";
export type { VmTicket, VmWorker } from "./worker.js";
export type { Workload } from "./workload.js";

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

/**
 * Joins the VM of a ticket on this thread, to run vCPUs of it beside others. EBUSY (thrown) if somebody is that walker already.
 *
 * @example
 * ```ts
 * import { createVm, joinVm } from "granule/vm";
 * using vm = createVm({ cpus: 2, walkers: 2 });
 * vm.addSlot({ gpa: 0, size: 2 << 20 });
 * using other = joinVm(vm.ticket(1)); // on another thread, as a rule
 * other.run(1, 1000, { gpa: 0, size: 2 << 20, writes: 0.5 });
 * console.log(vm.stats().map((cpu) => cpu.accesses)); // [ 0, 1000 ]
 * ```
 */
export function joinVm(ticket: VmTicket): VmWorker {
  return new VmWorker(ticket);
}

/**
 * CPUs that many VMs share, with VMIDs for fewer VMs than there are. Throws EINVAL for options that make no sense.
 *
 * @example
 * ```ts
 * import { createHost } from "granule/vm";
 * using host = createHost({ cpus: 2 });
 * const vm = host.createVm({ cpus: 4 });
 * vm.addSlot({ gpa: 0, size: 2 << 20 });
 * vm.run(1000, { gpa: 0, size: 2 << 20, writes: 0.5 }); // two vCPUs on each CPU, in turns
 * console.log(host.load(0, vm, 0), host.stats().contextFlushes > 2); // 1 true
 * ```
 */
export function createHost(options: HostOptions = {}): Host {
  return new Host(options);
}
