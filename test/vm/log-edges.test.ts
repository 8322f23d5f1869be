// The dirty log where it ends: the last word of a slot, a slot beside another, memory that is spent, blocks under the hardware's eyes.

import { describe, expect, it } from "vitest";
import { Prot } from "../../bindings/index.js";
import { createVm, type DirtyPolicy, type SlotOptions, type Vm, type VmOptions } from "../../bindings/vm/index.js";
import { pagesOf } from "./support.js";

const RAM = 2 ** 30;
const PAGE = 4096;
const MIB = 2 ** 20;

function guest(slot: Partial<SlotOptions> = {}, options: VmOptions = {}) {
  const vm = createVm({ hardwareDirty: true, witness: true, ...options });
  const ram = vm.addSlot({ gpa: RAM, size: 8 * MIB, backing: "4k", ...slot });
  return { vm, ram };
}

/** A store to each of these pages. */
function store(vm: Vm, pages: number[], gpa = RAM): void {
  for (const page of pages) vm.run(1, { gpa: gpa + page * PAGE, size: PAGE, writes: 1 });
}

function isWritable(vm: Vm, page: number, gpa = RAM): boolean {
  return (vm.table.leaf(gpa + page * PAGE).prot & Prot.W) !== 0;
}

const POLICIES: [string, DirtyPolicy][] = [
  ["protect", {}],
  ["ring", { strategy: "ring", ringEntries: 128 }],
  ["dbm", { strategy: "dbm" }],
  ["hdbss", { strategy: "hdbss", hdbssEntries: 16 }],
];

describe.each(POLICIES)("by %s", (name, policy) => {
  it("a log has the very pages that were stored to, in each slot its own [DLG-13, DLG-14]", () => {
    const { vm, ram } = guest({ size: 100 * PAGE });
    const GPA = RAM + 100 * PAGE;
    const other = vm.addSlot({ gpa: GPA, size: 200 * PAGE, backing: "4k" });
    const quiet = vm.addSlot({ gpa: GPA + 200 * PAGE, size: 10 * PAGE, backing: "4k" });
    vm.setDirtyPolicy(policy);
    for (const slot of [ram, other]) vm.logDirty(slot, true);
    // From one slot to the next and back, upwards and downwards, 64 pages apart and less.
    for (const [gpa, page] of [
      [RAM, 99],
      [GPA, 0],
      [GPA, 1],
      [GPA, 63],
      [GPA, 64],
      [GPA, 199],
      [RAM, 64],
      [RAM, 63],
      [GPA, 127],
      [GPA + 200 * PAGE, 3],
      [RAM, 0],
    ] as const) {
      store(vm, [page], gpa);
    }
    const logs = [ram, other].map((slot) => vm.dirtyLog(slot));
    expect(logs.map(({ bitmap }) => pagesOf(bitmap))).toEqual([
      [0, 63, 64, 99],
      [0, 1, 63, 64, 127, 199],
    ]);
    expect(logs.map(({ pages, bitmap }) => [pages, bitmap.length])).toEqual([
      [4, 2],
      [6, 4],
    ]);
    expect([ram, other].map((slot) => vm.dirtyLog(slot).pages)).toEqual([0, 0]);
    expect(() => vm.dirtyLog(quiet)).toThrow("no dirty log");
    store(vm, [64, 64]);
    // Of the slot that does not log, a store is in no log.
    expect([pagesOf(vm.dirtyLog(ram).bitmap), vm.unlogged()]).toEqual([[64], 1]);
    vm.close();
  });

  it("what is read out of a log is watched again, and nothing else changes [DLG-18, DBM-6]", () => {
    const { vm, ram } = guest({ size: 256 * PAGE });
    vm.setDirtyPolicy(policy);
    vm.logDirty(ram, true);
    store(vm, [3, 70, 130]);
    vm.dirtyLog(ram);
    expect([3, 70, 130].map((page) => isWritable(vm, page))).toEqual([false, false, false]);
    store(vm, [70]);
    expect([3, 70, 130].map((page) => isWritable(vm, page))).toEqual([false, true, false]);
    const [cpu] = vm.stats();
    // Where hardware tracks, the second store to a page needs no fault.
    expect(cpu?.permissionFaults).toBe(name === "protect" || name === "ring" ? 1 : 0);
    vm.close();
  });

  it("blocks are split when logging begins, if they are to be, and then no store faults for that [DLG-31, DLG-34]", () => {
    for (const eagerSplit of [0, 2 * MIB]) {
      const { vm, ram } = guest({ backing: "thp", filled: true });
      store(vm, [0]);
      expect(vm.table.leaf(RAM).level).toBe(2);
      vm.setDirtyPolicy({ ...policy, eagerSplit });
      vm.logDirty(ram, true);
      expect([vm.table.leaf(RAM).level, isWritable(vm, 0)]).toEqual([eagerSplit === 0 ? 2 : 3, false]);
      store(vm, [5]);
      const { pages, bitmap } = vm.dirtyLog(ram);
      expect([pages, pagesOf(bitmap), vm.unlogged()]).toEqual([1, [5], 0]);
      vm.close();
    }
  });
});

