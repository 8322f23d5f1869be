// One translation, both stages: output, attributes and permissions, or the fault and what an exception would report.
//
// INFO of a translation                              INFO of a fault
//   15      hardware wrote a descriptor                5:0    fault status code
//   21:16   rights, see arch/rights.ts                 6      in stage 2
//   22, 23  DBM would let a write set dirty, stage 1, 2  7    in stage 2 for a table of stage 1
//   31:24   memory attribute as MAIR and PAR have it   8      1
//   33:32   shareability                               11:9   FAULT_*
//   34      not global                                 14:12  level + 1
//   35, 36  contiguous, stage 1, stage 2               15     hardware wrote a descriptor before
//   39:37   level + 1 of the leaf of stage 1, 7: none
//   42:40   the same of stage 2
//   48:43   log2 of the leaf of stage 1, 0: none       54:49  of stage 2
//   60:55   log2 of what both map as one: the smaller, 12 where there are none
//   61      guarded page      62  1

import { ADDRESS_LPA2, CONTIGUOUS, GP, SH } from "../arch/descriptor";
import {
  abortSyndrome,
  ESR_HDBSSF,
  FAULT_ADDRESS_SIZE,
  FAULT_EXTERNAL_WALK,
  FAULT_TRANSLATION,
  faultStatus,
  hpfar,
  ISS_CACHE_MAINTENANCE,
  parFault,
  parOutput,
} from "../arch/fault";
import { bit, get, mask, put, WIDTH } from "../arch/field";
import { FIRST_LEVEL, shift, UNIT_SHIFT } from "../arch/granule";
import {
  combineAttributes,
  combineShareability,
  MEMORY_DEVICE,
  MEMORY_NON_CACHEABLE,
  MEMORY_WRITE_BACK,
  MEMORY_WRITE_THROUGH_NT,
  mairAttribute,
  SHARE_NONE,
  SHARE_OUTER,
  shareabilityOf,
} from "../arch/memory-type";
import { VA_HALF } from "../arch/registers";
import { isDirtyable, RIGHTS_ALL } from "../arch/rights";
import { NOT_GLOBAL, S1_ATTR } from "../arch/stage1";
import { memAttr } from "../arch/stage2";
import { demand, RULE_CONTEXT } from "../demand";
import * as C from "./context";
import { A_AT, A_EL0, A_FETCH, A_ISS, A_KIND, A_PAN, A_WRITE, fail, rights, walk } from "./walk";

/** Bytes of a row of many results: physical address and INFO. */
export const ROW_BYTES: u32 = 16;
/** Where INFO is in a row. */
export const ROW_INFO: u32 = 8;

export const INFO_UPDATED: u64 = 1 << 15;

// Of a translation. What both stages have is that of stage 1; that of stage 2 is the same field right above.
export const INFO_RIGHTS: u32 = 16 | (6 << WIDTH);
export const INFO_PRIVILEGED: u32 = 16 | (3 << WIDTH);
export const INFO_UNPRIVILEGED: u32 = 19 | (3 << WIDTH);
export const INFO_DIRTYABLE: u32 = 22 | (1 << WIDTH);
export const INFO_ATTRIBUTE: u32 = 24 | (8 << WIDTH);
export const INFO_SHARE: u32 = 32 | (2 << WIDTH);
export const INFO_NOT_GLOBAL: u64 = 1 << 34;
export const INFO_CONTIGUOUS: u32 = 35 | (1 << WIDTH);
export const INFO_LEVEL: u32 = 37 | (3 << WIDTH);
/** INFO_LEVEL of a stage without a leaf. */
export const INFO_NO_LEVEL: u32 = 7;
export const INFO_LEAF_SIZE: u32 = 43 | (6 << WIDTH);
export const INFO_SIZE: u32 = 55 | (6 << WIDTH);
export const INFO_GUARDED: u64 = 1 << 61;
export const INFO_OK: u64 = 1 << 62;

// Of a fault.
export const INFO_STATUS: u32 = 0 | (6 << WIDTH);
export const INFO_STAGE2: u64 = 1 << 6;
export const INFO_S1PTW: u64 = 1 << 7;
export const INFO_FAULT: u64 = 1 << 8;
export const INFO_KIND: u32 = 9 | (3 << WIDTH);
export const INFO_FAULT_LEVEL: u32 = 12 | (3 << WIDTH);

/** What became of one access. */
@view("halves")
@unmanaged
export class Result {
  /** Physical address; 0 at a fault. */
  pa: u64;
  /** INFO, as drawn above. */
  info: u64;
  /** What stage 2 was asked, or the table of stage 1 that it refused; 0 without stage 2. */
  ipa: u64;
  /** PAR_EL1, as an address translation instruction would leave it. */
  par: u64;
  // The exception of a fault: HPFAR_EL2 of stage 2 only.
  esr: u64;
  far: u64;
  hpfar: u64;
  /** Exception level that takes it, 0 for none. */
  target: u32;
  /** Descriptors that hardware wrote. */
  updates: u32;
}

