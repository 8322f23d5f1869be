// A whole VM under the explorer: vCPUs with TLBs, faults, the hardware's dirty state, dirty logs and notifiers, on the code that ships.

import { describe, expect, it } from "vitest";
import { explore, readLog, replay, run, SCENARIOS, scenario, vmScenario } from "../../bindings/explore/index.js";
import { loadBuild } from "../../bindings/explore/node.js";
import { CATCHES } from "../../bindings/explore/scenarios/catches.js";

const build = loadBuild("vm");
const VM = SCENARIOS.filter((one) => one.build === "vm");
/** Seen whole, every interleaving of them. */
const WHOLE = ["vm-dirty-mkyoung", "vm-dirty-age", "vm-dirty-relax", "vm-dirty-relax-read"];

describe("every interleaving of hardware and software", () => {
  it.each(WHOLE)("%s: no store goes unlogged, and no rule is broken [DBM-7, DBM-8, DBM-10]", async (name) => {
    const { violations, complete, schedules } = await explore(scenario(name), { build });
    expect(violations).toEqual([]);
    expect(complete).toBe(true);
    expect(schedules).toBeGreaterThan(1n);
  });

  it.each(VM.map(({ name }) => name).filter((name) => !WHOLE.includes(name)))(
    "%s: no store goes unlogged in its first states and in random schedules [DBM-10]",
    async (name) => {
      const { violations, states } = await explore(scenario(name), {
        build,
        bound: 2,
        limit: 1500,
        walks: 60,
        seed: 3,
      });
      expect(violations).toEqual([]);
      expect(states).toBeGreaterThan(300);
    },
  );
});

describe("flaws of hardware and VM", () => {
  const flawed = loadBuild("vm-mutants");
  const caught = Object.entries(CATCHES).filter(([, one]) => scenario(one.scenario).build === "vm");

  it("each flaw of the build has a scenario that finds it", () => {
    expect([...flawed.flaws].sort()).toEqual(caught.map(([name]) => name).sort());
    expect(flawed.flaws.length).toBeGreaterThanOrEqual(12);
  });

  it.each(caught)("%s is found", async (flaw, { scenario: name, bound }) => {
    const { violations } = await explore(scenario(name), { build: flawed, flaw, bound, races: false, first: true });
    expect(violations.length).toBeGreaterThan(0);
    expect(replay(violations[0]?.replay ?? "", SCENARIOS, flawed).rules.length).toBeGreaterThan(0);
  });
});

it("a scenario that begins without a log says what its guest did", async () => {
  const silent = vmScenario({
    name: "no-log",
    title: "the log is read though none was begun",
    guest: { cpus: 1 },
    walkers: [[run(0)], [readLog()]],
  });
  const { violations } = await explore(silent, { build, races: false, limit: 10, walks: 0 });
  expect(violations.map(({ rule }) => rule)).toEqual(["reading the log returns -2"]);
});
