import { TraceInputError } from "../errors.js";
import type { TraceEvent } from "../events.js";
import type { TraceOptions, TraceStats } from "../tally.js";
import {
  concatenated,
  damaged,
  FieldReader,
  inMemory,
  stringOf,
  truncated,
  unsupported,
  viewOf,
  wordAt,
} from "./bytes.js";
import { type EventLayout, readFtraceLayouts, readPageLayout, readSystemLayouts } from "./layout.js";
import { BATCH } from "./merge.js";
import { attrBytes, Sample, SampleLayout } from "./perf-sample.js";
import { RecordParser } from "./records.js";
import { zstdStream } from "./unpack.js";

/** Kinds of records: those of the kernel, and from 64 on those of perf itself. */
const RECORD = {
  LOST: 2,
  COMM: 3,
  FORK: 7,
  SAMPLE: 9,
  LOST_SAMPLES: 13,
  ATTR: 64,
  TRACING_DATA: 66,
  FINISHED_ROUND: 68,
  AUXTRACE: 71,
  COMPRESSED: 81,
  COMPRESSED2: 83,
} as const;
/** Those that take their turn by time. */
const ORDERED: ReadonlySet<number> = new Set([
  RECORD.SAMPLE,
  RECORD.COMM,
  RECORD.FORK,
  RECORD.LOST,
  RECORD.LOST_SAMPLES,
]);

const HEAD = 8;
/** A record has at most 64 KiB, and behind one of formats there are some megabytes. */
const MAX_FORMATS = 1 << 28;
/** Records that may wait for the end of their round: far more than perf keeps. */
const MAX_WAITING = 1 << 22;
/** Names of threads that are kept. */
const MAX_TASKS = 1 << 20;
const NO_BYTES = new Uint8Array(0);

/** Records that wait until no earlier one can come. */
class Waiting {
  times: number[] = [];
  views: DataView[] = [];
  places: number[] = [];
  offsets: number[] = [];
  #last = 0;
  #sorted = true;

