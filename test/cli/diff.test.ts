// granule diff: every kind of source, what is told of it, and what is refused.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { gunzipText } from "../support/fixtures.js";
import { scratchFolder } from "../support/scratch.js";
import { mapLine, script } from "./granule.js";
import { inside } from "./inside.js";

const folder = scratchFolder();
const at = (name: string) => join(folder, name);

const SPEC = "0x40000000:4M:0x80000000:rw";

async function dump(name: string, ...args: string[]): Promise<string> {
  const { out } = await inside(["make", ...args, "--dump"]);
  writeFileSync(at(name), out);
  return at(name);
}

/** A stage 2 of two start tables at 1 GiB, all of whose entries are one word. */
function loop(word: bigint): { manifest: object; image: Uint8Array } {
  const image = new Uint8Array(8192);
  new BigUint64Array(image.buffer).fill(word);
  const registers = { vtcr: "0x802d3558", vttbr: "0x40000000" };
  return { manifest: { stage: "stage2", granule: "4K", phys_base: "0x40000000", fwb: false, ...registers }, image };
}

beforeAll(async () => {
  await inside(["make", SPEC, "--no-fwb", "--image", at("blocks")]);
  const pages = ["0x40000000:2M:0x80000000:rw", "0x40200000:4K:0x80200000:r", "0x50000000:8K:0x70000000:r"];
  await inside(["make", ...pages, "--no-fwb", "--pages", "--image", at("pages")]);
  await inside(["make", "0x1000:4K:0x80000000:rw", "--stage", "el2", "--image", at("el2")]);
  // What `blocks` has, as operations: the recorded files destroy their table at the end.
  const map = { ...mapLine(0x4000_0000, 0x40_0000), phys: "0x80000000" };
  writeFileSync(at("ops.jsonl"), script([map, { op: "destroy" }]));
});

describe("granule diff", () => {
  it("tells ranges and fields in order of address", async () => {
    expect(await inside(["diff", at("blocks"), at("pages")])).toEqual({
      code: 1,
      err: "",
      out: [
        "differs  0x40000000-0x40200000  2M     level: 2 (2M) -> 3 (4K)",
        "differs  0x40200000-0x40201000  4K     level: 2 (2M) -> 3 (4K), S2AP: read and write -> read only",
        "only A   0x40201000-0x40400000  2044K  level 2, PA 0x80201000, rw-, Normal write-back",
        "only B   0x50000000-0x50002000  8K     level 3, PA 0x70000000, r--, Normal write-back",
        "",
        "4 differences: 2.00 MiB only in A, 8 KiB only in B, 2.00 MiB mapped otherwise (4 MiB and 2.01 MiB mapped)",
        "",
      ].join("\n"),
    });
  });

  it("gives the same in JSON", async () => {
    const ended = await inside(["diff", at("blocks"), at("pages"), "--json"]);
    expect(ended).toMatchObject({ code: 1, err: "" });
    expect(JSON.parse(ended.out)).toEqual({
      schemaVersion: 1,
      equal: false,
      a: { name: at("blocks"), kind: "image", mapped: "0x400000" },
      b: { name: at("pages"), kind: "image", mapped: "0x203000" },
      notCompared: [],
      onlyA: [{ start: "0x40201000", end: "0x40400000", level: 2, pa: "0x80201000", attributes: "0x00400000000007fc" }],
      onlyB: [{ start: "0x50000000", end: "0x50002000", level: 3, pa: "0x70000000", attributes: "0x004000000000077c" }],
      different: [
        { start: "0x40000000", end: "0x40200000", fields: [{ field: "level", a: "2 (2M)", b: "3 (4K)" }] },
        {
          start: "0x40200000",
          end: "0x40201000",
          fields: [
            { field: "level", a: "2 (2M)", b: "3 (4K)" },
            { field: "S2AP", a: "read and write", b: "read only" },
          ],
        },
      ],
    });
  });

  it("finds equal what is equal: an image, operations, their dump in both columns, standard input", async () => {
    const text = await dump("blocks.txt", SPEC);
    const { out: new7 } = await inside(["dump", at("ops.jsonl"), "--until", "2", "--format", "7.x"]);
    writeFileSync(at("new.txt.gz"), gzipSync(new7));
    for (const [a, b] of [
      [at("blocks"), at("ops.jsonl")],
      [at("blocks"), text],
      [at("ops.jsonl"), at("new.txt.gz")],
      [text, at("new.txt.gz")],
    ] as const) {
      const ended = await inside(["diff", a, b]);
      expect(ended).toMatchObject({ code: 0, out: "equal: 4 MiB and 4 MiB mapped\n" });
    }
    const said = await inside(["diff", "-", at("blocks"), "--json"], { stdin: new7 });
    expect(said.err).toBe("not compared: PA, MemAttr, SH, Cont, DBM, SW (not in (stdin))\n");
    expect(JSON.parse(said.out)).toMatchObject({ equal: true, onlyA: [], onlyB: [], different: [] });
  });

  it("compares a live kernel's text with its raw tables", async () => {
    const read = (name: string) => gunzipText(`../report/fixtures/${name}.gz`, import.meta.url);
    const name = "pd-d4k.logging-on";
    writeFileSync(at("live.txt"), read(`${name}.s2ptdump`));
    writeFileSync(at("live.s2raw"), read(`${name}.cpu01.s2raw`));
    expect(await inside(["diff", at("live.txt"), at("live.s2raw")])).toMatchObject({
      code: 0,
      err: `not compared: PA, MemAttr, SH, Cont, DBM, SW (not in ${at("live.txt")})\n`,
    });
    expect((await inside(["diff", at("live.s2raw"), at("live.s2raw")])).err).toBe("");
  });

  it("--ignore leaves fields out, by any capitals, several at once", async () => {
    const args = ["diff", at("blocks"), at("pages"), "--json", "--ignore"];
    const { different } = JSON.parse((await inside([...args, "LEVEL"])).out) as { different: object[] };
    expect(different).toMatchObject([{ fields: [{ field: "S2AP" }] }]);
    expect(JSON.parse((await inside([...args, "level,s2ap"])).out)).toMatchObject({ different: [], equal: false });
  });

  it("says when levels stand for different sizes", async () => {
    await inside(["make", "0x40000000:64K:0x80000000:rw", "--granule", "64K", "--image", at("wide")]);
    expect((await inside(["diff", at("blocks"), at("wide")])).err).toMatch(/the page sizes differ, 4K and 64K/);
  });
});

