// Any records and any text: no trap, no hang, and an error that says where.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS, createJudge } from "../../bindings/audit/index.js";
import { TraceSyntaxError } from "../../bindings/trace/index.js";
import { takeAnyRecord } from "./records.js";
import { judgeLog, logOf, prologue } from "./support.js";

describe("the judge", () => {
  it("takes any record", () => takeAnyRecord());
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
