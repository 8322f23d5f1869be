import { hex } from "../model/address.js";
import { levelShift } from "../model/granule.js";
import { Counts, Frequent, Greatest, HeatGrid, States, TimeAxis } from "../report/adaptive.js";
import { bytes, count, plural, seconds } from "../report/numbers.js";
import { differs, type ReplayReport, textDiffers } from "../report/replay.js";
import { tableSnapshot, treeFormat } from "../report/snapshot.js";
import type { ChartSection, Section, Snapshot, Story, TableSection, TreeSection } from "../report/story.js";
import { tlbiName, Windows } from "../report/windows.js";
import { JournalKind, type JournalRecord } from "../tables/journal.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { EventOf, TraceEvent } from "../trace/index.js";
import type { Onlooker } from "./replay.js";
import { decodeSyndrome } from "./syndrome.js";

const STEPS = 256;
const FIRST_STEP = 1e-4;
const MOST_ROWS = 384;
const MOST_PAGES = 1 << 17;
/** Snapshots of the table, the last one apart. An even number: when there are as many, every other one goes. */
const SNAPSHOTS = 6;
const LISTED = 40;

const LAYERS = ["nothing mapped", "rights missing", "access flag clear", "unmapped by the host"] as const;
const LAYER_OF: Readonly<Record<string, number>> = { translation: 0, permission: 1, "access flag": 2 };
const UNMAPPED = 3;

/** After these records a table has more pages than before, or fewer. */
const PAGE_RECORDS: ReadonlySet<number> = new Set([
  JournalKind.TABLE_MADE,
  JournalKind.TABLE_GONE,
  JournalKind.TABLE_TAKEN,
  JournalKind.TABLE_FREED,
]);

/** A time that the guest stood still for a fault. */
interface Stop {
  readonly ipa: number;
  readonly what: string;
  readonly from: number;
  readonly length: number;
  readonly line: number;
}

/** A fault whose thread has not entered the guest again. */
type OpenFault = EventOf<"guest_fault">;

/** Makes a report of a replay, in memory that does not grow with the trace. */
export class TraceStory implements Onlooker {
  readonly #axis = new TimeAxis(STEPS, FIRST_STEP);
  readonly #faults = new Map<string, Counts>();
  readonly #tlbis = new Map<string, Counts>();
  readonly #dirty = new Map<string, Counts>();
  readonly #pages = new States(this.#axis);
  #heat: HeatGrid | undefined;
  readonly #often = new Frequent<number>(MOST_PAGES);
  readonly #stops = new Greatest<Stop>(LISTED, ({ length }) => length);
  readonly #open = new Map<number, OpenFault>();
  #windows: Windows | undefined;
  #snapshots: Snapshot[] = [];
  #format: TreeSection["format"] | undefined;
  #stride = 64;
  #events = 0;
  #first = Number.NaN;
  #last = 0;