describe("granule diff refuses", () => {
  it.each([
    [["blocks"], 2, /give A and B/],
    [["blocks", "blocks", "pages"], 2, /is one too many/],
    [["blocks", "el2"], 2, /one table is a stage 2, the other EL2's own/],
    [["blocks", "pages", "--ignore", "colour"], 2, /colour is not a field: level PA XN/],
    [["blocks", "absent"], 3, /absent: no such file or folder/],
    [["blocks", "."], 3, /manifest\.json: no such file/],
  ])("%j", async (args, code, words) => {
    const paths = args.map((arg) => (arg.startsWith("--") || arg === "colour" ? arg : at(arg)));
    const ended = await inside(["diff", ...paths]);
    expect(ended).toMatchObject({ code, out: "" });
    expect(ended.err).toMatch(words);
  });

  it.each([
    ["", /the file is empty/],
    ["hello\n", /neither ptdump text, raw tables nor an operations file: it begins with hello/],
    ["---[ Guest IPA ]---\n0x0-0x1000 8K 3\n", /line 2: from 0x0 to 0x1000 is not 8K/],
    ["# raw stage-2 tables of a VM at freeze point a.b\nTABLE\n", /s2raw|TABLE|line 2/],
    ['{"format":"x"}\n', /\(stdin\): /],
  ])("%j from standard input", async (stdin, words) => {
    const ended = await inside(["diff", "-", at("blocks")], { stdin });
    expect(ended).toMatchObject({ code: 3, out: "" });
    expect(ended.err).toMatch(words);
    expect(ended.err.trimEnd().split("\n")).toHaveLength(1);
  });

  it("an image whose tables lead to themselves, and takes one whose tables lie elsewhere", async () => {
    const { manifest, image } = loop(0n);
    const folderOf = (name: string, word: bigint) => {
      mkdirSync(at(name));
      writeFileSync(join(at(name), "manifest.json"), JSON.stringify(manifest));
      writeFileSync(join(at(name), "image.bin"), loop(word).image);
      return at(name);
    };
    expect(image).toHaveLength(8192);
    const circular = await inside(["diff", folderOf("loop", 0x4000_0003n), at("blocks")]);
    expect(circular).toMatchObject({ code: 3, out: "" });
    expect(circular.err).toMatch(/loop: a table is reached in several ways/);
    const outside = await inside(["diff", folderOf("outside", 0x7000_0003n), at("blocks")]);
    expect(outside).toMatchObject({ code: 1, err: "" });
    expect(outside.out).toMatch(/1 difference: 4 MiB only in B \(0 B and 4 MiB mapped\)/);
  });

  it("two standard inputs", async () => {
    expect(await inside(["diff", "-", "-"])).toMatchObject({ code: 2, out: "" });
  });
});
