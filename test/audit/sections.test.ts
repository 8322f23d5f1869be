// What the journal says of a table that walkers share decides what they may do: its lock, its markers, its registers.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine, JournalKind as J, type JournalRecord } from "../../bindings/index.js";
import { judgeRecords } from "./support.js";

const PAGE = 4096;
const FLAGS_AT = 32n;
const VTCR_HA = 1n << 21n;
const AF = 1n << 10n;
const DSB = { kind: J.DSB, a: BigInt(K.DSB_ISH) };

/** A journal with a table of one page at 0, and what names it. */
interface Journal {
  readonly records: JournalRecord[];
  readonly table: number;
  /** The page's entry, and that of the table that it is in. */
  readonly leaf: JournalRecord;
  readonly link: JournalRecord;
  /** The table's address. */
  readonly page: bigint;
}

function journalOf(walkers: number, config: object = {}): Journal {
  const engine = createEngine({ walkers, arenaBytes: 2 << 20, journalRecords: 1 << 12 });
  engine.journal.start();
  engine.createStage2({ ipaBits: 39, ...config }).map(0, PAGE, 0x4000_0000, "rw");
  const records = engine.journal.read();
  const leaf = records.find(({ level, b }) => level === 3 && (b & 1n) === 1n) as JournalRecord;
  const page = leaf.address & ~0xfffn;
  const link = records.find(({ b }) => (b & 3n) === 3n && (b & 0xffff_ffff_f000n) === page) as JournalRecord;
  return { records, table: leaf.table, leaf, link, page };
}

/** The kinds of all violations of a journal and what follows it. */
function kindsOf({ records, table }: Journal, ...more: Partial<JournalRecord>[]): string[] {
  const last = records.at(-1) as JournalRecord;
  const behind = more.map((record, i) => {
    return {
      ...last,
      table,
      walker: 0,
      a: 0n,
      b: 0n,
      address: 0n,
      sequence: last.sequence + 1n + BigInt(i),
      ...record,
    };
  });
  return judgeRecords([...records, ...behind]).violations.map(({ kind }) => kind);
}

/** The journal with its table's record changed. */
function withTable(journal: Journal, change: (made: JournalRecord) => Partial<JournalRecord>): Journal {
  const records = journal.records.map((r) => (r.kind === J.TABLE_MADE ? { ...r, ...change(r) } : r));
  return { ...journal, records };
}

const flagged = (journal: Journal, flag: number): Journal =>
  withTable(journal, ({ a }) => ({ a: a | (BigInt(flag) << FLAGS_AT) }));

describe("who holds no lock", () => {
  const journal = journalOf(2);
  const { leaf } = journal;
  const section = [
    { kind: J.SECTION, walker: 1 },
    { kind: J.SECTION_END, walker: 1 },
  ] as const;
  const add = { walker: 1, level: 3, address: leaf.address, a: leaf.b, b: leaf.b | (1n << 55n) };

  it("changes nothing outside a section, and in one by exchanges only [LCK-4]", () => {
    const [enter, leave] = section;
    expect(kindsOf(journal, enter, { ...add, kind: J.WRITE_SHARED }, leave)).toEqual([]);
    expect(kindsOf(journal, enter, { ...add, kind: J.WRITE }, leave)).toEqual(["unlocked"]);
    expect(kindsOf(journal, { ...add, kind: J.WRITE_SHARED })).toEqual(["unlocked"]);
  });

  it.each([
    ["is a reader", {}],
    ["is a reader of a table that others walk without its lock", { lockFree: true }],
  ])("%s: nobody writes beside it", (_name, config) => {
    const read = { kind: J.LOCK, walker: 1, a: 0n };
    expect(kindsOf(journalOf(2, config), read, { kind: J.LOCK, a: 1n })).toEqual(["lock"]);
  });
});

