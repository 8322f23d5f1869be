import { existsSync } from "node:fs";
import { tableSnapshot, treeFormat } from "../../report/snapshot.js";
import type { Story } from "../../report/story.js";
import { bytes, count } from "../../report/text.js";
import { runStory } from "../../sim/story.js";
import { WORKLOADS } from "../../sim/workloads.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  InputError,
  oneOperand,
  UsageError,
} from "../command.js";
import { HTML_OPTION, htmlTarget, writeHtml } from "../html.js";
import { runScript, SCRIPT_OPTIONS } from "../script.js";
import { COST_OPTION, settingOptions, settingsOf } from "../workload.js";
import { replay, replayCommand } from "./replay.js";
import { performRun } from "./run.js";

/** Names of operations files, as docs/formats/operations.md has them. */
const OPERATIONS = /\.(jsonl|ops)(\.gz)?$/;

/** The table that an operations file makes. */
async function scriptStory(args: CommandArgs, io: CommandIo): Promise<Story> {
  const { scenario, name, ops, refused } = await runScript(args, io);
  using engine = scenario.engine;
  const { table } = scenario;
  if (engine.closed || table.info().rootPa === 0n)
    throw new InputError(`${name}: the table is destroyed at the end: stop before that with --until LINE`);
  const { pages, granule } = table.info();
  return {
    schemaVersion: 1,
    title: name,
    summary: [`${count(ops)} operations, of which the table refused ${count(refused)}.`],
    facts: [
      ["page size", bytes(granule)],
      ["table pages", `${count(pages)} (${bytes(pages * granule)})`],
    ],
    sections: [
      {
        kind: "tree",
        title: "The table",
        note: "From its start tables (top) down to pages. A box is as wide as the memory that it covers; striped boxes are holes.",
        format: treeFormat(table),
        snapshots: [tableSnapshot(table, "in the end")],
      },
    ],
  };
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const operand = oneOperand(args, "FILE or WORKLOAD");
  if (args.json) throw new UsageError("a report is HTML: replay, run and dump have --json");
  const isWorkload = Object.hasOwn(WORKLOADS, operand) && !existsSync(operand);
  const target = await htmlTarget(args, isWorkload || operand === "-" ? [] : [operand]);
  if (target === undefined) throw new UsageError("say where the report goes: --html report.html");
  if (isWorkload) {
    const { report, table } = performRun({ workload: operand, ...settingsOf(args.options) });
    await writeHtml(target, runStory(report, table), io);
  } else if (OPERATIONS.test(operand)) await writeHtml(target, await scriptStory(args, io), io);
  else await replay(args, io, operand);
  return Exit.OK;
}

/** `granule report`. */
export const report: Command = {
  name: "report",
  usage: "TRACE|WORKLOAD|OPS --html FILE [options]",
  summary: "pictures of a trace, a workload or a table: one HTML file that needs no network",
  help: `Writes one HTML file that can be attached to a mail. It shows what happened over time (faults, TLBIs, dirty pages, table pages), where
in the guest's memory, the tables from their start down to single descriptors, how long descriptors were invalid between break and make, and
what took long or happened often. Each picture has its numbers as a table beside it.

TRACE is what granule replay takes, with its options; WORKLOAD is what granule run takes, with its options; OPS is an operations file
(.jsonl). replay and run write the same report with --html.`,
  options: { ...replayCommand.options, ...settingOptions(), cost: COST_OPTION, ...SCRIPT_OPTIONS, html: HTML_OPTION },
  exits: [{ code: Exit.OK, meaning: "the report is written" }],
  examples: [
    { line: "granule report guest.trace.gz --html boot.html", shows: "a recorded boot" },
    { line: "granule report migration --memory 128M --dirty dbm --html migration.html", shows: "a migration's rounds" },
  ],
  run,
};
