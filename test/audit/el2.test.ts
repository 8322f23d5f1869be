// EL2's own tables, and the registers that rule translations, before the judge [TLB-33, HWM-37, HWM-43].

import { describe, expect, it } from "vitest";
import {
  at,
  firstOf,
  flush,
  flushPage,
  hypPrologue,
  LOCK,
  prologue,
  put,
  ROOT,
  root,
  sysreg,
  vttbr,
} from "./support.js";

const L3 = 0x3000;
const HYP = 0x8_0000_0743;
const HYP_OTHER = 0x9_0000_0743;
const LEAF = 0x8_0000_07ff;
const OTHER = 0x9_0000_07ff;
const NEXT = 0x8000;
const E2H = 0x4_0000_0000;
const TGE = 0x800_0000;
const FWB = 0x4000_0000_0000;
const unlock = `unlock ${LOCK}`;
const local = ["tlbi alle2", "barrier dsb (kind nsh)"];
const va = (operand: number | bigint, last = false): string[] => [
  "barrier dsb (kind ishst)",
  `tlbi ${last ? "vale2is" : "vae2is"} (value 0x${operand.toString(16)})`,
  "barrier dsb (kind ish)",
];

describe("another table in TTBR0_EL2", () => {
  const start = [...hypPrologue(), put(L3, HYP), "barrier dsb (kind ish)", unlock, ...root(NEXT)];
  const off = sysreg("sctlr_el2", 0);
  const on = sysreg("sctlr_el2", 1);
  const swap = sysreg("ttbr0_el2", ROOT + NEXT);
  it.each([
    ["with the MMU off, and ALLE2IS before it is on", [off, swap, ...flush("alle2is"), on], "ok"],
    ["with the MMU off, and ALLE2 of this CPU", [off, ...local, swap, on], "ok"],
    ["with the MMU off, and no flush", [off, swap, on], "stale-root"],
    ["with the MMU off, and a flush before", [...flush("alle2is"), off, swap, on], "stale-root"],
    [
      "with the MMU off, and ALLE2 of another CPU",
      [off, swap, "t1 tlbi alle2", "t1 barrier dsb (kind nsh)", on],
      "stale-root",
    ],
    ["with the MMU off, and ALLE1IS", [off, swap, ...flush("alle1is"), on], "stale-root"],
    ["with the MMU on", [swap], "stale-root"],
    ["with the MMU on, flushed after", [swap, ...flush("alle2is")], "stale-root"],
    ["the same table again", [off, sysreg("ttbr0_el2", ROOT), on], "ok"],
    ["not swapped at all", [off, on], "ok"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...start, ...lines])).toBe(expected);
  });

  it("an empty table leaves nothing behind", () => {
    expect(firstOf([...root(0), sysreg("ttbr0_el2", ROOT), ...root(NEXT), sysreg("ttbr0_el2", ROOT + NEXT)])).toBe(
      "ok",
    );
  });

  it("registers that a log names late are as they always were", () => {
    const start = hypPrologue().filter((line) => !/tcr_el2|mair_el2/.test(line) || line.includes("sctlr"));
    const late = [...start, put(0x3000, 0x8000_0403), sysreg("tcr_el2", 0x10), sysreg("mair_el2", 0xff)];
    expect(firstOf(late)).toBe("ok");
    expect(firstOf([...late, sysreg("mair_el2", 0x44)])).toBe("live-control tlbi");
  });

  it("ASIDs keep tables apart where EL2 has them", () => {
    const log = [...hypPrologue(E2H, (3n << 48n) | BigInt(ROOT)), put(L3, HYP), unlock, ...root(NEXT)];
    expect(firstOf([...log, sysreg("ttbr0_el2", (4n << 48n) | BigInt(ROOT + NEXT))])).toBe("ok");
    expect(firstOf([...log, sysreg("ttbr0_el2", (3n << 48n) | BigInt(ROOT + NEXT))])).toBe("stale-root");
    expect(firstOf([...hypPrologue(0, (3n << 48n) | BigInt(ROOT))])).toBe("asid");
  });
});

