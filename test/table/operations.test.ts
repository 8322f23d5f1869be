// Which operations there are for which table, which of them several walkers may do at once, and which may not run while this walker
// stands in the table: one row for each operation, by its number.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine, Prot, type Table } from "../../bindings/index.js";
import { contents, KB4, MB2, smallEngine } from "../support/tables.js";

type Stage = "stage 2" | "EL2" | "both";

/** `shared`: with other walkers in the table; `lockFree`: without its lock; `frees`: takes tables away that a walk may be in. */
interface Rule {
  stage: Stage;
  shared?: boolean;
  lockFree?: boolean;
  frees?: boolean;
}

const RULES: Record<string, Rule> = {
  OP_MAP: { stage: "stage 2", shared: true },
  OP_UNMAP: { stage: "stage 2", frees: true },
  OP_SET_OWNER: { stage: "stage 2" },
  OP_WRPROTECT: { stage: "stage 2", shared: true },
  OP_MKYOUNG: { stage: "stage 2", shared: true, lockFree: true },
  OP_TEST_CLEAR_YOUNG: { stage: "stage 2", shared: true },
  OP_RELAX_PERMS: { stage: "stage 2", shared: true, lockFree: true },
  OP_FLUSH: { stage: "stage 2", shared: true },
  OP_SPLIT: { stage: "stage 2", shared: true },
  OP_GET_LEAF: { stage: "both", shared: true },
  OP_COUNT_LEAVES: { stage: "both" },
  OP_TLB_FLUSH_RANGE: { stage: "stage 2", shared: true },
  OP_DESTROY: { stage: "both", shared: true, frees: true },
  OP_DESTROY_RANGE: { stage: "both", frees: true },
  OP_HYP_MAP: { stage: "EL2" },
  OP_HYP_UNMAP: { stage: "EL2", frees: true },
  OP_ANNOTATE: { stage: "stage 2" },
};
/** These take what they need by themselves, or touch no descriptor: flags about sharing mean nothing to them. */
const BY_THEMSELVES = ["OP_DESTROY", "OP_TLB_FLUSH_RANGE"];

const numberOf = (name: string) => (K as unknown as Record<string, number>)[name] as number;

/** What an operation with arguments that suit most of them answers. */
function ask(table: Table, name: string, flags = 0, cache: number = K.CACHE_ARENA, size = KB4): number {
  const level = name === "OP_ANNOTATE" ? 2 : name === "OP_SET_OWNER" ? 1 : 0;
  const address = name === "OP_HYP_MAP" ? KB4 : 0; // what is mapped at 0 is something else
  const phys = name === "OP_ANNOTATE" ? 6 : 0;
  return table.engine.core.call(numberOf(name), table.handle, flags, cache, address, size, phys, Prot.R, level);
}

