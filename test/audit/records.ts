// Records of any kind and content for the judge.

import fc from "fast-check";
import { expect } from "vitest";
import { CASEMATE_OPTIONS, createJudge } from "../../bindings/audit/index.js";

const KINDS = [
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23, 28, 29, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74,
  75,
];
const PAGES = [0x1_0000_0000n, 0x1_0000_1000n, 0x1_0000_2000n, 0x1_0000_3000n];
const address = fc.oneof(
  fc.tuple(fc.constantFrom(...PAGES), fc.integer({ min: 0, max: 511 })).map(([page, word]) => page + BigInt(word * 8)),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);
const value = fc.oneof(
  fc.tuple(address, fc.constantFrom(0n, 1n, 3n, 0x400n, 0x7ffn)).map(([a, low]) => (a & ~0xfffn) | low),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(0x0001_0000_000c_0100n, 0x0002_0001_2801_010cn, 0x8000_8000_2801_010cn, 1n, 0n),
);
const record = fc.tuple(
  fc.oneof(fc.constantFrom(...KINDS), fc.nat()),
  fc.oneof(fc.integer({ min: -2, max: 12 }), fc.integer()),
  fc.oneof(fc.constantFrom(0, 1024, 1280), fc.nat()),
  fc.oneof(fc.integer({ min: 0, max: 2 }), fc.nat()),
  address,
  value,
  value,
);

/** Any records: no trap, no hang, and a verdict that the violations bear out. */
export function takeAnyRecord(source?: Uint8Array): void {
  let violations = 0;
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 200 }), fc.boolean(), (records, strict) => {
      const judge = createJudge({ ...(strict ? CASEMATE_OPTIONS : {}), maxBytes: 16 << 20 }, source);
      const words = new Uint32Array(records.length * 12);
      const wide = new BigUint64Array(words.buffer);
      for (const [i, [kind, level, table, walker, a, b, c]] of records.entries()) {
        words.set([kind, level, table, walker], i * 12);
        wide.set([a, b, c, BigInt(i)], i * 6 + 2);
      }
      judge.feed(words);
      expect(judge.spent || judge.records === records.length).toBe(true);
      if (judge.spent) return;
      const verdict = judge.finish();
      expect(verdict.verdict === "violation").toBe(verdict.count > 0);
      for (const { kind } of verdict.violations) expect(kind).not.toBe("unknown");
      violations += verdict.count;
    }),
    { numRuns: 400 },
  );
  expect(violations).toBeGreaterThan(0);
}
