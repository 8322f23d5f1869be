// More operations recorded from the same kernel: cases that no file of the set has.

import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { runVectors } from "../../bindings/conform/run.js";
import { gunzipText } from "../support/fixtures.js";
import { surroundings } from "./shared.js";

const FILES = readdirSync(new URL("beside/", import.meta.url)).sort();

it.each(FILES)("%s", (file) => {
  const result = runVectors(file, gunzipText(`beside/${file}`, import.meta.url), surroundings);
  expect(result.failures).toEqual([]);
  expect(result.passed).toBeGreaterThan(0);
});
