// Windows that a lock excludes: the second walker waits, and holders() says for whom; then it completes. In both orders.

import { afterEach, describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine } from "../../bindings/debug.js";
import type { Engine, Stage2Table } from "../../bindings/index.js";
import { expectReferences, KB4, MB2 } from "../support/tables.js";
import { BASE, COLUMN, FAULT, home, isPending, SHARED, slotAt, Thread, until } from "../support/walkers.js";

const PAGE = BigInt(KB4);
let threads: Thread[] = [];

afterEach(async () => {
  for (const thread of threads) await thread.kill();
});

/** A table with a page beside BASE, and walkers 1 and 2 on threads. */
function made(config = {}): { engine: Engine; table: Stage2Table; first: Thread; second: Thread } {
  const engine = createEngine({ walkers: 3, arenaBytes: 8 << 20 });
  const table = engine.createStage2({ ipaBits: 39, ...config });
  table.map(BASE + BigInt(MB2) - PAGE, KB4, home(BASE), "r");
  threads = [1, 2].map((id) => new Thread(engine, id, table));
  const [first, second] = threads as [Thread, Thread];
  return { engine, table, first, second };
}

describe("a fault against unmap", () => {
  it("the fault between break and make: unmap waits for it, and takes the page away [S2-10, LCK-13, LCK-4]", async () => {
    const { engine, table, first, second } = made();
    first.stopAt(K.POINT_RELEASE, slotAt(table, BASE));
    const fault = first.call("map", BASE, KB4, home(BASE), "rw", FAULT);
    await first.stopped();
    const unmap = second.call("unmap", BASE, KB4);
    await until(engine, "unmap at the lock", () => table.holders().writer === 2);
    expect(table.holders()).toEqual({ writer: 2, readers: [1] });
    expect(await isPending(unmap)).toBe(true);
    first.resume();
    expect(await fault).toBe("done");
    await unmap;
    expect(table.leaf(BASE).kind).toBe("hole");
    expectReferences(table);
  });

  it("unmap about to clear the page: the fault waits for it, and maps anew [S2-10, PROP-12]", async () => {
    const { table, first, second } = made({ lockFree: true });
    table.map(BASE, KB4, home(BASE), "rw");
    first.stopAt(K.POINT_EXCHANGE, slotAt(table, BASE));
    const unmap = first.call("unmap", BASE, KB4);
    await first.stopped();
    const fault = second.call("map", BASE, KB4, home(BASE, 1n), "rw", FAULT);
    expect(await isPending(fault)).toBe(true);
    expect(table.holders().writer).toBe(1); // a reader that knocks is seen for a moment
    first.resume();
    await unmap;
    expect(await fault).toBe("done");
    expect(table.leaf(BASE)).toMatchObject({ kind: "page", pa: home(BASE, 1n) });
    expectReferences(table);
  });
});

describe("a range against a locked descriptor", () => {
  it("write protection waits for the make and then protects what was made [WLK-11, LCK-6, S2-22]", async () => {
    const { engine, table, first, second } = made();
    first.stopAt(K.POINT_RELEASE, slotAt(table, BASE));
    const fault = first.call("map", BASE, KB4, home(BASE), "rw", FAULT);
    await first.stopped();
    const guard = second.call("wrprotect", BASE, MB2, SHARED);
    await until(engine, "both inside", () => table.holders().readers.length === 2);
    expect(await isPending(guard)).toBe(true);
    first.resume();
    await Promise.all([fault, guard]);
    expect(table.leaf(BASE)).toMatchObject({ kind: "page", prot: K.PROT_R });
  });

  it("a split waits for the block, and splits it [WLK-11, S2-26]", async () => {
    const { engine, table, first, second } = made();
    table.unmap(BASE, MB2);
    table.map(BASE + BigInt(MB2), KB4, home(BASE), "r");
    first.stopAt(K.POINT_RELEASE, slotAt(table, BASE));
    const block = first.call("map", BASE, MB2, home(BASE), "rw", FAULT);
    await first.stopped();
    const split = second.call("split", BASE, MB2, "arena", SHARED);
    expect(await isPending(split)).toBe(true);
    first.resume();
    await Promise.all([block, split]);
    expect(table.leaf(BASE + PAGE)).toMatchObject({ kind: "page", pa: home(BASE + PAGE) });
    expect(engine.counters().warnings).toBe(0);
  });

  it("a fault does not wait: it comes again [S2-22, LCK-5]", async () => {
    const { table, first, second } = made();
    first.stopAt(K.POINT_RELEASE, slotAt(table, BASE));
    const fault = first.call("map", BASE, KB4, home(BASE), "rw", FAULT);
    await first.stopped();
    expect(await second.call("map", BASE, KB4, home(BASE), "rw", FAULT)).toBe("again");
    expect(await second.call("relaxPerms", BASE, "w", SHARED)).toBe("again");
    first.resume();
    expect(await fault).toBe("done");
  });
});

