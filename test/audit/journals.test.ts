// Journals that no engine of ours would write: what several tables, readers, ranges and markers owe each other.

import { describe, expect, it } from "vitest";
import { DSB_ISH } from "../../bindings/core/constants.generated.js";
import { createEngine, JournalKind as J, type JournalRecord } from "../../bindings/index.js";
import { judgeRecords, streamOf } from "./support.js";

const KB4 = 4096;
const MB2 = 2 << 20;

function kindsOf(records: readonly JournalRecord[]): string[] {
  return judgeRecords(records).violations.map(({ kind, missing }) => (missing ? `${kind} ${missing}` : kind));
}

/** One more record behind others, by the walker that wrote the last one. */
function then(records: readonly JournalRecord[], ...more: Partial<JournalRecord>[]): JournalRecord[] {
  const last = records.at(-1) as JournalRecord;
  const made = more.map((record, i) => ({
    ...last,
    a: 0n,
    b: 0n,
    address: 0n,
    sequence: last.sequence + 1n + BigInt(i),
    ...record,
  }));
  return [...records, ...made];
}

describe("two tables of an engine", () => {
  const handles: number[] = [];
  const stream = streamOf((engine) => {
    const tables = [engine.createStage2({ forcePte: "all" }), engine.createStage2({ forcePte: "all" })];
    for (const table of tables) table.map(0, 2 * KB4, 0, "rw");
    for (const table of tables) {
      handles.push(table.handle);
      table.unmap(0, KB4);
      table.map(0, KB4, MB2, "rw");
    }
  });

  it("are right", () => {
    expect(kindsOf(stream)).toEqual([]);
  });

  it.each([0, 1])("are judged each for itself: table %i", (which) => {
    const flushes: readonly number[] = [J.TLBI_IPA, J.TLBI_RANGE, J.TLBI_VMID];
    const table = handles[which];
    const without = stream.filter((record) => record.table !== table || !flushes.includes(record.kind));
    expect(without.length).toBeLessThan(stream.length);
    expect(judgeRecords(without).violations[0]).toMatchObject({ kind: "early-make", missing: "tlbi", table });
  });
});

describe("a table that was destroyed", () => {
  const stream = streamOf((engine) => {
    for (let i = 0; i < 3; i++) {
      const table = engine.createStage2();
      table.map(0, 4 * KB4, 0, "rw");
      table.map(MB2, MB2, 0, "rw");
      table.destroy();
    }
  });

  it("leaves pages of which other tables are made", () => {
    const made = stream.filter(({ kind }) => kind === J.TABLE_MADE);
    expect(new Set(made.map(({ address }) => address)).size).toBeLessThan(made.length);
    expect(kindsOf(stream)).toEqual([]);
  });

  it("and one whose pages were not given back leaves none", () => {
    const kept = stream.filter(({ kind }) => kind !== J.TABLE_FREED);
    expect(kindsOf(kept)).toContain("known-page");
  });
});

describe("a promise that nobody uses what was taken away", () => {
  const of = (flushed: boolean): JournalRecord[] => {
    const stream = streamOf((engine) => {
      const table = engine.createStage2();
      table.map(0, 4 * KB4, 0, "rwx");
      table.wrprotect(0, KB4);
      if (flushed) table.flushTlbRange(0, KB4);
    });
    return then(stream, { kind: J.PROMISE, table: 0 });
  };

  it("is kept once the flush is complete, and broken before [PROP-5]", () => {
    expect(kindsOf(of(true))).toEqual([]);
    expect(kindsOf(of(false))[0]).toBe("early-return tlbi");
  });

  it("is the walker's own: what another one took away is that one's [PROP-5]", () => {
    const [last, ...others] = of(false).reverse();
    const stream = [...others.reverse(), { ...(last as JournalRecord), walker: 1 }];
    expect(kindsOf(stream)).toEqual(["unflushed tlbi"]);
  });

  it("is none about an access flag", () => {
    const stream = streamOf((engine) => {
      const table = engine.createStage2();
      table.map(0, 4 * KB4, 0, "rwx");
      table.testClearYoung(0, 4 * KB4, true);
    });
    expect(kindsOf(then(stream, { kind: J.PROMISE, table: 0 }))).toEqual([]);
  });
});

