// Are the outcomes of a scenario those of some order of whole operations? An operation that answered EAGAIN had no effect: the
// others are compared with orders in which it is left out.

import type { ExploreBuild } from "./build.js";
import type { Scenario } from "./scenario.js";
import { EVERYWHERE, EXPLORING, type World } from "./world.js";

const MANY = 50_000;
const EAGAIN = -11;

export class Orders {
  readonly #scenario: Scenario;
  readonly #build: ExploreBuild | undefined;
  readonly #flaw: number;
  readonly #outcomes = new Map<string, ReadonlySet<string>>();

  constructor(scenario: Scenario, build: ExploreBuild | undefined, flaw: number) {
    this.#scenario = scenario;
    this.#build = build;
    this.#flaw = flaw;
  }

  /** Is what has come out in `world`, where everybody has ended, the outcome of an order of whole operations? */
  has(world: World): boolean {
    return this.#of(this.#withoutEffect(world)).has(this.#scenario.outcome(world));
  }

  /** Operations that answered EAGAIN: each operation has one result, or the scenario cannot tell. */
  #withoutEffect(world: World): string[] {
    const skip: string[] = [];
    for (let id = 0; id < this.#scenario.walkers; id++) {
      for (const [n, result] of world.results(id).entries()) if (result === EAGAIN) skip.push(`${id}:${n}`);
    }
    return skip;
  }

  #of(skip: readonly string[]): ReadonlySet<string> {
    const key = skip.join(),
      had = this.#outcomes.get(key);
    if (had !== undefined) return had;
    const world = this.#scenario.make(this.#build, this.#flaw, new Set(skip)),
      found = new Set<string>();
    world.start(EXPLORING | EVERYWHERE);
    this.#extend(world, world.first, found, new Set());
    this.#outcomes.set(key, found);
    return found;
  }

  #extend(world: World, state: number, found: Set<string>, seen: Set<number>): void {
    if (seen.has(state)) return;
    seen.add(state);
    world.load(state);
    if (world.allDone()) {
      found.add(this.#scenario.outcome(world));
      return;
    }
    for (let id = 0; id < world.walkers; id++) {
      world.load(state);
      if (world.isDone(id) || !finishOperation(world, id)) continue;
      this.#extend(world, world.save(), found, seen);
    }
  }
}

/** Walker `id` alone performs the rest of its operation; false if it has to wait for another one, or breaks a rule. */
function finishOperation(world: World, id: number): boolean {
  const operation = world.operation(id);
  try {
    for (let n = 0; n < MANY && world.canStep(id); n++) {
      world.step(id);
      if (world.isDone(id) || world.operation(id) !== operation) return true;
    }
  } catch {
    world.recover(id);
  }
  return false;
}
