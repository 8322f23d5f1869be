// The core on a weak memory: plain loads may get older values where plain accesses race, and nowhere else.

import { describe, expect, it } from "vitest";
import { explore, replay, SCENARIOS, scenario } from "../../bindings/explore/index.js";
import { loadBuild } from "../../bindings/explore/node.js";

describe("the core as it ships", () => {
  const build = loadBuild();
  it.each([
    "fault-fault",
    "fault-fault-clean",
    "fault-fault-same",
    "three-faults",
    "column-fault",
    "split-wrprotect",
    "wrprotect-relax",
    "split-fault",
    "age-young",
    "lockfree-fault",
    "hyp-look-map",
    "lockfree-look-destroy",
    "fault-unmap",
    "unmap-destroy-release",
  ])("%s: no rule is broken on a weak memory either, and the outcomes are the same", async (name) => {
    const weak = await explore(scenario(name), { build, weak: "plain", races: false }),
      strong = await explore(scenario(name), { build, races: false });
    expect([weak.violations, weak.complete]).toEqual([[], true]);
    expect(weak.outcomes).toEqual(strong.outcomes);
  });
});

describe("a lock for writing that is let go by a plain store", () => {
  const build = loadBuild("mutants"),
    options = { build, flaw: "plain-unlock", races: false, first: true, bound: 1 } as const;

  it("lets the next walker read a descriptor that is older than the lock says: on a weak memory only", async () => {
    const { violations } = await explore(scenario("fault-unmap"), { ...options, weak: "plain" });
    expect(violations.map(({ rule }) => rule)).toEqual(["reads a descriptor of a page that was given back"]);
    const text = violations[0]?.replay ?? "";
    expect(text).toMatch(/^x1:fault-unmap~plain-unlock\+plain:[0-9a-f]{8}:.*<1/);
    const played = replay(text, SCENARIOS, build);
    expect(played.rules).toEqual(["reads a descriptor of a page that was given back"]);
    expect(played.text).toContain("1 store back");
    expect(replay(text.replace("0<1", "0*1"), SCENARIOS, build).rules).toEqual([]);
    expect((await explore(scenario("fault-unmap"), options)).violations).toEqual([]);
  });
});
