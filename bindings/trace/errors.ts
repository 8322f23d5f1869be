/** Longest piece of a bad line that an error keeps: a hostile line may be a mebibyte. */
const SHOWN = 240;

function shown(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text;
}

/**
 * The parent of every error of the readers: an input is not what it should be.
 *
 * @example
 * ```ts
 * import { parseTraceLine, TraceError } from "granule/trace";
 *
 * try {
 *   parseTraceLine("not a trace line");
 * } catch (error) {
 *   console.log(error instanceof TraceError); // true
 * }
 * ```
 */
export class TraceError extends Error {
  /** The name of the class, as in a stack trace. */
  override name = "TraceError";
}

/**
 * A line that cannot be read: a known event whose text does not fit its format, or a line that is
 * neither a comment nor an event. The parsers throw it, unless they are lenient.
 *
 * The message quotes the line as it is, control characters included: escape it before it goes to a
 * terminal.
 *
 * @example
 * ```ts
 * import { parseTraceLine, TraceSyntaxError } from "granule/trace";
 *
 * try {
 *   parseTraceLine("kvmt-1 [000] d.... 1.0: s2_destroy: (f+0x0/0x1) oops=1", 7);
 * } catch (error) {
 *   if (error instanceof TraceSyntaxError) console.log(error.line, error.expected); // 7 "pgt="
 * }
 * ```
 */
export class TraceSyntaxError extends TraceError {
  /** The name of the class, as in a stack trace. */
  override name = "TraceSyntaxError";
  /** Line number in the file, from 1. */
  readonly line: number;
  /** The line itself, cut after 240 characters. */
  readonly text: string;
  /** What should have been there. */
  readonly expected: string;

  constructor(line: number, text: string, expected: string) {
    super(`line ${line}: expected ${expected}: ${shown(text)}`);
    this.line = line;
    this.text = shown(text);
    this.expected = expected;
  }
}

/**
 * A record of a binary trace that cannot be read: a known event whose fields do not fit its format. The
 * readers throw it, unless they are lenient. Its `line` is the number of the record.
 *
 * @example
 * ```ts
 * import { TraceRecordError } from "granule/trace";
 *
 * const error = new TraceRecordError(7, 4112, "kvm_guest_fault", "ipa below 2^53");
 * console.log(error.message); // "record 7 at byte 4112: kvm_guest_fault: expected ipa below 2^53"
 * ```
 */
export class TraceRecordError extends TraceSyntaxError {
  /** The name of the class, as in a stack trace. */
  override name = "TraceRecordError";
  /** Byte of the file where the record lies; of compressed data, where the compressed piece begins. */
  readonly offset: number;

  constructor(line: number, offset: number, event: string, expected: string) {
    super(line, event, expected);
    this.message = `record ${line} at byte ${offset}: ${event}: expected ${expected}`;
    this.offset = offset;
  }
}

/**
 * What is wrong with the bytes of an input, before any event of it is looked at. The last three are of
 * binary recordings: one that ends too early, one that contradicts its format, and one that granule does not read.
 */
export type TraceInputFault =
  | "truncated-gzip"
  | "bad-gzip"
  | "long-line"
  | "too-long"
  | "not-text"
  | "truncated"
  | "damaged"
  | "unsupported";

/**
 * The bytes of an input cannot be turned into lines or records: gzip data that is cut short or damaged, a line
 * of more than 1 MiB (which no kernel writes, so the file is not a text trace), a file that is far too
 * long, or a binary recording (`trace.dat`, `perf.data`) that is cut short, damaged or of an unknown kind.
 *
 * @example
 * ```ts
 * import { readTrace, TraceInputError } from "granule/trace";
 *
 * const cutShort = new Uint8Array([0x1f, 0x8b, 8, 0]);
 * try {
 *   for await (const _ of readTrace([cutShort])) { }
 * } catch (error) {
 *   if (error instanceof TraceInputError) console.log(error.code); // "truncated-gzip"
 * }
 * ```
 */
export class TraceInputError extends TraceError {
  /** The name of the class, as in a stack trace. */
  override name = "TraceInputError";
  /** What is wrong with the bytes. */
  readonly code: TraceInputFault;
  /** Byte of the file where a binary recording is wrong; of compressed data, where the compressed piece begins. */
  readonly offset: number | undefined;

  constructor(code: TraceInputFault, message: string, options?: ErrorOptions & { readonly offset?: number }) {
    super(message, options);
    this.code = code;
    this.offset = options?.offset;
  }
}

/**
 * A raw stage-2 table file that cannot be read or that contradicts itself.
 *
 * @example
 * ```ts
 * import { parseS2Raw, S2RawError } from "granule/trace";
 *
 * try {
 *   parseS2Raw("TABLE level=9\n");
 * } catch (error) {
 *   if (error instanceof S2RawError) console.log(error.line); // 1
 * }
 * ```
 */
export class S2RawError extends TraceSyntaxError {
  /** The name of the class, as in a stack trace. */
  override name = "S2RawError";
}

/**
 * A capture's manifest that lacks a field or holds one of the wrong form.
 *
 * @example
 * ```ts
 * import { ManifestError, parseManifest } from "granule/trace";
 *
 * try {
 *   parseManifest("{}");
 * } catch (error) {
 *   if (error instanceof ManifestError) console.log(error.field); // "name"
 * }
 * ```
 */
export class ManifestError extends TraceError {
  /** The name of the class, as in a stack trace. */
  override name = "ManifestError";
  /** Path of the offending field, such as `memslots[2].gpa`; empty for the file as a whole. */
  readonly field: string;
  /** What should have been there. */
  readonly expected: string;

  constructor(field: string, expected: string, options?: ErrorOptions) {
    super(`manifest ${field || "file"}: expected ${expected}`, options);
    this.field = field;
    this.expected = expected;
  }
}
