// Gives a world a weak memory: protocols ask it for each access, the core's accesses are seen by an observer.

import { EngineWorld } from "./engine-world.js";
import type { WeakModel } from "./orders.js";
import { WeakCore } from "./weak-core.js";
import { WeakMemory } from "./weak-memory.js";
import type { World } from "./world.js";

/**
 * `world`, which has not started, has a weak memory from now on. `racing`: the addresses of words that plain accesses race for; all
 * words if they are not said. Words that no plain access races for have one value for each load in any weak memory whose atomics
 * are sequentially consistent.
 */
export function weaken(world: World, model: WeakModel, racing?: ReadonlySet<number>): void {
  const everything = racing === undefined;
  if (!(world instanceof EngineWorld)) {
    world.weak = new WeakMemory(world, model, everything);
    return;
  }
  const core = new WeakCore(world, model, racing);
  world.weak = core;
  world.observer = core;
}
