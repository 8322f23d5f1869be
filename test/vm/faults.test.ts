// What a fault leads to, on the way of a real access: TLB, walk, fault, mapping.

import { describe, expect, it } from "vitest";
import { Prot } from "../../bindings/index.js";
import { createVm, type SlotOptions, type Vm } from "../../bindings/vm/index.js";

const RAM = 2 ** 30;
const MIB = 2 ** 20;

interface Guest {
  vm: Vm;
  ram: number;
  /** One access to a page. */
  touch(kind: "r" | "w" | "x", offset?: number): void;
  /** Bytes, rights and address of the leaf there; undefined for none. */
  leaf(offset?: number): { size: number; write: boolean; execute: boolean } | undefined;
}

function guest(slot: Partial<SlotOptions> = {}, options = {}): Guest {
  const vm = createVm({ witness: true, ...options });
  const ram = vm.addSlot({ gpa: RAM, size: 8 * MIB, ...slot });
  const page = vm.table.granule;
  return {
    vm,
    ram,
    touch: (kind, offset = 0) =>
      vm.run(1, { gpa: RAM + offset, size: page, writes: kind === "w" ? 1 : 0, fetches: kind === "x" ? 1 : 0 }),
    leaf: (offset = 0) => {
      const found = vm.table.leaf(RAM + offset);
      if (found.kind !== "page" && found.kind !== "block") return undefined;
      const { prot, level } = found;
      return { size: page * 2 ** (9 * (3 - level)), write: (prot & Prot.W) !== 0, execute: (prot & Prot.X) !== 0 };
    },
  };
}

describe("a fault", () => {
  it("maps a block where the VMM has a huge page, and a page elsewhere [FLT-25, FLT-27, FLT-33]", () => {
    const huge = guest();
    huge.touch("w", 5000 * 1024);
    expect(huge.leaf(5000 * 1024)?.size).toBe(2 * MIB);
    const small = guest({ backing: "4k" });
    small.touch("w");
    expect(small.leaf()?.size).toBe(4096);
    // Guest and VMM address differ within a block: no block can map both.
    const askew = guest({ hva: 2 ** 45 + 4096 });
    askew.touch("w", 2 * MIB);
    expect(askew.leaf(2 * MIB)?.size).toBe(4096);
  });

  it("maps 1 GiB of hugetlb at once, and 2 MiB of the smaller kind [FLT-25]", () => {
    const giant = guest({ size: RAM, backing: "hugetlb-1g" });
    giant.touch("w", 77 * MIB);
    expect(giant.vm.table.leaf(RAM).level).toBe(1);
    const large = guest({ backing: "hugetlb-2m" });
    large.touch("r", 3 * MIB);
    expect(large.leaf(3 * MIB)).toEqual({ size: 2 * MIB, write: false, execute: false });
  });

  it("of a read maps writable what the VMM may write without asking, and the zero page read-only [FLT-34, FLT-39]", () => {
    const filled = guest({ backing: "4k", filled: true });
    filled.touch("r");
    expect(filled.leaf()?.write).toBe(true);
    const fresh = guest({ backing: "4k" });
    fresh.touch("r");
    expect(fresh.leaf()?.write).toBe(false);
    fresh.touch("w");
    expect(fresh.leaf()?.write).toBe(true);
  });

  it("of a fetch adds execution to what is mapped [FLT-35]", () => {
    const { touch, leaf, vm } = guest({ backing: "4k" });
    touch("w");
    touch("x");
    expect(leaf()).toEqual({ size: 4096, write: true, execute: true });
    expect(vm.stats()[0]).toMatchObject({ translationFaults: 1, permissionFaults: 1 });
  });

  it("of a read maps read-only while pages are logged [FLT-30]", () => {
    const { vm, ram, touch, leaf } = guest({ backing: "4k", filled: true });
    vm.logDirty(ram, true);
    touch("r");
    expect(leaf()?.write).toBe(false);
    expect(vm.dirtyLog(ram).pages).toBe(0);
    touch("w");
    expect([leaf()?.write, vm.dirtyLog(ram).pages]).toEqual([true, 1]);
  });

  it("of a store breaks a block into a page while pages are logged, and a block returns later [FLT-41, FLT-42]", () => {
    const { vm, ram, touch, leaf } = guest({ filled: true });
    touch("w");
    expect(leaf()?.size).toBe(2 * MIB);
    vm.logDirty(ram, true);
    touch("w", 4096);
    expect([leaf(4096)?.size, leaf()]).toEqual([4096, undefined]);
    vm.logDirty(ram, false);
    touch("w", 8192);
    expect(leaf(4096)?.size).toBe(2 * MIB);
  });

  it("outside the slots, and a store to a read-only slot, are the VMM's [FLT-6, FLT-8]", () => {
    const { vm, touch, leaf } = guest({ readOnly: true, backing: "4k" });
    touch("r");
    touch("w");
    touch("r", 64 * MIB);
    expect(vm.stats()[0]).toMatchObject({ exits: 2, aborts: 0, stuck: 0 });
    expect(leaf()?.write).toBe(false);
  });
});

