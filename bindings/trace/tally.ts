import { checkOptions, type OptionKinds } from "../core/check.js";
import { invalid } from "../core/errors.js";
import { TraceSyntaxError } from "./errors.js";
import type { EventOf, TraceEvent } from "./events.js";

/** Errors that are kept to be shown; the rest are only counted. */
const KEPT_ERRORS = 10;
/** Names of events that are told apart: a kernel has some two thousand. */
const MAX_NAMES = 4096;
const OTHER_NAMES = "(other names)";

/** How a trace is parsed. */
export interface TraceOptions {
  /**
   * True: a line that cannot be read is counted in {@link TraceStats.malformed} and skipped.
   * False, the default: it throws.
   */
  readonly lenient?: boolean;
  /**
   * The kinds of events that the caller needs. Of these alone, a line that cannot be read is an
   * error (or malformed, when lenient). An event of another kind whose text cannot be read becomes
   * an `unknown` one and is counted in {@link TraceStats.unread}. Default: all kinds.
   */
  readonly strict?: ReadonlySet<TraceEvent["kind"]>;
  /** Number of the first line, 1 unless the text is a part of a file. */
  readonly firstLine?: number;
}

const OPTIONS: OptionKinds<TraceOptions> = { lenient: "boolean", strict: "object", firstLine: "number" };

/** What a parser has seen so far. */
export interface TraceStats {
  /** Lines, comments included. */
  readonly lines: number;
  /** Events read, by name, as the manifest of a capture counts them. */
  readonly events: ReadonlyMap<string, number>;
  /** Those of them that granule does not read, by name. */
  readonly unknown: ReadonlyMap<string, number>;
  /** Those of them whose text could not be read, and need not be ({@link TraceOptions.strict}). */
  readonly unread: ReadonlyMap<string, number>;
  /** Lines that belong to the event before them: stack frames, the rest of a marker. */
  readonly continuations: number;
  /** Events named with their group, as perf script does: `kvm:kvm_guest_fault`. */
  readonly grouped: number;
  /** Lines that a lenient parser skipped. */
  readonly malformed: number;
  /** What was wrong with the first ten of the malformed and the unread lines. */
  readonly errors: readonly TraceSyntaxError[];
  /** Places where events were lost; any at all means that no replay of the trace is exact. */
  readonly lostPlaces: number;
  /** Events lost, as far as the recorder knew. */
  readonly lostEvents: number;
}

/** An event by its name: how it is read, if it is, and how many there were. */
export interface EventName<F> {
  readonly name: string;
  readonly form: F | undefined;
  /** One that cannot be read is an error. */
  readonly strict: boolean;
  count: number;
  unread: number;
}

/** What a reader of events counts, and how it takes what it cannot read: the same for text and for records. */
export class EventTally<F extends { readonly kind: TraceEvent["kind"] }> {
  readonly lenient: boolean;
  grouped = 0;
  continuations = 0;
  readonly #forms: ReadonlyMap<string, F>;
  readonly #strict: ReadonlySet<TraceEvent["kind"]> | undefined;
  readonly #names = new Map<string, EventName<F>>();
  readonly #errors: TraceSyntaxError[] = [];
  readonly #firstLine: number;
  #lines = 0;
  #malformed = 0;
  #lostPlaces = 0;
  #lostEvents = 0;
  #lastMarker: EventOf<"marker"> | undefined;

  /** EINVAL for options that there are not. */
  constructor(options: TraceOptions, forms: ReadonlyMap<string, F>) {
    checkOptions("readTrace", options, OPTIONS);
    if (options.strict !== undefined && !(options.strict instanceof Set)) {
      throw invalid("readTrace", "the option strict is not a Set of kinds of events");
    }
    this.lenient = options.lenient ?? false;
    this.#forms = forms;
    this.#strict = options.strict;
    this.#firstLine = options.firstLine ?? 1;
  }

  /** Counts a line or a record, and gives its number. */
  nextLine(): number {
    return this.#firstLine + this.#lines++;
  }

  /** Names that granule reads are always kept; of others so many, and the rest is counted together. */
  entry(said: string): EventName<F> {
    const form = this.#forms.get(said);
    const name = form === undefined && this.#names.size >= MAX_NAMES ? OTHER_NAMES : said;
    let entry = this.#names.get(name);
    if (entry === undefined) {
      const strict = form !== undefined && (this.#strict?.has(form.kind) ?? true);
      entry = { name, form, strict, count: 0, unread: 0 };
      this.#names.set(name, entry);
    }
    return entry;
  }

  /** Counts what a lenient reader skips; anything but a syntax error is thrown again. */
  skipped(error: unknown): void {
    this.#keep(error);
    this.#malformed++;
  }

  /** Counts an event that could not be read and need not be. */
  unread(entry: EventName<F>, error: unknown): void {
    this.#keep(error);
    entry.unread++;
  }

  #keep(error: unknown): void {
    if (!(error instanceof TraceSyntaxError)) throw error;
    if (this.#errors.length < KEPT_ERRORS) this.#errors.push(error);
  }

  /** Counts a place where events were lost. */
  lost(count: number | undefined): void {
    this.#lostPlaces++;
    this.#lostEvents += count ?? 0;
  }

  /**
   * A probe on write() sees a marker again when the VMM writes the same line to its log. The copy
   * must not be taken for a second marker.
   */
  marker(event: EventOf<"marker">): EventOf<"marker"> {
    const last = this.#lastMarker;
    const copied = last !== undefined && last.fd !== event.fd && last.text === event.text && last.pid === event.pid;
    if (copied) return { ...event, note: { type: "other" } };
    this.#lastMarker = event;
    return event;
  }

  /** A snapshot of the counts. */
  get stats(): TraceStats {
    const seen = new Map<string, number>();
    const unknown = new Map<string, number>();
    const unread = new Map<string, number>();
    for (const { name, form, count, unread: n } of this.#names.values()) {
      if (count > 0) seen.set(name, count);
      if (count > 0 && form === undefined) unknown.set(name, count);
      if (n > 0) unread.set(name, n);
    }
    return {
      lines: this.#lines,
      events: seen,
      unknown,
      unread,
      continuations: this.continuations,
      grouped: this.grouped,
      malformed: this.#malformed,
      errors: [...this.#errors],
      lostPlaces: this.#lostPlaces,
      lostEvents: this.#lostEvents,
    };
  }
}
