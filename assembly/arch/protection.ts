// Protections as the callers name them: one u32, the same for both stages.
// The low five bits have the numbers of Linux 5.11 to 7.0 [FMT-30]. Software bits are 8..11 here, and 55..58 in a
// descriptor.

export const PROT_X: u32 = 1 << 0;
export const PROT_W: u32 = 1 << 1;
export const PROT_R: u32 = 1 << 2;
export const PROT_DEVICE: u32 = 1 << 3;
export const PROT_NC: u32 = 1 << 4;
/** Execute at EL1 only, or for hVHE stage 1 privileged execute. */
export const PROT_PX: u32 = 1 << 5;
/** Execute at EL0 only, or for hVHE stage 1 unprivileged execute. */
export const PROT_UX: u32 = 1 << 6;
/** Stage 2 takes memory type and cacheability from stage 1 (7.x host stage 2). */
export const PROT_AS_STAGE1: u32 = 1 << 7;
export const PROT_SW_LOW: u32 = 8;
export const PROT_SW: u32 = 0xf << 8;
const PROT_ALL: u32 = PROT_SW | 0xff;

/** True if no unknown bit is set. */
export function isProtection(prot: u32): bool {
  return (prot & ~PROT_ALL) === 0;
}

/** PX and UX of a protection, where X means both. */
export function executeBits(prot: u32): u32 {
  return prot & PROT_X ? PROT_PX | PROT_UX : prot & (PROT_PX | PROT_UX);
}

/** The inverse: X when both PX and UX are set. */
export function joinExecute(px: bool, ux: bool): u32 {
  if (px && ux) return PROT_X;
  return (px ? PROT_PX : 0) | (ux ? PROT_UX : 0);
}
