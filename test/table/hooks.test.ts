// The eleven memory operations [WLK-16]: each replaced, each absent, each throwing.

import { describe, expect, it } from "vitest";
import { type Engine, JournalKind, type MmOps, type Stage2Table } from "../../bindings/index.js";
import { HostMemory } from "../support/host-memory.js";
import { codeOf, contents, expectReferences, KB4, leaves, MB2, recorded, smallEngine } from "../support/tables.js";

const NAMES = [
  "zallocPage",
  "zallocPagesExact",
  "freePagesExact",
  "freeUnlinkedTable",
  "getPage",
  "putPage",
  "pageCount",
  "physToVirt",
  "virtToPhys",
  "dcacheCleanInvalPoc",
  "icacheInvalPou",
] as const;

/** References and pages belong together: a host that counts must also allocate and free. */
const TOGETHER: Readonly<Record<string, readonly (typeof NAMES)[number][]>> = {
  zallocPage: ["zallocPage", "zallocPagesExact", "freePagesExact", "getPage", "putPage", "pageCount"],
  zallocPagesExact: ["zallocPage", "zallocPagesExact", "freePagesExact", "getPage", "putPage", "pageCount"],
  freePagesExact: ["zallocPage", "zallocPagesExact", "freePagesExact", "getPage", "putPage", "pageCount"],
  getPage: ["zallocPage", "zallocPagesExact", "freePagesExact", "getPage", "putPage", "pageCount"],
  putPage: ["zallocPage", "zallocPagesExact", "freePagesExact", "getPage", "putPage", "pageCount"],
  pageCount: ["zallocPage", "zallocPagesExact", "freePagesExact", "getPage", "putPage", "pageCount"],
};

function replacing(names: readonly (typeof NAMES)[number][]) {
  const engine = smallEngine();
  const taken = engine.arena().taken;
  const host = new HostMemory(engine);
  const all = host.ops();
  const hooks = Object.fromEntries(names.map((name) => [name, all[name]])) as MmOps;
  return { engine, taken, host, table: engine.createStage2({ ipaBits: 39, fwb: false, hooks }) };
}

/** Uses every operation at least once, merging a table into a block on the way. */
function exercise({ table, host }: Pick<ReturnType<typeof replacing>, "table" | "host">): void {
  table.map(0, 3 * KB4, 0x9000, "rwx");
  table.map(MB2, MB2, 0, "r");
  table.map(0, MB2, 0, "rx");
  table.split(0, KB4);
  table.unmap(0, 2 * MB2);
  for (const { pointer, level } of host.detached.splice(0)) table.freeUnlinked(pointer, level);
}

