// Single statements about faults and logs: who is resumed, in which order pages are protected and split, under which lock, what a ring
// says of a page that is stored to twice, which pages hardware may make dirty, and what becomes of a split without memory.

import { describe, expect, it } from "vitest";
import { JournalKind, type JournalRecord, Prot } from "../../bindings/index.js";
import { createVm, type Vm } from "../../bindings/vm/index.js";

const RAM = 2 ** 30;
const MIB = 2 ** 20;
const PAGE = 4096;
const DBM = 1n << 51n;

const isWrite = ({ kind }: JournalRecord): boolean => kind === JournalKind.WRITE || kind === JournalKind.WRITE_SHARED;

/** What the VM records while `body` runs. */
function recorded(vm: Vm, body: () => void): JournalRecord[] {
  vm.engine.journal.start();
  body();
  return vm.engine.journal.read();
}

/** The guest stores to the first bytes of `size` at RAM, page after page, or loads. */
function touch(vm: Vm, size: number, writes: 0 | 1): void {
  vm.run(size / PAGE, { gpa: RAM, size, pattern: "sequential", writes });
}

describe("a fault", () => {
  it("that was mapped resumes the guest, and an emulated access leaves it for the VMM, once [FLT-1]", () => {
    using vm = createVm();
    vm.addSlot({ gpa: RAM, size: MIB, backing: "4k" });
    vm.run(1, { gpa: RAM, size: PAGE, writes: 1 });
    expect(vm.stats()[0]).toMatchObject({ translationFaults: 1, stores: 1, exits: 0 });
    vm.run(1, { gpa: RAM + MIB, size: PAGE, writes: 1 });
    expect(vm.stats()[0]).toMatchObject({ translationFaults: 2, stores: 1, exits: 1, retries: 0 });
  });
});

describe("eager splitting", () => {
  it("takes no size, or that of a page or a block [DLG-30]", () => {
    using vm = createVm();
    for (const eagerSplit of [0, PAGE, 2 * MIB, 1024 * MIB]) vm.setDirtyPolicy({ eagerSplit });
    for (const eagerSplit of [1, 64 * PAGE, MIB, -PAGE])
      expect(() => vm.setDirtyPolicy({ eagerSplit })).toThrow("eagerSplit");
  });

  it("of pages that are all dirty at first follows the protection of what a clear names [DLG-35]", () => {
    using vm = createVm({ journalRecords: 1 << 14 });
    const slot = vm.addSlot({ gpa: RAM, size: 4 * MIB });
    touch(vm, 4 * MIB, 1);
    vm.setDirtyPolicy({ manual: true, initiallySet: true, eagerSplit: 2 * MIB });
    vm.logDirty(slot, true);
    const records = recorded(vm, () => vm.clearDirtyLog(slot, 0, 512));
    const block = records.filter((r) => isWrite(r) && r.level === 2);
    // The block loses W, then it is broken, then its table is made.
    expect(block.map(({ a, b }) => [a & 3n, b & 3n, (b >> 7n) & 1n])).toEqual([
      [1n, 1n, 0n],
      [1n, 0n, expect.anything()],
      [0n, 3n, expect.anything()],
    ]);
    expect(vm.table.leaf(RAM)).toMatchObject({ level: 3 });
    expect(vm.table.leaf(RAM).prot & Prot.W).toBe(0);
    expect(vm.table.leaf(RAM + 2 * MIB)).toMatchObject({ level: 2 });
    expect(vm.table.leaf(RAM + 2 * MIB).prot & Prot.W).not.toBe(0);
  });

  it("without memory for tables leaves blocks as they are, and the log is right all the same [DLG-33]", () => {
    const size = 64 * MIB;
    using vm = createVm({ witness: true, arenaBytes: 16 * MIB });
    const slot = vm.addSlot({ gpa: RAM, size });
    touch(vm, size, 1);
    for (const on of [true, false]) vm.logDirty(slot, on); // the witness takes its memory now
    vm.changeHost("collapse", RAM, size);
    touch(vm, size, 1);
    vm.setDirtyPolicy({ eagerSplit: 2 * MIB });
    const taken: number[] = [];
    const takeAll = () => {
      try {
        for (;;) taken.push(vm.engine.takeBlock(PAGE));
      } catch {
        // nothing is left
      }
    };
    takeAll();
    for (let i = 0; i < 8; i++) vm.engine.giveBlock(taken.pop() as number);
    vm.logDirty(slot, true);
    const levels = Array.from({ length: 32 }, (_, i) => vm.table.leaf(RAM + i * 2 * MIB).level);
    expect([levels.includes(2), levels.includes(3)]).toEqual([true, true]);
    for (const block of taken) vm.engine.giveBlock(block);
    vm.run(500, { gpa: RAM, size, writes: 0.5 });
    const { pages } = vm.dirtyLog(slot);
    expect([vm.unlogged(), pages > 100]).toEqual([0, true]);
  });
});

