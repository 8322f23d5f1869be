import { mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { parseObject, VectorSyntaxError } from "../../conform/format.js";
import {
  ask,
  type ChangedWord,
  changedWords,
  compareSet,
  type Difference,
  isChangedWord,
  isQuery,
  type SetAnswer,
} from "../../conform/translations.js";
import { printable, printableValue } from "../../report/printable.js";
import { count, plural } from "../../report/text.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  InputError,
  Interrupted,
  stringOption,
  UsageError,
  writeJson,
} from "../command.js";
import { Differences } from "../differences.js";
import { exists, fileOf, type ImageFolder, MANIFEST, mmuOf, readManifest, readTableMemory } from "../image-folder.js";
import { readList, SET_BOUNDS_HELP, unreadable } from "../input.js";
import { isWalk, runWalk } from "./walk.js";

interface Totals {
  /** Sets whose questions were asked. */
  sets: number;
  /** Sets, or folders of them, that cannot be read, with the reason. */
  unreadable: { set: string; message: string }[];
  answers: number;
  matched: number;
  /** Questions that the recording has no answer to; counted as matched. */
  ignored: number;
  words: { expected: number; matched: number };
}

type SetDifference = { readonly set: string } & Difference;

interface LoadedSet extends ImageFolder {
  /** Name of the folder, wherever it is and however it was given. */
  readonly name: string;
  readonly answers: SetAnswer[];
  readonly words: ChangedWord[] | undefined;
}

/** The folders with a manifest: the operand, or the folders in it. InputError if there are none. */
async function findSets(path: string): Promise<string[]> {
  if (await exists(join(path, MANIFEST))) return [path];
  const entries = await readdir(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  const below = [];
  for (const entry of entries.sort()) if (await exists(join(path, entry, MANIFEST))) below.push(join(path, entry));
  if (below.length === 0) throw new InputError(`${path}: no set here: no folder has a ${MANIFEST}`);
  return below;
}

/** What `work` says; a set that cannot be read is noted, and stops no other: undefined. */
async function attempt<T>(set: string, totals: Totals, io: CommandIo, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    totals.unreadable.push({ set, message: error.message });
    io.note(`granule: ${error.message}`);
    return undefined;
  }
}

/** The JSON objects of a file, one a line; InputError for the first that `fits` does not know. */
async function objectsOf<T extends object>(
  path: string,
  io: CommandIo,
  fits: (line: object) => line is T,
  wrong: string,
): Promise<T[]> {
  const found: T[] = [];
  let n = 0;
  try {
    for await (const lines of readList(path, io)) {
      for (const text of lines) {
        n++;
        if (text.trim() === "") continue;
        const line: object = parseObject(text, n);
        if (!fits(line)) throw new VectorSyntaxError(n, wrong);
        found.push(line);
      }
    }
  } catch (error) {
    if (error instanceof VectorSyntaxError) throw new InputError(`${path}:${error.line}: ${error.problem}`);
    throw error;
  }
  return found;
}

async function answersOf(folder: string, io: CommandIo): Promise<SetAnswer[]> {
  const path = (await fileOf(folder, "results.jsonl")) ?? (await fileOf(folder, "queries.jsonl"));
  if (path === undefined)
    throw new InputError(`${folder}: neither results.jsonl nor queries.jsonl: nothing is asked; or give addresses`);
  const answers = await objectsOf(path, io, isQuery, "addr, access or how is missing or wrong");
  if (answers.length === 0) throw new InputError(`${path}: nothing is asked`);
  // Of a file of questions alone the fields of an answer are missing: `isRecorded` tells.
  return answers as SetAnswer[];
}

async function wordsOf(folder: string, io: CommandIo): Promise<ChangedWord[] | undefined> {
  const path = await fileOf(folder, "changes.jsonl");
  return path === undefined ? undefined : objectsOf(path, io, isChangedWord, "offset, before or after is no hex value");
}

async function load(folder: string, io: CommandIo): Promise<LoadedSet> {
  const manifest = await readManifest(folder, io);
  const answers = await answersOf(folder, io);
  const words = await wordsOf(folder, io);
  const image = await readTableMemory(folder, io);
  return { folder, name: basename(resolve(folder)), manifest, image, answers, words };
}

/** Objects as lines of JSON, one piece after the other: together they may be longer than a string can be. */
function* linesOf(objects: Iterable<object>): Generator<string> {
  for (const object of objects) yield `${JSON.stringify(object)}\n`;
}

