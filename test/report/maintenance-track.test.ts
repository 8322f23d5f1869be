import { describe, expect, it } from "vitest";
import { JournalKind, type JournalRecord } from "../../bindings/index.js";
import { PerfettoWriter } from "../../bindings/report/index.js";
import { MaintenanceTrack } from "../../bindings/report/maintenance-track.js";
import { KeptBytes, type ReadEvent, readPerfetto } from "../support/perfetto.js";

const UNKNOWN_LEVEL = 0x7fffffff;

function record(kind: number, own: Partial<JournalRecord> = {}): JournalRecord {
  return { kind, level: UNKNOWN_LEVEL, table: 7, walker: 0, address: 0n, a: 0n, b: 0n, sequence: 0n, ...own };
}

/** What a track shows of records that are one nanosecond apart, and which of them it took. */
function shown(records: readonly JournalRecord[]): { events: readonly ReadEvent[]; taken: boolean[] } {
  const kept = new KeptBytes();
  const writer = new PerfettoWriter(kept);
  const track = new MaintenanceTrack(writer, writer.track("vCPU 0"));
  const taken = records.map((one, time) => track.add(one, time));
  writer.finish();
  return { events: readPerfetto(kept.bytes).events, taken };
}

describe("TLBIs and DSBs on a track", () => {
  it("have the architecture's names, and an address, a level and pages where they name them", () => {
    const { events, taken } = shown([
      record(JournalKind.TLBI_IPA, { address: 0x4000n, level: 3 }),
      record(JournalKind.TLBI_RANGE, { address: 0x8000n, a: 16n }),
      record(JournalKind.TLBI_VMID),
      record(JournalKind.TLBI_STAGE1),
      record(JournalKind.TLBI_STAGE1_LOCAL),
      record(JournalKind.TLBI_ALL),
      record(JournalKind.ISB),
      record(JournalKind.WRITE, { b: 1n }),
    ]);
    expect(events.map(({ name, args }) => [name, args])).toEqual([
      ["TLBI IPAS2E1IS", { table: 7, ipa: 0x4000, level: 3 }],
      ["TLBI RIPAS2E1IS", { table: 7, ipa: 0x8000, pages: 16 }],
      ...["VMALLS12E1IS", "VMALLE1IS", "VMALLE1", "ALLE1IS"].map((name) => [`TLBI ${name}`, { table: 7 }]),
    ]);
    expect(taken).toEqual([true, true, true, true, true, true, false, false]);
  });

  it("are joined where the DSB waits for TLBIs, and not where it waits for stores alone", () => {
    const { events } = shown([
      record(JournalKind.TLBI_IPA),
      record(JournalKind.DSB, { a: 0n }),
      record(JournalKind.TLBI_IPA),
      record(JournalKind.DSB, { a: 1n }),
      record(JournalKind.DSB, { a: 3n }),
    ]);
    expect(events.map(({ name }) => name)).toEqual([
      ...["TLBI IPAS2E1IS", "DSB ISHST", "TLBI IPAS2E1IS", "DSB ISH", "DSB NSH"],
    ]);
    const begun = events.flatMap(({ flows }) => flows);
    expect(begun).toHaveLength(2);
    expect(events.map(({ ends }) => ends)).toEqual([[], [], [], begun, []]);
  });
});
