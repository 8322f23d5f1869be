import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { scratchFolder } from "../support/scratch.js";
import { granule } from "./granule.js";

const VECTORS = fileURLToPath(new URL("../conform/vectors/", import.meta.url));
const FILE = "geometry-4k-ac03.jsonl.gz";
const folder = scratchFolder();

beforeAll(() => {
  mkdirSync(join(folder, "good", "deep"), { recursive: true });
  copyFileSync(join(VECTORS, FILE), join(folder, "good", FILE));
  const text = gunzipSync(readFileSync(join(VECTORS, "concat-4k-40.jsonl.gz"))).toString();
  writeFileSync(join(folder, "good", "deep", "plain.jsonl"), text);
  writeFileSync(join(folder, "good", "README"), "not a vectors file");
  writeFileSync(join(folder, "wrong.jsonl"), text.replace('"ret":0', '"ret":-12'));
  writeFileSync(join(folder, "cut.jsonl"), text.slice(0, -40));
  writeFileSync(join(folder, "odd.jsonl"), `${text}{"op":"levitate","addr":"0x0"}\n`);
  writeFileSync(join(folder, "table.jsonl"), text.replace(/"phys_shift":\d+/, '"phys_shift":99'));
  writeFileSync(join(folder, "damaged.jsonl.gz"), gzipSync(text).subarray(0, 200));
  // gzip is told by its bytes, not by the name.
  writeFileSync(join(folder, "misnamed.jsonl"), gzipSync(text));
  mkdirSync(join(folder, "empty"));
});

describe("granule conform", () => {
  it("runs files and folders, plain and gzipped", async () => {
    const ended = await granule(["conform", "--json", join(folder, "good"), join(folder, "misnamed.jsonl")]);
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    const report = JSON.parse(ended.stdout) as { ops: number };
    expect(report).toEqual({
      schemaVersion: 1,
      files: 3,
      ops: report.ops,
      passed: report.ops,
      failed: 0,
      unreadable: 0,
      failures: [],
    });
    expect(report.ops).toBeGreaterThan(20);
  });

  it("says so in words", async () => {
    const ended = await granule(["conform", join(VECTORS, FILE)]);
    expect(ended.code).toBe(0);
    expect(ended.stdout).toMatch(/^1 file, \d+ operations: all passed\n$/);
  });

  it("reads standard input", async () => {
    const text = gunzipSync(readFileSync(join(VECTORS, FILE))).toString();
    expect(await granule(["conform", "-"], { stdin: text })).toMatchObject({ code: 0, stderr: "" });
  });

  it("finds a difference: exit 1, with file, line, field and both values", async () => {
    const file = join(folder, "wrong.jsonl");
    const ended = await granule(["conform", "--json", file]);
    expect(ended.code).toBe(1);
    const report = JSON.parse(ended.stdout) as { ops: number; passed: number; failures: unknown[] };
    expect(report).toMatchObject({ schemaVersion: 1, files: 1, passed: report.ops - 1, failed: 1 });
    expect(report.failures).toEqual([
      { file, line: 2, op: expect.any(String) as string, field: "ret", expected: -12, actual: 0 },
    ]);
    const text = await granule(["conform", file]);
    expect(text.code).toBe(1);
    expect(text.stdout).toContain(`${file}:2: `);
  });

  it.each([
    ["cut.jsonl", /cut\.jsonl: line \d+: no JSON/],
    ["odd.jsonl", /odd\.jsonl: line \d+: unknown operation "levitate"/],
    ["table.jsonl", /table\.jsonl: line 1: no such table: EINVAL/],
    ["damaged.jsonl.gz", /damaged\.jsonl\.gz: the gzip data ends too early/],
    ["empty", /empty: the folder holds no such file/],
  ])("%s is unreadable: exit 3, one line", async (name, words) => {
    const ended = await granule(["conform", join(folder, name)]);
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toMatch(words);
    expect(ended.stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  it("judges the others when one input cannot be read: exit 3, all the same", async () => {
    const [good, cut, wrong] = ["good", "cut.jsonl", "wrong.jsonl"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const absent = join(folder, "absent.jsonl");
    const ended = await granule(["conform", absent, cut, good, wrong]);
    expect(ended.code).toBe(3);
    expect(ended.stdout).toMatch(
      /wrong\.jsonl:2: .*\n3 files, \d+ operations: \d+ passed, 1 failed; 2 inputs could not be read\n$/s,
    );
    expect(ended.stderr).toMatch(/absent\.jsonl: no such file or folder\n.*cut\.jsonl: line \d+: no JSON/);
    const json = await granule(["conform", "--json", cut, good]);
    expect(json.code).toBe(3);
    expect(JSON.parse(json.stdout)).toMatchObject({ files: 2, failed: 0, unreadable: 1, failures: [] });
  });

  it("stops at SIGINT: exit 130", async () => {
    const ended = await granule(["conform", VECTORS, VECTORS, VECTORS, VECTORS], {
      onStart: (child) => setTimeout(() => child.kill("SIGINT"), 3000),
    });
    expect(ended).toMatchObject({ code: 130, signal: null, stdout: "" });
    expect(ended.stderr).toMatch(/^interrupted after [\d,]+ files? of 588\n$/);
  });
});
