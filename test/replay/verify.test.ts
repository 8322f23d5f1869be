import { afterEach, describe, expect, it } from "vitest";
import { createEngine, type Engine, type Stage2Table } from "../../bindings/index.js";
import { chooseGeometry, fwbOf } from "../../bindings/replay/config.js";
import { checkLeaves, checkText, skippedCheck } from "../../bindings/replay/verify.js";
import { ptdump } from "../../bindings/report/ptdump.js";
import { differs } from "../../bindings/report/replay.js";
import { parseS2Raw, type S2RawDump } from "../../bindings/trace/index.js";

let engine: Engine | undefined;
afterEach(() => engine?.close());

function table(): Stage2Table {
  engine ??= createEngine({ arenaBytes: 8 << 20 });
  if (engine.closed) engine = createEngine({ arenaBytes: 8 << 20 });
  return engine.createStage2({ ipaBits: 32, fwb: true });
}

const PAGE = 0x00400000400007dbn;
const BLOCK = 0x00400000402007d9n;
const AF = 1n << 10n;
const W = 1n << 7n;
const DBM = 1n << 51n;

/** A dump with one block at 2 MiB and pages 0 and 1 of the first 2 MiB. */
function dump(pages: readonly bigint[] = [PAGE, PAGE + 0x1000n], block = BLOCK, vtcr = 0x80023559n): S2RawDump {
  const hex = (n: bigint) => `0x${n.toString(16).padStart(16, "0")}`;
  const entries = pages.map((d, i) => `  ${i} ${hex(d)}\n`).join("");
  return parseS2Raw(`# raw stage-2 tables of a VM at freeze point a.point
# VTCR_EL2=${hex(vtcr)}
# granule=4096 ia_bits=32 start_level=2 root_entries=2048 root_pa=0x4000 DS=0
TABLE level=2 pa=0x4000 ipa=0x0 entries=2048
  0 0x0000000000002003
  1 ${hex(block)}
TABLE level=3 pa=0x2000 ipa=0x0 entries=512
${entries}# tables=2 nonzero_entries=${2 + pages.length}
`);
}

/** The same mappings in a table of ours. */
function equal(): Stage2Table {
  const t = table();
  t.map(0, 0x2000, 0x4000_0000, "rw");
  t.map(0x20_0000, 0x20_0000, 0x4020_0000, "rw");
  return t;
}

describe("a comparison with raw tables", () => {
  it("matches equal leaves", () => {
    const check = checkLeaves([equal()], dump(), "f");
    expect(check).toMatchObject({ point: "a.point", leaves: 3, matched: 3, missing: 0, extra: 0, differing: 0 });
    expect(differs(check)).toBe(false);
  });

  it("counts what is missing, extra and different", () => {
    const t = equal();
    t.unmap(0, 0x1000);
    t.map(0x5000, 0x1000, 0x9000, "r");
    t.map(0x1000, 0x1000, 0x4000_9000, "rw");
    const check = checkLeaves([t], dump(), "f");
    expect(check).toMatchObject({ matched: 1, missing: 1, extra: 1, differing: 1 });
    expect(check.examples).toHaveLength(3);
    expect(differs(check)).toBe(true);
  });

  it("takes a page in place of a block as one missing and one extra", () => {
    const t = equal();
    t.map(0x20_0000, 0x1000, 0x4030_0000, "rw");
    expect(checkLeaves([t], dump(), "f")).toMatchObject({ matched: 2, missing: 1, extra: 1, differing: 0 });
  });

  it("sets the access flag apart, by direction", () => {
    const t = equal();
    t.testClearYoung(0x20_0000, 0x1000);
    const check = checkLeaves([t], dump([PAGE & ~AF, PAGE + 0x1000n]), "f");
    expect(check).toMatchObject({ matched: 3, accessFlag: { set: 1, clear: 1 } });
  });

  it("sets dirty state apart only where the hardware keeps it", () => {
    const t = table();
    t.map(0, 0x2000, 0x4000_0000, "rw");
    t.map(0x20_0000, 0x20_0000, 0x4020_0000, "r");
    // A DBM that ours has not is a difference; a write bit under DBM is hardware's only with VTCR.HD.
    const dirty = dump(undefined, BLOCK | DBM);
    expect(checkLeaves([t], dirty, "f")).toMatchObject({ differing: 1 });
    t.unmap(0x20_0000, 0x20_0000);
    t.poke(0x20_0000, (BLOCK | DBM) & ~W);
    expect(checkLeaves([t], dirty, "f")).toMatchObject({ differing: 1, hardwareDirty: 0 });
    const managed = dump(undefined, BLOCK | DBM, 0x80023559n | (1n << 22n));
    expect(checkLeaves([t], managed, "f")).toMatchObject({ differing: 0, hardwareDirty: 1, matched: 3 });
  });

  it("ignores output addresses when granule chose them", () => {
    const t = table();
    t.map(0, 0x2000, 0x8000_0000, "rw");
    t.map(0x20_0000, 0x20_0000, 0x8020_0000, "rw");
    expect(checkLeaves([t], dump(), "f").differing).toBe(3);
    expect(checkLeaves([t], dump(), "f", { addresses: false })).toMatchObject({ matched: 3, differing: 0 });
  });

  it("that could not be made has nothing but a reason", () => {
    expect(skippedCheck(dump(), "f", "why")).toEqual({
      ...checkLeaves([], dump(), "f"),
      leaves: 0,
      missing: 0,
      examples: [],
      skipped: "why",
    });
  });

  it("takes the nearest of several tables, and none for an empty one", () => {
    expect(checkLeaves([table(), equal(), table()], dump(), "f").matched).toBe(3);
    expect(checkLeaves([], dump(), "f")).toMatchObject({ leaves: 3, missing: 3 });
  });
});

