// Any argument through the facade: a typed error or a defined result, never a trap, never a changed table after a refusal.

import { describe, expect, it } from "vitest";
import {
  type createEngine,
  decodeVtcr,
  GranuleError,
  pa,
  type Table,
  toAddress,
  toProt,
} from "../../bindings/index.js";
import { Random, runs, SEED } from "../support/random.js";
import { codeOf, contents, digest, expectRefused, KB4, MB2, slotOf, smallEngine } from "../support/tables.js";

const RUNS = runs(4000);
const WIDE = [
  0n,
  1n,
  4095n,
  4096n,
  1n << 39n,
  (1n << 39n) - 1n,
  1n << 48n,
  1n << 52n,
  1n << 63n,
  (1n << 64n) - 1n,
  (1n << 64n) - 4096n,
];
/** What no address is, nor a size. */
const NONSENSE: readonly unknown[] = [
  -1,
  -1n,
  1.5,
  NaN,
  Infinity,
  -Infinity,
  1n << 64n,
  2 ** 60,
  "4096",
  null,
  {},
  [],
  true,
  () => 0,
];

function any(random: Random): bigint {
  if (random.oneIn(2)) return random.pick(WIDE);
  return random.oneIn(2) ? random.u64() : BigInt(random.below(1 << 24)) & ~0xfffn;
}

/** One operation with any 64-bit address, size, output, protection and level. */
function operate(table: Table, random: Random): unknown {
  const [addr, size, phys] = [any(random), any(random), any(random)];
  const prot = random.oneIn(3) ? random.u32() : random.below(4096),
    level = random.below(9) - 3;
  if (table.isHyp) {
    const hyp = table as ReturnType<ReturnType<typeof createEngine>["createHyp"]>;
    return random.oneIn(2) ? hyp.map(addr, size, phys, prot) : hyp.unmap(addr, size);
  }
  const t = table as ReturnType<ReturnType<typeof createEngine>["createStage2"]>;
  switch (random.below(16)) {
    case 0:
    case 1:
      return t.map(addr, small(size, random), phys, prot);
    case 2:
      return t.unmap(addr, size);
    case 3:
      return t.wrprotect(addr, size);
    case 4:
      return t.mkyoung(addr);
    case 5:
      return t.testClearYoung(addr, size);
    case 6:
      return t.relaxPerms(addr, prot);
    case 7:
      return t.flush(addr, size);
    case 8:
      return t.split(addr, small(size, random));
    case 9:
      return t.setOwner(addr, small(size, random), random.below(5));
    case 10:
      return t.leaf(addr);
    case 11:
      return t.countLeaves(addr, size);
    case 12:
      return t.destroyRange(addr, size);
    case 13:
      return t.walk(addr, size, () => random.pick([0, -11, -22, 7]), { tablePre: true, tablePost: true });
    case 14:
      return t.freeUnlinked(t.createUnlinked(phys, level, prot), level);
    default:
      return t.flushTlbRange(addr, small(size, random));
  }
}

/** Sizes that a table of this test can hold: what is beyond is refused anyway, what is not takes memory for gigabytes. */
function small(size: bigint, random: Random): bigint {
  return random.oneIn(3) ? size : size & 0xfffffn;
}