describe("write protection", () => {
  it("of a log is under the table's lock for writing, where others may walk [DLG-19]", () => {
    using vm = createVm({ walkers: 2, journalRecords: 1 << 14 });
    const slot = vm.addSlot({ gpa: RAM, size: 2 * MIB, backing: "4k" });
    touch(vm, 2 * MIB, 1);
    vm.logDirty(slot, true);
    touch(vm, 2 * MIB, 1);
    const records = recorded(vm, () => vm.dirtyLog(slot));
    let locked = 0n;
    let writes = 0;
    for (const { kind, a } of records) {
      if (kind === JournalKind.LOCK) locked = a + 1n;
      else if (kind === JournalKind.UNLOCK) locked = 0n;
      else if (kind === JournalKind.WRITE || kind === JournalKind.WRITE_SHARED) {
        expect(locked).toBe(2n); // 1 for reading
        writes++;
      }
    }
    expect(writes).toBe(512);
  });
});

describe("a dirty ring", () => {
  it("has a page once, however often it is stored to before it is collected [RNG-12]", () => {
    using vm = createVm({ witness: true });
    const slot = vm.addSlot({ gpa: RAM, size: MIB, backing: "4k" });
    touch(vm, MIB, 1);
    vm.setDirtyPolicy({ strategy: "ring", ringEntries: 1024 });
    vm.logDirty(slot, true);
    for (let i = 0; i < 3; i++) touch(vm, 4 * PAGE, 1);
    expect([vm.dirtyLog(slot).pages, vm.unlogged(), vm.stats()[0]?.permissionFaults]).toEqual([4, 0, 4]);
    touch(vm, 2 * PAGE, 1);
    expect([vm.dirtyLog(slot).pages, vm.unlogged()]).toEqual([2, 0]);
  });
});

describe("hardware's dirty state", () => {
  it("is for pages that were writable already: DBM makes none writable [DBM-2]", () => {
    using vm = createVm({ hardwareDirty: true });
    const slot = vm.addSlot({ gpa: RAM, size: 2 * MIB, backing: "4k" });
    touch(vm, 2 * PAGE, 1);
    vm.run(1, { gpa: RAM + 2 * PAGE, size: PAGE, writes: 0 }); // a load: the zero page, read-only
    vm.setDirtyPolicy({ strategy: "dbm" });
    vm.logDirty(slot, true);
    const leaves = [0, 1, 2].map((page) => vm.table.leaf(RAM + page * PAGE));
    expect(leaves.map(({ descriptor }) => (descriptor & DBM) !== 0n)).toEqual([true, true, false]);
    expect(leaves.map(({ prot }) => prot & Prot.W)).toEqual([0, 0, 0]);
    touch(vm, 3 * PAGE, 1);
    expect([vm.stats()[0]?.permissionFaults, vm.dirtyLog(slot).pages]).toEqual([1, 3]);
  });
});
