// dump, image, explain and bench through real processes: text, JSON shapes, files.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { scratchFolder } from "../support/scratch.js";
import { granule, mapLine, script } from "./granule.js";

const folder = scratchFolder();
let ops = "";

beforeAll(() => {
  ops = join(folder, "ops.jsonl");
  writeFileSync(ops, script([mapLine(0x4000_0000, 0x1000), mapLine(0x8000_0000, 0x40_0000, ["R", "X"])]));
});

const KERNEL = `---[ Guest IPA ]---
0x0000000000000000-0x0000000040000000           1G 1
0x0000000040000000-0x0000000040001000           4K 3   R W X AF${"    "}
0x0000000040001000-0x0000000040200000        2044K 3
0x0000000040200000-0x0000000080000000        1022M 2
0x0000000080000000-0x0000000080400000           4M 2   R     AF BLK
0x0000000080400000-0x00000000c0000000        1020M 2
`;
const LAST = "0x00000000c0000000-0x0000010000000000        1021G 1\n";

describe("granule dump", () => {
  it("prints the kernel's text, and the last run that the kernel leaves out", async () => {
    expect(await granule(["dump", ops])).toMatchObject({ code: 0, stdout: KERNEL + LAST, stderr: "" });
    expect(await granule(["dump", ops, "--kernel-compat"])).toMatchObject({ code: 0, stdout: KERNEL });
  });

  it("prints the 7.x columns, from standard input", async () => {
    const ended = await granule(["dump", "-", "--format", "7.x"], { stdin: readFileSync(ops, "utf8") });
    expect(ended.code).toBe(0);
    expect(ended.stdout).toContain("           4M 2   R   px ux  AF BLK\n");
  });

  it("prints runs in JSON", async () => {
    const report = JSON.parse((await granule(["dump", ops, "--json"])).stdout) as { runs: unknown[] };
    expect(report).toMatchObject({
      schemaVersion: 1,
      format: "6.12",
      kernelCompat: false,
      granule: 4096,
      ipaBits: 40,
      startLevel: 1,
    });
    expect(report.runs).toHaveLength(7);
    expect(report.runs[1]).toEqual({ start: "0x40000000", end: "0x40001000", level: 3, columns: "   R W X AF    " });
  });

  it("skips empty lines, and says how many operations were refused", async () => {
    const stdin = `${script([mapLine(0x1000, 0x1000)])}\n\n${JSON.stringify(mapLine(2 ** 50, 0x1000))}\n`;
    const ended = await granule(["dump", "-"], { stdin });
    expect(ended).toMatchObject({ code: 0, stderr: "(stdin): the table refused 1 of 2 operations\n" });
  });

  it.each([
    ["a line that is no JSON", `${script([])}{"op":\n`, /\(stdin\): line 2: no JSON/],
    ["a header without a stage", "{}\n", /line 1: format/],
    ["nothing", "", /line 1: the file is empty/],
    ["a destroyed table", script([{ op: "destroy" }]), /destroyed/],
    [
      "an unknown walk flag",
      script([{ op: "walk", addr: "0x0", size: "0x1000", walk_flags: ["toString"] }]),
      /line 2: unknown walk flag/,
    ],
    [
      "an operation of the other stage",
      script([{ op: "hyp_unmap", addr: "0x0", size: "0x0" }]),
      /line 2: a hyp operation/,
    ],
  ])("%s is unreadable", async (_what, stdin, words) => {
    const ended = await granule(["dump", "-"], { stdin });
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toMatch(words);
    expect(ended.stderr.trimEnd().split("\n")).toHaveLength(1);
  });
});

