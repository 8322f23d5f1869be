// The text formats of memory accesses: valgrind's lackey, DynamoRIO's drmemtrace view, and CSV. docs/formats/accesses.md has them.

import {
  AccessBatch,
  type AccessFormatReader,
  type AccessStats,
  FETCH,
  hexAddress,
  READ,
  WRITE,
} from "./access-batch.js";
import { TraceSyntaxError } from "./errors.js";
import { type ByteSource, readBlocks } from "./lines.js";

/** Reads one line without its end; false if it is none of the format. */
type ReadLine = (line: string, out: AccessBatch) => boolean | "ignored";

/** Reads the lines of a text one by one. `expected`: what a line should have been, for the error. */
async function* eachLine(
  source: ByteSource,
  stats: AccessStats,
  lenient: boolean,
  read: ReadLine,
  expected: () => string,
): AsyncGenerator<AccessBatch, void, undefined> {
  const batch = new AccessBatch();
  for await (const block of readBlocks(source)) {
    batch.length = 0;
    for (let start = 0; start < block.length; ) {
      const newline = block.indexOf("\n", start);
      const stop = newline < 0 ? block.length : newline;
      const line = block.slice(start, stop > start && block.charCodeAt(stop - 1) === CR ? stop - 1 : stop);
      start = stop + 1;
      stats.records++;
      const done = line.trim() === "" ? "ignored" : read(line, batch);
      if (done === "ignored") stats.ignored++;
      else if (!done) {
        if (!lenient) throw new TraceSyntaxError(stats.records, line, expected());
        stats.malformed++;
      }
    }
    if (batch.length > 0) yield batch;
  }
}

const CR = 13;

// --- valgrind --tool=lackey --trace-mem=yes ----------------------------------------------------------

/** `I  0401ab70,3`, ` S 1fff000688,8`, ` L ...`, ` M ...`: an M is a load and a store. */
const LACKEY = /^(I {2}| [LSM] )([0-9a-f]+),(\d+)$/i;
/** What valgrind itself says. */
const VALGRIND = /^(==|--|\*\*)\d+(==|--|\*\*)/;

export const lackey: AccessFormatReader = (source, stats, lenient) => {
  stats.threads = 1;
  return eachLine(
    source,
    stats,
    lenient,
    (line, out) => {
      const parts = LACKEY.exec(line);
      if (parts === null) return VALGRIND.test(line) ? "ignored" : false;
      const address = hexAddress(parts[2] as string);
      const size = Number(parts[3]);
      if (!(address >= 0) || size < 1 || size > MAX_SIZE) return false;
      const kind = (parts[1] as string)[1];
      if (kind === "S") out.add(address, WRITE, size, 0);
      else out.add(address, kind === " " ? FETCH : READ, size, 0);
      if (kind === "M") out.add(address, WRITE, size, 0);
      return true;
    },
    () => "`I  ADDRESS,SIZE`, ` L ADDRESS,SIZE`, ` S ...` or ` M ...` of lackey",
  );
};

/** No instruction accesses more at once. */
const MAX_SIZE = 1 << 16;

// --- drmemtrace, the view tool -----------------------------------------------------------------------

/** `  47446  37770:  2765543 read  8 byte(s) @ 0x00007fdf64e2adc8 by PC 0x...`; a thread may also be `W0.T292` or `T292`. */
const RECORD = /^\s*\d+\s+\d+:\s+((?:W\d+\.)?T?\d+)\s+(\S+)\s+(\d+) byte\(s\) @ 0x([0-9a-f]+)(?:\s|$)/i;
/** Records without an access, the head of the columns, and the sum at the end. */
const NO_RECORD =
  /^\s*\d+\s+\d+:\s+(?:(?:W\d+\.)?T?\d+\s+)?<|^Output format:|^<--|^-+$|^View tool results:|^\s*\d+ : total |^={3,}$|^\s+\.\.\.$/;
