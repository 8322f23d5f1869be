// Heads, single entries and chains, seen through a VM: a shadow maps one page at many addresses. A flat model says what a chain must
// hold, in which order.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { instantiateVm } from "../../bindings/core/vm-core.js";
import { AgentView } from "../../bindings/core/vm-views.generated.js";
import { createVm, type ReverseMaps, type Shadow, type Vm } from "../../bindings/vm/index.js";
import { expectAccount, leavesOf, MIB, physBase, RAM } from "./rmap-support.js";

const PAGE = 4096;
const ENTRIES = 14;

interface Scene {
  vm: Vm;
  maps: ReverseMaps;
  shadow: Shadow;
}

function scene(options = {}): Scene {
  const vm = createVm({ reverseMaps: true, arenaBytes: 32 * MIB, ...options });
  vm.addSlot({ gpa: RAM, size: 4 * MIB, backing: "4k" });
  const maps = vm.reverseMaps as ReverseMaps;
  return { vm, maps, shadow: maps.addShadow() };
}

/** Addresses of the shadow that map a page, in the order of its chain, as numbers of pages. */
function chainOf({ vm, maps, shadow }: Scene, gpa = RAM): number[] {
  const slots = new Map(leavesOf(shadow.table, physBase(vm)).map(({ slot }, i) => [slot, i]));
  const leaves = [...shadow.table.leaves()].map(({ address }) => Number(address) / PAGE);
  const map = maps.mappings(gpa).find(({ level }) => level === 3);
  return (map?.entries ?? []).map(
    ({ page, index }) => leaves[slots.get(`${page.toString(16)}[${index}]`) as number] ?? -1,
  );
}

/** The chain as [RMAP-2..5] say: nothing, one entry, or groups of 14 of which the first may have room. */
class Model {
  #single: number | undefined;
  #groups: number[][] = [];

