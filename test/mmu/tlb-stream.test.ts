// No CPU uses a translation after the operation that removed it has returned, whatever its TLB may keep [PROP-3..5, HWM-30..42,
// TLB-1..4, TLB-20..30]. And the adversary would show it: without one TLBI or DSB of the stream it does.

import { describe, expect, it } from "vitest";
import type { TlbMessage } from "../../dist/bindings/mmu/index.js";
import { Random, runs, SEED } from "../support/random.js";
import type { Mutation } from "./cpus.js";
import { Stream, type StreamOptions } from "./stream.js";

function violation(seed: number, options: StreamOptions): string | undefined {
  const stream = new Stream(new Random(seed), seed, options);
  try {
    const wrong = stream.run(options.operations ?? 12);
    for (const stats of stream.stats) {
      const valid = Object.values(stats.banks).reduce((n, bank) => n + bank.valid, 0);
      const { inserts, evicted, flushedEntries, dropped } = stats;
      if (inserts !== valid + evicted + flushedEntries + dropped) return "entries are not conserved";
    }
    return wrong && `seed ${seed} (GRANULE_SEED=${seed}): ${wrong}`;
  } finally {
    stream.close();
  }
}

describe("translations that were removed", () => {
  it.each([
    [true, "neoverse-n1"],
    [true, "tiny"],
    [false, "neoverse-n1"],
    [false, "tiny"],
  ] as const)("are used by no CPU: adversarial %s, %s [PROP-3, PROP-4, PROP-5]", (adversarial, preset) => {
    const n = runs(40);
    const wrong = Array.from({ length: n }, (_, i) => violation(SEED + i, { adversarial, preset }));
    expect(wrong.filter((text) => text !== undefined)).toEqual([]);
  });
});

const isForm = (message: TlbMessage, pattern: RegExp) => "form" in message && pattern.test(message.form);

/** What a broken hypervisor would leave out or get wrong. */
const BROKEN: Readonly<Record<string, Mutation>> = {
  "no TLBI by address [TLB-1]": (m) => (isForm(m, /^R?IPAS2E1IS$/) ? [] : [m]),
  "no stage-1 TLBI behind it [TLB-1, HWM-38]": (m) => (isForm(m, /^VMALLE1/) ? [] : [m]),
  "no TLBI of the VMID [TLB-4, TLB-11]": (m) => (isForm(m, /^VMALLS12E1IS$/) ? [] : [m]),
  "no DSB [HWM-41]": (m) => ("dsb" in m ? [] : [m]),
  "only the DSB of this CPU [HWM-41]": (m) => ("dsb" in m ? [{ dsb: "nsh" }] : [m]),
  "a TLBI that only this CPU hears": (m) => ("form" in m ? [{ ...m, form: m.form.replace("IS", "") as "VAE1" }] : [m]),
  "the wrong level in the hint [TLB-6, HWM-39]": (m) =>
    "form" in m && isForm(m, /^IPAS2E1IS$/) ? [{ ...m, operand: (m.operand & ~(15n << 44n)) | (5n << 44n) }] : [m],
  "a level where a table was removed [TLB-6, BUG-26]": (m) =>
    "form" in m && isForm(m, /^R?IPAS2E1IS$/) ? [{ ...m, form: m.form.replace("S2E1", "S2LE1") as "IPAS2LE1IS" }] : [m],
  "half of the range [TLB-9]": (m) =>
    "form" in m && isForm(m, /^RIPAS2E1IS$/) ? [{ ...m, operand: m.operand & ~(31n << 39n) }] : [m],
  "the wrong address [BUG-28]": (m) =>
    "form" in m && isForm(m, /^R?IPAS2E1IS$/) ? [{ ...m, operand: m.operand ^ (1n << 20n) }] : [m],
};

describe("the adversary", () => {
  it.each(Object.keys(BROKEN))("shows %s", (name) => {
    const mutation = BROKEN[name] as Mutation;
    const most = 60;
    let found: string | undefined;
    let tried = 0;
    for (; tried < most && found === undefined; tried++) {
      found = violation(SEED + tried, { adversarial: true, preset: "neoverse-n1", mutation, operations: 20 });
    }
    console.log(`${name}: after ${tried} seeds, ${found}`);
    expect(found).toBeDefined();
  });

  it("does the same again for the same seed", () => {
    const mutation = BROKEN["no DSB [HWM-41]"] as Mutation;
    const once = () => violation(SEED, { adversarial: true, preset: "tiny", mutation, operations: 20 });
    expect(once()).toBe(once());
  });
});
