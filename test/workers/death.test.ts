// Workers that die, and pools that are closed: every promise settles, every walker is buried.

import { describe, expect, it } from "vitest";
import {
  type Columns,
  createEngine,
  createPool,
  type Engine,
  type Pool,
  type Stage2Table,
} from "../../dist/bindings/index.js";

const MODES = ["threads", "cooperative"] as const;
const ROWS = 60_000;
/** Steps of a job that nobody sees the end of. */
const LONG = Array.from({ length: 200 });

interface Setting {
  engine: Engine;
  table: Stage2Table;
  pool: Pool;
  columns: Columns;
}

async function made(mode: (typeof MODES)[number]): Promise<Setting> {
  const engine = createEngine({ walkers: 2, arenaBytes: 64 << 20 });
  const table = engine.createStage2({ ipaBits: 40 });
  const pool = await createPool(engine, { size: 1, mode });
  const columns = engine.createColumns(ROWS);
  for (let i = 0; i < ROWS; i++) columns.addresses[i] = columns.values[i] = BigInt(i) << 12n;
  return { engine, table, pool, columns };
}

/** "done", or what it was rejected with. */
async function outcome(job: Promise<unknown>): Promise<string> {
  return job.then(
    () => "done",
    (error) => String(error),
  );
}

describe.each(MODES)("a pool (%s)", (mode) => {
  it("whose worker dies while this thread reads the table: the job fails, the walker is buried, the pool closes", async () => {
    const { engine, table, pool, columns } = await made(mode);
    const held = table.lock("read");
    const job = outcome(
      pool.mapColumns(
        table,
        LONG.map(() => columns),
        ROWS,
        "rw",
      ),
    );
    pool.kill(0);
    expect(await job).toMatch(/worker died/);
    expect(pool.burials).toHaveLength(1);
    expect(engine.walkers()[1]).toMatchObject({ attached: false, inSection: false, writes: 0 });
    held[Symbol.dispose]();
    await pool.close();
    table.countLeaves();
    table.close();
  });

  it("that is closed takes no more jobs: those that come after are rejected, those that run end", async () => {
    const { table, pool, columns } = await made(mode);
    const running = outcome(pool.mapColumns(table, columns, 100, "rw"));
    const closed = pool.close();
    const late = [1, 2].map(() => outcome(pool.leafColumns(table, columns, 1)));
    expect(await running).toBe("done");
    for (const job of late) expect(await job).toMatch(/closed/);
    await closed;
    await pool.close();
  });

  it("whose worker was killed closes in order, and its walker is buried", async () => {
    const { engine, pool } = await made(mode);
    pool.kill(0);
    await pool.close();
    expect(pool.burials).toHaveLength(1);
    expect(engine.walkers()[1]?.attached).toBe(false);
  });
});
