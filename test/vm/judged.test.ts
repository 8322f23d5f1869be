// A VM under the eyes of the judge: vCPUs on threads, reverse maps with aliases and shadows, slots that come and go. And what the judge
// or the TLBs say when one step of the VM is left out.

import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { createJudge, type Judge, type Violation } from "../../bindings/audit/index.js";
import {
  createVm,
  type DirtyPolicy,
  type Shadow,
  type Vm,
  type VmOptions,
  type Workload,
} from "../../bindings/vm/index.js";
import { Random, SEED } from "../support/random.js";
import { type Change, debugModule, flawed } from "./flawed.js";

const RAM = 2 ** 30;
const MIB = 2 ** 20;
const PAGE = 4096;
const SIZE = 8 * MIB;

/** A VM whose every step a judge sees. */
function watchedVm(options: VmOptions = {}): { vm: Vm; judge: Judge; drain: () => Violation[] } {
  const vm = createVm({ adversarial: true, tlb: "tiny", witness: true, journalRecords: 1 << 18, ...options });
  const judge = createJudge();
  const watch = judge.watch(vm.engine);
  watch.adopt(vm.table);
  return { vm, judge, drain: () => watch.drain() };
}

const told = (judge: Judge): string[] =>
  judge
    .finish()
    .violations.slice(0, 2)
    .map(({ message }) => message);
const staleOf = (vm: Vm): number => vm.stats().reduce((sum, cpu) => sum + cpu.stale, 0);

/** Runs CPU `cpu` on a thread; resolves when it has finished. */
function runOn(vm: Vm, cpu: number, work: Workload, turns: number): Promise<void> {
  const workerData = { ticket: vm.ticket(cpu + 1), cpu, turns, accesses: 512, work, whole: true };
  const worker = new Worker(new URL("./runner.mjs", import.meta.url), { workerData });
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`the thread ended with ${code}`))));
  });
}

const WAYS: readonly (readonly [name: string, policy: DirtyPolicy])[] = [
  ["protect", { strategy: "protect" }],
  ["eager", { strategy: "protect", eagerSplit: 2 * MIB }],
  ["ring", { strategy: "ring", ringEntries: 1024 }],
  ["dbm", { strategy: "dbm" }],
  ["hdbss", { strategy: "hdbss" }],
];

