// Which tests can see a mutant of a room. Stages run one after the other until a test fails: the first takes a second or
// two, the last only a mutant that all others let pass. A folder stands for its test files.

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const TABLES = [
  "test/record",
  "test/table",
  "test/arch",
  "test/report/explain.test.ts",
  "test/report/canonical.test.ts",
];
/** Walkers on one thread. */
const ALONE = [
  "test/parallel/races.test.ts",
  "test/parallel/atomics.test.ts",
  "test/parallel/patience.test.ts",
  "test/parallel/limbo.test.ts",
  "test/audit/burial.test.ts",
];
/** Walkers on threads, which are waited for. */
const THREADS = [
  "test/parallel/lifetime.test.ts",
  "test/parallel/death.test.ts",
  "test/parallel/waiting.test.ts",
  "test/parallel/locks.test.ts",
  "test/parallel/epoch.test.ts",
];
const HOSTILE = ["test/hostile/facade.test.ts", "test/hostile/vectors.test.ts", "test/hostile/exports.test.ts"];
const MMU = [
  "test/mmu/registers.test.ts",
  "test/mmu/tlbi.test.ts",
  "test/mmu/vectors.test.ts",
  "test/hostile/mmu.test.ts",
];
const POOL = ["test/workers", "test/parallel/stress.test.ts"];

/** @type {Record<string, string[][]>} */
export const STAGES = {
  arch: [
    TABLES,
    ["test/mmu/registers.test.ts", "test/mmu/tlbi.test.ts"],
    ["test/conform"],
    ["test/mmu"],
    ["test/audit"],
  ],
  memory: [["test/memory", ...TABLES, ...ALONE], THREADS, HOSTILE, MMU, ["test/conform", "test/property"], POOL],
  record: [
    TABLES,
    ["test/mmu/journal.test.ts", "test/audit/walkers.test.ts", ...ALONE, ...THREADS],
    ["test/conform"],
    HOSTILE,
    POOL,
  ],
  table: [[...TABLES, ...ALONE], THREADS, ["test/conform"], ["test/property", ...HOSTILE], ["test/replay"], POOL],
  mmu: [
    [
      "test/mmu/registers.test.ts",
      "test/mmu/nested.test.ts",
      "test/mmu/journal.test.ts",
      "test/mmu/kept.test.ts",
      "test/mmu/tlb-groups.test.ts",
      "test/mmu/tlb-regimes.test.ts",
      "test/mmu/vectors.test.ts",
    ],
    ["test/mmu/tlb-whims.test.ts", "test/mmu/tlbi.test.ts", "test/mmu/tlb.test.ts"],
    ["test/mmu", "test/hostile/mmu.test.ts"],
  ],
  audit: [
    [
      "test/audit/traces.test.ts",
      "test/audit/entries.test.ts",
      "test/audit/vmids.test.ts",
      "test/audit/el2.test.ts",
      "test/audit/details.test.ts",
      "test/audit/flight.test.ts",
      "test/audit/left-out.test.ts",
      "test/audit/random-logs.test.ts",
      "test/audit/sections.test.ts",
      "test/audit/room.test.ts",
      "test/audit/reach.test.ts",
      "test/audit/journals.test.ts",
      "test/audit/walkers.test.ts",
      "test/audit/burial.test.ts",
      "test/audit/hostile.test.ts",
    ],
    ["test/audit/parallel.test.ts"],
    ["test/audit/conform.test.ts", "test/audit/logs.test.ts"],
  ],
};

export const ROOMS = Object.keys(STAGES);

/** The builds that tests of the first stages load, as the bindings know their bytes. */
export const FIRST_BUILDS = ["granule", "granule.debug", "audit", "mmu"];

function filesOf(folder, path) {
  if (statSync(join(folder, path), { throwIfNoEntry: false })?.isFile()) return [path];
  const names = readdirSync(join(folder, path), { recursive: true, encoding: "utf8" });
  return names.filter((name) => name.endsWith(".test.ts")).map((name) => `${path}/${name}`);
}

/** The test files that paths stand for. */
export function filesIn(folder, paths) {
  return paths.flatMap((path) => filesOf(folder, path));
}

/** The stages of a room as lists of files; a file that an earlier stage has is not in a later one. */
export function stagesOf(folder, room) {
  const seen = new Set();
  return STAGES[room].map((paths) => filesIn(folder, paths).filter((file) => !seen.has(file) && seen.add(file)));
}
