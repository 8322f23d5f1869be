import { createJudge, type Judge } from "../../audit/index.js";
import type { PerfettoWriter } from "../../report/perfetto.js";
import { tableSnapshot, treeFormat } from "../../report/snapshot.js";
import { columns, seconds } from "../../report/text.js";
import { COSTS } from "../../sim/cost.js";
import { type RunConfig, type RunReport, runWorkload } from "../../sim/run.js";
import { runStory, type TableShown } from "../../sim/story.js";
import type { Vm } from "../../vm/index.js";
import {
  booleanOption,
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  stringOption,
  writeJson,
} from "../command.js";
import { HTML_OPTION, htmlTarget, writeHtml } from "../html.js";
import { OUT_OPTION, outKind, timelineTo } from "../out.js";
import { checkOf, checkText, isRight, type RunCheck, staleOf } from "../run-check.js";
import { rowsOf } from "../run-rows.js";
import { RunTimeline } from "../run-timeline.js";
import { RunTables } from "../tables/run-tables.js";
import { COST_OPTION, SETTINGS, settingOptions, settingsOf, textsOf, workloadHelp, workloadOf } from "../workload.js";

/** A run that is done, its table in the end, and what the judge said if it was asked. */
interface Performed {
  readonly report: RunReport;
  readonly table: TableShown | undefined;
  readonly check: RunCheck | undefined;
}

/** Runs a workload, and keeps its table for a report; with its time line and its tables, where they are wanted. */
export function performRun(
  config: RunConfig,
  {
    timeline,
    tables,
    judge,
  }: { timeline?: PerfettoWriter | undefined; tables?: RunTables | undefined; judge?: Judge | undefined } = {},
): Performed {
  let table: TableShown | undefined;
  let stale = 0;
  const look = (vm: Vm): void => {
    stale = staleOf(vm);
    tables?.table(vm.table);
    table = { format: treeFormat(vm.table), snapshots: [tableSnapshot(vm.table, "in the end")] };
  };
  const begin = timeline && ((vm: Vm) => new RunTimeline(timeline, vm, config.costs ?? COSTS));
  const report = runWorkload(judge === undefined ? config : { ...config, judge }, look, begin);
  return { report, table, check: judge && checkOf(judge, stale) };
}

/** Runs a workload, and writes the time line or the tables that --out asks for. */
async function runTo(args: CommandArgs, out: string | undefined, config: RunConfig): Promise<Performed> {
  const judge = booleanOption(args, "check") ? createJudge() : undefined;
  const tables = out !== undefined && outKind(out) === "tables" ? await RunTables.create(out) : undefined;
  const file = timelineTo(out);
  try {
    const done = performRun(config, { timeline: file?.writer, tables, judge });
    await tables?.row(textsOf(args, Object.keys(SETTINGS)), stringOption(args, "cost") ?? "", done.report);
    file?.finish();
    return done;
  } catch (error) {
    file?.abandon();
    throw error;
  }
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const workload = workloadOf(args.operands);
  const html = await htmlTarget(args, []);
  const { report, table, check } = await runTo(args, stringOption(args, "out"), {
    workload,
    ...settingsOf(args.options),
  });
  if (html !== undefined) await writeHtml(html, runStory(report, table), io);
  if (args.json) await writeJson(io, check === undefined ? report : { ...report, check });
  else {
    const rows = rowsOf(report).map(([name, text]) => [`  ${name}`, text]);
    await io.out(`${io.style("bold", workload)} in ${seconds(report.seconds)}\n\n${columns(rows).join("\n")}\n`);
    if (check !== undefined) await io.out(`\n${checkText(check, io)}\n`);
  }
  return report.dirty.unlogged === 0 && (check === undefined || isRight(check)) ? Exit.OK : Exit.FINDING;
}

/** `granule run`. */
export const runCommand: Command = {
  name: "run",
  usage: "WORKLOAD [--vcpus N] [--memory BYTES] [--dirty WAY] ... [--check] [--html FILE] [--out FILE] [--json]",
  summary: "runs a workload on simulated vCPUs: TLB, walk, fault, map, retry, dirty logging",
  help: `Workloads, named after the selftests of KVM that do the same:\n${workloadHelp()}\n\nAll but the time depends on the settings alone. Stores are counted, and a store that no dirty log reports is a finding.\n\n--check judges every write, barrier and TLBI while it runs (docs/audit.md), and compares each translation with the table. With\n--adversarial yes the TLBs keep whatever the architecture lets them keep. The run takes longer; its result is the same.\n\n--out FILE.perfetto writes a time line for ui.perfetto.dev: docs/formats/timelines.md. The run takes longer then; its result is the same.\n--out FILE.parquet writes the run's row, the leaves and the table pages: docs/formats/tables.md.`,
  options: {
    ...settingOptions(),
    check: { type: "boolean", help: "judge every step, and compare each translation with the table" },
    cost: COST_OPTION,
    html: HTML_OPTION,
    out: OUT_OPTION,
  },
  exits: [
    { code: 0, meaning: "the workload ran, every store was logged, and --check found nothing" },
    { code: 1, meaning: "a store went unlogged, a rule was broken, or a translation was stale" },
  ],
  examples: [
    { line: "granule run dirty_log_perf --memory 256M --dirty dbm", shows: "dirty logging by the hardware" },
    {
      line: "granule run migration --vcpus 4 --memory 64M --adversarial yes --check",
      shows: "whether each step keeps break-before-make",
    },
    { line: "granule run migration --vcpus 4 --granule 16K", shows: "the rounds of a pre-copy migration" },
    {
      line: "granule run dirty_log_perf --vcpus 2 --memory 16M --out run.perfetto",
      shows: "which vCPU's fault takes entries of which TLB",
    },
  ],
  run,
};
