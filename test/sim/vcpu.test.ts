// What a vCPU does of itself: the quick way of an access, which a hint answers, is the long way of the same access; counts add up; the
// guest's random numbers are what they were.

import { describe, expect, it } from "vitest";
import { CpuView } from "../../bindings/core/sim-views.generated.js";
import { instantiateVm } from "../../bindings/core/vm-core.js";
import { Access } from "../../bindings/mmu/index.js";
import { createVm, type DirtyPolicy, type Vm, type VmOptions } from "../../bindings/vm/index.js";

const RAM = 2 ** 30;
const PAGE = 4096;
const KINDS = { loads: Access.READ, stores: Access.WRITE, fetches: Access.FETCH } as const;
const PRESETS = ["tiny", "cortex-a53", "cortex-a76"] as const;

const POLICIES: [string, DirtyPolicy | undefined][] = [
  ["no log", undefined],
  ["write protection", {}],
  ["dbm", { strategy: "dbm" }],
  ["hdbss", { strategy: "hdbss", hdbssEntries: 512 }],
  ["a ring", { strategy: "ring", ringEntries: 128 }],
];

function guest(options: VmOptions, policy: DirtyPolicy | undefined): { vm: Vm; ram: number } {
  const vm = createVm({ hardwareDirty: true, witness: true, ...options });
  const ram = vm.addSlot({ gpa: RAM, size: 256 * PAGE, backing: "4k" });
  if (policy) {
    vm.setDirtyPolicy(policy);
    vm.logDirty(ram, true);
  }
  return { vm, ram };
}

/** All that can be seen of a VM. */
function seen({ vm, ram }: { vm: Vm; ram: number }, logs: boolean) {
  const log = logs ? vm.dirtyLog(ram) : undefined;
  return {
    stats: vm.stats(),
    tlbs: vm.tlbs.map((tlb) => [tlb.stats(), tlb.entries()]),
    leaves: [...vm.table.entries()],
    log: log && [log.pages, [...log.bitmap]],
    unlogged: vm.unlogged(),
    written: vm.written(),
  };
}

describe.each(POLICIES)("with %s", (_, policy) => {
  it.each(Object.entries(KINDS))("%s of a workload are the same accesses as recorded ones", (name, kind) => {
    for (const tlb of PRESETS) {
      // Pages that are fewer than the TLB has entries, about as many, and more.
      for (const pages of [3, 48, 200]) {
        const [a, b] = [guest({ tlb }, policy), guest({ tlb }, policy)];
        const n = 3 * pages + 7;
        const [accesses] = [b, a].map(({ vm }) => vm.createAccesses(n)); // in both: it takes memory of the arena
        const share = { writes: name === "stores" ? 1 : 0, fetches: name === "fetches" ? 1 : 0 };
        for (let round = 0; round < 2; round++) {
          a.vm.run(n, { gpa: RAM, size: pages * PAGE, pattern: "sequential", ...share });
          for (let i = 0; i < n; i++) accesses?.push(RAM + (i % pages) * PAGE, kind);
          if (accesses) b.vm.perform(accesses);
          expect(seen(b, policy !== undefined), `${tlb}, ${pages} pages, round ${round}`).toEqual(
            seen(a, policy !== undefined),
          );
        }
        a.vm.close();
        b.vm.close();
      }
    }
  });
});

describe("recorded accesses", () => {
  it("are none, or many: none are done at once", () => {
    const { vm } = guest({}, undefined);
    const accesses = vm.createAccesses(4);
    vm.perform(accesses);
    expect([vm.stats()[0]?.accesses, vm.written()]).toEqual([0, 0]);
    accesses.push(RAM, Access.WRITE);
    vm.perform(accesses);
    expect([vm.stats()[0]?.accesses, vm.written()]).toEqual([1, 1]);
    vm.close();
  });

  it("are counted by page only where somebody wants to know", () => {
    const { vm } = guest({ witness: false }, undefined);
    const accesses = vm.createAccesses(2);
    vm.run(1, { gpa: RAM, size: PAGE, writes: 1 });
    const { taken } = vm.engine.arena();
    accesses.push(RAM, Access.WRITE);
    vm.perform(accesses);
    vm.run(1, { gpa: RAM, size: PAGE, writes: 1 });
    expect([vm.written(), vm.unlogged(), vm.engine.arena().taken]).toEqual([0, 0, taken]);
    vm.close();
  });
});