describe("TLBIs of EL2", () => {
  const broken = [put(L3, HYP), "barrier dsb (kind ish)", put(L3, 0)];
  const made = put(L3, HYP_OTHER);
  const of = (asid: number): string[] => va((BigInt(asid) << 48n) | (7n << 44n));
  const tagged = hypPrologue(E2H, (3n << 48n) | BigInt(ROOT));
  const notGlobal = [put(L3, HYP + 0x800), "barrier dsb (kind ish)", put(L3, 0)];
  it.each([
    ["VAE2IS of the address", [...hypPrologue(), ...broken, ...va(7n << 44n), made], "ok"],
    ["VAE2IS of another address", [...hypPrologue(), ...broken, ...va((7n << 44n) | 1n), made], "early-make tlbi"],
    [
      "VALE2IS of a table",
      [...hypPrologue(), put(0x2000, 0), ...va(0, true), `mem-free ${at(L3)} (size 0x1000)`],
      "early-free tlbi-all-levels",
    ],
    ["of the ASID, for an entry that is not global", [...tagged, ...notGlobal, ...of(3), made], "ok"],
    [
      "of another ASID, for an entry that is not global",
      [...tagged, ...notGlobal, ...of(4), made],
      "early-make tlbi-asid",
    ],
    ["of another ASID above 255", [...tagged, ...notGlobal, ...of(0x103), made], "early-make tlbi-asid"],
    ["of another ASID, for a global entry", [...tagged, ...broken, ...of(4), made], "ok"],
    ["ALLE2IS", [...hypPrologue(), ...broken, ...flush("alle2is"), made], "ok"],
    [
      "ALLE2 of one CPU",
      [...hypPrologue(), ...broken, "barrier dsb (kind ish)", ...local, made],
      "early-make tlbi-broadcast",
    ],
    [
      "VMALLE1IS for EL2&0, with E2H and TGE",
      [...hypPrologue(E2H + TGE), ...broken, ...flush("vmalle1is"), made],
      "ok",
    ],
    ["VMALLE1IS with E2H alone", [...hypPrologue(E2H), ...broken, ...flush("vmalle1is"), made], "early-make tlbi"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...lines, unlock])).toBe(expected);
  });

  it("VMALLE1IS is the guest's with TGE clear, and the host's with E2H and TGE", () => {
    const log = (hcr: number) => [
      ...prologue(1),
      sysreg("hcr_el2", hcr),
      "barrier isb",
      put(L3, LEAF),
      put(L3, 0),
      ...flushPage(0),
      put(L3, OTHER),
    ];
    expect(firstOf(log(1 + E2H))).toBe("ok");
    expect(firstOf(log(1 + TGE))).toBe("ok");
    expect(firstOf(log(1 + E2H + TGE))).toBe("early-make tlbi-stage1");
  });
});

describe("rights that a table descriptor takes from all below it", () => {
  const pages = [put(L3, HYP), put(L3 + 8, HYP + 0x1000), "barrier dsb (kind ish)"];
  const table = BigInt(ROOT + L3 + 3);
  const XN = 1n << 60n;
  const READ_ONLY = 1n << 62n;
  const both = [
    "barrier dsb (kind ish)",
    "tlbi vae2is (value 0x0)",
    "tlbi vae2is (value 0x1)",
    "barrier dsb (kind ish)",
  ];
  it.each([
    ["XNTable, never flushed", [put(0x2000, table | XN)], "unflushed tlbi"],
    ["APTable, never flushed", [put(0x2000, table | READ_ONLY)], "unflushed tlbi"],
    ["XNTable, all flushed", [put(0x2000, table | XN), ...flush("alle2is")], "ok"],
    ["XNTable, each page flushed", [put(0x2000, table | XN), ...both], "ok"],
    ["XNTable, one of two pages flushed", [put(0x2000, table | XN), ...va(0)], "unflushed tlbi-below"],
    ["XNTable, last level only", [put(0x2000, table | XN), ...va(0, true)], "unflushed tlbi-all-levels"],
    ["XNTable given back", [put(0x2000, table | XN), ...flush("alle2is"), put(0x2000, table)], "ok"],
    ["PXNTable, which EL2 has not", [put(0x2000, table | (1n << 59n))], "ok"],
    [
      "the table then unlinked and flushed",
      [put(0x2000, table | XN), put(0x2000, 0), ...flush("alle2is"), `mem-free ${at(L3)} (size 0x1000)`],
      "ok",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...hypPrologue(), ...pages, ...lines, unlock])).toBe(expected);
  });

  it("EL2&0 has PXNTable and APTable[0], and HPD switches all of them off", () => {
    const log = (prologue: readonly string[], bit: bigint) => [...prologue, ...pages, put(0x2000, table | bit)];
    expect(firstOf(log(hypPrologue(E2H), 1n << 59n))).toBe("unflushed tlbi");
    expect(firstOf(log(hypPrologue(E2H), 1n << 61n))).toBe("unflushed tlbi");
    expect(firstOf(log(hypPrologue(0, ROOT, 0x0185_0010), XN))).toBe("ok");
  });

  it("stage 2 has no such bits", () => {
    expect(firstOf([...prologue(), put(L3, LEAF), put(0x2000, table | XN)])).toBe("ok");
  });
});

