// No store goes unlogged while vCPUs on threads store and this thread reads the log [DBM-10]: each way of logging in each granule,
// over blocks that are split under the vCPUs' hands and come back. Some 10^6 stores in all.
//
// GRANULE_STRESS=long makes it 10^8 for each way and granule, GRANULE_WAYS=dbm,ring chooses ways, GRANULE_SEED other numbers.

import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { createVm, type DirtyPolicy, type Vm, type Workload } from "../../bindings/vm/index.js";

const LONG = process.env.GRANULE_STRESS === "long";
const SEED = Number(process.env.GRANULE_SEED ?? 1);
const RAM = 2 ** 30;
const MIB = 2 ** 20;
const CPUS = 2;
const PHASES = 4;
const TURN = 2048;
const WRITES = 0.8;
/** Stores of one way in one granule, of all CPUs. */
const STORES = LONG ? 1e8 : 48_000;
const HOUR_MS = 3_600_000;

/** A page, what a block maps, and a slot of several blocks. */
const GRANULES = [
  [4096, 2 * MIB, 32 * MIB],
  [16384, 32 * MIB, 128 * MIB],
  [65536, 512 * MIB, 1024 * MIB],
] as const;

const WAYS: Readonly<Record<string, (block: number) => DirtyPolicy>> = {
  protect: () => ({ strategy: "protect" }),
  eager: (block) => ({ strategy: "protect", eagerSplit: block }),
  manual: () => ({ strategy: "protect", manual: true }),
  "initially set": () => ({ strategy: "protect", manual: true, initiallySet: true }),
  ring: () => ({ strategy: "ring", ringEntries: 1024 }),
  dbm: () => ({ strategy: "dbm" }),
  "dbm eager": (block) => ({ strategy: "dbm", eagerSplit: block }),
  hdbss: () => ({ strategy: "hdbss" }),
};
const CHOSEN = (process.env.GRANULE_WAYS ?? Object.keys(WAYS).join()).split(",");

/** Runs CPU `cpu` on a thread; resolves when it has finished. */
function runOn(vm: Vm, cpu: number, work: Workload, turns: number): Promise<void> {
  const workerData = { ticket: vm.ticket(cpu + 1), cpu, turns, accesses: TURN, work, whole: true };
  const worker = new Worker(new URL("./runner.mjs", import.meta.url), { workerData });
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`the thread ended with ${code}`))));
  });
}

function collect(vm: Vm, slot: number, { manual = false }: DirtyPolicy): void {
  vm.dirtyLog(slot);
  if (manual) vm.clearDirtyLog(slot);
}

/** All CPUs on threads, and this thread reads the log until they are done, and once more. How often it was read. */
async function phase(vm: Vm, slot: number, work: Workload, policy: DirtyPolicy, turns: number): Promise<number> {
  let running = true;
  const threads = Promise.all(Array.from({ length: CPUS }, (_, cpu) => runOn(vm, cpu, work, turns))).finally(() => {
    running = false;
  });
  let reads = 0;
  for (; running; reads++) {
    collect(vm, slot, policy);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await threads;
  collect(vm, slot, policy);
  return reads;
}

const SCENES = GRANULES.flatMap(([granule, block, size]) => CHOSEN.map((way) => [way, granule, block, size] as const));

describe("vCPUs on threads lose no store", () => {
  it.each(SCENES)(
    "with %s and pages of %i bytes in blocks of %i [DBM-10, DLG-14, DLG-31]",
    LONG ? { timeout: HOUR_MS } : {},
    async (way, granule, block, size) => {
      const policy = WAYS[way]?.(block) ?? expect.fail(`there is no way ${way}`);
      const hardwareDirty = policy.strategy === "dbm" || policy.strategy === "hdbss";
      using vm = createVm({ cpus: CPUS, walkers: CPUS + 1, witness: true, hardwareDirty, granule, seed: SEED });
      const slot = vm.addSlot({ gpa: RAM, size, backing: "thp" });
      const work = { gpa: RAM, size, writes: WRITES, fetches: 0.01 } as const;
      const turns = Math.ceil(STORES / WRITES / CPUS / PHASES / TURN);
      vm.setDirtyPolicy(policy);
      let reads = 0;
      for (let i = 0; i < PHASES; i++) {
        vm.run(TURN, work); // not logged: the blocks come back
        vm.logDirty(slot, true);
        reads += await phase(vm, slot, work, policy, turns);
        expect(vm.engine.counters().warnings, "TLBIs and DSBs that gave up").toBe(0);
        expect(vm.unlogged(), `${way}, ${granule}, seed ${SEED}, phase ${i}`).toBe(0);
        vm.logDirty(slot, false);
        vm.changeHost("share", RAM + (size / PHASES) * i, size / PHASES);
        vm.changeHost("collapse", RAM, size);
      }
      const stats = vm.stats();
      const stores = stats.reduce((sum, cpu) => sum + cpu.stores, 0);
      if (LONG) console.log(`${way}, ${granule}-byte pages: ${stores} stores, ${reads} reads of the log, 0 unlogged`);
      expect([stats.map((cpu) => cpu.stuck), reads > PHASES]).toEqual([[0, 0], true]);
      expect(stats.every((cpu) => cpu.accesses === PHASES * TURN * (turns + 1))).toBe(true);
      expect(stores).toBeGreaterThan(STORES * 0.99);
    },
  );
});
