import type { Counters } from "../tables/memory.js";

/*
 * What the replay of a trace found, as plain data: the form of `granule replay --json`. The replay fills it in; text
 * and pictures are made from it.
 */

/** What a table held at one moment. */
export interface TableUse {
  /** Valid leaves by level. */
  readonly leaves: Readonly<Record<string, number>>;
  /** Table pages, the most that there ever were, and their bytes. */
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

/** How often a fault led to the same operation here and in the kernel that recorded it. */
export interface AgreementSummary {
  /** Faults for which the kernel's own line is in the trace. */
  readonly compared: number;
  /** Same operation, guest address, size and protection; or both left the fault to a retry. */
  readonly agreed: number;
  /** Faults for which the kernel did nothing, and those of them that we serviced. */
  readonly silent: number;
  readonly silentHere: number;
  /** Kernel maps that belong to no fault. */
  readonly unasked: number;
  readonly differing: Readonly<Record<string, number>>;
  /** The first few differences: line of the fault and what differs. */
  readonly examples: readonly string[];
}

/** What became of the faults of a trace. */
export interface ServiceSummary {
  /** By what was done: `map`, `relax`, `young`, `mmio`, `retried`, `beyond`, `refused`. */
  readonly faults: Readonly<Record<string, number>>;
  /** Memory slots that were known, and whether they had to be guessed from the kernel's own maps. */
  readonly slots: { readonly known: number; readonly guessed: boolean };
  /** Notifications of the host that met a slot, and that did not. */
  readonly notifiers: { readonly met: number; readonly elsewhere: number };
  /** Translation faults, and those whose level is the one where our table ended. */
  readonly levels: { readonly compared: number; readonly equal: number };
  /** Where the trace holds the kernel's own operations. */
  readonly agreement?: AgreementSummary;
}

/** What became of the recorded faults under another policy. */
export interface PolicyComparison {
  /** What was chosen; `recorded` is as in the recording. */
  readonly policy: {
    readonly granule: number;
    readonly backing: string;
    readonly dirty: string;
    readonly splitChunk: number | "recorded";
  };
  /** Faults at memory: the sum of those that follow. */
  readonly recorded: number;
  /** Those that happen, and are the first of their kind at their page since the host last took it away. */
  readonly first: number;
  /** Those that happen again: the guest could access the page in this way before. By what was in the way. */
  readonly again: { readonly protected: number; readonly unmapped: number; readonly aged: number };
  /** Those that would not have happened: a block has the page, or its own leaf allows the access. */
  readonly avoided: { readonly block: number; readonly mapped: number };
  /** Faults that go to the VMM, or are refused, under any policy. */
  readonly devices: number;
  /**
   * Pages that the recorded kernel mapped with a block around the one that faulted, and that the policy leaves out: so many more
   * faults there may be. Which of these pages the guest touched, the trace does not say.
   */
  readonly covered: number;
  /** Slot calls of the recording that its pages are too large for: faults there count as those of devices. */
  readonly unfitSlots: number;
  /** The first few faults that would not have happened. */
  readonly examples: readonly string[];
}

/** Stage-2 faults by status code and level, and by access: `walk` is the guest's own table walk. */
export interface FaultSummary {
  readonly total: number;
  readonly byCode: Readonly<Record<string, number>>;
  readonly byAccess: { readonly read: number; readonly write: number; readonly exec: number; readonly walk: number };
}

/** How our table compares with one dump of the running kernel's. */
export interface Check {
  /** Name of the freeze point. */
  readonly point: string;
  readonly file: string;
  /** Leaves of the dump, and how many of them ours has bit for bit (but for what the hardware sets). */
  readonly leaves: number;
  readonly matched: number;
  /** Leaves that only the dump has, that only ours has, and that differ. */
  readonly missing: number;
  readonly extra: number;
  readonly differing: number;
  /**
   * Leaves that are equal but for the access flag. `set`: the hardware set it since. `clear`: ours has it and the
   * dump has not. No hardware does that; where hardware sets no flags, a fault does.
   */
  readonly accessFlag: { readonly set: number; readonly clear: number };
  /** Leaves that are equal but for hardware dirty state. */
  readonly hardwareDirty: number;
  /** The first few differences, as text. */
  readonly examples: readonly string[];
  /** Events were lost before this point: a difference may come from that. */
  readonly afterLoss: boolean;
  /**
   * The tables were equal only after the event of this line: the machine stops a little later than the marker says, and
   * the host may change a table in between.
   */
  readonly equalAt?: number;
  /** Why nothing was compared; such a check neither passes nor fails. */
  readonly skipped?: string;
}

/** How our text compares with the kernel's own dump of its table. */
export interface TextCheck {
  readonly point: string;
  readonly file: string;
  /** Lines of the kernel's text, and how many of them ours has not at the same place. */
  readonly lines: number;
  readonly differing: number;
  /** Lines that are equal but for the access flag. */
  readonly accessFlag: number;
  readonly examples: readonly string[];
  /** As in {@link Check}. */
  readonly afterLoss: boolean;
  readonly equalAt?: number;
}

/** What a replay found; the form of `granule replay --json`. */
export interface ReplayReport {
  readonly schemaVersion: 1;
  readonly trace: {
    readonly name: string | undefined;
    readonly lines: number;
    readonly byName: Readonly<Record<string, number>>;
    /** Events of kinds that granule does not read. */
    readonly unknown: Readonly<Record<string, number>>;
    /** Events that could not be read and that the replay does not need, by name. */
    readonly unread: Readonly<Record<string, number>>;
    /** Lines that could not be read and were skipped. */
    readonly malformed: number;
    /** What was wrong with the first few of the malformed and unread lines. */
    readonly errors: readonly string[];
    readonly lostPlaces: number;
    readonly lostEvents: number;
    /** It looks as if `perf script` had left out the samples that perf marks as the guest's. */
    readonly hostOnly: boolean;
  };
  readonly config: {
    readonly from: "faults" | "ops";
    readonly granule: number;
    readonly ipaBits: number;
    readonly lpa2: boolean;
    readonly fwb: boolean;
    readonly vtcr: string | undefined;
    /** Where the shape of the tables comes from. */
    readonly geometrySource: "dump" | "manifest" | "options" | "defaults";
    /** How the recorded kernel numbers protections. */
    readonly protections: "6.x" | "7.x";
    readonly kernel: string | undefined;
    readonly vcpus: number | undefined;
  };
  readonly events: number;
  readonly seconds: number;
  readonly eventsPerSecond: number;
  readonly faults: FaultSummary;
  readonly vms: number;
  readonly operations: OperationCounts;
  readonly counters: Counters;
  readonly table: TableUse;
  readonly dirty: Readonly<Record<string, number>>;
  readonly service?: ServiceSummary;
  /** With `--compare`. */
  readonly comparison?: PolicyComparison;
  readonly checks: readonly Check[];
  readonly textChecks: readonly TextCheck[];
}

/** Did a check find a difference? */
export function differs(check: Check): boolean {
  return check.skipped === undefined && check.missing + check.extra + check.differing > 0;
}

/** Did a check of text find a difference? */
export function textDiffers(check: TextCheck): boolean {
  return check.differing > 0;
}

/** Did all faults fail to reach memory, because no slot was known? Then nothing was replayed. */
export function hadNoSlots(r: ReplayReport): boolean {
  return r.service !== undefined && r.service.slots.known === 0 && r.faults.total > 0;
}

/** Did every comparison of a report come out equal: tables, texts, and the operations that faults led to? */
export function passed(r: ReplayReport): boolean {
  const { compared = 0, agreed = 0 } = r.service?.agreement ?? {};
  return agreed === compared && !hadNoSlots(r) && !r.checks.some(differs) && !r.textChecks.some(textDiffers);
}