/** Types that access memory; the others are prefetches, flushes, and instructions that were executed but not fetched again. */
const TYPES: Readonly<Record<string, number>> = { ifetch: FETCH, read: READ, write: WRITE };

export const drmemtrace: AccessFormatReader = (source, stats, lenient) => {
  const threads = new Map<string, number>();
  return eachLine(
    source,
    stats,
    lenient,
    (line, out) => {
      const parts = RECORD.exec(line);
      if (parts === null) return NO_RECORD.test(line) ? "ignored" : false;
      const kind = TYPES[parts[2] as string];
      if (kind === undefined) return "ignored";
      const address = hexAddress(parts[4] as string);
      const size = Number(parts[3]);
      if (!(address >= 0) || size < 1 || size > MAX_SIZE) return false;
      out.add(address, kind, size, numbered(threads, parts[1] as string, stats));
      return true;
    },
    () => "a record of drmemtrace's view tool: `RECORD INSTR: TID ifetch|read|write SIZE byte(s) @ 0xADDRESS ...`",
  );
};

/** Threads of one trace at most: far more than there are. */
const MAX_THREADS = 1 << 20;

/** The number of a thread by the order of appearance. */
function numbered(threads: Map<string, number>, name: string, stats: AccessStats): number {
  const known = threads.get(name);
  if (known !== undefined) return known;
  if (threads.size < MAX_THREADS) threads.set(name, threads.size);
  stats.threads = threads.size;
  return threads.size - 1;
}

// --- CSV ---------------------------------------------------------------------------------------------

const KINDS: Readonly<Record<string, number>> = {
  r: READ,
  read: READ,
  w: WRITE,
  write: WRITE,
  x: FETCH,
  fetch: FETCH,
  exec: FETCH,
};
/** vCPUs that a machine can have. */
const MAX_VCPUS = 64;

interface CsvColumns {
  readonly kind: number;
  readonly gpa: number;
  readonly vcpu: number;
  readonly size: number;
}

/** The columns that a header names; undefined if it is no header. */
export function csvHeader(line: string): CsvColumns | undefined {
  const names = line.split(",").map((name) => name.trim().toLowerCase());
  const at = (name: string) => names.indexOf(name);
  return at("kind") < 0 || at("gpa") < 0
    ? undefined
    : { kind: at("kind"), gpa: at("gpa"), vcpu: at("vcpu"), size: at("size") };
}

function csvNumber(text: string | undefined): number {
  const digits = (text ?? "").trim();
  if (/^0x/i.test(digits)) return hexAddress(digits.slice(2));
  return /^\d{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
}

export const csv: AccessFormatReader = (source, stats, lenient) => {
  let columns: CsvColumns | undefined;
  const read: ReadLine = (line, out) => {
    if (line.startsWith("#")) return "ignored";
    if (columns === undefined) {
      columns = csvHeader(line);
      return columns === undefined ? false : "ignored";
    }
    const fields = line.split(",");
    const kind = KINDS[(fields[columns.kind] ?? "").trim().toLowerCase()];
    const gpa = csvNumber(fields[columns.gpa]);
    const vcpu = columns.vcpu < 0 ? 0 : csvNumber(fields[columns.vcpu]);
    const size = columns.size < 0 ? 1 : csvNumber(fields[columns.size]);
    if (kind === undefined || !(gpa < 2 ** 52) || !(vcpu < MAX_VCPUS) || !(size >= 1 && size <= MAX_SIZE)) return false;
    out.add(gpa, kind, size, vcpu);
    stats.threads = Math.max(stats.threads, vcpu + 1);
    return true;
  };
  const expected = () =>
    columns === undefined
      ? "a header row with the columns kind and gpa, and vcpu, time, size where there are such"
      : "a row of the header's columns: kind r, w or x; gpa below 2^52; vcpu below 64";
  return eachLine(source, stats, lenient, read, expected);
};
