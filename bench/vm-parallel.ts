/**
 * Demand faults of several vCPUs on threads of their own: each has a part of the memory, or every n-th page of it. One vCPU that
 * does all of it alternates with them in one VM of the same shape, so that other load on the machine slows both.
 *
 * @module
 */
import { Worker } from "node:worker_threads";
import { createVm, type Workload } from "../bindings/vm/index.js";
import { workersRow } from "./parallel.js";
import type { ResultRow } from "./rows.js";
import type { VmJob, VmSpan } from "./vm-worker.js";

/** Ids that a run may name. */
export const VM_PARALLEL_IDS = ["vm-fault-disjoint", "vm-fault-interleaved"] as const;

const RAM = 2 ** 30;
const PAGE = 4096;
const BYTES = 256 * 2 ** 20;
const PAGES = BYTES / PAGE;
const ARENA_BYTES = 64 * 2 ** 20;
const NS_PER_MS = 1e6;
const WARM = 3;

function runThread(job: VmJob): Promise<VmSpan> {
  const worker = new Worker(new URL("./vm-worker.js", import.meta.url), { workerData: job });
  return new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
  });
}

/** Nanoseconds a fault of `threads` vCPUs that populate the memory together. */
async function sample(id: string, cpus: number, threads: number): Promise<number> {
  using vm = createVm({ cpus, walkers: cpus + 1, arenaBytes: ARENA_BYTES });
  vm.addSlot({ gpa: RAM, size: BYTES, backing: "4k" });
  const division = threads === 1 ? "shared" : id === "vm-fault-disjoint" ? "disjoint" : "interleaved";
  const work: Workload = { gpa: RAM, size: BYTES, pattern: "sequential", division, writes: 1 };
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const spans = await Promise.all(
    Array.from({ length: threads }, (_, cpu) =>
      runThread({ ticket: vm.ticket(cpu + 1), cpu, accesses: PAGES / threads, work, gate, parties: threads }),
    ),
  );
  if (vm.table.countLeaves() !== PAGES) throw new Error(`${id}: ${vm.table.countLeaves()} pages mapped`);
  const start = Math.min(...spans.map(({ started }) => started));
  return ((Math.max(...spans.map(({ ended }) => ended)) - start) * NS_PER_MS) / PAGES;
}

/** One vCPU against `workers` (default 2): nanoseconds a fault, and the median of the rounds' ratios. */
export async function vmParallelRows(id: string, workers = 2, rounds = 7): Promise<ResultRow[]> {
  const one: number[] = [];
  const many: number[] = [];
  for (let i = 0; i < rounds + WARM; i++) {
    const [alone, together] = [await sample(id, workers, 1), await sample(id, workers, workers)];
    if (i < WARM) continue;
    one.push(alone);
    many.push(together);
  }
  return [workersRow(id, 1, one, one), workersRow(id, workers, many, one)];
}
