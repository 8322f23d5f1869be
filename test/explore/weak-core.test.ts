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
    "destroy-destroy-release",
  ])("%s: no rule is broken on a weak memory either, and the outcomes are the same", async (name) => {
    const weak = await explore(scenario(name), { build, weak: "plain", races: false }),
      strong = await explore(scenario(name), { build, races: false });
    expect([weak.violations, weak.complete]).toEqual([[], true]);
    expect(weak.outcomes).toEqual(strong.outcomes);
  });
});

describe("a lock for writing that is let go by a plain store", () => {
  const build = loadBuild("mutants");
  /** What breaks when the unmap has made `n` accesses and the fault then makes nine, the last of them as `last` says. */
  const rulesOf = (n: number, last: string, flaw = "~plain-unlock") =>
    replay(`x1:fault-unmap${flaw}+plain:${build.hash}:1*${n},0*8,${last}`, SCENARIOS, build);

  // The search of it whole takes minutes: who is told an older value of the lock waits, and looks again.
  it("lets the next walker read a descriptor that is older than the lock says: on a weak memory only", () => {
    const turns = Array.from({ length: 12 }, (_, i) => i + 18),
      STALE = "reads a descriptor of a page that was given back";
    const found = turns.find((n) => rulesOf(n, "0<1").rules.includes(STALE)) as number;
    expect(rulesOf(found, "0<1").text).toContain("1 store back");
    expect(rulesOf(found, "0*1").rules).toEqual([]);
    expect(rulesOf(found, "0<1", "").rules).toEqual([]);
  });
});
