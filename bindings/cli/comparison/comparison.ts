// A comparison as data: what runs, under which settings, and which of them vary. Everything that its result depends on is in it,
// so that parts of it can run anywhere, and files of rows can say what they are parts of.

import { count } from "../../report/text.js";
import { UsageError } from "../command.js";

/** Combinations of one comparison. */
const MOST = 4096;

/** A setting that varies, and its values as they were written. */
export interface Varied {
  readonly name: string;
  readonly values: readonly string[];
}

/** What is compared; plain data, which goes through JSON unchanged. */
export interface Comparison {
  readonly kind: "workload" | "trace";
  /** Name of the workload, or of the trace's file without its folder. */
  readonly subject: string;
  /** SHA-256 of the trace's file; empty for a workload. */
  readonly digest: string;
  /** Settings that all runs share, as they were written. */
  readonly settings: Readonly<Record<string, string>>;
  readonly varied: readonly Varied[];
  /** The text of `--cost`, empty for the usual costs. */
  readonly cost: string;
}

/** Values of the settings that vary, by name. */
export type Combination = Readonly<Record<string, string>>;

/** One run of a comparison. */
export interface Job {
  /** From 1. */
  readonly number: number;
  readonly combination: Combination;
}

/** Reads `NAME=A,B,...` of `--vary`. */
export function variedOf(texts: readonly string[], settings: Readonly<Record<string, string>>): Varied[] {
  if (texts.length === 0) throw new UsageError("say what to vary: --vary dirty=wp,dbm");
  const seen = new Set<string>();
  return texts.map((text) => {
    const at = text.indexOf("=");
    const name = text.slice(0, Math.max(at, 0));
    const values = text.slice(at + 1).split(",");
    if (at < 1) throw new UsageError(`--vary takes NAME=A,B,..., not ${JSON.stringify(text)}`);
    if (seen.has(name)) throw new UsageError(`${name} varies twice: give all its values at once`);
    if (name in settings) throw new UsageError(`--${name} ${settings[name]} and --vary ${name}: choose one`);
    const twice = values.find((value, i) => values.indexOf(value) !== i);
    if (twice !== undefined) throw new UsageError(`--vary ${name} has ${JSON.stringify(twice)} twice`);
    seen.add(name);
    return { name, values };
  });
}

/** All combinations, the last setting changing fastest. UsageError for too many. */
export function jobsOf({ varied }: Comparison): Job[] {
  const total = varied.reduce((product, { values }) => product * values.length, 1);
  if (total > MOST) throw new UsageError(`these are ${count(total)} combinations: ${count(MOST)} at most`);
  const all = varied.reduce<Record<string, string>[]>(
    (some, { name, values }) => some.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}],
  );
  return all.map((combination, i) => ({ number: i + 1, combination }));
}

/** `dirty=wp granule=4K`. */
export function combinationText(combination: Combination): string {
  return Object.entries(combination)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}

/** A part of the jobs. */
export interface Shard {
  /** From 1. */
  readonly index: number;
  readonly of: number;
}

/** Reads `i/n` of `--shard`. */
export function shardOf(text: string, jobs: number): Shard {
  const [, index, of] = (/^(\d+)\/(\d+)$/.exec(text) ?? []).map(Number);
  if (index === undefined || of === undefined || index < 1 || index > of) {
    throw new UsageError(`--shard takes I/N, I from 1 to N, not ${JSON.stringify(text)}`);
  }
  if (of > jobs)
    throw new UsageError(`--shard ${text}: there are ${count(jobs)} combinations, and so many shards at most`);
  return { index, of };
}

/** The jobs of a shard: every n-th, so that neighbours, which tend to take equally long, are in different shards. */
export function partOf(jobs: readonly Job[], { index, of }: Shard): Job[] {
  return jobs.filter(({ number }) => (number - index) % of === 0);
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A command line of the comparison, for any POSIX shell. `path`: of the trace. */
export function commandLine(comparison: Comparison, path: string, more: readonly string[]): string {
  const { kind, subject, settings, varied, cost } = comparison;
  const words = [
    ...["granule", "compare", kind === "trace" ? path : subject],
    ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    ...varied.flatMap(({ name, values }) => ["--vary", `${name}=${values.join(",")}`]),
    ...(cost === "" ? [] : ["--cost", cost]),
    ...more,
  ];
  return words.map(quoted).join(" ");
}

/** `rows.parquet` as the file of one shard: `rows-03-of-12.parquet`, so that names sort as shards do. */
export function shardFile(path: string, { index, of }: Shard): string {
  const width = String(of).length;
  return path.replace(/(\.[^./]+)$/, `-${String(index).padStart(width, "0")}-of-${of}$1`);
}
