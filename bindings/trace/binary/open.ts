import type { TraceEvent } from "../events.js";
import type { ByteSource } from "../lines.js";
import type { TraceKind } from "../sniff.js";
import type { TraceOptions, TraceStats } from "../tally.js";
import { openDat } from "./dat.js";
import { mergedEvents, parserOf } from "./merge.js";
import { openPerf } from "./perf-data.js";
import { randomAccess } from "./source.js";

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
