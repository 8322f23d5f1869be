// Functions of the caller's in tables that several walkers use: hooks, force-pte and visitors of shared walks. Each walker brings
// its own [LCK-15]. On this thread every window is chosen; on threads everybody does as they please.

import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine as createDebug } from "../../bindings/debug.js";
import {
  createEngine,
  type Engine,
  GranuleError,
  joinEngine,
  type MmOps,
  type Stage2Table,
  type Visitor,
} from "../../bindings/index.js";
import { SEED } from "../support/random.js";
import { codeOf, expectReferences, KB4, MB2 } from "../support/tables.js";
import { BASE, FAULT, home, type Pair, pair, SHARED, Thread, until, whoHolds } from "../support/walkers.js";

const AGAIN = K.EAGAIN;
const PAGE = BigInt(KB4);
const BLOCK = BigInt(MB2);
const VISIT = { shared: true, maySleep: false } as const;
const QUIET_MS = 60_000;

/** Functions that serve a table from the arena, with a count for each page in shared memory: the same for all walkers. */
function hostMemory(engine: Engine, counts: Int32Array): Required<MmOps> {
  const unit = (p: number) => (p - engine.arenaPointer) / 4096;
  return {
    zallocPage: () => {
      const p = engine.takeBlock(4096);
      Atomics.store(counts, unit(p), 1);
      return p;
    },
    zallocPagesExact: (bytes) => {
      const p = engine.takeBlock(bytes);
      for (let at = 0; at < bytes; at += 4096) Atomics.store(counts, unit(p + at), 1);
      return p;
    },
    freePagesExact: (p, bytes) => {
      for (let at = 0; at < bytes; at += 4096) Atomics.store(counts, unit(p + at), 0);
      engine.giveBlock(p);
    },
    freeUnlinkedTable: () => {},
    getPage: (p) => void Atomics.add(counts, unit(p), 1),
    putPage: (p) => {
      if (Atomics.sub(counts, unit(p), 1) !== 1) return false;
      engine.giveBlock(p);
      return true;
    },
    pageCount: (p) => Atomics.load(counts, unit(p)),
    physToVirt: (pa) => Number(pa - engine.physBase) + engine.arenaPointer,
    virtToPhys: (p) => BigInt(p - engine.arenaPointer) + engine.physBase,
    dcacheCleanInvalPoc: () => {},
    icacheInvalPou: () => {},
  };
}

function countsOf(engine: Engine): Int32Array {
  return new Int32Array(new SharedArrayBuffer((engine.arenaBytes / 4096) * 4));
}

/** The hosts' counts of all pages of a table, against its entries. */
function expectCounts(table: Stage2Table, counts: Int32Array): void {
  const { engine } = table;
  const unit = (pa: bigint) => Number(pa - engine.physBase) / 4096;
  const { rootPa, rootPages } = table.info();
  const expected = new Int32Array(counts.length);
  for (let i = 0; i < rootPages; i++) expected[unit(rootPa) + i] = 1;
  const at: number[] = [];
  for (const e of table.entries({ tables: true })) {
    const parent =
      e.level === table.info().startLevel ? unit(rootPa) + Number((e.address >> 30n) / 512n) : at[e.level - 1];
    expected[parent as number] = (expected[parent as number] as number) + 1;
    if (e.kind !== "table") continue;
    at[e.level] = unit(e.pa);
    expected[unit(e.pa)] = 1;
  }
  expect([...counts.entries()].filter(([i, n]) => n !== expected[i])).toEqual([]);
}

describe("walkers with functions of their own that do as they please", () => {
  it.each([
    ["the debug core", createDebug, 3, 1500],
    ["the release core", createEngine, 4, 6000],
  ] as const)(
    "on %s leave every count right, nothing locked and nothing behind [LCK-15, WLK-4, WLK-11, WLK-17]",
    { timeout: 240_000 },
    async (_, make, seeds, operations) => {
      for (let seed = SEED; seed < SEED + seeds; seed++) {
        try {
          await run(make, 2 + (seed % 2), operations, seed);
        } catch (error) {
          throw new Error(`GRANULE_SEED=${seed}: ${(error as Error).message}`, { cause: error });
        }
      }
    },
  );
});