describe(`hostile arguments, first seed ${SEED}`, () => {
  it("any 64-bit values: a typed error or a result; refused means unchanged [PROP-8]", { timeout: 120_000 }, () => {
    const random = new Random(SEED);
    let refused = 0;
    for (let i = 0; i < RUNS / 40; i++) {
      const engine = smallEngine({ arenaBytes: 4 << 20 });
      const table = random.oneIn(4)
        ? engine.createHyp({ vaBits: 39 })
        : engine.createStage2({ ipaBits: 39, fwb: random.oneIn(2) });
      for (let j = 0; j < 40; j++) {
        const before = digest(table);
        try {
          operate(table, random);
        } catch (error) {
          expect(error).toBeInstanceOf(GranuleError);
          if ((error as GranuleError).code === "ENOMEM") continue; // a prefix may be done [PROP-8]
          expect(digest(table), `seed ${SEED}, round ${i}.${j}: ${String(error)}`).toBe(before);
          refused++;
        }
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  it("what is no address is an EINVAL, and changes nothing", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 }),
      hyp = engine.createHyp({ vaBits: 39 });
    table.map(0, MB2, 0, "rw");
    for (const value of NONSENSE as bigint[]) {
      expectRefused(table, "EINVAL", () => table.map(value, KB4, 0, "r"));
      expectRefused(table, "EINVAL", () => table.unmap(0, value));
      expectRefused(table, "EINVAL", () => table.leaf(value));
      expectRefused(table, "EINVAL", () => table.walk(value, KB4, () => 0));
      expectRefused(table, "EINVAL", () => table.poke(value, 0n));
      expectRefused(hyp, "EINVAL", () => hyp.map(0, value, 0, "r"));
      expect(codeOf(() => toAddress(value))).toBe("EINVAL");
      expect(codeOf(() => pa(value))).toBe("EINVAL");
      if (typeof value !== "string")
        expect(codeOf(() => toProt((value as unknown as number) === 4096 ? -1 : (value as unknown as number)))).toMatch(
          /EINVAL|^$/,
        );
    }
  });

  it("owners, types, levels and counts that are no integers in range are an EINVAL", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    const typed = engine.createStage2({ ipaBits: 39, annotations: "7.x" });
    table.setOwner(0, KB4, 1);
    for (const n of [NaN, 1.5, -1, 2, 2 ** 32, 2 ** 32 + 1, Infinity]) {
      expectRefused(table, "EINVAL", () => table.setOwner(0, KB4, n));
      if (n !== 2) expectRefused(typed, "EINVAL", () => typed.annotate(0, KB4, n, 0n));
      if (n !== 2) expectRefused(table, "EINVAL", () => table.createUnlinked(0, n, "r"));
    }
    for (const n of [NaN, 1.5, -1, 2 ** 32, 2 ** 32 + 4]) {
      expect(codeOf(() => engine.createCache(4096, n))).toBe("EINVAL");
      using cache = engine.createCache(4096, 8);
      expect(codeOf(() => cache.topUp(n))).toBe("EINVAL");
      expect(codeOf(() => cache.fill(n))).toBe("EINVAL");
      expect(cache.count).toBe(0);
    }
  });

  it("any VTCR_EL2 makes a table or an EINVAL", () => {
    const random = new Random(SEED);
    const engine = smallEngine();
    let made = 0;
    for (let i = 0; i < 3000; i++) {
      const vtcr = random.oneIn(2) ? random.u64() : BigInt(random.u32() & 0xffff);
      const { taken } = engine.arena();
      const lpa2 = ((vtcr >> 32n) & 1n) === 1n;
      const code = codeOf(() => {
        using table = engine.createStage2({ vtcr, lpa2, granule: decodeVtcr(vtcr).granule });
        made++;
        expect(codeOf(() => table.map(0, 1 << 16, 0, "r"))).toMatch(/^(|ERANGE)$/);
      });
      expect(["", "EINVAL", "ENOMEM"]).toContain(code);
      expect(engine.arena().taken).toBe(taken);
    }
    expect(made).toBeGreaterThan(20);
  });
});

/** Descriptors as an attacker would choose them. */
function hostileDescriptor(random: Random, table: Table): bigint {
  const { physBase, arenaBytes } = table.engine;
  const page = BigInt(random.below(arenaBytes / 4096)) * 4096n;
  switch (random.below(6)) {
    case 0:
      return random.u64();
    case 1:
      return (physBase + page) | 3n; // a table: any page of the arena, even one that is a table already
    case 2:
      return table.info().rootPa | 3n;
    case 3:
      return (random.u64() & 0xffff_ffff_f000n) | 3n; // a table outside
    case 4:
      return 0x400n;
    default:
      return random.u64() & ~1n;
  }
}

