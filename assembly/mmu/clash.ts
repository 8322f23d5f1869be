// Entries of different leaves for one address [HWM-34, HWM-35]: marked when the later one is filled, looked for when a marked
// one is hit. All of this is done by the thread whose entries they are.

import { maskOf, ones } from "../arch/field";
import { LANES, Lanes } from "../memory/lanes";
import { observe, replace } from "../memory/shared";
import {
  B_SECOND,
  Bank,
  bank,
  entry,
  isHole,
  isThere,
  keysOf,
  META_LEAF,
  plainTag,
  sizeOf,
  TAG_ASID,
  TAG_GLOBAL,
  TAG_SUSPECT,
  TAG_VALID,
  TLB_ENTRY_BYTES,
  Tlb,
} from "./tlb";
import { entryOf, firstWay, Keys } from "./ways";

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

/** Marks the entries at `p` and at `q` if they clash; whether they do. */
function markIf(p: usize, q: usize): bool {
  if (!clash(p, q)) return false;
  suspect(p);
  suspect(q);
  return true;
}

/** Marks what clashes with the entry at `p` in the whole bank, and it; whether there is any. */
function markAll(p: usize, b: Bank): bool {
  let any: bool = false,
    q: usize = b.pointer;
  for (let left = b.sets * b.ways; left !== 0; left--, q += TLB_ENTRY_BYTES) if (markIf(p, q)) any = true;
  return any;
}

/**
 * The same among the entries for `addr` that the one at `p` was found or made for; or, unless `marks`, whether there is one that answers
 * for `addr` now.
 */
function clashesAt(b: Bank, p: usize, addr: u64, marks: bool): bool {
  const ways = b.ways;
  let any: bool = false;
  for (let sizes = b.present; sizes !== 0; sizes &= sizes - 1) {
    const size = <u32>ctz(sizes),
      first = firstWay(b, addr, size),
      keys = keysOf(b) + first,
      key = Keys.of(addr & ~ones(size));
    for (let i: u32 = 0; i < ways; i += LANES) {
      for (let some = Lanes.equal(keys + i, ways - i, key); some !== 0; some &= some - 1) {
        const q = entryOf(b, first + i + <u32>ctz(some));
        if (marks ? markIf(p, q) : answers(q, addr) && clash(p, q)) any = true;
      }
    }
  }
  return any;
}

/** Does the entry at `q` lie around `addr`, with no hole there? */
function answers(q: usize, addr: u64): bool {
  const e = entry(q);
  return ((e.base ^ addr) & e.mask) === 0 && !isHole(e, observe(q), addr);
}

/** Finds the entries of other leaves for what the new entry at `p` maps [HWM-35]; hits on them look twice from now on. Whether there is any. */
export function markClashes(t: Tlb, p: usize): bool {
  const e = entry(p),
    smaller = ones(sizeOf(e));
  let any: bool = false;
  for (let i: u32 = 0; i <= B_SECOND; i++) {
    const b = bank(t, i);
    if (b.present === 0 || !isThere(b)) continue;
    // Sizes below its own lie in many sets.
    const found = (b.present & smaller) !== 0 ? markAll(p, b) : clashesAt(b, p, e.base, true);
    if (found) any = true;
  }
  return any;
}

/** Is there an entry of another leaf for the address that the one at `p` was found for? */
export function isContested(t: Tlb, p: usize, addr: u64): bool {
  for (let i: u32 = 0; i <= B_SECOND; i++) {
    const b = bank(t, i);
    if (isThere(b) && clashesAt(b, p, addr, false)) return true;
  }
  return false;
}
