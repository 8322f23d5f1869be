// Faults that are no ordinary memory's: no slot, devices, hugetlb of every size; and which flush a log's read takes.

import { describe, expect, it } from "vitest";
import { Prot } from "../../bindings/index.js";
import { type Backing, createVm } from "../../bindings/vm/index.js";
import { LOG_DIRTY, READ_ONLY } from "../../bindings/vm/machine.js";
import { DENIED, FIRST, MIB2, machine, READ, WRITE } from "./support.js";

const RAM = 2 ** 30;
const MIB = 2 ** 20;
const PAGE = 4096;
const FETCH = { ...READ, exec: true };

describe("a fault where there is no memory", () => {
  it("is the VMM's for data, an abort of the guest's for a fetch or a stage-1 walk, nothing for cache maintenance [FLT-6]", () => {
    const { vm } = machine();
    vm.setRegion({ ...FIRST, flags: READ_ONLY });
    const kinds = (gpa: number) => {
      const each = [READ, WRITE, FETCH, { ...READ, walk: true }, { ...WRITE, cacheMaintenance: true }];
      return each.map((fault) => vm.fault(gpa, fault).kind);
    };
    expect(kinds(0)).toEqual(["mmio", "mmio", "abort", "abort", "skip"]);
    expect(kinds(FIRST.gpa)).toEqual(["map", "mmio", "map", "map", "mmio"]); // reading is memory [FLT-8]
    expect(vm.fault(FIRST.gpa, { ...DENIED, walk: true }).kind).toBe("abort");
  });

  it("beyond the VM's addresses is an abort of the guest's, whatever it is [FLT-5, BUG-32]", () => {
    const { vm } = machine({ ipaBits: 36 });
    for (const fault of [READ, WRITE, FETCH]) expect(vm.fault(2 ** 36, fault).kind).toBe("beyond");
  });

  it("is an abort on the way of a real access too", () => {
    using vm = createVm();
    vm.addSlot({ gpa: RAM, size: PAGE, backing: "4k" });
    vm.run(1, { gpa: RAM + 64 * MIB, size: PAGE, fetches: 1 });
    vm.run(1, { gpa: RAM + 64 * MIB, size: PAGE });
    expect(vm.stats()[0]).toMatchObject({ aborts: 1, exits: 1, stuck: 0 });
  });
});

describe("a permission fault", () => {
  it("of a load is refused, as up to Linux 6.16 [FLT-21]", () => {
    const { vm } = machine();
    vm.setRegion(FIRST);
    expect(vm.fault(FIRST.gpa, { ...READ, kind: "permission" }).kind).toBe("refused");
  });

  it("keeps the size of the hardware's leaf, whatever the host could map now [FLT-20, FLT-37, BUG-4]", () => {
    const { vm, table } = machine();
    vm.host.define({ hva: FIRST.hva, size: MIB2, hugetlb: 0, thp: true, fresh: false });
    vm.setRegion(FIRST);
    vm.fault(FIRST.gpa, WRITE);
    vm.host.share(FIRST.hva, FIRST.hva + PAGE); // small pages from here on
    const fetch = { kind: "permission", level: 2, write: false, exec: true } as const;
    expect(vm.fault(FIRST.gpa + PAGE, fetch)).toMatchObject({ kind: "relax", size: MIB2 });
    expect(table.leaf(FIRST.gpa)).toMatchObject({ kind: "block", prot: Prot.R | Prot.W | Prot.X });
    const askew = { ...FIRST, slot: 2, gpa: 0, hva: 0x1000_1000 };
    vm.host.define({ hva: 0x1000_0000, size: 2 * MIB2, hugetlb: 0, thp: true, fresh: false });
    vm.setRegion(askew);
    vm.fault(0, WRITE);
    expect(vm.fault(0, { ...fetch, level: 3 })).toMatchObject({ kind: "relax", size: PAGE });
  });

  it("of a fetch splits a block while pages are logged: there is a page for the table [BUG-41, MC-10]", () => {
    const { vm, table } = machine();
    vm.host.define({ hva: FIRST.hva, size: MIB2, hugetlb: 0, thp: true, fresh: false });
    vm.setRegion(FIRST);
    vm.fault(FIRST.gpa, WRITE);
    vm.setRegion({ ...FIRST, flags: LOG_DIRTY });
    const fault = { kind: "permission", level: 2, write: false, exec: true } as const;
    expect(vm.fault(FIRST.gpa + PAGE, fault)).toMatchObject({ kind: "map", size: PAGE });
    expect(table.leaf(FIRST.gpa + PAGE)).toMatchObject({ kind: "page", prot: Prot.R | Prot.X });
  });
});