describe("logging", () => {
  it("protects what is mapped when it begins, and changes no permission when it ends [DLG-10, DLG-12]", () => {
    const { vm, ram, touch, leaf } = guest({ backing: "4k" });
    touch("w");
    vm.logDirty(ram, true);
    expect(leaf()?.write).toBe(false);
    vm.logDirty(ram, false);
    expect(leaf()?.write).toBe(false);
    touch("w");
    expect(leaf()?.write).toBe(true);
  });

  it("with all pages dirty at first protects nothing until it is cleared [DLG-5, DLG-11]", () => {
    const { vm, ram, touch, leaf } = guest({ backing: "4k" });
    touch("w");
    vm.setDirtyPolicy({ manual: true, initiallySet: true });
    vm.logDirty(ram, true);
    expect([leaf()?.write, vm.dirtyLog(ram).pages]).toEqual([true, 2048]);
    vm.clearDirtyLog(ram);
    expect([leaf()?.write, vm.dirtyLog(ram).pages]).toEqual([false, 0]);
  });

  it("splits blocks at once where it should [DLG-34]", () => {
    const { vm, ram, touch, leaf } = guest({ filled: true });
    touch("w");
    vm.setDirtyPolicy({ eagerSplit: 2 * MIB });
    vm.logDirty(ram, true);
    expect(leaf(4096)).toEqual({ size: 4096, write: false, execute: false });
  });

  it("by the hardware needs no fault for a store to a clean page [DBM-1, DBM-9]", () => {
    const { vm, ram, touch, leaf } = guest({ backing: "4k" }, { hardwareDirty: true });
    touch("w");
    vm.setDirtyPolicy({ strategy: "dbm" });
    vm.logDirty(ram, true);
    expect(leaf()?.write).toBe(false);
    touch("w");
    expect(leaf()?.write).toBe(true);
    expect([vm.dirtyLog(ram).pages, vm.dirtyLog(ram).pages]).toEqual([1, 0]);
    expect(vm.stats()[0]).toMatchObject({ translationFaults: 1, permissionFaults: 0 });
  });

  it("by a ring stops the vCPU when its ring is nearly full, and goes on when it was collected [RNG-7, RNG-8]", () => {
    const { vm, ram } = guest({ backing: "4k" });
    vm.setDirtyPolicy({ strategy: "ring", ringEntries: 128 });
    vm.logDirty(ram, true);
    vm.run(1000, { gpa: RAM, size: 8 * MIB, pattern: "sequential", writes: 1 });
    expect(vm.stats()[0]).toMatchObject({ accesses: 1000, ringFull: 15 }); // 64 pages a time
    expect([vm.dirtyLog(ram).pages, vm.unlogged()]).toEqual([1000, 0]);
  });

  it("by the hardware leaves blocks and annotations alone [DBM-6, DBM-7]", () => {
    const { vm, ram, touch, leaf } = guest({ filled: true }, { hardwareDirty: true });
    touch("w");
    vm.setDirtyPolicy({ strategy: "dbm" });
    // An entry that is no mapping, with the bits that say writable and DBM in one.
    vm.table.setOwner(RAM + 4 * MIB, 4096, 1);
    expect(vm.engine.core.poke(vm.table.handle, BigInt(RAM + 4 * MIB), (1n << 51n) | (1n << 7n))).toBe(0);
    vm.logDirty(ram, true);
    touch("w");
    expect(leaf()?.size).toBe(4096); // a block faults and is split
    expect(vm.dirtyLog(ram).pages).toBe(1);
  });
});