describe("a comparison of texts", () => {
  it("is of every byte", () => {
    const t = equal();
    t.map(0x3fff_f000, 0x1000, 0, "r");
    const text = ptdump(t, { kernelCompat: true });
    expect(checkText([t], text, "p", "f").differing).toBe(0);
    expect(checkText([table(), t], text, "p", "f").differing).toBe(0);
    expect(checkText([t], text.replace("R W", "R  "), "p", "f").differing).toBe(1);
    expect(checkText([t], `${text}more\n`, "p", "f").differing).toBe(1);
    expect(checkText([], text, "p", "f").differing).toBeGreaterThan(0);
    expect(checkText([t], `${text}more\n`, "p", "f").examples[0]).toMatch(/^line \d+: more \/ here \(none\)$/);
    expect(checkText([t], text.replace("R W", "R  "), "p", "f").examples[0]).toMatch(/^line 2: /);
  });

  // Four pages and a last run, which the kernel does not print; the hardware has set two of the flags meanwhile.
  const aged = (young: readonly number[]) => {
    const t = table();
    t.map(0, 0x4000, 0x4000_0000, "rw");
    t.map(0xffff_e000, 0x2000, 0, "r");
    t.testClearYoung(0, 0x4000);
    for (const page of young) t.mkyoung(page * 0x1000);
    return t;
  };

  it.each(["6.12", "7.x"] as const)(
    "counts access flags apart, which hardware sets, in the columns of %s",
    (format) => {
      const text = ptdump(aged([1, 2]), { kernelCompat: true, format });
      expect(checkText([aged([])], text, "p", "f")).toMatchObject({ differing: 0, accessFlag: 3 });
      expect(checkText([aged([1, 2])], text, "p", "f")).toMatchObject({ differing: 0, accessFlag: 0 });
      const unmapped = aged([]);
      unmapped.unmap(0x3000, 0x1000);
      expect(checkText([unmapped], text, "p", "f").differing).toBeGreaterThan(0);
      const relaxed = aged([]);
      relaxed.relaxPerms(0x3000, "rwx");
      expect(checkText([relaxed], text, "p", "f").differing).toBeGreaterThan(0);
      // What the kernel does not print is one run of equal entries: two cannot be it.
      const two = aged([]);
      two.relaxPerms(0xffff_f000, "rwx");
      expect(checkText([two], text, "p", "f").differing).toBeGreaterThan(0);
    },
  );
});

describe("the shape of the tables", () => {
  it("comes from a dump before anything else", () => {
    const geometry = chooseGeometry([dump()], undefined, { granule: 65536, ipaBits: 48, fwb: false, lpa2: true });
    expect(geometry).toMatchObject({ granule: 4096, ipaBits: 32, lpa2: false, fwb: true, source: "dump" });
  });

  it("is assumed where nothing tells", () => {
    expect(chooseGeometry([], undefined, {})).toMatchObject({
      granule: 4096,
      ipaBits: 40,
      fwb: true,
      source: "defaults",
    });
  });

  it("has forced write-back as the memory types of the leaves say", () => {
    expect(fwbOf(dump())).toBe(true);
    const type = (d: bigint) => (d & ~(0xfn << 2n)) | (0xfn << 2n);
    expect(fwbOf(dump([type(PAGE), type(PAGE)], type(BLOCK)))).toBe(false);
  });
});
