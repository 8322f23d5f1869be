// The 83 and 59 labelled traces [PROP-3, HWM-30..42], each with the kind of its violation, and twins of our own.

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { at, flushPage, judgeLog, LOCK, logOf, prologue, put } from "./support.js";

interface Label {
  readonly name: string;
  readonly verdict: "ok" | "violation";
  /** Kind of the first violation, and the step that was missing. */
  readonly kind?: string;
  readonly missing?: string;
}

describe.each([
  ["traces", 83],
  ["traces-2", 59],
] as const)("the labelled traces of %s", (folder, count) => {
  const FOLDER = new URL(`${folder}/`, import.meta.url);
  const labels = JSON.parse(readFileSync(new URL("index.json", FOLDER), "utf8")) as Label[];

  it(`are ${count}`, () => {
    expect(labels).toHaveLength(count);
  });

  it.each(labels)("$name: $verdict $kind $missing", ({ name, verdict, kind, missing }) => {
    const judged = judgeLog(gunzipSync(readFileSync(new URL(`${name}.log.gz`, FOLDER))));
    const [first] = judged.violations;
    expect(judged.verdict, first?.message).toBe(verdict);
    expect([first?.kind, first?.missing]).toEqual([kind, missing]);
    expect(kind === undefined).toBe(verdict === "ok");
  });
});

const L3 = 0x3000;
const LEAF = 0x8000_07ff;
const OTHER = 0x9000_07ff;
const READ_ONLY = 0x8000_077f;
const unlocked = `unlock ${LOCK}`;

/** Name, lines behind the prologue, kind of the first violation or ok. */
const TWINS: readonly (readonly [string, readonly string[], string])[] = [
  ["break, flush, make [S2-20]", [put(L3, LEAF), put(L3, 0x400), ...flushPage(0), put(L3, OTHER)], "ok"],
  ["a downgrade undone before any flush", [put(L3, LEAF), put(L3, READ_ONLY), put(L3, LEAF)], "ok"],
  ["a downgrade, then a break without flush", [put(L3, LEAF), put(L3, READ_ONLY), put(L3, 0)], "unflushed"],
  ["XN set and not flushed", [put(L3, LEAF), put(L3, 0x40_0000_8000_07ffn)], "unflushed"],
  ["XN set and flushed", [put(L3, LEAF), put(L3, 0x40_0000_8000_07ffn), ...flushPage(0)], "ok"],
  ["access flag cleared, never flushed", [put(L3, LEAF), put(L3, LEAF - 0x400)], "ok"],
  ["memory type changed [HWM-33]", [put(L3, LEAF), put(L3, LEAF - 0x28)], "no-break"],
  ["shareability changed", [put(L3, LEAF), put(L3, LEAF - 0x300)], "no-break"],
  ["software bits changed", [put(L3, LEAF), put(L3, 0x80_0000_8000_07ffn)], "ok"],
  ["a neighbour's flush", [put(L3, LEAF), put(L3, 0), ...flushPage(1), put(L3, OTHER)], "early-make"],
  [
    "the whole VMID flushed once for many",
    [
      put(L3, LEAF),
      put(L3 + 8, LEAF + 0x1000),
      put(L3, 0),
      put(L3 + 8, 0),
      "barrier dsb (kind ishst)",
      "tlbi vmalls12e1is",
      "barrier dsb (kind ish)",
      put(L3, OTHER),
      put(L3 + 8, OTHER + 0x1000),
    ],
    "ok",
  ],
  [
    "one break after the DSB that orders the flush",
    [
      put(L3, LEAF),
      put(L3 + 8, LEAF + 0x1000),
      put(L3, 0),
      "barrier dsb (kind ishst)",
      put(L3 + 8, 0),
      "tlbi vmalls12e1is",
      "barrier dsb (kind ish)",
      put(L3, OTHER),
      put(L3 + 8, OTHER + 0x1000),
    ],
    "early-make",
  ],
  [
    "a table with two pages flushed by the address of one [TLB-6]",
    [
      put(L3, LEAF),
      put(L3 + 8, LEAF + 0x1000),
      put(0x2000, 0x400),
      "barrier dsb (kind ishst)",
      "tlbi ipas2e1is (value 0x0)",
      "barrier dsb (kind ish)",
      "tlbi vmalle1is",
      "barrier dsb (kind ish)",
      put(0x2000, 0x8000_07fd),
    ],
    "early-make",
  ],
  [
    "the same by both addresses",
    [
      put(L3, LEAF),
      put(L3 + 8, LEAF + 0x1000),
      put(0x2000, 0x400),
      "barrier dsb (kind ishst)",
      "tlbi ipas2e1is (value 0x0)",
      "tlbi ipas2e1is (value 0x1)",
      "barrier dsb (kind ish)",
      "tlbi vmalle1is",
      "barrier dsb (kind ish)",
      put(0x2000, 0x8000_07fd),
    ],
    "ok",
  ],
  [
    "a table flushed with a level hint [BUG-26]",
    [put(0x2000, 0), ...flushPage(0), `mem-free ${at(L3)} (size 0x1000)`],
    "early-free",
  ],
  [
    "a page mapped by a second slot of its VM after the break",
    [put(L3, LEAF), put(L3, 0), put(L3 + 8, LEAF), ...flushPage(0)],
    "ok",
  ],
  ["the root's page given back while linked", [`mem-free ${at(0)} (size 0x1000)`], "early-free"],
  ["a lock given back twice", [unlocked, unlocked], "lock"],
  ["a slot changed by plain write without the lock", [unlocked, put(L3, LEAF)], "unlocked"],
  ["rights added without the lock [LCK-4]", [put(L3, READ_ONLY), unlocked, put(L3, LEAF)], "ok"],
  ["rights taken without the lock", [put(L3, LEAF), unlocked, put(L3, READ_ONLY)], "unlocked"],
  [
    "an old table linked again as it is",
    [
      put(L3, LEAF),
      put(0x2000, 0),
      "barrier dsb (kind ish)",
      "tlbi vmalls12e1is",
      "barrier dsb (kind ish)",
      put(0x2008, 0x1_0000_3003),
    ],
    "stale-table",
  ],
  ["a leaf far up, where the register is a model's", [put(L3, 0xde_adc0_07ff)], "ok"],
  [
    "a block far up, split",
    [
      put(0x2008, 0xde_adc0_07fd),
      put(0x2008, 0),
      "barrier dsb (kind ish)",
      "tlbi vmalls12e1is",
      "barrier dsb (kind ish)",
      `mem-init ${at(0x4000)} (size 0x1000)`,
      put(0x4000, 0xde_adc0_07ff),
      put(0x2008, 0x1_0000_4003),
    ],
    "ok",
  ],
  [
    "a leaf far up that came with its table, where nothing was",
    [`mem-init ${at(0x4000)} (size 0x1000)`, put(0x4000, 0xde_adc0_07ff), put(0x2008, 0x1_0000_4003)],
    "encoding",
  ],
  ["a table linked in two places", [put(0x2008, 0x1_0000_3003)], "linked-twice"],
];

