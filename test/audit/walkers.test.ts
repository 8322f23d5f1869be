// Our own walkers before the judge: it accepts what they do, and objects when one step is left out.

import { describe, expect, it } from "vitest";
import { createJudge } from "../../bindings/audit/index.js";
import { createEngine, type Engine, JournalKind, type JournalRecord } from "../../bindings/index.js";
import { CasemateWriter } from "../../bindings/trace/index.js";
import { OPERATIONS } from "./operations.js";
import { judgeLog, judgeRecords, streamOf } from "./support.js";

const MB2 = 2 << 20;
const KB4 = 4096;

const FLUSHES: readonly number[] = [
  JournalKind.TLBI_IPA,
  JournalKind.TLBI_IPA_LOCAL,
  JournalKind.TLBI_STAGE1_LOCAL,
  JournalKind.TLBI_RANGE,
  JournalKind.TLBI_VMID,
  JournalKind.TLBI_VA,
  JournalKind.TLBI_VA_LAST,
  JournalKind.TLBI_STAGE1,
  JournalKind.DSB,
];
const NAMES = Object.fromEntries(Object.entries(JournalKind).map(([name, kind]) => [kind, name]));
const ISHST = 0n;

/** Is it a DSB that publishes new entries, and no flush follows it? Without it hardware may see them late, and no rule of ours breaks. */
function publishes(records: readonly JournalRecord[], i: number): boolean {
  const r = records[i] as JournalRecord;
  const next = records[i + 1];
  return r.kind === JournalKind.DSB && r.a === ISHST && (next === undefined || !FLUSHES.includes(next.kind));
}

/** Nothing that was valid goes. */
const FLUSHES_NOTHING: readonly string[] = ["hyp map"];

/** Steps that the rest of the stream makes good: a later flush of the same address, an earlier DSB. */
const REDUNDANT: Readonly<Record<string, readonly number[]>> = {
  // What relaxPerms flushes is a translation that grants less: a spurious fault is the worst that comes of it [TLB-37].
  "annotate, and unmap": [19, 20, 21], // the next page's DSB and VMALLE1IS do for both, and nothing is made in between
  "relax permissions": [14, 15, 16, 17, 18],
  "unmap pages, deferred": [38], // the tables' flushes have ordered the leaves' writes already
  "hyp unmap, and map again": [12, 13, 14], // the table's VAE2IS of the same address follows
};

describe("a step taken out of a walker's stream [S2-20..24, TLB-1..4, PROP-3]", () => {
  it.each(Object.entries(OPERATIONS))("%s: every flush step is missed", (_name, operation) => {
    const records = streamOf(operation);
    expect(judgeRecords(records).violations).toEqual([]);
    const table: string[] = [];
    records.forEach((record, i) => {
      if (!FLUSHES.includes(record.kind) || publishes(records, i)) return;
      const { violations } = judgeRecords(records.filter((_, at) => at !== i));
      table.push(`${i} ${NAMES[record.kind]}: ${violations[0]?.kind ?? "ok"} ${violations[0]?.missing ?? ""}`);
    });
    console.log(`${_name}\n  ${table.join("\n  ")}`);
    const needless = REDUNDANT[_name] ?? [];
    expect(table.filter((line) => line.includes(": ok")).map((line) => Number.parseInt(line, 10))).toEqual(needless);
    if (!FLUSHES_NOTHING.includes(_name)) expect(table.length).toBeGreaterThan(0);
  });

  it.each(Object.entries(OPERATIONS))("%s: the marker is missed", (_name, operation) => {
    const records = streamOf(operation);
    const breaks = records.flatMap((r, i) =>
      r.kind <= JournalKind.WRITE_SHARED && r.a & 1n && r.b === 0x400n ? [i] : [],
    );
    for (const i of breaks) {
      const { violations } = judgeRecords(records.filter((_, at) => at !== i));
      expect(violations[0]?.kind ?? "ok", `record ${i}`).not.toBe("ok");
    }
  });

  it("a wrong level, a wrong address and a local form are missed too [TLB-5, TLB-6]", () => {
    const records = streamOf(OPERATIONS["map over a block"] as (e: Engine) => void);
    const i = records.findIndex((r) => r.kind === JournalKind.TLBI_IPA);
    const altered = (change: Partial<JournalRecord>) =>
      judgeRecords(records.map((r, at) => (at === i ? { ...r, ...change } : r))).violations[0]?.missing;
    expect(altered({ level: 3 })).toBe("tlbi-level");
    expect(altered({ address: 0x4000_0000n })).toBe("tlbi");
    expect(altered({ kind: JournalKind.TLBI_IPA_LOCAL })).toBe("tlbi-broadcast");
  });

  it("a table given back before its flush is missed [LCK-13]", () => {
    const records = streamOf(OPERATIONS["unmap pages, deferred"] as (e: Engine) => void);
    const free = records.findIndex((r) => r.kind === JournalKind.TABLE_FREED);
    const flush = records.findIndex((r) => r.kind === JournalKind.TLBI_IPA);
    const moved = records.filter((_, i) => i !== free);
    moved.splice(flush - 1, 0, records[free] as JournalRecord);
    expect(judgeRecords(moved).violations[0]?.kind).toBe("early-free");
  });
});

