import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LOG_DIRTY } from "../../bindings/vm/machine.js";
import { FIRST, isWritable, machine, pagesOf, WRITE } from "./support.js";

const PAGE = 4096;

describe("the dirty log of a slot", () => {
  it("protects whole words: from the lowest to the highest page of each [DLG-18]", () => {
    const { vm, table } = machine();
    vm.manualDirtyLog = 1;
    vm.setRegion({ ...FIRST, size: 1000 * PAGE, flags: LOG_DIRTY });
    const at = (page: number) => FIRST.gpa + page * PAGE;
    for (const page of [3, 30, 60, 130, 999]) vm.fault(at(page), WRITE);
    vm.clearDirtyLog(1, 0, 64);
    expect(pagesOf(vm.dirtyBitmap(1))).toEqual([130, 999]);
    const writable = [3, 30, 60, 130, 999].map((page) => isWritable(table, at(page)));
    expect(writable).toEqual([false, false, false, true, true]);
    expect(vm.getDirtyLog(1)).toBe(2);
  });

  it("is the set of pages that were written, and what is cleared faults again", () => {
    const page = fc.nat(9999);
    fc.assert(
      fc.property(fc.array(page), fc.boolean(), fc.nat(150), fc.nat(160), (pages, set, firstWord, words) => {
        const { engine, table, vm } = machine();
        vm.manualDirtyLog = set ? 3 : 1;
        vm.setRegion({ ...FIRST, size: 10_000 * PAGE, flags: LOG_DIRTY });
        for (const p of pages) vm.fault(FIRST.gpa + p * PAGE, WRITE);
        const model = new Set(set ? Array.from({ length: 10_000 }, (_, i) => i) : pages);
        expect(pagesOf(vm.dirtyBitmap(1))).toEqual([...model].sort((a, b) => a - b));
        vm.clearDirtyLog(1, firstWord * 64, words * 64);
        const outside = (p: number) => p < firstWord * 64 || p >= (firstWord + words) * 64;
        expect(pagesOf(vm.dirtyBitmap(1))).toEqual([...model].filter(outside).sort((a, b) => a - b));
        const writable = pages.filter((p) => isWritable(table, FIRST.gpa + p * PAGE));
        expect(writable.filter((p) => !outside(p))).toEqual([]);
        engine.close();
      }),
      { numRuns: 30 },
    );
  });

  it("of a terabyte takes no memory until it is used", () => {
    const { engine, vm } = machine();
    vm.manualDirtyLog = 3;
    const before = engine.arena().taken;
    vm.setRegion({ slot: 0, flags: LOG_DIRTY, gpa: 0, size: 2 ** 40, hva: 0 });
    expect(engine.arena().taken - before).toBeLessThan(32 * PAGE);
    expect(vm.getDirtyLog(0)).toBe(2 ** 28);
    vm.fault(7 * PAGE, WRITE);
    expect(vm.getDirtyLog(0)).toBe(2 ** 28);
  });

  it("is cleared and protected by a read, unless clearing is manual [DLG-14, DLG-15]", () => {
    const { table, vm } = machine();
    vm.setRegion({ ...FIRST, flags: LOG_DIRTY });
    vm.fault(FIRST.gpa, WRITE);
    expect(isWritable(table, FIRST.gpa)).toBe(true);
    expect(vm.getDirtyLog(1)).toBe(1);
    expect(isWritable(table, FIRST.gpa)).toBe(false);
    expect(vm.getDirtyLog(1)).toBe(0);
    vm.manualDirtyLog = 1;
    vm.fault(FIRST.gpa, { ...WRITE, kind: "permission" });
    expect([vm.getDirtyLog(1), vm.getDirtyLog(1)]).toEqual([1, 1]);
    expect(vm.getDirtyLog(7)).toBeUndefined();
  });
});
