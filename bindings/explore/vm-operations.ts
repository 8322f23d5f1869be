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

/** `n` accesses of vCPU `cpu`, by its work; the result is how many are left because its ring is full. */
export function run(cpu: number, n = 1): Operation {
  return vmOperation(`vCPU ${cpu}: ${n} access${n === 1 ? "" : "es"}`, ({ core, machine }) =>
    core.machineRun(machine, cpu, n),
  );
}

/** The VMM reads the dirty log, and copies the pages that it reports; the result is how many these are. */
export function readLog(): Operation {
  return vmOperation("read the dirty log", ({ core, machine }) => core.machineCollect(machine, SLOT));
}

/** What the host may do to the memory behind a guest range. */
const CHANGES = { share: K.HOST_SHARE, discard: K.HOST_DISCARD, collapse: K.HOST_COLLAPSE, fork: K.HOST_FORK } as const;

/** The host changes the memory behind a guest range: the three calls of a notifier and the change in between [NOT-1, NOT-3]. */
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

/** The host asks whether a guest range was accessed, and clears the access flags. */
export function hostAge(gpa: number, size: number): Operation {
  const start = hostAddress(gpa);
  return vmOperation(`age ${hex(gpa)}+${hex(size)}`, ({ core, vm }) => core.vmAge(vm, start, start + size, 1));
}
