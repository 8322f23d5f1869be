// A replay keeps what it services and not what it has read: what it retains does not grow with the trace. Bytes are counted, not time.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { replayTrace } from "../../bindings/replay/replay.js";
import { readManifest } from "../../bindings/trace/index.js";
import { ROOT } from "../house/sources.js";

const CAPTURE = join(ROOT, "test/replay/fixtures/J-boot-6.12-4k/Image612-v1-thp-256m");
const TIMES = 16;
/** Repetitions before the first count: tables, slots and compiled code are there then. */
const WARM = 6;
/** What the heap may grow by on its own account: a small part of what passes meanwhile. */
const LEEWAY = 512 * 1024;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes that are alive. */
function retained(): number {
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** The same records again and again, each time as new bytes; `seen` is called after each. */
async function* repeated(text: Uint8Array, seen: (times: number) => void): AsyncGenerator<Uint8Array> {
  for (let times = 1; times <= TIMES; times++) {
    yield Uint8Array.from(text);
    seen(times);
  }
}

describe("what a replay retains", () => {
  it.each(["faults", "ops"] as const)("does not grow with the trace: %s", async (from) => {
    const text = gunzipSync(readFileSync(`${CAPTURE}.trace.gz`));
    const manifest = await readManifest([readFileSync(`${CAPTURE}.manifest.json`)]);
    const counts: number[] = [];
    const source = repeated(text, (times) => {
      if (times >= WARM) counts.push(retained());
    });
    const { trace } = await replayTrace(source, { from, manifest, lenient: true });
    const passed = text.length * (TIMES - WARM);
    const grown = (counts.at(-1) ?? Number.NaN) - (counts[0] ?? Number.NaN);
    expect(counts).toHaveLength(TIMES - WARM + 1);
    expect(trace.lines).toBeGreaterThan(TIMES * 10_000);
    expect(grown, `after ${passed} bytes more`).toBeLessThan(LEEWAY);
    expect(passed).toBeGreaterThan(8 * LEEWAY);
  });
});
