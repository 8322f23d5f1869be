// What a CPU has in its registers, and the flushes that it has issued and not completed.

import { CLOCK_BYTES, cpuAt, MAX_PENDING, orderedBy, pendingAt, state } from "./state";

@unmanaged
export class Cpu {
  vttbr: u64;
  ttbr0: u64;
  vtcr: u64;
  tcr: u64;
  hcr: u64;
  /** Roots that it has loaded: stage 2, and EL2's stage 1. */
  root: u32;
  hyp: u32;
  /** Flushes of whole VMIDs that await a DSB. */
  pending: u32;
  /** First obligation whose TLBI awaits a DSB. */
  awaiting: u32;
  /** Its own clock at its last DSB of any domain. */
  ordered: u32;
  /** Which registers were ever written. */
  written: u32;
  /** An engine's walker: the table whose lock it holds for reading, how often, and its sections without a lock. */
  reading: u32;
  reads: u32;
  sections: u32;
  /** When the outermost of these began. */
  entered: u64;
}

export const W_VTCR: u32 = 1;
export const W_TCR: u32 = 2;
export const W_HCR: u32 = 4;

export function cpu(i: u32): Cpu {
  return changetype<Cpu>(cpuAt(i));
}

@unmanaged
export class Pending {
  /** The root; 0 for all VMIDs. */
  root: u32;
  kind: u32;
  time: u64;
  // clocks follow at 32
}

export const P_FULL: u32 = 0;
export const P_STAGE1: u32 = 1;
export const P_FULL_LOCAL: u32 = 2;
export const P_STAGE1_LOCAL: u32 = 3;

export function pending(c: u32, i: u32): Pending {
  return changetype<Pending>(pendingAt(c, i));
}

/** Writes that a pending flush covers. */
export function coveredBy(p: Pending): usize {
  return changetype<usize>(p) + 32;
}

/** Notes a flush of a whole VMID; the oldest of too many that no DSB ever completes is forgotten. */
export function awaitDsb(c: u32, root: u32, kind: u32): void {
  const self = cpu(c);
  if (self.pending === MAX_PENDING) {
    const last: usize = pendingAt(c, MAX_PENDING - 1);
    memory.copy(pendingAt(c, 0), pendingAt(c, 1), last - pendingAt(c, 0));
    self.pending--;
  }
  const p = pending(c, self.pending++);
  p.root = root;
  p.kind = kind;
  p.time = state().time;
  if (kind === P_FULL) memory.copy(coveredBy(p), orderedBy(c), CLOCK_BYTES);
}

/** Has some CPU issued a flush of this root and kind that is not complete? */
export function isAwaited(root: u32, kind: u32): bool {
  const n = state().seen;
  for (let c: u32 = 0; c < n; c++) {
    for (let i: u32 = 0; i < cpu(c).pending; i++) {
      const p = pending(c, i);
      if (p.kind === kind && (p.root === root || p.root === 0)) return true;
    }
  }
  return false;
}
