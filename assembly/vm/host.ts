// The VMM's own memory, as a guest fault sees it: how large a page is, and whether the guest may write to it without asking
// the host first. It follows from the kind of memory and from what happened to it:
//
//   untouched --read--> zero (the zero page)       untouched --write--> private
//   zero, shared --write--> private (a copy)       private --fork, KSM--> shared
//
// With transparent huge pages the same holds for whole blocks, until they are split. A hugetlb page has the state of its
// first page or block.

import { alignDown, UNIT_BYTES } from "../arch/granule";
import { EINVAL, ENOMEM, ETIMEDOUT, OK } from "../memory/errno";
import { giveFrames, takeFrames } from "../memory/frames";
import { handOver } from "../memory/intent";
import { parallel } from "../memory/layout";
import { acquire, relinquish } from "../memory/spin";
import {
  AREA_DEVICE,
  AREA_FRESH,
  AREA_THP,
  AREA_UNCACHED,
  AREA_WRITABLE,
  Area,
  areaAt,
  areaOf,
  areasUpTo,
  cut,
  growAreas,
  insertArea,
  isAnonymous,
} from "./areas";
import { drop, find, KEY_BITS, make, NO_KEY, nextKey } from "./sparse";
import { HOST_SPLITS_HUGE_ZERO, HOST_THP, Host } from "./state";

/** Most blocks that one event may change; an event of more changes none. */
const MAX_BLOCKS: u64 = 1 << 14;

// States of a page, or of a whole block.
export const UNTOUCHED: u8 = 0;
export const ZERO: u8 = 1;
export const SHARED_PAGE: u8 = 2;
export const PRIVATE: u8 = 3;

/** A block of anonymous memory: one state while it is whole, one for each page once it is split. */
@unmanaged
class Block {
  /** Pointer of a byte a page, 0 while it is whole. */
  pages: u32;
  state: u8;
  flags: u8;
  spare: u16;
}

const B_THERE: u8 = 1;
const B_WHOLE: u8 = 2;
/** Shared with a child of fork: a write copies one page, not the block. */
const B_FORKED: u8 = 4;

// The page that the host provides: 10 uncached   9 of a device   8 it does   7 the guest may write   6 hugetlb   5:0 log2 of its bytes
export const PAGE_SHIFT: u32 = 0x3f;
export const PAGE_HUGETLB: u32 = 1 << 6;
export const PAGE_WRITABLE: u32 = 1 << 7;
const PAGE_THERE: u32 = 1 << 8;
export const PAGE_DEVICE: u32 = 1 << 9;
export const PAGE_UNCACHED: u32 = 1 << 10;

/** Bytes of a block. */
function blockBytes(h: Host): u64 {
  return (<u64>1) << h.blockShift;
}

/** Pages of a block. */
function blockPages(h: Host): u32 {
  return 1 << (h.blockShift - h.ps);
}

function keyOf(h: Host, hva: u64): u32 {
  return <u32>(hva >> h.blockShift);
}

/** May the sparse array hold what lies below `end`? */
function isHostRange(h: Host, start: u64, end: u64): bool {
  return start <= end && end >> (h.blockShift + KEY_BITS) === 0;
}

function freshState(area: Area): u8 {
  return area.flags & AREA_FRESH ? UNTOUCHED : PRIVATE;
}

/** Sets the pages of a block that lie in an area to their state before anyone touches them. */
function fillPages(h: Host, pages: u32, start: u64, area: Area): void {
  const page = <u64>(1 << h.ps) - 1,
    end = start + blockBytes(h);
  if (area.end <= start || area.start >= end) return;
  const from = area.start > start ? <u32>((area.start - start + page) >> h.ps) : 0,
    to = area.end < end ? <u32>((area.end - start + page) >> h.ps) : blockPages(h);
  if (from < to) memory.fill(pages + from, freshState(area), to - from);
}

/** Splits a block: a byte for each page, all in the block's state. The pages, or 0 when memory is spent. */
function splitBlock(h: Host, b: Block): u32 {
  b.flags &= ~B_WHOLE;
  if (b.pages !== 0) return b.pages;
  const n = blockPages(h);
  let order: u32 = 0;
  while ((<u32>UNIT_BYTES) << order < n) order++;
  const pages = <u32>takeFrames(order);
  if (pages === 0) return 0;
  memory.fill(pages, b.state, n);
  b.pages = pages;
  handOver();
  return pages;
}

function unsplit(b: Block, state: u8): void {
  if (b.pages !== 0) giveFrames(b.pages);
  b.pages = 0;
  b.state = state;
  b.flags = B_THERE | B_WHOLE;
}

