import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { type CommandIo, InputError } from "./command.js";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EISDIR: "is a folder, a file is needed",
  ENOTDIR: "a part of the path is no folder",
  ERR_FS_FILE_TOO_LARGE: "too large to read at once",
};

/** An InputError that says in words why `path` cannot be used. */
export function unreadable(path: string, error: unknown): InputError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return new InputError(`${path}: ${REASONS[code] ?? (error instanceof Error ? error.message : String(error))}`);
}

async function readBytes(path: string, io: CommandIo): Promise<Uint8Array> {
  if (path !== "-") {
    return readFile(path).catch((error: unknown) => {
      throw unreadable(path, error);
    });
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of io.stdin()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** How a path is named in messages. */
export function inputName(path: string): string {
  return path === "-" ? "(stdin)" : path;
}

/** The text of a file, or of standard input for `-`; gzip is told by its first two bytes. InputError if that fails. */
export async function readText(path: string, io: CommandIo): Promise<string> {
  const bytes = await readBytes(path, io);
  try {
    const plain = bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
    return new TextDecoder("utf-8", { fatal: true }).decode(plain);
  } catch (error) {
    const damaged = bytes[0] === 0x1f ? "damaged gzip data" : "not UTF-8 text";
    throw new InputError(`${inputName(path)}: ${damaged} (${error instanceof Error ? error.message : String(error)})`);
  }
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
    const below = (await readdir(path, { recursive: true })).filter((file) => name.test(file)).sort();
    if (below.length === 0) throw new InputError(`${path}: the folder holds no such file (${name.source})`);
    found.push(...below.map((file) => join(path, file)));
  }
  return found;
}
