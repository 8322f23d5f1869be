// What the judge says of logs put together at random: registers, TLBIs, barriers, locks and descriptors of two VMs and of EL2,
// by three CPUs. random-logs.txt has the first violation of each, how many there are, and a sum over all that they say. It is
// the judge's word, kept so that no change of it goes unseen: `npx vitest run test/audit/random-logs.test.ts --update` writes
// it anew, and its difference is to be read.

import { expect, it } from "vitest";
import { CASEMATE_OPTIONS, type JudgeOptions } from "../../bindings/audit/index.js";
import { Random } from "../support/random.js";
import {
  at,
  brief,
  flush,
  flushPage,
  hypPrologue,
  judgeLog,
  LOCK,
  logOf,
  prologue,
  put,
  ROOT,
  root,
  sysreg,
  vttbr,
} from "./support.js";

const [L1, L2, L3] = [0x1000, 0x2000, 0x3000];
const LEAF = 0x8_0000_07ffn;
const AF = 0x400n;
const WRITE = 0x80n;
const CONTIGUOUS = 1n << 52n;
const [B, DUMMY, SPARE] = [0x8000, 0x9000, 0x20000];
const CPUS = 3;
const LOGS = 150;
const STEPS = 40;

const OPTIONS: readonly JudgeOptions[] = [
  CASEMATE_OPTIONS,
  { ...CASEMATE_OPTIONS, cpus: CPUS },
  { ...CASEMATE_OPTIONS, bbm: 1 },
  { ...CASEMATE_OPTIONS, bbm: 2, age: true },
  { ...CASEMATE_OPTIONS, cpus: CPUS, exclusive: false, knownPages: false },
];

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** Values of a leaf: two pages, and what may change of one. */
function leaf(random: Random): bigint {
  const page = LEAF + (random.oneIn(3) ? 0x1_0000_0000n : 0n);
  return random.pick([
    page,
    page,
    page - WRITE,
    page - AF,
    page - 0x3cn,
    page | CONTIGUOUS,
    page | (1n << 54n),
    0n,
    0n,
    2n,
    AF,
  ]);
}

function tlbi(random: Random): string {
  const page = random.below(3);
  return random.pick([
    "vmalls12e1is",
    "vmalls12e1",
    "vmalle1is",
    "vmalle1is",
    "vmalle1",
    "alle1is",
    "alle1",
    "alle2is",
    "alle2",
    ...[0n, 7n << 44n, 6n << 44n].flatMap((hint) =>
      ["ipas2e1is", "vae2is", "vale2is"].map((op) => `${op} (value ${hex(hint | BigInt(page))})`),
    ),
  ]);
}

/** What a CPU does next to the VMs: one step, or several that belong together. */
function step(random: Random, t: number): string[] {
  const by = (line: string): string[] => [`t${t} ${line}`];
  const slot = random.pick([L3, L3, L3 + 8, L3 + 16, L2 + 8]);
  return random.pick<() => string[]>([
    () => [put(slot, leaf(random), t)],
    () => [put(slot, leaf(random), t)],
    () => [put(slot, random.pick([0n, 0n, LEAF]), t), ...flushPage((slot & 0xff) / 8, t)],
    () => [put(random.pick([L1, L2]), random.oneIn(2) ? 0 : ROOT + L3 + (random.oneIn(2) ? 3 : -L3 + L2 + 3), t)],
    () => [put(L2 + 8, random.pick([0x8_0000_07fdn, 0n, BigInt(ROOT + SPARE + 3)]), t)],
    () => by(`barrier dsb (kind ${random.pick(["ish", "ish", "ishst", "nsh"])})`),
    () => by("barrier isb"),
    () => by(`tlbi ${tlbi(random)}`),
    () => flush(tlbi(random), t),
    () => by(`${random.pick(["lock", "unlock"])} ${LOCK}`),
    () => vttbr(random.pick([0, B, DUMMY]), 1 + random.below(2), t),
    () => [sysreg("vttbr_el2", (BigInt(1 + random.below(2)) << 48n) | BigInt(ROOT + random.pick([0, B])), t)],
    () => [sysreg("hcr_el2", random.pick([1, 1, 0, 0x4000_0000_0001, 0x8000001]), t)],
    () => [sysreg("vtcr_el2", random.pick([0x10, 0x8002_3590, 0x8022_3590]), t)],
    () => by(`mem-read ${at(slot)} (value 0x0)`),
    () => by(`mem-free ${at(random.pick([L3, SPARE, L2]))} (size 0x1000)`),
    () => by(`mem-init ${at(random.pick([L3, SPARE]))} (size 0x1000)`),
    () => by(`mem-set ${at(random.pick([L3, SPARE]))} (size 0x1000) (value 0x0)`),
    () => by(`hint (kind set_pte_thread_owner) (location ${hex(ROOT + slot)}) (value ${hex(random.below(CPUS))})`),
    () => by(`hint (kind release_table) (location ${hex(ROOT + random.pick([0, B]))}) (value 0x0)`),
  ])();
}

/** The same for EL2's tables. */
function hypStep(random: Random, t: number): string[] {
  const next = ROOT + random.pick([0, 0, B, DUMMY]);
  const asid = random.oneIn(3) ? BigInt(random.below(3)) << 48n : 0n;
  return random.pick<() => string[]>([
    () => step(random, t),
    () => step(random, t),
    () => step(random, t),
    () => [sysreg("ttbr0_el2", asid | BigInt(next), t)],
    () => [sysreg("sctlr_el2", random.below(2), t)],
    () => [sysreg("tcr_el2", random.pick([0x10, 0x10, 0x8081_3510]), t)],
    () => [sysreg("mair_el2", random.pick([0xff, 0xff, 0x44]), t)],
    () => [sysreg("hcr_el2", random.pick([0, 0x4_0000_0000, 0x4_0800_0000]), t)],
    () => [
      sysreg("sctlr_el2", 0, t),
      sysreg("ttbr0_el2", BigInt(next), t),
      ...flush("alle2is", t),
      sysreg("sctlr_el2", 1, t),
    ],
  ])();
}

const STARTS: Readonly<Record<string, (random: Random) => string[]>> = {
  VMs: (random) => [...prologue(CPUS, random.pick([0x10, 0x8002_3590])), ...root(B), ...root(DUMMY)],
  EL2: (random) => [...hypPrologue(random.pick([0, 0x4_0000_0000])), ...root(B), ...root(DUMMY)],
};

it("logs put together at random are answered as before", async () => {
  const said: string[] = [];
  for (const [name, start] of Object.entries(STARTS)) {
    for (let seed = 0; seed < LOGS; seed++) {
      const random = new Random(seed);
      const spare = `mem-init ${at(SPARE)} (size 0x1000)`;
      const lines = [...start(random), spare, put(L3, LEAF), put(L3 + 8, LEAF + 0x1000n), "barrier dsb (kind ish)"];
      // Mostly the CPU that has the lock works on.
      for (let i = 0; i < STEPS; i++)
        lines.push(...(name === "EL2" ? hypStep : step)(random, random.oneIn(3) ? random.below(CPUS) : 0));
      said.push(`${name} ${seed}: ${brief(judgeLog(logOf(lines), OPTIONS[seed % OPTIONS.length]))}`);
    }
  }
  await expect(`${said.join("\n")}\n`).toMatchFileSnapshot("random-logs.txt");
});
