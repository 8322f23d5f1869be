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
    for (const dirty of ["wp", "eager", "ring", "dbm", "hdbss"] as const) {
      for (const adversarial of [false, true]) {
        const config = { workload, dirty, adversarial, memory: 8 * MIB, vcpus: 2, tlb: "cortex-a53", seed: 3 } as const;
        const report = runWorkload(config);
        const exits = workload === "boot" ? 64 : 0;
        expect([report.dirty.unlogged, report.faults.aborts, report.faults.exits]).toEqual([0, 0, exits]);
        expect(repeatable(runWorkload(config))).toEqual(repeatable(report));
      }
    }
  });

  it.each(NAMES)("%s runs in a page and a few, with more vCPUs than that", (workload) => {
    for (const granule of [4096, 65536] as const) {
      for (const pages of [1, 2, 5]) {
        const report = runWorkload({ workload, memory: pages * granule, granule, vcpus: 3, iterations: 2 });
        expect([report.dirty.unlogged, report.faults.aborts, report.accesses > 0]).toEqual([0, 0, true]);
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
    const [wp, eager, ring, dbm, hdbss] = [of("wp"), of("eager"), of("ring"), of("dbm"), of("hdbss")];
    expect(ring.dirty.rounds).toEqual(wp.dirty.rounds);
    expect(eager.dirty.rounds).toEqual(wp.dirty.rounds);
    expect(dbm.dirty.rounds).toEqual(wp.dirty.rounds);
    expect(hdbss.dirty.rounds).toEqual(wp.dirty.rounds);
    expect(wp.dirty.reported).toBeGreaterThan(100);
    expect(dbm.faults.permission + dbm.faults.translation).toBeLessThan(wp.faults.permission / 4);
    expect(dbm.estimate.total).toBeLessThan(eager.estimate.total);
  });

  it("gets its blocks back after logging in page_table_test", () => {
    const { table, counters } = runWorkload({ workload: "page_table_test", memory: 8 * MIB });
    expect([table.leaves, counters.breaksValid > 0]).toEqual([4, true]);
  });

  it("refuses what it does not know", () => {
    expect(() => runWorkload({ workload: "toString" })).toThrow("unknown workload toString: the workloads are demand_");
    expect(() => runWorkload({ workload: "migraton" })).toThrow("did you mean migration?");
    expect(() => runWorkload(undefined as never)).toThrow("the options are undefined");
    expect(() => costsOf("exit=many")).toThrow("the cost exit is many");
    expect(() => costsOf("sleep=1")).toThrow("unknown cost sleep");
  });

  it.each([
    [{ dirtty: "dbm" }, "unknown option dirtty, did you mean dirty?"],
    [{ dirty: "pml" }, 'dirty is "pml": one of wp, eager, ring, dbm, hdbss'],
    [{ granule: 8192 }, "granule is 8192: one of 4096, 16384, 65536"],
    [{ memory: 5000 }, "memory is 5000: bytes, whole pages of 4096"],
    [{ memory: Number.NaN }, "memory is NaN"],
    [{ memory: 1n << 24n }, "the option memory is 16777216n: give a number"],
    [{ iterations: 0 }, "iterations is 0: a whole number of 1 or more"],
    [{ iterations: 1.5 }, "iterations is 1.5"],
    [{ writes: 1.01 }, "writes is 1.01: 0 to 1"],
    [{ writes: Number.NaN }, "writes is NaN"],
    [{ vcpus: 0 }, "cpus"],
    [{ slots: 0 }, "slots is 0: 1 to the pages of the memory, 1024"],
    [{ slots: 1025 }, "slots is 1025"],
    [{ rate: 0 }, "rate is 0: above 0"],
    [{ overlap: 1 }, "the option overlap is 1: give true or false"],
    [{ backing: "huge" }, "backing"],
    [{ tlb: "cortex-z80" }, "cortex-z80"],
    [{ costs: { exit: 1 } }, "the cost fault is undefined: cycles, 0 or more"],
    [{ costs: { exit: -1 } }, "the cost exit is -1"],
  ])("refuses %o", (wrong, words) => {
    expect(() => runWorkload({ workload: "migration", memory: 4 * MIB, ...(wrong as object) })).toThrow(words);
  });

  it("is estimated by counts times costs", () => {
    const config = { workload: "demand_paging", memory: 8 * MIB } as const;
    const { estimate, faults } = runWorkload({ ...config, costs: { ...costsOf(""), fault: 7, exit: 0 } });
    expect([estimate.fault, estimate.exit]).toEqual([7 * faults.translation, 0]);
    const { total, ...parts } = estimate;
    expect(total).toBe(Object.values(parts).reduce((sum, n) => sum + n, 0));
  });
});