describe("granule dump of a hypervisor's table", () => {
  const stdin = script([{ op: "hyp_map", addr: "0x40000000", size: "0x1000", phys: "0x80000000", prot: ["R", "X"] }], {
    stage: "hyp",
    va_bits: 40,
  });

  it("has EL2's rights and no guest", async () => {
    const ended = await granule(["dump", "-"], { stdin });
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    expect(ended.stdout).toMatch(/^---\[ EL2 \]---\n/);
    expect(ended.stdout).toMatch(/^0x0000000040000000-0x0000000040001000 +4K 3 {3}ro x {2}AF {8}MEM\/NORMAL$/m);
    const report = JSON.parse((await granule(["dump", "-", "--json"], { stdin })).stdout) as { runs: unknown[] };
    expect(report).toMatchObject({ schemaVersion: 1, stage: "hyp", format: "el2", ipaBits: 40 });
    expect(report.runs).toContainEqual({
      start: "0x40000000",
      end: "0x40001000",
      level: 3,
      columns: "   ro x  AF        MEM/NORMAL",
    });
  });

  it.each([[["--format", "7.x"]], [["--kernel-compat"]]])("refuses %j", async (options) => {
    expect(await granule(["dump", "-", ...options], { stdin })).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("--until", () => {
  it("stops after that line", async () => {
    const stdin = script([
      mapLine(0x4000_0000, 0x1000),
      mapLine(0x8000_0000, 0x40_0000, ["R", "X"]),
      { op: "destroy" },
    ]);
    expect(await granule(["dump", "-", "--until", "3"], { stdin })).toMatchObject({ code: 0, stdout: KERNEL + LAST });
    expect(await granule(["dump", "-", "--until", "0"], { stdin })).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("granule image", () => {
  it("writes image.bin and manifest.json in the form of mmu-vectors", async () => {
    const out = join(folder, "new", "image");
    const ended = await granule(["image", ops, "--out", out, "--json", "--base", "0x40200000"]);
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    const report = JSON.parse(ended.stdout) as { bytes: number; manifest: Record<string, unknown> };
    expect(readdirSync(out).sort()).toEqual(["image.bin", "manifest.json"]);
    expect(readFileSync(join(out, "image.bin"))).toHaveLength(report.bytes);
    const manifest = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8")) as Record<string, unknown>;
    expect(report).toEqual({ schemaVersion: 1, out, bytes: report.bytes, pages: 5, manifest });
    const base = manifest.phys_base as string;
    expect(BigInt(base)).toBeGreaterThanOrEqual(0x4020_0000n);
    expect(manifest).toEqual({
      stage: "stage2",
      granule: "4K",
      phys_base: base,
      mode: "at",
      fwb: false,
      vtcr: "0x80253558",
      vttbr: base,
    });
  });

  it("needs a table and a place to write", async () => {
    const stdin = script([{ op: "destroy" }]);
    expect(await granule(["image", "-", "--out", join(folder, "x")], { stdin })).toMatchObject({ code: 3, stdout: "" });
    expect(await granule(["image", ops, "--out", join(ops, "x")])).toMatchObject({ code: 3, stdout: "" });
  });
});

describe("granule explain", () => {
  it("prints a descriptor and what its fields mean", async () => {
    const ended = await granule(["explain", "0x0040_0000_4000_07ff", "--level", "3"]);
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    expect(ended.stdout).toContain(
      "A 4K page at 0x40000000: read and write, not executable, Normal write-back, accessed.",
    );
    expect(ended.stdout).toMatch(/^\+-{5}\+/m);
    expect(ended.stdout).toMatch(/^ {2}7:6 +S2AP +11 +read and write/m);
  });

  it("takes decimal digits, and explains the effect of --level", async () => {
    const ended = await granule(["explain", String(0x0040_0000_4000_07ffn)]);
    expect(ended.stdout).toContain("Read at level 3: a page.");
    expect(ended.stdout).toContain("Read at level -1..2: a table.");
  });

  it("prints the fields in JSON", async () => {
    const report = JSON.parse((await granule(["explain", "0x400000400007ff", "--json"])).stdout) as Record<
      string,
      unknown
    >;
    expect(report).toMatchObject({
      schemaVersion: 1,
      descriptor: "0x00400000400007ff",
      stage: "2",
      granule: 4096,
      level: null,
      kind: "page",
      pa: "0x40000000",
    });
    expect(report.fields).toContainEqual({
      name: "AF",
      high: 10,
      low: 10,
      bits: "10",
      value: "0x1",
      meaning: expect.any(String) as string,
    });
    expect(report.alternatives).toMatchObject([{ kind: "table", levels: "-1..2" }]);
  });

  it.each([
    [["0x0040000080000783", "--stage", "hyp", "-l", "3"], "read only"],
    [["0x1", "--level=-1"], "GEO-3"],
    [["0x4db", "--no-fwb", "--level", "3"], "outer non-cacheable, inner write-through"],
    [["0x40000000000713", "--granule", "64k", "--level", "3"], "64K page"],
    [["0x60000000000713", "--xnx", "--level", "3"], "executable at EL1 only"],
  ])("%j", async (args, words) => {
    const ended = await granule(["explain", ...args]);
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    expect(ended.stdout).toContain(words);
  });

  it("takes hex without a prefix: of 16 digits, with letters, or with a zero in front", async () => {
    const summary = async (text: string) => {
      const ended = await granule(["explain", text, "--level", "3", "--json"]);
      return [(JSON.parse(ended.stdout) as { descriptor: string }).descriptor, ended.stderr];
    };
    expect(await summary("00400000400007ff")).toEqual(["0x00400000400007ff", ""]);
    expect(await summary("1040000040000783")).toEqual(["0x1040000040000783", ""]);
    expect(await summary("040000783")).toEqual(["0x0000000040000783", ""]);
    expect(await summary("40_000_7ff")).toEqual(["0x00000000400007ff", ""]);
    expect(await summary("1024")).toEqual(["0x0000000000000400", "1024 is read as decimal; 0x1024 would be hex\n"]);
  });

  it("takes several, and those of standard input", async () => {
    const args = ["explain", "--stage", "el1", "-l", "3"];
    const stdin = "0x00e8000081234f43 00400000400007c3\n\n0\n";
    const ended = await granule([...args, "0x3", "-", "--json"], { stdin });
    const { descriptors } = JSON.parse(ended.stdout) as { descriptors: { descriptor: string; stage: string }[] };
    expect(descriptors.map(({ descriptor }) => Number(BigInt(descriptor) & 0xfffn))).toEqual([3, 0xf43, 0x7c3, 0]);
    expect(descriptors[0]).toMatchObject({ stage: "el1", kind: "page", level: 3 });
    const text = await granule([...args, "-"], { stdin });
    expect(text.stdout.match(/^0x/gm)).toHaveLength(3);
    expect(text.stdout).toMatch(/^\|.*\|UXN\|PXN\|/m);
  });

  it("names the line of standard input that is none", async () => {
    expect(await granule(["explain", "-"], { stdin: "0x3\n0x4 zz" })).toEqual({
      code: 3,
      signal: null,
      stdout: "",
      stderr: "granule: (stdin):2: zz is not a descriptor of 64 bits\n",
    });
    expect(await granule(["explain", "-"], { stdin: "" })).toMatchObject({ code: 3, stdout: "" });
  });

  it.each([["0x1ffffffffffffffff"], ["-5"], ["page"], ["1.5"], ["0x"]])("%s is no descriptor", async (text) => {
    expect(await granule(["explain", "--", text])).toMatchObject({ code: 2, stdout: "" });
  });

  it.each([[["--lpa2", "--granule", "64k"]], [["--hvhe"]], [["--granule", "8k"]], [["--stage", "1"]]])(
    "%j contradicts",
    async (args) => {
      expect(await granule(["explain", "1", ...args])).toMatchObject({ code: 2, stdout: "" });
    },
  );
});

describe("granule bench", () => {
  it("names its workloads", async () => {
    expect((await granule(["bench", "--list"])).stdout.split("\n")).toContain("map-4k");
  });

  it("prints the JSON that scripts rely on", async () => {
    const ended = await granule(["bench", "table-bytes", "--json", "--peer", "wasm", "--peer", "naive"]);
    expect(ended.code).toBe(0);
    const report = JSON.parse(ended.stdout) as { results: unknown[] };
    expect(report).toMatchObject({ schemaVersion: 1, node: process.version, cpu: expect.any(String) as string });
    expect(report.results).toMatchObject([
      { id: "table-bytes", peer: "wasm", unit: "B/GiB", samples: 1 },
      { id: "table-bytes", peer: "naive", unit: "B/GiB", samples: 1 },
      { id: "table-bytes/core", peer: "wasm", unit: "B" },
      { id: "table-bytes/core-gzip", peer: "wasm", unit: "B" },
      { id: "table-bytes/cold-start", peer: "wasm", unit: "us" },
    ]);
  });
});
