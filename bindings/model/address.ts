import { EINVAL } from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";

declare const kind: unique symbol;

/** Intermediate physical address: a guest's physical address, the input of stage 2. Branded bigint, bytes. */
export type Ipa = bigint & {
  /** The brand; there is no such property at run time. */
  readonly [kind]?: "ipa";
};
/** Virtual address of the hypervisor, the input of EL2's stage 1. Branded bigint, bytes. */
export type Va = bigint & {
  /** The brand; there is no such property at run time. */
  readonly [kind]?: "va";
};
/** Physical address, the output of both stages. Branded bigint, bytes. */
export type Pa = bigint & {
  /** The brand; there is no such property at run time. */
  readonly [kind]?: "pa";
};

/** An address or size as callers write it: a bigint in 0..2^64-1, or a safe integer. */
export type AddressLike = bigint | number;

const LIMIT = 1n << 64n;

/**
 * Any address as a bigint in 0..2^64-1; EINVAL for a fraction, a negative or an unsafe number.
 *
 * @example
 * ```ts
 * import { toAddress } from "granule";
 * console.log(toAddress(4096)); // 4096n
 * ```
 */
export function toAddress(value: AddressLike, operation = "toAddress"): bigint {
  if (typeof value === "bigint") {
    if (value >= 0n && value < LIMIT) return value;
  } else if (Number.isSafeInteger(value) && value >= 0) {
    return BigInt(value);
  }
  throw new GranuleError(EINVAL, {
    operation,
    hint: `${String(value)} is not an address: give a bigint in 0..2^64-1 or a safe integer`,
  });
}

/**
 * Marks an address as an IPA.
 *
 * @example
 * ```ts
 * import { ipa } from "granule";
 * console.log(ipa(0x4000_0000)); // 1073741824n
 * ```
 */
export function ipa(value: AddressLike): Ipa {
  return toAddress(value, "ipa") as Ipa;
}

/**
 * Marks an address as an EL2 virtual address.
 *
 * @example
 * ```ts
 * import { va } from "granule";
 * console.log(va(4096n)); // 4096n
 * ```
 */
export function va(value: AddressLike): Va {
  return toAddress(value, "va") as Va;
}

/**
 * Marks an address as a physical address.
 *
 * @example
 * ```ts
 * import { pa } from "granule";
 * console.log(pa(0x8000_0000)); // 2147483648n
 * ```
 */
export function pa(value: AddressLike): Pa {
  return toAddress(value, "pa") as Pa;
}

/**
 * `0x` and lower-case hex digits, at least `digits` of them.
 *
 * @example
 * ```ts
 * import { hex } from "granule";
 * console.log(hex(4096n, 8)); // 0x00001000
 * ```
 */
export function hex(value: bigint | number, digits = 0): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}
