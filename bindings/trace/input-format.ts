import { csvHeader } from "./access-text.js";
import { looksLikeChampsim } from "./champsim.js";
import { type ByteSource, readBytes } from "./lines.js";
import { sniffTrace } from "./sniff.js";

/**
 * What an input is, as its first bytes tell: `text` for the text of a kernel's events and for whatever else is text; recordings of
 * trace-cmd and perf; memory accesses in one of four formats; data that is packed in a way other than gzip; and `binary` for the rest.
 */
export type InputFormat =
  | "text"
  | "trace.dat"
  | "perf.data"
  | "lackey"
  | "drmemtrace"
  | "csv"
  | "champsim"
  | "xz"
  | "zstd"
  | "binary";

/** Bytes that are looked at. */
const HEAD = 1 << 12;

/** How files begin that are packed. */
const MAGICS: readonly (readonly [InputFormat, readonly number[]])[] = [
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
];

/** Lines by which a text of accesses is known. */
const TEXTS: readonly (readonly [InputFormat, RegExp])[] = [
  ["lackey", /^==\d+== Lackey|^I {2}[0-9a-f]+,\d+$|^ [LSM] [0-9a-f]+,\d+$/i],
  [
    "drmemtrace",
    /^<--record#|^\s*\d+\s+\d+:\s+(?:W\d+\.)?T?\d+\s+(?:<marker: |(?:ifetch|read|write)\s+\d+ byte\(s\) @ 0x)/,
  ],
];
/** Lines of text that are looked at. */
const LINES = 24;

function formatOfText(text: string): InputFormat {
  const lines = text
    .split("\n")
    .slice(0, LINES)
    .map((line) => line.replace(/\r$/, ""));
  const first = lines.find((line) => line !== "" && !line.startsWith("#"));
  if (first !== undefined && csvHeader(first) !== undefined) return "csv";
  return TEXTS.find(([, form]) => lines.some((line) => form.test(line)))?.[0] ?? "text";
}

/**
 * What the first bytes of an input say that it is; gzip is unpacked before.
 *
 * @example
 * ```ts
 * import { formatOf } from "granule/trace";
 * console.log(formatOf(new TextEncoder().encode("I  0401ab70,3\n S 1fff000688,8\n"))); // lackey
 * ```
 */
export function formatOf(head: Uint8Array): InputFormat {
  const kind = sniffTrace(head);
  if (kind !== "text") return kind;
  const magic = MAGICS.find(([, bytes]) => bytes.every((byte, i) => head[i] === byte));
  if (magic !== undefined) return magic[0];
  if (!head.subarray(0, HEAD).includes(0)) return formatOfText(new TextDecoder().decode(head.subarray(0, HEAD)));
  return looksLikeChampsim(head.subarray(0, HEAD)) ? "champsim" : "binary";
}

/** An input of which the format is known. */
export interface Sniffed {
  /** What it is. */
  readonly format: InputFormat;
  /** Its bytes from the first on, unpacked; they can be read once. */
  readonly source: AsyncIterable<Uint8Array>;
}

/**
 * Looks at the beginning of an input, and gives it back whole.
 *
 * @throws TraceInputError for damaged gzip data
 * @example
 * ```ts
 * import { readAccesses, sniff } from "granule/trace";
 * const { format, source } = await sniff(new TextEncoder().encode("kind,gpa\nr,0x4000\n"));
 * if (format === "csv") for await (const { length } of readAccesses(source, { format })) console.log(length); // 1
 * ```
 */
export async function sniff(input: ByteSource): Promise<Sniffed> {
  const chunks = readBytes(input);
  const first: Uint8Array[] = [];
  const head = new Uint8Array(HEAD);
  let size = 0;
  while (size < HEAD) {
    const { done, value } = await chunks.next();
    if (done) break;
    first.push(value.slice()); // a source may use its buffer again
    head.set(value.subarray(0, HEAD - size), size);
    size += value.length;
  }
  async function* whole(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* first.splice(0);
      yield* chunks;
    } finally {
      await chunks.return();
    }
  }
  return { format: formatOf(head.subarray(0, Math.min(size, HEAD))), source: whole() };
}
