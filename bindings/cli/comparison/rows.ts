// The rows of a comparison as files: what `compare --out` writes and `merge` reads. docs/formats/tables.md has the columns.

import { readFile, stat } from "node:fs/promises";
import type { Cell, Row, TableColumn } from "../../tabular/column.js";
import { type TableRows, tableRows } from "../../tabular/reader.js";
import { tableFormat, tableWriters } from "../../tabular/writer.js";
import { InputError, UsageError } from "../command.js";
import { unreadable } from "../input.js";
import { formatOf, TableFile } from "../table-file.js";
import { type Comparison, combinationText, jobsOf } from "./comparison.js";
import type { Done } from "./crew.js";
import { countsOf, measured, type Report, usualMeasures } from "./measure.js";

/** One value of a row: its column, and how to get it. */
interface Field {
  readonly column: TableColumn;
  readonly of: (done: Done) => Cell;
}

/** `faults.ringFull` as the name of a column: `faults_ring_full`. */
function columnName(path: string): string {
  return path.replaceAll(".", "_").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Columns that every row has, first. */
function headFields(comparison: Comparison, version: string, jobs: number): Field[] {
  const text = JSON.stringify(comparison);
  const field = (name: string, type: TableColumn["type"], about: string, of: Field["of"]): Field => {
    return { column: { name, type, about }, of };
  };
  return [
    field("version", "text", "granule's version", () => version),
    field("comparison", "text", "what the row is a part of, as JSON", () => text),
    field("job", "whole", "number of the run in the comparison, from 1", ({ number }) => number),
    field("jobs", "whole", "runs of the whole comparison", () => jobs),
    field("subject", "text", "the workload, or the trace's file", () => comparison.subject),
    field("varied", "text", "the settings that vary, as NAME=VALUE", ({ combination }) => combinationText(combination)),
    field("seconds", "real", "time of this run; the only column that differs from run to run", (d) => d.report.seconds),
  ];
}

/** Settings that are shares or rates; all other numbers among them are whole. */
const SHARES: ReadonlySet<string> = new Set(["writes", "rate"]);

function settingFields({ config }: Report): Field[] {
  return Object.entries(config).flatMap(([name, value]) => {
    const kinds: Record<string, TableColumn["type"]> = { string: "text", boolean: "truth", number: "whole" };
    const type = SHARES.has(name) ? "real" : kinds[typeof value];
    if (type === undefined) return [];
    const of = ({ report }: Done) => ((report.config as Record<string, unknown>)[name] ?? null) as Cell;
    return [{ column: { name: columnName(name), type, about: "the setting" }, of }];
  });
}

function countFields(kind: Comparison["kind"], report: Report): Field[] {
  const names = kind === "workload" ? [...countsOf(report).keys()] : usualMeasures(kind);
  return names.map((name) => {
    const type = name.startsWith("estimate.") ? "real" : "whole";
    return {
      column: { name: columnName(name), type, about: name },
      of: ({ report: r }) => measured(kind, name, r) ?? null,
    };
  });
}

/** Writes the rows of jobs to `path`. */
export async function writeRows(
  path: string,
  comparison: Comparison,
  version: string,
  done: readonly Done[],
): Promise<void> {
  const format = formatOf("out", path);
  const first = done[0] as Done;
  const fields: Field[] = [
    ...headFields(comparison, version, jobsOf(comparison).length),
    ...settingFields(first.report),
    ...countFields(comparison.kind, first.report),
    {
      column: { name: "report", type: "text", about: "all that the run reported, as JSON" },
      of: ({ report }) => JSON.stringify(report),
    },
  ];
  const columns = fields.map(({ column }) => column);
  const file = new TableFile(path, await tableWriters(format), columns);
  try {
    for (const one of done) file.row(fields.map(({ of }): Cell => of(one)) as Row);
    file.finish();
  } catch (error) {
    file.abandon();
    throw error;
  }
}

/** A row as it was read. */
export interface ReadRow {
  readonly file: string;
  readonly version: string;
  /** The text of the comparison. */
  readonly comparison: string;
  readonly job: number;
  readonly report: Report;
}

function rowOf(file: string, row: Readonly<Record<string, unknown>>, n: number): ReadRow {
  const { version, comparison, job, report } = row;
  const number = typeof job === "bigint" ? Number(job) : job;
  const texts = [version, comparison, report].every((value) => typeof value === "string");
  if (!texts || typeof number !== "number") {
    throw new InputError(
      `${file}: row ${n} has no version, comparison, job or report: granule compare --out writes such files`,
    );
  }
  try {
    return { file, version, comparison, job: number, report: JSON.parse(report as string) } as ReadRow;
  } catch {
    throw new InputError(`${file}: row ${n}: its report is no JSON`);
  }
}

/** Far more than the rows of the largest comparison take. */
const MOST_BYTES = 1 << 28;

async function bytesOf(path: string): Promise<Uint8Array> {
  if ((await stat(path)).size > MOST_BYTES)
    throw new InputError(`${path}: longer than any comparison: ${MOST_BYTES} bytes at most`);
  return readFile(path);
}

/** The rows of a file that `writeRows` wrote. InputError for any other file; UsageError for CSV, which keeps no types. */
export async function readRows(path: string): Promise<ReadRow[]> {
  const format = tableFormat(path);
  if (format === undefined || format === "csv") throw new UsageError(`merge reads .parquet and .ndjson, not ${path}`);
  const bytes = await bytesOf(path).catch((error: unknown) => {
    throw error instanceof InputError ? error : unreadable(path, error);
  });
  let rows: TableRows;
  try {
    rows = await tableRows(format, bytes);
  } catch (error) {
    throw new InputError(`${path}: this is no ${format}: ${(error as Error).message}`);
  }
  return rows.map((row, i) => rowOf(path, row, i + 1));
}
