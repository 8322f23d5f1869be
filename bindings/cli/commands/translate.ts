import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { createMmu } from "../../mmu/index.js";
import type { Mmu } from "../../mmu/mmu.js";
import {
  ask,
  type ChangedWord,
  changedWords,
  compareSet,
  type Difference,
  isQuery,
  optionsOf,
  type SetAnswer,
  SetError,
  type SetManifest,
} from "../../mmu/set.js";
import { count, plural } from "../../report/text.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  InputError,
  stringOption,
  UsageError,
} from "../command.js";
import { readText, unreadable } from "../input.js";

/** Differences printed in text; JSON has all. */
const PRINTED = 20;
const MANIFEST = "manifest.json";

interface Totals {
  schemaVersion: 1;
  sets: number;
  answers: number;
  matched: number;
  /** Questions that the recording has no answer to; counted as matched. */
  ignored: number;
  differing: ({ set: string } & Difference)[];
  words: { expected: number; matched: number };
}

interface LoadedSet {
  readonly name: string;
  readonly manifest: SetManifest;
  readonly image: Uint8Array;
  readonly answers: SetAnswer[];
  readonly words: ChangedWord[] | undefined;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** The folders with a manifest: each operand, or the folders in it. */
async function findSets(operands: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of operands) {
    if (await exists(join(path, MANIFEST))) {
      found.push(path);
      continue;
    }
    const entries = await readdir(path).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    const below = [];
    for (const entry of entries.sort()) if (await exists(join(path, entry, MANIFEST))) below.push(join(path, entry));
    if (below.length === 0) throw new InputError(`${path}: no set here: no folder has a ${MANIFEST}`);
    found.push(...below);
  }
  return found;
}

/** The file `name` of a folder, plain or gzipped. */
async function fileOf(folder: string, name: string): Promise<string | undefined> {
  for (const file of [join(folder, `${name}.gz`), join(folder, name)]) if (await exists(file)) return file;
  return undefined;
}

async function linesOf<T>(path: string, io: CommandIo): Promise<T[]> {
  const text = await readText(path, io);
  return text.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    try {
      return [JSON.parse(line) as T];
    } catch {
      throw new InputError(`${path}:${i + 1}: no JSON`);
    }
  });
}

