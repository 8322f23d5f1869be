import type { ViolationView } from "../core/audit-views.generated.js";
import * as K from "../core/constants.generated.js";
import { hex, type Ipa, type Pa, type Va } from "../model/address.js";

/** What a violation is, in one word each; docs/audit.md says more. */
export type ViolationKind =
  | "no-break"
  | "early-make"
  | "stolen"
  | "unlocked"
  | "frozen"
  | "early-free"
  | "linked-twice"
  | "unknown-page"
  | "stale-table"
  | "encoding"
  | "vmid"
  | "vmid-reuse"
  | "loaded"
  | "lock"
  | "shared-frame"
  | "frame-reuse"
  | "unflushed"
  | "release-unflushed"
  | "asid"
  | "geometry"
  | "known-page"
  | "no-table"
  | "left-locked"
  | "stale-root"
  | "live-control"
  | "contiguous"
  | "early-return"
  | "unknown";

const KINDS: Readonly<Record<number, ViolationKind>> = {
  [K.V_NO_BREAK]: "no-break",
  [K.V_EARLY_MAKE]: "early-make",
  [K.V_STOLEN]: "stolen",
  [K.V_UNLOCKED]: "unlocked",
  [K.V_FROZEN]: "frozen",
  [K.V_EARLY_FREE]: "early-free",
  [K.V_LINKED_TWICE]: "linked-twice",
  [K.V_UNKNOWN_PAGE]: "unknown-page",
  [K.V_STALE_TABLE]: "stale-table",
  [K.V_ENCODING]: "encoding",
  [K.V_VMID]: "vmid",
  [K.V_VMID_REUSE]: "vmid-reuse",
  [K.V_LOADED]: "loaded",
  [K.V_LOCK]: "lock",
  [K.V_SHARED_FRAME]: "shared-frame",
  [K.V_FRAME_REUSE]: "frame-reuse",
  [K.V_UNFLUSHED]: "unflushed",
  [K.V_RELEASE_UNFLUSHED]: "release-unflushed",
  [K.V_ASID]: "asid",
  [K.V_GEOMETRY]: "geometry",
  [K.V_KNOWN_PAGE]: "known-page",
  [K.V_NO_TABLE]: "no-table",
  [K.V_LEFT_LOCKED]: "left-locked",
  [K.V_STALE_ROOT]: "stale-root",
  [K.V_LIVE_CONTROL]: "live-control",
  [K.V_CONTIGUOUS]: "contiguous",
  [K.V_EARLY_RETURN]: "early-return",
};

const WRONG: Readonly<Record<ViolationKind, string>> = {
  "no-break":
    "one valid descriptor replaced another that maps other memory, another size or other attributes; break first: write an invalid one, flush, then make",
  "early-make": "a valid descriptor was made while the old translation may still be in a TLB",
  stolen: "another CPU holds this slot by its locked marker or as its owner; only that CPU may write it",
  unlocked: "the table's lock is not held, and this is no step that walkers may make without it",
  frozen: "a table that is unlinked but not flushed was changed; hardware may still walk it",
  "early-free": "a table page was given back while it is linked, or before the flush of its link is complete",
  "linked-twice": "the page is a table somewhere already, or unlinked and not flushed; link it once, after its flush",
  "unknown-page": "nobody set this page up (mem-init) in this life; zero it before it becomes a table",
  "stale-table": "the table holds a descriptor of an earlier life; zero it, or write every entry, before it is linked",
  encoding:
    "the architecture has no such descriptor at this level, or its output address is beyond the physical memory",
  vmid: "one VMID stands for two tables, or CPUs walk one table under two; let every CPU leave the old one, and flush, first",
  "vmid-reuse":
    "a VMID was given to a table with no flush since another used it, or since this one changed under another VMID; VMALLS12E1IS or ALLE1IS, and DSB ISH, first",
  loaded: "the table was released while a CPU has it in its register; load another first",
  lock: "a lock was taken that is held, or given back by a CPU that does not hold it",
  "shared-frame": "two VMs map the same memory, and one of them may write it",
  "frame-reuse": "memory went to another owner while a TLB may still lead its old owner there",
  unflushed: "to the end the old translation was never flushed everywhere",
  "release-unflushed": "the table was released while translations that it broke were not flushed",
  asid: "TTBR0_EL2 has an ASID, and the EL2 regime has none: bits 63:48 are reserved",
  geometry: "no hardware has a table of this granule, start level and input size",
  "known-page": "the page is set up already and in use; give it back first",
  "no-table": "no table is registered at this address",
  "left-locked": "a locked marker was left: nobody made anything of the slot that a walker took",
  "stale-root":
    "TTBR0_EL2 names another table while the TLB may hold translations of the one before; turn the MMU off, then ALLE2IS and DSB, before it is used",
  "live-control":
    "VTCR_EL2, TCR_EL2, MAIR_EL2 or HCR_EL2.FWB changed under translations that a TLB may hold; flush them, or unload the table first",
  contiguous:
    "entries of a contiguous run do not agree: hardware may use any of them for the whole run; break all of it first",
  "early-return":
    "a notifier, a dirty log or a change of slots returned while a TLB may still hold what it took away; flush before",
  unknown: "a rule was broken that this version has no name for",
};

