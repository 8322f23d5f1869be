// The locks themselves, what they refuse, and what the debug core says when a rule is broken.

import { afterEach, describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine as createDebug } from "../../bindings/debug.js";
import { createEngine, type Engine, type HypTable, joinEngine, type Stage2Table } from "../../bindings/index.js";
import { codeOf, KB4, MB2 } from "../support/tables.js";
import { BASE, expectAllGiven, FAULT, home, isPending, pair, SHARED, Thread, until } from "../support/walkers.js";

const threads: Thread[] = [];

function start(engine: Engine, walker: number, table: Stage2Table | HypTable): Thread {
  const thread = new Thread(engine, walker, table);
  threads.push(thread);
  return thread;
}

afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.kill();
});

describe("the lock of a table", () => {
  it("keeps writers apart and readers out of what they write [LCK-1, LCK-2]", async () => {
    const engine = createDebug({ walkers: 4, arenaBytes: 8 << 20 });
    const table = engine.createStage2({ ipaBits: 39 });
    const p = engine.takeBlock(KB4);
    const rounds = 1500;
    const counts = [1, 2, 3].map((id) => {
      const mode = id === 3 ? "read" : "write";
      return start(engine, id, table).call("countUp", rounds, mode, p, p + 1024);
    });
    expect(await Promise.all(counts)).toEqual([0, 0, 0]);
    expect(engine.u32[p / 4]).toBe(2 * rounds);
    expect(table.holders()).toEqual({ writer: undefined, readers: [] });
  });

  it("lets a writer through while readers keep coming [LCK-1]", async () => {
    const engine = createEngine({ walkers: 4, arenaBytes: 8 << 20 });
    const table = engine.createStage2({ ipaBits: 39 });
    const stop = engine.takeBlock(KB4);
    const readers = [1, 2].map((id) => start(engine, id, table).call("readUntil", stop));
    await until(engine, "a reader", () => engine.walkers().some(({ reads }) => reads === table.handle));
    const writer = start(engine, 3, table);
    for (let i = 0; i < 20; i++) {
      await writer.call("lock", "write");
      expect(table.holders()).toMatchObject({ writer: 3 });
      await writer.call("unlock");
    }
    Atomics.store(engine.u32, stop / 4, 1);
    const [first, second] = (await Promise.all(readers)) as [number, number];
    expect(first + second).toBeGreaterThan(0);
  });

  it("a column that cannot have the lock says so in its row, and what was done before stays done [LCK-17, PROP-8]", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
    const [table, held] = [0, 1].map(() => engine.createStage2({ ipaBits: 39 })) as [Stage2Table, Stage2Table];
    const columns = engine.createColumns(2);
    columns.addresses.set([0x1000n, 0x2000n]);
    table.mapColumns(columns, 1, "r", { shared: true });
    const lock = held.lock("read");
    for (const run of [
      () => table.mapColumns(columns, 2, "rw", { shared: true }),
      () => table.relaxColumns(columns, 2, "w", { shared: true }),
    ]) {
      expect(run).toThrow(expect.objectContaining({ code: "EDEADLK", address: 0x1000n }));
      expect(columns.statuses[0]).toBe(-35);
    }
    lock[Symbol.dispose]();
    expect(table.countLeaves()).toBe(1);
    engine.close();
  });

  it("a walker may take again what it holds, and read what it writes; it lets go as often [LCK-2]", () => {
    const made = pair();
    const { a, b } = made;
    const held = [a.lock("write"), a.lock("write"), a.lock("read"), a.lock("read")];
    a.map(BASE, KB4, home(BASE), "rw");
    a.map(BASE + 4096n, KB4, home(BASE), "rw", FAULT);
    for (const lock of held.reverse()) {
      expect(b.holders().writer).toBe(0);
      lock[Symbol.dispose]();
    }
    expect(b.holders()).toEqual({ writer: undefined, readers: [] });
    const reads = [b.lock("read"), a.lock("read"), b.lock("read")];
    expect(a.holders()).toEqual({ writer: undefined, readers: [0, 1] });
    for (const lock of reads) lock[Symbol.dispose]();
    expect(a.holders().readers).toEqual([]);
    expectAllGiven(made);
  });

  it("is refused where a walker would wait for itself: EDEADLK, and nothing is held [LCK-15]", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
    const [a, b] = [engine.createStage2({ ipaBits: 39 }), engine.createStage2({ ipaBits: 39 })];
    const read = a.lock("read");
    expect(codeOf(() => a.lock("write"))).toBe("EDEADLK");
    expect(codeOf(() => b.lock("write"))).toBe("EDEADLK");
    expect(codeOf(() => b.lock("read"))).toBe("EDEADLK");
    expect(codeOf(() => a.unmap(BASE, KB4))).toBe("EDEADLK");
    expect(codeOf(() => engine.reclaim())).toBe("EDEADLK");
    expect(codeOf(() => a.destroy())).toBe("EDEADLK");
    read[Symbol.dispose]();
    const write = a.lock("write");
    expect(codeOf(() => a.destroy())).toBe("EDEADLK");
    b.lock("write")[Symbol.dispose](); // another table's is another matter
    write[Symbol.dispose]();
    expect([a, b].map((t) => t.holders())).toEqual([a, b].map(() => ({ writer: undefined, readers: [] })));
    a.map(BASE, KB4, home(BASE), "rw");
  });

  it("cannot be let go of by who does not hold it: EPERM", () => {
    const made = pair();
    const { one, two, a } = made;
    const lock = a.lock("write");
    expect(two.core.unlockTable(a.handle, 1)).toBe(K.EPERM);
    expect(one.core.unlockTable(a.handle, 0)).toBe(K.EPERM);
    lock[Symbol.dispose]();
    expect(codeOf(() => lock[Symbol.dispose]())).toBe("EPERM");
    expectAllGiven(made);
  });

  it("goes whole from a dead writer to one that waits, however they meet [LCK-1]", async () => {
    const engine = createEngine({ walkers: 3, arenaBytes: 128 << 20 });
    const table = engine.createStage2({ ipaBits: 39 });
    const stop = engine.takeBlock(KB4);
    const rival = start(engine, 2, table).call("writeUntil", stop);
    await until(engine, "the rival", () => engine.u32[stop / 4 + 1] !== 0);
    for (let i = 0; i < 800; i++) {
      // As good as dead: nobody uses this instance any more.
      const dead = joinEngine(engine.ticket(1));
      (dead.adopt(table.ticket()) as Stage2Table).lock("write");
      expect(engine.bury(1)).toMatchObject({ wroteTables: 1 });
    }
    Atomics.store(engine.u32, stop / 4, 1);
    await rival;
    expect(table.holders()).toEqual({ writer: undefined, readers: [] });
  });

  it("makes an engine of one walker wait for nothing", () => {
    const engine = createEngine({ arenaBytes: 1 << 20 });
    const table = engine.createStage2({ ipaBits: 39 });
    const lock = table.lock("write");
    expect(table.holders()).toEqual({ writer: undefined, readers: [] });
    table.lock("read")[Symbol.dispose]();
    lock[Symbol.dispose]();
  });
});

