import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import {
  type ByteSource,
  readTrace,
  sniffTrace,
  type TraceEvent,
  TraceInputError,
  type TraceStats,
} from "../../bindings/trace/index.js";
import { openFile } from "../../bindings/trace/node.js";

/*
 * Recordings of running kernels, and the text that trace-cmd report and perf script make of each. The two must be the same events.
 */

const FOLDER = fileURLToPath(new URL("../replay/fixtures/recorded/", import.meta.url));
const K = "K-6.12-4k-vhe-max-bin";
const N = "N-6.12-16k-vhe-max-bin";
const O = "O-6.12-4k-vhe-max-smp2-bin";
const P = "P-7.2-4k-vhe-max-smp2-bin";
const Q = "Q-6.12-4k-vhe-max-smp2-kaslr-bin";
const R = "R-6.12-4k-vhe-max-smp2-old-bin";

/** What each has that the others have not, the recording, and its text. */
const TWINS: readonly (readonly [what: string, recording: string, text: string])[] = [
  ["version 7, zstd", `${K}/ipa48.dat`, `${K}/ipa48.report-t.txt.gz`],
  ["version 6", `${K}/ipa48.v6.dat.gz`, `${K}/ipa48.report-t.txt.gz`],
  ["version 7, not compressed", `${K}/ipa48.v7none.dat.gz`, `${K}/ipa48.report-t.txt.gz`],
  ["version 7, zlib", `${K}/ipa48.v7zlib.dat`, `${K}/ipa48.report-t.txt.gz`],
  ["sub-buffers of 64 KiB", `${K}/dthp-subbuf64k.dat.gz`, `${K}/dthp-subbuf64k.report-t.txt.gz`],
  ["16K pages", `${N}/ipa16k-48-both.dat`, `${N}/ipa16k-48-both.report.txt.gz`],
  ["kernel stacks", `${O}/ipa40-stack.dat`, `${O}/ipa40-stack.report.txt.gz`],
  ["a buffer instance of version 7", `${O}/unmap-2v-instance.dat`, `${O}/unmap-2v-instance.report-t.txt.gz`],
  ["a buffer instance of version 6", `${R}/unmap-2v-instance.dat.gz`, `${R}/unmap-2v-instance.report.txt.gz`],
  ["zstd of trace-cmd 3.1", `${Q}/ipa40-kptr.dat`, `${Q}/ipa40-kptr.report.txt.gz`],
  ["a clock that counts", `${Q}/unmap-2v-counter.dat`, `${Q}/unmap-2v-counter.report.txt.gz`],
  ["two CPUs, and events of the scheduler", `${Q}/ipa48-2v-sched.dat.gz`, `${Q}/ipa48-2v-sched.report.txt.gz`],
  ["losses of unknown number", `${O}/d4k-lost.dat.gz`, `${O}/d4k-lost.report-t.txt.gz`],
  ["a known number of events lost", `${Q}/d4k-wrap.dat.gz`, `${Q}/d4k-wrap.report.txt.gz`],
  ["perf, and each marker twice", `${K}/unmap-perf.perf.data.gz`, `${K}/unmap-perf.perf-all.txt.gz`],
  ["perf of a kernel with 16K pages", `${N}/ipa16k-48-both.perf.data.gz`, `${N}/ipa16k-48-both.perf-all.txt.gz`],
  ["perf's call chains", `${O}/ipa48-perf-g.perf.data.gz`, `${O}/ipa48-perf-g.perf-all.txt.gz`],
  ["perf of Linux 7.2", `${P}/ipa48-both.perf.data.gz`, `${P}/ipa48-both.perf.txt.gz`],
  ["perf in pipe mode", `${Q}/unmap-perf-pipe.perf.data.gz`, `${Q}/unmap-perf-pipe.perf-all.txt.gz`],
  ["perf, compressed", `${O}/dthp-2v-perf-z.perf.data.gz`, `${O}/dthp-2v-perf-z.perf-all.txt.gz`],
  ["perf 5.10", `${R}/unmap-2v-perf510.perf.data.gz`, `${R}/unmap-2v-perf510.perf-all.txt.gz`],
  ["perf kvm stat", `${Q}/unmap-2v-perf-kvmstat.perf.data.gz`, `${Q}/unmap-2v-perf-kvmstat.perf-all.txt.gz`],
];

const fileOf = (path: string): Uint8Array => {
  const bytes = readFileSync(FOLDER + path);
  return new Uint8Array(path.endsWith(".gz") ? gunzipSync(bytes) : bytes);
};

async function read(
  source: ByteSource,
): Promise<{ events: TraceEvent[]; stats: TraceStats; kind: string | undefined }> {
  const reader = readTrace(source);
  const events: TraceEvent[] = [];
  for await (const batch of reader) events.push(...batch);
  return { events, stats: reader.stats, kind: reader.kind };
}

/**
 * What text has less of: the numbers of lines; of times the digits behind the microseconds; the names of tasks that perf takes for
 * guests; and the failure of KVM_RUN, which libtraceevent prints as an exit (cat trace prints it as it is here).
 */
