import * as K from "./constants.generated.js";

/** The names of the error numbers that granule reports; each has one meaning. */
export type ErrorCode =
  | "EPERM"
  | "E2BIG"
  | "EAGAIN"
  | "ENOMEM"
  | "EFAULT"
  | "EBUSY"
  | "EEXIST"
  | "EINVAL"
  | "ERANGE"
  | "EDEADLK"
  | "ETIMEDOUT";

const CODES: ReadonlyMap<number, ErrorCode> = new Map([
  [K.EPERM, "EPERM"],
  [K.E2BIG, "E2BIG"],
  [K.EAGAIN, "EAGAIN"],
  [K.ENOMEM, "ENOMEM"],
  [K.EFAULT, "EFAULT"],
  [K.EBUSY, "EBUSY"],
  [K.EEXIST, "EEXIST"],
  [K.EINVAL, "EINVAL"],
  [K.ERANGE, "ERANGE"],
  [K.EDEADLK, "EDEADLK"],
  [K.ETIMEDOUT, "ETIMEDOUT"],
]);

const HELP: Record<ErrorCode, string> = {
  EPERM: "not allowed for this kind of table, or not now",
  E2BIG: "a leaf of that size is not possible there",
  EAGAIN: "a race was lost, or there was nothing to do; try again",
  ENOMEM: "no memory: the arena or a cache is spent (raise arenaBytes, or top up the cache)",
  EFAULT: "a table descriptor points outside the arena: the table memory was damaged",
  EBUSY: "walks are nested too deep, or somebody is at it already",
  EEXIST: "something else is mapped there; unmap it first",
  EINVAL: "an argument has a value that is never right here",
  ERANGE: "outside the input or output address space of the table",
  EDEADLK: "this walker holds a lock or reads a table, and would wait for itself: let go first",
  ETIMEDOUT: "another walker holds a lock or a read section and makes no progress: if its thread is gone, bury it",
};

/** What went wrong where; every field but `code`, `errno` and `operation` is there when it is known. */
export interface ErrorDetails {
  /** Name of the operation, as the facade spells it. */
  operation: string;
  /** Input address of the operation. */
  address?: bigint;
  /** Level of the entry concerned. */
  level?: number;
  /** Descriptor that was there. */
  oldValue?: bigint;
  /** Descriptor that was wanted. */
  newValue?: bigint;
  /** One sentence of help, in place of the general one. */
  hint?: string;
  /** What was thrown before, as in `ErrorOptions`. */
  cause?: unknown;
}

/**
 * Misuse, or memory that is spent. Results that a caller expects (a race lost, a short unmap) are values instead.
 *
 * @example
 * ```ts
 * import { createEngine, GranuleError } from "granule";
 * using engine = createEngine();
 * const table = engine.createStage2({ ipaBits: 40 });
 * try {
 *   table.map(1n << 50n, 4096, 0, "rw");
 * } catch (error) {
 *   if (error instanceof GranuleError) console.log(error.code); // ERANGE
 * }
 * ```
 */
export class GranuleError extends Error {
  /** The name of the class, as in a stack trace. */
  override readonly name = "GranuleError";
  /** `"EINVAL"`, `"ERANGE"`, ... */
  readonly code: ErrorCode;
  /** The Linux number, negative. */
  readonly errno: number;
  /** Name of the operation, as the facade spells it. */
  readonly operation: string;
  /** Input address of the operation, when known. */
  readonly address: bigint | undefined;
  /** Level of the entry concerned, when known. */
  readonly level: number | undefined;
  /** Descriptor that was there, when known. */
  readonly oldValue: bigint | undefined;
  /** Descriptor that was wanted, when known. */
  readonly newValue: bigint | undefined;
  /** One sentence of help. */
  readonly hint: string;

  constructor(errno: number, details: ErrorDetails) {
    const code = CODES.get(errno) ?? "EINVAL";
    const hint = details.hint ?? HELP[code];
    const at = details.address === undefined ? "" : ` at 0x${details.address.toString(16)}`;
    super(
      `${code}: ${details.operation}${at}: ${hint}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.errno = errno;
    this.operation = details.operation;
    this.address = details.address;
    this.level = details.level;
    this.oldValue = details.oldValue;
    this.newValue = details.newValue;
    this.hint = hint;
  }
}

/** An argument that does not make sense: EINVAL before the core is asked. */
export function invalid(operation: string, hint: string): GranuleError {
  return new GranuleError(K.EINVAL, { operation, hint });
}

/**
 * Name of a negative errno, or its digits.
 *
 * @example
 * ```ts
 * import { errnoName } from "granule";
 * console.log(errnoName(-11)); // EAGAIN
 * ```
 */
export function errnoName(errno: number): string {
  return CODES.get(errno) ?? String(errno);
}
