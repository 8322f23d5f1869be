// Options and objects that are not what a function takes, where the tables are not concerned: MMUs, TLBs, judges, pools,
// reports. Each is a GranuleError that names what was wrong and, where it can be told, what was meant.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createJudge } from "../../bindings/audit/index.js";
import { nearest } from "../../bindings/core/suggest.js";
import { createEngine, createPool, GranuleError } from "../../bindings/index.js";
import { createMmu, createTlb, hypRegisters, stage2Registers, TlbDomain } from "../../bindings/mmu/index.js";
import { ptdump, ptdumpLines, ptdumpOf, ptdumpRuns } from "../../bindings/report/index.js";
import { createEngine as createSlim } from "../../bindings/slim.js";
import { readTrace } from "../../bindings/trace/index.js";
import { KB4, smallEngine } from "../support/tables.js";

const wrong = (value: unknown) => value as never;

function messageOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof GranuleError) return error.message;
    throw error;
  }
  return "nothing was thrown";
}

const engine = smallEngine({ walkers: 2 });
const table = engine.createStage2({ ipaBits: 39 });
const hyp = engine.createHyp({ vaBits: 39 });
const mmu = createMmu({ engine, registers: stage2Registers(table) });
const tlb = createTlb(mmu, { preset: "tiny" });
const domain = new TlbDomain([tlb]);
const record = { kind: 0, level: 0, table: 0, walker: 0, address: 0n, a: 0n, b: 0n, sequence: 0n };

describe("options", () => {
  const calls: readonly (readonly [string, (options: never) => unknown])[] = [
    ["createMmu", (o) => createMmu(o)],
    ["createTlb", (o) => createTlb(mmu, o)],
    ["shape", (o) => createTlb(mmu, { shape: o })],
    ["bank", (o) => createTlb(mmu, { shape: { data: o } })],
    ["whims", (o) => createTlb(mmu, { whims: o })],
    ["translate", (o) => mmu.translate(0, "r", o)],
    ["access", (o) => tlb.access(0, "r", o)],
    ["invalidate", (o) => tlb.invalidate("ALLE1", 0, o)],
    ["send", (o) => domain.send({ dsb: "ish" }, o)],
    ["follow", (o) => domain.follow(record, o)],
    ["createJudge", (o) => createJudge(o)],
    ["readTrace", (o) => readTrace(new Uint8Array(0), o)],
    ["ptdump", (o) => ptdump(table, o)],
    ["ptdumpLines", (o) => ptdumpLines(table, o)],
    ["ptdumpRuns", (o) => ptdumpRuns(table, o)],
    ["ptdumpOf", (o) => [...ptdumpOf([], 12, o)]],
  ];

  it.each(calls)("of %s with a name that does not exist are refused by that name", (_name, call) => {
    expect(messageOf(() => call(wrong({ zzz: 1 })))).toMatch(/^EINVAL: .*unknown option zzz: the options are /);
  });

  it.each(calls)("of %s that are null or a number are refused", (_name, call) => {
    for (const options of [null, 7]) expect(messageOf(() => call(wrong(options)))).toMatch(/^EINVAL: .*give an object/);
  });

  it("of a pool and its jobs are refused, too", async () => {
    await using pool = await createPool(engine, { size: 1, mode: "cooperative" });
    using batch = engine.createBatch(1);
    using columns = engine.createColumns(1);
    const refusals = [
      () => createPool(engine, wrong({ sise: 1 })),
      () => createPool(engine, wrong(null)),
      () => createPool(wrong({}), {}),
      () => createPool(engine, { mode: wrong("thread") }),
      () => pool.run(batch, wrong({ stopp: true })),
      () => pool.run(wrong({})),
      () => pool.mapColumns(table, columns, 0, "r", wrong({ shraed: true })),
      () => pool.mapColumns(wrong(null), columns, 0, "r"),
      () => pool.mapColumns(table, wrong([1]), 0, "r"),
      () => pool.relaxColumns(table, columns, 0, "r", wrong({ onProgress: 1 })),
      () => pool.leafColumns(table, wrong(undefined), 0),
    ];
    const words = [
      /unknown option sise, did you mean size\?/,
      /the options are null/,
      /not an engine/,
      /"thread", did you mean threads\?/,
      /unknown option stopp, did you mean stop\?/,
      /not a batch/,
      /unknown option shraed, did you mean shared\?/,
      /not a table/,
      /not columns/,
      /onProgress is 1: give a function/,
      /not columns/,
    ];
    const messages = await Promise.all(refusals.map((call) => call().then(String, (error: unknown) => error)));
    messages.forEach((error, i) => {
      expect(error).toBeInstanceOf(GranuleError);
      expect(String(error)).toMatch(words[i] as RegExp);
    });
  });

  it("are words that there are", () => {
    expect(messageOf(() => createTlb(mmu, { preset: wrong("cortex_a53") }))).toMatch(/did you mean cortex-a53\?/);
    expect(messageOf(() => createTlb(mmu, { preset: wrong("toString") }))).toMatch(/"toString": one of tiny, /);
    expect(messageOf(() => ptdump(table, { format: wrong("8") }))).toMatch(/the format is "8": one of 6.12, 7.x/);
    expect(messageOf(() => createMmu({ engine, regime: wrong("EL2") }))).toMatch(/"EL2", did you mean el2\?/);
    expect(messageOf(() => readTrace(new Uint8Array(0), { strict: wrong(["guest_fault"]) }))).toMatch(
      /strict is not a Set/,
    );
    expect(messageOf(() => mmu.setRegisters(wrong({ hrc: 1n })))).toMatch(/unknown register hrc, did you mean hcr\?/);
    expect(messageOf(() => engine.createStage2({ hooks: wrong({ get_page: () => 0 }) }))).toMatch(
      /unknown hook get_page, did you mean getPage\?/,
    );
  });
});

