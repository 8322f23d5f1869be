// Real threads on one engine, as they please. Outputs are a function of the input (of two, in some ranges), and the
// operations of a range are chosen so that what must hold in the end is known exactly, whatever the order was.
// GRANULE_STRESS=long runs some millions of operations, GRANULE_WORKERS more threads, GRANULE_SEED other ones.

import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine as createDebug } from "../../bindings/debug.js";
import { createEngine, type Engine, type EngineOptions, type Entry, type Stage2Table } from "../../bindings/index.js";
import { SEED } from "../support/random.js";
import { expectReferences, MB2 } from "../support/tables.js";
import { BASE, home, whoHolds } from "../support/walkers.js";

const LONG = process.env.GRANULE_STRESS === "long";
const WORKERS = Number(process.env.GRANULE_WORKERS || 2);
const QUIET_MS = 20_000;
const BLOCK = BigInt(MB2);
const PAGES_PER_BLOCK = 512;
const [MAPPED, WRITABLE] = [1, 2];

type Make = (options: EngineOptions) => Engine;

/** Ranges of a table: where they begin, and where notes of their pages do. */
const RANGES = {
  flip: { base: BASE, blocks: 3 },
  grow: { base: BASE + 8n * BLOCK, blocks: 2, at: 0 },
  guard: { base: BASE + 16n * BLOCK, blocks: 2 },
  aged: { base: BASE + 24n * BLOCK, blocks: 1, at: 4 * PAGES_PER_BLOCK },
  bold: { base: BASE + 8n * BLOCK + 512n * BLOCK, blocks: 2, at: 2 * PAGES_PER_BLOCK },
  brave: { base: BASE + 16n * BLOCK + 512n * BLOCK, blocks: 2 },
} as const;

interface Run {
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

/** `walkers` threads perform `operations` each on two tables of a new engine. */
async function stress(make: Make, walkers: number, operations: number, seed: number): Promise<Run> {
  const engine = make({ walkers: walkers + 1, arenaBytes: 32 << 20 });
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
    return new Worker(new URL("stress-walker.mjs", import.meta.url), { workerData });
  });
  await watch(engine, workers, progress);
  return { engine, table, free, notes };
}

/** Is the output of a leaf one that belongs to its address, whatever its size [BUG-15]? */
function isHome({ address, pa }: Entry): boolean {
  return pa === home(address) || pa === home(address, 1n);
}

function within(name: keyof typeof RANGES, { address }: Entry): boolean {
  const { base, blocks } = RANGES[name];
  return address >= base && address < base + BigInt(blocks) * BLOCK;
}

/** In a range where nothing is taken away: what any walker was told was done is there. */
function expectKept(name: "grow" | "aged" | "bold", table: Stage2Table, notes: Int32Array): void {
  const { base, blocks, at } = RANGES[name];
  const leaves = [...table.leaves({ from: base, to: base + BigInt(blocks) * BLOCK })];
  const there = new Map(leaves.map((leaf) => [leaf.address, leaf]));
  for (let i = 0; i < blocks * PAGES_PER_BLOCK; i++) {
    const told = notes[at + i] as number;
    const leaf = there.get(base + BigInt(i) * 4096n);
    const is = leaf ? MAPPED | (leaf.prot & K.PROT_W ? WRITABLE : 0) : 0;
    if ((told & ~is) !== 0) throw new Error(`${name}: page ${i} is ${is}, but ${told} was said to be done`);
  }
}

function expectSound({ engine, table, free, notes }: Run): void {
  engine.reclaim();
  expect(engine.limbo()).toMatchObject({ waiting: 0, heldUpBy: undefined });
  for (const t of [table, free]) {
    const entries = [...t.entries()];
    expect(entries.filter(({ kind }) => kind !== "page" && kind !== "block")).toEqual([]);
    expect(entries.filter((e) => !isHome(e))).toEqual([]);
    expectReferences(t);
    expect(t.holders()).toEqual({ writer: undefined, readers: [] });
  }
  expect([...table.leaves()].filter((e) => within("guard", e) && e.prot & K.PROT_W)).toEqual([]);
  expectKept("grow", table, notes);
  expectKept("aged", table, notes);
  expectKept("bold", free, notes);
  expect(engine.counters().warnings).toBe(0);
}

/** Everything goes back to the arena, but the blocks that walker 0 has had from the start. */
function expectBalance({ engine, table, free }: Run, before: number): void {
  const { tablesTaken, tablesFreed } = engine.counters();
  expect(tablesTaken - tablesFreed).toBe(table.info().pages + free.info().pages);
  table.close();
  free.close();
  expect(engine.arena().taken).toBe(before);
  expect(engine.limbo().waiting).toBe(0);
  engine.close();
}

/** What walker 0 alone holds of an arena. */
function takenByOne(make: Make): number {
  using engine = make({ walkers: 2, arenaBytes: 1 << 20 });
  return engine.arena().taken;
}

const totals = { lost: 0, again: 0, retired: 0 };

async function run(make: Make, walkers: number, operations: number, seed: number): Promise<void> {
  try {
    const made = await stress(make, walkers, operations, seed);
    expectSound(made);
    const { lost, again } = made.engine.counters();
    totals.lost += lost;
    totals.again += again;
    totals.retired += made.engine.limbo().retired;
    expectBalance(made, takenByOne(make));
  } catch (error) {
    throw new Error(`GRANULE_SEED=${seed}, ${walkers} walkers: ${(error as Error).message}`, { cause: error });
  }
}

const TIMEOUT = LONG ? 3_600_000 : 120_000;
const CORES = [
  ["the debug core", createDebug, LONG ? 20 : 4, LONG ? 20_000 : 4_000],
  ["the release core", createEngine, LONG ? 40 : 8, LONG ? 60_000 : 25_000],
] as const;

describe.each(CORES)("walkers that do as they please on %s", (_, make, seeds, operations) => {
  const title = "leave only what some order explains [LCK-5, LCK-6, WLK-11, WLK-17, BUG-15, PROP-1, PROP-7]";
  it(
    `${title}, ${WORKERS} of them`,
    async () => {
      for (let i = 0; i < seeds; i++) await run(make, WORKERS, operations, SEED + i);
    },
    TIMEOUT,
  );

  it(
    "and so do four and eight [LCK-5, WLK-17]",
    async () => {
      await run(make, 4, operations >> 2, SEED + 1000);
      await run(make, 8, operations >> 3, SEED + 1001);
    },
    TIMEOUT,
  );
});

it("they did meet: exchanges were lost, faults came again, tables waited in limbo", () => {
  for (const n of Object.values(totals)) expect(n).toBeGreaterThan(0);
  console.log(`stress: ${JSON.stringify(totals)}`);
});
