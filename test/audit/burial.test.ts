// A walker that dies while the judge watches: its burial is in the journal too, and breaks no rule [LCK-10, S2-24, WLK-11].

import { describe, expect, it } from "vitest";
import { createJudge } from "../../bindings/audit/index.js";
import { POINT_RELEASE } from "../../bindings/core/constants.generated.js";
import { createEngine } from "../../bindings/debug.js";
import { type Engine, joinEngine, type Stage2Table } from "../../bindings/index.js";

const PAGE = 4096;
const BLOCK = 2 << 20;
const PA = 0x4000_0000;

interface Scene {
  engine: Engine;
  table: Stage2Table;
  other: Engine;
  same: Stage2Table;
}

interface Outcome {
  violations: string[];
  /** Descriptors that the dead one had locked, and flushes of the VMID by the burial: it may have died before its own flush. */
  unlocked: number;
  flushes: number;
}

/** Two walkers on a table with a block and some pages; what `die` does ends the second one. */
function judged(die: (scene: Scene) => void): Outcome {
  const engine = createEngine({ walkers: 2, arenaBytes: 2 << 20, journalRecords: 1 << 12 });
  const watch = createJudge().watch(engine);
  const table = engine.createStage2({ ipaBits: 39 });
  table.map(0, BLOCK, PA, "rw");
  table.map(BLOCK, 4 * PAGE, PA + BLOCK, "rw");
  const other = joinEngine(engine.ticket(1));
  const same = other.adopt(table.ticket()) as Stage2Table;
  die({ engine, table, other, same });
  const { unlocked } = engine.bury(1);
  const flushes = engine.counters().tlbiVmid;
  expect(engine.walkers()[1]).toMatchObject({ attached: false, inSection: false, writes: 0 });
  // Life goes on where it died.
  table.map(0, BLOCK, PA + 2 * BLOCK, "rw");
  table.unmap(0, 2 * BLOCK);
  table.close();
  return { violations: watch.drain().map(({ kind, message }) => `${kind}: ${message}`), unlocked, flushes };
}

/** Dies when it is about to make: what it throws ends it in the middle of the walk. */
function dieAtMake(other: Engine, action: () => void): void {
  other.hosts.point = (kind) => {
    if (kind === POINT_RELEASE) throw new Error("the thread is gone");
  };
  expect(action).toThrow("the thread is gone");
}

describe("a burial is right in the judge's eyes", () => {
  it("of a walker between break and make", () => {
    const end = judged(({ other, same }) => {
      dieAtMake(other, () => same.map(PAGE, PAGE, PA + PAGE, "r", { shared: true, handleFault: true }));
    });
    expect(end).toEqual({ violations: [], unlocked: 1, flushes: 1 });
  });

  it("of one that held the lock for writing", () => {
    const end = judged(({ same }) => void same.lock("write"));
    expect(end).toEqual({ violations: [], unlocked: 0, flushes: 1 }); // it may have cleared entries and not flushed yet
  });

  it("of one that only read", () => {
    const end = judged(({ same }) => void same.lock("read"));
    expect(end).toEqual({ violations: [], unlocked: 0, flushes: 0 });
  });
});
