import * as K from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import { createEngine } from "../index.js";
import { type Check, differs, type ReplayReport, type TextCheck, textDiffers } from "../report/replay.js";
import type { Engine } from "../tables/engine.js";
import type { JournalRecord } from "../tables/journal.js";
import type { Stage2Config, Stage2Table } from "../tables/stage2.js";
import {
  type ByteSource,
  type GuestFaultEvent,
  inferNumbering,
  type LostEvent,
  type Manifest,
  type MarkerEvent,
  type ProtectionNumbering,
  readTrace,
  type S2MapEvent,
  type S2RawDump,
  type SlotRegion,
  type TraceEvent,
  type TraceReader,
} from "../trace/index.js";
import {
  chooseGeometry,
  type Geometry,
  type GeometryOptions,
  ipaBitsOfMachine,
  isForeign,
  tableConfig,
} from "./config.js";
import { FAULT_EVENTS, type FaultOutcome, FaultReplayer } from "./faults.js";
import type { Truth } from "./files.js";
import { OPS_EVENTS, OpsReplayer } from "./ops.js";
import type { ReplayPolicy } from "./policy.js";
import type { Replayer } from "./replayer.js";
import { FaultTally, report } from "./summary.js";
import { checkLeaves, checkText, skippedCheck } from "./verify.js";

/** How to replay a trace. */
export interface ReplayOptions {
  /** `faults` services the guest's faults on a VM; `ops` applies the recorded operations of the page-table engine. */
  from?: "faults" | "ops";
  /** Name of the trace, for the report and to find dumps of the same scenario. */
  name?: string | undefined;
  manifest?: Manifest | undefined;
  /**
   * Tables of the running kernel, to compare with at each freeze point. With `from: "faults"` output addresses are not
   * compared, since granule chooses them.
   */
  truth?: Truth | undefined;
  /** Shape of the tables, where neither a dump nor a manifest tells it. */
  geometry?: GeometryOptions;
  /** Memory slots, where there is no manifest. `from: "faults"` only. */
  slots?: readonly SlotRegion[];
  /** Count and skip lines that cannot be read. */
  lenient?: boolean;
  /** The VMM's memory, where no manifest tells: bytes of a hugetlb page (0 for none), transparent huge pages. */
  backing?: { readonly hugetlb: number; readonly thp: boolean } | undefined;
  /**
   * What becomes of the recorded faults under another policy: the report's `comparison`. Not with `truth`, nor with `from: "ops"`.
   */
  policy?: ReplayPolicy | undefined;
  /** Ends the replay early; the report then covers what was replayed until there. */
  signal?: AbortSignal;
  /** Called after each block of the input with the number of events so far. */
  onProgress?: (events: number) => void;
  /** Called at once where the recorder lost events. A comparison after that point means little. */
  onLost?: (event: LostEvent) => void;
  /** Called with what the walkers did since the last call, in order: records of the engine's journal. */
  onJournal?: ((records: readonly JournalRecord[]) => void) | undefined;
  /**
   * Those who want to know more than the report says, event by event: all that looks on goes through here. The replay is slower
   * then: walks go entry by entry, and each event is done at once.
   */
  onlookers?: readonly Onlooker[];
  /** Bytes for tables. Default 1 GiB; only what is touched costs memory. */
  arenaBytes?: number;
  /** Called with the busiest VM's table before it is destroyed, or when the trace ends. */
  onTable?: (table: Stage2Table) => void;
}

/** Whoever looks on while a trace is replayed: a report, a time line, tables in files. */
export interface Onlooker {
  /** Called before each event is replayed. */
  before?(e: TraceEvent): void;
  /**
   * Called once it is known what became of a fault, which may be many events later, with what the walkers did for it. `after` of
   * the event under way has these records too, first. Never called with `from: "ops"`.
   */
  fault?(e: GuestFaultEvent, outcome: FaultOutcome, done: readonly JournalRecord[]): void;
  /** Called after it, with what the walkers did for it, and the tables as they are now. */
  after(e: TraceEvent, done: readonly JournalRecord[], tables: () => readonly Stage2Table[]): void;
  /** Called with the busiest VM's table before it is destroyed, or when the trace ends. */
  table?(table: Stage2Table): void;
  /** Called when the trace has ended, with what the walkers did to destroy the tables that were left. */
  end?(done: readonly JournalRecord[]): void;
}

