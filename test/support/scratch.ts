// Folders that a test writes into: the only ones that tests make in the temporary directory, each with its removal.

import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";

/** A folder that goes away with `using`. */
export class Scratch implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), "granule-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/**
 * A folder for the tests of a file, or of a `describe`: it is made before the first of them, and goes after the last. Where all
 * of them are skipped it is never made. Call this while tests are collected.
 */
export function scratchFolder(): string {
  const path = join(tmpdir(), `granule-${randomUUID()}`);
  beforeAll(() => void mkdirSync(path));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
