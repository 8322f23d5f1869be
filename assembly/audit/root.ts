// Roots: tables that a register names, or that an engine made, with their geometry, VMID and lock. And the
// completed flushes of all a table's VMID: an obligation compares with these instead of being visited.

import { vtcrGranule, vtcrIpaBits, vtcrStartLevel } from "../arch/control";
import { addressLayout } from "../arch/descriptor";
import { get } from "../arch/field";
import {
  FIRST_LEVEL,
  isGranule,
  isStart,
  LAST_LEVEL,
  PS_4K,
  PS_64K,
  stage1Levels,
  startTables,
  UNIT_SHIFT,
} from "../arch/granule";
import { PARANGE_52, paRangeBits, TCR_PS, VTCR_DS, VTCR_HA, VTCR_HD, VTCR_RES1 } from "../arch/registers";
import { handleSlot, MAX_CPUS, State, state, take } from "./state";

@unmanaged
export class Root {
  /** Physical address of the first start table. */
  address: u64;
  /** CPUs that have it loaded. */
  loaded: u64;
  /** Issue time of the last complete VMALLE1IS [HWM-38]. */
  stage1Time: u64;
  /** Issue time of the last flush of the whole VMID, complete or not. */
  fullTime: u64;
  /** The same of one CPU only. */
  localTime: u64;
  lock: u64;
  /** When the last CPU let go of it: CPU and its clock. */
  leftCpu: u32;
  leftClock: u32;
  next: u32;
  flags: u32;
  handle: u32;
  /** VMID + 1; 0 for none. */
  vmid: u32;
  ps: u32;
  layout: u32;
  startLevel: i32;
  pages: u32;
  inputBits: u32;
  /** log2 of the output addresses that leaves may have. */
  outputBits: u32;
  /** The same of what nobody wrote as a leaf, where the control register is a model's: as much as the tables' places show. */
  likelyBits: u32;
  /** First open obligation, and how many there are. */
  open: u32;
  opened: u32;
  /** Obligations without a slot: the span that they lie in. */
  orphans: u32;
  left: bool;
  /** A table is being linked where nothing was: leaves in it are looked at more closely. */
  fresh: bool;
  low: u64;
  high: u64;
  // clocks u32 * MAX_CPUS: writes of each CPU that are flushed from the whole VMID
}

export const ROOT_BYTES: u32 = 192; // fields, then the clocks
const FULL: usize = 192;

export const R_STAGE1: u32 = 1 << 0;
export const R_LPA2: u32 = 1 << 1;
export const R_WIDE: u32 = 1 << 2;
export const R_HA: u32 = 1 << 3;
export const R_HD: u32 = 1 << 4;
export const R_TYPED: u32 = 1 << 5;
/** Gone: no CPU may walk it; what its VMID has in TLBs is of no use until the VMID is given anew. */
export const R_RETIRED: u32 = 1 << 6;
/** Its VMID may have entries in TLBs. */
export const R_USED: u32 = 1 << 7;
/** Walkers share it, under locks and in read sections that the journal tells of. */
export const R_PARALLEL: u32 = 1 << 10;
/** Some are in it without the lock, whoever holds that. */
export const R_LOCK_FREE: u32 = 1 << 11;
/** FEAT_BBM level, two bits. */
export const R_BBM_SHIFT: u32 = 8;

export function rootAt(p: u32): Root {
  return changetype<Root>(p);
}

export function rootPointer(r: Root): u32 {
  return <u32>changetype<usize>(r);
}

/** Writes of each CPU that a flush of the whole VMID has covered. */
export function fullOf(r: Root): usize {
  return changetype<usize>(r) + FULL;
}

