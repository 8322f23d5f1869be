// What the judge keeps of a log, seen from outside: each part of a violation, clocks of several CPUs, many pages, memory below tables.

import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS } from "../../bindings/audit/index.js";
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
  second,
  sysreg,
  vttbr,
} from "./support.js";

const L2 = 0x2000;
const L3 = 0x3000;
const LEAF = 0x8_0000_07ffn;
const OTHER = 0x9_0000_07ffn;
const DSB = "barrier dsb (kind ish)";
const unlock = `unlock ${LOCK}`;
const lock = `lock ${LOCK}`;

/** The first violation, without its words. */
function violationOf(lines: readonly string[]): object {
  const [first] = judgeLog(logOf(lines)).violations;
  const { message: _, ...rest } = first as object & { message: string };
  return rest;
}

const NOTHING = {
  table: 0,
  ipa: undefined,
  oldValue: 0n,
  newValue: 0n,
  because: [],
  cause: undefined,
  missing: undefined,
};

describe("a violation says", () => {
  const head = prologue(2);
  const n = head.length;

  it("where a make was early, what was broken, and by which record", () => {
    const lines = [...head, put(L3 + 8, LEAF), DSB, put(L3 + 8, 0x400), put(L3 + 8, OTHER)];
    expect(violationOf(lines)).toEqual({
      kind: "early-make",
      cpu: 0,
      table: 0,
      level: 3,
      address: BigInt(ROOT + L3 + 8),
      ipa: 0x1000n,
      oldValue: LEAF,
      newValue: OTHER,
      record: n + 3,
      because: [n + 2],
      cause: "break",
      missing: "tlbi",
    });
  });

  it("which TLBI fell short", () => {
    const lines = [
      ...head,
      put(L3, LEAF),
      DSB,
      put(L3, 0),
      DSB,
      "tlbi ipas2e1is (value 0x600000000000)",
      put(L3, OTHER),
    ];
    expect(violationOf(lines)).toMatchObject({ missing: "tlbi-level", because: [n + 2, n + 4] });
  });

  it("what replaced what with no break, and on which CPU", () => {
    const lines = [...head, put(L3, LEAF), unlock, `t1 ${lock}`, put(L3, OTHER, 1)];
    expect(violationOf(lines)).toEqual({
      ...NOTHING,
      kind: "no-break",
      cpu: 1,
      level: 3,
      address: BigInt(ROOT + L3),
      oldValue: LEAF,
      newValue: OTHER,
      record: n + 3,
    });
  });

  it("which lock", () => {
    const lines = [...head, "t1 unlock (address 0x77000)"];
    expect(violationOf(lines)).toEqual({ ...NOTHING, kind: "lock", cpu: 1, level: 0, address: 0x77000n, record: n });
  });

  it("which page, and whose lock for it", () => {
    const lines = [...head, "t1 hint (kind set_root_lock) (location 0x7000) (value 0x5)"];
    const unknown = { ...NOTHING, kind: "unknown-page", cpu: 1, level: 0, record: n };
    expect(violationOf(lines)).toEqual({ ...unknown, address: 0x7000n, newValue: 5n });
    expect(violationOf([...head, "t1 mem-write (mem-order plain) (address 0x7008) (value 0x9)"])).toEqual({
      ...unknown,
      address: 0x7008n,
      newValue: 9n,
    });
  });

  it("which CPUs had a table that was released", () => {
    const lines = [...head, "hint (kind release_table) (location 0x100000000) (value 0x0)"];
    expect(violationOf(lines)).toEqual({
      ...NOTHING,
      kind: "loaded",
      cpu: 0,
      level: 0,
      address: BigInt(ROOT),
      newValue: 3n,
      record: n,
    });
  });

  it("what was never flushed, by whom, and what stands there", () => {
    const lines = [...head, put(L3, LEAF), unlock, `t1 ${lock}`, put(L3, LEAF - 0x80n, 1)];
    expect(violationOf(lines)).toEqual({
      kind: "unflushed",
      cpu: 1,
      table: 0,
      level: 3,
      address: BigInt(ROOT + L3),
      ipa: 0n,
      oldValue: LEAF,
      newValue: LEAF - 0x80n,
      record: n + 3,
      because: [n + 3],
      cause: "downgrade",
      missing: "tlbi",
    });
  });

  it("which entry of a table that is linked is wrong", () => {
    const lines = [
      ...head,
      `mem-init ${at(0x4000)} (size 0x1000)`,
      put(0x4018, 0x8000_0001),
      put(L2 + 8, ROOT + 0x4003),
    ];
    expect(violationOf(lines)).toEqual({
      ...NOTHING,
      kind: "encoding",
      cpu: 0,
      level: 3,
      address: BigInt(ROOT + 0x4018),
      newValue: 0x8000_0001n,
      record: n + 2,
    });
  });

  it("which VMID went to which table", () => {
    const lines = [...head, ...root(0x8000), ...vttbr(0x8000, 7), ...vttbr(0x8000, 7, 1), ...vttbr(0, 7)];
    expect(violationOf(lines)).toEqual({
      ...NOTHING,
      kind: "vmid",
      cpu: 0,
      level: 0,
      address: BigInt(ROOT),
      oldValue: BigInt(ROOT + 0x8000),
      newValue: 7n,
      record: n + 6,
    });
  });

  it("which register changed, and when", () => {
    const lines = [...head, put(L3, LEAF), sysreg("hcr_el2", 0x4000_0000_0001n), DSB];
    expect(violationOf(lines)).toMatchObject({
      kind: "live-control",
      address: BigInt(ROOT),
      because: [n + 1],
      cause: "control",
      missing: "tlbi",
    });
  });

  it("how many there were, and what is open", () => {
    const lines = [...head, put(L3, LEAF), put(L3 + 8, LEAF + 0x1000n), put(L3, 0), put(L3 + 8, 0), unlock, unlock];
    expect(judgeLog(logOf(lines))).toMatchObject({ count: 2, open: 2, records: n + 6 });
  });
});

