// What a comparison says: one table, CSV or JSON. The same from one machine and from merged parts.

import type { Story } from "../../report/story.js";
import { columns, count } from "../../report/text.js";
import type { RunReport } from "../../sim/run.js";
import { comparisonStory } from "../../sim/story.js";
import {
  type CommandArgs,
  type CommandIo,
  type CommandOption,
  Exit,
  stringOption,
  UsageError,
  writeJson,
} from "../command.js";
import type { Comparison } from "./comparison.js";
import type { Done } from "./crew.js";
import { isMeasureName, measured, measureHelp, shownOf } from "./measure.js";

/** Options of the commands that print a comparison. */
export const RESULT_OPTIONS: Readonly<Record<string, CommandOption>> = {
  sort: { type: "string", value: "MEASURE", help: `the smallest first: ${measureHelp("workload")}` },
  show: {
    type: "string",
    value: "MEASURE,..",
    help: "the columns of the table and of --csv, in place of the usual ones",
  },
  csv: { type: "boolean", help: "comma-separated values" },
};

/** What to print, as the command line asks for it; checked before anything runs. */
export interface Wanted {
  readonly sort: string | undefined;
  readonly show: readonly string[];
  readonly form: "table" | "csv" | "json";
}

/** Reads the options. UsageError for a measure that cannot be. */
export function wantedOf(kind: Comparison["kind"], args: CommandArgs): Wanted {
  const sort = stringOption(args, "sort");
  if (sort !== undefined && !isMeasureName(kind, sort)) {
    throw new UsageError(`--sort ${JSON.stringify(sort)}: ${measureHelp(kind)}`);
  }
  const csv = args.options.csv === true;
  if (csv && args.json) throw new UsageError("--csv and --json: choose one");
  return { sort, show: shownOf(kind, stringOption(args, "show")), form: args.json ? "json" : csv ? "csv" : "table" };
}

/** The value of a measure; UsageError for a count that the report does not have. */
function valueIn(kind: Comparison["kind"], name: string, { report }: Done): number {
  const value = measured(kind, name, report);
  if (value === undefined) throw new UsageError(`no report has a count ${name}: ${measureHelp(kind)}`);
  return value;
}

function unloggedOf({ report }: Done): number {
  return (report as RunReport).dirty.unlogged;
}

function csv({ kind, varied }: Comparison, done: readonly Done[], show: readonly string[]): string {
  const ends = kind === "workload";
  const head = [...varied.map(({ name }) => name), ...show, ...(ends ? ["unlogged"] : [])];
  const rows = done.map((one) => [
    ...varied.map(({ name }) => one.combination[name] ?? ""),
    ...show.map((name) => valueIn(kind, name, one)),
    ...(ends ? [unloggedOf(one)] : []),
  ]);
  return `${[head, ...rows].map((row) => row.join(",")).join("\n")}\n`;
}

/** The name of a measure as a head of a column: without the part of the report that it is in. */
function headOf(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}

/** The table: the best value of each column is marked. */
function table({ kind, varied }: Comparison, done: readonly Done[], show: readonly string[], io: CommandIo): string {
  const values = done.map((one) => show.map((name) => valueIn(kind, name, one)));
  const best = show.map((_, i) => Math.min(...values.map((row) => row[i] as number)));
  const same = show.map((_, i) => values.every((row) => row[i] === best[i]));
  const rows = done.map((one, j) => [
    ...varied.map(({ name }) => one.combination[name] ?? ""),
    ...(values[j] as number[]).map((n, i) =>
      n === best[i] && !same[i] ? io.style("green", `${count(n)}*`) : `${count(n)} `,
    ),
  ]);
  const head = [...varied.map(({ name }) => name), ...show.map((name) => `${headOf(name)} `)];
  const cycles = show.includes("cycles") ? " cycles: an estimate, counts times assumed costs." : "";
  return `${columns([head, ...rows]).join("\n")}\n\n* the smallest of its column.${cycles}\n`;
}

async function json(comparison: Comparison, done: readonly Done[], io: CommandIo): Promise<void> {
  const { kind, subject, varied } = comparison;
  const runs = done.map(({ report }) => {
    const { schemaVersion: _, workload: _name, ...rest } = report as RunReport;
    return rest;
  });
  await writeJson(io, { schemaVersion: 1, [kind]: subject, varied: varied.map(({ name }) => name), runs });
}

/** The same as a report with pictures. */
export function storyOf({ kind, subject }: Comparison, done: readonly Done[], { show }: Wanted): Story {
  const runs = done.map((one) => ({
    varied: one.combination,
    measures: Object.fromEntries(show.map((name) => [name, valueIn(kind, name, one)])),
  }));
  return comparisonStory(subject, runs);
}

/** Prints a comparison; the exit code. */
export async function writeResult(
  comparison: Comparison,
  done: readonly Done[],
  { sort, show, form }: Wanted,
  io: CommandIo,
): Promise<number> {
  const { kind } = comparison;
  const sorted = sort === undefined ? done : [...done].sort((a, b) => valueIn(kind, sort, a) - valueIn(kind, sort, b));
  if (form === "json") await json(comparison, sorted, io);
  else await io.out(form === "csv" ? csv(comparison, sorted, show) : table(comparison, sorted, show, io));
  return kind === "trace" || done.every((one) => unloggedOf(one) === 0) ? Exit.OK : Exit.FINDING;
}
