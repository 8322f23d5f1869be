// What a CPU has in its registers, and the flushes that it has issued and not completed.

import { demand, RULE_JUDGED_CPU } from "../demand";
import { CLOCK_BYTES, cpuAt, MAX_CPUS, orderedBy, state, take } from "./state";

@unmanaged
export class Cpu {
  vttbr: u64;
  ttbr0: u64;
  vtcr: u64;
  tcr: u64;
  hcr: u64;
  mair: u64;
  sctlr: u64;
  /** Roots that it walks: stage 2, and EL2's stage 1. */
  root: u32;
  hyp: u32;
  /** When it took them. */
  rootSince: u64;
  hypSince: u64;
  /** First flush of a whole VMID that awaits a DSB. */
  pending: u32;
  /** First obligation whose TLBI awaits a DSB. */
  awaiting: u32;
  /** Its own clock at its last DSB of any domain. */
  ordered: u32;
  /** Which registers were ever written, and what is switched off: W_*. */
  written: u32;
  /** An engine's walker: the table whose lock it holds for reading, how often, and its sections without a lock. */
  reading: u32;
  reads: u32;
  sections: u32;
  /** When the outermost of these began. */
  entered: u64;
  /** When it last did anything but barriers, TLBIs, register writes, and giving back of locks. */
  busy: u64;
  /** Issue time of its own last complete flush of all VMIDs, and of EL2. */
  ownAll: u64;
  ownHyp: u64;
  /** When MAIR_EL2 or TCR_EL2 changed under what its TLB may hold, and the record; 0: never. */
  hypChanged: u64;
  hypChangedBy: u64;
}

export const W_VTCR: u32 = 1 << 0;
export const W_TCR: u32 = 1 << 1;
export const W_HCR: u32 = 1 << 2;
export const W_VTTBR: u32 = 1 << 3;
export const W_MAIR: u32 = 1 << 4;
export const W_TTBR0: u32 = 1 << 5;
/** Stage 2 was on and is off, and the same of EL2's MMU. What a log does not say counts as on. */
export const W_OFF: u32 = 1 << 6;
export const W_HYP_OFF: u32 = 1 << 7;
/** The VMID or the regime of TLBIs changed, and no ISB came since. */
export const W_UNSYNCED: u32 = 1 << 8;
/** VTCR_EL2 changed while stage 2 is on: VTTBR_EL2 has to follow before anything else. */
export const W_VTCR_LIVE: u32 = 1 << 9;

export function cpu(i: u32): Cpu {
  demand(i < MAX_CPUS, RULE_JUDGED_CPU);
  return changetype<Cpu>(cpuAt(i));
}

@unmanaged
export class Pending {
  next: u32;
  kind: u32;
  /** The root, and its serial: it may be gone before the DSB comes. 0 for all. */
  root: u32;
  serial: u32;
  /** Its VMID's tag. */
  tag: u32;
  time: u64;
  // clocks follow at 32
}

const CLOCKS: u32 = 32;

/** Of one root; P_ALL and P_HYP: of all of stage 2, and of EL2. */
export const P_FULL: u32 = 0;
export const P_STAGE1: u32 = 1;
export const P_ALL: u32 = 2;
export const P_HYP: u32 = 3;
/** The same of one CPU only. */
export const P_LOCAL: u32 = 4;

export function pending(p: u32): Pending {
  return changetype<Pending>(p);
}

/** Writes that a pending flush covers. */
export function coveredBy(p: Pending): usize {
  return changetype<usize>(p) + CLOCKS;
}

/** Notes a flush that the next DSB completes; a later one of the same kind takes the place of the one before. */
export function awaitDsb(c: u32, root: u32, serial: u32, tag: u32, kind: u32): void {
  const self = cpu(c),
    s = state();
  let p = pending(self.pending);
  while (p && !(p.kind === kind && p.root === root && p.serial === serial && p.tag === tag)) p = pending(p.next);
  if (!p) {
    let at = s.freePending;
    if (at) s.freePending = pending(at).next;
    else at = take(CLOCKS + CLOCK_BYTES);
    if (!at) return;
    p = pending(at);
    p.kind = kind;
    p.root = root;
    p.serial = serial;
    p.tag = tag;
    p.next = self.pending;
    self.pending = at;
  }
  p.time = s.time;
  if ((kind & ~P_LOCAL) !== P_STAGE1) memory.copy(coveredBy(p), orderedBy(c), CLOCK_BYTES);
}

/** Has some CPU issued a flush of this root and kind that is not complete? */
export function isAwaited(root: u32, kind: u32): bool {
  const n = state().seen;
  for (let c: u32 = 0; c < n; c++) {
    for (let p = pending(cpu(c).pending); p; p = pending(p.next)) if (p.kind === kind && p.root === root) return true;
  }
  return false;
}
