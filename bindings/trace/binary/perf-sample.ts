import { damaged, unsupported, viewOf, wordAt } from "./bytes.js";

/*
 * Where a sample of perf has what: a sequence of fields, each there if a bit of `sample_type` says so. Other records end with some
 * of the same fields if `sample_id_all` is set. The bits are those of linux/perf_event.h.
 */

const SAMPLE = {
  IP: 1 << 0,
  TID: 1 << 1,
  TIME: 1 << 2,
  ADDR: 1 << 3,
  READ: 1 << 4,
  CALLCHAIN: 1 << 5,
  ID: 1 << 6,
  CPU: 1 << 7,
  PERIOD: 1 << 8,
  STREAM_ID: 1 << 9,
  RAW: 1 << 10,
  IDENTIFIER: 1 << 16,
} as const;
const READ = { TIME_ENABLED: 1, TIME_RUNNING: 2, ID: 4, GROUP: 8, LOST: 16 } as const;
const SAMPLE_ID_ALL = 1 << 18;
const ABSENT = -1;
const WORD = 8;
/** The fields of `struct perf_event_attr` that are read. */
const ATTR = { SIZE: 4, SAMPLE_TYPE: 24, READ_FORMAT: 32, FLAGS: 40, LEAST: 48 } as const;

/** Fields of all samples, in their order. */
const FIXED = ["IDENTIFIER", "IP", "TID", "TIME", "ADDR", "ID", "STREAM_ID", "CPU", "PERIOD"] as const;
/** Fields at the end of other records, in their order. */
const TRAILER = ["TID", "TIME", "ID", "STREAM_ID", "CPU", "IDENTIFIER"] as const;

/** What is read of a sample. */
export class Sample {
  time = 0;
  cpu = -1;
  tid = -1;
  /** The record of the tracepoint; no bytes where the sample is of something else. */
  rawAt = 0;
  rawLength = 0;
}

/** The layout of the samples of one kind of event. */
export class SampleLayout {
  readonly type: number;
  readonly readFormat: number;
  readonly idAll: boolean;
  readonly #tid: number;
  readonly #time: number;
  readonly #cpu: number;
  /** Bytes of the fixed fields. */
  readonly #fixed: number;
  readonly #trailer: number;
  readonly #trailerTime: number;
  readonly #trailerCpu: number;

  /** @param attr - `struct perf_event_attr` */
  constructor(attr: Uint8Array, offset: number) {
    if (attr.length < ATTR.LEAST) throw damaged(offset, `an event of ${attr.length} bytes`);
    const view = viewOf(attr);
    if (view.getUint32(ATTR.SAMPLE_TYPE + 4, true) !== 0) throw unsupported("samples with unknown fields", offset);
    this.type = view.getUint32(ATTR.SAMPLE_TYPE, true);
    this.readFormat = view.getUint32(ATTR.READ_FORMAT, true);
    this.idAll = (view.getUint32(ATTR.FLAGS, true) & SAMPLE_ID_ALL) !== 0;
    const at = (order: readonly (keyof typeof SAMPLE)[], field: keyof typeof SAMPLE): number => {
      const before = order.slice(0, order.indexOf(field)).filter((one) => this.has(SAMPLE[one]));
      return this.has(SAMPLE[field]) ? before.length * WORD : ABSENT;
    };
    const length = (order: readonly (keyof typeof SAMPLE)[]) =>
      order.filter((one) => this.has(SAMPLE[one])).length * WORD;
    this.#tid = at(FIXED, "TID");
    this.#time = at(FIXED, "TIME");
    this.#cpu = at(FIXED, "CPU");
    this.#fixed = length(FIXED);
    this.#trailer = this.idAll ? length(TRAILER) : 0;
    this.#trailerTime = this.idAll ? at(TRAILER, "TIME") : ABSENT;
    this.#trailerCpu = this.idAll ? at(TRAILER, "CPU") : ABSENT;
  }

  has(bit: number): boolean {
    return (this.type & bit) !== 0;
  }

  /** Do samples begin with the number of their event? */
  get identified(): boolean {
    return this.has(SAMPLE.IDENTIFIER);
  }

  /** Are the samples of both laid out alike? */
  alike(other: SampleLayout): boolean {
    return this.type === other.type && this.readFormat === other.readFormat && this.idAll === other.idAll;
  }

  /** The time of the sample whose fields begin at `at`; 0 where samples have none. */
  timeOf(view: DataView, at: number, end: number, offset: number): number {
    if (at + this.#fixed > end) throw damaged(offset, "a sample without its fields");
    return this.#time === ABSENT ? 0 : wordAt(view, at + this.#time);
  }

  /** The time of another record, which ends at `end`. */
  trailerTime(view: DataView, at: number, end: number): number {
    const from = end - this.#trailer;
    return this.#trailerTime === ABSENT || from < at ? 0 : wordAt(view, from + this.#trailerTime);
  }

  /** The CPU of another record; -1 where it does not say. */
  trailerCpu(view: DataView, at: number, end: number): number {
    const from = end - this.#trailer;
    return this.#trailerCpu === ABSENT || from < at ? -1 : view.getUint32(from + this.#trailerCpu, true);
  }

  /** Reads the sample whose fields begin at `at`. */
  read(view: DataView, at: number, end: number, offset: number, into: Sample): void {
    into.time = this.timeOf(view, at, end, offset);
    into.tid = this.#tid === ABSENT ? -1 : view.getInt32(at + this.#tid + 4, true);
    into.cpu = this.#cpu === ABSENT ? -1 : view.getUint32(at + this.#cpu, true);
    into.rawLength = 0;
    if (!this.has(SAMPLE.RAW)) return;
    let next = at + this.#fixed;
    if (this.has(SAMPLE.READ)) next += this.#readBytes(view, next, end, offset);
    if (this.has(SAMPLE.CALLCHAIN)) next += WORD * (1 + this.#count(view, next, end, offset));
    if (next + 4 > end) throw damaged(offset, "a sample without the record of its tracepoint");
    into.rawLength = view.getUint32(next, true);
    into.rawAt = next + 4;
    if (into.rawAt + into.rawLength > end) throw damaged(offset, "the record of a tracepoint that leaves its sample");
  }

  /** A number of words that follow. */
  #count(view: DataView, at: number, end: number, offset: number): number {
    const count = at + WORD > end ? Number.POSITIVE_INFINITY : wordAt(view, at);
    if (at + WORD * (1 + count) > end) throw damaged(offset, "a sample that leaves its record");
    return count;
  }

  /** Bytes of the values of counters. */
  #readBytes(view: DataView, at: number, end: number, offset: number): number {
    const has = (bit: number): number => (this.readFormat & bit ? 1 : 0);
    const times = has(READ.TIME_ENABLED) + has(READ.TIME_RUNNING);
    const value = 1 + has(READ.ID) + has(READ.LOST);
    if (!has(READ.GROUP)) return WORD * (times + value);
    return WORD * (1 + times + value * this.#count(view, at, end, offset));
  }
}

/** Bytes of an event's description that stand before its numbers. */
export function attrBytes(view: DataView, at: number): number {
  return view.getUint32(at + ATTR.SIZE, true);
}
