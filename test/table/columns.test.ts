// Columns of pages: each row is the operation that a single call makes, with the same records, counts and refusals.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { type Engine, Prot, type Stage2Config, type Stage2Table } from "../../bindings/index.js";
import { CONFIGURATIONS } from "../support/configurations.js";
import { codeOf, contents, expectReferences, KB4, MB2, recorded, smallEngine } from "../support/tables.js";
import { FAULT, pair, slotAt } from "../support/walkers.js";

interface Twin {
  engine: Engine;
  table: Stage2Table;
}

/** Two equal tables with a block, a table of pages and an annotation. */
function twins(config: Stage2Config): { one: Twin; many: Twin; page: number; block: number } {
  const page = config.granule ?? 4096;
  const block = page * (page / 8);
  const make = (): Twin => {
    const engine = smallEngine({ arenaBytes: 16 << 20 });
    const table = engine.createStage2(config);
    table.map(block, block, 4 * block, "r");
    table.map(3 * page, 2 * page, 0, "rw");
    return { engine, table };
  };
  const [one, many] = [make(), make()];
  one.engine.createColumns(8); // table pages then stand at equal places
  return { one, many, page, block };
}

/** The rows of a column: a hole, pages, a block, a table that is not there yet, and the first page again. */
function rowsOf(page: number, block: number): number[] {
  return [0, 3 * page, 4 * page, block + page, 5 * block, 5 * block + 2 * page, 0];
}

function columnsOf(engine: Engine, addresses: readonly number[], values: readonly number[] = []) {
  const columns = engine.createColumns(8);
  columns.addresses.set(addresses.map(BigInt));
  columns.values.set(values.map(BigInt));
  return columns;
}

describe.each(CONFIGURATIONS)("a column on %s", (_, config) => {
  it("of maps: the records of as many faults, one after the other [S2-2, S2-5, S2-24]", () => {
    const { one, many, page, block } = twins(config);
    const rows = rowsOf(page, block);
    const outputs = rows.map((_row, i) => 16 * block + (i % 6) * page);
    const expected = recorded(one.engine, () => {
      for (const [i, row] of rows.entries())
        one.table.map(row, page, outputs[i] as number, "rwx", { handleFault: true });
    });
    const columns = columnsOf(many.engine, rows, outputs);
    const actual = recorded(many.engine, () => many.table.mapColumns(columns, rows.length, "rwx"));
    expect(actual).toEqual(expected);
    expect([...columns.statuses.subarray(0, 7)]).toEqual([0, 0, 0, 0, 0, 0, K.EAGAIN]);
    expect(contents(many.table)).toEqual(contents(one.table));
    expectReferences(many.table);
  });

  it.each(["w", "x", "rwx"] as const)(
    "of permissions (%s): the records of as many calls [S2-13, S2-17, TLB-37]",
    (prot) => {
      const { one, many, page, block } = twins(config);
      const rows = rowsOf(page, block);
      const expected = recorded(one.engine, () => rows.map((row) => one.table.relaxPerms(row, prot)));
      const columns = columnsOf(many.engine, rows);
      const actual = recorded(many.engine, () => many.table.relaxColumns(columns, rows.length, prot));
      expect(actual).toEqual(expected);
      expect(contents(many.table)).toEqual(contents(one.table));
    },
  );

  it.each(["w", "x", "rwx"] as const)(
    "of permissions (%s) that nobody watches: the same leaves and counts [S2-17]",
    (prot) => {
      const { one, many, page, block } = twins(config);
      const rows = rowsOf(page, block);
      const before = [one, many].map(({ engine }) => engine.counters());
      const statuses = rows.map((row) => (one.table.relaxPerms(row, prot) === "again" ? K.EAGAIN : 0));
      const columns = columnsOf(many.engine, rows);
      many.table.relaxColumns(columns, rows.length, prot);
      expect([...columns.statuses.subarray(0, 7)]).toEqual(statuses);
      expect(contents(many.table)).toEqual(contents(one.table));
      const gained = [one, many].map(({ engine }, i) => {
        const { submitted: _submitted, ...counters } = engine.counters();
        return Object.entries(counters).map(([name, n]) => [name, n - (before[i]?.[name as "dsb"] ?? 0)]);
      });
      expect(gained[1]).toEqual(gained[0]);
    },
  );
});