describe("clocks of several CPUs", () => {
  const start = [...prologue(3), put(L3, LEAF), DSB, unlock];
  const broken = (tid: number): string[] => [`t${tid} ${lock}`, put(L3, 0, tid), `t${tid} ${unlock}`];
  const made = (tid: number): string[] => [`t${tid} ${lock}`, ...flushPage(0, tid), put(L3, OTHER, tid)];
  it.each([
    ["CPU 1 breaks, CPU 0 flushes and makes", [...broken(1), ...made(0)], "ok"],
    ["CPU 2 breaks, CPU 1 flushes and makes", [...broken(2), ...made(1)], "ok"],
    ["CPU 0 breaks, CPU 2 flushes and makes", [...broken(0), ...made(2)], "ok"],
    ["by way of a third CPU's lock", [...broken(2), `t1 ${lock}`, `t1 ${unlock}`, ...made(0)], "ok"],
    [
      "CPU 2 breaks, CPU 1 flushes without knowing",
      [...broken(2), ...flushPage(0, 1), `t0 ${lock}`, put(L3, OTHER)],
      "early-make dsb-before-tlbi",
    ],
    [
      "CPU 1's DSB orders nothing that CPU 2 did after it let go of the lock",
      [
        `t2 ${lock}`,
        put(L3 + 8, 0, 2),
        `t2 ${unlock}`,
        `t1 ${lock}`,
        `t1 ${unlock}`,
        ...broken(2),
        ...flushPage(0, 1),
        `t0 ${lock}`,
        put(L3, OTHER),
      ],
      "early-make dsb-before-tlbi",
    ],
    [
      "a DSB of another CPU does not complete the TLBI",
      [
        `t1 ${lock}`,
        put(L3, 0, 1),
        "t1 barrier dsb (kind ish)",
        "t1 tlbi vmalls12e1is",
        "t2 barrier dsb (kind ish)",
        put(L3, OTHER, 1),
      ],
      "early-make dsb-after-tlbi",
    ],
    [
      "a release read by another CPU hands on what is behind it",
      [`t1 ${lock}`, put(L3, 0, 1), `t2 mem-read ${at(L3)} (value 0x0)`, ...flushPage(0, 2), put(L3, OTHER, 1)],
      "ok",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...start, ...lines])).toBe(expected);
  });

  it("locks are told apart, however many there are", () => {
    const many = Array.from({ length: 600 }, (_, i) => `lock (address 0x${(0x5000 + i * 0x40).toString(16)})`);
    const back = Array.from({ length: 600 }, (_, i) => `unlock (address 0x${(0x5000 + i * 0x40).toString(16)})`);
    expect(firstOf([...many, ...back])).toBe("ok");
    expect(firstOf([...many, ...back, ...back.slice(0, 1)])).toBe("lock");
    expect(firstOf([...many, "t1 lock (address 0x5040)"])).toBe("lock");
    expect(
      firstOf([
        "trylock (address 0x5000)",
        "trylock (address 0x5000)",
        "unlock (address 0x5000)",
        "t1 lock (address 0x5000)",
      ]),
    ).toBe("lock");
  });
});

