// Roots: tables that a register names, or that an engine made, with their geometry, VMID and lock. And the
// completed flushes of all a table's VMID: an obligation compares with these instead of being visited.

import { tcrHalf, ttbrAddress, vtcrGranule, vtcrIpaBits, vtcrStartLevel } from "../arch/control";
import { addressLayout } from "../arch/descriptor";
import { get, maskOf } from "../arch/field";
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
import {
  PARANGE_52,
  paRangeBits,
  TCR_EL2_HPD,
  TCR_PS,
  TCR_T0SZ,
  TCR_TG0,
  VTCR_DS,
  VTCR_HA,
  VTCR_HD,
  VTCR_RES1,
  VTCR_SL0,
  VTCR_SL2,
} from "../arch/registers";
import { demand, RULE_JUDGED_ROOT } from "../demand";
import { O_BBM_SHIFT } from "./records";
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
  /** Issue time of the last TLBI whose VMID no ISB had settled. */
  unsynced: u64;
  lock: u64;
  /** Control register that it was set up by, and whether FWB was on. */
  control: u64;
  /** When these changed under what TLBs may hold, and the record; 0: never. */
  changed: u64;
  changedBy: u64;
  next: u32;
  flags: u32;
  handle: u32;
  /** Differs for every root that was ever registered. */
  serial: u32;
  /** Tables of one VM have one: nested ones, which share its lock. */
  family: u32;
  /** Its VMID's tag, or its ASID's; 0 for none. */
  tag: u32;
  id: u32;
  /** Translations taken away, counted. */
  changes: u32;
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
  /** A table is being linked where nothing was: leaves in it are looked at more closely. */
  fresh: bool;
  low: u64;
  high: u64;
  // clocks u32 * MAX_CPUS: writes of each CPU that are flushed from the whole VMID
}

export const ROOT_BYTES: u32 = 256; // fields, then the clocks
const FULL: usize = 256;

export const R_STAGE1: u32 = 1 << 0;
export const R_LPA2: u32 = 1 << 1;
export const R_WIDE: u32 = 1 << 2;
export const R_HA: u32 = 1 << 3;
export const R_HD: u32 = 1 << 4;
export const R_TYPED: u32 = 1 << 5;
/** It had valid entries: TLBs may hold some. */
export const R_FILLED: u32 = 1 << 7;
/** Walkers share it, under locks and in read sections that the journal tells of. */
export const R_PARALLEL: u32 = 1 << 10;
/** Some are in it without the lock, whoever holds that. */
export const R_LOCK_FREE: u32 = 1 << 11;
/** FEAT_BBM level, two bits. */
export const R_BBM_SHIFT: u32 = 8;
/** EL2&0 (HCR_EL2.E2H): entries that are not global belong to its ASID. */
export const R_ASID: u32 = 1 << 12;
/** Hierarchical permissions of table descriptors are off (HPD). */
export const R_HPD: u32 = 1 << 13;
/** HCR_EL2.FWB was on, where R_RULED says that somebody said so. */
export const R_FWB: u32 = 1 << 14;
export const R_RULED: u32 = 1 << 15;
/** An engine's table that is being torn down: its pages go back, the first start table last. */
export const R_GONE: u32 = 1 << 16;

/** Fields of VTCR_EL2 that say how large tables are. */
export function sizesOf(control: u64): u64 {
  return control & (maskOf(TCR_T0SZ) | maskOf(VTCR_SL0) | maskOf(TCR_TG0) | VTCR_DS | VTCR_SL2);
}

/** A model's TCR_EL2, as casemate's logs have it, has T0SZ and TG0 only. */
const MODEL_BITS: u32 = 16;

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
  r.serial = ++s.serials;
  r.family = r.serial;
  r.flags = ((s.options >> O_BBM_SHIFT) & 3) << R_BBM_SHIFT;
  r.low = u64.MAX_VALUE;
  r.next = s.roots;
  s.roots = p;
  return r;
}

