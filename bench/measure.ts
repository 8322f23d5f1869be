/**
 * Measuring in rounds: every engine has a turn in each round, so that other load on the machine slows all of them alike.
 *
 * Each sample is one tinybench iteration with its set-up in a hook outside of the timed part; tinybench's statistics are
 * then taken over the samples of all rounds together. Times are wall clock: Node 20 cannot tell the CPU time of one thread, and the
 * time of the process includes the compiler's and the collector's threads.
 *
 * @module
 */
import { Bench, type Statistics } from "tinybench";
import type { EngineAdapter } from "./adapters/adapter.js";
import type { ResultRow } from "./rows.js";
import type { Workload } from "./workloads.js";

/** How much to measure. */
export interface MeasureOptions {
  /** Recorded rounds; one sample each, or several where no set-up is needed between them. */
  readonly rounds?: number | undefined;
  /** Rounds before the recorded ones, for the compiler; more if {@link MeasureOptions.warmupMs} have not passed by then. */
  readonly warmupRounds?: number;
  readonly warmupMs?: number;
}

const ROUNDS = 15;
const WARMUP_ROUNDS = 5;
const WARMUP_MS = 500;
/** Samples taken in one turn, for workloads that do not change the table. */
const REPEATS = 4;
/** Shortest sample in ns; shorter ones would measure the clock. */
const SHORTEST = 1000;

interface Contender {
  readonly adapter: EngineAdapter;
  /** In milliseconds, as tinybench gives them. */
  readonly samples: number[];
}

/** With node --expose-gc: frees what the set-up left behind, so that no sample includes its collection. */
function collectGarbage(): void {
  (globalThis as { gc?: () => void }).gc?.();
}

function check(workload: Workload, peer: string, result: number, expected: number): void {
  if (result === expected) return;
  throw new Error(`${workload.id} on ${peer} returned ${result}, expected ${expected}`);
}

/** One turn of one engine: its samples in milliseconds, and what the runs returned. */
function takeTurn(workload: Workload, adapter: EngineAdapter): { samples: readonly number[]; result: number } {
  let result = 0;
  const bench = new Bench({
    iterations: workload.fresh ? 1 : REPEATS,
    time: 0,
    warmup: false,
    retainSamples: true,
    throws: true,
    timestampProvider: "hrtimeNow",
  });
  const run = (): void => {
    result = workload.run(adapter);
  };
  const beforeEach = (): void => {
    if (workload.fresh) workload.setup(adapter);
    collectGarbage();
  };
  bench.add(adapter.peer, run, { async: false, beforeEach });
  const statistics = statisticsOf(bench);
  return { samples: statistics.samples ?? [], result };
}

function statisticsOf(bench: Bench): Statistics {
  const result = bench.runSync()[0]?.result;
  if (result?.state !== "completed") throw new Error(`a measurement ended as ${result?.state}`);
  return result.latency;
}

/** One round: every engine once; the engine that begins changes from round to round. */
function runRound(workload: Workload, contenders: readonly Contender[], round: number, record: boolean): void {
  let expected = workload.expected;
  for (let i = 0; i < contenders.length; i++) {
    const { adapter, samples } = contenders[(i + round) % contenders.length]!;
    const turn = takeTurn(workload, adapter);
    expected ??= turn.result;
    check(workload, adapter.peer, turn.result, expected);
    if (record) samples.push(...turn.samples);
  }
}

/** tinybench's statistics over samples that were taken before. */
function summarise(samples: readonly number[]): Statistics {
  let next = 0;
  const bench = new Bench({ iterations: samples.length, time: 0, warmup: false, throws: true });
  bench.add("samples", () => ({ overriddenDuration: samples[next++] ?? 0 }), { async: false });
  return statisticsOf(bench);
}

function rowOf(workload: Workload, { adapter, samples }: Contender): ResultRow {
  const shortest = Math.min(...samples) * 1e6;
  if (shortest < SHORTEST)
    throw new Error(`${workload.id} on ${adapter.peer}: a sample of ${shortest} ns is too short`);
  const { p50, min, p99, samplesCount } = summarise(samples.map((ms) => (ms * 1e6) / workload.items));
  return { id: workload.id, peer: adapter.peer, unit: workload.unit, median: p50, min, p99, samples: samplesCount };
}

/**
 * Measures one workload on several engines, interleaved. Engines that cannot run it have no row.
 *
 * @throws Error if a run fails, or if the engines' results differ.
 */
export function runWorkloads(
  adapters: readonly EngineAdapter[],
  workload: Workload,
  options: MeasureOptions = {},
): ResultRow[] {
  const { rounds = ROUNDS, warmupRounds = WARMUP_ROUNDS, warmupMs = WARMUP_MS } = options;
  const able = adapters.filter(
    (adapter) =>
      (adapter.shared || !workload.shared) &&
      (adapter.translateBatch !== undefined || !workload.translates) &&
      (workload.call === undefined || adapter.calls?.().loop(workload.call) !== undefined),
  );
  const contenders = able.map((adapter): Contender => ({ adapter, samples: [] }));
  if (contenders.length === 0) return [];
  if (!workload.fresh) for (const adapter of able) workload.setup(adapter);
  const started = performance.now();
  let warm = 0;
  while (warm < warmupRounds || performance.now() - started < warmupMs) runRound(workload, contenders, warm++, false);
  for (let round = 0; round < rounds; round++) runRound(workload, contenders, round, true);
  return contenders.map((contender) => rowOf(workload, contender));
}

/** Measures one workload on one engine. */
export function runWorkload(
  adapter: EngineAdapter,
  workload: Workload,
  options: MeasureOptions = {},
): ResultRow | undefined {
  return runWorkloads([adapter], workload, options)[0];
}
