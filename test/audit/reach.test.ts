// What a TLBI, a release and the end of a log reach: entry by entry, table by table, and each violation said once.

import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS } from "../../bindings/audit/index.js";
import { Random, SEED } from "../support/random.js";
import {
  at,
  firstOf,
  flush,
  flushPage,
  judgeLog,
  LOCK,
  logOf,
  prologue,
  put,
  ROOT,
  root,
  sysreg,
  vttbr,
} from "./support.js";

const L1 = 0x1000;
const L2 = 0x2000;
const L3 = 0x3000;
const LEAF = 0x8_0000_07ffn;
const OTHER = 0x9_0000_07ffn;
const CONTIGUOUS = 1n << 52n;
const DSB = "barrier dsb (kind ish)";
const lock = `lock ${LOCK}`;
const unlock = `unlock ${LOCK}`;
const release = `hint (kind release_table) (location 0x${ROOT.toString(16)}) (value 0x0)`;

function tlbi(ipa: bigint, code = 0x7n): string {
  return `tlbi ipas2e1is (value 0x${((code << 44n) | (ipa >> 12n)).toString(16)})`;
}

function kindsOf(lines: readonly string[], options = CASEMATE_OPTIONS): string[] {
  return judgeLog(logOf(lines), options).violations.map(({ kind }) => kind);
}

describe("each entry of a table is flushed for itself", () => {
  const words = Array.from({ length: 512 }, (_, i) => i);
  const lines = (left: number): string[] => [
    ...prologue(),
    ...words.map((i) => put(L3 + 8 * i, LEAF + BigInt(i << 12))),
    DSB,
    ...words.map((i) => put(L3 + 8 * i, 0)),
    DSB,
    ...words.flatMap((i) => (i === left ? [] : [tlbi(BigInt(i << 12))])),
    DSB,
    "tlbi vmalle1is",
    DSB,
    ...words.map((i) => put(L3 + 8 * i, OTHER + BigInt(i << 12))),
  ];

  it("all 512 of them", () => {
    expect(firstOf(lines(-1))).toBe("ok");
  });

  it.each([0, 16, 31, 255, 480, 511])("all but entry %i", (left) => {
    const { violations, count } = judgeLog(logOf(lines(left)));
    expect(count).toBe(1);
    expect(violations[0]).toMatchObject({ kind: "early-make", ipa: BigInt(left << 12), missing: "tlbi" });
  });

  it.each([
    [0x8005_b558, 14n, 0xbn, [0, 511, 512, 600, 2047]],
    [0x8005_7558, 16n, 0xfn, [0, 512, 600, 8191]],
  ])("in tables of several 4K units, VTCR_EL2 %i", (vtcr, shift, code, entries) => {
    const start = [
      sysreg("vtcr_el2", vtcr),
      `mem-init ${at(0)} (size 0x200000)`,
      "hint (kind set_root_lock) (location 0x100000000) (value 0x100064000)",
      ...vttbr(0, 1),
      lock,
      put(0, ROOT + 0x100003),
    ];
    const place = (word: number): number => 0x100000 + 8 * word;
    const ipa = (word: number): bigint => BigInt(word) << shift;
    const broken = entries.flatMap((word) => [put(place(word), (ipa(word) << 4n) | 0x7ffn), DSB, put(place(word), 0)]);
    const flushed = (words: readonly number[]): string[] => [
      DSB,
      ...words.map((word) => tlbi(ipa(word), code)),
      DSB,
      "tlbi vmalle1is",
      DSB,
    ];
    const made = entries.map((word) => put(place(word), 0x4_0000_07ffn + (ipa(word) << 4n)));
    expect(firstOf([...start, ...broken, ...flushed(entries), ...made])).toBe("ok");
    for (const left of entries) {
      const some = entries.filter((word) => word !== left);
      expect(firstOf([...start, ...broken, ...flushed(some), ...made])).toBe("early-make tlbi");
    }
  });
});

describe("a violation is said once", () => {
  const leaves = [...prologue(), put(L3, LEAF), put(L3 + 8, LEAF + 0x1000n), DSB];

  it("of a table that is released with two breaks", () => {
    const away = [put(L3, 0), put(L3 + 8, 0), unlock, ...root(0x9000), ...vttbr(0x9000, 9)];
    expect(kindsOf([...leaves, ...away, release])).toEqual(["release-unflushed"]);
  });

  it("of a table that comes back with two old entries", () => {
    expect(kindsOf([...leaves, put(L2, 0), ...flush("vmalls12e1is"), put(L2 + 8, ROOT + L3 + 3)])).toEqual([
      "stale-table",
    ]);
  });

  it("of a page that is lent and nobody knows", () => {
    const { violations } = judgeLog(
      logOf([...leaves, "t1 hint (kind set_pte_thread_owner) (location 0x7008) (value 0x1)"]),
    );
    expect(violations).toMatchObject([{ kind: "unknown-page", cpu: 1, address: 0x7008n, newValue: 1n }]);
  });

  it("of a root at a page that no record named, though pages need none", () => {
    const lines = [sysreg("hcr_el2", 1), ...vttbr(0x40000, 5)];
    expect(kindsOf(lines, { ...CASEMATE_OPTIONS, knownPages: false })).toEqual(["unknown-page"]);
  });
});

