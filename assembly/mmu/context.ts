// The record of one MMU context: raw registers that the host writes, and what `configure` makes of them.
//
//   byte  0  the fields of Context: what the host writes, what is decoded of it, the last fault
//       208  stage 1 for the low half of the addresses    352  for the high half    496  stage 2
//       640  MEMOS answers that were worked out: what two leaves mean together
//       896  a single translation at work: its address and its row
//       904  spare, up to 1024
//
// All zero is a context that is not configured. A context belongs to one thread at a time; the tables that it walks
// may belong to many. Whatever the host writes into a context, answers may be wrong, but nothing traps.

import { ENTRY_BYTES } from "../arch/granule";
import { demand, RULE_HALF } from "../demand";
import { clearRun } from "../memory/cell";
import { isInMemory } from "../memory/physical";

/** Bytes of a context; 8-byte aligned. */
export const CONTEXT_BYTES: u32 = 1024;
export const CONTEXT_MAGIC: u32 = 0x756d6d67; // "gmmu"

// Regimes.
/** EL1&0: stage 1 if SCTLR_EL1.M says so, over stage 2 if HCR_EL2.VM or DC says so. */
export const REGIME_EL10: u32 = 1;
/** EL2, or EL2&0 with HCR_EL2.E2H: stage 1 alone. */
export const REGIME_EL2: u32 = 2;

// Features of the CPU. The low four bits are ID_AA64MMFR0_EL1.PARange.
export const F_PARANGE: u32 = 15;
/** FEAT_XNX: execute rights of EL1 and EL0 apart at stage 2. */
export const F_XNX: u32 = 1 << 4;
/** A fetch needs read permission at stage 2 too; an option, since the architecture's rule was not verified [HWM-13]. */
export const F_FETCH_READS: u32 = 1 << 5;
/** Hardware updates only what lies in Normal cacheable memory at stage 2; elsewhere fault 0x31 [HWM-27]. */
export const F_UPDATE_CACHEABLE: u32 = 1 << 6;

// Context.flags: M_*
export const M_STAGE1: u32 = 1 << 0;
export const M_STAGE2: u32 = 1 << 1;
/** EL1&0 and EL2&0: two halves, two privilege levels. */
export const M_TWO_RANGES: u32 = 1 << 2;
export const M_FWB: u32 = 1 << 3;
export const M_DC: u32 = 1 << 4;
/** HCR_EL2.PTW: a stage-1 table in stage-2 Device memory is a permission fault [HWM-14]. */
export const M_PTW: u32 = 1 << 5;
export const M_CD: u32 = 1 << 6;
export const M_WXN: u32 = 1 << 7;
/** SCTLR_ELx.I: fetches with stage 1 off are write-through, not non-cacheable. */
export const M_ICACHE: u32 = 1 << 8;
export const M_EPAN: u32 = 1 << 9;

// Stage.flags
export const S_STAGE2: u32 = 1 << 0;
/** T0SZ, SL0 and EPD allow a walk. */
export const S_WALKS: u32 = 1 << 1;
/** The root's address is beyond the output size: address size fault, level 0. */
export const S_ROOT_BEYOND: u32 = 1 << 2;
export const S_HA: u32 = 1 << 3;
export const S_HD: u32 = 1 << 4;
/** Hierarchical attributes are off. */
export const S_HPD: u32 = 1 << 5;
/** Top byte ignored for data, and for fetches. */
export const S_TBI_DATA: u32 = 1 << 6;
export const S_TBI_FETCH: u32 = 1 << 7;
/** E0PD: no walk for EL0. */
export const S_E0PD: u32 = 1 << 8;
/** The straight ways of straight.ts are right for this stage. */
export const S_STRAIGHT: u32 = 1 << 9;
/** The last leaf came from an entry that no longer answers for all of its contiguous group: it stands for itself. */
export const S_APART: u32 = 1 << 10;

/** One table and its rules, as decoded; and the leaf that the last walk of it found. */
@unmanaged
export class Stage {
  flags: u32;
  /** log2 of the granule. */
  ps: u32;
  start: i32;
  inputBits: u32;
  /** Bits of an output address. */
  outputBits: u32;
  /** How addresses lie in descriptors, ADDRESS_*. */
  layout: u32;
  /** Shareability of all leaves under LPA2, whose descriptors have no place for it. */
  share: u32;
  level: i32;
  /** Physical (under stage 2: intermediate) address of the start tables. */
  root: u64;
  /** Output address of the last walk, and its leaf: as updated, with hierarchical attributes merged in. */
  output: u64;
  leaf: u64;
  // For straight.ts.
  addressMask: u64;
  /** A descriptor that is TABLE under this mask is a table whose address needs no closer look. */
  tableMask: u64;
  /** Bits of a leaf that count for `key`. */
  keyMask: u64;
  /** Last offset in the window at which a whole table can start. */
  lastTable: u64;
  rootPointer: u32;
  rootShift: u32;
  rootMask: u32;
  indexMask: u32;
  /** The leaf of the last walk as it was read, and the table descriptors above it, one over the other. */
  raw: u64;
  tables: u64;
  /** Bits that a leaf must not have: its address needs a closer look. */
  leafMask: u64;
  /** Index bits of a level; entry shift of the last one. */
  bits: u32;
  last: u32;
}

