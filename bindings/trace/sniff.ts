/** What a trace is: text in one of its spellings, or the file of a recorder. */
export type TraceKind = "text" | "trace.dat" | "perf.data";

/** How files begin that are not text. */
const BEGINNINGS: readonly (readonly [kind: TraceKind, bytes: string])[] = [
  ["trace.dat", "\u0017\u0008Dtracing"],
  ["perf.data", "PERFILE2"],
  // The same written by a machine of the other byte order, and by a perf before Linux 2.6.38: perf.data says which.
  ["perf.data", "2ELIFREP"],
  ["perf.data", "PERFFILE"],
];

/** Bytes that {@link sniffTrace} needs to see. */
export const SNIFF_BYTES: number = Math.max(...BEGINNINGS.map(([, bytes]) => bytes.length));

/**
 * Tells what a trace is by its first bytes, unpacked if it was gzipped. The name of a file plays no part.
 *
 * @param opening - the first bytes, 16 or more unless the file is shorter
 * @example
 * ```ts
 * import { sniffTrace } from "granule/trace";
 *
 * console.log(sniffTrace(new TextEncoder().encode("PERFILE2"))); // "perf.data"
 * console.log(sniffTrace(new TextEncoder().encode("# tracer: nop"))); // "text"
 * ```
 */
export function sniffTrace(opening: Uint8Array): TraceKind {
  const begins = (bytes: string) =>
    opening.length >= bytes.length && [...bytes].every((char, i) => opening[i] === char.charCodeAt(0));
  return BEGINNINGS.find(([, bytes]) => begins(bytes))?.[0] ?? "text";
}
