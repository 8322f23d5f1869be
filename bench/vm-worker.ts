/**
 * A thread of bench/vm-parallel.ts: runs one vCPU as soon as all threads are there.
 *
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import { joinVm, type VmTicket, type Workload } from "../bindings/vm/index.js";

/** What a thread is told. */
export interface VmJob {
  readonly ticket: VmTicket;
  readonly cpu: number;
  readonly accesses: number;
  readonly work: Workload;
  /** One word: how many threads are ready. All begin when it is `parties`. */
  readonly gate: Int32Array;
  readonly parties: number;
}

/** When a thread began and ended, in milliseconds of a clock that all threads share. */
export interface VmSpan {
  readonly started: number;
  readonly ended: number;
}

const { ticket, cpu, accesses, work, gate, parties } = workerData as VmJob;
const now = () => performance.timeOrigin + performance.now();
const vm = joinVm(ticket);
Atomics.add(gate, 0, 1);
while (Atomics.load(gate, 0) < parties);
const started = now();
vm.run(cpu, accesses, work);
parentPort?.postMessage({ started, ended: now() } satisfies VmSpan);
vm.close();