describe("a table's lock", () => {
  /** Tables of an engine with two walkers say who holds them. */
  const start = (): JournalRecord[] => {
    const engine = createEngine({ walkers: 2, arenaBytes: 2 << 20, journalRecords: 1 << 12 });
    engine.journal.start();
    engine.createStage2({ ipaBits: 39 }).map(0, KB4, 0, "rw");
    return engine.journal.read();
  };
  const table = (): number => (start().at(-1) as JournalRecord).table;
  const lock = (walker: number, a: bigint): Partial<JournalRecord> => ({ kind: J.LOCK, table: table(), walker, a });
  const unlock = (walker: number, a: bigint): Partial<JournalRecord> => ({ kind: J.UNLOCK, table: table(), walker, a });
  it.each([
    ["is free for writing once the reader has left", [lock(1, 0n), unlock(1, 0n), lock(0, 1n), unlock(0, 1n)], []],
    ["is not while somebody reads", [lock(1, 0n), lock(0, 1n)], ["lock"]],
    ["is the reader's as often as it took it", [lock(1, 0n), lock(1, 0n), unlock(1, 0n), lock(0, 1n)], ["lock"]],
    ["is given back once", [lock(1, 0n), unlock(1, 0n), unlock(1, 0n)], ["lock"]],
    ["is given back by the writer once", [lock(1, 1n), unlock(1, 1n), unlock(1, 1n)], ["lock"]],
    ["is no reader's while somebody writes", [lock(1, 1n), lock(0, 0n)], ["lock"]],
    ["is given back by who has it", [lock(1, 1n), unlock(0, 1n)], ["lock"]],
    ["of a dead walker is free", [lock(3, 1n), { kind: J.BURIED, a: 3n }, lock(0, 1n)], []],
    ["of another is not", [lock(2, 1n), { kind: J.BURIED, a: 3n }, lock(0, 1n)], ["lock"]],
    ["a section ends once", [{ kind: J.SECTION }, { kind: J.SECTION_END }, { kind: J.SECTION_END }], ["lock"]],
  ])("%s", (_name, more, expected) => {
    expect(kindsOf(then(start(), ...more))).toEqual(expected);
  });
});

describe("a range", () => {
  const stream = streamOf((engine) => {
    engine.createStage2().map(0, 3 * KB4, 0, "rw");
  });
  const leaf = stream.find((record) => record.kind === J.WRITE && record.level === 3) as JournalRecord;
  const page = leaf.address & ~0xfffn;
  const link = stream.find((record) => record.kind === J.WRITE && (record.b & ~0xfff0_0000_0000_0fffn) === page);
  const { address, b: descriptor } = link as JournalRecord;
  const gone = (pages: bigint): JournalRecord[] =>
    then(
      stream,
      { kind: J.WRITE, level: 2, address, a: descriptor, b: 0n },
      { kind: J.DSB, a: BigInt(DSB_ISH) },
      { kind: J.TLBI_RANGE, level: -1, address: 0n, a: pages },
      { kind: J.DSB, a: BigInt(DSB_ISH) },
      { kind: J.TLBI_STAGE1 },
      { kind: J.DSB, a: BigInt(DSB_ISH) },
      { kind: J.TABLE_FREED, address: page, a: 1n },
    );

  it("of all that a table held lets it go", () => {
    expect(kindsOf(gone(512n))).toEqual([]);
    expect(kindsOf(gone(3n))).toEqual([]);
  });

  it("flushes each of its pages, and no other", () => {
    const many = streamOf((engine) => {
      engine.createStage2({ forcePte: "all" }).map(0, 8 * KB4, 0, "rw");
    });
    const leaves = many.filter(({ level, b }) => level === 3 && (b & 1n) === 1n);
    const broken = leaves.map(({ address, b }) => ({ kind: J.WRITE, level: 3, address, a: b, b: 0n }));
    const dsb = { kind: J.DSB, a: BigInt(DSB_ISH) };
    for (const [from, pages] of [
      [0, 1],
      [0, 2],
      [2, 2],
      [0, 5],
      [0, 8],
    ] as const) {
      const range = { kind: J.TLBI_RANGE, level: 3, address: BigInt(from * KB4), a: BigInt(pages) };
      const records = then(many, ...broken, dsb, range, dsb, { kind: J.TLBI_STAGE1 }, dsb);
      expect(judgeRecords(records).open).toBe(8 - pages);
    }
  });

  it("of a part of it does not", () => {
    for (const pages of [1n, 2n])
      expect(kindsOf(gone(pages))).toEqual(["early-free tlbi-below", "unflushed tlbi-below"]);
  });
});

