// run and compare through real processes.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createJudge } from "../../bindings/audit/index.js";
import type { CommandIo } from "../../bindings/cli/command.js";
import { checkOf, checkText, isRight } from "../../bindings/cli/run-check.js";
import { createEngine } from "../../bindings/index.js";
import { readPerfetto } from "../support/perfetto.js";
import { scratchFolder } from "../support/scratch.js";
import { granule } from "./granule.js";

describe("granule run", () => {
  it("says what a workload did", async () => {
    const { code, stdout, stderr } = await granule(["run", "dirty_log_perf", "--memory", "8M", "--dirty", "dbm"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^dirty_log_perf in /);
    expect(stdout).toMatch(/stores unlogged +none\n/);
  });

  it("prints JSON with the settings, the counts and the estimate", async () => {
    const { code, stdout } = await granule(["run", "demand_paging", "--memory", "4M", "--granule", "16K", "--json"]);
    const report = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(Object.keys(report)).toEqual([
      ...["schemaVersion", "workload", "config", "seconds", "accesses", "faults", "dirty", "counters", "tlb", "table"],
      "estimate",
    ]);
    expect(report).toMatchObject({ schemaVersion: 1, config: { granule: 16384, memory: 4 << 20 }, accesses: 256 });
  });

  it.each([
    [["run"], "name one workload"],
    [["run", "sleep"], "unknown workload sleep: the workloads are"],
    [["run", "dirty-log-pref"], "did you mean dirty_log_perf?"],
    [["run", "migration", "--dirty", "pml"], "--dirty takes one of wp, eager, ring, dbm, hdbss"],
    [["run", "migration", "--memory", "lots"], "--memory takes bytes"],
    [["run", "migration", "--writes", "2"], "--writes takes 0 to 1"],
    [["run", "migration", "--cost", "x=1"], "unknown cost x"],
    [["compare", "migration"], "say what to vary"],
    [["compare", "migration", "--vary", "dirty"], "--vary takes NAME=A,B"],
    [["compare", "migration", "--vary", "sleep=1"], "there is no setting sleep"],
    [["compare", "migration", "--vary", "dirty=wp,pml"], "--dirty takes one of wp"],
    [["compare", "migration", "--vary", "dirty=wp", "--sort", "luck"], "--sort"],
  ])("%j is refused", async (args, words) => {
    const { code, stderr } = await granule(args);
    expect(code).toBe(2);
    expect(stderr).toContain(words);
  });
});

describe("granule run --check", () => {
  const folder = scratchFolder();
  const line = ["run", "migration", "--memory", "8M", "--vcpus", "2", "--adversarial", "yes"];

  it("judges the run, which is the same: text and JSON", async () => {
    const { code, stdout } = await granule([...line, "--check"]);
    expect([code, stdout.trimEnd().split("\n").at(-1)]).toEqual([
      0,
      expect.stringMatching(/^judged [\d,]+ records: no violation; no stale translation$/),
    ]);
    const { check, seconds: _a, ...judged } = JSON.parse((await granule([...line, "--check", "--json"])).stdout);
    const { seconds: _b, ...alone } = JSON.parse((await granule([...line, "--json"])).stdout);
    expect(judged).toEqual(alone);
    expect(check).toEqual({ verdict: "ok", records: expect.any(Number), count: 0, violations: [], stale: 0 });
    expect(check.records).toBeGreaterThan(1000);
  });

  it("says what is wrong", async () => {
    const judge = createJudge();
    using engine = createEngine({ journalRecords: 1 << 10 });
    const watch = judge.watch(engine);
    const table = engine.createStage2();
    table.map(0, 4096, 0, "rw");
    table.map(0, 4096, 4096, "rw", { skipBreakTlbi: true });
    watch.drain();
    const check = checkOf(judge, 2);
    expect([isRight(check), isRight({ ...check, verdict: "ok" })]).toEqual([false, false]);
    const text = checkText(check, { style: (_: string, words: string) => words } as unknown as CommandIo);
    expect(text).toMatch(/^judged \d+ records: 1 violation; 2 stale translations\n {2}record \d+: early-make at /);
  });

  it("judges a run that writes its time line", async () => {
    const target = join(folder, "checked.perfetto");
    const { code, stdout } = await granule([...line, "--check", "--out", target]);
    expect([code, stdout]).toEqual([0, expect.stringContaining("no violation; no stale translation")]);
    const { events } = readPerfetto(readFileSync(target));
    expect(events.filter(({ name }) => name?.startsWith("TLBI ")).length).toBeGreaterThan(0);
  });
});

describe("granule compare", () => {
  const line = ["compare", "migration", "--memory", "8M", "--vary", "dirty=wp,dbm", "--vary", "granule=4K,16K"];

  it("prints one table, a row for each combination, the best of each column marked", async () => {
    const { code, stdout } = await granule(line);
    const rows = stdout.split("\n");
    expect(code).toBe(0);
    expect(rows[0]).toMatch(/^dirty +granule +cycles +faults +walks +tlbis +dirty +breaks +pages$/);
    expect(rows.slice(1, 5).map((row) => row.split(/ +/).slice(0, 2).join(" "))).toEqual([
      ...["wp 4K", "wp 16K", "dbm 4K", "dbm 16K"],
    ]);
    expect(rows[4]).toContain("*");
  });

  it("sorts, and prints CSV and JSON", async () => {
    const csv = (await granule([...line, "--sort", "faults", "--csv"])).stdout.trim().split("\n");
    const faults = csv.slice(1).map((row) => Number(row.split(",")[3]));
    expect(csv[0]).toBe("dirty,granule,cycles,faults,walks,tlbis,dirty,breaks,pages,unlogged");
    expect(faults).toEqual([...faults].sort((a, b) => a - b));
    const json = JSON.parse((await granule([...line, "--json"])).stdout);
    expect(json).toMatchObject({ schemaVersion: 1, workload: "migration", varied: ["dirty", "granule"] });
    expect(json.runs.map(({ config }: { config: { dirty: string } }) => config.dirty)).toEqual([
      "wp",
      "wp",
      "dbm",
      "dbm",
    ]);
  });
});
