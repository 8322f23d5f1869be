import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  inferNumbering,
  numberingOfKernel,
  protectionDecoder,
  protectionFromLinux6,
  protectionFromLinux7,
} from "../../bindings/trace/index.js";

describe("protections", () => {
  it.each([
    [0x4, 0b00100],
    [0x5, 0b00101],
    [0x6, 0b00110],
    [0x7, 0b00111],
    [0xe, 0b01110],
    [0x16, 0b10110],
    [(1n << 55n) | 6n, 0x106],
    [(0xfn << 55n) | 7n, 0xf07],
  ])("6.x %s", (prot, mask) => {
    expect(protectionFromLinux6(prot)).toBe(mask);
  });

  it.each([
    [0x8, 0b00100],
    [0xb, 0b00101],
    [0xc, 0b00110],
    [0xf, 0b00111],
    [0x9, 0b0100100],
    [0xa, 0b1000100],
    [0x1c, 0b01110],
    [0x2c, 0b10110],
    [(1n << 58n) | 8n, 0x804],
  ])("7.x %s", (prot, mask) => {
    expect(protectionFromLinux7(prot)).toBe(mask);
  });

  it.each([32, 2 ** 20, 2 ** 54, -1, 1.5, 1n << 59n, -1n])("6.x refuses %s", (prot) => {
    expect(() => protectionFromLinux6(prot)).toThrow(RangeError);
  });

  it("the two numberings agree on every mask that both can say", () => {
    fc.assert(
      fc.property(fc.nat(31), (prot) => {
        const moved = (prot & 1) * 3 + ((prot >> 1) << 2);
        expect(protectionDecoder("7.x")(moved)).toBe(protectionDecoder("6.x")(prot));
      }),
    );
  });

  it("the kernel's release tells the numbering", () => {
    expect(numberingOfKernel("6.12.95+deb12-arm64")).toBe("6.x");
    expect(numberingOfKernel("Linux (none) 7.2.13 #1 SMP aarch64")).toBe("7.x");
    expect(numberingOfKernel("unknown")).toBeUndefined();
  });

  it("so do the protections, unless they could be either or contradict", () => {
    expect(inferNumbering([4, 5, 6, 7])).toBe("6.x");
    expect(inferNumbering([8, 0xb, 0xc, 0xf])).toBe("7.x");
    expect(inferNumbering([0xc])).toBeUndefined();
    expect(inferNumbering([4, 8])).toBeUndefined();
    expect(inferNumbering([])).toBeUndefined();
  });
});