describe("many pages", () => {
  it("are all found again", () => {
    const pages = 6000;
    const lines = [
      ...prologue(),
      `mem-init (address 0x200000000) (size 0x${(pages * 0x1000).toString(16)})`,
      ...Array.from({ length: 500 }, (_, i) => put(L2 + 8 + i * 8, 0x2_0000_0003 + i * 12 * 0x1000)),
      ...Array.from(
        { length: 500 },
        (_, i) =>
          `mem-write (mem-order release) (address 0x${(0x2_0000_0000 + i * 12 * 0x1000).toString(16)}) (value 0x${(0x80_0000_07ff + i * 0x1000).toString(16)})`,
      ),
    ];
    const judged = judgeLog(logOf(lines));
    expect(judged.violations.map(({ message }) => message)).toEqual([]);
    const again = `mem-init (address 0x200000000) (size 0x${(pages * 0x1000).toString(16)})`;
    expect(judgeLog(logOf([...lines, again])).count).toBe(500);
  });

  it("may be given back and set up again", () => {
    const turn = (i: number): string[] => [
      `mem-init (address 0x${(0x2_0000_0000 + i * 0x1000).toString(16)}) (size 0x1000)`,
      `mem-free (address 0x${(0x2_0000_0000 + i * 0x1000).toString(16)}) (size 0x1000)`,
    ];
    const lines = Array.from({ length: 5000 }, (_, i) => turn(i)).flat();
    expect(firstOf([...lines, ...lines.slice(0, 200)])).toBe("ok");
  });
});

describe("memory below a table", () => {
  const other = (leaf: bigint): string[] => [...second(leaf), DSB];
  const page = [...prologue(), put(L3, LEAF), DSB];
  const all = flush("vmalls12e1is");
  const HUGE = 0x8_0000_07fdn;
  it.each([
    ["is free once the table is unlinked and flushed", [...page, put(L2, 0), ...all, unlock, ...other(LEAF)], "ok"],
    ["is not before the flush", [...page, put(L2, 0), unlock, ...other(LEAF)], "frame-reuse"],
    ["is free two levels below", [...page, put(0x1000, 0), ...all, unlock, ...other(LEAF)], "ok"],
    [
      "is free once the VM is released",
      [
        ...page,
        unlock,
        ...root(0x9000),
        ...vttbr(0x9000, 9),
        "hint (kind release_table) (location 0x100000000) (value 0x0)",
        ...other(LEAF),
      ],
      "ok",
    ],
    [
      "stays the VM's while it is mapped twice and unmapped once",
      [...page, put(L3 + 8, LEAF), put(L3, 0), ...all, unlock, ...other(LEAF)],
      "shared-frame",
    ],
    [
      "of a block is each of its pages",
      [...prologue(), put(L2 + 8, HUGE), DSB, unlock, ...other(LEAF + 0x1ff000n)],
      "shared-frame",
    ],
    ["of a block ends with it", [...prologue(), put(L2 + 8, HUGE), DSB, unlock, ...other(LEAF + 0x200000n)], "ok"],
    [
      "of a writable page that is gone may be read by two",
      [...page, put(L3, 0), ...all, put(L3, LEAF - 0x80n), unlock, ...other(LEAF - 0x80n)],
      "ok",
    ],
    [
      "written to by the second VM only",
      [...prologue(), put(L3, LEAF - 0x80n), DSB, unlock, ...other(LEAF)],
      "shared-frame",
    ],
    [
      "goes with a table that comes linked with it",
      [
        ...prologue(),
        `mem-init ${at(0x4000)} (size 0x1000)`,
        put(0x4000, LEAF),
        put(L2 + 8, ROOT + 0x4003),
        DSB,
        unlock,
        ...other(LEAF),
      ],
      "shared-frame",
    ],
    [
      "is memory if only the upper of its two bits says so",
      [...prologue(), put(L3, LEAF - 0x1cn), DSB, unlock, ...other(LEAF - 0x1cn)],
      "shared-frame",
    ],
    [
      "is memory if only the lower of the two says so",
      [...prologue(), put(L3, LEAF - 0x2cn), DSB, unlock, ...other(LEAF - 0x2cn)],
      "shared-frame",
    ],
    [
      "is a device's if the lower attribute bits alone are set",
      [...prologue(), put(L3, LEAF - 0x30n), DSB, unlock, ...other(LEAF - 0x30n)],
      "ok",
    ],
    [
      "is looked at for blocks of 1 GiB",
      [...prologue(), put(0x1008, (HUGE & ~0x3fffffffn) | 0x7fdn), DSB, unlock, ...other(LEAF)],
      "shared-frame",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf(lines)).toBe(expected);
  });

  it("is anybody's where nobody said that it is exclusive", () => {
    expect(firstOf([...page, unlock, ...other(LEAF)], { ...CASEMATE_OPTIONS, exclusive: false })).toBe("ok");
  });
});

