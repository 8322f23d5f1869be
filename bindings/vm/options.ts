// How a VM is made, its slots and its dirty logging: what a caller says, and what is said back.

import { describe, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import type { CoreSource } from "../core/core.js";
import { GranuleError, invalid } from "../core/errors.js";
import type { MmuRegisters, TlbPreset } from "../mmu/index.js";
import type { Granule } from "../model/granule.js";
import type { ReverseMapOptions } from "./reverse-maps.js";

/** What the VMM's memory behind a slot is made of: small pages, transparent huge pages, pages of hugetlbfs, or a device's registers. */
export type Backing =
  | "4k"
  | "thp"
  | "hugetlb-64k"
  | "hugetlb-2m"
  | "hugetlb-32m"
  | "hugetlb-512m"
  | "hugetlb-1g"
  | "device"
  | "device-uncached";

/** What a host does to the memory behind a guest. */
export type HostChange = "discard" | "collapse" | "share" | "fill" | "fork" | "forkGone";

/** How a VM is made. */
export interface VmOptions {
  /** Page size in bytes. Default 4096. */
  granule?: Granule;
  /** Bits of a guest physical address. Default 40. */
  ipaBits?: number;
  /** 52-bit descriptors of 4K and 16K pages (FEAT_LPA2). Default false. */
  lpa2?: boolean;
  /** CPUs that invalidate TLB entries by range (FEAT_TLBIRANGE). Default true; without, a range takes the whole VMID. */
  tlbiRange?: boolean;
  /** Pages above which a range is flushed with the whole VMID, 0 for no limit [TLB-36]. Default 0. */
  flushLimit?: number;
  /** CPUs that set access flags and dirty state in the tables themselves (FEAT_HAFDBS). Default false. */
  hardwareDirty?: boolean;
  /** CPUs, each with a vCPU and TLBs of its own. Default 1, at most 64. */
  cpus?: number;
  /** Threads that may work on the VM at the same time, this one included; `ticket` lets the others in. Default 1. */
  walkers?: number;
  /** The shape of the TLBs. Default `cortex-a76`. */
  tlb?: TlbPreset;
  /** TLBs that keep whatever the architecture lets them keep, and drop what they may. Default false. */
  adversarial?: boolean;
  /** Of the workloads and of adversarial TLBs: a run depends on it and on the settings alone. Default 1. */
  seed?: number;
  /** Count every store by page, so that `unlogged` can tell whether a dirty log missed one. Default false. */
  witness?: boolean;
  /**
   * Compare each translation with the tables: `stale` of a CPU's statistics counts those that a TLB should have forgotten. For a VM that
   * runs on one thread. Default false.
   */
  checkTranslations?: boolean;
  /** Registers of a vCPU beside those of stage 2: for guests with a stage 1 of their own. */
  registers?: (vcpu: number, stage2: MmuRegisters) => MmuRegisters;
  /** Know which descriptors map a page: slots go without a lock, notifiers find every mapping [RMAP-9]. Faults cost more. Default off. */
  reverseMaps?: boolean | ReverseMapOptions;
  /**
   * Room for so many records of the journal, for each walker: what the VM does to its table, and its TLBIs, for a judge (`granule/audit`) or
   * for `vm.engine.journal`. It is off until one of these starts it; while it is on, faults cost more. Default 0.
   */
  journalRecords?: number;
  /** Bytes for tables, dirty logs and TLBs. Default 256 MiB. */
  arenaBytes?: number;
  /** The package's `vm.wasm`, compiled or as bytes, in place of the inlined one. */
  module?: CoreSource;
}

/** Their names, and what each is. */
export const VM: OptionKinds<VmOptions> = {
  granule: "number",
  ipaBits: "number",
  lpa2: "boolean",
  tlbiRange: "boolean",
  flushLimit: "number",
  hardwareDirty: "boolean",
  cpus: "number",
  walkers: "number",
  tlb: "any",
  adversarial: "boolean",
  seed: "number",
  witness: "boolean",
  checkTranslations: "boolean",
  registers: "any",
  reverseMaps: "any",
  journalRecords: "number",
  arenaBytes: "number",
  module: "any",
};

/** A slot of guest memory; addresses and sizes in bytes, plain numbers. */
export interface SlotOptions {
  /** Its number, 0 to 32766. Default the number of slots that were added before. */
  slot?: number;
  /** First guest address, a multiple of the page. */
  gpa: number;
  /** Bytes, a multiple of the page. */
  size: number;
  /** First address in the VMM's memory. Default one that is aligned as `gpa` is. */
  hva?: number;
  /** Default `thp`. */
  backing?: Backing;
  /** Has the VMM written the memory before? Default false: it is untouched. */
  filled?: boolean;
  /** Stores go to the VMM as device accesses. Default false. */
  readOnly?: boolean;
}

/** Their names, and what each is. */
export const SLOT: OptionKinds<SlotOptions> = {
  slot: "number",
  gpa: "number",
  size: "number",
  hva: "number",
  backing: "any",
  filled: "boolean",
  readOnly: "boolean",
};

/** How dirty pages are logged, for the whole VM. */
export interface DirtyPolicy {
  /**
   * `protect`: pages are write-protected, and the fault of a store marks its page. `dbm`: hardware keeps the dirty state, and
   * reading the log collects it [DBM-9]; for a VM with `hardwareDirty`. `ring`: as `protect`, but the fault pushes the page onto a
   * ring of its vCPU, which stops when the ring is nearly full until it was collected [RNG-7]. `hdbss`: as `dbm`, and hardware writes
   * each page that becomes dirty into a log of its vCPU, so that reading looks at those pages alone [DBM-13]. Default `protect`.
   */
  strategy?: "protect" | "dbm" | "ring" | "hdbss";
  /** Entries of a vCPU's log of `hdbss`, 1 to 262144. Default 512, a page of them. */
  hdbssEntries?: number;
  /** Entries of a ring, a power of two from 128 to 32768. Default 4096. */
  ringEntries?: number;
  /** A read of the log leaves it as it is; `clear` clears it [DLG-6]. Default false. */
  manual?: boolean;
  /** With `manual`: all pages are dirty at first, and each clear protects [DLG-10]. Default false. */
  initiallySet?: boolean;
  /** Bytes of blocks that are split at once when logging begins, 0 for none [DLG-30]. Default 0. */
  eagerSplit?: number;
  /**
   * What eager splitting looks at: `blocks`, and tables that lead to them; `pages`: all pages too, as Linux does without a change of
   * 2026. The tables are the same [S2-26]. Default `blocks`.
   */
  splitWalk?: "blocks" | "pages";
}

/** Their names, and what each is. */
export const POLICY: OptionKinds<DirtyPolicy> = {
  strategy: "any",
  hdbssEntries: "number",
  ringEntries: "number",
  manual: "boolean",
  initiallySet: "boolean",
  eagerSplit: "number",
  splitWalk: "any",
};

/** What happened on one CPU since the VM was made. */
export interface CpuStats {
  /** Loads, stores and fetches. */
  accesses: number;
  /** Stores among them that were done. */
  stores: number;
  /** Stage-2 faults where nothing was mapped. */
  translationFaults: number;
  /** Stage-2 faults where the mapping did not allow the access. */
  permissionFaults: number;
  /** Stage-2 faults where the access flag was clear. */
  accessFaults: number;
  /** Accesses that the VMM emulates: outside the slots, or stores to a read-only one [FLT-6]. */
  exits: number;
  /** Accesses for which the guest gets an abort, or the VMM an error. */
  aborts: number;
  /** Faults that were taken again because another vCPU was faster. */
  retries: number;
  /** Accesses given up after 64 faults. */
  stuck: number;
  /** How often the vCPU stopped because its dirty ring was nearly full. */
  ringFull: number;
  /** Faults because the hardware's log of dirty pages was full. */
  logFull: number;
  /** Accesses that a TLB led elsewhere than the tables do. Only with `checkTranslations`. */
  stale: number;
}

/** What a read of a dirty log said. */
export interface DirtyLog {
  /** Pages that were dirty. */
  pages: number;
  /** One bit a page, page 0 in bit 0 of the first word. */
  bitmap: BigUint64Array;
}

/** A pointer or a count; throws what a negative errno says. */
export function pointerOf(status: number, operation: string): number {
  if (status < 0 && status >= -K.MAX_ERRNO) throw new GranuleError(status, { operation });
  return status >>> 0;
}

/** EINVAL for what is no number of pages. */
export function checkPages(pages: number): number {
  if (Number.isInteger(pages) && pages >= 0 && pages < 2 ** 32) return pages;
  throw invalid("createVm", `flushLimit is ${describe(pages)}: pages, 0 or more`);
}

/** EINVAL for so many CPUs. */
export function checkCores(operation: string, cpus: number): void {
  if (Number.isInteger(cpus) && cpus >= 1 && cpus <= K.MAX_CPUS) return;
  throw invalid(operation, `cpus is ${describe(cpus)}: 1 to ${K.MAX_CPUS}`);
}
