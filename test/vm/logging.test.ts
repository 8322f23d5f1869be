// No store goes unlogged [DBM-10]: every store is counted by page, the reader of the log copies the counts of the pages that
// it reports, and at the end no count may differ. Each protocol that loses a store is noticed.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createVm, type Vm, type VmOptions } from "../../bindings/vm/index.js";
import { debugModule, flawed } from "./flawed.js";

const RAM = 2 ** 30;
const MIB = 2 ** 20;
const GRANULES = [4096, 16384, 65536] as const;
const BLOCKS = { 4096: 2 * MIB, 16384: 32 * MIB, 65536: 512 * MIB } as const;
const STRATEGIES = ["protect", "eager", "manual", "initially set", "ring", "dbm", "dbm eager"] as const;
type Strategy = (typeof STRATEGIES)[number];

interface Scene extends VmOptions {
  strategy: Strategy;
  backing: "4k" | "thp";
  size?: number;
  accesses?: number;
  /** Each CPU stores to pages of its own. */
  disjoint?: boolean;
}

/** A guest that stores while its log is read, again and again; what each read reported, and what was lost. */
function logged({
  strategy,
  backing,
  size = 64 * MIB,
  accesses = 4000,
  disjoint = false,
  ...options
}: Scene): number[][] {
  using vm = createVm({ cpus: 2, witness: true, hardwareDirty: strategy.startsWith("dbm"), ...options });
  const ram = vm.addSlot({ gpa: RAM, size, backing });
  const division = disjoint ? "disjoint" : "shared";
  const work = { gpa: RAM, size, division, writes: 0.5, fetches: 0.05 } as const;
  vm.run(accesses, work);
  vm.setDirtyPolicy({
    strategy: strategy.startsWith("dbm") ? "dbm" : strategy === "ring" ? "ring" : "protect",
    ringEntries: 256,
    manual: strategy === "manual" || strategy === "initially set",
    initiallySet: strategy === "initially set",
    eagerSplit: strategy.endsWith("eager") ? BLOCKS[vm.table.granule] : 0,
  });
  vm.logDirty(ram, true);
  const rounds = Array.from({ length: 4 }, (_, i) => {
    vm.run(accesses, work);
    if (i === 1) vm.changeHost("share", RAM + size / 4, size / 8); // a notifier, while the guest is logged
    const { pages } = vm.dirtyLog(ram);
    if (strategy === "manual" || strategy === "initially set") vm.clearDirtyLog(ram);
    return [pages, vm.unlogged()];
  });
  expect(vm.stats().map((cpu) => cpu.stuck)).toEqual([0, 0]);
  return rounds;
}

const lost = (rounds: number[][]) => rounds.reduce((sum, [, unlogged]) => sum + (unlogged ?? 0), 0);

describe("no store goes unlogged", () => {
  const scenes = GRANULES.flatMap((granule) => STRATEGIES.map((strategy) => [granule, strategy] as const));
  it.each(scenes)("with %i-byte pages and %s [DBM-10, DLG-14, DLG-16]", (granule, strategy) => {
    for (const backing of ["4k", "thp"] as const) {
      for (const adversarial of [false, true]) {
        const scene = { granule, strategy, backing, adversarial, seed: adversarial ? 1 : 2 };
        expect(lost(logged(scene)), JSON.stringify(scene)).toBe(0);
      }
    }
  });

  it("and each way reports the same pages of the same guest", () => {
    const pages = (strategy: Strategy) => logged({ strategy, backing: "4k", seed: 7 }).map(([reported]) => reported);
    const protect = pages("protect");
    expect(protect.every((n) => (n ?? 0) > 100)).toBe(true);
    for (const strategy of ["eager", "manual", "ring", "dbm", "dbm eager"] as const)
      expect(pages(strategy)).toEqual(protect);
  });
});

