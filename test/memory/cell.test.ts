// Runs of descriptors, which the core handles several at a time: each against a plain loop over the same words, for every
// length and alignment at which the vectors and the rest of a run meet.

import { describe, expect, it } from "vitest";
import { Random, SEED } from "../support/random.js";
import { cells } from "./compiled.js";

const { core, u64, u32 } = cells();
const AT = 4096;
const random = new Random(SEED);

/** Descriptors as tables hold them: valid, zero, and software state; `kinds` of these. */
function descriptor(kinds: number): bigint {
  const kind = random.below(kinds);
  if (kind === 0) return random.u64() | 1n;
  return kind === 1 ? 0n : random.u64() & ~1n;
}

/** Runs of every length up to 40, at every place in a line, with a word before and behind that must stay. */
function everyRun(kinds: number, check: (p: number, end: number, words: bigint[]) => bigint[]): void {
  for (let length = 0; length <= 40; length++) {
    for (let skip = 0; skip < 8; skip++) {
      const first = AT / 8 + skip;
      const words = Array.from({ length }, () => descriptor(kinds));
      const [before, behind] = [random.u64(), random.u64()];
      u64[first - 1] = before;
      for (const [i, word] of words.entries()) u64[first + i] = word;
      u64[first + length] = behind;
      const expected = check(first * 8, (first + length) * 8, words);
      const found = [...u64.slice(first - 1, first + length + 1)];
      expect(found, `seed ${SEED}: ${length} descriptors`).toEqual([before, ...expected, behind]);
    }
  }
}

const isValid = (word: bigint) => (word & 1n) === 1n;

describe("a run of descriptors", () => {
  it("is changed where it is valid: clear, then set", () => {
    everyRun(3, (p, end, words) => {
      const [clear, set] = [random.u64() & ~1n, random.u64() & ~1n];
      core.updateValid(p, end, clear, set);
      return words.map((word) => (isValid(word) ? (word & ~clear) | set : word));
    });
  });

  it.each([0, 1])("is asked for a flag of valid descriptors, and with %i cleared of it", (clear) => {
    for (const at of [10, 51, 63]) {
      const flag = 1n << BigInt(at);
      everyRun(3, (p, end, words) => {
        const lone = random.below(words.length + 1);
        // Mostly one descriptor has the flag, so that each place is the one that counts.
        const sparse = words.map((word, i) => (i === lone ? word | flag : word & ~flag));
        for (const [i, word] of sparse.entries()) u64[p / 8 + i] = word;
        expect(core.testClear(p, end, at, clear)).toBe(
          Number(sparse.some((word) => isValid(word) && (word & flag) !== 0n)),
        );
        return sparse.map((word) => (clear && isValid(word) ? word & ~flag : word));
      });
    }
  });

  it("is counted: the valid ones", () => {
    everyRun(3, (p, end, words) => {
      expect(core.countValid(p, end)).toBe(words.filter(isValid).length);
      return words;
    });
  });

  it("is counted up to software state, with the place where that is", () => {
    for (const kinds of [2, 3]) {
      everyRun(kinds, (p, end, words) => {
        const stop = words.findIndex((word) => word !== 0n && !isValid(word));
        const seen = stop < 0 ? words : words.slice(0, stop);
        const where = stop < 0 ? end : p + stop * 8;
        const found = core.countMapped(p, end);
        expect([Number(BigInt.asUintN(64, found) >> 32n), Number(found & 0xffff_ffffn)]).toEqual([
          where,
          seen.filter(isValid).length,
        ]);
        return words;
      });
    }
  });

  it("of holes is filled with rising values, up to the first that is none", () => {
    everyRun(2, (p, end, words) => {
      const full = random.below(words.length * 2 + 1);
      const holes = words.map((_, i) => (i === full ? 5n : 0n));
      for (const [i, word] of holes.entries()) u64[p / 8 + i] = word;
      const [value, step] = [random.u64() >> 1n, BigInt(1 + random.below(2 ** 30)) << 12n];
      const stop = full < words.length ? full : words.length;
      expect(core.fillHoles(p, end, value, step)).toBe(p + stop * 8);
      return holes.map((hole, i) => (i < stop ? BigInt.asUintN(64, value + BigInt(i) * step) : hole));
    });
  });

  it("is cleared", () => {
    everyRun(3, (p, end, words) => {
      core.clearRun(p, end);
      return words.map(() => 0n);
    });
  });
});

describe("a run of times of use", () => {
  it("has a least one that has passed since, however the clock has wrapped", () => {
    for (let length = 0; length <= 40; length++) {
      for (let trial = 0; trial < 20; trial++) {
        const now = random.u32();
        const since = Array.from({ length }, () => random.below(2 ** 31));
        const first = AT / 4 + random.below(4);
        // Around it lies what would be less.
        for (const i of [-1, length]) u32[first + i] = now;
        for (const [i, ago] of since.entries()) u32[first + i] = now - ago;
        const found = core.leastSince(first * 4, (first + length) * 4, now) >>> 0;
        expect(found, `seed ${SEED}: ${length} words`).toBe(Math.min(0xffff_ffff, ...since));
      }
    }
  });
});