describe("twins of our own", () => {
  it.each(TWINS)("%s: %#", (_name, lines, expected) => {
    const { violations } = judgeLog(logOf([...prologue(), ...lines]));
    expect(violations[0]?.kind ?? "ok", violations[0]?.message).toBe(expected);
  });
});

describe("the output size of a real VTCR_EL2", () => {
  const real = prologue(1, 0x8002_3590); // 4K, 48 bits from level 0, PS 40 bits
  it.each([
    [0x1f_8000_07ffn, "ok"],
    [0x100_8000_07ffn, "encoding"],
  ] as const)("%#: a leaf is within it", (leaf, expected) => {
    expect(judgeLog(logOf([...real, put(L3, leaf)])).violations[0]?.kind ?? "ok").toBe(expected);
  });
});

describe("two CPUs [LCK-4, HWM-41]", () => {
  const broken = [put(L3, LEAF), put(L3, 0), "barrier dsb (kind ish)"];

  it("one may flush what it learnt of by the lock", () => {
    const log = [...prologue(2), ...broken, unlocked, `t1 lock ${LOCK}`, ...flushPage(0, 1), put(L3, OTHER, 1)];
    expect(judgeLog(logOf(log)).verdict).toBe("ok");
  });

  it("a flush that nothing orders behind the break does not count", () => {
    const log = [...prologue(2), ...broken, ...flushPage(0, 1), put(L3, OTHER)];
    expect(judgeLog(logOf(log)).violations[0]).toMatchObject({ kind: "early-make", missing: "dsb-before-tlbi" });
  });

  it("local flushes are enough only where every CPU of a known number makes one", () => {
    const local = (t: number) => [
      `t${t} barrier dsb (kind ish)`,
      `t${t} tlbi vmalls12e1`,
      `t${t} barrier dsb (kind nsh)`,
    ];
    const hand = [unlocked, `t1 lock ${LOCK}`];
    const log = [...prologue(2), ...broken, ...local(0), ...hand, ...local(1), put(L3, OTHER, 1)];
    const options = { exclusive: true, knownPages: true };
    expect(judgeLog(logOf(log), { ...options, cpus: 2 }).verdict).toBe("ok");
    expect(judgeLog(logOf(log), { ...options, cpus: 3 }).verdict).toBe("violation");
    expect(judgeLog(logOf(log), options).violations[0]?.kind).toBe("early-make");
  });
});
