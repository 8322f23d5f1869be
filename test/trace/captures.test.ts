import { describe, expect, it } from "vitest";
import { inferNumbering, type TraceEvent } from "../../bindings/trace/index.js";
import { openFile, protectionDecoder, readManifest, readTrace } from "../../bindings/trace/node.js";

const fixture = (name: string): URL => new URL(`fixtures/${name}`, import.meta.url);

async function capture(name: string) {
  const manifest = await readManifest(openFile(fixture(`${name}.manifest.json`)));
  const trace = readTrace(openFile(fixture(`${name}.trace.gz`)));
  const events: TraceEvent[] = [];
  for await (const batch of trace) events.push(...batch);
  return { manifest, events, stats: trace.stats };
}

const NAMES = ["ipa40-6.12-4k", "unmap-6.12-2v", "unmap-6.12-nvhe", "unmap-7.2-4k"];

describe.each(NAMES)("the real capture %s", (name) => {
  it("has every event that its manifest counts, and no other line", async () => {
    const { manifest, events, stats } = await capture(name);
    expect(stats).toMatchObject({ malformed: 0, lostPlaces: 0 });
    expect(stats.unknown.size).toBe(0);
    expect(Object.fromEntries(stats.events)).toEqual(Object.fromEntries(manifest.events));
    expect(events).toHaveLength([...manifest.events.values()].reduce((sum, n) => sum + n, 0));
  });

  it("numbers its protections as its kernel does, every one of them readable", async () => {
    const { manifest, events } = await capture(name);
    const prots = events.flatMap((event) => (event.kind === "s2_map" ? [event.prot] : []));
    expect(inferNumbering(prots)).toBe(manifest.numbering);
    const decode = protectionDecoder(manifest.numbering);
    expect(prots.every((prot) => (decode(prot) & 0b100) !== 0)).toBe(true);
  });

  it("has as many slot calls in its markers as in its manifest", async () => {
    const { manifest, events } = await capture(name);
    const calls = events.flatMap((event) =>
      event.kind === "marker" && event.note.type === "set-region" ? [event.note] : [],
    );
    expect(calls.map(({ type: _, ...call }) => call)).toEqual(
      manifest.slotCalls.map(({ rc: _, errno: __, ...call }) => call),
    );
  });

  it("returns once from every map call", async () => {
    const { events } = await capture(name);
    const open = new Map<number, number>();
    for (const event of events) {
      if (event.kind === "s2_map") open.set(event.pid, (open.get(event.pid) ?? 0) + 1);
      if (event.kind === "ret" && event.of === "s2_map") {
        open.set(event.pid, (open.get(event.pid) ?? 0) - 1);
      }
      for (const depth of open.values()) expect(depth === 0 || depth === 1).toBe(true);
    }
  });
});

describe("what single captures show", () => {
  it("two vCPUs race to one mapping, and one of them gets EAGAIN", async () => {
    const { events } = await capture("unmap-6.12-2v");
    const values = events.flatMap((e) => (e.kind === "ret" && e.of === "s2_map" ? [e.value] : []));
    expect(values.filter((value) => value === -11)).toHaveLength(1);
    expect(values.every((value) => value === 0 || value === -11)).toBe(true);
  });

  it("the freeze points of a scenario, in order", async () => {
    const { events } = await capture("ipa40-6.12-4k");
    const points = events.flatMap((event) =>
      event.kind === "marker" && event.note.type === "freeze" ? [`${event.note.scenario}.${event.note.point}`] : [],
    );
    expect(points).toEqual(["ipa40.scattered", "ipa40.deleted"]);
  });
});
