import * as K from "../core/constants.generated.js";
import type { MarkerNote } from "./marker.js";

/*
 * The one record that every spelling of a trace becomes. Units, throughout:
 *
 *   guest, physical and host user addresses, sizes   plain numbers (bytes), below 2^53, exact
 *   guest registers (far, pc), mmio data             bigint, 64 bits
 *   kernel pointers (pgt, mmu)                       strings, as the trace spells them
 *
 * No address that Arm translates exceeds 52 bits, so a larger one is a syntax error. The single
 * exception is in HvaRangeEvent.
 */

/** What every event carries. */
export interface EventHead {
  /** Line number in the file, from 1. */
  readonly line: number;
  /** Timestamp: seconds, or ticks where the trace's clock only counts (`counter`, `x86-tsc`). */
  readonly time: number;
  /** Host CPU that recorded it; -1 where the recorder does not say. */
  readonly cpu: number;
  /** Name of the host task, which may hold blanks and dashes. */
  readonly task: string;
  /** Host thread id. */
  readonly pid: number;
  /** Name of the event without its group, such as `kvm_guest_fault` or `s2_map`. */
  readonly event: string;
}

/** A stage-2 abort that reached KVM: `kvm_guest_fault` (TRC-1). */
export interface GuestFaultEvent extends EventHead {
  readonly kind: "guest_fault";
  /** Faulting IPA from HPFAR: its low 12 bits are zero. */
  readonly ipa: number;
  /** ESR_EL2. */
  readonly esr: number;
  /** FAR_EL2: the guest's virtual address. */
  readonly far: bigint;
  readonly pc: bigint;
}

/** The abort before this was an Access-flag fault: `kvm_access_fault` (TRC-2). */
export interface AccessFaultEvent extends EventHead {
  readonly kind: "access_fault";
  readonly ipa: number;
}

/** Direction of an emulated access; `unsatisfied-read` is a read on its way out to the VMM. */
export type MmioType = "read" | "write" | "unsatisfied-read";

/** An access to a device: `kvm_mmio`. */
export interface MmioEvent extends EventHead {
  readonly kind: "mmio";
  readonly type: MmioType;
  /** Bytes. */
  readonly len: number;
  /** Exact guest physical address. */
  readonly gpa: number;
  readonly val: bigint;
}

/** A device access without a valid syndrome: `kvm_mmio_nisv` (TRC-11). */
export interface MmioNisvEvent extends EventHead {
  readonly kind: "mmio_nisv";
  readonly ipa: number;
  readonly esr: number;
  readonly far: bigint;
  readonly pc: bigint;
}

/** A return to the VMM: `kvm_userspace_exit`. */
export interface UserspaceExitEvent extends EventHead {
  readonly kind: "userspace_exit";
  /** Name of the reason, or `restart` / `error` when KVM_RUN failed. */
  readonly reason: string;
  /** KVM_EXIT_* number, or the positive errno of a failure. */
  readonly code: number;
}

/**
 * A call of the MMU notifier for host addresses [start, end): `kvm_unmap_hva_range` (TRC-3) and
 * `kvm_age_hva` (TRC-4). The range need not be aligned, and need not lie in a memory slot.
 */
export interface HvaRangeEvent extends EventHead {
  readonly kind: "unmap_hva" | "age_hva";
  readonly start: number;
  /**
   * First address after the range. The kernel writes "everything" as 2^64 - 1, which no plain
   * number holds. Then this is `Number.MAX_SAFE_INTEGER`, above any host address, and `exactEnd`
   * has the exact number.
   */
  readonly end: number;
  /** The end as the trace gives it, present only when it is 2^53 or more. */
  readonly exactEnd?: bigint;
}

/** `kvm_test_age_hva` (TRC-5) and `kvm_set_spte_hva` (TRC-6, kernels until 6.9). */
export interface HvaEvent extends EventHead {
  readonly kind: "test_age_hva" | "set_spte_hva";
  readonly hva: number;
}

