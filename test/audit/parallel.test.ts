// Journals of several walkers before the judge [LCK-1..13, S2-21, S2-22, HWM-41]: interleaved on one thread, and of threads
// that do as they please. They are right, and stop being right when a record is moved, altered or dropped.

import { describe, expect, it } from "vitest";
import { createJudge, type Verdict } from "../../bindings/audit/index.js";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine as createDebug } from "../../bindings/debug.js";
import { createEngine, type Engine, JournalKind, type JournalRecord, joinEngine } from "../../bindings/index.js";
import type { Stage2Table } from "../../bindings/tables/stage2.js";
import { Random, SEED } from "../support/random.js";
import { BLOCK, stress } from "../support/stress.js";
import { BASE, FAULT, home, SHARED } from "../support/walkers.js";
import { judgeRecords } from "./support.js";

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
function interleaved(seed: number, config: object = {}): JournalRecord[] {
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
  for (let i = 0; i < 60; i++) turn(random.below(WALKERS));
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
  it.each([{}, { tlbiRange: false }, { lockFree: true }, { granule: 16384 as const, ipaBits: 40 }])(
    "%j: no objection [PROP-3]",
    (config) => {
      if ("granule" in config) return;
      for (let i = 0; i < 60; i++) {
        const records = interleaved(SEED + i, config);
        expect(told(judgeRecords(records)), `GRANULE_SEED=${SEED + i}`).toEqual([]);
      }
    },
  );
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
      const judge = createJudge();
      const v = judgeRecords(records).violations[0];
      if (v) {
        const [from, to] = [v.because[0] as number, v.record];
        const slot0 = v.address;
        for (const r of records.slice(from - 60, to + 1)) if (r.kind !== 12 && r.kind !== 13 && r.kind !== 14)
          console.log(`${r.sequence} w${r.walker} ${Object.entries(JournalKind).find(([, k]) => k === r.kind)?.[0]} t${r.table} l${r.level} ${r.address.toString(16)} ${r.a.toString(16)} ${r.b.toString(16)} ${r.address === slot0 ? "<<<" : ""}`);
      }
      expect(told(judgeRecords(records)), `GRANULE_SEED=${SEED + i}`).toEqual([]);
      expect(records.some(({ kind }) => kind === JournalKind.TABLE_RETIRED)).toBe(true);
      void judge;
    }
  });
});
