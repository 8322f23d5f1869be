// Plays a replay string: what happens step by step, and which rule it breaks.

import type { ExploreBuild } from "./build.js";
import { flawNumber, Judge } from "./explore.js";
import { Player } from "./player.js";
import type { Scenario } from "./scenario.js";
import { parseReplay } from "./schedule.js";
import { formatTrace, Trace, type TraceLine } from "./trace.js";

/** A schedule that was played. */
export interface Replayed {
  /** The scenario. */
  readonly scenario: Scenario;
  /** The rules that it breaks: what happened first or was wrong in the end, then races; none if all is well. */
  readonly rules: readonly string[];
  /** What happened, access by access. */
  readonly lines: readonly TraceLine[];
  /** The lines as columns, one a walker. */
  readonly text: string;
  /** Was the string made with this build? Otherwise its steps may be others. */
  readonly sameBuild: boolean;
}

/**
 * Plays the schedule of a replay string on one of `scenarios`.
 *
 * @throws Error for what is no replay string, or names no such scenario or flaw.
 * @example
 * ```ts
 * import { protocol, replay, type Shared } from "granule/explore";
 * const counter = protocol({ name: "lost-update", title: "", words: { counter: 0 }, walkers: [add, add],
 *   check: (m) => (m.counter === 2 ? undefined : `the counter is ${m.counter}`) });
 * function* add(m: Shared<"counter">) {
 *   yield* m.store("counter", (yield* m.load("counter")) + 1);
 * }
 * console.log(replay("x1:lost-update:0:0*1,1*1", [counter]).rules); // [ 'the counter is 1' ]
 * ```
 */
export function replay(text: string, scenarios: readonly Scenario[], build?: ExploreBuild): Replayed {
  const { scenario: name, hash, flaw, weak, schedule } = parseReplay(text),
    scenario = scenarios.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`there is no scenario ${name}`);
  const number = flawNumber({ build, flaw }),
    judge = new Judge(scenario, build, number),
    player = new Player(scenario, build, number, judge.verdict, weak),
    trace = new Trace(scenario);
  const rules = player.play(schedule, trace);
  return {
    scenario,
    rules,
    lines: trace.lines,
    text: formatTrace(trace.lines, scenario.walkers),
    sameBuild: !scenario.needsCore || hash === build?.hash,
  };
}
