import { describe, expect, it } from "vitest";
import { PerfettoWriter } from "../../bindings/report/index.js";
import { KeptBytes, readPerfetto } from "../support/perfetto.js";

/** What is read of what `write` writes. */
function written(write: (writer: PerfettoWriter) => void) {
  const kept = new KeptBytes();
  const writer = new PerfettoWriter(kept);
  write(writer);
  writer.finish();
  return readPerfetto(kept.bytes);
}

describe("a trace for Perfetto", () => {
  it("has tracks below tracks, slices with arguments, points, arrows and counters", () => {
    const { tracks, counters, events } = written((w) => {
      const group = w.track("vCPUs");
      const [one, two] = [w.track("vCPU 0", group), w.track("vCPU 1", group)];
      const pages = w.counterTrack("table pages", "pages");
      const flow = w.flow();
      w.begin(one, 1000, "fault", {
        category: "fault",
        args: { ipa: { address: 0x4000_0000 }, level: -1, exec: false },
      });
      w.instant(one, 1500, "TLBI", { args: { share: 0.5, form: "range", none: undefined }, flows: [flow] });
      w.count(pages, 1600, 3);
      w.end(one, 2000, { args: { ret: -11 } });
      w.instant(two, 2500, "entries lost", { endingFlows: [flow] });
      w.count(pages, 2600, 0.25);
    });
    expect(tracks).toEqual(["vCPUs", "vCPUs/vCPU 0", "vCPUs/vCPU 1", "table pages"]);
    expect([...counters]).toEqual(["table pages"]);
    const plain = { args: {}, flows: [], ends: [] };
    const [track, other] = ["vCPUs/vCPU 0", "vCPUs/vCPU 1"];
    expect(events).toEqual([
      {
        ...plain,
        type: "begin",
        track,
        time: 1000,
        name: "fault",
        category: "fault",
        args: { ipa: 0x4000_0000, level: -1, exec: false },
      },
      { ...plain, type: "instant", track, time: 1500, name: "TLBI", args: { share: 0.5, form: "range" }, flows: [1] },
      { ...plain, type: "counter", track: "table pages", time: 1600, value: 3 },
      { ...plain, type: "end", track, time: 2000, args: { ret: -11 } },
      { ...plain, type: "instant", track: other, time: 2500, name: "entries lost", ends: [1] },
      { ...plain, type: "counter", track: "table pages", time: 2600, value: 0.25 },
    ]);
  });

  it("keeps 64-bit addresses and times beyond 32 bits", () => {
    const kept = new KeptBytes();
    const w = new PerfettoWriter(kept);
    w.instant(w.track("t"), 2 ** 52 + 1, "x", { args: { pc: { address: 0xffff_8000_8009_ebe0n } } });
    w.finish();
    const { events } = readPerfetto(kept.bytes);
    expect(events[0]?.time).toBe(2 ** 52 + 1);
    // 0xffff80008009ebe0 as a varint: seven bits a byte, the lowest first.
    expect(Buffer.from(kept.bytes).toString("hex")).toContain("38e0d7a7808880e0ffff01");
  });

  it("writes names beyond the first few thousand out, and still reads them", () => {
    const { events } = written((w) => {
      const track = w.track("t");
      for (let i = 0; i < 5000; i++) w.instant(track, i, `name ${i}`, { args: { [`argument ${i}`]: i } });
    });
    expect(events.map(({ name }) => name)).toEqual(Array.from({ length: 5000 }, (_, i) => `name ${i}`));
    expect(events[4999]?.args).toEqual({ "argument 4999": 4999 });
  });

  it("hands its bytes on in pieces, however long it is", () => {
    const kept = new KeptBytes();
    const w = new PerfettoWriter(kept);
    const track = w.track("t");
    for (let i = 0; i < 100_000; i++) w.instant(track, i, "point", { args: { i } });
    w.finish();
    expect(kept.bytes.length).toBeGreaterThan(1 << 21);
    expect(kept.largest).toBeLessThan(1 << 17);
  });
});
