// The pool on real worker threads and, with the same tests, on this thread. Workers load the built files: so does this.

import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { describe, expect, it, vi } from "vitest";
import { createEngine as createDebugEngine } from "../../dist/bindings/debug.js";
import {
  type Columns,
  capabilities,
  createEngine,
  createPool,
  type Engine,
  GranuleError,
  type Pool,
  type PoolOptions,
  type Stage2Table,
} from "../../dist/bindings/index.js";
import { createEngine as createSlimEngine } from "../../dist/bindings/slim.js";

const PAGE = 4096n;
const PA = 0x40_0000_0000n;
const MODES = ["threads", "cooperative"] as const;
const AGAIN = -11;
/** Steps of a job that nobody sees the end of. */
const LONG = Array.from({ length: 300 });

/** Columns of pages first, first + step, ... with an output address for each. */
function pages(engine: Engine, n: number, first = 0, step = 1): Columns {
  const columns = engine.createColumns(n);
  for (let i = 0; i < n; i++) {
    const offset = BigInt(first + i * step) * PAGE;
    columns.addresses[i] = offset;
    columns.values[i] = PA + offset;
  }
  return columns;
}

/** Reference counts against entries, and each page's output address [WLK-17, BUG-15]. */
function expectSound(table: Stage2Table): void {
  for (const entry of table.entries({ tables: true })) {
    expect(entry.kind).not.toBe("locked");
    if (entry.kind === "page") expect(entry.pa - entry.address).toBe(PA);
    if (entry.kind !== "table") continue;
    const span = 1n << BigInt(entry.shift);
    const below = [...table.entries({ from: entry.address, to: entry.address + span, tables: true })];
    const children = below.filter(({ level }) => level === entry.level + 1);
    expect(entry.references).toBe(1 + children.length);
  }
}

interface Setting {
  engine: Engine;
  table: Stage2Table;
  pool: Pool;
}

async function withPool(
  mode: (typeof MODES)[number],
  test: (setting: Setting) => Promise<void>,
  make: typeof createEngine = createEngine,
): Promise<void> {
  const engine = make({ arenaBytes: 8 << 20, walkers: 3 });
  const before = engine.arena().taken;
  const table = engine.createStage2({ ipaBits: 40 });
  const pool = await createPool(engine, { size: 2, mode });
  try {
    expect(pool.mode).toBe(mode);
    await test({ engine, table, pool });
  } finally {
    await pool.close();
    expectSound(table);
    table.close();
    expect(engine.limbo().waiting).toBe(0);
    expect(engine.walkers().map(({ attached }) => attached)).toEqual([true, false, false]);
    expect(engine.arena().taken).toBe(before);
    engine.close();
  }
}