describe("a log of what a walker did", () => {
  it.each(Object.entries(OPERATIONS))("%s: is read back, and right", (_name, operation) => {
    const records = streamOf(operation);
    const options = { knownPages: true };
    const log = (kept: readonly JournalRecord[]) => new CasemateWriter().write(kept).join("\n");
    expect(judgeLog(log(records), options).violations).toEqual([]);
    if (FLUSHES_NOTHING.includes(_name) || _name === "relax permissions") return;
    const flush = records.findLastIndex((r) => FLUSHES.includes(r.kind) && r.kind !== JournalKind.DSB);
    const without = records.filter((_, i) => i !== flush);
    // Where a long range became a flush of the VMID, that makes good what is dropped of the rest.
    const kind = records[flush]?.kind;
    if (kind !== JournalKind.TLBI_STAGE1 || !records.some((r) => r.kind === JournalKind.TLBI_RANGE && r.a > 64n))
      expect(judgeLog(log(without), options).verdict).toBe("violation");
  });
});

describe("a log of many tables", () => {
  it("gives each a VMID of its own, and EL2's tables the MMU off between them", () => {
    const records = streamOf((e) => {
      const kept = e.createStage2();
      kept.map(0, KB4, 0, "rw");
      for (let i = 0; i < 300; i++) {
        const t = i % 3 === 0 ? e.createHyp({ vaBits: 48 }) : e.createStage2();
        t.map(KB4, KB4, i * KB4 + MB2, "rw");
        t.close();
      }
      kept.unmap(0, KB4);
    });
    const log = new CasemateWriter().write(records).join("\n");
    expect(judgeLog(log).violations.map(({ message }) => message)).toEqual([]);
    const vmids = [...log.matchAll(/vttbr_el2\) \(value 0x([0-9a-f]+)[0-9a-f]{12}\)/g)].map(([, id]) => id);
    expect(new Set(vmids).size).toBe(201);
    expect(log).toMatch(/sctlr_el2\) \(value 0x0\)/);
  });
});

describe("on-line", () => {
  it("violations come as values, with what led to them", () => {
    using engine = createEngine({ journalRecords: 4096 });
    const watch = createJudge().watch(engine);
    const table = engine.createStage2();
    table.map(0, MB2, 0, "rw");
    expect(watch.drain()).toEqual([]);
    table.map(0, MB2, MB2, "rw", { skipBreakTlbi: true });
    const [violation] = watch.drain();
    expect(violation).toMatchObject({ kind: "early-make", missing: "tlbi", level: 2, ipa: 0n, cause: "break" });
    expect(watch.drain()).toEqual([]);
  });

  it("a table that was there before is adopted", () => {
    using engine = createEngine({ journalRecords: 4096 });
    const table = engine.createStage2();
    table.map(0, MB2, 0, "rw");
    const watch = createJudge().watch(engine);
    watch.adopt(table);
    table.map(0, MB2, MB2, "rw", { skipBreakTlbi: true });
    expect(watch.drain()[0]?.kind).toBe("early-make");
  });

  it("says what it cannot judge: a ring gone round, a memory that is spent", () => {
    using engine = createEngine({ journalRecords: 16 });
    const judge = createJudge({ maxBytes: 1 });
    const watch = judge.watch(engine);
    engine.createStage2().map(0, MB2 - KB4, 0, "rw");
    expect(() => watch.drain()).toThrow(/overwritten/);
    const full = createJudge({ maxBytes: 1 });
    const log = full.casemate();
    log.push(new TextEncoder().encode('(mem-init (id 0) (tid 0) (address 0x0) (size 0x10000000) (src "a:1"))'));
    log.end();
    expect(full.spent).toBe(true);
    expect(() => full.finish()).toThrow(/memory is spent/);
  });
});
