// A walker that dies at a point of its work: afterwards nothing is locked, no count is off, no page is lost.

import { afterEach, describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine } from "../../bindings/debug.js";
import { type Engine, joinEngine, type Stage2Config, type Stage2Table } from "../../bindings/index.js";
import { codeOf, expectReferences, KB4, MB2, pointerOf } from "../support/tables.js";
import { at, BASE, COLUMN, FAULT, home, SHARED, slotAt, Thread, until } from "../support/walkers.js";

const PAGE = BigInt(KB4);
const BLOCK = BigInt(MB2);
let threads: Thread[] = [];

afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.kill();
});

interface Scene {
  engine: Engine;
  table: Stage2Table;
  victim: Thread;
  other: Thread;
  /** Nothing of the table, of the dead walker or of the others is left in the arena, but `blocks` bytes that its thread asked for by itself. */
  expectAllGiven: (blocks?: number) => Promise<void>;
}

/** A table and two walkers on threads, the first of which will die. */
async function scene(config: Stage2Config = {}): Promise<Scene> {
  const engine = createEngine({ walkers: 4, arenaBytes: 8 << 20 });
  const { taken } = engine.arena();
  const table = engine.createStage2({ ipaBits: 39, ...config });
  threads = [1, 2].map((id) => new Thread(engine, id, table));
  const [victim, other] = threads as [Thread, Thread];
  await Promise.all(threads.map((thread) => thread.call("countLeaves")));
  const expectAllGiven = async (blocks = 0): Promise<void> => {
    engine.reclaim();
    expect(engine.limbo()).toMatchObject({ waiting: 0 });
    table.close();
    await other.leave();
    expect(engine.arena().taken).toBe(taken + blocks);
    expect(engine.counters().warnings).toBe(0);
  };
  return { engine, table, victim, other, expectAllGiven };
}

/** The victim begins `method`, stops at the schedule point, and dies there. */
async function dieAt(victim: Thread, kind: number, pointer: number, method: string, ...args: unknown[]): Promise<void> {
  victim.stopAt(kind, pointer);
  void victim.call(method, ...args);
  await victim.stopped();
  await victim.kill();
}

/** Pointer of the level-2 entry of `addr`, where a table hangs now. */
function parentSlot(engine: Engine, table: Stage2Table, addr: bigint): number {
  const root = pointerOf(engine, table.info().rootPa) / 8 + Number(addr >> 30n);
  const level2 = pointerOf(engine, (engine.u64[root] as bigint) & 0xffff_ffff_f000n);
  return level2 + Number((addr >> 21n) & 511n) * 8;
}