/** The block around `start`, where `area` is; null when memory is spent. */
function blockOf(h: Host, area: Area, start: u64): Block {
  const b = changetype<Block>(make(rootOf(h), keyOf(h, start), 0));
  if (!b || b.flags & B_THERE) return b;
  const end = start + blockBytes(h),
    whole = <bool>(area.flags & AREA_THP) && start >= area.start && end <= area.end;
  b.state = freshState(area);
  b.flags = B_THERE | B_WHOLE;
  if (whole) return b;
  const pages = splitBlock(h, b);
  if (pages === 0) return changetype<Block>(0);
  for (let i: u32 = 0; i < h.areaCount; i++) fillPages(h, pages, start, areaAt(h, i));
  return b;
}

function rootOf(h: Host): usize {
  return changetype<usize>(h) + offsetof<Host>("blocks");
}

/** The block around `hva` if anybody touched it; else null. */
function touchedBlock(h: Host, hva: u64): Block {
  const b = changetype<Block>(find(rootOf(h), keyOf(h, hva)));
  return b && b.flags & B_THERE ? b : changetype<Block>(0);
}

/** Sets the kind of [start, end); an earlier definition of it is dropped. 0, EINVAL or ENOMEM. */
export function define(h: Host, start: u64, end: u64, hugetlb: u64, flags: u32): i32 {
  if (!isHostRange(h, start, end) || (hugetlb & (hugetlb - 1)) !== 0) return EINVAL;
  if (!cut(h, start, end)) return ENOMEM;
  if (start === end) return OK;
  if (!growAreas(h)) return ENOMEM;
  insertArea(h, start, end, hugetlb, flags | AREA_WRITABLE);
  // A block that lies partly in the area exists already if a neighbouring area was touched.
  const area = areaOf(h, start);
  refill(h, area, alignDown(start, blockBytes(h)));
  refill(h, area, alignDown(end - 1, blockBytes(h)));
  return OK;
}

function refill(h: Host, area: Area, start: u64): void {
  const b = touchedBlock(h, start);
  if (b && b.pages !== 0) fillPages(h, b.pages, start, area);
}

/** Sets the kind of memory that nobody described. */
export function setOtherwise(h: Host, hugetlb: u64, thp: bool): void {
  h.otherwise = hugetlb;
  h.flags = thp ? h.flags | HOST_THP : h.flags & ~HOST_THP;
}

/** Defines [start, end) as memory of the default kind, unless something is known of it. */
export function assume(h: Host, start: u64, end: u64): i32 {
  const i = areasUpTo(h, start);
  if (i > 0 && areaAt(h, i - 1).end > start) return OK;
  if (i < h.areaCount && areaAt(h, i).start < end) return OK;
  return define(h, start, end, h.otherwise, h.flags & HOST_THP ? AREA_THP : 0);
}

/** The state after a touch: only a write, or a fetch of what nobody wrote, makes a page private. */
function touched(state: u8, write: bool, exec: bool): u8 {
  if (write || (exec && state <= ZERO)) return PRIVATE;
  return state === UNTOUCHED ? ZERO : state;
}

/** Does a write to a whole block copy only one page of it? */
function breaksUp(h: Host, b: Block): bool {
  if (b.state === ZERO) return <bool>(h.flags & HOST_SPLITS_HUGE_ZERO);
  return b.state === SHARED_PAGE && <bool>(b.flags & B_FORKED);
}

function provided(log: u32, writable: bool, area: Area, hugetlb: u32): u32 {
  return PAGE_THERE | log | hugetlb | (writable && area.flags & AREA_WRITABLE ? PAGE_WRITABLE : 0);
}

function lockWord(h: Host): usize {
  return changetype<usize>(h) + offsetof<Host>("lock");
}

/** Nobody else touches or changes the memory until `unlock`; false when the holder makes no progress. */
function lock(h: Host): bool {
  return !parallel() || acquire(lockWord(h)) === OK;
}

function unlock(h: Host): void {
  if (parallel()) relinquish(lockWord(h));
}

/**
 * The guest touches a byte and the host provides a page, PAGE_*: 0 where there is no memory, or none that may be written.
 * Executed memory counts as filled by the VMM: code must have been written before it can run.
 */
export function touch(h: Host, hva: u64, write: bool, exec: bool): u32 {
  if (!lock(h)) return 0;
  const page = provide(h, hva, write, exec);
  unlock(h);
  return page;
}

