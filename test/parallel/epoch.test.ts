// The grace period, and walkers that die.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine } from "../../bindings/debug.js";
import { type Engine, JournalKind, type JournalRecord, joinEngine, type Stage2Table } from "../../bindings/index.js";
import { codeOf, expectReferences, KB4, MB2 } from "../support/tables.js";
import {
  at,
  BASE,
  COLUMN,
  expectAllGiven,
  FAULT,
  home,
  pair,
  SHARED,
  slotAt,
  stayUntil,
  Thread,
  within,
} from "../support/walkers.js";

const PAGE = BigInt(KB4);

/** Unlinks a table of `table`, as one of several walkers: maps a page, and a block over it. */
function unlinkOne(table: Stage2Table, where = BASE): void {
  table.map(where, KB4, home(where), "rw", FAULT);
  table.map(where, MB2, home(where), "rw", FAULT);
}

describe("the grace period", () => {
  it("lasts as long as a section that was there before [LCK-10, WLK-12]", () => {
    const made = pair();
    const { one, a, b } = made;
    const section = b.lock("read");
    unlinkOne(a);
    for (let i = 0; i < 10; i++) expect(one.limbo()).toEqual({ waiting: 1, retired: 1, heldUpBy: 1 });
    section[Symbol.dispose]();
    expect(one.limbo()).toEqual({ waiting: 0, retired: 1, heldUpBy: undefined });
    expectAllGiven(made);
  });

  it("is not held up by who came later [LCK-10]", () => {
    const one = createEngine({ walkers: 3, arenaBytes: 8 << 20 });
    const a = one.createStage2({ ipaBits: 39 });
    const [b, c] = [1, 2].map((id) => joinEngine(one.ticket(id)).adopt(a.ticket())) as [Stage2Table, Stage2Table];
    const old = b.lock("read");
    unlinkOne(a);
    expect(one.limbo().heldUpBy).toBe(1);
    const late = c.lock("read");
    old[Symbol.dispose]();
    expect(one.limbo().waiting).toBe(0);
    expect(one.walkers().map(({ inSection }) => inSection)).toEqual([false, false, true]);
    late[Symbol.dispose]();
  });

  it("begins with the unlinking: a section after it, over and over, never lets a table go too early [LCK-10, PROP-4]", () => {
    const made = pair();
    const { one, two, a, b } = made;
    for (let i = 0; i < 20; i++) {
      const section = b.lock("read");
      const child = tableBelow(a, BASE + BigInt(i * MB2));
      unlinkOne(a, BASE + BigInt(i * MB2));
      expect(child(), "the table is as it was").not.toBe(0xa5a5_a5a5_a5a5_a5a5n);
      section[Symbol.dispose]();
    }
    two.reclaim();
    expect(one.limbo()).toEqual({ waiting: 0, retired: 20, heldUpBy: undefined });
    expectAllGiven(made);
  });

  it("is waited for by reclaim, which is refused in a section of one's own [IDE-3]", () => {
    const made = pair();
    const { one, two, a } = made;
    const section = a.lock("read");
    expect(codeOf(() => one.reclaim())).toBe("EDEADLK");
    section[Symbol.dispose]();
    unlinkOne(a);
    two.reclaim();
    expect(two.limbo().waiting).toBe(0);
    expectAllGiven(made);
  });

  it("holds a thousand merges without a leak or a double put [BUG-21, BUG-22]", () => {
    const made = pair();
    const { one, a, b } = made;
    unlinkOne(a);
    one.reclaim();
    const { taken } = one.arena();
    for (let i = 0; i < 500; i++) {
      unlinkOne(a);
      unlinkOne(b);
    }
    one.reclaim();
    expect(one.arena().taken).toBe(taken);
    expect(one.counters().warnings).toBe(0);
    expectAllGiven(made);
  });
});

/** A look at the first word of the table that a page at `addr` will be in. */
function tableBelow(table: Stage2Table, addr: bigint): () => bigint {
  table.map(addr, KB4, home(addr), "rw", FAULT);
  const slot = slotAt(table, addr);
  return () => table.engine.u64[slot / 8] as bigint;
}

