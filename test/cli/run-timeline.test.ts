// The time line of a workload: what it shows, and that a run with it is the same run.

import { describe, expect, it } from "vitest";
import { createJudge } from "../../bindings/audit/index.js";
import { RunTimeline } from "../../bindings/cli/run-timeline.js";
import { PerfettoWriter } from "../../bindings/report/index.js";
import { COSTS, type RunConfig, type RunReport, runWorkload } from "../../bindings/sim/index.js";
import { createVm, type Vm, type VmOptions } from "../../bindings/vm/index.js";
import { KeptBytes, type ReadEvent, type ReadTimeline, readPerfetto } from "../support/perfetto.js";

const MIB = 2 ** 20;
const VMM = "VMM and host";

/** A run and its time line. */
function timelineOf(config: RunConfig): ReadTimeline & { report: RunReport } {
  const kept = new KeptBytes();
  const writer = new PerfettoWriter(kept);
  const report = runWorkload(config, undefined, (vm) => new RunTimeline(writer, vm, COSTS));
  writer.finish();
  return { report, ...readPerfetto(kept.bytes) };
}

/** The time line of what is done to a VM of 2 MiB in small pages. */
function timelineOfVm(options: VmOptions, work: (vm: Vm, slot: number) => void): readonly ReadEvent[] {
  const kept = new KeptBytes();
  const writer = new PerfettoWriter(kept);
  using vm = createVm(options);
  const slot = vm.addSlot({ gpa: 0, size: 2 * MIB, backing: "4k" });
  vm.watch(new RunTimeline(writer, vm, COSTS));
  work(vm, slot);
  writer.finish();
  return readPerfetto(kept.bytes).events;
}

const isMaintenance = ({ name = "" }: ReadEvent): boolean => /^(?:TLBI|DSB) /.test(name);
/** Names of the TLBIs of stage 2 by the counter that counts them. */
const FLUSHES = {
  tlbiIpa: "IPAS2E1IS",
  tlbiIpaLocal: "IPAS2E1",
  tlbiRange: "RIPAS2E1IS",
  tlbiVmid: "VMALLS12E1IS",
} as const;

/** Each TLBI and DSB with the slice of its track that it lies in. */
function issuedIn(events: readonly ReadEvent[]): { event: ReadEvent; slice: ReadEvent | undefined }[] {
  const open = new Map<string, ReadEvent>();
  const issued: { event: ReadEvent; slice: ReadEvent | undefined }[] = [];
  for (const event of events) {
    if (event.type === "begin") open.set(event.track, event);
    else if (event.type === "end") open.delete(event.track);
    else if (isMaintenance(event)) issued.push({ event, slice: open.get(event.track) });
  }
  return issued;
}

describe("a run that is watched", () => {
  it.each([
    { workload: "dirty_log_perf", vcpus: 2, memory: 8 * MIB, backing: "4k", dirty: "ring" },
    { workload: "migration", vcpus: 3, memory: 6 * MIB, backing: "thp", adversarial: true },
    { workload: "page_table_test", memory: 8 * MIB, dirty: "dbm" },
  ] as RunConfig[])("does the same as one that is not: %j", (config) => {
    const { report, events } = timelineOf(config);
    const { seconds: _, ...same } = report;
    const { seconds: __, ...plain } = runWorkload(config);
    expect(same).toEqual(plain);
    const taken = plain.faults.translation + plain.faults.permission + plain.faults.access + plain.faults.exits;
    const last = (i: number) => events.filter(({ track }) => track.endsWith(`faults of vCPU ${i}`)).at(-1)?.value ?? 0;
    const told = Array.from({ length: config.vcpus ?? 1 }, (_, i) => last(i));
    expect(told.reduce((sum, n) => sum + n, 0)).toBe(taken);
  });

  it("is judged as one that is not", () => {
    const config: RunConfig = { workload: "migration", vcpus: 2, memory: 8 * MIB, adversarial: true, iterations: 2 };
    const [alone, beside] = [createJudge(), createJudge()];
    runWorkload({ ...config, judge: alone });
    const { events } = timelineOf({ ...config, judge: beside });
    const { events: unjudged } = timelineOf(config);
    const { verdict, records } = beside.finish();
    expect([verdict, records]).toEqual(["ok", alone.finish().records]);
    expect(records).toBeGreaterThan(1000);
    expect(events).toEqual(unjudged);
  });
});

