// The host takes memory back while faults and slot changes are under way. Schedules are forced at the points of the debug build.

import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine, type Granule, Prot } from "../../bindings/index.js";
import { createVm, joinVm, type Vm } from "../../bindings/vm/index.js";
import { LOG_DIRTY, VirtualMachine } from "../../bindings/vm/machine.js";
import { type Change, debugModule, flawed, itFlawed } from "./flawed.js";
import { FIRST, READ, WRITE } from "./support.js";

const RAM = 2 ** 30;
const GIB = 2 ** 30;
const MIB = 2 ** 20;
const PAGE = 4096;
const DEBUG = debugModule();

/** A VM whose engine has room for two walkers, so that locks are taken; `at` runs once at the first point of a kind. */
function scene(options: { module?: Uint8Array<ArrayBuffer>; walkers?: number; granule?: Granule } = {}) {
  const { module = DEBUG, walkers = 2, granule = 4096 } = options;
  const engine = createEngine({ arenaBytes: 64 * MIB, walkers });
  const table = engine.createStage2({ ipaBits: 40, granule });
  const vm = new VirtualMachine({ table, ipaBits: 40, module });
  const seen: number[] = [];
  const at = (point: number, act: () => void) => {
    let left = true;
    engine.hosts.point = (kind) => {
      seen.push(kind);
      if (kind !== point || !left) return;
      left = false;
      act();
    };
  };
  const slot = { ...FIRST, size: 64 * PAGE };
  vm.host.define({ hva: slot.hva, size: slot.size, hugetlb: 0, thp: false, fresh: true });
  vm.setRegion(slot);
  /** Is a page mapped that the host does not provide like this? */
  const isStale = (page = 0) => {
    const leaf = table.leaf(slot.gpa + page * PAGE);
    return (leaf.prot & Prot.W) !== 0 && vm.host.touch(slot.hva + page * PAGE, false)?.writable !== true;
  };
  const count = (point: number) => seen.filter((kind) => kind === point).length;
  return { engine, table, vm, slot, at, isStale, count };
}

type Scene = ReturnType<typeof scene>;

/** The host merges the page with another one, from beginning to end, while a store's fault knows its page and has no lock yet. */
function allOf({ vm, slot, at, isStale }: Scene): boolean {
  at(K.POINT_LOCK, () => {
    vm.beginInvalidation(slot.hva, slot.hva + PAGE);
    vm.host.share(slot.hva, slot.hva + PAGE);
    vm.endInvalidation(slot.hva, slot.hva + PAGE);
  });
  vm.fault(slot.gpa, WRITE);
  return isStale();
}

/** The same, but the fault goes on before the host has changed anything. */
function beginningOf({ vm, slot, at, isStale }: Scene): boolean {
  at(K.POINT_LOCK, () => vm.beginInvalidation(slot.hva, slot.hva + PAGE));
  vm.fault(slot.gpa, WRITE);
  vm.host.share(slot.hva, slot.hva + PAGE);
  vm.endInvalidation(slot.hva, slot.hva + PAGE);
  return isStale();
}

describe("a fault and an invalidation", () => {
  it("that lies between the fault's question to the host and its lock: the fault is taken again [FLT-22, FLT-24, NOT-4]", () => {
    const s = scene();
    expect(allOf(s)).toBe(false);
    expect(s.table.countLeaves()).toBe(0);
    expect([s.vm.fault(s.slot.gpa, WRITE).kind, s.isStale(), s.table.countLeaves()]).toEqual(["map", false, 1]);
  });

  it("that has begun and not ended: the fault is taken again [NOT-1, NOT-4]", () => {
    const s = scene();
    expect(beginningOf(s)).toBe(false);
    expect(s.table.countLeaves()).toBe(0);
  });

  it("one after the other: what the fault maps goes, or the fault sees what the host did [NOT-3, NOT-6]", () => {
    const { vm, slot, isStale, table } = scene();
    vm.fault(slot.gpa, WRITE);
    vm.beginInvalidation(slot.hva, slot.hva + PAGE);
    expect(table.countLeaves()).toBe(0);
    vm.host.share(slot.hva, slot.hva + PAGE);
    vm.endInvalidation(slot.hva, slot.hva + PAGE);
    vm.fault(slot.gpa, READ);
    expect([isStale(), table.countLeaves()]).toEqual([false, 1]);
  });

  it("of a walker that is alone ask the same [NOT-4]", () => {
    const { vm, slot, table } = scene({ walkers: 1 });
    vm.beginInvalidation(slot.hva, slot.hva + PAGE);
    vm.fault(slot.gpa, WRITE);
    expect(table.countLeaves()).toBe(0);
    vm.endInvalidation(slot.hva, slot.hva + PAGE);
    vm.fault(slot.gpa, WRITE);
    expect(table.countLeaves()).toBe(1);
  });

  it("elsewhere meet all the same, unless faults look at the range as on x86 [NOT-5]", () => {
    for (const byRange of [false, true]) {
      const { vm, slot, table } = scene();
      vm.retryByRange = byRange;
      vm.beginInvalidation(slot.hva, slot.hva + PAGE);
      vm.fault(slot.gpa + 8 * PAGE, WRITE);
      vm.fault(slot.gpa, WRITE);
      expect(table.countLeaves()).toBe(byRange ? 1 : 0);
      vm.endInvalidation(slot.hva, slot.hva + PAGE);
    }
  });

  it("outside all slots meet nothing [NOT-1]", () => {
    const { vm, slot, table } = scene();
    expect(vm.beginInvalidation(2 ** 40, 2 ** 40 + PAGE)).toBe(false);
    vm.fault(slot.gpa, WRITE);
    expect(table.countLeaves()).toBe(1);
    vm.endInvalidation(2 ** 40, 2 ** 40 + PAGE);
    expect(() => vm.endInvalidation(2 ** 40, 2 ** 40 + PAGE)).toThrow("EINVAL");
  });
});

