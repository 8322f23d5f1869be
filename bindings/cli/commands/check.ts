import { createReadStream } from "node:fs";
import { CASEMATE_OPTIONS, createJudge, type Violation } from "../../audit/index.js";
import { GranuleError } from "../../core/errors.js";
import { readBytes, TraceError } from "../../trace/node.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  InputError,
  integerOption,
  UsageError,
} from "../command.js";
import { findFiles, inputName, unreadable } from "../input.js";

const LOGS = /\.(log|casemate)(\.gz)?$/;
const CHUNK_BYTES = 1 << 18;

/** The verdict on one log; of a good one the last three are null. */
interface FileVerdict {
  file: string;
  verdict: "ok" | "violation";
  kind: string | null;
  /** Number of the record in the log, from 0. */
  record: number | null;
  message: string | null;
}

/** Judges a log as it is read; gzip is told by its first bytes. */
async function judgeLog(path: string, io: CommandIo): Promise<FileVerdict> {
  const file = inputName(path);
  const judge = createJudge(CASEMATE_OPTIONS);
  const parser = judge.casemate();
  try {
    const source = path === "-" ? io.stdin() : createReadStream(path, { highWaterMark: CHUNK_BYTES });
    for await (const block of readBytes(source)) parser.push(block);
    parser.end();
    return verdictOf(file, judge.finish().violations[0]);
  } catch (error) {
    if (error instanceof TraceError || error instanceof GranuleError) {
      throw new InputError(`${file}: ${error.message.replace(/\s*\n\s*/g, " ")}`);
    }
    if (error instanceof Error && "code" in error) throw unreadable(file, error);
    throw error;
  }
}

function verdictOf(file: string, first: Violation | undefined): FileVerdict {
  if (first === undefined) return { file, verdict: "ok", kind: null, record: null, message: null };
  return { file, verdict: "violation", kind: first.kind, record: first.record, message: first.message };
}

function line({ file, verdict, record, message }: FileVerdict, io: CommandIo): string {
  if (verdict === "ok") return `${file}: ${io.style("green", "ok")}\n`;
  return `${file}: ${io.style("red", "violation")}: record ${record}: ${message}\n`;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.operands.length === 0) throw new UsageError("LOG is missing: casemate logs, or folders of them");
  integerOption(args, "seed", 0, Number.MAX_SAFE_INTEGER);
  const paths = await findFiles(args.operands, LOGS);
  const files: FileVerdict[] = [];
  for (const path of paths) {
    if (io.signal.aborted) return Exit.INTERRUPTED;
    io.progress(`${files.length}/${paths.length} ${path}`);
    const verdict = await judgeLog(path, io);
    files.push(verdict);
    if (!args.json) await io.out(line(verdict, io));
  }
  io.progress(undefined);
  if (args.json) await io.out(`${JSON.stringify({ schemaVersion: 1, files }, undefined, 2)}\n`);
  return files.some(({ verdict }) => verdict === "violation") ? Exit.FINDING : Exit.OK;
}

/** `granule check LOG...`. */
export const check: Command = {
  name: "check",
  usage: "LOG...",
  summary: "judge logs of page-table writes, barriers and TLBIs: is break-before-make kept?",
  help: `Judges logs in the dialect of casemate 3.0.2 (one s-expression a record), one verdict a file: every descriptor
write against break-before-make, every TLBI against what it must reach, tables, locks and VMIDs against their lives.
LOG is a file, gzipped or not, a folder of .log and .log.gz files, or - for standard input.
The first violation of a file is told, with the number of its record from 0 and what would have been right.
Exit code 1 if a log breaks a rule, 3 if one is not of the dialect.`,
  options: { seed: { type: "string", value: "N", help: "accepted for scripts; nothing is drawn at random" } },
  run,
};
