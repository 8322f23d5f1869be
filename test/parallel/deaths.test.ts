// A walker dies at each of its schedule points in turn, in every operation: whatever it had begun, its burial leaves a table that is
// sound, a translation that is the old one, the new one or none, and every page where it belongs.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine } from "../../bindings/debug.js";
import type { Engine, EngineOptions, HypTable, Stage2Config, Stage2Table } from "../../bindings/index.js";
import { joinEngine, Prot } from "../../bindings/index.js";
import { codeOf, expectReferences, KB4, MB2 } from "../support/tables.js";
import { BASE, COLUMN, FAULT, home, pointsOf, SHARED, slotAt } from "../support/walkers.js";

const PAGE = BigInt(KB4);
const BLOCK = BigInt(MB2);
const OTHER = 1n;
/** A page far away, that no operation touches. */
const WITNESS = BASE + 300n * BLOCK;

interface World {
  engine: Engine;
  table: Stage2Table;
  /** The walker that will die, and its view of the table. */
  victim: Engine;
  same: Stage2Table;
  /** Bytes of the arena that were taken before there was a table or a second walker. */
  taken: number;
  /** Are its annotations, and so its locked marker, those of 7.x? */
  typed: boolean;
}

interface Scenario {
  prepare?: (world: World) => void;
  run: (world: World) => unknown;
  /** Bytes that the victim's thread asked for by itself, and nobody gives back. */
  lost?: number;
  config?: Stage2Config;
  options?: EngineOptions;
}

const pages =
  (n: number, from = BASE) =>
  (world: World) =>
    world.table.map(from, n * KB4, home(from), "rw");
const block = ({ table }: World) => void table.map(BASE, MB2, home(BASE), "rw");
function annotate(typed: boolean, table: Stage2Table, from: bigint, size: number): void {
  if (typed) table.annotate(from, size, 2, 6n);
  else table.setOwner(from, size, 1);
}

/** Tables that wait for a reader who then leaves: whoever comes next frees them. */
function limbo(world: World): void {
  const { engine, table } = world;
  pages(1)(world);
  const section = joinEngine(engine.ticket(2));
  const reading = (section.adopt(table.ticket()) as Stage2Table).lock("read");
  table.map(BASE, MB2, home(BASE), "rw", FAULT);
  reading[Symbol.dispose]();
  section.close();
}

