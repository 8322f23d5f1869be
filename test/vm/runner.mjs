// A thread that runs one vCPU: what the test beside it posts, turn by turn, until it is told to stop.

import { parentPort, workerData } from "node:worker_threads";
import { joinVm } from "../../dist/bindings/vm/index.js";

const { ticket, cpu, turns, accesses, work } = workerData;
const vm = joinVm(ticket);
for (let i = 0; i < turns; i++) vm.run(cpu, accesses, work);
vm.close();
parentPort.postMessage("done");
