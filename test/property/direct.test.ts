// Calls on plain numbers against the same operations with bigints and names, on twin tables. The numbers take the ways of one page
// wherever they can; the other engine keeps a journal, so that all of its operations are walks. Equal statuses, tables, reference counts,
// counters and lookups.

import { describe, expect, it } from "vitest";
import {
  createEngine,
  type DirectOptions,
  type Engine,
  GranuleError,
  Prot,
  type Stage2Config,
  type Stage2Direct,
} from "../../bindings/index.js";
import { Random, runs, SEED } from "../support/random.js";
import { contents, expectReferences, rootReferences } from "../support/tables.js";

const RUNS = runs(300);
const STEPS = 60;
const AGAIN = -11;
const PROTS = ["r", "rw", "rx", "w", "rwx", "rd", "-", "rwn"] as const;

type Table = ReturnType<Engine["createStage2"]>;

function config(random: Random): Stage2Config {
  const granule = random.pick([4096, 4096, 4096, 16384, 65536] as const);
  return {
    granule,
    lpa2: granule !== 65536 && random.oneIn(4),
    ipaBits: granule === 4096 ? random.pick([39, 40, 48]) : granule === 16384 ? 36 : 42,
    fwb: !random.oneIn(4),
    xnx: random.oneIn(4),
    tlbiRange: !random.oneIn(4),
    quirks: random.oneIn(2) ? "none" : "linux-6.12",
    hardwareDirty: random.oneIn(4),
    lockFree: random.oneIn(4),
    annotations: random.oneIn(5) ? "7.x" : "6.12",
    flags: { identity: random.oneIn(12) },
    forcePte: random.oneIn(2) ? "all" : "none",
    strict: random.oneIn(2),
  };
}

/** What an operation with bigints and names ends with, in the numbers of the direct calls. */
function statusOf(operation: () => unknown): number {
  try {
    const outcome = operation();
    if (outcome === "again") return AGAIN;
    return typeof outcome === "boolean" ? Number(outcome) : 0;
  } catch (error) {
    if (error instanceof GranuleError) return error.errno;
    throw error;
  }
}

function mask(prot: string): number {
  const bits: Record<string, number> = { r: Prot.R, w: Prot.W, x: Prot.X, d: Prot.DEVICE, n: Prot.NC, "-": 0 };
  return [...prot].reduce((all, letter) => all | (bits[letter] as number), 0);
}

/** One random operation on both: [the number's status, the other's]. */
function both(
  random: Random,
  page: number,
  direct: Stage2Direct,
  table: Table,
  options: DirectOptions,
): [number, number] {
  const end = 2 ** table.info().inputBits;
  const block = page * (page / 8);
  const ipa = random.oneIn(40)
    ? random.pick([end, end - page, end + page, 2 ** 52])
    : page * random.below(24) + random.pick([0, 0, block]);
  const at = random.oneIn(4) ? ipa + random.below(page) : ipa;
  const size = random.oneIn(4) ? random.pick([0, 1, page - 1, page + 1, 3 * page, block]) : page;
  const pa = random.oneIn(30)
    ? random.pick([2 ** 48, 2 ** 52, 2 ** 48 - page])
    : page * random.below(64) + random.pick([0, 0, 0, 7]);
  const prot = random.pick(PROTS);
  const { shared = false, lockFree = false, handleFault = false } = options;
  const [wide, bytes] = [BigInt(at), BigInt(size)];
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2:
      return [
        direct.map(at, size, pa, mask(prot)),
        statusOf(() => table.map(wide, bytes, BigInt(pa), prot, { shared, handleFault })),
      ];
    case 3:
      return [direct.unmap(at, size), statusOf(() => table.unmap(wide, bytes))];
    case 4:
      return [direct.relaxPerms(at, mask(prot)), statusOf(() => table.relaxPerms(wide, prot, { shared, lockFree }))];
    case 5: {
      const status = direct.mkyoung(at);
      const rich = statusOf(() => (table.mkyoung(wide, { shared, lockFree }) === 0n ? "again" : "done"));
      return [status, rich];
    }
    case 6:
      return [direct.wrprotect(at, size), statusOf(() => table.wrprotect(wide, bytes, { shared }))];
    default: {
      const clear = random.oneIn(2);
      return [
        direct.testClearYoung(at, size, clear),
        statusOf(() => table.testClearYoung(wide, bytes, clear, { shared })),
      ];
    }
  }
}

