import { damaged, type FieldReader } from "./bytes.js";

/*
 * The formats of events, as the kernel writes them under events/SYSTEM/EVENT/format and as recorders copy them into their
 * files. Which fields an event has, and where, is read from there: it differs from kernel to kernel.
 */

/** Where a field of a record lies. */
export interface FieldLayout {
  readonly offset: number;
  /** Bytes; 0 for an array that fills the record. */
  readonly size: number;
  readonly signed: boolean;
  /** A word that says where in the record the data lies: its distance in the low half, its size in the high one. */
  readonly dynamic: "no" | "absolute" | "relative";
}

/** The format of one event. */
export interface EventLayout {
  readonly id: number;
  readonly name: string;
  readonly fields: ReadonlyMap<string, FieldLayout>;
  /** How the kernel prints it. */
  readonly print: string;
}

const MAX_SYSTEMS = 1 << 16;
const MAX_EVENTS = 1 << 16;
const MAX_RECORD = 1 << 24;
const DECODER = new TextDecoder();
const FIELD = /^\s*field:([^;]{1,512});\s*offset:(\d{1,9});\s*size:(\d{1,9});(?:\s*signed:(-?\d))?/;
const NAME = /([A-Za-z_]\w*)\s*(?:\[[^\]]*\])?\s*$/;

/** The fields of a format, or of `header_page`. */
export function fieldsOf(text: string): Map<string, FieldLayout> {
  const fields = new Map<string, FieldLayout>();
  for (const line of text.split("\n")) {
    const [, declared = "", offset, size, signed] = FIELD.exec(line) ?? [];
    const name = NAME.exec(declared)?.[1];
    if (name === undefined || Number(offset) + Number(size) > MAX_RECORD) continue;
    const dynamic = /__rel_loc\b/.test(declared) ? "relative" : /__data_loc\b/.test(declared) ? "absolute" : "no";
    fields.set(name, { offset: Number(offset), size: Number(size), signed: signed === "1", dynamic });
  }
  return fields;
}

/** One format; undefined where it is none. */
export function parseLayout(text: string): EventLayout | undefined {
  const name = /^name:\s*(\S{1,256})/m.exec(text)?.[1];
  const id = /^ID:\s*(\d{1,5})/m.exec(text)?.[1];
  if (name === undefined || id === undefined) return undefined;
  const print = text.indexOf("print fmt:");
  return {
    id: Number(id),
    name,
    fields: fieldsOf(print < 0 ? text : text.slice(0, print)),
    print: print < 0 ? "" : text.slice(print),
  };
}

async function layout(reader: FieldReader, found: EventLayout[]): Promise<void> {
  const size = await reader.u64("the size of an event's format");
  const parsed = parseLayout(DECODER.decode(await reader.take(size, "the format of an event")));
  if (parsed !== undefined) found.push(parsed);
}

/** Formats of ftrace's own events, `print` among them. */
export async function readFtraceLayouts(reader: FieldReader, found: EventLayout[]): Promise<void> {
  const count = await reader.u32("the number of ftrace's formats");
  if (count > MAX_EVENTS) throw damaged(reader.offset, `${count} formats of ftrace`);
  for (let i = 0; i < count; i++) await layout(reader, found);
}

/** Formats of the events of all systems. */
export async function readSystemLayouts(reader: FieldReader, found: EventLayout[]): Promise<void> {
  const systems = await reader.u32("the number of event systems");
  if (systems > MAX_SYSTEMS) throw damaged(reader.offset, `${systems} event systems`);
  for (let i = 0; i < systems; i++) {
    await reader.string("the name of an event system");
    const count = await reader.u32("the number of a system's formats");
    if (count > MAX_EVENTS) throw damaged(reader.offset, `${count} formats of a system`);
    for (let k = 0; k < count; k++) await layout(reader, found);
  }
}

/** Where a page of the ring buffer has what. */
export interface PageLayout {
  readonly timestamp: number;
  readonly commit: number;
  /** Bytes of the kernel's `long`. */
  readonly word: number;
  readonly data: number;
}

/** Reads `header_page`, and goes past `header_event`, which no kernel has changed. */
export async function readPageLayout(reader: FieldReader): Promise<PageLayout> {
  await reader.expect("header_page", "header_page");
  const size = await reader.u64("the size of header_page");
  const fields = fieldsOf(DECODER.decode(await reader.take(size, "header_page")));
  await reader.expect("header_event", "header_event");
  reader.skip(await reader.u64("the size of header_event"), "header_event");
  const [timestamp, commit, data] = ["timestamp", "commit", "data"].map((name) => fields.get(name));
  if (timestamp === undefined || commit === undefined || data === undefined || ![4, 8].includes(commit.size)) {
    throw damaged(reader.offset, "a header_page without timestamp, commit and data");
  }
  return { timestamp: timestamp.offset, commit: commit.offset, word: commit.size, data: data.offset };
}

/** Names of tasks by thread id, as in `saved_cmdlines`: "611 kvmt" a line. */
export function parseTasks(text: string): Map<number, string> {
  const tasks = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [, pid, name] = /^\s*(\d{1,10}) (.*)$/.exec(line) ?? [];
    if (pid !== undefined && name !== undefined) tasks.set(Number(pid), name);
  }
  return tasks;
}
