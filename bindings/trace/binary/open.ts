import type { ByteSource } from "../lines.js";
import type { TraceKind } from "../sniff.js";
import type { TraceOptions } from "../tally.js";
import { openDat } from "./dat.js";
import { mergedEvents, parserOf } from "./merge.js";
import { openPerf } from "./perf-data.js";
import { type Chunks, type OpenRecording, randomAccess } from "./source.js";

async function openTraceDat(source: ByteSource, chunks: Chunks, options: TraceOptions): Promise<OpenRecording> {
  const file = await randomAccess(source, chunks);
  try {
    const recording = await openDat(file);
    const parser = parserOf(recording, options);
    return {
      events: mergedEvents(recording, parser),
      get stats() {
        return parser.tally.stats;
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Opens a recording of a kind. `chunks` are the bytes of the source from the beginning, unpacked. */
export function openRecording(
  kind: Exclude<TraceKind, "text">,
  source: ByteSource,
  chunks: Chunks,
  options: TraceOptions,
): Promise<OpenRecording> {
  return kind === "trace.dat" ? openTraceDat(source, chunks, options) : openPerf(source, chunks, options);
}