describe("a table that a writer unlinks, alone under its lock", () => {
  /** Unlinks by a plain write, flushes, and gives the page back at once. */
  const freed = ({ link, page }: Journal): Partial<JournalRecord>[] => [
    { kind: J.LOCK, a: 1n },
    { kind: J.WRITE, level: 2, address: link.address, a: link.b, b: 0n },
    DSB,
    { kind: J.TLBI_VMID },
    DSB,
    { kind: J.TABLE_FREED, address: page, a: 1n },
    { kind: J.UNLOCK, a: 1n },
  ];

  it("may go at once, unless others walk without the lock [LCK-10]", () => {
    for (const [config, expected] of [
      [{}, []],
      [{ lockFree: true }, ["early-free"]],
    ] as const) {
      const journal = journalOf(2, config);
      expect(kindsOf(journal, ...freed(journal)), JSON.stringify(config)).toEqual(expected);
    }
  });
});

describe("a table that waits for its readers", () => {
  it("does not take with it what its pages map, though that is a table too", () => {
    const journal = journalOf(2);
    const { link, leaf, page } = journal;
    const other = leaf.b & 0xffff_ffff_f000n;
    const above = journal.records.find(
      ({ b }) => (b & 3n) === 3n && (b & 0xffff_ffff_f000n) === (link.address & ~0xfffn),
    ) as JournalRecord;
    const enter = { kind: J.SECTION, walker: 1 };
    const unlink = [
      { kind: J.LOCK, a: 1n },
      { kind: J.WRITE_SHARED, level: above.level, address: above.address, a: above.b, b: 0n },
      DSB,
      { kind: J.TLBI_VMID },
      DSB,
    ];
    const taken = { kind: J.TABLE_TAKEN, address: other, a: 1n };
    const free = (address: bigint) => ({ kind: J.TABLE_FREED, address, a: 1n });
    const release = { kind: J.UNLOCK, a: 1n };
    expect(kindsOf(journal, enter, taken, ...unlink, free(other), release)).toEqual([]);
    expect(kindsOf(journal, enter, taken, ...unlink, free(page), release)).toEqual(["early-free"]);
  });
});

describe("a marker", () => {
  const free = journalOf(2);
  const hole = { level: 3, address: free.leaf.address + 64n };
  const lock = { kind: J.LOCK, a: 1n };
  const unlock = { kind: J.UNLOCK, a: 1n };

  it("is one of the table's format, whether left there or taken away", () => {
    const typed = flagged(free, K.T_TYPED);
    for (const [journal, mine, other] of [
      [free, K.LOCKED_612, K.LOCKED_7X],
      [typed, K.LOCKED_7X, K.LOCKED_612],
    ] as const) {
      const put = (b: bigint) => [lock, { ...hole, kind: J.WRITE_SHARED, b }, unlock];
      expect(kindsOf(journal, ...put(mine))).toEqual(["left-locked"]);
      expect(kindsOf(journal, ...put(other))).toEqual([]);
      const take = (a: bigint) => [lock, { ...hole, kind: J.WRITE_SHARED, a, b: free.leaf.b + 0x8000n }, unlock];
      expect(kindsOf(journal, ...take(mine))).toContain("stolen");
      expect(kindsOf(journal, ...take(other))).toEqual([]);
    }
  });
});

describe("an access flag", () => {
  /** A page that is there without one, and another in its place with no break. */
  const replaced = (journal: Journal): Partial<JournalRecord>[] => {
    const old = (journal.leaf.b & ~AF) + 0x8000n;
    const at = { kind: J.WRITE, level: 3, address: journal.leaf.address + 64n };
    return [
      { ...at, b: old },
      { ...at, a: old, b: old + 0x8000n },
    ];
  };

  it("that only software sets says that no TLB holds the entry; where hardware sets it, any may [HWM-31]", () => {
    const journal = journalOf(1);
    const software = withTable(journal, ({ b }) => ({ b: b & ~VTCR_HA }));
    const hardware = withTable(journal, ({ b }) => ({ b: b | VTCR_HA }));
    expect(kindsOf(software, ...replaced(journal))).toEqual([]);
    expect(kindsOf(hardware, ...replaced(journal))).toEqual(["no-break"]);
  });

  it("of EL2 is not VTCR_EL2's", () => {
    const journal = flagged(journalOf(1), K.T_HYP);
    const both = withTable(journal, ({ b }) => ({ b: b | VTCR_HA }));
    expect(kindsOf(both, ...replaced(journal))).toEqual([]);
  });
});
