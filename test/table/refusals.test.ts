// What an error says: the value that was given, and the limit that it broke. And ranges that are not of whole pages.

import { describe, expect, it } from "vitest";
import { createEngine, type Engine, GranuleError, joinEngine, Prot } from "../../bindings/index.js";
import { digest, KB4, MB2, smallEngine } from "../support/tables.js";

/** `CODE: sentence` of the error that `call` throws, without the operation and the address before the sentence. */
function refusal(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof GranuleError) return `${error.code}: ${error.hint}`;
    throw error;
  }
  return "nothing was thrown";
}

/** An engine whose arena is taken, but for what `free` bytes need. */
function spentEngine(): Engine {
  const engine = smallEngine({ arenaBytes: 1 << 20 });
  const { bytes, taken } = engine.arena();
  for (let left = bytes - taken; left >= KB4; left -= KB4) engine.takeBlock(KB4);
  return engine;
}

describe("an address beyond the table", () => {
  const engine = smallEngine();
  const table = engine.createStage2({ ipaBits: 39 });
  const hyp = engine.createHyp({ vaBits: 42 });
  const columns = engine.createColumns(2);

  it.each<[string, string, () => unknown]>([
    [
      "leaf",
      "the input address is 0x8000000000, and the table's input addresses end at 0x8000000000 (39 bits)",
      () => table.leaf(2 ** 39),
    ],
    [
      "map",
      "the input range ends at 0x8000001000, and the table's input addresses end at 0x8000000000 (39 bits)",
      () => table.map(2 ** 39 - KB4, 2 * KB4, 0, "r"),
    ],
    [
      "map",
      "the output address is 0x2000000000000, and the table's output addresses end at 0x1000000000000 (48 bits)",
      () => table.map(0, KB4, 2 ** 49, "r"),
    ],
    [
      "map",
      "the output range ends at 0x1000000001000, and the table's output addresses end at 0x1000000000000 (48 bits)",
      () => table.map(0, 2 * KB4, 2 ** 48 - KB4, "r"),
    ],
    [
      "poke",
      "the input address is 0x10000000000, and the table's input addresses end at 0x8000000000 (39 bits)",
      () => table.poke(2 ** 40, 0n),
    ],
    [
      "entries",
      "the input range ends at 0x10000000000, and the table's input addresses end at 0x8000000000 (39 bits)",
      () => [...table.entries({ to: 2 ** 40 })],
    ],
    [
      "countLeaves",
      "the input range ends at 0x10000000000, and the table's input addresses end at 0x8000000000 (39 bits)",
      () => table.countLeaves(0, 2 ** 40),
    ],
    [
      "createUnlinked",
      "the output address is 0x2000000000000, and the table's output addresses end at 0x1000000000000 (48 bits)",
      () => table.createUnlinked(2 ** 49, 2, "r"),
    ],
    [
      "hyp.map",
      "the input address is 0x40000000000, and the table's input addresses end at 0x40000000000 (42 bits)",
      () => hyp.map(2 ** 42, KB4, 0, "r"),
    ],
    [
      "mapColumns",
      "the input address is 0x8000000000, and the table's input addresses end at 0x8000000000 (39 bits)",
      () => {
        columns.addresses.set([0n, 1n << 39n]);
        table.mapColumns(columns, 2, "r");
      },
    ],
    [
      "mapColumns",
      "the output address is 0x2000000000000, and the table's output addresses end at 0x1000000000000 (48 bits)",
      () => {
        columns.addresses.set([0x1000n, 0x2000n]);
        columns.values.set([0n, 1n << 49n]);
        table.mapColumns(columns, 2, "r");
      },
    ],
  ])("is named with the limit by %s: %s", (_name, words, call) => {
    expect(refusal(call)).toBe(`ERANGE: ${words}`);
  });
});

