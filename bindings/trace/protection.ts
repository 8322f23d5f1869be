/*
 * granule's protection mask, a u32:
 *
 *   31        12 11  10   9    8    7   6    5    4    3     2   1   0
 *  +------------+----+----+----+----+---+----+----+----+------+---+---+---+
 *  |     0      |SW3 |SW2 |SW1 |SW0 | 0 | UX | PX | NC |DEVICE| R | W | X |
 *  +------------+----+----+----+----+---+----+----+----+------+---+---+---+
 *
 * X = privileged and unprivileged execution; PX and UX stand alone, for FEAT_XNX tables that grant
 * only one of them.
 */

import * as K from "../core/constants.generated.js";
import { get } from "../core/field.js";

/**
 * Which meaning the bits of a recorded `prot` argument have. Linux 7.x split the execute permission
 * in two and moved every bit above it.
 */
export type ProtectionNumbering = "6.x" | "7.x";

/** SW0..SW3: both of Linux's numberings have them where a descriptor has them. */
function software(prot: number | bigint): number {
  if (typeof prot === "number") return 0; // a plain number ends below them
  return get(BigInt(prot), K.SW) << K.PROT_SW_LOW;
}

/** The low bits, after checking that nothing but them and SW0..SW3 is set. */
function permissions(prot: number | bigint, bits: number): number {
  if (typeof prot === "number" && !Number.isSafeInteger(prot)) {
    throw new RangeError(`protection ${prot} is not an exact integer`);
  }
  if (typeof prot === "number" && prot >>> bits === 0 && prot >>> 0 === prot) return prot;
  const wide = BigInt(prot);
  const low = BigInt((1 << bits) - 1);
  if ((wide & ~(low | K.SW_MASK)) !== 0n) {
    throw new RangeError(`protection 0x${wide.toString(16)} has bits that Linux does not define`);
  }
  return Number(wide & low);
}

/**
 * Turns a `prot` argument as Linux 6.x numbers it (bit 0 X, 1 W, 2 R, 3 DEVICE, 4 NC; SW0..SW3 at
 * 55..58) into granule's protection mask.
 *
 * @param prot - the number that a trace shows
 * @returns granule's u32 mask: bit 0 X, 1 W, 2 R, 3 DEVICE, 4 NC, 5 PX, 6 UX, 8..11 SW0..SW3
 * @throws RangeError when another bit is set
 * @example
 * ```ts
 * import { protectionFromLinux6 } from "granule/trace";
 *
 * console.log(protectionFromLinux6(0x6)); // 6: read and write
 * ```
 */
export function protectionFromLinux6(prot: number | bigint): number {
  // The low five bits are ours: granule kept the older numbering.
  return permissions(prot, 5) | software(prot);
}

/**
 * Turns a `prot` argument as Linux 7.x numbers it (bit 0 PX, 1 UX, 2 W, 3 R, 4 DEVICE, 5 NC;
 * SW0..SW3 at 55..58) into granule's protection mask. PX and UX together become X.
 *
 * @param prot - the number that a trace shows
 * @returns granule's u32 mask, as {@link protectionFromLinux6} returns it
 * @throws RangeError when another bit is set
 * @example
 * ```ts
 * import { protectionFromLinux7 } from "granule/trace";
 *
 * console.log(protectionFromLinux7(0xf)); // 7: read, write and execute
 * ```
 */
export function protectionFromLinux7(prot: number | bigint): number {
  const low = permissions(prot, 6);
  const execute = [0, K.PROT_PX, K.PROT_UX, K.PROT_X][low & 3] as number;
  return (
    execute |
    (low & 4 ? K.PROT_W : 0) |
    (low & 8 ? K.PROT_R : 0) |
    (low & 16 ? K.PROT_DEVICE : 0) |
    (low & 32 ? K.PROT_NC : 0) |
    software(prot)
  );
}

/**
 * Picks the decoder of a numbering.
 *
 * @example
 * ```ts
 * import { protectionDecoder } from "granule/trace";
 *
 * console.log(protectionDecoder("7.x")(0xc) === protectionDecoder("6.x")(0x6)); // true
 * ```
 */
export function protectionDecoder(numbering: ProtectionNumbering): (prot: number | bigint) => number {
  return numbering === "7.x" ? protectionFromLinux7 : protectionFromLinux6;
}

/**
 * Tells the numbering of a kernel from its release, as `uname -r` or `uname -a` prints it.
 *
 * @returns `undefined` when the text holds no release number
 * @example
 * ```ts
 * import { numberingOfKernel } from "granule/trace";
 *
 * console.log(numberingOfKernel("Linux (none) 7.2.13 #1 SMP aarch64")); // "7.x"
 * ```
 */
export function numberingOfKernel(release: string): ProtectionNumbering | undefined {
  const major = /(?:^|\s)(\d+)\.\d+/.exec(release)?.[1];
  if (major === undefined) return undefined;
  return Number(major) >= 7 ? "7.x" : "6.x";
}

/**
 * Infers the numbering from `prot` arguments alone, for a trace that came without a word about its
 * kernel. Every guest mapping is readable, so R alone tells: bit 2 without bit 3 can only be 6.x
 * (7.x would mean write-only), bit 3 without bit 2 only 7.x (6.x would mean an unreadable device),
 * and all four low bits only 7.x (6.x would mean an executable device).
 *
 * @returns `undefined` when no value decides, or when values contradict each other
 * @example
 * ```ts
 * import { inferNumbering } from "granule/trace";
 *
 * console.log(inferNumbering([0xc, 0x8])); // "7.x"
 * ```
 */
export function inferNumbering(prots: Iterable<number | bigint>): ProtectionNumbering | undefined {
  let six = false;
  let seven = false;
  for (const prot of prots) {
    const low = Number(BigInt(prot) & 0xfn);
    if ((low & 0b1100) === 0b0100) six = true;
    if ((low & 0b1100) === 0b1000 || low === 0xf) seven = true;
  }
  if (six === seven) return undefined;
  return six ? "6.x" : "7.x";
}
