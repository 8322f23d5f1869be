import { describe, expect, it } from "vitest";
import { GranuleError, JournalKind, type Visit } from "../../bindings/index.js";
import {
  codeOf,
  contents,
  expectReferences,
  KB4,
  leaves,
  MB2,
  recorded,
  smallEngine,
  tlbis,
} from "../support/tables.js";

function made(options: Parameters<ReturnType<typeof smallEngine>["createStage2"]>[0] = {}) {
  const engine = smallEngine();
  return { engine, table: engine.createStage2({ ipaBits: 39, ...options }) };
}

/** The visits of a walk as `phase level address`. */
function visits(
  walk: (visitor: (visit: Visit) => number | void) => unknown,
  act: (visit: Visit, n: number) => number | void = () => 0,
): string[] {
  const seen: string[] = [];
  walk((visit) => {
    seen.push(`${visit.phase} L${visit.level} 0x${visit.address.toString(16)}`);
    return act(visit, seen.length - 1);
  });
  return seen;
}

const ALL = { tablePre: true, tablePost: true };

describe("the walker", () => {
  it("WLK-5: a table before, its entries, the table after; holes are leaves", () => {
    const { table } = made();
    table.map(0x1000, KB4, 0, "r");
    expect(visits((v) => table.walk(0x1000, 2 * KB4, v, ALL))).toEqual([
      "pre L1 0x1000",
      "pre L2 0x1000",
      "leaf L3 0x1000",
      "leaf L3 0x2000",
      "post L2 0x1000",
      "post L1 0x1000",
    ]);
  });

  it("WLK-3: each flag asks for its phase alone", () => {
    const { table } = made();
    table.map(0, KB4, 0, "r");
    expect(visits((v) => table.walk(0, KB4, v))).toEqual(["leaf L3 0x0"]);
    expect(visits((v) => table.walk(0, KB4, v, { leaf: false, tablePre: true }))).toEqual(["pre L1 0x0", "pre L2 0x0"]);
    expect(visits((v) => table.walk(0, KB4, v, { leaf: false, tablePost: true }))).toEqual([
      "post L2 0x0",
      "post L1 0x0",
    ]);
    expect(visits((v) => table.walk(0, KB4, v, { leaf: false }))).toEqual([]);
  });

  it("WLK-1, WLK-2: rounds the start down and the end up; nothing visited beyond the limit, or for size 0", () => {
    const { table } = made({ forcePte: "all" });
    table.map(0, 8 * KB4, 0, "r");
    expect(visits((v) => table.walk(0x1fff, 2, v))).toEqual(["leaf L3 0x1000"]);
    expect(visits((v) => table.walk(0x1fff, 0x1001, v))).toHaveLength(2);
    expect(visits((v) => expect(table.walk(1n << 39n, 0, v)).toBe(0))).toEqual([]);
    expect(visits((v) => expect(table.walk(1n << 39n, 1, v)).toBe(-34))).toEqual([]);
    table.destroy();
    expect(table.walk(0, KB4, () => 0)).toBe(-22);
  });

  it("WLK-15, WLK-8: an empty table has one visit for each start entry that is touched, across start tables", () => {
    const { table } = made({ ipaBits: 40 });
    expect(visits((v) => table.walk(0, 1n << 40n, v))).toHaveLength(1024);
    expect(visits((v) => table.walk((1n << 39n) - 1n, 2, v))).toHaveLength(1);
    expect(visits((v) => table.walk((1n << 39n) - 1n, 4098, v))).toEqual([
      "leaf L1 0x7ffffff000",
      "leaf L1 0x8000000000",
    ]);
  });

  it("WLK-10: EAGAIN goes on without handleFault, and ends the walk with it; any other result ends it, positive ones too", () => {
    const { table } = made();
    table.map(0, 4 * KB4, 0, "r");
    const from = (result: number, handleFault: boolean) => {
      let status = 0;
      const seen = visits(
        (v) => {
          status = table.walk(0, 4 * KB4, v, { handleFault });
        },
        (_, n) => (n === 1 ? result : 0),
      );
      return [seen.length, status];
    };
    expect(from(-11, false)).toEqual([4, 0]);
    expect(from(-11, true)).toEqual([2, -11]);
    expect(from(-22, false)).toEqual([2, -22]);
    expect(from(7, false)).toEqual([2, 7]);
  });

  it("WLK-6: a table installed at LEAF is walked into, in the same walk", () => {
    const { table } = made();
    const seen = visits(
      (v) => table.walk(0, 2 * KB4, v, ALL),
      (visit) => {
        if (visit.phase !== "leaf" || visit.level === 3) return;
        const child = visit.newTable();
        expect(visit.tryBreak()).toBe(true);
        visit.make(child);
      },
    );
    expect(seen).toEqual(["leaf L1 0x0", "leaf L2 0x0", "leaf L3 0x0", "leaf L3 0x1000", "post L2 0x0", "post L1 0x0"]);
    expectReferences(table);
  });

  it("WLK-6, WLK-7: a block put in place of a table at PRE: no visit of the child, no POST", () => {
    const { table } = made();
    table.map(0, KB4, 0, "r");
    const seen = visits(
      (v) => table.walk(0, MB2 + KB4, v, ALL),
      (visit) => {
        if (visit.phase !== "pre" || visit.level !== 2) return;
        const old = visit.old;
        visit.tryBreak();
        visit.make(0x40_0000_0000_07fdn);
        visit.freeTable(old);
      },
    );
    expect(seen).toEqual(["pre L1 0x0", "pre L2 0x0", "leaf L2 0x200000", "post L1 0x0"]);
    expect(leaves(table).map((e) => e.level)).toEqual([2]);
    expectReferences(table);
  });

  it("WLK-4: read gives what is there now, old what was there; set compares with old", () => {
    const { table, engine } = made();
    table.map(0, KB4, 0, "r");
    table.walk(0, KB4, (visit) => {
      const old = visit.old;
      expect(visit.read()).toBe(old);
      expect(visit.set(old | (1n << 7n))).toBe(true);
      expect(visit.old).toBe(old | (1n << 7n));
      table.poke(0, old);
      expect(visit.read()).toBe(old);
      expect(visit.set(0n)).toBe(false); // the slot is not what the snapshot says
    });
    expect(engine.counters().warnings).toBe(0);
    expectReferences(table);
  });

  it("WLK-17: set and make keep the references, to nothing and back", () => {
    const { table } = made();
    table.map(0, 2 * KB4, 0, "r");
    table.walk(0, 3 * KB4, (visit) => {
      if (visit.address === 0n) visit.set(0n);
      if (visit.address === 0x2000n) visit.set(4n);
      if (visit.address === 0x1000n && visit.tryBreak()) visit.make(8n);
    });
    expect(contents(table).filter((l) => l.includes("L3"))).toEqual(["1000 L3 8 -1", "2000 L3 4 -1"]);
    expectReferences(table);
  });

  it("S2-20, S2-24: make is only for a slot that tryBreak took; a locked slot is not taken twice", () => {
    const { table } = made();
    table.map(0, KB4, 0, "r");
    table.walk(0, KB4, (visit) => {
      const old = visit.old;
      expect(codeOf(() => visit.make(0n))).toBe("EPERM");
      expect(visit.tryBreak()).toBe(true);
      expect(visit.read()).toBe(0x400n);
      visit.make(old);
    });
    expect(table.leaf(0).kind).toBe("page");
    expectReferences(table);
  });

  it("S2-24: a visit that takes the slot and makes nothing, or throws, leaves what was there", () => {
    const { table } = made();
    table.map(0, 2 * KB4, 0, "r");
    const before = contents(table);
    table.walk(0, KB4, (visit) => {
      visit.tryBreak();
    });
    const broken = new Error("between break and make");
    expect(() =>
      table.walk(0x1000, KB4, (visit) => {
        visit.tryBreak();
        throw broken;
      }),
    ).toThrow(broken);
    expect(contents(table)).toEqual(before);
    expectReferences(table);
  });

  it("S2-20, TLB-21: tryBreak flushes a valid leaf with its level, and leaves it out when told to", () => {
    const { table, engine } = made();
    table.map(MB2, MB2, 0, "r");
    const rewrite = (visit: Visit) => {
      const { old } = visit;
      if (visit.tryBreak()) visit.make(old);
    };
    expect(tlbis(engine, () => table.walk(MB2, MB2, rewrite))).toEqual(["TLBI_IPA 0x200000 L2"]);
    expect(tlbis(engine, () => table.walk(MB2, MB2, rewrite, { skipBreakTlbi: true }))).toEqual([]);
    expect(
      recorded(engine, () => table.walk(MB2, MB2, rewrite, { shared: true }), [JournalKind.WRITE_SHARED]),
    ).toHaveLength(2);
  });

  it("outside a visit, and from a kept object, nothing can be done: EPERM", () => {
    const { table, engine } = made({
      hooks: {
        icacheInvalPou: () => {
          inHook = engine.core.visitRead();
        },
      },
    });
    let inHook = 0;
    let kept: Visit | undefined;
    table.walk(0, KB4, (visit) => {
      kept = visit;
    });
    for (const call of [
      () => kept?.read(),
      () => kept?.tryBreak(),
      () => kept?.make(0n),
      () => kept?.set(0n),
      () => kept?.newTable(),
      () => kept?.freeTable(3n),
    ]) {
      expect(codeOf(call)).toBe("EPERM");
    }
    expect([...table.entries({ tables: true })]).toEqual([]);
    table.map(0, KB4, 0, "rx"); // a hook of another walk is no visit, whatever ran on that frame before
    expect(inHook).toBe(-1);
  });

  it("newTable has no page without a cache; freeTable wants a table", () => {
    const { table } = made();
    const codes: string[] = [];
    table.walk(
      0,
      KB4,
      (visit) => {
        codes.push(
          codeOf(() => visit.newTable()),
          codeOf(() => visit.freeTable(0n)),
        );
        return -22;
      },
      { cache: null },
    );
    expect(codes).toEqual(["ENOMEM", "EPERM"]);
  });
});

