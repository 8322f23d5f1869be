import type { TraceEvent } from "../events.js";
import { type ByteSource, following, opening } from "../lines.js";
import type { TraceOptions } from "../tally.js";
import {
  damaged,
  FieldReader,
  inMemory,
  type RandomAccess,
  stringOf,
  truncated,
  unsupported,
  viewOf,
} from "./bytes.js";
import { PerfRecords } from "./perf-records.js";
import { type Chunks, type Events, type OpenedFile, type OpenRecording, randomAccess } from "./source.js";

/*
 * perf.data, as tools/perf/Documentation/perf.data-file-format.txt describes it. A file has a header that points to the kinds of
 * events, the records, and behind them to the formats of the tracepoints. In pipe mode all of these are records themselves, in the
 * order in which they are needed.
 */

const PIPE_HEADER = 16;
const FILE_HEADER = 104;
const TRACING_DATA = 1;
const SECTION = 16;
const MAX_ATTRS = 1 << 16;
/** What is read of the records at once. */
const READ_BYTES = 1 << 18;

/** Places and sizes that the header of a file has. */
interface Sections {
  readonly attrs: { readonly at: number; readonly size: number };
  readonly attrSize: number;
  readonly data: { readonly at: number; readonly size: number };
  readonly features: number;
}

function refuseOthers(magic: string): void {
  if (magic === "PERFFILE") throw unsupported("this perf.data is of version 1, which perf wrote before Linux 2.6.38");
  if (magic !== "PERFILE2") {
    throw unsupported("this perf.data was recorded on a big-endian machine: only little-endian ones can be read");
  }
}

async function readSections(file: RandomAccess): Promise<Sections> {
  const reader = new FieldReader(file);
  reader.skip(8, "the header");
  const size = await reader.u64("the size of the header");
  if (size < FILE_HEADER) throw damaged(8, `a header of ${size} bytes`);
  const attrSize = await reader.u64("the size of an event");
  const attrs = { at: await reader.u64("the events"), size: await reader.u64("the events") };
  const data = { at: await reader.u64("the records"), size: await reader.u64("the records") };
  reader.skip(SECTION, "the header");
  return { attrs, attrSize, data, features: await reader.u32("the features") };
}

async function readAttrs(file: RandomAccess, { attrs, attrSize }: Sections, records: PerfRecords): Promise<void> {
  if (attrSize < SECTION || attrs.size / attrSize > MAX_ATTRS) throw damaged(attrs.at, "no list of events");
  const reader = new FieldReader(file, attrs.at, attrs.at + attrs.size);
  while (reader.left >= attrSize) {
    const { offset } = reader;
    const bytes = await reader.take(attrSize, "an event");
    const section = new FieldReader(inMemory(bytes), attrSize - SECTION, attrSize, offset);
    const at = await section.u64("the numbers of an event");
    const size = await section.u64("the numbers of an event");
    const ids = new FieldReader(file, at, at + size);
    records.addAttr(bytes.slice(0, attrSize - SECTION), await ids.take(size, "the numbers of an event"), offset);
  }
}

/** The formats of the tracepoints: the first of the features, whose places stand behind the records. */
async function readFormats(file: RandomAccess, { data, features }: Sections, records: PerfRecords): Promise<void> {
  if (!(features & (1 << TRACING_DATA))) {
    throw unsupported("this perf.data has no formats of tracepoints: record events such as kvm:* with perf record -e");
  }
  const reader = new FieldReader(file, data.at + data.size);
  const at = await reader.u64("the formats of the tracepoints");
  const size = await reader.u64("the formats of the tracepoints");
  await records.addFormats(new FieldReader(file, at, at + size));
}

async function* pieces(file: RandomAccess, { data }: Sections): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = data.at; at < data.at + data.size; at += READ_BYTES) {
    const length = Math.min(READ_BYTES, data.at + data.size - at);
    const bytes = await file.read(at, length);
    if (bytes.length < length) throw truncated(at + bytes.length, "the samples");
    yield bytes;
  }
}

async function* eventsOf(chunks: AsyncIterable<Uint8Array>, at: number, records: PerfRecords): Events {
  let offset = at;
  for await (const chunk of chunks) {
    yield* records.push(chunk, offset);
    offset += chunk.length;
  }
  yield* records.end(offset);
}

async function openFile(file: OpenedFile, records: PerfRecords): Promise<Events> {
  const sections = await readSections(file);
  const { at, size } = sections.data;
  if (size === 0) throw truncated(at, "its header, which has no size: perf record was killed, or is not done yet");
  if (at + size > file.size) throw truncated(file.size, "the samples");
  await readAttrs(file, sections, records);
  await readFormats(file, sections, records);
  return eventsOf(pieces(file, sections), at, records);
}

/** The chunks behind the header. */
async function* behind(first: Uint8Array, chunks: Chunks): Chunks {
  try {
    yield first.subarray(PIPE_HEADER);
    yield* chunks;
  } finally {
    await chunks.return();
  }
}

/** Opens perf.data, of a file or in pipe mode. `chunks` are its bytes from the beginning. */
export async function openPerf(source: ByteSource, chunks: Chunks, options: TraceOptions): Promise<OpenRecording> {
  const first = await opening(chunks, PIPE_HEADER);
  if (first.length < PIPE_HEADER) throw truncated(first.length, "the header");
  refuseOthers(stringOf(first.subarray(0, 8)));
  const records = new PerfRecords(options);
  const recording = (events: AsyncGenerator<TraceEvent[], void, undefined>, close: () => Promise<void>) => ({
    events,
    get stats() {
      return records.stats;
    },
    close,
  });
  if (viewOf(first).getUint32(8, true) === PIPE_HEADER) {
    const body = behind(first, chunks);
    return recording(eventsOf(body, PIPE_HEADER, records), async () => void (await body.return()));
  }
  const file = await randomAccess(source, following(first, chunks));
  try {
    return recording(await openFile(file, records), () => file.close());
  } catch (error) {
    await file.close();
    throw error;
  }
}
