// What is dropped on the page: told by its content; tables are walked as they lay.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { createEngine } from "../../bindings/index.js";
import { tableImage } from "../../bindings/report/image.js";
import { isValidLeaf, parseS2Raw } from "../../bindings/trace/s2raw.js";
import { readDropped } from "../../bindings/viewer/live/drop.js";
import { isForcedWriteBack } from "../../bindings/viewer/live/moved.js";
import { mapLine, script } from "../cli/granule.js";
import { ROOT } from "../house/sources.js";

const read = (files: readonly File[]) => readDropped(files, () => {});
const file = (name: string, content: string | Uint8Array) => new File([content as BlobPart], name);

const RAW = join(ROOT, "test/trace/fixtures");
const dumps = readdirSync(RAW).filter((name) => /\.s2raw(\.gz)?$/.test(name));

function tables() {
  using engine = createEngine();
  const table = engine.createStage2({ ipaBits: 40 });
  table.map(0x4000_0000, 4 << 20, 0x8000_0000, "rw");
  table.map(0x4000_3000, 0x1000, 0x9000_0000, "r");
  const { manifest, image } = tableImage(table);
  return { manifest: file("manifest.json", JSON.stringify(manifest)), image };
}

describe("a dropped raw table", () => {
  it.each(dumps)("%s is walked to each of its leaves, through its own tables", async (name) => {
    const bytes = readFileSync(join(RAW, name));
    const { story, memory } = await read([file("some", bytes)]);
    expect(story.sections.map(({ kind }) => kind)).toEqual(["tree"]);
    const dump = parseS2Raw((name.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString(), name);
    const places = new Map(
      dump.tables.flatMap(({ pa, indices, descriptors }) =>
        [...indices].map((index, i) => [BigInt(pa + index * 8), descriptors[i]] as const),
      ),
    );
    const leaves = [...dump.leaves()].filter(isValidLeaf);
    expect(leaves.length).toBeGreaterThan(0);
    for (const leaf of leaves.slice(0, 300)) {
      const { steps } = memory?.walk(BigInt(leaf.ipa), "r") ?? { steps: [] };
      for (const { address, descriptor } of steps) expect(places.get(address)).toBe(descriptor);
      expect([steps.at(-1)?.level, steps.at(-1)?.descriptor]).toEqual([leaf.level, leaf.descriptor]);
    }
    expect(memory?.rules.fwb).toBe(isForcedWriteBack(dump));
  });

  it("is read without forced write-back where its memory types say so", async () => {
    const name = dumps.find((one) => one.startsWith("d4k")) as string;
    const { memory } = await read([file(name, readFileSync(join(RAW, name)))]);
    expect(memory?.rules.fwb).toBe(false);
  });
});

describe("a dropped image", () => {
  it("is a tree, and addresses in it are translated; plain or gzipped, in any order, beside other files", async () => {
    const { manifest, image } = tables();
    const beside = file("queries.jsonl", '{"addr":"0x40000123","access":"R"}\n');
    for (const files of [
      [manifest, file("image.bin", image)],
      [beside, file("a.gz", gzipSync(image)), manifest],
    ]) {
      const { story, memory } = await read(files);
      const [tree] = story.sections;
      if (tree?.kind !== "tree") throw new Error("no tree");
      expect([tree.format.granule, tree.format.startLevel, tree.snapshots[0]?.pages]).toEqual([4096, 1, 4]);
      const { steps, result } = memory?.walk(0x4000_3010n, "r") ?? { steps: [], result: undefined };
      expect([steps.length, result?.ok && result.pa]).toEqual([3, 0x9000_0010n]);
      expect(memory?.walk(0x4000_3010n, "w").result.ok).toBe(false);
    }
  });

  it("of EL1&0 is translated, without a tree", async () => {
    const image = new Uint8Array(4096);
    new DataView(image.buffer).setBigUint64(8, 0x4000_0000n | 0x701n, true); // a block of 1 GiB
    const about = { stage: "el1", phys_base: "0x80000000", tcr: "0x19", ttbr0: "0x80000000", mair: "0xff" };
    const { story, memory } = await read([file("m", JSON.stringify(about)), file("image.bin", image)]);
    expect(story.sections).toEqual([]);
    expect(memory?.walk(0x4000_1234n, "r").result).toMatchObject({ ok: true, pa: 0x4000_1234n });
  });
});

describe("other files", () => {
  it("of operations are the table that they make", async () => {
    const text = script([mapLine(0x4000_0000, 0x20_0000), { op: "destroy" }]);
    for (const content of [text, gzipSync(text)]) {
      const { story, memory } = await read([file("ops", content)]);
      expect(story.summary).toEqual(["1 operation, of which the table refused 0."]);
      expect(memory?.walk(0x4000_0000n, "w").result).toMatchObject({ ok: true, pa: 0x4000_0000n });
    }
  });

  it("that cannot be shown are told what they are", async () => {
    const { manifest, image } = tables();
    for (const [files, message] of [
      [[manifest], "drop image.bin together with it"],
      [[manifest, file("notes.txt", "hello")], "drop image.bin together with it"],
      [[file("image.bin", image)], "drop its manifest.json together with it"],
      [[file("a", "x"), file("b", "y")], "of several files one has to be the manifest.json"],
      [[file("log", '(lock (id 0) (tid 0) (address 0x1) (src "a:1"))\n')], "granule check LOG judges it"],
      [[file("mem", "I  0401ab70,3\n S 1fff000688,8\n")], "granule replay FILE runs them on vCPUs"],
      [[file("x", Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0))], "packed with xz"],
      [[file("bad", "# raw stage-2 tables of a VM at freeze point a.b\nTABLE what\n")], "line 2"],
      [[file("bad", '{"format":"pgtable-vectors/1"}\n')], "line 1: stage"],
    ] as const)
      await expect(read(files)).rejects.toThrow(message);
    const strange = file("manifest.json", JSON.stringify({ stage: "stage2", phys_base: "0x80000000", vtcr: "no" }));
    await expect(read([strange, file("image.bin", image)])).rejects.toThrow("vtcr is not a hexadecimal value");
  });
});
