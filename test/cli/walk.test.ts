// granule translate DIR ADDRESS...: walks of an image, level by level, and how they are told from sets.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { hex } from "../../bindings/model/address.js";
import * as W from "../mmu/world.js";
import { World } from "../mmu/world.js";
import { scratchFolder } from "../support/scratch.js";
import { inside } from "./inside.js";

const folder = scratchFolder();
const stage2 = join(folder, "stage2");
const el2 = join(folder, "el2");
const nested = join(folder, "nested");

const VA = 0x12_3456_7000n;
const PA = 0x9_0000_0000n;

/** A guest with tables of its own over stage 2. */
function writeNested(): void {
  const world = new World();
  world.map1(VA, 0x8000_0000n, W.S1_LEAF | W.AP_EL0);
  world.map2(0x8000_0000n, PA, W.S2_LEAF);
  const manifest = {
    stage: "el1",
    phys_base: hex(W.BASE),
    tcr: hex(W.TCR.T39),
    ttbr0: hex(world.s1Root),
    ttbr1: hex(world.s1High),
    mair: hex(W.MAIR),
    vtcr: hex(W.VTCR.T39),
    vttbr: hex(world.s2Root),
  };
  mkdirSync(nested);
  writeFileSync(join(nested, "manifest.json"), JSON.stringify(manifest));
  writeFileSync(join(nested, "image.bin"), world.image);
}

beforeAll(async () => {
  const specs = ["0x40000000:2M:0x80000000:rw", "0x50000000:4K:0x70000000:r"];
  await inside(["make", ...specs, "--base", "0x40000000", "--image", stage2]);
  await inside(["make", "0x40000000:2M:0x80000000:rw", "--stage", "el2", "--base", "0x40000000", "--image", el2]);
  writeNested();
});

describe("granule translate DIR ADDRESS", () => {
  it("prints each level and the answer", async () => {
    expect(await inside(["translate", stage2, "0x40001234", "w"])).toEqual({
      code: 0,
      err: "",
      out: [
        "0x40001234: write from EL1",
        "",
        "level  descriptor at  descriptor          says",
        "    1  0x40002008     0x0000000040001003  table at 0x40001000",
        "    2  0x40001000     0x00400000800007d9  2M block at 0x80000000: rw-, Normal write-back",
        "",
        "PA 0x80001234  rw-, Normal-WB ISH, mapped as 2 MiB",
        "",
      ].join("\n"),
    });
  });

  it("prints the exception of a fault, and exits with 1", async () => {
    const ended = await inside(["translate", stage2, "50000010", "w"]);
    expect(ended.code).toBe(1);
    expect(ended.out.split("\n").slice(-5)).toEqual([
      "permission fault at level 3",
      "  ESR_EL2    0x9200004f  data abort from a lower level, FSC 0x0f",
      "  FAR_EL2    0x50000010",
      "  HPFAR_EL2  0x500000    IPA 0x50000010",
      "",
    ]);
  });

  it("gives the same in JSON", async () => {
    const one = await inside(["translate", stage2, "0x40001234", "--json"]);
    expect(JSON.parse(one.out)).toMatchObject({
      schemaVersion: 1,
      address: "0x40001234",
      access: "r",
      el: 1,
      steps: [
        { stage: 2, level: 1, kind: "table", descriptor: "0x0000000040001003", output: "0x40001000" },
        { stage: 2, level: 2, kind: "block", address: "0x40001000", meaning: expect.stringContaining("2M block") },
      ],
      ok: true,
      pa: "0x80001234",
      fault: null,
    });
    const several = await inside(["translate", stage2, "0x40000000", "60000000", "x", "--json"]);
    const { walks } = JSON.parse(several.out) as { walks: object[] };
    expect(walks).toMatchObject([
      { ok: true },
      {
        access: "x",
        ok: false,
        pa: null,
        fault: { kind: "translation", level: 2, stage: 2, far: "0x60000000", el: 2 },
      },
    ]);
    expect(several.code).toBe(1);
  });

  it("takes several addresses, each with its access, and standard input", async () => {
    const args = ["translate", stage2, "0x40000000", "x", "40000004", "-", "--json"];
    const ended = await inside(args, { stdin: "50000000 w 50000008\n\n0x40000008 r\n" });
    const { walks } = JSON.parse(ended.out) as { walks: { address: string; access: string }[] };
    expect(walks.map(({ address, access }) => `${address} ${access}`)).toEqual([
      "0x40000000 x",
      "0x40000004 r",
      "0x50000000 w",
      "0x50000008 r",
      "0x40000008 r",
    ]);
  });

  it("walks EL2's own table", async () => {
    const ended = await inside(["translate", el2, "0x40001234", "w"]);
    expect(ended).toMatchObject({ code: 0, err: "" });
    expect(ended.out).toContain("0x40001234: write from EL2");
    expect(ended.out).toMatch(/^ {4}2 .* 2M block at 0x80000000: rw-, Normal write-back$/m);
    const fault = await inside(["translate", el2, "0x50000000"]);
    expect(fault.out).toMatch(/ESR_EL2 +0x96000006 +data abort from the same level, FSC 0x06/);
  });

  it("walks a guest's tables through stage 2", async () => {
    const ended = await inside(["translate", nested, hex(VA + 4n), "w", "--el", "0"]);
    expect(ended).toMatchObject({ code: 0, err: "" });
    const lines = ended.out.split("\n");
    expect(lines[0]).toBe("0x1234567004: write from EL0");
    expect(lines[2]).toMatch(/^stage {2}level {2}IPA +descriptor at +descriptor +says$/);
    expect(lines.slice(3, -3).map((line) => line.slice(0, 12))).toEqual(
      ["  2", "  2", "  2", "1  ", "  2", "  2", "  2", "1  ", "  2", "  2", "  2", "1  ", "  2", "  2", "  2"].map(
        (stage, i) => `${stage}${" ".repeat(8)}${(i % 4) + 1 > 3 ? (i + 1) / 4 : (i % 4) + 1}`,
      ),
    );
    expect(ended.out).toContain("4K page at 0x80000000: EL1 rw-, EL0 rwx, Normal write-back");
    expect(ended.out).toMatch(/^PA 0x900000004 {2}EL1 rw-, EL0 rwx, Normal-WB ISH, mapped as 4 KiB$/m);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(120);
  });

  it("says which stage a nested fault is of", async () => {
    const ended = await inside(["translate", nested, "0x1000000000"]);
    expect(ended.out).toMatch(/translation fault at level 1\n {2}ESR_EL1 /);
    const high = await inside(["translate", nested, "0xffffff8000000000", "--json"]);
    expect(JSON.parse(high.out)).toMatchObject({ ok: false, fault: { stage: 1, ipa: null } });
  });
});