/** Where the table maps what `leaf` says, byte by byte of a few. */
function expectLookups(table: Table, page: number): void {
  for (let i = 0; i < 26; i++) {
    const at = page * i + 5;
    const leaf = table.leaf(at);
    const mapped = leaf.kind === "page" || leaf.kind === "block" || leaf.kind === "reserved";
    expect(table.lookup(at)).toBe(mapped ? Number(leaf.pa + BigInt(at) - leaf.address) : -1);
  }
}

function sequence(seed: number): void {
  const random = new Random(seed);
  const c = config(random);
  const walkers = random.oneIn(3) ? 2 : 1;
  const [a, b] = [0, 1 << 12].map((journalRecords) =>
    createEngine({ arenaBytes: 4 << 20, journalRecords, walkers }),
  ) as [Engine, Engine];
  const [direct, rich] = [a.createStage2(c), b.createStage2(c)];
  b.journal.start();
  const options: DirectOptions = {
    shared: random.oneIn(2),
    lockFree: c.lockFree === true && random.oneIn(2),
    handleFault: random.oneIn(2),
  };
  const calls = random.oneIn(4) && !options.shared ? direct.direct : direct.createDirect(options);
  const said = calls === direct.direct ? {} : options;
  for (let i = 0; i < STEPS; i++) {
    const [number, other] = both(random, c.granule as number, calls, rich, said);
    const where = `seed ${seed}, step ${i}`;
    expect(number, where).toBe(other);
    expect(a.counters(), where).toEqual(b.counters());
  }
  expect(contents(direct), `seed ${seed}`).toEqual(contents(rich));
  expect(rootReferences(direct), `seed ${seed}`).toEqual(rootReferences(rich));
  expectReferences(direct);
  expectLookups(direct, c.granule as number);
  a.close();
  b.close();
}

