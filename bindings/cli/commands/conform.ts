import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { VectorSyntaxError } from "../../conform/format.js";
import { type Failure, type FileResult, ScriptRun, VectorRun } from "../../conform/run.js";
import { JournalOverrun } from "../../conform/scenario.js";
import { createEngine } from "../../index.js";
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
import { BOUNDS_HELP, findFiles, inputName, readLines, refuseOverwrite } from "../input.js";
import { WalkerLog } from "../log-file.js";

const VECTORS = /\.jsonl(\.gz)?$/;

const surroundings = { createEngine, createHash: () => createHash("sha256") };

/** What all files together came to. */
interface Totals {
  files: number;
  ops: number;
  passed: number;
  failed: number;
  /** Inputs that could not be read to their end; nothing of them is counted. */
  unreadable: number;
}

/** The lines of an input, as often as they are wanted; those of standard input are kept for that. */
function lineSource(path: string, io: CommandIo): () => AsyncIterable<string[]> {
  if (path !== "-") return () => readLines(path, io);
  // As text: many short lines take far more room as strings of their own.
  const kept: string[] = [];
  const rest = readLines(path, io);
  return async function* () {
    for (const text of kept) yield text.split("\n");
    // By hand: a loop that is left early would close the input.
    for (let next = await rest.next(); !next.done; next = await rest.next()) {
      kept.push(next.value.join("\n"));
      yield next.value;
    }
  };
}

async function compareLines(
  name: string,
  lines: AsyncIterable<string[]>,
  failures: Differences<Failure>,
  draining: boolean,
): Promise<FileResult> {
  using run = new VectorRun(name, surroundings, draining);
  for await (const some of lines) {
    for (const line of some) {
      run.line(line);
      failures.add(run.takeFailures());
    }
  }
  return run.finish();
}

/** Compares a file; one whose operations make more events than the journal holds is run again, the journal read meanwhile. */
async function compareFile(
  name: string,
  lines: () => AsyncIterable<string[]>,
  failures: Differences<Failure>,
): Promise<FileResult> {
  const before = failures.mark();
  try {
    return await compareLines(name, lines(), failures, false);
  } catch (error) {
    if (!(error instanceof JournalOverrun)) throw error;
    failures.reset(before);
    return await compareLines(name, lines(), failures, true);
  }
}

/** Performs the file with the whole journal on, and writes what the walkers did. */
async function writeLog(lines: AsyncIterable<string[]>, target: string): Promise<void> {
  const log = new WalkerLog(target);
  const { createEngine, catchUp, afterEach } = log;
  const run = new ScriptRun({ createEngine, onDescent: catchUp, afterEach });
  try {
    for await (const some of lines) for (const line of some) run.line(line);
    run.finish();
    log.finish();
  } finally {
    run.abandon();
    log.abandon();
  }
}

async function runFile(
  path: string,
  io: CommandIo,
  log: string | undefined,
  failures: Differences<Failure>,
): Promise<FileResult> {
  const name = inputName(path);
  const lines = lineSource(path, io);
  try {
    const result = await compareFile(name, lines, failures);
    if (result.ops === 0) throw new InputError(`${name}: there is no operation in it`);
    if (log !== undefined) await writeLog(lines(), log);
    return result;
  } catch (error) {
    if (error instanceof VectorSyntaxError) throw new InputError(`${name}: ${error.message}`);
    throw error;
  }
}

/** Where the log of each file goes: DIR/NAME.log.gz. UsageError where two would share a place, or would lie on an input. */
async function logPlaces(folder: string | undefined, paths: readonly string[]): Promise<Map<string, string>> {
  const places = new Map<string, string>();
  const taken = new Map<string, string>();
  if (folder === undefined) return places;
  for (const path of new Set(paths)) {
    const place = join(folder, `${basename(path).replace(VECTORS, "")}.log.gz`);
    const other = taken.get(place);
    if (other !== undefined) throw new UsageError(`${other} and ${path} would both be written to ${place}`);
    await refuseOverwrite(place, paths);
    taken.set(place, path);
    places.set(path, place);
  }
  return places;
}