describe("tables that move", () => {
  const zero = `mem-set ${at(L3)} (size 0x1000) (value 0x0)`;
  const unlinked = [
    ...prologue(),
    put(L3, LEAF),
    put(L3 + 8, LEAF + 0x1000n),
    DSB,
    put(L2, 0),
    ...flush("vmalls12e1is"),
  ];
  const elsewhere = put(L2 + 8, ROOT + L3 + 3);
  it.each([
    ["zeroed and filled anew", [zero, put(L3, OTHER), elsewhere], "ok"],
    ["each entry written anew", [put(L3, OTHER), put(L3 + 8, OTHER + 0x1000n), elsewhere], "ok"],
    ["one entry written anew, one left", [put(L3, OTHER), elsewhere], "stale-table"],
    ["as it was", [elsewhere], "stale-table"],
    [
      "to be another VM's root, as it was",
      [...[`hint (kind set_root_lock) (location 0x${(ROOT + L3).toString(16)}) (value 0x5)`], ...vttbr(L3, 2)],
      "stale-table",
    ],
    ["twice", [zero, elsewhere, put(L2 + 16, ROOT + L3 + 3)], "linked-twice"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...unlinked, ...lines])).toBe(expected);
  });

  it("a table whose place a block took, as FEAT_BBM allows, may not change before its flush", () => {
    const lines = [...prologue(), put(L3, LEAF), DSB, put(L2, 0x8_0000_07fd), put(L3, OTHER)];
    expect(firstOf(lines, { ...CASEMATE_OPTIONS, bbm: 2 })).toBe("frozen tlbi");
    const flushed = [...lines.slice(0, -1), ...flush("vmalls12e1is"), put(L3, OTHER)];
    expect(firstOf(flushed, { ...CASEMATE_OPTIONS, bbm: 2 })).toBe("ok");
  });
});

describe("local flushes where the number of CPUs is told", () => {
  const options = { ...CASEMATE_OPTIONS, cpus: 2 };
  const broken = [...prologue(2), put(L3, LEAF), DSB, put(L3, 0)];
  const own = (tid: number, op: string): string[] => [
    `t${tid} barrier dsb (kind ish)`,
    `t${tid} tlbi ${op}`,
    `t${tid} barrier dsb (kind nsh)`,
  ];
  const hand = [unlock, `t1 ${lock}`];
  it.each([
    ["vmalls12e1 on both", [...own(0, "vmalls12e1"), ...hand, ...own(1, "vmalls12e1"), put(L3, OTHER, 1)], "ok"],
    ["alle1 on both", [...own(0, "alle1"), ...hand, ...own(1, "alle1"), put(L3, OTHER, 1)], "ok"],
    ["vmalls12e1 on one", [...own(0, "vmalls12e1"), ...hand, put(L3, OTHER, 1)], "early-make tlbi-broadcast"],
    ["vmalle1 on both", [...own(0, "vmalle1"), ...hand, ...own(1, "vmalle1"), put(L3, OTHER, 1)], "early-make tlbi"],
    [
      "alle2 on both, of another regime",
      [...own(0, "alle2"), ...hand, ...own(1, "alle2"), put(L3, OTHER, 1)],
      "early-make tlbi",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...broken, ...lines], options)).toBe(expected);
  });
});