describe("the time line of a run", () => {
  it.each([
    { workload: "dirty_log_perf", vcpus: 2, memory: 8 * MIB, backing: "4k", dirty: "ring" },
    { workload: "migration", vcpus: 3, memory: 6 * MIB, dirty: "eager" },
    { workload: "memslot_perf", memory: 8 * MIB, iterations: 1 },
  ] as RunConfig[])("has each TLBI and DSB in the slice of who issued it: %j", (config) => {
    const { report, events } = timelineOf(config);
    const issued = issuedIn(events);
    for (const [counter, name] of Object.entries(FLUSHES)) {
      const count = issued.filter(({ event }) => event.name === `TLBI ${name}`).length;
      expect([name, count]).toEqual([name, report.counters[counter as keyof typeof FLUSHES]]);
    }
    const slices = new Map<ReadEvent, number>();
    for (const { event, slice } of issued) {
      expect(slice, event.name).toBeDefined();
      if (event.name?.startsWith("DSB")) slices.set(slice as ReadEvent, (slices.get(slice as ReadEvent) ?? 0) + 1);
    }
    for (const [{ args }, dsbs] of slices) expect(dsbs).toBe(args.DSBs);
    // A TLBI on one CPU alone is a vCPU's; what the VMM flushes reaches all.
    const local = issued.filter(({ event }) => event.name === "TLBI IPAS2E1");
    expect(local.every(({ event }) => event.track.startsWith("vCPUs/"))).toBe(true);
  });

  it("leads from a TLBI to the DSB that completes it, and to the vCPUs whose TLBs lost entries to it", () => {
    const events = timelineOfVm({ cpus: 2, journalRecords: 1 << 16 }, (vm, slot) => {
      vm.run(512, { gpa: 0, size: 2 * MIB, pattern: "sequential", writes: 1 });
      vm.logDirty(slot, true);
      for (const writes of [0, 1]) vm.run(1, { gpa: 0, size: 2 * MIB, pattern: "sequential", writes });
    });
    const [flush, ...more] = events.filter(({ name, track }) => name === "TLBI RIPAS2E1IS" && track === VMM);
    expect([flush?.args, more]).toEqual([{ table: expect.any(Number), ipa: 0, pages: 512 }, []]);
    const [barrier, ...losers] = flush?.flows ?? [];
    const endOf = (flow: number | undefined) => events.find(({ ends }) => flow !== undefined && ends.includes(flow));
    expect(endOf(barrier)).toMatchObject({ name: "DSB ISH", track: VMM });
    // The second TLBI of the flush takes the whole translations: the arrows go through it.
    const second = events.find(({ name, track }) => name === "TLBI VMALLE1IS" && track === VMM);
    expect(second?.flows.slice(1)).toEqual(losers);
    const lost = losers.map((flow) => endOf(flow));
    expect(lost.map((event) => [event?.name, event?.track])).toEqual([
      ["entries lost", "vCPUs/vCPU 0"],
      ["entries lost", "vCPUs/vCPU 1"],
    ]);
    expect(lost.every((event) => (event?.args.entries as number) > 1)).toBe(true);
    // A vCPU that makes its own page writable takes its own entry, with a TLBI that no other CPU hears.
    const own = events.filter(({ name }) => name === "TLBI IPAS2E1");
    expect(own.map(({ track }) => track)).toEqual(["vCPUs/vCPU 0", "vCPUs/vCPU 1"]);
    for (const { track, flows } of own) {
      expect(flows.map((flow) => endOf(flow))).toMatchObject([
        { name: "DSB NSH", track },
        // Its leaf of stage 2, and the translation in two levels of TLB.
        { name: "entries lost", track, args: { entries: 3 } },
      ]);
    }
  });

  it("leads from the slice where any of several TLBIs may have taken the entries", () => {
    const { events } = timelineOf({ workload: "migration", vcpus: 3, memory: 6 * MIB, dirty: "eager" });
    const issued = issuedIn(events);
    const withArrows = events.filter(({ type, flows }) => type === "begin" && flows.length > 0);
    expect(withArrows.map(({ name }) => name)).toEqual(["logDirty"]);
    const inside = issued.filter(({ slice }) => slice === withArrows[0]).map(({ event }) => event);
    const flushes = inside.filter(({ name }) => /^TLBI R?IPA/.test(name ?? ""));
    expect(flushes.length).toBeGreaterThan(1);
    expect(flushes.every(({ flows }) => flows.length === 1)).toBe(true);
  });

  it("shows who collected the rings, when a vCPU stopped because its ring was full", () => {
    let stops = 0;
    const events = timelineOfVm({ cpus: 2, journalRecords: 1 << 16 }, (vm, slot) => {
      vm.setDirtyPolicy({ strategy: "ring", ringEntries: 128 });
      vm.logDirty(slot, true);
      vm.run(512, { gpa: 0, size: 2 * MIB, pattern: "sequential", writes: 1 });
      stops = vm.stats().reduce((sum, { ringFull }) => sum + ringFull, 0);
    });
    const collected = events.filter(({ name }) => name === "collectRings");
    expect(stops).toBeGreaterThan(0);
    expect(collected.map(({ track }) => track)).toEqual(Array.from({ length: stops }, () => VMM));
    const wide = issuedIn(events).filter(({ event }) => /TLBI (?:RIPAS2E1IS|VMALLS12E1IS)/.test(event.name ?? ""));
    expect(wide.length).toBeGreaterThan(0);
    expect(wide.every(({ event }) => event.track === VMM)).toBe(true);
  });

  it("says what a small journal had no room for", () => {
    const events = timelineOfVm({ journalRecords: 4 }, (vm, slot) => {
      vm.run(512, { gpa: 0, size: 2 * MIB, pattern: "sequential", writes: 1 });
      vm.logDirty(slot, true);
    });
    const slice = events.find(({ name }) => name === "logDirty");
    const shown = events.filter((event) => isMaintenance(event) && event.track === VMM);
    expect([slice?.args["records overwritten"], shown.length]).toEqual([(slice?.args.DSBs as number) + 2 - 4, 4]);
    expect(slice?.flows.length).toBe(1);
  });

  it("wants a journal", () => {
    expect(() => timelineOfVm({}, () => {})).toThrow("make the engine with journalRecords");
  });
});
