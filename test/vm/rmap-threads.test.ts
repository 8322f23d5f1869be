// Real threads: a slot comes and goes again and again, while others unmap shadows of it, change the host's memory behind it and run
// vCPUs in it. Nothing is used after it was freed (the debug core poisons what goes back), nothing is left mapped, and the account of
// leaves is right at every end.

import { describe, expect, it } from "vitest";
import { createVm } from "../../bindings/vm/index.js";
import { SEED } from "../support/random.js";
import { expectReferences } from "../support/tables.js";
import { Remote } from "../support/walkers.js";
import { debugModule } from "./flawed.js";
import { expectAccount, leavesOf, MIB, physBase, RAM } from "./rmap-support.js";

const PAGE = 4096;
const HVA = 2 ** 46;
const PAGES = 64;
const SIZE = PAGES * PAGE;
const ROUNDS = 25;

/** One run of a seed; what the removers' operations led to. */
async function life(seed: number, debug: boolean): Promise<Record<string, number>[]> {
  const options = debug ? { module: debugModule() } : {};
  const vm = createVm({
    reverseMaps: true,
    walkers: 5,
    cpus: 3,
    adversarial: true,
    seed,
    arenaBytes: 32 * MIB,
    ...options,
  });
  const maps = vm.reverseMaps;
  if (!maps) throw new Error("no reverse maps");
  const shadow = maps.addShadow();
  const slot = () => vm.addSlot({ slot: 0, gpa: RAM, size: SIZE, hva: HVA, backing: "4k", filled: true });
  vm.addSlot({ slot: 1, gpa: 2 * RAM, size: 4 * MIB, backing: "thp" });
  slot();
  const work = { gpa: RAM, size: SIZE, writes: 0.5 };
  vm.run(1, work); // sets the CPUs' work up
  const thread = (walker: number) =>
    new Remote(vm.engine, walker, "../vm/rmap-walker.mjs", { ticket: vm.ticket(walker) });
  const [first, second, third, fourth] = [1, 2, 3, 4].map(thread) as [Remote, Remote, Remote, Remote];
  const what = { shadow: shadow.table.handle, ipaPages: 256, gpa: RAM, pages: PAGES, hva: HVA, page: PAGE };
  let running = true;
  const ended = <T>(call: Promise<T>) =>
    call.finally(() => {
      running = false;
    });
  const all = Promise.all([
    ended(first.call("remove", debug ? 4000 : 20_000, seed, what)),
    ended(second.call("remove", debug ? 4000 : 20_000, seed + 1000, what)),
    third.call("run", 0, debug ? 20_000 : 200_000),
    fourth.call("run", 1, debug ? 20_000 : 200_000),
  ]);
  all.catch(() => {});
  const observer = vm.tlbs[2];
  let [lives, known] = [0, 0];
  try {
    for (; running && lives < 10_000; lives++) {
      // The third CPU runs nothing: its TLB is this thread's, and keeps what it may.
      const pages = Array.from({ length: 8 }, (_, i) => RAM + ((lives + i * 8) % PAGES) * PAGE);
      known += pages.filter((page) => (observer?.lookup(page) ?? 0) > 0).length;
      vm.removeSlot(0);
      const stale = pages.filter((page) => (observer?.lookup(page) ?? 0) > 0);
      expect(stale, "the TLB knows pages of a slot that has gone").toEqual([]);
      slot();
      if (lives % ROUNDS === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const [a, b] = await all;
    vm.removeSlot(0);
    const base = physBase(vm);
    const left = [vm.table, shadow.table].flatMap((table) => leavesOf(table, base));
    expect(left.filter(({ gpa }) => gpa >= RAM && gpa < RAM + SIZE)).toEqual([]);
    expectAccount(vm, [shadow.table], "at the end");
    for (const table of [vm.table, shadow.table]) expectReferences(table);
    expect([lives > 3, known > 0, maps.stats().abandoned, vm.engine.counters().warnings]).toEqual([true, true, 0, 0]);
    return [a, b] as Record<string, number>[];
  } finally {
    await Promise.all([first, second, third, fourth].map((each) => each.kill()));
  }
}

describe("slots that go while others remove entries of them", () => {
  it.each([
    ["debug", true, 3],
    ["release", false, 5],
  ] as const)(
    "on the %s core: nothing is used after it was freed, and nothing is left [INV-1, INV-5, HZ-4, HZ-6, HZ-7, RMAP-9]",
    { timeout: 240_000 },
    async (_, debug, seeds) => {
      for (let seed = SEED; seed < SEED + seeds; seed++) {
        try {
          const reports = await life(seed, debug);
          for (const report of reports) expect(report["unmap 0"], JSON.stringify(report)).toBeGreaterThan(100);
        } catch (error) {
          throw new Error(`GRANULE_SEED=${seed}: ${(error as Error).message}`, { cause: error });
        }
      }
    },
  );
});
