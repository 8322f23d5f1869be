// Makes a schedule that breaks a rule shorter: fewer changes of walkers, then fewer steps.

import type { Player } from "./player.js";
import { isDeath, joined, type Schedule, switches } from "./schedule.js";

/** What of a rule must stay the same: numbers in it may change, lines of the source may not. */
function kindOf(rule: string): string {
  if (rule.startsWith("race: ")) return rule;
  return rule.replace(/: .*$/, "").replace(/0x[0-9a-f]+|\d+/g, "#");
}

function stepsOf(schedule: Schedule): number {
  return schedule.reduce((sum, turn) => sum + (isDeath(turn) ? 0 : turn.steps), 0);
}

/** Stores that accesses go back by, all together. */
function backsOf(schedule: Schedule): number {
  return schedule.reduce((sum, turn) => {
    return sum + (isDeath(turn) ? 0 : (turn.stale ?? []).reduce((all, { back }) => all + back, 0));
  }, 0);
}

/** An access of the turn goes back one store less. */
function* newer(schedule: Schedule, i: number): Generator<Schedule> {
  const turn = schedule[i];
  if (turn === undefined || isDeath(turn) || turn.stale === undefined) return;
  for (const at of turn.stale.keys()) {
    const stale = turn.stale
      .map((one, n) => (n === at ? { ...one, back: one.back - 1 } : one))
      .filter(({ back }) => back > 0);
    const { walker, steps } = turn,
      turns = [...schedule];
    turns[i] = stale.length === 0 ? { walker, steps } : { walker, steps, stale };
    yield joined(turns);
  }
}

const without = (schedule: Schedule, i: number): Schedule => joined(schedule.filter((_, at) => at !== i));

function exchanged(schedule: Schedule, i: number): Schedule {
  const turns = [...schedule],
    [one, two] = [turns[i], turns[i + 1]];
  if (one !== undefined && two !== undefined) [turns[i], turns[i + 1]] = [two, one];
  return joined(turns);
}

/** A turn's last step is left to the next turn of its walker, or to the end. */
function later(schedule: Schedule, i: number, steps: number): Schedule {
  const turns = [...schedule],
    turn = turns[i];
  if (turn === undefined || isDeath(turn)) return schedule;
  turns[i] = { walker: turn.walker, steps: turn.steps - steps };
  const next = turns.findIndex((other, at) => at > i && !isDeath(other) && other.walker === turn.walker),
    other = turns[next];
  if (other !== undefined && !isDeath(other)) turns[next] = { walker: other.walker, steps: other.steps + steps };
  return joined(turns);
}

function* shorter(schedule: Schedule): Generator<Schedule> {
  for (let i = schedule.length - 1; i >= 0; i--) {
    const turn = schedule[i];
    if (turn === undefined || isDeath(turn)) continue;
    yield later(schedule, i, turn.steps);
    yield without(schedule, i);
    yield exchanged(schedule, i);
    yield* newer(schedule, i);
  }
  for (let i = schedule.length - 1; i >= 0; i--) {
    const turn = schedule[i];
    if (turn === undefined || isDeath(turn)) continue;
    for (let steps = turn.steps >> 1; steps > 0; steps >>= 1) yield later(schedule, i, steps);
  }
}

function isShorter(a: Schedule, b: Schedule): boolean {
  const less = switches(a) - switches(b) || backsOf(a) - backsOf(b) || stepsOf(a) - stepsOf(b);
  return less < 0;
}

/** Schedules that are tried for one that is shorter, at most. */
const TRIES = 1500;

/** Does the schedule break `rule`? */
export function breaks(player: Player, schedule: Schedule, rule: string): boolean {
  const kind = kindOf(rule);
  return player.play(schedule).some((broken) => kindOf(broken) === kind);
}

/** The shortest schedule that is found from `schedule` by leaving out and joining turns, and breaks the same rule. */
export function shrink(player: Player, schedule: Schedule, rule: string): Schedule {
  let best = schedule,
    tries = 0;
  for (let better = true; better && tries < TRIES; ) {
    better = false;
    for (const next of shorter(best)) {
      if (!isShorter(next, best)) continue;
      if (++tries > TRIES || !breaks(player, next, rule)) continue;
      best = next;
      better = true;
      break;
    }
  }
  return best;
}
