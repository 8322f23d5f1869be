// The page caches that a walker has for itself: one for each granule, made when it is needed, given back when it leaves.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { joinEngine, type Stage2Table } from "../../bindings/index.js";
import { codeOf, expectReferences, smallEngine } from "../support/tables.js";

const GRANULES = [4096, 16384, 65536] as const;
const FAULT = { shared: true, handleFault: true, cache: "own" } as const;

describe("a cache", () => {
  it("is of pages that exist, and of one at least", () => {
    const { core } = smallEngine();
    for (const ps of [0, 11, 13, 15, 17]) expect(core.cacheCreate(ps, 4), `${ps}`).toBe(K.EINVAL);
    expect([core.cacheCreate(12, 0), core.cacheCreate(12, -1)]).toEqual([K.EINVAL, K.EINVAL]);
  });
});

describe("an empty cache", () => {
  it("gives nothing, and stays empty [MC-4]", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    const cache = engine.createCache(4096, 4);
    for (let i = 0; i < 3; i++) {
      expect(codeOf(() => table.map(0, 4096, 0, "r", { cache }))).toBe("ENOMEM");
      expect(cache.count).toBe(0);
    }
    cache.fill(1);
    expect(codeOf(() => table.map(0, 4096, 0, "r", { cache }))).toBe("ENOMEM"); // two tables are needed
    cache.topUp(2);
    expect([codeOf(() => table.map(0, 4096, 0, "r", { cache })), table.countLeaves()]).toEqual(["", 1]);
  });
});

describe("a walker's own caches", () => {
  it("are filled for the granules that it faults on, and all given back when it leaves [MC-1, MC-7]", () => {
    const one = smallEngine({ walkers: 2, arenaBytes: 32 << 20 });
    const tables = GRANULES.map((granule) => one.createStage2({ granule, ipaBits: 42 }));
    const before = one.arena().taken;
    const two = joinEngine(one.ticket(1));
    const joined = one.arena().taken;
    const taken = tables.map((table, i) => {
      const start = one.arena().taken;
      const mine = two.adopt(table.ticket()) as Stage2Table;
      mine.map(0, GRANULES[i] as number, 0, "r", FAULT);
      mine.map(1 << 30, GRANULES[i] as number, 0, "r", FAULT); // out of the cache that is there now
      return one.arena().taken - start;
    });
    // Forty pages and the block that lists them, whatever the tables took out of them.
    for (const [i, granule] of GRANULES.entries()) expect(taken[i]).toBe(40 * granule + 4096);
    two.close();
    const pages = tables.map((table) => table.info().pages - table.info().rootPages);
    const kept = pages.reduce((sum, n, i) => sum + n * (GRANULES[i] as number), 0);
    expect(one.arena().taken).toBe(before + kept);
    for (const table of tables) table.close();
    expect(one.arena().taken).toBeLessThan(before);
    expect(joined).toBeGreaterThan(before);
    one.close();
  });

  it("are each walker's: one leaves, and the other keeps its own", () => {
    const one = smallEngine({ walkers: 3, arenaBytes: 16 << 20 });
    const table = one.createStage2({ ipaBits: 39 });
    const [two, three] = [1, 2].map((id) => joinEngine(one.ticket(id)));
    if (!two || !three) throw new Error("no walkers");
    const fault = (engine: typeof two, at: number) =>
      (engine.adopt(table.ticket()) as Stage2Table).map(at, 4096, 0, "r", FAULT);
    fault(two, 0);
    fault(three, 2 ** 30);
    two.close();
    const left = one.arena().taken;
    fault(three, 2 ** 31); // its cache has pages still: nothing new is taken
    expect(one.arena().taken).toBe(left);
    three.close();
    expect(one.arena().taken).toBeLessThan(left);
  });

  it("leave nothing behind for who comes in the walker's place: it counts and faults as the first one did [S2-23]", () => {
    const one = smallEngine({ walkers: 2, arenaBytes: 4 << 20 });
    const table = one.createStage2({ ipaBits: 39 });
    const gained: number[] = [];
    for (let round = 0; round < 3; round++) {
      const two = joinEngine(one.ticket(1));
      const mine = two.adopt(table.ticket()) as Stage2Table;
      const before = one.arena().taken;
      for (let i = 0; i < 3; i++) expect(mine.map((3 * round + i) * 4096, 4096, 0, "r", FAULT)).toBe("done");
      gained.push(one.arena().taken - before);
      two.close();
      expectReferences(table);
    }
    expect(gained).toEqual([41 * 4096, 41 * 4096, 41 * 4096]); // forty pages, and the block that lists them
    table.unmap(0, 9 * 4096);
    expect(table.info().pages).toBe(table.info().rootPages);
  });
});
