// Decoded descriptors compared with the core: every field, every address, and the ambiguity of bits 1:0.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEngine } from "../../bindings/index.js";
import { type ExplainOptions, explain, type Reading } from "../../bindings/report/explain.js";
import { draw } from "../../bindings/report/fields.js";

const only = (descriptor: bigint, options: ExplainOptions = {}): Reading => {
  const readings = explain(descriptor, options);
  expect(readings).toHaveLength(1);
  return readings[0] as Reading;
};

describe("explain", () => {
  it("reads the examples of docs/spec [FMT-31]", () => {
    expect(only(0x0040_0000_4000_07ffn, { level: 3 }).summary).toBe(
      "A 4K page at 0x40000000: read and write, not executable, Normal write-back, accessed.",
    );
    expect(only(0x0040_0000_4000_07dbn, { level: 3, fwb: true }).summary).toContain("Normal write-back, accessed");
    expect(only(0x0040_0000_4000_077dn, { level: 2 }).summary).toMatch(
      /^A block of 2M at 0x40000000: read only, not exec/,
    );
  });

  it("gives both readings of bits 11 without a level, the likelier first", () => {
    expect(explain(0x0040_0000_4000_07ffn).map((r) => r.kind)).toEqual(["page", "table"]);
    expect(explain(0x4000_0003n).map((r) => r.kind)).toEqual(["table", "page"]);
    expect(explain(0x4000_0303n, { lpa2: true }).map((r) => r.kind)).toEqual(["table", "page"]);
  });

  it.each([
    [0n, "empty"],
    [0x400n, "locked"],
    [4n, "annotation"],
    [1n << 60n, "locked"],
    [(2n << 60n) | 0x10n, "annotation"],
  ] as const)("%s is %s", (descriptor, kind) => {
    expect(only(descriptor).kind).toBe(kind);
  });

  it("calls type 0 at level 3 reserved [FMT-5], and larger blocks than KVM makes by name [GEO-3]", () => {
    expect(only(0x4000_0001n, { level: 3 }).kind).toBe("reserved");
    expect(only(0x1n, { level: 0 }).notes.join()).toContain("GEO-3");
  });

  it("tells FEAT_XNX's four cases [FMT-25]", () => {
    const execute = [0n, 1n, 2n, 3n].map((xn) => only((xn << 53n) | 3n, { level: 3, xnx: true }).summary);
    expect(execute.map((s) => s.split(", ")[1])).toEqual([
      "executable at EL1 and EL0",
      "executable at EL0 only",
      "not executable",
      "executable at EL1 only",
    ]);
  });

  it("tells hVHE's permissions from nVHE's [FMT-11]", () => {
    expect(only(0x703n, { stage: "hyp", level: 3 }).summary).toContain("read and write");
    expect(only(0x783n, { stage: "hyp", level: 3, hvhe: true }).summary).toContain("read only");
    expect(only(0x743n, { stage: "hyp", level: 3, hvhe: true }).summary).toContain("EL0 too");
  });
});

describe("explain, asked wrongly", () => {
  it.each([
    [1n << 64n, {}, "the descriptor is 18446744073709551616n: a bigint of 64 bits"],
    [-1n, {}, "the descriptor is -1n"],
    [7, {}, "the descriptor is 7: a bigint"],
    [7n, { stage: "1" }, 'stage is "1"'],
    [7n, { granule: 8192 }, "granule is 8192: one of 4096, 16384, 65536"],
    [7n, { level: 4 }, "level is 4: one of -1, 0, 1, 2, 3"],
    [7n, { levels: 3 }, "unknown option levels, did you mean level?"],
    [7n, { lpa2: 1 }, "the option lpa2 is 1: give true or false"],
    [7n, null, "the options are null"],
  ])("refuses %o, %o", (descriptor, options, words) => {
    expect(() => explain(descriptor as bigint, options as object)).toThrow(words);
  });
});