function failureText({ file, line, op, field, expected, actual }: Failure, io: CommandIo): string {
  const place = io.style("bold", `${printable(file)}:${line}`);
  return `${place}: ${printable(op)}: ${printable(field)}\n  expected ${shown(expected)}\n  actual   ${shown(actual)}\n`;
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : printableValue(value);
}

function summary(
  { files, ops, passed, failed, unreadable }: Totals,
  failures: Differences<Failure>,
  io: CommandIo,
): string {
  const verdict =
    failed === 0
      ? `all ${io.style("green", "passed")}`
      : `${count(passed)} passed, ${io.style("red", `${count(failed)} failed`)}`;
  const differences = failures.text((failure) => failureText(failure, io));
  const unread = unreadable === 0 ? "" : `; ${plural(unreadable, "input")} could not be read`;
  return `${differences}${plural(files, "file")}, ${plural(ops, "operation")}: ${verdict}${unread}\n`;
}

/** What `work` gives; undefined, and a note, if an input cannot be read: that stops no other. */
async function attempt<T>(totals: Totals, io: CommandIo, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    totals.unreadable++;
    io.note(`granule: ${error.message}`);
    return undefined;
  }
}

async function filesOf(args: CommandArgs, io: CommandIo, totals: Totals): Promise<string[]> {
  const files: string[] = [];
  for (const operand of args.operands) {
    files.push(...((await attempt(totals, io, () => findFiles([operand], VECTORS))) ?? []));
  }
  return files;
}

async function runFiles(args: CommandArgs, io: CommandIo, failures: Differences<Failure>): Promise<Totals> {
  const totals: Totals = { files: 0, ops: 0, passed: 0, failed: 0, unreadable: 0 };
  const files = await filesOf(args, io, totals);
  const logs = await logPlaces(stringOption(args, "casemate"), files);
  for (const [i, file] of files.entries()) {
    io.progress({ name: file, done: totals.ops, unit: "operations", share: i / files.length });
    const before = failures.mark();
    try {
      if (io.signal.aborted) throw new Interrupted();
      const result = await attempt(totals, io, () => runFile(file, io, logs.get(file), failures));
      if (result === undefined) {
        failures.reset(before);
        continue;
      }
      totals.files++;
      totals.ops += result.ops;
      totals.passed += result.passed;
      totals.failed += result.failed;
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      throw new Interrupted(`interrupted after ${plural(totals.files, "file")} of ${files.length}`);
    }
  }
  return totals;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.operands.length === 0) throw new UsageError("PATH is missing: files or folders of vectors");
  const failures = new Differences<Failure>();
  const totals = await runFiles(args, io, failures);
  io.progress(undefined);
  if (totals.files === 0) return Exit.UNREADABLE; // each was told why
  if (args.json) await writeJson(io, { schemaVersion: 1, ...totals, failures: failures.kept });
  else await io.out(summary(totals, failures, io));
  if (totals.unreadable > 0) return Exit.UNREADABLE;
  return totals.failed > 0 ? Exit.FINDING : Exit.OK;
}

/** `granule conform PATH...`. */
export const conform: Command = {
  name: "conform",
  usage: "PATH... [--casemate DIR]",
  summary: "run files of recorded operations and compare every result with the kernel's",
  help: `Performs recorded page-table operations (docs/formats/operations.md) on the Wasm core and compares every result with what
the kernel's own C gave: return values, TLB and cache maintenance in order, pages taken and freed, reference counts,
warnings, and the SHA-256 of the whole table.

PATH is a .jsonl or .jsonl.gz file, a folder of such files, or - for standard input.
${BOUNDS_HELP}
A file that cannot be read, is not of the format, or holds no operation stops no other.`,
  options: {
    casemate: {
      type: "string",
      value: "DIR",
      help: "for each file, also write DIR/NAME.log.gz: a log of what the walkers did, for granule check",
    },
  },
  exits: [
    { code: Exit.OK, meaning: "all equal" },
    { code: Exit.FINDING, meaning: "something differs" },
  ],
  examples: [
    { line: "granule conform vectors/", shows: "whether every recorded operation gives what the kernel gave" },
  ],
  run,
};
