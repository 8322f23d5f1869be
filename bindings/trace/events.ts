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
 * A call of the page-table engine's map function.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_map: (kvm_pgtable_stage2_map+0x0/0x140) pgt=0xfff00000038503c0 ipa=0x40200000 size=0x200000 phys=0x4ce00000 prot=0x6 flags=0x18
 * ```
 */
export interface S2MapEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "s2_map";
  /** Address of the kernel's `struct kvm_pgtable`, as the trace spells it. It tells one VM from another. */
  readonly pgt: string;
  /** First guest physical address. */
  readonly ipa: number;
  /** Bytes to map. */
  readonly size: number;
  /** Physical address behind `ipa`. */
  readonly phys: number;
  /** As the kernel numbers it; a bigint only where a software bit (55..58) is set. */
  readonly prot: number | bigint;
  /**
   * Walk flags as the kernel numbers them, 32 bits; 0 where the probe did not record them. Kernels
   * before 6.2 have no such argument: there the value means nothing.
   */
  readonly flags: number;
}

/**
 * Operations on a range of guest addresses.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_unmap: (kvm_pgtable_stage2_unmap+0x0/0xc8) pgt=0xfff00000038503c0 ipa=0x20002000 size=0x1000
 * ```
 */
export interface S2RangeEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "s2_unmap" | "s2_wrprotect" | "s2_flush" | "s2_destroy_range";
  /** Address of the kernel's `struct kvm_pgtable`, as the trace spells it. It tells one VM from another. */
  readonly pgt: string;
  /** First guest physical address. */
  readonly ipa: number;
  /** Bytes of the range. */
  readonly size: number;
}

/**
 * A call to split the blocks of a range; there is one for each chunk.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_split: (kvm_pgtable_stage2_split+0x0/0x80) pgt=0xfff00000038503c0 ipa=0x40600000 size=0x200000
 * ```
 */
export interface S2SplitEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "s2_split";
  /**
   * Address of the kernel's `struct kvm_pgtable`, as the trace spells it. It tells one VM from another. `undefined`
   * where the probe did not record it.
   */
  readonly pgt: string | undefined;
  /** First guest physical address of the chunk. */
  readonly ipa: number;
  /** Bytes of the chunk. */
  readonly size: number;
}

/**
 * A permission fault widens the rights of one leaf.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_relax_perms: (kvm_pgtable_stage2_relax_perms+0x0/0x140) pgt=0xfff00000038503c0 ipa=0x41fc9000 prot=0x6 flags=0x1
 * ```
 */
export interface S2RelaxPermsEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "s2_relax_perms";
  /** Address of the kernel's `struct kvm_pgtable`, as the trace spells it. It tells one VM from another. */
  readonly pgt: string;
  /** Guest physical address of the fault. */
  readonly ipa: number;
  /** As in {@link S2MapEvent}. */
  readonly prot: number | bigint;
  /** Kernels before 6.14 have no such argument: there the value means nothing. */
  readonly flags: number;
}

/**
 * Access-flag operations on one leaf.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_mkyoung: (kvm_pgtable_stage2_mkyoung+0x0/0xa8) pgt=0xffff000003873380 ipa=0x40e00000
 * ```
 */
export interface S2AgeEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "s2_mkyoung" | "s2_mkold" | "s2_is_young";
  /** Address of the kernel's `struct kvm_pgtable`, as the trace spells it. It tells one VM from another. */
  readonly pgt: string;
  /** Guest physical address of the leaf. */
  readonly ipa: number;
}

/**
 * Ageing of a range.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_test_clear_young: (kvm_pgtable_stage2_test_clear_young+0x0/0x98) pgt=0xfff00000038503c0 ipa=0x407cb000 size=0x1000 mkold=0
 * ```
 */
export interface S2TestClearYoungEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "s2_test_clear_young";
  /** Address of the kernel's `struct kvm_pgtable`, as the trace spells it. It tells one VM from another. */
  readonly pgt: string;
  /** First guest physical address. */
  readonly ipa: number;
  /** Bytes of the range. */
  readonly size: number;
  /** True: clear the flags; false: only look. */
  readonly mkold: boolean;
}

/**
 * A subtree is built aside, to replace a block.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_create_unlinked: (kvm_pgtable_stage2_create_unlinked+0x0/0x170) phys=0x4a800000 level=2 prot=0x4 force_pte=1
 * ```
 */