describe("what an unlinked table leaves behind", () => {
  const broken = [...prologue(), put(L3, LEAF), put(L3 + 8, LEAF + 0x1000n), DSB];
  const both = [DSB, "tlbi ipas2e1is (value 0x0)", "tlbi ipas2e1is (value 0x1)", DSB, "tlbi vmalle1is", DSB];
  const one = [DSB, "tlbi ipas2e1is (value 0x0)", DSB, "tlbi vmalle1is", DSB];
  const two = [DSB, "tlbi ipas2e1is (value 0x1)", DSB, "tlbi vmalle1is", DSB];
  const free = `mem-free ${at(L3)} (size 0x1000)`;
  const block = put(L2, 0x9_0000_07fd);
  it.each([
    ["a leaf broken before, and flushed with it", [put(L3, 0), put(L2, 0), ...both, free], "ok"],
    ["leaves that one address does not reach", [put(L2, 0), ...one, free], "early-free tlbi-below"],
    ["a page of it reached by its own address later", [put(L2, 0), ...one, ...two, free], "ok"],
    ["nothing where it was empty", [put(L3, 0), put(L3 + 8, 0), ...both, put(L2, 0), ...one, free], "ok"],
    ["a block in its place before the second page is flushed", [put(L2, 0), ...one, block], "early-make tlbi-below"],
    ["a block in its place after it", [put(L2, 0), ...one, ...two, block], "ok"],
    ["two levels, by the address of one page", [put(0x1000, 0), ...one, free], "early-free tlbi-below"],
    ["two levels, by the addresses of both", [put(0x1000, 0), ...both, free], "ok"],
    ["two levels, by VMALLS12E1IS", [put(0x1000, 0), ...flush("vmalls12e1is"), free], "ok"],
    [
      "a table freed under a table that is freed later",
      [put(0x1000, 0), ...flush("vmalls12e1is"), free, `mem-free ${at(L2)} (size 0x1000)`],
      "ok",
    ],
    [
      "a leaf broken and not flushed, its table gone and flushed by address of another",
      [put(L3 + 8, 0), put(L2, 0), ...one, free],
      "unflushed tlbi",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...broken, ...lines])).toBe(expected);
  });
});

describe("input sizes", () => {
  it.each([
    [0x8002_3590, "ok"], // 4K, 48 bits from level 0
    [0x8002_3558, "ok"], // 4K, 40 bits from level 1, two start tables
    [0x8002_3550, "geometry"], // 4K, 48 bits from level 1: 512 start tables
    [0x8002_3500, "geometry"], // 4K, 64 bits
    [0x8002_35ae, "geometry"], // 4K, 18 bits
  ])("VTCR_EL2 %i", (vtcr, expected) => {
    const lines = [sysreg("vtcr_el2", vtcr), `mem-init ${at(0)} (size 0x10000)`, ...vttbr(0, 1)];
    expect(firstOf(lines)).toBe(expected);
  });

  it("16 start tables stand side by side, and each covers its own input", () => {
    const start = [
      sysreg("vtcr_el2", 0x8005_b558),
      `mem-init ${at(0)} (size 0x80000)`,
      "hint (kind set_root_lock) (location 0x100000000) (value 0x100064000)",
      ...vttbr(0, 1),
      lock,
    ];
    // Root page 3 of a 16K table: input from 3 * 2^36; its first entry names a table of pages.
    const mapped = [put(0xc000, ROOT + 0x40003), put(0x40000, 0x8000_07ff), DSB, put(0x40000, 0), DSB];
    const tlbi = (ipa: number): string[] => [
      `tlbi ipas2e1is (value 0x${((0xbn << 44n) | (BigInt(ipa) >> 12n)).toString(16)})`,
      DSB,
      "tlbi vmalle1is",
      DSB,
    ];
    expect(firstOf([...start, ...mapped, ...tlbi(3 * 2 ** 36), put(0x40000, 0x9000_07ff)])).toBe("ok");
    expect(firstOf([...start, ...mapped, ...tlbi(2 * 2 ** 36), put(0x40000, 0x9000_07ff)])).toBe("early-make tlbi");
  });
});

