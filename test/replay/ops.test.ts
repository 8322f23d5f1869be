import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type ReplayOptions, replayTrace } from "../../bindings/replay/replay.js";
import type { Entry } from "../../bindings/tables/entry.js";
import { op, replayText } from "./support.js";

const VM = 0xfff0_0000;
const OTHER = 0xfff1_0000;

/** Replays operations and gives the report with the leaves of the last table. */
async function replayed(text: string, options: ReplayOptions = {}) {
  let leaves: Entry[] = [];
  const report = await replayText(text, {
    from: "ops",
    ...options,
    onTable: (table) => {
      leaves = [...table.leaves()];
    },
  });
  return { report, leaves, addresses: leaves.map((leaf) => Number(leaf.address)) };
}

describe("a map", () => {
  it("is made when it returned 0", async () => {
    const { leaves } = await replayed(op.map(VM, 0x1000, 0x1000, 0x9000) + op.mapped());
    expect(leaves).toMatchObject([{ address: 0x1000n, pa: 0x9000n, prot: 6, level: 3 }]);
  });

  it.each([-12, -22, -34])("is not made when it returned %d", async (ret) => {
    const text = op.map(VM, 0, 0x1000, 0) + op.mapped() + op.map(VM, 0x1000, 0x1000, 0x9000) + op.mapped(ret);
    const { report, addresses } = await replayed(text);
    expect(addresses).toEqual([0]);
    expect(report.operations.refused).toEqual({ [`s2_map ${ret}`]: 1 });
  });

  it("is paired with the return line of its own thread", async () => {
    const text =
      op.map(VM, 0x1000, 0x1000, 0x9000, 6, 7) +
      op.map(VM, 0x2000, 0x1000, 0xa000, 6, 8) +
      op.mapped(-12, 7) +
      op.mapped(0, 8);
    expect((await replayed(text)).addresses).toEqual([0x2000]);
  });

  it("that lost a race does not win it here", async () => {
    const text =
      op.map(VM, 0x1000, 0x1000, 0x9000, 6, 7) +
      op.map(VM, 0x1000, 0x1000, 0xa000, 4, 8) +
      op.mapped(-11, 8) +
      op.mapped(0, 7);
    const { leaves } = await replayed(text);
    expect(leaves).toMatchObject([{ pa: 0x9000n, prot: 6 }]);
  });

  it("counts as done where the recorder had no return probes", async () => {
    const text = op.map(VM, 0x1000, 0x1000, 0x9000) + op.map(VM, 0x3000, 0x1000, 0x9000) + op.unmap(VM, 0x1000, 0x1000);
    expect((await replayed(text)).addresses).toEqual([0x3000]);
  });

  it("that has not returned when the trace ends was not made, if others did return", async () => {
    const text = op.map(VM, 0x1000, 0x1000, 0x9000) + op.mapped() + op.map(VM, 0x3000, 0x1000, 0x9000);
    expect((await replayed(text)).addresses).toEqual([0x1000]);
  });

  it("with rights that its kernel does not have is an error of its line, or skipped", async () => {
    const text = op.map(VM, 0x1000, 0x1000, 0x9000) + op.mapped() + op.map(VM, 0x3000, 0x1000, 0, 0x40) + op.mapped();
    await expect(replayed(text)).rejects.toThrow(/line 3: expected a protection as Linux 6\.x/);
    const { report, addresses } = await replayed(text, { lenient: true });
    expect(addresses).toEqual([0x1000]);
    expect(report.operations.failed).toEqual({ "s2_map protection": 1 });
  });

  it("that returned a value beyond a bound of different ones is counted with the others", async () => {
    let text = "";
    for (let i = 1; i <= 300; i++) text += op.map(VM, 0, 0x1000, 0) + op.mapped(-1000 - i);
    const { refused } = (await replayed(text)).report.operations;
    expect(Object.keys(refused)).toHaveLength(257);
    expect(refused["(others)"]).toBe(300 - 256);
  });

  it("that ends differently here and in the kernel is counted", async () => {
    const twice = (op.map(VM, 0x1000, 0x1000, 0x9000) + op.mapped(0)).repeat(2);
    const { report } = await replayed(twice);
    expect(report.operations.returns).toEqual({ agreed: 1, differing: { "s2_map returned 0 there, -11 here": 1 } });
  });
});