describe("the spin lock of the allocator", () => {
  it("hands no block out twice, whoever takes and gives [LCK-16, PROP-1]", async () => {
    const engine = createDebug({ walkers: 4, arenaBytes: 8 << 20 });
    const table = engine.createStage2({ ipaBits: 39 });
    const started = [1, 2, 3].map((id) => start(engine, id, table));
    await Promise.all(started.map((thread) => thread.call("countLeaves")));
    const { taken } = engine.arena();
    const storms = started.map((thread, i) => thread.call("storm", 250, i % 3, (i + 1) << 20));
    for (let i = 0; i < 250; i++) engine.giveBlock(engine.takeBlock(KB4 << (i % 3)));
    await Promise.all(storms);
    expect(engine.arena().taken).toBe(taken);
    const all = Array.from({ length: 3 }, () => engine.takeBlock(1 << 20)); // and they merge again
    for (const p of all) engine.giveBlock(p);
  });
});

/** What the debug core says when `operation` breaks a rule. The walker that did so is of no use afterwards. */
function said(operation: () => unknown): string {
  try {
    operation();
  } catch (error) {
    return (error as Error).message;
  }
  return "";
}

describe("the debug core says so when", () => {
  it("a cache is topped up under a lock, or in a section [LCK-15, MC-6, BUG-10]", () => {
    for (const mode of ["write", "read"] as const) {
      const { one, a } = pair();
      const cache = one.createCache();
      a.lock(mode);
      const holder = mode === "write" ? "walker 0 holds 1 for writing" : `walker 0 reads table ${a.handle}`;
      expect(said(() => cache.topUp(2))).toBe(
        `walker 0: something that may sleep, in a read section or under a lock [LCK-15], at 0; ${holder}`,
      );
    }
    const { a } = pair();
    a.lock("read");
    expect(said(() => a.map(BASE, KB4, home(BASE), "rw", { ...FAULT, cache: "own" }))).toContain("[LCK-15]");
  });

  it("an operation's own cache is not: it is topped up before the lock [MC-6, MC-7, BUG-10]", () => {
    const made = pair();
    const { one, a } = made;
    a.map(BASE, MB2 + KB4, home(BASE), "rw", { ...SHARED, cache: "own" });
    a.split(BASE, MB2, "own");
    const hyp = one.createHyp({ vaBits: 39 });
    hyp.map(BASE, KB4, home(BASE), "rw", { cache: "own" });
    hyp.close();
    expect(one.counters().warnings).toBe(0);
  });

  it("a lock for writing is asked for in a section [LCK-15]", () => {
    const { a } = pair();
    a.lock("read");
    expect(said(() => a.lock("write"))).toContain(`[LCK-15], at ${a.handle}; walker 0 reads table ${a.handle}`);
  });

  it("a table is read that was given back [PROP-4, BUG-20]", () => {
    const { one, a } = pair();
    a.map(BASE + 4n * BigInt(MB2), KB4, home(BASE), "rw");
    const page = one.takeBlock(KB4);
    one.giveBlock(page);
    a.poke(BASE, (BigInt(page - one.arenaPointer) + one.physBase) | 3n);
    expect(said(() => a.leaf(BASE))).toMatch(
      /a descriptor read from a page that was given back, at \d+; walker 0 reads table/,
    );
  });

  it("a page was written to after it was given back [PROP-4]", () => {
    const { one } = pair();
    const page = one.takeBlock(KB4);
    one.giveBlock(page);
    one.u32[page / 4 + 100] = 1;
    expect(said(() => one.takeBlock(KB4))).toContain("a page that somebody wrote to after it was given back");
  });

  it("the last page of a block was written to after it was given back [PROP-4]", () => {
    const { one } = pair();
    const block = one.takeBlock(4 * KB4);
    one.giveBlock(block);
    one.u32[(block + 4 * KB4) / 4 - 1] = 1;
    expect(said(() => one.takeBlock(4 * KB4))).toContain("a page that somebody wrote to after it was given back");
  });

  it("an exclusive or a shared walk lacks its lock, or a shared one its section: in these words [LCK-2, LCK-3, WLK-13]", () => {
    // The exports take their locks by themselves, so that no caller can break these; the words are there all the same.
    const made = pair();
    const { one, b } = made;
    const lock = b.lock("write");
    const words = [K.BREACH_EXCLUSIVE, K.BREACH_SECTION, K.BREACH_SHARED].map((rule) =>
      one.hosts.explain(rule, b.handle),
    );
    const who = `at ${b.handle}; walker 1 writes table ${b.handle}; walker 1 holds 1 for writing`;
    expect(words).toEqual([
      `walker 0: an exclusive walk without the table's lock for writing [LCK-3], ${who}`,
      `walker 0: a shared walk outside a read section [WLK-13], ${who}`,
      `walker 0: a shared walk without the table's lock for reading [LCK-2], ${who}`,
    ]);
    lock[Symbol.dispose]();
    expectAllGiven(made);
  });
});

