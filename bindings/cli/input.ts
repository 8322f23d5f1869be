// Everything that a command reads comes through here, as a stream with bounds: files, devices, standard input, gzip.

import { createReadStream, statSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { OpenedFile, SeekableSource } from "../trace/binary/source.js";
import { TraceInputError } from "../trace/errors.js";
import { type ReadBounds, readBlocks, readBytes } from "../trace/lines.js";
import { openFile } from "../trace/node.js";
import { type CommandIo, InputError, Interrupted, UsageError } from "./command.js";

const MIB = 1 << 20;
/** Longest line of an operations file or a set: a dump line of some 90,000 entries. */
const LINE_BYTES = 4 * MIB;
/** Longest operations file or image, unpacked. */
const FILE_BYTES = 256 * MIB;
/** Longest file whose lines are all kept in memory as objects. */
const LIST_BYTES = 32 * MIB;
/** Longest file that is read as one JSON document. */
const DOCUMENT_BYTES = MIB;
const CHUNK_BYTES = 1 << 18;

/** The bounds in words, for the help of commands that read such files. */
export const BOUNDS_HELP = `A file may have up to ${FILE_BYTES / MIB} MiB (unpacked), a line up to ${LINE_BYTES / MIB} MiB.`;
export const SET_BOUNDS_HELP = `An image may have up to ${FILE_BYTES / MIB} MiB (unpacked), a list of questions up to ${LIST_BYTES / MIB} MiB.`;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EISDIR: "this is a folder, a file is needed",
  ENOTDIR: "a part of the path is not a folder",
  ENOSPC: "no space left on the device",
};

/** An InputError that says in words why `path` cannot be used. */
export function unreadable(path: string, error: unknown): InputError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return new InputError(`${path}: ${REASONS[code] ?? (error instanceof Error ? error.message : String(error))}`);
}

/** How a path is named in messages. */
export function inputName(path: string): string {
  return path === "-" ? "(stdin)" : path;
}

/** An input that knows how much of it was read. */
export interface CountedInput {
  readonly source: AsyncIterable<Uint8Array> & Partial<SeekableSource>;
  /** From 0 to 1; undefined where nobody knows how much there is: a pipe, a device. What is read twice counts twice. */
  share(): number | undefined;
}

/** Bytes of a regular file; 0 for anything else, also for what is not there. */
function fileSize(path: string): number {
  try {
    const found = statSync(path);
    return found.isFile() ? found.size : 0;
  } catch {
    return 0;
  }
}

/** A file, or standard input for `-`. Opened when reading begins; what is wrong with it shows then. */
export function countedInput(
  path: string,
  io: CommandIo,
  open: (path: string) => AsyncIterable<Uint8Array> = openFile,
): CountedInput {
  const size = path === "-" ? 0 : fileSize(path);
  const inner: AsyncIterable<Uint8Array> & Partial<SeekableSource> = path === "-" ? io.stdin() : open(path);
  let read = 0;
  const counted = (bytes: Uint8Array): Uint8Array => {
    read += bytes.length;
    return bytes;
  };
  const openAt = async (): Promise<OpenedFile | undefined> => {
    const file = await inner.openAt?.();
    if (file === undefined) return undefined;
    const readAt = async (at: number, length: number) => counted(await file.read(at, length));
    return { size: file.size, read: readAt, close: () => file.close() };
  };
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of inner) yield counted(chunk);
  }
  return {
    source: { openAt, [Symbol.asyncIterator]: chunks },
    share: () => (size === 0 ? undefined : Math.min(1, read / size)),
  };
}

/** The bytes of a file, or of standard input for `-`. Ends with Interrupted on SIGINT, also where nothing comes. */
async function* chunksOf(path: string, io: CommandIo): AsyncGenerator<Uint8Array, void, undefined> {
  if (path === "-") {
    yield* io.stdin();
    return;
  }
  const stream = createReadStream(path, { highWaterMark: CHUNK_BYTES, signal: io.signal });
  try {
    yield* stream;
  } catch (error) {
    throw io.signal.aborted ? new Interrupted() : unreadable(path, error);
  }
}