/** An engine with a table, and walker 1 on a thread that stops where it is told. */
function withThread(config = {}): { engine: Engine; table: Stage2Table; thread: Thread } {
  const engine = createEngine({ walkers: 3, arenaBytes: 8 << 20 });
  const table = engine.createStage2({ ipaBits: 39, ...config });
  table.map(BASE + BigInt(MB2) - PAGE, KB4, home(BASE), "r");
  return { engine, table, thread: new Thread(engine, 1, table) };
}

describe("a walker that dies", () => {
  it("in a section holds up what was unlinked, until it is buried [LCK-10]", async () => {
    const { engine, table, thread } = withThread();
    await thread.call("countLeaves");
    thread.stopAt(K.POINT_READ);
    void thread.call("leaf", BASE);
    await thread.stopped();
    await thread.kill();
    unlinkOne(table);
    expect(engine.limbo()).toEqual({ waiting: 1, retired: 1, heldUpBy: 1 });
    expect(engine.walkers()[1]).toMatchObject({ attached: true, inSection: true, reads: table.handle });
    expect(codeOf(() => joinEngine(engine.ticket(1)))).toBe("EBUSY");
    expect(engine.bury(1)).toEqual({ walker: 1, inSection: true, unlocked: 0, wroteTables: 0, coreLocks: 0 });
    expect(engine.limbo()).toEqual({ waiting: 0, retired: 1, heldUpBy: undefined });
    joinEngine(engine.ticket(1)).close(); // its place is free
    table.close();
  });

  it("between break and make leaves a locked descriptor: a hole once it is buried, and references right [S2-24, LCK-6]", async () => {
    const { engine, table, thread } = withThread();
    const slot = slotAt(table, BASE);
    thread.stopAt(K.POINT_RELEASE, slot);
    void thread.call("map", BASE, KB4, home(BASE), "rw", FAULT);
    await thread.stopped();
    await thread.kill();
    expect(table.map(BASE, KB4, home(BASE), "rw", FAULT)).toBe("again"); // and so on for ever
    expect(engine.bury(1)).toMatchObject({ inSection: true, unlocked: 1, wroteTables: 0 });
    expectReferences(table);
    expect(table.map(BASE, KB4, home(BASE), "rw", FAULT)).toBe("done");
    expectReferences(table);
    table.close();
  });

  it("under the lock for writing leaves that and a locked descriptor: both are mended [S2-24]", async () => {
    const { engine, table, thread } = withThread({ lockFree: true });
    table.map(BASE, KB4, home(BASE), "rw");
    thread.stopAt(K.POINT_RELEASE, slotAt(table, BASE));
    void thread.call("map", BASE, KB4, home(BASE, 1n), "rw");
    await thread.stopped();
    await thread.kill();
    expect(table.holders()).toEqual({ writer: 1, readers: [] });
    expect(engine.bury(1)).toMatchObject({ inSection: false, unlocked: 1, wroteTables: 1 });
    expectReferences(table);
    expect(table.leaf(BASE).kind).toBe("hole");
    table.close();
  });

  it("in a column, with references kept back, leaves counts too low: they are counted anew [WLK-17, S2-23]", async () => {
    const { engine, table, thread } = withThread();
    const pages = [0n, 1n, 2n].map((i) => BASE + i * PAGE);
    thread.stopAt(K.POINT_EXCHANGED, slotAt(table, BASE + PAGE));
    void thread.call(
      "mapColumns",
      pages,
      pages.map((p) => home(p)),
      "rw",
      COLUMN,
    );
    await thread.stopped();
    await thread.kill();
    engine.bury(1);
    expectReferences(table);
    table.unmap(BASE, KB4);
    expect([BASE, BASE + PAGE, BASE + BigInt(MB2) - PAGE].map((p) => table.leaf(p).kind)).toEqual([
      "hole",
      "page",
      "page",
    ]);
    table.close();
  });

  it("is not buried by itself, nor one that the engine has not [LCK-1]", () => {
    const made = pair();
    expect(codeOf(() => made.one.bury(0))).toBe("EINVAL");
    expect(codeOf(() => made.one.bury(2))).toBe("EINVAL");
    expectAllGiven(made);
  });
});

const WRITES: readonly number[] = [JournalKind.WRITE, JournalKind.WRITE_SHARED];

