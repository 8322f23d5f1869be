import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { fieldOfMask, getIn, widthOf } from "../core/field.js";
import type { ResultView } from "../core/mmu-views.generated.js";
import type { Ipa, Pa, Va } from "../model/address.js";

/** What kind of access is translated: a read, a write, a fetch. */
export type AccessKind = "r" | "w" | "x";

/** Who makes an access, and how. Default: privileged, PAN clear, a plain load, store or fetch. */
export interface AccessOptions {
  /** From EL0. */
  el0?: boolean;
  /** PSTATE.PAN is set: no data that EL0 can touch. */
  pan?: boolean;
  /** Asked by an address translation instruction: reports in PAR_EL1, and an exception only of external aborts. */
  at?: boolean;
  /** ISV, SAS, SSE, SRT, SF and AR of the instruction, at their places in ESR_EL2; bits outside of [24:14] are dropped. */
  iss?: number;
}

/**
 * An access as a number, for `lookup`: one of READ, WRITE and FETCH, and EL0 and PAN where they apply.
 *
 * @example
 * ```ts
 * import { Access } from "granule/mmu";
 * const userLoad = Access.READ | Access.EL0;
 * ```
 */
export const Access = {
  /** A load. */
  READ: K.A_READ,
  /** A store. */
  WRITE: K.A_WRITE,
  /** An instruction fetch. */
  FETCH: K.A_FETCH,
  /** From EL0. */
  EL0: K.A_EL0,
  /** PSTATE.PAN is set. */
  PAN: K.A_PAN,
} as const;

/**
 * What `lookup` returns in place of an address: why the access does not translate, one number for each `FaultKind`.
 *
 * @example
 * ```ts
 * import { createMmu, Fault } from "granule/mmu";
 * using mmu = createMmu({ image: new Uint8Array(8), paBits: 40 }); // both stages off
 * console.log(mmu.lookup(2 ** 40) === Fault.ADDRESS_SIZE); // true
 * ```
 */
export const Fault = {
  /** An entry on the way is invalid, or the address is outside of the input size. */
  TRANSLATION: -K.FAULT_TRANSLATION,
  /** The access flag is clear, and hardware does not set it. */
  ACCESS: -K.FAULT_ACCESS,
  /** The access is not permitted. */
  PERMISSION: -K.FAULT_PERMISSION,
  /** An address has more bits than the CPU or the table allows. */
  ADDRESS_SIZE: -K.FAULT_ADDRESS_SIZE,
  /** A descriptor lies where there is no memory. */
  EXTERNAL_WALK: -K.FAULT_EXTERNAL_WALK,
  /** Hardware could not write the access flag or dirty state. */
  UPDATE: -K.FAULT_UPDATE,
  /** More than one TLB entry answers for the address. */
  CONFLICT: -K.FAULT_CONFLICT,
} as const;

const KINDS: ReadonlyMap<AccessKind, number> = new Map([
  ["r", K.A_READ],
  ["w", K.A_WRITE],
  ["x", K.A_FETCH],
]);

const OPTIONS: OptionKinds<AccessOptions> = { el0: "boolean", pan: "boolean", at: "boolean", iss: "number" };

/** The access word of the core. Unknown kinds are reads of nobody: undefined. */
export function accessWord(kind: AccessKind, options: AccessOptions | undefined): number | undefined {
  const word = KINDS.get(kind);
  if (word === undefined || options === undefined) return word;
  const { el0, pan, at, iss = 0 } = checkOptions("translate", options, OPTIONS);
  return word | (el0 ? K.A_EL0 : 0) | (pan ? K.A_PAN : 0) | (at ? K.A_AT : 0) | (iss & K.A_ISS);
}

/** Memory type and shareability of a translation, as PAR_EL1 shows them. */
export interface MemoryAttributes {
  /** The byte of PAR_EL1[63:56], in the encoding of MAIR. */
  readonly attr: number;
  /** `Device-nGnRE`, `Normal-NC`, `Normal-WB`, `Normal-oWB-iNC`, ... */
  readonly type: string;
  /** Outer (OSH), inner (ISH), not shared (NSH), or the reserved code. */
  readonly shareability: "NSH" | "OSH" | "ISH" | "reserved";
}