async function run(make: typeof createEngine, walkers: number, operations: number, seed: number): Promise<void> {
  const engine = make({ walkers: walkers + 1, arenaBytes: 16 << 20 });
  const { taken } = engine.arena();
  const counts = countsOf(engine);
  const detached: { pointer: number; level: number }[] = [];
  const hooks: MmOps = {
    ...hostMemory(engine, counts),
    freeUnlinkedTable: (pointer, level) => void detached.push({ pointer, level }),
  };
  const forcePte = () => false;
  const hooked = engine.createStage2({ ipaBits: 39, fwb: false, hooks, forcePte, maySleep: false });
  const plain = engine.createStage2({ ipaBits: 39 });
  const shared = {
    tickets: [hooked.ticket(), plain.ticket()],
    seed,
    operations,
    walkers,
    gate: new SharedArrayBuffer(8),
    counts: counts.buffer,
    output: home(0n),
    base: BASE,
  };
  const threads = Array.from({ length: walkers }, (_, self) => {
    const workerData = { ...shared, self, ticket: engine.ticket(self + 1) };
    return new Worker(new URL("hooks-walker.mjs", import.meta.url), { workerData });
  });
  try {
    const reports = await Promise.all(threads.map((thread) => reportOf(thread, engine)));
    expect(reports.every(({ thrown }) => thrown > 0)).toBe(true);
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
  engine.reclaim();
  for (const { pointer, level } of detached) hooked.freeUnlinked(pointer, level);
  expect(engine.limbo()).toMatchObject({ waiting: 0, heldUpBy: undefined });
  for (const table of [hooked, plain]) {
    const entries = [...table.entries()];
    expect(entries.filter(({ kind }) => kind !== "page" && kind !== "block")).toEqual([]);
    expect(entries.filter(({ address, pa }) => pa !== home(address))).toEqual([]);
    expect(table.holders()).toEqual({ writer: undefined, readers: [] });
  }
  expectReferences(plain);
  expectCounts(hooked, counts);
  expect(engine.counters().warnings).toBe(0);
  hooked.close();
  plain.close();
  expect(counts.filter((n) => n !== 0)).toEqual(new Int32Array(0));
  expect(engine.arena().taken).toBe(taken);
  engine.close();
}

function reportOf(thread: Worker, engine: Engine): Promise<{ thrown: number; noMemory: number }> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no report: ${whoHolds(engine)}`)), QUIET_MS);
    thread.on("message", ({ report, error }) => {
      clearTimeout(timer);
      if (error) reject(new Error(error));
      else resolve(report);
    });
    thread.on("error", reject);
  });
}

/** Two walkers on this thread, in the debug core, on a table whose counts are theirs. */
function hookedPair(extra: (engine: Engine) => MmOps = () => ({})): Pair & { counts: Int32Array } {
  const one = createDebug({ walkers: 3, arenaBytes: 8 << 20 });
  const counts = countsOf(one);
  const functions = (engine: Engine) => ({
    hooks: { ...hostMemory(engine, counts), ...extra(engine) },
    maySleep: false,
  });
  const a = one.createStage2({ ipaBits: 39, fwb: false, ...functions(one) });
  const two = joinEngine(one.ticket(1));
  const b = two.adopt(a.ticket(), functions(two)) as Stage2Table;
  return { one, two, a, b, counts };
}

/** What was unlinked is freed by the core. */
const NATIVE_FREE = () => ({ freeUnlinkedTable: undefined as never });

function expectFree({ one, a }: Pair): void {
  expect(a.holders()).toEqual({ writer: undefined, readers: [] });
  for (const w of one.walkers()) expect(w).toMatchObject({ inSection: false, reads: 0, writes: 0 });
}

/** The errno in words, and what the message says, of what is refused. */
function refusal(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof GranuleError) return error.message;
    throw error;
  }
  return "done";
}

describe("a visitor in a shared walk", () => {
  it("that is about to break an entry which another walker changes gets the new one [WLK-4, WLK-11]", () => {
    const { a, b } = pair();
    a.map(BASE, KB4, home(BASE), "r");
    const seen: bigint[] = [];
    const status = a.walk(
      BASE,
      KB4,
      (visit) => {
        seen.push(visit.old);
        if (seen.length === 1) b.relaxPerms(BASE, "w", SHARED);
        if (!visit.tryBreak()) return AGAIN;
        visit.make(visit.old);
        return 0;
      },
      VISIT,
    );
    expect(status).toBe(0);
    expect(seen.length).toBe(2);
    expect((seen[1] as bigint) & (seen[0] as bigint)).toBe(seen[0]);
    expect(a.leaf(BASE).descriptor).toBe(seen[1]);
    expectReferences(a);
  });

  it("that handles a fault gives up instead", () => {
    const { a, b } = pair();
    a.map(BASE, KB4, home(BASE), "r");
    let visits = 0;
    const visitor: Visitor = (visit) => {
      visits++;
      b.relaxPerms(BASE, "w", SHARED);
      return visit.set(0n) ? 0 : AGAIN;
    };
    expect(a.walk(BASE, KB4, visitor, { ...VISIT, handleFault: true })).toBe(AGAIN);
    expect(visits).toBe(1);
    expectReferences(a);
  });

  it("has the slot between break and make: others find it locked, and then what was made", () => {
    const { a, b } = pair();
    a.map(BASE, 2 * KB4, home(BASE), "r");
    a.walk(
      BASE,
      KB4,
      (visit) => {
        expect(visit.tryBreak()).toBe(true);
        expect(b.leaf(BASE).kind).toBe("locked");
        expect(b.map(BASE, KB4, home(BASE), "rw", FAULT)).toBe("again");
        expect(b.walk(BASE, KB4, (other) => (other.tryBreak() ? 0 : AGAIN), { ...VISIT, handleFault: true })).toBe(
          AGAIN,
        );
        visit.make(visit.old | (1n << 55n));
      },
      VISIT,
    );
    expect(b.leaf(BASE)).toMatchObject({ kind: "page" });
    expect(b.leaf(BASE).descriptor >> 55n).toBe(1n);
    expectReferences(a);
  });

  it("that throws, or ends without a make, leaves the entry, no lock and no section [S2-24]", () => {
    const made = pair();
    const { a, b } = made;
    a.map(BASE, MB2, home(BASE), "r");
    a.split(BASE, MB2);
    const before = a.leaf(BASE).descriptor;
    for (const at of ["tryBreak", "make"]) {
      const visitor: Visitor = (visit) => {
        if (at === "make") visit.tryBreak();
        throw new Error("the visitor");
      };
      expect(() => a.walk(BASE, KB4, visitor, VISIT)).toThrow("the visitor");
      expectFree(made);
    }
    a.walk(BASE, KB4, (visit) => void visit.tryBreak(), VISIT);
    expect(a.leaf(BASE).descriptor).toBe(before);
    // A table that was broken comes back too.
    const pre: Visitor = (visit) => {
      if (visit.phase === "pre" && visit.level === 2) visit.tryBreak();
    };
    expect(a.walk(BASE, KB4, pre, { ...VISIT, tablePre: true })).toBe(0);
    expect(a.leaf(BASE).level).toBe(3);
    expectFree(made);
    expectReferences(a);
    b.unmap(BASE, MB2); // the lock for writing is free
    expect(a.countLeaves()).toBe(0);
  });

  it("counts a reference where `set` fills a hole or makes one, and no table goes by `set`", () => {
    const { one, a, b } = pair();
    a.map(BASE, KB4, home(BASE), "r");
    const { descriptor } = a.leaf(BASE);
    const fill: Visitor = (visit) => {
      if (visit.kind === "hole") visit.set(descriptor + (visit.address - BASE));
    };
    b.walk(BASE, 5 * KB4, fill, VISIT);
    expectReferences(a);
    b.walk(BASE + 2n * PAGE, KB4, (visit) => void visit.set(0n), VISIT);
    expectReferences(a);
    expect(a.countLeaves()).toBe(4);
    const codes: string[] = [];
    b.walk(
      BASE,
      KB4,
      (visit) => {
        if (visit.phase === "pre" && visit.level === 2) codes.push(codeOf(() => visit.set(0n)));
        if (visit.phase === "leaf") codes.push(codeOf(() => visit.set(visit.old | 0x3n)));
      },
      { ...VISIT, tablePre: true },
    );
    expect(codes).toEqual(["EPERM", ""]); // at the last level these bits are a page
    b.walk(BASE + 8n * BLOCK, KB4, (visit) => void codes.push(codeOf(() => visit.set(0x9000_0003n))), VISIT);
    expect(codes).toEqual(["EPERM", "", "EPERM"]);
    expect(a.countLeaves()).toBe(4);
    one.reclaim();
    expectReferences(a);
  });

  it("gives a hole a table, and a table up for a block: the table waits for who may be in it [LCK-10]", () => {
    const { one, two, a, b } = pair();
    a.map(BASE, KB4, home(BASE), "r");
    const reading = b.lock("read");
    const toBlock: Visitor = (visit) => {
      if (visit.phase !== "pre" || visit.level !== 2 || !visit.tryBreak()) return;
      const { old } = visit;
      visit.make((home(BASE) | 0x7fdn) & ~2n);
      visit.freeTable(old);
    };
    expect(a.walk(BASE, KB4, toBlock, { ...VISIT, tablePre: true })).toBe(0);
    expect(b.leaf(BASE)).toMatchObject({ kind: "block", level: 2 });
    expect(one.limbo()).toMatchObject({ waiting: 1, heldUpBy: 1 });
    reading[Symbol.dispose]();
    two.reclaim();
    expect(one.limbo().waiting).toBe(0);
    const toTable: Visitor = (visit) => {
      if (visit.level !== 2) return;
      visit.tryBreak();
      visit.make(visit.newTable());
    };
    expect(b.walk(BASE + 4n * BLOCK, KB4, toTable, VISIT)).toBe(0);
    expect(a.leaf(BASE + 4n * BLOCK)).toMatchObject({ kind: "hole", level: 3 });
    expectReferences(a);
    a.map(BASE + 4n * BLOCK, KB4, home(BASE + 4n * BLOCK), "r", FAULT);
    expectReferences(a);
  });

  it("that may sleep is refused, and so is any at EL2", () => {
    const { one, a } = pair();
    let visits = 0;
    const visitor: Visitor = () => void visits++;
    expect(a.walk(BASE, KB4, visitor, SHARED)).toBe(K.EPERM);
    expect(a.walk(BASE, KB4, visitor, { shared: true, maySleep: true })).toBe(K.EPERM);
    const hyp = one.createHyp({ vaBits: 39 });
    expect(hyp.walk(BASE, KB4, visitor, VISIT)).toBe(K.EPERM);
    expect(visits).toBe(0);
    expect(a.walk(BASE, KB4, visitor, { maySleep: false })).toBe(0); // exclusive
    expect(visits).toBe(1);
  });
});

describe("a table with hooks among several walkers", () => {
  it("counts by their functions, whoever maps, splits, replaces and unmaps [WLK-16, WLK-17]", () => {
    const made = hookedPair(NATIVE_FREE);
    const { one, a, b, counts } = made;
    a.map(BASE, 3 * KB4, home(BASE), "rw", SHARED);
    b.map(BASE + PAGE, KB4, home(BASE), "rw", FAULT); // broken, then made: the reference goes and comes
    b.map(BASE + BLOCK, MB2, home(BASE + BLOCK), "rw", FAULT);
    expectCounts(a, counts);
    a.split(BASE + BLOCK, MB2, "arena", SHARED);
    expectCounts(a, counts);
    a.map(BASE, MB2, home(BASE), "rw", FAULT); // a block in place of a table, which waits
    one.reclaim();
    expectCounts(a, counts);
    const [at, to] = [Number(BASE + 4n * BLOCK), Number(home(BASE + 4n * BLOCK))];
    for (const [i, { direct }] of [a, b].entries()) {
      expect(direct.map(at + i * KB4, KB4, to + i * KB4, K.PROT_R)).toBe(0);
      expectCounts(a, counts);
    }
    expect(a.direct.unmap(at + KB4, KB4)).toBe(0);
    expectCounts(a, counts);
    expect(b.direct.unmap(at, KB4)).toBe(0);
    b.unmap(BASE, 2 * MB2);
    expectCounts(a, counts);
    expect(one.counters().warnings).toBe(0);
    expectFree(made);
  });

  it("asks before it frees what was unlinked, once nobody can be in it [LCK-10]", () => {
    const asked: string[] = [];
    const made = hookedPair((engine) => ({
      freeUnlinkedTable: (pointer, level) => {
        asked.push(`walker ${engine.walker}, level ${level}`);
        (engine.walker === 0 ? made.a : made.b).freeUnlinked(pointer, level);
      },
    }));
    const { one, two, a, b, counts } = made;
    a.map(BASE, KB4, home(BASE), "r", SHARED);
    const reading = b.lock("read");
    a.map(BASE, MB2, home(BASE), "r", FAULT);
    one.limbo();
    expect(asked).toEqual([]);
    reading[Symbol.dispose]();
    two.reclaim();
    expect(asked).toEqual(["walker 1, level 2"]);
    expectCounts(a, counts);
  });

  it("whose hook throws leaves no lock, no section and right counts behind", () => {
    const failing = new Set<string>();
    const fail = (name: string) => {
      if (failing.has(name)) throw new Error(name);
    };
    const made = hookedPair((engine) => ({
      zallocPage: () => {
        fail("zallocPage");
        return hostMemory(engine, made.counts).zallocPage(0);
      },
      dcacheCleanInvalPoc: () => fail("dcacheCleanInvalPoc"),
      icacheInvalPou: () => fail("icacheInvalPou"),
    }));
    const { a, b, counts } = made;
    for (const name of ["zallocPage", "dcacheCleanInvalPoc", "icacheInvalPou"]) {
      failing.add(name);
      for (const [table, options] of [
        [a, SHARED],
        [b, FAULT],
        [a, {}],
      ] as const) {
        expect(() => table.map(BASE, 2 * KB4, home(BASE), "rx", options)).toThrow(name);
        expectFree(made);
        expectCounts(a, counts);
        failing.delete(name);
        table.unmap(BASE, MB2);
        failing.add(name);
      }
      failing.delete(name);
      b.map(BASE, 2 * KB4, home(BASE), "rx", FAULT);
      expectCounts(a, counts);
      b.unmap(BASE, MB2);
    }
    expect(a.countLeaves()).toBe(0);
  });

  it("refuses whoever lacks a function, or has one that may sleep [LCK-15, BUG-10]", () => {
    const { one, a } = hookedPair();
    const three = joinEngine(one.ticket(2));
    const all = hostMemory(three, countsOf(three));
    const { getPage: _, ...some } = all;
    const ticket = a.ticket();
    expect(refusal(() => three.adopt(ticket))).toMatch(
      /^EPERM: adopt: the table replaces zallocPage, .*: each walker brings/,
    );
    expect(refusal(() => three.adopt(ticket, { hooks: some, maySleep: false }))).toMatch(/^EPERM.*replaces getPage:/);
    expect(refusal(() => three.adopt(ticket, { hooks: all }))).toMatch(/^EPERM.*say `maySleep: false`/);
    expect(refusal(() => three.adopt(ticket, { hooks: all, maySleep: true }))).toMatch(/^EPERM/);
    expect(refusal(() => three.adopt(ticket, { hoks: all } as never))).toMatch(/^EINVAL.*unknown option hoks/);
    using plain = one.createStage2();
    expect(refusal(() => three.adopt(plain.ticket(), { hooks: { getPage() {} }, maySleep: false }))).toMatch(
      /^EINVAL.*made without the hook getPage/,
    );
    expect(refusal(() => one.createStage2({ hooks: { getPage() {} } }))).toMatch(/^EPERM.*say `maySleep: false`/);
    expect(refusal(() => one.createHyp({ hooks: { zallocPage: () => 0 } }))).toMatch(/^EPERM/);
    expect(refusal(() => one.createStage2({ forcePte: () => true }))).toMatch(/^EPERM/);
    // By its number alone the table is refused too, and nothing of it changes.
    a.map(BASE, KB4, home(BASE), "r");
    const { core } = three;
    const columns = three.createColumns(1);
    columns.addresses[0] = BASE + PAGE;
    const [x, y, z] = [columns.addresses, columns.values, columns.statuses].map(({ byteOffset }) => byteOffset) as [
      number,
      number,
      number,
    ];
    for (const call of [
      () => core.mapPages(a.handle, x, y, z, 1, 1, 1, K.SHARED),
      () => core.relaxPages(a.handle, x, z, 1, 1, 0),
    ]) {
      columns.statuses[0] = 0;
      const done = call();
      expect(done < 0 ? done : columns.statuses[0]).toBe(K.EPERM);
    }
    expect(core.getLeaves(a.handle, x, y, z, 1)).toBe(K.EPERM);
    const [at, to] = [Number(BASE), Number(home(BASE))];
    for (const op of [K.OP_MAP, K.OP_UNMAP, K.OP_MKYOUNG, K.OP_RELAX_PERMS, K.OP_GET_LEAF]) {
      expect(core.call(op, a.handle, 0, K.CACHE_ARENA, at, KB4, to, K.PROT_R, 0)).toBe(K.EPERM);
    }
    expect(core.lookup(a.handle, at)).toBe(K.EPERM);
    expect(core.lockTable(a.handle, 1)).toBe(K.EPERM);
    expect(core.walkOutside(a.handle, BASE, 4096n, K.LEAF, 1)).toBe(K.EPERM);
    expect(core.createUnlinked(a.handle, 0n, 2, 1, 1, 0)).toBe(K.EPERM);
    expect(core.freeUnlinked(a.handle, three.arenaPointer, 2)).toBe(K.EPERM);
    three.io.op = K.OP_DESTROY;
    three.io.table = a.handle;
    core.submit(three.io.at, 1, 0);
    expect(three.io.status).toBe(K.EPERM);
    expect(a.countLeaves()).toBe(1);
  });

  it("is left by a walker without its functions to one that has them: its tables in limbo, and its dead", async () => {
    const { one, two, a, counts } = hookedPair(NATIVE_FREE);
    const plain = one.createStage2({ ipaBits: 39 });
    const three = joinEngine(one.ticket(2));
    const same = three.adopt(plain.ticket()) as Stage2Table;
    for (const table of [a, plain]) table.map(BASE, KB4, home(BASE), "r");
    const reading = same.lock("read");
    for (const table of [a, plain]) table.map(BASE, MB2, home(BASE), "r", FAULT);
    expect(one.limbo()).toMatchObject({ waiting: 2, heldUpBy: 2 });
    reading[Symbol.dispose]();
    three.reclaim();
    expect(three.limbo().waiting).toBe(1);
    expectReferences(plain);
    two.reclaim();
    expect(three.limbo().waiting).toBe(0);
    expectCounts(a, counts);
    // A writer of the table that dies is buried by one who has its functions.
    two.core.lockTable(a.handle, 1);
    expect(codeOf(() => three.bury(1))).toBe("EPERM");
    expect(one.bury(1)).toMatchObject({ wroteTables: 1 });
    expect(a.holders().writer).toBeUndefined();
    expectCounts(a, counts);
  });

  it("asks the callback of the walker that maps when leaves must be pages [S2-2]", () => {
    const one = createDebug({ walkers: 2, arenaBytes: 8 << 20 });
    const a = one.createStage2({ ipaBits: 39, forcePte: () => true, maySleep: false });
    const two = joinEngine(one.ticket(1));
    const b = two.adopt(a.ticket(), { forcePte: () => false, maySleep: false }) as Stage2Table;
    a.map(BASE, MB2, home(BASE), "r", SHARED);
    b.map(BASE + BLOCK, MB2, home(BASE + BLOCK), "r", SHARED);
    expect([a.leaf(BASE).level, a.leaf(BASE + BLOCK).level]).toEqual([3, 2]);
    expect(codeOf(() => two.adopt(a.ticket(), { forcePte: () => false }))).toBe("EPERM");
    using plain = one.createStage2({ ipaBits: 39, maySleep: false });
    const other = two.adopt(plain.ticket()) as Stage2Table;
    expect(codeOf(() => other.setForcePte(() => true))).toBe("EPERM");
    plain.setForcePte(() => true);
    expect(codeOf(() => other.map(BASE, KB4, home(BASE), "r"))).toBe("EPERM");
    plain.setForcePte("none");
    other.map(BASE, KB4, home(BASE), "r");
    const throwing = two.adopt(a.ticket(), {
      forcePte: () => {
        throw new Error("force");
      },
      maySleep: false,
    }) as Stage2Table;
    expect(() => throwing.map(BASE + 4n * BLOCK, KB4, home(BASE), "r", FAULT)).toThrow("force");
    expect(a.holders()).toEqual({ writer: undefined, readers: [] });
  });
});

describe("a walker that dies", () => {
  it("in a table whose counts are the host's: its slot is a hole, and the counts are made right", async () => {
    const engine = createDebug({ walkers: 2, arenaBytes: 8 << 20 });
    const counts = countsOf(engine);
    const hooks = hostMemory(engine, counts);
    const a = engine.createStage2({ ipaBits: 39, fwb: false, hooks, maySleep: false });
    a.map(BASE, 3 * KB4, home(BASE), "r");
    const victim = new Thread(engine, 1); // its thread is told what to do by number
    await victim.call("adoptCounted", a.ticket(), counts.buffer);
    victim.stopAt(K.POINT_RELEASE, 0);
    void victim.call("map", BASE, KB4, home(BASE) + BLOCK, "r", FAULT);
    await victim.stopped();
    await victim.kill();
    expect(a.leaf(BASE).kind).toBe("locked");
    expect(engine.bury(1)).toMatchObject({ inSection: true, unlocked: 1 });
    expect(a.leaf(BASE).kind).toBe("hole");
    a.unmap(BASE + 2n * PAGE, KB4); // the first that has it alone counts again
    expectCounts(a, counts);
    a.close();
    expect(counts.filter((n) => n !== 0)).toEqual(new Int32Array(0));
  });

  it("right after its function gave a page back: the page is not given back again", async () => {
    const engine = createDebug({ walkers: 2, arenaBytes: 8 << 20 });
    const counts = countsOf(engine);
    const hooks = hostMemory(engine, counts);
    const a = engine.createStage2({ ipaBits: 39, fwb: false, hooks, maySleep: false });
    for (const at of [BASE, BASE + BLOCK]) a.map(at, KB4, home(at), "r");
    const victim = new Thread(engine, 1);
    await victim.call("adoptCounted", a.ticket(), counts.buffer);
    const given = [...a.entries({ tables: true })].filter(({ kind, level }) => kind === "table" && level === 2);
    const page = Number((given[0]?.pa ?? 0n) - engine.physBase) + engine.arenaPointer;
    counts[0] = 1; // the first unit of the arena is no table: a sign to the victim
    void victim.call("unmap", BASE, 2 * MB2);
    await until(engine, "the end of the victim's function", () => Atomics.load(counts, 0) === 3);
    await victim.kill();
    // By now it is somebody else's.
    const blocks = Array.from({ length: 8 }, () => engine.takeBlock(4096));
    expect(blocks).toContain(page);
    expect(engine.bury(1)).toMatchObject({ wroteTables: 1 });
    for (const block of blocks) engine.giveBlock(block);
    counts[0] = 0;
    expectCounts(a, counts);
  });
});
