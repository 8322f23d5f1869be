import type { Check, FaultSummary, ReplayReport, TableUse, TextCheck } from "../report/replay.js";
import type { Counters } from "../tables/memory.js";
import { looksLikeHostOnly, type Manifest, type ProtectionNumbering, type TraceStats } from "../trace/index.js";
import type { Geometry } from "./config.js";
import type { Replayer } from "./replayer.js";
import { decodeSyndrome } from "./syndrome.js";

/** Faults of a trace by what their syndrome says. */
export class FaultTally {
  /** By status code, of which there are 64. */
  readonly #byCode = new Map<number, number>();
  readonly #byAccess = { read: 0, write: 0, exec: 0, walk: 0 };
  #total = 0;

  add(esr: number): void {
    const s = decodeSyndrome(esr);
    const code = esr & STATUS_CODE;
    this.#byCode.set(code, (this.#byCode.get(code) ?? 0) + 1);
    this.#byAccess[s.walk ? "walk" : s.exec ? "exec" : s.write ? "write" : "read"]++;
    this.#total++;
  }

  summary(): FaultSummary {
    const byCode = Object.fromEntries([...this.#byCode].map(([code, n]) => [nameOf(code), n]));
    return { total: this.#total, byCode, byAccess: { ...this.#byAccess } };
  }
}

const STATUS_CODE = 0x3f;

/** `"<kind> level <n>"`, or the code itself. */
function nameOf(code: number): string {
  const { kind, level } = decodeSyndrome(code);
  return kind === "other" ? `status 0x${code.toString(16)}` : `${kind} level ${level}`;
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
      unread: Object.fromEntries(stats.unread),
      malformed: stats.malformed,
      errors: stats.errors.map((e) => e.message),
      lostPlaces: stats.lostPlaces,
      lostEvents: stats.lostEvents,
      hostOnly: looksLikeHostOnly(stats),
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
    ...(p.replayer.comparison ? { comparison: p.replayer.comparison } : {}),
    checks: p.checks,
    textChecks: p.texts,
  };
}