const SCENARIOS: Record<string, Scenario> = {
  "a page into a hole": {
    prepare: pages(1, BASE + 9n * PAGE),
    run: ({ same }) => same.map(BASE, KB4, home(BASE), "rw", FAULT),
  },
  "a page into an empty table": { run: ({ same }) => same.map(BASE, KB4, home(BASE), "rw", FAULT) },
  "a page of its own cache": { run: ({ same }) => same.map(BASE, KB4, home(BASE), "rw", { ...FAULT, cache: "own" }) },
  "another page over a page": {
    prepare: pages(2),
    run: ({ same }) => same.map(BASE, KB4, home(BASE, OTHER), "r", FAULT),
  },
  "a page into a block": {
    prepare: block,
    run: ({ same }) => same.map(BASE + PAGE, KB4, home(BASE + PAGE), "r", FAULT),
  },
  "a block over a table": { prepare: pages(3), run: ({ same }) => same.map(BASE, MB2, home(BASE), "rw", FAULT) },
  "blocks and pages, alone": { prepare: pages(2), run: ({ same }) => same.map(BASE, MB2 + 3 * KB4, home(BASE), "rw") },
  "a range that is shared": { prepare: pages(2), run: ({ same }) => same.map(BASE, 6 * KB4, home(BASE), "rw", SHARED) },
  "a column": {
    prepare: pages(1, BASE + 9n * PAGE),
    lost: KB4, // the columns are no page of a table
    run({ victim, same }) {
      const columns = victim.createColumns(3);
      columns.addresses.set([BASE, BASE + PAGE, BASE + BLOCK]);
      columns.values.set([BASE, BASE + PAGE, BASE + BLOCK].map((ipa) => home(ipa)));
      same.mapColumns(columns, 3, "rw", COLUMN);
    },
  },
  "an unmap that frees tables": { prepare: pages(3), run: ({ same }) => same.unmap(BASE, MB2) },
  "an unmap of one page": { prepare: pages(3), run: ({ same }) => same.unmap(BASE + PAGE, KB4) },
  "a write protection": { prepare: pages(3), run: ({ same }) => same.wrprotect(BASE, 5 * KB4, SHARED) },
  "a write protection, alone": { prepare: pages(3), run: ({ same }) => same.wrprotect(BASE, 5 * KB4) },
  "permissions for one page": { prepare: pages(3), run: ({ same }) => same.relaxPerms(BASE + PAGE, "x", SHARED) },
  "a look at access flags": { prepare: pages(3), run: ({ same }) => same.testClearYoung(BASE, 5 * KB4, true, SHARED) },
  "a split": { prepare: block, run: ({ same }) => same.split(BASE, MB2, "arena", SHARED) },
  "a split, alone": { prepare: block, run: ({ same }) => same.split(BASE, MB2, "arena") },
  "an annotation of pages": { prepare: pages(2), run: ({ same, typed }) => annotate(typed, same, BASE, 3 * KB4) },
  "an annotation of a part of a block": {
    prepare: block,
    run: ({ same, typed }) => annotate(typed, same, BASE + PAGE, KB4),
  },
  "a lookup": { prepare: pages(1), run: ({ same }) => same.leaf(BASE) },
  "a count": { prepare: pages(3), run: ({ same }) => same.countLeaves() },
  "a destruction in pieces": { prepare: pages(3), run: ({ same }) => same.destroyRange(BASE, MB2) },
  "a destruction": { prepare: pages(3), run: ({ same }) => same.destroy() },
  "what has waited, after an operation": { prepare: limbo, run: ({ same }) => same.mkyoung(BASE, SHARED) },
  "what has waited, when asked": { prepare: limbo, run: ({ victim }) => victim.reclaim() },
  "another table": { run: ({ victim }) => victim.createStage2({ ipaBits: 40 }) },
};

/** Ways in which every operation runs: what is watched, and what others may do without the lock, decides how it stores. */
interface Mode {
  typed?: boolean;
  lockFree?: boolean;
  journal?: boolean;
}
const MODES: Record<string, Mode> = {
  plain: {},
  "lock-free": { lockFree: true },
  journalled: { journal: true },
  "typed annotations": { typed: true },
};

function world({ prepare, config = {}, options = {} }: Scenario, mode: string): World {
  const { typed = false, lockFree = false, journal = false } = MODES[mode] as Mode;
  const engine = createEngine({ walkers: 4, arenaBytes: 1 << 20, journalRecords: journal ? 1 << 10 : 0, ...options });
  const { taken } = engine.arena();
  const table = engine.createStage2({ ipaBits: 39, lockFree, annotations: typed ? "7.x" : "6.12", ...config });
  const victim = joinEngine(engine.ticket(1));
  const made = { engine, table, victim, same: victim.adopt(table.ticket()) as Stage2Table, taken, typed };
  table.map(WITNESS, KB4, home(WITNESS), "rw");
  prepare?.(made);
  if (journal) engine.journal.start();
  return made;
}

/** Slots that hold the locked marker, in the table or in one that is being built or freed. */
function lockedSlots({ engine, typed }: World): number {
  const marker = typed ? K.LOCKED_7X : K.LOCKED_612;
  const first = engine.arenaPointer / 8;
  const arena = engine.u64.subarray(first, first + engine.arena().bytes / 8);
  let n = 0;
  for (let at = arena.indexOf(marker); at !== -1; at = arena.indexOf(marker, at + 1)) n++;
  return n;
}

class Death extends Error {}

/** Runs the scenario until the victim meets its `nth` point, and dies; false if it has fewer. */
function dies({ victim }: { victim: Engine }, run: () => unknown, nth: number): boolean {
  let met = 0;
  victim.hosts.point = () => {
    if (++met === nth) throw new Death();
  };
  try {
    run();
  } catch (error) {
    if (error instanceof Death) return true;
    throw error;
  }
  return false;
}

