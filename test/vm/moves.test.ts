import { describe, expect, it } from "vitest";
import { Access } from "../../bindings/mmu/index.js";
import { createVm } from "../../bindings/vm/index.js";
import { pagesOf } from "./support.js";

const MIB2 = 2 << 20;

describe("a slot that moves", () => {
  it.each(["protect", "dbm", "ring"] as const)(
    "takes what was stored along into its log, by %s [DBM-6]",
    (strategy) => {
      using vm = createVm({ hardwareDirty: true });
      vm.setDirtyPolicy({ strategy });
      const slot = vm.addSlot({ gpa: 0x4000_0000, size: MIB2, backing: "4k" });
      const accesses = vm.createAccesses(8);
      const store = (...gpas: number[]) => {
        for (const gpa of gpas) accesses.push(gpa, Access.WRITE);
        vm.perform(accesses);
      };
      store(0x4000_3000, 0x4000_5000);
      vm.logDirty(slot, true);
      store(0x4000_3000); // by DBM, only the table knows of it
      vm.moveSlot(slot, 0x8000_0000);
      expect([vm.table.countLeaves(), vm.stats()[0]?.exits]).toEqual([0, 0]);
      store(0x8000_7000, 0x4000_3000);
      expect(vm.stats()[0]?.exits).toBe(1); // nothing is where it was
      expect(pagesOf(vm.dirtyLog(slot).bitmap)).toEqual([3, 7]);
    },
  );

  it("does not move over another, nor to where it cannot be", () => {
    using vm = createVm();
    const [low] = [vm.addSlot({ gpa: 0, size: MIB2 }), vm.addSlot({ gpa: MIB2, size: MIB2 })];
    expect(() => vm.moveSlot(low, MIB2)).toThrow("EEXIST");
    expect(() => vm.moveSlot(low, 5)).toThrow("EINVAL");
    expect(() => vm.moveSlot(7, 0)).toThrow("there is no slot 7");
    vm.run(1, { gpa: 0, size: 4096, writes: 1 });
    expect(vm.stats()[0]).toMatchObject({ exits: 0, translationFaults: 1 });
  });
});

describe("recorded accesses on vCPUs", () => {
  it("are refused where they are none, and change nothing", () => {
    using vm = createVm({ cpus: 2 });
    using other = createVm();
    const accesses = vm.createAccesses(2);
    for (const [gpa, kind, cpu] of [
      [-1, 0, 0],
      [0.5, 0, 0],
      [2 ** 52, 0, 0],
      [Number.NaN, 0, 0],
      [0, 3, 0],
      [0, 0.5, 0],
      [0, 0, 2],
      [0, 0, -1],
    ] as const) {
      expect(() => accesses.push(gpa, kind, cpu)).toThrow("EINVAL");
    }
    expect(accesses.length).toBe(0);
    expect([accesses.push(0, 0), accesses.push(0, 0, 1)]).toEqual([true, false]);
    expect(() => accesses.push(0, 0)).toThrow("there is no room: 2 accesses at most");
    expect(() => other.perform(accesses)).toThrow("these are no accesses of this VM");
    accesses.clear();
    vm.perform(accesses);
    expect(vm.stats().map((cpu) => cpu.accesses)).toEqual([0, 0]);
    expect(() => vm.createAccesses(0)).toThrow("capacity is 0");
  });

  it("collect the rings when one is full, and go on", () => {
    using vm = createVm({ witness: true });
    vm.setDirtyPolicy({ strategy: "ring", ringEntries: 128 });
    const slot = vm.addSlot({ gpa: 0, size: MIB2, backing: "4k" });
    vm.logDirty(slot, true);
    const accesses = vm.createAccesses(512);
    for (let page = 0; page < 512; page++) accesses.push(page * 4096, Access.WRITE);
    vm.perform(accesses);
    expect(vm.stats()[0]).toMatchObject({ accesses: 512, stores: 512 });
    expect(vm.stats()[0]?.ringFull).toBeGreaterThan(3);
    expect([vm.written(), vm.dirtyLog(slot).pages, vm.unlogged()]).toEqual([512, 512, 0]);
  });

  it("by address beyond the guest's are aborts", () => {
    using vm = createVm();
    const accesses = vm.createAccesses();
    accesses.push(2 ** 51, Access.READ);
    vm.perform(accesses);
    expect(vm.stats()[0]).toMatchObject({ accesses: 1, aborts: 1 });
  });

  it("make no difference to which page was stored to by whom", () => {
    using vm = createVm({ cpus: 3, witness: true });
    vm.addSlot({ gpa: 0, size: MIB2, backing: "4k" });
    const accesses = vm.createAccesses();
    for (let i = 0; i < 30; i++) accesses.push((i % 5) * 4096, Access.WRITE, i % 3);
    vm.perform(accesses);
    expect([vm.written(), vm.stats().map((cpu) => cpu.stores)]).toEqual([5, [10, 10, 10]]);
  });

  it("clear a part of a log by whole words of it", () => {
    using vm = createVm();
    vm.setDirtyPolicy({ manual: true });
    const slot = vm.addSlot({ gpa: 0, size: MIB2, backing: "4k" });
    vm.logDirty(slot, true);
    const accesses = vm.createAccesses();
    for (const page of [1, 63, 64, 200]) accesses.push(page * 4096, Access.WRITE);
    vm.perform(accesses);
    vm.clearDirtyLog(slot, 64, 64);
    expect(pagesOf(vm.dirtyLog(slot).bitmap)).toEqual([1, 63, 200]);
    for (const [first, pages] of [
      [1, 64],
      [0, 513],
      [-64, 64],
      [64, 0.5],
      [512, 1],
    ] as const)
      expect(() => vm.clearDirtyLog(slot, first, pages)).toThrow("EINVAL");
  });
});
