import {
  damaged,
  FieldReader,
  inMemory,
  MAX_PIECE,
  type RandomAccess,
  stringOf,
  truncated,
  unsupported,
} from "./bytes.js";
import {
  type EventLayout,
  type PageLayout,
  parseTasks,
  readFtraceLayouts,
  readPageLayout,
  readSystemLayouts,
} from "./layout.js";
import { type Pages, RingStream } from "./ring.js";
import { type Unpack, unpackerOf } from "./unpack.js";

/*
 * trace.dat, as trace-cmd.dat.v6(5) and trace-cmd.dat.v7(5) describe it. Version 6 is one header in a fixed order; version 7 is
 * sections, found by options, which may be compressed. Both lead to the ring buffers of the CPUs.
 */

/** What a trace.dat file holds. */
export interface Recording {
  readonly layouts: readonly EventLayout[];
  readonly tasks: ReadonlyMap<number, string>;
  /** The clock counts something else than nanoseconds. */
  readonly ticks: boolean;
  /** The buffers, in the order in which equal times are taken. */
  readonly streams: readonly RingStream[];
}

/** One CPU's buffer in the file. */
interface CpuBuffer {
  readonly cpu: number;
  readonly offset: number;
  readonly size: number;
}

/** One buffer: the main one or that of an instance. */
interface Buffer {
  readonly cpus: readonly CpuBuffer[];
  readonly packed: boolean;
  readonly pageSize: number;
}

const MAGIC_BYTES = 10;
const MAX_CPUS = 1 << 16;
const MAX_SECTIONS = 1 << 12;
const MIN_PAGE = 64;
const MAX_PAGE = 1 << 26;
/** Pages that are read at once from a file that is not compressed. */
const READ_BYTES = 1 << 18;
const TICKING = /^(?:counter|x86-tsc)$/;

const OPTION = {
  DONE: 0,
  BUFFER: 3,
  TRACECLOCK: 4,
  HEADER_INFO: 16,
  FTRACE_EVENTS: 17,
  EVENT_FORMATS: 18,
  CMDLINES: 21,
  BUFFER_TEXT: 22,
} as const;

class PlainPages implements Pages {
  readonly #source: RandomAccess;
  readonly #step: number;
  #at: number;
  readonly #end: number;

  constructor(source: RandomAccess, { offset, size }: CpuBuffer, pageSize: number) {
    this.#source = source;
    this.#at = offset;
    this.#end = offset + size;
    this.#step = Math.max(1, Math.floor(READ_BYTES / pageSize)) * pageSize;
  }

