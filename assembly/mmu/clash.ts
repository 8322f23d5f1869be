// Entries of different leaves for one address [HWM-34, HWM-35]: marked when the later one is filled, looked for when a marked
// one is hit. All of this is done by the thread whose entries they are.

import { maskOf, ones } from "../arch/field";
import { observe, replace } from "../memory/shared";
import {
  B_SECOND,
  bank,
  entry,
  isHole,
  isThere,
  META_LEAF,
  plainTag,
  setOf,
  sizeOf,
  TAG_ASID,
  TAG_GLOBAL,
  TAG_SUSPECT,
  TAG_VALID,
  TLB_ENTRY_BYTES,
  Tlb,
} from "./tlb";

/** Can both tags be asked for at once? ASIDs agree, or one is global. */
function meet(a: u64, b: u64): bool {
  const differ = plainTag(a ^ b) & ~TAG_GLOBAL;
  return differ === 0 || (((a | b) & TAG_GLOBAL) !== 0 && (differ & ~maskOf(TAG_ASID)) === 0);
}

/** Are these two entries of different leaves for the same address? */
function clash(p: usize, q: usize): bool {
  const a = entry(p),
    b = entry(q);
  if (p === q || ((a.base ^ b.base) & a.mask & b.mask) !== 0) return false;
  const tag = observe(p),
    other = observe(q);
  if (!(tag & other & TAG_VALID) || !meet(tag, other)) return false;
  return ((a.meta ^ b.meta) & META_LEAF) !== 0 || ((tag ^ other) & TAG_GLOBAL) !== 0;
}

/** Marks the entry at `p`, whatever an invalidation takes out of it meanwhile, if it stands. */
function suspect(p: usize): void {
  for (let tag = observe(p); tag !== 0 && !(tag & TAG_SUSPECT); tag = observe(p)) {
    if (replace(p, tag, tag | TAG_SUSPECT)) return;
  }
}

/** Marks what clashes with the entry at `p` among `n` entries, and it. */
function markAmong(p: usize, from: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++, from += TLB_ENTRY_BYTES) {
    if (!clash(p, from)) continue;
    suspect(p);
    suspect(from);
  }
}

/** Finds the entries of other sizes for what the new entry at `p` maps [HWM-35]; hits on them look twice from now on. */
export function markClashes(t: Tlb, p: usize): void {
  const e = entry(p),
    smaller = ones(sizeOf(e));
  for (let i: u32 = 0; i <= B_SECOND; i++) {
    const b = bank(t, i);
    if (!isThere(b)) continue;
    // Sizes below its own lie in many sets.
    if ((b.present & smaller) !== 0) markAmong(p, b.pointer, b.sets * b.ways);
    else
      for (let sizes = b.present; sizes !== 0; sizes &= sizes - 1)
        markAmong(p, setOf(b, e.base, <u32>ctz(sizes)), b.ways);
  }
}

/** Is there an entry of another leaf for the address that the one at `p` was found for? */
export function isContested(t: Tlb, p: usize, addr: u64): bool {
  for (let i: u32 = 0; i <= B_SECOND; i++) {
    const b = bank(t, i);
    if (!isThere(b)) continue;
    for (let sizes = b.present; sizes !== 0; sizes &= sizes - 1) {
      let q = setOf(b, addr, <u32>ctz(sizes));
      for (let w: u32 = 0; w < b.ways; w++, q += TLB_ENTRY_BYTES) {
        const e = entry(q);
        if (((e.base ^ addr) & e.mask) === 0 && !isHole(e, observe(q), addr) && clash(p, q)) return true;
      }
    }
  }
  return false;
}
