// `granule replay` of memory accesses: they run through TLB and MMU on simulated vCPUs, and fault by themselves.

import { columns, count, seconds } from "../report/text.js";
import { type AccessConfig, type AccessReport, runAccesses } from "../sim/accesses.js";
import { type AccessFormat, readAccesses } from "../trace/node.js";
import type { Backing } from "../vm/index.js";
import {
  booleanOption,
  type CommandArgs,
  type CommandIo,
  type CommandOption,
  Exit,
  Interrupted,
  integerOption,
  stringOption,
  UsageError,
  writeJson,
} from "./command.js";
import { rowsOf } from "./run-rows.js";
import { COST_OPTION, setting, settingOptions, settingsOf } from "./workload.js";

/** Settings of `granule run` that a replay takes, too. */
const SHARED = ["vcpus", "dirty", "split-chunk", "manual", "tlb", "adversarial"] as const;
/** Options that say something about a kernel's events. */
const OF_EVENTS = [
  "from",
  "verify",
  "manifest",
  "dump",
  "casemate",
  "html",
  "out",
  "compare",
  "ipa-bits",
  "lpa2",
  "fwb",
];
/** The words of `replay --backing` that are others than those of `run`. */
const BACKINGS: Readonly<Record<string, Backing>> = { page: "4k" };
const PERCENT = 100;

/** Refuses options that mean nothing for a kernel's events. */
export function refuseAccessOptions(args: CommandArgs): void {
  const given = [...SHARED, "every", "cost"].filter((name) => args.options[name] !== undefined);
  const [name] = given.filter((one) => !(args.options.compare === true && OF_POLICY.includes(one)));
  if (name === undefined) return;
  const where = OF_POLICY.includes(name) ? "memory accesses, or with --compare" : "memory accesses";
  throw new UsageError(`--${name} is for traces of ${where}: this is one of a kernel's events`);
}

/** Settings that `--compare` takes, too. */
const OF_POLICY: readonly string[] = ["dirty", "split-chunk"];

/** The options of `replay` that memory accesses take. */
export function accessOptions(): Record<string, CommandOption> {
  const settings = settingOptions();
  return {
    ...Object.fromEntries(SHARED.map((name) => [name, settings[name] as CommandOption])),
    every: {
      type: "string",
      value: "N",
      help: "memory accesses: log dirty pages, and read the log after each N accesses and at the end",
    },
    cost: COST_OPTION,
  };
}

/** Slots of the form of `--slots`. */
interface Range {
  readonly gpa: number;
  readonly size: number;
}

function configOf(args: CommandArgs, slots: readonly Range[]): AccessConfig {
  const unfit = OF_EVENTS.find(
    (name) => args.options[name] !== undefined && args.options[name] !== false && name !== "from",
  );
  if (unfit !== undefined)
    throw new UsageError(`--${unfit} is for traces of a kernel's events: this is one of memory accesses`);
  const { backing, granule, ...rest } = args.options;
  const every = integerOption(args, "every", 1, Number.MAX_SAFE_INTEGER);
  if (every === undefined && args.options.dirty !== undefined)
    throw new UsageError("--dirty says how pages are logged: --every N says when the log is read");
  return {
    ...(settingsOf(rest) as AccessConfig),
    ...(typeof granule === "string" ? setting("granule", granule) : {}),
    ...(typeof backing === "string" ? setting("backing", BACKINGS[backing] ?? backing) : {}),
    ...(every === undefined ? {} : { every }),
    ...(slots.length === 0 ? {} : { ranges: slots.map(({ gpa, size }) => ({ gpa, size })) }),
  };
}

function textOf(report: AccessReport, io: CommandIo): string {
  const { trace, tlb } = report;
  const rate = tlb.hits + tlb.misses === 0 ? 0 : (PERCENT * tlb.hits) / (tlb.hits + tlb.misses);
  const rows = rowsOf(report).map(([name, text]) => [
    `  ${name}`,
    name === "TLB hits" ? `${text} (${rate.toFixed(2)} %)` : text,
  ]);
  rows.push(["  pages written", count(trace.written)]);
  if (trace.pages > 0) rows.push(["  pages touched", `${count(trace.pages)} of virtual memory`]);
  if (trace.crossing > 0) rows.push(["  in two pages", `${count(trace.crossing)} accesses, which count as two`]);
  if (trace.malformed > 0) rows.push(["  lines skipped", count(trace.malformed)]);
  const head = `${io.style("bold", trace.format)}: ${count(trace.records)} records in ${seconds(report.seconds)}`;
  return `${head}\n\n${columns(rows).join("\n")}\n`;
}

/** Runs the accesses of a source. Errors of the input are those of the reader. */
export async function replayAccesses(
  args: CommandArgs,
  io: CommandIo,
  format: AccessFormat,
  source: AsyncIterable<Uint8Array>,
  slots: readonly Range[],
  share: () => number | undefined,
): Promise<number> {
  const config = configOf(args, slots);
  async function* watched(): AsyncGenerator<Uint8Array, void, undefined> {
    let bytes = 0;
    for await (const chunk of source) {
      if (io.signal.aborted) throw new Interrupted();
      bytes += chunk.length;
      io.progress({ done: bytes, unit: "bytes", share: share() });
      yield chunk;
    }
  }
  const report = await runAccesses(
    readAccesses(watched(), { format, lenient: booleanOption(args, "lenient") }),
    config,
  );
  io.progress(undefined);
  if (args.json) await writeJson(io, report);
  else await io.out(textOf(report, io));
  if (stringOption(args, "from") === "ops")
    io.note("granule: --from ops means nothing here: accesses fault by themselves");
  return report.dirty.unlogged === 0 ? Exit.OK : Exit.FINDING;
}
