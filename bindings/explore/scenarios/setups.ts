// What scenarios begin with.

import type { EngineWorld } from "../engine-world.js";
import { BASE, BLOCK, map, PAGE } from "../operations.js";

/** A table of pages at BASE: its last page is mapped, so the slots of the others are there. */
export function withPages(world: EngineWorld): void {
  world.setUp(map(BASE + BLOCK - PAGE, { rights: "r" }));
}

/** A block at BASE. */
export function withBlock(world: EngineWorld): void {
  world.setUp(map(BASE, { size: BLOCK }));
}

/** One page at BASE. */
export function withPage(world: EngineWorld): void {
  world.setUp(map(BASE));
}

/** Of several results exactly one is 0. */
export function exactlyOne(statuses: readonly (number | undefined)[]): string | undefined {
  const done = statuses.filter((status) => status === 0).length;
  return done === 1 ? undefined : `${done} of ${statuses.length} are done, and not exactly one`;
}
