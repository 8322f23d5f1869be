// A walker may end at any point. In every state of a search, and before every atomic write of every step or before every write, one
// walker ends; the host buries it, the others finish, and the world must be sound.

import { type AccessKind, isAtomic, writes } from "./build.js";
import type { Scenario } from "./scenario.js";
import type { Death } from "./schedule.js";
import { EVERYWHERE, EXPLORING, type Observer, SEEN, type World } from "./world.js";

const MANY = 50_000;

/** A death after which a rule is broken: in state `state` of the search, by walker `dies`. */
export interface FatalDeath {
  readonly rule: string;
  readonly state: number;
  readonly death: Death & { readonly atomics: number };
}

export interface Deaths {
  /** Worlds with a death in them that were tried, equal ones once. */
  readonly deaths: number;
  readonly found: readonly FatalDeath[];
  readonly complete: boolean;
}

/** Where in a step a walker may end, and the memory there. */
interface Moment {
  readonly state: number;
  readonly atomics: number;
  readonly writes: number | undefined;
}

/** Keeps the memory before every atomic write of a step but its first access, and before every plain one too if asked. */
class Moments implements Observer {
  readonly #world: World;
  readonly #plain: boolean;
  readonly all: Moment[] = [];
  #atomics = 0;
  #writes = 0;

  constructor(world: World, plain: boolean) {
    this.#world = world;
    this.#plain = plain;
  }

  access(_id: number, _site: number, kind: AccessKind): void {
    if (isAtomic(kind) || kind === "wait") {
      if (this.#atomics > 0 && writes(kind)) this.#keep(this.#atomics, undefined);
      this.#atomics++;
      this.#writes = 0;
    } else if (writes(kind) && this.#atomics > 0) {
      if (this.#plain) this.#keep(this.#atomics - 1, this.#writes);
      this.#writes++;
    }
  }

  #keep(atomics: number, count: number | undefined): void {
    this.all.push({ state: this.#world.save(), atomics, writes: count });
  }
}

class Undertaker {
  readonly #world: World;
  readonly #scenario: Scenario;
  readonly #plain: boolean;
  readonly #tried = new Set<number>();
  readonly found = new Map<string, FatalDeath>();

  constructor(world: World, scenario: Scenario, plain: boolean) {
    this.#world = world;
    this.#scenario = scenario;
    this.#plain = plain;
  }

  get deaths(): number {
    return this.#tried.size;
  }

  /** Every death of walker `id` in state `state` and in its step from there. */
  visit(state: number, id: number): void {
    const world = this.#world;
    world.load(state);
    if (world.isDone(id)) return;
    this.#try(state, { state, atomics: 0, writes: undefined }, id);
    world.load(state);
    if (!world.canStep(id)) return;
    const moments = new Moments(world, this.#plain);
    world.observer = moments;
    world.setMode(EXPLORING | SEEN);
    try {
      world.step(id);
    } catch {
      world.recover(id); // the search has found this
    }
    world.observer = undefined;
    world.setMode(EXPLORING);
    for (const moment of moments.all) this.#try(state, moment, id);
  }

  #try(state: number, moment: Moment, id: number): void {
    const world = this.#world;
    world.load(moment.state);
    world.kill(id);
    const dead = world.save();
    if (this.#tried.has(dead)) return;
    this.#tried.add(dead);
    const rule = this.#aftermath(id);
    if (rule === undefined || this.found.has(rule)) return;
    const { atomics, writes: count } = moment;
    this.found.set(rule, { rule, state, death: { dies: id, atomics, writes: count } });
  }

  #aftermath(id: number): string | undefined {
    const world = this.#world,
      host = world.walkers - 1;
    try {
      world.setMode(EXPLORING | EVERYWHERE); // what a burial touches is no word that the search knows of
      this.#scenario.bury?.(world, id);
      for (let n = 0, last = host; n < MANY; n++) {
        const enabled = world.enabled();
        if (enabled === 0) break;
        if (!(enabled & (1 << last))) last = 31 - Math.clz32(enabled & -enabled);
        world.step(last);
      }
      if (!world.allDone()) return "stuck after a burial: nobody who has not ended can go on";
      return world.quietly(() => this.#scenario.afterDeath?.(world));
    } catch (error) {
      for (let one = 0; one < world.walkers; one++) world.recover(one);
      return error instanceof Error ? error.message : String(error);
    } finally {
      world.setMode(EXPLORING);
    }
  }
}

/** Lets each walker of the scenario die in each of `states`, in a world that a search has just walked. */
export async function tryDeaths(
  world: World,
  scenario: Scenario,
  plain: boolean,
  states: Iterable<number>,
  isOver: () => Promise<boolean>,
  first: boolean,
): Promise<Deaths> {
  const undertaker = new Undertaker(world, scenario, plain);
  let complete = true;
  for (const state of states) {
    if ((first && undertaker.found.size > 0) || (await isOver())) {
      complete = false;
      break;
    }
    for (let id = 0; id < scenario.walkers; id++) undertaker.visit(state, id);
  }
  return { deaths: undertaker.deaths, found: [...undertaker.found.values()], complete };
}
