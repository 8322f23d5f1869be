import { openRecording } from "./binary/open.js";
import type { Chunks, Events } from "./binary/source.js";
import type { TraceEvent } from "./events.js";
import { TraceParser } from "./ftrace.js";
import { type ByteSource, following, opening, readBlocks, readBytes } from "./lines.js";
import { SNIFF_BYTES, sniffTrace, type TraceKind } from "./sniff.js";
import type { TraceOptions, TraceStats } from "./tally.js";

async function* textEvents(chunks: Chunks, parser: TraceParser): Events {
  for await (const block of readBlocks(chunks)) {
    const events = parser.parse(block);
    if (events.length > 0) yield events;
  }
}

/**
 * A trace being read. Iterating gives batches of events, one for each block of the input, so that
 * there is one await for a batch and not one for an event. It can be iterated over once.
 * {@link readTrace} makes it.
 *
 * @example
 * ```ts
 * import { TraceReader } from "granule/trace";
 * const text = "kvmt-1 [000] ..... 1.5: kvm_access_fault: IPA: 4000\n";
 * const reader = new TraceReader(new TextEncoder().encode(text));
 * for await (const batch of reader) console.log(batch.length, batch[0]?.kind); // 1 access_fault
 * console.log(reader.stats.lines, reader.kind); // 1 text
 * ```
 */
export class TraceReader implements AsyncIterable<TraceEvent[]> {
  readonly #source: ByteSource;
  readonly #options: TraceOptions;
  #counts: { readonly stats: TraceStats };
  #kind: TraceKind | undefined;

  constructor(source: ByteSource, options: TraceOptions = {}) {
    this.#source = source;
    this.#options = options;
    this.#counts = new TraceParser(options);
  }

  /** The counts so far; complete after the last batch. */
  get stats(): TraceStats {
    return this.#counts.stats;
  }

  /** What the trace is; `undefined` until reading begins. */
  get kind(): TraceKind | undefined {
    return this.#kind;
  }

  /**
   * Reads the source and gives the events of one block at a time.
   *
   * @throws TraceSyntaxError and TraceInputError, as {@link readTrace} says
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<TraceEvent[], void, undefined> {
    const bytes = readBytes(this.#source);
    const first = await opening(bytes, SNIFF_BYTES);
    const chunks = following(first, bytes);
    this.#kind = sniffTrace(first);
    if (this.#kind === "text") {
      yield* textEvents(chunks, this.#counts as TraceParser);
      return;
    }
    const recording = await openRecording(this.#kind, this.#source, chunks, this.#options);
    try {
      this.#counts = recording;
      yield* recording.events;
    } finally {
      await recording.close();
    }
  }
}

/**
 * Reads a trace of KVM events, gzipped or not: text in any of the spellings of {@link TraceParser}, trace.dat of trace-cmd
 * (versions 6 and 7, compressed or not), or perf.data with samples of tracepoints. The first bytes tell which it is
 * ({@link sniffTrace}). All become the same events; `line` is the number of the record where there are no lines. The CPUs'
 * events come in the order of their times.
 *
 * Memory is bounded. From a file, a blob and bytes in memory, only what is needed is read. A trace.dat, or a perf.data that is not
 * in pipe mode, is held in memory, up to 1 GiB, where it is gzipped or comes as a stream.
 *
 * @param source - bytes: a blob, a web stream, an async iterable such as a Node stream, or bytes in memory
 * @returns an async iterable of batches, with the counts in `stats`
 * @throws while iterating: TraceSyntaxError (unless lenient, and only for the kinds of events in
 *   `options.strict`), for a record its subclass TraceRecordError; TraceInputError for damaged gzip data and for a recording that
 *   is cut short, damaged, big-endian or of a kind that granule does not read
 * @example
 * ```ts
 * import { readTrace } from "granule/trace";
 *
 * const text = "kvmt-7 [000] ..... 1.5: kvm_access_fault: IPA: 420b6000\n";
 * const trace = readTrace(new TextEncoder().encode(text), { lenient: true });
 * for await (const events of trace) console.log(events[0]?.kind); // "access_fault"
 * console.log(trace.stats.malformed); // 0
 * ```
 */
export function readTrace(source: ByteSource, options: TraceOptions = {}): TraceReader {
  return new TraceReader(source, options);
}
