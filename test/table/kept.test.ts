// Each operation on each kind of CPU: what it counts, what it records, and what it leaves. kept.txt has a line for each, with the
// counters in words, and sums over all records and over the table, its references and pages. The same operation without a journal,
// where walks go in bulk, must count and leave the same. `npx vitest run test/table/kept.test.ts --update` writes the file anew,
// and its difference is to be read.

import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  type Counters,
  type Engine,
  GranuleError,
  type HypConfig,
  type HypTable,
  Prot,
  type Stage2Config,
  type Stage2Table,
  type Table,
} from "../../bindings/index.js";
import { CONFIGURATIONS } from "../support/configurations.js";
import { contents, pointerOf, recorded, smallEngine } from "../support/tables.js";

interface Subject<T extends Table> {
  engine: Engine;
  table: T;
  page: number;
  block: number;
  typed: boolean;
}

type Step<T extends Table> = (subject: Subject<T>) => unknown;

const FAULT = { handleFault: true } as const;

/** Two pages, an annotation and a block, with holes between them. */
function populate({ table, page, block, typed }: Subject<Stage2Table>): void {
  table.map(3 * page, 2 * page, 64 * block, "rw");
  table.map(2 * block, block, 66 * block, "r");
  if (typed) table.annotate(7 * page, page, 2, 6n);
  else table.setOwner(7 * page, page, 1);
}

const FREE_CACHE = ({ engine, page }: Subject<Stage2Table>, n: number) => {
  const cache = engine.createCache(page as 4096, 4);
  cache.fill(n);
  return cache;
};

