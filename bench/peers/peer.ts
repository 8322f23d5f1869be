/**
 * What every JavaScript peer of the Wasm core does: a stage-2 page table with the 4K granule, 40-bit IPAs, start level 1
 * in two concatenated pages, FWB and range TLBI.
 *
 * Addresses and sizes are numbers (all below 2^53); results are zero or a negative Linux errno.
 *
 * @module
 */

/** Permission bits, numbered as KVM does since 5.11. The peers map normal write-back memory only. */
export const PROT_X = 1;
/** Write permission. */
export const PROT_W = 2;
/** Read permission. */
export const PROT_R = 4;

/** The entry is locked or missing: try again. */
export const EAGAIN = 11;
/** The arena has no table page left. */
export const ENOMEM = 12;
/** Misaligned physical address or unknown protection bit. */
export const EINVAL = 22;
/** Range outside the 40-bit input space. */
export const ERANGE = 34;

/** Bytes in a page, and in a table. */
export const PAGE_SIZE = 4096;
/** Pages in the whole 40-bit input space. */
export const IPA_PAGES = 2 ** 28;
/** Most pages that one range invalidation covers [TLB-9]. */
export const TLBI_RANGE_PAGES = 2 ** 21;

/** Called for each leaf entry, the invalid ones too [WLK-5], in order of address. */
export type LeafVisitor = (ipa: number, level: number, low: number, high: number) => void;

/** What a peer has counted since its last reset. */
export interface PeerCounters {
  /** Table pages in use beside the two start pages. */
  readonly tables: number;
  /** Invalidations of one address, broadcast. */
  readonly tlbiIpa: number;
  /** Invalidations of one address, this CPU only. */
  readonly tlbiLocal: number;
  /** Invalidations of a range, broadcast. */
  readonly tlbiRange: number;
}

/** One page-table engine written in JavaScript. */
export interface Peer {
  readonly name: string;
  /** Empties the table and the counters. */
  reset(): void;
  /**
   * Maps a range as `kvm_pgtable_stage2_map` does without HANDLE_FAULT: the largest leaves that fit, or pages alone.
   * Entries that are equal or differ only in permissions stay as they are.
   */
  map(ipa: number, size: number, pa: number, prot: number, forcePages: boolean): number;
  /** Removes every leaf that the range touches, whole; empty tables go too. One deferred range flush. */
  unmap(ipa: number, size: number): number;
  /** Removes write permission; the caller flushes. */
  wrprotect(ipa: number, size: number): number;
  /** 1 if a leaf of the range had its access flag, else 0. With `clear` the flags are cleared. */
  testClearYoung(ipa: number, size: number, clear: boolean): number;
  /** Adds permissions to the leaf at an address and flushes it locally. */
  relax(ipa: number, prot: number): number;
  /** Replaces the blocks of a range by pages of the same permissions. */
  split(ipa: number, size: number): number;
  /** Low word of the entry where the walk to an address ends; {@link foundHigh} and {@link foundLevel} hold the rest. */
  lookup(ipa: number): number;
  /** High word of the entry found by the last lookup. */
  readonly foundHigh: number;
  /** Level of the entry found by the last lookup. */
  readonly foundLevel: number;
  /** Counts the valid leaves of a range. */
  countLeaves(ipa: number, size: number): number;
  /** Calls the visitor for each leaf entry of a range; returns the number of calls. */
  walkLeaves(ipa: number, size: number, visit: LeafVisitor): number;
  /** A digest of all valid leaves: address, level, descriptor. */
  digest(): string;
  counters(): PeerCounters;
  /** Whether each table's reference count is one more than its non-zero entries [WLK-17]. */
  countsHold(): boolean;
}

/** Index of the page that holds an address. */
export function firstPage(ipa: number): number {
  return Math.floor(ipa / PAGE_SIZE);
}

/** Index of the first page after a range, rounded as [WLK-1] says; -1 if the range leaves the input space. */
export function endPage(ipa: number, size: number): number {
  const end = firstPage(ipa) + Math.ceil(size / PAGE_SIZE);
  return ipa >= 0 && size >= 0 && end <= IPA_PAGES ? end : -1;
}

/** Zero if a peer can map this, else a negative errno. */
export function mapError(ipa: number, size: number, pa: number, prot: number): number {
  if (endPage(ipa, size) < 0) return -ERANGE;
  const known = PROT_R | PROT_W | PROT_X;
  // Rounding, not the remainder: `%` on numbers beyond 32 bits is a call into the C library.
  const aligned = pa >= 0 && Math.floor(pa / PAGE_SIZE) * PAGE_SIZE === pa;
  return aligned && (prot & ~known) === 0 && pa + size <= 2 ** 48 ? 0 : -EINVAL;
}

/** Hash over leaves in order of address; engines that hold the same mappings print the same text. */
export class LeafDigest {
  private a = 0x811c9dc5;
  private b = 0x9e3779b9;
  private leaves = 0;

  /** Takes in one valid leaf. */
  add(ipa: number, level: number, low: number, high: number): void {
    this.mix(firstPage(ipa) ^ (level << 29));
    this.mix(low);
    this.mix(high);
    this.leaves += 1;
  }

  /** Number of leaves and 64 bits of hash. */
  toString(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return `${this.leaves}:${hex(this.a)}${hex(this.b)}`;
  }

  private mix(word: number): void {
    this.a = Math.imul(this.a ^ word, 0x01000193);
    this.b = Math.imul(this.b ^ (word >>> 15) ^ this.a, 0x85ebca6b);
    this.a ^= this.b >>> 13;
  }
}
