import { count } from "../report/text.js";
import type { RunReport } from "../sim/run.js";

const MEGA = 1e6;

/** What a run did, for people: names and texts. */
export function rowsOf({
  accesses,
  faults,
  dirty,
  tlb,
  table,
  counters,
  estimate,
}: Omit<RunReport, "config">): [string, string][] {
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
