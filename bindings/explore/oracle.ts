// What must hold in a world of the real core once everybody has ended: the same for every scenario.

import * as K from "../core/constants.generated.js";
import type { EngineWorld } from "./engine-world.js";
import { destroy } from "./operations.js";

const ENTRIES = 512;
const LAST_LEVEL = 3;
const MARKERS = new Set([K.LOCKED_612, K.LOCKED_7X]);

const isTable = (descriptor: bigint, level: number) => (descriptor & 3n) === 3n && level < LAST_LEVEL;

/** Indices of the entries of a table page that are not zero. */
function usedEntries(world: EngineWorld, page: number): number[] {
  const { words } = world,
    used: number[] = [];
  for (let i = 0, low = page >>> 2; i < ENTRIES; i++, low += 2) {
    const high = low + 1;
    if (words[low] !== 0 || words[high] !== 0) used.push(i);
  }
  return used;
}

/** Every entry of the table that is not zero, as `level index:descriptor` with tables below it in brackets. */
export function contentsOf(world: EngineWorld): string {
  const info = world.tableInfo();
  if (info === undefined || info.root === 0) return "no table";
  const visit = (page: number, level: number): string => {
    const parts: string[] = [];
    for (const i of usedEntries(world, page)) {
      const old = world.word64(page + i * 8);
      parts.push(isTable(old, level) ? `${i}(${visit(world.pageOf(old), level + 1)})` : `${i}:${old.toString(16)}`);
    }
    return parts.join(" ");
  };
  return visit(info.root, info.startLevel);
}

/** The first page whose references are not its entries and one, or that holds a locked descriptor; in words. */
function wrongPage(world: EngineWorld, page: number, level: number): string | undefined {
  const hyp = world.config.hyp === true;
  let counted = 1;
  for (const i of usedEntries(world, page)) {
    const old = world.word64(page + i * 8);
    if (MARKERS.has(old)) return `entry ${i} of a table of level ${level} is left locked`;
    if (!hyp || old & 1n) counted++;
    const below = isTable(old, level) ? wrongPage(world, world.pageOf(old), level + 1) : undefined;
    if (below) return below;
  }
  const references = world.references(page);
  if (references === counted) return undefined;
  return `a table of level ${level} has ${references} references, and ${counted - 1} entries`;
}

/** The first walker that still holds something, in words. */
function holder(world: EngineWorld): string | undefined {
  for (let id = 0; id < world.walkers; id++) {
    const { inSection, writes, reads } = world.holds(id);
    if (inSection || reads !== 0) return `walker ${id} is still in a read section`;
    if (writes !== 0) return `walker ${id} still holds a table for writing`;
  }
  return undefined;
}

/** Gives back the caches of every walker, as the end of its thread does. */
function giveCaches(world: EngineWorld): string | undefined {
  for (const [id, { core }] of world.seats.entries()) {
    if (id === world.host || world.isDead(id)) continue;
    if (core.detach() !== 0) return `walker ${id} cannot leave`;
    core.attach(id, 1);
  }
  return undefined;
}

function wrongTable(world: EngineWorld): string | undefined {
  const info = world.tableInfo();
  if (info === undefined) return undefined;
  if (info.root !== 0) {
    const wrong = wrongPage(world, info.root, info.startLevel);
    if (wrong) return wrong;
  }
  if (world.warnings()) return `${world.warnings()} warnings`;
  const status = world.now(destroy());
  if (status) return `destroying the table returns ${status}`;
  const left = world.tableInfo()?.pages ?? 0;
  return left === 0 ? undefined : `${left} pages of the table are left after it was destroyed`;
}

/**
 * What is wrong with the world, or undefined: reference counts, locked descriptors, locks, sections, limbo, warnings, and pages that
 * are lost. It changes the world: load the state again afterwards.
 */
export function unsound(world: EngineWorld): string | undefined {
  const held = holder(world);
  if (held) return held;
  const { core } = world.hostSeat;
  const late = core.reclaim();
  if (late) return `reclaim returns ${late}`;
  const waiting = world.inLimbo();
  if (waiting !== 0) return `${waiting} tables are left in limbo`;
  const wrong = wrongTable(world) ?? giveCaches(world);
  if (wrong) return wrong;
  if (world.warnings()) return `${world.warnings()} warnings while the table was destroyed`;
  const taken = world.taken();
  return taken === world.takenBefore ? undefined : `${taken} pages of the arena are taken, ${world.takenBefore} before`;
}
