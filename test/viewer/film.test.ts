import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JournalKind } from "../../bindings/index.js";
import { Film } from "../../bindings/viewer/live/film.js";
import { linkOf, scenarioOf } from "../../bindings/viewer/live/link.js";
import {
  checked,
  EXAMPLES,
  FIRST,
  type Operation,
  type Scenario,
  type Shape,
} from "../../bindings/viewer/live/scenario.js";

const SHAPES: readonly Shape[] = [
  { granule: 4096, ipaBits: 40, lpa2: false },
  { granule: 4096, ipaBits: 48, lpa2: true },
  { granule: 16384, ipaBits: 40, lpa2: false },
  { granule: 65536, ipaBits: 42, lpa2: false },
];

function operations(granule: number): fc.Arbitrary<Operation> {
  const block = { 4096: 512, 16384: 2048, 65536: 8192 }[granule] as number;
  const place = fc.record({
    ipa: fc
      .oneof(
        fc.nat(40),
        fc.nat(2).map((n) => n * block),
      )
      .map((n) => n * granule),
    size: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constant(block)).map((n) => n * granule),
    pa: fc.nat(3).map((n) => n * block * granule),
    prot: fc.constantFrom("r", "rw", "rwx"),
  });
  const op = fc.constantFrom("map", "map", "unmap", "wrprotect", "split", "age", "relax");
  return fc.tuple(op, place).map(([name, p]) => ({ op: name, ...p }) as Operation);
}

describe("a film of a table's life", () => {
  it.each(SHAPES)("ends with the engine's own table, whatever was done: %o", (shape) => {
    fc.assert(
      fc.property(fc.array(operations(shape.granule), { maxLength: 6 }), (all) => {
        using film = new Film({ shape, operations: all, accesses: [] });
        const { leaves, tables } = film.moment(film.frames.length);
        expect(leaves).toEqual(
          [...film.table.leaves()].map(({ address, level, descriptor }) => ({ address, level, descriptor })),
        );
        expect(tables).toBeGreaterThan(0);
        expect(tables).toBeLessThanOrEqual(film.table.info().pages);
      }),
      { numRuns: 25 },
    );
  });

  it("shows a stale translation between a write and its TLBI, and none after it", () => {
    using film = new Film(FIRST);
    const at = film.frames.length;
    expect(film.moment(at).seen.map(({ stale }) => stale)).toEqual([false]);
    const tlbi = film.frames.findIndex(
      (f) => f.operation === 1 && f.kind === "record" && f.record.kind === JournalKind.TLBI_IPA,
    );
    expect(tlbi).toBeGreaterThan(0);
    const look = (frames: number): boolean | undefined => {
      const access = { ipa: 0x4000_3000, kind: "r" as const, ...film.placeAt(frames) };
      using later = new Film({ ...FIRST, accesses: [...FIRST.accesses, access] });
      const { seen } = later.moment(later.frames.length);
      return seen.at(-1)?.stale;
    };
    expect(look(tlbi)).toBe(true);
    expect(look(at)).toBe(false);
  });

  it("puts an access where it was made, in the middle of an operation too", () => {
    using plain = new Film({ ...FIRST, accesses: [] });
    for (let n = 0; n <= plain.frames.length; n++) {
      const access = { ipa: 0x4000_0000, kind: "r" as const, ...plain.placeAt(n) };
      using film = new Film({ ...FIRST, accesses: [access] });
      expect(film.frames.findIndex(({ kind }) => kind === "access")).toBe(n);
    }
  });

  it("says in words why an operation is refused, and goes on", () => {
    const outside: Operation = { op: "map", ipa: 2 ** 41, size: 4096, pa: 0, prot: "r" };
    using film = new Film({ ...FIRST, operations: [outside, ...FIRST.operations], accesses: [] });
    expect(film.outcomes[0]).toMatch(/map/);
    expect(film.outcomes.slice(1)).toEqual([undefined, undefined]);
  });
});

describe("a link", () => {
  it("holds the whole scenario", async () => {
    const scenario: Scenario = { ...FIRST, shape: SHAPES[2] as Shape };
    const link = await linkOf(scenario);
    expect(link.length).toBeLessThan(400);
    expect(await scenarioOf(`#${link}`)).toEqual(scenario);
  });

  it("that makes no sense is none", async () => {
    for (const fragment of ["", "#", "#s=", "#s=AAAA", "#s=%%%", "#other"])
      expect(await scenarioOf(fragment)).toBeUndefined();
    const wrong: unknown[] = [
      null,
      {},
      { ...FIRST, shape: { granule: 8192, ipaBits: 40, lpa2: false } },
      { ...FIRST, operations: [{ op: "format", ipa: 0, size: 1 }] },
      { ...FIRST, operations: [{ op: "map", ipa: 0, size: 4096, pa: -1, prot: "r" }] },
      { ...FIRST, operations: Array.from({ length: 501 }, () => FIRST.operations[0]) },
      { ...FIRST, accesses: [{ ipa: 0, kind: "rw", operation: 0, record: 0 }] },
    ];
    for (const data of wrong) expect(checked(data)).toBeUndefined();
    expect(checked(JSON.parse(JSON.stringify(FIRST)))).toEqual(FIRST);
  });
});

describe("an example", () => {
  it.each(Object.entries(EXAMPLES))("of %s is performed without a refusal, and survives a link", async (_, example) => {
    using film = new Film(example);
    expect(film.outcomes.every((outcome) => outcome === undefined)).toBe(true);
    expect(await scenarioOf(`#${await linkOf(example)}`)).toEqual(example);
  });

  it("of a stale TLB shows one, and what comes after the TLBI is not stale", () => {
    const example = EXAMPLES["memory is taken away, and a TLB is stale until the TLBI"] as Scenario;
    using film = new Film(example);
    const { seen, tlb } = film.moment(film.frames.length);
    expect([seen.map(({ stale }) => stale), tlb]).toEqual([[false, true, true, true], []]);
  });
});
