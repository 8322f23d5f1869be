import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { Story } from "../../bindings/report/index.js";
import { ROOT } from "../house/sources.js";
import { Scratch, scratchFolder } from "../support/scratch.js";
import { granule } from "./granule.js";

const BOOT = join(ROOT, "test/replay/fixtures/J-boot-6.12-4k/Image612-v1-thp-256m.trace.gz");
const OPS = `{"format":"pgtable-vectors/1","stage":"stage2","granule":4096,"lpa2":false,"fwb":true,"tlbi_range":true,"bti":false,"hvhe":false,"pa_bits52":false,"ac03":false,"mm_ops":{"dcache":true,"icache":true,"page_count":true},"phys_shift":40,"arena_base":"0x80000000","flags":[],"force_pte":"none"}
{"op":"map","addr":"0x40000000","size":"0x400000","phys":"0x100000000","prot":["R","W"],"mc":8,"walk_flags":[]}
`;

/** The story in a report. */
function storyIn(path: string): Story {
  const [, packed = ""] = /id="story">([^<]*)</.exec(readFileSync(path, "utf8")) ?? [];
  return JSON.parse(gunzipSync(Buffer.from(packed, "base64")).toString()) as Story;
}

describe("granule report", () => {
  const folder = scratchFolder();
  const at = (name: string) => join(folder, name);

  it("writes the report of a trace, as replay --html does", async () => {
    const one = await granule(["report", BOOT, "--html", at("a.html")]);
    expect([one.code, one.stderr]).toEqual([0, expect.stringContaining("wrote")]);
    const two = await granule(["replay", BOOT, "--html", at("b.html"), "--json"]);
    expect([two.code, JSON.parse(two.stdout).schemaVersion]).toEqual([0, 1]);
    const [a, b] = [storyIn(at("a.html")), storyIn(at("b.html"))];
    expect(a.title).toBe("Image612-v1-thp-256m");
    expect(a.sections).toEqual(b.sections);
    expect(new Set(a.sections.map(({ kind }) => kind))).toEqual(new Set(["chart", "heatmap", "tree", "table"]));
  });

  it("writes the report of a workload, and of an operations file", async () => {
    expect((await granule(["report", "demand_paging", "--memory", "8M", "--html", at("c.html")])).code).toBe(0);
    expect(storyIn(at("c.html")).sections.map(({ title }) => title)).toContain("The table");
    writeFileSync(at("ops.jsonl"), OPS);
    const { code, stderr } = await granule(["report", at("ops.jsonl"), "--html", at("d.html")]);
    expect([code, stderr]).toEqual([0, expect.stringContaining("wrote")]);
    const [tree] = storyIn(at("d.html")).sections;
    expect(tree?.kind === "tree" && tree.snapshots[0]?.runs).toEqual([0x40000, 2, 2, 0x100000, 0]);
  });

  it("shows what lies around the violations of a log", async () => {
    const logs = join(ROOT, "test/audit/traces");
    const { code } = await granule(["check", logs, "--html", at("e.html")]);
    expect(code).toBe(1);
    const steps = storyIn(at("e.html")).sections.filter((section) => section.kind === "steps");
    expect(steps.length).toBeGreaterThan(10);
    for (const section of steps) expect(section.steps.filter(({ bad }) => bad)).toHaveLength(1);
  });

  it("shows a comparison, and a schedule that breaks a rule", async () => {
    const compared = await granule([
      "compare",
      "demand_paging",
      "--memory",
      "8M",
      "--vary",
      "granule=4K,16K",
      "--html",
      at("h.html"),
    ]);
    expect(compared.code).toBe(0);
    const [runs] = storyIn(at("h.html")).sections;
    expect(runs?.kind === "table" && runs.rows.map(([page]) => page)).toEqual(["4K", "16K"]);
    const replay = "x1:lock-free-unmap-check-first:0:0*3,1*3,0*1";
    expect((await granule(["explore", "--replay", replay, "--html", at("i.html")])).code).toBe(1);
    const story = storyIn(at("i.html"));
    const [schedule] = story.sections;
    expect(story.summary.join(" ")).toContain("an entry whose page is freed");
    expect(schedule?.kind === "steps" && [schedule.lanes.length, schedule.steps.at(-1)?.bad]).toEqual([2, true]);
  });

  it.each([
    [
      [
        "compare",
        "demand_paging",
        "--vary",
        "granule=4K,16K",
        "--shard",
        "1/2",
        "--out",
        "r.ndjson",
        "--html",
        "x.html",
      ],
      "not with --shard",
    ],
    [["explore", "lock-free-unmap", "--html", "x.html"], "--replay"],
    [["report", BOOT], "--html"],
    [["report", BOOT, "--html", "-"], "name of a file"],
    [["report", BOOT, "--html", BOOT], "is the input"],
    [["report", "demand_paging", "--html", "x.html", "--json"], "HTML"],
    [["report"], "missing"],
  ])("refuses %j, and writes nothing", async (args, words) => {
    const { code, stderr, stdout } = await granule(args);
    expect([code, stderr, stdout]).toEqual([2, expect.stringContaining(words), ""]);
    expect(existsSync("x.html")).toBe(false);
  });

  it("says which file cannot be read or written", async () => {
    const lost = await granule(["report", at("nothing.trace"), "--html", at("f.html")]);
    expect([lost.code, lost.stderr]).toEqual([3, expect.stringContaining("nothing.trace: no such file")]);
    const nowhere = await granule(["report", BOOT, "--html", join(folder, "no", "g.html")]);
    expect([nowhere.code, nowhere.stderr]).toEqual([3, expect.stringContaining("g.html: no such file or folder")]);
  });
});

describe("granule show", () => {
  it("draws the table in characters", async () => {
    using scratch = new Scratch();
    writeFileSync(join(scratch.path, "ops.jsonl"), OPS);
    const { code, stdout } = await granule(["show", join(scratch.path, "ops.jsonl")]);
    expect(code).toBe(0);
    expect(stdout.split("\n").slice(0, 2)).toEqual([
      "level 1: 2 start tables, side by side, 1 GiB an entry: 1 table below",
      "  level 2: table of 0x40000000, 2 MiB an entry: 2 blocks mapped",
    ]);
  });
});
