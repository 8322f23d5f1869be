// Reads what PerfettoWriter wrote with protobufjs and the messages of Perfetto's public schema, and checks what Perfetto demands.

import { readFileSync } from "node:fs";
import protobuf from "protobufjs";
import { expect } from "vitest";

const SCHEMA = readFileSync(new URL("../report/fixtures/perfetto.proto", import.meta.url), "utf8");
const { root } = protobuf.parse(SCHEMA, { keepCase: true });
const TRACE = root.lookupType("perfetto.protos.Trace");

/** One event, with its names in place of numbers. */
export interface ReadEvent {
  readonly type: "begin" | "end" | "instant" | "counter";
  readonly track: string;
  readonly time: number;
  readonly name?: string;
  readonly category?: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly flows: readonly number[];
  readonly ends: readonly number[];
  readonly value?: number;
}

/** What a trace holds. */
export interface ReadTimeline {
  /** Tracks as paths from the outermost one: `vCPUs/vCPU kvmt-7`. */
  readonly tracks: readonly string[];
  readonly counters: ReadonlySet<string>;
  /** In the order of their times, as Perfetto sorts them. */
  readonly events: readonly ReadEvent[];
}

interface Named {
  readonly iid: number;
  readonly name: string;
}

interface Packet {
  readonly timestamp?: number;
  readonly trusted_packet_sequence_id: number;
  readonly sequence_flags: number;
  readonly interned_data?: Readonly<Record<string, readonly Named[]>>;
  readonly track_descriptor?: {
    readonly uuid: number;
    readonly name: string;
    readonly parent_uuid?: number;
    readonly counter?: object;
  };
  readonly track_event?: {
    readonly type: number;
    readonly track_uuid: number;
    readonly name_iid?: number;
    readonly name?: string;
    readonly category_iids?: readonly number[];
    readonly categories?: readonly string[];
    readonly debug_annotations?: readonly Readonly<Record<string, unknown>>[];
    readonly flow_ids?: readonly number[];
    readonly terminating_flow_ids?: readonly number[];
    readonly counter_value?: number;
    readonly double_counter_value?: number;
  };
}

const WIRE: Readonly<Record<string, number>> = {
  uint64: 0,
  uint32: 0,
  int64: 0,
  bool: 0,
  fixed64: 1,
  double: 1,
  string: 2,
};

/** What `expect` would say, without its cost: a trace has a million fields. */
function demand(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`not so: ${what}`);
}

/** Every field of the bytes is one of the schema, with the wire type that its type has. */
function checkFields(bytes: Uint8Array, type: protobuf.Type): void {
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const field = type.fieldsById[tag >>> 3];
    demand(field !== undefined, `field ${tag >>> 3} of ${type.name} is known`);
    const resolved = field.resolve().resolvedType;
    const message = resolved instanceof protobuf.Type;
    const wire = message ? 2 : resolved ? 0 : WIRE[field.type];
    demand((tag & 7) === wire, `${type.name}.${field.name} has wire type ${wire}`);
    if (message) checkFields(reader.bytes(), resolved);
    else reader.skipType(tag & 7);
  }
}

/** Slices of a track are nested, each ends, and none ends twice. */
function checkNesting(events: readonly ReadEvent[]): void {
  const depth = new Map<string, number>();
  for (const { type, track } of events) {
    const now = (depth.get(track) ?? 0) + (type === "begin" ? 1 : type === "end" ? -1 : 0);
    demand(now >= 0, `slices of ${track} end once`);
    depth.set(track, now);
  }
  expect([...depth].filter(([, open]) => open !== 0)).toEqual([]);
}

/** Arrows begin before they end. */
function checkFlows(events: readonly ReadEvent[]): void {
  const begun = new Set<number>();
  for (const { flows, ends } of events) {
    for (const flow of ends) demand(begun.delete(flow), `flow ${flow} begins before it ends`);
    for (const flow of flows) begun.add(flow);
  }
}

const TYPES = ["", "begin", "end", "instant", "counter"] as const;

function pathOf(uuid: number, tracks: ReadonlyMap<number, NonNullable<Packet["track_descriptor"]>>): string {
  const track = tracks.get(uuid);
  demand(track !== undefined, `track ${uuid} is described`);
  const { name = "", parent_uuid: parent } = track;
  return parent === undefined ? name : `${pathOf(parent, tracks)}/${name}`;
}

/** Reads a trace, and checks its form: fields, sequence, names, tracks, nesting and arrows. */
export function readPerfetto(bytes: Uint8Array): ReadTimeline {
  checkFields(bytes, TRACE);
  const { packet: packets } = TRACE.toObject(TRACE.decode(bytes), { longs: Number }) as { packet: Packet[] };
  const names: Record<string, Map<number, string>> = {};
  const tracks = new Map<number, NonNullable<Packet["track_descriptor"]>>();
  const events: ReadEvent[] = [];
  for (const [i, packet] of packets.entries()) {
    demand(packet.trusted_packet_sequence_id === 1 && packet.sequence_flags === (i === 0 ? 1 : 2), "one sequence");
    for (const [kind, told] of Object.entries(packet.interned_data ?? {})) {
      names[kind] ??= new Map();
      for (const { iid, name } of told) {
        demand(!names[kind].has(iid), `${kind} ${iid} is told once`);
        names[kind].set(iid, name);
      }
    }
    const { track_descriptor: track, track_event: event } = packet;
    if (track !== undefined) tracks.set(track.uuid, track);
    if (event === undefined) continue;
    const nameOf = (kind: string, iid: number | undefined, text: string | undefined) => {
      if (iid === undefined) return text;
      demand(names[kind]?.has(iid) === true, `${kind} ${iid} is known`);
      return names[kind]?.get(iid);
    };
    const args = (event.debug_annotations ?? []).map((one) => {
      const [value] = Object.entries(one).filter(([key]) => key.endsWith("_value"));
      return [nameOf("debug_annotation_names", one.name_iid as number, one.name as string), value?.[1]] as const;
    });
    const name = nameOf("event_names", event.name_iid, event.name);
    const category = nameOf("event_categories", event.category_iids?.[0], event.categories?.[0]);
    const value = event.counter_value ?? event.double_counter_value;
    events.push({
      type: TYPES[event.type] as ReadEvent["type"],
      track: pathOf(event.track_uuid, tracks),
      time: packet.timestamp as number,
      args: Object.fromEntries(args),
      flows: event.flow_ids ?? [],
      ends: event.terminating_flow_ids ?? [],
      ...(name === undefined ? {} : { name }),
      ...(category === undefined ? {} : { category }),
      ...(value === undefined ? {} : { value }),
    });
  }
  const sorted = events.map((event, i) => ({ event, i })).sort((a, b) => a.event.time - b.event.time || a.i - b.i);
  const inOrder = sorted.map(({ event }) => event);
  const counters = new Set([...tracks].filter(([, { counter }]) => counter).map(([uuid]) => pathOf(uuid, tracks)));
  for (const { type, track } of inOrder) demand((type === "counter") === counters.has(track), `${track} has its kind`);
  checkNesting(inOrder);
  checkFlows(inOrder);
  return { tracks: [...tracks.keys()].map((uuid) => pathOf(uuid, tracks)), counters, events: inOrder };
}

/** A sink that keeps the bytes, and how many came at once. */
export class KeptBytes {
  readonly #pieces: Uint8Array[] = [];
  largest = 0;

  write(bytes: Uint8Array): void {
    this.#pieces.push(bytes.slice());
    this.largest = Math.max(this.largest, bytes.length);
  }

  get bytes(): Uint8Array {
    return Buffer.concat(this.#pieces);
  }
}