export interface S2CreateUnlinkedEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "s2_create_unlinked";
  /**
   * Address of the kernel's `struct kvm_pgtable`, as the trace spells it. It tells one VM from another. `undefined`
   * where the probe did not record it.
   */
  readonly pgt: string | undefined;
  /** Physical address of the block that is to be replaced. */
  readonly phys: number;
  /** Level of that block's entry. */
  readonly level: number;
  /** Rights of the new leaves, as in {@link S2MapEvent}. */
  readonly prot: number | bigint;
  /** True: pages down to the last level; false: the largest blocks that fit. */
  readonly forcePte: boolean;
}

/**
 * A subtree that nothing points to any more is freed.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_free_unlinked: (kvm_pgtable_stage2_free_unlinked+0x0/0x108) level=2
 * ```
 */
export interface S2FreeUnlinkedEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "s2_free_unlinked";
  /**
   * Address of the kernel's `struct kvm_pgtable`, as the trace spells it. It tells one VM from another. `undefined`
   * where the probe did not record it.
   */
  readonly pgt: string | undefined;
  /** Level of the entry that pointed to the subtree. */
  readonly level: number;
}

/**
 * A VM's table is destroyed. The next VM may get the same `pgt`.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_destroy: (kvm_pgtable_stage2_destroy+0x0/0xe8) pgt=0xfff00000038503c0
 * ```
 */
export interface S2DestroyEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "s2_destroy";
  /** Address of the kernel's `struct kvm_pgtable`, as the trace spells it. It tells one VM from another. */
  readonly pgt: string;
}

/**
 * What an operation returned: the `*_ret` lines.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: s2_map_ret: (kvm_handle_guest_abort+0x9a8/0xf10 <- kvm_pgtable_stage2_map) ret=-11
 * ```
 */
export interface ReturnEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "ret";
  /** The operation, such as `s2_map`; the call is the last one of the same task. */
  readonly of: string;
  /** Signed: 0, a negative errno, or 0/1 for the ageing functions. */
  readonly value: number;
}

/**
 * Invalidation of one address.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: tlbi_ipa: (__kvm_tlb_flush_vmid_ipa+0x0/0xd0) ipa=0x40400000 level=2147483647
 * kvmt-319 [000] d.... 25.899959: tlbi_ipa_nsh: (__kvm_tlb_flush_vmid_ipa_nsh+0x0/0xc0) ipa=0x41fc9000 level=3
 * ```
 */
export interface TlbiIpaEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "tlbi_ipa" | "tlbi_ipa_nsh";
  /** The guest physical address whose translation is dropped. */
  readonly ipa: number;
  /** Level hint, {@link TLBI_LEVEL_UNKNOWN} for none. */
  readonly level: number;
}

/**
 * Invalidation of a range.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: tlbi_range: (__kvm_tlb_flush_vmid_range+0x0/0x178) ipa=0x20002000 pages=1
 * ```
 */
export interface TlbiRangeEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "tlbi_range";
  /** First guest physical address. */
  readonly ipa: number;
  /** Pages of the host's granule. */
  readonly pages: number;
}

/**
 * Invalidation of a whole VMID.
 *
 * @example
 * ```text
 * kvmt-319 [000] d.... 25.899959: tlbi_vmid: (__kvm_tlb_flush_vmid+0x0/0x90) mmu=0xffff80000a0959c8
 * ```
 */
export interface TlbiVmidEvent extends EventHead {
  /** Tells this kind of event from the others in {@link TraceEvent}. */
  readonly kind: "tlbi_vmid";
  /** Address of the kernel's `struct kvm_s2_mmu`, as the trace spells it. */
  readonly mmu: string;
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

/**
 * The level of a TLBI that carries no level hint (TLBI_TTL_UNKNOWN).
 *
 * @example
 * ```ts
 * import { parseTraceLine, TLBI_LEVEL_UNKNOWN } from "granule/trace";
 *
 * const line = "kvmt-7 [000] d.... 1.5: tlbi_ipa: (__kvm_tlb_flush_vmid_ipa+0x0/0xd0) ipa=0x40400000 level=2147483647";
 * const event = parseTraceLine(line);
 * if (event?.kind === "tlbi_ipa") console.log(event.level === TLBI_LEVEL_UNKNOWN); // true
 * ```
 */
export const TLBI_LEVEL_UNKNOWN: number = K.TTL_UNKNOWN;
