import type { TraceStats } from "./tally.js";

/** Events that occur in the host around those that `perf script` leaves out. */
const AROUND = ["kvm_userspace_exit", "kvm_mmio", "kvm_unmap_hva_range", "s2_unmap", "s2_wrprotect", "s2_destroy"];
/** Events that are recorded while a vCPU is loaded. */
const INSIDE = ["kvm_guest_fault", "s2_map"];

/**
 * Does a text look as if `perf script` had left out most of it? On arm64 hosts up to Linux 6.12, perf
 * marks what it samples while a vCPU is loaded as samples of the guest, and `perf script` does not
 * print these: neither a fault nor a map is left, though there is a VM. With
 * `perf script --guestkallsyms=/dev/null` it prints all of them.
 *
 * @example
 * ```ts
 * import { looksLikeHostOnly, TraceParser } from "granule/trace";
 *
 * const parser = new TraceParser();
 * parser.parse("kvmt 7 [000] 1.5: kvm:kvm_userspace_exit: reason KVM_EXIT_MMIO (6)");
 * console.log(looksLikeHostOnly(parser.stats)); // true
 * ```
 */
export function looksLikeHostOnly(stats: TraceStats): boolean {
  const seen = (name: string) => (stats.events.get(name) ?? 0) > 0;
  return stats.grouped > 0 && AROUND.some(seen) && !INSIDE.some(seen);
}