describe("stage 1 of EL1&0", () => {
  const read = (d: bigint) => only(d, { stage: "el1", level: 3 });
  const meaning = (d: bigint, name: string) => read(d).fields.find((f) => f.name === name)?.meaning;

  it("tells what a process may do from what the kernel may", () => {
    const page = 0x0060_0000_8123_4f03n;
    const access = [0n, 1n, 2n, 3n].map((ap) => read(page | (ap << 6n)).summary.replace(/^[^:]*: |, not exec.*/g, ""));
    expect(access).toEqual([
      "read and write for EL1, nothing for EL0",
      "read and write for EL1 and EL0",
      "read only for EL1, nothing for EL0",
      "read only for EL1 and EL0",
    ]);
  });

  it("joins UXN and PXN, and lets EL1 run nothing that EL0 may write", () => {
    const execute = (d: bigint) => /(not executable|executable at [^,]*)/.exec(read(d).summary)?.[0];
    expect(execute(0x0000_0000_8123_4fc3n)).toBe("executable at EL1 and EL0");
    expect(execute(0x0020_0000_8123_4fc3n)).toBe("executable at EL0 only");
    expect(execute(0x0040_0000_8123_4fc3n)).toBe("executable at EL1 only");
    expect(execute(0x0060_0000_8123_4fc3n)).toBe("not executable");
    expect(execute(0x0000_0000_8123_4f43n)).toBe("executable at EL0 only");
    expect(read(0x0000_0000_8123_4f43n).notes.join()).toContain("EL0 may write it");
  });

  it("names Linux's bits, and dirty state", () => {
    expect(meaning(0x01e8_0000_8123_4f43n, "SW")).toMatch(/^software bits: dirty, special /);
    expect(meaning(0x00e8_0000_8123_4f43n, "nG")).toBe("belongs to one address space only");
    expect(read(0x0068_0000_8123_4fc3n).notes.join()).toContain("Clean but writable");
    expect(read(0x00e8_0000_8123_4f43n).notes.join()).not.toContain("Clean but writable");
  });

  it("tells the limits of a table, and leaves what is not valid to software", () => {
    const [table] = explain((1n << 61n) | (1n << 59n) | 0x4000_0003n, { stage: "el1", level: 1 });
    const fields = Object.fromEntries(table?.fields.map((f) => [f.name, f.meaning]) ?? []);
    expect(fields).toMatchObject({ APT: "nothing below is for EL0", PXNT: "nothing below is executable at EL1" });
    expect(fields.UXNT).toBe("no limit on EL0 execution below");
    expect(only(0x1234n, { stage: "el1" })).toMatchObject({ kind: "invalid", levels: "any" });
    expect(only(0n, { stage: "el1" }).kind).toBe("empty");
  });

  it("is suggested where stage 2 has no such bit", () => {
    expect(only(0x00e8_0000_8123_4f43n, { level: 3 }).notes.join()).toContain("--stage el1");
    expect(only(0x0040_0000_4000_07ffn, { level: 3 }).notes.join()).not.toContain("--stage el1");
  });
});

const word = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const options = fc.record({
  stage: fc.constantFrom("2" as const, "hyp" as const, "el1" as const),
  granule: fc.constantFrom(4096 as const, 16384 as const, 65536 as const),
  lpa2: fc.boolean(),
  hvhe: fc.boolean(),
  xnx: fc.boolean(),
});
const level = fc.constantFrom(undefined, -1, 0, 1, 2, 3);

describe("any descriptor", () => {
  it("is cut into fields that give all 64 bits back, each with words", () => {
    fc.assert(
      fc.property(word, options, level, (descriptor, o, l) => {
        for (const { fields, summary } of explain(descriptor, l === undefined ? o : { ...o, level: l })) {
          expect(fields.reduce((sum, f) => sum | (f.value << BigInt(f.low)), 0n)).toBe(descriptor);
          expect(fields.reduce((sum, f) => sum + f.high - f.low + 1, 0)).toBe(64);
          expect(fields.every((f) => f.high >= f.low)).toBe(true);
          expect(fields.every((f) => f.meaning !== "" && !f.meaning.includes("undefined"))).toBe(true);
          expect(summary).not.toContain("undefined");
          expect(
            new Set(
              draw(fields)
                .slice(1)
                .map((line) => line.length),
            ).size,
          ).toBe(1);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("points where the core says [FMT-1, FMT-2]", () => {
    using engine = createEngine();
    fc.assert(
      fc.property(word, options, (descriptor, o) => {
        const lpa2 = o.lpa2 && o.granule !== 65536;
        const pa = engine.core.outputAddress(Math.log2(o.granule), lpa2 ? 1 : 0, descriptor | 3n);
        expect(only(descriptor | 3n, { ...o, lpa2, level: 3 }).pa).toBe(BigInt.asUintN(64, pa));
      }),
      { numRuns: 1000 },
    );
  });
});