  after(e: TraceEvent, done: readonly JournalRecord[], tables: () => readonly Stage2Table[]): void {
    this.#events++;
    if (e.kind !== "lost" && e.kind !== "unknown") {
      if (Number.isNaN(this.#first)) this.#first = e.time;
      this.#last = Math.max(this.#last, e.time);
    }
    this.#see(e);
    for (const record of done) this.#follow(record, e.time, tables);
    if (done.some(({ kind }) => PAGE_RECORDS.has(kind)))
      this.#pages.set(
        e.time,
        tables().reduce((sum, table) => sum + table.info().pages, 0),
      );
    if (this.#events % this.#stride === 0) this.#snapshot(tables, e.time);
  }

  #see(e: TraceEvent): void {
    switch (e.kind) {
      case "guest_fault":
        this.#fault(e);
        break;
      case "entry":
        this.#resume(e);
        break;
      case "s2_unmap":
        this.#heatOf().add(UNMAPPED, e.ipa, e.time);
        break;
      case "dirty_ring_push":
        add(this.#dirty, "pushed onto a dirty ring", this.#axis, e.time);
        break;
      case "marker":
        if (e.note.type === "get-dirty-log-done" && e.note.rc === 0)
          add(this.#dirty, "pages in dirty logs that were read", this.#axis, e.time, e.note.dirtyPages);
        break;
    }
  }

  #fault(e: EventOf<"guest_fault">): void {
    const { kind, write } = decodeSyndrome(e.esr);
    add(this.#faults, kind, this.#axis, e.time);
    const layer = LAYER_OF[kind];
    if (layer !== undefined) this.#heatOf().add(layer, e.ipa, e.time);
    if (kind === "permission" && write)
      add(this.#dirty, "stores to pages without the right to write", this.#axis, e.time);
    this.#often.add(e.ipa);
    this.#open.set(e.pid, e);
  }

  /** The thread is back in the guest: the fault is over. */
  #resume({ pid, time }: EventOf<"entry">): void {
    const fault = this.#open.get(pid);
    if (fault === undefined) return;
    this.#open.delete(pid);
    const { kind, level, write, exec } = decodeSyndrome(fault.esr);
    const what = `${kind}, level ${level}, ${exec ? "fetch" : write ? "store" : "load"}`;
    this.#stops.add({ ipa: fault.ipa, what, from: fault.time, length: time - fault.time, line: fault.line });
  }

  #heatOf(): HeatGrid {
    this.#heat ??= new HeatGrid(this.#axis, LAYERS, 4096, MOST_ROWS);
    return this.#heat;
  }

  #follow(record: JournalRecord, time: number, tables: () => readonly Stage2Table[]): void {
    const { kind } = record;
    const tlbi = tlbiName(kind);
    if (tlbi !== undefined) add(this.#tlbis, tlbi, this.#axis, time);
    if (this.#windows === undefined) {
      const [table] = tables();
      if (table === undefined) return;
      const { granule, startLevel, rootPages } = table.info();
      this.#windows = new Windows({ granule, startLevel, rootPages, lpa2: treeFormat(table).lpa2 });
    }
    this.#windows.add(record, time);
  }

  /** Keeps the table as it is now. With too many of them every other one goes, and fewer are taken. */
  #snapshot(tables: () => readonly Stage2Table[], time: number): void {
    const table = busiest(tables());
    if (table === undefined) return;
    this.#format ??= treeFormat(table);
    this.#snapshots.push(tableSnapshot(table, `after ${seconds(time - this.#first)}`));
    if (this.#snapshots.length < SNAPSHOTS) return;
    this.#snapshots = this.#snapshots.filter((_, i) => i % 2 === 1);
    this.#stride *= 2;
  }

  /** The table at its end, or when it was destroyed. */
  table(table: Stage2Table): void {
    this.#format = treeFormat(table);
    this.#snapshots.push(tableSnapshot(table, "at the end"));
  }

  /** The report, when the replay is over. */
  story(r: ReplayReport): Story {
    const span = Number.isNaN(this.#first) ? 0 : this.#last - this.#first;
    return {
      schemaVersion: 1,
      title: r.trace.name ?? "A trace",
      summary: summary(r, span),
      facts: facts(r, span),
      sections: [...this.#overTime(), ...this.#map(), ...this.#tree(), ...this.#lists(r)],
    };
  }

  #overTime(): Section[] {
    const chart = (title: string, note: string, lines: ReadonlyMap<string, Counts>): Section[] => {
      const series = [...lines].map(([name, counts]) => ({ name, values: counts.values, total: counts.total }));
      if (series.length === 0) return [];
      const x: ChartSection["x"] = { name: "seconds", values: this.#axis.marks };
      series.sort((a, b) => b.total - a.total);
      return [
        { kind: "chart", title, note, x, drawn: "bars", series: series.map(({ name, values }) => ({ name, values })) },
      ];
    };
    return [
      ...chart("Faults over time", "How often the guest stopped, by what its stage-2 table lacked.", this.#faults),
      ...chart("TLB invalidations over time", "Issued by this replay, by instruction.", this.#tlbis),
      ...chart(
        "Dirty pages over time",
        "Stores that dirty logging noticed, and what readers of the log got.",
        this.#dirty,
      ),
      {
        kind: "chart",
        title: "Table pages over time",
        note: "Pages that the tables take, start tables included.",
        x: { name: "seconds", values: this.#axis.marks },
        drawn: "steps",
        series: [{ name: "table pages", values: this.#pages.values }],
      },
    ];
  }

  #map(): Section[] {
    const heat = this.#heat;
    if (heat === undefined) return [];
    const { rows, layers } = heat.result();
    return [
      {
        kind: "heatmap",
        title: "Where the guest stopped, and when",
        note:
          `Each row is ${bytes(heat.rowBytes)} of guest memory, lowest address at the bottom; rows where nothing happened are left ` +
          "out. Time goes to the right. The darker a cell, the more happened there.",
        time: this.#axis.extent,
        rowBytes: heat.rowBytes,
        rows,
        layers: layers.filter(({ cells }) => cells.length > 0),
      },
    ];
  }

  #tree(): Section[] {
    if (this.#format === undefined || this.#snapshots.length === 0) return [];
    return [
      {
        kind: "tree",
        title: "The table",
        note:
          "The stage-2 table from its start tables (top) down to pages. A box is as wide as the memory that it covers; striped " +
          "boxes are holes, drawn narrow. Choose a moment, open a box, and look at a single descriptor bit by bit.",
        format: this.#format,
        snapshots: this.#snapshots,
      },
    ];
  }

  #lists(r: ReplayReport): Section[] {
    return [this.#windowTable(), this.#stopTable(), this.#oftenTable(), checkTable(r), operationTable(r)].filter(
      (section) => section.rows.length > 0,
    );
  }

  #windowTable(): TableSection {
    const { longest = [], closed = 0, withoutTlbi = 0 } = this.#windows ?? {};
    return {
      kind: "table",
      title: "Break to make",
      note:
        `${plural(closed, "descriptor")} went from valid to invalid and became valid again; ${count(withoutTlbi)} of them without a TLBI in ` +
        "between. These are the longest: how long the address had no translation, and which TLBIs lay between. Where the time is 0, " +
        "one operation broke and made the entry.",
      columns: [
        { name: "address", unit: "address" },
        { name: "level" },
        { name: "seconds", unit: "seconds" },
        { name: "records" },
        { name: "TLBIs" },
        { name: "which" },
        { name: "before" },
        { name: "after" },
      ],
      rows: longest
        .slice(0, LISTED)
        .map((w) => [
          w.address ?? "not linked yet",
          w.level,
          w.made - w.broken,
          w.records,
          w.tlbiCount,
          [...new Set(w.tlbis)].join(", "),
          hex(w.before),
          hex(w.after),
        ]),
    };
  }

  #stopTable(): TableSection {
    return {
      kind: "table",
      title: "Longest stops of the guest",
      note: "From the fault to the next entry of the same vCPU, as the trace has the times: the host's own work is in it.",
      columns: [
        { name: "address", unit: "address" },
        { name: "fault" },
        { name: "seconds", unit: "seconds" },
        { name: "at second", unit: "seconds" },
        { name: "line" },
      ],
      rows: this.#stops.list().map((s) => [s.ipa, s.what, s.length, s.from - this.#first, s.line]),
    };
  }

  #oftenTable(): TableSection {
    return {
      kind: "table",
      title: "Addresses that faulted most often",
      note: this.#often.forgot
        ? "There were too many addresses to count them all: these are lower bounds."
        : "By page.",
      columns: [{ name: "address", unit: "address" }, { name: "faults" }],
      rows: this.#often.top(LISTED).map(([ipa, n]) => [ipa, n]),
    };
  }
}

function add(lines: Map<string, Counts>, name: string, axis: TimeAxis, time: number, n = 1): void {
  let counts = lines.get(name);
  if (counts === undefined) {
    counts = new Counts(axis);
    lines.set(name, counts);
  }
  counts.add(time, n);
}

function busiest(tables: readonly Stage2Table[]): Stage2Table | undefined {
  let best: Stage2Table | undefined;
  let most = -1;
  for (const table of tables) {
    const { pages } = table.info();
    if (pages > most) [best, most] = [table, pages];
  }
  return best;
}

function summary(r: ReplayReport, span: number): string[] {
  const how =
    r.config.from === "faults"
      ? "The recorded faults were serviced by granule, as KVM does it."
      : "The recorded operations of the kernel's page-table code were applied to tables of the same shape.";
  const { table } = r;
  const stops = `In ${seconds(span)} of the trace the guest stopped ${plural(r.faults.total, "time")} for its stage-2 table.`;
  const end = `In the end ${bytes(table.mapped)} of guest memory are mapped by ${plural(table.pages, "table page")} (${bytes(table.bytes)}).`;
  return [how, stops, end, ...verdicts(r)];
}

function verdicts(r: ReplayReport): string[] {
  const said: string[] = [];
  const checks = r.checks.filter(({ skipped }) => skipped === undefined);
  const all = checks.length + r.textChecks.length;
  const bad = checks.filter(differs).length + r.textChecks.filter(textDiffers).length;
  if (all > 0)
    said.push(
      bad === 0
        ? `Compared with the running kernel's own tables at ${plural(all, "point")}: all equal.`
        : `Compared with the running kernel's own tables at ${plural(all, "point")}: ${count(bad)} differ.`,
    );
  const { compared = 0, agreed = 0 } = r.service?.agreement ?? {};
  if (compared > 0) said.push(`${count(agreed)} of ${plural(compared, "fault")} led to the kernel's own operation.`);
  if (r.trace.lostPlaces > 0)
    said.push(`Events were lost at ${plural(r.trace.lostPlaces, "place")}: what follows means little.`);
  return said;
}

function facts(r: ReplayReport, span: number): [string, string][] {
  const { config, table, counters } = r;
  const leaves = Object.entries(table.leaves).map(
    ([level, n]) => `${count(n)} of ${bytes(2 ** levelShift(config.granule as 4096, Number(level)))}`,
  );
  return [
    ["events", count(r.events)],
    ["time span", seconds(span)],
    ["kernel", config.kernel ?? "not recorded"],
    ["vCPUs", config.vcpus === undefined ? "not recorded" : count(config.vcpus)],
    ["page size", bytes(config.granule)],
    ["IPA bits", count(config.ipaBits)],
    ["replayed", config.from === "faults" ? "faults, serviced here" : "the kernel's operations"],
    ["leaves at the end", leaves.join(", ") || "none"],
    ["table pages, at most", `${count(table.peakPages)} (${bytes(table.peakBytes)})`],
    ["break-before-make sequences", count(counters.breaksValid)],
    ["replay took", `${seconds(r.seconds)} (${count(r.eventsPerSecond)} events a second, while this report was made)`],
  ];
}

function checkTable(r: ReplayReport): TableSection {
  return {
    kind: "table",
    title: "Compared with the running kernel",
    note: "Leaves of the raw tables that were dumped while the guest stood still, against ours.",
    columns: [
      { name: "point" },
      { name: "leaves" },
      { name: "missing" },
      { name: "extra" },
      { name: "differing" },
      { name: "verdict" },
    ],
    rows: r.checks.map((c) => [
      c.point,
      c.leaves,
      c.missing,
      c.extra,
      c.differing,
      c.skipped === undefined ? (differs(c) ? "different" : "equal") : `not compared: ${c.skipped}`,
    ]),
  };
}

function operationTable(r: ReplayReport): TableSection {
  const { applied, refused, failed } = r.operations;
  const rows = [
    ...Object.entries(applied).map(([name, n]): [string, string, number] => [name, "done", n]),
    ...Object.entries(refused).map(([name, n]): [string, string, number] => [name, "to be tried again", n]),
    ...Object.entries(failed).map(([name, n]): [string, string, number] => [name, "failed", n]),
  ];
  return {
    kind: "table",
    title: "Operations",
    columns: [{ name: "operation" }, { name: "outcome" }, { name: "times" }],
    rows: rows.sort(([, , a], [, , b]) => b - a),
  };
}
