import type { TraceEvent } from "./events.js";
import { type TraceOptions, TraceParser, type TraceStats } from "./ftrace.js";
import { type ByteSource, readBlocks } from "./lines.js";

/**
 * A trace being read. Iterating gives batches of events, as large as the blocks of the input are:
 * one await a batch instead of one an event. It can be iterated over once; `readTrace` makes it.
 *
 * @example
 * ```ts
 * import { TraceReader } from "granule/trace";
 * const text = "kvmt-1 [000] ..... 1.5: kvm_access_fault: IPA: 4000\n";
 * const reader = new TraceReader(new TextEncoder().encode(text));
 * for await (const batch of reader) console.log(batch.length, batch[0]?.kind); // 1 access_fault
 * console.log(reader.stats.lines); // 1
 * ```
 */
export class TraceReader implements AsyncIterable<TraceEvent[]> {
  readonly #parser: TraceParser;
  readonly #source: ByteSource;

  constructor(source: ByteSource, options: TraceOptions = {}) {
    this.#source = source;
    this.#parser = new TraceParser(options);
  }

  /** The counts so far; complete after the last batch. */
  get stats(): TraceStats {
    return this.#parser.stats;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TraceEvent[], void, undefined> {
    for await (const block of readBlocks(this.#source)) {
      const events = this.#parser.parse(block);
      if (events.length > 0) yield events;
    }
  }
}

/**
 * Reads a trace of KVM events, gzipped or not, in any of the spellings of {@link TraceParser}.
 *
 * @param source - bytes: a web stream, an async iterable such as a Node stream, or bytes in memory
 * @returns an async iterable of batches, with the counts in `stats`
 * @throws TraceSyntaxError (unless lenient) and TraceInputError, while iterating
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