/** `touch`, under the lock. */
function provide(h: Host, hva: u64, write: bool, exec: bool): u32 {
  const area = areaOf(h, hva);
  if (!area || (write && !(area.flags & AREA_WRITABLE))) return 0;
  if (area.flags & AREA_DEVICE) {
    const kind = area.flags & AREA_UNCACHED ? PAGE_DEVICE | PAGE_UNCACHED : PAGE_DEVICE;
    return provided(area.hugetlb !== 0 ? <u32>ctz(area.hugetlb) : h.ps, true, area, kind);
  }
  if (area.hugetlb !== 0) return touchHugetlb(h, area, hva, write || exec);
  const start = alignDown(hva, blockBytes(h)),
    b = blockOf(h, area, start);
  if (!b) return 0;
  if (b.flags & B_WHOLE && (!write || !breaksUp(h, b))) {
    b.state = touched(b.state, write, exec);
    return provided(h.blockShift, b.state === PRIVATE, area, 0);
  }
  const pages = splitBlock(h, b);
  if (pages === 0) return 0;
  const p = pages + <u32>((hva - start) >> h.ps),
    state = touched(load<u8>(p), write, exec);
  store<u8>(p, state);
  return provided(h.ps, state === PRIVATE, area, 0);
}

/** Where the state of the hugetlb page at `start` is: of its block, or of its first page. 0 when memory is spent. */
function hugetlbState(h: Host, area: Area, start: u64): usize {
  const b = changetype<Block>(make(rootOf(h), keyOf(h, start), 0));
  if (!b) return 0;
  if (!(b.flags & B_THERE)) unsplit(b, UNTOUCHED);
  if (area.hugetlb >= blockBytes(h)) return changetype<usize>(b) + offsetof<Block>("state");
  const pages = splitBlock(h, b);
  return pages === 0 ? 0 : pages + <u32>((start & (blockBytes(h) - 1)) >> h.ps);
}

/** hugetlb has no zero page: a read gets a page of its own, and the first write makes it writable. */
function touchHugetlb(h: Host, area: Area, hva: u64, write: bool): u32 {
  const p = hugetlbState(h, area, alignDown(hva, area.hugetlb));
  if (p === 0) return 0;
  if (write || !(area.flags & AREA_FRESH)) store<u8>(p, PRIVATE);
  return provided(<u32>ctz(area.hugetlb), load<u8>(p) === PRIVATE, area, PAGE_HUGETLB);
}

// What an event does to one block. `all`: its range covers the block; otherwise pages [first, last) of it.
@unmanaged
abstract class Change {
  abstract block(h: Host, b: Block, all: bool, first: u32, last: u32, state: u8): void;
}

/** All pages get a state. */
@final
@unmanaged
class SetState extends Change {
  @inline block(h: Host, b: Block, all: bool, first: u32, last: u32, state: u8): void {
    const whole = <bool>(b.flags & B_WHOLE);
    if (whole && all) b.state = state;
    else if (!whole || b.state !== UNTOUCHED) {
      const pages = splitBlock(h, b);
      if (pages !== 0) memory.fill(pages + first, state, last - first);
    }
  }
}

/** Small pages become one huge page. */
@final
@unmanaged
class Collapse extends Change {
  @inline block(h: Host, b: Block, all: bool, first: u32, last: u32, state: u8): void {
    if (all) unsplit(b, PRIVATE);
  }
}

/** What was private is shared with a child. */
@final
@unmanaged
class Fork extends Change {
  @inline block(h: Host, b: Block, all: bool, first: u32, last: u32, state: u8): void {
    b.flags |= B_FORKED;
    if (b.state === PRIVATE) b.state = SHARED_PAGE;
    if (b.pages === 0) return;
    for (let p = b.pages, end = p + blockPages(h); p !== end; p++) {
      if (load<u8>(p) === PRIVATE) store<u8>(p, SHARED_PAGE);
    }
  }
}

/** Changes each block of [start, end) that lies in anonymous memory. */
function eachBlock<C extends Change>(h: Host, start: u64, end: u64, state: u8): void {
  const bytes = blockBytes(h),
    page = <u64>(1 << h.ps) - 1,
    first = start >> h.blockShift,
    last = (end + bytes - 1) >> h.blockShift;
  if (!isHostRange(h, start, end) || last - first > MAX_BLOCKS) return;
  for (let i = first; i < last; i++) {
    const base = i << h.blockShift,
      area = areaOf(h, max(base, start));
    if (!isAnonymous(area)) continue;
    const b = blockOf(h, area, base);
    if (!b) continue;
    const from = start > base ? <u32>((start - base) >> h.ps) : 0,
      to = min(<u32>blockPages(h), <u32>((end - base + page) >> h.ps));
    changetype<C>(0).block(h, b, base >= start && base + bytes <= end, from, to, state);
  }
}

