import * as K from "../core/constants.generated.js";
import { isTable } from "../core/descriptor.js";
import { get } from "../core/field.js";
import { shift } from "../core/granule.js";
import type { Ipa, Pa, Va } from "../model/address.js";
import type { EngineMemory } from "./memory.js";

/** What an entry is. `reserved` is valid with type 0 at level 3: software calls it a leaf, hardware faults. */
export type EntryKind = "table" | "block" | "page" | "reserved" | "hole" | "annotation" | "locked";

/** One entry of a table, or with `holes` a run of empty ones. `A` is the space of its input addresses. */
export interface Entry<A extends Ipa | Va = Ipa | Va> {
  /** First input address that it covers. */
  address: A;
  /** log2 of the bytes that one entry covers. */
  shift: number;
  /** Its level, -1 to 3. */
  level: number;
  /** What it is. */
  kind: EntryKind;
  /** The 64 bits. */
  descriptor: bigint;
  /** Output address of a leaf or child table, 0n otherwise. */
  pa: Pa;
  /** Protections of a leaf (see `Prot`), memory type included; 0 otherwise. */
  prot: number;
  /** References on the child page of a table; -1 otherwise. */
  references: number;
  /** Consecutive entries that this stands for: 1, except for holes. */
  count: number;
}

/** What decoding needs to know of a table. */
export interface Format {
  ps: number;
  flags: number;
}

/** What a descriptor at `level` is, under the table's encoding of invalid entries. */
export function kindOf(format: Format, descriptor: bigint, level: number): EntryKind {
  if (descriptor & K.VALID) {
    if (isTable(descriptor, level)) return "table";
    if (level !== K.LAST_LEVEL) return "block";
    return descriptor & K.TYPE ? "page" : "reserved";
  }
  if (descriptor === 0n) return "hole";
  const typed = format.flags & K.T_TYPED;
  const locked = typed ? get(descriptor, K.ANNOTATION_TYPE) === K.TYPE_LOCKED : descriptor & K.LOCKED_612;
  return locked ? "locked" : "annotation";
}

/** Decodes one entry. */
export function decodeEntry<A extends Ipa | Va>(
  engine: EngineMemory,
  format: Format,
  address: A,
  descriptor: bigint,
  level: number,
  references = -1,
  count = 1,
): Entry<A> {
  const kind = kindOf(format, descriptor, level);
  const mapped = kind === "table" || kind === "block" || kind === "page" || kind === "reserved";
  const lpa2 = format.flags & K.T_LPA2 ? 1 : 0;
  return {
    address,
    shift: shift(format.ps, level),
    level,
    kind,
    descriptor,
    pa: (mapped ? BigInt.asUintN(64, engine.core.outputAddress(format.ps, lpa2, descriptor)) : 0n) as Pa,
    prot: mapped && kind !== "table" ? engine.core.protectionOf(descriptor, format.flags, 1) >>> 0 : 0,
    references,
    count,
  };
}