/**
 * The folder of each set's answers: OUT/SET. UsageError where two sets would share one, or where it is a set itself: its
 * recorded answers would be overwritten.
 */
async function outFolders(out: string | undefined, folders: readonly string[]): Promise<Map<string, string>> {
  const places = new Map<string, string>();
  const taken = new Map<string, string>();
  if (out === undefined) return places;
  for (const folder of folders) {
    const name = basename(resolve(folder));
    if (name === "") throw new UsageError(`${folder} has no name that a folder in ${out} could have`);
    const place = join(out, name);
    const other = taken.get(place);
    if (other !== undefined) throw new UsageError(`the answers of ${other} and ${folder} would both go to ${place}`);
    if (await exists(join(place, MANIFEST))) throw new UsageError(`${place} is a set itself: choose another --out`);
    taken.set(place, folder);
    places.set(folder, place);
  }
  return places;
}

/** Answers every question and writes results.jsonl and changes.jsonl. */
async function answer(set: LoadedSet, place: string): Promise<void> {
  using mmu = mmuOf(set);
  const { manifest, image } = set;
  const answers = set.answers.map((line) => ("skipped" in line ? line : ask(mmu, manifest, line)));
  try {
    await mkdir(place, { recursive: true });
    await writeFile(join(place, "results.jsonl"), linesOf(answers));
    await writeFile(
      join(place, "changes.jsonl"),
      linesOf(changedWords(image, mmu.image(), BigInt(manifest.phys_base))),
    );
  } catch (error) {
    throw unreadable(place, error);
  }
}

/** Has the set an answer to compare with? */
function isRecorded({ answers }: LoadedSet): boolean {
  return answers.some(({ ok }) => typeof ok === "boolean");
}

/** Compares with what was recorded. */
function compare(set: LoadedSet, totals: Totals, differing: Differences<SetDifference>): void {
  using mmu = mmuOf(set);
  const result = compareSet(mmu, set.manifest, set.image, set.answers, set.words);
  totals.matched += result.matched;
  totals.ignored += result.ignored;
  totals.words.expected += result.words.expected;
  totals.words.matched += result.words.matched;
  differing.add(result.differing.map((difference) => ({ set: set.name, ...difference })));
  const index = set.answers.length;
  differing.add(
    result.strayWords.map(({ offset, before, after }) => ({
      set: set.name,
      index,
      field: `word ${offset}`,
      expected: before,
      actual: after,
    })),
  );
}

function differenceText({ set, index, field, expected, actual }: SetDifference, io: CommandIo): string {
  const place = io.style("bold", `${printable(set)}:${index + 1}`);
  return `${place}: ${printable(field)}\n  expected ${printableValue(expected)}\n  actual   ${printableValue(actual)}\n`;
}

function isFine({ words }: Totals, differing: Differences<SetDifference>): boolean {
  return differing.total === 0 && words.matched === words.expected;
}

function summary(totals: Totals, differing: Differences<SetDifference>, io: CommandIo): string {
  const { sets, answers, matched, ignored, words } = totals;
  const rest = totals.unreadable.length > 0 ? `; ${count(totals.unreadable.length)} could not be read` : "";
  const head = `${plural(sets, "set")}, ${plural(answers, "answer")}`;
  if (matched + differing.total === 0) return `${head}${rest}\n`;
  const fine = isFine(totals, differing);
  const verdict = fine ? io.style("green", "all equal") : io.style("red", `${count(matched)} equal`);
  const not = ignored > 0 ? ` (${count(ignored)} not recorded)` : "";
  const changed = `${count(words.matched)} of ${plural(words.expected, "changed word")}`;
  return `${differing.text((one) => differenceText(one, io))}${head}: ${verdict}${not}; ${changed}${rest}\n`;
}

/** Asks what one set asks, writes the answers to `place` if there is one, and compares them with those that were recorded. */
async function runSet(
  folder: string,
  place: string | undefined,
  io: CommandIo,
  totals: Totals,
  differing: Differences<SetDifference>,
): Promise<void> {
  const set = await load(folder, io);
  if (place !== undefined) await answer(set, place);
  else if (!isRecorded(set)) throw new UsageError(`${folder} has questions only: give --out DIR for the answers`);
  if (isRecorded(set)) compare(set, totals, differing);
  totals.sets++;
  totals.answers += set.answers.length;
}

