// The scan against a reader of the raw tables that shares no code with it: same records, whatever is asked for, wherever the range
// begins and ends, and however often the scan has to be taken up again because its buffer is full.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import type { Stage2Table } from "../../bindings/index.js";
import { CONFIGURATIONS, made } from "../support/configurations.js";
import { pointerOf, shiftOf } from "../support/tables.js";

/** [address, level, descriptor, references, entries] */
type Row = readonly [bigint, number, bigint, number, number];

interface Range {
  from: bigint;
  to: bigint;
}

/** Pages of 4 and 16 KiB with LPA2 keep output bits 51:50 in 9:8; tables of these tests lie below 2^48. */
const ADDRESS = 0xffff_ffff_f000n;

/** What a scan of `table` should say, read entry by entry from its memory. */
function* rowsOf(table: Stage2Table, what: number, { from, to }: Range): Generator<Row> {
  const { engine, granule } = table;
  const { rootPa, rootPages, startLevel } = table.info();
  const perPage = granule / 8;

  function* below(pa: bigint, level: number, base: bigint, n: number): Generator<Row> {
    const span = 1n << shiftOf(granule, level);
    const first = pointerOf(engine, pa) / 8;
    let holes = 0;
    const run = (i: number): Row[] => {
      const row: Row = [base + BigInt(i - holes) * span, level, 0n, -1, holes];
      const wanted = holes > 0 && what & K.SCAN_HOLES;
      holes = 0;
      return wanted ? [row] : [];
    };
    for (let i = 0; i < n; i++) {
      const address = base + BigInt(i) * span;
      const entry = engine.u64[first + i] as bigint;
      const inside = address < to && address + span > from;
      if (i % perPage === 0) yield* run(i);
      if (inside && entry === 0n) {
        holes++;
        continue;
      }
      yield* run(i);
      if (!inside) continue;
      const isTable = level < 3 && (entry & 3n) === 3n;
      const references = isTable ? engine.core.pageReferences(pointerOf(engine, entry & ADDRESS)) : -1;
      if (!isTable || what & K.SCAN_TABLES) yield [address, level, entry, references, 1];
      if (isTable) yield* below(entry & ADDRESS, level + 1, address, perPage);
    }
    yield* run(n);
  }
  yield* below(rootPa, startLevel, 0n, perPage * rootPages);
}

/** The records of a scan that has room for `max` at a time, and takes up where the last one ended. */
function scanned(table: Stage2Table, what: number, { from, to }: Range, max: number): Row[] {
  const { engine } = table;
  const out = engine.borrowBuffer();
  const rows: Row[] = [];
  let [cursor, level] = [from, -2];
  for (;;) {
    const status = engine.core.scan(table.handle, 0, 0, cursor, level, to, what, out, max);
    expect(status).toBe(0);
    const { records, more } = engine.results.scanEnd;
    expect(records).toBeLessThanOrEqual(max);
    for (let i = 0; i < records; i++) {
      const at = out + 32 * i;
      const word = (offset: number) => engine.u32[(at + offset) / 4] as number;
      const [address, descriptor] = [engine.u64[at / 8] as bigint, engine.u64[at / 8 + 1] as bigint];
      expect(word(28)).toBe(0);
      rows.push([address, word(16) | 0, descriptor, word(20) | 0, word(24)]);
    }
    if (!more) return rows;
    expect(records).toBe(max);
    const [address, lastLevel, , , n] = rows.at(-1) as Row;
    cursor = address + BigInt(n - 1) * (1n << shiftOf(table.granule, lastLevel));
    level = lastLevel;
  }
}

/** Pages at both ends of tables, a block, an annotation between pages, and tables far apart. */
function populated(config: (typeof CONFIGURATIONS)[number][1]): { table: Stage2Table; page: number; block: number } {
  const { table, page, block } = made(config);
  table.map(0, 2 * page, 0x4000_0000, "rw");
  table.map(block - page, 2 * page, 0x5000_0000, "r");
  table.map(3 * block, block, 8 * block, "rx");
  table.map(5 * block + 7 * page, page, 0, "rw");
  if (config.annotations === "7.x") table.annotate(5 * block + 9 * page, page, 2, 6n);
  else table.setOwner(5 * block + 9 * page, page, 1);
  const limit = 2 ** table.info().inputBits;
  table.map(limit - 3 * block - page, page, 0, "rw");
  return { table, page, block };
}

const WHATS = [0, K.SCAN_TABLES, K.SCAN_HOLES, K.SCAN_TABLES | K.SCAN_HOLES];

describe.each(CONFIGURATIONS)("a scan of %s", (_, config) => {
  const { table, page, block } = populated(config);
  const limit = 1n << BigInt(table.info().inputBits);
  const ranges: readonly [string, Range][] = [
    ["the whole table", { from: 0n, to: limit }],
    ["inside a block and inside a run of holes", { from: BigInt(3 * block + page), to: BigInt(5 * block + 3 * page) }],
    ["a hole among pages", { from: BigInt(5 * block + 8 * page), to: BigInt(5 * block + 10 * page) }],
    ["the last page of a table and the first of the next", { from: BigInt(block - page), to: BigInt(block + page) }],
    ["a page of holes far away", { from: limit - BigInt(block), to: limit }],
  ];

  it.each(ranges)("%s: parents before children, in order, each entry once [WLK-5]", (_where, range) => {
    for (const what of WHATS) expect(scanned(table, what, range, 100)).toEqual([...rowsOf(table, what, range)]);
  });

  it("goes on behind the last record, wherever its buffer ended", () => {
    for (const what of WHATS) {
      const all = [...rowsOf(table, what, { from: 0n, to: limit })];
      for (let max = 1; max <= all.length; max++) {
        const rows = scanned(table, what, { from: 0n, to: limit }, max);
        expect(rows, `${max} at a time`).toEqual(all);
      }
    }
  });
});
