import { bytes, count, seconds } from "../report/numbers.js";
import type {
  Cell,
  ChartSection,
  Column,
  Section,
  Snapshot,
  Story,
  TableSection,
  TreeSection,
} from "../report/story.js";
import type { RunReport } from "./run.js";

/** The table of a run, as it was in the end. */
export interface TableShown {
  /** How its descriptors are read. */
  format: TreeSection["format"];
  /** What it held. */
  snapshots: Snapshot[];
}

function rowsOf(counts: Readonly<Record<string, number>>): [string, number][] {
  return Object.entries(counts).filter(([, n]) => n > 0);
}

function counted(title: string, note: string, counts: Readonly<Record<string, number>>): TableSection {
  return { kind: "table", title, note, columns: [{ name: "what" }, { name: "times" }], rows: rowsOf(counts) };
}

function roundsOf({ dirty }: RunReport): ChartSection[] {
  if (dirty.rounds.length < 2) return [];
  return [
    {
      kind: "chart",
      title: "Dirty pages by round",
      note: "Pages that each read of the dirty log reported.",
      x: { name: "round", values: dirty.rounds.map((_, i) => i + 1) },
      drawn: "bars",
      series: [{ name: "pages", values: dirty.rounds }],
    },
  ];
}

/**
 * A report of a run: what `granule run --html` shows.
 *
 * @example
 * ```ts
 * import { htmlReport } from "granule/report";
 * import { runStory, runWorkload } from "granule/sim";
 * const story = runStory(runWorkload({ workload: "demand_paging", memory: 4 << 20 }));
 * console.log(story.title, (await htmlReport(story)).length > 1000); // demand_paging true
 * ```
 */
export function runStory(r: RunReport, table?: TableShown): Story {
  const { config, faults, dirty, tlb } = r;
  const all = faults.translation + faults.permission + faults.access;
  const lost =
    dirty.unlogged === 0 ? "every store was logged" : `stores to ${count(dirty.unlogged)} pages WERE NOT LOGGED`;
  const tree: TreeSection[] = table
    ? [
        {
          kind: "tree",
          title: "The table",
          note: "As it was in the end; a box is as wide as the memory that it covers.",
          ...table,
        },
      ]
    : [];
  const sections: Section[] = [
    ...roundsOf(r),
    counted("Faults", "What left the guest.", faults),
    counted("TLBs", "All TLBs of all vCPUs together.", tlb),
    counted("What the walker did", "Counters of the page-table engine.", numbersOf(r.counters)),
    counted("Estimated cycles", "Counts times assumed costs: an estimate, not a measurement.", r.estimate),
    ...tree,
  ];
  return {
    schemaVersion: 1,
    title: r.workload,
    summary: [
      `${count(config.vcpus)} vCPUs made ${count(r.accesses)} accesses to ${bytes(config.memory)} of memory; ${count(all)} of them faulted.`,
      `${count(dirty.written)} were stores, and ${lost}.`,
      `In the end ${count(r.table.leaves)} leaves in ${count(r.table.pages)} table pages map the memory.`,
    ],
    facts: [
      ...Object.entries(config).map(([name, value]): [string, string] => [name, settingText(name, value)]),
      ["took", seconds(r.seconds)],
    ],
    sections: sections.filter((section) => section.kind !== "table" || section.rows.length > 0),
  };
}

function settingText(name: string, value: unknown): string {
  return ["memory", "granule", "splitChunk"].includes(name) ? bytes(Number(value)) : String(value);
}

function numbersOf(counters: object): Record<string, number> {
  return Object.fromEntries(
    Object.entries(counters).filter((entry): entry is [string, number] => typeof entry[1] === "number"),
  );
}

/** A run of a comparison: the settings that were varied, as they were written, and what it did. */
export interface ComparedRun {
  /** Setting by name. */
  varied: Readonly<Record<string, string>>;
  /** The measures by name; smaller is better. */
  measures: Readonly<Record<string, number>>;
}

/**
 * A report of a comparison: what `granule compare --html` shows.
 *
 * @example
 * ```ts
 * import { comparisonStory } from "granule/sim";
 * const runs = [{ varied: { dirty: "wp" }, measures: { faults: 9 } }, { varied: { dirty: "dbm" }, measures: { faults: 1 } }];
 * console.log(comparisonStory("migration", runs).sections.length); // 2
 * ```
 */
export function comparisonStory(workload: string, runs: readonly ComparedRun[]): Story {
  const settings = Object.keys(runs[0]?.varied ?? {}),
    measures = Object.keys(runs[0]?.measures ?? {});
  const columns: Column[] = [
    ...settings.map((name) => ({ name })),
    ...measures.map((name): Column => ({ name, best: "least" })),
  ];
  const rows = runs.map(({ varied, measures: own }): Cell[] => [
    ...settings.map((name) => varied[name] ?? ""),
    ...measures.map((name) => own[name] ?? ""),
  ]);
  const charts = measures.map(
    (name): ChartSection => ({
      kind: "chart",
      title: name,
      note: "A bar for each run, in the order of the table.",
      x: { name: "run", values: runs.map((_, i) => i + 1) },
      drawn: "bars",
      series: [{ name, values: runs.map(({ measures: own }) => own[name] ?? null) }],
    }),
  );
  return {
    schemaVersion: 1,
    title: `${workload}, compared`,
    summary: [
      `${count(runs.length)} runs under all combinations of ${settings.join(", ")}. The best of each column is marked.`,
      "Cycles are an estimate: counts times assumed costs. Everything else was counted.",
    ],
    facts: [],
    sections: [{ kind: "table", title: "All runs", columns, rows }, ...charts],
  };
}
