import type { Counters } from "../tables/memory.js";
import type { Manifest, ProtectionNumbering, TraceStats } from "../trace/index.js";
import type { Geometry } from "./config.js";
import type { OperationCounts, Replayer, ServiceSummary, TableUse } from "./replayer.js";
import { decodeSyndrome } from "./syndrome.js";
import { type Check, differs, type TextCheck, textDiffers } from "./verify.js";

/** Faults of a trace by what their syndrome says. */
export class FaultTally {
  readonly #bySyndrome = new Map<number, number>();

  add(esr: number): void {
    this.#bySyndrome.set(esr, (this.#bySyndrome.get(esr) ?? 0) + 1);
  }

  /** Counts by `"<kind> level <n>"`, and by access. */
  summary(): FaultSummary {
    const byCode: Record<string, number> = {};
    const byAccess = { read: 0, write: 0, exec: 0, walk: 0 };
    let total = 0;
    for (const [esr, n] of this.#bySyndrome) {
      const s = decodeSyndrome(esr);
      const code = s.kind === "other" ? `status 0x${(esr & 0x3f).toString(16)}` : `${s.kind} level ${s.level}`;
      byCode[code] = (byCode[code] ?? 0) + n;
      byAccess[s.walk ? "walk" : s.exec ? "exec" : s.write ? "write" : "read"] += n;
      total += n;
    }
    return { total, byCode, byAccess };
  }
}

/** Stage-2 faults by status code and level, and by access: `walk` is the guest's own table walk. */
export interface FaultSummary {
  readonly total: number;
  readonly byCode: Readonly<Record<string, number>>;
  readonly byAccess: { readonly read: number; readonly write: number; readonly exec: number; readonly walk: number };
}

/** What a replay found; the form of `granule replay --json`. */
export interface ReplayReport {
  readonly schemaVersion: 1;
  readonly trace: {
    readonly name: string | undefined;
    readonly lines: number;
    readonly byName: Readonly<Record<string, number>>;
    /** Events of kinds that granule does not read. */
    readonly unknown: Readonly<Record<string, number>>;
    readonly malformed: number;
    readonly errors: readonly string[];
    readonly lostPlaces: number;
    readonly lostEvents: number;
  };
  readonly config: {
    readonly from: "faults" | "ops";
    readonly granule: number;
    readonly ipaBits: number;
    readonly lpa2: boolean;
    readonly fwb: boolean;
    readonly vtcr: string | undefined;
    readonly geometrySource: Geometry["source"];
    readonly protections: ProtectionNumbering;
    readonly kernel: string | undefined;
    readonly vcpus: number | undefined;
  };
  readonly events: number;
  readonly seconds: number;
  readonly eventsPerSecond: number;
  readonly faults: FaultSummary;
  readonly vms: number;
  readonly operations: OperationCounts;
  readonly counters: Counters;
  readonly table: TableUse;
  readonly dirty: Readonly<Record<string, number>>;
  readonly service?: ServiceSummary;
  readonly checks: readonly Check[];
  readonly textChecks: readonly TextCheck[];
}

/** What a report is made of. */
export interface ReportParts {
  readonly from: "faults" | "ops";
  readonly name: string | undefined;
  readonly stats: TraceStats;
  readonly geometry: Geometry;
  readonly numbering: ProtectionNumbering | undefined;
  readonly manifest: Manifest | undefined;
  readonly events: number;
  readonly seconds: number;
  readonly counters: Counters;
  readonly replayer: Replayer;
  readonly use: TableUse | undefined;
  readonly faults: FaultTally;
  readonly checks: readonly Check[];
  readonly texts: readonly TextCheck[];
}

const NOTHING: TableUse = { leaves: {}, pages: 0, peakPages: 0, bytes: 0, peakBytes: 0, mapped: 0 };

/** Puts a report together. */
export function report(p: ReportParts): ReplayReport {
  const { stats, geometry: g, manifest } = p;
  return {
    schemaVersion: 1,
    trace: {
      name: p.name,
      lines: stats.lines,
      byName: Object.fromEntries(stats.events),
      unknown: Object.fromEntries(stats.unknown),
      malformed: stats.malformed,
      errors: stats.errors.map((e) => e.message),
      lostPlaces: stats.lostPlaces,
      lostEvents: stats.lostEvents,
    },
    config: {
      from: p.from,
      granule: g.granule,
      ipaBits: g.ipaBits,
      lpa2: g.lpa2,
      fwb: g.fwb,
      vtcr: g.vtcr === undefined ? undefined : `0x${g.vtcr.toString(16)}`,
      geometrySource: g.source,
      protections: p.numbering ?? "6.x",
      kernel: manifest?.release,
      vcpus: manifest?.vcpus,
    },
    events: p.events,
    seconds: p.seconds,
    eventsPerSecond: p.seconds > 0 ? Math.round(p.events / p.seconds) : 0,
    faults: p.faults.summary(),
    vms: p.replayer.vms,
    operations: p.replayer.counts,
    counters: p.counters,
    table: p.use ?? NOTHING,
    dirty: p.replayer.dirty ?? {},
    ...(p.replayer.service ? { service: p.replayer.service } : {}),
    checks: p.checks,
    textChecks: p.texts,
  };
}

/** Did every check of a report pass? */
export function passed(r: ReplayReport): boolean {
  return !r.checks.some(differs) && !r.textChecks.some(textDiffers);
}