  async next(): ReturnType<Pages["next"]> {
    const offset = this.#at;
    if (offset >= this.#end) return undefined;
    const length = Math.min(this.#step, this.#end - offset);
    const bytes = await this.#source.read(offset, length);
    if (bytes.length < length) throw truncated(offset + bytes.length, "the events of a CPU");
    this.#at = offset + length;
    return { bytes, offset, packed: false };
  }
}

class PackedPages implements Pages {
  readonly #reader: FieldReader;
  readonly #unpack: Unpack;
  readonly #pageSize: number;
  #chunks = -1;

  constructor(source: RandomAccess, { offset, size }: CpuBuffer, pageSize: number, unpack: Unpack) {
    // trace-cmd 3.1 does not count the word with the number of pieces.
    this.#reader = new FieldReader(source, offset, offset + size + 4);
    this.#unpack = unpack;
    this.#pageSize = pageSize;
  }

  async next(): ReturnType<Pages["next"]> {
    const reader = this.#reader;
    if (this.#chunks < 0) this.#chunks = reader.left > 0 ? await reader.u32("the number of compressed pieces") : 0;
    if (this.#chunks === 0) return undefined;
    this.#chunks--;
    const { offset } = reader;
    const packedSize = await reader.u32("a compressed piece");
    const size = await reader.u32("a compressed piece");
    if (size > MAX_PIECE || size % this.#pageSize !== 0) throw damaged(offset, `a compressed piece of ${size} bytes`);
    const packed = await reader.take(packedSize, "a compressed piece");
    return { bytes: await this.#unpack(packed, size, offset), offset, packed: true };
  }
}

function pageSize(bytes: number, offset: number): number {
  if (bytes < MIN_PAGE || bytes > MAX_PAGE || bytes % 4 !== 0) throw damaged(offset, `pages of ${bytes} bytes`);
  return bytes;
}

/** The name of the clock: of a list, the one in brackets. */
function clockOf(text: string): string {
  return /\[([^\]]*)\]/.exec(text)?.[1] ?? text.trim();
}

/** Reads one trace.dat file. */
class DatReader {
  readonly #source: RandomAccess;
  readonly #layouts: EventLayout[] = [];
  readonly #buffers: Buffer[] = [];
  #tasks: ReadonlyMap<number, string> = new Map();
  #page: PageLayout | undefined;
  #pageSize = 0;
  #clock = "";
  #hasClock = false;
  #unpack: Unpack | undefined;

  constructor(source: RandomAccess) {
    this.#source = source;
  }

  async read(): Promise<Recording> {
    const reader = new FieldReader(this.#source);
    await reader.take(MAGIC_BYTES, "the magic number");
    const version = await reader.string("the version");
    if (version !== "6" && version !== "7") {
      throw unsupported(`this trace.dat is of version ${JSON.stringify(version)}: 6 and 7 can be read`);
    }
    if ((await reader.u8("the byte order")) !== 0) {
      throw unsupported("this trace.dat was recorded on a big-endian machine: only little-endian ones can be read");
    }
    const long = await reader.u8("the size of a long");
    if (long !== 4 && long !== 8) throw damaged(reader.offset, `a long of ${long} bytes`);
    this.#pageSize = pageSize(await reader.u32("the page size"), reader.offset);
    await (version === "6" ? this.#version6(reader) : this.#version7(reader));
    return this.#recording(reader);
  }

  #recording(reader: FieldReader): Recording {
    const page = this.#page;
    if (page === undefined) throw damaged(reader.offset, "no header_page");
    const head = Math.max(page.data, page.timestamp + 8, page.commit + page.word);
    const streams = this.#buffers.flatMap((buffer) => {
      if (head > buffer.pageSize) throw damaged(reader.offset, "a page smaller than its header");
      return buffer.cpus.map((cpu) => new RingStream(cpu.cpu, this.#pages(cpu, buffer), page, buffer.pageSize));
    });
    return { layouts: this.#layouts, tasks: this.#tasks, ticks: TICKING.test(this.#clock), streams };
  }

  #pages(cpu: CpuBuffer, { packed, pageSize }: Buffer): Pages {
    if (!packed) return new PlainPages(this.#source, cpu, pageSize);
    if (this.#unpack === undefined) throw damaged(cpu.offset, "compressed events in a file that names no algorithm");
    return new PackedPages(this.#source, cpu, pageSize, this.#unpack);
  }

  async #version6(reader: FieldReader): Promise<void> {
    this.#page = await readPageLayout(reader);
    await readFtraceLayouts(reader, this.#layouts);
    await readSystemLayouts(reader, this.#layouts);
    reader.skip(await reader.u32("the size of kallsyms"), "kallsyms");
    reader.skip(await reader.u32("the size of the printk formats"), "the printk formats");
    await this.#readTasks(reader);
    const count = await reader.u32("the number of CPUs");
    if (count > MAX_CPUS) throw damaged(reader.offset, `${count} CPUs`);
    const instances: number[] = [];
    await this.#trailer6(reader, count, instances);
    for (const offset of instances) await this.#trailer6(new FieldReader(this.#source, offset), count, []);
  }

  async #readTasks(reader: FieldReader): Promise<void> {
    const size = await reader.u64("the size of the saved command lines");
    this.#tasks = parseTasks(new TextDecoder().decode(await reader.take(size, "the saved command lines")));
  }

  /** The end of the header of version 6, and what stands before the data of a buffer instance. */
  async #trailer6(reader: FieldReader, cpus: number, instances: number[]): Promise<void> {
    let kind = await reader.string("the kind of the data", MAGIC_BYTES);
    if (kind === "options  ") {
      await this.#options6(reader, instances);
      kind = await reader.string("the kind of the data", MAGIC_BYTES);
    }
    if (kind === "latency  ")
      throw unsupported("this trace.dat holds the text of a latency tracer: there are no events");
    if (kind !== "flyrecord") throw damaged(reader.offset, "neither flyrecord nor latency data");
    const found: CpuBuffer[] = [];
    for (let cpu = 0; cpu < cpus; cpu++) {
      const offset = await reader.u64("the place of a CPU's events");
      found.push({ cpu, offset, size: await reader.u64("the size of a CPU's events") });
    }
    this.#addBuffer(found, false, this.#pageSize);
    // Old writers leave the option of the clock empty, and put the clock behind the table.
    if (this.#clock === "" && this.#hasClock && reader.left > 0) {
      const size = await reader.u64("the clock");
      this.#clock = clockOf(stringOf(await reader.take(size, "the clock")));
    }
  }

  async #options6(reader: FieldReader, instances: number[]): Promise<void> {
    for (;;) {
      const id = await reader.u16("an option");
      if (id === OPTION.DONE) return;
      const data = await reader.take(await reader.u32("an option"), "an option");
      if (id === OPTION.TRACECLOCK) {
        this.#hasClock = true;
        this.#clock = clockOf(stringOf(data));
      }
      if (id === OPTION.BUFFER) instances.push(await new FieldReader(inMemory(data)).u64("the place of a buffer"));
      if (instances.length > MAX_SECTIONS) throw damaged(reader.offset, "too many buffer instances");
    }
  }

  #addBuffer(cpus: readonly CpuBuffer[], packed: boolean, pageSize: number): void {
    const { size } = this.#source;
    for (const { cpu, offset, size: bytes } of cpus) {
      if (bytes > 0 && offset + bytes > size) throw truncated(size, `the events of CPU ${cpu}`);
      if (!packed && bytes % pageSize !== 0) throw damaged(offset, `events of ${bytes} bytes, not whole pages`);
    }
    this.#buffers.push({ cpus: cpus.filter((cpu) => cpu.size > 0), packed, pageSize });
  }

  async #version7(reader: FieldReader): Promise<void> {
    const algorithm = await reader.string("the name of the compression");
    await reader.string("the version of the compression");
    if (algorithm !== "none") this.#unpack = unpackerOf(algorithm);
    const seen = new Set<number>();
    let next = await reader.u64("the place of the options");
    while (next !== 0) {
      if (seen.has(next) || seen.size >= MAX_SECTIONS) throw damaged(next, "sections of options that have no end");
      seen.add(next);
      next = await this.#options7(await this.#section(next));
    }
  }

  /** Opens a section, unpacked where it is compressed. */
  async #section(at: number): Promise<FieldReader> {
    const { flags, size, reader } = await this.#sectionHead(at);
    if (!(flags & 1)) return new FieldReader(this.#source, reader.at, reader.at + size);
    if (this.#unpack === undefined) throw damaged(at, "a compressed section in a file that names no algorithm");
    const packedSize = await reader.u32("a compressed section");
    const unpackedSize = await reader.u32("a compressed section");
    if (unpackedSize > MAX_PIECE) throw damaged(at, `a section of ${unpackedSize} bytes`);
    const packed = await reader.take(packedSize, "a compressed section");
    const bytes = await this.#unpack(packed, unpackedSize, at);
    return new FieldReader(inMemory(bytes), 0, bytes.length, at);
  }

  /** The head of a section. Its size has 8 bytes: trace-cmd writes so, though its manual says 4. */
  async #sectionHead(at: number): Promise<{ flags: number; size: number; reader: FieldReader }> {
    const reader = new FieldReader(this.#source, at);
    await reader.u16("the head of a section");
    const flags = await reader.u16("the head of a section");
    await reader.u32("the head of a section");
    return { flags, size: await reader.u64("the size of a section"), reader };
  }

  /** Reads one section of options; gives the place of the next one, 0 for none. */
  async #options7(reader: FieldReader): Promise<number> {
    while (reader.left > 0) {
      const id = await reader.u16("an option");
      const data = await reader.take(await reader.u32("an option"), "an option");
      const fields = new FieldReader(inMemory(data), 0, data.length, reader.offset);
      if (id === OPTION.DONE) return fields.u64("the place of the next options");
      await this.#option7(id, fields, data);
    }
    return 0;
  }

  async #option7(id: number, fields: FieldReader, data: Uint8Array): Promise<void> {
    const section = async () => this.#section(await fields.u64("the place of a section"));
    if (id === OPTION.HEADER_INFO) this.#page = await readPageLayout(await section());
    else if (id === OPTION.FTRACE_EVENTS) await readFtraceLayouts(await section(), this.#layouts);
    else if (id === OPTION.EVENT_FORMATS) await readSystemLayouts(await section(), this.#layouts);
    else if (id === OPTION.CMDLINES) await this.#readTasks(await section());
    else if (id === OPTION.TRACECLOCK) this.#clock = clockOf(stringOf(data));
    else if (id === OPTION.BUFFER) await this.#buffer7(fields);
    else if (id === OPTION.BUFFER_TEXT)
      throw unsupported("this trace.dat holds the text of a latency tracer: there are no events");
  }

  async #buffer7(fields: FieldReader): Promise<void> {
    const at = await fields.u64("the place of a buffer");
    await fields.string("the name of a buffer");
    const clock = await fields.string("the clock of a buffer");
    if (clock !== "") this.#clock = clockOf(clock);
    // trace-cmd writes the size of the pages here, though its manual does not say so.
    const sized = fields.left % CPU_ENTRY === 8;
    const bytes = sized ? pageSize(await fields.u32("the page size of a buffer"), fields.offset) : this.#pageSize;
    const count = await fields.u32("the CPUs of a buffer");
    if (count > MAX_CPUS) throw damaged(fields.offset, `${count} CPUs`);
    const found: CpuBuffer[] = [];
    for (let i = 0; i < count; i++) {
      const cpu = await fields.u32("a CPU");
      const offset = await fields.u64("the place of a CPU's events");
      found.push({ cpu, offset, size: await fields.u64("the size of a CPU's events") });
    }
    const { flags } = await this.#sectionHead(at);
    this.#addBuffer(found, (flags & 1) !== 0, bytes);
  }
}

/** Bytes that a BUFFER option has for each CPU: its number, and where its events are. */
const CPU_ENTRY = 20;

/** Reads all of a trace.dat file but its events. */
export function openDat(source: RandomAccess): Promise<Recording> {
  return new DatReader(source).read();
}