describe("a slot that goes", () => {
  it("leaves nothing mapped [NOT-34]", () => {
    const { vm, ram, touch } = guest();
    touch("w");
    touch("w", 4 * MIB);
    vm.removeSlot(ram);
    expect(vm.table.countLeaves()).toBe(0);
    touch("w");
    expect(vm.stats()[0]?.exits).toBe(1);
  });
});

describe("the host's changes", () => {
  it("unmap the guest's part, whole pages of it [NOT-2, NOT-6]", () => {
    const { vm, touch, leaf } = guest({ backing: "4k" });
    for (const offset of [0, 4096, 8192]) touch("w", offset);
    vm.changeHost("discard", RAM + 4096, 4096);
    expect([leaf() !== undefined, leaf(4096), leaf(8192) !== undefined]).toEqual([true, undefined, true]);
    touch("r", 4096);
    expect(leaf(4096)?.write).toBe(false); // the page is fresh again
  });

  it("see which pages were accessed, and clear it [NOT-8, FLT-10]", () => {
    const { vm, touch } = guest({ backing: "4k" });
    touch("w");
    expect([vm.age(RAM, 4096), vm.age(RAM, 4096)]).toEqual([true, false]);
    for (const tlb of vm.tlbs) tlb.invalidate("VMALLS12E1IS"); // no flush comes with ageing
    touch("r");
    expect(vm.age(RAM, 4096)).toBe(true);
    expect(vm.stats()[0]?.accessFaults).toBe(1);
  });
});

describe("a VM", () => {
  it.each([
    ["no options", () => createVm(null as never), "options"],
    ["no CPU", () => createVm({ cpus: 0 }), "cpus"],
    ["an unknown option", () => createVm({ vcpus: 2 } as never), "vcpus"],
    ["dbm without hardware for it", () => createVm().setDirtyPolicy({ strategy: "dbm" }), "hardwareDirty"],
    ["initiallySet alone [DLG-6]", () => createVm().setDirtyPolicy({ initiallySet: true }), "manual"],
    ["a chunk that is no block", () => createVm().setDirtyPolicy({ eagerSplit: 5000 }), "eagerSplit"],
    [
      "a ring of no power of two [RNG-3]",
      () => createVm().setDirtyPolicy({ strategy: "ring", ringEntries: 100 }),
      "EINVAL",
    ],
    ["a slot twice", () => guest().vm.addSlot({ slot: 0, gpa: 0, size: 4096 }), "slot 0"],
    ["a slot of no page", () => createVm().addSlot({ gpa: 1, size: 4096 }), "EINVAL"],
    ["a slot over another", () => guest().vm.addSlot({ gpa: RAM, size: 4096 }), "EEXIST"],
    ["the log of a slot without one", () => guest().vm.dirtyLog(0), "no dirty log"],
    ["a region of half a page", () => guest().vm.run(1, { gpa: RAM, size: 100 }), "whole pages"],
    ["more stores than accesses", () => guest().vm.run(1, { gpa: RAM, size: 4096, writes: 2 }), "writes"],
    ["a walker that it was not made for", () => createVm().ticket(1), "walkers"],
  ])("refuses %s, and says why", (_, act, word) => {
    expect(act).toThrow(word);
  });

  it("does nothing once it is closed", () => {
    const { vm } = guest();
    vm.close();
    vm.close();
    expect(() => vm.run(1, { gpa: RAM, size: 4096 })).toThrow("closed");
  });
});
