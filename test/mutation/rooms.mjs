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
  "test/parallel/deaths.test.ts",
  "test/audit/burial.test.ts",
];
/** Walkers on threads, which are waited for. */
const THREADS = [
  "test/parallel/lifetime.test.ts",
  "test/parallel/death.test.ts",
  "test/parallel/waiting.test.ts",
  "test/parallel/locks.test.ts",
  "test/parallel/epoch.test.ts",
  "test/parallel/hooks.test.ts",
];
const HOSTILE = ["test/hostile/facade.test.ts", "test/hostile/vectors.test.ts", "test/hostile/exports.test.ts"];
const MMU = [
  "test/mmu/registers.test.ts",
  "test/mmu/tlbi.test.ts",
  "test/mmu/vectors.test.ts",
  "test/hostile/mmu.test.ts",
];
/** Translations and what a TLB does with them: all but the long tables of TLBIs, and threads. */
const TRANSLATIONS = [
  "agree",
  "debug",
  "journal",
  "kept",
  "lookup",
  "nested",
  "quick",
  "refusals",
  "registers",
  "steps",
  "tlb",
  "tlb-groups",
  "tlb-regimes",
  "tlb-stream",
  "tlb-whims",
  "vectors",
].map((name) => `test/mmu/${name}.test.ts`);
/** VMs on one thread, and two threads that are stopped at points. */
const VMS = [
  ...["aborts", "dirty", "faults", "host-memory", "invalidation", "log-edges", "moves", "rmap-account", "rmap-races"],
  ...["rmap-structure", "scenarios", "slots", "vmid"],
].map((name) => `test/vm/${name}.test.ts`);
const WORKLOADS = ["test/sim", "test/replay/faults.test.ts", "test/replay/recorded.test.ts"];
const POOL = ["test/workers", "test/parallel/stress.test.ts"];

const PROPERTIES = ["test/property"];
/** Recordings of the kernel that take a second. */
const RECORDED = [
  "test/conform/attributes.test.ts",
  "test/conform/beside.test.ts",
  "test/conform/geometry.test.ts",
  "test/conform/hyp.test.ts",
  "test/conform/unmap.test.ts",
  "test/conform/vectors.test.ts",
  "test/conform/walk.test.ts",
];
/** Of a property's random sequences: how many run while a mutant is new. Most are found by one in a hundred of them. */
const FEW = "2%";

/**
 * Files and folders, and GRANULE_RUNS for them.
 * @typedef {{ paths: string[], runs?: string }} Stage
 */

/** @type {Stage[]} */
const OF_VM = [
  { paths: [...VMS, ...WORKLOADS], runs: FEW },
  {
    paths: ["logging", "split-walk", "rmap-account", "threads", "rmap-threads"]
      .map((name) => `test/vm/${name}.test.ts`)
      .concat("test/replay/policy.test.ts"),
  },
];

/** @type {Record<string, Stage[]>} */
export const STAGES = {
  arch: [
    { paths: TABLES },
    { paths: ["test/mmu/registers.test.ts", "test/mmu/tlbi.test.ts"] },
    { paths: ["test/conform"] },
    { paths: ["test/mmu"] },
    { paths: ["test/audit"] },
  ],
  memory: [
    { paths: ["test/memory", ...TABLES, ...ALONE, ...PROPERTIES, "test/parallel/death.test.ts"], runs: FEW },
    { paths: [...THREADS, ...HOSTILE, ...MMU] },
    { paths: [...PROPERTIES, "test/conform", "test/audit/walkers.test.ts", ...POOL] },
    // Words of TLBs and of VMs, and what may happen between two accesses to them.
    { paths: ["test/mmu/tlb-race.test.ts", "test/vm/invalidation.test.ts", "test/vm/logging.test.ts"] },
  ],
  record: [
    { paths: [...TABLES, ...PROPERTIES], runs: FEW },
    { paths: ["test/mmu/journal.test.ts", "test/audit/walkers.test.ts", ...ALONE, ...THREADS] },
    { paths: ["test/conform", ...HOSTILE, ...POOL] },
  ],
  table: [
    { paths: [...TABLES, ...ALONE, ...PROPERTIES, ...RECORDED, "test/parallel/death.test.ts"], runs: FEW },
    { paths: [...THREADS, ...HOSTILE] },
    { paths: [...PROPERTIES, "test/conform", "test/replay", ...POOL] },
  ],
  mmu: [{ paths: TRANSLATIONS, runs: FEW }, { paths: ["test/mmu", "test/hostile/mmu.test.ts"] }],
  audit: [
    {
      paths: [
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
    },
    { paths: ["test/audit/parallel.test.ts"] },
    { paths: ["test/audit/conform.test.ts", "test/audit/logs.test.ts"] },
  ],
  vm: OF_VM,
  sim: OF_VM,
};

export const ROOMS = Object.keys(STAGES);

/** The builds that tests of a room's first stage load, as the bindings know their bytes. */
export function firstBuilds(room) {
  return room === "vm" || room === "sim" ? ["vm", "vm.debug"] : ["granule", "granule.debug", "audit", "mmu"];
}

function filesOf(folder, path) {
  if (statSync(join(folder, path), { throwIfNoEntry: false })?.isFile()) return [path];
  const names = readdirSync(join(folder, path), { recursive: true, encoding: "utf8" });
  return names.filter((name) => name.endsWith(".test.ts")).map((name) => `${path}/${name}`);
}

/** The test files that paths stand for. */
export function filesIn(folder, paths) {
  return paths.flatMap((path) => filesOf(folder, path));
}

/** The stages of a room with their files; a file that an earlier stage has run in full is not in a later one. */
export function stagesOf(folder, room) {
  const seen = new Set();
  return STAGES[room].map(({ paths, runs = "" }) => {
    const files = filesIn(folder, paths).filter((file) => !seen.has(file) && (runs || seen.add(file)));
    return { files: [...new Set(files)], runs };
  });
}
