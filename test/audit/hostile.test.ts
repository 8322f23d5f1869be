// Any records and any text: no trap, no hang, and an error that says where.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS, createJudge } from "../../bindings/audit/index.js";
import { BYTES } from "../../bindings/core/bytes.audit.generated.js";
import {
  INPUT_RECORDS,
  MAX_VIOLATIONS,
  O_KNOWN_PAGES,
  VIOLATION_BYTES,
} from "../../bindings/core/constants.generated.js";
import { type AuditCore, compile, fromBase64, instantiateModule } from "../../bindings/core/core.js";
import { CasemateParser } from "../../bindings/trace/casemate.js";
import { TraceSyntaxError } from "../../bindings/trace/index.js";
import { Random, SEED } from "../support/random.js";
import { takeAnyRecord } from "./records.js";
import { judgeLog, logOf, prologue, put, WORDS } from "./support.js";

describe("the judge", () => {
  it("takes any record", () => takeAnyRecord());
});

describe("the judge's memory", () => {
  const PAGE = 65536;
  const PAGES = 64;
  const RECORD_BYTES = 48;
  const RUNS = 30;
  const module = compile(fromBase64(BYTES), "test");
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  const core = instantiateModule<AuditCore>(module, memory, "violationCount");
  const words = new Uint32Array(memory.buffer);
  const log: Uint32Array[] = [];
  const parser = new CasemateParser((records, n) => log.push(records.slice(0, n * WORDS)));
  parser.push(new TextEncoder().encode(logOf([...prologue(2), put(0x3000, 0x8_0000_07ff), put(0x3000, 0)])));
  parser.end();

  /** Judges the log from the start: violations, what is open, and the bytes in use. */
  function judged(meanwhile: (records: number) => void = () => {}): number[] {
    expect(core.initialise(O_KNOWN_PAGES, 64)).toBeTruthy();
    for (const records of log) {
      words.set(records, (core.inputPointer() >>> 0) / 4);
      meanwhile(records.length / WORDS);
      expect(core.judge(records.length / WORDS)).toBe(records.length / WORDS);
    }
    const open = core.finish();
    const first = core.violationPointer() / 4;
    return [core.violationCount(), open, core.used(), ...words.subarray(first, first + VIOLATION_BYTES / 4)];
  }

  it("may hold anything when a judge begins there", () => {
    const fresh = judged();
    expect(fresh.slice(0, 2)).toEqual([1, 1]);
    const random = new Random(SEED);
    for (let run = 0; run < RUNS; run++) {
      // All of it, or single words of what a judge left there.
      if (run % 3 === 0) for (let i = 0; i < words.length; i++) words[i] = random.u32();
      else for (let i = 0; i < 2000; i++) words[random.below(words.length)] = random.u32();
      // The words of the state: whether a judge is there, and how much it says that it has taken.
      if (run % 3 === 2) for (let i = 257; i < 288; i++) words[i] = random.pick([random.u32(), 0, 0xffff_ffff]);
      expect(judged(), `seed ${SEED}, run ${run}`).toEqual(fresh);
    }
  });

  it("may hold anything behind the records that are to be judged, and where violations will be", () => {
    const fresh = judged();
    const random = new Random(SEED);
    for (let run = 0; run < RUNS; run++) {
      const got = judged((n) => {
        const input = core.inputPointer() / 4;
        for (let i = input + n * WORDS; i < input + INPUT_RECORDS * WORDS; i++) words[i] = random.u32();
        const violations = core.violationPointer() / 4;
        for (let i = 0; i < (MAX_VIOLATIONS * VIOLATION_BYTES) / 4; i++) words[violations + i] = random.u32();
      });
      expect(got, `seed ${SEED}, run ${run}`).toEqual(fresh);
    }
  });

  it("has room for so many records, whatever the host says", () => {
    judged();
    words.fill(0, core.inputPointer() / 4, core.inputPointer() / 4 + INPUT_RECORDS * WORDS);
    expect(core.judge(0xffff_ffff)).toBe(INPUT_RECORDS);
  });

  it("has to be large enough, and so have the CPUs to be few enough", () => {
    const end = core.inputPointer() + INPUT_RECORDS * RECORD_BYTES;
    const begins = (pages: number, cpus: number): boolean => {
      const small = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
      const at = instantiateModule<AuditCore>(module, small, "violationCount");
      const ok = Boolean(at.initialise(0, cpus));
      expect(at.used() > end).toBe(ok);
      if (!ok) expect([at.judge(1), at.finish(), at.violationCount()]).toEqual([0, 0, 0]);
      return ok;
    };
    const least = Array.from({ length: PAGES }, (_, i) => i + 1).find((pages) => begins(pages, 1)) as number;
    expect(least * PAGE).toBeGreaterThan(end);
    expect((least - 3) * PAGE).toBeLessThan(end);
    expect([0, 1, 64, 65].map((cpus) => begins(least, cpus))).toEqual([false, true, true, false]);
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