/** Who may read, write and execute, both stages together. */
export interface Rights {
  /** Loads are permitted. */
  readonly read: boolean;
  /** Stores are permitted. */
  readonly write: boolean;
  /** Fetches are permitted. */
  readonly execute: boolean;
}

/** An access that translates. */
export interface Translation {
  /** Tells a translation from a fault. */
  ok: true;
  /** Where the access goes. */
  pa: Pa;
  /** What stage 2 was asked; 0 without stage 2. */
  ipa: Ipa;
  /** Memory type and shareability, both stages combined. */
  attributes: MemoryAttributes;
  /** Of the EL of the regime that is not EL0. */
  privileged: Rights;
  /** Of EL0; nothing where the regime has no EL0. */
  unprivileged: Rights;
  /** Bytes that are mapped as one by both stages together. */
  size: bigint;
  /** Level and size of the leaf of stage 1; undefined while it is off. */
  stage1: LeafFacts | undefined;
  /** The same of stage 2. */
  stage2: LeafFacts | undefined;
  /** Not for one ASID only. */
  global: boolean;
  /** GP: a guarded page (BTI). */
  guarded: boolean;
  /** PAR_EL1 as an address translation instruction would leave it. */
  par: bigint;
  /** Descriptors that hardware wrote: access flag, dirty state. */
  updates: number;
}

/** A leaf that took part in a translation. */
export interface LeafFacts {
  /** Level of the leaf, -1 to 3. */
  readonly level: number;
  /** Bytes that it maps. */
  readonly size: bigint;
  /** Its Contiguous bit is set: it belongs to a run of equal entries. */
  readonly contiguous: boolean;
  /** DBM over no write permission: a write would set dirty state. */
  readonly dirtyable: boolean;
}

/** Why an access does not translate; `conflict` is for those with more than one TLB entry. */
export type FaultKind =
  | "translation"
  | "access"
  | "permission"
  | "address-size"
  | "external-walk"
  | "update"
  | "conflict";

/** The exception that a fault makes: who takes it, and what it reads in its registers. */
export interface FaultException {
  /** Exception level that takes it. */
  el: 1 | 2;
  /** ESR of the exception level that takes it. */
  esr: bigint;
  /** The faulting virtual address; without stage 1 it has the number of the IPA. */
  far: Va;
  /** HPFAR_EL2, the register: the IPA's page is in bits 43:4 [HWM-4]; `ipa` is the address. 0 for a fault of stage 1. */
  hpfar: bigint;
}

/** An access that faults. A value, not an error. */
export interface TranslationFault {
  /** Tells a fault from a translation. */
  ok: false;
  /** Why it faults. */
  kind: FaultKind;
  /** 6-bit fault status code [HWM-1]. */
  fsc: number;
  /** Level at which the walk ended, -1 to 3. */
  level: number;
  /** In stage 2. */
  stage2: boolean;
  /** In stage 2, on the way to a table of stage 1. */
  s1ptw: boolean;
  /** The address that stage 2 refused; 0 for a fault of stage 1. */
  ipa: Ipa;
  /** PAR_EL1 as an address translation instruction would leave it: F is 1. */
  par: bigint;
  /** Undefined where an address translation instruction reports in PAR_EL1 alone. */
  exception: FaultException | undefined;
  /** Descriptors that hardware wrote before. */
  updates: number;
}

const FAULTS: readonly FaultKind[] = [
  "translation",
  "translation",
  "access",
  "permission",
  "address-size",
  "external-walk",
  "update",
  "conflict",
];
const DEVICES = ["Device-nGnRnE", "Device-nGnRE", "Device-nGRE", "Device-GRE"];
const SHARES = ["NSH", "reserved", "OSH", "ISH"] as const;

function cacheability(nibble: number): string {
  if (nibble === 4) return "NC";
  return nibble & 4 ? "WB" : "WT";
}

/** The name of an attribute byte; allocation and transient hints are not told. */
export function memoryType(attr: number): string {
  if ((attr & 0xf0) === 0) return DEVICES[(attr >> 2) & 3] as string;
  const [outer, inner] = [cacheability(attr >> 4), cacheability(attr & 15)];
  return outer === inner ? `Normal-${outer}` : `Normal-o${outer}-i${inner}`;
}

// assembly/mmu/translate.ts draws INFO. Parts of a result that few values can have are made once and are the same objects in all
// results: a translation is one object and the bigints that are its own.

