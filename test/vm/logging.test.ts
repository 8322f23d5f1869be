// No store goes unlogged [DBM-10]: every store is counted by page, the reader of the log copies the counts of the pages that
// it reports, and at the end no count may differ. Each protocol that loses a store is noticed.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createVm, type Vm, type VmOptions } from "../../bindings/vm/index.js";
import { filesBelow, text } from "../house/sources.js";
import { debugModule, flawed, itFlawed } from "./flawed.js";

const RAM = 2 ** 30;
const MIB = 2 ** 20;
const GRANULES = [4096, 16384, 65536] as const;
const BLOCKS = { 4096: 2 * MIB, 16384: 32 * MIB, 65536: 512 * MIB } as const;
const STRATEGIES = [
  "protect",
  "eager",
  "manual",
  "initially set",
  "ring",
  "dbm",
  "dbm eager",
  "hdbss",
  "hdbss eager",
] as const;
type Strategy = (typeof STRATEGIES)[number];

interface Scene extends VmOptions {
  strategy: Strategy | "after dbm";
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
  using vm = createVm({ cpus: 2, witness: true, hardwareDirty: /dbm|hdbss/.test(strategy), ...options });
  const ram = vm.addSlot({ gpa: RAM, size, backing });
  const division = disjoint ? "disjoint" : "shared";
  const work = { gpa: RAM, size, division, writes: 0.5, fetches: 0.05 } as const;
  vm.run(accesses, work);
  if (strategy === "after dbm") {
    vm.setDirtyPolicy({ strategy: "dbm" });
    vm.logDirty(ram, true);
    vm.run(accesses, work);
    vm.dirtyLog(ram);
    vm.logDirty(ram, false);
  }
  vm.setDirtyPolicy({
    strategy:
      strategy === "after dbm"
        ? "protect"
        : ((["dbm", "hdbss", "ring"] as const).find((one) => strategy.startsWith(one)) ?? "protect"),
    ringEntries: 256,
    hdbssEntries: size < MIB ? 4 : 64,
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
  it.each(scenes)("with %i-byte pages and %s [DBM-10, DBM-11, DBM-13, DLG-14, DLG-16, PROP-6]", (granule, strategy) => {
    for (const backing of ["4k", "thp"] as const) {
      for (const adversarial of [false, true]) {
        const scene = { granule, strategy, backing, adversarial, seed: adversarial ? 1 : 2 };
        expect(lost(logged(scene)), JSON.stringify(scene)).toBe(0);
      }
    }
  });

  it("when software tracks what hardware tracked before [DBM-6]", () => {
    expect(lost(logged({ strategy: "after dbm", backing: "4k", seed: 3 }))).toBe(0);
  });

  it("and each way reports the same pages of the same guest", () => {
    const pages = (strategy: Strategy) => logged({ strategy, backing: "4k", seed: 7 }).map(([reported]) => reported);
    const protect = pages("protect");
    expect(protect.every((n) => (n ?? 0) > 100)).toBe(true);
    for (const strategy of ["eager", "manual", "ring", "dbm", "dbm eager", "hdbss", "hdbss eager"] as const)
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
    "v.protects++;",
    "protect",
  ],
  ["a fault marks nothing [FLT-38]", "vm/fault.ts", "\n  if (mark(s, page)) a.marks++;", "", "protect"],
  [
    "the hardware's dirty state is collected without a flush [DBM-11]",
    "vm/dirty/dbm.ts",
    "if (agent(v).status !== 0) flush",
    "if (false) flush",
    "dbm",
  ],
  [
    "the check whether to flush is inverted: (a) of the RFC [DBM-7]",
    "vm/dirty/dbm.ts",
    "if (agent(v).status !== 0) flush",
    "if (agent(v).status === 0) flush",
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
    "if (taken !== 0) flushAll",
    "if (false) flushAll",
    "ring",
  ],
  [
    "the MMU makes a page dirty and writes nothing down",
    "sim/dirtied.ts",
    "c.hdbss === 0 || append(c.hdbss, addr, level)",
    "true",
    "hdbss",
  ],
  [
    "the MMU makes a page dirty though its log is full",
    "sim/dirtied.ts",
    "c.hdbss === 0 || append(c.hdbss, addr, level)",
    "c.hdbss === 0 || append(c.hdbss, addr, level) || true",
    "hdbss",
  ],
  [
    "a log of the hardware's is thrown away",
    "vm/dirty/hdbss.ts",
    "if (mark(s, <u32>((ipa - s.gpa) >> v.ps))) a.marks++;\n    else write(entryOf(p, kept++), entry);",
    "",
    "hdbss",
  ],
  [
    "a vCPU leaves the guest with entries in its log",
    "sim/vcpu.ts",
    "  leaveGuest(m, c);\n  turn(cpu);\n  c.hdbss = 0;",
    "  turn(cpu);\n  c.hdbss = 0;",
    "hdbss",
  ],
  [
    "pages that hardware wrote down stay dirty",
    "vm/dirty/log.ts",
    "  sweep(v, s, gpa, size, HARVEST_BEGIN);\n",
    "",
    "hdbss",
  ],
  [
    "pages that hardware wrote down become clean without a flush",
    "vm/dirty/log.ts",
    "if (dirty !== 0 && protectsAgain(v)) flushRange(v, s.gpa, s.size);",
    "",
    "hdbss",
  ],
  [
    "software tracks again, and DBM stays [DBM-6]",
    "vm/dirty/protect.ts",
    "if (v.hadHardware !== 0) sweep(v, s, gpa, size, HARVEST_STOP);\n  else if",
    "if",
    "after dbm",
  ],
  [
    "TLBIs reach the CPU that issues them alone",
    "sim/interconnect.ts",
    "if (domain === LOCAL && i !== from) continue;\n    heard(post(",
    "if (i !== from) continue;\n    heard(post(",
    "protect",
  ],
] as const;

describe("a store is noticed to be lost when", () => {
  itFlawed.each(FLAWS)("%s", async (_, file, from, to, strategy) => {
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

/** Pages that are reported when an annotation has the bits that a dirty page would have, and one page is stored to. */
function annotated(module: Uint8Array<ArrayBuffer>): number {
  using vm = createVm({ hardwareDirty: true, module });
  const ram = vm.addSlot({ gpa: RAM, size: MIB, backing: "4k" });
  vm.run(1, { gpa: RAM, size: 4096, writes: 1 });
  vm.setDirtyPolicy({ strategy: "dbm" });
  vm.table.setOwner(RAM + 4096, 4096, 1);
  expect(vm.engine.core.poke(vm.table.handle, BigInt(RAM + 4096), (1n << 51n) | (1n << 7n))).toBe(0);
  vm.logDirty(ram, true);
  vm.run(1, { gpa: RAM, size: 4096, writes: 1 });
  expect(vm.engine.core.poke(vm.table.handle, BigInt(RAM + 4096), (1n << 51n) | (1n << 7n))).toBe(0);
  return vm.dirtyLog(ram).pages;
}

describe("bits of an entry that is no mapping", () => {
  it("are no dirty state [DBM-7]", () => {
    expect(annotated(debugModule())).toBe(1);
  });

  itFlawed("would count, were validity not asked for: (e) of the RFC [DBM-7]", async () => {
    const module = await flawed("vm/dirty/dbm.ts", [["while (isValid(old)) {", "while (old !== 0) {"]]);
    expect(annotated(module)).toBe(2);
  });
});

describe("the rooms of the walker", () => {
  it("know nothing of dirty logs: (f) of the RFC, a walker that also runs at EL2 calls none [DBM-7]", () => {
    const imports = ["table", "mmu", "memory", "arch"]
      .flatMap((room) => filesBelow(`assembly/${room}`))
      .flatMap((path) => [...text(path).matchAll(/from "([^"]+)"/g)].map(([, from]) => `${path}: ${from}`));
    expect(imports.length).toBeGreaterThan(100);
    expect(imports.filter((line) => line.includes("/vm/"))).toEqual([]);
  });
});

describe("the hardware stores while software changes the entry [DBM-8]", () => {
  it("and the compare-exchange notices", async () => {
    expect(storeAmid(debugModule(), K.POINT_EXCHANGE)).toEqual({ during: 1, reported: 1, unlogged: 0 });
  });

  itFlawed.each([
    [
      "(b) of the RFC: it tries again with what it had worked out before",
      "old = read(p, true); // the hardware was faster: decide anew, by what is there now",
      "if (put(w, p, read(p, true), next, level)) {\n        w.changed = true;\n        return OK;\n      }",
      K.POINT_EXCHANGE,
    ],
    [
      "(c) of the RFC: it reads the entry again, and decides by what it read first",
      "put(w, p, old, next, level)",
      "put(w, p, read(p, true), next, level)",
      K.POINT_READ,
    ],
  ])("and would lose it by %s [DBM-7]", async (_, from, to, point) => {
    const module = await flawed("vm/dirty/dbm.ts", [[from, to]]);
    expect(storeAmid(module, point)).toEqual({ during: 1, reported: 0, unlogged: 2 });
  });

  itFlawed("and (d) of the RFC, a plain store, would lose it [DBM-7, DBM-8]", async () => {
    // A read stands where the exchange did, so that there is a point between look and store.
    const plain = "(read(p, true), store<u64>(p, next), true)";
    const module = await flawed("vm/dirty/dbm.ts", [["put(w, p, old, next, level)", plain]]);
    expect(storeAmid(module, K.POINT_READ)).toEqual({ during: 1, reported: 0, unlogged: 2 });
  });
});

describe("the hardware's log of a vCPU", () => {
  const guest = (entries: number) => {
    const vm = createVm({ hardwareDirty: true, witness: true });
    const ram = vm.addSlot({ gpa: RAM, size: 256 * 4096, backing: "4k" });
    const work = { gpa: RAM, size: 256 * 4096, pattern: "sequential", writes: 1 } as const;
    vm.run(256, work);
    vm.setDirtyPolicy({ strategy: "hdbss", hdbssEntries: entries });
    vm.logDirty(ram, true);
    vm.run(256, work);
    return { vm, ram };
  };

  it("is a fault when it is full, and the hypervisor makes room [DBM-13]", () => {
    for (const [entries, full] of [
      [512, 0],
      [64, 3],
      [1, 255],
    ] as const) {
      const { vm, ram } = guest(entries);
      expect(vm.stats()[0]).toMatchObject({ logFull: full, permissionFaults: 0, stuck: 0 });
      expect([vm.dirtyLog(ram).pages, vm.dirtyLog(ram).pages, vm.unlogged()]).toEqual([256, 0, 0]);
      vm.close();
    }
  });

  it("has what a store found clean, not what was dirty already, nor a load [DBM-12, DBM-13]", () => {
    const { vm, ram } = guest(512);
    vm.dirtyLog(ram);
    const first = { gpa: RAM, size: 4096 } as const;
    vm.run(50, first); // the TLB has a clean entry
    expect(vm.dirtyLog(ram).pages).toBe(0);
    vm.run(50, { ...first, writes: 1 });
    expect([vm.dirtyLog(ram).pages, vm.unlogged()]).toEqual([1, 0]);
    expect(vm.tlbs[0]?.stats().rewalks).toBeGreaterThan(0);
    vm.close();
  });

  it.each([0, 0.5, 300000])("has no %s entries", (hdbssEntries) => {
    const vm = createVm({ hardwareDirty: true });
    expect(() => vm.setDirtyPolicy({ strategy: "hdbss", hdbssEntries })).toThrow("hdbssEntries");
    vm.close();
  });
});
