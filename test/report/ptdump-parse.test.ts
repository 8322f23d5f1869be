// ptdump text read back: real kernels' files and random tables come out as they went in; what is no dump is refused.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEngine } from "../../bindings/index.js";
import { diffTables } from "../../bindings/report/diff.js";
import { type LeafFormat, leafTable } from "../../bindings/report/leaf-runs.js";
import { ptdump, ptdumpOf } from "../../bindings/report/ptdump.js";
import { formatPtdump, parsePtdump, ptdumpLeaves } from "../../bindings/report/ptdump-parse.js";
import { isValidLeaf, parseS2Raw, type S2RawDump } from "../../bindings/trace/index.js";
import { gunzipText } from "../support/fixtures.js";

const PAIRS = [
  "pd-ipa40.scattered",
  "pd-dhtlb2m-eager.after-logging-off",
  "pd64k-ipa32.scattered",
  "pd-d4k.logging-on",
];
const read = (name: string) => gunzipText(`fixtures/${name}.gz`, import.meta.url);

function rawLeaves(raw: S2RawDump) {
  const leaves = [...raw.leaves()].filter(isValidLeaf);
  const format: LeafFormat = { stage: "2", granule: raw.geometry.granule as 4096, lpa2: raw.geometry.ds };
  return leafTable(
    leaves.map(({ ipa, level, descriptor }) => ({ address: BigInt(ipa), level, descriptor })),
    format,
  );
}

describe.each(PAIRS)("a running 7.2 kernel's text, %s", (name) => {
  const text = read(`${name}.s2ptdump`);

  it("is printed again as it was read", () => {
    const dump = parsePtdump(text);
    expect(dump).toMatchObject({ stage: "2", format: "7.x", title: "---[ Guest IPA ]---" });
    expect(formatPtdump(dump)).toBe(text);
  });

  it("may have lost its trailing blanks, and have CRLF and comments", () => {
    const worn = text.split("\n").map((line) => line.trimEnd());
    expect(formatPtdump(parsePtdump(`# cat stage2_page_tables\r\n${worn.join("\r\n")}`))).toBe(text);
    expect(formatPtdump(parsePtdump(worn.slice(1).join("\n")))).toBe(text);
  });

  it("maps what the raw tables map, but for the last run that the kernel leaves out [DMP-17]", () => {
    const raw = rawLeaves(parseS2Raw(read(`${name}.cpu01.s2raw`)));
    const { onlyA, onlyB, different } = diffTables(ptdumpLeaves(parsePtdump(text)), raw);
    expect([onlyA, different]).toEqual([[], []]);
    const lost = name.endsWith("scattered") ? raw.runs.slice(-1) : [];
    expect(onlyB).toEqual(lost);
  });
});

const stage2Word = fc
  .tuple(fc.constantFrom(0n, 1n, 3n), fc.bigInt({ min: 0n, max: 3n }), fc.bigInt({ min: 0n, max: 3n }), fc.boolean())
  .map(([type, rw, xn, af]) => type | (rw << 6n) | (xn << 53n) | (af ? 0x400n : 0n));

describe("any dump", () => {
  it.each([
    { format: "6.12" as const },
    { format: "7.x" as const },
    { stage: "hyp" as const },
    { stage: "hyp" as const, hvhe: true },
  ])("of %j is printed again as it was read", (options) => {
    fc.assert(
      fc.property(fc.array(fc.tuple(stage2Word, fc.integer({ min: 0, max: 7 })), { maxLength: 12 }), (words) => {
        const entries = words.map(([word, attr], i) => {
          const memory = options.stage === "hyp" ? BigInt(attr) << 2n : 0n;
          return { address: BigInt(i) << 12n, level: 3, descriptor: word | memory, count: 1 };
        });
        const lines = [...ptdumpOf(entries, 12, options)];
        const text = [...lines, ""].join("\n");
        expect(formatPtdump(parsePtdump(text))).toBe(text);
        const worn = lines.map((line) => line.trimEnd()).join("\n");
        expect(parsePtdump(worn).runs.map(({ start }) => start)).toEqual(parsePtdump(text).runs.map((r) => r.start));
      }),
      { numRuns: 500 },
    );
  });

  it("has the bits that its columns tell", () => {
    const page = 0x0040_0000_4000_07ffn;
    const told = 0x0040_0000_0000_04c3n;
    const [run] = parsePtdump(
      [...ptdumpOf([{ address: 0n, level: 3, descriptor: page, count: 1 }], 12)].join("\n"),
    ).runs;
    expect(run?.attributes).toBe(told);
    using engine = createEngine();
    const table = engine.createHyp();
    table.map(0x1000, 0x1000, 0x8000_1000, "rwd");
    const el2 = parsePtdump(ptdump(table));
    expect(el2).toMatchObject({ stage: "hyp", hvhe: false });
    expect(ptdumpLeaves(el2).runs).toMatchObject([
      { start: 0x1000n, end: 0x2000n, level: 3, pa: undefined, attributes: (4n << 2n) | 0x400n | (1n << 54n) },
    ]);
  });
});

describe("what is no dump", () => {
  const line = "0x0000000000000000-0x0000000000001000           4K 3   R W X AF    ";

  it.each([
    ["", /there is no dump/],
    ["---[ Guest IPA ]---\nhello", /line 2: hello is not a line of a dump/],
    ["---[ Guest IPA ]---\n0x0-0x1000 8K 3", /line 2: from 0x0 to 0x1000 is not 8K/],
    [`${line}\n${line}`, /line 2: 0x0000000000000000 lies before the end of the line above/],
    [line.replace("R W", "Q W"), /line 1: no kernel from 6\.12 on prints the columns/],
    [`${line}\n0x1000-0x2000 4K 3   R W px ux  AF`, /line 2: no kernel/],
    ["0x2000-0x1000 4K 3", /is not 4K/],
  ])("%# is refused", (text, words) => {
    expect(() => parsePtdump(text)).toThrow(words);
    expect(() => parsePtdump(text)).toThrow(/EINVAL/);
  });
});
