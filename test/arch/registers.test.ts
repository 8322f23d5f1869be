// Registers in both directions: codes, fields, start tables, and one range of two.

import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { compileArch, type Pure } from "../support/arch.js";
import { SEED } from "../support/random.js";

let control: Record<string, Pure>;
let registers: Record<string, Pure>;
beforeAll(async () => {
  control = await compileArch("control");
  registers = await compileArch("registers");
});

type Value = number | bigint | boolean;
const number = (of: Record<string, Pure>, name: string, ...values: Value[]) => Number((of[name] as Pure)(...values));
const word = (of: Record<string, Pure>, name: string, ...values: Value[]) =>
  BigInt.asUintN(64, BigInt((of[name] as Pure)(...values)));
const field = (value: bigint, high: number, low: number) =>
  (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);

const granules = fc.constantFrom(12, 14, 16);
const any64 = fc.bigInt(0n, (1n << 64n) - 1n);
const runs = { seed: SEED, numRuns: 500 };

describe("codes", () => {
  it("REG-3: PARange codes 0..6 are 32 36 40 42 44 48 52 bits, reserved ones 52", () => {
    const bits = [0, 1, 2, 3, 4, 5, 6, 7, 15].map((code) => number(registers, "paRangeBits", code));
    expect(bits).toEqual([32, 36, 40, 42, 44, 48, 52, 52, 52]);
  });

  it("REG-1: TG0 is 4K 0, 64K 1, 16K 2; TG1 is 16K 1, 4K 2, 64K 3", () => {
    expect([0, 1, 2, 3].map((code) => number(registers, "tg0Granule", code))).toEqual([12, 16, 14, 0]);
    expect([0, 1, 2, 3].map((code) => number(registers, "tg1Granule", code))).toEqual([0, 14, 12, 16]);
    for (const ps of [12, 14, 16, 0]) {
      expect(number(registers, "tg0Granule", number(registers, "tg0", ps))).toBe(ps);
    }
  });
});

describe("VTCR_EL2", () => {
  it("REG-1, REG-2: input size, granule and start level come back, for KVM and for the hardware", () => {
    fc.assert(
      fc.property(granules, fc.integer({ min: 32, max: 48 }), fc.boolean(), fc.boolean(), (ps, bits, vmid16, af) => {
        const mmfr1 = vmid16 ? 0x20n : 0n;
        const v = word(control, "vtcr", ps, bits, 5n, mmfr1, false, false, af);
        const levels = Math.max(2, Math.floor((bits - 8) / (ps - 3)));
        expect(number(control, "vtcrIpaBits", v)).toBe(bits);
        expect(number(control, "vtcrGranule", v)).toBe(ps);
        expect(number(control, "vtcrStartLevel", ps, v)).toBe(4 - levels);
        expect(number(control, "stage2Start", ps, v, 48)).toBe(4 - levels);
        expect([field(v, 19, 19), field(v, 21, 21), field(v, 31, 31)]).toEqual([vmid16 ? 1n : 0n, af ? 1n : 0n, 1n]);
      }),
      runs,
    );
  });

  // SL0, SL2, DS, bits of PA -> start level; -128 none (AArch64.S2InvalidSL).
  const NONE = -128;
  it.each([
    [12, 0, 0, 0, 48, 2],
    [12, 1, 0, 0, 48, 1],
    [12, 2, 0, 0, 48, 0],
    [12, 2, 0, 0, 42, NONE],
    [12, 2, 0, 0, 44, 0],
    [12, 3, 0, 0, 48, 3],
    [12, 0, 1, 1, 52, -1],
    [12, 1, 1, 1, 52, NONE],
    [12, 1, 1, 0, 52, 1],
    [14, 0, 0, 0, 48, 3],
    [14, 1, 0, 0, 48, 2],
    [14, 2, 0, 0, 40, NONE],
    [14, 2, 0, 0, 42, 1],
    [14, 3, 0, 0, 52, NONE],
    [14, 3, 0, 1, 52, 0],
    [16, 1, 0, 0, 48, 2],
    [16, 2, 0, 0, 42, NONE],
    [16, 2, 0, 0, 44, 1],
    [16, 3, 0, 1, 52, NONE],
  ])("HWM-15: granule 2^%i, SL0 %i, SL2 %i, DS %i, %i bits of PA start at level %i", (ps, sl0, sl2, ds, pa, level) => {
    const v = (BigInt(sl0) << 6n) | (BigInt(sl2) << 33n) | (BigInt(ds) << 32n);
    expect(number(control, "stage2Start", ps, v, pa)).toBe(level);
  });
});