/** The step that was missing before the old translation was gone. */
export type MissingStep =
  | "tlbi"
  | "dsb-before-tlbi"
  | "tlbi-level"
  | "tlbi-all-levels"
  | "tlbi-broadcast"
  | "dsb-after-tlbi"
  | "tlbi-stage1"
  | "dsb-last"
  | "tlbi-below"
  | "grace-period"
  | "isb"
  | "tlbi-asid";

const STEPS: Readonly<Record<number, MissingStep>> = {
  [K.MISS_TLBI]: "tlbi",
  [K.MISS_DSB_BEFORE]: "dsb-before-tlbi",
  [K.MISS_LEVEL]: "tlbi-level",
  [K.MISS_LAST_LEVEL]: "tlbi-all-levels",
  [K.MISS_LOCAL]: "tlbi-broadcast",
  [K.MISS_DSB_AFTER]: "dsb-after-tlbi",
  [K.MISS_STAGE1]: "tlbi-stage1",
  [K.MISS_DSB_LAST]: "dsb-last",
  [K.MISS_BELOW]: "tlbi-below",
  [K.MISS_GRACE]: "grace-period",
  [K.MISS_ISB]: "isb",
  [K.MISS_ASID]: "tlbi-asid",
};

const LACKS: Readonly<Record<MissingStep, string>> = {
  tlbi: "no TLBI for this address and VMID followed the write",
  "dsb-before-tlbi": "no DSB ordered the write before the TLBI",
  "tlbi-level": "the TLBI's level hint (TTL) is of another level or granule, so it need not reach this entry",
  "tlbi-all-levels": "the TLBI was of last-level entries only, and this is a table",
  "tlbi-broadcast": "the TLBI reached the issuing CPU only",
  "dsb-after-tlbi": "no DSB ISH of the CPU that issued the TLBI completed it",
  "tlbi-stage1": "combined stage-1 and stage-2 entries are left: VMALLE1IS after the DSB ISH, and another DSB ISH",
  "dsb-last": "no DSB ISH completed the VMALLE1IS",
  "tlbi-below": "entries below the table are left: flush its whole range, or the VMID",
  isb: "no ISB stood between the write of VTTBR_EL2 or HCR_EL2 and the TLBI, which may be of the VMID before",
  "tlbi-asid": "the TLBI was of another ASID",
  "grace-period": "no grace period: a walker is still in the read section that it was in when the table was unlinked",
};

const CAUSES = ["break", "downgrade", "age", "control"] as const;

/** A rule that was broken: a value, not an exception. */
export interface Violation {
  /** Which rule was broken. */
  kind: ViolationKind;
  /** CPU (walker, or tid in order of appearance) whose record it is. */
  cpu: number;
  /** Handle of the engine's table; 0 in logs. */
  table: number;
  /** Level of the entry concerned, -1 to 3; 0 where there is none. */
  level: number;
  /** Physical address of the descriptor, or of the page, lock or table concerned. */
  address: Pa;
  /** Input address, where a translation is concerned: a virtual one where the table is of stage 1. */
  ipa: Ipa | Va | undefined;
  /** Descriptor that was there: of the broken translation, where there is one. */
  oldValue: bigint;
  /** Descriptor that was written. */
  newValue: bigint;
  /** The record that broke the rule, from 0. */
  record: number;
  /** The records that led to it: the write that needed the flush, and a TLBI that fell short. */
  because: number[];
  /** How the old translation came to be stale. */
  cause: (typeof CAUSES)[number] | undefined;
  /** What was missing. */
  missing: MissingStep | undefined;
  /** One sentence: why, and what would have been right. */
  message: string;
}

/** @internal A violation of a judge's memory, in words. */
export function readViolation(view: ViolationView): Violation {
  const { cpu, table, level, address, ipa, old: oldValue, next: newValue } = view;
  const because = [view.broken, view.near].filter((n) => n !== K.NONE).map(Number);
  const violation: Omit<Violation, "message"> = {
    kind: KINDS[view.kind] ?? "unknown",
    cpu,
    table,
    level,
    address: address as Pa,
    ipa: ipa === K.NONE ? undefined : (ipa as Ipa | Va),
    oldValue,
    newValue,
    record: Number(view.record),
    because,
    cause: because.length > 0 ? CAUSES[view.cause] : undefined,
    missing: STEPS[view.miss],
  };
  return { ...violation, message: sentence(violation) };
}

function sentence(v: Omit<Violation, "message">): string {
  const where = v.address === 0n ? "" : ` at ${hex(v.address)}`;
  const which = v.ipa === undefined ? "" : ` (level ${v.level}, address ${hex(v.ipa)}, was ${hex(v.oldValue)})`;
  const why = v.missing === undefined ? "" : `: ${LACKS[v.missing]}`;
  const since = v.because.length === 0 ? "" : `; see record ${v.because.join(" and ")}`;
  return `${v.kind}${where}${which}: ${WRONG[v.kind]}${why}${since}`;
}