describe("a table that readers may be in", () => {
  const engine = createEngine({ walkers: 2, arenaBytes: 2 << 20, journalRecords: 1 << 12 });
  engine.journal.start();
  engine.createStage2({ ipaBits: 39 }).map(0, KB4, 0, "rw");
  const stream = engine.journal.read();
  const leaf = stream.find((record) => record.level === 3 && (record.b & 1n) === 1n) as JournalRecord;
  const page = leaf.address & ~0xfffn;
  const link = stream.find((record) => (record.b & 3n) === 3n && (record.b & 0xffff_ffff_f000n) === page);
  const { address, b: descriptor, table } = link as JournalRecord;
  const by = { table, walker: 0 };
  const enter = { kind: J.SECTION, table, walker: 1 };
  const leave = { kind: J.SECTION_END, table, walker: 1 };
  const retire = { ...by, kind: J.TABLE_RETIRED, level: 2, address: page };
  const unlink: Partial<JournalRecord>[] = [
    { ...by, kind: J.LOCK, a: 1n },
    { ...by, kind: J.WRITE_SHARED, level: 2, address, a: descriptor, b: 0n },
    { ...by, kind: J.DSB, a: BigInt(DSB_ISH) },
    { ...by, kind: J.TLBI_VMID },
    { ...by, kind: J.DSB, a: BigInt(DSB_ISH) },
  ];
  const free = { ...by, kind: J.TABLE_FREED, address: page, a: 1n };
  const release = { ...by, kind: J.UNLOCK, a: 1n };
  it.each([
    ["may be given back once they have left", [enter, ...unlink, retire, leave, free, release], []],
    ["may be while one is there who came later", [...unlink, retire, enter, free, release], []],
    ["may not be while one is there", [enter, ...unlink, retire, free, release], ["early-free grace-period"]],
    ["may not be if nobody asked", [...unlink, free, release], ["early-free grace-period"]],
  ])("%s", (_name, more, expected) => {
    expect(kindsOf(then(stream, ...more))).toEqual(expected);
  });
});

describe("a table below one that is unlinked", () => {
  it("waits for its readers too", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 2 << 20, journalRecords: 1 << 12 });
    engine.journal.start();
    engine.createStage2({ ipaBits: 39 }).map(0, KB4, 0, "rw");
    const stream = engine.journal.read();
    const named = (page: bigint): JournalRecord =>
      stream.find(({ b }) => (b & 3n) === 3n && (b & 0xffff_ffff_f000n) === page) as JournalRecord;
    const leaf = stream.find(({ level, b }) => level === 3 && (b & 1n) === 1n) as JournalRecord;
    const page = leaf.address & ~0xfffn;
    const { address, b: descriptor, table } = named(named(page).address & ~0xfffn);
    const by = { table, walker: 0 };
    const freed = then(
      stream,
      { ...by, kind: J.LOCK, a: 1n },
      { ...by, kind: J.WRITE_SHARED, level: 1, address, a: descriptor, b: 0n },
      { ...by, kind: J.DSB, a: BigInt(DSB_ISH) },
      { ...by, kind: J.TLBI_VMID },
      { ...by, kind: J.DSB, a: BigInt(DSB_ISH) },
      { ...by, kind: J.TABLE_FREED, address: page, a: 1n },
      { ...by, kind: J.UNLOCK, a: 1n },
    );
    expect(kindsOf(freed)).toEqual(["early-free grace-period"]);
  });
});

