import type { AccessBatch, AccessFormatReader, AccessStats } from "./access-batch.js";
import { csv, drmemtrace, lackey } from "./access-text.js";
import { champsim } from "./champsim.js";
import { TraceInputError } from "./errors.js";
import { type InputFormat, sniff } from "./input-format.js";
import type { ByteSource } from "./lines.js";

/**
 * A format of memory accesses: valgrind's lackey with `--trace-mem=yes`, the text of DynamoRIO's drmemtrace view tool, rows of comma-separated
 * values, and ChampSim's records, unpacked or gzipped. docs/formats/accesses.md describes them.
 */
export type AccessFormat = "lackey" | "drmemtrace" | "csv" | "champsim";

/** How accesses are read. */
export interface AccessOptions {
  /** The format. Default: what the first bytes say. */
  format?: AccessFormat;
  /** Count and skip lines that cannot be read. Default false. */
  lenient?: boolean;
}

const READERS: Readonly<Record<AccessFormat, AccessFormatReader>> = { lackey, drmemtrace, csv, champsim };

/**
 * Is it a format of memory accesses, such as `sniff` may find?
 *
 * @example
 * ```ts
 * import { isAccessFormat } from "granule/trace";
 * console.log(isAccessFormat("lackey"), isAccessFormat("perf.data")); // true false
 * ```
 */
export function isAccessFormat(format: string): format is AccessFormat {
  return Object.hasOwn(READERS, format);
}

/** What to do with an input that is no trace of accesses. */
function refusal(format: InputFormat): TraceInputError {
  if (format === "xz" || format === "zstd") {
    return new TraceInputError("unsupported", `this is packed by ${format}: unpack it first, or pack it by gzip`);
  }
  return new TraceInputError(
    "unsupported",
    "these are no memory accesses: of lackey, drmemtrace, ChampSim, or CSV with a header row",
  );
}

/**
 * Memory accesses being read. Iterating gives batches: always the same one, filled anew. It can be iterated over once.
 * {@link readAccesses} makes it.
 *
 * @example
 * ```ts
 * import { AccessReader } from "granule/trace";
 * const reader = new AccessReader(new TextEncoder().encode("I  0401ab70,3\n M 1fff000688,8\n"));
 * for await (const batch of reader) console.log(batch.length); // 3
 * console.log(reader.format, reader.isPhysical); // lackey false
 * ```
 */
export class AccessReader implements AsyncIterable<AccessBatch> {
  /** The counts so far; complete after the last batch. */
  readonly stats: AccessStats = { records: 0, accesses: 0, ignored: 0, malformed: 0, threads: 0 };
  readonly #source: ByteSource;
  readonly #options: AccessOptions;
  #format: AccessFormat | undefined;

  constructor(source: ByteSource, options: AccessOptions = {}) {
    this.#source = source;
    this.#options = options;
    this.#format = options.format;
  }

  /** The format; undefined until the first batch has been read, where it was not given. */
  get format(): AccessFormat | undefined {
    return this.#format;
  }

  /** Are the addresses the guest's physical ones? Those of CSV are; the other formats have virtual addresses of a process. */
  get isPhysical(): boolean {
    return this.#format === "csv";
  }

  /**
   * Reads the source.
   *
   * @throws TraceSyntaxError and TraceInputError, as {@link readAccesses} says
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<AccessBatch, void, undefined> {
    const { format, source } = await sniff(this.#source);
    this.#format ??= isAccessFormat(format) ? format : undefined;
    if (this.#format === undefined) throw refusal(format);
    for await (const batch of READERS[this.#format](source, this.stats, this.#options.lenient ?? false)) {
      this.stats.accesses += batch.length;
      yield batch;
    }
  }
}

/**
 * Reads memory accesses, gzipped or not, as a stream: the memory that this takes does not depend on the length of the trace.
 *
 * @returns an async iterable of batches, with the counts in `stats`
 * @throws while iterating: TraceSyntaxError with the line that cannot be read, unless lenient; TraceInputError for damaged gzip
 *   data, for a cut record, and for what is no trace of accesses
 * @example
 * ```ts
 * import { readAccesses } from "granule/trace";
 * const trace = readAccesses(new TextEncoder().encode(" L 1000,8\n S 2000,4\n"));
 * for await (const { length, addresses } of trace) console.log(length, addresses[1]); // 2 8192
 * console.log(trace.stats.records); // 2
 * ```
 */
export function readAccesses(source: ByteSource, options: AccessOptions = {}): AccessReader {
  return new AccessReader(source, options);
}
