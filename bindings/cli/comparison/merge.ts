// Puts the parts of a comparison together again, and refuses parts that do not belong together.

import { InputError } from "../command.js";
import { type Comparison, combinationText, type Job, jobsOf } from "./comparison.js";
import type { Done } from "./crew.js";
import { measured, usualMeasures } from "./measure.js";
import type { ReadRow } from "./rows.js";

/** Jobs that a message names. */
const NAMED = 4;

function isTexts(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null && Object.values(value).every((one) => typeof one === "string");
}

function isVaried(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { name, values } = value as Record<string, unknown>;
  return typeof name === "string" && Array.isArray(values) && values.every((one) => typeof one === "string");
}

/** The comparison that a row names; undefined for a text that is none. */
function comparisonOf(text: string): Comparison | undefined {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { kind, subject, digest, settings, varied, cost } = value ?? {};
  const right =
    (kind === "workload" || kind === "trace") &&
    isTexts({ subject, digest, cost }) &&
    isTexts(settings) &&
    Array.isArray(varied) &&
    varied.every(isVaried);
  return right ? (value as unknown as Comparison) : undefined;
}

/** What two comparisons differ in, in words. */
function difference(a: Comparison, b: Comparison): string {
  const facts = ({ kind, subject, digest, cost, settings, varied }: Comparison): Record<string, string> => ({
    [kind]: subject,
    "the trace's content": digest,
    "--cost": cost,
    ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [`--${name}`, value])),
    ...Object.fromEntries(varied.map(({ name, values }) => [`--vary ${name}`, values.join(",")])),
  });
  const [one, other] = [facts(a), facts(b)];
  const name = Object.keys({ ...one, ...other }).find((key) => one[key] !== other[key]);
  if (name === undefined) return "the order of the settings";
  return `${name} is ${one[name] || "not given"} in the first, ${other[name] || "not given"} in the second`;
}

function nameOf({ number, combination }: Job): string {
  return `job ${number} (${combinationText(combination)})`;
}

function refuseMixture(rows: readonly ReadRow[], comparison: Comparison): void {
  const [first] = rows as readonly [ReadRow];
  for (const row of rows) {
    if (row.version !== first.version) {
      const versions = `granule ${first.version}, and ${row.file} of granule ${row.version}`;
      throw new InputError(`${first.file} is of ${versions}: run all parts with one version`);
    }
    if (row.comparison === first.comparison) continue;
    const other = comparisonOf(row.comparison);
    const what = other === undefined ? "the second names none" : difference(comparison, other);
    throw new InputError(`${first.file} and ${row.file} are parts of different comparisons: ${what}`);
  }
}

/** The row of each job. */
function byJob(rows: readonly ReadRow[], jobs: readonly Job[]): ReadRow[] {
  const found = new Map<number, ReadRow>();
  for (const row of rows) {
    const job = jobs[row.job - 1];
    if (job === undefined)
      throw new InputError(`${row.file}: there is no job ${row.job}: the comparison has ${jobs.length}`);
    const before = found.get(row.job);
    if (before !== undefined) {
      const where = before.file === row.file ? `twice in ${row.file}` : `in ${before.file} and in ${row.file}`;
      throw new InputError(`${nameOf(job)} is ${where}`);
    }
    found.set(row.job, row);
  }
  const missing = jobs.filter(({ number }) => !found.has(number));
  if (missing.length === 0) return jobs.map(({ number }) => found.get(number) as ReadRow);
  const named = missing.slice(0, NAMED).map(nameOf).join(", ");
  const more = missing.length > NAMED ? ` and ${missing.length - NAMED} more` : "";
  throw new InputError(`${missing.length} of ${jobs.length} rows are missing: ${named}${more}`);
}

function hasMeasures({ report }: ReadRow, kind: Comparison["kind"]): boolean {
  try {
    return usualMeasures(kind).every((name) => Number.isFinite(measured(kind, name, report)));
  } catch {
    return false;
  }
}

/** The whole comparison that the rows are of. InputError where rows are missing, there twice, or of different comparisons. */
export function mergedRows(rows: readonly ReadRow[]): { comparison: Comparison; version: string; done: Done[] } {
  const [first] = rows;
  if (first === undefined) throw new InputError("there is no row in these files");
  const comparison = comparisonOf(first.comparison);
  if (comparison === undefined) throw new InputError(`${first.file}: its rows name no comparison`);
  refuseMixture(rows, comparison);
  const jobs = jobsOf(comparison);
  const whole = byJob(rows, jobs);
  const bad = whole.find((row) => !hasMeasures(row, comparison.kind));
  if (bad !== undefined) throw new InputError(`${bad.file}: the report of job ${bad.job} is not what a run reports`);
  const done = jobs.map((job, i) => ({ ...job, report: (whole[i] as ReadRow).report }));
  return { comparison, version: first.version, done };
}
