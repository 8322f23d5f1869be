// The recorded operations of Linux 6.12.117 (vectors/, as they were handed over), file by file.

import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Hash } from "../../bindings/conform/digest.js";
import { type FileResult, runVectors } from "../../bindings/conform/run.js";
import { createEngine } from "../../bindings/index.js";
import { gunzipText } from "../support/fixtures.js";

const FOLDER = new URL("vectors/", import.meta.url);

/** All files, by name. */
export const FILES: readonly string[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".jsonl.gz"))
  .sort();
/** Operations of all files. */
export const OPERATIONS = 39992;

export const surroundings = {
  createEngine,
  createHash: (): Hash => createHash("sha256"),
};

export function runFile(file: string): FileResult {
  return runVectors(file, gunzipText(`vectors/${file}`, import.meta.url), surroundings);
}

/** Operations of a file: its lines without header and dumps. */
export function countOperations(file: string): number {
  const lines = gunzipText(`vectors/${file}`, import.meta.url)
    .split("\n")
    .slice(1);
  return lines.filter((line) => line.startsWith("{") && "op" in (JSON.parse(line) as object)).length;
}

/** The files whose index is `part` modulo `parts`, each a test: results, events, counts, references and dumps alike. */
export function describePart(part: number, parts: number): void {
  describe(`pgtable-vectors/1, part ${part + 1} of ${parts}`, () => {
    it.each(FILES.filter((_, i) => i % parts === part))("%s", { timeout: 120_000 }, (file) => {
      const result = runFile(file);
      expect(result.failures.slice(0, 3)).toEqual([]);
      expect(result.failed).toBe(0);
      expect(result.passed).toBe(result.ops);
      expect(result.ops).toBeGreaterThan(0);
    });
  });
}