describe("a clear of one word", () => {
  it("protects up to the highest of its pages, and none of the next word [DLG-16, DLG-18]", () => {
    const { vm, ram } = guest({ size: 256 * PAGE });
    vm.setDirtyPolicy({ manual: true });
    vm.logDirty(ram, true);
    const pages = [3, 64, 70, 127, 128];
    store(vm, pages);
    vm.clearDirtyLog(ram, 0, 64);
    expect(pages.map((page) => isWritable(vm, page))).toEqual([false, true, true, true, true]);
    vm.clearDirtyLog(ram, 128, 64);
    expect(pages.map((page) => isWritable(vm, page))).toEqual([false, true, true, true, false]);
    expect(pagesOf(vm.dirtyLog(ram).bitmap)).toEqual([64, 70, 127]);
    vm.close();
  });
});

describe("a log that begins with all pages dirty", () => {
  it.each([1, 63, 64, 65, 100, 128, 4097])("of %i pages has as many, and no more [DLG-5, DLG-16]", (size) => {
    const { vm, ram } = guest({ size: size * PAGE });
    vm.setDirtyPolicy({ manual: true, initiallySet: true });
    vm.logDirty(ram, true);
    const all = Array.from({ length: size }, (_, i) => i);
    const { pages, bitmap } = vm.dirtyLog(ram);
    expect([pages, pagesOf(bitmap)]).toEqual([size, all]);
    // Words are cleared whole: of a range that ends within one, all of it.
    vm.clearDirtyLog(ram, 0, Math.min(size, 10));
    expect(pagesOf(vm.dirtyLog(ram).bitmap)).toEqual(all.slice(64));
    vm.clearDirtyLog(ram);
    expect(vm.dirtyLog(ram).pages).toBe(0);
    store(vm, [size - 1]);
    expect(pagesOf(vm.dirtyLog(ram).bitmap)).toEqual([size - 1]);
    vm.clearDirtyLog(ram);
    expect(vm.unlogged()).toBe(0);
    vm.close();
  });

  it("splits the blocks of what is cleared, and of nothing else [DLG-16, DLG-31]", () => {
    for (const strategy of ["protect", "hdbss"] as const) {
      const { vm, ram } = guest({ backing: "thp", filled: true });
      store(vm, [0, 512, 1024]);
      vm.setDirtyPolicy({ strategy, manual: true, initiallySet: true, eagerSplit: 2 * MIB });
      vm.logDirty(ram, true);
      const levels = () => [0, 512, 1024].map((page) => vm.table.leaf(RAM + page * PAGE).level);
      expect(levels(), strategy).toEqual([2, 2, 2]);
      vm.clearDirtyLog(ram, 512, 512);
      expect([levels(), [0, 512, 1024].map((page) => isWritable(vm, page))], strategy).toEqual([
        [2, 3, 2],
        [true, false, true],
      ]);
      vm.close();
    }
  });
});

