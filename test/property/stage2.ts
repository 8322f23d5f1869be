// [PROP-1], [PROP-2], [PROP-3], [PROP-5], [PROP-8]: stage-2 sequences against the flat page model [S2-30], references
// after every step [WLK-17], destroy leaves no page. GRANULE_SEED and GRANULE_RUNS choose other seeds, and more.

import { describe, expect, it } from "vitest";
import { Random, runs, SEED } from "../support/random.js";
import { createEngines, type Engines, runSequence } from "./pair.js";
import { randomSequence, type Sequence, shrink } from "./sequence.js";

const RUNS = runs(10400);
const SHIFTS: Readonly<Record<string, number>> = { "4K": 12, "16K": 14, "64K": 16 };
const LOW = 0x8000_0000n;
/** Above 2^48: table descriptors need their upper address bits [FMT-1]. */
const HIGH = 0xf_0000_0000_0000n;

/** Tables of 52-bit configurations lie high, the others low. */
class Arenas {
  #engines = new Map<bigint, Engines>();

  of(sequence: Sequence): Engines {
    const { lpa2, ps } = sequence.config;
    const base = (lpa2 || ps === 16) && sequence.seed % 2 === 0 ? HIGH : LOW;
    const known = this.#engines.get(base);
    if (known) return known;
    const made = createEngines(base);
    this.#engines.set(base, made);
    return made;
  }

  /** A failed sequence may have spoilt its engines. */
  renew(): void {
    this.#engines.clear();
  }
}

function failure(arenas: Arenas, sequence: Sequence): string | undefined {
  try {
    runSequence(arenas.of(sequence), sequence);
    return undefined;
  } catch (error) {
    arenas.renew();
    return error instanceof Error ? error.message : String(error);
  }
}

function report(arenas: Arenas, sequence: Sequence): string {
  const small = shrink(sequence, (s) => failure(arenas, s) !== undefined);
  const lines = small.ops.map((op) => `  ${JSON.stringify(op)}`);
  return [
    `GRANULE_SEED=${sequence.seed} GRANULE_RUNS=1: ${failure(arenas, small)}`,
    JSON.stringify(small.config),
    ...lines,
  ].join("\n");
}

/** The sequences of one granule, a test for each behaviour; a test file for each granule, so that they run at once. */
export function describeGranule(granule: "4K" | "16K" | "64K"): void {
  describe(`stage 2 on ${granule} is a flat page model (S2-30, WLK-17, PROP-1, PROP-2, PROP-3, PROP-8)`, () => {
    const behaviours = [
      ["none", false],
      ["linux-6.12", true],
    ] as const;
    it.each(behaviours)(`random sequences, quirks %s, first seed ${SEED}`, { timeout: 600_000 }, (_, linux) => {
      const arenas = new Arenas();
      for (let i = 0; i < RUNS; i++) {
        const sequence = randomSequence(new Random(SEED + i), SEED + i);
        if (sequence.config.ps !== SHIFTS[granule] || sequence.config.linux !== linux) continue;
        if (failure(arenas, sequence) !== undefined) expect.fail(report(arenas, sequence));
      }
    });
  });
}