/** Bytes of a result record. */
export const RESULT_BYTES: u32 = <u32>offsetof<Result>();

/** Instruction addresses are word aligned; other bits of an access make no sense where there is one privilege level. */
export function accessOf(c: C.Context, access: u32): u32 {
  return c.flags & C.M_TWO_RANGES ? access : access & ~(A_EL0 | A_PAN);
}

/** Stage 1 for an address: bit 55 chooses the half. */
export function stageOf(c: C.Context, addr: u64): C.Stage {
  return C.stage1(c, c.flags & C.M_TWO_RANGES ? <u32>bit(addr, VA_HALF) : 0);
}

export function ignoresTop(s: C.Stage, access: u32): bool {
  return <bool>(s.flags & ((access & A_KIND) === A_FETCH ? C.S_TBI_FETCH : C.S_TBI_DATA));
}

/** The address without its tag, if it has one: extended from bit 55, or from 0. */
export function untagged(c: C.Context, s: C.Stage, addr: u64, access: u32): u64 {
  if (!ignoresTop(s, access)) return addr;
  const top = mask(63, VA_HALF + 1);
  return c.flags & C.M_TWO_RANGES && bit(addr, VA_HALF) ? addr | top : addr & ~top;
}

/** Stage 1 is on: its table. */
function walkStage1(c: C.Context, s: C.Stage, addr: u64, access: u32): bool {
  if (s.flags & C.S_E0PD && access & A_EL0) return fail(c, s, FAULT_TRANSLATION, 0);
  const plain = untagged(c, s, addr, access);
  const high: u64 = c.flags & C.M_TWO_RANGES && bit(addr, VA_HALF) ? -1 : 0;
  if (s.flags & C.S_WALKS && <u64>(<i64>plain >> s.inputBits) !== high) return fail(c, s, FAULT_TRANSLATION, 0);
  return walk(c, s, plain, access);
}

/** Stage 1 is off: the address as it is, if a physical address can have it [HWM-44]. */
function flat(c: C.Context, s: C.Stage, addr: u64, access: u32): bool {
  const plain = ignoresTop(s, access) ? addr & ~mask(63, VA_HALF + 1) : addr;
  if (plain >> c.paMax !== 0) return fail(c, s, FAULT_ADDRESS_SIZE, 0);
  s.output = plain;
  return true;
}

/** Attribute and shareability of memory with stage 1 off. */
function flatAttribute(c: C.Context, access: u32): u32 {
  if (c.flags & C.M_DC) return MEMORY_WRITE_BACK;
  if ((access & A_KIND) !== A_FETCH) return MEMORY_DEVICE;
  return c.flags & C.M_ICACHE ? MEMORY_WRITE_THROUGH_NT : MEMORY_NON_CACHEABLE;
}

/** SH of a leaf; under LPA2 the register's. */
function shareOf(s: C.Stage): u32 {
  return s.layout === ADDRESS_LPA2 ? s.share : <u32>get(s.leaf, SH);
}

/** `value` at the place of a field that both stages have: of stage 1 (`at` 0) or 2 (1). */
function ofStage(value: u64, f: u32, at: u32): u64 {
  return put(value, f) << (at * (f >> WIDTH));
}

/** Level, size, contiguous and dirty fields of a leaf of stage 1 (`at` 0) or 2 (1). */
function leafInfo(s: C.Stage, at: u32): u64 {
  const size = shift(s.ps, s.level);
  let info = ofStage(<u64>(s.level - FIRST_LEVEL), INFO_LEVEL, at) | ofStage(size, INFO_LEAF_SIZE, at);
  if (s.leaf & CONTIGUOUS) info |= ofStage(1, INFO_CONTIGUOUS, at);
  if (s.flags & C.S_HD && isDirtyable(s.leaf, <bool>at)) info |= ofStage(1, INFO_DIRTYABLE, at);
  return info;
}

