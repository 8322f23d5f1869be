// Which statements of the specification the tests name. What no test of parts A, W, F.1 and F.2 names must stand
// in the list of known gaps with its reason, and what stands there must really be a gap.

import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { GAPS, STATEMENTS } from "./spec-ids.js";

const TEST = new URL("../", import.meta.url);

/** All ids that test files name, with the short form `GEO-1, 2` not understood on purpose: ids are written out. */
function named(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const name of readdirSync(TEST, { recursive: true, encoding: "utf8" })) {
    if (!/\.(test\.)?ts$/.test(name) || name.includes("spec-ids") || name.includes("spec-report")) continue;
    for (const [id] of readFileSync(new URL(name, TEST), "utf8").matchAll(/\b[A-Z][A-Z0-9]{1,4}-\d+[a-z]?\b/g)) {
      const files = found.get(id) ?? [];
      if (files.at(-1) !== name) files.push(name);
      found.set(id, files);
    }
  }
  return found;
}

it("every statement of parts A, W, F.1 and F.2 is named by a test, or is a known gap", () => {
  const by = named();
  const missing = STATEMENTS.filter((id) => !by.has(id));
  console.log(
    `${STATEMENTS.length - missing.length} of ${STATEMENTS.length} statements are named; gaps: ${missing.join(" ")}`,
  );
  expect(missing).toEqual(Object.keys(GAPS));
});

it("every gap has a reason", () => {
  for (const [id, reason] of Object.entries(GAPS)) {
    expect(STATEMENTS).toContain(id);
    expect(reason.length, id).toBeGreaterThan(20);
  }
});