describe("the name that was meant", () => {
  const names = ["granule", "ipaBits", "paBits", "vaBits", "hardwareAf", "shared", "stop"];

  it.each([
    ["ipabits", "ipaBits"],
    ["ipa_bits", "ipaBits"],
    ["IPA-BITS", "ipaBits"],
    ["ipaBit", "ipaBits"],
    ["granlue", "granule"],
    ["granul", "granule"],
    ["hardwareAF", "hardwareAf"],
    ["share", "shared"],
    ["qaBits", undefined], // paBits as well as vaBits
    ["spot", undefined],
    ["size", undefined],
    ["x", undefined],
    ["", undefined],
    ["a".repeat(100_000), undefined],
  ])("of %s is %s", (written, meant) => {
    expect(nearest(written, names)).toBe(meant);
  });
});

describe("objects of the wrong kind", () => {
  it("are refused by name", () => {
    for (const nothing of [null, undefined, {}, 7]) {
      expect(messageOf(() => createTlb(wrong(nothing)))).toMatch(/createTlb: the first argument is not an MMU/);
      expect(messageOf(() => stage2Registers(wrong(nothing)))).toMatch(/not a stage-2 table/);
      expect(messageOf(() => hypRegisters(wrong(nothing)))).toMatch(/not a hypervisor's table/);
      expect(messageOf(() => ptdump(wrong(nothing)))).toMatch(/not a table/);
      expect(messageOf(() => new TlbDomain(wrong(nothing)))).toMatch(/not TLBs/);
      expect(messageOf(() => mmu.translateMany(wrong(nothing), 0))).toMatch(/not columns of an MMU/);
    }
    expect(messageOf(() => stage2Registers(wrong(hyp)))).toMatch(/not a stage-2 table/);
    expect(messageOf(() => hypRegisters(wrong(table)))).toMatch(/not a hypervisor's table/);
    expect(messageOf(() => new TlbDomain(wrong([tlb, mmu])))).toMatch(/not TLBs/);
    expect(messageOf(() => createTlb(mmu, { sharing: wrong(mmu) }))).toMatch(/`sharing` is not a TLB/);
  });
});

describe("columns of an MMU", () => {
  it("that lie in another memory, are closed, or are an engine's own are refused", () => {
    using foreign = createMmu({ image: new Uint8Array(64) }).createColumns(4);
    using own = mmu.createColumns(4);
    using ofEngine = engine.createColumns(4);
    const closed = mmu.createColumns(4);
    closed.close();
    const made = { addresses: own.addresses, rows: own.rows, close: () => {}, [Symbol.dispose]: () => {} };
    const others = [
      [foreign, /columns of another memory/],
      [closed, /or they are closed/],
      [wrong(ofEngine), /not columns of an MMU/],
      [made, /not columns of an MMU/],
    ] as const;
    for (const [columns, words] of others) {
      expect(messageOf(() => mmu.translateMany(columns, 1))).toMatch(words);
      expect(messageOf(() => tlb.accessMany(columns, 1))).toMatch(words);
    }
    for (const n of [5, -1, 1.5, wrong(1n)]) {
      expect(messageOf(() => mmu.translateMany(own, n))).toMatch(/there are 4 rows/);
      expect(messageOf(() => tlb.accessMany(own, n))).toMatch(/there are 4 rows/);
    }
    // An MMU of the same memory may use them.
    expect(createMmu({ beside: mmu }).translateMany(own, 1)).toBe(0);
  });
});

describe("an iteration", () => {
  it.each([2, 5000])(
    "over a table or engine that is closed meanwhile ends with an error that says so (%d leaves)",
    (n) => {
      for (const what of ["engine", "table"] as const) {
        const own = createEngine({ arenaBytes: 4 << 20 });
        const short = own.createStage2({ ipaBits: 39 });
        short.map(0, n * KB4, KB4, "r");
        let seen = 0;
        const iterate = () => {
          for (const _leaf of short.leaves()) {
            seen++;
            (what === "engine" ? own : short).close();
          }
        };
        expect(messageOf(iterate)).toBe(`EINVAL: entries: the ${what} is closed`);
        expect(seen).toBe(1);
      }
    },
  );

  it("that is dropped leaves nothing in the arena", () => {
    const own = createEngine({ arenaBytes: 4 << 20 });
    const full = own.createStage2({ ipaBits: 39 });
    full.map(0, 5000 * KB4, KB4, "r");
    const { taken } = own.arena();
    for (let i = 0; i < 100; i++) full.leaves()[Symbol.iterator]().next();
    expect(own.arena().taken).toBe(taken);
  });
});

describe("an MMU's own module", () => {
  const bytes = () => readFileSync(new URL("../../dist/mmu.wasm", import.meta.url));

  it("may be compiled, or bytes; MMUs beside it use the same", () => {
    const module = new WebAssembly.Module(bytes());
    using one = createMmu({ image: new Uint8Array(8), module });
    expect(one.module).toBe(module);
    expect(createMmu({ beside: one }).module).toBe(module);
    using other = createMmu({ image: new Uint8Array(8), module: bytes() });
    expect(other.module).not.toBe(module);
    expect(other.translate(0x1234)).toEqual(one.translate(0x1234));
  });

  it("is refused when it is no module", () => {
    expect(messageOf(() => createMmu({ image: new Uint8Array(8), module: wrong("mmu.wasm") }))).toMatch(
      /module is "mmu/,
    );
    expect(messageOf(() => createMmu({ image: new Uint8Array(8), module: new Uint8Array(8) }))).toMatch(/EINVAL/);
  });

  it.each(["granule.wasm", "mmu.wasm", "audit.wasm"])("%s is for what it is for, and nothing else", (name) => {
    const module = new WebAssembly.Module(readFileSync(new URL(`../../dist/${name}`, import.meta.url)));
    const made = [
      messageOf(() => createSlim(module, { arenaBytes: 1 << 20 })),
      messageOf(() => createMmu({ image: new Uint8Array(8), module })),
      messageOf(() => createJudge({}, module)),
    ];
    const fits = ["granule.wasm", "mmu.wasm", "audit.wasm"].indexOf(name);
    made.forEach((message, i) => {
      expect(message).toMatch(i === fits ? /^nothing was thrown$/ : /^EINVAL: instantiate: this module is another one/);
    });
  });
});