/** INFO of a translation whose walks are done: `s` stage 1, walked or not. */
export function infoOf(c: C.Context, s: C.Stage, access: u32): u64 {
  const first = <bool>(c.flags & C.M_STAGE1),
    second = <bool>(c.flags & C.M_STAGE2);
  let granted = RIGHTS_ALL,
    attribute = flatAttribute(c, access),
    share = c.flags & C.M_DC ? SHARE_NONE : SHARE_OUTER,
    size: u32 = 64,
    info = INFO_OK;
  if (first) {
    granted = rights(c, s);
    attribute = mairAttribute(c.mair, <u32>get(s.leaf, S1_ATTR));
    share = shareOf(s);
    size = shift(s.ps, s.level);
    info |= leafInfo(s, 0);
    if (s.leaf & GP) info |= INFO_GUARDED;
    if (c.flags & C.M_TWO_RANGES) info |= s.leaf & NOT_GLOBAL ? INFO_NOT_GLOBAL : 0;
  } else {
    info |= ofStage(INFO_NO_LEVEL, INFO_LEVEL, 0);
  }
  if (second) {
    const s2 = C.stage2(c);
    granted &= rights(c, s2);
    attribute = combineAttributes(attribute, memAttr(s2.leaf), <bool>(c.flags & C.M_FWB), <bool>(c.flags & C.M_CD));
    share = combineShareability(share, shareOf(s2));
    size = min(size, shift(s2.ps, s2.level));
    info |= leafInfo(s2, 1);
  } else {
    info |= ofStage(INFO_NO_LEVEL, INFO_LEVEL, 1);
  }
  info |=
    put(shareabilityOf(attribute, share), INFO_SHARE) | put(attribute, INFO_ATTRIBUTE) | put(granted, INFO_RIGHTS);
  return info | put(size === 64 ? UNIT_SHIFT : size, INFO_SIZE) | (c.updates ? INFO_UPDATED : 0);
}

export function faultInfo(c: C.Context): u64 {
  const status = faultStatus(c.kind, c.level);
  const where = (c.where & C.W_STAGE2 ? INFO_STAGE2 : 0) | (c.where & C.W_S1PTW ? INFO_S1PTW : 0);
  const kind = put(c.kind, INFO_KIND) | put(<u64>(c.level - FIRST_LEVEL), INFO_FAULT_LEVEL);
  return put(status, INFO_STATUS) | where | INFO_FAULT | kind | (c.updates ? INFO_UPDATED : 0);
}

/** Translates one access; c.pa and c.info are the answer, c.ipa what stage 2 was asked. Precondition: `isUsable`. */
export function resolve(c: C.Context, addr: u64, access: u32): bool {
  demand(C.isUsable(c), RULE_CONTEXT);
  const s = stageOf(c, addr);
  access = accessOf(c, access);
  c.updates = 0;
  c.ipa = 0;
  c.pa = 0;
  let found = c.flags & C.M_STAGE1 ? walkStage1(c, s, addr, access) : flat(c, s, addr, access);
  if (found) {
    c.pa = s.output;
    if (c.flags & C.M_STAGE2) {
      c.ipa = s.output;
      found = walk(c, C.stage2(c), c.ipa, access);
      c.pa = found ? C.stage2(c).output : 0;
    }
  }
  c.info = found ? infoOf(c, s, access) : faultInfo(c);
  return found;
}

/** The exception of a fault: ESR, FAR, HPFAR and who takes it. */
function setException(c: C.Context, addr: u64, access: u32, r: Result): void {
  const at = <bool>(access & A_AT),
    inStage2 = <bool>(c.where & C.W_STAGE2),
    s1ptw = <bool>(c.where & C.W_S1PTW),
    fetch = (access & A_KIND) === A_FETCH;
  // An address translation instruction reports in PAR_EL1, and makes an exception of its own only of external aborts.
  if (at && c.kind !== FAULT_EXTERNAL_WALK) return;
  const status = <u32>get(c.info, INFO_STATUS);
  const own = at || (!inStage2 && !(access & A_EL0));
  r.target = at || inStage2 || c.regime === C.REGIME_EL2 ? 2 : 1;
  const iss: u64 = at ? ISS_CACHE_MAINTENANCE : inStage2 && !s1ptw && !fetch ? access & A_ISS : 0;
  r.esr = abortSyndrome(fetch && !at, own, (access & A_KIND) === A_WRITE, s1ptw, iss, status);
  if (c.where & C.W_HDBSS) r.esr |= ESR_HDBSSF;
  r.far = fetch ? untagged(c, stageOf(c, addr), addr, access) : addr;
  if (inStage2) r.hpfar = hpfar(c.ipa);
}

/** Translates one access and writes the whole record at `out`; 0, or 1 for a fault. */
export function translate(c: C.Context, addr: u64, access: u32, out: usize): i32 {
  if ((access & A_KIND) === A_FETCH) addr &= ~(<u64>3);
  return report(c, addr, access, resolve(c, addr, access), out);
}

/** Writes the record of the last translation at `out`; 0, or 1 for a fault. */
export function report(c: C.Context, addr: u64, access: u32, found: bool, out: usize): i32 {
  const r = changetype<Result>(out);
  r.pa = c.pa;
  r.info = c.info;
  r.ipa = c.ipa;
  r.updates = c.updates;
  r.esr = 0;
  r.far = 0;
  r.hpfar = 0;
  r.target = 0;
  if (found) {
    r.par = parOutput(c.pa, <u32>get(c.info, INFO_ATTRIBUTE), <u32>get(c.info, INFO_SHARE));
    return 0;
  }
  const status = <u32>get(c.info, INFO_STATUS);
  r.par = parFault(status, <bool>(c.where & C.W_STAGE2), <bool>(c.where & C.W_S1PTW));
  setException(c, addr, accessOf(c, access), r);
  return 1;
}
