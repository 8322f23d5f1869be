/** The workloads do the same work on every engine; the inputs are those of the kernel's benchmark; its lines are read. */
import { describe, expect, it } from "vitest";
import type { EngineAdapter } from "./adapters/adapter.js";
import type { CallId } from "./adapters/calls.js";
import { NaiveAdapter, TypedAdapter } from "./adapters/peer.js";
import { WasmAdapter } from "./adapters/wasm.js";
import { parseKernelBench } from "./kernel.js";
import { runWorkloads } from "./measure.js";
import { Xorshift } from "./random.js";
import type { ResultRow } from "./rows.js";
import { formatSpread, formatTable } from "./table.js";
import { inputs, tableBytesPerGib, type Workload, workloads } from "./workloads.js";

const MASK = 2n ** 64n - 1n;

describe("the random inputs", () => {
  it("step as xorshift64 does", () => {
    const random = new Xorshift();
    let state = 88172645463325252n;
    for (let i = 0; i < 1000; i++) {
      state ^= (state << 13n) & MASK;
      state ^= state >> 7n;
      state ^= (state << 17n) & MASK;
      const bound = [2 ** 30, 2 ** 36, 262_143, i + 1][i % 4] ?? 1;
      expect(random.below(bound)).toBe(Number(state % BigInt(bound)));
    }
  });

  it("hold every page once, and addresses in both forms", () => {
    const { order, disjoint, interleaved, lookup64g } = inputs();
    for (const pages of [order, [...disjoint[0], ...disjoint[1]], [...interleaved[0], ...interleaved[1]]]) {
      expect(new Set(pages).size).toBe(262_144);
    }
    const words = new BigUint64Array(lookup64g.words.buffer);
    for (const i of [0, 1, 2 ** 20 - 1]) expect(Number(words[i])).toBe(lookup64g.bytes[i]);
  });
});

describe("the workloads", () => {
  const typed = new TypedAdapter(2000);
  const engines: readonly EngineAdapter[] = [typed, new NaiveAdapter()];
  const wasm: EngineAdapter = new WasmAdapter();
  const walk = workloads.find(({ id }) => id === "walk-leaf") as Workload;
  const small = workloads.filter(
    ({ id, shared, translates, call }) => id !== "lookup-64g" && !shared && !translates && call === undefined,
  );
  const single = workloads.filter(({ call }) => call !== undefined);

  it.each(small)("$id leaves the same table in both peers", (workload) => {
    const outcomes = engines.map((engine) => {
      workload.setup(engine);
      return [workload.run(engine), engine.digest(), engine.tableBytes()];
    });
    expect(outcomes[0]).toEqual(outcomes[1]);
    if (workload.expected !== undefined) expect(outcomes[0]?.[0]).toBe(workload.expected);
  });

  it.each(single)("$id returns what it must, the same from both", (workload) => {
    const able = [wasm, typed].filter((engine) => engine.calls?.().loop(workload.call as CallId) !== undefined);
    const results = able.map((engine) => {
      workload.setup(engine);
      return workload.run(engine);
    });
    expect(results.length).toBeGreaterThan(0);
    expect(new Set([...results, workload.expected ?? results[0]]).size).toBe(1);
  });

  it("take as much table memory as the kernel", () => {
    expect(tableBytesPerGib(new TypedAdapter())).toBe(2_101_248);
  });

  it("are measured in rounds", () => {
    const rows = runWorkloads(engines, walk, { rounds: 2, warmupRounds: 1, warmupMs: 0 });
    expect(rows.map(({ peer, samples }) => [peer, samples])).toEqual([
      ["typescript", 8],
      ["naive", 8],
    ]);
    for (const { min, median, p99 } of rows) expect(min <= median && median <= p99 && min > 0).toBe(true);
  });

  it("fail when the engines disagree", () => {
    const odd = { ...walk, expected: undefined, run: (engine: EngineAdapter) => (engine.peer === "naive" ? 1 : 2) };
    expect(() => runWorkloads(engines, odd, { rounds: 1, warmupRounds: 1, warmupMs: 0 })).toThrow(/walk-leaf on/);
  });
});

describe("the kernel's lines", () => {
  const text = [
    "W1    map 1 GiB forced to 4K, fresh, one call (per PTE)                   13.058 ns  (min 13.028 max 13.259)  tlbi 0",
    "W7b   split 1 GiB of 2M blocks, chunk 2 MiB (per new PTE)                 17.283 ns  (min 17.085 max 22.457)  tlbi 512",
    "W10   two threads, disjoint halves: 25.397 ns/fault overall (min 25.129 max 31.487); interleaved pages: 32.569 (min 31.655 max 34.1)",
    "W12   tables for 1 GiB of 4K PTEs: 513 pages + 2 pgd pages; per further GiB: 64 GiB: 32832 pages = 2101248.0 bytes/GiB",
    "FLOOR 8-byte store, 2 MiB buffer: 0.562 ns   memset 2 MiB: 0.084 ns per 8 bytes",
  ].join("\n");

  it("become rows", () => {
    const rows = parseKernelBench(text, 7);
    const seen = rows.map(({ id, median, min, p99, samples, workers }) => [id, median, min, p99, samples, workers]);
    expect(seen).toEqual([
      ["map-4k", 13.058, 13.028, 13.259, 7, undefined],
      ["fault-parallel-disjoint", 25.397, 25.129, 31.487, 7, 2],
      ["fault-parallel-interleaved", 32.569, 31.655, 34.1, 7, 2],
      ["table-bytes", 2_101_248, 2_101_248, 2_101_248, 1, undefined],
    ]);
    expect(new Set(rows.map(({ peer }) => peer))).toEqual(new Set(["kernel-c"]));
  });

  it("stand beside ours", () => {
    const ours: ResultRow = { id: "map-4k", peer: "wasm", unit: "ns", median: 0.5, min: 0.4, p99: 0.6, samples: 9 };
    const lines = formatTable([...parseKernelBench(text, 7), ours]).split("\n");
    expect(lines[0]?.split(/\s+/)).toEqual(["id", "unit", "wasm", "kernel-c", "kernel-c/wasm"]);
    expect(lines[1]?.split(/\s+/)).toEqual(["map-4k", "ns", "0.500", "13.06", "26.12x"]);
    expect(lines[2]?.split(/\s+/)).toEqual(["fault-parallel-disjoint", "x2", "ns", "-", "25.40", "-"]);
    expect(formatSpread([ours])).toContain("0.500  0.400  0.600");
    expect(formatTable([])).toBe("no results");
  });
});