const STAGE2: Record<string, Step<Stage2Table>> = {
  "map a page": ({ table, page }) => table.map(0, page, page, "rw"),
  "map a page to execute": ({ table, page }) => table.map(0, page, page, "rwx"),
  "map a device": ({ table, page }) => table.map(0, page, page, "rwd"),
  "map software bits": ({ table, page }) => table.map(3 * page, page, page, Prot.R | Prot.SW1, FAULT),
  "map a page where there is no table": ({ table, page, block }) => table.map(5 * block, page, page, "r"),
  "map what is mapped": ({ table, page, block }) => table.map(3 * page, page, 64 * block, "rw", FAULT),
  "map other permissions": ({ table, page, block }) => table.map(3 * page, page, 64 * block, "r", FAULT),
  "map another page": ({ table, page }) => table.map(3 * page, page, page, "rw", FAULT),
  "map over an annotation": ({ table, page }) => table.map(7 * page, page, page, "rw"),
  "map a range over everything": ({ table, block }) => table.map(0, 3 * block, 64 * block, "rx"),
  "map a block into a hole": ({ table, block }) => table.map(6 * block, block, block, "rw"),
  "map a block over a table": ({ table, block }) => table.map(0, block, block, "rw"),
  "map a page into a block": ({ table, page, block }) => table.map(2 * block + page, page, page, "rw", FAULT),
  "map between blocks": ({ table, page, block }) => table.map(block - page, 2 * page, block - page, "r"),
  "map beyond the input": ({ table, page }) => table.map(2 ** table.info().inputBits, page, 0, "r"),
  "map beyond the output": ({ table, page }) => table.map(0, page, 2 ** 52, "r"),
  "map without a cache": ({ table, page, block }) => table.map(9 * block, page, 0, "r", { cache: undefined }),
  "map from a cache": (s) => s.table.map(9 * s.block, s.page, 0, "r", { cache: FREE_CACHE(s, 4) }),
  "map from a cache that is too small": (s) => s.table.map(9 * s.block, s.page, 0, "r", { cache: FREE_CACHE(s, 0) }),
  "map without maintenance": ({ table, page }) => table.map(0, page, page, "rwx", { skipCacheMaintenance: true }),
  "unmap a page": ({ table, page }) => table.unmap(3 * page, page),
  "unmap the last pages": ({ table, page }) => table.unmap(3 * page, 5 * page),
  "unmap an annotation": ({ table, page }) => table.unmap(7 * page, page),
  "unmap a part of a block": ({ table, page, block }) => table.unmap(2 * block + page, page),
  "unmap everything": ({ table, block }) => table.unmap(0, 4 * block),
  "unmap nothing": ({ table, block }) => table.unmap(8 * block, block),
  "write-protect a page": ({ table, page }) => table.wrprotect(3 * page, page),
  "write-protect everything": ({ table, block }) => table.wrprotect(0, 4 * block),
  "make young": ({ table, page }) => table.mkyoung(4 * page),
  "make a hole young": ({ table }) => table.mkyoung(0),
  "look for young": ({ table, block }) => table.testClearYoung(0, 4 * block, false),
  "look for young and clear": ({ table, block }) => table.testClearYoung(0, 4 * block, true),
  "look for young in a hole": ({ table, block }) => table.testClearYoung(8 * block, block, true),
  "allow writes": ({ table, block }) => table.relaxPerms(2 * block, "w"),
  "allow execution of a page": ({ table, page }) => table.relaxPerms(3 * page, "x"),
  "allow what is allowed": ({ table, page }) => table.relaxPerms(3 * page, "rw"),
  "allow a hole": ({ table }) => table.relaxPerms(0, "rwx"),
  "allow beyond the input": ({ table }) => table.relaxPerms(2 ** table.info().inputBits, "r"),
  "flush everything": ({ table, block }) => table.flush(0, 4 * block),
  "split a block": ({ table, block }) => table.split(2 * block, block),
  "split a part of a block": ({ table, page, block }) => table.split(2 * block + page, page),
  "split from a cache that is too small": (s) => s.table.split(0, 4 * s.block, FREE_CACHE(s, 0)),
  "split nothing": ({ table, block }) => table.split(0, block),
  "own pages": ({ table, page, typed }) =>
    typed ? table.annotate(2 * page, 3 * page, 3, 8n) : table.setOwner(2 * page, 3 * page, 1),
  "own a part of a block": ({ table, page, block, typed }) =>
    typed ? table.annotate(2 * block, page, 3, 8n) : table.setOwner(2 * block, page, 1),
  "flush TLBs of a range": ({ table, page }) => table.flushTlbRange(page, 77 * page),
  "flush TLBs of nothing": ({ table, page }) => table.flushTlbRange(page, 0),
  "build a table and free it": ({ table, block }) =>
    table.freeUnlinked(table.createUnlinked(7 * block, 2, "rwx", { forcePte: true }), 2),
  "build a table of a wrong level": ({ table }) => table.createUnlinked(0, 3, "rw"),
  "count leaves": ({ table }) => table.countLeaves(),
  "look up": ({ table, page, block }) => [table.leaf(3 * page), table.leaf(2 * block), table.lookup(0)],
  "destroy a part": ({ table, block }) => table.destroyRange(0, block),
  destroy: ({ table }) => table.destroy(),
  "destroy twice": ({ table }) => [table.destroy(), table.destroy()],
};

const HYP: Record<string, Step<HypTable>> = {
  "map a page": ({ table, page }) => table.map(0, page, page, "rw"),
  "map what is mapped": ({ table, page, block }) => table.map(3 * page, page, 64 * block, "rw"),
  "map software bits": ({ table, page, block }) => table.map(3 * page, page, 64 * block, Prot.R | Prot.W | Prot.SW1),
  "map something else": ({ table, page }) => table.map(3 * page, page, page, "rw"),
  "map over a block": ({ table, page, block }) => table.map(2 * block, page, page, "rw"),
  "map pages and a block": ({ table, page, block }) =>
    table.map(6 * block - page, block + page, 6 * block - page, "rx"),
  "map beyond the output": ({ table, page }) => table.map(0, page, 2 ** 52, "r"),
  "unmap a page": ({ table, page }) => table.unmap(3 * page, page),
  "unmap to the first hole": ({ table, page }) => table.unmap(3 * page, 5 * page),
  "unmap a block": ({ table, block }) => table.unmap(2 * block, block),
  "unmap a part of a block": ({ table, page, block }) => table.unmap(2 * block, page),
  "unmap nothing": ({ table, page }) => table.unmap(0, page),
  destroy: ({ table }) => table.destroy(),
};
const HYP_CONFIGURATIONS: readonly (readonly [string, HypConfig])[] = [
  ["EL2 4K", { vaBits: 39 }],
  ["EL2 4K, hVHE, BTI", { vaBits: 48, hvhe: true, bti: true }],
  ["EL2 4K, LPA2, linux-6.12", { vaBits: 52, lpa2: true, quirks: "linux-6.12" }],
  ["EL2 16K", { granule: 16384, vaBits: 47 }],
  ["EL2 64K", { granule: 65536, vaBits: 42 }],
];

