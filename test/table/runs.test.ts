// Visitors that read runs of entries see what visitors of single entries see.

import { describe, expect, it } from "vitest";
import { createEngine, type Stage2Table } from "../../bindings/index.js";
import { CONFIGURATIONS, made } from "../support/configurations.js";
import { Random, SEED } from "../support/random.js";
import { codeOf, shiftOf } from "../support/tables.js";

/** Entries of [at, at + size) as `level address descriptor`, one visit each. */
function single(table: Stage2Table, at: bigint, size: bigint): string[] {
  const { granule } = table.info();
  const seen: string[] = [];
  table.walk(at, size, ({ level, address, old }) => {
    const entry = (address >> shiftOf(granule, level)) << shiftOf(granule, level);
    seen.push(`${level} ${entry.toString(16)} ${old.toString(16)}`);
  });
  return seen;
}

/** The same from runs. */
function inRuns(table: Stage2Table, at: bigint, size: bigint): string[] {
  const seen: string[] = [];
  table.walkRuns(at, size, ({ words, count, address, entryBytes, level }) => {
    expect(words.length).toBe(2 * count);
    for (let i = 0; i < count; i++) {
      const [low, high] = words.subarray(2 * i).map((word) => word) as unknown as [number, number];
      const old = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
      seen.push(`${level} ${(address + BigInt(i * entryBytes)).toString(16)} ${old.toString(16)}`);
    }
  });
  return seen;
}

describe.each(CONFIGURATIONS)("runs on %s", (_name, config) => {
  it("WLK-5: hold the entries that single visits see, whatever part of the table is asked for", () => {
    const random = new Random(SEED);
    const { table, page, block } = made(config);
    table.map(block, 3 * block, 8 * block, "rw");
    table.map(5 * block + page, 5 * page, 0, "r");
    table.poke(5 * block + 9 * page, config.annotations === "7.x" ? 2n << 60n : 4n);
    table.unmap(2 * block, page);
    const ranges: [bigint, bigint][] = [[0n, 8n * BigInt(block)]];
    for (let i = 0; i < 30; i++) {
      const at = BigInt(random.below(8 * (page / 8))) * BigInt(page);
      ranges.push([at, BigInt(1 + random.below(random.pick([3, page / 8]))) * BigInt(page)]);
    }
    for (const [at, size] of ranges) expect(inRuns(table, at, size), `seed ${SEED}`).toEqual(single(table, at, size));
  });
});

describe("runs", () => {
  function mapped() {
    const engine = createEngine({ arenaBytes: 1 << 20 });
    const table = engine.createStage2({ ipaBits: 39, forcePte: "all" });
    table.map(0, 4 << 20, 0, "rw");
    return { engine, table };
  }

  it("come a table page at a time, and stop at the walk's end", () => {
    const { table } = mapped();
    const runs: string[] = [];
    table.walkRuns(0x5000, 4 << 20, ({ address, count, level, entryBytes }) => {
      runs.push(`L${level} 0x${address.toString(16)} ${count} x ${entryBytes}`);
    });
    expect(runs).toEqual(["L3 0x5000 507 x 4096", "L3 0x200000 512 x 4096", "L2 0x400000 1 x 2097152"]);
  });

  it("WLK-10: a negative result ends the walk, and what is thrown comes out", () => {
    const { table } = mapped();
    let calls = 0;
    expect(table.walkRuns(0, 4 << 20, () => (calls++ ? 0 : -16))).toBe(-16);
    expect(table.walkRuns(0, 4 << 20, () => (calls++, -11))).toBe(0);
    expect(calls).toBe(3);
    expect(() =>
      table.walkRuns(0, 4096, () => {
        throw new RangeError("mine");
      }),
    ).toThrow("mine");
    expect(codeOf(() => table.walkRuns(0, 4096, (async () => {}) as never))).toBe("EINVAL");
    expect(codeOf(() => table.walkRuns(0, 4096, 3 as never))).toBe("EINVAL");
  });

  it("are of a walk: the table cannot lose pages meanwhile", () => {
    const { table } = mapped();
    const codes: string[] = [];
    table.walkRuns(0, 4096, () => {
      codes.push(
        codeOf(() => table.unmap(0, 4096)),
        codeOf(() => table.destroy()),
      );
    });
    expect(codes).toEqual(["EBUSY", "EBUSY"]);
  });

  it("WLK-13: read alone, and are no visits", () => {
    const engine = createEngine({ arenaBytes: 1 << 20, walkers: 2 });
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(0, 4096, 0, "r");
    let writer: number | undefined;
    table.walkRuns(0, 4096, () => {
      writer = table.holders().writer;
      expect(engine.core.visitRead()).toBe(-1);
    });
    expect(writer).toBe(0);
  });
});