async function imageOf(folder: string): Promise<Uint8Array> {
  const path = await fileOf(folder, "image.bin");
  if (path === undefined) throw new InputError(`${folder}: image.bin is missing`);
  try {
    const bytes = await readFile(path);
    return path.endsWith(".gz") ? gunzipSync(bytes) : bytes;
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function load(folder: string, io: CommandIo): Promise<LoadedSet> {
  const path = join(folder, MANIFEST);
  let manifest: SetManifest;
  try {
    manifest = JSON.parse(await readText(path, io)) as SetManifest;
  } catch (error) {
    throw error instanceof InputError ? error : new InputError(`${path}: no JSON`);
  }
  const asked = (await fileOf(folder, "results.jsonl")) ?? (await fileOf(folder, "queries.jsonl"));
  if (asked === undefined) throw new InputError(`${folder}: neither results.jsonl nor queries.jsonl: nothing is asked`);
  const answers = await linesOf<SetAnswer>(asked, io);
  const odd = answers.findIndex((line) => typeof line !== "object" || line === null || !isQuery(line));
  if (odd >= 0) throw new InputError(`${asked}:${odd + 1}: addr or access is missing or wrong`);
  const changes = await fileOf(folder, "changes.jsonl");
  const words = changes === undefined ? undefined : await linesOf<ChangedWord>(changes, io);
  return { name: basename(folder), manifest, image: await imageOf(folder), answers, words };
}

function mmuOf(set: LoadedSet): Mmu {
  try {
    return createMmu(optionsOf(set.manifest, set.image));
  } catch (error) {
    if (error instanceof SetError) throw new InputError(`${set.name}/${MANIFEST}: ${error.message}`);
    throw error;
  }
}

const text = (lines: readonly object[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join("");

/** Answers every question and writes results.jsonl and changes.jsonl. */
async function answer(set: LoadedSet, out: string): Promise<void> {
  using mmu = mmuOf(set);
  const { manifest, image } = set;
  const answers = set.answers.map((line) => ("skipped" in line ? line : ask(mmu, manifest, line)));
  const folder = join(out, set.name);
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "results.jsonl"), text(answers));
    await writeFile(join(folder, "changes.jsonl"), text(changedWords(image, mmu.image(), BigInt(manifest.phys_base))));
  } catch (error) {
    throw unreadable(folder, error);
  }
}

/** Has the set an answer to compare with? */
function isRecorded({ answers }: LoadedSet): boolean {
  return answers.some(({ ok }) => typeof ok === "boolean");
}

/** Compares with what was recorded. */
function compare(set: LoadedSet, totals: Totals): void {
  using mmu = mmuOf(set);
  const result = compareSet(mmu, set.manifest, set.image, set.answers, set.words);
  totals.matched += result.matched;
  totals.ignored += result.ignored;
  totals.words.expected += result.words.expected;
  totals.words.matched += result.words.matched;
  totals.differing.push(...result.differing.map((difference) => ({ set: set.name, ...difference })));
  const strays = result.strayWords.map(({ offset, before, after }) => ({
    field: `word ${offset}`,
    expected: before,
    actual: after,
  }));
  totals.differing.push(...strays.map((stray) => ({ set: set.name, index: set.answers.length, ...stray })));
}

function summary(totals: Totals, io: CommandIo): string {
  const shown = totals.differing.slice(0, PRINTED).map(({ set, index, field, expected, actual }) => {
    const place = io.style("bold", `${set}:${index + 1}`);
    return `${place}: ${field}\n  expected ${JSON.stringify(expected)}\n  actual   ${JSON.stringify(actual)}\n`;
  });
  const hidden = totals.differing.length - shown.length;
  if (hidden > 0) shown.push(`... and ${plural(hidden, "more difference")} (--json lists all)\n`);
  const { sets, answers, matched, ignored, words } = totals;
  if (matched + totals.differing.length === 0) return `${plural(sets, "set")}, ${plural(answers, "answer")}\n`;
  const verdict = isFine(totals) ? io.style("green", "all equal") : io.style("red", `${count(matched)} equal`);
  const not = ignored > 0 ? ` (${count(ignored)} not recorded)` : "";
  const changed = `${count(words.matched)} of ${plural(words.expected, "changed word")}`;
  return `${shown.join("")}${plural(sets, "set")}, ${plural(answers, "answer")}: ${verdict}${not}; ${changed}\n`;
}

function isFine({ differing, words }: Totals): boolean {
  return differing.length === 0 && words.matched === words.expected;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.operands.length === 0) throw new UsageError("DIR is missing: a set, or a folder of sets");
  const out = stringOption(args, "out");
  const totals: Totals = {
    schemaVersion: 1,
    sets: 0,
    answers: 0,
    matched: 0,
    ignored: 0,
    differing: [],
    words: { expected: 0, matched: 0 },
  };
  const folders = await findSets(args.operands);
  for (const folder of folders) {
    if (io.signal.aborted) return Exit.INTERRUPTED;
    io.progress(`${totals.sets}/${folders.length} ${folder}`);
    const set = await load(folder, io);
    if (out !== undefined) await answer(set, out);
    else if (!isRecorded(set)) throw new UsageError(`${folder} has questions only: give --out DIR for the answers`);
    if (isRecorded(set)) compare(set, totals);
    totals.sets++;
    totals.answers += set.answers.length;
  }
  io.progress(undefined);
  const document = out === undefined ? totals : { ...totals, out };
  await io.out(args.json ? `${JSON.stringify(document, undefined, 2)}\n` : summary(totals, io));
  return isFine(totals) ? Exit.OK : Exit.FINDING;
}

/** `granule translate DIR...`. */
export const translate: Command = {
  name: "translate",
  usage: "DIR... [--out DIR]",
  summary: "translate recorded addresses as the hardware does, and compare with another MMU's answers",
  help: `Walks a table image as an Arm CPU does: stage 2, or EL2's stage 1, as manifest.json says (mmu-vectors/FORMAT.md).
DIR is a set, or a folder of sets: manifest.json, image.bin, results.jsonl, changes.jsonl, gzipped or not. Each question of
results.jsonl (or of queries.jsonl, which has addr, access and how alone) is asked in order; access flags and dirty state
are set on the way. The answers are compared with those recorded, field by field, and so are the changed words; what was
not learnt (null) is left out. With --out our answers are written too: DIR/SET/results.jsonl and changes.jsonl.
Exit code 1 if anything differs, 3 if a set is not of the format.`,
  options: {
    out: { type: "string", short: "o", value: "DIR", help: "folder to write our answers into" },
  },
  run,
};
