// Arguments that the core's exports refuse. The facade never passes them, but a program that calls the core itself could.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine as createDebugEngine } from "../../bindings/debug.js";
import { createEngine, type Engine, Prot, type Stage2Table } from "../../bindings/index.js";
import { digest, KB4, MB2, smallEngine } from "../support/tables.js";

const ROWS = 8;

function scanner(engine: Engine, table: Stage2Table) {
  const out = engine.borrowBuffer();
  return (root: number, level: number, end: number, { what = 0, max = ROWS, from = 0n } = {}) =>
    engine.core.scan(table.handle, root, level, from, -2, BigInt(end), what, out, max);
}

describe("a scan", () => {
  const engine = smallEngine();
  const table = engine.createStage2({ ipaBits: 39 });
  table.map(0, KB4, 0, "r");
  const child = table.createUnlinked(0, 2, "rw", { forcePte: true });
  const scan = scanner(engine, table);

  it("of a detached table: the level of its entries is one that exists, and its end is its own [GEO-2]", () => {
    expect([-2, 4, 5, 100, -100].map((level) => scan(child, level, 0))).toEqual(new Array(5).fill(K.EINVAL));
    expect([-1, 0, 1, 2, 3].map((level) => scan(child, level, 0))).toEqual(new Array(5).fill(0));
    expect(scan(child, 3, MB2)).toBe(0);
    expect(engine.results.scanEnd.records).toBe(ROWS);
    expect(scan(child, 3, MB2 + 1)).toBe(K.ERANGE);
  });

  it("of a table: to its input size, and not of one that is destroyed", () => {
    expect(scan(0, 0, 2 ** 39)).toBe(0);
    expect(scan(0, 0, 2 ** 39 + 1)).toBe(K.ERANGE);
    const gone = engine.createStage2({ ipaBits: 39 });
    gone.destroy();
    expect(scanner(engine, gone)(0, 0, 0)).toBe(K.EINVAL);
  });

  it("of nothing that exists, or into no room", () => {
    expect(scan(0, 0, KB4, { max: 0 })).toBe(K.EINVAL);
    expect(scan(0, 0, KB4, { what: 1 << 30 })).toBe(K.EINVAL);
    expect(scan(0, 0, KB4, { what: K.SCAN_TABLES | K.SCAN_HOLES })).toBe(0);
  });
});

describe("creating a table", () => {
  const engine = createEngine({ arenaBytes: 32 << 20 });
  const hyp = (ps: number, bits: number, flags = 0, hooks = 0) => engine.core.createHyp(ps, bits, flags, hooks);
  const stage2 = (ps: number, vtcr: bigint, flags = 0, hooks = 0) => engine.core.createStage2(ps, vtcr, flags, hooks);

  /** Was a table made? What is refused takes nothing. */
  function made(create: () => number): boolean {
    const { taken } = engine.arena();
    const handle = create();
    if (handle >= 0) return true;
    expect([handle, engine.arena().taken]).toEqual([K.EINVAL, taken]);
    return false;
  }

  it("at EL2: sizes whose start level exists [GEO-8, GEO-13]", () => {
    const limits = [12, 14, 16].map((ps) => {
      const sizes = Array.from({ length: 70 }, (_, bits) => bits).filter((bits) => made(() => hyp(ps, bits)));
      expect(sizes).toEqual(sizes.map((_, i) => (sizes[0] as number) + i));
      return [sizes[0], sizes.at(-1)];
    });
    expect(limits).toEqual([
      [13, 57],
      [15, 63],
      [17, 63],
    ]);
  });

  it("at EL2: granules, flags and hooks that exist", () => {
    for (const ps of [0, 11, 13, 15, 17, 64]) expect(made(() => hyp(ps, 39))).toBe(false);
    expect(made(() => hyp(12, 39, K.T_LOCK_FREE))).toBe(false);
    expect(made(() => hyp(12, 39, 1 << 31))).toBe(false);
    for (const hooks of [-1, 1 << 31]) expect(made(() => hyp(12, 39, 0, hooks))).toBe(false);
    expect(made(() => hyp(12, 39, K.T_LPA2))).toBe(true);
  });

  it("at stage 2: a VTCR of its own granule, flags and hooks that exist", () => {
    const vtcr = (ps: number) => engine.core.vtcr(ps, 40, 5n, 0n, 0, 0, 1);
    for (const ps of [12, 14, 16]) {
      expect(made(() => stage2(ps, vtcr(ps)))).toBe(true);
      for (const other of [12, 14, 16]) if (other !== ps) expect(made(() => stage2(ps, vtcr(other)))).toBe(false);
    }
    // 52 bits of input from level -1: no stage 2 begins there [GEO-13].
    const beforeZero = (vtcr(12) & ~0xffn) | 12n | (3n << 6n);
    expect(made(() => stage2(12, beforeZero, K.T_LPA2))).toBe(false);
    expect(made(() => stage2(12, vtcr(12), K.T_BARRIER))).toBe(false);
    expect(made(() => stage2(12, vtcr(12), 1 << 31))).toBe(false);
    for (const hooks of [-1, 1 << 31]) expect(made(() => stage2(12, vtcr(12), 0, hooks))).toBe(false);
  });
});

