// Every guard of the parallel code, taken out: the explorer finds each, with a schedule that replays.

import { describe, expect, it } from "vitest";
import { explore, replay, SCENARIOS, scenario } from "../../bindings/explore/index.js";
import { loadBuild } from "../../bindings/explore/node.js";
import { CATCHES } from "../../bindings/explore/scenarios/catches.js";

const build = loadBuild("mutants");
/** Those of the engine; vm.test.ts has the others. */
const OF_ENGINE = Object.entries(CATCHES).filter(([, one]) => scenario(one.scenario).build !== "vm");

it("each flaw of the build has a scenario that finds it, and there are 25 at least", () => {
  expect([...build.flaws].sort()).toEqual(OF_ENGINE.map(([name]) => name).sort());
  expect(build.flaws.length).toBeGreaterThanOrEqual(25);
});

describe("flaws", () => {
  it.each(OF_ENGINE)("%s is found", async (flaw, { scenario: name, deaths, races = false }) => {
    const { violations } = await explore(scenario(name), {
      build,
      flaw,
      races,
      deaths: deaths ? "atomics" : undefined,
      first: true,
    });
    expect(violations.length).toBeGreaterThan(0);
    const [first] = violations;
    expect(replay(first?.replay ?? "", SCENARIOS, build).rules.length).toBeGreaterThan(0);
  });

  it("none of them is found where no flaw is on: the build with flaws is the core", async () => {
    const { violations, complete } = await explore(scenario("fault-fault-clean"), { build, deaths: "atomics" });
    expect(violations).toEqual([]);
    expect(complete).toBe(true);
  });
});
