// Journals of several walkers before the judge [LCK-1..13, S2-21, S2-22, HWM-41]: interleaved on one thread, and of threads
// with random operations. The judge accepts them, and objects when a record is moved, altered or dropped.

import { describe, expect, it } from "vitest";
import type { Verdict } from "../../bindings/audit/index.js";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine as createDebug } from "../../bindings/debug.js";
import { createEngine, type Engine, JournalKind, type JournalRecord, joinEngine } from "../../bindings/index.js";
import type { Stage2Table } from "../../bindings/tables/stage2.js";
import { CasemateWriter } from "../../bindings/trace/index.js";
import { Random, SEED } from "../support/random.js";
import { BLOCK, stress } from "../support/stress.js";
import { BASE, FAULT, home, SHARED } from "../support/walkers.js";
import { judgeLog, judgeRecords } from "./support.js";

const PAGE = 4096n;
const WALKERS = 3;
const RING = 1 << 17;
/** Points at which another walker may come in between: not where this one holds the lock that orders journals. */
const POINTS: readonly number[] = [K.POINT_ORDER, K.POINT_CHILD, K.POINT_RETIRED, K.POINT_FREE];

/** What a walker does to a table that others walk; `first`: nobody is in it, and `alone` keeps it so. */
function perform(random: Random, table: Stage2Table, first: boolean, alone: (action: () => unknown) => void): void {
  const block = BASE + BigInt(random.below(2)) * BLOCK;
  const page = block + BigInt(random.below(3)) * PAGE;
  const other = BigInt(random.below(2));
  const steps: (() => unknown)[] = [
    () => table.map(block, BLOCK, home(block, other), "rw", FAULT),
    () => table.map(block, BLOCK, home(block, other), "rw", FAULT),
    () => table.map(page, PAGE, home(page, other), "rw", FAULT),
    () => table.map(page, PAGE, home(page, other), "rw", FAULT),
    () => table.relaxPerms(page, "x", SHARED),
    () => table.mkyoung(page, SHARED),
  ];
  // These wait for who has locked an entry: on one thread, for ever.
  if (first) {
    steps.push(() => table.wrprotect(block, BLOCK, SHARED));
    steps.push(() => table.split(block, BLOCK, "arena", SHARED));
    steps.push(() => table.testClearYoung(block, BLOCK, true, SHARED));
    steps.push(() => alone(() => table.unmap(page, random.oneIn(2) ? PAGE : BLOCK)));
    steps.push(() => alone(() => table.wrprotect(block, BLOCK)));
  }
  random.pick(steps)();
}

/** The journal of walkers on one thread: at each point of one another may perform something whole. */
function interleaved(seed: number, config: object = {}, turns = 60): JournalRecord[] {
  const random = new Random(seed);
  using first = createDebug({ walkers: WALKERS, arenaBytes: 8 << 20, journalRecords: RING });
  first.journal.start();
  const engines: Engine[] = [first];
  for (let i = 1; i < WALKERS; i++) engines.push(joinEngine(first.ticket(i)));
  const made = first.createStage2({ ipaBits: 39, ...config });
  const tables = engines.map((engine) => (engine === first ? made : (engine.adopt(made.ticket()) as Stage2Table)));
  const busy = new Set<number>();
  const turn = (self: number): void => {
    const first = busy.size === 0;
    busy.add(self);
    perform(random, tables[self] as Stage2Table, first, (action) => {
      for (let i = 0; i < WALKERS; i++) busy.add(i);
      action();
      busy.clear();
    });
    busy.delete(self);
  };
  for (const engine of engines) {
    engine.hosts.point = (kind) => {
      const free = engines.flatMap((_, i) => (busy.has(i) ? [] : [i]));
      if (POINTS.includes(kind) && free.length > 0 && random.oneIn(3)) turn(random.pick(free));
    };
  }
  for (let i = 0; i < turns; i++) turn(random.below(WALKERS));
  for (const engine of engines) engine.hosts.point = () => {};
  settle(first, made);
  return first.journal.read();
}

