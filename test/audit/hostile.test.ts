// Any records and any text: no trap, no hang, and an error that says where.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS, createJudge } from "../../bindings/audit/index.js";
import { TraceSyntaxError } from "../../bindings/trace/index.js";
import { DEBUG, judgeLog, logOf, prologue } from "./support.js";

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
  fc.oneof(fc.constantFrom(0, 32768, 32896), fc.nat()),
  fc.oneof(fc.integer({ min: 0, max: 2 }), fc.nat()),
  address,
  value,
  value,
);

describe("the judge", () => {
  it.each([
    ["release", undefined],
    ["debug", DEBUG],
  ])("takes any record: %s", (_name, source) => {
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
  });
});

describe("the reader of logs", () => {
  const good = logOf(prologue(2));

  it("takes a log in pieces of any size, keyed or bare", () => {
    const whole = judgeLog(good);
    const judge = createJudge(CASEMATE_OPTIONS);
    const log = judge.casemate();
    for (const byte of new TextEncoder().encode(good)) log.push(Uint8Array.of(byte));
    log.end();
    expect(judge.finish()).toEqual(whole);
    expect(judgeLog('(mem-init 0 0 1000 1000 "a:1") (mem-write 1 0 plain 1008 ff "a:1")').verdict).toBe("ok");
  });

  it("says what is wrong with text, and never anything else", () => {
    let errors = 0;
    fc.assert(
      fc.property(fc.nat(good.length), fc.string({ maxLength: 12 }), (at, text) => {
        try {
          expect(["ok", "violation"]).toContain(
            judgeLog(good.slice(0, at) + text + good.slice(at + text.length)).verdict,
          );
        } catch (error) {
          expect(error).toBeInstanceOf(TraceSyntaxError);
          errors++;
        }
      }),
      { numRuns: 300 },
    );
    expect(errors).toBeGreaterThan(100);
  });

  it.each([
    ["(lock (id 0) (tid 0) (address 0x1000))", "src|string"],
    ['(lock (id 0) (tid 0) (address 0x1000) (src "a"))', "colon"],
    ['(mem-set (id 0) (tid 0) (address 0) (size 0xfffffffffffffff0) (value 0) (src "a:1"))', "1 GiB"],
    ['(mem-write (id 0) (tid 0) (mem-order plain) (address 0x1) (value 0) (src "a:1"))', "multiple of 8"],
    ['(tlbi (id 0) (tid 0) ripas2e1is (value 0) (src "a:1"))', "vmalls12e1is"],
    ['(barrier (id 0) (tid 0) dsb (kind sy) (src "a:1"))', "ish"],
    ["(lock (id 0)", "rest of the record"],
    // Words that only look alike to a sum over their bytes.
    ['(\0lock (id 0) (tid 0) (address 0x1000) (src "a:1"))', "mem-init"],
    ['(mPck (id 0) (tid 0) (address 0x1000) (src "a:1"))', "mem-init"],
    ["; a comment", "\\("],
  ])("%s", (text, expected) => {
    expect(() => judgeLog(text)).toThrow(new RegExp(`line 1: expected .*(${expected})`));
  });
});