describe("a walk with a visitor", () => {
  it("has flags and a cache that exist; one that gets runs visits leaves alone [WLK-3]", () => {
    const engine = smallEngine();
    const { handle } = engine.createStage2({ ipaBits: 39 });
    const walk = (flags: number, cache = K.CACHE_ARENA) => engine.core.walkOutside(handle, 0n, 0n, flags, cache);
    expect([0, K.LEAF, K.LEAF | K.TABLE_PRE, K.RUNS | K.LEAF].map((flags) => walk(flags))).toEqual([0, 0, 0, 0]);
    const wrong = [1 << 7, 1 << 30, K.RUNS, K.RUNS | K.LEAF | K.TABLE_PRE, K.RUNS | K.LEAF | K.SHARED];
    expect(wrong.map((flags) => walk(flags))).toEqual(wrong.map(() => K.EINVAL));
    expect(walk(K.LEAF, 4096)).toBe(K.EINVAL);
  });
});

describe("columns of pages", () => {
  const PROT = 3;

  it("are refused whole where a flag, a cache or a protection does not exist, or the table is destroyed", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    const at = engine.borrowBuffer();
    const map = ({ prot = PROT, cache = K.CACHE_ARENA, flags = 0 } = {}) =>
      engine.core.mapPages(table.handle, at, at + 8, at + 16, 1, prot, cache, flags);
    const relax = ({ prot = PROT, flags = 0 } = {}) =>
      engine.core.relaxPages(table.handle, at, at + 16, 1, prot, flags);
    engine.u64.set([0x1000n, 0x8000n, 0n], at / 8);
    const wrong = [map({ flags: 1 << 30 }), map({ prot: 1 << 30 }), map({ cache: 4096 }), relax({ flags: 1 << 30 })];
    expect([...wrong, relax({ prot: 1 << 30 })]).toEqual(new Array(5).fill(K.EINVAL));
    expect([table.countLeaves(), map(), table.countLeaves(), relax()]).toEqual([0, 1, 1, 1]);
    table.destroy();
    expect([map(), relax()]).toEqual([K.EINVAL, K.EINVAL]);
  });
});

describe("an address inside a page", () => {
  it("asks for one page of every operation on one, also at its last byte, in the build that checks preconditions", () => {
    const engine = createDebugEngine({ arenaBytes: 4 << 20, journalRecords: 256 });
    engine.journal.start(); // each is a walk
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(0, 3 * KB4, 0, "r");
    for (const at of [KB4, KB4 + 1, 2 * KB4 - 1]) {
      table.testClearYoung(0, 3 * KB4, true);
      table.relaxPerms(at, "w");
      expect(table.mkyoung(at)).not.toBe(0n);
      const young = [...table.leaves()].map(({ descriptor }) => (descriptor & (1n << 10n)) !== 0n);
      expect(young).toEqual([false, true, false]);
    }
    expect([...table.leaves()].map(({ prot }) => (prot & Prot.W) !== 0)).toEqual([false, true, false]);
  });

  it("is that page's, up to its last byte", () => {
    const table = smallEngine().createStage2({ ipaBits: 39 });
    table.map(0, KB4, 0, "r");
    table.map(KB4, KB4, 4 * KB4, "rw");
    for (const inside of [0, 1, KB4 - 2, KB4 - 1]) {
      expect(table.leaf(inside).descriptor, `${inside}`).toBe(table.leaf(0).descriptor);
      expect(table.leaf(KB4 + inside).descriptor, `${inside}`).toBe(table.leaf(KB4).descriptor);
    }
  });
});

describe("releasing a table", () => {
  it("is refused before it is destroyed and after it was released", () => {
    const { core } = smallEngine();
    const table = smallEngine().createStage2({ ipaBits: 39 });
    const release = () => table.engine.core.releaseTable(table.handle);
    expect(release()).toBe(K.EINVAL);
    table.destroy();
    expect([core.releaseTable(table.handle), release(), release()]).toEqual([K.EINVAL, 0, K.EINVAL]);
  });
});

describe("inside as many walks as there can be", () => {
  const DEPTH = 8;

  const operations: readonly (readonly [string, (table: Stage2Table) => unknown])[] = [
    ["map", (t) => t.map(MB2, KB4, 0, "r")],
    ["unmap", (t) => t.unmap(0, MB2)],
    ["wrprotect", (t) => t.wrprotect(0, MB2)],
    ["relaxPerms", (t) => t.relaxPerms(0, "x")],
    ["mkyoung", (t) => t.mkyoung(0)],
    ["testClearYoung", (t) => t.testClearYoung(0, MB2, true)],
    ["flush", (t) => t.flush(0, MB2)],
    ["split", (t) => t.split(0, MB2)],
    ["setOwner", (t) => t.setOwner(MB2, KB4, 1)],
    ["countLeaves", (t) => t.countLeaves()],
    ["walk", (t) => t.walk(0, KB4, () => {})],
    ["entries", (t) => [...t.entries()]],
    ["createUnlinked", (t) => t.createUnlinked(0, 2, "rw")],
    ["destroy", (t) => t.destroy()],
  ];

  it.each(operations)("%s is EBUSY and changes nothing; one walk less, and it works", (_, operate) => {
    for (const depth of [DEPTH, DEPTH - 2]) {
      const engine = smallEngine();
      const outer = engine.createStage2({ ipaBits: 39 });
      const table = engine.createStage2({ ipaBits: 39, fwb: false });
      outer.map(0, KB4, 0, "r");
      table.map(0, MB2, 0, "rw");
      const before = digest(table);
      let code: unknown;
      const nest = (left: number): void => {
        if (left > 0) outer.walk(0, KB4, () => nest(left - 1));
        else
          try {
            // A walk gives what its visitor returns, and so its own errors too, as a number.
            code = operate(table) === K.EBUSY ? "EBUSY" : "";
          } catch (error) {
            code = (error as { code: string }).code;
          }
      };
      nest(depth);
      expect(code, `depth ${depth}`).toBe(depth === DEPTH ? "EBUSY" : "");
      if (depth === DEPTH) expect(digest(table)).toBe(before);
    }
  });
});