describe("a walker that dies in a shared walk", () => {
  it("between break and make: a burial inside a section of the same table makes a hole at once [S2-24]", async () => {
    const { engine, table, victim, expectAllGiven } = await scene();
    table.map(BASE + BLOCK - PAGE, KB4, home(BASE), "r");
    await dieAt(victim, K.POINT_RELEASE, slotAt(table, BASE), "map", BASE, KB4, home(BASE), "rw", FAULT);
    {
      using _reading = table.lock("read");
      expect(engine.bury(1)).toMatchObject({ inSection: true, unlocked: 1, coreLocks: 0 });
    }
    expectReferences(table);
    expect(table.map(BASE, KB4, home(BASE), "rw", FAULT)).toBe("done");
    await expectAllGiven();
  });

  it("while a range waits for its marker: the range goes on, and nobody waits in vain [WLK-11, LCK-6]", async () => {
    const { engine, table, victim, other, expectAllGiven } = await scene();
    table.map(BASE, MB2, home(BASE), "rw");
    await dieAt(victim, K.POINT_RELEASE, slotAt(table, BASE), "split", BASE, MB2, "arena", SHARED);
    const range = other.call("wrprotect", BASE, MB2, SHARED);
    await until(engine, "the range inside", () => engine.walkers()[2]?.reads === table.handle);
    expect(engine.bury(1)).toMatchObject({ unlocked: 1 });
    await range;
    expect(table.leaf(BASE).kind).toBe("hole");
    expectReferences(table);
    await expectAllGiven();
  });

  it("between break and make of a block over a table: the table it unlinked is freed [S2-6, LCK-10]", async () => {
    const { engine, table, victim, expectAllGiven } = await scene();
    table.map(BASE, KB4, home(BASE), "rw");
    table.map(BASE + 4n * BLOCK, KB4, home(BASE), "rw");
    const parent = parentSlot(engine, table, BASE);
    await dieAt(victim, K.POINT_RELEASE, parent, "map", BASE, MB2, home(BASE), "rw", FAULT);
    expect(engine.bury(1)).toMatchObject({ unlocked: 1 });
    await expectAllGiven();
  });

  it("before it has retired the table that it replaced: that is freed [LCK-10]", async () => {
    const { engine, table, victim, expectAllGiven } = await scene();
    table.map(BASE, KB4, home(BASE), "rw");
    const parent = parentSlot(engine, table, BASE);
    await dieAt(victim, K.POINT_RELEASED, parent, "map", BASE, MB2, home(BASE), "rw", FAULT);
    expect(engine.bury(1)).toMatchObject({ unlocked: 0 });
    expect(table.leaf(BASE).kind).toBe("block");
    await expectAllGiven();
  });

  it("before it has linked the table that it took: that is freed [S2-7]", async () => {
    const { engine, table, victim, expectAllGiven } = await scene();
    table.map(BASE, MB2, home(BASE), "r");
    await dieAt(victim, K.POINT_EXCHANGE, slotAt(table, BASE), "map", BASE, KB4, home(BASE), "rw", FAULT);
    expect(engine.bury(1)).toMatchObject({ unlocked: 0 });
    expect(table.leaf(BASE).kind).toBe("block");
    await expectAllGiven();
  });

  it.each([
    ["between exchange and reference", "mapColumns", [[BASE], [home(BASE)], "rw", COLUMN]],
    ["between break and the drop of its reference", "map", [BASE, KB4, home(BASE, 1n), "r", FAULT]],
  ])("%s, in a table that waits in limbo: it is freed, once [S2-23, LCK-11]", async (_, method, args) => {
    const { engine, table, victim, expectAllGiven } = await scene();
    if (method === "map") table.map(BASE, KB4, home(BASE), "r");
    table.map(BASE + BLOCK - PAGE, KB4, home(BASE), "r");
    victim.stopAt(K.POINT_EXCHANGED, slotAt(table, BASE));
    void victim.call(method, ...args);
    await victim.stopped();
    table.map(BASE, MB2, home(BASE), "rw", FAULT);
    await victim.kill();
    engine.bury(1);
    await expectAllGiven(method === "mapColumns" ? KB4 : 0); // the columns are no page of a table
  });

  it("about to free a table that has waited: that goes on elsewhere [LCK-11]", async () => {
    const { engine, table, victim, expectAllGiven } = await scene();
    table.map(BASE, KB4, home(BASE), "rw");
    victim.stopAt(K.POINT_READ, slotAt(table, BASE));
    void victim.call("relaxPerms", BASE, "x", SHARED);
    await victim.stopped();
    table.map(BASE, MB2, home(BASE), "rw", FAULT);
    victim.stopAt(K.POINT_FREE);
    await victim.stopped();
    await victim.kill();
    engine.bury(1);
    await expectAllGiven();
  });
});

