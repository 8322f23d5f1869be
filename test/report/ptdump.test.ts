// Golden lines of docs/spec, and what a running 7.2 kernel printed of tables that were read raw at the same point.

import { describe, expect, it } from "vitest";
import { createEngine } from "../../bindings/index.js";
import {
  type PtdumpEntry,
  type PtdumpEntryOptions,
  ptdump,
  ptdumpLines,
  ptdumpOf,
  ptdumpRuns,
  rawEntries,
} from "../../bindings/report/ptdump.js";
import { parseS2Raw } from "../../bindings/trace/index.js";
import { gunzipText } from "../support/fixtures.js";

const PAGE_RW = 0x0040_0000_4000_07ffn;

function page(descriptor: bigint, options: PtdumpEntryOptions = {}): string {
  return [...ptdumpOf([{ address: 0x4000_0000n, level: 3, descriptor, count: 1 }], 12, options)][1] as string;
}

/** The columns after the level. */
function columns(descriptor: bigint, options: PtdumpEntryOptions = {}): string {
  return page(descriptor, options).slice(52);
}

describe("the 6.12 form [DMP-14]", () => {
  it("prints the golden lines [DMP-10, DMP-14a]", () => {
    using engine = createEngine();
    const table = engine.createStage2({ ipaBits: 40 });
    table.map(0x4000_0000, 4096, 0x4000_0000, "rw");
    expect(ptdump(table).split("\n").slice(0, 3)).toEqual([
      "---[ Guest IPA ]---",
      "0x0000000000000000-0x0000000040000000           1G 1",
      "0x0000000040000000-0x0000000040001000           4K 3   R W X AF    ",
    ]);
  });

  it.each([
    ["read-only, executable", 0x0000_0000_4000_077fn, "   R     AF    "],
    ["write-only", 0x0040_0000_4000_07bfn, "     W X AF    "],
    ["not accessed", 0x0040_0000_4000_03ffn, "   R W X       "],
    ["no access at all", 0x0040_0000_4000_073fn, "       X AF    "],
    ["reserved at level 3: type 0", 0x0040_0000_4000_07fdn, "   R W X AF BLK"],
    ["locked: AF's bit and no more [DMP-19]", 0x400n, " F     X       "],
    ["invalid with permissions: not counted without valid", 0xc2n, " F     X       "],
  ])("%s", (_what, descriptor, text) => {
    expect(columns(descriptor)).toBe(text);
  });

  it("takes owner 1 for a hole, but of its own level [DMP-19]", () => {
    const entries: PtdumpEntry[] = [
      { address: 0n, level: 3, descriptor: 4n, count: 1 },
      { address: 0x1000n, level: 3, descriptor: 0n, count: 511 },
      { address: 0x20_0000n, level: 2, descriptor: 4n, count: 1 },
    ];
    expect([...ptdumpOf(entries, 12)].slice(1)).toEqual([
      "0x0000000000000000-0x0000000000200000           2M 3",
      "0x0000000000200000-0x0000000000400000           2M 2",
    ]);
  });

  it("sees bit 54 of XN alone", () => {
    expect(columns(PAGE_RW | (1n << 53n))).toBe(columns(PAGE_RW));
  });
});

describe("the 7.x form [DMP-15]", () => {
  const format = { format: "7.x" } as const;

  it.each([
    [0n, "   R W px ux  AF    "],
    [1n, "   R W PXNux  AF    "],
    [2n, "   R W PXNUXN AF    "],
    [3n, "   R W px UXN AF    "],
  ])("prints XN %i", (xn, text) => {
    expect(columns(0x4000_07ffn | (xn << 53n), format)).toBe(text);
  });

  it("shows R, W and AF of an invalid entry", () => {
    expect(columns(0x4c0n, format)).toBe(" F R W px ux  AF    ");
  });

  it("prints the typed lock as a hole", () => {
    expect(columns(1n << 60n, format)).toBe("");
  });
});

describe("the form of EL2's own table", () => {
  it("has EL2's rights and memory types, and speaks of no guest", () => {
    using engine = createEngine();
    const table = engine.createHyp({ vaBits: 40, bti: true });
    table.map(0x1000, 0x1000, 0x8000_1000, "rw");
    table.map(0x2000, 0x1000, 0x8000_2000, "rx");
    table.map(0x3000, 0x1000, 0x8000_3000, "rwd");
    table.map(0x4000, 0x1000, 0x8000_4000, "r");
    table.map(0x20_0000, 0x20_0000, 0x8020_0000, "r");
    const lines = ptdump(table).split("\n");
    expect(lines[0]).toBe("---[ EL2 ]---");
    const mapped = lines.filter((line) => line.includes("AF")).map((line) => line.slice(52));
    expect(mapped).toEqual([
      "   RW NX AF        MEM/NORMAL",
      "   ro x  AF     GP MEM/NORMAL",
      "   RW NX AF        DEVICE/nGnRE",
      "   ro NX AF        MEM/NORMAL",
      "   ro NX AF BLK    MEM/NORMAL",
    ]);
  });

  it("has separate execute rights for EL2 and EL0 with hVHE", () => {
    const options = { stage: "hyp", hvhe: true } as const;
    expect(columns(0x0060_0000_4000_0703n, options)).toBe("   RW PXN UXN AF        MEM/NORMAL");
    expect(columns(0x0040_0000_4000_0783n, options)).toBe("   ro     UXN AF        MEM/NORMAL");
  });

  it.each([
    [0x0040_0000_4000_0747n, "   RW NX AF        MEM/NORMAL-TAGGED"],
    [0x0040_0000_4000_07cbn, "   ro NX AF        MEM/NORMAL-NC"],
    [0x0040_0000_4000_034fn, "   RW NX           DEVICE/nGnRnE"],
    [0x0040_0000_4000_0757n, "   RW NX AF        MAIR index 5"],
    [0x0040_0000_4000_0704n, " F"],
  ])("%# %s", (descriptor, text) => {
    expect(columns(descriptor, { stage: "hyp" })).toBe(text);
  });

  it("takes bits 9:8 for what they are with LPA2: an address, no attribute", () => {
    const entries = [0n, 1n, 2n, 3n].map((high, i) => ({
      address: BigInt(i) << 12n,
      level: 3,
      descriptor: 0x0040_0000_4000_0443n | (high << 8n),
      count: 1,
    }));
    expect([...ptdumpOf(entries, 12, { stage: "hyp" })]).toHaveLength(2);
  });
});

