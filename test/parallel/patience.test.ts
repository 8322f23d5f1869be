// How long a walker waits: ten seconds of the host's clock, however often it is woken and whether it may sleep or not.

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine, type Engine, joinEngine, type Stage2Table } from "../../bindings/index.js";
import { codeOf, KB4 } from "../support/tables.js";
import { BASE, home } from "../support/walkers.js";

/** As assembly/memory/wait.ts has it. */
const PATIENCE_MS = 10_000;

/** A table whose lock another walker of this thread holds, and this walker's clock, which goes on by `step` each time it is read. */
function held(
  step: number,
  options: { tables?: number } = {},
): { engine: Engine; tables: Stage2Table[]; reads: () => number } {
  const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
  const other = joinEngine(engine.ticket(1));
  const tables = Array.from({ length: options.tables ?? 1 }, () => engine.createStage2({ ipaBits: 39 }));
  for (const table of tables) other.adopt(table.ticket()).lock("write");
  let reads = 0;
  engine.hosts.clock = () => ++reads * step;
  return { engine, tables, reads: () => reads };
}

describe.each([
  ["a thread that may sleep", 1],
  ["a thread that may not", 0],
])("%s", (_, sleeps) => {
  it("gives up after ten seconds of the clock, and not before [LCK-17]", () => {
    for (const step of [500, 2500, PATIENCE_MS + 1]) {
      const { engine, tables, reads } = held(step);
      expect(engine.core.attach(0, sleeps)).toBe(0);
      expect(codeOf(() => tables[0]?.leaf(BASE))).toBe("ETIMEDOUT");
      expect(reads()).toBe(Math.floor(PATIENCE_MS / step) + 2);
    }
  });
});

it.each([
  ["whose leaves change without its lock", (engine: Engine) => engine.createStage2({ ipaBits: 39, lockFree: true })],
  ["of EL2 that is freed after a barrier", (engine: Engine) => engine.createHyp({ vaBits: 39, barrier: true })],
])("a lookup in a table %s waits for no writer [IDE-1, IDE-3, WLK-4]", (_, create) => {
  const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
  const table = create(engine);
  table.map(BASE, KB4, home(BASE), "rw");
  const other = joinEngine(engine.ticket(1));
  other.adopt(table.ticket()).lock("write");
  let reads = 0;
  engine.hosts.clock = () => ++reads * 5000;
  expect(table.leaf(BASE)).toMatchObject({ kind: "page", pa: home(BASE) });
  const columns = engine.createColumns(1);
  columns.addresses[0] = BASE;
  table.leafColumns(columns, 1);
  expect([columns.statuses[0], reads]).toEqual([3, 0]);
  expect(codeOf(() => table.countLeaves())).toBe("ETIMEDOUT"); // a walk over a range does
});

it("a batch ends behind the first operation that met a dead holder, also one that goes on after errors [LCK-17]", () => {
  const { engine, tables } = held(5000, { tables: 2 });
  const free = engine.createStage2({ ipaBits: 39 });
  using batch = engine.createBatch(3);
  batch.map(free, BASE, KB4, home(BASE), "rw");
  for (const table of tables) batch.map(table, BASE, KB4, home(BASE), "rw");
  expect(batch.run({ stop: false })).toBe(2);
  expect(batch.result(1).status).toBe(K.ETIMEDOUT);
  expect(free.countLeaves()).toBe(1);
});

describe("a teardown that meets a walker which makes no progress", () => {
  /** Two tables, one of which the other walker reads: a destruction of the first waits for that section. */
  function heldUp() {
    const engine = createEngine({ walkers: 2, arenaBytes: 1 << 20 });
    const { taken } = engine.arena();
    const [table, read] = [engine.createStage2({ ipaBits: 39 }), engine.createStage2({ ipaBits: 39 })];
    table.map(BASE, 3 * KB4, home(BASE), "rw");
    const other = joinEngine(engine.ticket(1));
    const reading = (other.adopt(read.ticket()) as Stage2Table).lock("read");
    let reads = 0;
    engine.hosts.clock = () => ++reads * 5000;
    return { engine, table, read, other, reading, taken };
  }

  it("gives up, keeps what it has not freed, and goes on when it is asked again [LCK-11, LCK-17, S2-27]", () => {
    const { engine, table, read, other, reading, taken } = heldUp();
    expect(codeOf(() => table.destroy())).toBe("ETIMEDOUT");
    expect(table.info()).toMatchObject({ rootPa: 0n, pages: 3 });
    expect(codeOf(() => table.leaf(BASE))).toBe("EINVAL");
    expect(codeOf(() => table.destroy())).toBe("ETIMEDOUT");
    reading[Symbol.dispose]();
    table.destroy();
    expect(table.info()).toMatchObject({ pages: 0 });
    table.close();
    read.close();
    other.close();
    expect(engine.arena().taken).toBe(taken);
  });

  it("leaves it to any walker: whoever buries a dead one goes on with it [LCK-11]", () => {
    const { engine, table, read, taken } = heldUp();
    expect(codeOf(() => table.destroy())).toBe("ETIMEDOUT");
    engine.bury(1); // the one that read
    expect(table.info()).toMatchObject({ pages: 0 });
    table.close();
    read.close();
    expect(engine.arena().taken).toBe(taken);
    expect(engine.counters().warnings).toBe(0);
  });

  it("is not given back before it is over: the record stays with what is left of the table", () => {
    const { engine, table, reading } = heldUp();
    expect(codeOf(() => table.destroy())).toBe("ETIMEDOUT");
    expect(engine.core.releaseTable(table.handle)).toBe(K.EBUSY);
    reading[Symbol.dispose]();
    table.destroy();
    expect(engine.core.releaseTable(table.handle)).toBe(0);
    expect(engine.core.releaseTable(table.handle)).toBe(K.EINVAL);
  });
});

/** Reads of a clock that goes on by 500 ms each: one when the wait begins, and those until more than ten seconds are over. */
const READS = 1 + PATIENCE_MS / 500 + 1;

it("code that V8 has not optimised yet waits as long: for a lock, and twice for the accesses of a vCPU [LCK-17, HWM-41]", () => {
  const script = fileURLToPath(new URL("./unoptimised.mjs", import.meta.url));
  const said = execFileSync(process.execPath, ["--liftoff-only", script], { encoding: "utf8", timeout: 60_000 });
  expect(JSON.parse(said)).toEqual({ lock: ["ETIMEDOUT", READS], accesses: 2 * READS });
});
