// A small application, as a user of a bundler writes it: it maps a table, lets two workers fault on it, translates through it,
// and draws what it finds. `?worker=PATH` names the worker's script; without it the pool finds its own.

import { capabilities, createEngine, createPool, type Stage2Table } from "granule";
import { createMmu, stage2Registers } from "granule/mmu";

const COLOURS: Readonly<Record<string, string>> = { page: "#2a6", block: "#26a" };

function draw(table: Stage2Table, from: number, to: number): void {
  for (const leaf of table.leaves({ from, to })) {
    const square = document.createElement("i");
    square.style.background = COLOURS[leaf.kind] ?? "#888";
    square.title = `0x${leaf.address.toString(16)} ${leaf.kind}`;
    document.querySelector("#table")?.append(square);
  }
}

async function run(): Promise<object> {
  const engine = createEngine({ arenaBytes: 16 << 20, walkers: 3 });
  const table = engine.createStage2({ ipaBits: 40 });
  table.map(0x4000_0000, 4 << 20, 0x8000_0000, "r");
  const script = new URLSearchParams(location.search).get("worker");
  const own = script === null ? {} : { createWorker: () => new Worker(script, { type: "module" }) };
  const pool = await createPool(engine, { size: 2, ...own });
  const batches = [0, 1].map((worker) => {
    const batch = engine.createBatch(256);
    for (let i = worker; i < 512; i += 2) {
      batch.map(table, i << 12, 4096, i << 12, "rw", { shared: true, cache: "own" });
    }
    return batch;
  });
  const done = await Promise.all(batches.map((batch, worker) => pool.run(batch, { worker })));
  const { mode } = pool;
  await pool.close();
  const mmu = createMmu({ engine, registers: stage2Registers(table) });
  const [load, store] = (["r", "w"] as const).map((access) => mmu.translate(0x4000_1234, access));
  draw(table, 0, 0x4040_0000);
  const { threads, reason } = capabilities();
  return {
    isolated: crossOriginIsolated,
    mode,
    done,
    leaves: table.countLeaves(),
    load: load?.ok ? load.pa.toString(16) : undefined,
    store: store?.ok === false ? store.kind : undefined,
    threads,
    reason: reason ?? "",
  };
}

const outcome = run().then(
  (value) => ({ value }),
  (error: unknown) => ({ error: String(error) }),
);
outcome.then((told) => {
  const text = document.querySelector("#outcome");
  if (text) text.textContent = JSON.stringify(told, null, 2);
});
Object.assign(globalThis, { outcome });