describe("several VMs", () => {
  it("have a table each", async () => {
    const text =
      op.map(VM, 0x1000, 0x1000, 0x9000) +
      op.mapped() +
      op.map(OTHER, 0x5000, 0x1000, 0x9000) +
      op.mapped() +
      op.map(OTHER, 0x7000, 0x1000, 0x9000) +
      op.mapped() +
      op.unmap(VM, 0, 0x10000) +
      op.unmap(OTHER, 0, 0x1000);
    const { report, addresses } = await replayed(text);
    expect(report.vms).toBe(2);
    expect(addresses).toEqual([0x5000, 0x7000]);
  });

  it("may have the same pgt one after the other", async () => {
    const text =
      op.map(VM, 0x1000, 0x1000, 0x9000) +
      op.mapped() +
      op.destroy(VM) +
      op.map(VM, 0x2000, 0x1000, 0x9000) +
      op.mapped() +
      op.map(VM, 0x3000, 0x1000, 0x9000) +
      op.mapped();
    const { report, addresses } = await replayed(text);
    expect(report.vms).toBe(2);
    expect(addresses).toEqual([0x2000, 0x3000]);
  });

  it("leave what the busiest had in the report, though it was destroyed", async () => {
    const text = `${op.map(VM, 0, 0x200000, 0) + op.mapped()}${op.destroy(VM)}${op.destroy(OTHER)}`;
    const { report } = await replayed(text);
    expect(report.table).toMatchObject({ leaves: { 2: 1 }, mapped: 0x200000 });
    expect(report.operations.applied.s2_destroy).toBe(2);
  });

  it("are as many as the trace has, each destroyed in turn", async () => {
    let text = "";
    for (let i = 0; i < 6000; i++) text += op.map(i * 4096, 0x1000, 0x1000, 0) + op.mapped() + op.destroy(i * 4096);
    const { report } = await replayed(text);
    expect(report.vms).toBe(6000);
    expect(report.operations.failed).toEqual({});
  });
});

describe("a trace", () => {
  const text = op.map(VM, 0x1000, 0x1000, 0x9000) + op.mapped();

  it("may be gzipped, and come in pieces of any size", async () => {
    const bytes = gzipSync(text);
    const pieces = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
    const report = await replayTrace(pieces, { from: "ops", arenaBytes: 16 << 20 });
    expect(report.table.leaves).toEqual({ 3: 1 });
  });

  it("may be spelled as trace-cmd report and perf script do", async () => {
    const traceCmd = text.replaceAll(" d....", "");
    const perf = text
      .replaceAll(/^kvmt-7/gm, "kvmt 7")
      .replaceAll(" d....", "")
      .replaceAll(": s2_", ": probe:s2_");
    expect((await replayed(traceCmd)).addresses).toEqual([0x1000]);
    expect((await replayed(perf)).addresses).toEqual([0x1000]);
  });

  it("tells by its protections how they are numbered, without a manifest", async () => {
    const { report, leaves } = await replayed(op.map(VM, 0x1000, 0x1000, 0x9000, 0xf) + op.mapped());
    expect(report.config.protections).toBe("7.x");
    expect(leaves[0]?.prot).toBe(7);
  });

  it("of no event at all is an empty report", async () => {
    const { report } = await replayed("# tracer: nop\n#\n");
    expect(report).toMatchObject({ events: 0, vms: 0, table: { pages: 0, leaves: {} }, checks: [] });
  });

  it("with geometry from options has tables of that shape", async () => {
    const { report, leaves } = await replayed(op.map(VM, 1 << 25, 1 << 25, 1 << 25) + op.mapped(), {
      geometry: { granule: 16384, ipaBits: 48, fwb: false },
    });
    expect(report.config).toMatchObject({ granule: 16384, ipaBits: 48, fwb: false, geometrySource: "options" });
    expect(leaves).toMatchObject([{ level: 2, address: 1n << 25n }]);
    expect(((leaves[0]?.descriptor ?? 0n) >> 2n) & 0xfn).toBe(0xfn);
  });
});
