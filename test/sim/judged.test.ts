// Every workload under the eyes of the judge, on adversarial TLBs, each of its translations compared with the table: no rule is broken,
// nothing stale is used, no store goes unlogged [PROP-3, PROP-5, DBM-10].

import { describe, expect, it } from "vitest";
import { createJudge } from "../../bindings/audit/index.js";
import { type RunConfig, runAccesses, runWorkload, WORKLOADS } from "../../bindings/sim/index.js";
import { readAccesses } from "../../bindings/trace/index.js";

const MIB = 2 ** 20;
const NAMES = Object.keys(WORKLOADS);
const WAYS = ["wp", "eager", "ring", "dbm", "hdbss"] as const;

/** What is wrong with a run, and how many records were judged. */
function judged(config: RunConfig): { wrong: unknown[]; records: number } {
  const judge = createJudge();
  let stale = 0;
  const { dirty } = runWorkload({ vcpus: 2, iterations: 2, adversarial: true, tlb: "tiny", ...config, judge }, (vm) => {
    stale = vm.stats().reduce((sum, cpu) => sum + cpu.stale, 0);
  });
  const { violations, records } = judge.finish();
  const wrong = violations.slice(0, 2).map(({ message }) => message);
  return { wrong: [...wrong, ...(stale ? [`${stale} stale`] : []), ...(dirty.unlogged ? ["unlogged"] : [])], records };
}

describe("the judge accepts", () => {
  it.each(NAMES)("%s, however stores are logged, of blocks and of small pages [PROP-3]", (workload) => {
    for (const dirty of WAYS) {
      for (const backing of ["thp", "4k"] as const) {
        const { wrong, records } = judged({ workload, dirty, backing, memory: 8 * MIB, overlap: dirty === "wp" });
        expect(wrong, `${dirty}, ${backing}`).toEqual([]);
        expect(records).toBeGreaterThan(backing === "thp" ? 8 : 2000);
      }
    }
  });

  it.each(NAMES)("%s in larger granules, and where logs are cleared by hand", (workload) => {
    for (const [granule, memory] of [[16384, 64 * MIB] as const, [65536, 512 * MIB] as const]) {
      for (const dirty of ["wp", "dbm"] as const) {
        const settings = { workload, dirty, granule, memory, iterations: 1 };
        expect(judged(settings).wrong, `${dirty}, ${granule}`).toEqual([]);
      }
    }
    const manual = { workload, memory: 8 * MIB, manual: true, initiallySet: true };
    expect(judged({ ...manual, dirty: "eager" }).wrong, "manual").toEqual([]);
  });

  it("what a run is: the same with a judge and without", () => {
    const config = { workload: "migration", memory: 8 * MIB, vcpus: 2 };
    const { seconds: _a, ...alone } = runWorkload(config);
    const { seconds: _b, ...seen } = runWorkload({ ...config, judge: createJudge() });
    expect(seen).toEqual(alone);
  });

  it("a trace of memory accesses", async () => {
    const judge = createJudge();
    const text = Array.from({ length: 600 }, (_, i) => ` ${i % 3 ? "L" : "S"} ${(i * 0x1357).toString(16)},4\n`).join(
      "",
    );
    const trace = readAccesses(new TextEncoder().encode(text));
    const report = await runAccesses(trace, { backing: "4k", every: 100, adversarial: true, judge });
    expect([judge.finish().verdict, report.dirty.unlogged, "judge" in report.config]).toEqual(["ok", 0, false]);
    expect(judge.records).toBeGreaterThan(500);
  });
});
