import { describe, expect, it } from "vitest";
import { codeOf, contents, KB4, MB2, smallEngine } from "../support/tables.js";

describe("batches", () => {
  it("give what single calls give, in order", () => {
    const engine = smallEngine();
    const one = engine.createStage2({ ipaBits: 39 }),
      many = engine.createStage2({ ipaBits: 39 });
    using batch = engine.createBatch(16);
    batch.map(many, 0, MB2 + KB4, 0, "rw");
    batch.wrprotect(many, 0, KB4);
    batch.relaxPerms(many, MB2, "x");
    batch.testClearYoung(many, 0, MB2, true);
    batch.mkyoung(many, 0);
    batch.split(many, 0, KB4);
    batch.unmap(many, KB4, KB4);
    batch.flush(many, 0, KB4);
    batch.getLeaf(many, 0);
    expect(batch.run()).toBe(9);
    one.map(0, MB2 + KB4, 0, "rw");
    one.wrprotect(0, KB4);
    one.relaxPerms(MB2, "x");
    one.testClearYoung(0, MB2);
    const old = one.mkyoung(0);
    one.split(0, KB4);
    one.unmap(KB4, KB4);
    const masked = (lines: string[]) => lines.filter((l) => l.includes("L3"));
    expect(masked(contents(many))).toEqual(masked(contents(one)));
    expect(batch.result(3).status).toBe(1);
    expect(batch.result(4).value).toBe(old);
    expect(batch.result(8)).toEqual({ status: 0, level: 3, value: one.leaf(0).descriptor });
  });

  it("end behind the first error, or go on when told to; EAGAIN is no error", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    using batch = engine.createBatch(4);
    batch.relaxPerms(table, 0, "r");
    batch.map(table, 1n << 60n, KB4, 0, "r");
    batch.map(table, 0, KB4, 0, "r");
    expect(batch.run()).toBe(2);
    expect([batch.result(0).status, batch.result(1).status]).toEqual([-11, -34]);
    expect(batch.run({ stop: false })).toBe(3);
    expect(batch.result(2).status).toBe(0);
  });

  it("know their capacity, and refuse what does not fit", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    const { taken } = engine.arena();
    for (const n of [0, -1, 1.5, NaN, 1 << 20]) expect(codeOf(() => engine.createBatch(n))).toBe("EINVAL");
    const batch = engine.createBatch(1);
    batch.getLeaf(table, 0);
    expect(codeOf(() => batch.getLeaf(table, 0))).toBe("EINVAL");
    expect(codeOf(() => batch.result(1))).toBe("EINVAL");
    expect(codeOf(() => batch.setLength(2))).toBe("EINVAL");
    batch.close();
    batch.close();
    expect(codeOf(() => batch.getLeaf(table, 0))).toBe("EINVAL");
    expect(engine.arena().taken).toBe(taken);
  });

  it("serve stage 1 too, and refuse an operation on the wrong stage", () => {
    const engine = smallEngine();
    const hyp = engine.createHyp({ vaBits: 39 }),
      table = engine.createStage2({ ipaBits: 39 });
    using batch = engine.createBatch(4);
    batch.hypMap(hyp, 0, KB4, 0x9000, "r");
    batch.unmap(hyp, 0, KB4);
    batch.map(hyp, 0, KB4, 0, "r");
    batch.hypMap(table, 0, KB4, 0, "r");
    batch.run({ stop: false });
    expect([0, 1, 2, 3].map((i) => batch.result(i).status)).toEqual([0, 0, -22, -22]);
    expect(batch.result(1).value).toBe(4096n);
  });
});