describe.each(MODES)("a pool (%s)", (mode) => {
  it("LCK-5, MC-6: two workers fault on every other page of one table, from caches of their own", async () => {
    await withPool(mode, async ({ engine, table, pool }) => {
      const shares = [0, 1].map((worker) => pages(engine, 4096, worker, 2));
      await Promise.all(shares.map((columns, worker) => pool.mapColumns(table, columns, 4096, "rw", { worker })));
      let again = 0;
      for (const columns of shares) {
        for (let i = 0; i < 4096; i++) {
          if (columns.statuses[i] !== AGAIN) continue;
          again++; // lost the race for a new table: faults once more, as a vCPU would
          table.map(columns.addresses[i] as bigint, PAGE, columns.values[i] as bigint, "rw");
        }
      }
      expect(table.countLeaves()).toBe(8192);
      const [main, first, second] = [0, 1, 2].map((id) => engine.counters(id).leavesMade) as [number, number, number];
      expect(first + second).toBe(8192 - again);
      expect(engine.counters().leavesMade).toBe(main + first + second);
      for (const columns of shares) columns.close();
    });
  });

  it("performs batches in place and stops where batch.run stops", async () => {
    await withPool(mode, async ({ engine, table, pool }) => {
      using batch = engine.createBatch(4);
      batch.map(table, 0x1000, 4096, PA + 0x1000n, "rw", { shared: true, cache: "own" });
      batch.getLeaf(table, 0x1000);
      batch.map(table, 1n << 50n, 4096, 0, "r");
      batch.unmap(table, 0x1000, 4096);
      expect(await pool.run(batch)).toBe(3);
      expect(batch.result(1).value & 1n).toBe(1n);
      expect(batch.result(2).status).toBe(-34);
      expect(await pool.run(batch, { stop: false })).toBe(4);
      expect(table.countLeaves()).toBe(0);
    });
  });

  it("relaxes, and looks up", async () => {
    await withPool(mode, async ({ engine, table, pool }) => {
      using columns = pages(engine, 512);
      await pool.mapColumns(table, columns, 512, "r");
      await pool.relaxColumns(table, columns, 512, "w");
      const { started, ended } = await pool.leafColumns(table, columns, 512);
      expect(ended).toBeGreaterThanOrEqual(started);
      expect([...columns.statuses.subarray(0, 512)].every((level) => level === 3)).toBe(true);
      expect([...columns.values.subarray(0, 512)].every((leaf) => (leaf >> 6n) % 4n === 3n)).toBe(true);
    });
  });

  it("brings a worker's error to the caller, and goes on", async () => {
    await withPool(mode, async ({ engine, table, pool }) => {
      using columns = pages(engine, 100);
      columns.addresses[40] = 1n << 60n;
      const error = await pool.mapColumns(table, columns, 100, "rw").catch((e: unknown) => e);
      expect(error).toBeInstanceOf(GranuleError);
      expect((error as GranuleError).code).toBe("ERANGE");
      expect((error as GranuleError).address).toBe(1n << 60n);
      expect(table.countLeaves()).toBe(40);
      columns.addresses[40] = 40n * PAGE;
      await pool.mapColumns(table, columns, 100, "rw");
      expect(table.countLeaves()).toBe(100);
    });
  });

  it("tells progress, and ends a job between two pieces when asked", async () => {
    await withPool(mode, async ({ engine, table, pool }) => {
      const n = 60_000;
      using columns = pages(engine, n);
      const seen: number[] = [];
      const abort = new AbortController();
      const onProgress = (done: number): void => {
        seen.push(done);
        abort.abort(new Error("enough"));
      };
      const job = pool.leafColumns(
        table,
        LONG.map(() => columns),
        n,
        { signal: abort.signal, onProgress },
      );
      await expect(job).rejects.toThrow("enough");
      expect(seen[0]).toBeGreaterThan(0);
      const all: number[] = [];
      await pool.leafColumns(table, columns, n, { onProgress: (done) => all.push(done) });
      expect(all.at(-1)).toBe(n);
      expect(all).toEqual(all.toSorted((a, b) => a - b));
    });
  });

  it("takes a job that waits out of the queue", async () => {
    await withPool(mode, async ({ engine, table, pool }) => {
      using columns = pages(engine, 1000);
      const abort = new AbortController();
      const first = pool.mapColumns(table, columns, 1000, "rw", { worker: 0 });
      const second = pool.relaxColumns(table, columns, 1000, "x", { worker: 0, signal: abort.signal });
      abort.abort(new Error("not that one"));
      await expect(second).rejects.toThrow("not that one");
      await first;
      await expect(pool.leafColumns(table, columns, 1, { signal: abort.signal })).rejects.toThrow("not that one");
    });
  });

  it("says what a worker held that died, and works on with the others", async () => {
    await withPool(mode, async ({ engine, table, pool }) => {
      using lookups = pages(engine, 60_000);
      using columns = pages(engine, 100);
      const lost = pool.leafColumns(
        table,
        LONG.map(() => lookups),
        60_000,
        { worker: 0 },
      );
      const orphan = pool.leafColumns(table, lookups, 1, { worker: 0 });
      pool.kill(0);
      await expect(lost).rejects.toThrow(/worker died/);
      await expect(orphan).rejects.toThrow(/died/);
      expect(pool.burials).toHaveLength(1);
      expect(pool.burials[0]).toMatchObject({ walker: 1, coreLocks: 0, wroteTables: 0 });
      await pool.mapColumns(table, columns, 100, "rw");
      expect(table.countLeaves()).toBe(100);
      expect(pool.size).toBe(1);
      expect(() => pool.kill(0)).toThrow(/no worker 0/);
    });
  });

  it("works on the debug core, whose rules it keeps", async () => {
    const work = async ({ engine, table, pool }: Setting): Promise<void> => {
      // Pages 0 to 599 and 300 to 899: of what both ask for one makes each leaf, the other is told "again".
      const shares = [0, 1].map((worker) => pages(engine, 600, worker * 300));
      const mapAll = async () => {
        await Promise.all(shares.map((columns, worker) => pool.mapColumns(table, columns, 600, "rw", { worker })));
        const statuses = shares.flatMap((columns) => [...columns.statuses.subarray(0, 600)]);
        expect(statuses.filter((status) => status !== 0 && status !== AGAIN)).toEqual([]);
        return statuses.filter((status) => status === 0).length;
      };
      expect(await mapAll()).toBe(table.countLeaves());
      // A row that met the other worker's table in the making was told "again" too, and comes again.
      for (let i = 0; i < 3; i++) await mapAll();
      expect(table.countLeaves()).toBe(900);
      expect(await mapAll()).toBe(0);
      for (const columns of shares) columns.close();
    };
    await withPool(mode, work, createDebugEngine);
  });

  it("refuses what cannot be", async () => {
    const alone = createEngine();
    await expect(createPool(alone, { mode })).rejects.toThrow(/0 walkers to spare/);
    await withPool(mode, async ({ engine, table, pool }) => {
      await expect(createPool(engine, { size: 1, mode })).rejects.toThrow(/to spare/);
      using columns = pages(engine, 8);
      await expect(pool.mapColumns(table, columns, 9, "r")).rejects.toThrow(/8 rows/);
      await expect(pool.leafColumns(table, columns, 8, { worker: 2 })).rejects.toThrow(/no worker 2/);
      await pool.close();
      await expect(pool.leafColumns(table, columns, 8)).rejects.toThrow(/closed/);
    });
  });
});

