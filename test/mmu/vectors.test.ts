// What an independent MMU answered: 165 sets, 56,318 answers, and every word that it changed.

import { describe, expect, it } from "vitest";
import { compareSet, optionsOf, type SetAnswer } from "../../bindings/conform/translations.js";
import { createMmu } from "../../bindings/mmu/index.js";
import { FAMILIES, recordedSets } from "./sets.js";

const EXPECTED: Readonly<Record<(typeof FAMILIES)[number], readonly [sets: number, answers: number, words: number]>> = {
  hyp: [55, 19_991, 211],
  "s2-4K": [55, 21_516, 239],
  "s2-16K": [30, 8835, 79],
  "s2-64K": [25, 5976, 50],
};

const totals = { sets: 0, answers: 0, matched: 0, ignored: 0, words: 0 };

describe.each(FAMILIES)("recorded translations, %s [HWM-1, HWM-11, HWM-13, HWM-20..25]", (family) => {
  it("are ours, and leave the tables as ours do", () => {
    const seen = [0, 0, 0];
    for (const { set, manifest, image, answers, words } of recordedSets(family)) {
      using mmu = createMmu(optionsOf(manifest, image));
      const result = compareSet(mmu, manifest, image, answers, words);
      expect(result.differing.slice(0, 5), set).toEqual([]);
      expect([result.matched, result.words], set).toEqual([
        answers.length,
        { expected: words.length, matched: words.length },
      ]);
      expect(result.strayWords, set).toEqual([]);
      seen[0] = (seen[0] ?? 0) + 1;
      seen[1] = (seen[1] ?? 0) + answers.length;
      seen[2] = (seen[2] ?? 0) + words.length;
      totals.sets++;
      totals.answers += answers.length;
      totals.matched += result.matched;
      totals.ignored += result.ignored;
      totals.words += words.length;
    }
    expect(seen).toEqual(EXPECTED[family]);
  });
});

describe("the recorded sets", () => {
  it("are all there", () => {
    expect(totals).toEqual({ sets: 165, answers: 56_318, matched: 56_318, ignored: 65, words: 579 });
  });

  it("would show a difference", () => {
    const [first] = recordedSets("s2-64K");
    if (first === undefined) throw new Error("no set");
    const { manifest, image, answers, words } = first;
    using mmu = createMmu(optionsOf(manifest, image));
    const wrong = answers.map((answer): SetAnswer => ({ ...answer, ok: !answer.ok }));
    expect(compareSet(mmu, manifest, image, wrong, words).matched).toBe(0);
  });
});
