import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";

/**
 * Protections of a mapping as a bit mask [FMT-30]. The low five bits have the numbers of Linux 5.11 to 7.0. Bits 8..11 are
 * the software bits, which are 55..58 in a descriptor.
 *
 * @example
 * ```ts
 * import { Prot } from "granule";
 * const readWrite = Prot.R | Prot.W;
 * ```
 */
export const Prot = {
  /** Execute, at EL1 and EL0. */
  X: K.PROT_X,
  /** Write. */
  W: K.PROT_W,
  /** Read. */
  R: K.PROT_R,
  /** Device-nGnRE memory. */
  DEVICE: K.PROT_DEVICE,
  /** Normal non-cacheable memory. Stage 2 only. */
  NC: K.PROT_NC,
  /** Execute at EL1 only (needs FEAT_XNX), or privileged execute of hVHE. */
  PX: K.PROT_PX,
  /** Execute at EL0 only (needs FEAT_XNX), or unprivileged execute of hVHE. */
  UX: K.PROT_UX,
  /** Stage 2 takes the memory type of stage 1. */
  AS_STAGE1: K.PROT_AS_STAGE1,
  /** Software bit 55 of a descriptor, which hardware ignores. */
  SW0: 1 << K.PROT_SW_LOW,
  /** Software bit 56. */
  SW1: 2 << K.PROT_SW_LOW,
  /** Software bit 57. */
  SW2: 4 << K.PROT_SW_LOW,
  /** Software bit 58. */
  SW3: 8 << K.PROT_SW_LOW,
} as const;

/** A mask of `Prot` bits, or letters: any of `r` `w` `x`, then `d` (device) or `n` (non-cacheable). */
export type ProtLike = number | string;

const LETTERS: Readonly<Record<string, number>> = {
  r: Prot.R,
  w: Prot.W,
  x: Prot.X,
  d: Prot.DEVICE,
  n: Prot.NC,
  "-": 0,
};

/**
 * A protection mask from letters or a mask; EINVAL for unknown letters.
 *
 * @example
 * ```ts
 * import { toProt, Prot } from "granule";
 * console.log(toProt("rw") === (Prot.R | Prot.W)); // true
 * ```
 */
export function toProt(prot: ProtLike): number {
  if (typeof prot === "number") {
    if (Number.isInteger(prot) && prot >= 0 && prot <= 0xffffffff) return prot;
    throw invalid("prot", `${prot} is not a protection mask`);
  }
  return KNOWN.get(prot) ?? spell(prot);
}

/** Masks of letters that were given before: a program gives few, again and again. */
const KNOWN: Map<string, number> = new Map();
const MOST_KNOWN = 64;

function spell(prot: string): number {
  if (typeof prot !== "string") throw invalid("prot", `a protection is a mask or letters, not ${typeof prot}`);
  let mask = 0;
  for (const letter of prot) {
    const bit = LETTERS[letter];
    if (bit === undefined) throw invalid("prot", `"${prot}" has a letter other than r w x d n`);
    mask |= bit;
  }
  if (KNOWN.size < MOST_KNOWN) KNOWN.set(prot, mask);
  return mask;
}

const NAMES: readonly (readonly [number, string])[] = [
  [Prot.R, "R"],
  [Prot.W, "W"],
  [Prot.X, "X"],
  [Prot.PX, "PX"],
  [Prot.UX, "UX"],
  [Prot.DEVICE, "DEVICE"],
  [Prot.NC, "NC"],
  [Prot.AS_STAGE1, "AS_STAGE1"],
  [Prot.SW0, "SW0"],
  [Prot.SW1, "SW1"],
  [Prot.SW2, "SW2"],
  [Prot.SW3, "SW3"],
];

/**
 * The names of the bits of a mask, in a fixed order.
 *
 * @example
 * ```ts
 * import { protNames, Prot } from "granule";
 * console.log(protNames(Prot.W | Prot.R).join()); // R,W
 * ```
 */
export function protNames(prot: number): string[] {
  return NAMES.filter(([bit]) => prot & bit).map(([, name]) => name);
}

/**
 * The mask for names as returned by `protNames`; EINVAL for an unknown one.
 *
 * @example
 * ```ts
 * import { protFromNames, Prot } from "granule";
 * console.log(protFromNames(["R", "X"]) === (Prot.R | Prot.X)); // true
 * ```
 */
export function protFromNames(names: readonly string[]): number {
  let mask = 0;
  for (const name of names) {
    const found = NAMES.find(([, n]) => n === name);
    if (!found) throw invalid("prot", `unknown protection ${name}`);
    mask |= found[0];
  }
  return mask;
}