describe("the two forms of granule translate", () => {
  it("are told apart by what is there: a folder is a set, whatever its name", async () => {
    // The folder has a name that is an address too; relative names are looked up from here.
    const set = join(folder, "0x40000000");
    mkdirSync(set, { recursive: true });
    const here = process.cwd();
    process.chdir(folder);
    try {
      expect((await inside(["translate", "stage2", "0x40000000"])).err).toContain("0x40000000: no set here");
      expect((await inside(["translate", "stage2", "0x40000001"])).out).toContain("PA 0x80000001");
    } finally {
      process.chdir(here);
    }
  });

  it.each([
    [["typo"], 3, /typo: no such file or folder/],
    [["0x12zz"], 2, /0x12zz is neither an address \(hex, 64 bits\) nor r, w or x behind one/],
    [["0x1ffffffffffffffff"], 2, /neither an address/],
    [["0x1000", "q"], 2, /q is neither/],
    [["0x1000", "r", "w"], 2, /w is neither/],
    [["0x1000", "--out", "x"], 2, /--out is for whole sets/],
    [["0x1000", "--el", "2"], 2, /--el 2: the image is a guest's table/],
    [["0x1000", "--el", "3"], 2, /--el is 0 or 1 or 2, not 3/],
    [["--el", "1"], 2, /--el is for single addresses/],
    [["-"], 3, /\(stdin\): no address/],
  ])("%j behind the folder is refused", async (args, code, words) => {
    const ended = await inside(["translate", stage2, ...args]);
    expect(ended).toMatchObject({ code, out: "" });
    expect(ended.err).toMatch(words);
  });

  it("refuses EL1 for EL2's table, folders that are no image, and lines that are no address", async () => {
    expect((await inside(["translate", el2, "0", "--el", "1"])).err).toMatch(/--el 1: the image is EL2's own table/);
    expect(await inside(["translate", folder, "0"])).toMatchObject({ code: 3, err: expect.stringMatching(/manifest/) });
    const stdin = "40000000\nhello\n";
    expect((await inside(["translate", stage2, "-"], { stdin })).err).toContain("(stdin):2: hello is neither");
  });
});
