import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findManifest, traceName } from "../../bindings/replay/files.js";
import { replayTrace } from "../../bindings/replay/replay.js";
import { ReplayTimeline } from "../../bindings/replay/timeline.js";
import { PerfettoWriter } from "../../bindings/report/index.js";
import { openFile, readTrace } from "../../bindings/trace/node.js";
import { KeptBytes, type ReadTimeline, readPerfetto } from "../support/perfetto.js";
import { esr, fault, line, marker, op, replayText } from "./support.js";

const FOLDER = fileURLToPath(new URL("fixtures/recorded/", import.meta.url));

/** The time line of a replay; its form is checked when it is read. */
async function timelineOf(path: string, from: "faults" | "ops"): Promise<ReadTimeline> {
  const kept = new KeptBytes();
  const manifest = await findManifest(path, undefined);
  const timeline = new ReplayTimeline(new PerfettoWriter(kept));
  const options = { from, name: traceName(path), manifest, arenaBytes: 64 << 20 };
  await replayTrace(openFile(path), { ...options, onlookers: [timeline] });
  return readPerfetto(kept.bytes);
}

async function ofText(text: string, from: "faults" | "ops" = "ops"): Promise<ReadTimeline> {
  const kept = new KeptBytes();
  const timeline = new ReplayTimeline(new PerfettoWriter(kept));
  await replayText(text, { from, onlookers: [timeline] });
  return readPerfetto(kept.bytes);
}

const VCPU = "vCPUs/vCPU kvmt-7";
const WALKER = "granule's walkers/walker 0";

describe("the time line of a replay", () => {
  it("has a fault as a slice, and the kernel's calls in it", async () => {
    const { events } = await ofText(
      fault(0x4000_0000, esr.write(7)) + op.map(1, 0x4000_0000, 4096, 0) + op.mapped(-11),
    );
    const thread = events.filter(({ track }) => track === VCPU);
    expect(thread.map(({ type, name }) => [type, name])).toEqual([
      ["begin", "translation fault"],
      ["begin", "s2_map"],
      ["end", undefined],
      ["end", undefined],
    ]);
    expect(thread[0]?.args).toMatchObject({ ipa: 0x4000_0000, level: 3, access: "store", pc: 0x1000 });
    expect(thread[1]?.args).toMatchObject({ ipa: 0x4000_0000, size: 4096, prot: 6, pgt: "0x1" });
    expect(thread[2]?.args).toEqual({ ret: -11 });
    expect((thread[1]?.time ?? 0) - (thread[0]?.time ?? 0)).toBe(1000);
  });

  it("leads from an invalidation to the fault that it caused, and to no other", async () => {
    const tlbi = line("tlbi_range", "(f+0x0/0x1) ipa=0x40000000 pages=2", 9);
    const text =
      tlbi + fault(0x4000_2000, esr.read(7)) + fault(0x4000_1000, esr.read(7)) + fault(0x4000_1000, esr.read(7));
    const { events } = await ofText(text);
    const [flow] = events.find(({ name }) => name === "tlbi_range")?.flows ?? [];
    expect(flow).toBeGreaterThan(0);
    const faults = events.filter(({ name }) => name === "translation fault");
    expect(faults.map(({ ends }) => ends)).toEqual([[], [flow], []]);
    expect(events.find(({ name }) => name === "tlbi_range")?.track).toBe("host/kvmt-9");
  });

  it("shows what granule's walker did: break, TLBI and DSB joined by arrows, make", async () => {
    const { events } = await ofText(op.map(1, 0, 2 << 20, 0) + op.mapped() + op.unmap(1, 0, 2 << 20) + op.destroy(1));
    const walker = events.filter(({ track }) => track === WALKER);
    const written = walker.filter(({ category }) => category === "descriptor").map(({ name }) => name);
    expect(written.filter((name) => name !== "mark")).toEqual(["make", "make", "break", "break"]);
    const at = walker.findIndex(({ name }) => name === "TLBI RIPAS2E1IS");
    expect(walker.slice(0, at).some(({ name }) => name === "break")).toBe(true);
    const done = walker.slice(at).find(({ name }) => name === "DSB ISH");
    expect(done?.ends).toEqual(walker[at]?.flows);
    const pages = events.filter(({ track }) => track === "table pages").map(({ value }) => value);
    expect(Math.max(...(pages as number[]))).toBeGreaterThan(1);
    expect(pages.at(-1)).toBe(0);
  });

  it("counts faults and what the dirty log reported", async () => {
    const reads = marker("KVM_GET_DIRTY_LOG slot=0 [a]") + marker("KVM_GET_DIRTY_LOG slot=0 rc=0 dirty_pages=17");
    const { events, counters } = await ofText(fault(0, esr.read(7)) + reads + fault(0, esr.read(6)), "faults");
    expect([...counters]).toEqual(["stage-2 faults", "dirty pages reported", "table pages"]);
    const values = (name: string) => events.filter(({ track }) => track === name).map(({ value }) => value);
    expect(values("dirty pages reported")).toEqual([17]);
    expect(values("stage-2 faults")).toEqual([1, 2]);
  });

  it("shows where events were lost", async () => {
    const { events } = await ofText(`${fault(0, esr.read(7))}CPU:3 [123 EVENTS DROPPED]\n`);
    expect(events.find(({ name }) => name === "events lost")).toMatchObject({
      track: "host",
      args: { cpu: 3, count: 123 },
    });
  });

  it.each([
    ["K-6.12-4k-vhe-max-bin/unmap-perf.perf.data.gz", "faults"],
    ["Q-6.12-4k-vhe-max-smp2-kaslr-bin/ipa48-2v-sched.dat.gz", "ops"],
    ["Q-6.12-4k-vhe-max-smp2-kaslr-bin/unmap-2v-counter.dat", "faults"],
    ["O-6.12-4k-vhe-max-smp2-bin/d4k-lost.dat.gz", "faults"],
    ["R-6.12-4k-vhe-max-smp2-old-bin/unmap-2v-instance.dat.gz", "ops"],
  ] as const)("of %s from its %s has every fault, and is well-formed", async (path, from) => {
    const { events, tracks } = await timelineOf(join(FOLDER, path), from);
    const faults = events.filter(({ type, category }) => type === "begin" && category === "fault");
    let recorded = 0;
    for await (const batch of readTrace(openFile(join(FOLDER, path)))) {
      recorded += batch.filter(({ kind }) => kind === "guest_fault").length;
    }
    expect(faults).toHaveLength(recorded);
    expect(tracks.some((track) => track.startsWith("vCPUs/vCPU "))).toBe(true);
  });
});
