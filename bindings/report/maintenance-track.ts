import * as K from "../core/constants.generated.js";
import { JournalKind, type JournalRecord } from "../tables/journal.js";
import type { PerfettoWriter } from "./perfetto.js";
import { tlbiName } from "./windows.js";

/** TLBIs that wait for their DSB. No walk issues so many without one. */
const MAX_PENDING = 256;
const DSB_NAMES = ["DSB ISHST", "DSB ISH", "DSB NSHST", "DSB NSH"] as const;
/** TLBIs that name no address. */
const WHOLE: readonly number[] = [
  JournalKind.TLBI_VMID,
  JournalKind.TLBI_STAGE1,
  JournalKind.TLBI_STAGE1_LOCAL,
  JournalKind.TLBI_ALL,
];

/** A DSB that waits for TLBIs, not for stores alone. */
const completes = (a: bigint): boolean => (a & 1n) === 1n;

/** A track of a time line whose owner issues TLBIs and DSBs: each is a point, and arrows lead from a TLBI to the DSB that completes it. */
export class MaintenanceTrack {
  readonly track: number;
  readonly #writer: PerfettoWriter;
  /** Arrows from TLBIs that no DSB has completed. */
  #pending: number[] = [];

  constructor(writer: PerfettoWriter, track: number) {
    this.#writer = writer;
    this.track = track;
  }

  /** Shows a TLBI or a DSB; false for another record. The arrows of `flows` begin or go on at it. */
  add(record: JournalRecord, time: number, flows: readonly number[] = []): boolean {
    const name = tlbiName(record.kind);
    if (name !== undefined) this.#tlbi(name, record, time, flows);
    else if (record.kind === JournalKind.DSB) this.#dsb(record, time, flows);
    else return false;
    return true;
  }

  #tlbi(name: string, { kind, table, level, address, a }: JournalRecord, time: number, flows: readonly number[]): void {
    const flow = this.#writer.flow();
    const args = {
      table,
      ipa: WHOLE.includes(kind) ? undefined : { address },
      level: level === K.TTL_UNKNOWN ? undefined : level,
      pages: kind === JournalKind.TLBI_RANGE ? Number(a) : undefined,
    };
    this.#writer.instant(this.track, time, `TLBI ${name}`, { category: "tlbi", args, flows: [flow, ...flows] });
    if (this.#pending.push(flow) > MAX_PENDING) this.#pending.shift();
  }

  #dsb({ a }: JournalRecord, time: number, flows: readonly number[]): void {
    const endingFlows = completes(a) ? this.#pending.splice(0) : [];
    this.#writer.instant(this.track, time, DSB_NAMES[Number(a)] ?? "DSB", { category: "barrier", flows, endingFlows });
  }
}