/** Broken forms, and which schedule finds a stale mapping. */
const FLAWS: [string, string, Change[], (module: Uint8Array<ArrayBuffer>) => boolean][] = [
  [
    "nothing is asked under the lock",
    "vm/operate.ts",
    [["r = mustRetry(v, sequence, gpa, size)\n    ? EAGAIN", "r = false\n    ? EAGAIN"]],
    (module) => allOf(scene({ module })) && beginningOf(scene({ module })),
  ],
  [
    "the sequence does not change",
    "vm/invalidation.ts",
    [["  add(sequenceWord(v), 1);\n", ""]],
    (module) => allOf(scene({ module })) && !beginningOf(scene({ module })),
  ],
  [
    "what is under way is not asked for",
    "vm/invalidation.ts",
    [["if (peek(progressWord(v)) !== 0 && (", "if (false && ("]],
    (module) => beginningOf(scene({ module })) && !allOf(scene({ module })),
  ],
  [
    "the sequence is noted after the host was asked [FLT-23, BUG-13]",
    "vm/fault.ts",
    [
      ["    sequence = sequenceOf(v), // before the host is asked [FLT-22]\n", ""],
      [
        "page = touch(hostOf(v), hva, write, exec);",
        `page = touch(hostOf(v), hva, write, exec), sequence = (visit(${K.POINT_LOCK}, 0), sequenceOf(v));`,
      ],
      ["import { parallel }", 'import { visit } from "../memory/guard";\nimport { parallel }'],
    ],
    (module) => allOf(scene({ module })),
  ],
];

describe("a stale mapping is found when", () => {
  itFlawed.each(FLAWS)("%s", async (_, file, changes, isFound) => {
    expect(isFound(DEBUG)).toBe(false);
    expect(isFound(await flawed(file, changes))).toBe(true);
  });
});

describe("halfway through the end of an invalidation", () => {
  const END = "  add(sequenceWord(v), 1);\n  add(progressWord(v), -1);";
  itFlawed.each([
    ["the sequence has changed, and the fault is taken again", "  add(sequenceWord(v), 1);", false],
    ["a fault would map what it was told before, were the order another", "  add(progressWord(v), -1);", true],
  ])("%s [NOT-3, NOT-4]", async (_, half, stale) => {
    const module = await flawed("vm/invalidation.ts", [[END, half]]);
    expect(allOf(scene({ module }))).toBe(stale);
  });
});

