// The machine behind the page "How a page-table entry dies".

import { describe, expect, it } from "vitest";
import { Machine, NEW_PA, OLD_PA, type StepKind } from "../../docs/site/entry-dies/machine.js";

/** Plays all steps but those of `skip`, with a read before each; what each read gave. */
function play(...skip: StepKind[]) {
  const machine = new Machine();
  machine.read();
  const reads = machine.steps.map(({ kind }) => {
    machine.next(skip.includes(kind));
    const { pa, stale } = machine.read();
    return { kind, pa, stale };
  });
  const violations = machine.violations.map(({ kind }) => kind);
  machine.close();
  return { reads, violations };
}

describe("how a page-table entry dies", () => {
  it("performs the steps that the engine's journal has", () => {
    const machine = new Machine();
    expect(machine.steps.map(({ kind }) => kind)).toEqual([
      "break",
      "dsb-stores",
      "tlbi-ipa",
      "dsb",
      "tlbi-stage1",
      "dsb",
      "isb",
      "cache",
      "make",
      "dsb-stores",
    ]);
    machine.close();
  });

  it("reads the old page until the second DSB, then faults, then reads the new page", () => {
    const { reads, violations } = play();
    expect(reads.map(({ pa }) => pa)).toEqual([...Array(5).fill(OLD_PA), ...Array(3).fill(undefined), NEW_PA, NEW_PA]);
    expect(reads.map(({ stale }) => stale)).toEqual([...Array(5).fill(true), ...Array(5).fill(false)]);
    expect(violations).toEqual([]);
  });

  it.each(["tlbi-ipa", "tlbi-stage1", "dsb"] as const)("objects when %s is left out", (kind) => {
    expect(play(kind).violations).not.toEqual([]);
  });

  it.each(["tlbi-stage1", "dsb"] as const)("still reads the old page in the end when %s is left out", (kind) => {
    expect(play(kind).reads.at(-1)).toMatchObject({ pa: OLD_PA, stale: true });
  });
});