describe("many pages that lie anywhere", () => {
  const random = new Random(SEED);
  const places = (count: number): bigint[] => [
    ...new Set(Array.from({ length: count }, () => BigInt(random.below(2 ** 32)) << 12n)),
  ];

  it("are each found again", () => {
    const pages = places(5000).map((place) => `(address 0x${place.toString(16)})`);
    const lines = pages.map((page) => `mem-init ${page} (size 0x1000)`);
    const writes = pages.map((page) => `mem-write (mem-order plain) ${page} (value 0x5)`);
    expect(firstOf([...lines, ...writes]), `seed ${SEED}`).toBe("ok");
    expect(judgeLog(logOf([...lines, ...writes, ...lines])).count, `seed ${SEED}`).toBe(pages.length);
  });

  it("are each one VM's", () => {
    const leaves = places(3000).map((place) => place | 0x7ffn);
    const tables = Array.from({ length: 8 }, (_, i) => 0x100000 + i * 0x1000);
    const vm = (offset: number): string[] => [
      `mem-init ${at(offset + 0x100000)} (size 0x8000)`,
      ...tables.map((table, i) => put(offset + L2 + 8 * i, ROOT + offset + table + 3)),
      ...leaves.map((leaf, i) => put(offset + 0x100000 + 8 * i, leaf)),
    ];
    const other = 0x1000000;
    const second = [
      ...root(other),
      ...vttbr(other, 2),
      `lock (address 0x${(0x99_0000_0000 + other).toString(16)})`,
      ...[1, 2].flatMap((level) => [
        `mem-init ${at(other + level * 0x1000)} (size 0x1000)`,
        put(other + (level - 1) * 0x1000, ROOT + other + level * 0x1000 + 3),
      ]),
    ];
    const first = [...prologue().slice(0, -2), ...vm(0)];
    expect(firstOf(first), `seed ${SEED}`).toBe("ok");
    const { count, violations } = judgeLog(logOf([...first, unlock, ...second, ...vm(other)]));
    expect(count, `seed ${SEED}`).toBe(leaves.length);
    expect(new Set(violations.map(({ kind }) => kind))).toEqual(new Set(["shared-frame"]));
  });
});

describe("clocks go to the next CPU", () => {
  it("each time that the lock does", () => {
    const turn = [1, 2].flatMap((tid) => [
      `t${tid} ${lock}`,
      put(L3, 0, tid),
      `t${tid} ${unlock}`,
      `t0 ${lock}`,
      ...flushPage(0),
      put(L3, LEAF),
      unlock,
    ]);
    expect(firstOf([...prologue(3), put(L3, LEAF), DSB, unlock, ...turn, ...turn, ...turn])).toBe("ok");
  });
});

describe("a run of contiguous entries of which one is gone", () => {
  const run = Array.from({ length: 16 }, (_, i) => put(L3 + 8 * i, (LEAF + BigInt(i << 12)) | CONTIGUOUS));
  const half = [...prologue(), ...run, DSB, put(L3 + 8 * 5, 0), ...flush("vmalls12e1is")];

  it("is a violation at the end", () => {
    expect(firstOf(half)).toBe("contiguous");
  });

  it("is one if one is all that there is", () => {
    expect(firstOf([...prologue(), put(L3 + 8 * 3, (LEAF + 0x3000n) | CONTIGUOUS)])).toBe("contiguous");
  });

  it("does not concern entries beside it", () => {
    const beside = [16, 17, 40].map((i) => put(L3 + 8 * i, OTHER + BigInt(i << 16)));
    expect(firstOf([...prologue(), ...run, ...beside])).toBe("ok");
  });

  it("is none in a table that is unlinked", () => {
    expect(firstOf([...half, put(L2, 0), ...flush("vmalls12e1is")])).toBe("ok");
  });
});