describe("capabilities", () => {
  it("are those of this place", () => {
    expect(capabilities()).toMatchObject({ threads: true, reason: undefined, sleeps: true });
    expect(capabilities().cores).toBeGreaterThan(0);
  });

  it("name what a browser lacks, and what to do", () => {
    const page = { document: {}, SharedArrayBuffer, Worker: class {}, navigator: { hardwareConcurrency: 8 } };
    expect(capabilities({ ...page, crossOriginIsolated: true })).toEqual({
      wasm: true,
      threads: true,
      reason: undefined,
      cores: 8,
      sleeps: false,
    });
    const headers = /Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp/;
    expect(capabilities({ ...page, crossOriginIsolated: false }).reason).toMatch(headers);
    expect(capabilities({ ...page, SharedArrayBuffer: undefined }).reason).toMatch(headers);
    expect(capabilities({ ...page, crossOriginIsolated: false, isSecureContext: false }).reason).toMatch(/https/);
    expect(capabilities({ ...page, Worker: undefined }).reason).toMatch(/no workers/);
  });

  it("point to a document and a heading that are there", () => {
    const { reason = "" } = capabilities({ document: {} });
    const [, path = "", heading = ""] = /\((\S+\.md) of the package, "(.*)"\)/.exec(reason) ?? [];
    expect(readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")).toContain(`\n## ${heading}\n`);
  });

  it("and createEngine say that WebAssembly is forbidden, where it is", () => {
    const { Module } = WebAssembly;
    const forbid = vi.spyOn(WebAssembly, "Module").mockImplementation(function refuse(): never {
      throw new WebAssembly.CompileError("WebAssembly.Module(): violates the content security policy");
    } as never);
    const bytes = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
    try {
      expect(capabilities()).toMatchObject({
        wasm: false,
        threads: false,
        reason: expect.stringMatching(/wasm-unsafe-eval/),
      });
      expect(() => createSlimEngine(bytes)).toThrow(
        expect.objectContaining({
          name: "GranuleError",
          code: "EPERM",
          message: expect.stringMatching(/wasm-unsafe-eval/),
        }),
      );
    } finally {
      forbid.mockRestore();
    }
    expect(WebAssembly.Module).toBe(Module);
    expect(() => createSlimEngine(bytes.fill(1))).toThrow(/EINVAL: createEngine: the core does not compile/);
  });
});

describe("createWorker", () => {
  const SCRIPT = new URL("../../dist/bindings/workers/worker.js", import.meta.url);

  async function poolOf(options: PoolOptions): Promise<string> {
    const engine = createEngine({ arenaBytes: 8 << 20, walkers: 3 });
    const created = createPool(engine, { size: 2, ...options });
    const outcome = await created.then(
      (pool) => pool.close().then(() => `${pool.mode}`),
      (error: unknown) => String(error),
    );
    expect(engine.walkers().map(({ attached }) => attached)).toEqual([true, false, false]);
    engine.close();
    return outcome;
  }

  it("makes the workers, at once or later", async () => {
    let made = 0;
    const createWorker = () => {
      made++;
      return new Worker(SCRIPT);
    };
    expect(await poolOf({ createWorker })).toBe("threads");
    expect(await poolOf({ createWorker: async () => createWorker() })).toBe("threads");
    expect(await poolOf({ createWorker, mode: "cooperative" })).toBe("cooperative");
    expect(made).toBe(4);
  });

  it("may make a worker that does more than serve a pool, and hears messages of others", async () => {
    const code = `
      import { parentPort } from "node:worker_threads";
      import ${JSON.stringify(SCRIPT.href)};
      parentPort.on("message", (message) => { if (message?.own) parentPort.postMessage({ type: "own" }); });`;
    const heard: unknown[] = [];
    const createWorker = () => {
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
      worker.on("message", ({ type }) => void heard.push(type));
      worker.postMessage({ own: true });
      worker.postMessage(null);
      worker.postMessage("text");
      return worker;
    };
    expect(await poolOf({ createWorker })).toBe("threads");
    expect(heard).toEqual(["own", "ready", "own", "ready", "ready", "ready"]);
  });

  it.each([
    [
      "throws",
      () => Promise.reject(new Error("no such script")),
      /EINVAL: createPool: a worker did not start: no such script/,
    ],
    ["makes one that fails", () => new Worker("throw new Error('lost')", { eval: true }), /did not start: lost/],
    ["makes one that ends", () => new Worker("process.exit(3)", { eval: true }), /did not start: .*exit code 3/],
    ["is no function", 7 as never, /EINVAL: createPool: the option createWorker is 7: give a function/],
  ] as const)(
    "that %s is an error of createPool, and leaves the engine as it was",
    async (_what, createWorker, message) => {
      expect(await poolOf({ createWorker })).toMatch(message);
    },
  );

  it("that makes a worker of another kind ends after a while", async () => {
    vi.useFakeTimers();
    try {
      const terminate = vi.fn();
      const mute = { postMessage() {}, addEventListener() {}, terminate };
      const outcome = poolOf({ createWorker: () => mute });
      await vi.advanceTimersByTimeAsync(60_000);
      expect(await outcome).toMatch(/ETIMEDOUT: .*does it run granule\/worker/);
      expect(terminate).toHaveBeenCalled();
    } finally {
      vi.useRealTimers();
    }
  });

  it("and mode are checked, and other options are refused", async () => {
    expect(await poolOf({ mode: "fast" as never })).toMatch(/mode is "fast": one of auto, threads, cooperative/);
    expect(await poolOf({ workers: 2 } as never)).toMatch(
      /unknown option workers: the options are size, mode, createWorker/,
    );
  });
});
