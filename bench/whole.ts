/**
 * Benchmarks that are no loops over items: size and start of the core, and the replay of a recorded trace.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { BYTES } from "../bindings/core/bytes.granule.generated.js";
import { replayTrace } from "../bindings/replay/replay.js";
import { createEngine as createFrom } from "../bindings/slim.js";
import { readManifest, readTrace } from "../bindings/trace/index.js";
import type { ResultRow } from "./rows.js";

const CAPTURE = "test/replay/fixtures/J-boot-6.12-4k/Image612-v1-nothp-256m";
/** A live migration as trace-cmd records it: version 7, zstd. */
const RECORDING = "test/replay/fixtures/recorded/M1-6.12-4k-vhe-max-bin/mig-1-thp-256m";
const COLD_STARTS = 15;

function row(id: string, unit: string, samples: number[]): ResultRow {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
  return { id, peer: "wasm", unit, median: at(0.5), min: at(0), p99: at(0.99), samples: sorted.length };
}

/** Microseconds to compile the core, make an engine and map a first page. The module's JavaScript is warm, the core is not. */
function coldStart(bytes: Uint8Array<ArrayBuffer>): number {
  const start = performance.now();
  using engine = createFrom(bytes, { arenaBytes: 1 << 20 });
  engine.createStage2().map(0, 4096, 0, "rw");
  return (performance.now() - start) * 1000;
}

/** Size of the core raw and gzipped, and its cold start. */
export function coreRows(): ResultRow[] {
  const bytes = Uint8Array.from(Buffer.from(BYTES, "base64"));
  const starts = Array.from({ length: COLD_STARTS }, () => coldStart(bytes));
  return [
    row("table-bytes/core", "B", [bytes.length]),
    row("table-bytes/core-gzip", "B", [gzipSync(bytes, { level: 9 }).length]),
    row("table-bytes/cold-start", "us", starts),
  ];
}

/** A file of the checkout, found from its sources or from its build. */
function captured(path: string): Buffer {
  const here = dirname(fileURLToPath(import.meta.url));
  const root = [join(here, ".."), join(here, "../..")].find((folder) => existsSync(join(folder, path)));
  if (root === undefined) throw new Error("the recorded traces are part of a checkout, not of the package");
  return readFileSync(join(root, path));
}

/** Events per second of the boot of a Linux guest, faults serviced; reading and parsing the text included. */
export async function replayRows(rounds: number): Promise<ResultRow[]> {
  return [row("replay", "events/s", await replaySamples(captured(`${CAPTURE}.trace.gz`), CAPTURE, rounds))];
}

/** The same of a trace.dat, and of reading it alone. It is unpacked beforehand as a file would be; what trace-cmd packed is not. */
export async function replayDatRows(rounds: number): Promise<ResultRow[]> {
  const trace = gunzipSync(captured(`${RECORDING}.dat.gz`));
  const replayed = await replaySamples(trace, RECORDING, rounds);
  const read: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    let events = 0;
    for await (const batch of readTrace(trace)) events += batch.length;
    read.push((events * 1000) / (performance.now() - start));
  }
  return [row("replay-dat", "events/s", replayed), row("replay-dat/read", "events/s", read)];
}

async function replaySamples(trace: Uint8Array, name: string, rounds: number): Promise<number[]> {
  const manifest = await readManifest([captured(`${name}.manifest.json`)]);
  const samples: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const report = await replayTrace(trace, { from: "faults", manifest });
    samples.push(report.events / report.seconds);
  }
  return samples;
}