describe("a table of another VM", () => {
  /** A second VM links what was the first one's table of pages, and breaks a leaf in it. */
  const moved = [
    ...prologue(),
    put(L3, LEAF),
    `mem-init ${at(0x4000)} (size 0x1000)`,
    `mem-init ${at(0x5000)} (size 0x1000)`,
    put(L1 + 8, ROOT + 0x4003),
    put(0x4000, ROOT + 0x5003),
    put(0x5000, LEAF + 0x100000n),
    DSB,
    put(L1, 0),
    ...flush("vmalls12e1is"),
    `mem-set ${at(L3)} (size 0x1000) (value 0x0)`,
    put(0x5000, 0),
    DSB,
    unlock,
    ...root(0xb000),
    ...vttbr(0xb000, 2),
    "lock (address 0x990000b000)",
    ...[1, 2].flatMap((level) => [
      `mem-init ${at(0xb000 + level * 0x1000)} (size 0x1000)`,
      put(level === 1 ? 0xb000 : 0xc000, ROOT + 0xb000 + level * 0x1000 + 3),
    ]),
    put(0xd000, ROOT + L3 + 3),
    put(L3, LEAF + 0x200000n),
    DSB,
    put(L3, 0),
    "unlock (address 0x990000b000)",
  ];
  const freed = `mem-free ${at(L2)} (size 0x1000)`;

  it("owes its own flushes, though the one above it that was flushed is freed", () => {
    const made = ["lock (address 0x990000b000)", put(L3, OTHER)];
    expect(firstOf([...moved, ...made])).toBe("early-make tlbi");
    expect(firstOf([...moved, freed, ...made])).toBe("early-make tlbi");
  });
});

describe("what an unlinked table held", () => {
  const two = [...prologue(2), put(L3, LEAF), put(L3 + 8, LEAF + 0x1000n), DSB];
  const free = `mem-free ${at(L3)} (size 0x1000)`;
  const complete = [DSB, "tlbi vmalle1is", DSB];

  it("is out of reach once its link is, whoever broke what below it", () => {
    // CPU 1 breaks a page that it was lent: CPU 0, which unlinks the table, does not know.
    const lent = `hint (kind set_pte_thread_owner) (location 0x${(ROOT + L3).toString(16)}) (value 0x1)`;
    const unlinked = [...two, lent, put(L3, 0, 1), put(L2, 0), DSB];
    expect(firstOf([...unlinked, tlbi(0n, 0n), tlbi(0x1000n, 0n), ...complete, free])).toBe("ok");
    const linked = [...two, lent, put(L3, 0, 1), DSB, tlbi(0n, 0n), ...complete];
    expect(firstOf(linked)).toBe("unflushed dsb-before-tlbi");
  });

  it("is in the way of a block in its place, and of nothing beside it", () => {
    const left = [...two, put(L3 + 8, 0), put(L2, 0), DSB, tlbi(0n, 0n), ...complete, free];
    expect(firstOf([...left, put(L2, 0xa_0000_07fdn)])).toBe("early-make tlbi");
    expect(firstOf([...left, put(L2 + 8, 0xa_0000_07fdn)])).toBe("unflushed tlbi");
    expect(firstOf([...left, ...flush("vmalls12e1is"), put(L2, 0xa_0000_07fdn)])).toBe("ok");
  });
});

describe("pages that are given back", () => {
  const leaf = [...prologue(2), put(L3, LEAF), DSB];

  it("leave what hung below them to nobody", () => {
    const freed = [...leaf, `mem-free ${at(L2)} (size 0x1000)`, unlock];
    expect(kindsOf([...freed, put(L3 + 8, OTHER, 1)])).toEqual(["early-free"]);
  });

  it("must not be reachable as a VM's memory", () => {
    const mapped = [...leaf, `mem-init ${at(0x20000)} (size 0x1000)`, put(L3 + 8, ROOT + 0x20000 + 0x7ff), DSB];
    const free = `mem-free ${at(0x20000)} (size 0x1000)`;
    expect(firstOf([...mapped, put(L3 + 8, 0), free])).toBe("frame-reuse tlbi");
    expect(firstOf([...mapped, put(L3 + 8, 0), ...flush("vmalls12e1is"), free])).toBe("ok");
  });

  it("need not be, for a table to come back to its place", () => {
    expect(firstOf([...leaf, put(L2, 0), ...flush("vmalls12e1is"), put(L2, ROOT + L3 + 3)])).toBe("ok");
  });
});

describe("a block that is changed in place", () => {
  const block = 0x8_0000_07fdn;
  it.each([
    ["may lose a right, which is to be flushed", block - 0x80n, "unflushed tlbi"],
    ["may get its nT, which is to be flushed", block | (1n << 16n), "unflushed tlbi"],
    ["may get a software bit", block | (1n << 55n), "ok"],
    ["may not get another memory type", block - 0x4n, "no-break"],
    ["may not get a bit that only EL2's pages have", block | (1n << 50n), "no-break"],
  ])("%s", (_name, next, expected) => {
    expect(firstOf([...prologue(), put(L2 + 8, block), DSB, put(L2 + 8, next)])).toBe(expected);
  });
});

