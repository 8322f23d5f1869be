// The recorded operations of Linux 6.12.117 (vectors/), file by file.

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

/** What the files are about, by the first words of their names: a test file for each subject. */
export const SUBJECTS: Readonly<Record<string, readonly string[]>> = {
  geometry: ["concat", "geometry", "lifecycle", "limits", "oa52", "phys-limit", "rounding"],
  map: ["enomem", "force-pte", "idmap", "large", "map-levels", "no-cmo-hooks", "odd-entries", "owner", "remap"],
  blocks: ["block-to-table", "split", "table-to-block", "unlinked"],
  unmap: ["flush", "tlb-range", "unmap"],
  attributes: ["prots", "pte-prot", "relax", "wrprotect", "young"],
  walk: ["locked", "walk"],
  hyp: ["hyp", "random-hyp"],
  "random-4k": ["random-4k"],
  "random-16k": ["random-16k"],
  "random-64k": ["random-64k"],
};

/** The files of a subject. */
export function filesOf(subject: string): readonly string[] {
  return FILES.filter((file) => SUBJECTS[subject]?.some((words) => file.startsWith(`${words}-`)));
}

/** Each file of a subject is a test: results, events, counts, references and dumps alike. */
export function describeSubject(subject: string): void {
  describe(`recorded operations: ${subject}`, () => {
    it.each(filesOf(subject))("%s", { timeout: 120_000 }, (file) => {
      const result = runFile(file);
      expect(result.failures.slice(0, 3)).toEqual([]);
      expect(result.failed).toBe(0);
      expect(result.passed).toBe(result.ops);
      expect(result.ops).toBeGreaterThan(0);
    });
  });
}
