// A search that is cut short and taken up again ends as one that was not.

import { describe, expect, it } from "vitest";
import { explore, type LeftSearch, scenario } from "../../bindings/explore/index.js";
import { loadBuild } from "../../bindings/explore/node.js";

const build = loadBuild();

async function inParts(name: string, each: number, bound?: number) {
  let left: LeftSearch | undefined;
  for (let limit = each, parts = 1; ; limit += each, parts++) {
    const resume: LeftSearch | undefined = left === undefined ? undefined : structuredClone(left);
    left = undefined;
    const onLeft = (one: LeftSearch) => {
      left = one;
    };
    const result = await explore(scenario(name), {
      build,
      bound,
      limit,
      races: false,
      walks: 0,
      onLeft,
      ...(resume && { resume }),
    });
    expect(result.complete).toBe(left === undefined);
    if (left === undefined) return { result, parts };
  }
}

describe("a search in parts", () => {
  it.each([
    ["fault-block", 3000, undefined],
    ["fault-destroy", 2500, 3],
    ["hyp-look-unmap", 1200, undefined],
    ["dirty-harvest", 700, undefined],
    ["unmap-fences-no-fences", 900, undefined],
  ])("%s, %d states at a time: the same states, steps, schedules, outcomes and rules", async (name, each, bound) => {
    const { result, parts } = await inParts(name, each, bound);
    const whole = await explore(scenario(name), { build, bound, races: false });
    const plain = ({ milliseconds: _, bytes: __, ...rest }: typeof whole) => rest;
    expect(plain(result)).toEqual(plain(whole));
    expect(parts).toBeGreaterThan(1);
  });
});

describe("what is left of a search", () => {
  const cut = async (name: string) => {
    let left: LeftSearch | undefined;
    const onLeft = (one: LeftSearch) => {
      left = one;
    };
    await explore(scenario(name), { build, limit: 100, races: false, walks: 0, onLeft });
    return left as unknown as LeftSearch;
  };

  it("is for the same scenario, build, flaw and bound", async () => {
    const left = await cut("fault-block");
    const go = (name: string, more: object) => explore(scenario(name), { build, resume: left, ...more });
    await expect(go("fault-destroy", {})).rejects.toThrow('resume is of scenario "fault-block", not "fault-destroy"');
    await expect(go("fault-block", { build: loadBuild("mutants") })).rejects.toThrow("resume is of hash");
    await expect(go("fault-block", { bound: 2 })).rejects.toThrow("another bound");
    expect(() => go("fault-block", { reduce: true })).toThrow("reduce goes with neither resume nor onLeft");
  });

  it("is nothing where all was seen", async () => {
    const onLeft = () => expect.unreachable();
    await explore(scenario("fault-fault"), { build, onLeft });
  });
});