/** What must hold once the dead walker is buried, and what its burial must have said. */
function expectSound(world: World, journal: boolean, lost: number, where: string): void {
  const { engine, table, taken } = world;
  const held = engine.walkers()[1];
  const locked = lockedSlots(world);
  const burial = engine.bury(1);
  expect(burial, where).toMatchObject({ inSection: held?.inSection });
  expect(burial.coreLocks, where).toBeLessThanOrEqual(journal ? 1 : 0); // that of the order of records
  // Whoever died alone may leave one in a table that it was building: that is freed, not repaired.
  if (held?.writes === 0) expect(burial.unlocked, where).toBe(locked);
  else expect(burial.unlocked, where).toBeLessThanOrEqual(locked);
  expect(engine.walkers()[1], where).toMatchObject({ attached: false, inSection: false, reads: 0, writes: 0 });
  if (table.info().rootPa !== 0n) expectWhole(world, where);
  expect(
    codeOf(() => engine.bury(1)),
    where,
  ).toBe("EINVAL");
  table.close();
  engine.reclaim();
  expect(engine.limbo(), where).toMatchObject({ waiting: 0, heldUpBy: undefined });
  expect(engine.arena().taken, where).toBe(taken + lost);
  expect(engine.counters().warnings, where).toBe(0);
}

/** The table is as it should be, and another walker goes on in it in the place of the dead one. */
function expectWhole({ engine, table }: World, where: string): void {
  table.lock("write")[Symbol.dispose](); // who has the table to itself repairs it
  expectReferences(table);
  const entries = [...table.entries({ tables: true })];
  expect(
    entries.filter(({ kind }) => kind === "locked"),
    where,
  ).toEqual([]);
  const leaves = entries.filter(({ kind }) => kind === "page" || kind === "block");
  for (const { address, pa } of leaves) expect([home(address), home(address, OTHER)], where).toContain(pa);
  expect(table.leaf(WITNESS), where).toMatchObject({ kind: "page", pa: home(WITNESS) });
  engine.reclaim();
  const { pages, rootPages } = table.info();
  expect(pages, where).toBe(rootPages + entries.filter(({ kind }) => kind === "table").length);
  const next = joinEngine(engine.ticket(1));
  const same = next.adopt(table.ticket()) as Stage2Table;
  same.unmap(BASE, 2 * MB2);
  expect(same.map(BASE + PAGE, KB4, home(BASE + PAGE), "rw", FAULT), where).toBe("done");
  next.close();
}

/** The points at which a scenario's victim dies: all, but of a table of 512 equal pages those at its two ends. */
function deathsOf(scenario: Scenario, mode: string): number[] {
  const made = world(scenario, mode);
  const n = pointsOf(made.victim, () => scenario.run(made)).length;
  return Array.from({ length: n }, (_, i) => i + 1).filter((nth) => nth <= 30 || nth > n - 30);
}

describe.each(Object.keys(MODES))("%s: a walker that dies at any point of", (mode) => {
  it.each(Object.entries(SCENARIOS))("%s [S2-23, S2-24, LCK-10, LCK-11]", (name, scenario) => {
    for (const nth of deathsOf(scenario, mode)) {
      const made = world(scenario, mode);
      expect(dies(made, () => scenario.run(made), nth)).toBe(true);
      expectSound(made, MODES[mode]?.journal === true, scenario.lost ?? 0, `${name}, point ${nth}`);
    }
  });
});

describe("a walker that dies while it makes a table", () => {
  // As assembly/memory/layout.ts has them: where the engine begins, the bits of a handle that say where its record is, the word that
  // says who is making it.
  const [ENGINE, RECORD, USED, USED_BY] = [1024, 0x7ff00, 44, 2];

  it("with the root in it, and the handle not yet given out: both go back [S2-1, LCK-10]", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 1 << 20, maxTables: 1 });
    const { taken } = engine.arena();
    const victim = joinEngine(engine.ticket(1));
    const { handle } = victim.createStage2({ ipaBits: 40 });
    engine.u32[(ENGINE + (handle & RECORD) + USED) / 4] = 1 + USED_BY;
    expect(codeOf(() => engine.createStage2({ ipaBits: 39 }))).toBe("EBUSY");
    engine.bury(1);
    expect(engine.arena().taken).toBe(taken);
    const next = engine.createStage2({ ipaBits: 39 });
    expect(next.handle).not.toBe(handle);
    expect(next.info()).toMatchObject({ pages: 1, rootPages: 1, inputBits: 39 });
  });
});