describe("sizes [DMP-12]", () => {
  it.each([
    [1, 3, "        4K"],
    [255, 3, "     1020K"],
    [256, 3, "        1M"],
    [512, 1, "      512G"],
    [1023, 1, "     1023G"],
    [2, 0, "        1T"],
  ])("%i entries of level %i are %s", (count, level, text) => {
    const [, line] = ptdumpOf([{ address: 0n, level, descriptor: 0n, count }], 12);
    expect(line?.slice(40, 50)).toBe(text);
  });
});

describe("runs [DMP-11]", () => {
  const at = (address: bigint, level = 3, descriptor = PAGE_RW): PtdumpEntry => ({
    address,
    level,
    descriptor,
    count: 1,
  });

  it("go over addresses and memory types, and end at a gap, a level, an attribute", () => {
    const entries = [
      at(0n),
      at(0x1000n, 3, PAGE_RW + 0x9000n),
      at(0x2000n, 3, PAGE_RW & ~0x3cn),
      at(0x4000n),
      at(0x5000n, 3, PAGE_RW & ~0x80n),
      at(0x20_0000n, 2),
    ];
    const starts = [...ptdumpOf(entries, 12)].slice(1).map((line) => Number.parseInt(line.slice(0, 18), 16));
    expect(starts).toEqual([0, 0x4000, 0x5000, 0x20_0000]);
  });

  it("are the last one's too, unless as the kernel does [DMP-17, BUG-42]", () => {
    const all = [...ptdumpOf([at(0n), at(0x1000n, 3, 0n)], 12)];
    expect(all).toHaveLength(3);
    expect([...ptdumpOf([at(0n), at(0x1000n, 3, 0n)], 12, { kernelCompat: true })]).toEqual(all.slice(0, 2));
  });

  it("of an empty table are one hole without columns, at the start level; the kernel prints none [DMP-13, DMP-16, DMP-18]", () => {
    using engine = createEngine();
    const table = engine.createStage2({ granule: 65536, ipaBits: 42 });
    expect(ptdump(table)).toBe("---[ Guest IPA ]---\n0x0000000000000000-0x0000040000000000           4T 2\n");
    expect([...ptdumpLines(table, { kernelCompat: true })]).toEqual(["---[ Guest IPA ]---"]);
  });

  it("cover the whole address space without gap or overlap, for every granule", () => {
    for (const granule of [4096, 16384, 65536] as const) {
      using engine = createEngine();
      const table = engine.createStage2({ granule, ipaBits: 44, paBits: 48 });
      for (let i = 0; i < 40; i++)
        table.map(i * 3 * 2 ** 24, granule * (1 + (i % 5)), i * 2 ** 24, i % 2 ? "rw" : "rx");
      table.map(2 ** 44 - granule, granule, 0, "r");
      let next = 0n;
      for (const { start, end } of ptdumpRuns(table)) {
        expect(start).toBe(next);
        next = end;
      }
      expect(next).toBe(1n << 44n);
    }
  });
});

// Copies from the recorded runs F and G (kernel 7.2): the raw tables, and the text of stage2_page_tables at that point.
const PAIRS = [
  "pd-ipa40.scattered",
  "pd-dhtlb2m-eager.after-logging-off",
  "pd64k-ipa32.scattered",
  "pd-d4k.logging-on",
];

describe("a running 7.2 kernel's text", () => {
  const read = (name: string) => gunzipText(`fixtures/${name}.gz`, import.meta.url);

  it.each(PAIRS)("is ours for the raw tables of %s", (name) => {
    const raw = parseS2Raw(read(`${name}.cpu01.s2raw`));
    const shift = Math.log2(raw.geometry.granule);
    const kernel = read(`${name}.s2ptdump`);
    const ours = [...ptdumpOf(rawEntries(raw), shift, { format: "7.x", kernelCompat: true })];
    expect(`${ours.join("\n")}\n`).toBe(kernel);
  });

  it("lacks its last run, here a page that ends at the top of the address space", () => {
    const raw = parseS2Raw(read("pd-ipa40.scattered.cpu01.s2raw"));
    const last = [...ptdumpOf(rawEntries(raw), 12, { format: "7.x" })].at(-1);
    expect(last).toBe("0x000000fffffff000-0x0000010000000000           4K 3   R W PXNUXN AF    ");
    expect(read("pd-ipa40.scattered.s2ptdump")).not.toContain(last);
  });
});
