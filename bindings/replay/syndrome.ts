/*
 * ESR_EL2 of a stage-2 abort:
 *
 *   31   26 25 24  23      10  9   8     7     6   5     0
 *  +-------+--+---+----------+--+--+-------+-----+-------+
 *  |  EC   |IL|ISV|    ...   |EA|CM| S1PTW | WnR |  FSC  |
 *  +-------+--+---+----------+--+--+-------+-----+-------+
 */

const EC_SHIFT = 26;
const EC_INSTRUCTION_ABORT = 0x20;
const S1PTW = 1 << 7;
const WNR = 1 << 6;
const FSC = 0x3f;
const TRANSLATION = 0x04;
const ACCESS = 0x08;
const PERMISSION = 0x0c;
/** Translation fault of level -1 (LPA2). */
const TRANSLATION_MINUS_1 = 0x2b;

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
  if (fsc === TRANSLATION_MINUS_1) return "translation";
  const kind = fsc & ~3;
  if (kind === TRANSLATION) return "translation";
  if (kind === ACCESS) return "access flag";
  return kind === PERMISSION ? "permission" : "other";
}

function decode(esr: number): Syndrome {
  const fsc = esr & FSC;
  const kind = kindOf(fsc);
  const instruction = esr >>> EC_SHIFT === EC_INSTRUCTION_ABORT;
  const walk = (esr & S1PTW) !== 0;
  const level = fsc === TRANSLATION_MINUS_1 ? -1 : fsc & 3;
  const write = walk ? kind === "permission" : !instruction && (esr & WNR) !== 0;
  return { kind, level, write, exec: instruction && !walk, walk };
}

/** The fields that are decoded: EC, S1PTW, WnR and FSC. */
const DECODED = 0xfc00_00ff;
/** Syndromes by these fields: a trace has a few dozen, and there are 2^14. */
const known = new Map<number, Syndrome>();

/** Decodes ESR_EL2 of a stage-2 abort: 0x93c48047 is a write that found no entry at level 3. */
export function decodeSyndrome(esr: number): Syndrome {
  const fields = (esr & DECODED) >>> 0;
  let syndrome = known.get(fields);
  if (syndrome === undefined) {
    syndrome = decode(fields);
    known.set(fields, syndrome);
  }
  return syndrome;
}
