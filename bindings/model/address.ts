import { EINVAL } from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";

/** The address space that an address belongs to. Only the compiler sees it: at run time an address is a bigint. */
declare const space: unique symbol;

/** Intermediate physical address: a guest's physical address, the input of stage 2. Branded bigint, bytes. */
export type Ipa = bigint & {
  /** The brand; there is no such property at run time. */
  readonly [space]: "ipa";
};
/** Virtual address, the input of stage 1, at EL2 or in a guest. Branded bigint, bytes. */
export type Va = bigint & {
  /** The brand; there is no such property at run time. */
  readonly [space]: "va";
};
/** Physical address, the output of both stages. Branded bigint, bytes. */
export type Pa = bigint & {
  /** The brand; there is no such property at run time. */
  readonly [space]: "pa";
};

/** Any address or size as callers write it: a bigint in 0..2^64-1, or a safe integer. */
export type AddressLike = bigint | number;

/**
 * An address of one space as callers write it: branded, a plain bigint in 0..2^64-1, or a safe integer. The brand of
 * another space does not compile: a `Pa` is no `Like<Ipa>`.
 */
export type Like<A extends Ipa | Va | Pa> =
  | number
  | (bigint & {
      /** The brand; there is no such property at run time. */
      readonly [space]?: A[typeof space];
    });

/** An IPA as callers write it; a `Va` or `Pa` does not compile. */
export type IpaLike = Like<Ipa>;
/** A virtual address as callers write it; an `Ipa` or `Pa` does not compile. */
export type VaLike = Like<Va>;
/** A physical address as callers write it; an `Ipa` or `Va` does not compile. */
export type PaLike = Like<Pa>;

/** A number of bytes as callers write it: a plain bigint or a safe integer. An address of any space does not compile. */
export type SizeLike =
  | number
  | (bigint & {
      /** The brand; there is no such property at run time. */
      readonly [space]?: never;
    });

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
 * Marks an address as an IPA. EINVAL for what is no address.
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
 * Marks an address as a virtual address, of EL2 or of a guest. EINVAL for what is no address.
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
 * Marks an address as a physical address: where a table maps one to one, for instance. EINVAL for what is no address.
 *
 * @example
 * ```ts
 * import { createEngine, ipa, pa } from "granule";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * const ram = ipa(0x8000_0000);
 * table.map(ram, 4096, pa(ram), "rw"); // `ram` itself would not compile: it is an IPA
 * console.log(table.leaf(ram).pa === pa(0x8000_0000)); // true
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
