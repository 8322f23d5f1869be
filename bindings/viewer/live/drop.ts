// What somebody dropped on the page: told by its content, not by its name.

import { imageTable, kindOfText, runOperations, SourceError, type TextKind } from "../../conform/sources.js";
import { optionsOf, type SetManifest } from "../../conform/translations.js";
import { GranuleError } from "../../index.js";
import { createMmu, type WalkExplanation } from "../../mmu/index.js";
import type { Granule } from "../../model/granule.js";
import { tableImage } from "../../report/image.js";
import { leafTable } from "../../report/leaf-runs.js";
import { parsePtdump } from "../../report/ptdump-parse.js";
import { snapshotOf, tableSnapshot, treeFormat } from "../../report/snapshot.js";
import type { Section, Story, TreeSection } from "../../report/story.js";
import { count, plural } from "../../report/text.js";
import { formatOf } from "../../trace/input-format.js";
import { readBytes } from "../../trace/lines.js";
import { isValidLeaf, parseS2Raw } from "../../trace/s2raw.js";
import { isForcedWriteBack, MovedTables } from "./moved.js";
import type { Said } from "./replay-worker.js";
import type { Rules } from "./words.js";

/** A report of what was dropped, and where it is a table with its memory, a way to translate addresses in it. */
export interface Dropped {
  readonly story: Story;
  readonly memory?: { readonly rules: Rules; walk(address: bigint, kind: "r" | "w" | "x"): WalkExplanation };
}

const HEAD = 4096;
/** Longest file that is held in memory, unpacked. */
const MOST_BYTES = 256 << 20;

const OTHERS: Readonly<Record<string, string>> = {
  lackey: "these are memory accesses: granule replay FILE runs them on vCPUs",
  drmemtrace: "these are memory accesses: granule replay FILE runs them on vCPUs",
  csv: "these are memory accesses: granule replay FILE runs them on vCPUs",
  champsim: "these are memory accesses: granule replay FILE runs them on vCPUs",
  xz: "it is packed with xz: unpack it first",
  zstd: "it is packed with zstd: unpack it first",
  binary: "if this is the memory of an image, drop its manifest.json together with it",
};

async function unpacked(file: File): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of readBytes(file, MOST_BYTES)) chunks.push(chunk.slice());
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** The first bytes, unpacked. */
async function headOf(file: File): Promise<Uint8Array> {
  for await (const chunk of readBytes(file)) if (chunk.length > 0) return chunk.subarray(0, HEAD);
  return new Uint8Array();
}

/** The manifest of an image; undefined for any other file. */
async function manifestOf(file: File): Promise<SetManifest | undefined> {
  if (file.size > HEAD) return undefined;
  try {
    const found = JSON.parse(await file.text()) as Partial<SetManifest>;
    return typeof found.phys_base === "string" && found.stage !== undefined ? (found as SetManifest) : undefined;
  } catch {
    return undefined;
  }
}

/** The report of files that belong together. Throws with a sentence for people where they are nothing that the page reads. */
export async function readDropped(files: readonly File[], progress: (events: number) => void): Promise<Dropped> {
  for (const file of files) {
    const manifest = await manifestOf(file);
    if (manifest === undefined) continue;
    const image = await imageAmong(files.filter((other) => other !== file));
    if (image === undefined) throw new Error("this says how an image is read: drop image.bin together with it");
    return imageOf(image.name, manifest, await unpacked(image));
  }
  const [file, second] = files;
  if (file === undefined) throw new Error("there is no file");
  if (second !== undefined) throw new Error("of several files one has to be the manifest.json of an image");
  return readOne(file, progress);
}

/** The file with the image's memory: the others of a folder are text. */
async function imageAmong(files: readonly File[]): Promise<File | undefined> {
  for (const file of files) if ((await headOf(file)).includes(0)) return file;
  return undefined;
}

async function readOne(file: File, progress: (events: number) => void): Promise<Dropped> {
  const head = await headOf(file),
    format = formatOf(head);
  if (format === "text") {
    const kind = kindOfText(new TextDecoder().decode(head).split("\n"));
    if (typeof kind === "string") return readText(kind, file.name, new TextDecoder().decode(await unpacked(file)));
    if (kind.line?.startsWith("("))
      throw new Error("if this is a log of page-table writes: granule check LOG judges it");
  }
  const other = OTHERS[format];
  if (other !== undefined) throw new Error(other);
  return { story: await traceStory(file, progress) };
}

function readText(kind: TextKind, name: string, text: string): Dropped {
  if (kind === "ptdump") return { story: ptdumpStory(name, text) };
  return kind === "raw tables" ? rawTables(name, text) : operationsOf(name, text);
}