/** Bytes of a Stage. */
export const STAGE_BYTES: u32 = 144;
const STAGES: u32 = 208;

/** Answers that are kept. */
export const MEMOS: u32 = 8;
const MEMO_AT: u32 = 640;
const MEMO_SHIFT: u32 = 5;

const SINGLE_AT: u32 = 896;

/** What a leaf of stage 1 and one of stage 2 mean together for a kind of access. `info` 0 is an empty one. */
@unmanaged
export class Memo {
  key1: u64;
  key2: u64;
  info: u64;
  spare: u64;
}

/** The registers and the window, which the host writes; what `configure` makes of them; the last translation. */
@view("writes")
@unmanaged
export class Context {
  hcr: u64;
  sctlr: u64;
  tcr: u64;
  ttbr0: u64;
  ttbr1: u64;
  mair: u64;
  vtcr: u64;
  vttbr: u64;
  /** The window: physical address of its first byte, its pointer, its bytes. */
  physBase: u64;
  pointer: u32;
  bytes: u32;
  /** REGIME_* */
  regime: u32;
  /** F_* */
  features: u32;
  // Decoded from here on.
  magic: u32;
  flags: u32;
  /** Bits of a physical address. */
  paMax: u32;
  /** Tags for a TLB: VMID, ASID. */
  vmid: u32;
  asid: u32;
  // The last fault.
  kind: u32;
  level: i32;
  /** 1: in stage 2; 2: there, on the way to a table of stage 1; 4: there, and the log of dirty pages is full. */
  where: u32;
  /** Intermediate address of the last translation, or at fault. */
  ipa: u64;
  /** Descriptors that hardware wrote in the last translation. */
  updates: u32;
  /** A compare-exchange lost: how often the walk started again. */
  retries: u32;
  /** Faults of the last translateMany. */
  faults: u32;
  /** Key of a leaf of stage 2 through which tables of stage 1 may be read; see straight.ts. */
  tableKey: u64;
  // The last translation: physical address and INFO_*.
  pa: u64;
  info: u64;
  /** The TLB that walks ask and fill, 0 for none: only during an access through one. */
  tlb: u32;
  /** Where the next step of a walk is written, 0 for nowhere; the end of the room; steps of the last record. See steps.ts. */
  steps: u32;
  stepsEnd: u32;
  stepsTaken: u32;
  /** Of the tags of a TLB's entries, what the registers decide; see cached.ts. */
  tag: u64;
  /** The hardware's log of pages that became dirty at stage 2 (record/hdbss.ts), 0 for none. */
  hdbss: u32;
}

export const W_STAGE2: u32 = 1;
export const W_S1PTW: u32 = 2;
/** The hardware's log of dirty pages is full. */
export const W_HDBSS: u32 = 4;

export function contextAt(p: usize): Context {
  return changetype<Context>(p);
}

/** Stage 1 of the half that `high` says, 0 or 1. */
export function stage1(c: Context, high: u32): Stage {
  // Decided when this is compiled.
  if (offsetof<Context>() > STAGES || offsetof<Stage>() > STAGE_BYTES) ERROR("records of a context overlap");
  demand(high <= 1, RULE_HALF);
  return changetype<Stage>(changetype<usize>(c) + STAGES + high * STAGE_BYTES);
}

export function stage2(c: Context): Stage {
  return changetype<Stage>(changetype<usize>(c) + STAGES + 2 * STAGE_BYTES);
}

/** Is `s` stage 2? Decided by its address, so that no value in it can make a walk call itself for ever. */
export function isSecond(c: Context, s: Stage): bool {
  return changetype<usize>(s) === changetype<usize>(stage2(c));
}

export function memo(c: Context, i: u32): Memo {
  return changetype<Memo>(changetype<usize>(c) + MEMO_AT + ((i & (MEMOS - 1)) << MEMO_SHIFT));
}

/** Where a single translation has its address and, right behind it, its row. */
export function single(c: Context): usize {
  return changetype<usize>(c) + SINGLE_AT;
}

/** Zeroes everything but what the host wrote. */
export function clearDecoded(p: usize): void {
  const from = p + offsetof<Context>("magic");
  clearRun(from, p + CONTEXT_BYTES);
}

/** Can a walk use this context? Configured, and its window still in memory: the host may have written here since. */
export function isUsable(c: Context): bool {
  return c.magic === CONTEXT_MAGIC && isInMemory(c.pointer, c.bytes) && (c.physBase & (ENTRY_BYTES - 1)) === 0;
}
