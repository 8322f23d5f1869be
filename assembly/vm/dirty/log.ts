// Dirty logging by write protection: KVM_SET_USER_MEMORY_REGION with LOG_DIRTY_PAGES, KVM_GET_DIRTY_LOG and
// KVM_CLEAR_DIRTY_LOG [DLG-10..18, DLG-30..35].

import { CACHE_ARENA } from "../../memory/cache";
import { EINVAL, ENOENT, OK } from "../../memory/errno";
import { OP_SPLIT, OP_TLB_FLUSH_RANGE, OP_WRPROTECT } from "../../table/submit";
import { onRange, onTable } from "../operate";
import { slotNamed } from "../slots";
import { NO_KEY } from "../sparse";
import { SLOT_LOGS, Slot, Vm } from "../state";
import { countDirty, nextWord, takeWord, WORD_SHIFT, wordsOf } from "./bitmap";

// Vm.manualDirtyLog
const MANUAL: u32 = 1;
const INITIALLY_SET: u32 = 3;
/** A range of more chunks is split in one operation. */
const MAX_CHUNKS: u64 = 1 << 12;

/** Do new bitmaps begin with all pages dirty [DLG-5]? */
export function startsDirty(v: Vm): bool {
  return v.manualDirtyLog === INITIALLY_SET;
}

/** Removes write permission and flushes [DLG-10, TLB-26]. */
function protect(v: Vm, gpa: u64, size: u64): void {
  v.protects++;
  onRange(v, OP_WRPROTECT, gpa, size, 0);
  onRange(v, OP_TLB_FLUSH_RANGE, gpa, size, 0);
}

/** Splits blocks chunk by chunk, if eager splitting is on [DLG-32]. A failure fails nothing [DLG-33]. */
function splitEagerly(v: Vm, gpa: u64, size: u64): void {
  if (v.eagerSplit === 0) return;
  const chunk = size / v.eagerSplit > MAX_CHUNKS ? size : v.eagerSplit,
    end = gpa + size;
  for (let at = gpa; at < end; ) {
    const next = min(at - (at % chunk) + chunk, end);
    onTable(v, OP_SPLIT, at, next - at, 0, CACHE_ARENA, 0);
    at = next;
  }
}

/** A slot logs from now on. With INITIALLY_SET nothing happens now; each clear protects [DLG-10]. */
export function enable(v: Vm, s: Slot): void {
  if (startsDirty(v)) return;
  protect(v, s.gpa, s.size);
  splitEagerly(v, s.gpa, s.size);
}

/** Protects a span of pages that were dirty; of neighbouring words the spans come as one. */
function protectSpan(v: Vm, s: Slot, first: u32, pages: u32): void {
  if (pages === 0) return;
  const gpa = s.gpa + ((<u64>first) << v.ps),
    size = (<u64>pages) << v.ps;
  protect(v, gpa, size);
  if (startsDirty(v)) splitEagerly(v, gpa, size);
}

/**
 * Clears the dirty bits of words [word, end) and protects their pages: for each word the span from its lowest to its highest
 * bit, zero bits between them included [DLG-18].
 */
function clearWords(v: Vm, s: Slot, word: u32, end: u32): void {
  let first: u32 = 0,
    pages: u32 = 0;
  for (let i = nextWord(s, word); i < end && i !== NO_KEY; i = nextWord(s, i + 1)) {
    const bits = takeWord(v, s, i);
    if (bits === 0) continue;
    const low = (i << WORD_SHIFT) + <u32>ctz(bits),
      n = (i << WORD_SHIFT) + 64 - <u32>clz(bits) - low;
    if (pages !== 0 && low === first + pages) {
      pages += n;
      continue;
    }
    protectSpan(v, s, first, pages);
    first = low;
    pages = n;
  }
  protectSpan(v, s, first, pages);
}

/** KVM_GET_DIRTY_LOG: how many pages were written since they were last protected; ENOENT if the slot does not log. */
export function getDirtyLog(v: Vm, id: u32): i32 {
  const s = slotNamed(v, id);
  if (!s || !(s.flags & SLOT_LOGS)) return ENOENT;
  const pages = countDirty(v, s);
  if (!(v.manualDirtyLog & MANUAL)) clearWords(v, s, 0, wordsOf(v, s));
  return pages;
}

/** KVM_CLEAR_DIRTY_LOG of what is dirty in [first, first + pages), in whole words [DLG-16]. */
export function clearDirtyLog(v: Vm, id: u32, first: u32, pages: u32): i32 {
  const s = slotNamed(v, id);
  if (!s || !(s.flags & SLOT_LOGS)) return ENOENT;
  const end = <u64>first + pages;
  if (first & ((1 << WORD_SHIFT) - 1)) return EINVAL;
  clearWords(v, s, first >> WORD_SHIFT, min(wordsOf(v, s), <u32>((end + 63) >> WORD_SHIFT)));
  return OK;
}
