// Each row of docs/deviations.md, from both sides; and the rows are the tests, one to one.

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { OP_MAP, POINT_EXCHANGE, TABLE_POST } from "../../bindings/core/constants.generated.js";
import { createEngine as createDebugEngine } from "../../bindings/debug.js";
import {
  createEngine,
  type HypConfig,
  JournalKind,
  Prot,
  type Stage2Config,
  type Stage2Table,
} from "../../bindings/index.js";
import { HostMemory } from "../support/host-memory.js";
import {
  codeOf,
  contents,
  expectRefused,
  GB1,
  KB4,
  MB2,
  recorded,
  slotOf,
  smallEngine,
  tlbis,
} from "../support/tables.js";

type Quirks = "linux-6.12" | "none";

function stage2(quirks: Quirks, config: Stage2Config = {}, engine = smallEngine()) {
  return { engine, table: engine.createStage2({ ipaBits: 39, quirks, strict: false, ...config }) };
}

function hyp(quirks: Quirks, config: HypConfig = {}, engine = smallEngine()) {
  return { engine, table: engine.createHyp({ vaBits: 39, quirks, strict: false, ...config }) };
}

/** A block with DBM set and clean, and a map of a page in it: the hardware writes between the snapshot and the break. */
function breakWhileHardwareWrites(quirks: Quirks): { outcome: string; kind: string; removed: bigint } {
  const engine = smallEngine();
  const host = new HostMemory(engine);
  const table = engine.createStage2({ ipaBits: 39, quirks, hardwareDirty: true, hooks: host.ops() });
  table.map(0, MB2, 0, "r");
  table.poke(0, table.leaf(0).descriptor | (1n << 51n));
  const slot = slotOf(table, 0n);
  host.before = (name) => {
    if (name !== "zallocPage") return;
    host.before = () => {};
    engine.u64[slot] = (engine.u64[slot] as bigint) | (1n << 7n);
  };
  let outcome = "";
  const writes = recorded(engine, () => {
    outcome = table.map(0, KB4, GB1, "r");
  }, [JournalKind.WRITE]);
  return { outcome, kind: table.leaf(KB4).kind, removed: writes.find((r) => r.level === 2)?.a ?? 0n };
}

/** Maps two pages, one in each of two tables, with a flag that the facade's own map does not give. */
function mapAndVisitAfter(table: Stage2Table): void {
  table.perform(OP_MAP, "map", MB2 - KB4, 2 * KB4, 0, Prot.R, TABLE_POST);
}

const BEYOND = 1n << 39n;
const NO_PA = 1n << 48n;
const BOTH: readonly Quirks[] = ["linux-6.12", "none"];

