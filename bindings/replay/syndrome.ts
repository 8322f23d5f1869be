/*
 * ESR_EL2 of a stage-2 abort:
 *
 *   31   26 25 24  23      10  9   8     7     6   5     0
 *  +-------+--+---+----------+--+--+-------+-----+-------+
 *  |  EC   |IL|ISV|    ...   |EA|CM| S1PTW | WnR |  FSC  |
 *  +-------+--+---+----------+--+--+-------+-----+-------+
 */

import * as K from "../core/constants.generated.js";
import { get, maskOf } from "../core/field.js";

/** What kind of stage-2 fault a status code says. */
export type FaultKind = "translation" | "access flag" | "permission" | "other";

/** A fault's syndrome, decoded [FLT-2, FLT-20]. */
export interface Syndrome {
  readonly kind: FaultKind;
  /** Level of the entry where the walk stopped. */
  readonly level: number;
  readonly write: boolean;
  readonly exec: boolean;
  /** The fault was of the guest's own table walk. */
  readonly walk: boolean;
}

function kindOf(fsc: number): FaultKind {
  if (fsc === K.STATUS_TRANSLATION_MINUS_1) return "translation";
  const kind = fsc & ~3;
  if (kind === K.STATUS_TRANSLATION) return "translation";
  if (kind === K.STATUS_ACCESS) return "access flag";
  return kind === K.STATUS_PERMISSION ? "permission" : "other";
}

function decode(esr: bigint): Syndrome {
  const fsc = get(esr, K.ESR_FSC);
  const kind = kindOf(fsc);
  const instruction = get(esr, K.ESR_EC) === K.EC_INSTRUCTION;
  const walk = (esr & K.ESR_S1PTW) !== 0n;
  const level = fsc === K.STATUS_TRANSLATION_MINUS_1 ? -1 : fsc & 3;
  const write = walk ? kind === "permission" : !instruction && (esr & K.ESR_WNR) !== 0n;
  return { kind, level, write, exec: instruction && !walk, walk };
}

/** The fields that are decoded: EC, S1PTW, WnR and FSC. */
const DECODED = Number(maskOf(K.ESR_EC) | K.ESR_S1PTW | K.ESR_WNR | maskOf(K.ESR_FSC));
/** Syndromes by these fields: a trace has a few dozen, and there are 2^14. */
const known = new Map<number, Syndrome>();

/** Decodes ESR_EL2 of a stage-2 abort: 0x93c48047 is a write that found no entry at level 3. */
export function decodeSyndrome(esr: number): Syndrome {
  const fields = (esr & DECODED) >>> 0;
  let syndrome = known.get(fields);
  if (syndrome === undefined) {
    syndrome = decode(BigInt(fields));
    known.set(fields, syndrome);
  }
  return syndrome;
}
