// The life of a table record: handles that are too old, two who end a table at once, a table under a walk.

import { afterEach, describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine } from "../../bindings/debug.js";
import { createEngine as createRelease, type Stage2Table } from "../../bindings/index.js";
import { codeOf, KB4, MB2 } from "../support/tables.js";
import { BASE, FAULT, home, Thread, until } from "../support/walkers.js";

const PAGE = BigInt(KB4);
let threads: Thread[] = [];

afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.kill();
});

describe("a handle", () => {
  it("names one life of its record: the next table there has another one [S2-27]", () => {
    using engine = createRelease({ maxTables: 1 });
    const seen = new Set<number>();
    for (let i = 0; i < 600; i++) {
      using table = engine.createStage2({ ipaBits: 39 });
      expect(table.handle).toBeGreaterThan(0);
      seen.add(table.handle);
    }
    expect(seen.size).toBe(600);
  });

  it("that is too old is an error, in a ticket as in a batch, and changes nothing", () => {
    using engine = createRelease({ walkers: 2, maxTables: 1 });
    const old = engine.createStage2({ ipaBits: 39 });
    const ticket = old.ticket();
    using batch = engine.createBatch(1);
    batch.map(old, BASE, KB4, home(BASE), "rw");
    old.close();
    using table = engine.createStage2({ ipaBits: 39 });
    expect(codeOf(() => engine.adopt(ticket))).toBe("EINVAL");
    batch.run();
    expect(batch.result(0).status).toBe(K.EINVAL);
    expect(table.countLeaves()).toBe(0);
  });
});

describe("two who end a table", () => {
  /** A table with unlinked tables that a reader of another table holds up, and a walker that destroys it. */
  async function held() {
    const engine = createEngine({ walkers: 4, arenaBytes: 8 << 20 });
    const [table, other] = [0, 1].map(() => engine.createStage2({ ipaBits: 39 })) as [Stage2Table, Stage2Table];
    threads = [new Thread(engine, 1, table), new Thread(engine, 2, other)];
    const [destroyer, holder] = threads as [Thread, Thread];
    for (let i = 0n; i < 12n; i++) table.map(BASE + i * BigInt(MB2), KB4, home(BASE), "rw", FAULT);
    other.map(BASE, KB4, home(BASE), "rw", FAULT);
    await holder.call("lock", "read");
    for (let i = 0n; i < 12n; i++) await destroyer.call("map", BASE + i * BigInt(MB2), MB2, home(BASE), "rw", FAULT);
    return { engine, table, other, destroyer, holder };
  }

  it("the owner closes it while another walker tears it down: the record goes with the end of that", async () => {
    const { engine, table, other, destroyer, holder } = await held();
    destroyer.stopAt(K.POINT_FREE);
    const destroyed = destroyer.call("destroy");
    await until(engine, "the root gone", () => table.info().rootPa === 0n);
    await holder.call("unlock");
    await destroyer.stopped();
    const { handle } = table;
    table.close();
    const fresh = engine.createStage2({ ipaBits: 39 });
    fresh.map(BASE, KB4, home(BASE), "rw");
    expect(fresh.handle).not.toBe(handle);
    const { pages } = fresh.info();
    destroyer.resume();
    await destroyed;
    expect(fresh.info().pages).toBe(pages);
    expect(engine.core.tableInfo(handle)).toBe(K.EINVAL);
    expect(engine.counters().warnings).toBe(0);
    fresh.destroy();
    other.destroy();
    expect([fresh.info().pages, other.info().pages]).toEqual([0, 0]);
  });

  it("a walker that waits for the lock of a table that goes finds none, and holds nothing afterwards [LCK-3]", async () => {
    const { engine, table, other, destroyer, holder } = await held();
    await holder.call("unlock");
    await destroyer.call("lock", "write");
    const late = new Thread(engine, 3, table);
    threads.push(late);
    const unmapped = late.call("unmap", BASE, KB4);
    await until(engine, "the late one", () => engine.counters(3).walks === 0);
    await destroyer.call("unlock");
    table.close();
    await unmapped.catch((error) => expect(error).toMatchObject({ code: "EINVAL" }));
    expect(engine.walkers().map(({ writes }) => writes)).toEqual([0, 0, 0, 0]);
    other.destroy();
  });
});

describe("a table under a walk of this walker", () => {
  it("refuses to go, and to lose its tables: EBUSY [WLK-4]", () => {
    using engine = createRelease();
    const table = engine.createStage2({ ipaBits: 39 });
    for (const addr of [0n, BigInt(MB2)]) table.map(addr, KB4, home(addr), "r");
    const codes: string[] = [];
    table.walk(0, 8 << 20, () => {
      for (const end of [() => table.destroy(), () => table.unmap(0, KB4), () => table.close()])
        codes.push(codeOf(end));
    });
    expect(new Set(codes)).toEqual(new Set(["EBUSY"]));
    expect(table.countLeaves()).toBe(2);
    table.close();
  });

  it("keeps its tables when a visitor maps: pages, and no block over the table that the walk stands in [S2-6]", () => {
    using engine = createRelease();
    const table = engine.createStage2({ ipaBits: 39 });
    for (let i = 0n; i < 4n; i++) table.map(BASE + i * PAGE, KB4, home(BASE), "r");
    const before = table.info().pages;
    let first = true;
    table.walk(BASE, 4 * KB4, () => {
      if (first) table.map(BASE, MB2, home(BASE), "rw");
      first = false;
    });
    expect(table.info().pages).toBe(before);
    expect(table.leaf(BASE)).toMatchObject({ kind: "page", pa: home(BASE) });
    expect(table.countLeaves()).toBe(512);
    table.map(BASE, MB2, home(BASE), "rw");
    expect(table.leaf(BASE).kind).toBe("block");
    table.close();
  });

  it("a hook that closes its table while a block is split is refused [WLK-16]", () => {
    using engine = createRelease();
    const codes: string[] = [];
    const table: Stage2Table = engine.createStage2({
      ipaBits: 39,
      hooks: {
        getPage: (pointer) => {
          if (codes.length < 3) codes.push(codeOf(() => table.close()));
          engine.core.pageReferences(pointer);
        },
      },
    });
    table.map(BASE, MB2, home(BASE), "rw");
    table.split(BASE, MB2, "arena");
    expect(new Set(codes)).toEqual(new Set(["EBUSY"]));
  });
});