const SIZES: readonly bigint[] = Array.from({ length: 64 }, (_, bits) => 1n << BigInt(bits));

const RIGHTS: readonly Rights[] = Array.from({ length: 8 }, (_, bits) =>
  Object.freeze({
    read: (bits & K.RIGHT_PR) !== 0,
    write: (bits & K.RIGHT_PW) !== 0,
    execute: (bits & K.RIGHT_PX) !== 0,
  }),
);

const ATTRIBUTES: MemoryAttributes[] = [];

function attributesOf(attr: number, share: number): MemoryAttributes {
  const at = (share << 8) | attr;
  const known = ATTRIBUTES[at];
  if (known !== undefined) return known;
  const made = Object.freeze({ attr, type: memoryType(attr), shareability: SHARES[share] as "NSH" });
  ATTRIBUTES[at] = made;
  return made;
}

const LEAVES: LeafFacts[] = [];

/** The leaf of stage 1 (`stage` 0) or stage 2 (1). */
function leafOf(low: number, high: number, stage: 0 | 1): LeafFacts | undefined {
  const level = getIn(low, high, K.INFO_LEVEL + stage * widthOf(K.INFO_LEVEL));
  if (level === K.INFO_NO_LEVEL) return undefined;
  const size = getIn(low, high, K.INFO_LEAF_SIZE + stage * widthOf(K.INFO_LEAF_SIZE));
  const contiguous = getIn(low, high, K.INFO_CONTIGUOUS + stage);
  const dirtyable = getIn(low, high, K.INFO_DIRTYABLE + stage);
  const at = (((((level << 6) | size) << 1) | contiguous) << 1) | dirtyable;
  const known = LEAVES[at];
  if (known !== undefined) return known;
  const made = Object.freeze({
    level: level + K.FIRST_LEVEL,
    size: SIZES[size] as bigint,
    contiguous: contiguous === 1,
    dirtyable: dirtyable === 1,
  });
  LEAVES[at] = made;
  return made;
}

const NOT_GLOBAL = fieldOfMask(K.INFO_NOT_GLOBAL);
const GUARDED = fieldOfMask(K.INFO_GUARDED);
const STAGE2 = fieldOfMask(K.INFO_STAGE2);
const S1PTW = fieldOfMask(K.INFO_S1PTW);
const FAULTED = fieldOfMask(K.INFO_FAULT);

/** @internal Is this the record of a fault? */
export function isFault({ infoLow, infoHigh }: ResultView): boolean {
  return getIn(infoLow, infoHigh, FAULTED) === 1;
}

/** @internal Of a record that is no fault. */
export function translationOf(record: ResultView): Translation {
  const { infoLow: low, infoHigh: high } = record;
  return {
    ok: true,
    pa: record.pa as Pa,
    ipa: record.ipa as Ipa,
    attributes: attributesOf(getIn(low, high, K.INFO_ATTRIBUTE), getIn(low, high, K.INFO_SHARE)),
    privileged: RIGHTS[getIn(low, high, K.INFO_PRIVILEGED)] as Rights,
    unprivileged: RIGHTS[getIn(low, high, K.INFO_UNPRIVILEGED)] as Rights,
    size: SIZES[getIn(low, high, K.INFO_SIZE)] as bigint,
    stage1: leafOf(low, high, 0),
    stage2: leafOf(low, high, 1),
    global: getIn(low, high, NOT_GLOBAL) === 0,
    guarded: getIn(low, high, GUARDED) === 1,
    par: record.par,
    updates: record.updates,
  };
}

/** @internal Of a record that is a fault. */
export function faultOf(record: ResultView): TranslationFault {
  const { infoLow: low, infoHigh: high, target } = record;
  return {
    ok: false,
    kind: FAULTS[getIn(low, high, K.INFO_KIND)] ?? "translation",
    fsc: getIn(low, high, K.INFO_STATUS),
    level: getIn(low, high, K.INFO_FAULT_LEVEL) + K.FIRST_LEVEL,
    stage2: getIn(low, high, STAGE2) === 1,
    s1ptw: getIn(low, high, S1PTW) === 1,
    ipa: record.ipa as Ipa,
    par: record.par,
    exception:
      target === 0 ? undefined : { el: target as 1 | 2, esr: record.esr, far: record.far as Va, hpfar: record.hpfar },
    updates: record.updates,
  };
}