describe("a range is applied chunk by chunk", () => {
  const CHUNKS = [
    [4096, GIB],
    [16384, 32 * MIB],
    [65536, 512 * MIB],
  ] as const;
  it.each(CHUNKS)(
    "of %i-byte pages: chunks end at multiples of %i bytes, and the lock is free between them [NOT-20, NOT-23]",
    (granule, chunk) => {
      using vm = createVm({ walkers: 2, cpus: 1, granule, module: DEBUG });
      const ram = vm.addSlot({ gpa: 0, size: 4 * chunk });
      using other = joinVm(vm.ticket(1));
      let yields = 0;
      vm.engine.hosts.point = (kind) => {
        if (kind === K.POINT_YIELD) yields++;
      };
      vm.changeHost("discard", chunk / 2, 3 * chunk);
      expect(yields).toBe(3);
      vm.engine.hosts.point = (kind) => {
        if (kind !== K.POINT_YIELD) return;
        yields++;
        other.run(0, 1, { gpa: (yields - 4) * chunk, size: granule, writes: 1 }); // takes the lock: nobody has it
      };
      vm.logDirty(ram, true); // the whole slot is protected [NOT-24]
      expect(vm.table.countLeaves()).toBe(3);
      expect([yields, vm.stats()[0]?.stuck]).toEqual([6, 0]);
    },
  );

  it("but at once where the caller may not wait [NOT-7]", () => {
    const { vm, count, at } = scene();
    at(0, () => {});
    vm.setRegion({ slot: 2, flags: 0, gpa: 0x10_0000_0000, size: 4 * GIB, hva: 0x20_0000_0000 });
    vm.beginInvalidation(0x20_0000_0000, 0x20_0000_0000 + 4 * GIB, false);
    expect(count(K.POINT_YIELD)).toBe(0);
    vm.endInvalidation(0x20_0000_0000, 0x20_0000_0000 + 4 * GIB);
    vm.beginInvalidation(0x20_0000_0000, 0x20_0000_0000 + 4 * GIB);
    expect(count(K.POINT_YIELD)).toBe(3);
    vm.endInvalidation(0x20_0000_0000, 0x20_0000_0000 + 4 * GIB);
  });

  it("and is nothing to do once the table was torn down in between [NOT-21, NOT-22, NOT-36, BUG-36]", () => {
    const { vm, slot, table, at } = scene();
    at(K.POINT_YIELD, () => table.destroy());
    expect(vm.core.vmUnmap(vm.pointer, 0, 4 * GIB)).toBe(0);
    expect(vm.core.vmUnmap(vm.pointer, 0, 4 * GIB)).toBe(K.EINVAL);
    expect(vm.core.vmInvalidate(vm.pointer, slot.hva, slot.hva + PAGE)).toBe(1); // a late notifier has nothing to do
    expect(vm.operations().filter(({ status }) => status === 0)).toHaveLength(1);
  });
});

describe("slots change", () => {
  it("between invalidations, never during one [NOT-30]", () => {
    const { vm, slot } = scene({ walkers: 1 });
    vm.beginInvalidation(0, PAGE); // it meets no slot, and counts all the same
    const change = { ...slot, slot: 7, gpa: 0 };
    expect([vm.setRegion(change), vm.isMemory(0)]).toEqual(["refused", false]);
    expect([vm.setRegion({ ...slot, size: 0 }), vm.isMemory(slot.gpa)]).toEqual(["refused", true]);
    vm.endInvalidation(0, PAGE);
    expect([vm.setRegion(change), vm.isMemory(0)]).toEqual(["done", true]);
  });

  it("as a whole: a fault sees the old slots or the new ones, and the generation says that they change [NOT-32, NOT-33]", () => {
    const { vm, at, slot } = scene();
    const before = vm.generation;
    let during: unknown[] = [];
    at(K.POINT_INSTALLED, () => {
      during = [vm.generation >> 63n, vm.isMemory(0x8000_0000), vm.isMemory(slot.gpa)];
    });
    vm.setRegion({ ...slot, slot: 2, gpa: 0x8000_0000 });
    expect(during).toEqual([1n, true, true]);
    expect(vm.generation).toBe(before + 1n);
  });

  it.each(["deleted", "moved"])(
    "and one that is %s takes no faults while it is emptied, but notifiers find it [NOT-30, NOT-31, FLT-6]",
    (how) => {
      const { vm, table, at } = scene();
      const big = { slot: 2, flags: LOG_DIRTY, gpa: 0x10_0000_0000, size: 4 * GIB, hva: 0x20_0000_0000 };
      vm.setRegion(big);
      for (const offset of [0, GIB, 3 * GIB]) vm.fault(big.gpa + offset, WRITE);
      const during: unknown[] = [];
      at(K.POINT_YIELD, () => {
        during.push(vm.fault(big.gpa, WRITE).kind, table.leaf(big.gpa + GIB).kind);
        // The host takes a page that is mapped yet.
        vm.beginInvalidation(big.hva + GIB, big.hva + GIB + PAGE);
        during.push(table.countLeaves());
        vm.endInvalidation(big.hva + GIB, big.hva + GIB + PAGE);
      });
      vm.setRegion(how === "deleted" ? { ...big, size: 0 } : { ...big, gpa: 0x30_0000_0000 });
      expect(during).toEqual(["mmio", "page", 1]);
      expect(table.countLeaves()).toBe(0);
      expect(vm.fault(0x30_0000_0000, WRITE).kind).toBe(how === "deleted" ? "mmio" : "map");
    },
  );

  it("as they were before, when there is no memory for the change", () => {
    const { engine, vm, slot, table } = scene();
    vm.fault(slot.gpa, WRITE);
    const blocks: number[] = [];
    const size = { bytes: 4096 };
    for (;;) {
      try {
        blocks.push(engine.takeBlock(size.bytes));
      } catch {
        break;
      }
    }
    const done = vm.setRegion({ ...slot, gpa: 0x8000_0000, flags: LOG_DIRTY });
    expect([done, vm.isMemory(slot.gpa), vm.isMemory(0x8000_0000)]).toEqual(["refused", true, false]);
    for (const block of blocks) engine.giveBlock(block);
    expect([vm.fault(slot.gpa, WRITE).kind, table.countLeaves()]).toEqual(["map", 1]);
  });
});