describe("hostile table memory", () => {
  it("random descriptors in live tables: no operation traps or hangs", { timeout: 120_000 }, () => {
    const random = new Random(SEED);
    for (let i = 0; i < 120; i++) {
      const engine = smallEngine({ arenaBytes: 2 << 20, journalRecords: 0 });
      // Two levels: a loop of tables cannot be longer than the levels are, and two keep it short.
      const table = engine.createStage2({
        ipaBits: 34,
        fwb: random.oneIn(2),
        quirks: random.oneIn(2) ? "none" : "linux-6.12",
      });
      table.map(0, 5 * KB4, 0, "rw");
      table.map(MB2, MB2, 0, "rw");
      for (let j = 0; j < 30; j++) {
        engine.u64[slotOf(table, BigInt(random.below(3)) * BigInt(MB2) + BigInt(random.below(8)) * 4096n)] =
          hostileDescriptor(random, table);
        try {
          operate(table, random);
          [...table.entries({ tables: true, to: 4 * MB2 })];
        } catch (error) {
          expect(error, `seed ${SEED}, round ${i}.${j}`).toBeInstanceOf(GranuleError);
        }
        if (table.info().rootPa === 0n) break;
      }
      expect(codeOf(() => table.close())).toMatch(/^(|EFAULT|EBUSY)$/);
    }
  });

  it("a table that points outside the arena is an EFAULT", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    table.poke(0, (1n << 40n) | 3n);
    for (const operation of [
      () => table.map(0, KB4, 0, "r"),
      () => table.unmap(0, KB4),
      () => table.wrprotect(0, KB4),
      () => table.leaf(0),
      () => table.split(0, KB4),
      () => [...table.entries()],
      () => table.countLeaves(),
    ]) {
      expect(codeOf(operation)).toBe("EFAULT");
    }
    const block = engine.takeBlock(4096);
    expect(engine.core.getLeaves(table.handle, block, block + 64, block + 128, 1)).toBe(-14);
  });

  it("a page cache that was overwritten gives no page, and does not trap", () => {
    for (const [word, value] of [
      [0, 0xffffffff],
      [1, 0xffffffff],
      [1, 7],
      [4, 0x7ffff001],
      [5, 0x12345678],
      [7, 4],
      [4, 0],
    ] as const) {
      const engine = smallEngine({ arenaBytes: 1 << 20 });
      const cache = engine.createCache(4096, 8);
      cache.fill(4);
      const table = engine.createStage2({ ipaBits: 39 });
      for (let i = 0; i < 4; i++) engine.u32[cache.handle / 4 + (word >= 4 ? word + 3 - i : word)] = value;
      expect(codeOf(() => table.map(0, KB4, 0, "r", { cache }))).toMatch(/^(|ENOMEM|EINVAL|EFAULT)$/);
      expect(
        codeOf(() => {
          cache.topUp(5);
          cache.fill(0);
        }),
      ).toMatch(/^(|ENOMEM|EINVAL)$/);
      cache.close();
    }
  });
});

describe("after the end", () => {
  it("a closed table answers every call with an EINVAL", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 }),
      hyp = engine.createHyp({ vaBits: 39 });
    table.close();
    hyp.close();
    table.close();
    for (const operation of useEverything(table)) expect(codeOf(operation), String(operation)).toBe("EINVAL");
    expect(codeOf(() => hyp.map(0, KB4, 0, "r"))).toBe("EINVAL");
    expect(codeOf(() => hyp.unmap(0, KB4))).toBe("EINVAL");
  });

  it("a destroyed table too, until it is closed", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 }),
      hyp = engine.createHyp({ vaBits: 39 });
    table.destroy();
    hyp.destroy();
    expect(table.info().rootPa).toBe(0n);
    for (const operation of useEverything(table).slice(2)) expect(codeOf(operation), String(operation)).toBe("EINVAL");
    expect(codeOf(() => hyp.unmap(0, KB4))).toBe("EINVAL");
    expect(contents(table)).toEqual([]);
    table.destroy();
    table.close();
  });

  it("a closed engine answers with an EINVAL, never with a TypeError", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    const cache = engine.createCache(4096, 4);
    engine.close();
    engine.close();
    for (const operation of useEverything(table)) expect(codeOf(operation), String(operation)).toBe("EINVAL");
    for (const operation of [
      () => engine.createStage2(),
      () => engine.createHyp(),
      () => engine.createCache(),
      () => engine.createBatch(),
      () => engine.counters(),
      () => engine.arena(),
      () => engine.journal.start(),
      () => engine.journal.read(),
      () => cache.topUp(1),
    ]) {
      expect(codeOf(operation), String(operation)).toBe("EINVAL");
    }
    table.close();
    cache.close();
  });
});

type Stage2 = ReturnType<ReturnType<typeof createEngine>["createStage2"]>;

/** Every operation of a stage-2 table; the first two are allowed on a destroyed one. */
function useEverything(t: Stage2): (() => unknown)[] {
  return [
    () => t.info(),
    () => t.flushTlbRange(0, KB4),
    () => t.leaf(0),
    () => [...t.leaves()],
    () => [...t.entries({ tables: true, to: 0 })],
    () => t.countLeaves(0, KB4),
    () => t.leaves64(new BigUint64Array(1), new BigUint64Array(1), new Int8Array(1)),
    () => t.poke(0, 0n),
    () => t.map(0, KB4, 0, "r"),
    () => t.unmap(0, KB4),
    () => t.setOwner(0, KB4, 1),
    () => t.wrprotect(0, KB4),
    () => t.mkyoung(0),
    () => t.testClearYoung(0, KB4),
    () => t.relaxPerms(0, "r"),
    () => t.flush(0, KB4),
    () => t.split(0, KB4),
    () => t.destroyRange(0, KB4),
    () => t.createUnlinked(0, 2, "r"),
  ];
}