describe("memory of hugetlbfs", () => {
  it.each([
    [4096, "hugetlb-64k", PAGE],
    [4096, "hugetlb-2m", 2 * MIB],
    [4096, "hugetlb-32m", 2 * MIB],
    [4096, "hugetlb-1g", RAM],
    [16384, "hugetlb-2m", 16384],
    [16384, "hugetlb-32m", 32 * MIB],
    [16384, "hugetlb-1g", 32 * MIB],
    [65536, "hugetlb-2m", 65536],
    [65536, "hugetlb-512m", 512 * MIB],
  ] as const)("with %i-byte pages, %s maps %i bytes at once [FLT-25, FLT-28]", (granule, backing: Backing, bytes) => {
    using vm = createVm({ granule });
    vm.addSlot({ gpa: RAM, size: RAM, backing });
    vm.run(1, { gpa: RAM + 3 * granule, size: granule, writes: 1 });
    const { level } = vm.table.leaf(RAM + 3 * granule);
    expect(granule * (granule / 8) ** (3 - level)).toBe(bytes);
  });

  it("that does not lie right in its slot maps a page, and no transparent huge page either [FLT-26]", () => {
    using vm = createVm();
    vm.addSlot({ gpa: RAM + PAGE, hva: 2 ** 45, size: 4 * MIB, backing: "hugetlb-2m" });
    vm.run(1, { gpa: RAM + PAGE, size: PAGE, writes: 1 });
    expect(vm.table.leaf(RAM + PAGE).level).toBe(3);
  });
});

describe("a device's registers in a slot", () => {
  const guest = (backing: Backing) => {
    const vm = createVm();
    const slot = vm.addSlot({ gpa: RAM, size: 4 * MIB, backing });
    const touch = (work: { writes?: number; fetches?: number }) => vm.run(1, { gpa: RAM, size: PAGE, ...work });
    return { vm, slot, touch };
  };

  it.each([
    ["device", Prot.DEVICE],
    ["device-uncached", Prot.NC],
  ] as const)("%s: pages of that type, writable, never executed [FLT-31]", (backing, type) => {
    const { vm, touch } = guest(backing);
    touch({ writes: 1 });
    expect(vm.table.leaf(RAM)).toMatchObject({ level: 3, prot: Prot.R | Prot.W | type });
    touch({ fetches: 1 });
    expect(vm.stats()[0]).toMatchObject({ aborts: 1, stuck: 0 });
    expect(vm.table.leaf(RAM).prot & Prot.X).toBe(0);
    vm.close();
  });

  it("are an abort of the guest's for a fetch [FLT-7]", () => {
    const { vm } = machine();
    vm.host.define({ hva: FIRST.hva, size: MIB2, hugetlb: 0, thp: false, fresh: true, device: "device" });
    vm.setRegion(FIRST);
    expect([vm.fault(FIRST.gpa, FETCH).kind, vm.fault(FIRST.gpa, READ).kind]).toEqual(["abort", "map"]);
  });

  it("map blocks where the VMM's mapping has them [FLT-32]", () => {
    const { vm } = machine();
    vm.host.define({ hva: FIRST.hva, size: MIB2, hugetlb: MIB2, thp: false, fresh: true, device: "device" });
    vm.setRegion(FIRST);
    expect(vm.fault(FIRST.gpa + PAGE, READ)).toMatchObject({ kind: "map", size: MIB2 });
  });

  it("do not log: the request is refused, and changes nothing [DLG-3]", () => {
    const { vm, slot, touch } = guest("device");
    touch({ writes: 1 });
    expect(() => vm.logDirty(slot, true)).toThrow("EINVAL");
    expect(vm.table.leaf(RAM).prot & Prot.W).not.toBe(0);
    expect(() => vm.dirtyLog(slot)).toThrow("no dirty log");
    vm.close();
  });
});

describe("a dirty log", () => {
  it("follows the slot's flag, with rings too; without a vCPU the bitmap is marked [DLG-4, DLG-20]", () => {
    const { vm } = machine();
    vm.setStrategy("ring");
    vm.setRegion({ ...FIRST, flags: LOG_DIRTY });
    vm.fault(FIRST.gpa, WRITE);
    expect([vm.getDirtyLog(1), vm.getDirtyLog(1)]).toEqual([1, 0]);
  });

  it("loses what is cleared without being read: that is the contract [DLG-17]", () => {
    const { vm } = machine();
    vm.manualDirtyLog = 1;
    vm.setRegion({ ...FIRST, flags: LOG_DIRTY });
    vm.fault(FIRST.gpa, WRITE);
    vm.clearDirtyLog(1, 0, 64);
    expect(vm.getDirtyLog(1)).toBe(0);
  });

  const flushes = (options: { tlbiRange?: boolean; flushLimit?: number }, strategy: "protect" | "ring" = "protect") => {
    using vm = createVm(options);
    const ram = vm.addSlot({ gpa: RAM, size: 8 * MIB, backing: "4k" });
    vm.setDirtyPolicy({ strategy });
    vm.logDirty(ram, true);
    vm.run(100, { gpa: RAM, size: 8 * MIB, writes: 1 });
    const before = vm.engine.counters();
    vm.dirtyLog(ram);
    const after = vm.engine.counters();
    return { range: after.tlbiRange - before.tlbiRange, vmid: after.tlbiVmid - before.tlbiVmid };
  };

  it("is read with one flush: of the slot's range, or of the VMID without such an operation, or for a large slot [TLB-36]", () => {
    expect(flushes({})).toEqual({ range: 1, vmid: 0 });
    expect(flushes({ tlbiRange: false })).toEqual({ range: 0, vmid: 1 });
    expect(flushes({ flushLimit: 2048 })).toEqual({ range: 1, vmid: 0 });
    expect(flushes({ flushLimit: 2047 })).toEqual({ range: 0, vmid: 1 });
    expect(() => createVm({ flushLimit: -1 })).toThrow("flushLimit");
  });

  it("of rings flushes the whole VM once [TLB-35]", () => {
    expect(flushes({}, "ring").vmid).toBe(1);
  });
});