describe("an argument that is wrong", () => {
  const engine = smallEngine();
  const table = engine.createStage2({ ipaBits: 39 });
  const typed = engine.createStage2({ ipaBits: 39, annotations: "7.x" });
  const same = engine.createStage2({ ipaBits: 39, flags: { identity: true } });
  const hyp = engine.createHyp({ vaBits: 39 });
  const gone = engine.createStage2();
  gone.destroy();
  const map = (prot: number | string) => () => table.map(0, KB4, 0, prot);

  it.each<[string, () => unknown]>([
    ["the protection is X DEVICE: DEVICE and NC exclude execute", map("xd")],
    ["the protection is DEVICE NC: a leaf has one memory type", map("dn")],
    ["0x100000 has bits that no protection has", map(1 << 20)],
    ["the protection is PX: PX or UX alone needs a table with `xnx`", map(Prot.PX)],
    ["the protection is SW0: software bits cannot be added", () => table.relaxPerms(0, Prot.SW0)],
    ["the protection is W: EL2's own mappings need R", () => hyp.map(0, KB4, 0, "w")],
    ["the protection is R W X: at EL2 execute excludes W and DEVICE", () => hyp.map(0, KB4, 0, "rwx")],
    ["the protection is R PX: PX or UX alone needs a table with `hvhe`", () => hyp.map(0, KB4, 0, Prot.R | Prot.PX)],
    ["a protection is a mask or letters, not undefined", () => table.map(0, KB4, 0, undefined as never)],
    ["a protection is a mask or letters, not object", () => table.map(0, KB4, 0, null as never)],
    [
      "the cache holds pages of 16384 bytes, and the table's granule is 4096",
      () => table.map(0, KB4, 0, "r", { cache: engine.createCache(16384, 1) }),
    ],
    [
      "the table maps one to one (flags.identity), and the output address is 0x1000",
      () => same.map(0, KB4, 0x1000, "r"),
    ],
    [
      'typed annotations are of tables with annotations: "7.x"; here it is `setOwner`',
      () => table.annotate(0, KB4, 2, 2n),
    ],
    ['owners are of tables with annotations: "6.12"; here it is `annotate`', () => typed.setOwner(0, KB4, 1)],
    ["the owner is 300: 0 or 1", () => table.setOwner(0, KB4, 300)],
    ["the type is 1: 2..15, and the payload lies in bits 59:1 and is not 0", () => typed.annotate(0, KB4, 1, 2n)],
    ["the table was destroyed", () => gone.map(0, KB4, 0, "r")],
    ["the level is 3: an entry that names a table is of level 1 or 2", () => table.createUnlinked(0, 3, "r")],
    [
      "the output address 0x1000 is not a multiple of what an entry of level 2 covers, 0x200000",
      () => table.createUnlinked(KB4, 2, "r"),
    ],
    ["12 is no table page of the arena, or 2 is no level (-1..3)", () => table.freeUnlinked(12, 2)],
    ["5 pages are more than the cache's capacity, 4", () => engine.createCache(4096, 4).topUp(5)],
    ["5 pages are more than the cache's capacity, 4", () => engine.createCache(4096, 4).fill(5)],
    ["no block of takeBlock begins at 12", () => engine.giveBlock(12)],
    ["walker 0 is this one", () => engine.bury(0)],
    ["there is no walker 5: walkers are 0..0", () => engine.bury(5)],
    ["physBase 0x1 is not a multiple of 1 MiB", () => createEngine({ physBase: 1 })],
    [
      "physBase 0x10000000000000: the arena would end at 0x10000004000000, above 2^52",
      () => createEngine({ physBase: 1n << 52n }),
    ],
    ["vaBits is 8: tables of this granule translate 13..57 bits", () => engine.createHyp({ vaBits: 8 })],
    ["VTCR 0x0: its TG0, T0SZ and SL0 make no table of granule 4096", () => engine.createStage2({ vtcr: 0n })],
    [
      "the arena ends at 0x1000000100000: descriptors of this format name addresses below 2^48",
      () => createEngine({ arenaBytes: 1 << 20, physBase: 1n << 48n }).createStage2(),
    ],
  ])("is named: %s", (words, call) => {
    expect(refusal(call)).toBe(`EINVAL: ${words}`);
  });

  it("of a walker that is taken, or of one too many tables, says so", () => {
    const small = smallEngine({ walkers: 2, maxTables: 1 });
    expect(refusal(() => joinEngine(small.ticket(0)))).toBe("EBUSY: somebody is this walker already");
    small.createStage2();
    expect(refusal(() => small.createStage2())).toBe(
      "EBUSY: no table slot is free: close a table, or make the engine with more maxTables",
    );
    expect(refusal(() => small.bury(1))).toBe("EINVAL: walker 1 is not attached: there is nothing to bury");
  });

  it("changes nothing", () => {
    const before = digest(table);
    expect(refusal(map("xd"))).toMatch(/^EINVAL/);
    expect(digest(table)).toBe(before);
  });
});