describe("steps that only some logs need", () => {
  const leaf = [...prologue(), put(L3, LEAF), DSB];
  const twoCpus = { ...CASEMATE_OPTIONS, cpus: 2 };
  const made = put(L3, OTHER);
  it("a CPU's own DSB NSH orders its own break before its own local TLBI", () => {
    const nsh = "barrier dsb (kind nsh)";
    const lines = [...prologue(2), put(L3, LEAF), DSB, put(L3, 0), nsh, "tlbi vmalls12e1", nsh];
    const other = [
      unlock,
      `t1 ${lock}`,
      "t1 barrier dsb (kind ish)",
      "t1 tlbi vmalls12e1",
      "t1 barrier dsb (kind nsh)",
    ];
    expect(firstOf([...lines, ...other, put(L3, OTHER, 1)], twoCpus)).toBe("ok");
    const unordered = lines.filter((line, n) => line !== nsh || n === lines.length - 1);
    expect(firstOf([...unordered, ...other, put(L3, OTHER, 1)], twoCpus)).toBe("early-make tlbi-broadcast");
    const early = [...prologue(2), put(L3, LEAF), DSB, nsh, put(L3, 0), "tlbi vmalls12e1", nsh];
    expect(firstOf([...early, ...other, put(L3, OTHER, 1)], twoCpus)).toBe("early-make tlbi-broadcast");
  });

  it("a TLBI that missed a table is followed by one that reaches it", () => {
    const lines = [
      ...leaf,
      put(L2, 0),
      DSB,
      "tlbi ipas2e1is (value 0x700000000000)",
      "tlbi ipas2e1is (value 0x0)",
      DSB,
    ];
    expect(firstOf([...lines, "tlbi vmalle1is", DSB, `mem-free ${at(L3)} (size 0x1000)`])).toBe("ok");
  });

  it("flushes of several VMIDs outlast a DSB NSH and end with a DSB ISH", () => {
    const lines = [...leaf, ...root(0x8000), ...root(0x9000), put(L3, 0), DSB, "tlbi vmalls12e1is"];
    const others = [...vttbr(0x8000, 2), "tlbi vmalls12e1is", ...vttbr(0x9000, 3), "tlbi vmalls12e1is"];
    const nsh = "barrier dsb (kind nsh)";
    expect(firstOf([...lines, ...others, nsh, DSB, made])).toBe("ok");
    expect(firstOf([...lines, ...others, nsh, made])).toBe("early-make dsb-after-tlbi");
  });

  it("a VM may map its memory twice", () => {
    expect(firstOf([...leaf, put(L3 + 8, LEAF), put(L3 + 16, LEAF)])).toBe("ok");
  });

  it("of two rights that were taken one is given back", () => {
    const XN = 1n << 54n;
    const lines = [...leaf, put(L3, LEAF - 0x80n), put(L3, (LEAF - 0x80n) | XN), put(L3, LEAF - 0x80n)];
    expect(firstOf(lines)).toBe("unflushed tlbi");
  });

  it("an empty page that is set up twice keeps the lock that it got between", () => {
    const page = `mem-init ${at(0x20000)} (size 0x1000)`;
    const lines = [page, "hint (kind set_root_lock) (location 0x100020000) (value 0x5000)", page, ...vttbr(0x20000, 4)];
    expect(firstOf([...leaf, ...lines, put(0x20000, 4)])).toBe("unlocked");
  });

  it("a root that nobody set up is one violation", () => {
    expect(judgeLog(logOf([...leaf, ...vttbr(0x40000, 5)])).count).toBe(1);
  });
});