  add(time: number, view: DataView, at: number, offset: number): void {
    if (this.times.length >= MAX_WAITING) {
      const hint = "perf marks the end of a round after some thousands";
      throw new TraceInputError("too-long", `more than ${MAX_WAITING} records in one round: ${hint}`, { offset });
    }
    if (time < this.#last) this.#sorted = false;
    this.#last = time;
    this.times.push(time);
    this.views.push(view);
    this.places.push(at);
    this.offsets.push(offset);
  }

  /** The order in which those up to a time are taken. The others stay. */
  take(limit: number): { readonly order: readonly number[]; readonly from: Waiting } {
    const from = new Waiting();
    Object.assign(from, { times: this.times, views: this.views, places: this.places, offsets: this.offsets });
    const order: number[] = [];
    const rest: number[] = [];
    for (let i = 0; i < this.times.length; i++) ((this.times[i] as number) <= limit ? order : rest).push(i);
    if (!this.#sorted) order.sort((a, b) => (from.times[a] as number) - (from.times[b] as number) || a - b);
    this.times = rest.map((i) => from.times[i] as number);
    this.views = rest.map((i) => from.views[i] as DataView);
    this.places = rest.map((i) => from.places[i] as number);
    this.offsets = rest.map((i) => from.offsets[i] as number);
    return { order, from };
  }
}

/** A stream of records in pieces: that of the file, or what its compressed records hold. */
class Lane {
  /** The beginning of a record that goes on in the next piece. */
  carried: Uint8Array = NO_BYTES;
  /** Bytes behind a record that are skipped, or gathered for its formats. */
  skip = 0;
  formats: { readonly size: number; readonly pieces: Uint8Array[] } | undefined;
  readonly packed: boolean;

  constructor(packed: boolean) {
    this.packed = packed;
  }

  /** The next bytes behind those that were carried, and where in the file they begin. */
  joined(bytes: Uint8Array, offset: number): readonly [data: Uint8Array, origin: number] {
    const { carried, packed } = this;
    if (carried.length === 0) return [bytes, offset];
    const data = new Uint8Array(carried.length + bytes.length);
    data.set(carried);
    data.set(bytes, carried.length);
    this.carried = NO_BYTES;
    return [data, packed ? offset : offset - carried.length];
  }

  /** Did the input end inside a record? */
  get open(): boolean {
    return this.carried.length > 0 || this.skip > 0 || this.formats !== undefined;
  }
}

/** Turns the records of perf.data into events. */
export class PerfRecords {
  readonly #options: TraceOptions;
  readonly #sample = new Sample();
  readonly #layouts: SampleLayout[] = [];
  readonly #byId = new Map<number, SampleLayout>();
  readonly #tasks = new Map<number, string>([[0, "swapper"]]);
  readonly #waiting = new Waiting();
  #parser: RecordParser;
  #alike = true;
  /** The latest time, now and at the end of the last round: nothing earlier than that comes any more. */
  #latest = 0;
  #settled = 0;
  readonly #file = new Lane(false);
  readonly #unpacked = new Lane(true);
  #unpack: ((packed: Uint8Array, offset: number) => Uint8Array) | undefined;

  constructor(options: TraceOptions) {
    this.#options = options;
    this.#parser = this.#parserOf([]);
  }

  get stats(): TraceStats {
    return this.#parser.tally.stats;
  }

  #parserOf(layouts: readonly EventLayout[]): RecordParser {
    return new RecordParser(layouts, this.#options, (tid) => this.#tasks.get(tid) ?? `:${tid}`);
  }

  /** Takes the description of an event, and the numbers that its samples have. */
  addAttr(attr: Uint8Array, ids: Uint8Array, offset: number): void {
    const layout = new SampleLayout(attr, offset);
    const view = viewOf(ids);
    for (let at = 0; at + 8 <= ids.length; at += 8) this.#byId.set(wordAt(view, at), layout);
    this.#layouts.push(layout);
    this.#alike = this.#layouts.every((one) => one.alike(layout));
    if (!this.#alike && !this.#layouts.every((one) => one.identified)) {
      throw unsupported("events whose samples differ and do not say which they are", offset);
    }
  }

  /** Takes the formats of the tracepoints. */
  async addFormats(reader: FieldReader): Promise<void> {
    const layouts: EventLayout[] = [];
    reader.skip(10, "the formats of the tracepoints");
    await reader.string("the version of the formats");
    if ((await reader.u8("the byte order")) !== 0) throw unsupported("formats of a big-endian machine", reader.offset);
    reader.skip(5, "the formats of the tracepoints");
    await readPageLayout(reader);
    await readFtraceLayouts(reader, layouts);
    await readSystemLayouts(reader, layouts);
    this.#parser = this.#parserOf(layouts);
  }

  /** Takes the next bytes; `offset` is their place in the file. */
  push(bytes: Uint8Array, offset: number): AsyncGenerator<TraceEvent[], void, undefined> {
    return this.#take(this.#file, bytes, offset);
  }

  async *#take(lane: Lane, bytes: Uint8Array, offset: number): AsyncGenerator<TraceEvent[], void, undefined> {
    const [data, origin] = lane.joined(bytes, offset);
    const place = (at: number): number => (lane.packed ? offset : origin + at);
    const view = viewOf(data);
    let at = 0;
    for (;;) {
      if (lane.skip > 0) at = await this.#pass(lane, data, at);
      if (at + HEAD > data.length) break;
      const size = view.getUint16(at + 6, true);
      if (size < HEAD) throw damaged(place(at), `a record of ${size} bytes`);
      if (at + size > data.length) break;
      const type = view.getUint32(at, true);
      if (ORDERED.has(type)) this.#waiting.add(this.#timeOf(type, view, at, size, place(at)), view, at, place(at));
      else if (type === RECORD.FINISHED_ROUND) yield* this.#round();
      else yield* this.#special(lane, type, data.subarray(at, at + size), place(at));
      at += size;
    }
    lane.carried = data.slice(at);
  }

  /** Ends the input: what waits is given. */
  async *end(offset: number): AsyncGenerator<TraceEvent[], void, undefined> {
    if (this.#file.open || this.#unpacked.open) throw truncated(offset, "a record");
    yield* this.#flush(Number.POSITIVE_INFINITY);
  }

  /** Goes past bytes that follow a record: they are skipped, or are formats. */
  async #pass(lane: Lane, data: Uint8Array, at: number): Promise<number> {
    const length = Math.min(lane.skip, data.length - at);
    lane.formats?.pieces.push(data.slice(at, at + length));
    lane.skip -= length;
    if (lane.skip === 0 && lane.formats !== undefined) {
      const { pieces, size } = lane.formats;
      lane.formats = undefined;
      await this.addFormats(new FieldReader(inMemory(concatenated(pieces).subarray(0, size))));
    }
    return at + length;
  }

  #timeOf(type: number, view: DataView, at: number, size: number, offset: number): number {
    const first = this.#layouts[0];
    if (first === undefined) throw damaged(offset, "a record before the description of its event");
    const time =
      type === RECORD.SAMPLE
        ? this.#layoutOf(view, at + HEAD, at + size, offset).timeOf(view, at + HEAD, at + size, offset)
        : first.trailerTime(view, at + HEAD, at + size);
    if (time > this.#latest) this.#latest = time;
    return time;
  }

  #layoutOf(view: DataView, at: number, end: number, offset: number): SampleLayout {
    if (this.#alike) return this.#layouts[0] as SampleLayout;
    const layout = at + 8 > end ? undefined : this.#byId.get(wordAt(view, at));
    if (layout === undefined) throw damaged(offset, "a sample of an event that is not described");
    return layout;
  }

  /** The end of a round: what is not later than the end of the round before is in order now. */
  *#round(): Generator<TraceEvent[], void, undefined> {
    yield* this.#flush(this.#settled);
    this.#settled = this.#latest;
  }

