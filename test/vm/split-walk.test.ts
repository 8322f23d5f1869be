// Eager splitting that looks at pages too, as Linux does without a change of 2026, and one that does not: the same tables, the same
// logs, the same maintenance. What differs is how many entries a split looks at.

import { describe, expect, it } from "vitest";
import type { Counters } from "../../bindings/index.js";
import { createVm, type DirtyPolicy, type SlotOptions } from "../../bindings/vm/index.js";

const RAM = 2 ** 30;
const MIB = 2 ** 20;
const BLOCKS = { 4096: 2 * MIB, 16384: 32 * MIB, 65536: 512 * MIB } as const;

interface Scene {
  readonly granule: keyof typeof BLOCKS;
  readonly backing: NonNullable<SlotOptions["backing"]>;
  readonly size: number;
  readonly clears: boolean;
}

/** What is left of a guest that was logged: its table, its logs, and what was counted. */
function logged({ granule, backing, size, clears }: Scene, splitWalk: NonNullable<DirtyPolicy["splitWalk"]>) {
  using vm = createVm({ granule, witness: true, arenaBytes: 64 * MIB });
  const ram = vm.addSlot({ gpa: RAM, size, backing });
  vm.run(size / granule, { gpa: RAM, size, pattern: "sequential", writes: 1 });
  const populated = vm.table.countLeaves();
  vm.setDirtyPolicy({ manual: clears, initiallySet: clears, eagerSplit: BLOCKS[granule], splitWalk });
  vm.logDirty(ram, true);
  const logs = [0, 1, 2].map(() => {
    vm.run(1000, { gpa: RAM, size, writes: 0.5 });
    const { bitmap } = vm.dirtyLog(ram);
    if (clears) vm.clearDirtyLog(ram);
    return [...bitmap];
  });
  const leaves = [...vm.table.leaves()].map(({ address, level, descriptor }) => [address, level, descriptor]);
  return { populated, logs, leaves, stats: vm.stats(), unlogged: vm.unlogged(), counters: vm.engine.counters() };
}

function withoutVisits({ splitVisits: _, ...rest }: Counters): Omit<Counters, "splitVisits"> {
  return rest;
}

const SCENES: readonly Scene[] = [
  { granule: 4096, backing: "4k", size: 64 * MIB, clears: false },
  { granule: 4096, backing: "thp", size: 64 * MIB, clears: false },
  { granule: 4096, backing: "thp", size: 64 * MIB, clears: true },
  { granule: 4096, backing: "hugetlb-1g", size: 1024 * MIB, clears: false },
  { granule: 16384, backing: "thp", size: 64 * MIB, clears: false },
  { granule: 16384, backing: "4k", size: 64 * MIB, clears: true },
  { granule: 65536, backing: "thp", size: 512 * MIB, clears: true },
];

describe("eager splitting", () => {
  it.each(SCENES)("makes the same of %o whether it looks at pages or not [S2-26, HIS-5]", (scene) => {
    const [blocks, pages] = [logged(scene, "blocks"), logged(scene, "pages")];
    expect(pages.leaves).toEqual(blocks.leaves);
    expect(pages.logs).toEqual(blocks.logs);
    expect(pages.stats).toEqual(blocks.stats);
    expect(withoutVisits(pages.counters)).toEqual(withoutVisits(blocks.counters));
    expect([blocks.unlogged, pages.unlogged]).toEqual([0, 0]);
    expect(pages.counters.splitVisits).toBeGreaterThan(blocks.counters.splitVisits);
  });

  it("looks at every page of a table once, or at none; at every block once", () => {
    const visits = (backing: Scene["backing"], splitWalk: "blocks" | "pages", size = 64 * MIB) =>
      logged({ granule: 4096, backing, size, clears: false }, splitWalk).counters.splitVisits;
    const pages = (64 * MIB) / 4096;
    expect([visits("4k", "pages"), visits("4k", "blocks")]).toEqual([pages, 0]);
    expect([visits("thp", "pages"), visits("thp", "blocks")]).toEqual([pages + 32, 32]);
    // A block of 1 GiB becomes pages in one step.
    const gib = [visits("hugetlb-1g", "pages", 2 ** 30), visits("hugetlb-1g", "blocks", 2 ** 30)];
    expect(gib).toEqual([2 ** 30 / 4096 + 1, 1]);
  });

  it("is refused for any other word", () => {
    using vm = createVm({ arenaBytes: 16 * MIB });
    expect(() => vm.setDirtyPolicy({ splitWalk: "levels" as "pages" })).toThrow("splitWalk");
  });
});
