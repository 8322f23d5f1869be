// Schedules as strings: `x1:two-faults:3fa9c1d2:0*8,1*11,0*2`. A turn is a walker and how many atomic accesses it makes; `!0` says
// that walker 0 dies where it stands, about to make its next atomic access; `!0+5` that it makes this access and five plain writes
// after it, and then dies. Who is not named any more goes on at the end: first the one whose turn was the last, then the others
// in order.
//
// In a weak memory, which stands behind the scenario's name as `+plain` or `+orders`, `1<2` is one atomic access of walker 1 that goes two
// stores back: it reads what was there before them, or stores behind them. `1<2@3` says this of its third plain access afterwards.

import type { WeakModel } from "./orders.js";

/** An access that goes back in a weak memory: so many stores, and which of the accesses of its step it is. */
export interface Back {
  /** Stores that it goes back, from the newest one. */
  readonly back: number;
  /** Which access of its step it is, from 0. */
  readonly nth: number;
}

/** A walker makes a number of atomic accesses. */
export interface Turn {
  readonly walker: number;
  readonly steps: number;
  /** Of a turn of one step: what goes back in it. */
  readonly stale?: readonly Back[] | undefined;
}

/** A walker ends: at once, or after its next atomic access and so many plain writes behind it. */
export interface Death {
  readonly dies: number;
  readonly writes?: number | undefined;
}

/** Turns and deaths, in order. */
export type Schedule = readonly (Turn | Death)[];

/** What a replay string names. */
export interface Replay {
  /** The scenario. */
  readonly scenario: string;
  /** Of the core's build, or of nothing: `0`. */
  readonly hash: string;
  /** The flaw that was switched on, if one was. */
  readonly flaw: string | undefined;
  /** The weak memory that it runs on, if it does. */
  readonly weak?: WeakModel | undefined;
  /** The turns. */
  readonly schedule: Schedule;
}

const VERSION = "x1";

export function isDeath(turn: Turn | Death): turn is Death {
  return "dies" in turn;
}

function formatTurn(turn: Turn | Death): string {
  if (!isDeath(turn)) {
    if (turn.stale === undefined) return `${turn.walker}*${turn.steps}`;
    return `${turn.walker}${turn.stale.map(({ back, nth }) => (nth === 0 ? `<${back}` : `<${back}@${nth}`)).join("")}`;
  }
  return turn.writes === undefined ? `!${turn.dies}` : `!${turn.dies}+${turn.writes}`;
}

/**
 * The replay string.
 *
 * @example
 * ```ts
 * import { formatReplay, parseReplay } from "granule/explore";
 * console.log(formatReplay(parseReplay("x1:fault-fault:0:0*3,1*2"))); // x1:fault-fault:0:0*3,1*2
 * ```
 */
export function formatReplay({ scenario, hash, flaw, weak, schedule }: Replay): string {
  const name = `${scenario}${flaw === undefined ? "" : `~${flaw}`}${weak === undefined ? "" : `+${weak}`}`;
  return `${VERSION}:${name}:${hash}:${schedule.map(formatTurn).join(",")}`;
}

function parseTurn(text: string): Turn | Death {
  const turn = /^(\d)\*(\d+)$/.exec(text),
    stale = /^(\d)((?:<\d+(?:@\d+)?)+)$/.exec(text),
    death = /^!(\d)(?:\+(\d+))?$/.exec(text);
  if (turn) return { walker: Number(turn[1]), steps: Number(turn[2]) };
  if (stale) return { walker: Number(stale[1]), steps: 1, stale: parseBacks(stale[2] as string) };
  if (death) return { dies: Number(death[1]), writes: death[2] === undefined ? undefined : Number(death[2]) };
  throw new Error(
    `a turn is walker*steps, walker<back, walker<back@nth, !walker or !walker+writes, not ${JSON.stringify(text)}`,
  );
}

function parseBacks(text: string): Back[] {
  return text
    .slice(1)
    .split("<")
    .map((one) => {
      const [back, nth = 0] = one.split("@").map(Number) as [number, number?];
      return { back, nth };
    });
}

/**
 * Reads a replay string; throws an Error that says what is wrong with it.
 *
 * @example
 * ```ts
 * import { parseReplay } from "granule/explore";
 * console.log(parseReplay("x1:fault-fault:0:0*3,1*2").schedule.length); // 2
 * ```
 */
export function parseReplay(text: string): Replay {
  const [version, name, hash, turns, more] = text.trim().split(":");
  if (version !== VERSION || name === undefined || hash === undefined || turns === undefined || more !== undefined) {
    throw new Error(`a replay string is ${VERSION}:scenario:hash:turns, not ${JSON.stringify(text)}`);
  }
  const [model, weak] = name.split("+") as [string, string | undefined],
    [scenario, flaw] = model.split("~") as [string, string | undefined];
  if (weak !== undefined && weak !== "plain" && weak !== "orders") {
    throw new Error(`a weak memory is plain or orders, not ${JSON.stringify(weak)}`);
  }
  return { scenario, hash, flaw, weak, schedule: turns === "" ? [] : turns.split(",").map(parseTurn) };
}

/** Turns of one walker that follow each other become one. */
export function joined(schedule: Schedule): Schedule {
  const turns: (Turn | Death)[] = [];
  for (const turn of schedule) {
    const last = turns[turns.length - 1];
    if (isDeath(turn)) turns.push(turn);
    else if (turn.steps === 0) continue;
    else if (last !== undefined && !isDeath(last) && last.walker === turn.walker && !(last.stale ?? turn.stale)) {
      turns[turns.length - 1] = { walker: turn.walker, steps: last.steps + turn.steps };
    } else turns.push(turn);
  }
  return turns;
}

/** Changes of the walker whose turn it is. */
export function switches(schedule: Schedule): number {
  const turns = schedule.filter((turn): turn is Turn => !isDeath(turn));
  return turns.filter(({ walker, stale }, i) => {
    const before = turns[i - 1];
    return before !== undefined && !(before.walker === walker && (stale ?? before.stale));
  }).length;
}