/** What is owed at the end is flushed by one who knows of it all: whoever holds the lock for writing. */
function settle(engine: Engine, table: Stage2Table): void {
  engine.reclaim();
  using _held = table.lock("write");
  table.flushTlbRange(0n, 1n << 38n);
}

const told = ({ violations }: Verdict): string[] => violations.slice(0, 3).map(({ message }) => message);

describe("walkers interleaved on one thread", () => {
  it.each([{}, { tlbiRange: false }, { lockFree: true }])("%j: no objection [PROP-3]", (config) => {
    for (let i = 0; i < 60; i++) {
      const records = interleaved(SEED + i, config);
      expect(told(judgeRecords(records)), `GRANULE_SEED=${SEED + i}`).toEqual([]);
    }
  });
});

describe("a log of interleaved walkers", () => {
  it.each([{}, { lockFree: true }])("%j: takes the lock for each record, and is right", (config) => {
    for (let i = 0; i < 5; i++) {
      const lines = new CasemateWriter().write(interleaved(SEED + 900 + i, config, 20));
      expect(told(judgeLog(lines.join("\n"), { knownPages: true })), `GRANULE_SEED=${SEED + i}`).toEqual([]);
    }
  });
});

describe("threads", () => {
  it.each([
    ["the debug core", createDebug, 2],
    ["the release core", createEngine, 2],
    ["the release core", createEngine, 4],
  ] as const)("on %s, %#: no objection [PROP-3]", { timeout: 120_000 }, async (_, make, walkers) => {
    for (let i = 0; i < 3; i++) {
      const options = { journalRecords: 1 << 19, arenaBytes: 64 << 20 };
      const run = await stress(make, walkers, 1500, SEED + i, options, (engine) => engine.journal.start());
      expect(run.engine.journal.lost).toBe(0);
      for (const table of [run.table, run.free]) settle(run.engine, table);
      const records = run.engine.journal.read();
      run.engine.close();
      expect(told(judgeRecords(records)), `GRANULE_SEED=${SEED + i}`).toEqual([]);
      expect(records.some(({ kind }) => kind === JournalKind.TABLE_RETIRED)).toBe(true);
    }
  });
});

const MARKER = 0x400n;
const isWrite = ({ kind }: JournalRecord): boolean => kind === JournalKind.WRITE || kind === JournalKind.WRITE_SHARED;
const isFlush = ({ kind }: JournalRecord): boolean => kind >= JournalKind.TLBI_IPA && kind <= JournalKind.TLBI_STAGE1;

/** Alterations of a kind in one journal. */
const MOST = 4;

/** Journals to alter, from several seeds. */
const journals = Array.from({ length: 8 }, (_, i) => interleaved(SEED + 500 + i, {}, 20));

/** Every alteration that `alter` makes of any journal is objected to; how many there were. */
function expectObjections(
  alter: (records: readonly JournalRecord[], i: number) => readonly JournalRecord[] | undefined,
  expected: readonly string[],
): void {
  let n = 0;
  for (const records of journals) {
    let here = 0;
    records.forEach((_, i) => {
      const altered = here < MOST ? alter(records, i) : undefined;
      if (altered === undefined) return;
      here++;
      n++;
      const found = judgeRecords(altered).violations.map(({ kind, missing }) => `${kind} ${missing ?? ""}`.trim());
      if (!found.some((one) => expected.includes(one)))
        throw new Error(`record ${i}: ${found.slice(0, 3).join("; ") || "ok"}`);
    });
  }
  expect(n).toBeGreaterThan(10);
}

const without = (records: readonly JournalRecord[], i: number): JournalRecord[] => records.filter((_, at) => at !== i);

/** Is it a change of an entry in a table that stays? What happens in one that is unlinked meanwhile goes with it [LCK-11]. */
function stays(records: readonly JournalRecord[], i: number): boolean {
  const { address, a, b } = records[i] as JournalRecord;
  const page = address & ~0xfffn;
  const goes = (r: JournalRecord) => r.kind === JournalKind.TABLE_RETIRED || r.kind === JournalKind.TABLE_FREED;
  return a !== b && !records.some((r, at) => at > i && goes(r) && r.address === page);
}

