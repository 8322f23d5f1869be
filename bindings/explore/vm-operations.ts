// What a walker of a VM's scenario does: it runs vCPUs, or it is the VMM.

import * as K from "../core/constants.generated.js";
import type { Operation } from "./engine-world.js";
import { hostAddress, SLOT, type VmWorld } from "./vm-world.js";

const hex = (n: number) => `0x${n.toString(16)}`;

function vmOperation(says: string, does: (world: VmWorld) => number): Operation {
  return {
    says,
    call: (world) => {
      const vm = world as VmWorld;
      return { run: () => does(vm) };
    },
  };
}

/**
 * `n` accesses of vCPU `cpu`, by its work; the result is how many are left because its ring is full [RNG-7].
 *
 * @example
 * ```ts
 * import { run } from "granule/explore";
 * console.log(run(0, 2).says); // vCPU 0: 2 accesses
 * ```
 */
export function run(cpu: number, n = 1): Operation {
  return vmOperation(`vCPU ${cpu}: ${n} access${n === 1 ? "" : "es"}`, ({ core, machine }) =>
    core.machineRun(machine, cpu, n),
  );
}

/**
 * The VMM reads the dirty log, and copies the pages that it reports; the result is how many these are (KVM_GET_DIRTY_LOG).
 *
 * @example
 * ```ts
 * import { readLog } from "granule/explore";
 * console.log(readLog().says); // read the dirty log
 * ```
 */
export function readLog(): Operation {
  return vmOperation("read the dirty log", ({ core, machine }) => core.machineCollect(machine, SLOT));
}

/** What the host may do to the memory behind a guest range. */
const CHANGES = { share: K.HOST_SHARE, discard: K.HOST_DISCARD, collapse: K.HOST_COLLAPSE, fork: K.HOST_FORK } as const;

/**
 * The host changes the memory behind `size` bytes from the guest address `gpa`: a notifier's begin, the change, its end [NOT-1, NOT-3].
 *
 * @example
 * ```ts
 * import { changeHost, RAM } from "granule/explore";
 * console.log(changeHost("share", RAM, 4096).length); // 3
 * ```
 */
export function changeHost(what: keyof typeof CHANGES, gpa: number, size: number): readonly Operation[] {
  const start = hostAddress(gpa),
    end = start + size,
    range = `${hex(gpa)}+${hex(size)}`;
  return [
    vmOperation(`begin to ${what} ${range}`, ({ core, vm }) => core.vmInvalidateBegin(vm, start, end, 1)),
    vmOperation(`${what} ${range}`, ({ core, vm }) => core.hostChange(vm, CHANGES[what], start, end)),
    vmOperation(`end to ${what} ${range}`, ({ core, vm }) => core.vmInvalidateEnd(vm, start, end)),
  ];
}

/**
 * The host asks whether `size` bytes from the guest address `gpa` were accessed, and clears the access flags [NOT-8].
 *
 * @example
 * ```ts
 * import { hostAge, RAM } from "granule/explore";
 * console.log(hostAge(RAM, 4096).says); // age 0x4000000+0x1000
 * ```
 */
export function hostAge(gpa: number, size: number): Operation {
  const start = hostAddress(gpa);
  return vmOperation(`age ${hex(gpa)}+${hex(size)}`, ({ core, vm }) => core.vmAge(vm, start, start + size, 1));
}
