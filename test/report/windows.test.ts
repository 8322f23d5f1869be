import { describe, expect, it } from "vitest";
import { createEngine, type Granule, type Stage2Table } from "../../bindings/index.js";
import { Windows } from "../../bindings/report/windows.js";

/** What `work` did to a table, seen by Windows: `work` says when things happen. */
function windowsOf(granule: Granule, work: (table: Stage2Table, at: (seconds: number) => void) => void): Windows {
  using engine = createEngine({ journalRecords: 1 << 16 });
  engine.journal.start();
  const table = engine.createStage2({ granule });
  const { startLevel, rootPages } = table.info();
  const windows = new Windows({ granule, startLevel, rootPages, lpa2: false });
  let now = 0;
  const at = (seconds: number) => {
    for (const record of engine.journal.read()) windows.add(record, now);
    engine.journal.clear();
    now = seconds;
  };
  work(table, at);
  at(Number.NaN);
  return windows;
}

const BLOCK = { 4096: 2 << 20, 16384: 32 << 20, 65536: 512 << 20 } as const;

describe.each([4096, 16384, 65536] as const)("break to make, granule %i", (granule) => {
  const block = BLOCK[granule];

  it("is seen where a block becomes a table: its address, its level, the TLBIs between", () => {
    const windows = windowsOf(granule, (table) => {
      table.map(block, block, 4 * block, "rw");
      table.map(block + granule, granule, 9 * block, "r");
    });
    expect(windows.closed).toBe(1);
    expect(windows.withoutTlbi).toBe(0);
    const [window] = windows.longest;
    expect(window).toMatchObject({ address: block, level: 2, broken: 0, made: 0, tlbis: ["IPAS2E1IS", "VMALLE1IS"] });
    expect([(window?.before ?? 0n) & 3n, (window?.after ?? 0n) & 3n]).toEqual([1n, 3n]);
  });

  it("is as long as the time between an unmap and the next map", () => {
    const windows = windowsOf(granule, (table, at) => {
      table.map(0, 4 * granule, 0, "rw");
      at(1);
      table.unmap(2 * granule, granule);
      at(3.5);
      table.map(2 * granule, granule, 7 * granule, "rw");
    });
    expect(windows.longest).toHaveLength(1);
    expect(windows.longest[0]).toMatchObject({ address: 2 * granule, level: 3, broken: 1, made: 3.5 });
    expect(windows.longest[0]?.tlbis.length).toBeGreaterThan(0);
  });

  it("is no window where an entry was invalid before, or stays invalid", () => {
    const windows = windowsOf(granule, (table) => {
      table.map(0, 8 * granule, 0, "rw");
      table.unmap(0, 8 * granule);
    });
    expect([windows.closed, windows.longest]).toEqual([0, []]);
  });
});
