// Engines and MMUs in a memory that the caller owns. Whatever lies outside their ranges holds a pattern, which no work may
// change: that of one thread, of several, of one that dies.

import { describe, expect, it } from "vitest";
import { createJudge } from "../../bindings/audit/index.js";
import * as K from "../../bindings/core/constants.generated.js";
import { createEngine as createDebug } from "../../bindings/debug.js";
import { createEngine, type Engine, type EngineOptions, GranuleError, joinEngine, Prot } from "../../bindings/index.js";
import { Access, createMmu, createTlb, Fault, stage2Registers } from "../../bindings/mmu/index.js";
import * as built from "../../dist/bindings/index.js";
import { Random, SEED } from "../support/random.js";
import { stress } from "../support/stress.js";
import { expectReferences, KB4, MB2 } from "../support/tables.js";
import { BASE, FAULT, home, slotAt, Thread } from "../support/walkers.js";

const MB = 1 << 20;
const PAGE = 65536;

/** A memory with a pattern in it, which looks whether the pattern is still there. */
class Memory {
  readonly memory: WebAssembly.Memory;
  readonly #before: Uint8Array;

  constructor(megabytes: number, seed = SEED, room = 0) {
    const initial = megabytes * 16;
    this.memory = new WebAssembly.Memory({ initial, maximum: initial + room * 16, shared: true });
    const words = new Uint32Array(this.memory.buffer);
    const random = new Random(seed);
    const pattern = Uint32Array.from({ length: 4099 }, () => random.u32());
    for (let i = 0; i < words.length; i += pattern.length) words.set(pattern.subarray(0, words.length - i), i);
    this.#before = new Uint8Array(this.memory.buffer).slice();
  }

