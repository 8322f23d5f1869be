// granule translate: a set compared, answers written, what cannot be read refused.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type RecordedSet, recordedSets } from "../mmu/sets.js";
import { scratchFolder } from "../support/scratch.js";
import { granule } from "./granule.js";

const folder = scratchFolder();

const recorded = [...recordedSets("s2-64K")].find(({ words }) => words.length > 0) as RecordedSet;
const lines = (all: readonly object[]): string => all.map((line) => `${JSON.stringify(line)}\n`).join("");

/** A set as a folder; `files` replaces or, undefined, leaves out. */
function set(name: string, files: Readonly<Record<string, string | Uint8Array | undefined>> = {}): string {
  const path = join(folder, name, recorded.set);
  mkdirSync(path, { recursive: true });
  const whole: Readonly<Record<string, string | Uint8Array | undefined>> = {
    "manifest.json": JSON.stringify(recorded.manifest),
    "image.bin.gz": gzipSync(recorded.image),
    "results.jsonl.gz": gzipSync(lines(recorded.answers)),
    "changes.jsonl": lines(recorded.words),
    ...files,
  };
  for (const [file, content] of Object.entries(whole))
    if (content !== undefined) writeFileSync(join(path, file), content);
  return path;
}

describe("granule translate", () => {
  const answers = recorded.answers.length;
  const words = { expected: recorded.words.length, matched: recorded.words.length };

  it("compares a set, or a folder of sets", async () => {
    const path = set("whole");
    for (const dir of [path, join(path, "..")]) {
      const ended = await granule(["translate", dir, "--json"]);
      expect(ended).toMatchObject({ code: 0, stderr: "" });
      const ignored = recorded.answers.filter(({ ok }) => typeof ok !== "boolean").length;
      expect(JSON.parse(ended.stdout)).toEqual({
        schemaVersion: 1,
        sets: 1,
        unreadable: [],
        answers,
        matched: answers,
        ignored,
        differing: [],
        words,
      });
    }
    expect((await granule(["translate", path])).stdout).toMatch(/^1 set, \d+ answers: all equal/);
  });

  it("shows a difference in an answer, and in a word", async () => {
    const index = recorded.answers.findIndex(({ pa }) => pa);
    const wrong = recorded.answers.map((answer, i) => (i === index ? { ...answer, pa: "0x1" } : answer));
    const ended = await granule(["translate", set("wrong", { "results.jsonl.gz": gzipSync(lines(wrong)) }), "--json"]);
    expect(ended.code).toBe(1);
    const { matched, differing } = JSON.parse(ended.stdout) as { matched: number; differing: object[] };
    expect(matched).toBe(answers - 1);
    expect(differing).toEqual([
      { set: recorded.set, index, field: "pa", expected: "0x1", actual: recorded.answers[index]?.pa },
    ]);
    const less = await granule(["translate", set("less", { "changes.jsonl": lines(recorded.words.slice(1)) })]);
    expect(less).toMatchObject({ code: 1, stdout: expect.stringContaining(`word ${recorded.words[0]?.offset}`) });
  });

  it("goes on behind a set that cannot be read, and says which it was", async () => {
    const above = join(folder, "mixed");
    for (const [name, files] of [
      ["mixed/a", {}],
      ["mixed/b", { "manifest.json": "{" }],
      ["mixed/c", { "image.bin.gz": gzipSync(new Uint8Array(7)) }],
      ["mixed/d", { "manifest.json": JSON.stringify({ ...recorded.manifest, vtcr: "high" }) }],
    ] as const)
      set(name, files);
    const dirs = ["b", "c", "a", "d", "absent"].map((name) => join(above, name));
    const ended = await granule(["translate", ...dirs, "--json"]);
    expect(ended.code).toBe(3);
    const { sets, matched, unreadable } = JSON.parse(ended.stdout) as {
      sets: number;
      matched: number;
      unreadable: { set: string; message: string }[];
    };
    expect([sets, matched]).toEqual([1, answers]);
    expect(unreadable.map(({ set: which }) => which.slice(above.length + 1).split("/")[0])).toEqual([
      ...["absent", "b", "c", "d"],
    ]);
    for (const { message } of unreadable) expect(ended.stderr).toContain(`granule: ${message}`);
    const reasons = [
      /no such file/,
      /b\/.*manifest\.json: /,
      /no whole number of 64-bit words/,
      /vtcr is not a hexadecimal/,
    ];
    expect(unreadable.map(({ message }, i) => reasons[i]?.test(message))).toEqual([true, true, true, true]);
    expect((await granule(["translate", ...dirs])).stdout).toMatch(/^1 set, .*all equal.*; 4 could not be read\n$/);
  });

  it("writes answers with --out, from questions alone too", async () => {
    const questions = recorded.answers.map(({ addr, access, how }) => ({ addr, access, how }));
    const path = set("questions", { "results.jsonl.gz": undefined, "queries.jsonl": lines(questions) });
    const out = join(folder, "out");
    expect(await granule(["translate", path, "--out", out])).toMatchObject({ code: 0, stderr: "" });
    const written = readFileSync(join(out, recorded.set, "results.jsonl"), "utf8");
    const changes = readFileSync(join(out, recorded.set, "changes.jsonl"), "utf8");
    // What was written is what was recorded.
    const again = set("again", { "results.jsonl.gz": gzipSync(written), "changes.jsonl": changes });
    expect(JSON.parse((await granule(["translate", again, "--json"])).stdout)).toMatchObject({
      matched: answers,
      words,
    });
    expect((await granule(["translate", path])).code).toBe(2);
  });

  it.each([
    ["no manifest", { "manifest.json": "{" }, /manifest\.json: no JSON/],
    ["a stage that is none", { "manifest.json": JSON.stringify({ stage: "el3", phys_base: "0x0" }) }, /stage is/],
    [
      "registers that are none",
      { "manifest.json": JSON.stringify({ stage: "hyp", phys_base: "0x0" }) },
      /tcr is not a hexadecimal value/,
    ],
    ["no image", { "image.bin.gz": undefined }, /image\.bin is missing/],
    ["a damaged image", { "image.bin.gz": "not gzip" }, /image\.bin\.gz/],
    ["no questions", { "results.jsonl.gz": undefined }, /nothing is asked/],
    ["lines that are no JSON", { "results.jsonl.gz": "{" }, /:1: no JSON/],
    ["lines that ask nothing", { "results.jsonl.gz": '{"addr":"12","access":"R"}' }, /addr, access or how/],
  ])("refuses %s", async (name, files, words) => {
    const ended = await granule(["translate", set(name.replaceAll(" ", "-"), files)]);
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toMatch(words);
    expect((await granule(["translate", join(folder, "absent")])).code).toBe(3);
  });
});
