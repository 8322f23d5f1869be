import { ProtobufWriter } from "./protobuf.js";

/*
 * Traces for Perfetto. The numbers of the fields are those of Perfetto's public schema, protos/perfetto/trace: TracePacket,
 * TrackDescriptor, TrackEvent, DebugAnnotation, InternedData.
 */

const TRACE_PACKET = 1;
const PACKET = { TIMESTAMP: 8, SEQUENCE: 10, EVENT: 11, INTERNED: 12, FLAGS: 13, TRACK: 60 } as const;
const TRACK = { UUID: 1, NAME: 2, PARENT: 5, COUNTER: 8 } as const;
const COUNTER = { UNIT: 3, UNIT_NAME: 6 } as const;
const EVENT = {
  CATEGORY: 3,
  ANNOTATION: 4,
  TYPE: 9,
  NAME: 10,
  TRACK: 11,
  CATEGORY_TEXT: 22,
  NAME_TEXT: 23,
  COUNTER: 30,
  COUNTER_DOUBLE: 44,
  FLOW: 47,
  FLOW_END: 48,
} as const;
const ANNOTATION = { NAME: 1, BOOL: 2, INT: 4, DOUBLE: 5, STRING: 6, POINTER: 7, NAME_TEXT: 10 } as const;
const INTERNED = { CATEGORY: 1, NAME: 2, ANNOTATION: 3 } as const;
const NAMED = { ID: 1, NAME: 2 } as const;
const TYPE = { BEGIN: 1, END: 2, INSTANT: 3, COUNTER: 4 } as const;
const UNIT_COUNT = 2;
const FIRST_PACKET = 1;
const NEEDS_NAMES = 2;
/** All packets are of one sequence: the names that it has told once stay known. */
const SEQUENCE = 1;
/** What is gathered before it is handed on. */
const PIECE = 1 << 16;
/** Names of each kind that are told once and then referred to; others are written out each time. */
const MAX_NAMES = 4096;

/** Takes the bytes of a trace, in order. They are valid until the call returns. */
export interface ByteSink {
  /** Takes the next bytes. */
  write(bytes: Uint8Array): void;
}

/** An address in the arguments of a slice: Perfetto shows it in hex. */
export interface AddressArgument {
  /** The address. */
  readonly address: number | bigint;
}

/**
 * Arguments of a slice by name. Numbers are whole, or are written as doubles.
 *
 * @example
 * ```ts
 * import type { SliceArguments } from "granule/report";
 * const fault: SliceArguments = { ipa: { address: 0x4000_0000 }, write: true, level: 3 };
 * console.log(Object.keys(fault).length); // 3
 * ```
 */
export type SliceArguments = Readonly<Record<string, number | string | boolean | AddressArgument | undefined>>;

/** What may be said of a slice or a point in time. */
export interface SliceDetails {
  /** A word by which the events can be filtered. */
  readonly category?: string;
  /** Shown when the slice is chosen. */
  readonly args?: SliceArguments;
  /** Arrows that begin or go on here: {@link PerfettoWriter.flow} makes them. */
  readonly flows?: readonly number[];
  /** Arrows that end here. */
  readonly endingFlows?: readonly number[];
}

/** Kinds of interned names, each with numbers of its own. */
type NameKind = keyof typeof INTERNED;

/**
 * Writes a trace that the Perfetto UI opens: tracks with slices, points, arrows and counters. It is written as it is told, in
 * memory that does not grow with the trace. Times are nanoseconds; they may be told in any order, but on each track a slice ends
 * after the slices in it.
 *
 * @example
 * ```ts
 * import { PerfettoWriter } from "granule/report";
 *
 * const pieces: number[] = [];
 * const writer = new PerfettoWriter({ write: (bytes) => void pieces.push(bytes.length) });
 * const vcpu = writer.track("vCPU 0");
 * writer.begin(vcpu, 1000, "fault", { args: { ipa: { address: 0x4020_0000 }, level: 3 } });
 * writer.end(vcpu, 3500);
 * writer.finish();
 * console.log(pieces.length); // 1
 * ```
 */
