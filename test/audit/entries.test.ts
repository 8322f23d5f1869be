// Single entries before the judge: what may change in place, what owes a flush, and which flush reaches it [HWM-30..42, TLB-5, TLB-6].

import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS } from "../../bindings/audit/index.js";
import { at, firstOf, flush, flushPage, LOCK, prologue, put, ROOT, root, sysreg, vttbr } from "./support.js";

const L2 = 0x2000;
const L3 = 0x3000;
const LEAF = 0x8000_07ffn;
const AF = 0x400n;
const OLD = LEAF - AF;
const OTHER = 0x9000_07ffn;
const DEVICE = 0x8000_07c7n;
const READ_ONLY = LEAF - 0x80n;
const XN = 1n << 54n;
const SOFTWARE = 1n << 55n;
const DBM = 1n << 51n;
const CONTIGUOUS = 1n << 52n;
const NT = 1n << 16n;
const BLOCK = 0x8000_07fdn;
const DSB = "barrier dsb (kind ish)";
const HA = 0x8025_3590;
const HD = 0x8065_3590;
const page = flushPage(0);

describe("an access flag that is cleared leaves its translation in TLBs", () => {
  it.each([
    ["nobody need flush it", [put(L3, OLD)], "ok"],
    ["other memory in place", [put(L3, OLD), put(L3, OTHER)], "no-break tlbi"],
    ["other memory in place, once flushed", [put(L3, OLD), ...page, put(L3, OTHER)], "ok"],
    ["another type in place", [put(L3, OLD), put(L3, DEVICE)], "no-break tlbi"],
    ["another type in place, flushed after", [put(L3, OLD), put(L3, DEVICE), ...page], "no-break tlbi"],
    ["unmapped, never flushed", [put(L3, OLD), put(L3, 0)], "unflushed tlbi"],
    ["unmapped and flushed", [put(L3, OLD), put(L3, 0), ...page], "ok"],
    ["write-protected, never flushed", [put(L3, OLD), put(L3, OLD - 0x80n)], "unflushed tlbi"],
    ["write-protected and flushed", [put(L3, OLD), put(L3, OLD - 0x80n), ...page], "ok"],
    ["write-protected before, never flushed", [put(L3, READ_ONLY), put(L3, READ_ONLY - AF)], "unflushed tlbi"],
    ["set again", [put(L3, OLD), put(L3, LEAF)], "ok"],
    ["broken, and back without it", [put(L3, 0), put(L3, OLD)], "ok"],
    ["where it never was set, other memory", [put(L3 + 8, OLD), put(L3 + 8, OTHER - AF)], "ok"],
    [
      "where it never was set, a table",
      [put(L2 + 8, BLOCK - AF), `mem-init ${at(0x4000)} (size 0x1000)`, put(L2 + 8, ROOT + 0x4003)],
      "ok",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...prologue(), put(L3, LEAF), DSB, ...lines])).toBe(expected);
  });

  it("a judge may be told to ask for its flush", () => {
    const log = [...prologue(), put(L3, LEAF), put(L3, OLD)];
    expect(firstOf(log, { ...CASEMATE_OPTIONS, age: true })).toBe("unflushed tlbi");
    expect(firstOf([...log, ...page], { ...CASEMATE_OPTIONS, age: true })).toBe("ok");
  });

  it("hardware that sets it may have cached what has none", () => {
    expect(firstOf([...prologue(1, HA), put(L3, OLD), put(L3, OTHER - AF)])).toBe("no-break");
    expect(firstOf([...prologue(1, HA), put(L3, OLD), put(L3, 0)])).toBe("unflushed tlbi");
  });
});

