// The raw tables of a dump as an image that an MMU can walk. They lie anywhere in a machine's memory, so they are moved side by side;
// what a walk then finds is told with the places and descriptors that it had.

import type { SetManifest } from "../../conform/translations.js";
import * as K from "../../core/constants.generated.js";
import { decodeAddress, isTable } from "../../core/descriptor.js";
import type { WalkExplanation, WalkStep } from "../../mmu/index.js";
import { pa } from "../../model/address.js";
import { type Granule, granuleShift } from "../../model/granule.js";
import type { S2RawDump } from "../../trace/s2raw.js";

/** Where the moved tables begin: aligned for start tables of any size. */
const BASE = 1 << 30;
const TABLE = 3n;
/** MemAttr of Normal write-back memory without FEAT_S2FWB; with it, this is reserved [FMT-32]. */
const WRITE_BACK = 0xfn;
const MEM_ATTR_SHIFT = 2n;

/** Was the dump made with forced write-back? No register in it tells, but what its leaves hold does. */
export function isForcedWriteBack(dump: S2RawDump): boolean {
  for (const { descriptor } of dump.leaves())
    if (descriptor & K.VALID && ((descriptor >> MEM_ATTR_SHIFT) & WRITE_BACK) === WRITE_BACK) return false;
  return true;
}

/** A dump's tables, moved. */
export class MovedTables {
  readonly manifest: SetManifest;
  readonly image: Uint8Array;
  /** Table by table: where it is now, where it was. */
  readonly #places: (readonly [now: number, was: number])[] = [];
  readonly #descriptors = new Map<number, bigint>();

  constructor(dump: S2RawDump) {
    const { granule } = dump.geometry;
    const now = new Map<number, number>();
    let end = BASE;
    for (const { pa: was, entries } of dump.tables) {
      now.set(was, end);
      this.#places.push([end, was]);
      end += Math.ceil((entries * K.ENTRY_BYTES) / granule) * granule;
    }
    this.image = new Uint8Array(end - BASE);
    this.#fill(dump, now);
    const hex = (n: bigint | number) => `0x${n.toString(16)}`;
    this.manifest = {
      stage: "stage2",
      phys_base: hex(BASE),
      vtcr: hex(dump.registers.get("VTCR_EL2") ?? 0n),
      vttbr: hex(BASE),
      fwb: isForcedWriteBack(dump),
    };
  }

  #fill({ tables, geometry }: S2RawDump, now: ReadonlyMap<number, number>): void {
    const words = new BigUint64Array(this.image.buffer),
      ps = granuleShift(geometry.granule as Granule);
    for (const { level, pa: was, indices, descriptors } of tables) {
      const first = now.get(was) as number;
      for (const [i, index] of indices.entries()) {
        const descriptor = descriptors[i] as bigint,
          at = first + index * K.ENTRY_BYTES;
        const below = isTable(descriptor, level)
          ? now.get(Number(decodeAddress(ps, geometry.ds, descriptor)))
          : undefined;
        words[(at - BASE) / K.ENTRY_BYTES] = below === undefined ? descriptor : BigInt(below) | TABLE;
        if (below !== undefined) this.#descriptors.set(at, descriptor);
      }
    }
  }

  /** A walk of the moved tables, as one of the tables where they were. */
  asItWas({ steps, result }: WalkExplanation): WalkExplanation {
    return { steps: steps.map((step) => this.#stepAsItWas(step)), result };
  }

  #stepAsItWas(step: WalkStep): WalkStep {
    const at = Number(step.address);
    const [now, was] = this.#places.findLast(([begins]) => begins <= at) ?? [0, 0];
    const descriptor = this.#descriptors.get(at) ?? step.descriptor;
    return { ...step, address: pa(was + at - now), descriptor };
  }
}
