// The judge's own memory: where it is spent in the middle of a record, and where its tables of pages grow.

import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS } from "../../bindings/audit/index.js";
import { BYTES } from "../../bindings/core/bytes.audit.generated.js";
import { INPUT_RECORDS, O_KNOWN_PAGES } from "../../bindings/core/constants.generated.js";
import { type AuditCore, compile, fromBase64, instantiateModule } from "../../bindings/core/core.js";
import { CasemateParser } from "../../bindings/trace/casemate.js";
import { at, firstOf, flush, logOf, prologue, put, ROOT, root, vttbr, WORDS } from "./support.js";

const L1 = 0x1000;
const L2 = 0x2000;
const L3 = 0x3000;
const LEAF = 0x8_0000_07ffn;
const DSB = "barrier dsb (kind ish)";
const MODULE = compile(fromBase64(BYTES), "test");

/** A log's records, in pieces that a judge takes at once. */
function recordsOf(lines: readonly string[]): Uint32Array[] {
  const pieces: Uint32Array[] = [];
  const parser = new CasemateParser((records, n) => pieces.push(records.slice(0, n * WORDS)));
  parser.push(new TextEncoder().encode(logOf(lines)));
  parser.end();
  return pieces;
}

/** Judges records in a memory of `pages` that grows by one page whenever it is spent: violations, open, times that it grew. */
function judged(
  pieces: readonly Uint32Array[],
  pages: number,
  options = O_KNOWN_PAGES,
): { count: number; open: number; grown: number } | undefined {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 1024, shared: true });
  const core = instantiateModule<AuditCore>(MODULE, memory, "violationCount");
  if (!core.initialise(options, 64)) return undefined;
  let grown = 0;
  for (const piece of pieces) {
    const n = piece.length / WORDS;
    for (let done = 0; done < n; ) {
      const some = piece.subarray(done * WORDS, Math.min(n, done + INPUT_RECORDS) * WORDS);
      new Uint32Array(memory.buffer).set(some, (core.inputPointer() >>> 0) / 4);
      const taken = core.judge(some.length / WORDS) >>> 0;
      done += taken;
      if (taken === some.length / WORDS) continue;
      memory.grow(1);
      grown++;
    }
  }
  return { count: core.violationCount(), open: core.finish(), grown };
}

describe("memory that is spent in the middle", () => {
  const TABLES = 4;
  const pages = Array.from({ length: TABLES * 512 }, (_, i) => i);
  /** Four full tables go with the one above them, and are flushed page by page but for page `left`. */
  const lines = (left: number): string[] => [
    ...prologue(),
    ...[1, 2, 3].flatMap((i) => [
      `mem-init ${at(0x10000 + i * 0x1000)} (size 0x1000)`,
      put(L2 + 8 * i, ROOT + 0x10000 + i * 0x1000 + 3),
    ]),
    ...pages.map((i) => put((i < 512 ? L3 : 0x10000 + (i >> 9) * 0x1000) + 8 * (i & 511), LEAF + (BigInt(i) << 12n))),
    DSB,
    put(L1, 0),
    DSB,
    ...pages.flatMap((i) => (i === left ? [] : [`tlbi ipas2e1is (value 0x${i.toString(16)})`])),
    DSB,
    "tlbi vmalle1is",
    DSB,
    `mem-free ${at(L3)} (size 0x1000)`,
  ];

  it.each([
    ["all pages of the tables that went", -1, 0],
    ["all but the last", TABLES * 512 - 1, 1],
  ])("changes no verdict: %s", (_name, left, violations) => {
    const pieces = recordsOf(lines(left));
    const ample = judged(pieces, 256);
    expect(ample?.grown).toBe(0);
    expect(Math.min(1, ample?.count ?? 0)).toBe(violations);
    let grew = 0;
    // From the first size that is enough for a judge to begin: it is spent at another record each time.
    for (let size = 16; size < 30; size++) {
      const small = judged(pieces, size);
      if (small === undefined) continue;
      if (small.grown > 0) grew++;
      expect({ ...small, grown: 0 }, `${size} pages`).toEqual(ample);
    }
    expect(grew).toBeGreaterThan(4);
  });
});