/** Gives the input's name to what the reader found wrong with its bytes. */
async function* named<T>(path: string, pieces: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  try {
    yield* pieces;
  } catch (error) {
    if (error instanceof TraceInputError) throw new InputError(`${inputName(path)}: ${error.message}`);
    throw error;
  }
}

/**
 * The lines of a file, or of standard input for `-`, without their ends, as many together as come at once; gzip is told by
 * its first two bytes. InputError for what cannot be read, is not UTF-8 text, or goes beyond the bounds.
 */
export async function* readLines(
  path: string,
  io: CommandIo,
  totalBytes = FILE_BYTES,
): AsyncGenerator<string[], void, undefined> {
  const bounds: ReadBounds = { lineBytes: LINE_BYTES, totalBytes, strict: true };
  for await (const block of named(path, readBlocks(chunksOf(path, io), bounds))) {
    const lines = block.split("\n");
    // A block ends with a line end, but for the last line of some files.
    if (lines.at(-1) === "") lines.pop();
    yield lines;
    if (io.signal.aborted) throw new Interrupted();
  }
}

/** The lines of a file that are all kept: as `readLines`, with a bound that fits into memory many times over. */
export function readList(path: string, io: CommandIo): AsyncGenerator<string[], void, undefined> {
  return readLines(path, io, LIST_BYTES);
}

/** The text of a small file, such as a manifest; as `readLines`, with a bound of 1 MiB. */
export async function readDocument(path: string, io: CommandIo): Promise<string> {
  let text = "";
  const bounds: ReadBounds = { lineBytes: DOCUMENT_BYTES, totalBytes: DOCUMENT_BYTES, strict: true };
  for await (const block of named(path, readBlocks(chunksOf(path, io), bounds))) text += block;
  return text;
}

/** Refuses what is not gzip data though its name says so: of bytes that may be anything nobody would notice. */
async function* packed(path: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let first = true;
  for await (const chunk of chunks) {
    if (first && chunk[0] !== 0x1f) throw new InputError(`${path}: this is not gzip data`);
    first = false;
    yield chunk;
  }
}

/** The bytes of a file, unpacked; as `readLines`, but what is named .gz has to be gzip data. */
export async function readImage(path: string, io: CommandIo): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const source = path.endsWith(".gz") ? packed(path, chunksOf(path, io)) : chunksOf(path, io);
  for await (const chunk of named(path, readBytes(source, FILE_BYTES))) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw unreadable(folder, error);
  });
  const found: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...(await filesBelow(path)));
    else found.push(path);
  }
  return found;
}

/** Files as they are, folders as the files below them whose names match, sorted. InputError where there is none. */
export async function findFiles(paths: readonly string[], name: RegExp): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    if (path === "-") {
      found.push(path);
      continue;
    }
    const kind = await stat(path).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    if (!kind.isDirectory()) {
      found.push(path);
      continue;
    }
    const below = (await filesBelow(path)).filter((file) => name.test(file)).sort();
    if (below.length === 0) throw new InputError(`${path}: the folder holds no such file (${name.source})`);
    found.push(...below);
  }
  return found;
}

/** UsageError if writing to `target` would overwrite one of the inputs, under whatever name. */
export async function refuseOverwrite(target: string, inputs: readonly string[]): Promise<void> {
  const there = await stat(target).catch(() => undefined);
  if (there === undefined) return;
  for (const input of inputs.filter((path) => path !== "-")) {
    const { dev, ino } = await stat(input).catch((error: unknown) => {
      throw unreadable(input, error);
    });
    if (dev === there.dev && ino === there.ino) throw new UsageError(`${target} is the input ${input}: choose another`);
  }
}