/** The make that follows the marker at record `i`; -1 where the old value comes back. */
function makeOf(records: readonly JournalRecord[], i: number): number {
  const { walker, address, a } = records[i] as JournalRecord;
  const make = records.findIndex((r, at) => at > i && isWrite(r) && r.address === address);
  return (records[make] as JournalRecord).walker === walker && records[make]?.b !== a ? make : -1;
}

describe("a record of a parallel journal", () => {
  it("a table freed while the walker that retired it is in its section [LCK-10]", () => {
    expectObjections(
      (records, i) => {
        const { kind, address } = records[i] as JournalRecord;
        if (kind !== JournalKind.TABLE_RETIRED) return undefined;
        const free = records.findIndex(
          (r, at) => at > i && r.kind === JournalKind.TABLE_FREED && r.address === address,
        );
        const moved = without(records, free);
        moved.splice(i + 1, 0, records[free] as JournalRecord);
        return moved;
      },
      ["early-free grace-period"],
    );
  });

  it("a table freed that nobody retired", () => {
    const isRetired = ({ kind }: JournalRecord) => kind === JournalKind.TABLE_RETIRED;
    expectObjections(
      (records, i) => (isRetired(records[i] as JournalRecord) ? without(records, i) : undefined),
      ["early-free grace-period"],
    );
  });

  it("the marker of another walker [S2-21]", () => {
    expectObjections(
      (records, i) => {
        const r = records[i] as JournalRecord;
        if (r.b !== MARKER || r.kind !== JournalKind.WRITE_SHARED || !stays(records, i)) return undefined;
        return records.map((one, at) => (at === i ? { ...one, walker: (r.walker + 1) % WALKERS } : one));
      },
      ["stolen", "unlocked"],
    );
  });

  it("a make by another walker, a second make, and none at all [S2-22]", () => {
    const isMake = (r: JournalRecord) => r.kind === JournalKind.WRITE_SHARED && r.a === MARKER;
    expectObjections(
      (records, i) => {
        const r = records[i] as JournalRecord;
        if (!isMake(r) || !stays(records, i)) return undefined;
        return records.map((one, at) => (at === i ? { ...one, walker: (r.walker + 1) % WALKERS } : one));
      },
      ["stolen", "unlocked"],
    );
    expectObjections(
      (records, i) => {
        const r = records[i] as JournalRecord;
        return isMake(r) && stays(records, i) ? [...records.slice(0, i + 1), r, ...records.slice(i + 1)] : undefined;
      },
      ["stolen"],
    );
    expectObjections(
      (records, i) => (isMake(records[i] as JournalRecord) && stays(records, i) ? without(records, i) : undefined),
      ["stolen", "left-locked", "early-free", "unlocked", "encoding"],
    );
  });

  it("a TLBI between the marker and the make [S2-20]", () => {
    expectObjections(
      (records, i) => {
        const r = records[i] as JournalRecord;
        if (!isWrite(r) || r.b !== MARKER || !(r.a & 1n) || !stays(records, i)) return undefined;
        const make = makeOf(records, i);
        const between = records.slice(i + 1, Math.max(make, i + 1));
        const flushes = between.filter(isFlush);
        // Another walker's flush may do for this one's.
        if (make < 0 || flushes.length !== 2 || flushes.some(({ walker }) => walker !== r.walker)) return undefined;
        return without(records, records.indexOf(flushes[0] as JournalRecord));
      },
      ["early-make tlbi", "early-make tlbi-below", "early-make dsb-before-tlbi"],
    );
  });

  it("the lock for writing, and the section of a walker [LCK-4]", () => {
    expectObjections(
      (records, i) => {
        const { kind, a, walker } = records[i] as JournalRecord;
        if (kind !== JournalKind.LOCK) return undefined;
        const end = records.findIndex((r, at) => at > i && r.kind === JournalKind.UNLOCK && r.walker === walker);
        const first = records.findIndex((r, at) => at > i && isWrite(r) && r.walker === walker);
        return first > i &&
          first < end &&
          (records[first] as JournalRecord).a !== 0n &&
          stays(records, first) &&
          a <= 1n
          ? without(without(records, end), i)
          : undefined;
      },
      ["unlocked"],
    );
  });
});