describe("registers that change under what TLBs hold", () => {
  const hyp = [...hypPrologue(), put(L3, HYP), "barrier dsb (kind ish)", unlock];
  const guest = [...prologue(1, 0x8005_3590), put(L3, LEAF), "barrier dsb (kind ish)", unlock, ...root(NEXT)];
  const vtcr = (value: number): string => sysreg("vtcr_el2", value);
  it.each([
    ["MAIR_EL2, never flushed", [...hyp, sysreg("mair_el2", 4)], "live-control tlbi"],
    ["MAIR_EL2, flushed after", [...hyp, sysreg("mair_el2", 4), ...flush("alle2is")], "ok"],
    ["MAIR_EL2, the same value", [...hyp, sysreg("mair_el2", 0xff)], "ok"],
    [
      "MAIR_EL2 with the MMU off, not flushed",
      [...hyp, sysreg("sctlr_el2", 0), sysreg("mair_el2", 4)],
      "live-control tlbi",
    ],
    [
      "MAIR_EL2 with the MMU off and all flushed",
      [...hyp, sysreg("sctlr_el2", 0), ...local, sysreg("mair_el2", 4)],
      "ok",
    ],
    ["MAIR_EL2 before anything is mapped", [...hypPrologue().slice(0, 8), sysreg("mair_el2", 4)], "ok"],
    ["TCR_EL2, never flushed", [...hyp, sysreg("tcr_el2", 0x3510)], "live-control tlbi"],
    ["FWB, never flushed", [...guest, sysreg("hcr_el2", 1 + FWB)], "live-control tlbi"],
    ["FWB, flushed after", [...guest, sysreg("hcr_el2", 1 + FWB), "barrier isb", ...flush("vmalls12e1is")], "ok"],
    ["FWB while stage 2 is off", [...guest, sysreg("hcr_el2", FWB), sysreg("hcr_el2", 1)], "ok"],
    ["VTCR_EL2's cacheability, never flushed", [...guest, vtcr(0x8005_3090), "barrier isb"], "live-control tlbi"],
    ["VTCR_EL2's size", [...guest, vtcr(0x8005_3550), "barrier isb"], "live-control"],
    [
      "VTCR_EL2, with the next table's VTTBR_EL2 behind it",
      [...guest, vtcr(0x8005_3550), ...vttbr(NEXT, 2)],
      "geometry",
    ],
    [
      "VTCR_EL2 of the same size, with the next table behind it",
      [...guest, vtcr(0x8005_3090), ...vttbr(NEXT, 2)],
      "ok",
    ],
    ["VTCR_EL2's HA, with the table loaded again", [...guest, vtcr(0x8025_3590), ...vttbr(0, 1)], "live-control tlbi"],
    [
      "VTCR_EL2's HA, while the table is idle and flushed",
      [...guest, ...vttbr(NEXT, 2), ...flush("alle1is"), vtcr(0x8025_3590), ...vttbr(0, 1)],
      "ok",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf(lines)).toBe(expected);
  });
});

describe("memory that goes to EL2 and comes back", () => {
  const both = [
    ...hypPrologue(),
    unlock,
    ...root(NEXT),
    ...vttbr(NEXT, 1),
    "lock (address 0x9900008000)",
    ...[1, 2, 3].flatMap((level) => [
      `mem-init ${at(0xb000 + level * 0x1000)} (size 0x1000)`,
      put(level === 1 ? NEXT : 0xa000 + level * 0x1000, ROOT + 0xb000 + level * 0x1000 + 3),
    ]),
    put(0xe000, LEAF),
    "barrier dsb (kind ish)",
    `lock ${LOCK}`,
  ];
  it.each([
    ["EL2 may map what the VM has", [put(L3, HYP)], "ok"],
    ["taken from the VM with no flush", [put(0xe000, 4), put(L3, HYP)], "frame-reuse"],
    ["taken from the VM and flushed", [put(0xe000, 4), ...flushPage(0), put(L3, HYP)], "ok"],
    [
      "taken back with no flush of EL2",
      [put(0xe000, 4), ...flushPage(0), put(L3, HYP), put(L3, 0), put(0xe000, LEAF)],
      "frame-reuse",
    ],
    [
      "taken back and flushed",
      [put(0xe000, 4), ...flushPage(0), put(L3, HYP), put(L3, 0), ...va(7n << 44n), put(0xe000, LEAF)],
      "ok",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...both, ...lines])).toBe(expected);
  });
});
