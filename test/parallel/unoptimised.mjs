// Run with --liftoff-only: waits in code that V8 has compiled in a hurry. Prints how often the clock was read until a wait for a lock
// ended, and until one for the accesses of a vCPU did.

import { CpuView } from "../../dist/bindings/core/sim-views.generated.js";
import { instantiateVm } from "../../dist/bindings/core/vm-core.js";
import { createEngine, joinEngine } from "../../dist/bindings/index.js";
import { createVm } from "../../dist/bindings/vm/index.js";

const STEP_MS = 500;
const RAM = 2 ** 30;
const SIZE = 2 ** 21;

/** This walker's clock goes on by STEP_MS each time it is read; `reads` says how often that was. */
function fakeClock(engine) {
  let reads = 0;
  engine.hosts.clock = () => ++reads * STEP_MS;
  return () => reads;
}

function waitForLock() {
  const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
  const table = engine.createStage2({ ipaBits: 39 });
  joinEngine(engine.ticket(1)).adopt(table.ticket()).lock("write");
  const reads = fakeClock(engine);
  try {
    table.leaf(0);
  } catch (error) {
    return [error.code, reads()];
  }
  return ["the lock was had", reads()];
}

/** vCPU 0 runs the guest from here on, for all that others can see: its step is odd. */
function enterGuest(vm) {
  const { memory, offset, hosts, words } = vm.engine;
  const core = instantiateVm(vm.ticket(1).module, memory, offset, hosts);
  core.vmAttach(0);
  new CpuView(words, core.machineCpu(vm.machinePointer, 0)).step |= 1;
}

function waitForAccesses() {
  const vm = createVm({ walkers: 2, witness: true, arenaBytes: 64 << 20 });
  const slot = vm.addSlot({ gpa: RAM, size: SIZE, backing: "4k" });
  vm.run(64, { gpa: RAM, size: SIZE });
  enterGuest(vm);
  const reads = fakeClock(vm.engine);
  vm.logDirty(slot, true);
  return reads();
}

console.log(JSON.stringify({ lock: waitForLock(), accesses: waitForAccesses() }));