  add(entry: number): void {
    const first = this.#groups[0];
    if (!first && this.#single === undefined) this.#single = entry;
    else if (!first) {
      this.#groups = [[this.#single as number, entry]];
      this.#single = undefined;
    } else if (first.length === ENTRIES) this.#groups.unshift([entry]);
    else first.push(entry);
  }

  remove(entry: number): void {
    if (this.#single === entry) this.#single = undefined;
    for (const group of this.#groups) {
      const at = group.indexOf(entry);
      if (at < 0) continue;
      const first = this.#groups[0] as number[];
      const last = first.pop() as number;
      if (first !== group || at < first.length) group[at] = last;
      if (first.length === 0) this.#groups.shift();
      return;
    }
  }

  get entries(): number[] {
    return this.#single === undefined ? this.#groups.flat() : [this.#single];
  }

  get form(): string | undefined {
    if (this.#single !== undefined) return "single";
    return this.#groups.length > 0 ? "chain" : undefined;
  }
}

describe("the reverse map of a page", () => {
  it("is nothing, then the address of one descriptor, then a chain, and never a single one again [RMAP-2, RMAP-5]", () => {
    const { maps, shadow } = scene();
    const forms = () => maps.mappings(RAM).map(({ form, entries }) => `${form} ${entries.length}`);
    expect(forms()).toEqual([]);
    shadow.map({ ipa: 0, gpa: RAM, size: PAGE });
    expect(forms()).toEqual(["single 1"]);
    shadow.map({ ipa: PAGE, gpa: RAM, size: PAGE });
    expect(forms()).toEqual(["chain 2"]);
    shadow.unmap(0, PAGE);
    expect(forms()).toEqual(["chain 1"]);
    shadow.unmap(PAGE, PAGE);
    expect(forms()).toEqual([]);
  });

  it("holds what was added and not removed, in the order of the kernel's chains [RMAP-3, RMAP-4, RMAP-5]", () => {
    const step = fc.record({ add: fc.boolean(), page: fc.nat(63) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 40, maxLength: 300 }), (steps) => {
        const all = scene();
        const model = new Model();
        const mapped = new Set<number>();
        for (const { add, page } of steps) {
          if (add === mapped.has(page)) continue;
          if (add) all.shadow.map({ ipa: page * PAGE, gpa: RAM, size: PAGE });
          else all.shadow.unmap(page * PAGE, PAGE);
          if (add) model.add(page);
          else model.remove(page);
          if (add) mapped.add(page);
          else mapped.delete(page);
        }
        expect(chainOf(all)).toEqual(model.entries);
        expect(all.maps.mappings(RAM)[0]?.form).toBe(model.form);
        expectAccount(all.vm, [all.shadow.table]);
        all.vm.close();
      }),
      { numRuns: 40 },
    );
  });

  it("is one for each page and each size of page: the number is counted from the slot's first [RMAP-1, RMAP-10]", () => {
    const { vm, maps, shadow } = scene();
    shadow.map({ ipa: 0, gpa: RAM, size: 2 * MIB }); // a block
    shadow.map({ ipa: 4 * MIB, gpa: RAM + 2 * MIB + PAGE, size: 3 * PAGE });
    const levels = (gpa: number) => maps.mappings(gpa).map(({ level }) => level);
    expect([levels(RAM), levels(RAM + PAGE), levels(RAM + 2 * MIB)]).toEqual([[2], [2], []]);
    for (const page of [1, 2, 3]) expect(levels(RAM + 2 * MIB + page * PAGE)).toEqual([3]);
    expect(expectAccount(vm, [shadow.table])).toBe(4);
    expect(() => maps.mappings(RAM - PAGE)).toThrow("EINVAL");
  });

  it("of more than 1000 entries is emptied, and its leaves are flushed [RMAP-8]", () => {
    const all = scene();
    for (let i = 0; i < 1001; i++) all.shadow.map({ ipa: i * PAGE, gpa: RAM, size: PAGE });
    const before = all.vm.engine.counters().tlbiVmid;
    expect([chainOf(all).length, all.maps.stats().recycled]).toEqual([1, 1]);
    expect(all.shadow.table.countLeaves()).toBe(1);
    expect(before).toBeGreaterThan(0);
    expectAccount(all.vm, [all.shadow.table]);
  });

  it("gives its descriptors back, and takes them again [RMAP-3]", () => {
    const { vm, shadow } = scene();
    const fill = () => {
      for (let i = 0; i < 200; i++) shadow.map({ ipa: i * PAGE, gpa: RAM, size: PAGE });
      shadow.unmap(0, 200 * PAGE);
    };
    fill();
    const { taken } = vm.engine.arena();
    for (let i = 0; i < 20; i++) fill();
    expect(vm.engine.arena().taken).toBe(taken);
  });

  it("of a slot that goes leaves nothing taken, however often", () => {
    const vm = createVm({ reverseMaps: true, arenaBytes: 32 * MIB });
    const live = () => {
      const ram = vm.addSlot({ gpa: RAM, size: 4 * MIB, backing: "4k" });
      const shadow = vm.reverseMaps?.addShadow();
      for (let i = 0; i < 100; i++) shadow?.map({ ipa: i * PAGE, gpa: RAM + (i % 7) * PAGE, size: PAGE });
      vm.run(500, { gpa: RAM, size: 4 * MIB, writes: 0.5 });
      vm.removeSlot(ram);
      shadow?.close();
      expect(vm.reverseMaps?.stats().entries).toBe(0);
      return vm.engine.arena().taken;
    };
    const first = live();
    for (let i = 0; i < 10; i++) expect(live()).toBeLessThanOrEqual(first);
  });
});

describe("a notifier with reverse maps", () => {
  it("finds every mapping of the page, wherever it is, and starts again after a removal [RMAP-6]", () => {
    const all = scene();
    const { vm, maps, shadow } = all;
    maps.addAlias({ gpa: 2 * RAM, of: RAM, size: 4 * MIB });
    for (let i = 0; i < 40; i++) shadow.map({ ipa: i * PAGE, gpa: RAM, size: PAGE });
    for (const gpa of [RAM, 2 * RAM, RAM + PAGE]) vm.run(1, { gpa, size: PAGE, writes: 1 });
    expect(maps.mappings(RAM)[0]?.entries.length).toBe(42);
    vm.changeHost("share", RAM, PAGE);
    expect(maps.mappings(RAM)).toEqual([]);
    expect([shadow.table.countLeaves(), vm.table.countLeaves()]).toEqual([0, 1]);
  });

  it("sees an access at any of the addresses, and clears all access flags [NOT-8]", () => {
    const { vm, maps } = scene();
    maps.addAlias({ gpa: 2 * RAM, of: RAM, size: 4 * MIB });
    const touch = (gpa: number) => vm.run(1, { gpa, size: PAGE });
    touch(RAM);
    touch(2 * RAM);
    expect([vm.age(RAM, PAGE), vm.age(RAM, PAGE)]).toEqual([true, false]);
    for (const tlb of vm.tlbs) tlb.invalidate("VMALLS12E1IS");
    touch(2 * RAM);
    expect([vm.age(RAM, PAGE), vm.age(RAM, PAGE)]).toEqual([true, false]);
  });

  it("sees an access at any of the addresses without clearing a flag, if that is all it asks [NOT-8]", () => {
    const { vm, maps } = scene({ walkers: 2 });
    maps.addAlias({ gpa: 2 * RAM, of: RAM, size: 4 * MIB });
    const { memory, offset, hosts } = vm.engine;
    const ticket = vm.ticket(1);
    const core = instantiateVm(ticket.module, memory, offset, hosts);
    expect(core.vmAttach(0)).toBe(0);
    const hva = core.vmHostAddress(ticket.vm, RAM);
    const agent = new AgentView(vm.engine.words, core.vmAgent(ticket.vm) >>> 0);
    const isYoung = () => {
      expect(core.vmAge(ticket.vm, hva, hva + PAGE, 0)).toBe(1); // one slot
      return agent.status;
    };
    expect(isYoung()).toBe(0);
    for (const gpa of [2 * RAM, RAM]) {
      vm.run(1, { gpa, size: PAGE });
      expect([isYoung(), isYoung()]).toEqual([1, 1]);
      expect([vm.age(RAM, PAGE), isYoung()]).toEqual([true, 0]);
      for (const tlb of vm.tlbs) tlb.invalidate("VMALLS12E1IS");
    }
    vm.run(1, { gpa: RAM + PAGE, size: PAGE });
    expect(isYoung()).toBe(0); // the page beside it was accessed
  });

  it("leaves pages beside its range alone, and takes a block that is partly in it whole [NOT-2]", () => {
    const { vm, maps, shadow } = scene();
    shadow.map({ ipa: 0, gpa: RAM + 2 * MIB, size: 2 * MIB });
    for (const page of [0, 1, 2]) vm.run(1, { gpa: RAM + page * PAGE, size: PAGE, writes: 1 });
    vm.changeHost("discard", RAM + PAGE, PAGE);
    expect([0, 1, 2].map((page) => maps.mappings(RAM + page * PAGE).length)).toEqual([1, 0, 1]);
    vm.changeHost("discard", RAM + 3 * MIB, PAGE);
    expect(shadow.table.countLeaves()).toBe(0);
  });
});

describe("a dirty log with reverse maps", () => {
  it("notices stores at every address of the page", () => {
    for (const strategy of ["protect", "ring"] as const) {
      const { vm, maps } = scene({ witness: true, adversarial: true });
      maps.addAlias({ gpa: 2 * RAM, of: RAM, size: 4 * MIB });
      const store = (gpa: number) => vm.run(300, { gpa, size: MIB, writes: 1 });
      for (const gpa of [RAM, 2 * RAM]) store(gpa);
      vm.setDirtyPolicy({ strategy });
      vm.logDirty(0, true);
      for (let round = 0; round < 3; round++) {
        for (const gpa of [RAM, 2 * RAM]) store(gpa);
        expect(vm.dirtyLog(0).pages).toBeGreaterThan(100);
        expect(vm.unlogged(), `${strategy}, round ${round}`).toBe(0);
      }
    }
  });

  it("by the hardware knows the memory's own addresses alone", () => {
    const { vm, maps } = scene({ hardwareDirty: true });
    expect(() => vm.setDirtyPolicy({ strategy: "dbm" })).toThrow("shadows");
    const other = createVm({ reverseMaps: true, hardwareDirty: true });
    other.setDirtyPolicy({ strategy: "dbm" });
    expect(() => other.reverseMaps?.addShadow()).toThrow("dbm");
    maps.reclaim();
  });
});

describe("reverse maps", () => {
  it.each([
    ["an alias of no memory", ({ maps }: Scene) => maps.addAlias({ gpa: 0, of: 2 * RAM, size: PAGE }), "EINVAL"],
    ["an alias beyond its slot", ({ maps }: Scene) => maps.addAlias({ gpa: 0, of: RAM, size: 5 * MIB }), "EINVAL"],
    [
      "an alias that no block could have",
      ({ maps }: Scene) => maps.addAlias({ gpa: PAGE, of: RAM, size: PAGE }),
      "EINVAL",
    ],
    ["an alias over its slot", ({ maps }: Scene) => maps.addAlias({ gpa: RAM, of: RAM, size: PAGE }), "EEXIST"],
    ["a shadow of no memory", ({ shadow }: Scene) => shadow.map({ ipa: 0, gpa: 0, size: PAGE }), "EINVAL"],
    ["an unmap of nothing", ({ shadow }: Scene) => shadow.unmap(0, 0), "more than 0"],
    ["other quirks", () => createVm({ reverseMaps: { quirks: "none" as never } }), "rmap-2013"],
  ])("refuse %s", (_, act, word) => {
    expect(() => act(scene())).toThrow(word);
  });

  it("are there only for who asks for them", () => {
    expect(createVm().reverseMaps).toBeUndefined();
  });
});
