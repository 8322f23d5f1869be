import type { EventHead } from "./head.js";
import type { MarkerNote } from "./marker.js";
import type {
  ReturnEvent,
  S2AgeEvent,
  S2CreateUnlinkedEvent,
  S2DestroyEvent,
  S2FreeUnlinkedEvent,
  S2MapEvent,
  S2RangeEvent,
  S2RelaxPermsEvent,
  S2SplitEvent,
  S2TestClearYoungEvent,
  TlbiIpaEvent,
  TlbiRangeEvent,
  TlbiVmidEvent,
} from "./probed.js";

export type * from "./head.js";
export * from "./probed.js";

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

/**
 * A stage-2 abort that reached KVM: `kvm_guest_fault` (TRC-1).
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: kvm_guest_fault: ipa 0x40200000, hsr 0x93c48046, hxfar 0x40200000, pc 0x0000000000005c
 * ```
 */
export interface GuestFaultEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "guest_fault";
  /** Faulting IPA from HPFAR: its low 12 bits are zero. */
  readonly ipa: number;
  /** ESR_EL2. */
  readonly esr: number;
  /** FAR_EL2: the guest's virtual address. */
  readonly far: bigint;
  /** The guest's program counter at the exit. */
  readonly pc: bigint;
}

/**
 * The abort before this was an Access-flag fault: `kvm_access_fault` (TRC-2).
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: kvm_access_fault: IPA: 40e00000
 * ```
 */
export interface AccessFaultEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "access_fault";
  /** The guest physical address that was touched, in bytes. */
  readonly ipa: number;
}

/** Direction of an emulated access; `unsatisfied-read` is a read on its way out to the VMM. */
export type MmioType = "read" | "write" | "unsatisfied-read";

/**
 * An access to a device: `kvm_mmio`.
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: kvm_mmio: mmio write len 8 gpa 0xa000000 val 0x102718
 * ```
 */
export interface MmioEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "mmio";
  /** Which way the data went. */
  readonly type: MmioType;
  /** Bytes. */
  readonly len: number;
  /** Exact guest physical address. */
  readonly gpa: number;
  /** The data, zero-extended. A read on its way out carries 0. */
  readonly val: bigint;
}

/**
 * A device access without a valid syndrome: `kvm_mmio_nisv` (TRC-11).
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: kvm_mmio_nisv: ipa 0x0000000a000000, esr 0x00000092000046, far 0x0000000a000000, pc 0x0000000000005c
 * ```
 */
export interface MmioNisvEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "mmio_nisv";
  /** Faulting IPA from HPFAR_EL2: its low 12 bits are zero. */
  readonly ipa: number;
  /** ESR_EL2. Its ISV bit is clear, so KVM cannot tell the register or the size. */
  readonly esr: number;
  /** FAR_EL2: the guest's virtual address. */
  readonly far: bigint;
  /** The guest's program counter at the exit. */
  readonly pc: bigint;
}

/**
 * A return to the VMM: `kvm_userspace_exit`.
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: kvm_userspace_exit: reason KVM_EXIT_MMIO (6)
 * ```
 */
export interface UserspaceExitEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "userspace_exit";
  /** Name of the reason, or `restart` / `error` when KVM_RUN failed. */
  readonly reason: string;
  /** KVM_EXIT_* number, or the positive errno of a failure. */
  readonly code: number;
}

/**
 * A call of the MMU notifier for host addresses [start, end): `kvm_unmap_hva_range` (TRC-3) and
 * `kvm_age_hva` (TRC-4). The range need not be aligned, and need not lie in a memory slot.
 *
 * @example
 * ```text
 * ksmd-31 [000] ..... 28.402026: kvm_unmap_hva_range: mmu notifier unmap range: 0x00ffff85002000 -- 0x00ffff85003000
 * kdamond.0-320 [000] ..... 26.320862: kvm_age_hva: mmu notifier age hva: 0x00ffff86789d95 -- 0x00ffff86989d95
 * ```
 */
export interface HvaRangeEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "unmap_hva" | "age_hva";
  /** First host virtual address of the range. */
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

/**
 * `kvm_test_age_hva` (TRC-5) and `kvm_set_spte_hva` (TRC-6, kernels until 6.9).
 *
 * @example
 * ```text
 * kdamond.0-320 [000] ..... 26.341207: kvm_test_age_hva: mmu notifier test age hva: 0x00ffff86789d95
 * ksmd-27 [000] ..... 6.955652: kvm_set_spte_hva: mmu notifier set pte hva: 0x00ffff93002000
 * ```
 */
export interface HvaEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "test_age_hva" | "set_spte_hva";
  /** Host virtual address of the page. */
  readonly hva: number;
}

