// VMIDs and the lives of tables before the judge [VMID-1..10, HWM-43, LCK-10..13].

import { describe, expect, it } from "vitest";
import { at, firstOf, flush, flushPage, LOCK, prologue, put, ROOT, root, sysreg, vttbr } from "./support.js";

const L3 = 0x3000;
const LEAF = 0x8_0000_07ff;
const OTHER = 0x9_0000_07ff;
const B = 0x8000;
const DUMMY = 0x9000;
const unlock = `unlock ${LOCK}`;
/** A table with a page that CPUs 0 and 1 walk under VMID 1, and two empty ones. */
const start = [...prologue(2), put(L3, LEAF), "barrier dsb (kind ish)", unlock, ...root(B), ...root(DUMMY)];
const leave = [...vttbr(DUMMY, 9), ...vttbr(DUMMY, 9, 1)];
const release = `hint (kind release_table) (location 0x${ROOT.toString(16)}) (value 0x0)`;
const changed = [`lock ${LOCK}`, put(L3, 0), ...flushPage(0), put(L3, OTHER), unlock];

describe("a VMID given to another table", () => {
  it.each([
    ["after all CPUs left and ALLE1IS", [...leave, ...flush("alle1is"), ...vttbr(B, 1)], "ok"],
    ["after a flush by a CPU that has no lock in common", [...leave, ...flush("alle1is", 1), ...vttbr(B, 1)], "ok"],
    ["with no flush at all", [...leave, ...vttbr(B, 1)], "vmid"],
    ["with no flush after its table was released", [...leave, release, ...vttbr(B, 1)], "vmid-reuse"],
    ["while another CPU walks the old table", [...vttbr(DUMMY, 9), ...flush("alle1is"), ...vttbr(B, 1)], "vmid"],
    [
      "flushed before the last CPU left",
      [...vttbr(DUMMY, 9), ...flush("alle1is"), ...vttbr(DUMMY, 9, 1), ...vttbr(B, 1)],
      "vmid",
    ],
    [
      "by the very write that leaves the old table, after the CPU's own flush",
      [...vttbr(DUMMY, 9, 1), ...flush("alle1is"), ...vttbr(B, 1)],
      "ok",
    ],
    [
      "the same, but the CPU worked on between its flush and that write",
      [...vttbr(DUMMY, 9, 1), ...flush("alle1is"), ...changed, ...vttbr(B, 1)],
      "vmid",
    ],
    [
      "after VMALLS12E1IS under that VMID",
      [...vttbr(DUMMY, 9, 1), ...flush("vmalls12e1is"), ...vttbr(DUMMY, 9), ...vttbr(B, 1)],
      "ok",
    ],
    ["after VMALLS12E1IS under another VMID", [...leave, ...flush("vmalls12e1is"), ...vttbr(B, 1)], "vmid"],
    ["after VMALLE1IS, which leaves stage 2", [...leave, ...flush("vmalle1is"), ...vttbr(B, 1)], "vmid"],
    [
      "after a flush that no DSB completes",
      [...leave, "barrier dsb (kind ish)", "tlbi alle1is", "barrier dsb (kind ishst)", ...vttbr(B, 1)],
      "vmid",
    ],
    [
      "after ALLE1 of one of two CPUs that walked it",
      [...leave, "tlbi alle1", "barrier dsb (kind nsh)", ...vttbr(B, 1)],
      "vmid",
    ],
    [
      "after ALLE1 of each CPU that walked it",
      [...leave, "tlbi alle1", "barrier dsb (kind nsh)", "t1 tlbi alle1", "t1 barrier dsb (kind nsh)", ...vttbr(B, 1)],
      "ok",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...start, ...lines])).toBe(expected);
  });
});

