import * as K from "../core/constants.generated.js";
import type { EventHead } from "./head.js";

// The events of the probes on the page-table engine and on TLB maintenance; docs/guide/recording.md sets them.

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
