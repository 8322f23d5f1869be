// The mappings of a table as runs: what a list shows, and what two sources can be compared by.

import * as K from "../core/constants.generated.js";
import { decodeAddress, linearBits, packedField } from "../core/descriptor.js";
import { fieldOf, maskOf } from "../core/field.js";
import { shift as levelShift } from "../core/granule.js";
import { type Granule, granuleShift } from "../model/granule.js";

/** Leaves side by side that differ in their addresses alone. */
export interface LeafRun {
  /** First input address. */
  start: bigint;
  /** First input address behind the run. */
  end: bigint;
  /** Level of its leaves, -1 to 3. */
  level: number;
  /** Output address of the first leaf; undefined where the source does not tell. */
  pa: bigint | undefined;
  /** The descriptor of each leaf without address, type and valid bit; what the source does not tell is 0. */
  attributes: bigint;
}

/** The mappings of a table, from whatever source, in order of address. */
export interface LeafTable {
  /** A guest's stage 2, or EL2's own stage 1. */
  stage: "2" | "hyp";
  /** Bytes of a page; undefined where the source does not tell. */
  granule: Granule | undefined;
  /** EL2 with separate execute rights of EL2 and EL0. */
  hvhe: boolean;
  /** The bits of `attributes` that the source tells. */
  known: bigint;
  /** The mappings, in order of address. */
  runs: LeafRun[];
}

/** How the descriptors of a table are to be read. */
export interface LeafFormat {
  /** A guest's stage 2, or EL2's own stage 1. */
  stage: "2" | "hyp";
  /** Page size in bytes. */
  granule: Granule;
  /** 52-bit descriptors of 4K and 16K pages. Default false. */
  lpa2?: boolean;
  /** EL2 with separate execute rights of EL2 and EL0. Default false. */
  hvhe?: boolean;
}

/** A valid leaf, wherever it was read. */
export interface Leaf {
  /** First input address. */
  address: bigint;
  /** Its level, -1 to 3. */
  level: number;
  /** Its 64 bits. */
  descriptor: bigint;
}

const TYPE_BITS = K.VALID | K.TYPE;

/** The bits of an output address in a leaf of that size. */
function addressBits(ps: number, lpa2: boolean, shift: number): bigint {
  const packed = packedField(ps, lpa2),
    bits = linearBits(packed);
  const linear = shift < bits ? maskOf(fieldOf(bits - 1, shift)) : 0n;
  return packed === 0 ? linear : linear | maskOf(packed);
}

/**
 * The mappings that leaves make, in order of address, neighbours with equal attributes and consecutive addresses as one run.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { leafTable } from "granule/report";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * table.map(0x4000_0000, 4 << 20, 0x8000_0000, "rw");
 * const { runs } = leafTable(table.leaves(), { stage: "2", granule: 4096 });
 * console.log(runs.length, runs[0]?.end === 0x4040_0000n); // 1 true
 * ```
 */
export function leafTable(leaves: Iterable<Leaf>, format: LeafFormat): LeafTable {
  const { stage, granule, lpa2 = false, hvhe = false } = format;
  const ps = granuleShift(granule);
  const packed = packedField(ps, lpa2);
  const runs: LeafRun[] = [];
  let last: LeafRun | undefined;
  for (const { address, level, descriptor } of leaves) {
    const shift = levelShift(ps, level),
      end = address + (1n << BigInt(shift));
    const attributes = descriptor & ~(TYPE_BITS | addressBits(ps, lpa2, shift));
    const pa = (decodeAddress(ps, lpa2, descriptor) >> BigInt(shift)) << BigInt(shift);
    const continues =
      last !== undefined &&
      last.end === address &&
      last.level === level &&
      last.attributes === attributes &&
      (last.pa as bigint) + (last.end - last.start) === pa;
    if (last && continues) last.end = end;
    else {
      last = { start: address, end, level, pa, attributes };
      runs.push(last);
    }
  }
  return { stage, granule, hvhe, known: ~(TYPE_BITS | (packed === 0 ? 0n : maskOf(packed))), runs };
}
