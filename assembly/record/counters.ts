// Counters: what a walker did, always counted. One block of u64 per walker, so counting needs
// no atomic; the host sums the blocks. The names are read from this file by bindings/core/generate.mjs.

import { me } from "../memory/layout";

/** Walks begun. */
export const C_WALKS: u32 = 0;
/** Leaves installed, blocks and pages. */
export const C_LEAVES_MADE: u32 = 1;
/** Leaves removed. */
export const C_LEAVES_CLEARED: u32 = 2;
/** Break-before-make sequences: a valid descriptor was broken to make another one. */
export const C_BREAKS_VALID: u32 = 3;
/** Results EAGAIN: lost a race, or nothing to do. */
export const C_AGAIN: u32 = 4;
/** Compare-exchanges that failed. */
export const C_LOST: u32 = 5;
/** Table pages taken and given back. */
export const C_TABLES_TAKEN: u32 = 6;
export const C_TABLES_FREED: u32 = 7;
/** TLBI by IPA, broadcast (IPAS2E1IS and VMALLE1IS). */
export const C_TLBI_IPA: u32 = 8;
/** TLBI by IPA, this CPU only (IPAS2E1 and VMALLE1). */
export const C_TLBI_IPA_LOCAL: u32 = 9;
/** Range TLBIs asked for, and the instructions that they take. */
export const C_TLBI_RANGE: u32 = 10;
export const C_TLBI_RANGE_OPS: u32 = 11;
/** TLBI of a whole VMID (VMALLS12E1IS). */
export const C_TLBI_VMID: u32 = 12;
/** TLBI by VA at EL2: all levels (VAE2IS), last level (VALE2IS). */
export const C_TLBI_VA: u32 = 13;
export const C_TLBI_VA_LAST: u32 = 14;
/** DSB ISHST and ISB on their own. Those inside a TLBI sequence follow from its count; the host adds them. */
export const C_DSB: u32 = 15;
export const C_ISB: u32 = 16;
/** Data cache clean and invalidate to PoC: calls and bytes. */
export const C_DCACHE: u32 = 17;
export const C_DCACHE_BYTES: u32 = 18;
/** Instruction cache invalidate to PoU: calls and bytes. */
export const C_ICACHE: u32 = 19;
export const C_ICACHE_BYTES: u32 = 20;
/** Conditions that the kernel would warn about. */
export const C_WARNINGS: u32 = 21;
/** Operations performed: single ones, and those of submission buffers. */
export const C_SUBMITTED: u32 = 22;
/** Entries that splits looked at: blocks, holes, and pages where the walk goes down to them. */
export const C_SPLIT_VISITS: u32 = 23;

/** What this walker has counted. */
export function counted(id: u32): u64 {
  return load<u64>(me + (id << 3));
}

/** Adds `n` to a counter of this walker. */
export function count(id: u32, n: u64): void {
  const p: usize = me + (id << 3);
  store<u64>(p, load<u64>(p) + n);
}
