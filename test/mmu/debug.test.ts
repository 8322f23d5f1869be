// The debug build of the walker gives the same answers as the release build, and breaks no precondition.

import { describe, expect, it } from "vitest";
import { optionsOf } from "../../bindings/conform/translations.js";
import * as K from "../../bindings/core/constants.generated.js";
import { createMmu, createTlb } from "../../bindings/mmu/index.js";
import { Random, SEED } from "../support/random.js";
import { debugMmu } from "./debug.js";
import { FAMILIES, recordedSets } from "./sets.js";

const RECORD = K.RESULT_BYTES / 8;
/** Sets of a family, and questions of a set: all of them are asked of the release build elsewhere. */
const SETS = 6;
const QUESTIONS = 100;

describe("the debug build", () => {
  it.each(FAMILIES)("answers as the release build does, alone and through a TLB, %s", (family) => {
    const random = new Random(SEED);
    let asked = 0;
    for (const { set, manifest, image, answers } of [...recordedSets(family)].slice(0, SETS)) {
      const [first, second] = [0, 1].map(() => createMmu(optionsOf(manifest, image)));
      if (first === undefined || second === undefined) throw new Error("no MMU");
      const debug = debugMmu(second.memory);
      const [tlb, twin] = [first, second].map((mmu) => createTlb(mmu, { seed: 5, adversarial: true }));
      if (tlb === undefined || twin === undefined) throw new Error("no TLB");
      const [out, other] = [first, second].map((mmu) => new BigUint64Array(mmu.memory.buffer, mmu.out, RECORD));
      expect(debug.mmuConfigure(second.context)).toBe(0);
      for (const { addr } of answers.slice(0, QUESTIONS)) {
        const [lo, hi] = [Number(BigInt(addr) & 0xffff_ffffn), Number(BigInt(addr) >> 32n)];
        const access = random.below(3);
        const form = random.pick([K.TLBI_STAGE1, K.TLBI_ALL, K.TLBI_VAA, K.TLBI_IPA | K.TLBI_LAST]);
        const statuses = [[first.core, first, tlb] as const, [debug, second, twin] as const].map(
          ([core, { context, out: record }, { pointer }]) => [
            core.mmuTranslate(context, lo, hi, access, record),
            core.mmuAccess(context, pointer, lo, hi, access, record),
            core.mmuTlbi(pointer, 0, form, lo >>> 12, 0, 0),
            core.mmuDsb(pointer, 0, 2),
          ],
        );
        expect(statuses[1], `${set} ${addr}`).toEqual(statuses[0]);
        expect(other, `${set} ${addr}`).toEqual(out);
        asked++;
      }
      expect(twin.stats()).toEqual(tlb.stats());
    }
    expect(asked).toBeGreaterThan(SETS * 10);
  });
});