describe("rights", () => {
  it.each([
    ["taken and given back", [put(L3, READ_ONLY), put(L3, LEAF)], "ok"],
    [
      "taken one after the other, and all given back",
      [put(L3, READ_ONLY), put(L3, READ_ONLY | XN), put(L3, LEAF)],
      "ok",
    ],
    [
      "taken, others given, and what was taken given back",
      [put(L3, LEAF | XN), put(L3, READ_ONLY), put(L3, LEAF)],
      "ok",
    ],
    [
      "given while others are owed, taken, and those given back",
      [
        put(L3 + 8, READ_ONLY),
        put(L3 + 8, READ_ONLY | XN),
        put(L3 + 8, LEAF | XN),
        put(L3 + 8, READ_ONLY | XN),
        put(L3 + 8, READ_ONLY),
      ],
      "unflushed tlbi",
    ],
    ["broken, and back with fewer", [put(L3, 0), put(L3, READ_ONLY)], "unflushed tlbi"],
    ["broken, back with fewer, and flushed", [put(L3, 0), put(L3, READ_ONLY), ...page], "ok"],
    ["broken, and back with more", [put(L3 + 8, READ_ONLY), put(L3 + 8, 0), put(L3 + 8, LEAF)], "ok"],
    ["broken, and back as another type", [put(L3, 0), put(L3, DEVICE)], "early-make tlbi"],
    [
      "taken, flushed in part, software bits changed, DSB",
      [put(L3, READ_ONLY), DSB, "tlbi vmalls12e1is", put(L3, READ_ONLY | SOFTWARE), DSB],
      "ok",
    ],
    ["read taken", [put(L3, LEAF - 0x40n)], "unflushed tlbi"],
    ["privileged execution taken", [put(L3, LEAF | (1n << 53n))], "unflushed tlbi"],
    ["unprivileged execution taken", [put(L3, LEAF | (3n << 53n))], "unflushed tlbi"],
    ["hidden behind software bits", [put(L3, (LEAF - 0x40n) | SOFTWARE)], "unflushed tlbi"],
    ["software bits alone", [put(L3, LEAF | SOFTWARE)], "ok"],
    ["DBM taken where hardware does not use it", [put(L3 + 8, READ_ONLY | DBM), put(L3 + 8, READ_ONLY)], "ok"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...prologue(), put(L3, LEAF), DSB, ...lines])).toBe(expected);
  });

  it("DBM taken where hardware uses it takes the right to write", () => {
    expect(firstOf([...prologue(1, HD), put(L3, READ_ONLY | DBM), put(L3, READ_ONLY)])).toBe("unflushed tlbi");
    expect(firstOf([...prologue(1, HD), put(L3, READ_ONLY | DBM), put(L3, LEAF | DBM)])).toBe("ok");
  });
});

describe("tables and blocks", () => {
  const four = `mem-init ${at(0x4000)} (size 0x1000)`;
  it.each([
    ["a block's place taken by a table", [put(L2 + 8, BLOCK), four, put(L2 + 8, ROOT + 0x4003)], "no-break"],
    ["a table's place taken by a block", [put(L2, BLOCK)], "no-break"],
    ["a table's place taken by another", [four, put(L2, ROOT + 0x4003)], "no-break"],
    ["ignored bits of a table", [put(L2, BigInt(ROOT + L3 + 3) | SOFTWARE)], "ok"],
    ["an unlinked table that is written to", [put(L3, LEAF), put(L2, 0), put(L3, OTHER)], "frozen tlbi"],
    [
      "an unlinked table whose holes are annotated",
      [put(L3, LEAF), put(L2, 0), put(L3 + 8, 4), ...flush("vmalls12e1is")],
      "ok",
    ],
    [
      "an unlinked table that is written to once flushed",
      [put(L3, LEAF), put(L2, 0), ...flush("vmalls12e1is"), put(L3, OTHER)],
      "ok",
    ],
    ["an unlinked table that comes back before any flush", [put(L3, LEAF), put(L2, 0), put(L2, ROOT + L3 + 3)], "ok"],
    [
      "an unlinked table that comes back elsewhere, zeroed",
      [
        put(L3, LEAF),
        put(L2, 0),
        ...flush("vmalls12e1is"),
        `mem-set ${at(L3)} (size 0x1000) (value 0x0)`,
        put(L2 + 8, ROOT + L3 + 3),
      ],
      "ok",
    ],
    [
      "an unlinked table that comes back in its place, one entry changed",
      [
        put(L3, LEAF),
        put(L3 + 8, LEAF + 0x1000n),
        put(L2, 0),
        ...flush("vmalls12e1is"),
        put(L3, OTHER),
        put(L2, ROOT + L3 + 3),
      ],
      "ok",
    ],
    ["a linked table beyond the known pages", [put(L2 + 8, 0x7_0000_0003)], "unknown-page"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...prologue(), ...lines])).toBe(expected);
  });

  it.each([
    [0, BLOCK, "no-break"],
    [1, BLOCK, "no-break"],
    [1, BLOCK | NT, "ok"],
    [2, BLOCK, "ok"],
  ] as const)("with FEAT_BBM level %d a table may take the place of block %#", (bbm, block, expected) => {
    const lines = [
      ...prologue(),
      put(L2 + 8, block),
      `mem-init ${at(0x4000)} (size 0x1000)`,
      put(L2 + 8, ROOT + 0x4003),
      ...flush("vmalls12e1is"),
    ];
    expect(firstOf(lines, { ...CASEMATE_OPTIONS, bbm })).toBe(expected);
  });

  it("with FEAT_BBM level 2 the flush is owed still", () => {
    const lines = [
      ...prologue(),
      put(L2 + 8, BLOCK),
      `mem-init ${at(0x4000)} (size 0x1000)`,
      put(L2 + 8, ROOT + 0x4003),
    ];
    expect(firstOf(lines, { ...CASEMATE_OPTIONS, bbm: 2 })).toBe("unflushed tlbi");
  });
});