/** Forgets a root that has no obligations. */
export function dropRoot(r: Root): void {
  demand(r.serial !== 0 && r.open === 0, RULE_JUDGED_ROOT);
  const s = state(),
    p = rootPointer(r);
  if (s.roots === p) s.roots = r.next;
  else {
    let before = rootAt(s.roots);
    while (before && before.next !== p) before = rootAt(before.next);
    if (before) before.next = r.next;
  }
  r.serial = 0;
  r.next = s.freeRoots;
  s.freeRoots = p;
}

/** The registered root whose first start table is at `address`; null for none. */
export function rootOfAddress(address: u64): Root {
  let r = rootAt(state().roots);
  while (r) {
    if (r.address === address) return r;
    r = rootAt(r.next);
  }
  return r;
}

/** The root of an engine's table; null for none. */
export function rootOfHandle(handle: u32): Root {
  const r = rootAt(load<u32>(handleSlot(handle)));
  return r && r.serial !== 0 && r.handle === handle ? r : rootAt(0);
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

/** A real register has its RES1 bit; a model's, as casemate's logs have it, has not. */
export function isReal(control: u64): bool {
  return <bool>(control & VTCR_RES1);
}

/** First start table of a TTBR: under LPA2, and where 64K tables have 52-bit addresses, PA[51:48] lies in [5:2]. */
export function baseOf(ttbr: u64, control: u64): u64 {
  const wide = (control & VTCR_DS) !== 0 || (isReal(control) && get(control, TCR_PS) === PARANGE_52);
  return ttbrAddress(ttbr, 1, wide);
}

/** The register's bits that matter for single descriptors. */
export function setControl(r: Root, control: u64): void {
  r.control = control;
  r.flags &= ~(R_HA | R_HD | R_HPD);
  if (control & VTCR_HA) r.flags |= R_HA;
  if (r.flags & R_STAGE1) {
    if (control & TCR_EL2_HPD) r.flags |= R_HPD;
  } else if (control & VTCR_HD) r.flags |= R_HD;
}

/**
 * Geometry from VTCR_EL2 or TCR_EL2. A VTCR without its RES1 bit is a model's, as casemate's
 * logs have it: its start level follows from T0SZ alone, and its PS is no limit. False for what cannot be.
 */
export function setGeometry(r: Root, register: u64, stage1: bool, known: bool, e2h: bool): bool {
  const s = state(),
    control = e2h && register >> MODEL_BITS !== 0 ? tcrHalf(register, false) : register,
    granule = vtcrGranule(control);
  if (stage1) r.flags |= R_STAGE1;
  if (e2h) r.flags |= R_ASID;
  setControl(r, control);
  r.ps = granule ? granule : PS_4K; // the reserved code, as the hardware's walker here reads it
  r.inputBits = vtcrIpaBits(control);
  if (control & VTCR_DS) r.flags |= R_LPA2;
  r.layout = addressLayout(r.ps, <bool>(control & VTCR_DS));
  const code = <u32>get(control, TCR_PS),
    real = known && isReal(control);
  r.outputBits = real ? paRangeBits(code) : 52;
  r.likelyBits = known ? physicalBits(code, s) : 52;
  if (r.likelyBits === 52 && r.ps === PS_64K) r.flags |= R_WIDE;
  const minimal = 4 - <i32>stage1Levels(r.ps, r.inputBits);
  const nominal = !stage1 && isReal(control) && granule !== 0;
  r.startLevel = nominal ? vtcrStartLevel(r.ps, control) : minimal;
  if (r.inputBits < 21 || !isGeometry(r)) return false;
  r.pages = r.startLevel === FIRST_LEVEL ? 1 : startTables(r.ps, r.inputBits, r.startLevel);
  return true;
}

/** Units of one table page. */
export function unitsOf(r: Root): u32 {
  return (<u32>1) << (r.ps - UNIT_SHIFT);
}

/** Does hardware set access flags under this VTCR? */
export function hasHardwareAf(vtcr: u64): bool {
  return (vtcr & VTCR_HA) !== 0;
}
