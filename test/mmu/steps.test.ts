// The way of a walk, step by step: what the recorded sets and hand-made guests say about each descriptor on it.

import { describe, expect, it } from "vitest";
import { ask, optionsOf } from "../../bindings/conform/translations.js";
import * as K from "../../bindings/core/constants.generated.js";
import { createMmu, type Mmu, type WalkStep } from "../../bindings/mmu/index.js";
import { FAMILIES, recordedSets } from "./sets.js";
import * as W from "./world.js";
import { World, wordOf } from "./world.js";

const VA = 0x12_3456_7000n;
const IPA = 0x8000_0000n;
const PA = 0x9_0000_0000n;

function world(leaf1 = 0n, leaf2 = 0n): World {
  const made = new World();
  made.map1(VA, IPA, W.S1_LEAF | leaf1);
  made.map2(IPA, PA, W.S2_LEAF | leaf2);
  return made;
}

/** `1:3 page` and the like, one a step. */
const outline = (steps: readonly WalkStep[]) => steps.map(({ stage, level, kind }) => `${stage}:${level} ${kind}`);

const S2_WALK = ["2:1 table", "2:2 table", "2:3 page"];

describe("a nested walk", () => {
  it("reads each table of stage 1 through stage 2 [HWM-10]", () => {
    using mmu = world().mmu();
    const { steps, result } = mmu.explainWalk(VA + 0x123n, "w");
    expect(result).toMatchObject({ ok: true, pa: PA + 0x123n });
    expect(outline(steps)).toEqual([
      ...S2_WALK,
      "1:1 table",
      ...S2_WALK,
      "1:2 table",
      ...S2_WALK,
      "1:3 page",
      ...S2_WALK,
    ]);
    expect(steps.map(({ access }) => access).join("")).toBe(`${"rrrw".repeat(3)}www`);
  });

  it("names each descriptor by both of its addresses, and leads from one to the next", () => {
    const made = world();
    using mmu = made.mmu();
    const { steps } = mmu.explainWalk(VA);
    for (const { pa, descriptor } of steps) expect(descriptor).toBe(made.word(pa as bigint));
    const [first, second, third] = steps.filter(({ stage }) => stage === 1);
    expect([first?.address, second?.address, third?.address]).toEqual([1, 2, 3].map((l) => made.entry1(VA, l)));
    expect([first?.output, second?.output]).toEqual([second, third].map((s) => (s?.address as bigint) & ~0xfffn));
    expect(third).toMatchObject({ input: VA, output: IPA, pa: World.physical(made.entry1(VA)) });
    // Stage 2 before a descriptor of stage 1 is asked for its address.
    expect(steps[0]).toMatchObject({ stage: 2, input: first?.address, address: made.entry2(first?.address ?? 0n, 1) });
    expect(steps.at(-1)).toMatchObject({ stage: 2, input: IPA, output: PA });
  });

  it("shows what hardware wrote, and that stage 2 let it [HWM-20, HWM-26]", () => {
    const made = world(-W.AF, 0n);
    const at = made.entry1(VA);
    made.set(World.physical(at), (IPA | W.S1_LEAF | W.DBM | W.AP_RO | 3n) & ~W.AF);
    using mmu = made.mmu({ tcr: W.TCR.T39 | W.TCR.HA | W.TCR.HD });
    const { steps, result } = mmu.explainWalk(VA, "w");
    expect(result).toMatchObject({ ok: true, updates: 1 });
    const leaf = steps.find(({ stage, level }) => stage === 1 && level === 3);
    expect(leaf?.descriptor).toBe((IPA | W.S1_LEAF | W.DBM | W.AP_RO | 3n) & ~W.AF);
    expect(leaf?.written).toBe(IPA | W.S1_LEAF | W.DBM | 3n);
    expect(wordOf(mmu, World.physical(at))).toBe(leaf?.written);
    const asked = steps.filter(({ input, access }) => input === at && access === "w");
    expect(outline(asked)).toEqual(S2_WALK);
    expect(steps.filter(({ written }) => written !== undefined)).toHaveLength(1);
  });

  it("ends where stage 2 refuses a table, whose descriptor nobody read", () => {
    const made = world();
    const at = made.entry1(VA, 2);
    made.set(made.entry2(at), 0n);
    using mmu = made.mmu();
    const { steps, result } = mmu.explainWalk(VA);
    expect(result).toMatchObject({ ok: false, s1ptw: true, ipa: at });
    expect(outline(steps).slice(-4)).toEqual(["2:1 table", "2:2 table", "2:3 invalid", "1:2 unreadable"]);
    expect(steps.at(-1)).toMatchObject({ address: at, pa: undefined, descriptor: undefined, output: undefined });
    expect(steps.at(-2)).toMatchObject({ descriptor: 0n, output: undefined });
  });

  it("ends where no memory is, and at a type that a level does not have", () => {
    const outside = world();
    outside.set(outside.entry2(IPA, 2), 0x7_0000_0003n);
    using mmu = outside.mmu();
    const last = mmu.explainWalk(VA).steps.at(-1);
    expect(last).toMatchObject({ stage: 2, level: 3, kind: "unreadable", address: 0x7_0000_0000n, pa: undefined });
    const reserved = world();
    reserved.set(reserved.entry2(IPA), PA | W.S2_LEAF | 1n);
    using other = reserved.mmu();
    expect(other.explainWalk(VA).steps.at(-1)).toMatchObject({ kind: "reserved", level: 3, output: undefined });
  });

  it("gives a block's address without the bits below it", () => {
    const made = new World();
    made.map1(VA, IPA, W.S1_LEAF);
    made.map2(IPA & ~0x1f_ffffn, PA | (1n << 16n), W.S2_LEAF, 2); // nT
    using mmu = made.mmu();
    expect(mmu.explainWalk(VA).steps.at(-1)).toMatchObject({ kind: "block", output: PA });
  });
});