describe("an engine of several walkers refuses", () => {
  it("hooks and callbacks, which are functions of one thread: EPERM [LCK-15, BUG-10]", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
    const { taken } = engine.arena();
    expect(codeOf(() => engine.createStage2({ hooks: { getPage() {} } }))).toBe("EPERM");
    expect(codeOf(() => engine.createHyp({ hooks: { zallocPage: () => 0 } }))).toBe("EPERM");
    expect(codeOf(() => engine.createStage2({ forcePte: () => true }))).toBe("EPERM");
    expect(engine.arena().taken).toBe(taken);
    engine.createStage2({ hooks: { dcacheCleanInvalPoc: null }, forcePte: "all" }).close();
  });

  it("a shared walk of whatever takes away or frees by count: EPERM, and nothing changes [LCK-4, WLK-12]", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(BASE, KB4, home(BASE), "rw");
    const exclusive = [K.OP_UNMAP, K.OP_SET_OWNER, K.OP_ANNOTATE, K.OP_DESTROY_RANGE, K.OP_COUNT_LEAVES];
    expect(exclusive.map((op) => statusOf(table, op, K.SHARED))).toEqual(exclusive.map(() => K.EPERM));
    const locked = [...exclusive, K.OP_MAP, K.OP_WRPROTECT, K.OP_TEST_CLEAR_YOUNG, K.OP_SPLIT, K.OP_FLUSH];
    expect(locked.map((op) => statusOf(table, op, K.LOCK_FREE))).toEqual(locked.map(() => K.EPERM));
    const leaf = [K.OP_MKYOUNG, K.OP_RELAX_PERMS];
    expect(leaf.map((op) => statusOf(table, op, K.LOCK_FREE))).toEqual([K.EPERM, K.EPERM]); // no lockFree table
    expect(codeOf(() => table.walk(BASE, KB4, () => {}, SHARED))).toBe("");
    expect(table.walk(BASE, KB4, () => {}, SHARED)).toBe(K.EPERM);
    expect(table.countLeaves()).toBe(1);
  });

  it("a shared walk of a hypervisor's table: EPERM [WLK-12, LCK-14]", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
    const hyp = engine.createHyp({ vaBits: 39 });
    expect([K.OP_HYP_MAP, K.OP_HYP_UNMAP].map((op) => statusOf(hyp, op, K.SHARED))).toEqual([K.EPERM, K.EPERM]);
    expect(hyp.walk(BASE, KB4, () => {}, SHARED)).toBe(K.EPERM);
    expect(hyp.leaf(BASE).kind).toBe("hole");
  });

  it("a second instance as a walker that there is, and walkers that there are not [LCK-1]", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
    expect(codeOf(() => joinEngine(engine.ticket(0)))).toBe("EBUSY");
    expect(codeOf(() => engine.ticket(2))).toBe("EINVAL");
    expect(codeOf(() => createEngine({ walkers: K.MAX_WALKERS + 1 }))).toBe("EINVAL");
    expect(codeOf(() => createEngine({ walkers: 0 }))).toBe("EINVAL");
  });
});