function asText(event: TraceEvent, text: TraceEvent): object {
  const { line, time, task, ...rest } = event;
  const known = text.task.startsWith(":") ? { task: text.task } : { task };
  const failed = event.kind === "userspace_exit" && /^(?:error|restart)$/.test(event.reason);
  const exit = failed && text.kind === "userspace_exit" ? { reason: text.reason, code: text.code } : {};
  return {
    ...rest,
    ...known,
    ...exit,
    line: text.line,
    time: Math.abs(time - text.time) < 1.001e-6 ? text.time : time,
  };
}

describe.each(TWINS)("a recording with %s", (_what, recording, text) => {
  it("has the events of its text, one by one", async () => {
    const binary = await read(openFile(FOLDER + recording));
    const twin = await read(openFile(FOLDER + text));
    expect(binary.kind).toBe(/perf\.data/.test(recording) ? "perf.data" : "trace.dat");
    expect(binary.events).toHaveLength(twin.events.length);
    expect(binary.events.map((event, i) => asText(event, twin.events[i] as TraceEvent))).toEqual(twin.events);
    expect(binary.events.map(({ line }) => line)).toEqual(binary.events.map((_, i) => i + 1));
    expect([...binary.stats.events].sort()).toEqual([...twin.stats.events].sort());
    const { lostPlaces, lostEvents } = twin.stats;
    expect(binary.stats).toMatchObject({ lostPlaces, lostEvents, malformed: 0, grouped: 0 });
  });
});

describe("a failure of KVM_RUN", () => {
  it("is no exit", async () => {
    const { events } = await read(fileOf(`${Q}/unmap-2v-counter.dat`));
    const failed = events.filter((e) => e.kind === "userspace_exit" && e.reason === "error");
    expect(failed).toMatchObject([{ code: 14 }]);
  });
});

const SOURCES: readonly (readonly [what: string, make: (bytes: Uint8Array) => ByteSource])[] = [
  ["bytes", (bytes) => bytes],
  ["a blob", (bytes) => new Blob([bytes as Uint8Array<ArrayBuffer>])],
  ["a stream", (bytes) => new Blob([bytes as Uint8Array<ArrayBuffer>]).stream()],
  ["pieces of 1000 bytes", (bytes) => pieces(bytes, 1000)],
  ["pieces of 7 bytes", (bytes) => pieces(bytes, 7)],
];

function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe.each([
  `${K}/ipa48.dat`,
  `${Q}/ipa48-2v-sched.dat.gz`,
  `${P}/ipa48-both.perf.data.gz`,
  `${Q}/unmap-perf-pipe.perf.data.gz`,
])("%s", (path) => {
  it.each(SOURCES)("is read from %s", async (_what, make) => {
    const { events } = await read(make(fileOf(path)));
    expect(events).toEqual((await read(openFile(FOLDER + path))).events);
  });
});

describe("the kind of a trace", () => {
  const bytes = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

  it.each([
    ["\u0017\u0008Dtracing6\0", "trace.dat"],
    ["PERFILE2\u0068", "perf.data"],
    ["2ELIFREP", "perf.data"],
    ["PERFFILE", "perf.data"],
    ["PERFILE", "text"],
    ["\u0017\u0008Dtracin", "text"],
    ["", "text"],
    ["# tracer: nop", "text"],
  ])("%j is %s", (opening, kind) => {
    expect(sniffTrace(bytes(opening))).toBe(kind);
  });
});

describe("a recording that is not read here", () => {
  const patched = (path: string, at: number, text: string): Uint8Array => {
    const bytes = fileOf(path).slice();
    bytes.set(
      Uint8Array.from(text, (char) => char.charCodeAt(0)),
      at,
    );
    return bytes;
  };
  const dat = `${K}/ipa48.v7none.dat.gz`;
  const perf = `${P}/ipa48-both.perf.data.gz`;

  it.each([
    ["of another version", () => patched(dat, 10, "8"), "unsupported", /version "8": 6 and 7 can be read/],
    ["of a big-endian machine", () => patched(dat, 12, "\u0001"), "unsupported", /big-endian/],
    ["of perf on a big-endian machine", () => patched(perf, 0, "2ELIFREP"), "unsupported", /big-endian/],
    ["of an old perf", () => patched(perf, 0, "PERFFILE"), "unsupported", /version 1/],
    ["packed with another algorithm", () => patched(`${K}/ipa48.dat`, 18, "lz4\0"), "unsupported", /"lz4"/],
    ["of a latency tracer", () => patched(`${K}/ipa48.v6.dat.gz`, 101_237, "latency  "), "unsupported", /latency/],
    ["with pages of no size", () => patched(dat, 14, "\0\0"), "damaged", /pages of 0 bytes, at byte 18/],
    ["of a perf that was killed", () => patched(perf, 48, "\0\0\0\0\0\0\0\0"), "truncated", /killed/],
    ["without formats", () => patched(perf, 72, "\0"), "unsupported", /perf record -e/],
  ])("%s says so", async (_what, make, code, message) => {
    const error: unknown = await read(make()).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(TraceInputError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it("names the byte where it ends too early", async () => {
    const whole = fileOf(dat);
    const error: unknown = await read(whole.subarray(0, whole.length - 4096)).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: "truncated", offset: whole.length - 4096 });
  });
});

it("every recording here has a text to compare it with", () => {
  const named = TWINS.map(([, recording]) => basename(recording));
  expect(new Set(named).size).toBeGreaterThan(20);
});
