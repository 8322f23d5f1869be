import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { get, widthOf } from "../core/field.js";
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

const KINDS: Readonly<Record<AccessKind, number>> = { r: K.A_READ, w: K.A_WRITE, x: K.A_FETCH };

const OPTIONS: OptionKinds<AccessOptions> = { el0: "boolean", pan: "boolean", at: "boolean", iss: "number" };

/** The access word of the core. Unknown kinds are reads of nobody: undefined. */
export function accessWord(kind: AccessKind, options: AccessOptions): number | undefined {
  const word = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (word === undefined) return undefined;
  const { el0, pan, at, iss = 0 } = checkOptions("translate", options, OPTIONS);
  return word | (el0 ? K.A_EL0 : 0) | (pan ? K.A_PAN : 0) | (at ? K.A_AT : 0) | (iss & K.A_ISS);
}

/** Memory type and shareability of a translation, as PAR_EL1 shows them. */
export interface MemoryAttributes {
  /** The byte of PAR_EL1[63:56], in the encoding of MAIR. */
  attr: number;
  /** `Device-nGnRE`, `Normal-NC`, `Normal-WB`, `Normal-oWB-iNC`, ... */
  type: string;
  /** Outer (OSH), inner (ISH), not shared (NSH), or the reserved code. */
  shareability: "NSH" | "OSH" | "ISH" | "reserved";
}

/** Who may read, write and execute, both stages together. */
export interface Rights {
  /** Loads are permitted. */
  read: boolean;
  /** Stores are permitted. */
  write: boolean;
  /** Fetches are permitted. */
  execute: boolean;
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
  level: number;
  /** Bytes that it maps. */
  size: bigint;
  /** Its Contiguous bit is set: it belongs to a run of equal entries. */
  contiguous: boolean;
  /** DBM over no write permission: a write would set dirty state. */
  dirtyable: boolean;
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

function rightsOf(bits: number): Rights {
  return { read: (bits & K.RIGHT_PR) !== 0, write: (bits & K.RIGHT_PW) !== 0, execute: (bits & K.RIGHT_PX) !== 0 };
}

// assembly/mmu/translate.ts draws INFO.

/** The leaf of stage 1 (`at` 0) or stage 2 (1). */
function leafOf(info: bigint, at: 0 | 1): LeafFacts | undefined {
  const ofStage = (f: number) => get(info >> BigInt(at * widthOf(f)), f);
  const level = ofStage(K.INFO_LEVEL);
  if (level === K.INFO_NO_LEVEL) return undefined;
  return {
    level: level + K.FIRST_LEVEL,
    size: 1n << BigInt(ofStage(K.INFO_LEAF_SIZE)),
    contiguous: ofStage(K.INFO_CONTIGUOUS) === 1,
    dirtyable: ofStage(K.INFO_DIRTYABLE) === 1,
  };
}

/** @internal Of a record that is no fault. */
export function translationOf({ pa, ipa, info, par, updates }: ResultView): Translation {
  const attr = get(info, K.INFO_ATTRIBUTE);
  return {
    ok: true,
    pa: pa as Pa,
    ipa: ipa as Ipa,
    attributes: { attr, type: memoryType(attr), shareability: SHARES[get(info, K.INFO_SHARE)] as "NSH" },
    privileged: rightsOf(get(info, K.INFO_PRIVILEGED)),
    unprivileged: rightsOf(get(info, K.INFO_UNPRIVILEGED)),
    size: 1n << BigInt(get(info, K.INFO_SIZE)),
    stage1: leafOf(info, 0),
    stage2: leafOf(info, 1),
    global: (info & K.INFO_NOT_GLOBAL) === 0n,
    guarded: (info & K.INFO_GUARDED) !== 0n,
    par,
    updates,
  };
}

/** @internal Of a record that is a fault. */
export function faultOf({ ipa, info, par, esr, far, hpfar, target, updates }: ResultView): TranslationFault {
  return {
    ok: false,
    kind: FAULTS[get(info, K.INFO_KIND)] ?? "translation",
    fsc: get(info, K.INFO_STATUS),
    level: get(info, K.INFO_FAULT_LEVEL) + K.FIRST_LEVEL,
    stage2: (info & K.INFO_STAGE2) !== 0n,
    s1ptw: (info & K.INFO_S1PTW) !== 0n,
    ipa: ipa as Ipa,
    par,
    exception: target === 0 ? undefined : { el: target as 1 | 2, esr, far: far as Va, hpfar },
    updates,
  };
}