describe("a walker in a section, without the lock", () => {
  const engine = createEngine({ walkers: 2, arenaBytes: 2 << 20, journalRecords: 1 << 12 });
  engine.journal.start();
  engine.createStage2({ ipaBits: 39 }).map(0, KB4, 0, "r");
  const stream = engine.journal.read();
  const { address, table, b } = stream.find(({ level, b }) => level === 3 && (b & 1n) === 1n) as JournalRecord;
  const section = { kind: J.SECTION, table, walker: 1 };
  const write = (next: bigint): Partial<JournalRecord> => {
    return { kind: J.WRITE_SHARED, table, walker: 1, level: 3, address, a: b, b: next };
  };
  const end = { kind: J.SECTION_END, table, walker: 1 };
  it.each([
    ["may add rights", b | 0x80n, []],
    ["may not take them", b & ~0x40n, ["unlocked", "unflushed tlbi"]],
    ["may not break", 0n, ["unlocked", "unflushed tlbi"]],
  ])("%s", (_name, next, expected) => {
    expect(kindsOf(then(stream, section, write(next), end))).toEqual(expected);
  });
});

describe("a table of 64K pages", () => {
  it("waits for its readers with each of its 4K units", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 4 << 20, journalRecords: 1 << 12 });
    engine.journal.start();
    engine.createStage2({ ipaBits: 42, granule: 65536 }).map(0, 65536, 0, "rw");
    const stream = engine.journal.read();
    const leaf = stream.find(({ level, b }) => level === 3 && (b & 1n) === 1n) as JournalRecord;
    const page = leaf.address & ~0xffffn;
    const link = stream.find(({ b }) => (b & 3n) === 3n && (b & 0xffff_ffff_0000n) === page) as JournalRecord;
    const { address, b: descriptor, table } = link;
    const by = { table, walker: 0 };
    const freed = then(
      stream,
      { ...by, kind: J.LOCK, a: 1n },
      { ...by, kind: J.WRITE_SHARED, level: 2, address, a: descriptor, b: 0n },
      { ...by, kind: J.DSB, a: BigInt(DSB_ISH) },
      { ...by, kind: J.TLBI_VMID },
      { ...by, kind: J.DSB, a: BigInt(DSB_ISH) },
      { ...by, kind: J.TABLE_FREED, address: page, a: 1n },
      { ...by, kind: J.UNLOCK, a: 1n },
    );
    expect(kindsOf(freed)).toEqual(Array(16).fill("early-free grace-period"));
  });
});

describe("a local TLBI beside one of all CPUs, where there are two CPUs", () => {
  const stream = streamOf((engine) => {
    engine.createStage2({ forcePte: "all" }).map(0, KB4, 0, "rw");
  });
  const { address, b } = stream.find(({ level, b }) => level === 3 && (b & 1n) === 1n) as JournalRecord;
  const dsb = { kind: J.DSB, a: BigInt(DSB_ISH) };
  const local = { kind: J.TLBI_IPA_LOCAL, level: 3 };
  const all = { kind: J.TLBI_IPA, level: 3 };
  const judged = (...tlbis: Partial<JournalRecord>[]): string[] => {
    const broken = { kind: J.WRITE, level: 3, address, a: b, b: 0n };
    const records = then(stream, broken, dsb, ...tlbis, dsb, { kind: J.TLBI_STAGE1 }, dsb);
    return judgeRecords(records, { cpus: 2 }).violations.map(({ kind }) => kind);
  };

  it("takes nothing from it, and is not enough", () => {
    expect(judged(local, all)).toEqual([]);
    expect(judged(all, local)).toEqual([]);
    expect(judged(local)).toEqual(["unflushed"]);
  });
});

