import * as K from "../core/constants.generated.js";
import { outputOf } from "../core/descriptor.js";
import { getIn, halvesOf, widened } from "../core/field.js";
import { shift, span } from "../core/granule.js";
import type { AddressLike, Ipa, Pa, Va } from "../model/address.js";
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
  const halves = halvesOf(descriptor);
  return kindOfHalves(format, halves[0] as number, halves[1] as number, level);
}

const VALID = Number(K.VALID);
const TABLE = Number(K.TABLE);
const LOCKED = Number(K.LOCKED_612);

function kindOfHalves(format: Format, low: number, high: number, level: number): EntryKind {
  if (low & VALID) {
    const typed = (low & TABLE) === TABLE;
    if (level !== K.LAST_LEVEL) return typed ? "table" : "block";
    return typed ? "page" : "reserved";
  }
  if (low === 0 && high === 0) return "hole";
  const locked = format.flags & K.T_TYPED ? getIn(low, high, K.ANNOTATION_TYPE) === K.TYPE_LOCKED : low & LOCKED;
  return locked ? "locked" : "annotation";
}

/** The first address that the entry of `level` for `addr` covers. */
export function entryStart(addr: AddressLike, ps: number, level: number): bigint {
  if (typeof addr === "bigint") return addr & -span(ps, level);
  const size = 2 ** shift(ps, level);
  return widened(Math.floor(addr / size) * size);
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
  const { ps, flags } = format;
  const halves = halvesOf(descriptor);
  const low = halves[0] as number;
  const high = halves[1] as number;
  const kind = kindOfHalves(format, low, high, level);
  const mapped = (low & VALID) !== 0;
  return {
    address,
    shift: shift(ps, level),
    level,
    kind,
    descriptor,
    pa: (mapped ? widened(outputOf(ps, (flags & K.T_LPA2) !== 0, low, high)) : 0n) as Pa,
    prot: mapped && kind !== "table" ? engine.core.protectionOf(descriptor, flags, 1) >>> 0 : 0,
    references,
    count,
  };
}
