/**
 * The kernel's own C as a peer: runs the `bench` binary of a folder that `native/setup.sh` has built and reads its lines.
 * The binary measures the CPU time of its thread, not wall clock time.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ResultRow } from "./rows.js";

/** Name of the kernel's code in the rows. */
export const KERNEL_PEER = "kernel-c";

/** Our id for each name of the binary's workloads; W10 and W12 have lines of their own form. */
const IDS: Readonly<Record<string, string>> = {
  W1: "map-4k",
  W2: "fault-random-shared",
  W2b: "fault-random",
  W3: "wrprotect",
  W4: "unmap",
  W5: "lookup-1g",
  W5b: "lookup-64g",
  W6: "age",
  W7: "split",
  W8: "walk-leaf",
  W9: "relax-random",
  W11: "map-64g-2m",
};
const PARALLEL_IDS = ["fault-parallel-disjoint", "fault-parallel-interleaved"];
const TABLE_BYTES_ID = "table-bytes";
/** The binary has room for no more. */
const MOST_RUNS = 32;

const TIMED = /^(W\w+)\s.*?([\d.]+) ns\s+\(min ([\d.]+) max ([\d.]+)\)/;
const PARALLEL =
  /^W10\s.*: ([\d.]+) ns\/fault overall \(min ([\d.]+) max ([\d.]+)\).*: ([\d.]+) \(min ([\d.]+) max ([\d.]+)\)/;
const MEMORY = /^W12\s.*= ([\d.]+) bytes\/GiB/;

function row(id: string, unit: string, values: readonly string[], samples: number): ResultRow {
  const [median = Number.NaN, min = Number.NaN, max = Number.NaN] = values.map(Number);
  // The binary takes so few samples that their 99th percentile is the greatest one, which is what it prints.
  return { id, peer: KERNEL_PEER, unit, median, min, p99: max, samples };
}

function rowsOfLine(line: string, runs: number): ResultRow[] {
  const parallel = PARALLEL.exec(line);
  if (parallel !== null) {
    return PARALLEL_IDS.map((id, i) => ({ ...row(id, "ns", parallel.slice(1 + 3 * i, 4 + 3 * i), runs), workers: 2 }));
  }
  const memory = MEMORY.exec(line);
  if (memory !== null) {
    const [, bytes = ""] = memory;
    return [row(TABLE_BYTES_ID, "B/GiB", [bytes, bytes, bytes], 1)];
  }
  const timed = TIMED.exec(line);
  const id = timed === null ? undefined : IDS[timed[1] ?? ""];
  return timed === null || id === undefined ? [] : [row(id, "ns", timed.slice(2), runs)];
}

/** The rows in the binary's output for `runs` runs. Lines of workloads that we do not have are left out. */
export function parseKernelBench(text: string, runs: number): ResultRow[] {
  return text.split("\n").flatMap((line) => rowsOfLine(line, runs));
}

/** The binary in a folder, or in its `build` folder. */
function binaryIn(folder: string): string {
  const found = [join(folder, "bench"), join(folder, "build", "bench")].find((path) => existsSync(path));
  if (found === undefined) throw new Error(`no bench binary in ${folder}: build it with native/setup.sh`);
  return found;
}

function nameOf(id: string): string | undefined {
  if (PARALLEL_IDS.includes(id)) return "W10";
  if (id === TABLE_BYTES_ID) return "W12";
  return Object.keys(IDS).find((name) => IDS[name] === id);
}

/**
 * Runs one of our workloads in the kernel's benchmark, on the CPUs of this process; no rows if it has no such workload.
 *
 * @throws Error if the folder has no benchmark or the benchmark fails.
 */
export function runKernelWorkload(folder: string, id: string, runs = 7): ResultRow[] {
  const binary = binaryIn(folder);
  const name = nameOf(id);
  if (name === undefined) return [];
  const samples = Math.min(Math.max(1, runs), MOST_RUNS);
  const text = execFileSync(binary, [`--runs=${samples}`, name], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  return parseKernelBench(text, samples).filter((result) => result.id === id);
}

/** Runs the whole benchmark of the kernel's code. */
export function runKernel(folder: string, runs = 7): ResultRow[] {
  const samples = Math.min(Math.max(1, runs), MOST_RUNS);
  const text = execFileSync(binaryIn(folder), [`--runs=${samples}`], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  return parseKernelBench(text, samples);
}
