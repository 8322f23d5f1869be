// Random schedules, for what is too large to be seen whole: each walker has a priority, and at some random steps the one that runs
// gets the least. Of the bugs that need d such changes this finds each with a known probability [Burckhardt et al., PCT, 2010].

import type { Verdict } from "./player.js";
import type { Found } from "./search.js";
import { EXPLORING, type World } from "./world.js";

const CHANGES = 3;
const MANY = 50_000;
/** Walks after which words are looked for where walkers meet. */
const PERIOD = 50;

/** A generator of numbers from 0 to n - 1; the same seed, the same numbers. */
export function random(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  };
}

/** Steps of the last walk, from which the moments of change are drawn. */
class Walker {
  readonly #world: World;
  readonly #draw: (n: number) => number;
  #length = 64;

  constructor(world: World, draw: (n: number) => number) {
    this.#world = world;
    this.#draw = draw;
  }

  /** One walk from the first state: its path; throws what a step throws. */
  walk(path: number[]): boolean {
    const world = this.#world,
      draw = this.#draw;
    const priority = Array.from({ length: world.walkers }, () => draw(1 << 20) + CHANGES),
      changes = Array.from({ length: CHANGES }, () => draw(this.#length));
    world.load(world.first);
    for (let n = 0; n < MANY; n++) {
      const enabled = world.enabled();
      if (enabled === 0) {
        this.#length = n + 1;
        return true;
      }
      let best = -1;
      for (let id = 0; id < world.walkers; id++) {
        if (enabled & (1 << id) && (best < 0 || (priority[id] as number) > (priority[best] as number))) best = id;
      }
      path.push(best);
      const waits = world.pending(best)?.kind === "wait";
      world.step(best);
      if (waits)
        priority[best] = -n; // whoever it waits for has its turn
      else if (changes.includes(n)) priority[best] = CHANGES - 1 - changes.indexOf(n);
    }
    return false;
  }
}

/** Nobody can go on. That may also mean that not all words are known yet where walkers meet: then nothing is wrong. */
function stuck(world: World): string | undefined {
  if (world.addMeetings() === 0) return "stuck: nobody who has not ended can go on";
  world.restartAll(EXPLORING);
  return undefined;
}

/** Walks `count` random schedules in a world that a search has walked. */
export async function randomWalks(
  world: World,
  count: number,
  seed: number,
  verdict: Verdict,
  isOver: () => Promise<boolean>,
): Promise<Found[]> {
  const found = new Map<string, Found>(),
    walker = new Walker(world, random(seed));
  world.restartAll(EXPLORING);
  for (let i = 0; i < count && !(await isOver()); i++) {
    const path: number[] = [];
    let rule: string | undefined;
    if (i % PERIOD === 0 && world.addMeetings() > 0) world.restartAll(EXPLORING);
    try {
      if (!walker.walk(path)) rule = "stuck: walkers go on for ever, and can never end";
      else if (!world.allDone()) rule = stuck(world);
      else rule = world.quietly(() => verdict(world, false));
    } catch (error) {
      rule = error instanceof Error ? error.message : String(error);
      for (let id = 0; id < world.walkers; id++) world.recover(id);
    }
    if (rule !== undefined && !found.has(rule)) found.set(rule, { rule, path });
  }
  return [...found.values()];
}