describe("memory that is spent", () => {
  const all = "1048576 of the arena's 1048576 bytes are taken (raise arenaBytes)";

  it("is told with how much there is, and where it was wanted from", () => {
    const engine = smallEngine({ arenaBytes: 1 << 20 });
    const table = engine.createStage2({ ipaBits: 39 });
    const cache = engine.createCache(4096, 4);
    expect(refusal(() => table.map(0, KB4, 0, "r", { cache }))).toBe(
      "ENOMEM: a table is needed, and the cache is empty: `topUp` before",
    );
    expect(refusal(() => table.map(0, KB4, 0, "r", { cache: null }))).toBe(
      "ENOMEM: a table is needed, and `cache: null` gives none",
    );
    expect(refusal(() => table.map(0, 2 ** 34, KB4, "r"))).toBe(`ENOMEM: no page of 4096 bytes for a table: ${all}`);
    expect(refusal(() => cache.topUp(2))).toBe(`ENOMEM: no 2 pages of 4096 bytes: ${all}`);
    expect(refusal(() => engine.createStage2())).toBe(`ENOMEM: no start tables of 4096 bytes a page: ${all}`);
    expect(refusal(() => engine.takeBlock(KB4))).toBe(`ENOMEM: no block of 4096 bytes: ${all}`);
    expect(refusal(() => engine.takeBlock(2 << 20))).toBe("ENOMEM: 2097152 bytes are more than a block has, 1048576");
    expect(refusal(() => spentEngine().createCache(4096, 1))).toBe(`ENOMEM: no block for the cache: ${all}`);
  });
});

describe("a range that is not of whole pages", () => {
  const engine = smallEngine();

  it.each([4096, 16384, 65536] as const)("is refused, and nothing changes (granule %d)", (granule) => {
    const table = engine.createStage2({ granule, ipaBits: 36 });
    const hyp = engine.createHyp({ granule, vaBits: 36 });
    table.map(0, 2 * granule, 0, "rw");
    hyp.map(0, 2 * granule, 0, "rw");
    const before = [digest(table), digest(hyp)];
    const odd = granule / 2;
    const calls: [string, () => unknown][] = [
      ["address", () => table.map(odd, granule, 0, "r")],
      ["size", () => table.map(0, odd, 0, "r")],
      ["output address", () => table.map(0, granule, odd, "r")],
      ["address", () => table.unmap(odd, granule)],
      ["size", () => table.unmap(0, odd)],
      ["address", () => table.wrprotect(odd, granule)],
      ["size", () => table.testClearYoung(0, odd)],
      ["address", () => table.flush(odd, granule)],
      ["address", () => table.split(odd, granule)],
      ["address", () => table.setOwner(odd, granule, 1)],
      ["size", () => table.destroyRange(0, odd)],
      ["address", () => hyp.map(odd, granule, 0, "r")],
      ["output address", () => hyp.map(0, granule, odd, "r")],
      ["size", () => hyp.unmap(0, odd)],
    ];
    for (const [what, call] of calls) {
      const hexed = (n: number) => `0x${n.toString(16)}`;
      const words = `the ${what} ${hexed(odd)} is not a multiple of the granule ${hexed(granule)}`;
      expect(refusal(call)).toBe(`EINVAL: ${words} (\`strict: false\` of the table rounds)`);
    }
    expect([digest(table), digest(hyp)]).toEqual(before);
  });

  it("may begin anywhere in its page where it is one address", () => {
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(0, KB4, 0, "r");
    expect(table.mkyoung(0x123)).not.toBe(0n);
    expect(table.relaxPerms(0x123, "w")).toBe("done");
    expect(table.leaf(0x123).kind).toBe("page");
  });

  it("is rounded as the kernel does with strict: false, in batches and in columns [WLK-1]", () => {
    const table = engine.createStage2({ ipaBits: 39, strict: false });
    table.map(0x1800, 0x1001, 0x9800, "r");
    expect([...table.leaves()].map(({ address, pa }) => [address, pa])).toEqual([
      [0x1000n, 0x9000n],
      [0x2000n, 0xa000n],
    ]);
    const hyp = engine.createHyp({ vaBits: 39, strict: false });
    hyp.map(0x1800, 1, 0x9800, "r");
    expect(hyp.leaf(0x1000).pa).toBe(0x9000n);
    const strict = engine.createStage2({ ipaBits: 39 });
    using batch = engine.createBatch(1);
    batch.map(strict, MB2 + 0x800, 1, 0x9800, "r");
    batch.run();
    expect(batch.result(0).status).toBe(0);
    using columns = engine.createColumns(1);
    columns.addresses[0] = 0x3123n;
    strict.mapColumns(columns, 1, "r");
    expect(strict.countLeaves()).toBe(2);
  });

  it("is refused by who adopts a strict table, and rounded by who adopts another", () => {
    const shared = smallEngine({ walkers: 2 });
    using second = joinEngine(shared.ticket(1));
    const adopt = (strict: boolean) => second.adopt(shared.createStage2({ ipaBits: 39, strict }).ticket());
    expect(refusal(() => adopt(true).map(0x800, KB4, 0, "r"))).toMatch(/^EINVAL: the address 0x800 is not/);
    expect(refusal(() => adopt(false).map(0x800, KB4, 0, "r"))).toBe("nothing was thrown");
  });
});
