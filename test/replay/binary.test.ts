import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findManifest, TruthFolder, traceName } from "../../bindings/replay/files.js";
import { replayTrace } from "../../bindings/replay/replay.js";
import type { ReplayReport } from "../../bindings/report/replay.js";
import { openFile } from "../../bindings/trace/node.js";

/* A recording and its text, replayed: the same tables, the same counts, the same comparisons with the kernel's tables. */

const FOLDER = fileURLToPath(new URL("fixtures/recorded/", import.meta.url));
const Q = "Q-6.12-4k-vhe-max-smp2-kaslr-bin";

const TWINS: readonly (readonly [recording: string, text: string])[] = [
  ["K-6.12-4k-vhe-max-bin/ipa48.dat", "ipa48.report-t.txt.gz"],
  ["K-6.12-4k-vhe-max-bin/unmap-perf.perf.data.gz", "unmap-perf.perf-all.txt.gz"],
  ["N-6.12-16k-vhe-max-bin/ipa16k-48-both.dat", "ipa16k-48-both.report.txt.gz"],
  ["O-6.12-4k-vhe-max-smp2-bin/ipa40-stack.dat", "ipa40-stack.report.txt.gz"],
  ["O-6.12-4k-vhe-max-smp2-bin/ipa48-perf-g.perf.data.gz", "ipa48-perf-g.perf-all.txt.gz"],
  ["P-7.2-4k-vhe-max-smp2-bin/ipa48-both.perf.data.gz", "ipa48-both.perf.txt.gz"],
  [`${Q}/d4k-wrap.dat.gz`, "d4k-wrap.report.txt.gz"],
  [`${Q}/ipa40-kptr.dat`, "ipa40-kptr.report.txt.gz"],
  [`${Q}/ipa48-2v-sched.dat.gz`, "ipa48-2v-sched.report.txt.gz"],
  [`${Q}/unmap-2v-counter.dat`, "unmap-2v-counter.report.txt.gz"],
  ["R-6.12-4k-vhe-max-smp2-old-bin/unmap-2v-instance.dat.gz", "unmap-2v-instance.report.txt.gz"],
];

async function replay(path: string, from: "faults" | "ops"): Promise<ReplayReport> {
  const manifest = await findManifest(path, undefined);
  const truth = new TruthFolder(dirname(path));
  return replayTrace(openFile(path), { from, name: traceName(path), manifest, truth, arenaBytes: 64 << 20 });
}

/** All but times, and what only a text has: lines that are no events, and their numbers. */
function result({ trace, seconds, eventsPerSecond, service, checks, ...rest }: ReplayReport): object {
  const { lines, errors, ...counts } = trace;
  const unnumbered = (texts: readonly string[]) => texts.map((text) => text.replace(/^line \d+/, "line N"));
  const agreement = service?.agreement && {
    ...service.agreement,
    examples: unnumbered(service.agreement.examples),
  };
  const compared = checks.map(({ equalAt, ...check }) => ({ ...check, settled: equalAt !== undefined }));
  return { ...rest, counts, service: { ...service, agreement }, checks: compared };
}

describe.each(TWINS)("%s", (recording, text) => {
  it.each(["faults", "ops"] as const)("replayed from its %s, has the result of its text", async (from) => {
    const path = join(FOLDER, recording);
    const binary = await replay(path, from);
    expect(result(binary)).toEqual(result(await replay(join(dirname(path), text), from)));
    expect(binary.checks.length).toBeGreaterThan(recording.includes("wrap") ? 0 : 1);
  });
});

describe("the name of a recording", () => {
  it.each([
    ["dir/age.dat", "age"],
    ["dir/age.dat.gz", "age"],
    ["dir/age.perf.data.gz", "age"],
    ["dir/perf.data", "perf"],
    ["dir/trace.dat", "trace"],
  ])("%s is %s", (path, name) => {
    expect(traceName(path)).toBe(name);
  });
});
