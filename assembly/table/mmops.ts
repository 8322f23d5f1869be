// The memory operations that every walker goes through [WLK-16]. Built-in ones serve the arena;
// a table may replace any of them by a host function, the others stay in the core. A page that the host gave out is the host's
// to find again when a walker dies with it in hand: words of intent name pages of the core's own.

import { decodeAddress } from "../arch/descriptor";
import { pageBytes, UNIT_SHIFT } from "../arch/granule";
import { takePage } from "../memory/cache";
import { addReferences, giveFrames, isTaken, references, takeFrames } from "../memory/frames";
import { hostHook } from "../memory/host";
import { countHeld, intendGive, intendGiveCounted } from "../memory/intent";
import {
  virtToPhys as arenaAddress,
  physToVirt as arenaPointer,
  isArenaPage,
  parallel,
  T_DCACHE,
  T_ICACHE,
  T_PAGE_COUNT,
  Table,
} from "../memory/layout";
import { addPages, handleOf, raisePeak } from "../memory/tables";
import { C_TABLES_FREED, C_TABLES_TAKEN, count } from "../record/counters";
import { J_TABLE_FREED, J_TABLE_RETIRED, J_TABLE_TAKEN, journalling, record } from "../record/journal";
import { cleanData, invalidateCode, warn } from "../record/maintenance";
import { Answer, result } from "../record/result";

// Bits of Table.hooks and the `op` of hostHook. a, lo:hi and n of the call, and its result:
/** a = cache; -> page pointer or 0 */
export const HOOK_ZALLOC_PAGE: u32 = 0;
/** n = bytes; -> pointer or 0 */
export const HOOK_ZALLOC_PAGES_EXACT: u32 = 1;
/** a = pointer, n = bytes */
export const HOOK_FREE_PAGES_EXACT: u32 = 2;
/** a = pointer, n = level of the entry that named it */
export const HOOK_FREE_UNLINKED_TABLE: u32 = 3;
/** a = pointer */
export const HOOK_GET_PAGE: u32 = 4;
/** a = pointer */
export const HOOK_PUT_PAGE: u32 = 5;
/** a = pointer; -> count */
export const HOOK_PAGE_COUNT: u32 = 6;
/** lo:hi = physical address; -> pointer */
export const HOOK_PHYS_TO_VIRT: u32 = 7;
/** a = pointer; the host puts the physical address into the Answer */
export const HOOK_VIRT_TO_PHYS: u32 = 8;
/** lo:hi = physical address, n = log2 of bytes */
export const HOOK_DCACHE: u32 = 9;
/** lo:hi = physical address, n = log2 of bytes */
export const HOOK_ICACHE: u32 = 10;
export const HOOKS: u32 = 11;

function hooked(t: Table, op: u32): bool {
  return <bool>((t.hooks >> op) & 1);
}

function call(t: Table, op: u32, a: u32, wide: u64, n: u32): u32 {
  return hostHook(op, handleOf(t), a, <u32>wide, <u32>(wide >> 32), n);
}

/** `own`: of the core's own pages. */
function noteTaken(t: Table, p: usize, n: u32, own: bool): void {
  count(C_TABLES_TAKEN, n);
  const pages = addPages(t, n);
  if (own) countHeld(t, p);
  raisePeak(t, pages);
  record(J_TABLE_TAKEN, changetype<usize>(t), 0, arenaAddress(p), n, 0);
}

function noteFreed(t: Table, p: usize, n: u32, own: bool): void {
  count(C_TABLES_FREED, n);
  addPages(t, -(<i32>n));
  if (own) intendGive(p);
  if (journalling()) record(J_TABLE_FREED, changetype<usize>(t), 0, arenaAddress(p), n, 0);
}

/** A table that was unlinked while others may be in it: it is freed after a grace period. */
export function noteRetired(t: Table, p: usize, level: i32): void {
  record(J_TABLE_RETIRED, changetype<usize>(t), level, arenaAddress(p), 0, 0);
}

/** A zeroed table page with one reference, 0 if there is none. */
export function zallocPage(t: Table, cache: u32): usize {
  const own = !hooked(t, HOOK_ZALLOC_PAGE);
  let p: usize;
  if (!own) {
    p = call(t, HOOK_ZALLOC_PAGE, cache, 0, 0);
    if (!p) return 0;
    if (!isArenaPage(p, t.ps)) {
      warn(t, 0, p); // the host returned something that is no page of this memory
      return 0;
    }
  } else {
    p = takePage(cache, t.ps);
    if (!p) return 0;
    addReferences(p, 1);
  }
  noteTaken(t, p, 1, own);
  return p;
}

/** `n` zeroed start tables side by side, each with one reference; 0 if there are none. */
export function zallocPagesExact(t: Table, n: u32): usize {
  const page = pageBytes(t.ps);
  if (hooked(t, HOOK_ZALLOC_PAGES_EXACT)) {
    const given = call(t, HOOK_ZALLOC_PAGES_EXACT, 0, 0, n * page);
    if (!given || !isArenaPage(given, t.ps) || !isArenaPage(given + (n - 1) * page, t.ps)) return 0;
    noteTaken(t, given, n, false);
    return given;
  }
  const p = takeFrames(t.ps - UNIT_SHIFT + ctz(n));
  if (!p) return 0;
  for (let i: u32 = 0; i < n; i++) addReferences(p + i * page, 1);
  noteTaken(t, p, n, true);
  return p;
}

