// --out FILE.perfetto of run and replay, inside this process.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { esr, fault, op } from "../replay/support.js";
import { readPerfetto } from "../support/perfetto.js";
import { scratchFolder } from "../support/scratch.js";
import { inside } from "./inside.js";

const folder = scratchFolder();

const trace = (): string => {
  const path = join(folder, "small.trace");
  writeFileSync(path, fault(0x4000_0000, esr.write(7)) + op.map(1, 0x4000_0000, 4096, 0) + op.mapped());
  return path;
};

describe("--out", () => {
  it("of replay writes a time line in place of what was there", async () => {
    const target = join(folder, "small.perfetto");
    writeFileSync(target, "old");
    expect((await inside(["replay", trace(), "--out", target])).code).toBe(0);
    const { events } = readPerfetto(readFileSync(target));
    expect(events.filter(({ name }) => name === "translation fault")).toHaveLength(1);
    expect(readdirSync(folder).filter((name) => name.endsWith(".part"))).toEqual([]);
  });

  it("of run writes the faults of each vCPU, the VMM's operations, and whose TLB lost entries", async () => {
    const target = join(folder, "run.pftrace");
    const argv = ["run", "dirty_log_perf", "--vcpus", "2", "--memory", "4M", "--backing", "4k", "--iterations", "2"];
    expect((await inside([...argv, "--out", target])).code).toBe(0);
    const { events, counters } = readPerfetto(readFileSync(target));
    const named = (name: string) => events.filter((event) => event.name === name);
    expect(named("translation fault").length).toBe(1024);
    expect(named("permission fault").length).toBeGreaterThan(0);
    expect(named("dirtyLog").map(({ track }) => track)).toEqual(["VMM and host", "VMM and host"]);
    const lost = named("entries lost");
    expect(new Set(lost.map(({ track }) => track))).toEqual(new Set(["vCPUs/vCPU 0", "vCPUs/vCPU 1"]));
    expect(lost.every(({ ends, args }) => ends.length === 1 && (args.entries as number) > 0)).toBe(true);
    expect(counters).toContain("vCPUs/TLB hit rate of vCPU 1");
    const reported = events.filter(({ track }) => track === "dirty pages reported").map(({ value }) => value);
    expect(reported.every((pages) => (pages ?? 0) > 0)).toBe(true);
  });

  it.each([["out.txt"], ["perfetto"], ["out.perfetto.gz"]])("%s is no such file: usage", async (name) => {
    for (const argv of [
      ["replay", trace()],
      ["run", "demand_paging", "--memory", "2M"],
    ]) {
      const { code, err } = await inside([...argv, "--out", join(folder, name)]);
      expect([code, err]).toEqual([2, expect.stringContaining(".perfetto")]);
    }
  });

  it("leaves nothing behind of a trace that cannot be read", async () => {
    const bad = join(folder, "bad.trace");
    writeFileSync(bad, "kvmt-7 [000] d.... 1.5: kvm_guest_fault: nonsense\n");
    const target = join(folder, "bad.perfetto");
    expect((await inside(["replay", bad, "--out", target])).code).toBe(3);
    expect([existsSync(target), existsSync(`${target}.part`)]).toEqual([false, false]);
  });

  it("does not write over the trace, nor over what another option writes", async () => {
    const path = join(folder, "self.perfetto");
    writeFileSync(path, fault(0, esr.read(7)));
    expect((await inside(["replay", path, "--out", path])).code).toBe(2);
    const other = join(folder, "two.perfetto");
    expect((await inside(["replay", path, "--out", other, "--dump", other])).code).toBe(2);
  });
});