describe("memory operations (WLK-16)", () => {
  it.each(NAMES)("%s can be replaced", (name) => {
    const made = replacing(TOGETHER[name] ?? [name]);
    const plain = smallEngine();
    const reference = plain.createStage2({ ipaBits: 39, fwb: false });
    exercise(made);
    exercise({ table: reference, host: made.host });
    expect(contents(made.table)).toEqual(contents(reference));
    made.table.map(0, 5 * KB4, 0, "rx");
    reference.map(0, 5 * KB4, 0, "rx");
    expect(leaves(made.table)).toEqual(leaves(reference));
    made.table.close();
    expect(made.host.calls[name]).toBeGreaterThan(0);
    expect(made.host.live).toBe(0);
    expect(made.engine.arena().taken).toBe(made.taken);
  });

  it("all eleven at once; a detached table stays until it is freed [LCK-10]", () => {
    const made = replacing(NAMES);
    made.table.map(0, 3 * KB4, 0x9000, "rwx");
    const { live } = made.host;
    made.table.map(0, MB2, 0, "r");
    expect(made.host.detached).toMatchObject([{ level: 2 }]);
    expect(made.host.live).toBe(live); // unlinked, not freed
    const [{ pointer, level }] = made.host.detached as [{ pointer: number; level: number }];
    made.table.freeUnlinked(pointer, level);
    expect(made.host.live).toBe(live - 1);
    expect(made.engine.counters().warnings).toBe(0);
  });

  it("pages that the host gives and takes are counted and recorded as the core's own are [WLK-16]", () => {
    const made = replacing(NAMES);
    const plain = smallEngine();
    const reference = plain.createStage2({ ipaBits: 39, fwb: false });
    const kinds = [JournalKind.TABLE_TAKEN, JournalKind.TABLE_FREED];
    const steps: ((table: Stage2Table) => unknown)[] = [
      (table) => table.map(0, 3 * KB4, 0x9000, "rw"),
      (table) => table.unmap(KB4, 2 * KB4),
      (table) => table.unmap(0, KB4),
      (table) => table.map(MB2, KB4, 0x9000, "rw"),
      (table) => table.destroy(),
    ];
    for (const [i, step] of steps.entries()) {
      const [own, theirs] = [
        [plain, reference],
        [made.engine, made.table],
      ].map(([engine, table]) =>
        recorded(engine as Engine, () => step(table as Stage2Table), kinds).map(({ kind, a }) => [kind, a]),
      );
      expect(theirs, `step ${i}`).toEqual(own);
      expect(theirs?.length, `step ${i}`).toBe([2, 0, 2, 2, 3][i]);
      expect(made.table.info().pages, `step ${i}`).toBe(reference.info().pages);
      const { tablesTaken, tablesFreed } = plain.counters();
      expect(made.engine.counters(), `step ${i}`).toMatchObject({ tablesTaken, tablesFreed });
    }
    expect(made.host.live).toBe(0);
  });

  it("without replaced cache operations nothing is cleaned or counted", () => {
    const engine = smallEngine();
    const table = engine.createStage2({
      ipaBits: 39,
      fwb: false,
      hooks: { dcacheCleanInvalPoc: null, icacheInvalPou: null },
    });
    table.map(0, KB4, 0, "rwx");
    table.unmap(0, KB4);
    expect(engine.counters()).toMatchObject({ dcache: 0, icache: 0 });
  });

  it("cache operations get the leaf's address and size", () => {
    const engine = smallEngine();
    const seen: unknown[] = [];
    const table = engine.createStage2({
      ipaBits: 39,
      hooks: {
        dcacheCleanInvalPoc: (pa, bytes) => {
          seen.push(["d", pa, bytes]);
        },
        icacheInvalPou: (pa, bytes) => {
          seen.push(["i", pa, bytes]);
        },
      },
    });
    table.map(MB2, MB2, 4 * MB2, "rx");
    expect(seen).toEqual([
      ["d", BigInt(4 * MB2), BigInt(MB2)],
      ["i", BigInt(4 * MB2), BigInt(MB2)],
    ]);
  });

  it("an allocator that gives nothing, or no page of the arena, is out of memory", () => {
    for (const wrong of [0, 64, 0xfffff000]) {
      const engine = smallEngine();
      const table = engine.createStage2({ ipaBits: 39, hooks: { zallocPage: () => wrong } });
      expect(codeOf(() => table.map(0, KB4, 0, "r"))).toBe("ENOMEM");
      expect(contents(table)).toEqual([]);
      expectReferences(table);
    }
    expect(codeOf(() => smallEngine().createStage2({ hooks: { zallocPagesExact: () => 4096 } }))).toBe("ENOMEM");
  });

  it.each(NAMES)("what %s throws comes out, and the engine stays usable", (name) => {
    const engine = smallEngine();
    const host = new HostMemory(engine);
    const hooks = host.ops();
    for (let at = 0; at < 12; at++) {
      let n = 0;
      host.before = () => {};
      const table = engine.createStage2({ ipaBits: 39, fwb: false, hooks });
      host.before = (called) => {
        if (called === name && n++ === at) throw new Error(`thrown by ${name}`);
      };
      let thrown = "";
      try {
        exercise({ table, host });
        table.close();
      } catch (error) {
        thrown = error instanceof Error ? error.message : String(error);
      }
      // Not a trap; where the operation was not called that often nothing is thrown.
      if (n > at) expect(thrown).toBe(`thrown by ${name}`);
      host.before = () => {};
      const fresh = engine.createStage2({ ipaBits: 39 });
      expect(
        codeOf(() => {
          fresh.map(0, MB2 + KB4, 0, "rw");
          fresh.unmap(0, 2 * MB2);
          fresh.close();
        }),
      ).toBe("");
    }
  });

  it("an operation that calls other tables of the engine does not disturb the walk under way", () => {
    const engine = smallEngine();
    const other = engine.createStage2({ ipaBits: 39 });
    let n = 0;
    const table = engine.createStage2({
      ipaBits: 39,
      hooks: {
        icacheInvalPou: () => {
          other.map(n++ * KB4, KB4, 0, "r");
        },
      },
    });
    table.map(0, 3 * KB4, 0, "rx");
    expect([leaves(table).length, leaves(other).length]).toEqual([3, 3]);
  });
});