const short = (value: unknown) =>
  createHash("sha256")
    .update(JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `${v}` : v)))
    .digest("hex")
    .slice(0, 8);

/** What an operation gives back, or how it refuses. */
function outcomeOf(step: () => unknown): string {
  try {
    const value = step();
    return value === undefined ? "done" : typeof value === "object" ? short(value) : `${value}`;
  } catch (error) {
    if (error instanceof GranuleError) return error.code;
    throw error;
  }
}

/** References of all pages in use, the bytes taken from the arena, and the table's entries. */
function remains({ engine, table }: Subject<Table>): string {
  const { rootPa } = table.info();
  const root = rootPa === 0n ? 0 : engine.core.pageReferences(pointerOf(engine, rootPa));
  return short([rootPa === 0n ? [] : contents(table), root, engine.arena().taken, table.info().pages]);
}

const gained = (before: Counters, after: Counters) =>
  Object.entries(after)
    .map(([name, n]) => [name, n - (before[name as keyof Counters] as number)] as const)
    .filter(([, n]) => n !== 0)
    .map(([name, n]) => `${name} ${n}`)
    .join(", ");

/** One operation with the journal on, and the same without it: a line of kept.txt. */
function lineOf<T extends Table>(make: () => Subject<T>, step: Step<T>): string {
  const [watched, quick] = [make(), make()];
  const before = watched.engine.counters();
  let outcome = "";
  const records = recorded(watched.engine, () => {
    outcome = outcomeOf(() => step(watched));
  });
  const counted = gained(before, watched.engine.counters());
  const unwatched = quick.engine.counters();
  expect(outcomeOf(() => step(quick))).toBe(outcome);
  expect(gained(unwatched, quick.engine.counters())).toBe(counted);
  expect(remains(quick)).toBe(remains(watched));
  return `${outcome}; ${counted || "nothing"}; ${records.length} records ${short(records)}; leaves ${remains(watched)}`;
}

describe("what each operation counts, records and leaves", () => {
  it("is as it was [WLK-17]", async () => {
    const lines: string[] = [];
    for (const [name, config] of CONFIGURATIONS) {
      const make = (): Subject<Stage2Table> => {
        const engine = smallEngine({ arenaBytes: 16 << 20, journalRecords: 1 << 15 });
        const page = config.granule ?? 4096;
        const table = engine.createStage2(config as Stage2Config);
        const made = { engine, table, page, block: page * (page / 8), typed: config.annotations === "7.x" };
        populate(made);
        return made;
      };
      for (const [operation, step] of Object.entries(STAGE2))
        lines.push(`${name}: ${operation}: ${lineOf(make, step)}`);
    }
    for (const [name, config] of HYP_CONFIGURATIONS) {
      const make = (): Subject<HypTable> => {
        const engine = smallEngine({ arenaBytes: 16 << 20, journalRecords: 1 << 15 });
        const page = config.granule ?? 4096;
        const block = page * (page / 8);
        const table = engine.createHyp(config);
        table.map(3 * page, 2 * page, 64 * block, "rw");
        table.map(2 * block, block, 66 * block, "r");
        return { engine, table, page, block, typed: false };
      };
      for (const [operation, step] of Object.entries(HYP)) lines.push(`${name}: ${operation}: ${lineOf(make, step)}`);
    }
    await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot("kept.txt");
  });
});
