/**
 * A whole benchmark: chosen workloads on chosen engines, and the kernel's own code beside them.
 *
 * @module
 */
import { cpus } from "node:os";
import type { EngineAdapter } from "./adapters/adapter.js";
import { checkRows, onlineRows } from "./judge.js";
import { runKernelWorkload } from "./kernel.js";
import { type MeasureOptions, runWorkloads } from "./measure.js";
import { PARALLEL_IDS, parallelRows } from "./parallel.js";
import type { BenchReport, ResultRow } from "./rows.js";
import { SPLIT_IDS, splitRows } from "./split.js";
import { VM_IDS, vmRows } from "./vm.js";
import { VM_PARALLEL_IDS, vmParallelRows } from "./vm-parallel.js";
import { coreRows, replayDatRows, replayRows } from "./whole.js";
import { tableBytesPerGib, workloads } from "./workloads.js";

/** What to run. */
export interface BenchOptions extends MeasureOptions {
  /** Workloads; all when empty. */
  readonly ids?: readonly string[];
  readonly adapters: readonly EngineAdapter[];
  /** Folder with the kernel's `bench` binary; each workload runs there right before ours. */
  readonly kernelFolder?: string | undefined;
  readonly kernelRuns?: number;
  /** Workers of the parallel workloads, a power of two. Default 2. */
  readonly workers?: number | undefined;
  /** Called with the rows of a workload when it is done. */
  readonly onRows?: (rows: readonly ResultRow[]) => void;
}

const TABLE_BYTES = "table-bytes";
const REPLAY = "replay";
const REPLAY_DAT = "replay-dat";
const REPLAY_ROUNDS = 7;
const ONLINE = "judge-online";
const CHECK = "check";

/** Ids that a run may name. */
export const benchIds: readonly string[] = [
  ...workloads.map(({ id }) => id),
  TABLE_BYTES,
  REPLAY,
  REPLAY_DAT,
  ONLINE,
  CHECK,
  ...PARALLEL_IDS,
  ...VM_IDS,
  ...SPLIT_IDS,
  ...VM_PARALLEL_IDS,
];

function tableRows(adapters: readonly EngineAdapter[]): ResultRow[] {
  return adapters.map((adapter) => {
    const bytes = tableBytesPerGib(adapter);
    return { id: TABLE_BYTES, peer: adapter.peer, unit: "B/GiB", median: bytes, min: bytes, p99: bytes, samples: 1 };
  });
}

async function measured(id: string, options: BenchOptions): Promise<ResultRow[]> {
  const ours = options.adapters.some(({ peer }) => peer === "wasm");
  if (id === TABLE_BYTES) return [...tableRows(options.adapters), ...(ours ? coreRows() : [])];
  if (id === REPLAY) return ours ? replayRows(options.rounds ?? REPLAY_ROUNDS) : [];
  if (id === REPLAY_DAT) return ours ? replayDatRows(options.rounds ?? REPLAY_ROUNDS) : [];
  if (ours && (PARALLEL_IDS as readonly string[]).includes(id)) {
    return parallelRows(id, options.workers, options.rounds, options.warmupRounds);
  }
  if ((VM_IDS as readonly string[]).includes(id)) return ours ? vmRows(id, options.rounds ?? REPLAY_ROUNDS) : [];
  if ((SPLIT_IDS as readonly string[]).includes(id)) return ours ? splitRows(id, options.rounds ?? REPLAY_ROUNDS) : [];
  if (ours && (VM_PARALLEL_IDS as readonly string[]).includes(id)) {
    return vmParallelRows(id, options.workers, options.rounds);
  }
  if (id === ONLINE) return ours ? onlineRows(options.rounds ?? REPLAY_ROUNDS) : [];
  if (id === CHECK) return ours ? checkRows(options.rounds ?? REPLAY_ROUNDS) : [];
  const workload = workloads.find((candidate) => candidate.id === id);
  return workload === undefined ? [] : runWorkloads(options.adapters, workload, options);
}

/**
 * Runs workload after workload.
 *
 * @throws Error for an unknown id, before anything runs.
 */
export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const { ids = [], kernelFolder, kernelRuns, onRows } = options;
  const unknown = ids.filter((id) => !benchIds.includes(id));
  if (unknown.length > 0) throw new Error(`no workload ${unknown.join(", ")}; there are ${benchIds.join(", ")}`);
  const results: ResultRow[] = [];
  for (const id of ids.length > 0 ? ids : benchIds) {
    const kernel = kernelFolder === undefined ? [] : runKernelWorkload(kernelFolder, id, kernelRuns);
    const rows = [...(await measured(id, options)), ...kernel];
    results.push(...rows);
    onRows?.(rows);
  }
  return { schemaVersion: 1, node: process.version, cpu: cpus()[0]?.model ?? "unknown", results };
}