/** KSM merged the pages: they are read-only until they are written. */
function share(h: Host, start: u64, end: u64): void {
  eachBlock<SetState>(h, start, end, SHARED_PAGE);
}

/** khugepaged, MADV_COLLAPSE. */
function collapse(h: Host, start: u64, end: u64): void {
  eachBlock<Collapse>(h, start, end, PRIVATE);
}

/** Private memory is shared with the child until one of them writes to it. */
function fork(h: Host): void {
  h.forks++;
  for (let i: u32 = 0; i < h.areaCount; i++) {
    const area = areaAt(h, i);
    if (area.hugetlb !== 0 || (area.end - area.start) >> h.blockShift > MAX_BLOCKS) continue;
    eachBlock<Fork>(h, area.start, area.end, SHARED_PAGE);
  }
}

/** The child has exited: a write no longer copies what was shared with it. */
function forkGone(h: Host): void {
  if (h.forks !== 0) h.forks--;
  if (h.forks !== 0) return;
  const root = rootOf(h);
  for (let key = nextKey(root, 0); key !== NO_KEY; key = nextKey(root, key + 1)) {
    changetype<Block>(find(root, key)).flags &= ~B_FORKED;
  }
}

/** Are all pages untouched? */
function isEmpty(h: Host, pages: u32): bool {
  for (let p = pages, end = p + blockPages(h); p !== end; p++) if (load<u8>(p) !== UNTOUCHED) return false;
  return true;
}

/** The pages are given back (MADV_DONTNEED, a balloon). A block that is empty again may become a huge page again. */
function discard(h: Host, start: u64, end: u64): void {
  const bytes = blockBytes(h),
    first = start >> h.blockShift,
    last = (end + bytes - 1) >> h.blockShift;
  if (!isHostRange(h, start, end)) return;
  discardHugetlb(h, start, end);
  if (last - first > MAX_BLOCKS) return;
  eachBlock<SetState>(h, start, end, UNTOUCHED);
  for (let i = first; i < last; i++) {
    const base = i << h.blockShift,
      b = touchedBlock(h, base),
      area = areaOf(h, base);
    if (!b || b.flags & B_WHOLE || !area || !(area.flags & AREA_THP)) continue;
    if (base >= area.start && base + bytes <= area.end && isEmpty(h, b.pages)) unsplit(b, UNTOUCHED);
  }
}

function discardHugetlb(h: Host, start: u64, end: u64): void {
  for (let i: u32 = 0; i < h.areaCount; i++) {
    const area = areaAt(h, i);
    if (area.hugetlb === 0 || area.end <= start || area.start >= end) continue;
    let at = alignDown(max(start, area.start) + area.hugetlb - 1, area.hugetlb);
    for (const to = min(end, area.end); at < to; at += area.hugetlb) {
      if (!touchedBlock(h, at)) continue;
      const p = hugetlbState(h, area, at);
      if (p !== 0) store<u8>(p, UNTOUCHED);
    }
  }
}

/** Splits the huge pages that [start, end) covers in part: the host cannot change a part of a huge page. */
function splitPartly(h: Host, start: u64, end: u64): void {
  if (!isHostRange(h, start, end)) return;
  splitAround(h, alignDown(start, blockBytes(h)), start, end);
  splitAround(h, alignDown(end, blockBytes(h)), start, end);
}

function splitAround(h: Host, at: u64, start: u64, end: u64): void {
  const next = at + blockBytes(h);
  if (!((at < start && start < next) || (at < end && end < next))) return;
  const area = areaOf(h, max(at, start));
  if (!isAnonymous(area)) return;
  const b = blockOf(h, area, at);
  // An untouched block has no huge page yet, so there is nothing to split.
  if (b && b.flags & B_WHOLE && b.state !== UNTOUCHED) splitBlock(h, b);
}

/** The VMM writes to all of [start, end), as it does when it loads an image: what was untouched or the zero page is memory of its own. */
function fill(h: Host, start: u64, end: u64): void {
  const page = (<u64>1) << h.ps;
  if (!isHostRange(h, start, end) || (end - start) >> h.blockShift > MAX_BLOCKS) return;
  for (let at = alignDown(start, page); at < end; ) {
    const there = provide(h, at, true, false),
      bytes = there === 0 ? page : (<u64>1) << (there & PAGE_SHIFT);
    at = alignDown(at, bytes) + bytes;
  }
}

