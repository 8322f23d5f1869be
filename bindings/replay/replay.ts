import * as K from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import { createEngine } from "../index.js";
import type { Engine } from "../tables/engine.js";
import type { JournalRecord } from "../tables/journal.js";
import type { Stage2Table } from "../tables/stage2.js";
import {
  type ByteSource,
  inferNumbering,
  type Manifest,
  type MarkerNote,
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
import { FaultReplayer } from "./faults.js";
import type { Truth } from "./files.js";
import { OpsReplayer } from "./ops.js";
import type { Replayer } from "./replayer.js";
import { FaultTally, type ReplayReport, report } from "./summary.js";
import { type Check, checkLeaves, checkText, skippedCheck, type TextCheck } from "./verify.js";

/** How to replay a trace. */
export interface ReplayOptions {
  /** `faults` services the guest's faults on a VM; `ops` applies the recorded operations of the page-table engine. */
  from?: "faults" | "ops";
  /** Name of the trace, for the report and to find dumps of the same scenario. */
  name?: string | undefined;
  manifest?: Manifest | undefined;
  /**
   * Tables of the running kernel, to compare with at each freeze point. With `from: "faults"` output addresses are not
   * compared, for they are ours.
   */
  truth?: Truth | undefined;
  /** Shape of the tables, where neither a dump nor a manifest tells it. */
  geometry?: GeometryOptions;
  /** Memory slots, where there is no manifest. `from: "faults"` only. */
  slots?: readonly SlotRegion[];
  /** Count and skip lines that cannot be read. */
  lenient?: boolean;
  /** Kind of the VMM's memory, where no manifest tells: hugetlb of so many bytes (0 for none), or transparent huge pages. */
  backing?: { readonly hugetlb: number; readonly thp: boolean } | undefined;
  /** Ends the replay early; the report tells of what was replayed until then. */
  signal?: AbortSignal;
  /** Called now and then with the number of events so far. */
  onProgress?: (events: number) => void;
  /** Called with what the walkers did since the last call, in order: records of the engine's journal. */
  onJournal?: ((records: readonly JournalRecord[]) => void) | undefined;
  /** Bytes for tables. Default 1 GiB; only what is touched costs memory. */
  arenaBytes?: number;
  /** Called with the busiest VM's table when it is about to go, or when the trace ends. */
  onTable?: (table: Stage2Table) => void;
}

const ARENA_BYTES = 1 << 30;
const MAX_TABLES = 1024;
/** Most records of one event that can be told, and after how many they are told. */
const JOURNAL_RECORDS = 1 << 20;
const JOURNAL_BATCH = 1 << 14;
/** Kernels before this have no walk flags in their map function. */
const WALK_FLAGS_SINCE = 6.02;

function release(manifest: Manifest | undefined): number {
  return manifest ? manifest.version[0] + manifest.version[1] / 100 : WALK_FLAGS_SINCE;
}

/** The first dump that is of the trace's VM, and those before it. */
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
  /** Bits of IPA that the VM was made with, once a marker or the manifest has told. */
  #ipaBits: number | undefined;
  events = 0;
  #checking = 0;

  constructor(options: ReplayOptions, dumps: readonly S2RawDump[], engine: Engine) {
    this.#options = options;
    this.#engine = engine;
    this.#geometry = chooseGeometry(dumps, options.manifest, options.geometry ?? {});
    this.#numbering = options.manifest?.numbering;
    this.#ipaBits = options.manifest?.ipaBits;
  }

  #make(batch: readonly TraceEvent[]): Replayer {
    const { manifest, slots, backing, onTable } = this.#options;
    this.#numbering ??= inferNumbering(batch.filter((e): e is S2MapEvent => e.kind === "s2_map").map((e) => e.prot));
    const numbering = this.#numbering ?? "6.x";
    if (this.#options.from === "ops") {
      return new OpsReplayer(this.#engine, {
        table: tableConfig(this.#geometry, "linux-6.12"),
        numbering,
        lenient: this.#options.lenient ?? false,
        onTeardown: onTable,
        walkFlags: release(manifest) >= WALK_FLAGS_SINCE,
      });
    }
    return new FaultReplayer(this.#engine, {
      table: tableConfig(this.#geometry, "none"),
      ipaBits: this.#geometry.ipaBits,
      numbering,
      manifest,
      slots: slots ?? [],
      backing,
      onTeardown: onTable,
    });
  }

  async batch(events: readonly TraceEvent[]): Promise<void> {
    this.#replayer ??= this.#make(events);
    const replayer = this.#replayer;
    this.events += events.length;
    for (const e of events) {
      if (e.kind === "guest_fault") this.faults.add(e.esr);
      replayer.event(e);
      this.#tell(JOURNAL_BATCH);
      if (e.kind === "marker") await this.#marker(e.note, replayer);
    }
  }

  /** Tells what the walkers did, once there are `least` records of it. */
  #tell(least: number): void {
    const { onJournal } = this.#options;
    const { journal } = this.#engine;
    if (onJournal === undefined || journal.total < least) return;
    if (journal.lost > 0)
      throw new GranuleError(K.ENOMEM, { operation: "replay", hint: "an event is too long for a journal" });
    onJournal(journal.read());
    journal.clear();
  }

  /** The tables go, and what is left of the journal is told. */
  end(): void {
    if (this.#options.onJournal === undefined) return;
    for (const table of this.#replayer?.tables() ?? []) table.close();
    this.#tell(1);
  }

  async #marker(note: MarkerNote, replayer: Replayer): Promise<void> {
    if (note.type === "create-vm") this.#ipaBits = ipaBitsOfMachine(note.machine);
    if (note.type !== "freeze" || !this.#options.truth) return;
    const start = performance.now();
    replayer.flush();
    await this.#verify(note.scenario, note.point, replayer.tables(), this.#options.truth);
    this.#checking += performance.now() - start;
  }

  async #verify(scenario: string, point: string, tables: readonly Stage2Table[], truth: Truth): Promise<void> {
    for (const { file, content } of await truth.dumps(scenario, point)) {
      const bits = this.#ipaBits;
      this.checks.push(
        isForeign(content, bits)
          ? skippedCheck(content, file, foreignReason(content, bits as number))
          : checkLeaves(tables, content, file, this.#options.from === "ops"),
      );
    }
    for (const { file, content } of await truth.texts(scenario, point)) {
      this.texts.push(checkText(tables, content, `${scenario}.${point}`, file));
    }
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
 * @throws TraceSyntaxError at a line that cannot be read, unless lenient; TraceInputError for damaged gzip data;
 *   S2RawError for a dump that cannot be read; GranuleError if the arena is spent
 */
export async function replayTrace(source: ByteSource, options: ReplayOptions = {}): Promise<ReplayReport> {
  const dumps = await headers(options);
  const journalRecords = options.onJournal === undefined ? 0 : JOURNAL_RECORDS;
  using engine = createEngine({ arenaBytes: options.arenaBytes ?? ARENA_BYTES, maxTables: MAX_TABLES, journalRecords });
  if (options.onJournal !== undefined) engine.journal.start();
  const replay = new Replay(options, dumps, engine);
  const start = performance.now();
  const trace = readTrace(source, { lenient: options.lenient ?? false });
  for await (const events of trace) {
    if (options.signal?.aborted) break;
    await replay.batch(events);
    options.onProgress?.(replay.events);
  }
  const result = replay.finish(trace, performance.now() - start);
  replay.end();
  return result;
}