describe("a column", () => {
  it("of an identity table maps each address to itself, and to nothing else [S2-2]", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39, flags: { identity: true } });
    const columns = columnsOf(engine, [0x1000, 0x2000, 0x3000], [0x1000, 0x2000, 0x9000]);
    expect(codeOf(() => table.mapColumns(columns, 3, "rw"))).toBe("EINVAL");
    expect([...table.leaves()].map(({ address, pa }) => [address, pa])).toEqual([
      [0x1000n, 0x1000n],
      [0x2000n, 0x2000n],
    ]);
  });

  it("without the lock is for permissions alone, on a table that was made for that [LCK-4]", () => {
    const { a, b, two } = pair({ lockFree: true });
    const plain = pair();
    a.map(0, KB4, 0, "r");
    plain.a.map(0, KB4, 0, "r");
    const lockFree = { lockFree: true } as const;
    const free = columnsOf(two, [0]);
    b.relaxColumns(free, 1, "w", lockFree);
    expect(a.leaf(0).prot & Prot.W).toBe(Prot.W);
    expect(codeOf(() => plain.b.relaxColumns(columnsOf(plain.two, [0]), 1, "w", lockFree))).toBe("EPERM");
    expect(plain.two.core.relaxPages(plain.b.handle, free.addresses.byteOffset, 0, 1, 2, K.LOCK_FREE)).toBeLessThan(0);
    const at = free.addresses.byteOffset;
    expect(two.core.mapPages(b.handle, at, at, at, 1, 3, K.CACHE_ARENA, K.LOCK_FREE)).toBeLessThan(0);
  });

  it("takes its tables from a cache, which is topped up to one fault's worth whenever a page needs one [MC-6]", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 48 });
    const cache = engine.createCache(4096, 4);
    const rows = [0, 1, 2, 3, 4, 5].map((i) => i * 2 ** 39);
    table.mapColumns(columnsOf(engine, rows, rows), 6, "rw", { cache });
    expect(table.countLeaves()).toBe(6);
    expect(table.info().pages).toBe(1 + 6 * 3);
    expect(cache.count).toBeLessThan(4);
    expectReferences(table);
  });

  it("ends at the first row that cannot be, and leaves the others and their statuses alone", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    const columns = columnsOf(engine, [0x1000, 2 ** 39, 0x3000], [0x1000, 0x2000, 0x3000]);
    columns.statuses.fill(99);
    expect(codeOf(() => table.mapColumns(columns, 3, "rw"))).toBe("ERANGE");
    expect([...columns.statuses.subarray(0, 3)]).toEqual([0, K.ERANGE, 99]);
    expect(table.countLeaves()).toBe(1);
    columns.statuses.fill(99);
    expect(codeOf(() => table.relaxColumns(columns, 3, "x"))).toBe("ERANGE");
    expect([...columns.statuses.subarray(0, 3)]).toEqual([0, K.ERANGE, 99]);
  });

  it("has its own protections and table, whatever the column before it had", () => {
    const engine = smallEngine();
    const [one, two] = [engine.createStage2({ ipaBits: 39 }), engine.createStage2({ granule: 16384, ipaBits: 36 })];
    one.mapColumns(columnsOf(engine, [0, 0x1000], [0, 0x1000]), 2, "r");
    one.mapColumns(columnsOf(engine, [0x2000, 0x3000], [0x2000, 0x3000]), 2, "rwx");
    two.mapColumns(columnsOf(engine, [0, 0x4000, 0x8000], [0, 0x4000, 0x8000]), 3, "rw");
    const seen = (table: Stage2Table) =>
      [...table.leaves()].map(({ pa, prot }) => [pa, prot & (Prot.R | Prot.W | Prot.X)]);
    const [r, rw, rwx] = [Prot.R, Prot.R | Prot.W, Prot.R | Prot.W | Prot.X];
    expect(seen(one)).toEqual([0n, 0x1000n, 0x2000n, 0x3000n].map((pa, i) => [pa, i < 2 ? r : rwx]));
    expect(seen(two)).toEqual([0n, 0x4000n, 0x8000n].map((pa) => [pa, rw]));
    for (const table of [one, two]) expectReferences(table);
  });

  it("of more rows than are looked up together: each row once, in order", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    const n = 600;
    const columns = engine.createColumns(n);
    for (let i = 0; i < n; i++) {
      columns.addresses[i] = BigInt((i % 550) * KB4);
      columns.values[i] = BigInt((1000 + i) * KB4);
    }
    table.mapColumns(columns, n, "r");
    expect([...columns.statuses.subarray(0, n)]).toEqual(Array.from({ length: n }, () => 0));
    const leaves = [...table.leaves()].map(({ pa }) => Number(pa) / KB4);
    expect(leaves).toEqual(Array.from({ length: 550 }, (_, i) => (i < 50 ? 1550 + i : 1000 + i)));
    table.leafColumns(columns, n);
    expect(Number((columns.values[300] as bigint) & 0xffff_ffff_f000n)).toBe(1300 * KB4);
    expect(new Set(columns.statuses.subarray(0, n))).toEqual(new Set([3]));
  });
});