describe("notifiers", () => {
  it("lose nothing of a log by an unmap: a page was marked when it became writable [NOT-12]", () => {
    using vm = createVm({ witness: true });
    const ram = vm.addSlot({ gpa: RAM, size: 64 * PAGE, backing: "4k" });
    vm.logDirty(ram, true);
    vm.run(64, { gpa: RAM, size: 64 * PAGE, pattern: "sequential", writes: 1 });
    vm.changeHost("share", RAM, 32 * PAGE);
    expect([vm.dirtyLog(ram).pages, vm.unlogged()]).toEqual([64, 0]);
  });

  it("age no more pages than the range has, whatever the slot begins with [NOT-9, BUG-24]", () => {
    using vm = createVm();
    vm.addSlot({ gpa: RAM + PAGE, hva: 2 ** 45 + 5 * PAGE, size: 8 * PAGE, backing: "4k" });
    vm.run(8, { gpa: RAM + PAGE, size: 8 * PAGE, pattern: "sequential", writes: 1 });
    expect(vm.age(RAM + 2 * PAGE, PAGE)).toBe(true);
    const young = Array.from({ length: 8 }, (_, i) => vm.age(RAM + (i + 1) * PAGE, PAGE));
    expect(young).toEqual([true, false, true, true, true, true, true, true]);
  });

  it("age without a flush, so that accesses through the TLB are not seen [NOT-10]", () => {
    using vm = createVm();
    vm.addSlot({ gpa: RAM, size: PAGE, backing: "4k" });
    const work = { gpa: RAM, size: PAGE, writes: 1 };
    vm.run(1, work);
    expect(vm.age(RAM, PAGE)).toBe(true);
    vm.run(1, work);
    expect([vm.age(RAM, PAGE), vm.stats()[0]?.accessFaults]).toEqual([false, 0]);
  });
});

/** Runs a CPU on a thread of its own. */
function runOn(vm: Vm, cpu: number, size: number): Promise<void> {
  const work = { gpa: RAM, size, writes: 0.5 };
  const workerData = { ticket: vm.ticket(cpu + 1), cpu, turns: 40, accesses: 2048, work };
  const worker = new Worker(new URL("./runner.mjs", import.meta.url), { workerData });
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`the thread ended with ${code}`))));
  });
}

describe("vCPUs on threads, while the host changes their memory", () => {
  it.each([["share"], ["discard"], ["collapse"]] as const)(
    "%s: no mapping is stale afterwards [NOT-4, FLT-24]",
    async (what) => {
      const size = 4 * MIB;
      using vm = createVm({ cpus: 2, walkers: 3 });
      const hva = 2 ** 46 + RAM;
      vm.addSlot({ gpa: RAM, size, backing: what === "collapse" ? "thp" : "4k" });
      let running = true;
      const threads = Promise.all([runOn(vm, 0, size), runOn(vm, 1, size)]).finally(() => {
        running = false;
      });
      let changes = 0;
      for (; running; changes++) {
        vm.changeHost(what, RAM + ((changes * 64 * PAGE) % size), what === "collapse" ? 2 * MIB : 64 * PAGE);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await threads;
      const stale: number[] = [];
      for (let at = 0; at < size; at += PAGE) {
        const leaf = vm.table.leaf(RAM + at);
        const page = vm.host.touch(hva + at, false);
        if ((leaf.prot & Prot.W) !== 0 && !page?.writable) stale.push(at);
      }
      expect([stale, vm.stats().map((cpu) => cpu.stuck), changes > 1]).toEqual([[], [0, 0], true]);
    },
  );
});
