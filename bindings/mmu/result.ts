import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import type { ResultView } from "../core/mmu-views.generated.js";
import type { Ipa, Pa } from "../model/address.js";

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
  read: boolean;
  write: boolean;
  execute: boolean;
}

/** An access that translates. */
export interface Translation {
  ok: true;
  pa: Pa;
  /** What stage 2 was asked; 0 without stage 2. */
  ipa: Ipa;
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
  level: number;
  size: bigint;
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
  esr: bigint;
  far: bigint;
  /** HPFAR_EL2; 0 for a fault of stage 1. */
  hpfar: bigint;
}

/** An access that faults. A value, not an error. */
export interface TranslationFault {
  ok: false;
  kind: FaultKind;
  /** 6-bit fault status code [HWM-1]. */
  fsc: number;
  level: number;
  /** In stage 2. */
  stage2: boolean;
  /** In stage 2, on the way to a table of stage 1. */
  s1ptw: boolean;
  /** The address that stage 2 refused; 0 for a fault of stage 1. */
  ipa: Ipa;
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
const NO_LEVEL = 7;

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
  return { read: (bits & 1) !== 0, write: (bits & 2) !== 0, execute: (bits & 4) !== 0 };
}

/** A field of INFO; assembly/mmu/translate.ts draws them. */
function field(info: bigint, low: number, width: number): number {
  return Number((info >> BigInt(low)) & ((1n << BigInt(width)) - 1n));
}

/** The leaf of stage 1 (`at` 0) or stage 2 (1). */
function leafOf(info: bigint, at: 0 | 1): LeafFacts | undefined {
  const level = field(info, 37 + at * 3, 3);
  if (level === NO_LEVEL) return undefined;
  return {
    level: level - 1,
    size: 1n << BigInt(field(info, 43 + at * 6, 6)),
    contiguous: field(info, 35 + at, 1) === 1,
    dirtyable: field(info, 22 + at, 1) === 1,
  };
}

/** @internal Of a record that is no fault. */
export function translationOf({ pa, ipa, info, par, updates }: ResultView): Translation {
  const attr = field(info, 24, 8);
  return {
    ok: true,
    pa,
    ipa,
    attributes: { attr, type: memoryType(attr), shareability: SHARES[field(info, 32, 2)] as "NSH" },
    privileged: rightsOf(field(info, 16, 3)),
    unprivileged: rightsOf(field(info, 19, 3)),
    size: 1n << BigInt(field(info, 55, 6)),
    stage1: leafOf(info, 0),
    stage2: leafOf(info, 1),
    global: field(info, 34, 1) === 0,
    guarded: field(info, 61, 1) === 1,
    par,
    updates,
  };
}

/** @internal Of a record that is a fault. */
export function faultOf({ ipa, info, par, esr, far, hpfar, target, updates }: ResultView): TranslationFault {
  return {
    ok: false,
    kind: FAULTS[field(info, 9, 3)] ?? "translation",
    fsc: field(info, 0, 6),
    level: field(info, 12, 3) - 1,
    stage2: field(info, 6, 1) === 1,
    s1ptw: field(info, 7, 1) === 1,
    ipa,
    par,
    exception: target === 0 ? undefined : { el: target as 1 | 2, esr, far, hpfar },
    updates,
  };
}