describe("a table under another VMID", () => {
  it.each([
    ["needs no flush", [...leave, ...vttbr(0, 2)], "ok"],
    ["needs none by one write either", [...vttbr(DUMMY, 9, 1), ...vttbr(0, 2)], "ok"],
    ["not while another CPU walks it under the old one", vttbr(0, 2), "vmid"],
    ["may go back if nothing changed", [...leave, ...vttbr(0, 2), ...vttbr(0, 1)], "ok"],
    ["may go back if nothing changed since it left", [...changed, ...leave, ...vttbr(0, 2), ...vttbr(0, 1)], "ok"],
    [
      "may go back on a machine of 64 CPUs",
      [
        ...leave,
        "t63 barrier isb",
        ...vttbr(0, 2),
        ...vttbr(0, 2, 1),
        ...vttbr(DUMMY, 3),
        ...vttbr(0, 2),
        ...vttbr(DUMMY, 9),
      ],
      "ok",
    ],
    ["may not go back once it changed", [...leave, ...vttbr(0, 2), ...changed, ...vttbr(0, 1)], "vmid-reuse"],
    [
      "may go back once it changed and all is flushed",
      [...leave, ...vttbr(0, 2), ...changed, ...flush("alle1is"), ...vttbr(0, 1)],
      "ok",
    ],
    [
      "may not go back with what it owed under the old one",
      [`lock ${LOCK}`, put(L3, 0), unlock, ...leave, ...vttbr(0, 2), ...vttbr(0, 1)],
      "vmid-reuse",
    ],
    [
      "takes it from an idle table whose entries are flushed",
      [...leave, ...vttbr(B, 2), ...vttbr(DUMMY, 9), ...flush("alle1is"), ...vttbr(0, 2), ...vttbr(B, 1)],
      "ok",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...start, ...lines])).toBe(expected);
  });

  it("has 8 bits where a real VTCR_EL2 says so, and 16 in a model's", () => {
    const log = (vtcr: number) => [...prologue(1, vtcr), ...root(B), ...vttbr(B, 0x101)];
    expect(firstOf(log(0x8005_3590))).toBe("vmid");
    expect(firstOf(log(0x800d_3590))).toBe("ok");
    expect(firstOf(log(0x10))).toBe("ok");
  });
});

describe("a CPU with stage 2 off walks nothing", () => {
  const free = [L3, 0x2000, 0x1000, 0].map((offset) => `mem-free ${at(offset)} (size 0x1000)`);
  it.each([
    ["its table may be released", [sysreg("hcr_el2", 0), sysreg("hcr_el2", 0, 1), release], "ok"],
    ["its tables may be freed", [...vttbr(DUMMY, 9), sysreg("hcr_el2", 0, 1), ...free], "ok"],
    ["not while another has it on", [...vttbr(DUMMY, 9), ...free], "early-free"],
    [
      "not once it is on again",
      [...vttbr(DUMMY, 9), sysreg("hcr_el2", 0, 1), sysreg("hcr_el2", 1, 1), ...free],
      "early-free",
    ],
    [
      "its VMID may go on after a flush",
      [sysreg("hcr_el2", 0), ...vttbr(DUMMY, 9, 1), ...flush("alle1is"), ...vttbr(B, 1), sysreg("hcr_el2", 1)],
      "ok",
    ],
    ["its VMID still names what TLBIs reach", [sysreg("hcr_el2", 0), ...changed], "ok"],
    ["a register that names no page is no table then", [sysreg("hcr_el2", 0), sysreg("vttbr_el2", 0)], "ok"],
    ["and is one when it is on again", [sysreg("hcr_el2", 0), sysreg("vttbr_el2", 0), sysreg("hcr_el2", 1)], "ok"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...start, ...lines])).toBe(expected);
  });
});

describe("tables and roots that come back", () => {
  const again = [
    ...leave,
    release,
    ...flush("alle1is"),
    `hint (kind set_root_lock) (location 0x100000000) (value 0x100064000)`,
  ];
  it.each([
    ["a root with its tree", [...again, ...vttbr(0, 1)], "ok"],
    ["a root whose page changed meanwhile", [...again, put(L3, OTHER), ...vttbr(0, 1)], "ok"],
    ["a root with no flush", [...leave, release, ...vttbr(0, 1)], "vmid-reuse"],
    [
      "a table of a root that is gone, in another tree, as it is",
      [...again, put(B, ROOT + 0x1003), ...vttbr(B, 2)],
      "stale-table",
    ],
    [
      "a table of a root that is gone, in another tree, zeroed",
      [...again, `mem-set ${at(0x1000)} (size 0x1000) (value 0x0)`, put(B, ROOT + 0x1003), ...vttbr(B, 2)],
      "ok",
    ],
    ["a root that was never known", [`hint (kind release_table) (location 0x5000) (value 0x0)`], "no-table"],
    ["a page set up twice while it is a table", [`mem-init ${at(L3)} (size 0x1000)`], "known-page"],
    [
      "a page set up twice with something in it",
      [`mem-init ${at(0x20000)} (size 0x1000)`, put(0x20000, LEAF), `mem-init ${at(0x20000)} (size 0x1000)`],
      "known-page",
    ],
    [
      "an empty page set up twice",
      [`mem-init ${at(0x20000)} (size 0x1000)`, `mem-init ${at(0x20000)} (size 0x1000)`],
      "ok",
    ],
    [
      "a page given back twice",
      [
        `mem-init ${at(0x20000)} (size 0x1000)`,
        `mem-free ${at(0x20000)} (size 0x1000)`,
        `mem-free ${at(0x20000)} (size 0x1000)`,
      ],
      "ok",
    ],
    [
      "a write to a page that was given back",
      [`mem-init ${at(0x20000)} (size 0x1000)`, `mem-free ${at(0x20000)} (size 0x1000)`, put(0x20000, 0)],
      "unknown-page",
    ],
    [
      "a lock for a page that nobody knows",
      ["hint (kind set_root_lock) (location 0x7000) (value 0x1)"],
      "unknown-page",
    ],
    [
      "an owner for a word that nobody knows",
      ["hint (kind set_pte_thread_owner) (location 0x7000) (value 0x0)"],
      "unknown-page",
    ],
    ["a root that is a table", vttbr(L3, 5), "linked-twice"],
    ["a root that nobody set up", vttbr(0x40000, 5), "unknown-page"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...start, ...lines])).toBe(expected);
  });
});

