// [PROP-1], [PROP-2], [PROP-3], [PROP-5], [PROP-8]: stage-2 sequences against the flat page model [S2-30], references
// after every step [WLK-17], destroy leaves no page. GRANULE_SEED and GRANULE_RUNS choose other seeds, and more.

import { describe, expect, it } from "vitest";
import { Random, runs, SEED } from "../support/random.js";
import { createEngines, type Engines, runSequence } from "./pair.js";
import { randomSequence, type Sequence, shrink } from "./sequence.js";

const RUNS = runs(10400);
/** Test files that share the runs, so that they go to several processes; and tests in each. */
const FILES = 2;
const TESTS = 4;
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

/** The sequences whose number is `file` modulo the files. */
export function describeFile(file: number): void {
  describe(`stage 2 is a flat page model (S2-30, WLK-17, PROP-1, PROP-2, PROP-3, PROP-8), first seed ${SEED}`, () => {
    it.each([0, 1, 2, 3].slice(0, TESTS))("random sequences, part %i", { timeout: 600_000 }, (part) => {
      const arenas = new Arenas();
      for (let i = file + part * FILES; i < RUNS; i += FILES * TESTS) {
        const sequence = randomSequence(new Random(SEED + i), SEED + i);
        if (failure(arenas, sequence) !== undefined) expect.fail(report(arenas, sequence));
      }
    });
  });
}
