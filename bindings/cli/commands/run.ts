import { tableSnapshot, treeFormat } from "../../report/snapshot.js";
import { columns, count, seconds } from "../../report/text.js";
import { type RunConfig, type RunReport, runWorkload } from "../../sim/run.js";
import { runStory, type TableShown } from "../../sim/story.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  type CommandOption,
  Exit,
  stringOption,
  writeJson,
} from "../command.js";
import { HTML_OPTION, htmlTarget, writeHtml } from "../html.js";
import { RunTables } from "../tables/run-tables.js";
import { COST_OPTION, SETTINGS, settingOptions, settingsOf, textsOf, workloadHelp, workloadOf } from "../workload.js";

const MEGA = 1e6;

function rowsOf({ accesses, faults, dirty, tlb, table, counters, estimate }: RunReport): [string, string][] {
  return [
    ["accesses", count(accesses)],
    ["TLB hits", count(tlb.hits)],
    ["walks", count(tlb.misses)],
    [
      "faults",
      `${count(faults.translation)} translation, ${count(faults.permission)} permission, ${count(faults.access)} access flag`,
    ],
    ["stores", count(dirty.written)],
    [
      "dirty pages reported",
      `${count(dirty.reported)}${dirty.rounds.length > 0 ? ` (${dirty.rounds.map(count).join(" + ")})` : ""}`,
    ],
    ["stores unlogged", `${dirty.unlogged === 0 ? "none" : `${count(dirty.unlogged)} pages`}`],
    ["TLBIs at a TLB", count(tlb.tlbis)],
    ["leaves", `${count(table.leaves)} in ${count(table.pages)} table pages`],
    ["blocks broken", count(counters.breaksValid)],
    ["estimated cycles", `${(estimate.total / MEGA).toFixed(1)} M (an estimate: counts times assumed costs)`],
  ];
}

/** Runs a workload, and keeps its table for a report. */
export function performRun(
  config: RunConfig,
  tables?: RunTables,
): { report: RunReport; table: TableShown | undefined } {
  let table: TableShown | undefined;
  const report = runWorkload(config, (vm) => {
    tables?.table(vm.table);
    table = { format: treeFormat(vm.table), snapshots: [tableSnapshot(vm.table, "in the end")] };
  });
  return { report, table };
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const workload = workloadOf(args.operands);
  const html = await htmlTarget(args, []);
  const out = stringOption(args, "out");
  const tables = out === undefined ? undefined : await RunTables.create(out);
  const { report, table } = performRun({ workload, ...settingsOf(args.options) }, tables);
  await tables?.row(textsOf(args, Object.keys(SETTINGS)), stringOption(args, "cost") ?? "", report);
  if (html !== undefined) await writeHtml(html, runStory(report, table), io);
  if (args.json) await writeJson(io, report);
  else {
    const rows = rowsOf(report).map(([name, text]) => [`  ${name}`, text]);
    await io.out(`${io.style("bold", workload)} in ${seconds(report.seconds)}\n\n${columns(rows).join("\n")}\n`);
  }
  return report.dirty.unlogged === 0 ? Exit.OK : Exit.FINDING;
}

const OUT_OPTION: CommandOption = {
  type: "string",
  value: "FILE",
  help: "write the run's row, the leaves and the table pages as tables: .parquet, .csv or .ndjson, as NAME.run.parquet",
};

/** `granule run`. */
export const runCommand: Command = {
  name: "run",
  usage: "WORKLOAD [--vcpus N] [--memory BYTES] ... [--html FILE] [--out FILE] [--json]",
  summary: "runs a workload on simulated vCPUs: TLB, walk, fault, map, retry, dirty logging",
  help: `Workloads, named after the selftests of KVM that do the same:\n${workloadHelp()}\n\nAll but the time depends on the settings alone. Stores are counted, and a store that no dirty log reports is a finding.`,
  options: { ...settingOptions(), cost: COST_OPTION, html: HTML_OPTION, out: OUT_OPTION },
  exits: [
    { code: 0, meaning: "the workload ran, and every store was logged" },
    { code: 1, meaning: "a store went unlogged" },
  ],
  examples: [
    { line: "granule run dirty_log_perf --memory 256M --dirty dbm", shows: "dirty logging by the hardware" },
    { line: "granule run migration --vcpus 4 --granule 16K", shows: "the rounds of a pre-copy migration" },
  ],
  run,
};