describe("an ISB settles which VMID a TLBI is of", () => {
  const broken = [`lock ${LOCK}`, put(L3, 0), "barrier dsb (kind ishst)"];
  const switched = sysreg("vttbr_el2", 0x1_0001_0000_0000n);
  const own = ["tlbi vmalls12e1is", "barrier dsb (kind ish)", put(L3, OTHER), unlock];
  it.each([
    ["none after the switch", [...vttbr(B, 2), ...broken, switched, ...own], "early-make isb"],
    ["one after the switch", [...vttbr(B, 2), ...broken, switched, "barrier isb", ...own], "ok"],
    ["none needed for the VMID that is there", [...broken, switched, ...own], "ok"],
    ["none after HCR_EL2 chose the regime", [...broken, sysreg("hcr_el2", 0x8000001), ...own], "early-make isb"],
    [
      "ALLE1IS asks for none",
      [...vttbr(B, 2), ...broken, switched, "tlbi alle1is", "barrier dsb (kind ish)", put(L3, OTHER), unlock],
      "ok",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...start, ...lines])).toBe(expected);
  });
});

describe("memory of several VMs", () => {
  const DEVICE = 0x801_07c7;
  const READ_ONLY = LEAF - 0x80;
  /** Another VM with a page at `leaf`; its root's lock as told. */
  const second = (leaf: number, lock = 0x99_0000_8000): string[] => [
    ...vttbr(DUMMY, 9),
    `hint (kind set_root_lock) (location 0x100008000) (value 0x${lock.toString(16)})`,
    ...vttbr(B, 2),
    `lock (address 0x${lock.toString(16)})`,
    ...[1, 2, 3].flatMap((level) => [
      `mem-init ${at(0xb000 + level * 0x1000)} (size 0x1000)`,
      put(level === 1 ? B : 0xa000 + level * 0x1000, ROOT + 0xb000 + level * 0x1000 + 3),
    ]),
    put(0xe000, leaf),
    "barrier dsb (kind ish)",
  ];
  const first = (leaf: number): string[] => [
    ...prologue(1),
    ...root(B),
    ...root(DUMMY),
    put(L3, leaf),
    "barrier dsb (kind ish)",
  ];

  it.each([
    ["one page, writable", [...first(LEAF), unlock, ...second(LEAF)], "shared-frame"],
    ["one page, writable by the first only", [...first(LEAF), unlock, ...second(READ_ONLY)], "shared-frame"],
    ["one page, read-only in both", [...first(READ_ONLY), unlock, ...second(READ_ONLY)], "ok"],
    ["registers of a device", [...first(DEVICE), unlock, ...second(DEVICE)], "ok"],
    [
      "nested tables of one VM, by the lock that they share",
      [...first(LEAF), unlock, ...second(LEAF, 0x1_0006_4000)],
      "ok",
    ],
    ["neighbours", [...first(LEAF), unlock, ...second(LEAF + 0x1000)], "ok"],
    ["a page that moves on with no flush", [...first(LEAF), put(L3, 0), unlock, ...second(LEAF)], "frame-reuse"],
    [
      "a page that moves on after its flush",
      [...first(LEAF), put(L3, 0), ...flushPage(0), unlock, ...second(LEAF)],
      "ok",
    ],
    [
      "a page that becomes a table with no flush",
      [...first(LEAF), put(L3, 0), "mem-init (address 0x800000000) (size 0x1000)"],
      "frame-reuse tlbi",
    ],
    [
      "a page that becomes a table after its flush",
      [...first(LEAF), put(L3, 0), ...flushPage(0), "mem-init (address 0x800000000) (size 0x1000)"],
      "ok",
    ],
    [
      "a page given back with no flush",
      [...first(LEAF), put(L3, 0), "mem-free (address 0x800000000) (size 0x1000)"],
      "frame-reuse tlbi",
    ],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf(lines)).toBe(expected);
  });
});
