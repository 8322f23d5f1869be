// What a walker of a VM's scenario does: it runs vCPUs, or it is the VMM.

import * as K from "../core/constants.generated.js";
import type { Operation } from "./engine-world.js";
import { SLOT, type VmWorld } from "./vm-world.js";

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
