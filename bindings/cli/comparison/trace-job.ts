// A recorded trace under other settings than those of the machine that recorded it.

import type { Granule } from "../../model/granule.js";
import { findManifest, traceName } from "../../replay/files.js";
import { type ReplayOptions, replayTrace } from "../../replay/replay.js";
import type { ReplayReport } from "../../report/replay.js";
import { type Manifest, openFile } from "../../trace/node.js";
import { BACKINGS, type BackingName, backingOf } from "../backing.js";
import { UsageError } from "../command.js";

const GRANULES: Readonly<Record<string, Granule>> = { "4k": 4096, "16k": 16384, "64k": 65536 };

/** A setting of a replay: what it takes, and how it changes what is replayed. */
interface TraceSetting {
  readonly takes: readonly string[];
  readonly help: string;
  readonly apply: (options: ReplayOptions, value: string) => ReplayOptions;
}

function changed(options: ReplayOptions, change: Partial<Manifest>): ReplayOptions {
  return options.manifest === undefined ? options : { ...options, manifest: { ...options.manifest, ...change } };
}

/** The settings of a trace's replay that can vary: whatever the recorded machine had. */
export const TRACE_SETTINGS: Readonly<Record<string, TraceSetting>> = {
  granule: {
    takes: Object.keys(GRANULES),
    help: "page size",
    apply: (options, value) => {
      const granule = GRANULES[value] as Granule;
      return changed({ ...options, geometry: { ...options.geometry, granule } }, { granule });
    },
  },
  backing: {
    takes: BACKINGS,
    help: "what the VMM's memory is made of",
    apply: (options, value) =>
      changed({ ...options, backing: backingOf(value as BackingName) }, { backing: [], vmmCommand: undefined }),
  },
  fwb: {
    takes: ["yes", "no"],
    help: "forced write-back",
    apply: (options, value) => {
      const fwb = value === "yes";
      const features = options.manifest && { features: { ...options.manifest.features, fwb } };
      return changed({ ...options, geometry: { ...options.geometry, fwb } }, features ?? {});
    },
  },
};

/** One setting of a replay. UsageError for a name or a value that there is not. */
export function checkTraceSetting(name: string, value: string): void {
  const known = Object.hasOwn(TRACE_SETTINGS, name) ? TRACE_SETTINGS[name] : undefined;
  if (known === undefined) {
    throw new UsageError(`a trace has no setting ${name}: ${Object.keys(TRACE_SETTINGS).join(", ")}`);
  }
  if (!known.takes.includes(value.toLowerCase())) {
    throw new UsageError(`--${name} takes one of ${known.takes.join(", ")}, not ${JSON.stringify(value)}`);
  }
}

/** What a replay found, without its speed: two replays of a trace find the same. */
export type TraceReport = Omit<ReplayReport, "eventsPerSecond">;

/** Replays the faults of a trace under settings. Errors of the trace are thrown as `replayTrace` throws them. */
export async function replayUnder(path: string, settings: Readonly<Record<string, string>>): Promise<TraceReport> {
  const manifest = await findManifest(path, undefined);
  const plain: ReplayOptions = { from: "faults", name: traceName(path), manifest };
  const options = Object.entries(settings).reduce(
    (some, [name, value]) => (TRACE_SETTINGS[name] as TraceSetting).apply(some, value.toLowerCase()),
    plain,
  );
  const { eventsPerSecond: _, ...report } = await replayTrace(openFile(path), options);
  return report;
}