describe("contiguous runs", () => {
  const RUN = 16;
  const each = (value: (i: number) => number | bigint): string[] =>
    Array.from({ length: RUN }, (_, i) => put(L3 + i * 8, value(i)));
  const member = (i: number): bigint => (LEAF | CONTIGUOUS) + BigInt(i) * 0x1000n;
  const run = [...prologue(), ...each(member), DSB];
  const broken = each(() => 0);
  it.each([
    ["made entry by entry", [], "ok"],
    [
      "broken, flushed and remade apart",
      [...broken, ...flush("vmalls12e1is"), ...each((i) => OTHER + BigInt(i) * 0x1000n)],
      "ok",
    ],
    [
      "broken, with one TLBI of the first page",
      [...broken, ...page, ...each((i) => OTHER + BigInt(i) * 0x1000n)],
      "early-make tlbi",
    ],
    ["one remade apart while the others stand", [put(L3, 0), ...flush("vmalls12e1is"), put(L3, OTHER)], "contiguous"],
    ["one remade as it was", [put(L3, 0), ...flush("vmalls12e1is"), put(L3, member(0))], "ok"],
    ["one left out", [put(L3 + 56, 0), ...flush("vmalls12e1is")], "contiguous"],
    ["one of other memory", [put(L3, 0), ...flush("vmalls12e1is"), put(L3, member(1))], "contiguous"],
    ["one of another type", [put(L3, 0), ...flush("vmalls12e1is"), put(L3, DEVICE | CONTIGUOUS)], "contiguous"],
    ["write-protected entry by entry", [...each((i) => member(i) - 0x80n), ...flush("vmalls12e1is")], "ok"],
    ["the bit taken in place", [put(L3, LEAF)], "no-break"],
    ["a page of the next run apart", [put(L3 + RUN * 8, OTHER)], "ok"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...run, ...lines])).toBe(expected);
  });

  it("the bit may change in place with FEAT_BBM level 2", () => {
    const log = [...run, ...each((i) => LEAF + BigInt(i) * 0x1000n), ...flush("vmalls12e1is")];
    expect(firstOf(log, { ...CASEMATE_OPTIONS, bbm: 2 })).toBe("ok");
  });
});

describe("a level hint", () => {
  const ttl = (code: number, ipa = 0): string[] => [
    "barrier dsb (kind ishst)",
    `tlbi ipas2e1is (value 0x${((BigInt(code) << 44n) | BigInt(ipa)).toString(16)})`,
    DSB,
    "tlbi vmalle1is",
    DSB,
  ];
  const log = (code: number, vtcr = 0x8005_3590): string[] => [
    ...prologue(1, vtcr),
    put(L3, LEAF),
    put(L3, 0),
    ...ttl(code),
    put(L3, OTHER),
  ];
  it.each([
    [0b0000, "ok"],
    [0b0011, "ok"],
    [0b0100, "ok"],
    [0b0101, "early-make tlbi-level"],
    [0b0110, "early-make tlbi-level"],
    [0b0111, "ok"],
    [0b1000, "ok"],
    [0b1001, "ok"],
    [0b1011, "early-make tlbi-level"],
    [0b1100, "ok"],
    [0b1111, "early-make tlbi-level"],
  ])("%i for a 4K page: reserved values are no hint, other granules and levels reach nothing", (code, expected) => {
    expect(firstOf(log(code))).toBe(expected);
  });

  it("level 0 is one under LPA2", () => {
    expect(firstOf(log(0b0100, 0x1_8006_3590))).toBe("early-make tlbi-level");
  });

  it("is none for a table", () => {
    const lines = [...prologue(), put(L2, 0), ...ttl(0b0110), `mem-free ${at(L3)} (size 0x1000)`];
    expect(firstOf(lines)).toBe("early-free tlbi-level");
  });
});

