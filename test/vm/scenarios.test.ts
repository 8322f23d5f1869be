import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { Access } from "../../bindings/mmu/index.js";
import type { Granule } from "../../bindings/model/granule.js";
import { createVm, type DirtyPolicy, type Vm } from "../../bindings/vm/index.js";
import { pagesOf } from "./support.js";

/*
 * Guests that ran on real kernels: every access that a guest was told to make, what its VMM did to slots and dirty logs in
 * between, and the pages of each bitmap that the kernel gave. Here the accesses run on our vCPUs.
 *
 *   SCENARIO name   vcpus n   granule bytes   cap NAME value   mmap HUGEPAGE|NOHUGEPAGE|log2 of hugetlb
 *   slot id flags gpa size    clear first pages    DIRTY count page page-page ...
 *   W R X A XCL WP WB vcpu gpa    store, load, fetch, atomic, exclusives, store of a pair, of a byte
 */
const text = gunzipSync(readFileSync(new URL("fixtures/dirty-log-scenarios.txt.gz", import.meta.url))).toString();
const SCENARIOS = text
  .split(/^SCENARIO /m)
  .slice(1)
  .map((part) => part.trimEnd().split("\n"))
  .map(([name = "", ...lines]) => ({ name, lines: lines.map((line) => line.split(" ")) }));
type Scenario = (typeof SCENARIOS)[number];

function wordsAfter({ lines }: Scenario, name: string): string[] | undefined {
  return lines.find(([first]) => first === name)?.slice(1);
}

function capOf({ lines }: Scenario, name: string): number {
  return Number(lines.find(([first, cap]) => first === "cap" && cap === name)?.[2] ?? 0);
}

/** The recorded way to log. */
function recorded(scenario: Scenario): DirtyPolicy {
  const manual = capOf(scenario, "MANUAL_DIRTY_LOG_PROTECT2");
  const eagerSplit = capOf(scenario, "EAGER_SPLIT_CHUNK_SIZE");
  return { manual: manual > 0, initiallySet: manual === 3, eagerSplit };
}

function ranges(words: readonly string[]): number[] {
  return words.flatMap((word) => {
    const [first = 0, last = first] = word.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

const KINDS: Readonly<Record<string, readonly number[]>> = {
  W: [Access.WRITE],
  WB: [Access.WRITE],
  WP: [Access.WRITE],
  A: [Access.WRITE],
  XCL: [Access.READ, Access.WRITE],
  R: [Access.READ],
  X: [Access.FETCH],
};

function addSlot(vm: Vm, scenario: Scenario, [id, gpa, size]: readonly [number, number, number]): void {
  const kind = id === 0 ? "NOHUGEPAGE" : wordsAfter(scenario, "mmap")?.[0];
  const backing = kind === "HUGEPAGE" ? "thp" : "4k";
  vm.addSlot({ slot: id, gpa, size, hva: 2 ** 40 + gpa, backing });
  const hugetlb = /^\d+$/.test(kind ?? "") ? 2 ** Number(kind) : 0;
  if (hugetlb > 0) vm.host.define({ hva: 2 ** 40 + gpa, size, hugetlb, thp: false, fresh: true });
}

/** Runs a scenario; each bitmap that was read, beside the kernel's. */
function run(scenario: Scenario, policy: DirtyPolicy): { ours: number[]; theirs: number[] }[] {
  const granule = Number(wordsAfter(scenario, "granule")) as Granule;
  const cpus = Number(wordsAfter(scenario, "vcpus"));
  using vm = createVm({ granule, cpus, hardwareDirty: policy.strategy === "dbm", tlb: "tiny", adversarial: true });
  vm.setDirtyPolicy(policy);
  const accesses = vm.createAccesses();
  const read: { ours: number[]; theirs: number[] }[] = [];
  const live = new Set<number>();
  for (const [what = "", ...words] of scenario.lines) {
    const kinds = KINDS[what];
    if (kinds) {
      for (const kind of kinds)
        if (!accesses.push(Number.parseInt(words[1] as string, 16), kind, Number(words[0]))) vm.perform(accesses);
      continue;
    }
    vm.perform(accesses);
    const [id = 0, flags = 0, gpa = 0, size = 0] = words.map(Number);
    if (what === "slot" && !live.has(id)) {
      addSlot(vm, scenario, [id, gpa, size]);
      live.add(id);
    } else if (what === "slot" && size === 0) vm.removeSlot(id);
    else if (what === "slot") vm.logDirty(id, (flags & 1) !== 0);
    else if (what === "clear") vm.clearDirtyLog(1, id, flags);
    else if (what === "DIRTY")
      read.push({ ours: pagesOf(vm.dirtyLog(1).bitmap) as number[], theirs: ranges(words.slice(1)) });
  }
  return read;
}

describe("the dirty log of a guest that ran on a real kernel", () => {
  it.each(SCENARIOS)(
    "$name has the kernel's pages, in each of six bitmaps, as recorded and by hardware",
    (scenario) => {
      const policy = recorded(scenario);
      for (const strategy of ["protect", "dbm"] as const) {
        const read = run(scenario, { ...policy, strategy });
        expect(read).toHaveLength(6);
        for (const { ours, theirs } of read) expect(ours).toEqual(theirs);
      }
    },
  );

  it.each(SCENARIOS.filter((scenario) => !recorded(scenario).manual))("$name has them by rings, too", (scenario) => {
    const read = run(scenario, { strategy: "ring", ringEntries: 128 });
    expect(read.map(({ ours }) => ours)).toEqual(read.map(({ theirs }) => theirs));
  });

  it("is of 30 guests, and no bitmap but the first and the last of one is empty", () => {
    expect(SCENARIOS).toHaveLength(30);
    const dirty = SCENARIOS.map(({ lines }) => lines.filter(([what, n]) => what === "DIRTY" && Number(n) > 0).length);
    expect(Math.min(...dirty)).toBeGreaterThanOrEqual(4);
  });
});