describe.each(Object.entries(RULES))("%s", (name, rule) => {
  const made = (walkers = 1) => {
    const engine = createEngine({ arenaBytes: 4 << 20, walkers });
    const stage2 = engine.createStage2({
      ipaBits: 39,
      lockFree: true,
      annotations: name === "OP_ANNOTATE" ? "7.x" : "6.12",
    });
    const hyp = engine.createHyp({ vaBits: 39 });
    stage2.map(0, KB4, 0, "r");
    hyp.map(0, KB4, 0, "r");
    return { engine, stage2, hyp };
  };

  it("is of one stage, or of both", () => {
    const { stage2, hyp } = made();
    const before = [contents(stage2), contents(hyp)];
    const wrong = rule.stage === "EL2" ? stage2 : hyp;
    if (rule.stage !== "both") {
      expect(ask(wrong, name)).toBe(K.EINVAL);
      expect([contents(stage2), contents(hyp)]).toEqual(before);
    }
    if (rule.stage !== "EL2") expect(ask(stage2, name)).toBeGreaterThanOrEqual(0);
    if (rule.stage !== "stage 2") expect(ask(hyp, name)).toBeGreaterThanOrEqual(0);
  });

  it.each([1, 2])(
    "is done beside others, or without the lock, only where it may (%i walkers) [LCK-1, LCK-4, WLK-12]",
    (walkers) => {
      const { stage2, hyp } = made(walkers);
      const table = rule.stage === "EL2" ? hyp : stage2;
      if (BY_THEMSELVES.includes(name)) return;
      expect(ask(table, name, K.LOCK_FREE) >= 0, "lock-free").toBe(rule.lockFree === true);
      expect(ask(table, name, K.SHARED) >= 0, "shared").toBe(rule.shared === true);
      if (rule.lockFree !== true) expect(ask(table, name, K.LOCK_FREE)).toBe(K.EPERM);
      if (rule.shared !== true) expect(ask(table, name, K.SHARED)).toBe(K.EPERM);
      if (rule.stage === "both") expect(ask(hyp, name, K.SHARED), "shared at EL2").toBe(K.EPERM);
    },
  );

  it("has no flags but those of a walk, and no cache that does not exist", () => {
    const { stage2, hyp } = made();
    const table = rule.stage === "EL2" ? hyp : stage2;
    for (const flag of [1 << 7, 1 << 15, 1 << 18, 1 << 30]) expect(ask(table, name, flag)).toBe(K.EINVAL);
    const cached = name === "OP_SET_OWNER" || name === "OP_DESTROY" ? 0 : K.EINVAL;
    if (cached) expect(ask(table, name, 0, 0x1234)).toBe(K.EINVAL);
  });

  it("is told EBUSY where walks are nested too deep for it, and changes nothing", () => {
    const { engine, stage2, hyp } = made();
    const table: Table = rule.stage === "EL2" ? hyp : stage2;
    const outer = engine.createStage2({ ipaBits: 39 });
    // Of these a hole makes a walk, or none is needed at all.
    const walks = !["OP_GET_LEAF", "OP_TLB_FLUSH_RANGE"].includes(name);
    const onHole = ["OP_MKYOUNG", "OP_RELAX_PERMS"].includes(name);
    if (onHole) stage2.unmap(0, KB4);
    const before = contents(table);
    const seen: number[] = [];
    const nest = (depth: number): number =>
      depth === 0
        ? (seen.push(ask(table, name, 0, K.CACHE_ARENA, 4 * KB4)), 0)
        : outer.walk(0, KB4, () => void nest(depth - 1));
    nest(8); // as many as there are records of walks
    expect(seen.map((status) => status === K.EBUSY)).toEqual([walks]);
    if (walks) expect(contents(table)).toEqual(before);
    expect(ask(table, name, 0, K.CACHE_ARENA, 4 * KB4)).not.toBe(K.EBUSY);
  });

  it("takes no table away under a walk of this walker [WLK-4]", () => {
    const { engine, stage2, hyp } = made();
    const table: Table = rule.stage === "EL2" ? hyp : stage2;
    const seen: number[] = [];
    table.walk(0, KB4, () => void seen.push(ask(table, name)));
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.map((status) => status === K.EBUSY)).toEqual(seen.map(() => rule.frees === true));
    expect(engine.counters().warnings).toBe(0);
  });
});

describe("a number that is no operation", () => {
  it("is refused, like a handle that is none", () => {
    const engine = smallEngine();
    const { handle } = engine.createStage2({ ipaBits: 39 });
    const call = (op: number, table: number) => engine.core.call(op, table, 0, K.CACHE_ARENA, 0, MB2, 0, 3, 0);
    expect([0, 18, 19, 63, 2 ** 31, 2 ** 32 - 1].map((op) => call(op, handle))).toEqual(new Array(6).fill(K.EINVAL));
    expect([0, 1, handle + 1, handle + 256, -handle].map((table) => call(K.OP_COUNT_LEAVES, table))).toEqual(
      new Array(5).fill(K.EINVAL),
    );
    expect(call(K.OP_COUNT_LEAVES, handle)).toBe(0);
  });
});

describe("an instance that is no walker", () => {
  it("knows no table: not after its engine was closed, nor before it joined one", () => {
    const engine = createEngine({ arenaBytes: 2 << 20 });
    const { handle } = engine.createStage2({ ipaBits: 39 });
    const { core } = engine;
    const ask = () => [
      core.call(K.OP_COUNT_LEAVES, handle, 0, 0, 0, KB4, 0, 0, 0),
      core.tableInfo(handle),
      core.lookup(handle, 0),
      core.releaseTable(handle),
    ];
    expect(ask()).toEqual([0, 0, -1, K.EINVAL]); // it cannot be released before it is destroyed
    engine.close();
    expect(ask()).toEqual([K.EINVAL, K.EINVAL, K.EINVAL, K.EINVAL]);
  });
});

describe("a cache of its own", () => {
  it("is topped up to one fault's worth before the operation that asks for it, and not for others [MC-6, MC-7]", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 48 });
    const cache = engine.createCache(4096, 8);
    const map = (flags: number) => engine.core.call(K.OP_MAP, table.handle, flags, cache.handle, 2 ** 40, KB4, 0, 3, 0);
    expect(map(0)).toBe(K.ENOMEM);
    expect(map(K.SUBMIT_TOP_UP)).toBe(0);
    expect(cache.count).toBe(8 - 3);
    cache.close();
  });
});
