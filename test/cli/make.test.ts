// granule make: one-line mappings become a table, its picture, its dump, its image.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parsePtdump } from "../../bindings/report/ptdump-parse.js";
import { scratchFolder } from "../support/scratch.js";
import { inside } from "./inside.js";

const folder = scratchFolder();

interface Document {
  table: Record<string, unknown> & { registers: Record<string, string> };
  leaves: Record<string, unknown>[];
  walks?: { ok: boolean; pa: string | null; steps: unknown[] }[];
  image?: string;
}

async function json(...args: string[]): Promise<Document> {
  const ended = await inside(["make", ...args, "--json"]);
  expect(ended).toMatchObject({ code: 0, err: "" });
  return JSON.parse(ended.out) as Document;
}

const BLOCKS = "0x40000000:4M:0x80000000:rw";

describe("granule make", () => {
  it("prints the table's shape and its mappings as runs", async () => {
    const ended = await inside(["make", BLOCKS, "0x9000000:4K:0x9000000:rwd", "0x50000000:12K:0x70000000:r"]);
    expect(ended).toEqual({
      code: 0,
      err: "",
      out: [
        "Stage 2, 40-bit IPAs, 4K pages, levels 1 to 3: 2 start tables at 0xc0002000, 6 table pages in all",
        "",
        "IPA                    size  level  mapped as       PA          rights, memory",
        "0x9000000-0x9001000    4K        3  1 page of 4K    0x9000000   rw-, Device-nGnRE",
        "0x40000000-0x40400000  4M        2  2 blocks of 2M  0x80000000  rw-, Normal write-back",
        "0x50000000-0x50003000  12K       3  3 pages of 4K   0x70000000  r--, Normal write-back",
        "",
      ].join("\n"),
    });
  });

  it("gives every leaf in JSON, and the registers", async () => {
    const { table, leaves } = await json(BLOCKS);
    expect(table).toMatchObject({ stage: "2", granule: 4096, ipaBits: 40, startLevel: 1, rootPages: 2, pages: 3 });
    expect(table.registers).toEqual({ vtcr: "0x802d3558", vttbr: table.rootPa });
    const leaf = { size: "0x200000", level: 2, kind: "block", prot: ["R", "W"] };
    expect(leaves).toEqual([
      { address: "0x40000000", pa: "0x80000000", descriptor: "0x00400000800007d9", ...leaf },
      { address: "0x40200000", pa: "0x80200000", descriptor: "0x00400000802007d9", ...leaf },
    ]);
  });

  it.each([
    [["--granule", "16k", "--ipa-bits", "47"], { granule: 16384, ipaBits: 47 }],
    [["--granule", "64K", "--ipa-bits", "52"], { granule: 65536, ipaBits: 52, outputBits: 52 }],
    [["--lpa2", "--ipa-bits", "52"], { lpa2: true, ipaBits: 52, startLevel: 0, outputBits: 52 }],
    [["--stage", "el2", "--ipa-bits", "39"], { stage: "el2", ipaBits: 39, startLevel: 1 }],
  ])("%j", async (options, table) => {
    const made = await json("0x40000000:64K:0x80000000:rw", ...options);
    expect(made.table).toMatchObject(table);
    const bytes = made.leaves.reduce((sum, { size }) => sum + Number(size), 0);
    expect(bytes).toBe(65536);
  });

  it("takes letters, names, suffixes and decimal", async () => {
    const { leaves } = await json("1G:4096:2G:R+W+SW0", "0x1_0000:0x1000:0:rn", "64M:4k:1T:-");
    expect(leaves.map(({ prot }) => prot)).toEqual([["R", "NC"], [], ["R", "W", "SW0"]]);
    expect(leaves.map(({ address }) => address)).toEqual(["0x10000", "0x4000000", "0x40000000"]);
  });

  it("--pages makes pages only; --no-fwb and --xnx reach the descriptors", async () => {
    expect((await json(BLOCKS, "--pages")).leaves).toHaveLength(1024);
    const [plain] = (await json("0:4K:0:r", "--no-fwb")).leaves;
    expect(plain?.descriptor).toBe("0x004000000000077f");
    const [el1] = (await json("0:4K:0:r+PX", "--xnx")).leaves;
    expect(el1?.descriptor).toBe("0x006000000000075b");
  });

  it("--dump prints what the kernel would", async () => {
    const ended = await inside(["make", BLOCKS, "--dump"]);
    expect(parsePtdump(ended.out).runs.map(({ start, level }) => [start, level])).toContainEqual([0x4000_0000n, 2]);
    expect(ended.out.split("\n")[0]).toBe("---[ Guest IPA ]---");
  });

  it("--explain walks the table, and goes together with --dump", async () => {
    const args = ["make", BLOCKS, "--explain", "0x40201234", "--explain", "40000000:x"];
    const ended = await inside(args);
    expect(ended.out).toContain("PA 0x80201234  rw-, Normal-WB ISH, mapped as 2 MiB");
    expect(ended.out).toMatch(/0x40000000: fetch from EL1[\s\S]*permission fault at level 2\n {2}ESR_EL2 +0x8200000e /);
    expect((await inside([...args, "--dump"])).out).toMatch(/^---\[ Guest IPA[\s\S]*PA 0x80201234/);
    const { walks } = await json(BLOCKS, "--explain", "0x40201234");
    expect(walks).toMatchObject([{ ok: true, pa: "0x80201234", steps: [{ level: 1 }, { level: 2 }] }]);
  });

  it("--image writes what translate walks, and the table never maps itself", async () => {
    const out = join(folder, "image");
    const { image, table } = await json(BLOCKS, "0x80000000:1G:0xc0000000:rw", "--image", out);
    expect([image, BigInt(table.rootPa as string) >> 30n]).toEqual([out, 4n]);
    const manifest = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8")) as Record<string, unknown>;
    expect(manifest).toMatchObject({ stage: "stage2", vttbr: table.rootPa });
    const said = await inside(["make", BLOCKS, "--image", out, "--base", "0x40000000"]);
    expect(said.err).toBe(`${join(out, "image.bin")} and manifest.json are written\n`);
    expect(said.out).toContain("at 0x40002000");
  });

  it("reads mappings from standard input, with comments", async () => {
    const stdin = `# guest RAM\n${BLOCKS}\n\n  0x9000000:4K:0x9000000:rwd  # UART\n`;
    const ended = await inside(["make", "-", "--json"], { stdin });
    expect((JSON.parse(ended.out) as Document).leaves).toHaveLength(3);
  });
});

describe("granule make refuses", () => {
  it.each([
    [[], /SPEC is missing/],
    [["0x40000000:4M"], /0x40000000:4M: a mapping is IPA:SIZE:PA:PROT/],
    [["40zz:4M:0:r"], /the address is 40zz: write hex with 0x/],
    [["0:4Q:0:r"], /the size is 4Q/],
    [["0:0:0:r"], /the size is 0/],
    [["0:4K:0:q"], /the protection is q: give letters/],
    [["0:4K:0:R+Q"], /the protection is R\+Q/],
    [["0x800:4K:0:r"], /the address 0x800 is not a multiple of the page size, 4K/],
    [["0:4K:0:r", "--granule", "64K"], /the size 0x1000 is not a multiple of the page size, 64K/],
    [["0xfffffff000:8K:0:r"], /it ends at 0x10000001000, but 40-bit IPAs end at 0x10000000000 \(--ipa-bits\)/],
    [["0:4K:0x1000000000000:r"], /its output ends at 0x1000000001000, but 48-bit addresses end at 0x1000000000000/],
    [["0:8K:0:r", "4K:4K:1M:r"], /0:8K:0:r ends at 0x2000 and overlaps 4K:4K:1M:r/],
    [["0:4K:0:wx", "--stage", "el2"], /^granule: 0:4K:0:wx: EL2 has no mapping that allows W X/],
    [["0:4K:0:rxd"], /0:4K:0:rxd: stage 2 has no mapping that allows R X DEVICE/],
    [["0:4K:0:r", "--granule", "8K"], /--granule is 4k, 16k or 64k, not 8K/],
    [["0:4K:0:r", "--ipa-bits", "52"], /--ipa-bits is a whole number from 32 to 48, not 52/],
    [["0:64K:0:r", "--granule", "64K", "--lpa2"], /--lpa2 is for 4K and 16K pages/],
    [["0:4K:0:r", "--stage", "el2", "--pages"], /are for stage 2/],
    [["0:4K:0:r", "--stage", "el1"], /--stage is 2 or el2/],
    [["0:4K:0:r", "--dump", "--json"], /two forms of the same/],
    [["0:4K:0:r", "--explain", "zz"], /--explain zz is neither an address/],
    [["0:4K:0:r", "--base", "12"], /--base is a hex address/],
    [["0:4K:0:r", "--pa-bits", "47"], /47 is not a physical address size/],
  ])("%j", async (args, words) => {
    const ended = await inside(["make", ...args]);
    expect(ended).toMatchObject({ code: 2, out: "" });
    expect(ended.err).toMatch(words);
    expect(ended.err.trimEnd().split("\n")).toHaveLength(1);
  });

  it("a line of standard input, by its number", async () => {
    const ended = await inside(["make", "-"], { stdin: `${BLOCKS}\nnonsense\n` });
    expect(ended).toMatchObject({
      code: 3,
      out: "",
      err: expect.stringContaining("(stdin):2: nonsense: a mapping is"),
    });
  });

  it("nothing: an empty standard input is an empty table", async () => {
    expect((await inside(["make", "-"])).out).toContain("nothing is mapped");
  });
});