/** One page was replaced, but not given back: the VMM wrote to a page that it could only read before. */
function replaced(h: Host, hva: u64): void {
  const area = areaOf(h, hva);
  if (!isAnonymous(area)) return;
  const b = touchedBlock(h, hva);
  if (!b) return;
  const page = <u32>((hva & (blockBytes(h) - 1)) >> h.ps),
    state: u8 = b.flags & B_WHOLE ? b.state : load<u8>(b.pages + page);
  if (state !== ZERO && state !== SHARED_PAGE) return;
  const pages = splitBlock(h, b);
  if (pages !== 0) store<u8>(pages + page, PRIVATE);
}

/** mprotect: without PROT_WRITE, writes fail and reads map read-only. False when memory is spent. */
function protect(h: Host, start: u64, end: u64, writable: bool): bool {
  for (let at = start; at < end; ) {
    const i = areasUpTo(h, at),
      known = i > 0 && areaAt(h, i - 1).end > at;
    if (!known && (i >= h.areaCount || areaAt(h, i).start >= end)) return true;
    const area = areaAt(h, known ? i - 1 : i),
      from = max(start, area.start),
      to = min(end, area.end),
      hugetlb = area.hugetlb,
      flags = writable ? area.flags | AREA_WRITABLE : area.flags & ~AREA_WRITABLE;
    if (!cut(h, from, to) || !growAreas(h)) return false;
    insertArea(h, from, to, hugetlb, flags);
    at = to;
  }
  return true;
}

/** munmap, and with `again` an mmap of ordinary memory in its place. */
function unmapHost(h: Host, start: u64, end: u64, again: bool): i32 {
  discard(h, start, end);
  if (!cut(h, start, end)) return ENOMEM;
  return again ? define(h, start, end, 0, AREA_FRESH) : OK;
}

// What `change` does to [start, end).
export const HOST_DISCARD: u32 = 1;
export const HOST_SHARE: u32 = 2;
export const HOST_COLLAPSE: u32 = 3;
export const HOST_SPLIT_PARTLY: u32 = 4;
/** Of the page at `start`. */
export const HOST_REPLACED: u32 = 5;
export const HOST_READ_ONLY: u32 = 6;
export const HOST_READ_WRITE: u32 = 7;
export const HOST_UNMAP: u32 = 8;
/** munmap, and mmap of ordinary memory in its place. */
export const HOST_REMAP: u32 = 9;
/** Of all memory. */
export const HOST_FORK: u32 = 10;
export const HOST_FORK_GONE: u32 = 11;
/** The VMM writes to all of it. */
export const HOST_FILL: u32 = 12;

/** Something happens to [start, end): 0, EINVAL, ENOMEM or ETIMEDOUT. */
export function change(h: Host, what: u32, start: u64, end: u64): i32 {
  if (!lock(h)) return ETIMEDOUT;
  const r = perform(h, what, start, end);
  unlock(h);
  return r;
}

/** `change`, under the lock. */
function perform(h: Host, what: u32, start: u64, end: u64): i32 {
  switch (what) {
    case HOST_DISCARD:
      discard(h, start, end);
      return OK;
    case HOST_SHARE:
      share(h, start, end);
      return OK;
    case HOST_COLLAPSE:
      collapse(h, start, end);
      return OK;
    case HOST_SPLIT_PARTLY:
      splitPartly(h, start, end);
      return OK;
    case HOST_REPLACED:
      replaced(h, start);
      return OK;
    case HOST_READ_ONLY:
    case HOST_READ_WRITE:
      return protect(h, start, end, what === HOST_READ_WRITE) ? OK : ENOMEM;
    case HOST_UNMAP:
    case HOST_REMAP:
      return unmapHost(h, start, end, what === HOST_REMAP);
    case HOST_FORK:
      fork(h);
      return OK;
    case HOST_FORK_GONE:
      forkGone(h);
      return OK;
    case HOST_FILL:
      fill(h, start, end);
      return OK;
    default:
      return EINVAL;
  }
}

/** Gives all that it keeps back. */
export function discardHost(h: Host): void {
  const root = rootOf(h);
  for (let key = nextKey(root, 0); key !== NO_KEY; key = nextKey(root, key + 1)) {
    const b = changetype<Block>(find(root, key));
    if (b.pages !== 0) giveFrames(b.pages);
  }
  drop(h.blocks);
  h.blocks = 0;
  if (h.areas !== 0) giveFrames(h.areas);
  h.areas = 0;
  h.areaCount = 0;
}