describe("rights that are taken one after the other", () => {
  const taken = [...prologue(), put(L3, LEAF), DSB, put(L3, LEAF - 0x80n), DSB, tlbi(0n), DSB];

  it("are flushed one after the other", () => {
    const again = [...taken, put(L3, (LEAF - 0x80n) | (1n << 54n))];
    expect(firstOf([...again, ...flushPage(0)])).toBe("ok");
    expect(firstOf([...again, DSB, "tlbi vmalle1is", DSB])).toBe("unflushed tlbi");
  });

  it("are flushed by whoever took the last one, though another CPU's TLBI for the first awaits its DSB", () => {
    const first = [...prologue(2), put(L3, LEAF), DSB, put(L3, LEAF - 0x80n), unlock];
    const other = [`t1 ${lock}`, "t1 barrier dsb (kind ish)", `t1 ${tlbi(0n)}`, `t1 ${unlock}`, lock];
    const last = put(L3, (LEAF - 0x80n) | (1n << 54n));
    expect(firstOf([...first, ...other, last, ...flushPage(0)])).toBe("ok");
    expect(firstOf([...first, ...other, last, "t1 barrier dsb (kind ish)", "t1 tlbi vmalle1is", DSB])).toContain(
      "unflushed",
    );
  });
});

describe("roots", () => {
  it.each([
    [43, "ok"],
    [44, "geometry"],
    [0x1_0000_000c, "ok"],
    [0x1_0000_000b, "geometry"],
  ])("VTCR_EL2 %i", (t0sz, expected) => {
    const lines = [sysreg("vtcr_el2", t0sz), `mem-init ${at(0)} (size 0x1000)`, ...vttbr(0, 1)];
    expect(firstOf(lines)).toBe(expected);
  });

  it("an output address is read by the table's format", () => {
    // FEAT_LPA2: bits 9:8 are bits 51:50 of the address, which 40 bits of physical memory do not have.
    const lpa2 = prologue(1, 0x1_8002_3590);
    expect(firstOf([...lpa2, put(L3, LEAF)])).toBe("encoding");
    expect(firstOf([...lpa2, put(L3, LEAF & ~0x300n)])).toBe("ok");
  });

  it("a VTCR_EL2 that a log names late is no change", () => {
    const start = prologue().filter((line) => !line.includes("vtcr_el2"));
    expect(firstOf([...start, sysreg("vtcr_el2", 0x8002_3590), DSB])).toBe("ok");
    expect(firstOf([...start, sysreg("vtcr_el2", 0x8002_3590), sysreg("vtcr_el2", 0x8002_3594), DSB])).toBe(
      "live-control",
    );
  });

  it("what is written to a page that no record set up is known", () => {
    const options = { ...CASEMATE_OPTIONS, knownPages: false };
    const link = put(L2 + 8, ROOT + 0x20003);
    expect(firstOf([...prologue(), put(0x20018, 0x8000_0001), link], options)).toBe("encoding");
    expect(firstOf([...prologue(), put(0x20018, 0x8000_07ff), link], options)).toBe("ok");
  });

  it("a start table that nobody set up is named with its level", () => {
    const lines = [sysreg("vtcr_el2", 0x8002_3558), `mem-init ${at(0)} (size 0x1000)`, ...vttbr(0, 1)];
    expect(judgeLog(logOf(lines)).violations).toMatchObject([
      { kind: "unknown-page", level: 1, address: BigInt(ROOT + 0x1000) },
    ]);
  });

  it("one that is given back too early is gone, and another may begin there", () => {
    const freed = [...prologue(2), unlock, `mem-free ${at(0)} (size 0x1000)`, ...flush("alle1is")];
    const begun = [...freed, ...root(0), ...vttbr(0, 3), put(0, 0x400, 1), put(0, 0, 1)];
    expect(kindsOf(freed)).toEqual(["early-free"]);
    expect(kindsOf([...begun, put(0, ROOT + 0x1003, 1)])).toContain("unlocked");
  });

  it("a change of a control register ends with its table", () => {
    const changed = [
      ...prologue(),
      put(L3, LEAF),
      sysreg("hcr_el2", 0x4000_0000_0001n),
      DSB,
      unlock,
      ...root(0x9000),
      ...vttbr(0x9000, 9),
    ];
    expect(firstOf(changed)).toBe("live-control tlbi");
    expect(firstOf([...changed, release, ...root(0xa000), ...vttbr(0xa000, 10)])).toBe("ok");
  });

  it("a table whose VMID another one has may be given back", () => {
    const left = [...prologue(), unlock, ...root(0x9000), ...root(0xa000), ...vttbr(0x9000, 9), ...flush("alle1is")];
    expect(firstOf([...left, ...vttbr(0xa000, 1), `mem-free ${at(0)} (size 0x1000)`])).toBe("ok");
    expect(firstOf([...prologue(), `mem-free ${at(0)} (size 0x1000)`])).toBe("early-free");
  });
});