describe("a column of lookups", () => {
  it.each([
    ["4K of 52 bits, from level -1", { granule: 4096, lpa2: true, ipaBits: 52 }],
    ["4K from level 0", { granule: 4096, ipaBits: 48 }],
    ["4K from level 1, two start tables", { granule: 4096, ipaBits: 40 }],
    ["4K from level 2", { granule: 4096, ipaBits: 32 }],
    ["16K from level 0", { granule: 16384, lpa2: true, ipaBits: 52 }],
    ["16K from level 2", { granule: 16384, ipaBits: 36 }],
    ["64K from level 2", { granule: 65536, ipaBits: 42 }],
    ["64K from level 1", { granule: 65536, ipaBits: 48 }],
  ] as const)("%s: what single lookups find, at every level, and nothing outside [WLK-14]", (_, config) => {
    const engine = smallEngine({ arenaBytes: 16 << 20 });
    const table = engine.createStage2(config);
    const page = config.granule;
    const end = 2n ** BigInt(config.ipaBits);
    const last = end - BigInt(page);
    table.map(0, page, page, "rw");
    table.map(last, page, 2 * page, "r");
    table.map(page * (page / 8), page * (page / 8), page * (page / 8), "rw");
    const rows = [
      0n,
      BigInt(page),
      BigInt(page * (page / 8)) + 5n,
      last,
      last - BigInt(page),
      end / 2n,
      end - 1n,
      end,
      2n ** 63n,
    ];
    const columns = engine.createColumns(rows.length);
    columns.addresses.set(rows);
    table.leafColumns(columns, rows.length);
    const single = rows.map((row) => (row < end ? table.leaf(row) : { descriptor: 0n, level: -128 }));
    expect([...columns.values.subarray(0, rows.length)]).toEqual(single.map(({ descriptor }) => descriptor));
    expect([...columns.statuses.subarray(0, rows.length)]).toEqual(single.map(({ level }) => level));
  });

  it("among walkers reads an entry again that has become a table since it was found [WLK-4]", () => {
    const { one, two, a, b } = pair();
    a.map(MB2, MB2, MB2, "r");
    const columns = columnsOf(two, [MB2 + 0x5000]);
    let met = 0;
    two.hosts.point = (kind) => {
      // Between the lookup of the slot and the read of its entry.
      if (kind === K.POINT_READ && ++met === 2) a.map(MB2 + 0x5000, KB4, 0x9000, "rw", FAULT);
    };
    b.leafColumns(columns, 1);
    expect([columns.statuses[0], Number((columns.values[0] as bigint) & 0xffff_f000n)]).toEqual([3, 0x9000]);
    expect(one.counters().warnings).toBe(0);
  });

  it("among walkers ends with EFAULT when what the entry has become names no table [WLK-9]", () => {
    const { one, two, a, b } = pair();
    a.map(MB2, MB2, MB2, "r");
    const slot = slotAt(a, BigInt(MB2));
    const columns = columnsOf(two, [MB2 + 0x5000]);
    let met = 0;
    two.hosts.point = (kind, pointer) => {
      if (kind === K.POINT_READ && pointer === slot && ++met === 2) one.u64[slot / 8] = 0xdead_0000_0003n;
    };
    expect(codeOf(() => b.leafColumns(columns, 1))).toBe("EFAULT");
    expect(met).toBeGreaterThanOrEqual(2);
  });
});

describe("an entry that becomes a table after it was found", () => {
  /** A block at MB2, and a walker that makes a page in it when the other one reads its slot for the `nth` time. */
  function growing(nth: number) {
    const made = pair();
    made.a.map(MB2, MB2, MB2, "r");
    const slot = slotAt(made.a, BigInt(MB2));
    let met = 0;
    made.two.hosts.point = (kind, pointer) => {
      if (kind !== K.POINT_READ || pointer !== slot || ++met !== nth) return;
      made.a.map(MB2 + 0x5000, KB4, 0x9000, "r", FAULT);
    };
    return { ...made, met: () => met };
  }

  it("is not taken for a leaf: a lookup goes on to the page below [WLK-4, WLK-14]", () => {
    for (const nth of [1, 2]) {
      const { b, met } = growing(nth);
      expect(b.leaf(MB2 + 0x5000)).toMatchObject({ kind: "page", level: 3, pa: 0x9000n });
      expect(met()).toBeGreaterThanOrEqual(nth);
    }
  });

  it("gets no permissions: they go to the page below [S2-17, WLK-5]", () => {
    for (const nth of [1, 2]) {
      const { a, b, two } = growing(nth);
      const columns = columnsOf(two, [MB2 + 0x5000]);
      b.relaxColumns(columns, 1, "w", { shared: true });
      expect([columns.statuses[0], a.leaf(MB2 + 0x5000).prot & Prot.W]).toEqual([0, Prot.W]);
      expect(a.leaf(MB2 + 0x6000).kind).toBe("hole");
      expectReferences(a);
    }
  });
});