/** Where a protocol is broken, and how: file, what stands there, what stands there then. */
const FLAWS = [
  [
    "the log is read without a flush",
    "vm/dirty/log.ts",
    "if (dirty !== 0 && protectsAgain(v)) flushRange(v, s.gpa, s.size);",
    "",
    "protect",
  ],
  [
    "pages are flushed but not protected",
    "vm/dirty/protect.ts",
    "onChunks(v, OP_WRPROTECT, gpa, size, true);",
    "",
    "protect",
  ],
  ["a fault marks nothing [FLT-38]", "vm/fault.ts", "\n  if (mark(s, page)) a.marks++;", "", "protect"],
  [
    "the hardware's dirty state is collected without a flush [DBM-11]",
    "vm/dirty/dbm.ts",
    "if (changed) onRange",
    "if (false) onRange",
    "dbm",
  ],
  [
    "the check whether to flush is inverted [DBM-7]",
    "vm/dirty/dbm.ts",
    "if (changed) onRange",
    "if (!changed) onRange",
    "dbm",
  ],
  ["collected pages are not marked", "vm/dirty/dbm.ts", "if (!mark(s, page)) return false;", "{}", "dbm"],
  [
    "an unmap drops the hardware's dirty state [DBM-6]",
    "vm/notifier.ts",
    "harvest(v, s, gpa, size, HARVEST_FREEZE);",
    "",
    "dbm",
  ],
  [
    "pages that come out of a ring are not protected [RNG-9]",
    "vm/dirty/ring.ts",
    "protectPages(v, slot, base + low, 64 - <u32>clz(mask) - low);",
    "",
    "ring",
  ],
  [
    "rings are collected without a flush [RNG-10]",
    "vm/dirty/log.ts",
    "if (taken !== 0) flushRange",
    "if (false) flushRange",
    "ring",
  ],
  [
    "TLBIs reach the CPU that issues them alone",
    "sim/interconnect.ts",
    "if (domain === LOCAL && i !== from) continue;\n    const cpu",
    "if (i !== from) continue;\n    const cpu",
    "protect",
  ],
] as const;

describe("a store is noticed to be lost when", () => {
  it.each(FLAWS)("%s", async (_, file, from, to, strategy) => {
    const module = await flawed(file, [[from, to]], "release");
    const rounds = logged({ strategy, backing: "4k", size: 24 * 4096, disjoint: true, module });
    expect(lost(rounds)).toBeGreaterThan(0);
  });
});

/** One page that is clean; the hardware stores to it between the look of an unmap at its entry and the change of the entry. */
function storeAmid(
  module: Uint8Array<ArrayBuffer>,
  point: number,
): { during: number; reported: number; unlogged: number } {
  using vm: Vm = createVm({ cpus: 2, witness: true, hardwareDirty: true, walkers: 2, module });
  const ram = vm.addSlot({ gpa: RAM, size: 4096, backing: "4k" });
  const work = { gpa: RAM, size: 4096, writes: 1 };
  vm.run(1, work);
  vm.setDirtyPolicy({ strategy: "dbm" });
  vm.logDirty(ram, true);
  vm.run(1, work);
  vm.dirtyLog(ram); // the page is clean, and no TLB knows it
  let during = 0;
  vm.engine.hosts.point = (kind) => {
    if (kind !== point || during > 0) return;
    during++;
    vm.run(1, work);
  };
  vm.changeHost("share", RAM, 4096);
  vm.engine.hosts.point = () => {};
  return { during, reported: vm.dirtyLog(ram).pages, unlogged: vm.unlogged() };
}

describe("the hardware stores while software changes the entry [DBM-8]", () => {
  it("and the compare-exchange notices", async () => {
    expect(storeAmid(debugModule(), K.POINT_EXCHANGE)).toEqual({ during: 1, reported: 1, unlogged: 0 });
  });

  it("and a plain store would lose it", async () => {
    // A read stands where the exchange did, so that there is a point between look and store.
    const plain = "(read(p, true), store<u64>(p, next), true)";
    const module = await flawed("vm/dirty/dbm.ts", [["put(w, p, old, next, level)", plain]]);
    expect(storeAmid(module, K.POINT_READ)).toEqual({ during: 1, reported: 0, unlogged: 2 });
  });
});