const ARENA_BYTES = 1 << 30;
const MAX_TABLES = 1024;
/** Most journal records that one event may make, and how many are handed over at once. */
const JOURNAL_RECORDS = 1 << 20;
const JOURNAL_BATCH = 1 << 14;
/** Kernels before this have no walk flags in their map function. */
const WALK_FLAGS_SINCE = 6.02;

/** Does somebody want to know what the walkers do? */
function isWatched({ onJournal, onlookers = [] }: ReplayOptions): boolean {
  return onJournal !== undefined || onlookers.length > 0;
}

function release(manifest: Manifest | undefined): number {
  return manifest ? manifest.version[0] + manifest.version[1] / 100 : WALK_FLAGS_SINCE;
}

/** The dumps up to the first one of the trace's VM that has leaves. */
async function headers(options: ReplayOptions): Promise<S2RawDump[]> {
  const found: S2RawDump[] = [];
  if (!options.truth) return found;
  const bits = options.manifest?.ipaBits;
  for await (const dump of options.truth.headers(options.name)) {
    found.push(dump);
    if (!isForeign(dump, bits) && dump.tables.length > 0 && !dump.leaves().next().done) break;
  }
  return found;
}

/** Events by which the host changes a table while the VMM waits. */
const HOST_CHANGES: ReadonlySet<TraceEvent["kind"]> = new Set([
  "unmap_hva",
  "set_spte_hva",
  "s2_unmap",
  "s2_wrprotect",
  "s2_test_clear_young",
]);
/** How many such changes are tried; in the recordings one was enough. */
const MAX_TRIES = 16;

/**
 * A comparison that found a difference. A FREEZE marker is written a little before the machine stops, so the dump may
 * show a change that the trace has after the marker. The thread that wrote the marker goes on only when the dump is
 * made: until its next event, the comparison is made again after each change.
 */
interface Unsettled {
  readonly pid: number;
  tries: number;
  /** Compares again; true if the tables are equal now. */
  readonly again: (line: number) => boolean;
}

/** What the CPUs of the recording do with flags in tables, and what the policy asks of them. */
function hardwareOf(policy: ReplayPolicy, manifest: Manifest | undefined): Stage2Config {
  const hardwareDirty = policy.dirty === "dbm";
  return { hardwareDirty, hardwareAf: hardwareDirty || (manifest?.features.hardwareDirty ?? true) };
}

/** One trace being replayed. */
class Replay {
  readonly #options: ReplayOptions;
  readonly #geometry: Geometry;
  readonly #engine: Engine;
  #replayer: Replayer | undefined;
  #numbering: ProtectionNumbering | undefined;
  readonly checks: Check[] = [];
  readonly texts: TextCheck[] = [];
  readonly faults = new FaultTally();
  /** Bits of IPA of the VM, as a marker or the manifest says; undefined until then. */
  #ipaBits: number | undefined;
  events = 0;
  #checking = 0;
  #lost = false;
  /** What the walkers did for faults that were over since the last event. */
  #ofFaults: JournalRecord[] = [];
  #unsettled: Unsettled[] = [];

  constructor(options: ReplayOptions, dumps: readonly S2RawDump[], engine: Engine) {
    this.#options = options;
    this.#engine = engine;
    const geometry = chooseGeometry(dumps, options.manifest, options.geometry ?? {});
    const granule = options.policy?.granule ?? geometry.granule;
    this.#geometry = { ...geometry, granule, lpa2: geometry.lpa2 && granule !== 65536 };
    this.#numbering = options.manifest?.numbering;
    this.#ipaBits = options.manifest?.ipaBits;
  }