/** A new root; null when memory is spent. */
export function addRoot(address: u64): Root {
  const s = state();
  let p = s.freeRoots;
  if (p) {
    s.freeRoots = rootAt(p).next;
    memory.fill(p, 0, ROOT_BYTES + MAX_CPUS * 4);
  } else {
    p = take(ROOT_BYTES + MAX_CPUS * 4);
    if (!p) return rootAt(0);
  }
  const r = rootAt(p);
  r.address = address;
  r.low = u64.MAX_VALUE;
  r.next = s.roots;
  s.roots = p;
  return r;
}

/** Forgets a root that has no obligations. */
export function dropRoot(r: Root): void {
  const s = state(),
    p = rootPointer(r);
  if (s.roots === p) s.roots = r.next;
  else {
    let before = rootAt(s.roots);
    while (before && before.next !== p) before = rootAt(before.next);
    if (before) before.next = r.next;
  }
  r.next = s.freeRoots;
  s.freeRoots = p;
}

/** The root that `address` is a start table of, retired ones not; null for none. */
export function rootOfAddress(address: u64): Root {
  let r = rootAt(state().roots);
  while (r) {
    if (r.address === address && !(r.flags & R_RETIRED)) return r;
    r = rootAt(r.next);
  }
  return r;
}

/** The root of an engine's table; null for none. */
export function rootOfHandle(handle: u32): Root {
  const r = rootAt(load<u32>(handleSlot(handle)));
  return r && r.handle === handle ? r : rootAt(0);
}

/** Physical memory for PS `code` of a model's register: at least as large as where the tables are known to lie. */
function physicalBits(code: u32, s: State): u32 {
  while (code < PARANGE_52 && s.highest >> paRangeBits(code) !== 0) code++;
  return paRangeBits(code);
}

/** Can a table have this granule, start level, and input size? */
export function isGeometry(r: Root): bool {
  const bits = r.inputBits;
  if (!isGranule(r.ps) || r.startLevel < FIRST_LEVEL || r.startLevel > LAST_LEVEL || bits > 52) return false;
  return isStart(r.ps, bits, r.startLevel);
}

/**
 * Geometry from VTCR_EL2 or TCR_EL2. A VTCR without its RES1 bit is a model's, as casemate's
 * logs have it: its start level follows from T0SZ alone, and its PS is no limit. False for what cannot be.
 */
export function setGeometry(r: Root, control: u64, stage1: bool, known: bool): bool {
  const s = state();
  const granule = vtcrGranule(control);
  r.ps = granule ? granule : PS_4K; // the reserved code, as the hardware's walker here reads it
  r.inputBits = vtcrIpaBits(control);
  if (control & VTCR_DS) r.flags |= R_LPA2;
  r.layout = addressLayout(r.ps, <bool>(control & VTCR_DS));
  const code = <u32>get(control, TCR_PS),
    real = known && (control & VTCR_RES1) !== 0;
  r.outputBits = real ? paRangeBits(code) : 52;
  r.likelyBits = known ? physicalBits(code, s) : 52;
  if (r.likelyBits === 52 && r.ps === PS_64K) r.flags |= R_WIDE;
  const minimal = 4 - <i32>stage1Levels(r.ps, r.inputBits);
  if (stage1) r.flags |= R_STAGE1;
  if (control & (stage1 ? 0 : VTCR_HA)) r.flags |= R_HA;
  if (control & (stage1 ? 0 : VTCR_HD)) r.flags |= R_HD;
  const nominal = !stage1 && (control & VTCR_RES1) !== 0 && granule !== 0;
  r.startLevel = nominal ? vtcrStartLevel(r.ps, control) : minimal;
  if (r.inputBits < 21 || !isGeometry(r)) return false;
  r.pages = r.startLevel === FIRST_LEVEL ? 1 : startTables(r.ps, r.inputBits, r.startLevel);
  return r.pages <= 16;
}

/** Units of one table page. */
export function unitsOf(r: Root): u32 {
  return (<u32>1) << (r.ps - UNIT_SHIFT);
}

/** Does hardware set access flags under this VTCR? */
export function hasHardwareAf(vtcr: u64): bool {
  return (vtcr & VTCR_HA) !== 0;
}
