import { shift } from "../core/granule.js";
import type { ScanRecordView } from "../core/table-views.generated.js";
import type { OperationCounts, PolicyComparison, ServiceSummary, TableUse } from "../report/replay.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { TraceEvent } from "../trace/index.js";

/** One way to turn events into tables. */
export interface Replayer {
  readonly counts: OperationCounts;
  /** VMs that were seen. */
  readonly vms: number;
  /** Dirty logging, as far as the trace shows it. */
  readonly dirty?: Readonly<Record<string, number>>;
  /** What became of the faults. */
  readonly service?: ServiceSummary;
  /** What became of them under another policy. */
  readonly comparison?: PolicyComparison | undefined;
  event(e: TraceEvent): void;
  /** Does what is queued. What waits for a later event still waits. */
  perform(): void;
  /** Brings the tables to the state of the last event. */
  flush(): void;
  /** The tables of the VMs that exist now. */
  tables(): Stage2Table[];
  /** Ends the replay. Gives what the busiest VM's table holds, or held just before it was destroyed. */
  finish(): TableUse | undefined;
}

const HIGH = 2 ** 32;

/** Counts the leaves and pages of a table. */
export function tableUse(table: Stage2Table): TableUse {
  const { granule, format } = table;
  const leaves: Record<string, number> = {};
  let mapped = 0;
  for (const { descriptorLow, level } of table.scan()) {
    if (!(descriptorLow & 1)) continue;
    leaves[level] = (leaves[level] ?? 0) + 1;
    mapped += 2 ** shift(format.ps, level);
  }
  const { pages, peakPages } = table.info();
  return { leaves, pages, peakPages, bytes: pages * granule, peakBytes: peakPages * granule, mapped };
}

/** The address of a scan record as a plain number. */
export function scannedAddress({ addressLow, addressHigh }: ScanRecordView): number {
  return addressLow + addressHigh * HIGH;
}