describe("what a vCPU counts", () => {
  it.each(PRESETS)("is each access once, and each look into the TLB: %s", (tlb) => {
    const { vm } = guest({ tlb }, undefined);
    vm.run(5000, { gpa: RAM, size: 256 * PAGE, writes: 0.25, fetches: 0.25 });
    const [cpu] = vm.stats();
    const { rdHits, rdMisses, wrHits, wrMisses, instHits, instMisses } = (vm.tlbs[0] as Vm["tlbs"][number]).stats();
    expect(cpu?.accesses).toBe(5000);
    const faults = (cpu?.translationFaults ?? 0) + (cpu?.permissionFaults ?? 0);
    expect(rdHits + rdMisses + wrHits + wrMisses + instHits + instMisses).toBe(5000 + faults);
    // A quarter each, as far as 5,000 draws may be off.
    expect(Math.abs((cpu?.stores ?? 0) - 1250)).toBeLessThan(150);
    expect(Math.abs(instHits + instMisses - 1250)).toBeLessThan(250);
    vm.close();
  });

  it("is drawn anew in each call, also where every access hits", () => {
    const { vm } = guest({}, undefined);
    const work = { gpa: RAM, size: 16 * PAGE, writes: 0.5 } as const;
    vm.run(2048, work); // all that it needs is in the TLB now
    const { inserts } = (vm.tlbs[0] as Vm["tlbs"][number]).stats();
    const drawn = Array.from({ length: 10 }, () => {
      const before = vm.stats()[0]?.stores ?? 0;
      vm.run(64, work);
      return (vm.stats()[0]?.stores ?? 0) - before;
    });
    expect(vm.tlbs[0]?.stats().inserts).toBe(inserts);
    expect(new Set(drawn).size, drawn.join()).toBeGreaterThan(2);
    vm.close();
  });

  it("is of each vCPU for itself, and goes on from call to call", () => {
    const one = createVm({ cpus: 3, seed: 5 });
    const many = createVm({ cpus: 3, seed: 5 });
    for (const vm of [one, many]) vm.addSlot({ gpa: RAM, size: 256 * PAGE, backing: "4k", filled: true });
    const work = { gpa: RAM, size: 256 * PAGE, writes: 0.5 } as const;
    one.run(1024 * 3, work);
    for (let i = 0; i < 3; i++) many.run(1024, work);
    expect(many.stats()).toEqual(one.stats());
    expect(many.tlbs.map((tlb) => tlb.stats())).toEqual(one.tlbs.map((tlb) => tlb.stats()));
    expect(new Set(one.stats().map(({ stores }) => stores)).size).toBe(3); // and no two draw the same
    one.close();
    many.close();
  });
});

describe("who waits for a vCPU that is in the guest", () => {
  /** Two vCPUs, of which the second stands in the guest, amid its accesses, until it `leaves`; the clock is 5 s later each time it is read. */
  function standing(policy: DirtyPolicy | undefined) {
    const made = guest({ cpus: 2, walkers: 2 }, policy);
    const { vm } = made;
    vm.run(64, { gpa: RAM, size: 16 * PAGE, writes: 1 });
    const { memory, offset, hosts, words } = vm.engine;
    const core = instantiateVm(vm.ticket(1).module, memory, offset, hosts); // to ask where the vCPU is
    expect(core.vmAttach(0)).toBe(0);
    const cpu = new CpuView(words, core.machineCpu(vm.machinePointer, 1) >>> 0);
    const before = cpu.step;
    expect(before % 2).toBe(0);
    cpu.step++;
    let reads = 0;
    hosts.clock = () => ++reads * 5000;
    return { ...made, cpu, reads: () => reads, leave: () => cpu.step++ };
  }

  it("is a DSB: the accesses that the vCPU had begun may have used what is gone [HWM-41]", () => {
    const { vm, reads, leave } = standing(undefined);
    vm.changeHost("discard", RAM, PAGE);
    const waited = reads();
    expect(waited).toBeGreaterThan(0);
    expect(vm.table.leaf(RAM).kind).toBe("hole");
    leave();
    vm.changeHost("discard", RAM + PAGE, PAGE);
    expect(reads()).toBe(waited); // it is out of the guest, and nobody waits
    vm.close();
  });

  it("is a reader of the hardware's logs: they are emptied on the way out, or there is no answer [DBM-13]", () => {
    const { vm, ram, cpu, leave } = standing({ strategy: "hdbss", hdbssEntries: 64 });
    expect(() => vm.dirtyLog(ram)).toThrow(expect.objectContaining({ code: "ETIMEDOUT" }));
    expect(cpu.kicked).toBe(1);
    leave();
    expect([vm.dirtyLog(ram).pages, vm.unlogged()]).toEqual([16, 0]);
    vm.close();
  });
});
