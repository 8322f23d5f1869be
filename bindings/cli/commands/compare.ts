import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { basename } from "node:path";
import { WORKLOADS } from "../../sim/workloads.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  integerOption,
  stringOption,
  UsageError,
} from "../command.js";
import {
  type Comparison,
  commandLine,
  type Job,
  jobsOf,
  partOf,
  shardFile,
  shardOf,
  variedOf,
} from "../comparison/comparison.js";
import { runJobs } from "../comparison/crew.js";
import { RESULT_OPTIONS, storyOf, wantedOf, writeResult } from "../comparison/result.js";
import { writeRows } from "../comparison/rows.js";
import { checkTraceSetting, TRACE_SETTINGS } from "../comparison/trace-job.js";
import { HTML_OPTION, htmlTarget, writeHtml } from "../html.js";
import { unreadable } from "../input.js";
import { formatOf } from "../table-file.js";
import { version } from "../version.js";
import {
  COST_OPTION,
  SETTINGS,
  setting,
  settingOptions,
  settingsOf,
  textsOf,
  workloadHelp,
  workloadOf,
} from "../workload.js";

const MOST_THREADS = 1024;
/** Where the lines of a plan put their rows, unless they are told. */
const ROWS_FILE = "rows.ndjson";

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  } catch (error) {
    throw unreadable(path, error);
  }
  return hash.digest("hex");
}

/** The workload or trace that the one operand names. */
async function subjectOf(operands: readonly string[]): Promise<Pick<Comparison, "kind" | "subject" | "digest">> {
  const [path] = operands;
  const isTrace = path !== undefined && operands.length === 1 && !Object.hasOwn(WORKLOADS, path) && existsSync(path);
  if (!isTrace && /[./]/.test(path ?? ""))
    throw new UsageError(`there is no file ${path}, nor a workload of that name`);
  if (!isTrace) return { kind: "workload", subject: workloadOf(operands), digest: "" };
  return { kind: "trace", subject: basename(path), digest: await digestOf(path) };
}

async function comparisonOf(args: CommandArgs): Promise<Comparison> {
  const about = await subjectOf(args.operands);
  const check = about.kind === "trace" ? checkTraceSetting : setting;
  const settings = textsOf(args, [...new Set([...Object.keys(SETTINGS), ...Object.keys(TRACE_SETTINGS)])]);
  for (const [name, text] of Object.entries(settings)) check(name, text);
  const given = args.options.vary;
  const varied = variedOf(Array.isArray(given) ? given.map(String) : [], settings);
  for (const { name, values } of varied) for (const value of values) check(name, value);
  const cost = stringOption(args, "cost") ?? "";
  if (cost !== "") settingsOf({ cost });
  if (cost !== "" && about.kind === "trace") throw new UsageError("a trace has no --cost: its counts are compared");
  return { ...about, settings, varied, cost };
}

/** A line for each shard, every combination one of its own unless `--shards` says how many there are. */
async function plan(comparison: Comparison, args: CommandArgs, jobs: readonly Job[], io: CommandIo): Promise<number> {
  const of = integerOption(args, "shards", 1, jobs.length) ?? jobs.length;
  const out = stringOption(args, "out") ?? ROWS_FILE;
  formatOf("out", out);
  for (let index = 1; index <= of; index++) {
    const shard = { index, of };
    const more = ["--shard", `${index}/${of}`, "--out", shardFile(out, shard)];
    await io.out(`${commandLine(comparison, args.operands[0] as string, more)}\n`);
  }
  return Exit.OK;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const comparison = await comparisonOf(args);
  const wanted = wantedOf(comparison.kind, args);
  const jobs = jobsOf(comparison);
  const shard = stringOption(args, "shard");
  const out = stringOption(args, "out");
  if (args.options.plan === true) return plan(comparison, args, jobs, io);
  if (shard !== undefined && out === undefined)
    throw new UsageError("--shard needs --out FILE, which granule merge reads");
  if (args.options.shards !== undefined) throw new UsageError("--shards goes with --plan; --shard I/N runs a part");
  if (out !== undefined) formatOf("out", out);
  const part = shard === undefined ? jobs : partOf(jobs, shardOf(shard, jobs.length));
  const threads = integerOption(args, "threads", 1, MOST_THREADS);
  const html = await htmlTarget(args, comparison.kind === "trace" ? [args.operands[0] as string] : []);
  if (html !== undefined && shard !== undefined) throw new UsageError("--html shows all runs: not with --shard");
  const done = await runJobs(comparison, part, args.operands[0] as string, io, threads);
  if (html !== undefined) await writeHtml(html, storyOf(comparison, done, wanted), io);
  if (out !== undefined) await writeRows(out, comparison, version(), done);
  if (shard === undefined) return writeResult(comparison, done, wanted, io);
  io.note(`${done.length} of ${jobs.length} rows are in ${out}`);
  return Exit.OK;
}

/** `granule compare`. */
export const compare: Command = {
  name: "compare",
  usage:
    "WORKLOAD|TRACE --vary NAME=A,B,... [--sort MEASURE] [--csv | --json] [--html FILE] [--out FILE]\nWORKLOAD|TRACE --vary NAME=A,B,... --plan [--shards N] [--out FILE]\nWORKLOAD|TRACE --vary NAME=A,B,... --shard I/N --out FILE",
  summary: "runs a workload or replays a trace under all combinations of settings, as one table",
  help: `Workloads:\n${workloadHelp()}\n
All combinations run on all cores. Each run depends on its settings and its seed alone, so two comparisons with the same settings
say the same, on whatever machine. A trace is replayed from its faults; its settings are granule, backing and fwb, in place of
what the recorded machine had.

Beyond one machine: --plan prints a command for each part, for any scheduler; --shard I/N --out FILE runs one part; granule merge
FILE... prints what one machine would have printed. The file's columns are described in docs/formats/tables.md.`,
  options: {
    vary: {
      type: "string",
      multiple: true,
      value: "NAME=A,B,..",
      help: "a setting and its values; may be given several times",
    },
    ...RESULT_OPTIONS,
    html: HTML_OPTION,
    out: { type: "string", value: "FILE", help: "write a row for each run: .parquet, .ndjson or .csv" },
    plan: { type: "boolean", help: "print the commands that run the parts, and run nothing" },
    shards: { type: "string", value: "N", help: "parts of a plan (one for each combination)" },
    shard: { type: "string", value: "I/N", help: "run part I of N, from 1; needs --out" },
    threads: { type: "string", value: "N", help: "threads that run combinations (all cores)" },
    ...settingOptions(),
    fwb: { type: "string", value: "yes|no", help: "forced write-back, of a trace (as the manifest says)" },
    cost: COST_OPTION,
  },
  exits: [
    { code: 0, meaning: "all runs are done, and every store was logged" },
    { code: 1, meaning: "a store went unlogged in one of them" },
  ],
  examples: [
    {
      line: "granule compare migration --vary dirty=wp,eager,dbm --vary granule=4K,16K --memory 128M",
      shows: "three ways to log, two page sizes",
    },
    {
      line: "granule compare migration --vary dirty=wp,dbm,ring --plan --shards 2 --out rows.parquet",
      shows: "the same as two jobs, for two machines",
    },
  ],
  run,
};
