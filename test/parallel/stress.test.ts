// Real threads on one engine, as they please. Outputs are a function of the input (of two, in some ranges), and the
// operations of a range are chosen so that what must hold in the end is known exactly, whatever the order was.
// GRANULE_STRESS=long runs some millions of operations, GRANULE_WORKERS more threads, GRANULE_SEED other ones.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine as createDebug } from "../../bindings/debug.js";
import { createEngine, type Entry, ipa, type Stage2Table } from "../../bindings/index.js";
import { SEED } from "../support/random.js";
import { BLOCK, type Make, PAGES_PER_BLOCK, RANGES, type Run, stress } from "../support/stress.js";
import { expectReferences } from "../support/tables.js";
import { home } from "../support/walkers.js";

const LONG = process.env.GRANULE_STRESS === "long";
const WORKERS = Number(process.env.GRANULE_WORKERS || 2);
const [MAPPED, WRITABLE] = [1, 2];

/** Is the output of a leaf one that belongs to its address, whatever its size [BUG-15]? */
function isHome({ address, pa }: Entry): boolean {
  return pa === home(address) || pa === home(address, 1n);
}

function within(name: keyof typeof RANGES, { address }: Entry): boolean {
  const { base, blocks } = RANGES[name];
  return address >= base && address < base + BigInt(blocks) * BLOCK;
}

/** In a range where nothing is taken away: what any walker was told was done is there. */
function expectKept(name: "grow" | "aged" | "bold", table: Stage2Table, notes: Int32Array): void {
  const { base, blocks, at } = RANGES[name];
  const leaves = [...table.leaves({ from: base, to: base + BigInt(blocks) * BLOCK })];
  const there = new Map(leaves.map((leaf) => [leaf.address, leaf]));
  for (let i = 0; i < blocks * PAGES_PER_BLOCK; i++) {
    const told = notes[at + i] as number;
    const leaf = there.get(ipa(base + BigInt(i) * 4096n));
    const is = leaf ? MAPPED | (leaf.prot & K.PROT_W ? WRITABLE : 0) : 0;
    if ((told & ~is) !== 0) throw new Error(`${name}: page ${i} is ${is}, but ${told} was said to be done`);
  }
}

function expectSound({ engine, table, free, notes }: Run): void {
  engine.reclaim();
  expect(engine.limbo()).toMatchObject({ waiting: 0, heldUpBy: undefined });
  for (const t of [table, free]) {
    const entries = [...t.entries()];
    expect(entries.filter(({ kind }) => kind !== "page" && kind !== "block")).toEqual([]);
    expect(entries.filter((e) => !isHome(e))).toEqual([]);
    expectReferences(t);
    expect(t.holders()).toEqual({ writer: undefined, readers: [] });
  }
  expect([...table.leaves()].filter((e) => within("guard", e) && e.prot & K.PROT_W)).toEqual([]);
  expectKept("grow", table, notes);
  expectKept("aged", table, notes);
  expectKept("bold", free, notes);
  expect(engine.counters().warnings).toBe(0);
}

/** Everything goes back to the arena, but the blocks that walker 0 has had from the start. */
function expectBalance({ engine, table, free }: Run, before: number): void {
  const { tablesTaken, tablesFreed } = engine.counters();
  expect(tablesTaken - tablesFreed).toBe(table.info().pages + free.info().pages);
  table.close();
  free.close();
  expect(engine.arena().taken).toBe(before);
  expect(engine.limbo().waiting).toBe(0);
  engine.close();
}

/** What walker 0 alone holds of an arena. */
function takenByOne(make: Make): number {
  using engine = make({ walkers: 2, arenaBytes: 1 << 20 });
  return engine.arena().taken;
}

const totals = { lost: 0, again: 0, retired: 0 };

async function run(make: Make, walkers: number, operations: number, seed: number): Promise<void> {
  try {
    const made = await stress(make, walkers, operations, seed);
    expectSound(made);
    const { lost, again } = made.engine.counters();
    totals.lost += lost;
    totals.again += again;
    totals.retired += made.engine.limbo().retired;
    expectBalance(made, takenByOne(make));
  } catch (error) {
    throw new Error(`GRANULE_SEED=${seed}, ${walkers} walkers: ${(error as Error).message}`, { cause: error });
  }
}

const TIMEOUT = LONG ? 3_600_000 : 120_000;
const CORES = [
  ["the debug core", createDebug, LONG ? 20 : 4, LONG ? 20_000 : 4_000],
  ["the release core", createEngine, LONG ? 40 : 8, LONG ? 60_000 : 25_000],
] as const;

describe.each(CORES)("walkers that do as they please on %s", (_, make, seeds, operations) => {
  const title = "leave only what some order explains [LCK-5, LCK-6, WLK-11, WLK-17, BUG-15, PROP-1, PROP-7]";
  it(
    `${title}, ${WORKERS} of them`,
    async () => {
      for (let i = 0; i < seeds; i++) await run(make, WORKERS, operations, SEED + i);
    },
    TIMEOUT,
  );

  it(
    "and so do four and eight [LCK-5, WLK-17]",
    async () => {
      await run(make, 4, operations >> 2, SEED + 1000);
      await run(make, 8, operations >> 3, SEED + 1001);
    },
    TIMEOUT,
  );
});

it("they did meet: exchanges were lost, faults came again, tables waited in limbo", () => {
  for (const n of Object.values(totals)) expect(n).toBeGreaterThan(0);
  console.log(`stress: ${JSON.stringify(totals)}`);
});
