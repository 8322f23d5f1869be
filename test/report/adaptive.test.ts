import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Counts, Frequent, Greatest, HeatGrid, States, TimeAxis } from "../../bindings/report/adaptive.js";

const STEPS = 16;
const times = fc
  .array(fc.double({ min: 0, max: 1e6, noNaN: true }), { maxLength: 300 })
  .map((all) => all.sort((a, b) => a - b));

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

describe("pictures of streams of unknown length", () => {
  it("count every event once, in the step that it lies in, however often steps are folded", () => {
    fc.assert(
      fc.property(times, (all) => {
        const axis = new TimeAxis(STEPS, 1e-3);
        const counts = new Counts(axis);
        for (const time of all) counts.add(time);
        const { start, step, count } = axis.extent;
        expect(count).toBeLessThanOrEqual(STEPS);
        const expected = Array.from({ length: count }, () => 0);
        for (const time of all) expected[Math.floor((time - start) / step)]! += 1;
        expect(counts.values).toEqual(expected);
        expect(counts.total).toBe(all.length);
      }),
    );
  });

  it("keep the last state of each step, and what was before where nothing changed", () => {
    fc.assert(
      fc.property(times, (all) => {
        const axis = new TimeAxis(STEPS, 1e-3);
        const states = new States(axis);
        for (const [i, time] of all.entries()) states.set(time, i);
        const { start, step, count } = axis.extent;
        const expected = Array.from({ length: count }, (_, column) =>
          all.findLastIndex((time) => Math.floor((time - start) / step) <= column),
        );
        expect(states.values).toEqual(expected);
      }),
    );
  });

  it("count what happened where, with rows that grow until there are few enough", () => {
    const place = fc.tuple(
      fc.constantFrom(0, 1),
      fc.integer({ min: 0, max: 2 ** 40 }),
      fc.double({ min: 0, max: 1e4, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(place, { maxLength: 200 }), (events) => {
        const axis = new TimeAxis(STEPS, 1e-2);
        const grid = new HeatGrid(axis, ["a", "b"], 4096, 8);
        for (const [layer, address, time] of events) grid.add(layer, address, time);
        const { rows, layers } = grid.result();
        expect(rows.length).toBeLessThanOrEqual(8);
        for (const [layer, { cells }] of layers.entries()) {
          expect(sum(cells.filter((_, i) => i % 3 === 2))).toBe(events.filter(([l]) => l === layer).length);
          for (let i = 0; i < cells.length; i += 3) {
            const at = rows[cells[i]!]!;
            const inside = events.filter(
              ([l, address]) => l === layer && address >= at && address < at + grid.rowBytes,
            );
            expect(cells[i + 2]).toBeLessThanOrEqual(inside.length);
            expect(inside.length).toBeGreaterThan(0);
          }
        }
      }),
    );
  });

  it("find what is frequent, and say when rare ones were forgotten", () => {
    const few = new Frequent<string>(4);
    for (const key of "aabcab") few.add(key);
    expect([few.top(2), few.forgot]).toEqual([
      [
        ["a", 3],
        ["b", 2],
      ],
      false,
    ]);
    for (const key of "defghiaaa") few.add(key);
    expect([few.top(1), few.forgot]).toEqual([[["a", 6]], true]);
  });

  it("keep the greatest of a stream, in order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { maxLength: 200 }), (all) => {
        const greatest = new Greatest<number>(5, (n) => n);
        for (const n of all) greatest.add(n);
        expect(greatest.list()).toEqual([...all].sort((a, b) => b - a).slice(0, 5));
      }),
    );
  });
});