describe("visitors that call the table, and that throw", () => {
  it("nested walks see the same table, and their own place", () => {
    const { table } = made();
    table.map(0, 2 * KB4, 0x8000, "r");
    const seen: bigint[] = [];
    table.walk(0, 2 * KB4, (outer) => {
      table.walk(0, 2 * KB4, (inner) => {
        seen.push(outer.address * 16n + inner.address);
      });
      expect(table.leaf(0x1000).pa).toBe(0x9000n);
      expect(outer.read()).toBe(outer.old);
    });
    expect(seen).toEqual([0n, 0x1000n, 0x10000n, 0x11000n]);
  });

  it("too deep is an EBUSY, nothing leaks, and all is well afterwards", () => {
    const { table, engine } = made();
    const other = engine.createStage2({ ipaBits: 39, forcePte: "all" });
    other.map(0, MB2, 0, "r");
    other.setForcePte("none");
    const codes: string[] = [];
    const nest = (depth: number): void => {
      codes.push(codeOf(() => other.map(0, MB2, BigInt(depth + 1) << 30n, "r")));
      if (depth < 9) table.walk(0, KB4, () => nest(depth + 1));
    };
    nest(0);
    // Eight walks nest, and a map keeps room for one more, in which it would free a table that it replaces.
    expect(codes).toEqual([...new Array(7).fill(""), "EBUSY", "EBUSY"]);
    expectReferences(other);
    other.close();
    expect(codeOf(() => table.map(0, KB4, 0, "r"))).toBe("");
    table.close();
    expect(engine.arena().taken).toBe(smallEngine().arena().taken);
  });

  it("a merge needs room for two walks, its own and the one that frees the table: with less it is refused", () => {
    for (let depth = 0; depth <= 8; depth++) {
      const { table, engine } = made();
      const other = engine.createStage2({ ipaBits: 39 });
      const fresh = engine.arena().taken;
      other.map(0, KB4, 0, "r");
      let code = "";
      const nest = (left: number): void => {
        if (left === 0) code = codeOf(() => other.map(0, MB2, MB2, "r"));
        else table.walk(0, KB4, () => nest(left - 1));
      };
      nest(depth);
      expect([depth, code]).toEqual([depth, depth <= 6 ? "" : "EBUSY"]);
      expectReferences(other);
      expect(other.leaf(0).level).toBe(depth <= 6 ? 2 : 3);
      other.unmap(0, MB2);
      expect(engine.arena().taken, `depth ${depth}`).toBe(fresh);
    }
  });

  it("what a visitor throws comes out, once, and the engine goes on", () => {
    const { table, engine } = made();
    table.map(0, 4 * KB4, 0, "r");
    const before = contents(table);
    let n = 0;
    expect(() =>
      table.walk(0, 4 * KB4, () => {
        n++;
        throw new TypeError("mine");
      }),
    ).toThrow(TypeError);
    expect(n).toBe(1);
    for (let i = 0; i < 20; i++)
      expect(() =>
        table.walk(0, KB4, () =>
          table.walk(0, KB4, () => {
            throw new RangeError("deep");
          }),
        ),
      ).toThrow("deep");
    expect(contents(table)).toEqual(before);
    expect(codeOf(() => table.unmap(0, 4 * KB4))).toBe("");
    expect(engine.counters().warnings).toBe(0);
  });

  it("a GranuleError that a visitor meets comes out as it is", () => {
    const { table } = made();
    let caught: unknown;
    try {
      table.walk(0, KB4, () => {
        table.map(1n << 60n, KB4, 0, "r");
      });
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(GranuleError);
    expect((caught as GranuleError).code).toBe("ERANGE");
  });
});

describe("reading", () => {
  it("WLK-14: leaf gives the final snapshot; of a hole, the level where the walk stopped", () => {
    const { table } = made();
    table.map(0, KB4, 0x9000, "r");
    expect(table.leaf(0x123)).toMatchObject({ level: 3, pa: 0x9000n, address: 0n });
    expect([table.leaf(KB4).level, table.leaf(MB2).level, table.leaf(1 << 30).level]).toEqual([3, 2, 1]);
    expect(codeOf(() => table.leaf(1n << 39n))).toBe("ERANGE");
  });

  it("leaves64 answers as leaf does, and marks addresses beyond the end with -128", () => {
    const { table } = made();
    table.map(0, KB4, 0x9000, "r");
    table.map(MB2, MB2, 0, "r");
    const addresses = new BigUint64Array(5000).map((_, i) => (i === 7 ? 1n << 39n : BigInt(i) * 0x3000n));
    const found = new BigUint64Array(5000),
      levels = new Int8Array(5000);
    table.leaves64(addresses, found, levels);
    for (const [i, addr] of addresses.entries()) {
      const { descriptor, level } = i === 7 ? { descriptor: 0n, level: -128 } : table.leaf(addr);
      expect([found[i], levels[i]]).toEqual([descriptor, level]);
    }
  });

  it("iterators do not disturb each other, nor batches of lookups between their steps", () => {
    const { table, engine } = made();
    const other = engine.createStage2({ ipaBits: 39 });
    table.map(0, 600 * KB4, 0, "r");
    other.map(1 << 30, 600 * KB4, 0x1000, "r");
    const mine: bigint[] = [],
      theirs = other.leaves();
    for (const e of table.leaves()) {
      mine.push(e.address);
      theirs.next();
      table.leaves64(new BigUint64Array(8), new BigUint64Array(8), new Int8Array(8));
    }
    expect(mine).toEqual(leaves(table).map((e) => e.address));
  });

  it("entries: a block that holds `from` is given; parents before children; holes as runs", () => {
    const { table } = made();
    table.map(0, 2 * MB2, 0, "r");
    expect([...table.leaves({ from: MB2 + KB4 })].map((e) => e.address)).toEqual([BigInt(MB2)]);
    expect([...table.entries({ from: KB4, to: MB2 })].map((e) => e.address)).toEqual([0n]);
    const runs = [...table.entries({ tables: true, holes: true })].map((e) => [e.level, e.kind, e.count]);
    expect(runs).toEqual([
      [1, "table", 1],
      [2, "block", 1],
      [2, "block", 1],
      [2, "hole", 510],
      [1, "hole", 511],
    ]);
  });

  it("countLeaves counts the valid leaves that a range touches", () => {
    const { table } = made();
    table.map(0, MB2 + 5 * KB4, 0, "r");
    table.setOwner(8 * MB2, KB4, 1);
    expect([
      table.countLeaves(),
      table.countLeaves(KB4, KB4),
      table.countLeaves(MB2 + KB4, MB2),
      table.countLeaves(3 * MB2, MB2),
    ]).toEqual([6, 1, 4, 0]);
  });
});
