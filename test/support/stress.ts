// Real threads on one engine that do as they please (test/parallel/stress-walker.mjs): what tests of the tables and of the
// judge share.

import { Worker } from "node:worker_threads";
import type { Engine, EngineOptions, Stage2Table } from "../../bindings/index.js";
import { MB2 } from "./tables.js";
import { BASE, home, whoHolds } from "./walkers.js";

const QUIET_MS = 20_000;
export const BLOCK: bigint = BigInt(MB2);
export const PAGES_PER_BLOCK = 512;

export type Make = (options: EngineOptions) => Engine;

/** Ranges of a table: where they begin, and where notes of their pages do. */
export const RANGES = {
  flip: { base: BASE, blocks: 3 },
  grow: { base: BASE + 8n * BLOCK, blocks: 2, at: 0 },
  guard: { base: BASE + 16n * BLOCK, blocks: 2 },
  aged: { base: BASE + 24n * BLOCK, blocks: 1, at: 4 * PAGES_PER_BLOCK },
  bold: { base: BASE + 8n * BLOCK + 512n * BLOCK, blocks: 2, at: 2 * PAGES_PER_BLOCK },
  brave: { base: BASE + 16n * BLOCK + 512n * BLOCK, blocks: 2 },
} as const;

export interface Run {
  engine: Engine;
  table: Stage2Table;
  free: Stage2Table;
  notes: Int32Array;
}

/** Ends when all workers have; with an error of any, or when nothing has happened for long, saying who holds what. */
async function watch(engine: Engine, workers: readonly Worker[], progress: Int32Array): Promise<void> {
  let last = -1;
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_, reject) => {
    timer = setInterval(() => {
      const now = Atomics.load(progress, 0) + Atomics.load(progress, 1);
      if (now === last) reject(new Error(`nothing has happened for ${QUIET_MS} ms: ${whoHolds(engine)}`));
      last = now;
    }, QUIET_MS);
  });
  const ends = workers.map(
    (worker) =>
      new Promise<void>((resolve, reject) => {
        worker.on("message", ({ error }) => (error ? reject(new Error(error)) : resolve()));
        worker.on("error", reject);
        worker.on("exit", () => reject(new Error("a walker has ended")));
      }),
  );
  try {
    await Promise.race([Promise.all(ends), stuck]);
  } finally {
    clearInterval(timer);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** `walkers` threads perform `operations` each on two tables of a new engine; `begin` is called before its first table. */
export async function stress(
  make: Make,
  walkers: number,
  operations: number,
  seed: number,
  options: EngineOptions = {},
  begin: (engine: Engine) => void = () => {},
): Promise<Run> {
  const engine = make({ walkers: walkers + 1, arenaBytes: 32 << 20, ...options });
  begin(engine);
  const table = engine.createStage2({ ipaBits: 39 });
  const free = engine.createStage2({ ipaBits: 39, lockFree: true });
  for (const [t, { base, blocks }] of [[table, RANGES.aged] as const, [free, RANGES.bold] as const]) {
    for (let i = 0; i < blocks * PAGES_PER_BLOCK; i++)
      t.map(base + BigInt(i) * 4096n, 4096, home(base + BigInt(i) * 4096n), "r");
  }
  const progress = new Int32Array(new SharedArrayBuffer(8));
  const notes = new Int32Array(new SharedArrayBuffer(20 * PAGES_PER_BLOCK));
  const workers = Array.from({ length: walkers }, (_, i) => {
    const workerData = {
      ticket: engine.ticket(i + 1),
      tickets: [table.ticket(), free.ticket()],
      seed,
      self: i,
      operations,
      walkers,
      progress: progress.buffer,
      notes: notes.buffer,
      ranges: RANGES,
      output: home(0n),
    };
    return new Worker(new URL("../parallel/stress-walker.mjs", import.meta.url), { workerData });
  });
  await watch(engine, workers, progress);
  return { engine, table, free, notes };
}