function plain(title: string, summary: string[], sections: Section[]): Story {
  return { schemaVersion: 1, title, summary, facts: [], sections };
}

function treeOf(note: string, format: TreeSection["format"], snapshot: TreeSection["snapshots"][number]): Section {
  return { kind: "tree", title: "The table of the file", note, format, snapshots: [snapshot] };
}

/** Translations in an image, by an MMU of its own. */
function memoryOf(manifest: SetManifest, image: Uint8Array, rules: Rules): NonNullable<Dropped["memory"]> {
  const mmu = createMmu(optionsOf(manifest, image));
  return { rules, walk: (address, kind) => mmu.explainWalk(address, kind) };
}

const STAGES = { stage2: "2", hyp: "hyp", el1: "el1" } as const;

function imageOf(name: string, manifest: SetManifest, image: Uint8Array): Dropped {
  try {
    if (manifest.stage === "el1") {
      const memory = memoryOf(manifest, image, { granule: 4096, lpa2: false, stage: "el1" });
      return { story: plain(name, ["Tables of EL1&0: translate addresses in them."], []), memory };
    }
    const table = imageTable(manifest, image);
    const { lpa2, startLevel, inputBits, hvhe } = table,
      granule = table.granule as Granule,
      fwb = manifest.fwb ?? false;
    const format = { stage: table.stage, granule, lpa2, fwb, hvhe, startLevel, inputBits };
    const rules: Rules = { granule, lpa2, fwb, stage: STAGES[manifest.stage] };
    const snapshot = snapshotOf(table, granule, "as in the image", table.pages);
    const tree = treeOf("As the hardware's walker finds it in the image.", format, snapshot);
    return { story: plain(name, [], [tree]), memory: memoryOf(manifest, image, rules) };
  } catch (error) {
    if (error instanceof GranuleError) throw new SourceError(error.hint);
    throw error;
  }
}

function rawTables(name: string, text: string): Dropped {
  const dump = parseS2Raw(text, name);
  const { ds, startLevel, iaBits } = dump.geometry,
    granule = dump.geometry.granule as Granule,
    fwb = isForcedWriteBack(dump);
  const leaves = [...dump.leaves()]
    .filter(isValidLeaf)
    .map(({ ipa, level, descriptor }) => ({ address: BigInt(ipa), level, descriptor }));
  const format = { stage: "2", granule, lpa2: ds, fwb, hvhe: false, startLevel, inputBits: iaBits } as const;
  const snapshot = snapshotOf(leafTable(leaves, format), granule, "as it was dumped", dump.tables.length);
  const story = plain(name, [], [treeOf("Raw tables of a running kernel.", format, snapshot)]);
  if (!dump.registers.has("VTCR_EL2")) return { story };
  const moved = new MovedTables(dump);
  const { rules, walk } = memoryOf(moved.manifest, moved.image, { granule, lpa2: ds, fwb, stage: "2" });
  return { story, memory: { rules, walk: (address, kind) => moved.asItWas(walk(address, kind)) } };
}

function operationsOf(name: string, text: string): Dropped {
  const { scenario, ops, refused } = runOperations(text.split("\n"));
  const { table, engine } = scenario;
  using _engine = engine;
  const format = treeFormat(table),
    { manifest, image } = tableImage(table);
  const summary = [`${plural(ops, "operation")}, of which the table refused ${count(refused)}.`];
  const tree = treeOf("What the operations make.", format, tableSnapshot(table, "in the end"));
  const { granule, lpa2, fwb, stage } = format;
  return { story: plain(name, summary, [tree]), memory: memoryOf(manifest, image, { granule, lpa2, fwb, stage }) };
}

function ptdumpStory(name: string, text: string): Story {
  const { title, runs } = parsePtdump(text);
  const columns = [
    { name: "from", unit: "address" as const },
    { name: "to", unit: "address" as const },
    { name: "level" },
    { name: "attributes" },
  ];
  const rows = runs.map(({ start, end, level, columns: said }) => [Number(start), Number(end), level, said]);
  const note = "A ptdump does not say where a range leads.";
  return plain(name, [title], [{ kind: "table", title: "The mappings", note, columns, rows }]);
}

function traceStory(file: File, progress: (events: number) => void): Promise<Story> {
  const worker = new Worker(new URL("./replay-worker.ts", import.meta.url), { type: "module" });
  return new Promise<Story>((resolve, reject) => {
    worker.addEventListener("message", ({ data }: MessageEvent<Said>) => {
      if ("events" in data) progress(data.events);
      else if ("story" in data) resolve(data.story);
      else reject(new Error(data.error));
    });
    worker.addEventListener("error", (event) => reject(new Error(event.message || "the worker could not start")));
    worker.postMessage({ file, from: "faults" });
  }).finally(() => worker.terminate());
}
