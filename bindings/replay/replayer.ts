import type { ScanRecordView } from "../core/table-views.generated.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { TraceEvent } from "../trace/index.js";
import type { AgreementSummary } from "./agreement.js";

/** What a table held at one moment. */
export interface TableUse {
  /** Valid leaves by level. */
  readonly leaves: Readonly<Record<string, number>>;
  /** Table pages, the most that ever were, and their bytes. */
  readonly pages: number;
  readonly peakPages: number;
  readonly bytes: number;
  readonly peakBytes: number;
  /** Guest memory that is mapped, in bytes. */
  readonly mapped: number;
}

/** Operations of a replay, by name. */
export interface OperationCounts {
  /** Done here. */
  readonly applied: Record<string, number>;
  /** Recorded as refused by the kernel, and therefore not done here. */
  readonly refused: Record<string, number>;
  /** Refused here. */
  readonly failed: Record<string, number>;
  /** Do the recorded return values equal ours? */
  readonly returns: { agreed: number; readonly differing: Record<string, number> };
}

/** What became of the faults of a trace. */
export interface ServiceSummary {
  /** By what was done: `map`, `relax`, `young`, `mmio`, `retried`, `beyond`, `refused`. */
  readonly faults: Readonly<Record<string, number>>;
  /** Notifications of the host that met a slot, and that did not. */
  readonly notifiers: { readonly met: number; readonly elsewhere: number };
  /** Translation faults, and those whose level is the one where our table ended. */
  readonly levels: { readonly compared: number; readonly equal: number };
  /** Where the trace holds the kernel's own operations. */
  readonly agreement?: AgreementSummary;
}

/** One way to turn events into tables. */
export interface Replayer {
  readonly counts: OperationCounts;
  /** VMs that were seen. */
  readonly vms: number;
  /** Dirty logging, as far as the trace shows it. */
  readonly dirty?: Readonly<Record<string, number>>;
  /** What became of the faults. */
  readonly service?: ServiceSummary;
  event(e: TraceEvent): void;
  /** Brings the tables to the state of the last event. */
  flush(): void;
  /** Tables that live now. */
  tables(): Stage2Table[];
  /** Ends it; what the busiest VM's table holds, or held just before it went. */
  finish(): TableUse | undefined;
}

const HIGH = 2 ** 32;

/** Counts what a table holds. */
export function tableUse(table: Stage2Table): TableUse {
  const { granule, format } = table;
  const leaves: Record<string, number> = {};
  let mapped = 0;
  for (const { descriptorLow, level } of table.scan()) {
    if (!(descriptorLow & 1)) continue;
    leaves[level] = (leaves[level] ?? 0) + 1;
    mapped += 2 ** ((4 - level) * (format.ps - 3) + 3);
  }
  const { pages, peakPages } = table.info();
  return { leaves, pages, peakPages, bytes: pages * granule, peakBytes: peakPages * granule, mapped };
}

/** The address of a scan record as a plain number. */
export function scannedAddress({ addressLow, addressHigh }: ScanRecordView): number {
  return addressLow + addressHigh * HIGH;
}