/** What each row's two sides are; the title of a test is `row quirks: sentence`. */
const ROWS: Record<string, Record<Quirks, readonly [string, () => void]>> = {
  "D-1": {
    "linux-6.12": [
      "bit 54 alone, half rights refused",
      () => {
        const { table } = hyp("linux-6.12", { hvhe: true });
        table.map(0, KB4, 0, "r");
        expect((table.leaf(0).descriptor >> 53n) & 3n).toBe(2n);
        expectRefused(table, "EINVAL", () => table.map(KB4, KB4, 0, Prot.R | Prot.PX));
      },
    ],
    none: [
      "UXN and PXN apart",
      () => {
        const { table } = hyp("none", { hvhe: true });
        table.map(0, KB4, 0, "r");
        table.map(KB4, KB4, 0, Prot.R | Prot.PX);
        table.map(2 * KB4, KB4, 0, Prot.R | Prot.UX);
        expect([0, 1, 2].map((i) => (table.leaf(i * KB4).descriptor >> 53n) & 3n)).toEqual([3n, 2n, 1n]);
        expect(table.leaf(KB4).prot).toBe(Prot.R | Prot.PX);
      },
    ],
  },
  "D-2": {
    "linux-6.12": [
      "changes by compare-exchange",
      () => {
        const { table, engine } = stage2("linux-6.12");
        table.map(0, KB4, 0, "r");
        const writes = recorded(engine, () => table.relaxPerms(0, "w"), [JournalKind.WRITE, JournalKind.WRITE_SHARED]);
        expect(writes.map((r) => r.kind)).toEqual([JournalKind.WRITE_SHARED]);
      },
    ],
    none: [
      "changes by a store",
      () => {
        const { table, engine } = stage2("none");
        table.map(0, KB4, 0, "r");
        const writes = recorded(engine, () => table.relaxPerms(0, "w"), [JournalKind.WRITE, JournalKind.WRITE_SHARED]);
        expect(writes.map((r) => r.kind)).toEqual([JournalKind.WRITE]);
      },
    ],
  },
  "D-3": {
    "linux-6.12": [
      "warns and says not young",
      () => {
        const { table, engine } = stage2("linux-6.12");
        expect(table.testClearYoung(BEYOND, KB4)).toBe(false);
        expect(engine.counters().warnings).toBe(1);
      },
    ],
    none: [
      "refuses",
      () => {
        const { table, engine } = stage2("none");
        expectRefused(table, "ERANGE", () => table.testClearYoung(BEYOND, KB4));
        expect(engine.counters().warnings).toBe(0);
      },
    ],
  },
  "D-4": {
    "linux-6.12": [
      "flushes the raw address",
      () => {
        const { table, engine } = stage2("linux-6.12");
        table.map(0, MB2, 0, "r");
        expect(tlbis(engine, () => table.relaxPerms(0x1234, "w"))).toEqual(["TLBI_IPA_LOCAL 0x1234 L2"]);
      },
    ],
    none: [
      "flushes the page",
      () => {
        const { table, engine } = stage2("none");
        table.map(0, MB2, 0, "r");
        expect(tlbis(engine, () => table.relaxPerms(0x1234, "w"))).toEqual(["TLBI_IPA_LOCAL 0x1000 L2"]);
      },
    ],
  },
  "D-5": {
    "linux-6.12": ["succeeds", () => expect(codeOf(() => stage2("linux-6.12").table.flush(BEYOND, KB4))).toBe("")],
    none: [
      "refuses",
      () => {
        const { table } = stage2("none");
        expectRefused(table, "ERANGE", () => table.flush(BEYOND, KB4));
        expect(codeOf(() => table.flush(0, KB4))).toBe("");
      },
    ],
  },
  "D-6": {
    "linux-6.12": [
      "maps a prefix, and leaks a page over a block",
      () => {
        const { table, engine } = hyp("linux-6.12");
        table.map(KB4, KB4, 0x9000, "r");
        expect(codeOf(() => table.map(0, 2 * KB4, 0x20000, "r"))).toBe("EINVAL");
        expect(table.leaf(0).pa).toBe(0x20000n);
        table.map(MB2, MB2, MB2, "r");
        table.map(MB2 + KB4, KB4, 0, "r");
        expect(table.leaf(MB2).kind).toBe("hole");
        const { taken } = engine.arena();
        table.close();
        // Root, level-2 table and both level-3 tables were live; one of them stays for ever.
        expect((taken - engine.arena().taken) / KB4).toBe(3);
      },
    ],
    none: [
      "refuses before anything changes",
      () => {
        const { table, engine } = hyp("none");
        table.map(KB4, KB4, 0x9000, "r");
        expectRefused(table, "EINVAL", () => table.map(0, 2 * KB4, 0x20000, "r"));
        table.map(MB2, MB2, MB2, "r");
        expectRefused(table, "EEXIST", () => table.map(MB2 + KB4, KB4, 0, "r"));
        expectRefused(table, "EEXIST", () => table.map(MB2, MB2, MB2, "rw"));
        table.close();
        expect(engine.arena().taken).toBe(smallEngine().arena().taken);
      },
    ],
  },
  "D-7": {
    "linux-6.12": [
      "drops the upper bits",
      () => {
        const { table } = hyp("linux-6.12");
        table.map(0, KB4, NO_PA | 0x5000n, "r");
        expect(table.leaf(0).pa).toBe(0x5000n);
      },
    ],
    none: [
      "refuses",
      () => {
        const { table } = hyp("none");
        expectRefused(table, "ERANGE", () => table.map(0, KB4, NO_PA, "r"));
        expectRefused(table, "ERANGE", () => table.map(0, 2 * KB4, NO_PA - 4096n, "r"));
        expect(codeOf(() => table.map(0, KB4, NO_PA - 4096n, "r"))).toBe("");
      },
    ],
  },
  "D-8": {
    "linux-6.12": [
      "unmaps from there on",
      () => {
        const { table } = stage2("linux-6.12");
        table.map(0, 2 * KB4, 0x9000, "r");
        table.map(0, 2 * KB4, NO_PA - 4096n, "r");
        expect([table.leaf(0).pa, table.leaf(KB4).kind]).toEqual([NO_PA - 4096n, "hole"]);
      },
    ],
    none: [
      "refuses",
      () => {
        const { table } = stage2("none");
        table.map(0, 2 * KB4, 0x9000, "r");
        expectRefused(table, "ERANGE", () => table.map(0, 2 * KB4, NO_PA - 4096n, "r"));
        expectRefused(table, "ERANGE", () => table.map(0, KB4, (1n << 64n) - 4096n, "r"));
      },
    ],
  },
  "D-9": {
    "linux-6.12": [
      "loses the dirty bit",
      () => {
        const { outcome, kind, removed } = breakWhileHardwareWrites("linux-6.12");
        expect([outcome, kind]).toEqual(["done", "hole"]);
        expect(removed & (1n << 7n)).toBe(0n);
      },
    ],
    none: [
      "takes the dirty bit out with the block",
      () => {
        const { outcome, kind, removed } = breakWhileHardwareWrites("none");
        expect([outcome, kind]).toEqual(["done", "hole"]);
        expect(removed & (1n << 7n)).toBe(1n << 7n);
      },
    ],
  },
  "D-10": {
    "linux-6.12": [
      "succeeds and does nothing",
      () => {
        const { table } = stage2("linux-6.12");
        table.map(0, KB4, 0, "rw");
        const before = contents(table);
        expect(codeOf(() => table.wrprotect(KB4, (1n << 64n) - 4096n))).toBe("");
        expect(contents(table)).toEqual(before);
      },
    ],
    none: [
      "refuses",
      () => {
        const { table } = stage2("none");
        table.map(0, KB4, 0, "rw");
        expectRefused(table, "ERANGE", () => table.wrprotect(KB4, (1n << 64n) - 4096n));
        expectRefused(table, "ERANGE", () => table.unmap(0, (1n << 64n) - 1n));
      },
    ],
  },
  "D-11": {
    "linux-6.12": [
      "walks",
      () => {
        let visits = 0;
        expect(
          hyp("linux-6.12").table.walk(
            0,
            KB4,
            () => {
              visits++;
            },
            { shared: true },
          ),
        ).toBe(0);
        expect(visits).toBe(1);
      },
    ],
    none: [
      "EPERM, no visit",
      () => {
        let visits = 0;
        expect(
          hyp("none").table.walk(
            0,
            KB4,
            () => {
              visits++;
            },
            { shared: true },
          ),
        ).toBe(-1);
        expect(visits).toBe(0);
      },
    ],
  },
  "D-12": {
    "linux-6.12": [
      "flushes what was asked for",
      () => {
        const { table, engine } = stage2("linux-6.12");
        table.map(MB2, MB2, 0, "rw");
        expect(tlbis(engine, () => table.unmap(MB2 + 0x3000, 0x1800))).toEqual([
          "TLBI_IPA 0x203000 no hint", // of the table that became empty
          "TLBI_RANGE 0x203000 x1",
        ]);
        expect(tlbis(engine, () => table.unmap(4 * MB2, KB4))).toEqual(["TLBI_RANGE 0x800000 x1"]);
        expect(tlbis(engine, () => codeOf(() => table.unmap(BEYOND, KB4)))).toEqual(["TLBI_RANGE 0x8000000000 x1"]);
      },
    ],
    none: [
      "flushes what was removed",
      () => {
        const { table, engine } = stage2("none");
        table.map(MB2, MB2, 0, "rw");
        table.map(2 * MB2, MB2, 0, "rw");
        expect(tlbis(engine, () => table.unmap(MB2 + 0x3000, 0x1800))).toEqual(["TLBI_RANGE 0x200000 x512"]);
        expect(tlbis(engine, () => table.unmap(4 * MB2, KB4))).toEqual([]);
        expect(tlbis(engine, () => codeOf(() => table.unmap(BEYOND, KB4)))).toEqual([]);
      },
    ],
  },
  "D-13": {
    "linux-6.12": [
      "builds for level 0",
      () => {
        const engine = createEngine({ arenaBytes: 8 << 20 });
        const { table } = stage2("linux-6.12", { ipaBits: 48 }, engine);
        const page = table.createUnlinked(0, 0, "r");
        expect(engine.core.pageReferences(page)).toBe(513);
        table.freeUnlinked(page, 0);
        const { tablesTaken } = engine.counters();
        expect(codeOf(() => table.createUnlinked(0, 3, "r"))).toBe("EINVAL");
        expect(engine.counters().tablesTaken).toBe(tablesTaken + 1);
      },
    ],
    none: [
      "refuses",
      () => {
        const { table } = stage2("none", { ipaBits: 48 });
        for (const level of [-1, 0, 3, 4]) expectRefused(table, "EINVAL", () => table.createUnlinked(0, level, "r"));
      },
    ],
  },
  "D-14": {
    "linux-6.12": [
      "builds nothing",
      () => {
        const { table, engine } = stage2("linux-6.12");
        const page = table.createUnlinked(NO_PA, 2, "r");
        expect(engine.core.pageReferences(page)).toBe(1);
        table.freeUnlinked(page, 2);
      },
    ],
    none: [
      "refuses",
      () => {
        const { table } = stage2("none");
        expectRefused(table, "ERANGE", () => table.createUnlinked(NO_PA, 2, "r"));
      },
    ],
  },
  "D-15": {
    "linux-6.12": [
      "forgets the type",
      () => {
        const { table } = stage2("linux-6.12");
        table.map(0, MB2, 0, "rwn");
        table.split(0, MB2);
        expect(table.leaf(0).prot).toBe(Prot.R | Prot.W);
      },
    ],
    none: [
      "keeps the type",
      () => {
        for (const [letters, type] of [
          ["rwn", Prot.NC],
          ["rwd", Prot.DEVICE],
        ] as const) {
          const { table } = stage2("none");
          table.map(GB1, GB1, GB1, letters);
          table.split(GB1, MB2, undefined);
          expect(table.leaf(GB1 + MB2 - KB4)).toMatchObject({ level: 3, prot: Prot.R | Prot.W | type });
        }
      },
    ],
  },
  "D-16": {
    "linux-6.12": [
      "flushes whole pages of the size only",
      () => {
        const { table, engine } = stage2("linux-6.12");
        expect(tlbis(engine, () => table.flushTlbRange(0x1800, 0x1800))).toEqual(["TLBI_RANGE 0x1800 x1"]);
        expect(tlbis(engine, () => table.flushTlbRange(0x1000, 0x800))).toEqual([]);
      },
    ],
    none: [
      "flushes every page touched",
      () => {
        const { table, engine } = stage2("none");
        expect(tlbis(engine, () => table.flushTlbRange(0x1800, 0x1800))).toEqual(["TLBI_RANGE 0x1000 x2"]);
        expect(tlbis(engine, () => table.flushTlbRange(0x1000, 0x800))).toEqual(["TLBI_RANGE 0x1000 x1"]);
        expect(codeOf(() => table.flushTlbRange(BEYOND, KB4))).toBe("ERANGE");
      },
    ],
  },
  "D-17": {
    "linux-6.12": [
      "a page that a rival touched keeps its write permission",
      () => expect(protectBesideRival("linux-6.12")).toEqual(["r", "rw", "r"]),
    ],
    none: ["every page is protected", () => expect(protectBesideRival("none")).toEqual(["r", "r", "r"])],
  },
  "D-18": {
    "linux-6.12": [
      "fails where the walk leaves its first table",
      () => {
        const { table } = stage2("linux-6.12");
        expect(codeOf(() => mapAndVisitAfter(table))).toBe("EINVAL");
        expect([table.leaf(MB2 - KB4).kind, table.leaf(MB2).kind]).toEqual(["page", "hole"]);
      },
    ],
    none: [
      "refuses",
      () => {
        const { table } = stage2("none");
        expectRefused(table, "EINVAL", () => mapAndVisitAfter(table));
      },
    ],
  },
};

