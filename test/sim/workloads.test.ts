import { describe, expect, it } from "vitest";
import { costsOf, type DirtyStrategy, type RunReport, runWorkload, WORKLOADS } from "../../bindings/sim/index.js";

const MIB = 2 ** 20;
const NAMES = Object.keys(WORKLOADS);

/** A run without what differs from one time to the next. */
function repeatable(report: RunReport): Omit<RunReport, "seconds"> {
  const { seconds: _, ...rest } = report;
  return rest;
}

describe("a workload", () => {
  it.each(NAMES)("%s logs every store, however it is logged, and depends on its settings alone", (workload) => {
    for (const dirty of ["wp", "eager", "ring", "dbm"] as const) {
      for (const adversarial of [false, true]) {
        const config = { workload, dirty, adversarial, memory: 8 * MIB, vcpus: 2, tlb: "cortex-a53", seed: 3 } as const;
        const report = runWorkload(config);
        expect([report.dirty.unlogged, report.faults.aborts, report.faults.exits]).toEqual([0, 0, 0]);
        expect(repeatable(runWorkload(config))).toEqual(repeatable(report));
      }
    }
  });

  it("is another one under another seed", () => {
    const [a, b] = [1, 2].map(
      (seed) => runWorkload({ workload: "dirty_log_perf", memory: 8 * MIB, seed }).dirty.rounds,
    );
    expect(a).not.toEqual(b);
  });

  it("touches every page once in demand_paging", () => {
    const { accesses, faults, table } = runWorkload({ workload: "demand_paging", memory: 8 * MIB, backing: "4k" });
    expect([accesses, faults.translation, table.leaves, table.pages]).toEqual([2048, 2048, 2048, 7]);
  });

  it("reports the same pages however they are logged, at very different costs", () => {
    const of = (dirty: DirtyStrategy) => runWorkload({ workload: "migration", memory: 16 * MIB, dirty });
    const [wp, eager, ring, dbm] = [of("wp"), of("eager"), of("ring"), of("dbm")];
    expect(ring.dirty.rounds).toEqual(wp.dirty.rounds);
    expect(eager.dirty.rounds).toEqual(wp.dirty.rounds);
    expect(dbm.dirty.rounds).toEqual(wp.dirty.rounds);
    expect(wp.dirty.reported).toBeGreaterThan(100);
    expect(dbm.faults.permission + dbm.faults.translation).toBeLessThan(wp.faults.permission / 4);
    expect(dbm.estimate.total).toBeLessThan(eager.estimate.total);
  });

  it("gets its blocks back after logging in page_table_test", () => {
    const { table, counters } = runWorkload({ workload: "page_table_test", memory: 8 * MIB });
    expect([table.leaves, counters.breaksValid > 0]).toEqual([4, true]);
  });

  it("refuses what it does not know", () => {
    expect(() => runWorkload({ workload: "toString" })).toThrow("there is no workload toString");
    expect(() => runWorkload({ workload: "migration", dirty: "hdbss" as never })).toThrow("dirty");
    expect(() => costsOf("exit=many")).toThrow("exit is many");
    expect(() => costsOf("sleep=1")).toThrow("sleep is no cost");
  });

  it("is estimated by counts times costs", () => {
    const config = { workload: "demand_paging", memory: 8 * MIB } as const;
    const { estimate, faults } = runWorkload({ ...config, costs: { ...costsOf(""), fault: 7, exit: 0 } });
    expect([estimate.fault, estimate.exit]).toEqual([7 * faults.translation, 0]);
    const { total, ...parts } = estimate;
    expect(total).toBe(Object.values(parts).reduce((sum, n) => sum + n, 0));
  });
});
