/**
 * Benchmarks of eager splitting: a dirty log begins, or is cleared, with a split that looks at pages and with one that does not. The
 * two scenarios of the kernel change that docs/guide/kernel-change.md is about.
 *
 * @module
 */
import { createVm, type SlotOptions, type Vm } from "../bindings/vm/index.js";
import type { ResultRow } from "./rows.js";
import { measured, nanoseconds } from "./vm.js";

/** Ids that a run may name. */
export const SPLIT_IDS = ["vm-split-enable", "vm-split-clear"] as const;

const RAM = 2 ** 30;
const PAGE = 4096;
const SIZE = 2 ** 30;
const BLOCK = 2 ** 21;
const ARENA_BYTES = 128 * 2 ** 20;
const BACKINGS = ["4k", "thp", "hugetlb-1g"] as const satisfies readonly SlotOptions["backing"][];
const WALKS = ["pages", "blocks"] as const;

interface Case {
  readonly backing: (typeof BACKINGS)[number];
  readonly splitWalk: (typeof WALKS)[number];
  /** Blocks are split by the clears of a log that was all dirty, not when it begins. */
  readonly clears: boolean;
}

/** A guest that has stored to all of its memory, and is about to be logged. */
function populated({ backing, splitWalk, clears }: Case): Vm {
  const vm = createVm({ arenaBytes: ARENA_BYTES });
  vm.addSlot({ gpa: RAM, size: SIZE, backing });
  vm.run(SIZE / PAGE, { gpa: RAM, size: SIZE, pattern: "sequential", writes: 1 });
  vm.setDirtyPolicy({ manual: clears, initiallySet: clears, eagerSplit: BLOCK, splitWalk });
  return vm;
}

/** Nanoseconds a page of the slot. */
function once(one: Case): number {
  using vm = populated(one);
  if (!one.clears) return nanoseconds(() => vm.logDirty(0, true)) / (SIZE / PAGE);
  vm.logDirty(0, true);
  vm.dirtyLog(0);
  return nanoseconds(() => vm.clearDirtyLog(0)) / (SIZE / PAGE);
}

/** The rows of one id: each kind of memory, with either walk. */
export function splitRows(id: string, rounds: number): ResultRow[] {
  const clears = id === "vm-split-clear";
  return BACKINGS.flatMap((backing) =>
    WALKS.map((splitWalk) =>
      measured(`${id}/${backing}/${splitWalk}`, rounds, () => once({ backing, splitWalk, clears })),
    ),
  );
}