/** Protects three pages as one of several walkers; a rival clears the second one's access flag right before the exchange. */
function protectBesideRival(quirks: Quirks): string[] {
  using engine = createDebugEngine({ arenaBytes: 1 << 20, walkers: 2 });
  const table = engine.createStage2({ ipaBits: 39, quirks });
  table.map(0, 3 * KB4, 0, "rw");
  const slot = slotOf(table, BigInt(KB4));
  engine.hosts.point = (kind, pointer) => {
    if (kind !== POINT_EXCHANGE || pointer !== slot * 8) return;
    engine.hosts.point = () => {};
    engine.u64[slot] = (engine.u64[slot] as bigint) & ~(1n << 10n);
  };
  table.wrprotect(0, 3 * KB4, { shared: true });
  return [0, KB4, 2 * KB4].map((ipa) => (table.leaf(ipa).prot & Prot.W ? "rw" : "r"));
}

describe("deviations", () => {
  for (const [row, sides] of Object.entries(ROWS)) {
    for (const quirks of BOTH) it(`${row} ${quirks}: ${sides[quirks][0]}`, sides[quirks][1]);
  }
});

const document = readFileSync(new URL("../../docs/deviations.md", import.meta.url), "utf8");
const rows = document
  .split("\n")
  .filter((line) => /^\| D-\d/.test(line))
  .map((line) => line.split("|").map((cell) => cell.trim()));