  *#flush(limit: number): Generator<TraceEvent[], void, undefined> {
    const { order, from } = this.#waiting.take(limit);
    let batch: TraceEvent[] = [];
    for (const i of order) {
      const event = this.#event(from.views[i] as DataView, from.places[i] as number, from.offsets[i] as number);
      if (event !== undefined && batch.push(event) >= BATCH) {
        yield batch;
        batch = [];
      }
    }
    if (batch.length > 0) yield batch;
  }

  #event(view: DataView, at: number, offset: number): TraceEvent | undefined {
    const type = view.getUint32(at, true);
    const end = at + view.getUint16(at + 6, true);
    if (type === RECORD.SAMPLE) return this.#sampled(view, at + HEAD, end, offset);
    if (type === RECORD.COMM || type === RECORD.FORK) this.#named(type, view, at + HEAD, end, offset);
    else return this.#lost(type, view, at + HEAD, end, offset);
  }

  #sampled(view: DataView, at: number, end: number, offset: number): TraceEvent | undefined {
    const s = this.#sample;
    this.#layoutOf(view, at, end, offset).read(view, at, end, offset, s);
    if (s.rawLength > 0) return this.#parser.event(view, s.rawAt, s.rawLength, offset, s.time, s.cpu, s.tid);
    this.#parser.tally.entry("(samples of no tracepoint)").count++;
  }

  /** A thread's name: its own, or at first its parent's. */
  #named(type: number, view: DataView, at: number, end: number, offset: number): void {
    if (at + 16 > end) throw damaged(offset, "a record of a thread that is too short");
    const tid = view.getUint32(at + (type === RECORD.FORK ? 8 : 4), true);
    const name =
      type === RECORD.FORK
        ? this.#tasks.get(view.getUint32(at + 12, true))
        : stringOf(new Uint8Array(view.buffer, view.byteOffset + at + 8, end - at - 8));
    if (name === undefined || (this.#tasks.size >= MAX_TASKS && !this.#tasks.has(tid))) return;
    this.#tasks.set(tid, name);
    this.#parser.renamed();
  }

  #lost(type: number, view: DataView, at: number, end: number, offset: number): TraceEvent {
    const word = at + (type === RECORD.LOST ? 8 : 0);
    if (word + 8 > end) throw damaged(offset, "a record of a loss that is too short");
    const cpu = (this.#layouts[0] as SampleLayout).trailerCpu(view, at, end);
    return this.#parser.lost(cpu, wordAt(view, word));
  }

  /** Records that are not ordered: descriptions, formats, and compressed pieces. */
  async *#special(
    lane: Lane,
    type: number,
    record: Uint8Array,
    offset: number,
  ): AsyncGenerator<TraceEvent[], void, undefined> {
    const view = viewOf(record);
    const need = (bytes: number): void => {
      if (record.length < HEAD + bytes) throw damaged(offset, "a record that is too short");
    };
    if (type === RECORD.ATTR) {
      need(8);
      const size = attrBytes(view, HEAD);
      need(size);
      this.addAttr(record.slice(HEAD, HEAD + size), record.slice(HEAD + size), offset);
    } else if (type === RECORD.TRACING_DATA) {
      need(4);
      const size = view.getUint32(HEAD, true);
      if (size > MAX_FORMATS) throw damaged(offset, `formats of ${size} bytes`);
      lane.skip = (size + 7) & ~7;
      lane.formats = { size, pieces: [] };
    } else if (type === RECORD.AUXTRACE) {
      need(8);
      lane.skip = wordAt(view, HEAD);
    } else if (type === RECORD.COMPRESSED || type === RECORD.COMPRESSED2) {
      if (lane.packed) throw damaged(offset, "compressed records in compressed records");
      need(8);
      const from = type === RECORD.COMPRESSED ? HEAD : HEAD + 8;
      const length = type === RECORD.COMPRESSED ? record.length - from : wordAt(view, HEAD);
      if (from + length > record.length) throw damaged(offset, "compressed data that leaves its record");
      this.#unpack ??= await zstdStream();
      yield* this.#take(this.#unpacked, this.#unpack(record.subarray(from, from + length), offset), offset);
    }
  }
}
