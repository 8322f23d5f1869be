import { TraceInputError } from "../errors.js";
import type { TraceEvent } from "../events.js";
import { type ByteSource, isBlob } from "../lines.js";
import { sniffTrace } from "../sniff.js";
import type { TraceStats } from "../tally.js";
import { concatenated, inMemory, type RandomAccess } from "./bytes.js";

/*
 * The events of one CPU follow those of another in trace.dat, and the formats follow the samples in perf.data. So a recording is
 * read at many places at once. A file and a blob can be read so. What is gzipped, or comes through a pipe, is held in memory.
 */

/** A file that is open for reading at any place. */
export interface OpenedFile extends RandomAccess {
  close(): Promise<void>;
}

/** A source that may also be read at any place. */
export interface SeekableSource {
  /** Opens it; undefined where it is a pipe or the like. */
  openAt(): Promise<OpenedFile | undefined>;
}

/** Bytes as they come. */
export type Chunks = AsyncGenerator<Uint8Array, void, undefined>;
/** Batches of events. */
export type Events = AsyncGenerator<TraceEvent[], void, undefined>;

/** A recording that is being read. */
export interface OpenRecording {
  readonly events: Events;
  readonly stats: TraceStats;
  close(): Promise<void>;
}

/** Most bytes of a recording that are held in memory. */
const MAX_HELD = 2 ** 30;
const MIB = 2 ** 20;

async function gather(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > MAX_HELD) {
      const hint = "a recording that is gzipped or comes through a pipe is held in memory: unpack it into a file";
      throw new TraceInputError("too-long", `${hint}; the most that is held is ${MAX_HELD / MIB} MiB`);
    }
    pieces.push(chunk);
  }
  return concatenated(pieces);
}

function unheld(source: RandomAccess): OpenedFile {
  return { size: source.size, read: (at, length) => source.read(at, length), close: async () => undefined };
}

/** The source itself at any place, if it can be read so. */
async function direct(source: ByteSource): Promise<OpenedFile | undefined> {
  if (source instanceof Uint8Array) return unheld(inMemory(source));
  if (isBlob(source)) {
    const read = async (at: number, length: number) =>
      new Uint8Array(await source.slice(at, Math.min(at + length, source.size)).arrayBuffer());
    return unheld({ size: source.size, read });
  }
  const { openAt } = source as Partial<SeekableSource>;
  return typeof openAt === "function" ? openAt.call(source) : undefined;
}

/** The bytes of a recording at any place: of the source if it can be read so and is not gzipped, else held in memory. */
export async function randomAccess(source: ByteSource, chunks: Chunks): Promise<OpenedFile> {
  const file = await direct(source);
  if (file !== undefined) {
    if (sniffTrace(await file.read(0, SNIFFED)) !== "text") {
      await chunks.return();
      return file;
    }
    await file.close();
  }
  return unheld(inMemory(await gather(chunks)));
}

const SNIFFED = 16;
