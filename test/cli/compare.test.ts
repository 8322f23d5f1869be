// compare on all cores and in parts, and merge, which puts the parts together: the same result, wherever the runs were.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";
import { duckdb } from "../tabular/support.js";
import { type Ended, granule } from "./granule.js";

const folder = scratchFolder();

const file = (name: string) => join(folder, name);
const LINE = ["compare", "migration", "--memory", "8M", "--vary", "dirty=wp,eager,dbm", "--vary", "granule=4K,16K"];
const TRACE = join(ROOT, "test/replay/fixtures/recorded/K-6.12-4k-vhe-max-bin/ipa48.report.txt.gz");

/** JSON without the time of each run. */
function timeless(text: string): unknown {
  return JSON.parse(text, (name, value) => (name === "seconds" ? undefined : value));
}

async function parts(ending: string, n: number, line: readonly string[] = LINE): Promise<string[]> {
  const files = Array.from({ length: n }, (_, i) => file(`part-${i + 1}-of-${n}.${ending}`));
  const ended = await Promise.all(files.map((out, i) => granule([...line, "--shard", `${i + 1}/${n}`, "--out", out])));
  expect(ended.map(({ code, stdout }) => [code, stdout])).toEqual(files.map(() => [0, ""]));
  return files;
}

describe("granule compare", () => {
  it("says the same on one thread and on several", async () => {
    const [one, three] = await Promise.all([
      granule([...LINE, "--threads", "1", "--json"]),
      granule([...LINE, "--threads", "3", "--json"]),
    ]);
    expect(timeless(three.stdout)).toEqual(timeless(one.stdout));
    expect(JSON.parse(one.stdout).runs).toHaveLength(6);
  });

  it("prints a plan, whose lines are the parts", async () => {
    const { stdout } = await granule([...LINE, "--plan", "--shards", "2", "--out", file("rows.parquet")]);
    const all = `${LINE.map((word) => word).join(" ")} --shard`;
    expect(stdout).toBe(
      `granule ${all} 1/2 --out ${file("rows-1-of-2.parquet")}\ngranule ${all} 2/2 --out ${file("rows-2-of-2.parquet")}\n`,
    );
    const each = (await granule([...LINE, "--plan"])).stdout.trim().split("\n");
    expect(each).toHaveLength(6);
    expect(each[5]).toMatch(/ --shard 6\/6 --out rows-6-of-6\.ndjson$/);
  });

  it("quotes what a shell would not take as it is", async () => {
    const odd = file("a trace's name.trace.gz");
    writeFileSync(odd, readFileSync(TRACE));
    const { stdout } = await granule(["compare", odd, "--vary", "backing=page,thp", "--plan", "--shards", "1"]);
    expect(stdout).toContain(`compare '${odd.replace("'", "'\\''")}' --vary backing=page,thp --shard 1/1`);
  });

  it("writes rows with a column for each setting and each count, which DuckDB reads", async () => {
    const out = file("all.parquet");
    const { stdout } = await granule([...LINE, "--out", out, "--json"]);
    const { runs } = JSON.parse(stdout);
    const rows = await duckdb(`
      select job, jobs, subject, varied, dirty, granule, memory, writes, manual, faults_permission, counters_split_visits,
        estimate_total, seconds, report->>'$.accesses' as accesses from '${out}' order by job`);
    expect(rows).toEqual(
      runs.map(({ config, faults, counters, estimate, seconds, accesses }: (typeof runs)[0], i: number) => ({
        job: BigInt(i + 1),
        jobs: 6n,
        subject: "migration",
        varied: `dirty=${config.dirty} granule=${config.granule / 1024}K`,
        dirty: config.dirty,
        granule: BigInt(config.granule),
        memory: 8388608n,
        writes: 0.5,
        manual: false,
        faults_permission: BigInt(faults.permission),
        counters_split_visits: BigInt(counters.splitVisits),
        estimate_total: estimate.total,
        seconds,
        accesses: String(accesses),
      })),
    );
  });

  it("shows and sorts by any count of the report", async () => {
    const line = [...LINE, "--show", "counters.splitVisits,faults.permission", "--sort", "faults.permission"];
    const { stdout } = await granule([...line, "--csv"]);
    const [head, ...rows] = stdout.trim().split("\n");
    expect(head).toBe("dirty,granule,counters.splitVisits,faults.permission,unlogged");
    const permissions = rows.map((row) => Number(row.split(",")[3]));
    expect(permissions).toEqual([...permissions].sort((a, b) => a - b));
    expect((await granule(line)).stdout).toMatch(/^dirty +granule +splitVisits +permission$/m);
  });

  it("replays a trace under other settings than those that were recorded", async () => {
    const line = ["compare", TRACE, "--vary", "backing=page,thp"];
    const { code, stdout, stderr } = await granule([...line, "--json"]);
    expect([code, stderr]).toEqual([0, ""]);
    const { trace, runs } = JSON.parse(stdout);
    const leaves = runs.map(({ counters }: { counters: { leavesMade: number } }) => counters.leavesMade);
    expect([trace, runs.length]).toEqual(["ipa48.report.txt.gz", 2]);
    expect(leaves[0]).not.toBe(leaves[1]);
    const files = await parts("ndjson", 2, line);
    expect((await granule(["merge", ...files])).stdout).toBe((await granule(line)).stdout);
  });

  it.each([
    [[...LINE, "--shard", "1/2"], "--shard needs --out FILE"],
    [[...LINE, "--shard", "3/2", "--out", "x.csv"], "--shard takes I/N"],
    [[...LINE, "--shard", "1/7", "--out", "x.csv"], "there are 6 combinations"],
    [[...LINE, "--shards", "2"], "--shards goes with --plan"],
    [[...LINE, "--out", "x.json"], "--out takes a file .parquet, .ndjson or .csv, not x.json"],
    [[...LINE, "--vary", "dirty=ring,wp"], "dirty varies twice"],
    [[...LINE, "--dirty", "wp"], "--dirty wp and --vary dirty: choose one"],
    [["compare", "migration", "--vary", "dirty=wp,wp"], '--vary dirty has "wp" twice'],
    [[...LINE, "--show", "beauty"], '--show "beauty": cycles, faults'],
    [[...LINE, "--csv", "--json"], "--csv and --json: choose one"],
    [["compare", TRACE, "--vary", "dirty=wp,dbm"], "a trace has no setting dirty"],
    [["compare", TRACE, "--vary", "backing=4k"], "--backing takes one of page, thp"],
    [["compare", "migration", "--vary", "seed=1,2", "--fwb", "yes"], "there is no setting fwb"],
    [["compare", "no/such.trace", "--vary", "granule=4K,16K"], "there is no file no/such.trace"],
    [["merge"], "FILE is missing"],
    [["merge", "x.csv"], "merge reads .parquet and .ndjson"],
  ])("%j is refused", async (args, words) => {
    const { code, stdout, stderr } = await granule(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(words);
  });

  it("says which combination makes no sense", async () => {
    const { code, stderr } = await granule(["compare", "migration", "--memory", "8200K", "--vary", "granule=4K,16K"]);
    expect(code).toBe(1);
    expect(stderr).toContain("whole pages of 16384 (granule=16K)");
  });

  it("says what is wrong with a trace", async () => {
    const path = file("broken.trace");
    writeFileSync(path, "vmm-1 [000] ..... 1.5: kvm_guest_fault: ipa what\n");
    const { code, stderr } = await granule(["compare", path, "--vary", "granule=4K,16K"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/broken\.trace: .*line 1/);
  });
});

describe("granule merge", () => {
  it.each([
    ["parquet", 2],
    ["ndjson", 4],
  ])("prints what one machine prints, from %s of %i parts in any order", async (ending, n) => {
    const files = (await parts(ending, n)).reverse();
    const both = async (...more: string[]): Promise<[Ended, Ended]> =>
      Promise.all([granule(["merge", ...files, ...more]), granule([...LINE, ...more])]);
    for (const more of [[], ["--csv", "--sort", "cycles"], ["--show", "table.peakPages"]]) {
      const [merged, whole] = await both(...more);
      expect(merged).toEqual(whole);
    }
    const [merged, whole] = await both("--json");
    expect(timeless(merged.stdout)).toEqual(timeless(whole.stdout));
    const strip = (text: string) => text.replaceAll(/"seconds": [\d.e-]+/g, "");
    expect(strip(merged.stdout)).toBe(strip(whole.stdout));
  });

  it("writes one file that can be merged again", async () => {
    const files = await parts("parquet", 2);
    const out = file("merged.ndjson");
    const { stdout } = await granule(["merge", ...files, "--out", out]);
    expect((await granule(["merge", out])).stdout).toBe(stdout);
    expect((await granule(["merge", out, "--out", out])).code).toBe(2);
  });

  it("names rows that are missing, there twice, or not of this comparison", async () => {
    const [one = "", two = ""] = await parts("ndjson", 2);
    const refusal = async (...files: string[]) => {
      const { code, stdout, stderr } = await granule(["merge", ...files]);
      expect([code, stdout]).toEqual([3, ""]);
      return stderr;
    };
    expect(await refusal(one)).toBe(
      "granule: 3 of 6 rows are missing: job 2 (dirty=wp granule=16K), job 4 (dirty=eager granule=16K), job 6 (dirty=dbm granule=16K)\n",
    );
    expect(await refusal(one, two, one)).toContain(`job 1 (dirty=wp granule=4K) is twice in ${one}`);
    const [, other = ""] = await parts("ndjson", 2, [...LINE, "--seed", "2"]);
    writeFileSync(file("seeded.ndjson"), readFileSync(other));
    await parts("ndjson", 2);
    expect(await refusal(one, file("seeded.ndjson"))).toContain("--seed is not given in the first, 2 in the second");
    writeFileSync(file("old.ndjson"), readFileSync(two, "utf8").replaceAll('"version":"', '"version":"0.0.'));
    expect(await refusal(one, file("old.ndjson"))).toMatch(/is of granule [\d.]+, and .*old\.ndjson of granule 0\.0\./);
  });

  it.each([
    ["empty.ndjson", "", "there is no row"],
    ["foreign.ndjson", '{"a":1}\n', "row 1 has no version, comparison, job or report"],
    ["broken.ndjson", '{"a"', "this is no ndjson"],
    ["broken.parquet", "PAR1", "this is no parquet"],
    ["none.ndjson", '{"version":"1","comparison":"{}","job":1,"report":"{}"}\n', "name no comparison"],
    ["null.ndjson", '{"version":"1","comparison":"null","job":1,"report":"{}"}\n', "name no comparison"],
    [
      "hollow.ndjson",
      `${JSON.stringify({
        ...{ version: "1", job: 1, report: "{}" },
        comparison: JSON.stringify({ kind: "workload", subject: "x", digest: "", settings: {}, varied: [], cost: "" }),
      })}\n`,
      "the report of job 1 is not what a run reports",
    ],
  ])("refuses %s", async (name, content, words) => {
    writeFileSync(file(name), content);
    const { code, stderr } = await granule(["merge", file(name)]);
    expect(code).toBe(3);
    expect(stderr).toContain(words);
  });
});
