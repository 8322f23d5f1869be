import type { TraceEvent } from "../events.js";
import type { TraceOptions } from "../tally.js";
import type { Recording } from "./dat.js";
import { RecordParser } from "./records.js";
import { NONE_LOST, type RingStream } from "./ring.js";

/** Events that are given at once. */
export const BATCH = 4096;

const IDLE = "<idle>";
/** What tracers call a thread whose name they did not save. */
const UNNAMED = "<...>";

/** Makes the parser of a recording's records. */
export function parserOf(recording: Recording, options: TraceOptions): RecordParser {
  const { layouts, tasks, ticks } = recording;
  const nameOf = (pid: number) => tasks.get(pid) ?? (pid === 0 ? IDLE : UNNAMED);
  return new RecordParser(layouts, options, nameOf, { ticks });
}

/** The stream with the earliest record, and the next best; of equal ones those that come first. */
function earliest(streams: readonly RingStream[]): readonly [first: RingStream, second: RingStream | undefined] {
  let first = streams[0] as RingStream;
  let second: RingStream | undefined;
  for (let i = 1; i < streams.length; i++) {
    const stream = streams[i] as RingStream;
    if (stream.time < first.time) {
      second = first;
      first = stream;
    } else if (second === undefined || stream.time < second.time) second = stream;
  }
  return [first, second];
}

/** The events of all CPUs by time, a batch at a time. Of each CPU a few pages are in memory. */
export async function* mergedEvents(
  recording: Recording,
  parser: RecordParser,
): AsyncGenerator<TraceEvent[], void, undefined> {
  const streams: RingStream[] = [];
  for (const stream of recording.streams) if (await stream.start()) streams.push(stream);
  let batch: TraceEvent[] = [];
  while (streams.length > 0) {
    const [stream, other] = earliest(streams);
    const limit = other?.time ?? Number.POSITIVE_INFINITY;
    // Of two CPUs with one time, the one that comes first in the file goes first.
    const wins = other === undefined || streams.indexOf(stream) < streams.indexOf(other);
    let here = true;
    while (here && (stream.time < limit || (wins && stream.time === limit))) {
      if (stream.lost !== NONE_LOST) batch.push(parser.lost(stream.cpu, stream.lost === 0 ? undefined : stream.lost));
      const event = parser.event(stream.view, stream.at, stream.length, stream.offset, stream.time, stream.cpu);
      if (event !== undefined) batch.push(event);
      here = stream.advance();
      if (batch.length >= BATCH) {
        yield batch;
        batch = [];
      }
    }
    if (!here && !(await stream.start())) streams.splice(streams.indexOf(stream), 1);
  }
  if (batch.length > 0) yield batch;
}
