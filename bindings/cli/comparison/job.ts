// One run of a comparison, in whichever thread.

import { GranuleError } from "../../core/errors.js";
import { runWorkload } from "../../sim/run.js";
import { TraceError } from "../../trace/errors.js";
import { unreadable } from "../input.js";
import { settingsOf } from "../workload.js";
import type { Combination, Comparison } from "./comparison.js";
import type { Report } from "./measure.js";
import { replayUnder } from "./trace-job.js";

/** Runs one combination. `path`: of the trace. The report depends on the arguments alone, but for its seconds. */
export async function runJob(comparison: Comparison, combination: Combination, path: string): Promise<Report> {
  const { kind, subject, settings, cost } = comparison;
  if (kind === "trace") return replayUnder(path, { ...settings, ...combination });
  const config = settingsOf({ ...settings, ...combination, ...(cost === "" ? {} : { cost }) });
  return runWorkload({ workload: subject, ...config });
}

/** What a thread answers: the report, or what is wrong with the settings, or with the trace. */
export type Answer =
  | { readonly report: Report }
  | { readonly errno: number; readonly operation: string; readonly hint: string }
  | { readonly unreadable: string };

/** Does a job and turns an error that names its cause into data, which threads can post; any other is a defect, and thrown. */
export async function answerTo(comparison: Comparison, combination: Combination, path: string): Promise<Answer> {
  try {
    return { report: await runJob(comparison, combination, path) };
  } catch (error) {
    if (error instanceof GranuleError) return { errno: error.errno, operation: error.operation, hint: error.hint };
    if (error instanceof TraceError) return { unreadable: `${path}: ${error.message.replace(/\s*\n\s*/g, " ")}` };
    if (error instanceof Error && "syscall" in error) return { unreadable: unreadable(path, error).message };
    throw error;
  }
}
