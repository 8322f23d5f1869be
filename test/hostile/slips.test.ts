// Mistakes of a caller: unknown names, values of the wrong type, things that are no functions, objects of another engine,
// tables that are closed from within a walk. Each is a GranuleError that says what was wrong, and nothing has changed.

import { describe, expect, it } from "vitest";
import {
  type Batch,
  createEngine,
  createPool,
  type Engine,
  GranuleError,
  joinEngine,
  type MmOps,
  tlbiOperations,
  type Visit,
} from "../../bindings/index.js";
import { createMmu } from "../../bindings/mmu/index.js";
import { contents, digest, KB4, MB2, smallEngine } from "../support/tables.js";

/** Any value, where the types allow only the right ones. */
const wrong = (value: unknown) => value as never;

/** The error that `call` throws. */
function errorOf(call: () => unknown): GranuleError {
  try {
    call();
  } catch (error) {
    if (error instanceof GranuleError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

function expectError(code: string, words: RegExp, call: () => unknown): void {
  const error = errorOf(call);
  expect(error.code, error.message).toBe(code);
  expect(error.message).toMatch(words);
}

describe("options", () => {
  const engine = smallEngine();
  const table = engine.createStage2({ ipaBits: 39 });
  const hyp = engine.createHyp({ vaBits: 39 });
  const calls: readonly (readonly [string, (options: never) => unknown])[] = [
    ["createEngine", (o) => createEngine(o)],
    ["createStage2", (o) => engine.createStage2(o)],
    ["createHyp", (o) => engine.createHyp(o)],
    ["map", (o) => table.map(0, KB4, 0, "r", o)],
    ["hyp.map", (o) => hyp.map(0, KB4, 0, "r", o)],
    ["wrprotect", (o) => table.wrprotect(0, KB4, o)],
    ["mkyoung", (o) => table.mkyoung(0, o)],
    ["relaxPerms", (o) => table.relaxPerms(0, "r", o)],
    ["testClearYoung", (o) => table.testClearYoung(0, KB4, true, o)],
    ["flush", (o) => table.flush(0, KB4, o)],
    ["split", (o) => table.split(0, KB4, undefined, o)],
    ["walk", (o) => table.walk(0, KB4, () => 0, o)],
    ["entries", (o) => [...table.entries(o)]],
    ["leaves", (o) => [...table.leaves(o)]],
    ["createUnlinked", (o) => table.createUnlinked(0, 2, "r", o)],
    ["mapColumns", (o) => table.mapColumns(engine.createColumns(1), 0, "r", o)],
    ["relaxColumns", (o) => table.relaxColumns(engine.createColumns(1), 0, "r", o)],
    ["batch.map", (o) => engine.createBatch(1).map(table, 0, KB4, 0, "r", o)],
    ["batch.wrprotect", (o) => engine.createBatch(1).wrprotect(table, 0, KB4, o)],
    ["batch.run", (o) => engine.createBatch(1).run(o)],
    ["tlbiOperations", (o) => tlbiOperations(engine, o)],
  ];

  it.each(calls)("of %s that are null, a number or a list are refused", (_name, call) => {
    for (const options of [null, 7, "shared"])
      expectError("EINVAL", /the options are .*give an object/, () => call(wrong(options)));
    expectError("EINVAL", /unknown option 0/, () => call(wrong(["shared"])));
  });

  it.each(calls)("of %s with a name that does not exist are refused by that name", (_name, call) => {
    expectError("EINVAL", /unknown option shraed(?:: |, did you mean shared\? )the options are /, () =>
      call(wrong({ shraed: true })),
    );
  });

  it.each([
    [{ walkers: "2" }, /walkers is "2"/],
    [{ memory: new WebAssembly.Memory({ initial: 1 }) }, /the memory is not shared/],
    [{ memory: "RAM" }, /memory is "RAM": give an object/],
    [{ arenaBytes: 1n << 20n }, /arenaBytes is 1048576n/],
    [{ pretouch: 1 }, /pretouch is 1: give true or false/],
    [{ physBase: "0x80000000" }, /physBase is "0x80000000"/],
  ])("of createEngine must be of their kind: %o", (options, words) => {
    expectError("EINVAL", words, () => createEngine(wrong(options)));
  });

  it.each([
    [{ quirks: "linux6.12" }, /quirks is "linux6.12", did you mean linux-6.12\? one of/],
    [{ annotations: "7" }, /annotations is "7"/],
    [{ fwb: "no" }, /fwb is "no"/],
    [{ flags: { nofwb: true } }, /unknown option nofwb/],
    [{ forcePte: "al" }, /"al", did you mean all\? one of none, all/],
    [{ forcePte: null }, /null/],
    [{ forcePte: { under: 4096 } }, /unknown option under/],
  ])("of createStage2 must be words that there are: %o", (options, words) => {
    const { taken } = engine.arena();
    expectError("EINVAL", words, () => engine.createStage2(wrong(options)));
    expect(engine.arena().taken).toBe(taken);
  });

  it("that are undefined are left to their defaults", () => {
    expect(createEngine({ walkers: undefined as never, arenaBytes: 1 << 20 }).walkerCount).toBe(1);
    expect(engine.createStage2({ ipaBits: undefined as never }).info().inputBits).toBe(40);
  });
});

describe("an MMU", () => {
  it("is made of an engine, an image or an MMU, and of options that there are", () => {
    const image = new Uint8Array(8);
    for (const options of [
      null,
      undefined,
      {},
      { image: 0 },
      { image: null },
      { image: [1, 2] },
      { engine: {} },
      { beside: {} },
      { image, engine: smallEngine() },
      { image, regime: "el3" },
      { image, physbase: 0 },
      { image, xnx: "yes" },
      { image, registers: { htcr: 1n } },
      { image, registers: { hcr: "1" } },
      { image, paBits: 47 },
    ]) {
      expect(errorOf(() => createMmu(wrong(options))).code).toBe("EINVAL");
    }
    const engine = smallEngine();
    engine.close();
    expectError("EINVAL", /closed/, () => createMmu({ engine }));
    using mmu = createMmu({ image });
    expect(errorOf(() => mmu.translate(wrong("0"))).code).toBe("EINVAL");
    expect(errorOf(() => mmu.translate(0, wrong("rw"))).code).toBe("EINVAL");
    expect(errorOf(() => mmu.translate(0, "r", wrong(null))).code).toBe("EINVAL");
    expect(errorOf(() => mmu.translate(0, "r", wrong({ iis: 1 }))).code).toBe("EINVAL");
  });
});

describe("hooks", () => {
  const engine = smallEngine();

  it("that are no functions, or have a name that does not exist, are refused by name", () => {
    expectError("EINVAL", /the hook getPage is true/, () => engine.createStage2({ hooks: wrong({ getPage: true }) }));
    expectError("EINVAL", /the hook getPage is null/, () => engine.createStage2({ hooks: wrong({ getPage: null }) }));
    expectError("EINVAL", /unknown hook getpage/, () => engine.createHyp({ hooks: wrong({ getpage: () => {} }) }));
    expectError("EINVAL", /hooks are 5/, () => engine.createStage2({ hooks: wrong(5) }));
  });

  it("of a class may keep what they need", () => {
    class Counting implements MmOps {
      cleaned = 0n;
      dcacheCleanInvalPoc(_pa: bigint, bytes: bigint): void {
        this.cleaned += bytes;
      }
    }
    const hooks = new Counting();
    engine.createStage2({ fwb: false, hooks }).map(0, 2 * KB4, 0, "r");
    expect(hooks.cleaned).toBe(8192n);
  });

  it("that are asynchronous are refused when they run, and their rejection is nobody's", async () => {
    const hooks = { getPage: async () => Promise.reject(new Error("late")) };
    expectError("EINVAL", /hooks.getPage.*asynchronous/, () =>
      engine.createStage2({ hooks: wrong(hooks) }).map(0, KB4, 0, "r"),
    );
    await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it("that return what no pointer is end the operation with an error that names them", () => {
    for (const page of [1n, "4096", -1, 1.5]) {
      expectError("EINVAL", /hooks.zallocPage/, () =>
        engine.createStage2({ hooks: wrong({ zallocPage: () => page }) }).map(0, KB4, 0, "r"),
      );
    }
  });
});

describe("visitors", () => {
  const engine = smallEngine();
  const table = engine.createStage2({ ipaBits: 39 });
  table.map(0, 4 * KB4, 0, "rw");

  it("that are no functions are refused", () => {
    for (const visitor of [undefined, null, 7, "visit", {}]) {
      expectError("EINVAL", /the visitor is .*no function/, () => table.walk(0, KB4, wrong(visitor)));
    }
  });

  it("that are asynchronous are refused, and their rejection is nobody's", async () => {
    const visitor = async () => {
      throw new Error("late");
    };
    expectError("EINVAL", /asynchronous/, () => table.walk(0, KB4, wrong(visitor)));
    await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it("cannot use a visit when its walk is over, or while another walk is the innermost", () => {
    let kept: Visit | undefined;
    table.walk(0, KB4, (visit) => {
      kept = visit;
    });
    expectError("EPERM", /the walk is over/, () => kept?.read());
    const before = digest(table);
    table.walk(0, KB4, (outer) => {
      table.walk(KB4, KB4, () => {
        expectError("EPERM", /another one runs/, () => outer.set(0n));
      });
      expect(outer.read()).toBe(outer.old);
    });
    expect(digest(table)).toBe(before);
  });

  it("give descriptors of 64 bits", () => {
    table.walk(0, KB4, (visit) => {
      for (const value of [5.5, "1", 1n << 64n, -1n])
        expectError("EINVAL", /not an address/, () => visit.set(wrong(value)));
    });
  });
});

describe("numbers", () => {
  const engine = smallEngine();
  const table = engine.createStage2({ ipaBits: 39 });

  it("of blocks, pages, walkers and subtrees are no bigints, fractions or words", () => {
    for (const n of [1n, 1.5, -1, "4096", null, undefined, 2 ** 32]) {
      expect(errorOf(() => engine.giveBlock(wrong(n))).code).toBe("EINVAL");
      expect(errorOf(() => engine.takeBlock(wrong(n))).code).toBe("EINVAL");
      expect(errorOf(() => engine.bury(wrong(n))).code).toBe("EINVAL");
      expect(errorOf(() => engine.ticket(wrong(n))).code).toBe("EINVAL");
      expect(errorOf(() => table.freeUnlinked(wrong(n), 2)).code).toBe("EINVAL");
      if (n !== undefined) expect(errorOf(() => engine.counters(wrong(n))).code).toBe("EINVAL");
    }
  });

  it("of journal kinds and walkers are ones that there are", () => {
    for (const kinds of [null, "all", [32], [1.5], [-1], ["DSB"]]) {
      expect(errorOf(() => engine.journal.start(wrong(kinds))).code).toBe("EINVAL");
    }
    for (const n of [1, -1, 1n, "0", null]) expect(errorOf(() => engine.journal.read(wrong(n))).code).toBe("EINVAL");
  });

  it("of a lock's mode are words", () => {
    expectError("EINVAL", /"raed", did you mean read\? one of read, write/, () => table.lock(wrong("raed")));
  });
});

describe("a table under a walk", () => {
  /** Two tables; what one of them loses must not be given to the other. */
  function two(hooks?: MmOps): { engine: Engine; table: ReturnType<Engine["createStage2"]>; other: typeof table } {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39, ...(hooks ? { hooks } : {}) });
    const other = engine.createStage2({ ipaBits: 39 });
    table.map(0, KB4, 0, "r");
    table.map(MB2, MB2, 0, "r");
    return { engine, table, other };
  }

  it.each([
    ["close", (t: { close(): void }) => t.close()],
    ["destroy", (t: { destroy(): void }) => t.destroy()],
    ["forcePte", (t: { setForcePte(force: "all"): void }) => t.setForcePte("all")],
    ["engine.close", (t: { engine: Engine }) => t.engine.close()],
  ])("refuses %s from its visitor, and is as it was", (_name, act) => {
    const { engine, table, other } = two();
    const before = digest(table);
    let visits = 0;
    expectError("EBUSY", /a visitor or hook of .* is running/, () => {
      table.walk(0, 4 * MB2, () => {
        visits++;
        act(table);
      });
    });
    expect(visits).toBe(1);
    expect(engine.closed).toBe(false);
    expect(digest(table)).toBe(before);
    other.map(0, 8 * MB2, 0, "rw");
    expect(digest(table)).toBe(before);
    table.close();
  });

  it("refuses to be closed by its hooks, in a split as in a map", () => {
    let table: ReturnType<Engine["createStage2"]> | undefined;
    let armed = false;
    const made = two({
      getPage(pointer) {
        if (armed) table?.close();
        void pointer;
      },
      pageCount: () => 2,
      putPage: () => false,
    });
    table = made.table;
    armed = true;
    expect(errorOf(() => table?.map(4 * MB2, KB4, 0, "r")).code).toBe("EBUSY");
    expect(errorOf(() => table?.split(MB2, MB2)).code).toBe("EBUSY");
    expect(table.handle).not.toBe(0);
  });

  it("refuses to be closed by its forcePte", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    table.setForcePte(() => {
      table.close();
      return true;
    });
    expect(errorOf(() => table.map(0, MB2, 0, "r")).code).toBe("EBUSY");
  });

  it("lets other tables go, and goes itself afterwards", () => {
    const { table, other } = two();
    table.walk(0, MB2, () => other.close());
    expect(other.handle).toBe(0);
    table.close();
    expect(table.handle).toBe(0);
  });

  it("refuses a walk within a walk that would close it at any depth", () => {
    const { table, other } = two();
    expect(errorOf(() => table.walk(0, KB4, () => void other.walk(0, KB4, () => table.close()))).code).toBe("EBUSY");
    expect(contents(table).length).toBeGreaterThan(0);
  });
});

describe("objects of another engine", () => {
  const one = smallEngine({ walkers: 2 });
  const other = smallEngine({ walkers: 2 });
  const mine = one.createStage2({ ipaBits: 39 });
  const foreign = other.createStage2({ ipaBits: 39 });

  it("are refused: tables in a batch, columns, caches", () => {
    const before = [digest(mine), digest(foreign)];
    using batch = one.createBatch(4);
    using columns = other.createColumns(4);
    using cache = other.createCache(4096, 4);
    const words = /of another engine cannot be used here/;
    expectError("EINVAL", words, () => batch.map(foreign, 0, KB4, 0, "r"));
    expectError("EINVAL", words, () => batch.unmap(foreign, 0, KB4));
    expectError("EINVAL", words, () => batch.map(mine, 0, KB4, 0, "r", { cache }));
    expectError("EINVAL", words, () => mine.map(0, KB4, 0, "r", { cache }));
    expectError("EINVAL", words, () => mine.walk(0, KB4, () => 0, { cache }));
    expectError("EINVAL", words, () => mine.mapColumns(columns, 1, "r"));
    expectError("EINVAL", words, () => mine.relaxColumns(columns, 1, "r"));
    expectError("EINVAL", words, () => mine.leafColumns(columns, 1));
    expect(batch.length).toBe(0);
    expect([digest(mine), digest(foreign)]).toEqual(before);
  });

  it("are refused by a pool", async () => {
    await using pool = await createPool(one, { size: 1, mode: "cooperative" });
    using batch = other.createBatch(1);
    using columns = one.createColumns(1);
    batch.map(foreign, 0, KB4, 0, "r", { shared: true });
    const codeOf = async (run: Promise<unknown>) => run.then(String, (error: GranuleError) => error.code);
    expect(await codeOf(pool.run(batch))).toBe("EINVAL");
    expect(await codeOf(pool.mapColumns(foreign, columns, 1, "r"))).toBe("EINVAL");
    expect(await codeOf(pool.leafColumns(foreign, columns, 1))).toBe("EINVAL");
    expect(await codeOf(pool.mapColumns(mine, other.createColumns(1), 1, "r"))).toBe("EINVAL");
  });

  it("are refused as tickets, and so is what is no ticket", () => {
    using second = joinEngine(one.ticket(1));
    expectError("EINVAL", /of another engine/, () => second.adopt(foreign.ticket()));
    expect(second.adopt(mine.ticket()).info()).toEqual(mine.info());
    for (const ticket of [null, undefined, {}, 7, one.ticket(1), { ...mine.ticket(), handle: 1n }]) {
      expect(errorOf(() => second.adopt(wrong(ticket))).code).toBe("EINVAL");
    }
    for (const ticket of [
      null,
      {},
      7,
      mine.ticket(),
      { ...one.ticket(1), walker: "1" },
      { ...one.ticket(1), walker: 99 },
    ]) {
      expect(errorOf(() => joinEngine(wrong(ticket))).code).toBe("EINVAL");
    }
  });

  it("are refused when a ticket's slot has a table of another make", () => {
    const engine = smallEngine({ maxTables: 1 });
    const gone = engine.createStage2({ ipaBits: 39 });
    const ticket = gone.ticket();
    gone.close();
    expect(errorOf(() => engine.adopt(ticket)).code).toBe("EINVAL");
    engine.createHyp({ vaBits: 39 });
    expect(errorOf(() => engine.adopt(ticket)).code).toBe("EINVAL");
  });

  it("are no tables, caches or columns at all", () => {
    using batch: Batch = one.createBatch(1);
    expectError("EINVAL", /not a table/, () => batch.map(wrong({ handle: mine.handle }), 0, KB4, 0, "r"));
    expectError("EINVAL", /the cache is "arean"/, () => mine.map(0, KB4, 0, "r", { cache: wrong("arean") }));
    expectError("EINVAL", /the cache is a object|the cache is an object/, () =>
      mine.map(0, KB4, 0, "r", { cache: wrong({}) }),
    );
    expectError("EINVAL", /not columns/, () => mine.mapColumns(wrong({}), 1, "r"));
    const cache = one.createCache(4096, 4);
    cache.close();
    expectError("EINVAL", /the cache is closed/, () => mine.map(0, KB4, 0, "r", { cache }));
  });
});

describe("an iteration", () => {
  it("whose engine or table is closed half way ends with an error that says so", () => {
    for (const end of ["engine", "table"] as const) {
      const engine = smallEngine();
      const table = engine.createStage2({ ipaBits: 39, forcePte: "all" });
      table.map(0, 4096 * KB4, 0, "r");
      const run = () => {
        for (const _ of table.leaves()) (end === "engine" ? engine : table).close();
      };
      expectError("EINVAL", end === "engine" ? /engine is closed/ : /table is closed/, run);
    }
  });

  it("that is dropped keeps nothing of the arena", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(0, 16 * KB4, 0, "r");
    const { taken } = engine.arena();
    const dropped = Array.from({ length: 50 }, () => {
      const entries = table.entries();
      entries.next();
      return entries;
    });
    expect(engine.arena().taken).toBe(taken);
    expect(dropped.map((entries) => entries.next().value?.address)).toEqual(dropped.map(() => 4096n));
  });
});