describe(`calls on plain numbers, first seed ${SEED}`, () => {
  it("leave what walks leave, with any options", { timeout: 120_000 }, () => {
    for (let seed = SEED; seed < SEED + RUNS; seed++) sequence(seed);
  });

  it("of EL2's tables too", () => {
    const random = new Random(SEED);
    for (let run = 0; run < RUNS / 4; run++) {
      const [a, b] = [createEngine({ arenaBytes: 4 << 20 }), createEngine({ arenaBytes: 4 << 20 })];
      const [numbers, rich] = [a.createHyp({ vaBits: 39 }), b.createHyp({ vaBits: 39 })];
      for (let i = 0; i < STEPS; i++) {
        const [va, pages, prot] = [
          4096 * random.below(24),
          random.below(4),
          random.pick(["r", "rw", "rx", "w"] as const),
        ];
        const pa = 4096 * random.below(64);
        if (random.oneIn(2)) {
          const status = statusOf(() => rich.map(BigInt(va), BigInt(4096 * pages), BigInt(pa), prot));
          expect(numbers.direct.map(va, 4096 * pages, pa, mask(prot))).toBe(status);
        } else {
          expect(numbers.direct.unmap(va, 4096 * pages)).toBe(Number(rich.unmap(BigInt(va), BigInt(4096 * pages))));
        }
        expect(a.counters()).toEqual(b.counters());
      }
      expect(contents(numbers)).toEqual(contents(rich));
    }
  });

  it("refuse what is no address or mask by a status, and change nothing", () => {
    const engine = createEngine({ arenaBytes: 1 << 20 });
    const table = engine.createStage2({ ipaBits: 39 });
    const { direct } = table;
    const hyp = engine.createHyp({ vaBits: 39 });
    table.map(0, 0x3000, 0, "r");
    const before = contents(table);
    const wrong: unknown[] = [
      -1,
      1.5,
      NaN,
      Infinity,
      -Infinity,
      2 ** 53,
      2 ** 64,
      1e300,
      "4096",
      null,
      undefined,
      {},
      true,
      4096n,
    ];
    for (const value of wrong as number[]) {
      const statuses = [
        direct.map(value, 4096, 0, Prot.R),
        direct.map(0x5000, value, 0, Prot.R),
        direct.map(0x5000, 4096, value, Prot.R),
        direct.unmap(value, 4096),
        direct.unmap(0, value),
        direct.relaxPerms(value, Prot.W),
        direct.mkyoung(value),
        direct.wrprotect(0, value),
        direct.testClearYoung(value, 4096, true),
        direct.split(value, 4096),
        direct.flushTlbRange(0, value),
        table.lookup(value),
        hyp.direct.map(value, 4096, 0, Prot.R),
        hyp.direct.unmap(value, 4096),
      ];
      expect(statuses, String(value)).toEqual(statuses.map(() => -22));
    }
    for (const prot of [-1, 1.5, NaN, 2 ** 32, 1 << 12, "rw", null] as unknown as number[]) {
      expect(direct.map(0x5000, 4096, 0, prot), String(prot)).toBe(-22);
      expect(direct.relaxPerms(0, prot), String(prot)).toBe(-22);
    }
    expect(direct.map(2 ** 39, 4096, 0, Prot.R)).toBe(-34);
    expect(table.lookup(2 ** 39)).toBe(-34);
    expect(contents(table)).toEqual(before);
    table.close();
    expect([direct.map(0, 4096, 0, Prot.R), table.lookup(0)]).toEqual([-22, -22]);
    engine.close();
    expect([hyp.direct.unmap(0, 4096), hyp.lookup(0)]).toEqual([-22, -22]);
  });

  it.each([4096, 16384, 65536] as const)(
    "refuse a range that is not of whole pages, as methods do, unless the table rounds (granule %d)",
    (granule) => {
      using engine = createEngine({ arenaBytes: 2 << 20 });
      const odd = granule / 2;
      const statuses = (strict: boolean) => {
        const table = engine.createStage2({ granule, ipaBits: 36, strict });
        const hyp = engine.createHyp({ granule, vaBits: 36, strict });
        table.map(0, 2 * granule, 0, "r");
        hyp.map(0, 2 * granule, 0, "r");
        const before = [contents(table), contents(hyp)];
        const { direct } = table;
        const ranges = [
          direct.map(4 * granule + odd, granule, 0, Prot.R),
          direct.map(4 * granule, odd, 0, Prot.R),
          direct.map(4 * granule, granule, odd, Prot.R),
          table.createDirect({ cache: "arena" }).map(2 ** 35 + 1, granule, 0, Prot.R),
          direct.wrprotect(odd, granule),
          direct.testClearYoung(0, odd, false),
          direct.split(odd, granule),
          direct.unmap(4 * granule, granule + 1),
          hyp.direct.map(4 * granule + odd, granule, 0, Prot.R),
          hyp.direct.map(4 * granule, granule, odd, Prot.R),
          hyp.direct.unmap(4 * granule + odd, granule),
        ];
        const same = JSON.stringify([contents(table), contents(hyp)]) === JSON.stringify(before);
        const single = [table.lookup(odd), direct.flushTlbRange(odd, 1), hyp.lookup(odd), direct.mkyoung(odd)];
        expect([...single, direct.relaxPerms(odd, Prot.W)]).toEqual([odd, 0, odd, 0, 0]);
        return { ranges, same };
      };
      const strict = statuses(true);
      expect(strict).toEqual({ ranges: strict.ranges.map(() => -22), same: true });
      const rounded = statuses(false);
      expect(rounded.ranges.every((status) => status >= 0)).toBe(true);
      expect(rounded.same).toBe(false);
    },
  );

  it("throw what a hook throws, and nothing afterwards", () => {
    let broken = true;
    using engine = createEngine({ arenaBytes: 1 << 20 });
    const table = engine.createStage2({
      hooks: {
        dcacheCleanInvalPoc: () => {
          if (broken) throw new Error("no cache today");
        },
      },
    });
    expect(() => table.direct.map(0, 4096, 0, Prot.R)).toThrow("no cache today");
    broken = false;
    expect(table.direct.map(0x1000, 4096, 0, Prot.R)).toBe(0);
  });
});