/** The guest switched its caches while KVM was watching: `kvm_toggle_cache` (TRC-12). */
export interface ToggleCacheEvent extends EventHead {
  readonly kind: "toggle_cache";
  readonly pc: bigint;
  readonly was: boolean;
  readonly now: boolean;
}

/** The guest cleaned by set and way: `kvm_set_way_flush` (TRC-13). */
export interface SetWayFlushEvent extends EventHead {
  readonly kind: "set_way_flush";
  readonly pc: bigint;
  /** Whether the guest's caches were on. */
  readonly cache: boolean;
}

/** A page entered the dirty ring: `kvm_dirty_ring_push` (TRC-7). */
export interface DirtyRingPushEvent extends EventHead {
  readonly kind: "dirty_ring_push";
  readonly ring: number;
  /** Free-running producer and consumer indices of the ring. */
  readonly dirty: number;
  readonly reset: number;
  readonly slot: number;
  /** Page offset in the slot. */
  readonly offset: number;
  readonly used: number;
}

/** The dirty ring was harvested: `kvm_dirty_ring_reset` (TRC-8). */
export interface DirtyRingResetEvent extends EventHead {
  readonly kind: "dirty_ring_reset";
  readonly ring: number;
  readonly dirty: number;
  readonly reset: number;
  readonly used: number;
}

/** The dirty ring was full: `kvm_dirty_ring_exit` (TRC-9). */
export interface DirtyRingExitEvent extends EventHead {
  readonly kind: "dirty_ring_exit";
  readonly vcpu: number;
}

/** A vCPU enters the guest: `kvm_entry` (TRC-10). */
export interface EntryEvent extends EventHead {
  readonly kind: "entry";
  readonly pc: bigint;
}

/** A call of the page-table engine's map function. */
export interface S2MapEvent extends EventHead {
  readonly kind: "s2_map";
  readonly pgt: string;
  readonly ipa: number;
  readonly size: number;
  readonly phys: number;
  /** As the kernel numbers it; a bigint only where a software bit (55..58) is set. */
  readonly prot: number | bigint;
  /**
   * Walk flags as the kernel numbers them, 32 bits; 0 where the probe did not record them. Kernels
   * before 6.2 have no such argument: there the value means nothing.
   */
  readonly flags: number;
}

/** Operations on a range of guest addresses. */
export interface S2RangeEvent extends EventHead {
  readonly kind: "s2_unmap" | "s2_wrprotect" | "s2_flush" | "s2_destroy_range";
  readonly pgt: string;
  readonly ipa: number;
  readonly size: number;
}

/** A call to split the blocks of a range; there is one for each chunk. */
export interface S2SplitEvent extends EventHead {
  readonly kind: "s2_split";
  readonly pgt: string | undefined;
  readonly ipa: number;
  readonly size: number;
}

/** A permission fault widens the rights of one leaf. */
export interface S2RelaxPermsEvent extends EventHead {
  readonly kind: "s2_relax_perms";
  readonly pgt: string;
  readonly ipa: number;
  /** As in {@link S2MapEvent}. */
  readonly prot: number | bigint;
  /** Kernels before 6.14 have no such argument: there the value means nothing. */
  readonly flags: number;
}

/** Access-flag operations on one leaf. */
export interface S2AgeEvent extends EventHead {
  readonly kind: "s2_mkyoung" | "s2_mkold" | "s2_is_young";
  readonly pgt: string;
  readonly ipa: number;
}

/** Ageing of a range. */
export interface S2TestClearYoungEvent extends EventHead {
  readonly kind: "s2_test_clear_young";
  readonly pgt: string;
  readonly ipa: number;
  readonly size: number;
  /** True: clear the flags; false: only look. */
  readonly mkold: boolean;
}

/** A subtree is built aside, to replace a block. */
export interface S2CreateUnlinkedEvent extends EventHead {
  readonly kind: "s2_create_unlinked";
  readonly pgt: string | undefined;
  readonly phys: number;
  readonly level: number;
  readonly prot: number | bigint;
  readonly forcePte: boolean;
}

