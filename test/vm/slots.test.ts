import { describe, expect, it } from "vitest";
import { LOG_DIRTY, READ_ONLY } from "../../bindings/vm/machine.js";
import { FIRST, MIB2, machine, pagesOf, WRITE } from "./support.js";

describe("memory slots", () => {
  it("are created, flagged, moved and deleted, with a bit for each page that logs [DLG-1, DLG-13]", () => {
    const { vm } = machine();
    expect(vm.setRegion(FIRST)).toBe("done");
    expect(vm.setRegion(FIRST)).toBe("done");
    expect(vm.dirtyBitmap(1)).toBeUndefined();
    vm.setRegion({ ...FIRST, flags: LOG_DIRTY });
    expect(vm.dirtyBitmap(1)).toHaveLength(512 / 64);
    vm.setRegion({ ...FIRST, gpa: 0x8000_0000, flags: LOG_DIRTY });
    expect([0x4000_0000, 0x801f_ffff, 0x8020_0000].map((gpa) => vm.isMemory(gpa))).toEqual([false, true, false]);
    vm.setRegion({ ...FIRST, size: 0 });
    expect(vm.isMemory(0x8000_0000)).toBe(false);
  });

  it.each([
    ["a size that is no multiple of the page", { ...FIRST, size: 100 }],
    ["an address that is not aligned", { ...FIRST, gpa: 1 }],
    ["a host address that is not aligned", { ...FIRST, hva: 1 }],
    ["a slot beyond the address space", { ...FIRST, slot: 9, gpa: 2 ** 40 - 4096 }],
    ["another size of a slot that is there", { ...FIRST, size: 2 * MIB2 }],
    ["another host address of it", { ...FIRST, hva: 0 }],
    ["another READONLY flag of it", { ...FIRST, flags: READ_ONLY }],
    ["a flag that there is not", { ...FIRST, slot: 9, gpa: 0, flags: 4 }],
    ["one that overlaps", { ...FIRST, slot: 2, gpa: 0x401f_f000 }],
    ["one that contains another", { ...FIRST, slot: 2, gpa: 0x3fe0_0000, size: 3 * MIB2 }],
    ["the end of one that is not there", { ...FIRST, slot: 3, size: 0 }],
    ["a number that is too large", { ...FIRST, slot: 32767, gpa: 0 }],
    ["an address that is no whole number", { ...FIRST, slot: 9, gpa: 0.5 }],
    ["an address that is no number", { ...FIRST, slot: 9, gpa: Number.NaN }],
  ])("refuse %s, and keep what there is", (_, request) => {
    const { vm } = machine();
    vm.setRegion(FIRST);
    expect(vm.setRegion(request)).toBe("refused");
    expect([vm.hostAddress(FIRST.gpa), vm.hostAddress(FIRST.gpa + MIB2), vm.mostSlots]).toEqual([FIRST.hva, -1, 1]);
  });

  it("are found whatever their number and order", () => {
    const { vm } = machine();
    const order = Array.from({ length: 2000 }, (_, i) => (i * 1237) % 2000);
    for (const i of order) vm.setRegion({ slot: i, flags: 0, gpa: i * 8192, size: 4096, hva: i * 4096 });
    for (const i of order) if (i % 3 === 0) vm.setRegion({ slot: i, flags: 0, gpa: 0, size: 0, hva: 0 });
    const found = order.map((i) => [vm.hostAddress(i * 8192 + 7), vm.hostAddress(i * 8192 + 4096)]);
    expect(found).toEqual(order.map((i) => [i % 3 === 0 ? -1 : i * 4096 + 7, -1]));
    expect(vm.mostSlots).toBe(2000);
  });

  it("give the host ranges of a guest range, as far as it lies in slots", () => {
    const { vm } = machine();
    vm.setRegion(FIRST);
    vm.setRegion({ ...FIRST, slot: 2, gpa: FIRST.gpa + MIB2, hva: 0x1000_0000 });
    expect(vm.unmap(FIRST.gpa + MIB2 - 0x1000, 0x2000)).toEqual([
      { start: 0x7000_0000 + MIB2 - 0x1000, end: 0x7000_0000 + MIB2 },
      { start: 0x1000_0000, end: 0x1000_1000 },
    ]);
    expect(vm.unmap(0, 0x1000)).toEqual([]);
  });

  it("keep their dirty log when they move, and begin a new one when logging is switched on again", () => {
    const { vm } = machine();
    vm.setRegion({ ...FIRST, flags: LOG_DIRTY });
    vm.fault(FIRST.gpa + 3 * 4096, WRITE);
    vm.setRegion({ ...FIRST, flags: LOG_DIRTY, gpa: 0x8000_0000 });
    expect(pagesOf(vm.dirtyBitmap(1))).toEqual([3]);
    const moved = { ...FIRST, gpa: 0x8000_0000 };
    vm.setRegion(moved);
    vm.setRegion({ ...moved, flags: LOG_DIRTY });
    expect(pagesOf(vm.dirtyBitmap(1))).toEqual([]);
    vm.setRegion(moved);
    vm.manualDirtyLog = 3;
    vm.setRegion({ ...moved, flags: LOG_DIRTY });
    expect(pagesOf(vm.dirtyBitmap(1))).toHaveLength(512);
  });

  it("never log what is read-only [DLG-2]", () => {
    const { vm } = machine();
    vm.setRegion({ ...FIRST, flags: LOG_DIRTY | READ_ONLY });
    expect(vm.dirtyBitmap(1)).toBeUndefined();
  });

  it("give all of their memory back", () => {
    const { engine, vm } = machine();
    const before = engine.arena().taken;
    vm.setRegion({ ...FIRST, flags: LOG_DIRTY });
    for (let i = 0; i < 300; i++) {
      vm.setRegion({ slot: 2 + i, flags: LOG_DIRTY, gpa: i * MIB2, size: MIB2, hva: i * MIB2 });
      vm.fault(i * MIB2, WRITE);
    }
    expect(engine.arena().taken).toBeGreaterThan(before);
    for (let i = 0; i < 300; i++) vm.setRegion({ slot: 2 + i, flags: 0, gpa: 0, size: 0, hva: 0 });
    vm.setRegion({ ...FIRST, size: 0 });
    vm.close();
    // What stays: the pages that the walker keeps ready, and the table's own.
    const pages = engine.arena().taken - before;
    expect(pages).toBeLessThan(64 * 4096);
  });
});
