import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTrace, TraceError, TraceInputError, TraceRecordError } from "../../bindings/trace/index.js";

/* Recordings that are cut short or changed: they give events, or an error that says where; never anything else. */

const FOLDER = fileURLToPath(new URL("../replay/fixtures/recorded/", import.meta.url));
const RECORDINGS = [
  "K-6.12-4k-vhe-max-bin/ipa48.dat",
  "K-6.12-4k-vhe-max-bin/ipa48.v7none.dat.gz",
  "K-6.12-4k-vhe-max-bin/ipa48.v7zlib.dat",
  "K-6.12-4k-vhe-max-bin/ipa48.v6.dat.gz",
  "R-6.12-4k-vhe-max-smp2-old-bin/unmap-2v-instance.dat.gz",
  "P-7.2-4k-vhe-max-smp2-bin/ipa48-both.perf.data.gz",
  "O-6.12-4k-vhe-max-smp2-bin/ipa48-perf-g.perf.data.gz",
  "O-6.12-4k-vhe-max-smp2-bin/dthp-2v-perf-z.perf.data.gz",
  "Q-6.12-4k-vhe-max-smp2-kaslr-bin/unmap-perf-pipe.perf.data.gz",
];
/** Bytes before which a change would make a text of it. */
const MAGIC = 10;

function fileOf(path: string): Uint8Array {
  const bytes = readFileSync(FOLDER + path);
  return new Uint8Array(path.endsWith(".gz") ? gunzipSync(bytes) : bytes);
}

/** The number of events; an error of the reader is a result, too. */
async function outcome(bytes: Uint8Array, lenient: boolean): Promise<number | TraceError> {
  let events = 0;
  try {
    for await (const batch of readTrace(bytes, { lenient })) events += batch.length;
  } catch (error) {
    if (error instanceof TraceError) return error;
    throw error;
  }
  return events;
}

/** A change of some bytes at a place: one byte, or a word of a telling value. */
const changes = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 1 }),
      fc.constantFrom([0, 0, 0, 0], [255, 255, 255, 255], [255, 255, 255, 127], [1, 0, 0, 0], [0, 0, 0, 128]),
    ),
  }),
  { minLength: 1, maxLength: 4 },
);

describe.each(RECORDINGS)("%s", (path) => {
  const whole = fileOf(path);
  const perf = path.includes("perf");

  it("cut anywhere ends with an error that names the byte, or early", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 16, max: whole.length - 1 }), async (length) => {
        const result = await outcome(whole.subarray(0, length), false);
        if (!(result instanceof TraceError)) return;
        expect(result).toBeInstanceOf(TraceInputError);
        expect((result as TraceInputError).offset).toBeLessThanOrEqual(whole.length);
        expect(result.message).toMatch(/at byte \d+|perf record/);
      }),
      { numRuns: 25 },
    );
  });

  it("changed anywhere gives events or an error of its own", async () => {
    const property = fc.asyncProperty(changes, fc.boolean(), fc.boolean(), async (list, early, lenient) => {
      const bytes = whole.slice();
      for (const { at, bytes: change } of list) {
        // Most of a file are formats and symbols: half of the changes go to its head.
        const span = early && !perf ? Math.min(2048, whole.length) : whole.length;
        bytes.set(change, MAGIC + Math.floor(at * (span - MAGIC - 4)));
      }
      const result = await outcome(bytes, lenient);
      if (lenient) expect(result).not.toBeInstanceOf(TraceRecordError);
      if (typeof result === "number") expect(result).toBeLessThan(whole.length);
    });
    await fc.assert(property, { numRuns: 60 });
  });
});

describe("records that contradict their format", () => {
  const path = "K-6.12-4k-vhe-max-bin/ipa48.v7none.dat.gz";

  /** The recording with the field at the end of its first fault, `ipa`, above 2^53. */
  function wide(): Uint8Array {
    const bytes = fileOf(path);
    const view = new DataView(bytes.buffer);
    for (let at = 102_400; at < bytes.length; at += 4) {
      // The guest begins at address 0: pc, syndrome, address and ipa of its first fault.
      if (view.getUint32(at, true) !== 0x82000004 || view.getUint32(at + 4, true) !== 0) continue;
      view.setUint32(at + 20, 0x20_0000, true);
      return bytes;
    }
    throw new Error("no fault found");
  }

  it("end the reading, with their number and their place", async () => {
    const error = await outcome(wide(), false);
    expect(error).toBeInstanceOf(TraceRecordError);
    expect(error).toMatchObject({ message: expect.stringMatching(/^record \d+ at byte 1\d{5}: kvm_guest_fault: exp/) });
    expect((error as TraceRecordError).expected).toBe("ipa below 2^53");
  });

  it("are counted and skipped by a lenient reader, and become unknown where nobody needs them", async () => {
    const reader = readTrace(wide(), { lenient: true });
    for await (const _ of reader);
    expect(reader.stats).toMatchObject({ malformed: 1, lines: 482 });
    const loose = readTrace(wide(), { strict: new Set(["s2_map"]) });
    let unknown = 0;
    for await (const batch of loose) unknown += batch.filter(({ kind }) => kind === "unknown").length;
    expect([unknown, loose.stats.unread.get("kvm_guest_fault")]).toEqual([1, 1]);
  });
});

describe("sections and pieces that lead nowhere", () => {
  it("options that lead to themselves have no end", async () => {
    const bytes = fileOf("K-6.12-4k-vhe-max-bin/ipa48.v7none.dat.gz");
    const view = new DataView(bytes.buffer);
    // The last option of a section, id 0 of 8 bytes, holds the place of the next section.
    view.setBigUint64(32 - 8, 101_019n, true);
    const done = 101_019 + 16 + 326 - 8;
    view.setBigUint64(done, 101_019n, true);
    expect(await outcome(bytes, false)).toMatchObject({ code: "damaged", offset: 101_019 });
  });

  it("zstd data with a window of many gigabytes is refused", async () => {
    const bytes = fileOf("O-6.12-4k-vhe-max-smp2-bin/dthp-2v-perf-z.perf.data.gz");
    const frame = bytes.findIndex((_, i) => bytes[i] === 0x28 && bytes[i + 1] === 0xb5 && bytes[i + 2] === 0x2f);
    bytes[frame + 4] = 0;
    bytes[frame + 5] = 0xf8;
    expect(await outcome(bytes, false)).toMatchObject({ code: "damaged", message: expect.stringContaining("2^41") });
  });
});
