// One page is served without a walk's record, and a column of pages without walks: the promise of table/page.ts and of
// table/columns.ts, seen in the memory in which a walk would write its record.

import { describe, expect, it } from "vitest";
import { type Engine, joinEngine, type Stage2Config, type Stage2Table } from "../../bindings/index.js";
import { contents, smallEngine } from "../support/tables.js";

// As assembly/memory/layout.ts has them: records of walks in a walker's block, behind its counters.
const [RECORDS, RECORD_BYTES, DEPTH] = [768, 256, 8];
/** Of a record: the range that a walk goes over. */
const [START, RANGE_BYTES] = [8, 24];
const UNTOUCHED = 0xa5a5a5a5;

/** The words in which `engine`'s walks keep their records. */
function records(engine: Engine): Uint32Array {
  const first = (engine.core.counterPointer(engine.walker) + RECORDS) / 4;
  return engine.u32.subarray(first, first + (RECORD_BYTES * DEPTH) / 4);
}

/** Did `operation` write a walk's record? */
function walks(engine: Engine, operation: () => unknown): boolean {
  const words = records(engine);
  words.fill(UNTOUCHED);
  operation();
  return words.some((word) => word !== UNTOUCHED);
}

/** Did `operation` set the range of a walk? A column opens one for all of its rows. */
function aims(engine: Engine, operation: () => unknown): boolean {
  const words = records(engine);
  words.fill(UNTOUCHED);
  operation();
  return words.subarray(START / 4, (START + RANGE_BYTES) / 4).some((word) => word !== UNTOUCHED);
}

const GRANULES: readonly (readonly [string, Stage2Config])[] = [
  ["4K", { granule: 4096, ipaBits: 39 }],
  ["4K of 48 bits", { granule: 4096, ipaBits: 48 }],
  ["4K, no FWB", { granule: 4096, ipaBits: 39, fwb: false }],
  ["16K", { granule: 16384, ipaBits: 36 }],
  ["64K", { granule: 65536, ipaBits: 42 }],
];

/** A table in which pages 0 to 3 are mapped, alone or among walkers. */
function made(config: Stage2Config, walkers = 1): { engine: Engine; table: Stage2Table; page: number } {
  const engine = smallEngine({ arenaBytes: 4 << 20, journalRecords: 0, walkers });
  const page = config.granule as number;
  const table = engine.createStage2(config);
  table.map(0, 4 * page, 0, "r");
  return { engine, table, page };
}

describe.each(GRANULES)("%s: one page", (_, config) => {
  const QUICK: Record<string, (table: Stage2Table, page: number) => unknown> = {
    map: (table, page) => table.map(7 * page, page, 7 * page, "rwx"),
    "map with a fault": (table, page) => table.map(7 * page, page, 7 * page, "rw", { handleFault: true }),
    wrprotect: (table, page) => table.wrprotect(page, page),
    mkyoung: (table, page) => table.mkyoung(page),
    relaxPerms: (table, page) => table.relaxPerms(page, "w"),
    leaf: (table, page) => table.leaf(page),
  };

  it.each(Object.entries(QUICK))("%s takes no walk", (_name, operation) => {
    const { engine, table, page } = made(config);
    expect(walks(engine, () => operation(table, page))).toBe(false);
  });

  it("unmap takes none while its table stays in use, and one flush serves", () => {
    const { engine, table, page } = made(config);
    const quick = config.fwb !== false; // else each leaf is flushed before its cache maintenance [S2-12]
    expect(walks(engine, () => table.unmap(page, page))).toBe(!quick);
    expect(walks(engine, () => table.unmap(2 * page, page))).toBe(!quick);
    expect(table.countLeaves()).toBe(2);
    expect(walks(engine, () => table.unmap(0, page))).toBe(!quick);
    expect(walks(engine, () => table.unmap(3 * page, page))).toBe(true); // its table goes
    expect(contents(table)).toEqual([]);
  });

  it.each(["map", "wrprotect", "mkyoung", "relaxPerms"])("%s takes no walk among walkers either", (name) => {
    const { engine, table, page } = made(config, 2);
    const two = joinEngine(engine.ticket(1));
    const same = two.adopt(table.ticket()) as Stage2Table;
    const shared = { shared: true } as const;
    const operations: Record<string, () => unknown> = {
      map: () => same.map(7 * page, page, 7 * page, "rw", { ...shared, skipCacheMaintenance: true }),
      wrprotect: () => same.wrprotect(page, page, shared),
      mkyoung: () => same.mkyoung(page, shared),
      relaxPerms: () => same.relaxPerms(page, "w", shared),
    };
    expect(walks(two, operations[name] as () => unknown)).toBe(false);
  });
});

describe.each(GRANULES)("%s: a column", (_, config) => {
  const ROWS = 300; // more than are looked up together

  function columns(walkers: number) {
    const { engine, table, page } = made(config, walkers);
    const made_ = engine.createColumns(ROWS);
    for (let i = 0; i < ROWS; i++) {
      made_.addresses[i] = BigInt((8 + i) * page);
      made_.values[i] = BigInt((1000 + i) * page);
    }
    return { engine, table, columns: made_ };
  }

  it.each([
    [1, {}],
    [2, { shared: true, skipCacheMaintenance: true }],
  ] as const)("of holes and of leaves takes no walk (%i walkers)", (walkers, options) => {
    const { engine, table, columns: rows } = columns(walkers);
    const { shared } = options as { shared?: boolean };
    expect(aims(engine, () => table.mapColumns(rows, ROWS, "r", options))).toBe(false);
    expect(table.countLeaves()).toBe(4 + ROWS);
    const relaxed = () => table.relaxColumns(rows, ROWS, "w", shared ? { shared } : {});
    expect(aims(engine, relaxed)).toBe(false);
    expect(new Set([...table.leaves()].slice(4).map(({ prot }) => prot)).size).toBe(1);
  });
});
