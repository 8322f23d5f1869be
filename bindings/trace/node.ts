import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { Url } from "../core/platform.js";
import type { OpenedFile, SeekableSource } from "./binary/source.js";

/** Large reads: fewer trips through the event loop. */
const CHUNK_BYTES = 1 << 18;

/** A regular file, read at any place. */
class RegularFile implements OpenedFile {
  readonly size: number;
  readonly #file: FileHandle;

  constructor(file: FileHandle, size: number) {
    this.#file = file;
    this.size = size;
  }

  async read(at: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let have = 0;
    while (have < length) {
      const { bytesRead } = await this.#file.read(bytes, have, length - have, at + have);
      if (bytesRead === 0) break;
      have += bytesRead;
    }
    return bytes.subarray(0, have);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/**
 * Opens a file on Node as a source for `readTrace`, `readS2Raw` and `readManifest`. The file is
 * opened when reading begins. A file that is absent, or is a folder, shows then, as Node's own error;
 * its `path` names the file.
 *
 * @example
 * ```ts
 * import { writeFileSync } from "node:fs";
 * import { openFile, readTrace } from "granule/trace/node";
 *
 * writeFileSync("/tmp/small.trace", "kvmt-7 [000] ..... 1.5: kvm_access_fault: IPA: 420b6000\n");
 * for await (const events of readTrace(openFile("/tmp/small.trace"))) {
 *   console.log(events.length); // 1
 * }
 * ```
 */
export function openFile(path: string | Url): AsyncIterable<Uint8Array> {
  const source: AsyncIterable<Uint8Array> & SeekableSource = {
    async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
      try {
        yield* createReadStream(path, { highWaterMark: CHUNK_BYTES });
      } catch (error) {
        // Node names the file where open() fails, but not where read() does: a folder fails there.
        throw error instanceof Error && !("path" in error) ? Object.assign(error, { path: String(path) }) : error;
      }
    },
    async openAt(): Promise<OpenedFile | undefined> {
      const file = await open(path);
      const stat = await file.stat();
      if (stat.isFile()) return new RegularFile(file, stat.size);
      await file.close();
    },
  };
  return source;
}

export * from "./index.js";
