import { createReadStream } from "node:fs";
import type { Url } from "../core/platform.js";

/** Large reads: fewer trips through the event loop. */
const CHUNK_BYTES = 1 << 18;

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
  return {
    async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
      try {
        yield* createReadStream(path, { highWaterMark: CHUNK_BYTES });
      } catch (error) {
        // Node names the file where open() fails, but not where read() does: a folder fails there.
        throw error instanceof Error && !("path" in error) ? Object.assign(error, { path: String(path) }) : error;
      }
    },
  };
}

export * from "./index.js";