/** Functions of assembly/ whose bodies look at T_LINUX, as `file.ts name`. */
function switches(): string[] {
  const root = new URL("../../assembly/", import.meta.url);
  const found = new Set<string>();
  for (const name of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts")) continue;
    let owner = "";
    for (const line of readFileSync(new URL(name, root), "utf8").split("\n")) {
      owner = /^(?:export )?function (\w+)/.exec(line)?.[1] ?? owner;
      const mentions =
        /\bT_LINUX\b/.test(line) && !/^import|^ {2}[A-Z_0-9, ]+,?$|^} from|^export const|^\s*(\/\/|\*)/.test(line);
      if (mentions && !/^ {2}(\w+, )*T_LINUX/.test(line)) found.add(`\`${name.split("/").at(-1)}\` ${owner}`);
    }
  }
  return [...found].sort();
}

describe("docs/deviations.md", () => {
  it("has a row for each test and a test for each row", () => {
    expect(rows.map((cells) => cells[1])).toEqual(Object.keys(ROWS));
  });

  it("names an id of the specification in every row", () => {
    for (const cells of rows) expect(cells[2], cells[1]).toMatch(/^([A-Z0-9]+-\d+[a-z]?)(, [A-Z0-9]+-\d+[a-z]?)*$/);
  });

  it("knows every function that looks at the switch, and no other", () => {
    const named = new Set(rows.flatMap((cells) => (cells[6] ?? "").split(", ")));
    expect([...named].sort()).toEqual(switches());
  });
});
