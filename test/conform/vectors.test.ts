// The set of vectors is whole. The files themselves run in the tests beside this one, a subject each, so that several
// processes share them.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { runVectors } from "../../bindings/conform/run.js";
import { gunzipText } from "../support/fixtures.js";
import { countOperations, FILES, filesOf, OPERATIONS, SUBJECTS, surroundings } from "./shared.js";

describe("the vectors", () => {
  it("are 147 files with 39,992 operations", () => {
    expect(FILES).toHaveLength(147);
    expect(FILES.reduce((sum, file) => sum + countOperations(file), 0)).toBe(OPERATIONS);
  });

  it("belong to one subject each, and each subject has its test file", () => {
    const subjects = Object.keys(SUBJECTS);
    expect(subjects.flatMap(filesOf).sort()).toEqual(FILES);
    for (const subject of subjects) {
      const test = readFileSync(new URL(`${subject}.test.ts`, import.meta.url), "utf8");
      expect(test).toContain(`describeSubject("${subject}")`);
    }
  });

  // A runner that compares nothing would pass everything: change single fields and see them fail.
  it.each([
    ["ret", /"ret":0/, '"ret":-22'],
    ["events", /"tlb_flush_vmid_ipa"/, '"tlb_flush_vmid_ipa_nsh"'],
    ["live", /"live":(\d)/, '"live":9$1'],
    ["pgd_rc", /"pgd_rc":(\d)/, '"pgd_rc":9$1'],
    ["sha256", /"sha256":"(.)/, '"sha256":"x$1'],
    ["warn", /"warn":0/, '"warn":7'],
    ["alloc", /"alloc":(\d)/, '"alloc":8$1'],
  ])("a wrong %s is found", (field, from, to) => {
    const text = gunzipText("vectors/block-to-table-4k-tr0.jsonl.gz", import.meta.url);
    const [head, ...lines] = text.split("\n");
    const at = lines.findIndex((line) => from.test(line));
    lines[at] = (lines[at] as string).replace(from, to);
    const result = runVectors("changed", [head, ...lines].join("\n"), surroundings);
    expect(result.failures.map((f) => f.field)).toContain(field);
    expect(result.failures[0]?.line).toBe(at + 2);
  });
});
