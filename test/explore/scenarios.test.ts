// The scenarios on the core as it ships: every interleaving of most of them, a death at every atomic access of the small ones.

import { describe, expect, it } from "vitest";
import { explore, SCENARIOS, scenario } from "../../bindings/explore/index.js";
import { loadBuild } from "../../bindings/explore/node.js";

const build = loadBuild();
/** Larger than the default tests have time for: `granule explore` explores them whole. */
const LARGE = ["retire-reclaim", "two-limbo", "create-create", "lockfree-unmap", "lockfree-look-block"];
/** Those whose states are few: a walker dies in each of them. */
const SMALL = [
  "fault-fault",
  "fault-fault-clean",
  "fault-fault-same",
  "three-faults",
  "column-fault",
  "split-wrprotect",
  "wrprotect-relax",
];

/** Three walkers: the search for races takes longer than the default tests may. */
const WITHOUT_RACES = ["split-fault-wrprotect"];

describe("every interleaving", () => {
  const engines = SCENARIOS.filter((one) => one.build !== "vm"); // vm.test.ts has the others
  it.each(engines.map(({ name }) => name).filter((name) => !LARGE.includes(name)))(
    "%s: no rule is broken",
    async (name) => {
      const deaths = SMALL.includes(name) ? "atomics" : undefined;
      const races = !WITHOUT_RACES.includes(name);
      const result = await explore(scenario(name), { build, deaths, races });
      expect(result.violations).toEqual([]);
      expect(result.complete).toBe(true);
      expect(result.schedules).toBeGreaterThan(1n);
      if (deaths !== undefined) expect(result.deaths).toBeGreaterThan(20);
    },
  );

  it.each(LARGE)("%s: no rule is broken in its first states and in random schedules", async (name) => {
    const result = await explore(scenario(name), { build, limit: 2000, races: false, walks: 20, seed: 7 });
    expect(result.violations).toEqual([]);
    expect(result.complete).toBe(false);
  });
});

describe("a death before every write, plain ones too", () => {
  it.each([
    ["fault-fault-clean", undefined],
    ["column-fault", undefined],
    ["split-wrprotect", undefined], // dies while it builds a table, and with a page in hand that is counted or not
    ["fault-unmap", 0], // dies while it gives a table back
    ["block-block", 1], // dies while it frees a table that was in limbo
  ])("%s: nothing is lost, given back twice or counted wrongly", async (name, bound) => {
    const result = await explore(scenario(name), { build, bound, deaths: "writes", races: false, walks: 0 });
    expect(result.violations).toEqual([]);
    expect(result.deaths).toBeGreaterThan(100);
  });
});

describe("outcomes", () => {
  it("two faults for one mapping: either is done, and the other is told to look again [LCK-5]", async () => {
    const { outcomes } = await explore(scenario("fault-fault-same"), { build, races: false });
    expect(outcomes.map((one) => one.split(" | ").slice(0, 2))).toEqual([
      ["-11", "0"],
      ["0", "-11"],
    ]);
  });

  it("the same search twice: the same states, steps and outcomes", async () => {
    const [one, two] = [
      await explore(scenario("split-fault"), { build }),
      await explore(scenario("split-fault"), { build }),
    ];
    const { milliseconds: _, ...first } = one,
      { milliseconds: __, ...second } = two;
    expect(first).toEqual(second);
  });

  it("fewer preemptions, fewer states; no bound, all outcomes", async () => {
    const counts: number[] = [];
    for (const bound of [0, 1, 2, undefined]) {
      const { states } = await explore(scenario("fault-unmap"), { build, bound, races: false });
      counts.push(states);
    }
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
    expect(new Set(counts).size).toBe(counts.length);
  });

  it("a signal stops a search, which is then incomplete", async () => {
    const control = new AbortController();
    const progress = () => control.abort();
    const { complete, states } = await explore(scenario("faults-empty"), { build, signal: control.signal, progress });
    expect(complete).toBe(false);
    expect(states).toBeLessThan(14_000);
  });
});