/** A subtree that nothing points to any more is freed. */
export interface S2FreeUnlinkedEvent extends EventHead {
  readonly kind: "s2_free_unlinked";
  readonly pgt: string | undefined;
  readonly level: number;
}

/** A VM's table is destroyed. The next VM may get the same `pgt`. */
export interface S2DestroyEvent extends EventHead {
  readonly kind: "s2_destroy";
  readonly pgt: string;
}

/** What an operation returned: the `*_ret` lines. */
export interface ReturnEvent extends EventHead {
  readonly kind: "ret";
  /** The operation, such as `s2_map`; the call is the last one of the same task. */
  readonly of: string;
  /** Signed: 0, a negative errno, or 0/1 for the ageing functions. */
  readonly value: number;
}

/** Invalidation of one address. */
export interface TlbiIpaEvent extends EventHead {
  readonly kind: "tlbi_ipa" | "tlbi_ipa_nsh";
  readonly ipa: number;
  /** Level hint, {@link TLBI_LEVEL_UNKNOWN} for none. */
  readonly level: number;
}

/** Invalidation of a range. */
export interface TlbiRangeEvent extends EventHead {
  readonly kind: "tlbi_range";
  readonly ipa: number;
  readonly pages: number;
}

/** Invalidation of a whole VMID. */
export interface TlbiVmidEvent extends EventHead {
  readonly kind: "tlbi_vmid";
  readonly mmu: string;
}

/** Text that a program wrote into the trace, and its meaning if the program is a VMM. */
export interface MarkerEvent extends EventHead {
  readonly kind: "marker";
  /** Its first line. */
  readonly text: string;
  /** The file descriptor that it was written to, where a probe on write() recorded it. */
  readonly fd?: number;
  readonly note: MarkerNote;
}

/**
 * An event of a kind that granule does not read, or one that could not be read and is not among
 * `TraceOptions.strict`. It is counted, and its text dropped.
 */
export interface UnknownEvent extends EventHead {
  readonly kind: "unknown";
}

/**
 * The ring buffer overflowed here: what follows does not continue what went before, and no replay
 * of it is exact. `time` and `task` are those of the line before. At the start of a trace it stands
 * for events that were overwritten.
 */
export interface LostEvent extends EventHead {
  readonly kind: "lost";
  /** How many events, `undefined` where the recorder does not know. */
  readonly count: number | undefined;
}

/**
 * One event of a KVM trace, told apart by `kind`.
 *
 * @example
 * ```ts
 * import { parseTraceLine } from "granule/trace";
 *
 * const event = parseTraceLine("kvmt-7 [000] ..... 1.5: kvm_access_fault: IPA: 420b6000");
 * if (event?.kind === "access_fault") console.log(event.ipa.toString(16)); // "420b6000"
 * ```
 */
export type TraceEvent =
  | GuestFaultEvent
  | AccessFaultEvent
  | MmioEvent
  | MmioNisvEvent
  | UserspaceExitEvent
  | HvaRangeEvent
  | HvaEvent
  | ToggleCacheEvent
  | SetWayFlushEvent
  | DirtyRingPushEvent
  | DirtyRingResetEvent
  | DirtyRingExitEvent
  | EntryEvent
  | S2MapEvent
  | S2RangeEvent
  | S2SplitEvent
  | S2RelaxPermsEvent
  | S2AgeEvent
  | S2TestClearYoungEvent
  | S2CreateUnlinkedEvent
  | S2FreeUnlinkedEvent
  | S2DestroyEvent
  | ReturnEvent
  | TlbiIpaEvent
  | TlbiRangeEvent
  | TlbiVmidEvent
  | MarkerEvent
  | UnknownEvent
  | LostEvent;

/** The event of one kind: `EventOf<"s2_map">` is {@link S2MapEvent}. */
export type EventOf<K extends TraceEvent["kind"]> = Extract<TraceEvent, { kind: K }>;

/** The level of a TLBI that carries no level hint (TLBI_TTL_UNKNOWN). */
export const TLBI_LEVEL_UNKNOWN: number = K.TTL_UNKNOWN;
