// Unmap on a table that nobody watches, which may empty a table page by its reference count, against the same on a table with the
// journal on, which removes entry after entry: equal entries, reference counts, pages in use and counters. Software state comes
// in by every way that there is.

import { describe, expect, it } from "vitest";
import { type Counters, createEngine, type Engine, type Stage2Config, type Stage2Table } from "../../bindings/index.js";
import { Random, runs, SEED } from "../support/random.js";
import { contents, expectReferences, rootReferences } from "../support/tables.js";

const RUNS = runs(60);
const STEPS = 12;
/** Tables of the last level that a run works in. */
const TABLES = 3;
const TYPED = 2n << 60n;

function config(random: Random): Stage2Config {
  const granule = random.pick([4096, 4096, 4096, 4096, 4096, 4096, 16384, 65536] as const);
  return {
    granule,
    ipaBits: granule === 65536 ? 42 : random.pick([36, 40, 47]),
    fwb: !random.oneIn(6),
    tlbiRange: !random.oneIn(6),
    hardwareDirty: random.oneIn(8),
    quirks: random.oneIn(3) ? "linux-6.12" : "none",
    annotations: random.oneIn(2) ? "7.x" : "6.12",
    forcePte: "all",
  };
}

interface Twin {
  engine: Engine;
  table: Stage2Table;
}

/** One change of both twins: a range, and what is done to it. */
type Step = (twin: Twin) => void;

function annotation(c: Stage2Config): bigint {
  return c.annotations === "7.x" ? TYPED : 4n;
}

/** One of the ways in which software state gets into a slot. */
function annotate(random: Random, c: Stage2Config, at: number, page: number): Step {
  const typed = c.annotations === "7.x";
  const n = random.pick([1, 2, 5]);
  const own: Step = ({ table }) => {
    if (typed) table.annotate(at, n * page, 2, 0n);
    else table.setOwner(at, n * page, 1);
  };
  const make: Step = ({ table }) => {
    table.walk(at, page, (visit) => {
      if (visit.level === 3 && visit.tryBreak()) visit.make(annotation(c));
    });
  };
  const set: Step = ({ table }) => {
    table.walk(at, page, (visit) => {
      if (visit.level === 3) visit.set(annotation(c));
    });
  };
  const poke: Step = ({ table }) => {
    if (table.leaf(at).level === 3) table.poke(at, annotation(c));
  };
  const lock: Step = ({ table }) => {
    if (table.leaf(at).kind === "hole" && table.leaf(at).level === 3) table.poke(at, typed ? 1n << 60n : 0x400n);
  };
  return random.pick([own, make, set, poke, lock]);
}

function step(random: Random, c: Stage2Config): Step {
  const page = c.granule as number;
  const span = page * (page / 8);
  const first = random.below(TABLES) * span;
  const at = first + random.below(page / 8) * page;
  switch (random.below(7)) {
    case 0:
    case 1:
      return ({ table }) => table.map(first, span, 8 * span, random.oneIn(2) ? "rw" : "r");
    case 2: {
      const n = 1 + random.below(20);
      return ({ table }) => table.map(at, n * page, at, "r");
    }
    case 3:
      return annotate(random, c, at, page);
    case 4:
      return ({ table }) => table.unmap(at, (1 + random.below(30)) * page);
    case 5:
      return ({ table }) => table.unmap(first, span);
    default:
      return ({ table }) => table.unmap(0, TABLES * span);
  }
}

function counted({ engine }: Twin): Partial<Counters> {
  return engine.counters();
}

function run(seed: number): void {
  const random = new Random(seed);
  const c = config(random);
  const walkers = random.pick([1, 1, 2]);
  const [quick, slow] = [0, 1].map((watched) => {
    const engine = createEngine({ arenaBytes: 4 << 20, maxTables: 2, walkers, journalRecords: 64 });
    if (watched) engine.journal.start();
    return { engine, table: engine.createStage2(c) };
  }) as [Twin, Twin];
  for (let i = 0; i < STEPS; i++) {
    const seedOfStep = random.u32();
    for (const twin of [quick, slow]) step(new Random(seedOfStep), c)(twin);
    expect(contents(quick.table)).toEqual(contents(slow.table));
    expect(rootReferences(quick.table)).toEqual(rootReferences(slow.table));
    expectReferences(quick.table);
    expect(quick.table.info().pages).toBe(slow.table.info().pages);
    expect(counted(quick)).toEqual(counted(slow));
  }
  for (const { engine, table } of [quick, slow]) {
    table.close();
    expect(engine.counters().tablesTaken).toBe(engine.counters().tablesFreed);
  }
}

describe(`unmap by reference count, first seed ${SEED}`, () => {
  it("leaves what unmap entry by entry leaves (S2-10, S2-11, S2-12, WLK-17)", { timeout: 300_000 }, () => {
    for (let seed = SEED; seed < SEED + RUNS; seed++) {
      try {
        run(seed);
      } catch (error) {
        expect.fail(`GRANULE_SEED=${seed} GRANULE_RUNS=1: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  });
});