describe("the judge accepts the journals of vCPUs on threads, in one order", () => {
  it.each(WAYS)(
    "with %s, while this thread reads the log and changes the host's memory [PROP-3, HWM-41]",
    async (_, policy) => {
      const hardwareDirty = policy.strategy === "dbm" || policy.strategy === "hdbss";
      const { vm, judge, drain } = watchedVm({
        cpus: 2,
        walkers: 3,
        hardwareDirty,
        seed: SEED,
        journalRecords: 1 << 20,
      });
      const slot = vm.addSlot({ gpa: RAM, size: SIZE });
      const work = { gpa: RAM, size: SIZE, writes: 0.5 };
      vm.run(512, work);
      vm.setDirtyPolicy(policy);
      vm.logDirty(slot, true);
      let running = true;
      const threads = Promise.all([runOn(vm, 0, work, 8), runOn(vm, 1, work, 8)]).finally(() => {
        running = false;
      });
      for (let i = 0; running; i++) {
        vm.dirtyLog(slot);
        if (i < 8) vm.changeHost("discard", RAM + i * MIB, MIB);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      await threads;
      vm.dirtyLog(slot);
      vm.logDirty(slot, false);
      const walkers = new Set(vm.engine.journal.read().map(({ walker }) => walker));
      drain();
      expect(told(judge), `GRANULE_SEED=${SEED}`).toEqual([]);
      expect([...walkers].sort()).toEqual([0, 1, 2]);
      expect(judge.records).toBeGreaterThan(2000);
      vm.close();
    },
  );
});

/** What happens to memory that has several addresses: an alias, and a shadow that is mapped and unmapped by hand. */
function severalAddresses(seed: number, options: VmOptions = {}): { judge: Judge; vm: Vm } {
  const { vm, judge, drain } = watchedVm({ reverseMaps: true, checkTranslations: true, seed, ...options });
  const random = new Random(seed);
  const maps = vm.reverseMaps ?? expect.fail("no reverse maps");
  const slot = () => vm.addSlot({ slot: 0, gpa: RAM, size: 2 * MIB, backing: random.oneIn(2) ? "4k" : "thp" });
  const alias = () => maps.addAlias({ gpa: 2 * RAM, of: RAM, size: 2 * MIB });
  const pages = (): { gpa: number; size: number } => {
    const first = random.below(500);
    return { gpa: RAM + first * PAGE, size: (1 + random.below(12)) * PAGE };
  };
  slot();
  alias();
  const shadow: Shadow = maps.addShadow();
  const steps: (() => void)[] = [
    () => vm.run(32, { gpa: RAM, size: 2 * MIB, writes: 0.5 }),
    () => vm.run(32, { gpa: 2 * RAM, size: 2 * MIB, writes: 0.5 }),
    () => {
      const { gpa, size } = pages();
      shadow.map({ ipa: gpa - RAM, gpa, size });
    },
    () => shadow.unmap(random.below(500) * PAGE, PAGE),
    () => vm.changeHost(random.pick(["discard", "share", "collapse"] as const), pages().gpa, pages().size),
    () => vm.age(RAM, 2 * MIB),
    () => {
      vm.logDirty(0, true);
      vm.run(64, { gpa: RAM, size: 2 * MIB, writes: 0.5 });
      vm.dirtyLog(0);
      vm.logDirty(0, false);
    },
    () => {
      vm.removeSlot(0);
      slot();
      alias();
    },
  ];
  for (let i = 0; i < 120; i++) {
    random.pick(steps)();
    drain();
  }
  vm.removeSlot(0);
  shadow.close();
  maps.reclaim();
  drain();
  return { judge, vm };
}

describe("the judge accepts reverse maps", () => {
  it("with aliases and shadows, notifiers, logs, and slots that come and go [RMAP-9, HZ-5, PROP-3]", () => {
    for (let i = 0; i < 6; i++) {
      const { judge, vm } = severalAddresses(SEED + i, { module: debugModule() });
      expect([told(judge), staleOf(vm)], `GRANULE_SEED=${SEED + i}`).toEqual([[], 0]);
      expect(judge.records).toBeGreaterThan(3000);
      vm.close();
    }
  });
});

/** In place of an operation on the VM's table: its flush goes to the table that was made next. */
const OTHER_TABLE =
  "  const status = operate(op, op === OP_TLB_FLUSH_RANGE ? v.table + 256 : v.table, 0, CACHE_NONE, gpa, size, 0, 0, level);";

/** Blocks that are logged, split, stored to, collapse and come back; memory that the host takes. */
function life(module: Uint8Array<ArrayBuffer>, policy: DirtyPolicy = { strategy: "protect" }) {
  const hardwareDirty = policy.strategy === "dbm" || policy.strategy === "hdbss";
  const { vm, judge, drain } = watchedVm({ module, hardwareDirty, checkTranslations: true, cpus: 2 });
  expect(vm.engine.createStage2().handle).toBe(vm.table.handle + 256); // OTHER_TABLE
  const slot = vm.addSlot({ gpa: RAM, size: SIZE });
  const work = { gpa: RAM, size: SIZE, writes: 0.6 };
  vm.setDirtyPolicy(policy);
  let unlogged = 0;
  for (let i = 0; i < 3; i++) {
    vm.run(256, work);
    vm.logDirty(slot, true);
    for (let j = 0; j < 3; j++) {
      vm.run(64, work);
      vm.dirtyLog(slot);
      unlogged += vm.unlogged();
    }
    vm.logDirty(slot, false);
    drain();
    vm.changeHost("discard", RAM, SIZE / 2);
    vm.changeHost("collapse", RAM, SIZE);
    vm.run(256, work);
    drain();
  }
  const [first] = judge.finish().violations;
  const judged = first === undefined ? "ok" : [first.kind, first.missing].filter(Boolean).join(" ");
  const stale = staleOf(vm) > 0;
  vm.close();
  return { judged, stale, unlogged: unlogged > 0 };
}

const DBM: DirtyPolicy = { strategy: "dbm" };
const HDBSS: DirtyPolicy = { strategy: "hdbss" };
const RING: DirtyPolicy = { strategy: "ring", ringEntries: 1024 };

/**
 * What is broken, where and how, under which policy, and who notices: the judge, a translation compared with the table, the witness, or the
 * debug build by what it throws.
 */
const FLAWS: readonly [what: string, file: string, changes: Change[], policy: DirtyPolicy, found: object | string][] = [
  [
    "no TLBI when pages are write-protected",
    "vm/dirty/protect.ts",
    [["  protectRange(v, s, gpa, size);\n  flushRange(v, gpa, size);", "  protectRange(v, s, gpa, size);"]],
    {},
    { judged: "early-return tlbi", unlogged: true },
  ],
  [
    "no TLBI when a log was read",
    "vm/dirty/log.ts",
    [["  if (dirty !== 0 && protectsAgain(v)) flushRange(v, s.gpa, s.size);\n", ""]],
    HDBSS,
    { judged: "early-return tlbi", unlogged: true },
  ],
  [
    "no TLBI when rings were collected",
    "vm/dirty/log.ts",
    [["  if (taken !== 0) flushAll(v); // [TLB-35]\n", ""]],
    RING,
    { judged: "early-return tlbi", unlogged: true },
  ],
  [
    "no TLBI when dirty state was collected",
    "vm/dirty/dbm.ts",
    [["  if (agent(v).status !== 0) flush(v, gpa, size);\n", ""]],
    DBM,
    { judged: "early-return tlbi", unlogged: true },
  ],
  [
    "the TLBI is for another table's VMID",
    "vm/operate.ts",
    [["  const status = operate(op, v.table, 0, CACHE_NONE, gpa, size, 0, 0, level);", OTHER_TABLE]],
    {},
    { judged: "early-return tlbi", unlogged: true },
  ],
  [
    "the TLBI has another VMID where it arrives",
    "sim/interconnect.ts",
    [["? contextOf(cpuAt(m, i)).vmid :", "? contextOf(cpuAt(m, i)).vmid + 1 :"]],
    {},
    "a descriptor read from a page that was given back", // by a walk that a TLB holds: the core is a debug build
  ],
  [
    "the TLBI reaches the CPU that issues it alone",
    "sim/interconnect.ts",
    [
      [
        "    if (domain === LOCAL && i !== from) continue;\n    heard(post(",
        "    if (i !== from) continue;\n    heard(post(",
      ],
    ],
    {},
    { judged: "ok", stale: true, unlogged: true },
  ],
  [
    "make before break",
    "table/bbm.ts",
    [["  if (!put(w, p, old, w.marker, level)) {", "  if (isShared(w) && !put(w, p, old, w.marker, level)) {"]],
    {},
    { judged: "no-break" },
  ],
  [
    "no TLBI when the host takes memory",
    "table/unmap.ts",
    [["    else if (w.high) flushRange(t, w.low, w.high - w.low);\n", ""]],
    {},
    { judged: "early-return tlbi" },
  ],
];

describe("a VM that leaves out a step is noticed", () => {
  it("and a right one is not", () => {
    for (const [, policy] of WAYS)
      expect(life(debugModule(), policy)).toEqual({ judged: "ok", stale: false, unlogged: false });
  });

  it.each(FLAWS)("%s [PROP-3, PROP-5]", { timeout: 240_000 }, async (_, file, changes, policy, found) => {
    const module = await flawed(file, changes);
    if (typeof found === "string") expect(() => life(module, policy)).toThrow(found);
    else expect(life(module, policy)).toMatchObject(found);
  });
});
