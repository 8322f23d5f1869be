// The dirty log of a slot: KVM_SET_USER_MEMORY_REGION with LOG_DIRTY_PAGES, KVM_GET_DIRTY_LOG and
// KVM_CLEAR_DIRTY_LOG [DLG-10..18, DLG-30..35].

import { EINVAL, ENOENT, OK } from "../../memory/errno";
import { observe, publish } from "../../memory/shared";
import { flushAll, promise } from "../operate";
import { flushOthers } from "../rmap/ranges";
import { slotNamed } from "../slots";
import { drop, find, make, NO_KEY } from "../sparse";
import {
  hasOverflowed,
  LOG_DBM,
  LOG_HDBSS,
  LOG_RING,
  RINGS,
  ringOf,
  SLOT_LOGS,
  Slot,
  tracksInHardware,
  Vm,
} from "../state";
import { countDirty, nextWord, takeWord, WORD_SHIFT, wordOf, wordsOf } from "./bitmap";
import { HARVEST_BEGIN, HARVEST_COLLECT, harvest, sweep } from "./dbm";
import { flushRange, protect, protectPages, splitEagerly } from "./protect";
import { collectRing } from "./ring";

// Vm.manualDirtyLog
const MANUAL: u32 = 1;
const INITIALLY_SET: u32 = 3;

/** Do new bitmaps begin with all pages dirty [DLG-5]? */
export function startsDirty(v: Vm): bool {
  return v.manualDirtyLog === INITIALLY_SET;
}

/** Stores to a range of a slot are noticed from now on. What was dirty before is in the log. */
function watch(v: Vm, s: Slot, gpa: u64, size: u64): void {
  if (!tracksInHardware(v)) {
    protect(v, s, gpa, size);
    splitEagerly(v, gpa, size);
  } else {
    splitEagerly(v, gpa, size); // before: pages can be clean, blocks cannot
    v.protects++;
    harvest(v, s, gpa, size, HARVEST_BEGIN);
  }
}

/** A slot logs from now on. With INITIALLY_SET nothing happens now; each clear protects [DLG-10]. */
export function enable(v: Vm, s: Slot): void {
  if (tracksInHardware(v)) v.hadHardware = 1;
  if (!startsDirty(v)) watch(v, s, s.gpa, s.size);
  promise();
}

/** Are pages that come out of the log to be protected? What hardware tracks is clean, and what came out of a ring is protected already. */
function protectsAgain(v: Vm): bool {
  return v.strategy !== LOG_DBM && (v.strategy !== LOG_RING || hasOverflowed(v));
}

/** Protects a span of pages that were dirty; of neighbouring words the spans come as one. The caller flushes, once [DLG-14]. */
function protectSpan(v: Vm, s: Slot, first: u32, pages: u32): void {
  if (pages === 0 || !protectsAgain(v)) return;
  if (v.strategy === LOG_HDBSS) {
    cleanSpan(v, s, first, pages);
    return;
  }
  protectPages(v, s, first, pages);
  if (startsDirty(v)) splitEagerly(v, s.gpa + ((<u64>first) << v.ps), (<u64>pages) << v.ps);
}

/** Pages that hardware wrote down are clean again: a store to one is written down anew [DBM-13]. The caller flushes. */
function cleanSpan(v: Vm, s: Slot, first: u32, pages: u32): void {
  const gpa = s.gpa + ((<u64>first) << v.ps),
    size = (<u64>pages) << v.ps;
  if (startsDirty(v)) splitEagerly(v, gpa, size);
  v.protects++;
  sweep(v, s, gpa, size, HARVEST_BEGIN);
}

function reportRoot(v: Vm): usize {
  return changetype<usize>(v) + offsetof<Vm>("report");
}

/** Forgets what was last taken. */
export function dropReport(v: Vm): void {
  drop(v.report);
  v.report = 0;
  v.reportWords = 0;
}

/** Word `i` of what was last taken out of a dirty log. */
export function reported(v: Vm, i: u32): u64 {
  const p = find(reportRoot(v), i);
  return p === 0 ? 0 : observe(p);
}