describe("destroying a table", () => {
  it("waits for who is inside; afterwards nobody gets in [LCK-3, S2-27]", async () => {
    const { engine, table, first, second } = made();
    first.stopAt(K.POINT_RELEASE, slotAt(table, BASE));
    const fault = first.call("map", BASE, KB4, home(BASE), "rw", FAULT);
    await first.stopped();
    const destroyed = second.call("destroy");
    await until(engine, "destroy at the lock", () => table.holders().writer === 2);
    const late = first.call("map", BASE, KB4, home(BASE), "rw", FAULT);
    expect(await isPending(destroyed)).toBe(true);
    first.resume();
    expect(await fault).toBe("done");
    await destroyed;
    await expect(late).rejects.toMatchObject({ code: "EINVAL" });
    expect(table.info()).toMatchObject({ rootPa: 0n, pages: 0 });
  });

  it("between two groups of a column ends the column: no walk begins at a root that has gone [LCK-2, PROP-4]", async () => {
    const { engine, table, first, second } = made();
    const pages = Array.from({ length: 600 }, (_, i) => BASE + BigInt(i) * PAGE);
    first.stopAt(K.POINT_EXCHANGED, slotAt(table, BASE));
    const column = first.call(
      "mapColumns",
      pages,
      pages.map((p) => home(p)),
      "rw",
      COLUMN,
    );
    await first.stopped();
    const low = engine.u64.slice(0, 128);
    const destroyed = second.call("destroy");
    await until(engine, "destroy at the lock", () => table.holders().writer === 2);
    first.resume();
    await expect(column).rejects.toMatchObject({ code: "EINVAL" });
    await destroyed;
    expect(engine.u64.slice(0, 128)).toEqual(low);
    expect(table.info().pages).toBe(0);
  });

  it("waits for who frees its last unlinked table [LCK-11, PROP-4]", async () => {
    const { engine, table, first, second } = made();
    table.map(BASE, KB4, home(BASE), "rw");
    second.stopAt(K.POINT_READ, slotAt(table, BASE));
    const lookup = second.call("relaxPerms", BASE, "x", SHARED);
    await second.stopped();
    table.map(BASE, MB2, home(BASE), "rw", FAULT);
    expect(engine.limbo()).toMatchObject({ waiting: 1, heldUpBy: 2 });
    second.stopAt(K.POINT_FREE); // it leaves, and is the one to free what it held up
    await second.stopped();
    expect(engine.limbo()).toMatchObject({ waiting: 0 });
    const destroyed = first.call("destroy");
    expect(await isPending(destroyed)).toBe(true);
    second.resume();
    await Promise.all([lookup, destroyed]);
    expect(table.info().pages).toBe(0);
    expect(engine.counters().warnings).toBe(0);
  });
});

describe.each([
  ["with the barrier: lookups take no lock", true],
  ["without it: lookups wait for the lock", false],
])("a hypervisor's table %s", (_, barrier) => {
  it("lookups by one walker while another maps and unmaps: a page or none, never what was freed [IDE-3, LCK-14, PROP-4]", async () => {
    const engine = createEngine({ walkers: 3, arenaBytes: 8 << 20 });
    const hyp = engine.createHyp({ vaBits: 39, barrier });
    threads = [1, 2].map((id) => new Thread(engine, id, hyp));
    const [changer, reader] = threads as [Thread, Thread];
    const stop = engine.takeBlock(KB4);
    const output = home(0n);
    const looked = reader.call("lookUntil", stop, BASE, output);
    await until(engine, "the reader", () => engine.counters(2).walks > 0);
    await changer.call("comeAndGo", 600, BASE, output);
    Atomics.store(engine.u32, stop / 4, 1);
    const { page, hole } = (await looked) as { page: number; hole: number };
    expect(page + hole).toBeGreaterThan(0);
    expect(hyp.info().pages).toBe(1);
    engine.reclaim();
    expect(engine.limbo()).toMatchObject({ waiting: 0 });
    hyp.close();
  });
});
