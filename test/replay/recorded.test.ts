import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findManifest, TruthFolder, traceName } from "../../bindings/replay/files.js";
import { type ReplayOptions, replayTrace } from "../../bindings/replay/replay.js";
import { passed } from "../../bindings/report/replay.js";
import { openFile } from "../../bindings/trace/node.js";
import { op, replayText } from "./support.js";

/*
 * Texts that trace-cmd report and perf script made of recordings of running kernels, each with the raw tables of the
 * kernel at its freeze points. Of age-allkvm only the part up to its second point is here; the manifests have the
 * fields that granule reads.
 */

const FOLDER = fileURLToPath(new URL("fixtures/recorded/", import.meta.url));
const perf = "O-6.12-4k-vhe-max-smp2-bin/ipa48-perf-g";
const kaslr = "Q-6.12-4k-vhe-max-smp2-kaslr-bin";

async function replay(name: string, options: ReplayOptions) {
  const path = join(FOLDER, `${name}.txt.gz`);
  const manifest = await findManifest(path, undefined);
  return replayTrace(openFile(path), {
    name: traceName(path),
    manifest,
    truth: new TruthFolder(dirname(path)),
    arenaBytes: 64 << 20,
    ...options,
  });
}

/** What each text has that the others have not, its freeze points, and the faults that agree of those compared. */
const TEXTS: readonly (readonly [what: string, name: string, points: number, agreed: number])[] = [
  ["all kvm events, with the complaints of x86's plugin", "E-6.1-4k-vhe-a76-smp2-bin/age-allkvm.report", 2, 420],
  ["all kvm events, and those of the scheduler", `${kaslr}/ipa48-2v-sched.report`, 2, 80],
  ["kernel stacks, and no return probes", "O-6.12-4k-vhe-max-smp2-bin/ipa40-stack.report", 2, 90],
  ["addresses in place of names", `${kaslr}/ipa40-kptr.report`, 2, 90],
  ["a clock that counts", `${kaslr}/unmap-2v-counter.report`, 15, 193],
  ["a buffer instance, markers in the main buffer", "R-6.12-4k-vhe-max-smp2-old-bin/unmap-2v-instance.report", 15, 192],
  ["nanoseconds, and a change between marker and stop", "K-6.12-4k-vhe-max-bin/ipa48.report-t", 2, 92],
  ["microseconds, and a change between marker and stop", "K-6.12-4k-vhe-max-bin/ipa48.report", 2, 92],
  ["16K pages", "N-6.12-16k-vhe-max-bin/ipa16k-48-both.report", 2, 92],
  ["perf's call chains", `${perf}.perf-all`, 2, 92],
  ["perf, and each marker twice", "K-6.12-4k-vhe-max-bin/unmap-perf.perf-all", 15, 192],
  ["perf of Linux 7.2", "P-7.2-4k-vhe-max-smp2-bin/ipa48-both.perf", 2, 60],
];

describe.each(TEXTS)("a text with %s", (_what, name, points, agreed) => {
  it("gives the kernel's tables from its operations", async () => {
    const report = await replay(name, { from: "ops" });
    expect(report.checks.filter((c) => c.missing + c.extra + c.differing > 0)).toEqual([]);
    expect(report.checks.filter((c) => c.skipped === undefined && c.leaves > 0)).toHaveLength(points);
    expect(report.trace).toMatchObject({ malformed: 0, lostPlaces: 0, hostOnly: false });
    expect(passed(report)).toBe(true);
  });

  it("gives them from its faults, too", async () => {
    const report = await replay(name, { from: "faults" });
    const { compared, agreed: same } = report.service?.agreement ?? {};
    expect(report.checks.filter((c) => c.missing + c.extra + c.differing > 0)).toEqual([]);
    expect([same, compared]).toEqual([agreed, compared]);
  });
});

describe("events that cannot be read", () => {
  const stamp = "kvmt-7 [000] d.... 1.5: ";
  const unneeded = `${stamp}kvm_mmio: mmio CAN'T FIND FIELD "gpa"\n${stamp}tlbi_ipa: (f) ipa=nowhere level=3\n`;

  it("are counted where the replay does not need them", async () => {
    const report = await replayText(unneeded + op.map(16, 0, 4096, 0) + op.mapped(), { from: "ops" });
    expect(report.trace).toMatchObject({ unread: { kvm_mmio: 1, tlbi_ipa: 1 }, malformed: 0 });
    expect(report.trace.errors).toHaveLength(2);
    expect(report.table.leaves).toEqual({ 3: 1 });
  });

  it.each([
    ["ops", "s2_unmap: (f) pgt=0x1 ipa=nowhere size=0x1000"],
    ["faults", "kvm_guest_fault: ipa nowhere"],
    ["faults", "kvm_unmap_hva_range: mmu notifier unmap range: nowhere"],
  ] as const)("end a replay from %s that needs %s", async (from, text) => {
    await expect(replayText(`${unneeded}${stamp}${text}\n`, { from })).rejects.toThrow(/^line 3: /);
  });

  it("of the faults do not end a replay of the operations", async () => {
    const report = await replayText(`${stamp}kvm_guest_fault: ipa nowhere\n`, { from: "ops" });
    expect(report.trace.unread).toEqual({ kvm_guest_fault: 1 });
  });
});

describe("a buffer instance without markers", () => {
  it("shows by its notifiers that the host split huge pages", async () => {
    const { service } = await replay("K-6.12-4k-vhe-max-bin/unmap-instance.report", { from: "faults" });
    // What is missing follows from madvise, munmap and fork, of which only markers would tell.
    expect(service?.agreement).toMatchObject({ compared: 190, agreed: 169 });
  });
});

describe("lost events", () => {
  it("are reported at once, with their number, and mark every comparison after them", async () => {
    const lost: unknown[] = [];
    const onLost: ReplayOptions["onLost"] = ({ line, cpu, count }) => lost.push([line, cpu, count]);
    const report = await replay(`${kaslr}/d4k-wrap.report`, { from: "ops", onLost });
    expect(lost).toEqual([[2, 0, 7068]]);
    expect(report.trace).toMatchObject({ lostPlaces: 1, lostEvents: 7068 });
    expect(report.checks.map((c) => c.afterLoss)).toEqual([true, true, true]);
    expect(passed(report)).toBe(false);
  });
});

describe("perf script without the samples that perf marks as the guest's", () => {
  it.each([`${perf}.perf`, "K-6.12-4k-vhe-max-bin/unmap-perf.perf"])("is noticed in %s", async (name) => {
    expect((await replay(name, { from: "ops", truth: undefined })).trace.hostOnly).toBe(true);
  });
});

describe("a copy of a marker in the VMM's log", () => {
  it("is no second marker", async () => {
    const { checks, trace } = await replay("K-6.12-4k-vhe-max-bin/unmap-perf.perf-all", { from: "faults" });
    expect(trace.byName.marker).toBe(150);
    expect(checks).toHaveLength(15);
  });
});

describe("a table that the host changed between the marker and the stop of the machine", () => {
  it("is equal after the change, and the report says so", async () => {
    const { checks } = await replay("K-6.12-4k-vhe-max-bin/ipa48.report", { from: "ops" });
    expect(checks.map((c) => [c.point, c.equalAt])).toEqual([
      ["ipa48.scattered", 419],
      ["ipa48.deleted", undefined],
    ]);
  });
});
