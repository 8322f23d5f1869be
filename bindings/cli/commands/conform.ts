import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { VectorSyntaxError } from "../../conform/format.js";
import { type Failure, type FileResult, performScript, runVectors } from "../../conform/run.js";
import { createEngine } from "../../index.js";
import { count, plural } from "../../report/text.js";
import type { Journal } from "../../tables/journal.js";
import { CasemateWriter } from "../../trace/index.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  InputError,
  stringOption,
  UsageError,
} from "../command.js";
import { findFiles, inputName, readText, unreadable } from "../input.js";

const VECTORS = /\.jsonl(\.gz)?$/;
const JOURNAL_RECORDS = 1 << 21;
/** Failures printed in text; JSON has all. */
const PRINTED = 20;

interface Totals {
  schemaVersion: 1;
  files: number;
  ops: number;
  passed: number;
  failed: number;
  failures: Failure[];
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Performs the file once more with the whole journal on, and writes what the walkers did. */
async function writeLog(path: string, text: string, folder: string): Promise<void> {
  const writer = new CasemateWriter();
  const lines: string[] = [];
  let journal: Journal | undefined;
  const script = performScript(text, {
    createEngine: (options) => {
      const engine = createEngine({ ...options, journalRecords: JOURNAL_RECORDS });
      engine.journal.start();
      journal = engine.journal;
      return engine;
    },
    sha256,
    afterEach: () => {
      if (journal === undefined) return;
      if (journal.lost > 0) throw new InputError(`${inputName(path)}: an operation is too long for a log`);
      for (const line of writer.write(journal.read())) lines.push(line);
      journal.clear();
    },
  });
  script.scenario.engine.close();
  const name = `${basename(path).replace(/\.jsonl(\.gz)?$/, "")}.log.gz`;
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw unreadable(folder, error);
  });
  await writeFile(join(folder, name), gzipSync(`${lines.join("\n")}\n`)).catch((error: unknown) => {
    throw unreadable(join(folder, name), error);
  });
}

async function runFile(path: string, io: CommandIo, logs: string | undefined): Promise<FileResult> {
  const text = await readText(path, io);
  try {
    if (logs !== undefined) await writeLog(path, text, logs);
    return runVectors(inputName(path), text, { createEngine, sha256 });
  } catch (error) {
    if (error instanceof VectorSyntaxError) throw new InputError(`${inputName(path)}: ${error.message}`);
    throw error;
  }
}

function short(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 100 ? `${text.slice(0, 97)}...` : text;
}

function failureText({ file, line, op, field, expected, actual }: Failure, io: CommandIo): string {
  return `${io.style("bold", `${file}:${line}`)}: ${op}: ${field}\n  expected ${short(expected)}\n  actual   ${short(actual)}\n`;
}

function summary(totals: Totals, io: CommandIo): string {
  const shown = totals.failures.slice(0, PRINTED).map((failure) => failureText(failure, io));
  const hidden = totals.failures.length - shown.length;
  if (hidden > 0) shown.push(`... and ${plural(hidden, "more difference")} (--json lists all)\n`);
  const verdict = totals.failed === 0 ? io.style("green", "passed") : io.style("red", `${count(totals.failed)} failed`);
  const passed = totals.failed === 0 ? "all" : count(totals.passed);
  return `${shown.join("")}${plural(totals.files, "file")}, ${plural(totals.ops, "operation")}: ${totals.failed === 0 ? `${passed} ${verdict}` : `${passed} passed, ${verdict}`}\n`;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.operands.length === 0) throw new UsageError("PATH is missing: files or folders of vectors");
  const totals: Totals = { schemaVersion: 1, files: 0, ops: 0, passed: 0, failed: 0, failures: [] };
  const files = await findFiles(args.operands, VECTORS);
  for (const file of files) {
    if (io.signal.aborted) {
      io.note(`interrupted after ${plural(totals.files, "file")} of ${files.length}`);
      return Exit.INTERRUPTED;
    }
    io.progress(`${totals.files}/${files.length} ${file}`);
    const result = await runFile(file, io, stringOption(args, "casemate"));
    totals.files++;
    totals.ops += result.ops;
    totals.passed += result.passed;
    totals.failed += result.failed;
    totals.failures.push(...result.failures);
  }
  io.progress(undefined);
  await io.out(args.json ? `${JSON.stringify(totals, undefined, 2)}\n` : summary(totals, io));
  return totals.failed > 0 ? Exit.FINDING : Exit.OK;
}

/** `granule conform PATH...`. */
export const conform: Command = {
  name: "conform",
  usage: "PATH... [--casemate DIR]",
  summary: "run files of recorded operations and compare every result with the kernel's",
  help: `Runs files of vectors/FORMAT.md on the Wasm core and compares, operation by operation, what the kernel's own
C gave: return values, TLB maintenance and cache events in order, pages taken and freed, reference counts, warnings, and
the SHA-256 of the whole table. PATH is a .jsonl or .jsonl.gz file, a folder of such files, or - for standard input.
Exit code 1 if anything differs, 3 if a line is not of the format.`,
  options: {
    casemate: { type: "string", value: "DIR", help: "write a log of what the walkers did to DIR/NAME.log.gz" },
  },
  run,
};
