// The dirty bitmap of a slot: one bit a page, in words of 64 [DLG-13]. A word takes memory when a page of it is marked.
// Words of a log that starts with all pages dirty are all ones until then [DLG-5].

import { observe, raise, swap } from "../../memory/shared";
import { find, LEAF_BITS, make, NO_KEY, nextKey } from "../sparse";
import { pagesOf, SLOT_ALL_DIRTY, Slot, Vm } from "../state";

export const WORD_SHIFT: u32 = 6;
const WORD_PAGES: u32 = 1 << WORD_SHIFT;

/** Where the sparse array of the slot's words begins. Precondition: the slot has a bitmap. */
function rootOf(s: Slot): usize {
  return changetype<usize>(s) + offsetof<Slot>("log");
}

/** What a word holds that has no memory yet. */
function initial(s: Slot): u64 {
  return s.flags & SLOT_ALL_DIRTY ? u64.MAX_VALUE : 0;
}

/** The bits of word `i` that are pages of the slot. */
function bitsOf(v: Vm, s: Slot, i: u32): u64 {
  const rest = pagesOf(v, s) - (i << WORD_SHIFT);
  return rest >= WORD_PAGES ? u64.MAX_VALUE : ((<u64>1) << rest) - 1;
}

/** Words of the slot's bitmap. */
export function wordsOf(v: Vm, s: Slot): u32 {
  return (pagesOf(v, s) + WORD_PAGES - 1) >> WORD_SHIFT;
}

/** Makes sure that a page can be marked; false when memory is spent. */
export function reserve(s: Slot, page: u32): bool {
  return make(rootOf(s), page >> WORD_SHIFT, initial(s)) !== 0;
}

/** Marks a page as written; false when memory is spent. */
export function mark(s: Slot, page: u32): bool {
  const p = make(rootOf(s), page >> WORD_SHIFT, initial(s));
  if (p === 0) return false;
  raise(p, (<u64>1) << (page & (WORD_PAGES - 1)));
  return true;
}

/** Word `i` as it is. */
export function wordOf(v: Vm, s: Slot, i: u32): u64 {
  const p = find(rootOf(s), i);
  return (p === 0 ? initial(s) : observe(p)) & bitsOf(v, s, i);
}

/** Takes word `i`: what it held, and zero is left. 0 also when memory is spent; then the word stays as it is. */
export function takeWord(v: Vm, s: Slot, i: u32): u64 {
  const p = initial(s) === 0 ? find(rootOf(s), i) : make(rootOf(s), i, initial(s));
  return p === 0 || observe(p) === 0 ? 0 : swap(p, 0) & bitsOf(v, s, i);
}

/** Words that may hold a bit: the next one from `i` on; NO_KEY if there is none. */
export function nextWord(s: Slot, i: u32): u32 {
  return initial(s) === 0 ? nextKey(rootOf(s), i) : i;
}

/** Pages that are dirty. */
export function countDirty(v: Vm, s: Slot): u32 {
  const words = wordsOf(v, s);
  let n: u32 = 0;
  for (let i = nextWord(s, 0); i < words; ) {
    const last = min(words, ((i >> LEAF_BITS) + 1) << LEAF_BITS);
    if (initial(s) !== 0 && find(rootOf(s), i) === 0) n += min(pagesOf(v, s), last << WORD_SHIFT) - (i << WORD_SHIFT);
    else for (let j = i; j < last; j++) n += <u32>popcnt(wordOf(v, s, j));
    i = nextWord(s, last);
    if (i === NO_KEY) break;
  }
  return n;
}
