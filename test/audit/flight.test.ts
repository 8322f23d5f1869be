// Flushes in flight and obligations that come and go: lists that are used again, several TLBIs before one DSB.

import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS } from "../../bindings/audit/index.js";
import { at, firstOf, flush, LOCK, prologue, put, root, second, vttbr } from "./support.js";

const L2 = 0x2000;
const L3 = 0x3000;
const LEAF = 0x8_0000_07ffn;
const OTHER = 0x9_0000_07ffn;
const DSB = "barrier dsb (kind ish)";
const unlock = `unlock ${LOCK}`;

describe("TLBIs that await a DSB", () => {
  const broken = [...prologue(2), put(L3, LEAF), ...flush("vmalle1is"), put(L3, 0), DSB];
  const made = [DSB, put(L3, OTHER)];
  it.each([
    ["another CPU's takes nothing from them", ["tlbi vmalls12e1is", "t1 tlbi vmalle1is", ...made], "ok"],
    ["one of stage 1 before one of both stages", ["tlbi vmalle1is", "tlbi vmalls12e1is", ...made], "ok"],
    ["one of both stages before one of stage 1", ["tlbi vmalls12e1is", "tlbi vmalle1is", ...made], "ok"],
    ["one of all VMIDs among them", ["tlbi vmalle1is", "tlbi alle1is", "tlbi vmalle1is", ...made], "ok"],
    ["one of EL2 among them", ["tlbi alle2is", "tlbi vmalls12e1is", "tlbi alle2is", ...made], "ok"],
    ["of EL2 and of stage 1 alone", ["tlbi alle2is", "tlbi vmalle1is", ...made], "early-make tlbi"],
    ["of the other CPU alone", ["t1 tlbi vmalls12e1is", ...made], "early-make dsb-after-tlbi"],
  ])("%s", (_name, lines, expected) => {
    expect(firstOf([...broken, ...lines])).toBe(expected);
  });

  it("are told apart by their VMIDs", () => {
    const others = [...root(0x8000), ...root(0x9000)];
    const lines = [...others, ...vttbr(0x8000, 2), "tlbi vmalls12e1is", ...vttbr(0, 1), "tlbi vmalls12e1is"];
    expect(firstOf([...broken, ...lines, ...made])).toBe("ok");
    expect(firstOf([...broken, ...lines.slice(0, -1), ...made])).toBe("early-make tlbi");
  });
});

describe("what a page was last broken by", () => {
  it("is forgotten once it is flushed, though another break takes its place in the judge's memory", () => {
    const lines = [...prologue(), put(L3, LEAF), put(L3 + 8, LEAF + 0x1000n), DSB, put(L3, 0)];
    const again = [...flush("vmalls12e1is"), put(L3, OTHER), put(L3 + 8, 0), unlock];
    // The second break is never flushed, which is said at the end; the first page's memory is free.
    expect(firstOf([...lines, ...again, ...second(LEAF), DSB])).toBe("unflushed tlbi");
    expect(firstOf([...lines, ...again, ...second(LEAF + 0x1000n), DSB])).toBe("frame-reuse");
  });

  it("is no break if a right was taken", () => {
    const lines = [...prologue(), put(L3, LEAF), DSB, put(L3, LEAF - 0x80n), DSB, put(L3, LEAF), unlock];
    expect(firstOf([...lines, ...second(LEAF), DSB])).toBe("shared-frame");
  });
});

describe("a table in whose place a block comes, as FEAT_BBM allows", () => {
  const options = { ...CASEMATE_OPTIONS, bbm: 2 as const };
  const page = (n: number): string[] => [DSB, `tlbi ipas2e1is (value 0x${n.toString(16)})`, DSB, "tlbi vmalle1is", DSB];
  const taken = [...prologue(), put(L3, LEAF), put(L3 + 8, LEAF + 0x1000n), DSB, put(L2, 0x8_0000_07fdn)];
  const free = `mem-free ${at(L3)} (size 0x1000)`;

  it("goes with the addresses of all its pages", () => {
    expect(firstOf([...taken, ...page(0), ...page(1), free], options)).toBe("ok");
  });

  it("does not with the address of one", () => {
    expect(firstOf([...taken, ...page(0), free], options)).toBe("early-free tlbi-below");
    expect(firstOf([...taken, ...page(1), free], options)).toBe("early-free tlbi-below");
  });

  it("may change in no other way", () => {
    expect(firstOf([...taken, ...page(0), put(L3 + 16, OTHER)], options)).toBe("frozen tlbi-below");
  });
});
