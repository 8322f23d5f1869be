// Lines of a vectors file as an attacker would write them: VectorSyntaxError or a result, nothing else.

import { describe, expect, it } from "vitest";
import { VectorSyntaxError } from "../../bindings/conform/format.js";
import { runVectors } from "../../bindings/conform/run.js";
import { FILES, surroundings } from "../conform/shared.js";
import { gunzipText } from "../support/fixtures.js";
import { Random, runs, SEED } from "../support/random.js";

const RUNS = runs(400);
const VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1,
  4096,
  2 ** 31,
  2 ** 53,
  1e300,
  -0.5,
  "",
  "0x",
  "0x0",
  "0xffffffffffffffff",
  "0x10000000000000000",
  "R",
  [],
  ["R"],
  ["R", "R", "Q"],
  {},
  { below: "0x0" },
  { below: 1 },
  "hyp",
  "stage2",
  "walk",
  "map",
  "destroy",
  [[]],
  ["LEAF", "SHARED"],
];

const text = gunzipText(`../conform/vectors/${FILES.find((f) => f.startsWith("enomem-4k"))}`, import.meta.url)
  .split("\n")
  .slice(0, 12);
const hyp = gunzipText("../conform/vectors/hyp-map-4k-va39.jsonl.gz", import.meta.url)
  .split("\n")
  .slice(0, 12);

/** Changes a field, a character, or the order of lines. */
function spoil(lines: readonly string[], random: Random): string {
  const out = [...lines].slice(0, 2 + random.below(8));
  for (let i = 0; i < 1 + random.below(3); i++) {
    const at = random.below(out.length),
      line = out[at] as string;
    if (random.oneIn(3)) {
      const cut = random.below(line.length);
      out[at] = line.slice(0, cut) + String.fromCharCode(32 + random.below(95)) + line.slice(cut + random.below(3));
    } else {
      out[at] = changeField(line, random);
    }
  }
  return out.join("\n");
}

function changeField(line: string, random: Random): string {
  let object: Record<string, unknown>;
  try {
    object = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const key = random.pick([...Object.keys(object), "op", "level", "mc"]);
  if (random.oneIn(4)) delete object[key];
  else object[key] = random.pick(VALUES);
  return JSON.stringify(object);
}

describe(`hostile vectors, first seed ${SEED}`, () => {
  it("spoilt lines are syntax errors or results", { timeout: 120_000 }, () => {
    let errors = 0;
    for (let seed = SEED; seed < SEED + RUNS; seed++) {
      const random = new Random(seed);
      const spoilt = spoil(random.oneIn(2) ? text : hyp, random);
      try {
        runVectors("spoilt", spoilt, { ...surroundings, arenaBytes: 4 << 20 });
      } catch (error) {
        if (!(error instanceof VectorSyntaxError))
          throw new Error(`seed ${seed}: ${String(error)}\n${spoilt.slice(0, 600)}`, { cause: error });
        errors++;
      }
    }
    expect(errors).toBeGreaterThan(RUNS / 4);
  });

  it.each([
    ["", 1],
    ["[]", 1],
    ["7", 1],
    ["{", 1],
    [text[0], 0],
    [`${text[0]}\n\n`, 2],
    [`${text[0]}\n{"op":"frobnicate"}`, 2],
    [`${text[0]}\n{"op":"hyp_map"}`, 2],
    [`${text[0]}\n{"op":"constructor"}`, 2],
    [`${text[0]}\n{"op":"__proto__"}`, 2],
  ])("%j", (lines, line) => {
    try {
      runVectors("bad", lines as string, { ...surroundings, arenaBytes: 4 << 20 });
      expect(line).toBe(0);
    } catch (error) {
      expect(error).toBeInstanceOf(VectorSyntaxError);
      expect((error as VectorSyntaxError).line).toBe(line);
    }
  });
});
