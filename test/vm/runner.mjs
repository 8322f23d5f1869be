// A thread that runs one vCPU: what the test beside it posts, turn by turn. With `whole` a vCPU that stopped because its dirty ring
// was full goes on when it was collected.

import { parentPort, workerData } from "node:worker_threads";
import { joinVm } from "../../dist/bindings/vm/index.js";

const { ticket, cpu, turns, accesses, work, whole = false } = workerData;
const vm = joinVm(ticket);
const never = new Int32Array(new SharedArrayBuffer(4));
for (let i = 0; i < turns; i++) {
  let left = vm.run(cpu, accesses, work);
  while (whole && left > 0) {
    Atomics.wait(never, 0, 0, 1);
    left = vm.run(cpu, left, work);
  }
}
vm.close();
parentPort.postMessage("done");
