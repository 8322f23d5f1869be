// The VMM's memory as stretches of one kind each, in order of their addresses.

import { UNIT_BYTES } from "../arch/granule";
import { giveFrames, takeFrames } from "../memory/frames";
import { handOver } from "../memory/intent";
import { ORDERS } from "../memory/layout";
import { Host } from "./state";

// Area.flags
/** Anonymous memory gets huge pages where a whole one fits. */
export const AREA_THP: u32 = 1 << 0;
/** The memory was untouched when the VM started; otherwise the VMM had filled it. */
export const AREA_FRESH: u32 = 1 << 1;
export const AREA_WRITABLE: u32 = 1 << 2;
/** A device's registers, mapped into the VMM (VM_PFNMAP): no memory of the host's, and never executed. */
export const AREA_DEVICE: u32 = 1 << 3;
/** The VMM's mapping allows accesses that are not strictly ordered (VM_ALLOW_ANY_UNCACHED). With AREA_DEVICE. */
export const AREA_UNCACHED: u32 = 1 << 4;

/** A stretch of the VMM's memory of one kind. */
@unmanaged
export class Area {
  start: u64;
  end: u64;
  /** Bytes of a hugetlb page; 0 for anonymous memory. */
  hugetlb: u64;
  flags: u32;
  spare: u32;
}

const AREA_BYTES: u32 = <u32>offsetof<Area>();

export function areaAt(h: Host, i: u32): Area {
  return changetype<Area>(h.areas + i * AREA_BYTES);
}

/** How many areas begin at or below `hva`. */
export function areasUpTo(h: Host, hva: u64): u32 {
  let low: u32 = 0,
    high = h.areaCount;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (areaAt(h, middle).start <= hva) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The area of a byte; null if nobody has memory there. */
export function areaOf(h: Host, hva: u64): Area {
  const n = areasUpTo(h, hva);
  if (n === 0) return changetype<Area>(0);
  const area = areaAt(h, n - 1);
  return hva < area.end ? area : changetype<Area>(0);
}

/** Is it an area of anonymous memory? Null is allowed. */
export function isAnonymous(area: Area): bool {
  return area ? area.hugetlb === 0 && !(area.flags & AREA_DEVICE) : false;
}

/** Does a device lie in [start, end)? */
export function hasDevice(h: Host, start: u64, end: u64): bool {
  for (let i: u32 = 0; i < h.areaCount; i++) {
    const area = areaAt(h, i);
    if (area.flags & AREA_DEVICE && area.start < end && start < area.end) return true;
  }
  return false;
}

/** Makes room for one more area; false when memory is spent. */
export function growAreas(h: Host): bool {
  const bytes: u32 = h.areas === 0 ? 0 : (<u32>UNIT_BYTES) << h.areaOrder;
  if ((h.areaCount + 1) * AREA_BYTES <= bytes) return true;
  const order: u32 = h.areas === 0 ? 0 : h.areaOrder + 1;
  if (order >= ORDERS) return false;
  const p = <u32>takeFrames(order);
  if (p === 0) return false;
  memory.copy(p, h.areas, h.areaCount * AREA_BYTES);
  const old = h.areas;
  h.areas = p;
  h.areaOrder = order;
  handOver();
  if (old !== 0) giveFrames(old);
  return true;
}

/** Puts an area in its place. Precondition: it overlaps none, and there is room. */
export function insertArea(h: Host, start: u64, end: u64, hugetlb: u64, flags: u32): void {
  const i = areasUpTo(h, start),
    p = changetype<usize>(areaAt(h, i));
  memory.copy(p + AREA_BYTES, p, (h.areaCount - i) * AREA_BYTES);
  h.areaCount++;
  const area = areaAt(h, i);
  area.start = start;
  area.end = end;
  area.hugetlb = hugetlb;
  area.flags = flags;
}

export function removeArea(h: Host, i: u32): void {
  const p = changetype<usize>(areaAt(h, i));
  memory.copy(p, p + AREA_BYTES, (h.areaCount - i - 1) * AREA_BYTES);
  h.areaCount--;
}

/** Cuts a hole into the areas; an area around the hole becomes two. False when memory is spent. */
export function cut(h: Host, start: u64, end: u64): bool {
  for (let i: u32 = 0; i < h.areaCount; ) {
    const area = areaAt(h, i),
      from = area.start,
      to = area.end;
    if (to <= start || from >= end) {
      i++;
      continue;
    }
    if (from < start && to > end) {
      if (!growAreas(h)) return false;
      const around = areaAt(h, i);
      around.end = start;
      insertArea(h, end, to, around.hugetlb, around.flags);
      return true;
    }
    if (from < start) area.end = start;
    else if (to > end) area.start = end;
    else {
      removeArea(h, i);
      continue;
    }
    i++;
  }
  return true;
}