describe("without a walk", () => {
  it("there are no steps", () => {
    using off = createMmu({ image: new Uint8Array(8) });
    expect(off.explainWalk(0x1234n)).toMatchObject({ steps: [], result: { ok: true, pa: 0x1234n } });
    using mmu = world().mmu();
    expect(mmu.explainWalk(1n << 60n)).toMatchObject({ steps: [], result: { ok: false, level: 0 } });
  });

  it("what is no access or address is refused, and a closed MMU", () => {
    const mmu = world().mmu();
    expect(() => mmu.explainWalk(-1)).toThrow(/EINVAL/);
    expect(() => mmu.explainWalk(0, "q" as "r")).toThrow(/EINVAL/);
    mmu.close();
    expect(() => mmu.explainWalk(0)).toThrow(/closed/);
  });
});

/** Does the way lead from the start table to the answer that `translate` gives? */
function expectConsistent(explained: Mmu, plain: Mmu, addr: bigint, access: "r" | "w" | "x", el0: boolean): void {
  const { steps, result } = explained.explainWalk(addr, access, { el0, at: true });
  expect(result).toEqual(plain.translate(addr, access, { el0, at: true }));
  steps.forEach((step, i) => {
    if (i > 0) expect(step.level).toBe((steps[i - 1] as WalkStep).level + 1);
    if (i > 0) expect((step.address as bigint) - (steps[i - 1]?.output as bigint)).toBeLessThan(BigInt(step.granule));
  });
  const last = steps.at(-1);
  if (!result.ok) expect(result.level).toBe(last === undefined || result.level === 0 ? result.level : last.level);
  else if (last) expect(result.pa - (last.output as bigint)).toBeLessThan(result.size);
}

describe.each(FAMILIES)("the recorded tables of %s", (family) => {
  it("have ways that lead to their answers", () => {
    for (const { manifest, image, answers } of [...recordedSets(family)].filter((_, i) => i % 5 === 0)) {
      using explained = createMmu(optionsOf(manifest, image));
      using plain = createMmu(optionsOf(manifest, image));
      for (const { addr, access } of answers.slice(0, 150)) {
        const kind = access.charAt(0).toLowerCase() as "r";
        expectConsistent(explained, plain, BigInt(addr), kind, access.endsWith("0") && manifest.stage === "stage2");
      }
      const [first] = answers;
      if (first) expect(ask(explained, manifest, first)).toEqual(ask(plain, manifest, first));
    }
  });
});

describe("mmuExplain", () => {
  it("writes into the room that it is given and nowhere else", () => {
    using mmu = world().mmu();
    const { memory, core, context, out, space } = mmu;
    const room = space.take(4096);
    const bytes = new Uint8Array(memory.buffer, room, 4096).fill(0xa5);
    const va = [Number(VA & 0xffff_ffffn), Number(VA >> 32n)] as const;
    expect(core.mmuExplain(context, ...va, 0, out, room, 3 * K.STEP_BYTES + 8)).toBe(0);
    const end = bytes.findLastIndex((byte) => byte !== 0xa5);
    expect(end).toBe(3 * K.STEP_BYTES - 1);
  });

  it("refuses room that cannot be, or that is the context's or the answer's", () => {
    using mmu = world().mmu();
    const { memory, core, context, out } = mmu;
    const end = memory.buffer.byteLength;
    for (const room of [4, end, end - 8, context, context + 64, out, 0xffff_fff8])
      expect(core.mmuExplain(context, 0, 0, 0, out, room, 4096), String(room)).toBe(K.EINVAL);
    expect(core.mmuExplain(context, 0, 0, 0, out, end - 48, 48)).toBeGreaterThanOrEqual(0);
  });

  it("leaves no pointer behind: what the host scribbles there, later translations do not write to", () => {
    using mmu = world().mmu();
    mmu.explainWalk(VA);
    const room = mmu.space.take(4096);
    const bytes = new Uint8Array(mmu.memory.buffer, room, 4096).fill(0xa5);
    const words = new Uint32Array(mmu.memory.buffer, mmu.context, K.CONTEXT_BYTES / 4);
    const at = 43; // Context.steps and its end
    words[at] = room;
    words[at + 1] = room + 4096;
    mmu.translate(VA);
    expect(bytes.every((byte) => byte === 0xa5)).toBe(true);
  });
});
