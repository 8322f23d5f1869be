// The arena's allocator against a list of intervals: aligned, disjoint, zeroed, counted, and whole again at the end.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine, type Engine } from "../../bindings/index.js";
import { Random, SEED } from "../support/random.js";
import { codeOf, KB4, smallEngine } from "../support/tables.js";

const UNIT = 4096;
const LARGEST = K.ORDERS - 1;

const take = (engine: Engine, order: number) => engine.core.takeBlock(order) >>> 0;
const give = (engine: Engine, pointer: number) => engine.core.giveBlock(pointer);
const bytes = (order: number) => UNIT << order;

/** Fills a block with something, after looking that it is empty. */
function use(engine: Engine, pointer: number, order: number): void {
  const words = engine.u32.subarray(pointer / 4, (pointer + bytes(order)) / 4);
  expect(words.every((word) => word === 0)).toBe(true);
  words.fill(0xdead_beef);
}

/** Takes as many blocks of `order` as there are. */
function takeAll(engine: Engine, order: number): number[] {
  const blocks: number[] = [];
  for (let p = take(engine, order); p !== 0; p = take(engine, order)) blocks.push(p);
  return blocks;
}

describe("blocks of the arena", () => {
  it("are aligned, apart, zeroed and counted, whatever is taken and given back", () => {
    const random = new Random(SEED);
    for (let run = 0; run < 10; run++) {
      const engine = createEngine({ arenaBytes: 2 << 20 });
      const { arenaPointer } = engine;
      const start = engine.arena();
      const held = new Map<number, number>();
      let units = start.taken / UNIT;
      let peak = units;
      for (let step = 0; step < 300; step++) {
        const order = random.below(LARGEST + 1);
        const pointer = random.below(3) < 2 ? take(engine, order) : 0;
        if (pointer !== 0) {
          const [from, to] = [pointer - arenaPointer, pointer - arenaPointer + bytes(order)];
          expect(from % bytes(order), `seed ${SEED}, run ${run}, step ${step}`).toBe(0);
          expect(from >= 0 && to <= 2 << 20).toBe(true);
          for (const [other, size] of held)
            expect(other + bytes(size) <= pointer || pointer + bytes(order) <= other).toBe(true);
          use(engine, pointer, order);
          held.set(pointer, order);
          units += 1 << order;
          peak = Math.max(peak, units);
        } else if (held.size > 0) {
          const [given, size] = random.pick([...held]);
          expect(give(engine, given)).toBe(0);
          expect(give(engine, given), "twice").toBe(K.EINVAL);
          held.delete(given);
          units -= 1 << size;
        }
        expect(engine.arena()).toEqual({ bytes: 2 << 20, taken: units * UNIT, peak: peak * UNIT });
      }
      for (const [pointer] of held) expect(give(engine, pointer)).toBe(0);
      expect(engine.arena().taken).toBe(start.taken);
    }
  });

  it("of every size are all there when nothing else is taken: what is given back is one again", () => {
    const engine = createEngine({ arenaBytes: 4 << 20 });
    const largest = takeAll(engine, LARGEST);
    expect(largest.length).toBeGreaterThan(0);
    for (const p of largest) give(engine, p);
    for (let order = 0; order <= LARGEST; order++) {
      const blocks = takeAll(engine, order);
      expect(blocks.length).toBeGreaterThanOrEqual(largest.length << (LARGEST - order));
      expect(new Set(blocks).size).toBe(blocks.length);
      // Given back in another order than they were taken in: from both ends to the middle.
      while (blocks.length > 0) {
        expect(give(engine, blocks.shift() as number)).toBe(0);
        const last = blocks.pop();
        if (last !== undefined) expect(give(engine, last)).toBe(0);
      }
      const again = takeAll(engine, LARGEST);
      expect(again.length).toBe(largest.length);
      for (const p of again) give(engine, p);
    }
  });

  it("are refused where there are none: inside a block, outside the arena, too large", () => {
    const engine = smallEngine();
    const p = take(engine, 2);
    const { taken } = engine.arena();
    const { arenaPointer, arenaBytes } = engine;
    const wrong = [p + UNIT, p + 8, p + 1, 0, 8, arenaPointer - UNIT, arenaPointer + arenaBytes, 0xffff_f000];
    for (const pointer of wrong) expect(give(engine, pointer), pointer.toString(16)).toBe(K.EINVAL);
    for (const order of [K.ORDERS, K.ORDERS + 1, 31, 32, -1]) expect(take(engine, order)).toBe(0);
    expect(engine.arena().taken).toBe(taken);
    expect(codeOf(() => engine.takeBlock(2 ** 21))).toBe("ENOMEM");
    expect(give(engine, p)).toBe(0);
  });

  it("have no references, also where a table was before", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(0, 5 * KB4, 0, "r");
    const root = Number(table.info().rootPa - engine.physBase) + engine.arenaPointer;
    expect(engine.core.pageReferences(root)).toBe(2);
    table.destroy();
    const blocks = takeAll(engine, 0);
    expect(blocks).toContain(root);
    expect(blocks.map((p) => engine.core.pageReferences(p)).filter((n) => n !== 0)).toEqual([]);
    expect([0, root + 8, engine.arenaPointer - UNIT].map((p) => engine.core.pageReferences(p))).toEqual([-1, -1, -1]);
  });
});