describe("a walker that dies with the table to itself", () => {
  it("in an unmap whose flush comes at the end: the burial flushes what may be stale [S2-12]", async () => {
    const { engine, table, victim } = await scene({ lockFree: true });
    table.map(BASE, 3 * KB4, home(BASE), "rw");
    await dieAt(victim, K.POINT_EXCHANGED, slotAt(table, BASE + PAGE), "unmap", BASE, 3 * KB4);
    const before = engine.counters().tlbiVmid;
    expect(engine.bury(1)).toMatchObject({ wroteTables: 1 });
    expect(engine.counters().tlbiVmid).toBe(before + 1);
    expectReferences(table);
  });

  it("about to destroy it: whoever is asked next goes on with that [S2-27]", async () => {
    const { engine, table, victim, other, expectAllGiven } = await scene();
    for (let i = 0n; i < 3n; i++) table.map(BASE + i * BLOCK, KB4, home(BASE), "rw");
    await other.call("lock", "read");
    void victim.call("destroy");
    await until(engine, "the writer", () => table.holders().writer === 1);
    await victim.kill();
    expect(engine.bury(1)).toMatchObject({ wroteTables: 0 }); // it waited for a reader
    await other.call("unlock");
    expect(table.leaf(BASE).kind).toBe("page");
    await expectAllGiven();
  });

  it("while others wait to destroy it: a reader that died does not hold them up [LCK-3]", async () => {
    const { engine, table, victim, other } = await scene();
    table.map(BASE, KB4, home(BASE), "rw");
    await dieAt(victim, K.POINT_READ, 0, "leaf", BASE);
    const destroyed = other.call("destroy");
    await until(engine, "destroy at the lock", () => table.holders().writer === 2);
    expect(engine.bury(1)).toMatchObject({ inSection: true });
    await destroyed;
    expect(table.info()).toMatchObject({ rootPa: 0n, pages: 0 });
  });
});

describe("a burial", () => {
  it("of one walker by two at once: one of them is told EBUSY, and afterwards nobody is there to bury", async () => {
    const { engine, table, victim } = await scene();
    table.map(BASE + BLOCK - PAGE, KB4, home(BASE), "r");
    const second = joinEngine(engine.ticket(3));
    await dieAt(victim, K.POINT_RELEASE, slotAt(table, BASE), "map", BASE, KB4, home(BASE), "rw", FAULT);
    let meanwhile = "";
    at(engine, K.POINT_EXCHANGE, slotAt(table, BASE), () => {
      meanwhile = codeOf(() => second.bury(1));
    });
    engine.bury(1);
    expect(meanwhile).toBe("EBUSY");
    expect(codeOf(() => second.bury(1))).toBe("EINVAL");
    second.close();
  });

  it("gives back every cache of the dead walker, with its pages [MC-5]", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
    const { taken } = engine.arena();
    const other = joinEngine(engine.ticket(1));
    const caches = [1, 2, 3].map(() => other.createCache(4096, 8));
    for (const cache of caches) cache.topUp(4);
    caches[1]?.close();
    expect(engine.arena().taken).toBeGreaterThan(taken);
    engine.bury(1);
    expect(engine.arena().taken).toBe(taken);
  });

  it("of one that died while it changed the free lists makes them anew from the states of the blocks", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 1 << 20 });
    joinEngine(engine.ticket(1));
    const before = engine.arena().taken;
    const kept = [0, 1, 2, 3].map(() => engine.takeBlock(KB4));
    for (const block of [kept[0], kept[2]]) engine.giveBlock(block as number);
    const pool = (1024 + 128) / 4; // behind the header: lock, taken, peak, heads of the lists
    engine.u32[pool] = 2;
    engine.u32.fill(0, pool + 3, pool + 3 + K.ORDERS);
    expect(engine.bury(1).coreLocks).toBe(1);
    const blocks: number[] = [];
    for (;;) {
      const block = engine.core.takeBlock(0) >>> 0;
      if (block === 0) break;
      blocks.push(block);
    }
    expect(new Set([...blocks, kept[1], kept[3]]).size).toBe(blocks.length + 2);
    expect(engine.arena().taken).toBe(1 << 20);
    for (const block of [...blocks, kept[1], kept[3]]) engine.giveBlock(block as number);
    expect(engine.arena().taken).toBeLessThan(before); // the dead walker's own two blocks
    expect(engine.takeBlock(256 << 10)).toBeGreaterThan(0);
  });
});