/** An EL2 table of two walkers, with a page far away. */
function worldOfEl2(journal: boolean, prepare: (table: HypTable) => void) {
  const engine = createEngine({ walkers: 2, arenaBytes: 1 << 20, journalRecords: journal ? 1 << 10 : 0 });
  const { taken } = engine.arena();
  const table = engine.createHyp({ vaBits: 39 });
  const victim = joinEngine(engine.ticket(1));
  table.map(WITNESS, KB4, home(WITNESS), "rw");
  prepare(table);
  if (journal) engine.journal.start();
  return { engine, table, victim, same: victim.adopt(table.ticket()) as HypTable, taken };
}

const EL2: Record<string, { prepare: (table: HypTable) => void; run: (table: HypTable) => unknown }> = {
  "a page into an empty table": { prepare: () => {}, run: (table) => table.map(BASE, KB4, home(BASE), "rw") },
  "pages and a block": {
    prepare: () => {},
    run: (table) => table.map(BASE - PAGE, KB4 + MB2, home(BASE - PAGE), "rw"),
  },
  "software bits of a page": {
    prepare: (table) => void table.map(BASE, KB4, home(BASE), "rw"),
    run: (table) => table.map(BASE, KB4, home(BASE), Prot.R | Prot.W | Prot.SW0),
  },
  "an unmap that frees tables": {
    prepare: (table) => void table.map(BASE, 2 * KB4, home(BASE), "rw"),
    run: (table) => table.unmap(BASE, 2 * KB4),
  },
  "a lookup": { prepare: (table) => void table.map(BASE, KB4, home(BASE), "rw"), run: (table) => table.leaf(BASE) },
};

describe.each([
  ["plain", false],
  ["journalled", true],
] as const)("%s: a walker that dies at any point of EL2's", (_, journal) => {
  it.each(Object.entries(EL2))("%s [S1-3, S1-6, IDE-3]", (name, { prepare, run }) => {
    const first = worldOfEl2(journal, prepare);
    const n = pointsOf(first.victim, () => run(first.same)).length;
    for (let nth = 1; nth <= n; nth++) {
      const { engine, table, victim, same, taken } = worldOfEl2(journal, prepare);
      const where = `${name}, point ${nth}`;
      expect(dies({ victim }, () => run(same), nth)).toBe(true);
      engine.bury(1);
      table.lock("write")[Symbol.dispose]();
      expectReferences(table);
      for (const { address, pa } of table.leaves()) expect(pa, where).toBe(home(address));
      expect(table.leaf(WITNESS).pa, where).toBe(home(WITNESS));
      engine.reclaim();
      const { pages, rootPages } = table.info();
      const tables = [...table.entries({ tables: true })].filter(({ kind }) => kind === "table");
      expect(pages, where).toBe(rootPages + tables.length);
      table.unmap(BASE, KB4);
      table.close();
      expect(engine.arena().taken, where).toBe(taken);
      expect(engine.counters().warnings, where).toBe(0);
    }
  });
});

describe("a table whose counts a death left in doubt", () => {
  it("is repaired by the next operation that leaves it to nobody, a shared one too [S2-23, LCK-11]", () => {
    const { engine, table, victim, same } = world({ prepare: pages(1, BASE + 9n * PAGE), run: () => {} }, "plain");
    const page = Math.floor(slotAt(table, BASE) / KB4) * KB4;
    const reading = table.lock("read");
    victim.hosts.point = (kind) => {
      if (kind === K.POINT_EXCHANGED) throw new Death(); // the leaf is there, its reference is not counted yet
    };
    const mine = victim.createColumns(1);
    mine.addresses[0] = BASE;
    mine.values[0] = home(BASE);
    expect(() => same.mapColumns(mine, 1, "rw", COLUMN)).toThrow(Death);
    engine.bury(1);
    expect(engine.core.pageReferences(page)).toBe(2); // itself and the page that was there before
    reading[Symbol.dispose]();
    table.mkyoung(BASE, SHARED);
    expect(engine.core.pageReferences(page)).toBe(3);
  });
});
