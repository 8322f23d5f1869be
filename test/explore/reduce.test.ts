// Searches that leave out states: the same outcomes and broken rules as without, in fewer states.

import { describe, expect, it } from "vitest";
import { explore, protocol, SCENARIOS, type Scenario, type Shared, scenario } from "../../bindings/explore/index.js";
import { loadBuild } from "../../bindings/explore/node.js";
import { CATCHES } from "../../bindings/explore/scenarios/catches.js";
import { FLAWED } from "../../bindings/explore/scenarios/index.js";

const build = loadBuild();
const mutants = loadBuild("mutants");
const vm = loadBuild("vm");

/** Those of whole VMs that are small enough; the others are too large, with the reduction and without. */
const VMS = ["vm-dirty-mkyoung", "vm-dirty-age", "vm-dirty-relax", "vm-dirty-relax-read"];

function isOfVm({ build: name }: Scenario): boolean {
  return name === "vm";
}

/** More than 10,000 states without the reduction. */
const LARGE = [
  "faults-empty",
  "fault-block",
  "fault-destroy",
  "fault-destroy-release",
  "split-fault-wrprotect",
  "retire-reclaim",
  "two-limbo",
  "create-create",
  "lockfree-unmap",
  "lockfree-look-block",
];

/** Flaws whose errors of a step leave an instance of the core as it was in the middle: only the first one is sure. */
const FIRST = ["freed-at-once", "epoch-ignores-readers", "any-life", "root-stays", "spin-by-store"];

async function both(one: Scenario, options: Parameters<typeof explore>[1]) {
  const [full, less] = [
    await explore(one, { ...options, races: false }),
    await explore(one, { ...options, races: false, reduce: true }),
  ];
  const rulesOf = ({ violations }: typeof full) => violations.map(({ rule }) => rule).sort();
  expect([full.complete, less.complete]).toEqual([true, true]);
  expect(less.outcomes).toEqual(full.outcomes);
  expect(rulesOf(less)).toEqual(rulesOf(full));
  expect(less.states).toBeLessThanOrEqual(full.states);
  expect(less.schedules).toBeNull();
  return { full, less };
}

describe("with and without the reduction", () => {
  it.each(
    [...SCENARIOS, ...FLAWED]
      .filter((one) => !LARGE.includes(one.name) && !isOfVm(one))
      .map((one) => [one.name, one] as const),
  )("%s: the same outcomes and broken rules", async (_, one) => {
    await both(one, { build });
  });

  it.each(VMS)("%s: the same outcomes and broken rules", async (name) => {
    await both(scenario(name), { build: vm });
  });

  const flaws = Object.entries(CATCHES).filter(
    ([, { scenario: name, deaths, races }]) => !deaths && !races && !isOfVm(scenario(name)),
  );

  it.each(flaws.filter(([flaw]) => !FIRST.includes(flaw) && flaw !== "table-lost"))(
    "%s: the same outcomes and broken rules",
    async (flaw, { scenario: name }) => {
      const { less } = await both(scenario(name), { build: mutants, flaw });
      expect(less.violations).not.toEqual([]);
    },
  );

  it.each([...FIRST, "table-lost"])("%s: is found", async (flaw) => {
    const { scenario: name } = CATCHES[flaw] ?? { scenario: "" };
    const { violations } = await explore(scenario(name), {
      build: mutants,
      flaw,
      races: false,
      first: true,
      reduce: true,
    });
    expect(violations).not.toEqual([]);
  });

  it("fewer states: three walkers and a block, all of it", async () => {
    const result = await explore(scenario("split-fault-wrprotect"), { build, races: false, reduce: true });
    expect(result.violations).toEqual([]);
    expect(result.complete).toBe(true);
    expect(result.states).toBeLessThan(30_000); // 73,267 without
  });
});

describe("protocols", () => {
  it("walkers that go on to words of their own do so one after the other", async () => {
    const alone = protocol({
      name: "alone",
      title: "",
      words: { a: 0, b: 0, both: 0 },
      walkers: (["a", "b"] as const).map(
        (mine) =>
          function* (m) {
            yield* m.add("both", 1);
            for (let i = 0; i < 5; i++) yield* m.add(mine, 1);
          },
      ),
    });
    const { full, less } = await both(alone, {});
    expect(less.states).toBe(full.states); // only `both` is a place to stop
    const met = protocol({
      name: "met",
      title: "one walker looks at two words, and then lets two others add to them",
      words: { a: 0, b: 0, go: 0 },
      walkers: [
        function* (m) {
          yield* m.load("a");
          yield* m.load("b");
          yield* m.store("go", 1);
        },
        ...(["a", "b"] as const).map(
          (mine) =>
            function* (m: Shared<"a" | "b" | "go">) {
              while ((yield* m.load("go")) === 0) yield* m.wait("go", 0);
              for (let i = 0; i < 5; i++) yield* m.add(mine, 1);
            },
        ),
      ],
    });
    const fewer = await both(met, {});
    expect(fewer.less.states).toBeLessThan(fewer.full.states / 2);
  });

  it("goes with neither a bound nor deaths", async () => {
    const [one] = SCENARIOS;
    expect(() => explore(one as Scenario, { build, reduce: true, bound: 2 })).toThrow("every state");
    expect(() => explore(one as Scenario, { build, reduce: true, deaths: "atomics" })).toThrow("every state");
  });
});