/** Takes the bits of word `i` out of the log and into the report. 0 also when memory is spent: then they stay for the next time. */
function takeReported(v: Vm, s: Slot, i: u32): u64 {
  const p = wordOf(v, s, i) === 0 ? 0 : make(reportRoot(v), i, 0);
  if (p === 0) return 0;
  const bits = takeWord(v, s, i);
  publish(p, bits);
  return bits;
}

/**
 * Reports and clears the words [word, end) of a slot's dirty log; how many bits there were. Their pages are protected: for
 * each word the span from its lowest to its highest bit, zero bits between them included [DLG-18].
 */
function takeWords(v: Vm, s: Slot, word: u32, end: u32): u32 {
  let first: u32 = 0,
    pages: u32 = 0,
    dirty: u32 = 0;
  dropReport(v);
  v.reportWords = wordsOf(v, s);
  for (let i = nextWord(s, word); i < end && i !== NO_KEY; i = nextWord(s, i + 1)) {
    const bits = takeReported(v, s, i);
    if (bits === 0) continue;
    dirty += <u32>popcnt(bits);
    const low = (i << WORD_SHIFT) + <u32>ctz(bits),
      n = ((i + 1) << WORD_SHIFT) - <u32>clz(bits) - low;
    if (pages !== 0 && low === first + pages) {
      pages += n;
      continue;
    }
    protectSpan(v, s, first, pages);
    first = low;
    pages = n;
  }
  protectSpan(v, s, first, pages);
  if (dirty !== 0 && protectsAgain(v)) flushRange(v, s.gpa, s.size);
  return dirty;
}

/** Pages that are dirty. Nothing is taken out of the log, so the report has nothing. */
function readWords(v: Vm, s: Slot): u32 {
  dropReport(v);
  v.reportWords = wordsOf(v, s);
  return countDirty(v, s);
}

/**
 * KVM_GET_DIRTY_LOG: how many pages were written since they were last protected. Unless clearing is manual they are clean
 * afterwards, and `reported` says which they were. ENOENT if the slot does not log.
 */
export function getDirtyLog(v: Vm, id: u32): i32 {
  const s = slotNamed(v, id);
  if (!s || !(s.flags & SLOT_LOGS)) return ENOENT;
  if (v.strategy === LOG_RING) collectRings(v);
  if (v.strategy === LOG_DBM) {
    v.protects++;
    const status = harvest(v, s, s.gpa, s.size, HARVEST_COLLECT);
    if (status < 0) return status;
  }
  const dirty = v.manualDirtyLog & MANUAL ? readWords(v, s) : takeWords(v, s, 0, wordsOf(v, s));
  promise();
  return dirty;
}

/** Collects all rings into the bitmaps of their slots, protects the pages, and flushes once; how many entries there were. */
export function collectRings(v: Vm): u32 {
  let taken: u32 = 0;
  for (let i: u32 = 0; i < RINGS; i++) if (ringOf(v, i) !== 0) taken += collectRing(v, ringOf(v, i));
  if (taken !== 0) flushAll(v); // [TLB-35]
  if (taken !== 0 && v.rmaps !== 0) flushOthers(v, 0, (<u64>1) << v.ipaBits);
  promise();
  return taken;
}

/** KVM_CLEAR_DIRTY_LOG of what is dirty in [first, first + pages), in whole words [DLG-16]; `reported` says what that was. */
export function clearDirtyLog(v: Vm, id: u32, first: u32, pages: u32): i32 {
  const s = slotNamed(v, id);
  if (!s || !(s.flags & SLOT_LOGS)) return ENOENT;
  const end = <u64>first + pages;
  if (first & ((1 << WORD_SHIFT) - 1)) return EINVAL;
  takeWords(v, s, first >> WORD_SHIFT, min(wordsOf(v, s), <u32>((end + 63) >> WORD_SHIFT)));
  promise();
  return OK;
}
