// granule run --check: a judge sees every write, barrier and TLBI of the run, and each translation is compared with the table.

import type { Judge, Violation } from "../audit/index.js";
import { count, plural } from "../report/text.js";
import type { Vm } from "../vm/index.js";
import type { CommandIo } from "./command.js";

/** Violations that are printed. */
const SHOWN = 10;

/** What the judge and the comparison say, as `--json` prints it. */
export interface RunCheck {
  readonly verdict: "ok" | "violation";
  /** Records that were judged. */
  readonly records: number;
  /** Broken rules, counted. */
  readonly count: number;
  /** The first of them. */
  readonly violations: readonly Pick<Violation, "kind" | "missing" | "record" | "message">[];
  /** Translations that a TLB should have forgotten. */
  readonly stale: number;
}

/** Translations of all vCPUs that a TLB should have forgotten. */
export function staleOf(vm: Vm): number {
  return vm.stats().reduce((sum, cpu) => sum + cpu.stale, 0);
}

/** The judge's last word. */
export function checkOf(judge: Judge, stale: number): RunCheck {
  const { verdict, records, count: all, violations } = judge.finish();
  const first = violations
    .slice(0, SHOWN)
    .map(({ kind, missing, record, message }) => ({ kind, missing, record, message }));
  return { verdict, records, count: all, violations: first, stale };
}

/** Is nothing wrong? */
export function isRight({ verdict, stale }: RunCheck): boolean {
  return verdict === "ok" && stale === 0;
}

/** The same for people. */
export function checkText(check: RunCheck, io: CommandIo): string {
  const { records, count: all, violations, stale } = check;
  const verdict = all === 0 ? io.style("green", "no violation") : io.style("red", plural(all, "violation"));
  const lines = violations.map(({ record, message }) => `  record ${record}: ${message}`);
  const seen = stale === 0 ? "no stale translation" : io.style("red", plural(stale, "stale translation"));
  return [`judged ${count(records)} records: ${verdict}; ${seen}`, ...lines].join("\n");
}