/**
 * The guest switched its caches while KVM was watching: `kvm_toggle_cache` (TRC-12).
 *
 * @example
 * ```text
 * qemu-system-aar-266 [000] ..... 4.993821: kvm_toggle_cache: VM op at 0x0000000041ee54f4 (cache was off, now on)
 * ```
 */
export interface ToggleCacheEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "toggle_cache";
  /** The guest's program counter at the exit. */
  readonly pc: bigint;
  /** Whether the guest's caches were on before the register was written. */
  readonly was: boolean;
  /** Whether they are on after it. */
  readonly now: boolean;
}

/**
 * The guest cleaned by set and way: `kvm_set_way_flush` (TRC-13).
 *
 * @example
 * ```text
 * qemu-system-aar-266 [000] ..... 4.993821: kvm_set_way_flush: S/W flush at 0x0000000041ee54f4 (cache on)
 * ```
 */
export interface SetWayFlushEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "set_way_flush";
  /** The guest's program counter at the exit. */
  readonly pc: bigint;
  /** Whether the guest's caches were on. */
  readonly cache: boolean;
}

/**
 * A page entered the dirty ring: `kvm_dirty_ring_push` (TRC-7).
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: kvm_dirty_ring_push: ring 0: dirty 0x5 reset 0x0 slot 1 offset 0x3f (used 5)
 * ```
 */
export interface DirtyRingPushEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "dirty_ring_push";
  /** Number of the ring, one for each vCPU. */
  readonly ring: number;
  /** Free-running producer and consumer indices of the ring. */
  readonly dirty: number;
  /** Consumer index: how many entries were ever harvested. */
  readonly reset: number;
  /** Memory slot of the page, with its address space in bits 31:16. */
  readonly slot: number;
  /** Page offset in the slot. */
  readonly offset: number;
  /** Entries in the ring now. */
  readonly used: number;
}

/**
 * The dirty ring was harvested: `kvm_dirty_ring_reset` (TRC-8).
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: kvm_dirty_ring_reset: ring 0: dirty 0x5 reset 0x5 (used 0)
 * ```
 */
export interface DirtyRingResetEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "dirty_ring_reset";
  /** Number of the ring, one for each vCPU. */
  readonly ring: number;
  /** Producer index: how many entries were ever pushed. */
  readonly dirty: number;
  /** Consumer index after the harvest. */
  readonly reset: number;
  /** Entries in the ring now. */
  readonly used: number;
}

/**
 * The dirty ring was full: `kvm_dirty_ring_exit` (TRC-9).
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: kvm_dirty_ring_exit: vcpu 0
 * ```
 */
export interface DirtyRingExitEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "dirty_ring_exit";
  /** Number of the vCPU that left the guest. */
  readonly vcpu: number;
}

/**
 * A vCPU enters the guest: `kvm_entry` (TRC-10).
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: kvm_entry: PC: 0x00000000000078
 * ```
 */
export interface EntryEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "entry";
  /** Where the guest goes on. */
  readonly pc: bigint;
}

/**
 * Text that a program wrote into the trace, and its meaning if the program is a VMM.
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: tracing_mark_write: vmm: FREEZE unmap collapse
 * ```
 */
export interface MarkerEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "marker";
  /** Its first line. */
  readonly text: string;
  /** The file descriptor that it was written to, where a probe on write() recorded it. */
  readonly fd?: number;
  /** What the text says, as {@link parseMarker} reads it. */
  readonly note: MarkerNote;
}

/**
 * An event of a kind that granule does not read, or one that could not be read and is not among
 * `TraceOptions.strict`. It is counted, and its text dropped.
 *
 * @example
 * ```text
 * kvmt-319 [000] ..... 25.893942: sched_switch: prev_comm=kvmt prev_pid=319 next_comm=ksmd next_pid=31
 * ```
 */
export interface UnknownEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "unknown";
}

/**
 * The ring buffer overflowed here: what follows does not continue what went before, and no replay
 * of it is exact. `time` and `task` are those of the line before. At the start of a trace it stands
 * for events that were overwritten.
 *
 * @example
 * ```text
 * CPU:0 [7068 EVENTS DROPPED]
 * ```
 */
export interface LostEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
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

/**
 * The event of one kind: `EventOf<"s2_map">` is {@link S2MapEvent}.
 *
 * @example
 * ```ts
 * import type { EventOf } from "granule/trace";
 *
 * const bytes = (events: EventOf<"s2_map">[]) => events.reduce((sum, { size }) => sum + size, 0);
 * console.log(bytes([])); // 0
 * ```
 */
export type EventOf<K extends TraceEvent["kind"]> = Extract<
  TraceEvent,
  {
    /** The kind that is asked for. */
    kind: K;
  }
>;