describe("a marker", () => {
  it("that is not there cannot be taken away", () => {
    const engine = createEngine({ walkers: 2, arenaBytes: 2 << 20, journalRecords: 1 << 12 });
    engine.journal.start();
    engine.createStage2({ ipaBits: 39 }).map(0, KB4, 0, "rw");
    const stream = engine.journal.read();
    const { address, table, b } = stream.find(({ level, b }) => level === 3 && (b & 1n) === 1n) as JournalRecord;
    const lock = { kind: J.LOCK, table, walker: 0, a: 1n };
    const write = { kind: J.WRITE_SHARED, table, walker: 0, level: 3, address: address + 64n, b: b + 0x8000n };
    const unlock = { kind: J.UNLOCK, table, walker: 0, a: 1n };
    expect(kindsOf(then(stream, lock, write, unlock))).toEqual([]);
    expect(kindsOf(then(stream, lock, { ...write, a: 0x400n }, unlock))).toContain("stolen");
  });

  it("means nothing in a table that one walker has", () => {
    const stream = streamOf((engine) => {
      engine.createStage2().map(0, KB4, 0, "rw");
    });
    const { address, b } = stream.find(({ level, b }) => level === 3 && (b & 1n) === 1n) as JournalRecord;
    const write = { kind: J.WRITE, level: 3, address: address + 64n, a: 0x400n, b: b + 0x8000n };
    expect(kindsOf(then(stream, write))).toEqual([]);
  });
});

describe("what an engine's record says of a table", () => {
  const stream = streamOf((engine) => {
    engine.createStage2().map(0, KB4, 0, "rw");
  });
  const made = stream.findIndex(({ kind }) => kind === J.TABLE_MADE);

  it.each([
    ["no start tables", 0xff_0000n, 0n],
    ["seventeen start tables", 0xff_0000n, 17n << 16n],
    ["pages of 8 KiB", 0xffn, 13n],
    ["no input bits", 0xff00_0000n, 0n],
  ])("%s", (_name, field, value) => {
    const records = stream.slice(0, made + 1).map((r, i) => (i === made ? { ...r, a: (r.a & ~field) | value } : r));
    const [first] = judgeRecords(records).violations;
    expect(first).toMatchObject({ kind: "geometry", newValue: records[made]?.a });
  });

  it("a table may come with what is in it", () => {
    const write = stream.filter(({ kind, b }) => kind === J.WRITE && (b & 3n) === 3n);
    const [leaf, link] = [write.at(-1), write.at(-2)] as [JournalRecord, JournalRecord];
    const page = 0x70_0000n;
    const filled = then(
      stream,
      { kind: J.TABLE_TAKEN, address: page, a: 1n },
      { kind: J.WRITE, level: 3, address: page + 8n, b: leaf.b | 0x4000_0000n },
      { kind: J.WRITE, level: 2, address: link.address + 8n, b: page | 3n },
    );
    expect(kindsOf(filled)).toEqual([]);
    const wrong = filled.map((r, i) => (i === filled.length - 2 ? { ...r, b: r.b & ~2n } : r));
    expect(kindsOf(wrong)).toEqual(["encoding"]);
  });

  it("a marker that is left in a table is one of its format", () => {
    const write = stream.find(({ kind, level }) => kind === J.WRITE && level === 3) as JournalRecord;
    const marked = { kind: J.WRITE_SHARED, level: 3, address: write.address + 64n, b: 0x400n };
    expect(judgeRecords(then(stream, { ...marked, walker: 5 })).violations).toMatchObject([
      { kind: "left-locked", cpu: 5, level: 3, address: marked.address, oldValue: 0x400n },
    ]);
    expect(kindsOf(then(stream, { ...marked, b: 0x1000n }))).toEqual([]);
  });
});