  /** Every byte outside the ranges is as it was. */
  expectUntouchedBut(...ranges: (readonly [offset: number, bytes: number])[]): void {
    const now = new Uint8Array(this.memory.buffer);
    let from = 0;
    for (const [offset, bytes] of [...ranges, [this.#before.length, 0] as const].sort(([a], [b]) => a - b)) {
      const [was, is] = [this.#before.subarray(from, offset), now.subarray(from, offset)];
      const same = Buffer.compare(was, is) === 0;
      expect(same ? "untouched" : `byte ${from + is.findIndex((byte, i) => byte !== was[i])} was written`).toBe(
        "untouched",
      );
      from = offset + bytes;
    }
  }
}

function errorOf(operation: () => unknown): GranuleError {
  try {
    operation();
  } catch (error) {
    if (error instanceof GranuleError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

/** Everything that one walker does, on both kinds of tables. */
function work(engine: Engine): number {
  using table = engine.createStage2({ ipaBits: 40 });
  using hyp = engine.createHyp({ vaBits: 39 });
  table.map(BASE, 4 * MB2, home(BASE), "rw");
  table.split(BASE, MB2);
  table.wrprotect(BASE, 9 * KB4);
  table.unmap(BASE + BigInt(MB2), KB4);
  table.map(BASE + BigInt(MB2), MB2, home(BASE), "r", { cache: "own" });
  hyp.map(0x1000, 7 * KB4, 0x4000_0000, "rw");
  using columns = engine.createColumns(64);
  using batch = engine.createBatch(64);
  for (let i = 0; i < 64; i++) {
    columns.addresses[i] = BigInt(i * 3 * KB4);
    columns.values[i] = home(0n) + BigInt(i * KB4);
    batch.map(table, (1 << 29) + i * KB4, KB4, 0x8000_0000 + i * KB4, "r");
  }
  table.mapColumns(columns, 64, "rw");
  batch.run();
  table.leafColumns(columns, 64);
  expectReferences(table);
  const leaves = table.countLeaves() + [...hyp.leaves()].length;
  hyp.unmap(0x1000, 7 * KB4);
  return leaves;
}

const PLACES = [
  { offset: 0, bytes: 3 * MB, physBase: 0 },
  { offset: 3 * MB + 5 * PAGE, bytes: 4 * MB - PAGE, physBase: 0x4000_0000 + 3 * PAGE },
  { offset: 12 * MB, bytes: 4 * MB, physBase: 0x8000_0000 },
] as const;

describe.each([
  ["the release core", createEngine],
  ["the debug core", createDebug],
])("an engine in the caller's memory, by %s", (_, create) => {
  it.each(PLACES)("touches no byte outside its range: %o", (place) => {
    const ram = new Memory(16);
    const made = () =>
      create({ memory: ram.memory, ...place, journalRecords: 300, walkers: 2, maxTables: 9, pretouch: true });
    for (let round = 0; round < 2; round++) {
      using engine = made();
      expect(engine.offset).toBe(place.offset);
      expect(engine.arenaPointer % PAGE).toBe(0);
      // The physical address of the range's first byte is physBase, and every other is as far from it as its pointer.
      expect(engine.physBase - BigInt(place.physBase)).toBe(BigInt(engine.arenaPointer - place.offset));
      expect(engine.arenaPointer + engine.arenaBytes).toBeLessThanOrEqual(place.offset + place.bytes);
      engine.journal.start();
      expect(work(engine)).toBe(work(engine));
      while (engine.arena().taken < engine.arenaBytes) engine.takeBlock(KB4);
    }
    ram.expectUntouchedBut([place.offset, place.bytes]);
  });
});

describe("several engines in one memory", () => {
  it("work side by side, each with its own tables, counters and journal", () => {
    const ram = new Memory(17);
    const engines = PLACES.map((place) => createEngine({ memory: ram.memory, ...place, journalRecords: 64 }));
    const alone = createEngine({ arenaBytes: MB });
    const leaves = work(alone);
    const [one, two] = engines as [Engine, Engine];
    using mine = one.createStage2();
    using yours = two.createStage2();
    engines.forEach((engine, i) => {
      for (let n = 0; n <= i; n++) expect(work(engine)).toBe(leaves);
    });
    engines.forEach((engine, i) => {
      expect(engine.counters().leavesMade).toBe((i + 1) * alone.counters().leavesMade);
    });
    // A table of one is none of the other, though both have the same number.
    expect(mine.handle).toBe(yours.handle);
    expect(errorOf(() => two.adopt(mine.ticket())).code).toBe("EINVAL");
    expect(errorOf(() => two.createBatch(1).map(mine, 0, KB4, 0, "r")).code).toBe("EINVAL");
    expect(errorOf(() => yours.map(0, KB4, 0, "r", { cache: one.createCache() })).code).toBe("EINVAL");
    expect(one.core.giveBlock(two.arenaPointer)).toBe(K.EINVAL);
    for (const engine of engines) engine.close();
    ram.expectUntouchedBut(...PLACES.map(({ offset, bytes }) => [offset, bytes] as const));
  });

  it("answer calls on plain numbers each from its own tables, and so do MMUs that share an instance", () => {
    const ram = new Memory(17);
    const engines = PLACES.map((place) => createEngine({ memory: ram.memory, ...place }));
    const mmus = engines.map((engine, i) => {
      const table = engine.createStage2({ ipaBits: 40 });
      const pa = 0x8000_0000 + i * MB;
      expect(table.direct.map(0x4000, KB4, pa, Prot.R)).toBe(0); // by a walk, which makes the tables
      expect(table.direct.map(0x5000, KB4, pa + KB4, Prot.R)).toBe(0); // a page without one
      expect(table.lookup(0x5123)).toBe(pa + KB4 + 0x123);
      expect(table.direct.relaxPerms(0x5000, Prot.W)).toBe(0);
      expect(table.direct.unmap(0x4000, KB4)).toBe(0);
      expect(table.lookup(0x4000)).toBe(-1);
      expectReferences(table);
      return createMmu({ engine, registers: stage2Registers(table) });
    });
    expect(new Set(mmus.map(({ core }) => core)).size).toBe(1);
    mmus.forEach((mmu, i) => {
      using tlb = createTlb(mmu);
      for (let n = 0; n < 3; n++) {
        expect(mmu.lookup(0x5123, Access.WRITE)).toBe(0x8000_1123 + i * MB);
        expect(tlb.lookup(0x5123, Access.WRITE)).toBe(0x8000_1123 + i * MB);
        expect(tlb.lookup(0x4000, Access.READ)).toBe(Fault.TRANSLATION);
      }
      expect(mmu.lookup(0x4000, Access.READ)).toBe(Fault.TRANSLATION);
    });
    ram.expectUntouchedBut(...PLACES.map(({ offset, bytes }) => [offset, bytes] as const));
  });

  it("are judged, each by its own journal", () => {
    const ram = new Memory(17);
    const engines = PLACES.map((place) => createEngine({ memory: ram.memory, ...place, journalRecords: 4096 }));
    const tables = engines.map((engine) => engine.createStage2({ ipaBits: 40 }));
    const watches = engines.map((engine) => createJudge().watch(engine));
    watches.forEach((watch, i) => {
      tables[i]?.map(BASE, 3 * KB4, home(BASE), "rw");
      watch.adopt(tables[i] as (typeof tables)[number]);
      tables[i]?.unmap(BASE, KB4);
    });
    // The second one's page is moved, and no TLBI follows the break.
    tables[1]?.map(BASE + BigInt(KB4), KB4, home(0n), "rw", { skipBreakTlbi: true });
    expect(watches.map((watch) => watch.drain().length)).toEqual([0, 1, 0]);
  });
});

/** Walkers on threads in `options`' range of a memory with a pattern; `work` is given the engine. */
describe("walkers on threads in the caller's memory", () => {
  const place = { offset: 3 * MB + PAGE, bytes: 35 * MB, physBase: 0x9000_0000 } as const;

  it("touch no byte outside, whatever they do", { timeout: 120_000 }, async () => {
    const ram = new Memory(40);
    const inside = (options: EngineOptions) => createEngine({ ...options, memory: ram.memory, ...place });
    try {
      const { engine, table, free } = await stress(inside, 2, 6000, SEED);
      engine.reclaim();
      expectReferences(table);
      expectReferences(free);
      expect(engine.counters().warnings).toBe(0);
      expect(engine.limbo()).toMatchObject({ waiting: 0 });
      table.close();
      free.close();
      engine.close();
      ram.expectUntouchedBut([place.offset, place.bytes]);
    } catch (error) {
      throw new Error(`GRANULE_SEED=${SEED}: ${(error as Error).message}`, { cause: error });
    }
  });

  it("in two engines at once disturb neither", { timeout: 120_000 }, async () => {
    const ram = new Memory(72);
    const places = [place, { ...place, offset: 38 * MB + 2 * PAGE, bytes: 33 * MB }];
    const runs = places.map((where, i) =>
      stress(
        (options) => createEngine({ ...options, arenaBytes: 30 * MB, memory: ram.memory, ...where }),
        2,
        3000,
        SEED + i,
      ),
    );
    for (const { engine, table, free } of await Promise.all(runs)) {
      engine.reclaim();
      expectReferences(table);
      expectReferences(free);
      expect(engine.counters().warnings).toBe(0);
    }
    ram.expectUntouchedBut(...places.map(({ offset, bytes }) => [offset, bytes] as const));
  });

  it("are buried there when they die between a break and its make", async () => {
    const ram = new Memory(40);
    const engine = createDebug({ memory: ram.memory, ...place, walkers: 2 });
    const { taken } = engine.arena();
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(BASE + BigInt(MB2) - 4096n, KB4, home(BASE), "r");
    const victim = new Thread(engine, 1, table);
    victim.stopAt(K.POINT_RELEASE, slotAt(table, BASE));
    void victim.call("map", BASE, KB4, home(BASE), "rw", FAULT);
    await victim.stopped();
    await victim.kill();
    expect(engine.bury(1)).toMatchObject({ inSection: true, unlocked: 1, coreLocks: 0 });
    expectReferences(table);
    expect(table.leaf(BASE).kind).toBe("hole");
    table.close();
    engine.reclaim();
    expect(engine.arena().taken).toBe(taken);
    ram.expectUntouchedBut([place.offset, place.bytes]);
  });

  it("are a pool there", async () => {
    const ram = new Memory(40);
    using engine = built.createEngine({ memory: ram.memory, ...place, walkers: 4 });
    using table = engine.createStage2();
    {
      await using pool = await built.createPool(engine, { size: 3, mode: "threads" });
      using batch = engine.createBatch(64);
      for (let i = 0; i < 64; i++) batch.map(table, i * 16 * KB4, 16 * KB4, 0x8000_0000, "rw");
      pool.kill(2);
      await pool.run(batch);
    }
    expect(table.countLeaves()).toBe(1024);
    expect(engine.walkers().filter(({ attached }) => attached).length).toBe(1);
    ram.expectUntouchedBut([place.offset, place.bytes]);
  });
});

describe("a range of the caller's memory", () => {
  const refused = (options: EngineOptions, words: RegExp, code = "EINVAL") => {
    const error = errorOf(() => createEngine(options));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(words)]);
  };

  it("that does not fit is refused by a message that names the value and the limit", () => {
    const ram = new Memory(4);
    const { memory } = ram;
    refused({ offset: 0 }, /range of `memory`, which is not given/);
    refused({ bytes: 4 * MB }, /range of `memory`, which is not given/);
    refused({ memory: {} as never }, /not a WebAssembly.Memory/);
    refused({ memory: new WebAssembly.Memory({ initial: 64 }) }, /not shared/);
    refused({ memory, offset: 4096 }, /offset 4096 is not a multiple of 65536/);
    refused({ memory, offset: -PAGE }, /offset -65536 is not a multiple/);
    refused({ memory, offset: Number.NaN }, /offset NaN is not a multiple/);
    refused({ memory, bytes: 2 * MB + 1 }, /bytes 2097153 is not a multiple of 65536/);
    refused({ memory, offset: 2 * MB, bytes: 3 * MB }, /beyond the memory's end, 4194304/);
    refused({ memory, offset: 5 * MB }, /bytes -1048576 is not a multiple/);
    refused({ memory, physBase: 4096 }, /physBase 0x1000 is not a multiple of 64 KiB/);
    refused(
      { memory, bytes: MB },
      /bytes 1048576 from offset 0 are too few: an arena of 1 MiB and its records need 2097152/,
    );
    refused({ memory, arenaBytes: 4 * MB }, /too few: an arena of 4 MiB and its records need 5242880/);
    refused({ memory, arenaBytes: 4096 }, /arenaBytes 4096/);
    refused({ memory, journalRecords: 2 ** 20 }, /an arena of 1 MiB and its records need 5[0-9]{7}/);
    ram.expectUntouchedBut();
    // What the message says is enough.
    expect(createEngine({ memory, bytes: 2 * MB }).arenaBytes).toBe(MB);
    expect(createEngine({ memory, offset: 2 * MB, bytes: MB + 6 * PAGE, physBase: 10 * PAGE }).arenaBytes).toBe(MB);
  });

  it("is given to one engine at a time, and again once its walkers have left", () => {
    const { memory } = new Memory(16);
    const options = { memory, offset: 4 * MB, bytes: 8 * MB, walkers: 2 };
    const engine = createEngine(options);
    const [ticket, late] = [engine.ticket(1), engine.ticket(0)];
    const other = joinEngine(ticket);
    const used = /an engine uses bytes 4194304 to [0-9]+ of this memory: close it first/;
    refused(options, used, "EEXIST");
    for (const [offset, bytes] of [
      [0, 16 * MB],
      [2 * MB, 2 * MB + PAGE],
      [8 * MB, 8 * MB],
      [5 * MB, 2 * MB],
    ] as const) {
      refused({ memory, offset, bytes }, used, "EEXIST");
    }
    using below = createEngine({ memory, offset: 0, bytes: 4 * MB });
    using above = createEngine({ memory, offset: 12 * MB, bytes: 4 * MB });
    work(below);
    work(above);
    engine.close();
    refused(options, used, "EEXIST");
    other.close();
    using rejoined = joinEngine(late); // nobody has laid anything over it
    expect(rejoined.walker).toBe(0);
    rejoined.close();
    using next = createEngine(options);
    // A ticket of the engine that was there is not one of the next.
    expect(errorOf(() => joinEngine(ticket)).message).toMatch(/the engine of this ticket is gone/);
    expect(next.walkers().map(({ attached }) => attached)).toEqual([true, false]);
    work(next);
  });

  it("may hold anything before, also what looks like an engine", () => {
    const { memory } = new Memory(16);
    createEngine({ memory, offset: 4 * MB, bytes: 4 * MB }); // nobody closes it
    const bytes = new Uint8Array(memory.buffer);
    bytes.copyWithin(8 * MB, 4 * MB, 8 * MB); // a snapshot of RAM, elsewhere
    using engine = createEngine({ memory, offset: 8 * MB, bytes: 8 * MB });
    work(engine);
    expect(errorOf(() => createEngine({ memory, offset: 4 * MB, bytes: 4 * MB })).code).toBe("EEXIST");
    bytes.fill(0, 4 * MB, 4 * MB + K.HEADER_BYTES); // who is sure that nobody uses it
    using again = createEngine({ memory, offset: 4 * MB, bytes: 4 * MB });
    work(again);
  });

  it("stays where it is when the caller grows the memory", () => {
    const { memory } = new Memory(8, SEED, 8);
    using engine = createEngine({ memory, offset: 4 * MB, walkers: 2 });
    using table = engine.createStage2({ ipaBits: 40 });
    table.map(BASE, 9 * KB4, home(BASE), "r");
    memory.grow(8 * 16);
    expect(table.countLeaves()).toBe(9);
    work(engine);
    using other = joinEngine(engine.ticket(1));
    expect(other.adopt(table.ticket()).countLeaves()).toBe(9);
    using second = createEngine({ memory, offset: 8 * MB });
    work(second);
  });

  it("may end where the linear memory does", () => {
    const memory = new WebAssembly.Memory({ initial: 65536, maximum: 65536, shared: true });
    using engine = createEngine({ memory, offset: 65536 * PAGE - 4 * MB });
    expect(engine.arenaPointer + engine.arenaBytes).toBe(2 ** 32 - MB);
    work(engine);
    while (engine.arena().taken < engine.arenaBytes) engine.takeBlock(KB4);
  });
});
