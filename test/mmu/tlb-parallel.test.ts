// The same promise with walkers in parallel: real threads fault, split and relax on one table while another unmaps and
// write-protects. Their journals, in one order, go through adversarial TLBs. Between any two records nothing freed may be walked;
// when nobody holds the table's lock, every operation has returned and nothing removed may be used [PROP-3..5, LCK-2, LCK-10].

import { describe, expect, it } from "vitest";
import {
  type Batch,
  createEngine,
  createPool,
  type Engine,
  JournalKind as J,
  type JournalRecord,
  type Pool,
  type Stage2Table,
} from "../../dist/bindings/index.js";
import { Random, runs, SEED } from "../support/random.js";
import { BASE, BLOCK, BLOCKS, Cpus, IPA, type Mutation, OLDEST_PA, PAGE } from "./cpus.js";

const WORKERS = 2;
const OPERATIONS = 60;
const SHARED = { shared: true, cache: "own" } as const;

interface Threads {
  engine: Engine;
  table: Stage2Table;
  pool: Pool;
}

function somewhere(r: Random): number {
  return IPA + r.below(BLOCKS) * BLOCK + r.below(6) * PAGE;
}

function blockOf(address: number): number {
  return IPA + Math.floor((address - IPA) / BLOCK) * BLOCK;
}

/** What one worker does: what a vCPU's faults do, and splits. */
function fill(batch: Batch, table: Stage2Table, r: Random): void {
  batch.clear();
  for (let i = 0; i < OPERATIONS; i++) {
    const page = somewhere(r);
    const block = blockOf(page);
    const pa = OLDEST_PA + r.below(2) * 64 * BLOCK;
    const what = r.below(8);
    if (what < 3)
      batch.map(table, page, PAGE, pa + (page - IPA), r.pick(["r", "rw"]), { ...SHARED, handleFault: true });
    else if (what < 5) batch.map(table, block, BLOCK, pa + (block - IPA), "rw", SHARED);
    else if (what === 5) batch.relaxPerms(table, page, r.pick(["w", "x"]), { shared: true });
    else if (what === 6) batch.mkyoung(table, page, { shared: true });
    else batch.split(table, block, BLOCK, "own", { shared: true });
  }
}

/** What the main thread does meanwhile: removes, and takes rights away together with their flush. */
function remove(table: Stage2Table, r: Random): void {
  const page = somewhere(r);
  const whole = r.oneIn(4);
  const at = whole ? blockOf(page) : page;
  const size = whole ? BLOCK : PAGE * (1 + r.below(3));
  if (r.oneIn(2)) {
    table.unmap(at, size);
  } else {
    const held = table.lock("write");
    table.wrprotect(at, size);
    table.flushTlbRange(at, size);
    held[Symbol.dispose]();
  }
}

/** Works in parallel for a while; what happened, in one order. */
async function work({ engine, table, pool }: Threads, r: Random): Promise<JournalRecord[]> {
  const batches = Array.from({ length: WORKERS }, () => engine.createBatch(OPERATIONS));
  for (const batch of batches) fill(batch, table, r);
  let running = true;
  const jobs = Promise.all(batches.map((batch) => pool.run(batch, { stop: false }))).finally(() => {
    running = false;
  });
  for (let i = 0; running && i < OPERATIONS; i++) {
    remove(table, r);
    if (r.oneIn(4)) await new Promise((resolve) => setImmediate(resolve));
  }
  await jobs;
  for (const batch of batches) batch.close();
  if (engine.journal.lost > 0) throw new Error("the journals are too small");
  const records = engine.journal.read();
  engine.journal.clear();
  return records;
}

/** Lets the CPUs hear of `records` and look in between; the first violation. */
function follow(cpus: Cpus, records: readonly JournalRecord[], r: Random): string | undefined {
  let holders = 0;
  for (const record of records) {
    if (record.kind === J.LOCK) holders++;
    if (record.kind === J.UNLOCK) holders--;
    cpus.apply(record, record.walker);
    const wrong = r.oneIn(3) ? cpus.look(holders === 0) : undefined;
    if (wrong) return `record ${record.sequence}, ${holders} in the table: ${wrong}`;
  }
  for (let i = 0; i < 50; i++) {
    const wrong = cpus.look(true);
    if (wrong) return `at the end: ${wrong}`;
  }
  return cpus.compare();
}

interface Outcome {
  wrong: string | undefined;
  /** Records of a walker that stood between two of another's within one operation. */
  mixed: number;
}

async function run(seed: number, rounds: number, mutation?: Mutation): Promise<Outcome> {
  const r = new Random(seed);
  const engine = createEngine({ arenaBytes: 4 << 20, physBase: BASE, walkers: WORKERS + 1, journalRecords: 1 << 15 });
  const table = engine.createStage2({ ipaBits: 39, tlbiRange: r.oneIn(2), fwb: r.oneIn(2) });
  const options = {
    adversarial: true,
    preset: "neoverse-n1" as const,
    ...(mutation === undefined ? {} : { mutation }),
  };
  const cpus = new Cpus(engine, table, r, seed, options);
  const pool = await createPool(engine, { size: WORKERS, mode: "threads" });
  engine.journal.start();
  let wrong: string | undefined;
  let mixed = 0;
  for (let round = 0; round < rounds && wrong === undefined; round++) {
    const records = await work({ engine, table, pool }, r);
    let holders = 0;
    for (const { kind } of records) {
      if (kind === J.LOCK && ++holders > 1) mixed++;
      if (kind === J.UNLOCK) holders--;
    }
    wrong = follow(cpus, records, r);
  }
  await pool.close();
  cpus.close();
  engine.close();
  return { wrong: wrong && `seed ${seed} (GRANULE_SEED=${seed}): ${wrong}`, mixed };
}

describe("translations that were removed by walkers in parallel", () => {
  it("are used by no CPU, however long its TLB keeps what it may [PROP-3, PROP-4, PROP-5]", async () => {
    let mixed = 0;
    for (let i = 0; i < runs(6); i++) {
      const outcome = await run(SEED + i, 6);
      expect(outcome.wrong).toBeUndefined();
      mixed += outcome.mixed;
    }
    console.log(`operations that began while another walker was in the table: ${mixed}`);
    expect(mixed).toBeGreaterThan(0);
  });

  it("show themselves when the TLBIs are left out", async () => {
    const deaf: Mutation = (message) => ("form" in message ? [] : [message]);
    let found: string | undefined;
    for (let i = 0; i < 20 && found === undefined; i++) found = (await run(SEED + i, 6, deaf)).wrong;
    expect(found).toBeDefined();
  });
});
