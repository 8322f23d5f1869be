// vCPUs on threads of their own, while this thread reads the dirty log: no store is lost, whoever is faster.

import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { createVm, type Vm, type Workload } from "../../bindings/vm/index.js";

const RAM = 2 ** 30;
const MIB = 2 ** 20;

/** Runs CPU `cpu` on a thread; resolves when it has finished. */
function runOn(vm: Vm, cpu: number, work: Workload, turns: number): Promise<void> {
  const workerData = { ticket: vm.ticket(cpu + 1), cpu, turns, accesses: 2048, work };
  const worker = new Worker(new URL("./runner.mjs", import.meta.url), { workerData });
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`the thread ended with ${code}`))));
  });
}

const WAYS = [
  ["protect", 0, "shared"],
  ["protect", 2 * MIB, "disjoint"],
  ["dbm", 0, "shared"],
  ["dbm", 2 * MIB, "shared"],
  ["hdbss", 0, "shared"],
  ["hdbss", 2 * MIB, "disjoint"],
] as const;

describe("vCPUs on threads", () => {
  it.each(WAYS)(
    "lose no store with %s, blocks of %i split at once, %s memory [DBM-10]",
    async (strategy, eagerSplit, division) => {
      for (const seed of [1, 2]) {
        using vm = createVm({ cpus: 2, walkers: 3, witness: true, hardwareDirty: strategy !== "protect", seed });
        const size = 32 * MIB;
        const ram = vm.addSlot({ gpa: RAM, size });
        const work = { gpa: RAM, size, writes: 0.5, division } as const;
        vm.setDirtyPolicy({ strategy, eagerSplit });
        vm.logDirty(ram, true);
        let running = true;
        const threads = Promise.all([runOn(vm, 0, work, 30), runOn(vm, 1, work, 30)]).finally(() => {
          running = false;
        });
        let reads = 0;
        for (; running; reads++) {
          vm.dirtyLog(ram);
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
        await threads;
        vm.dirtyLog(ram);
        const stats = vm.stats();
        expect([vm.unlogged(), stats.map((cpu) => cpu.stuck), reads > 1], `seed ${seed}`).toEqual([0, [0, 0], true]);
        expect(stats.every((cpu) => cpu.accesses === 30 * 2048)).toBe(true);
      }
    },
  );
});