/** Each write's old value is the new one of the write before it at that place; a table page begins with zeros. */
function expectChains(records: readonly JournalRecord[]): number {
  const now = new Map<bigint, Map<bigint, bigint>>();
  let links = 0;
  for (const r of records) {
    if (r.kind === JournalKind.TABLE_TAKEN) now.set(r.address, new Map());
    if (!WRITES.includes(r.kind)) continue;
    const page = now.get(r.address & ~(PAGE - 1n));
    if (!page) continue; // a table from before the journal
    expect(r.a, `record ${r.sequence} of walker ${r.walker} at ${r.address.toString(16)}`).toBe(
      page.get(r.address) ?? 0n,
    );
    page.set(r.address, r.b);
    links++;
  }
  return links;
}

describe("the journals of several walkers", () => {
  it("merge into one order in which each descriptor's writes chain [S2-20, WLK-4]", async () => {
    const engine = createEngine({ walkers: 3, arenaBytes: 8 << 20, journalRecords: 1 << 17 });
    const table = engine.createStage2({ ipaBits: 39 });
    const threads = [1, 2].map((id) => new Thread(engine, id, table));
    await Promise.all(threads.map((thread) => thread.call("countLeaves")));
    engine.journal.start([...WRITES, JournalKind.TABLE_TAKEN, JournalKind.TABLE_RETIRED]);
    const work = threads.map((thread, i) => thread.call("scramble", 3000, 77 + i, BASE, 3));
    await within(engine, "two walkers with journals", Promise.all(work));
    expect(engine.journal.lost).toBe(0);
    const records = engine.journal.read();
    expect(records.every((r, i) => r.sequence === BigInt(i))).toBe(true);
    expect(expectChains(records)).toBeGreaterThan(1000);
    expect(new Set(records.map(({ walker }) => walker))).toEqual(new Set([1, 2]));
    engine.journal.stop();
    for (const thread of threads) await thread.leave();
    expectReferences(table);
    table.close();
  });
});

describe("a section", () => {
  it("of a lookup without the lock is seen while it lasts, and holds up the table it is in [WLK-13, IDE-3]", () => {
    const made = pair({ lockFree: true });
    const { one, two, a, b } = made;
    a.map(BASE, KB4, home(BASE), "rw");
    const seen = at(one, K.POINT_READ, slotAt(a, BASE), () => {
      expect(two.walkers()[0]).toMatchObject({ inSection: true, reads: 0 });
      b.unmap(BASE, KB4); // exclusive: the table goes to limbo all the same
      expect(two.limbo()).toEqual({ waiting: 3 - b.info().startLevel, retired: 3 - b.info().startLevel, heldUpBy: 0 });
    });
    expect(a.leaf(BASE).kind).toBe("hole");
    expect(seen.met).toBe(1);
    expect(two.limbo().waiting).toBe(0);
    expect(one.walkers()[0]).toMatchObject({ inSection: false });
    expectAllGiven(made);
  });

  it("of a hyp lookup with the barrier is waited for by unmap, which frees at once then [IDE-3, LCK-14]", async () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 8 << 20 });
    const hyp = engine.createHyp({ vaBits: 39, barrier: true });
    hyp.map(BASE, KB4, home(BASE), "rw");
    const { pages } = hyp.info();
    const thread = new Thread(engine, 1, hyp);
    let unmapped: Promise<unknown> | undefined;
    at(engine, K.POINT_READ, 0, () => {
      unmapped = thread.call("unmap", BASE, KB4);
      stayUntil(engine, "the unlinked table", () => engine.counters(1).tlbiVa > 0);
      expect(hyp.holders().writer).toBe(1);
      expect(hyp.info().pages).toBe(pages);
    });
    expect(hyp.leaf(BASE).kind).toBe("hole");
    expect(await unmapped).toBe(PAGE);
    expect(hyp.info().pages).toBe(1);
    expect(engine.limbo().retired).toBe(0);
    await thread.leave();
    hyp.close();
  });
});

it("tables in limbo when their table is closed are freed with it [S2-27]", () => {
  const made = pair();
  const { a, b } = made;
  const section = b.lock("read");
  unlinkOne(a);
  section[Symbol.dispose]();
  a.relaxPerms(BASE, "x", SHARED);
  expectAllGiven(made);
});
