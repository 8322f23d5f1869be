/**
 * Faults serviced by several workers on one table: the same faults, the same order in each half, as the kernel's benchmark.
 *
 * A sample is the time from the first worker's start to the last one's end, for 1 GiB of pages in all; rounds with one worker
 * and with several alternate, so that other load on the machine slows both. One worker does both halves, one after the other.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import { type Columns, createEngine, createPool, type Engine, type Pool, type Stage2Table } from "../bindings/index.js";
import { PAGE_SIZE } from "./peers/peer.js";
import { drawInputs } from "./random.js";
import type { ResultRow } from "./rows.js";

/** Which pages a worker faults on: a part of its own, or every n-th page. */
export const PARALLEL_IDS = ["fault-parallel-disjoint", "fault-parallel-interleaved"] as const;

const PAGES = 2 ** 18;
const IPA = 2 ** 30;
const PA = 2 ** 34;
const ROWS = 2 ** 13;
const ARENA_BYTES = 96 << 20;
const WARMUP_ROUNDS = 5;
const ROUNDS = 21;
const NS_PER_MS = 1e6;
const EAGAIN = -11;

type Id = (typeof PARALLEL_IDS)[number];

/** Pages of worker `worker` of `n`, shuffled. */
function pagesOf(id: Id, worker: number, n: number): number[] {
  const share = PAGES / n;
  const { order } = drawInputs(IPA, share, 1);
  const page = id === "fault-parallel-disjoint" ? (i: number) => worker * share + i : (i: number) => i * n + worker;
  return Array.from(order, page);
}

function stage(engine: Engine, pages: readonly number[]): Columns[] {
  const pieces: Columns[] = [];
  for (let from = 0; from < pages.length; from += ROWS) {
    const columns = engine.createColumns(ROWS);
    pages.slice(from, from + ROWS).forEach((page, row) => {
      columns.addresses[row] = BigInt(IPA + page * PAGE_SIZE);
      columns.values[row] = BigInt(PA + page * PAGE_SIZE);
    });
    pieces.push(columns);
  }
  return pieces;
}

/** Nanoseconds per fault with `n` workers, from the first start to the last end. They start together. */
async function sample(pool: Pool, table: Stage2Table, parts: readonly Columns[][], n: number): Promise<number> {
  const { engine } = table;
  const shares = n === 1 ? [parts.flat()] : parts;
  const pointer = engine.takeBlock(4);
  const gate = { pointer, parties: n };
  const jobs = shares.map((share, worker) => pool.mapColumns(table, share, ROWS, "rw", { worker, gate }));
  const reports = await Promise.all(jobs);
  engine.giveBlock(pointer);
  const start = Math.min(...reports.map(({ started }) => started));
  const end = Math.max(...reports.map(({ ended }) => ended));
  return ((end - start) * NS_PER_MS) / PAGES;
}

/** A fault that lost the race for a new table is retried, as a vCPU would fault again. There are a few in 262,144; they are not timed. */
function refault(table: Stage2Table, parts: readonly Columns[][]): void {
  for (const { statuses, addresses, values } of parts.flat()) {
    for (let row = statuses.indexOf(EAGAIN); row >= 0; row = statuses.indexOf(EAGAIN, row + 1)) {
      table.map(addresses[row] as bigint, PAGE_SIZE, values[row] as bigint, "rw");
    }
  }
}

/** A row of several workers. `one`: the times of one worker in the same rounds. The speedup is the median of the ratios of each round. */
export function workersRow(id: string, workers: number, samples: readonly number[], one: readonly number[]): ResultRow {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
  return {
    id,
    peer: "wasm",
    unit: "ns",
    median: at(0.5),
    min: at(0),
    p99: at(0.99),
    samples: samples.length,
    workers,
    speedup: median(samples.map((ns, round) => (one[round] as number) / ns)),
  };
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)] as number;
}

async function rowsOf(id: Id, workers: number, rounds: number, warmup: number): Promise<ResultRow[]> {
  const engine = createEngine({ arenaBytes: ARENA_BYTES, walkers: workers + 1, pretouch: true });
  const pool = await createPool(engine, { size: workers, mode: "threads" });
  const parts = Array.from({ length: workers }, (_, worker) => stage(engine, pagesOf(id, worker, workers)));
  const one: number[] = [];
  const many: number[] = [];
  for (let round = 0; round < warmup + rounds; round++) {
    for (const [n, samples] of [[1, one] as const, [workers, many] as const]) {
      const table = engine.createStage2({ hooks: { dcacheCleanInvalPoc: null, icacheInvalPou: null } });
      const ns = await sample(pool, table, parts, n);
      refault(table, parts);
      if (table.countLeaves() !== PAGES) throw new Error(`${id}: ${table.countLeaves()} pages mapped`);
      table.close();
      if (round >= warmup) samples.push(ns);
    }
  }
  await pool.close();
  engine.close();
  return [workersRow(id, 1, one, one), workersRow(id, workers, many, one)];
}

/** One worker against several (default 2): rows with `workers` and `speedup`, of medians. */
export async function parallelRows(
  id: string,
  workers = 2,
  rounds = ROUNDS,
  warmup = WARMUP_ROUNDS,
): Promise<ResultRow[]> {
  const known = PARALLEL_IDS.find((candidate) => candidate === id);
  if (known === undefined) return [];
  if (!Number.isInteger(Math.log2(workers)) || workers < 1) throw new Error(`${workers} workers: a power of two`);
  if (workers > availableParallelism()) console.error(`${id}: ${workers} workers on ${availableParallelism()} cores`);
  return rowsOf(known, workers, rounds, warmup);
}
