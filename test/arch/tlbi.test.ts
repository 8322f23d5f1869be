// TLBI operands in both directions: what is encoded is decoded, and what Arm reserves is no hint.

import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { compileArch, type Pure } from "../support/arch.js";
import { SEED } from "../support/random.js";

let T: Record<string, Pure>;
beforeAll(async () => {
  T = await compileArch("tlbi");
});

const call = (name: string, ...values: (number | bigint | boolean)[]) => (T[name] as Pure)(...values);
const number = (name: string, ...values: (number | bigint | boolean)[]) => Number(call(name, ...values));
const word = (name: string, ...values: (number | bigint | boolean)[]) =>
  BigInt.asUintN(64, BigInt(call(name, ...values)));

const UNKNOWN = K.TTL_UNKNOWN;
const granules = fc.constantFrom(12, 14, 16);
const levels = fc.integer({ min: -1, max: 5 });
const any64 = fc.bigInt(0n, (1n << 64n) - 1n);
const runs = { seed: SEED, numRuns: 500 };

/** Rows of TTL [3:0] and what they mean: the level without and with FEAT_LPA2 (DDI 0487 C5.5). */
const SINGLE: readonly [code: number, ps: number, without: number, lpa2: number][] = [
  [0b0000, 0, UNKNOWN, UNKNOWN],
  [0b0001, 0, UNKNOWN, UNKNOWN],
  [0b0010, 0, UNKNOWN, UNKNOWN],
  [0b0011, 0, UNKNOWN, UNKNOWN],
  [0b0100, 12, UNKNOWN, 0],
  [0b0101, 12, 1, 1],
  [0b0110, 12, 2, 2],
  [0b0111, 12, 3, 3],
  [0b1000, 14, UNKNOWN, UNKNOWN],
  [0b1001, 14, UNKNOWN, 1],
  [0b1010, 14, 2, 2],
  [0b1011, 14, 3, 3],
  [0b1100, 16, UNKNOWN, UNKNOWN],
  [0b1101, 16, 1, 1],
  [0b1110, 16, 2, 2],
  [0b1111, 16, 3, 3],
];

describe("operands by address", () => {
  it.each(SINGLE)("TLB-5: TTL %i names granule 2^%i and level %i, %i with FEAT_LPA2", (code, ps, without, lpa2) => {
    fc.assert(
      fc.property(any64, (rest) => {
        const operand = (rest & ~(15n << 44n)) | (BigInt(code) << 44n);
        expect(number("operandGranule", operand)).toBe(ps);
        expect(number("operandLevel", operand, false)).toBe(without);
        expect(number("operandLevel", operand, true)).toBe(lpa2);
      }),
      { seed: SEED, numRuns: 20 },
    );
  });

  it("TLB-1, TLB-5: address and hint of an IPA operand come back, IPA[51:48] too", () => {
    fc.assert(
      fc.property(granules, fc.bigInt(0n, (1n << 40n) - 1n), levels, fc.boolean(), (ps, page, level, lpa2) => {
        const operand = word("ipaOperand", ps, page << 12n, level);
        expect(word("operandAddress", operand)).toBe(page << 12n);
        expect(operand >> 48n).toBe(0n);
        const least = ps === 14 ? 2 - Number(lpa2) : ps === 12 ? 1 - Number(lpa2) : 1;
        expect(number("operandLevel", operand, lpa2)).toBe(level >= least && level <= 3 ? level : UNKNOWN);
        expect(number("operandGranule", operand)).toBe(level >= 0 && level <= 3 ? ps : 0);
      }),
      runs,
    );
  });

  it("TLB-1: bits of an address that an operand has no place for are dropped", () => {
    expect(word("ipaOperand", 12, 0xfff0_0000_0000_0fffn, UNKNOWN)).toBe(0n);
    expect(word("addressOperand", 0xff00_0000_0000_0fffn)).toBe(0n);
    expect(word("operandAddress", word("addressOperand", 0xffff_8000_1234_5678n))).toBe(0xff_8000_1234_5000n);
  });
});

describe("operands of ranges", () => {
  const ranges = fc.record({
    ps: granules,
    lpa2: fc.boolean(),
    base: fc.bigInt(0n, (1n << 37n) - 1n),
    scale: fc.integer({ min: 0, max: 3 }),
    num: fc.integer({ min: 0, max: 31 }),
    level: levels,
  });

  it("TLB-7: base, size, granule and hint come back", () => {
    fc.assert(
      fc.property(ranges, ({ ps, lpa2, base, scale, num, level }) => {
        const unit = BigInt(lpa2 ? 16 : ps);
        const operand = word("rangeOperand", ps, base << unit, scale, num, level, lpa2);
        const pages = BigInt(num + 1) << BigInt(5 * scale + 1);
        expect(operand >> 48n).toBe(0n);
        expect(number("operandGranule", operand)).toBe(ps);
        expect(word("rangeAddress", operand, lpa2, false)).toBe(base << unit);
        expect(word("rangeAddress", operand, lpa2, true)).toBe(BigInt.asUintN(64, BigInt.asIntN(37, base) << unit));
        expect(word("rangeBytes", operand)).toBe(pages << BigInt(ps));
        const reserved = ps === 14 && level === 1 && !lpa2;
        expect(number("rangeLevel", operand, lpa2)).toBe(level >= 1 && level <= 3 && !reserved ? level : UNKNOWN);
      }),
      runs,
    );
  });

  it("TLB-7: a range's TTL 0 is no hint in any granule, with FEAT_LPA2 or without", () => {
    for (const tg of [1n, 2n, 3n]) {
      for (const lpa2 of [false, true]) expect(number("rangeLevel", (tg << 46n) | (1n << 39n), lpa2)).toBe(UNKNOWN);
    }
  });

  it("TLB-8: NUM of a scale covers no more than the pages that are left, and all but less than one unit of them", () => {
    fc.assert(
      fc.property(fc.bigInt(1n, 1n << 21n), fc.integer({ min: 0, max: 3 }), (pages, scale) => {
        const num = number("rangeNum", pages, scale),
          unit = 1n << BigInt(5 * scale + 1);
        if (num < 0) {
          expect(pages).toBeLessThan(unit);
          return;
        }
        const covered = word("rangePages", num, scale);
        expect(num).toBeLessThan(32);
        expect(covered).toBeLessThanOrEqual(pages);
        if (num < 31) expect(pages - covered).toBeLessThan(unit);
      }),
      runs,
    );
  });

  it("TLB-5: granule codes are each other's inverse, and code 0 is none", () => {
    for (const ps of [12, 14, 16]) expect(number("codeGranule", number("granuleCode", ps))).toBe(ps);
    expect(number("codeGranule", 0)).toBe(0);
  });
});