  #make(batch: readonly TraceEvent[]): Replayer {
    const { manifest, slots, backing, onTable, onlookers = [] } = this.#options;
    const onTeardown = (table: Stage2Table) => {
      onTable?.(table);
      for (const one of onlookers) one.table?.(table);
    };
    this.#numbering ??= inferNumbering(batch.filter((e): e is S2MapEvent => e.kind === "s2_map").map((e) => e.prot));
    const numbering = this.#numbering ?? "6.x";
    if (this.#options.from === "ops") {
      return new OpsReplayer(this.#engine, {
        table: tableConfig(this.#geometry, "linux-6.12"),
        numbering,
        lenient: this.#options.lenient ?? false,
        onTeardown,
        walkFlags: release(manifest) >= WALK_FLAGS_SINCE,
      });
    }
    const { policy } = this.#options;
    const table = tableConfig(this.#geometry, "none");
    return new FaultReplayer(this.#engine, {
      table: policy === undefined ? table : { ...table, ...hardwareOf(policy, manifest) },
      policy,
      ipaBits: this.#geometry.ipaBits,
      numbering,
      manifest,
      slots: slots ?? [],
      backing,
      onTeardown,
      onFault: onlookers.length > 0 ? (event, outcome) => this.#serviced(event, outcome) : undefined,
    });
  }

  /** A fault is over: what the walkers did since the last event is of this fault. */
  #serviced(event: GuestFaultEvent, outcome: FaultOutcome): void {
    const done = this.#takeJournal();
    this.#ofFaults.push(...done);
    for (const one of this.#options.onlookers ?? []) one.fault?.(event, outcome, done);
  }

  /** All that the walkers did since the last event. */
  #takeAll(): JournalRecord[] {
    const done = [...this.#ofFaults, ...this.#takeJournal()];
    this.#ofFaults = [];
    return done;
  }

  async batch(events: readonly TraceEvent[]): Promise<void> {
    this.#replayer ??= this.#make(events);
    const replayer = this.#replayer,
      { onlookers = [] } = this.#options;
    this.events += events.length;
    for (const e of events) {
      for (const one of onlookers) one.before?.(e);
      if (e.kind === "guest_fault") this.faults.add(e.esr);
      else if (e.kind === "lost") this.#loss(e);
      replayer.event(e);
      if (onlookers.length > 0) this.#show(onlookers, e, replayer);
      else this.#handOver(JOURNAL_BATCH);
      if (this.#unsettled.length > 0) this.#settle(e, replayer);
      if (e.kind === "marker") await this.#marker(e, replayer);
    }
  }

  #loss(e: LostEvent): void {
    this.#lost = true;
    this.#options.onLost?.(e);
  }

  /** Repeats comparisons that found a difference, while the thread of their marker waits. */
  #settle(e: TraceEvent, replayer: Replayer): void {
    this.#unsettled = this.#unsettled.filter((u) => u.pid !== e.pid && u.tries < MAX_TRIES);
    if (this.#unsettled.length === 0 || !HOST_CHANGES.has(e.kind)) return;
    const start = performance.now();
    replayer.flush();
    this.#unsettled = this.#unsettled.filter((u) => {
      u.tries++;
      return !u.again(e.line);
    });
    this.#checking += performance.now() - start;
  }

  /** Hands over what the walkers did, once there are `least` records of it. */
  #handOver(least: number): void {
    const { onJournal } = this.#options;
    if (onJournal === undefined || this.#engine.journal.total < least) return;
    onJournal(this.#takeJournal());
  }

  /** Shows an event, and what was done for it. */
  #show(onlookers: readonly Onlooker[], e: TraceEvent, replayer: Replayer): void {
    replayer.perform();
    const done = this.#takeAll();
    for (const one of onlookers) one.after(e, done, () => replayer.tables());
    if (done.length > 0) this.#options.onJournal?.(done);
  }

  #takeJournal(): JournalRecord[] {
    const { journal } = this.#engine;
    if (journal.total === 0) return [];
    if (journal.lost > 0)
      throw new GranuleError(K.ENOMEM, { operation: "replay", hint: "an event is too long for a journal" });
    const records = journal.read();
    journal.clear();
    return records;
  }

  /** Destroys the tables, and hands over what is left of the journal. */
  end(): void {
    if (!isWatched(this.#options)) return;
    for (const table of this.#replayer?.tables() ?? []) table.close();
    const done = this.#takeAll();
    for (const one of this.#options.onlookers ?? []) one.end?.(done);
    if (done.length > 0) this.#options.onJournal?.(done);
  }

  async #marker({ note, pid }: MarkerEvent, replayer: Replayer): Promise<void> {
    if (note.type === "create-vm") this.#ipaBits = ipaBitsOfMachine(note.machine);
    if (note.type !== "freeze" || !this.#options.truth) return;
    const start = performance.now();
    replayer.flush();
    await this.#verify(note.scenario, note.point, pid, replayer, this.#options.truth);
    this.#checking += performance.now() - start;
  }

  async #verify(scenario: string, point: string, pid: number, replayer: Replayer, truth: Truth): Promise<void> {
    const options = { addresses: this.#options.from === "ops", afterLoss: this.#lost };
    for (const { file, content } of await truth.dumps(scenario, point)) {
      const bits = this.#ipaBits;
      if (isForeign(content, bits)) {
        this.checks.push(skippedCheck(content, file, foreignReason(content, bits as number)));
      } else {
        this.#compare(this.checks, () => checkLeaves(replayer.tables(), content, file, options), differs, pid);
      }
    }
    for (const { file, content } of await truth.texts(scenario, point)) {
      const compare = () => checkText(replayer.tables(), content, `${scenario}.${point}`, file, options);
      this.#compare(this.texts, compare, textDiffers, pid);
    }
  }

  /** Compares. If there is a difference, a later change by the host may settle it. */
  #compare<T extends Check | TextCheck>(results: T[], compare: () => T, bad: (check: T) => boolean, pid: number): void {
    const first = compare();
    const at = results.push(first) - 1;
    if (!bad(first)) return;
    const again = (line: number): boolean => {
      const next = compare();
      if (bad(next)) return false;
      results[at] = { ...next, equalAt: line };
      return true;
    };
    this.#unsettled.push({ pid, tries: 0, again });
  }

  finish(trace: TraceReader, milliseconds: number): ReplayReport {
    const replayer = this.#replayer ?? this.#make([]);
    const use = replayer.finish();
    return report({
      from: this.#options.from ?? "faults",
      name: this.#options.name,
      stats: trace.stats,
      geometry: this.#geometry,
      numbering: this.#numbering,
      manifest: this.#options.manifest,
      events: this.events,
      seconds: (milliseconds - this.#checking) / 1000,
      counters: this.#engine.counters(),
      replayer,
      use,
      faults: this.faults,
      checks: this.checks,
      texts: this.texts,
    });
  }
}

function foreignReason(dump: S2RawDump, bits: number): string {
  return (
    `the dump is of another VM: its VTCR_EL2 has ${dump.geometry.iaBits} bits of IPA, ` +
    `the VM of this trace was made with ${bits}`
  );
}

/**
 * Replays a trace, reading it as a stream, and reports what happened.
 *
 * @throws TraceSyntaxError at a line of an event that the replay needs and that cannot be read, unless lenient;
 *   TraceInputError for damaged gzip data and damaged recordings; S2RawError for a dump that cannot be read;
 *   GranuleError if the arena is spent
 */
export async function replayTrace(source: ByteSource, options: ReplayOptions = {}): Promise<ReplayReport> {
  const dumps = await headers(options);
  const journalRecords = isWatched(options) ? JOURNAL_RECORDS : 0;
  using engine = createEngine({ arenaBytes: options.arenaBytes ?? ARENA_BYTES, maxTables: MAX_TABLES, journalRecords });
  if (isWatched(options)) engine.journal.start();
  const replay = new Replay(options, dumps, engine);
  const start = performance.now();
  const strict = options.from === "ops" ? OPS_EVENTS : FAULT_EVENTS;
  const trace = readTrace(source, { lenient: options.lenient ?? false, strict });
  for await (const events of trace) {
    if (options.signal?.aborted) break;
    await replay.batch(events);
    options.onProgress?.(replay.events);
  }
  const result = replay.finish(trace, performance.now() - start);
  replay.end();
  return result;
}
