// What the table of a comparison shows of each run.

import type { RunReport } from "../../sim/run.js";
import { UsageError } from "../command.js";
import type { Comparison } from "./comparison.js";
import type { TraceReport } from "./trace-job.js";

/** What a run gives, as plain data. */
export type Report = RunReport | TraceReport;

type Measure<R> = (report: R) => number;

const WORKLOAD: Readonly<Record<string, Measure<RunReport>>> = {
  cycles: ({ estimate }) => estimate.total,
  faults: ({ faults }) => faults.translation + faults.permission + faults.access,
  walks: ({ tlb }) => tlb.misses,
  tlbis: ({ tlb }) => tlb.tlbis,
  dirty: ({ dirty }) => dirty.reported,
  breaks: ({ counters }) => counters.breaksValid,
  pages: ({ table }) => table.peakPages,
};

const TRACE: Readonly<Record<string, Measure<TraceReport>>> = {
  faults: ({ faults }) => faults.total,
  leaves: ({ counters }) => counters.leavesMade,
  again: ({ counters }) => counters.again,
  tlbis: ({ counters: c }) => c.tlbiIpa + c.tlbiIpaLocal + c.tlbiRangeOps + c.tlbiVmid,
  dsb: ({ counters }) => counters.dsb,
  breaks: ({ counters }) => counters.breaksValid,
  pages: ({ table }) => table.peakPages,
};

const BY_KIND: Readonly<Record<Comparison["kind"], Readonly<Record<string, Measure<never>>>>> = {
  workload: WORKLOAD,
  trace: TRACE,
};

/** The measures that a table shows unless it is told otherwise. */
export function usualMeasures(kind: Comparison["kind"]): string[] {
  return Object.keys(BY_KIND[kind]);
}

/** Counts of a report by their place in it: `counters.breaksValid`. Lists, settings and the time are no counts. */
export function countsOf(report: object): Map<string, number> {
  const found = new Map<string, number>();
  const visit = (value: unknown, path: string): void => {
    if (typeof value === "number") found.set(path, value);
    else if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [name, inner] of Object.entries(value)) visit(inner, path === "" ? name : `${path}.${name}`);
    }
  };
  const { config: _config, seconds: _seconds, schemaVersion: _version, ...rest } = report as Record<string, unknown>;
  visit(rest, "");
  return found;
}

/** The value of a measure, or of the count at a place in the report; undefined for neither. */
export function measured(kind: Comparison["kind"], name: string, report: Report): number | undefined {
  const known = BY_KIND[kind];
  if (Object.hasOwn(known, name)) return (known[name] as Measure<Report>)(report);
  return countsOf(report).get(name);
}

/** Reads `A,B,...` of `--show`; before any report is there only the form can be checked. */
export function shownOf(kind: Comparison["kind"], text: string | undefined): string[] {
  if (text === undefined) return usualMeasures(kind);
  const names = text.split(",");
  const wrong = names.find((name) => !isMeasureName(kind, name));
  if (wrong !== undefined) throw new UsageError(`--show ${JSON.stringify(wrong)}: ${measureHelp(kind)}`);
  return names;
}

/** Can this be a measure: one of the usual ones, or a place in a report such as `counters.dsb`? */
export function isMeasureName(kind: Comparison["kind"], name: string): boolean {
  return Object.hasOwn(BY_KIND[kind], name) || /^[a-z]\w*(\.\w+)+$/i.test(name) || name === "accesses";
}

/** What may stand there, for messages. */
export function measureHelp(kind: Comparison["kind"]): string {
  return `${usualMeasures(kind).join(", ")}, or a count of the JSON report such as counters.splitVisits`;
}