/** Frees the start tables of a teardown, whatever their reference counts: the kernel ignores them too. */
export function freePagesExact(t: Table, p: usize, n: u32): void {
  const page = pageBytes(t.ps),
    own = !hooked(t, HOOK_FREE_PAGES_EXACT);
  if (own) intendGiveCounted(t, p);
  t.dying = 0;
  noteFreed(t, p, n, own);
  if (!own) {
    call(t, HOOK_FREE_PAGES_EXACT, p, 0, n * page);
    return;
  }
  if (!giveFrames(p)) warn(t, 0, p);
}

/** True if the host frees detached tables itself; it was called for this one. */
export function deferUnlinked(t: Table, p: usize, level: i32): bool {
  if (!hooked(t, HOOK_FREE_UNLINKED_TABLE)) return false;
  call(t, HOOK_FREE_UNLINKED_TABLE, p, 0, level);
  return true;
}

/** `n` more references on the table page at `p`. */
export function getPages(t: Table, p: usize, n: u32): void {
  if (!hooked(t, HOOK_GET_PAGE)) {
    addReferences(p, n);
    return;
  }
  for (; n; n--) call(t, HOOK_GET_PAGE, p, 0, 0);
}

/** Drops the reference of one entry in a walk. Others count at the same time if it is shared, so the sum is not known and nothing is freed [LCK-4]. */
export function dropReference(t: Table, p: usize, shared: bool): void {
  if (shared && parallel() && !hooked(t, HOOK_PUT_PAGE)) addReferences(p, -1);
  else putPages(t, p, 1);
}

/** `n` references fewer; the page goes back to the arena with the last one. */
export function putPages(t: Table, p: usize, n: u32): void {
  if (hooked(t, HOOK_PUT_PAGE)) {
    for (; n; n--) if (call(t, HOOK_PUT_PAGE, p, 0, 0)) noteFreed(t, p, 1, false);
    return;
  }
  if (n === 0) return;
  // More puts than references mean that the table memory was damaged: warn, and free nothing twice.
  const left = references(p) - <i32>n;
  if (left < 0) return warn(t, 0, p);
  addReferences(p, -(<i32>n));
  if (left !== 0) return;
  if (!isTaken(p)) return warn(t, 0, p); // a start table inside its block, or not a table at all
  giveTablePage(t, p);
}

/** The table page at `p`, which is linked nowhere any more, goes back to the arena; false if it cannot now. */
export function giveTablePage(t: Table, p: usize): bool {
  if (parallel()) intendGiveCounted(t, p);
  noteFreed(t, p, 1, true);
  return giveFrames(p);
}

export function pageCount(t: Table, p: usize): i32 {
  return hooked(t, HOOK_PAGE_COUNT) ? <i32>call(t, HOOK_PAGE_COUNT, p, 0, 0) : references(p);
}

/** The page at `p` has `n` references from now on, 1 or more. Precondition: nobody else counts. */
export function setReferences(t: Table, p: usize, n: i32): void {
  const before = pageCount(t, p);
  getPages(t, p, n); // first: the last reference would free the page
  putPages(t, p, before);
}

export function hasPageCount(t: Table): bool {
  return <bool>(t.flags & T_PAGE_COUNT);
}

/** Pointer of the table that descriptor `d` names, 0 when that is no page of this memory. Also for packed addresses, and for a host that translates. */
export function tableOf(t: Table, d: u64): usize {
  return physToVirt(t, decodeAddress(t.addressLayout, t.ps, d));
}

/** Pointer of the table page at `pa`, 0 when that is not a page of this memory. */
export function physToVirt(t: Table, pa: u64): usize {
  if (!hooked(t, HOOK_PHYS_TO_VIRT)) return arenaPointer(pa, pageBytes(t.ps));
  const p = call(t, HOOK_PHYS_TO_VIRT, 0, pa, 0);
  return isArenaPage(p, t.ps) ? p : 0;
}

export function virtToPhys(t: Table, p: usize): u64 {
  if (!hooked(t, HOOK_VIRT_TO_PHYS)) return arenaAddress(p);
  const answer = result<Answer>();
  answer.value = 0;
  call(t, HOOK_VIRT_TO_PHYS, p, 0, 0);
  return answer.value;
}

/** Data cache clean and invalidate of `n` leaves of 1 << log2Bytes from `pa`; tables without the operation need none. */
export function cleanDcache(t: Table, pa: u64, log2Bytes: u32, n: u64): void {
  if (!(t.flags & T_DCACHE)) return;
  cleanData(t, pa, (<u64>1) << log2Bytes, n);
  if (hooked(t, HOOK_DCACHE)) call(t, HOOK_DCACHE, 0, pa, log2Bytes);
}

/** Instruction cache invalidate of `n` leaves of 1 << log2Bytes from `pa`; tables without the operation need none. */
export function invalidateIcache(t: Table, pa: u64, log2Bytes: u32, n: u64): void {
  if (!(t.flags & T_ICACHE)) return;
  invalidateCode(t, pa, (<u64>1) << log2Bytes, n);
  if (hooked(t, HOOK_ICACHE)) call(t, HOOK_ICACHE, 0, pa, log2Bytes);
}
