import { TraceInputError } from "./errors.js";
import type { TraceEvent } from "./events.js";
import { TraceParser } from "./ftrace.js";
import { type ByteSource, readBlocks } from "./lines.js";
import type { TraceOptions, TraceStats } from "./tally.js";

/** How recordings begin that only their own tools can read, and the command that turns them into text. */
const RECORDINGS = [
  ["\u0017\bDtracing", "a trace.dat file", "trace-cmd report -i FILE"],
  ["PERFILE2", "a perf.data file", "perf script --guestkallsyms=/dev/null -i FILE"],
] as const;

function refuseRecording(block: string): void {
  for (const [magic, what, command] of RECORDINGS) {
    if (!block.startsWith(magic)) continue;
    throw new TraceInputError("binary", `this is ${what}, not text: make text of it with \`${command}\``);
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

  /**
   * Reads the source and gives the events of one block at a time.
   *
   * @throws TraceSyntaxError and TraceInputError, as {@link readTrace} says
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<TraceEvent[], void, undefined> {
    let first = true;
    for await (const block of readBlocks(this.#source)) {
      if (first) refuseRecording(block);
      first = false;
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
 * @throws while iterating: TraceSyntaxError (unless lenient, and only for the kinds of events in
 *   `options.strict`); TraceInputError for damaged gzip data and for a binary recording
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
