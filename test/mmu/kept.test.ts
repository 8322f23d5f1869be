// Random accesses, TLBIs and registers of one CPU: each answer is that of a walk by itself, as long as the tables stay, and all
// that a TLB did on the way is as before. kept.txt has a line for each shape and seed: what was counted, and a sum over all
// answers, counters and entries. `npx vitest run test/mmu/kept.test.ts --update` writes it anew, and its difference is to be read.

import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import {
  type AccessKind,
  type AccessOptions,
  createTlb,
  type Mmu,
  TLB_PRESETS,
  type TlbiForm,
  type TlbOptions,
  type TlbPreset,
} from "../../bindings/mmu/index.js";
import { Random } from "../support/random.js";
import * as W from "./world.js";
import { World } from "./world.js";

const IPA = 0x8000_0000n;
const PA = 0x9_0000_0000n;
const HIGH = 0xffff_ff80_0000_0000n;
/** Of a table that has no other page. */
const UNREAD = 0x40_0000n;
const PAGES = 40;
const STEPS = 24;
const COLUMN = 16;
const FORMS: readonly TlbiForm[] = [
  "VMALLE1IS",
  "VAE1",
  "VALE1IS",
  "VAAE1",
  "ASIDE1",
  "IPAS2E1IS",
  "VMALLS12E1",
  "RVAE1",
];
const WHO: readonly AccessOptions[] = [{}, {}, { el0: true }, { pan: true }, { at: true }];

const bank = (replacement: "lru" | "plru" | "fifo" | "random") => ({ entries: 8, ways: 4, replacement });
const SHAPES: Readonly<Record<string, TlbOptions>> = {
  ...Object.fromEntries((Object.keys(TLB_PRESETS) as TlbPreset[]).map((preset) => [preset, { preset }])),
  ...Object.fromEntries(
    (["lru", "plru", "fifo", "random"] as const).map((policy) => {
      const shape = { data: bank(policy), second: { entries: 16, ways: 2 }, stage2: bank(policy), walk: bank(policy) };
      return [policy, { shape }];
    }),
  ),
};

/** A guest with pages of every kind, blocks, both halves, and holes between them. */
function guest(random: Random): World {
  const made = new World();
  const flags = (all: readonly bigint[]) => all.reduce((sum, flag) => (random.oneIn(3) ? sum | flag : sum), 0n);
  for (let i = 0; i < 60; i++) {
    const va = (BigInt(i % PAGES) << 12n) | (random.oneIn(4) ? HIGH : 0n);
    const leaf = W.S1_LEAF | flags([W.NG, W.AP_RO, W.AP_EL0, W.XN, W.PXN, 1n << 2n]);
    made.map1(va, IPA + (BigInt(random.below(PAGES)) << 12n), random.oneIn(12) ? leaf & ~W.AF : leaf);
    const second = random.oneIn(3) ? W.S2_LEAF & ~W.S2_W : W.S2_LEAF;
    made.map2(IPA + (BigInt(i % PAGES) << 12n), PA + BigInt(i << 12), second | flags([W.XN, 1n << 53n]));
  }
  // A table of the guest that stage 2 cannot read yet; and memory at 0, where a walk that has lost its way would look.
  made.map1(UNREAD, IPA, W.S1_LEAF);
  const unread = made.entry2(made.entry1(UNREAD) & ~0xfffn);
  made.set(unread, made.word(unread) & ~W.AF);
  made.map2(0n, PA + 0x10_0000n, W.S2_LEAF);
  made.map2(IPA + 0x20_0000n, PA, W.S2_LEAF, 2);
  made.map1(0x20_0000n, IPA + 0x20_0000n, W.S1_LEAF, 2);
  return made;
}

const text = (value: unknown): string => JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}` : v));

/** Sixteen accesses as a column, without and with the TLB, and some of them one by one: all say the same. */
function look(
  mmu: Mmu,
  tlb: ReturnType<typeof createTlb>,
  random: Random,
  columns: ReturnType<Mmu["createColumns"]>,
  base: bigint,
): unknown {
  const [kind, who] = [random.pick<AccessKind>(["r", "w", "x"]), random.pick(WHO)];
  const address = (): bigint =>
    base |
    (BigInt(random.below(random.oneIn(6) ? 1024 : PAGES)) << 12n) |
    BigInt(random.below(4096)) |
    (random.oneIn(8) ? HIGH : 0n) |
    (random.oneIn(40) ? 1n << 45n : 0n) |
    (random.oneIn(12) ? UNREAD : 0n) |
    (random.oneIn(10) ? BigInt(random.below(256)) << 56n : 0n);
  for (let i = 0; i < COLUMN; i++) columns.addresses[i] = address();
  const rows = () => [...columns.rows.subarray(0, 2 * COLUMN)];
  const kept = [tlb.accessMany(columns, COLUMN, kind, who), ...rows()];
  expect([mmu.translateMany(columns, COLUMN, kind, who), ...rows()]).toEqual(kept);
  const singles = [0, 1, 2].map((i) => {
    const answer = mmu.translate(columns.addresses[i] as bigint, kind, who);
    expect(tlb.access(columns.addresses[i] as bigint, kind, who)).toEqual(answer);
    expect(answer.ok ? answer.pa : 0n).toBe(columns.rows[2 * i]);
    return answer;
  });
  return [kept, singles];
}

/** A line about one TLB on one stream. */
function kept(name: string, options: TlbOptions, seed: number): string {
  const random = new Random(seed);
  const made = guest(random);
  const ignoring = { tcr: W.TCR.T39 | W.TCR.TBI0 | W.TCR.TBI1 };
  const registers = [{}, ignoring, { sctlr: 0n }, { hcr: W.HCR.VM | W.HCR.PTW | W.HCR.FWB }][seed % 4] as object;
  const base = seed % 4 === 2 ? IPA : 0n; // stage 1 is off: what is accessed are IPAs
  using mmu = made.mmu(registers);
  using tlb = createTlb(mmu, { ...options, seed: seed + 1 });
  using columns = mmu.createColumns(COLUMN);
  const said: unknown[] = [];
  for (let step = 0; step < STEPS; step++) {
    const operand = BigInt(random.below(PAGES)) | (random.oneIn(2) ? 1n << 46n : 0n);
    const half = random.oneIn(4) ? (HIGH >> 12n) & ((1n << 44n) - 1n) : 0n;
    if (random.oneIn(3)) tlb.invalidate(random.pick(FORMS), operand | half);
    if (random.oneIn(5)) tlb.dsb("ish");
    const asid = BigInt(random.below(3)) << 48n;
    if (random.oneIn(3))
      mmu.setRegisters({ ttbr0: made.s1Root | asid, vttbr: made.s2Root | (BigInt(random.below(3)) << 48n) });
    said.push(look(mmu, tlb, random, columns, base));
  }
  const stats = tlb.stats();
  const sum = createHash("sha256")
    .update(text([said, stats, tlb.entries()]))
    .digest("hex")
    .slice(0, 8);
  const { rdHits, wrHits, instHits, rdMisses, wrMisses, instMisses } = stats;
  return `${name} ${seed}: ${rdHits + wrHits + instHits} hits, ${rdMisses + wrMisses + instMisses} misses (${sum})`;
}

it("answers are those of walks, and all that a TLB counts and holds is as before [HWM-30, HWM-42]", async () => {
  const lines: string[] = [];
  for (const [name, options] of Object.entries(SHAPES)) {
    for (let seed = 0; seed < 4; seed++) {
      lines.push(kept(name, options, seed), kept(`${name}, adversarial`, { ...options, adversarial: true }, seed));
    }
  }
  await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot("kept.txt");
});
