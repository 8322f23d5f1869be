import { checkChoice, checkOptions, describe, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { CpuView } from "../core/sim-views.generated.js";

/** What the vCPUs do. */
export interface Workload {
  /** First guest address of the region, a multiple of the page. */
  gpa: number;
  /** Bytes of the region, a multiple of the page. */
  size: number;
  /** Any page at random, or one after the other. Default `random`. */
  pattern?: "random" | "sequential";
  /**
   * `shared`: every CPU works in the whole region. `disjoint`: each has its own part of it. `interleaved`, with `sequential`: of n CPUs
   * each has every n-th page. Default `shared`.
   */
  division?: "shared" | "disjoint" | "interleaved";
  /** Which share of the accesses are stores, 0 to 1. Default 0. */
  writes?: number;
  /** Which share are instruction fetches, 0 to 1. Default 0; what is left are loads. */
  fetches?: number;
}

/** The names that a workload may have. */
const WORKLOAD: OptionKinds<Workload> = {
  gpa: "number",
  size: "number",
  pattern: "any",
  division: "any",
  writes: "number",
  fetches: "number",
};

const SHARES = 1024;
/** Accesses of a CPU until the next one has its turn. */
export const TURN = 1024;

/** Writes a workload into the record of CPU `i` of `cpus`. EINVAL for one that makes no sense. */
export function setWorkload(cpu: CpuView, i: number, cpus: number, workload: Workload, page: number): void {
  checkOptions("run", workload, WORKLOAD);
  const { gpa, size, pattern = "random", division = "shared", writes = 0, fetches = 0 } = workload;
  checkChoice("run", "pattern", pattern, ["random", "sequential"]);
  checkChoice("run", "division", division, ["shared", "disjoint", "interleaved"]);
  const interleaved = division === "interleaved";
  if (interleaved && pattern === "random") throw invalid("run", "random pages are not interleaved: pattern is random");
  const all = size / page;
  const pages = division === "disjoint" ? Math.floor(all / cpus) : interleaved ? all - (all % cpus) : all;
  const first = division === "disjoint" ? i * pages : 0;
  if (!Number.isInteger(gpa / page) || !Number.isInteger(all) || pages < 1 || pages > 2 ** 30) {
    throw invalid(
      "run",
      `the region is ${describe(size)} bytes from ${describe(gpa)}: whole pages, one for each CPU at least`,
    );
  }
  if (!(writes >= 0 && fetches >= 0 && writes + fetches <= 1)) {
    throw invalid(
      "run",
      `writes is ${describe(writes)}, fetches ${describe(fetches)}: shares that are 1 together at most`,
    );
  }
  cpu.base = BigInt(gpa + first * page);
  cpu.pages = pages;
  cpu.pattern = pattern === "random" ? K.PATTERN_RANDOM : K.PATTERN_SEQUENTIAL;
  cpu.cursor = interleaved ? i : 0;
  cpu.stride = interleaved ? cpus : 1;
  cpu.writes = Math.round(writes * SHARES);
  cpu.fetches = Math.round(fetches * SHARES);
}

/** A state of the generator that is not 0, and different for each CPU. */
export function seedOf(seed: number, cpu: number): bigint {
  return BigInt.asUintN(64, (BigInt(seed) + 1n) * 0x9e37_79b9_7f4a_7c15n + BigInt(cpu) * 0xbf58_476d_1ce4_e5b9n) | 1n;
}