async function runSets(args: CommandArgs, io: CommandIo, differing: Differences<SetDifference>): Promise<Totals> {
  const words = { expected: 0, matched: 0 };
  const totals: Totals = { sets: 0, unreadable: [], answers: 0, matched: 0, ignored: 0, words };
  const folders: string[] = [];
  for (const path of args.operands) folders.push(...((await attempt(path, totals, io, () => findSets(path))) ?? []));
  const places = await outFolders(stringOption(args, "out"), folders);
  for (const folder of folders) {
    if (io.signal.aborted) throw new Interrupted();
    io.progress({ name: folder, done: totals.answers, unit: "answers", share: totals.sets / folders.length });
    await attempt(folder, totals, io, () => runSet(folder, places.get(folder), io, totals, differing));
  }
  return totals;
}

async function runComparison(args: CommandArgs, io: CommandIo): Promise<number> {
  if (stringOption(args, "el") !== undefined)
    throw new UsageError("--el is for single addresses: granule translate DIR ADDRESS --el N");
  const out = stringOption(args, "out");
  const differing = new Differences<SetDifference>();
  const totals = await runSets(args, io, differing);
  io.progress(undefined);
  const { words, ...counts } = totals;
  const document = { schemaVersion: 1, ...counts, differing: differing.kept, words };
  if (args.json) await writeJson(io, out === undefined ? document : { ...document, out });
  else if (totals.sets > 0) await io.out(summary(totals, differing, io));
  if (totals.unreadable.length > 0) return Exit.UNREADABLE;
  return isFine(totals, differing) ? Exit.OK : Exit.FINDING;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.operands.length === 0)
    throw new UsageError("DIR is missing: an image and addresses, a set, or a folder of sets");
  return (await isWalk(args.operands)) ? runWalk(args, io) : runComparison(args, io);
}

/** `granule translate DIR ADDRESS...` and `granule translate DIR...`. */
export const translate: Command = {
  name: "translate",
  usage: "DIR ADDRESS [r|w|x]... [--el 0|1|2]\nDIR... [--out OUT]",
  summary: "walk a table image level by level, or compare with another MMU's answers",
  help: `With addresses: walks the table image in DIR as an Arm CPU does, and prints each descriptor on the way (where it lies,
its 64 bits, what it says) and the answer: the physical address and the rights, or the fault with the registers that the
exception level reads. r, w or x behind an address says read (the default), write or fetch. Addresses are hex, with 0x or
without; with - they are read from standard input. Access flags and dirty state are set in a copy of the image: later
addresses see what earlier ones changed.

DIR is a folder with image.bin and manifest.json, as granule image and granule make --image write it. manifest.json has
stage (stage2, hyp for EL2, el1 for a guest's own tables), phys_base, and the registers in hex: vtcr and vttbr, or tcr,
ttbr0 and mair; el1 has the latter, ttbr1 and sctlr if they matter, and vtcr and vttbr if stage 2 is on.

With folders alone: asks the recorded questions of each set, in order, and compares the answers field by field with those
of another MMU, and the words of the image that it changed. What the recording does not know (null) is not compared.
A set (docs/formats/sets.md) is such a folder, or a folder of sets, with results.jsonl: questions and answers; or
queries.jsonl: questions alone (addr, access, how); and changes.jsonl: the changed words. All but the manifest may be gzipped.
What is there under its name is taken for a folder, not for an address.
A set that cannot be read stops no other: the reason goes to stderr, and the exit code is 3 in the end.
${SET_BOUNDS_HELP}`,
  options: {
    el: {
      type: "string",
      value: "0|1|2",
      help: "exception level that makes the accesses (default 1; 2 for EL2's table)",
    },
    out: {
      type: "string",
      short: "o",
      value: "OUT",
      help: "sets: write our answers to OUT/SET/results.jsonl, changes.jsonl",
    },
  },
  exits: [
    { code: Exit.OK, meaning: "every address translates, or all is equal" },
    { code: Exit.FINDING, meaning: "a fault, or something differs" },
  ],
  examples: [
    {
      line: "granule translate table 0x40001234 w 0x50000000",
      shows: "a write that translates, and a read that does not",
    },
    { line: "granule translate mmu-vectors/", shows: "whether every recorded answer is ours" },
  ],
  run,
};