describe("the table of known pages", () => {
  it("grows in the middle of a page that is filled, though memory is spent there", () => {
    const fill = (i: number): string => `mem-set (address 0x${(i * 0x1000).toString(16)}) (size 0x1000) (value 0x0)`;
    const pieces = recordsOf([...Array.from({ length: 2100 }, (_, i) => fill(i)), ...prologue(), put(L3, LEAF)]);
    const ample = judged(pieces, 512, 0);
    expect(ample).toEqual({ count: 0, open: 0, grown: 0 });
    const small = judged(pieces, 24, 0);
    expect({ ...small, grown: 0 }).toEqual(ample);
    expect(small?.grown).toBeGreaterThan(200);
  });

  it("grows past a page that is linked, and past clocks of several CPUs", () => {
    const page = (i: number): string => (0x2_0000_0000 + i * 0x1000).toString(16);
    const init = (from: number, to: number): string =>
      `mem-init (address 0x${page(from)}) (size 0x${((to - from) * 0x1000).toString(16)})`;
    // Pages 2000 to 2100 are tables of the second half of the VM's input: what is taken behind the old table is one of them.
    const links = Array.from({ length: 100 }, (_, i) => put(L2 + 8 * (256 + i), 0x2_0000_0003 + (2000 + i) * 0x1000));
    const leaves = Array.from({ length: 100 }, (_, i) => {
      return `mem-write (mem-order release) (address 0x${page(2000 + i)}) (value 0x${(0x80_0000_07ff + i * 0x1000).toString(16)})`;
    });
    const start = [...prologue(3), ...flush("alle1is", 2), init(0, 3000), ...links, ...leaves, DSB];
    expect(firstOf([...start, init(3000, 6000), init(6000, 12000)])).toBe("ok");
    const again = Array.from({ length: 2000 }, (_, i) => init(i, i + 1));
    expect(firstOf([...start, init(3000, 12000), ...again])).toBe("ok");
  });
});

describe("a root that takes the place of another in memory", () => {
  const release = (offset: number): string =>
    `hint (kind release_table) (location 0x${(ROOT + offset).toString(16)}) (value 0x0)`;

  it("has nothing of it: no CPU, no flags, no lock", () => {
    const start = [...prologue(2), put(L3, LEAF), DSB, `unlock (address 0x100064000)`, ...flush("vmalls12e1is")];
    const gone = [...start, ...root(0x8000), ...vttbr(0x8000, 2), release(0)];
    // CPU 1 had the first one, which is one violation; it goes to a third table, which nobody has when that is released.
    const third = [...root(0x9000), ...vttbr(0x9000, 3, 1), ...vttbr(0x8000, 2, 1), release(0x9000)];
    expect(firstOf(gone)).toBe("loaded");
    expect(
      firstOf([...start, ...root(0x8000), ...vttbr(0x8000, 2), ...vttbr(0x8000, 2, 1), release(0), ...third]),
    ).toBe("ok");
  });
});

describe("leaves that are large", () => {
  const start = (vtcr: number): string[] => [
    `sysreg-write (sysreg vtcr_el2) (value 0x${vtcr.toString(16)})`,
    `mem-init ${at(0)} (size 0x200000)`,
    "hint (kind set_root_lock) (location 0x100000000) (value 0x100064000)",
    ...vttbr(0, 1),
    "lock (address 0x100064000)",
  ];
  /** 64K pages: a block of 4 TiB at level 1 is there with addresses of 52 bits only. */
  const block = 0x7fdn | (1n << 42n);
  it.each([
    ["52 bits of output address", 0x8006_7594, "ok"],
    ["48 bits", 0x8005_7594, "encoding"],
  ])("a block of 4 TiB and %s [GEO-9]", (_name, vtcr, expected) => {
    expect(firstOf([...start(vtcr), put(0, block)], CASEMATE_OPTIONS)).toBe(expected);
  });
});