/** Status of one record with flags that the facade would not write. */
function statusOf(table: Stage2Table | HypTable, op: number, flags: number): number {
  const { engine } = table;
  using batch = engine.createBatch(1);
  batch.getLeaf(table, BASE);
  const word = batch.pointer / 4;
  engine.u32[word] = op;
  engine.u32[word + 1] = flags;
  engine.u64[word / 2 + 3] = BigInt(KB4);
  engine.u32[word + 10] = K.PROT_R;
  batch.run();
  return batch.result(0).status;
}

describe("a second walker", () => {
  it("that needs the lock for writing waits for readers, and the one after it for both [LCK-1, LCK-3]", async () => {
    const engine = createDebug({ walkers: 3, arenaBytes: 8 << 20 });
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(BASE, KB4, home(BASE), "rw");
    const [writer, reader] = [start(engine, 1, table), start(engine, 2, table)];
    const mine = table.lock("read");
    const unmapped = writer.call("unmap", BASE, KB4);
    await until(engine, "the writer", () => table.holders().writer === 1);
    const looked = reader.call("relaxPerms", BASE, "x", SHARED);
    expect(await Promise.all([isPending(unmapped), isPending(looked)])).toEqual([true, true]);
    expect(table.relaxPerms(BASE, "x", SHARED)).toBe("done"); // who is inside goes on
    mine[Symbol.dispose]();
    await unmapped;
    expect(await looked).toBe("again");
    expect(table.leaf(BASE).kind).toBe("hole");
  });
});
