// A schedule stepped by hand, against the replay of the same schedule.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadBuild } from "../../bindings/explore/node.js";
import { replay } from "../../bindings/explore/replay.js";
import { FLAWED, SCENARIOS, scenario } from "../../bindings/explore/scenarios/index.js";
import { parseReplay } from "../../bindings/explore/schedule.js";
import { Stepper } from "../../bindings/explore/stepper.js";

const ALL = [...SCENARIOS, ...FLAWED];
const engine = loadBuild();

const rulesOf = (stepper: Stepper) => stepper.broken.map(({ rule }) => rule).sort();

/** Everything that a page shows of a moment. */
function shown(stepper: Stepper) {
  const ids = Array.from({ length: stepper.walkers }, (_, id) => id);
  return { words: stepper.words(), next: ids.map((id) => stepper.next(id)), held: ids.map((id) => stepper.holds(id)) };
}

describe("a schedule made by hand", () => {
  it.each(["fault-fault", "split-wrprotect", "dirty-harvest-plain-store", "vmid-rollover-blind-store"])(
    "of %s is what a replay of its string is, whatever was done and taken back",
    (name) => {
      const one = scenario(name);
      fc.assert(
        fc.property(fc.array(fc.nat(15), { maxLength: 60 }), (choices) => {
          const stepper = new Stepper(one, one.needsCore ? engine : undefined);
          for (const choice of choices) {
            if (choice >= 13) stepper.go(stepper.at - choice + 12);
            else if (choice === 12) stepper.kill(choice % one.walkers);
            else stepper.step(choice % one.walkers);
          }
          stepper.finish();
          const { lines, rules, sameBuild } = replay(stepper.replay, ALL, engine);
          expect(sameBuild).toBe(true);
          expect(stepper.lines).toEqual(lines);
          expect(rulesOf(stepper)).toEqual([...rules].sort());
        }),
        { numRuns: 25 },
      );
    },
    120_000,
  );

  it("goes back to moments as they were, and on again", () => {
    for (const name of ["fault-block", "lost-relax"]) {
      const one = scenario(name);
      const stepper = new Stepper(one, one.needsCore ? engine : undefined);
      const moments = [shown(stepper)];
      for (let id = 0; !stepper.hasEnded; id = (id + 1) % one.walkers) {
        if (!stepper.canStep(id)) continue;
        stepper.step(id);
        moments.push(shown(stepper));
      }
      expect(moments.length).toBeGreaterThan(8);
      const { length } = moments;
      for (const n of [0, length - 1, 3, 2, length - 2, 1]) {
        stepper.go(n);
        const now = shown(stepper);
        // What was accessed later stays in the list.
        const words = now.words.filter((word) => moments[n]?.words.some((had) => had.name === word.name));
        expect([stepper.at, { ...now, words }]).toEqual([n, moments[n]]);
      }
      expect(stepper.moves).toBe(length - 1);
    }
  });

  it("names the move that breaks a rule: in the end, by a race, by a rule of the core", () => {
    const harvest = new Stepper(scenario("dirty-age-plain-store"));
    harvest.play(parseReplay("x1:dirty-age-plain-store:0:").schedule);
    expect(harvest.broken).toEqual([]);
    const mutants = loadBuild("mutants");
    for (const [text, build] of [
      ["x1:fault-fault-clean~locked-again:0:0*13,1*1", mutants],
      ["x1:unmap-fences-no-fences:0:", undefined],
    ] as const) {
      const { scenario: name, flaw, schedule } = parseReplay(text);
      const stepper = new Stepper(scenario(name), build, flaw);
      stepper.play(schedule);
      expect(rulesOf(stepper)).toEqual([...replay(text, ALL, build).rules].sort());
      for (const { move } of stepper.broken) expect(move).toBeLessThanOrEqual(stepper.moves);
    }
  });

  it("shows a walker that waits, and one that has ended or died, and lets none of them move", () => {
    const stepper = new Stepper(scenario("fault-fault"), engine);
    while (stepper.next(0) !== undefined) stepper.step(0);
    expect([stepper.canStep(0), stepper.results(0)]).toEqual([false, [0]]);
    stepper.kill(1);
    expect([stepper.isDead(1), stepper.canStep(1), stepper.lines.at(-1)?.does]).toEqual([true, false, "dies"]);
    stepper.finish();
    expect(rulesOf(stepper)).toEqual([]);
    const before = stepper.moves;
    for (let id = 0; id < stepper.walkers; id++) stepper.step(id);
    expect(stepper.moves).toBe(before);
  });

  it("needs a build where the core is needed, and a flaw that the build has", () => {
    expect(() => new Stepper(scenario("fault-fault"))).toThrow(/build/);
    expect(() => new Stepper(scenario("fault-fault"), engine, "nothing")).toThrow("this build has no flaw nothing");
  });
});