describe("flushes that wait for a DSB", () => {
  const roots = Array.from({ length: 12 }, (_, i) => 0x10000 + i * 0x1000);
  const all = [...roots.flatMap((offset) => root(offset)), ...roots.flatMap((offset, i) => vttbr(offset, i + 10))];
  it("are as many as there are tables", () => {
    const lines = [...prologue(), put(L3, LEAF), put(L3, 0), DSB, "tlbi vmalls12e1is", ...all];
    const others = roots.flatMap((offset, i) => [...vttbr(offset, i + 10), "tlbi vmalls12e1is"]);
    expect(firstOf([...lines, ...others, DSB, put(L3, OTHER)])).toBe("ok");
    expect(firstOf([...lines, ...others, put(L3, OTHER)])).toBe("early-make dsb-after-tlbi");
  });

  it("complete after another table was loaded", () => {
    const lines = [...prologue(), ...root(0x8000), put(L3, LEAF), put(L3, 0), DSB, "tlbi vmalls12e1is"];
    expect(firstOf([...lines, ...vttbr(0x8000, 2), DSB, put(L3, OTHER)])).toBe("ok");
  });

  it("are of the VMID that was there, whether stage 2 is on or off", () => {
    const lines = [
      ...prologue(),
      put(L3, LEAF),
      put(L3, 0),
      sysreg("hcr_el2", 0),
      ...flush("vmalls12e1is"),
      put(L3, OTHER),
    ];
    expect(firstOf(lines)).toBe("ok");
  });
});

describe("roots above 2^48", () => {
  const high = (ttbr: string): string[] => [
    sysreg("vtcr_el2", 0x1_8006_3590),
    "mem-init (address 0x1000000000000) (size 0x1000)",
    "hint (kind set_root_lock) (location 0x1000000000000) (value 0x88000)",
    `sysreg-write (sysreg vttbr_el2) (value ${ttbr})`,
  ];
  it("lie in bits 5:2 of VTTBR_EL2 under LPA2", () => {
    expect(
      firstOf([
        ...high("0x1000000000004"),
        "lock (address 0x88000)",
        "mem-write (mem-order release) (address 0x1000000000000) (value 0x400)",
      ]),
    ).toBe("ok");
    expect(firstOf(high("0x1000000000008"))).toBe("unknown-page");
  });
});

describe("who may write", () => {
  it.each([
    [
      "a slot lent to another CPU",
      [`hint (kind set_pte_thread_owner) ${at(L3).replace("address", "location")} (value 0x1)`, put(L3, LEAF)],
      "stolen",
    ],
    [
      "a slot lent to this CPU, without the lock",
      [
        `hint (kind set_pte_thread_owner) ${at(L3).replace("address", "location")} (value 0x0)`,
        `unlock ${LOCK}`,
        put(L3, LEAF),
      ],
      "ok",
    ],
    [
      "a slot that was lent and taken back",
      [
        `hint (kind set_pte_thread_owner) ${at(L3).replace("address", "location")} (value 0x1)`,
        `hint (kind set_pte_thread_owner) ${at(L3).replace("address", "location")} (value 0xffffffffffffffff)`,
        put(L3, LEAF),
      ],
      "ok",
    ],
    ["an AF=0 page changed in place without the lock", [put(L3, OLD), `unlock ${LOCK}`, put(L3, OLD | 0x80n)], "ok"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...prologue(2), ...lines])).toBe(expected);
  });
});
