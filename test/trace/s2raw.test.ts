import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isValidLeaf, parseS2Raw, S2RawError } from "../../bindings/trace/index.js";
import { openFile, readS2Raw } from "../../bindings/trace/node.js";

const SMALL = `# raw stage-2 tables of the running VM, read at freeze point demo.start-1
# VTTBR_EL2=0x0001000000001000
# granule=4096 ia_bits=30 start_level=2 root_entries=512 root_pa=0x1000 DS=0
TABLE level=2 pa=0x1000 ipa=0x0 entries=512
  0 0x0000000000002003
  1 0x00400000400007fd
  2 0x0000000000000400
TABLE level=3 pa=0x2000 ipa=0x0 entries=512
  511 0x00400000500007ff
# tables=2 nonzero_entries=4
`;

const path = (name: string): URL => new URL(`fixtures/${name}`, import.meta.url);
const read = (name: string) => readS2Raw(openFile(path(name)), name);

describe("a dump of raw tables", () => {
  it("gives its leaves in order, invalid ones included", () => {
    const dump = parseS2Raw(SMALL, "s2/demo.start-1.cpu07.s2raw");
    expect(dump).toMatchObject({ scenario: "demo", point: "start-1", cpu: 7 });
    expect(dump.registers.get("VTTBR_EL2")).toBe(0x1_0000_0000_1000n);
    expect(dump.lastVttbr).toBeUndefined();
    const leaves = [...dump.leaves()];
    expect(leaves).toEqual([
      { ipa: 0x1f_f000, level: 3, descriptor: 0x40_0000_5000_07ffn },
      { ipa: 0x20_0000, level: 2, descriptor: 0x40_0000_4000_07fdn },
      { ipa: 0x40_0000, level: 2, descriptor: 0x400n },
    ]);
    expect(leaves.map(isValidLeaf)).toEqual([true, true, false]);
    expect([...dump.leaves()]).toHaveLength(3);
  });

  it("reads with CRLF", () => {
    expect(parseS2Raw(SMALL.replaceAll("\n", "\r\n")).tables).toHaveLength(2);
  });

  it("finds tables above 48 bits, where each granule keeps the upper bits elsewhere", () => {
    const lpa2 = SMALL.replace("DS=0", "DS=1")
      .replace("0x0000000000002003", "0x0003000000002303")
      .replace("pa=0x2000", "pa=0xf000000002000");
    expect(parseS2Raw(lpa2).tables[1]?.pa).toBe(0xf_0000_0000_2000);
    expect(() => parseS2Raw(lpa2.replace("DS=1", "DS=0"))).toThrow(S2RawError);
    const large = `# raw stage-2 tables of a VM at freeze point demo.start
# granule=65536 ia_bits=42 start_level=2 root_entries=8192 root_pa=0x10000 DS=0
TABLE level=2 pa=0x10000 ipa=0x0 entries=8192
  8191 0x000000000002f003
TABLE level=3 pa=0xf000000020000 ipa=0x3ffe0000000 entries=8192
# tables=2 nonzero_entries=1
`;
    expect(parseS2Raw(large).tables[1]?.pa).toBe(0xf_0000_0002_0000);
  });

  const entry = /TABLE level=3.*\n/;
  const damage: readonly [string, string, number][] = [
    ["no end", SMALL.slice(0, SMALL.indexOf("# tables")), 10],
    ["no title", SMALL.replace(/.*\n/, ""), 10],
    ["a table less than it says", SMALL.replace("tables=2", "tables=3"), 10],
    ["an entry more than it says", SMALL.replace("entries=4\n", "entries=3\n"), 10],
    [
      "a table missing",
      SMALL.replace(/TABLE level=3(.|\n)*?# t/, "# t").replace("=2 nonzero_entries=4", "=1 nonzero_entries=3"),
      8,
    ],
    ["a table nothing points to", SMALL.replace("pa=0x2000", "pa=0x3000"), 8],
    ["a table at the wrong level", SMALL.replace("level=3", "level=1"), 8],
    ["a table that is too large", SMALL.replace(entry, "TABLE level=3 pa=0x2000 ipa=0x0 entries=513\n"), 8],
    ["an index out of range", SMALL.replace("  511 ", "  512 "), 9],
    ["an index twice", SMALL.replace("  2 0x", "  1 0x"), 7],
    ["a zero descriptor", SMALL.replace("0x0000000000000400", "0x0000000000000000"), 7],
    ["a short descriptor", SMALL.replace("0x0000000000000400", "0x400"), 7],
    ["a wrong root", SMALL.replace("TABLE level=2 pa=0x1000", "TABLE level=2 pa=0x4000"), 4],
    ["a root too small", SMALL.replace("root_entries=512", "root_entries=256"), 3],
    ["a granule of 8 KiB", SMALL.replace("granule=4096", "granule=8192"), 3],
    ["an address too wide", SMALL.replace("ia_bits=30", "ia_bits=60"), 3],
    ["a root that is not aligned", SMALL.replace("root_pa=0x1000", "root_pa=0x1008"), 3],
    ["no geometry", SMALL.replace(/# granule.*\n/, ""), 3],
    ["a line of something else", SMALL.replace("# VTTBR", "VTTBR"), 2],
    ["something behind the end", `${SMALL}TABLE level=3 pa=0x2000 ipa=0x0 entries=512\n`, 11],
  ];

  it.each(damage)("with %s is refused", (_name, text, line) => {
    expect(() => parseS2Raw(text)).toThrow(expect.objectContaining({ name: "S2RawError", line }));
  });

  it("any change of it gives a dump or an S2RawError", () => {
    const edit = fc.tuple(fc.nat(SMALL.length), fc.nat(20), fc.string({ maxLength: 6 }));
    fc.assert(
      fc.property(edit, ([at, cut, put]) => {
        try {
          const dump = parseS2Raw(SMALL.slice(0, at) + put + SMALL.slice(at + cut));
          expect([...dump.leaves()].length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(S2RawError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("dumps of real machines", () => {
  it("52 bits with 16 concatenated roots (LPA2)", async () => {
    const dump = await read("ipa52.scattered.cpu01.s2raw.gz");
    expect(dump).toMatchObject({ scenario: "ipa52", point: "scattered", cpu: 1 });
    expect(dump.geometry).toEqual({
      granule: 4096,
      iaBits: 52,
      startLevel: 0,
      rootEntries: 8192,
      rootPa: 0x4a1d_0000,
      ds: true,
    });
    const leaves = [...dump.leaves()];
    expect(leaves[0]).toEqual({ ipa: 0, level: 3, descriptor: 0x4efa_a4dbn });
    // The last page of 52 bits of address is mapped.
    expect(leaves.at(-1)?.ipa).toBe(2 ** 52 - 4096);
    expect(leaves.every(isValidLeaf)).toBe(true);
  });

  it("64K granule", async () => {
    const dump = await read("pd64k-ipa48.scattered.cpu01.s2raw.gz");
    expect(dump.geometry).toMatchObject({ granule: 65536, startLevel: 1, rootEntries: 64 });
    const entries = dump.tables.reduce((sum, table) => sum + table.indices.length, 0);
    expect([...dump.leaves()]).toHaveLength(entries - (dump.tables.length - 1));
  });

  it("16K granule, with blocks", async () => {
    const dump = await read("dthp32m.populated.cpu01.s2raw");
    expect(new Set([...dump.leaves()].map((leaf) => leaf.level))).toEqual(new Set([2, 3]));
  });

  it("Linux 6.1, where VTTBR_EL2 read 0", async () => {
    const dump = await read("d4k.slot-deleted.cpu01.s2raw");
    expect(dump.registers.get("VTTBR_EL2")).toBe(0n);
    expect(dump.lastVttbr).toBe(0x1_0000_4330_6001n);
    expect(dump.registers.get("VTCR_EL2_used")).toBe(0x802a_3558n);
  });

  it("read in one piece and as a stream, give the same", async () => {
    const name = "ipa52.scattered.cpu01.s2raw.gz";
    const text = gunzipSync(readFileSync(path(name))).toString();
    expect(parseS2Raw(text, name).tables).toEqual((await read(name)).tables);
  });
});
