import { createReadStream } from "node:fs";

/** Large reads: fewer trips through the event loop. */
const CHUNK_BYTES = 1 << 18;

/**
 * Opens a file on Node as a source for `readTrace`, `readS2Raw` and `readManifest`. The file is
 * opened when reading begins; that it does not exist shows then, as Node's own error.
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
export function openFile(path: string | URL): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
      yield* createReadStream(path, { highWaterMark: CHUNK_BYTES });
    },
  };
}

export * from "./index.js";