describe("the hardware's log of a vCPU", () => {
  it("takes the smallest block that holds it, and gives it back [DBM-13]", () => {
    const vm = createVm({ hardwareDirty: true, cpus: 3 });
    const { taken } = vm.engine.arena();
    const pages = [1, 64, 500, 512, 1024].map((hdbssEntries) => {
      vm.setDirtyPolicy({ strategy: "hdbss", hdbssEntries });
      const more = vm.engine.arena().taken - taken;
      vm.setDirtyPolicy({});
      expect(vm.engine.arena().taken).toBe(taken);
      return more / PAGE / 3;
    });
    expect(pages).toEqual([1, 1, 1, 2, 4]); // a page of 512 words has a head
    vm.close();
  });
});

describe("when memory is spent", () => {
  /** Takes all free pages; gives them back when it is called. */
  function spend(vm: Vm): () => void {
    const taken: number[] = [];
    try {
      for (;;) taken.push(vm.engine.takeBlock(PAGE));
    } catch {
      return () => {
        for (const p of taken) vm.engine.giveBlock(p);
      };
    }
  }

  it.each([
    ["a ring", { strategy: "ring" }],
    ["the hardware's log", { strategy: "hdbss" }],
  ] as [string, DirtyPolicy][])("%s is refused: ENOMEM, and nothing is written [RNG-3, DBM-13]", (_, policy) => {
    const { vm, ram } = guest({}, { arenaBytes: 8 * MIB, witness: false });
    const give = spend(vm);
    const low = vm.engine.u64.slice(0, 128);
    expect(() => vm.setDirtyPolicy(policy)).toThrow(expect.objectContaining({ code: "ENOMEM" }));
    expect(vm.engine.u64.slice(0, 128)).toEqual(low);
    give();
    vm.setDirtyPolicy(policy);
    vm.logDirty(ram, true);
    store(vm, [1, 2]);
    expect(vm.dirtyLog(ram).pages).toBe(2);
    vm.close();
  });

  it.each([
    ["dbm says so", { strategy: "dbm" }, true],
    ["hdbss has fewer", { strategy: "hdbss", hdbssEntries: 64 }, false],
  ] as [string, DirtyPolicy, boolean][])("a read of the log loses nothing: %s [DBM-8, DBM-13]", (_, policy, throws) => {
    const { vm, ram } = guest({ size: 64 * MIB }, { arenaBytes: 8 * MIB, witness: false });
    const pages = Array.from({ length: 40 }, (_, i) => i * 400);
    store(vm, pages);
    vm.setDirtyPolicy(policy);
    vm.logDirty(ram, true);
    store(vm, pages);
    const give = spend(vm);
    let refused = 0;
    const read = (): number[] => {
      try {
        return pagesOf(vm.dirtyLog(ram).bitmap) ?? [];
      } catch (error) {
        expect(error).toMatchObject({ code: "ENOMEM" });
        refused++;
        return [];
      }
    };
    const first = read();
    expect(first.length).toBeLessThan(pages.length);
    expect(refused).toBe(throws ? 1 : 0);
    give();
    expect([...first, ...read()].sort((a, b) => a - b)).toEqual(pages);
    expect(vm.dirtyLog(ram).pages).toBe(0);
    vm.close();
  });
});

it("a manual log that is read copies no page: a store since the last clear is unlogged until the next one [DLG-16, DBM-10]", () => {
  const { vm, ram } = guest({ size: 65 * PAGE });
  vm.setDirtyPolicy({ manual: true, initiallySet: true });
  vm.logDirty(ram, true);
  vm.clearDirtyLog(ram);
  store(vm, [64]);
  expect([vm.dirtyLog(ram).pages, vm.unlogged()]).toEqual([1, 1]);
  vm.clearDirtyLog(ram);
  expect([vm.dirtyLog(ram).pages, vm.unlogged()]).toEqual([0, 0]);
});