export class PerfettoWriter {
  readonly #sink: ByteSink;
  readonly #proto = new ProtobufWriter();
  readonly #names: Readonly<Record<NameKind, Map<string, number>>> = {
    CATEGORY: new Map(),
    NAME: new Map(),
    ANNOTATION: new Map(),
  };
  #tracks = 0;
  #flows = 0;
  #packets = 0;

  /** @param sink - takes the bytes, some at a time */
  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  #packet(time: number | undefined): number {
    const p = this.#proto;
    if (p.length >= PIECE) this.#sink.write(p.take());
    const packet = p.begin(TRACE_PACKET);
    if (time !== undefined) p.uint(PACKET.TIMESTAMP, Math.max(0, Math.round(time)));
    p.uint(PACKET.SEQUENCE, SEQUENCE);
    p.uint(PACKET.FLAGS, this.#packets++ === 0 ? FIRST_PACKET : NEEDS_NAMES);
    return packet;
  }

  /** Makes a track, below another one if told; gives what the other methods take for it. */
  track(name: string, parent?: number): number {
    return this.#describe(name, parent, undefined);
  }

  /** Makes a track of a counter. The unit is shown beside its values. */
  counterTrack(name: string, unit = "", parent?: number): number {
    return this.#describe(name, parent, unit);
  }

  #describe(name: string, parent: number | undefined, unit: string | undefined): number {
    const p = this.#proto;
    const uuid = ++this.#tracks;
    const packet = this.#packet(undefined);
    const track = p.begin(PACKET.TRACK);
    p.uint(TRACK.UUID, uuid);
    p.string(TRACK.NAME, name);
    if (parent !== undefined) p.uint(TRACK.PARENT, parent);
    if (unit !== undefined) {
      const counter = p.begin(TRACK.COUNTER);
      if (unit === "") p.uint(COUNTER.UNIT, UNIT_COUNT);
      else p.string(COUNTER.UNIT_NAME, unit);
      p.end(counter);
    }
    p.end(track);
    p.end(packet);
    return uuid;
  }

  /** Makes an arrow, for the details of the events that it joins. */
  flow(): number {
    return ++this.#flows;
  }

  /** A slice begins. */
  begin(track: number, time: number, name: string, details: SliceDetails = {}): void {
    this.#event(TYPE.BEGIN, track, time, name, details);
  }

  /** The innermost slice of a track ends; what is only known now can be added. */
  end(track: number, time: number, details: SliceDetails = {}): void {
    this.#event(TYPE.END, track, time, undefined, details);
  }

  /** Something happens that takes no time. */
  instant(track: number, time: number, name: string, details: SliceDetails = {}): void {
    this.#event(TYPE.INSTANT, track, time, name, details);
  }

  /** A counter has this value from here on. */
  count(track: number, time: number, value: number): void {
    const p = this.#proto;
    const packet = this.#packet(time);
    const event = p.begin(PACKET.EVENT);
    p.uint(EVENT.TYPE, TYPE.COUNTER);
    p.uint(EVENT.TRACK, track);
    if (Number.isSafeInteger(value)) p.int(EVENT.COUNTER, value);
    else p.double(EVENT.COUNTER_DOUBLE, value);
    p.end(event);
    p.end(packet);
  }

  /** Hands on what is left. Nothing may be written after it. */
  finish(): void {
    if (this.#proto.length > 0) this.#sink.write(this.#proto.take());
  }

  #event(type: number, track: number, time: number, name: string | undefined, details: SliceDetails): void {
    const p = this.#proto;
    const { category, args = {}, flows = [], endingFlows = [] } = details;
    const packet = this.#packet(time);
    const told = Object.entries(args).filter(([, value]) => value !== undefined);
    this.#intern(name, category, told);
    const event = p.begin(PACKET.EVENT);
    p.uint(EVENT.TYPE, type);
    p.uint(EVENT.TRACK, track);
    if (name !== undefined) this.#name("NAME", name, EVENT.NAME, EVENT.NAME_TEXT);
    if (category !== undefined) this.#name("CATEGORY", category, EVENT.CATEGORY, EVENT.CATEGORY_TEXT);
    for (const [key, value] of told) this.#annotation(key, value);
    for (const flow of flows) p.fixed(EVENT.FLOW, flow);
    for (const flow of endingFlows) p.fixed(EVENT.FLOW_END, flow);
    p.end(event);
    p.end(packet);
  }

  /** Tells the names that this packet is the first to use. */
  #intern(name: string | undefined, category: string | undefined, args: readonly (readonly [string, unknown])[]): void {
    let data = -1;
    const tell = (kind: NameKind, text: string): void => {
      const names = this.#names[kind];
      if (names.has(text) || names.size >= MAX_NAMES) return;
      names.set(text, names.size + 1);
      if (data < 0) data = this.#proto.begin(PACKET.INTERNED);
      const entry = this.#proto.begin(INTERNED[kind]);
      this.#proto.uint(NAMED.ID, names.get(text) as number);
      this.#proto.string(NAMED.NAME, text);
      this.#proto.end(entry);
    };
    if (name !== undefined) tell("NAME", name);
    if (category !== undefined) tell("CATEGORY", category);
    for (const [key] of args) tell("ANNOTATION", key);
    if (data >= 0) this.#proto.end(data);
  }

  /** A name by its number, or written out. */
  #name(kind: NameKind, text: string, field: number, textField: number): void {
    const known = this.#names[kind].get(text);
    if (known === undefined) this.#proto.string(textField, text);
    else this.#proto.uint(field, known);
  }

  #annotation(key: string, value: SliceArguments[string]): void {
    const p = this.#proto;
    const annotation = p.begin(EVENT.ANNOTATION);
    this.#name("ANNOTATION", key, ANNOTATION.NAME, ANNOTATION.NAME_TEXT);
    if (typeof value === "boolean") p.uint(ANNOTATION.BOOL, value ? 1 : 0);
    else if (typeof value === "string") p.string(ANNOTATION.STRING, value);
    else if (typeof value === "number" && Number.isSafeInteger(value)) p.int(ANNOTATION.INT, value);
    else if (typeof value === "number") p.double(ANNOTATION.DOUBLE, value);
    else if (value !== undefined) p.big(ANNOTATION.POINTER, BigInt(value.address));
    p.end(annotation);
  }
}