describe("TTBRs", () => {
  it("REG-8: address, VMID and CnP come back, addresses of 52 bits too", () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, (1n << 46n) - 1n),
        fc.integer({ min: 0, max: 0xffff }),
        fc.boolean(),
        fc.integer({ min: 6, max: 20 }),
        (units, vmid, cnp, bits) => {
          const pa = ((units << 6n) >> BigInt(bits)) << BigInt(bits);
          const v = word(control, "vttbr", pa, vmid, cnp);
          expect(word(control, "ttbrAddress", v, bits, true)).toBe(pa);
          expect(word(control, "ttbrAddress", v, bits, false)).toBe(BigInt.asUintN(48, pa));
          expect(number(control, "ttbrId", v, true)).toBe(vmid);
          expect(number(control, "ttbrId", v, false)).toBe(vmid & 0xff);
          expect(v & 1n).toBe(cnp ? 1n : 0n);
        },
      ),
      runs,
    );
  });

  it("REG-8: start tables are aligned to their size, and to 64 bytes with addresses of 52 bits", () => {
    expect(word(control, "ttbrAddress", 0xffff_ffff_fff8n, 3, false)).toBe(0xffff_ffff_fff8n);
    expect(word(control, "ttbrAddress", 0xffff_ffff_fff8n, 3, true)).toBe(0xe_ffff_ffff_ffc0n);
  });
});

describe("one range of two", () => {
  it("REG-9: each half of a TCR_EL1 is laid out as a TCR_EL2", () => {
    fc.assert(
      fc.property(any64, fc.boolean(), (tcr, high) => {
        const half = word(control, "tcrHalf", tcr, high),
          at = high ? 16 : 0,
          flag = high ? 1 : 0;
        const granule = number(registers, high ? "tg1Granule" : "tg0Granule", Number(field(tcr, 15 + at, 14 + at)));
        expect(number(control, "vtcrGranule", half)).toBe(granule);
        // T0SZ, IRGN0, ORGN0, SH0; PS; HA, HD, DS; HPD, TBI, TBID.
        expect([field(half, 5, 0), field(half, 13, 8)]).toEqual([field(tcr, 5 + at, at), field(tcr, 13 + at, 8 + at)]);
        expect(field(half, 18, 16)).toBe(field(tcr, 34, 32));
        expect([21, 22, 32].map((b) => field(half, b, b))).toEqual([39, 40, 59].map((b) => field(tcr, b, b)));
        expect([24, 20, 29].map((b) => field(half, b, b))).toEqual(
          [41, 37, 51].map((b) => field(tcr, b + flag, b + flag)),
        );
        // Nothing else but RES1: EPDn, A1, AS and E0PDn have no place there.
        expect(field(half, 7, 6)).toBe(0n);
        expect(half & ~0x1_a1f7_ff3fn & ~(1n << 23n)).toBe(0n);
      }),
      runs,
    );
  });

  it("REG-9: a lower half made by tcrEl2 comes back", () => {
    fc.assert(
      fc.property(
        granules,
        fc.integer({ min: 16, max: 52 }),
        fc.integer({ min: 0, max: 6 }),
        fc.boolean(),
        (ps, bits, code, lpa2) => {
          const single = word(control, "tcrEl2", ps, bits, code, lpa2);
          const two = field(single, 15, 0) | (field(single, 18, 16) << 32n) | (field(single, 32, 32) << 59n);
          expect(word(control, "tcrHalf", two, false)).toBe(single);
        },
      ),
      runs,
    );
  });
});
