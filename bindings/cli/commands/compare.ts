import { columns, count } from "../../report/text.js";
import { type RunConfig, type RunReport, runWorkload } from "../../sim/run.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  choiceOption,
  Exit,
  UsageError,
  writeJson,
} from "../command.js";
import { COST_OPTION, setting, settingOptions, settingsOf, workloadHelp, workloadOf } from "../workload.js";

/** Combinations of one comparison. */
const MOST = 4096;

interface Varied {
  readonly name: string;
  readonly values: readonly string[];
}

interface Run {
  /** The varied settings of this run, as they were written. */
  readonly varied: Readonly<Record<string, string>>;
  readonly report: RunReport;
}

/** What a column of the table shows, and what `--sort` sorts by. Smaller is better. */
const MEASURES: Readonly<Record<string, (report: RunReport) => number>> = {
  cycles: ({ estimate }) => estimate.total,
  faults: ({ faults }) => faults.translation + faults.permission + faults.access,
  walks: ({ tlb }) => tlb.misses,
  tlbis: ({ tlb }) => tlb.tlbis,
  dirty: ({ dirty }) => dirty.reported,
  breaks: ({ counters }) => counters.breaksValid,
  pages: ({ table }) => table.peakPages,
};

function variedOf(args: CommandArgs): Varied[] {
  const given = args.options.vary;
  const texts = Array.isArray(given) ? given.map(String) : [];
  if (texts.length === 0) throw new UsageError("say what to vary: --vary dirty=wp,dbm");
  return texts.map((text) => {
    const at = text.indexOf("=");
    const name = text.slice(0, Math.max(at, 0));
    const values = text.slice(at + 1).split(",");
    if (at < 1) throw new UsageError(`--vary takes NAME=A,B,..., not ${JSON.stringify(text)}`);
    for (const value of values) setting(name, value);
    return { name, values };
  });
}

/** All combinations, the last setting changing fastest. */
function combinations(varied: readonly Varied[]): Record<string, string>[] {
  const all = varied.reduce<Record<string, string>[]>(
    (some, { name, values }) => some.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}],
  );
  if (all.length > MOST) throw new UsageError(`these are ${count(all.length)} combinations: ${count(MOST)} at most`);
  return all;
}

function configOf(
  workload: string,
  base: Omit<RunConfig, "workload">,
  combination: Readonly<Record<string, string>>,
): RunConfig {
  return Object.assign({ workload }, base, ...Object.entries(combination).map(([name, text]) => setting(name, text)));
}

function csv(varied: readonly Varied[], runs: readonly Run[]): string {
  const head = [...varied.map(({ name }) => name), ...Object.keys(MEASURES), "unlogged"];
  const rows = runs.map(({ varied: own, report }) => [
    ...varied.map(({ name }) => own[name] ?? ""),
    ...Object.values(MEASURES).map((of) => of(report)),
    report.dirty.unlogged,
  ]);
  return `${[head, ...rows].map((row) => row.join(",")).join("\n")}\n`;
}

/** The table: the best value of each column is marked. */
function table(varied: readonly Varied[], runs: readonly Run[], io: CommandIo): string {
  const names = Object.keys(MEASURES);
  const best = names.map((name) =>
    Math.min(...runs.map(({ report }) => (MEASURES[name] as (r: RunReport) => number)(report))),
  );
  const rows = runs.map(({ varied: own, report }) => [
    ...varied.map(({ name }) => own[name] ?? ""),
    ...names.map((name, i) => {
      const n = (MEASURES[name] as (r: RunReport) => number)(report);
      return n === best[i] && runs.length > 1 ? io.style("green", `${count(n)}*`) : `${count(n)} `;
    }),
  ]);
  const head = [...varied.map(({ name }) => name), ...names.map((name) => `${name} `)];
  return `${columns([head, ...rows]).join("\n")}\n\n* the best of its column. cycles: an estimate, counts times assumed costs.\n`;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const workload = workloadOf(args.operands);
  const base = settingsOf(args.options);
  const varied = variedOf(args);
  const sort = choiceOption(args, "sort", Object.keys(MEASURES));
  const all = combinations(varied);
  const runs: Run[] = [];
  for (const [i, combination] of all.entries()) {
    io.progress(`${i + 1} of ${all.length}`);
    if (io.signal.aborted) break;
    runs.push({ varied: combination, report: runWorkload(configOf(workload, base, combination)) });
    await new Promise((resolve) => setImmediate(resolve)); // an interrupt is heard between two runs
  }
  io.progress(undefined);
  const measure = sort === undefined ? undefined : MEASURES[sort];
  if (measure) runs.sort((a, b) => measure(a.report) - measure(b.report));
  if (args.json) {
    const rows = runs.map(({ report: { schemaVersion: _, workload: _name, ...rest } }) => rest);
    await writeJson(io, { schemaVersion: 1, workload, varied: varied.map(({ name }) => name), runs: rows });
  } else await io.out(args.options.csv === true ? csv(varied, runs) : table(varied, runs, io));
  return runs.every(({ report }) => report.dirty.unlogged === 0) ? Exit.OK : Exit.FINDING;
}

/** `granule compare`. */
export const compare: Command = {
  name: "compare",
  usage: "WORKLOAD --vary NAME=A,B,... [--vary ...] [--sort MEASURE] [--csv | --json]",
  summary: "runs a workload under all combinations of settings, as one table",
  help: `Workloads:\n${workloadHelp()}\n\nEach run depends on its settings alone, so two comparisons with the same settings say the same.`,
  options: {
    vary: {
      type: "string",
      multiple: true,
      value: "NAME=A,B,..",
      help: "a setting and its values; may be given several times",
    },
    sort: { type: "string", value: "MEASURE", help: `the smallest first: ${Object.keys(MEASURES).join(", ")}` },
    csv: { type: "boolean", help: "comma-separated values" },
    ...settingOptions(),
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
  ],
  run,
};
