/**
 * What the judge costs: batches of maps and unmaps with it and without, and log records judged per second.
 *
 * @module
 */
import { CASEMATE_OPTIONS, createJudge } from "../bindings/audit/index.js";
import { createEngine } from "../bindings/index.js";
import type { ResultRow } from "./rows.js";

const PAGE = 4096;
const BATCH = 1024;
const BREAKS = 50_000;
const ROOT = 0x1_0000_0000;
const MODES = ["off", "journal", "judge"] as const;

function row(id: string, unit: string, samples: number[]): ResultRow {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
  return { id, peer: "wasm", unit, median: at(0.5), min: at(0), p99: at(0.99), samples: sorted.length };
}

/** Nanoseconds per page for batches of single-page maps, then unmaps, for each way of watching. */
export function onlineRows(rounds: number): ResultRow[] {
  return MODES.flatMap((mode) => {
    using engine = createEngine({ journalRecords: mode === "off" ? 0 : 1 << 16, pretouch: true });
    const watch = mode === "judge" ? createJudge().watch(engine) : undefined;
    if (mode === "journal") engine.journal.start();
    const table = engine.createStage2();
    const batch = engine.createBatch(BATCH);
    const samples: Record<"map" | "unmap", number[]> = { map: [], unmap: [] };
    for (let round = 0; round < rounds * 20; round++) {
      for (const op of ["map", "unmap"] as const) {
        batch.clear();
        for (let i = 0; i < BATCH; i++) {
          if (op === "map") batch.map(table, i * PAGE, PAGE, i * PAGE, "rw");
          else batch.unmap(table, i * PAGE, PAGE);
        }
        const start = performance.now();
        batch.run();
        if (watch && watch.drain().length > 0) throw new Error("the judge objects to a batch");
        samples[op].push(((performance.now() - start) * 1e6) / BATCH);
      }
    }
    return (["map", "unmap"] as const).map((op) => row(`judge-online/${op}-${mode}`, "ns", samples[op]));
  });
}

/** A log in which pages are broken, flushed and made again. */
function churn(): Uint8Array {
  let n = 0;
  const lines: string[] = [];
  const put = (kind: string, rest: string): void => {
    lines.push(`(${kind} (id ${n++}) (tid 0) ${rest} (src "churn:1"))`);
  };
  const write = (at: number, value: number): void =>
    put("mem-write", `(mem-order release) (address 0x${at.toString(16)}) (value 0x${value.toString(16)})`);
  put("mem-init", `(address 0x${ROOT.toString(16)}) (size 0x4000)`);
  put("sysreg-write", "(sysreg vttbr_el2) (value 0x1000100000000)");
  for (let level = 0; level < 3; level++) write(ROOT + level * PAGE, ROOT + (level + 1) * PAGE + 3);
  for (let i = 0; i < BREAKS; i++) {
    const page = i % 512;
    const slot = ROOT + 3 * PAGE + page * 8;
    write(slot, 0x8000_07ff + page * PAGE);
    write(slot, 0);
    put("barrier", "dsb (kind ishst)");
    put("tlbi", `ipas2e1is (value 0x${(0x7000_0000_0000 + page).toString(16)})`);
    put("barrier", "dsb (kind ish)");
    put("tlbi", "vmalle1is");
    put("barrier", "dsb (kind ish)");
  }
  return new TextEncoder().encode(lines.join("\n"));
}

/** Records per second for a log in memory, parsing included. */
export function checkRows(rounds: number): ResultRow[] {
  const log = churn();
  const samples = Array.from({ length: rounds + 2 }, () => {
    const start = performance.now();
    const judge = createJudge(CASEMATE_OPTIONS);
    const parser = judge.casemate();
    parser.push(log);
    parser.end();
    if (judge.finish().verdict !== "ok") throw new Error("the judge objects to the log");
    return judge.records / ((performance.now() - start) / 1000);
  });
  return [row("check", "records/s", samples.slice(2))];
}
