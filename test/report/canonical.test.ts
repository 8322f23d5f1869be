// The conformance runner keeps text from one dump to the next. The result must be that of a first dump, whatever changed.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CanonicalDumper, canonicalDump } from "../../bindings/conform/canonical.js";
import { createEngine, GranuleError, type Table } from "../../bindings/index.js";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** FORMAT.md's lines from the entries that the core lists, without any cache. */
function lines(table: Table): string {
  const mask = BigInt.asUintN(64, table.engine.core.outputMask(table.format.ps, 0));
  let out = "";
  for (const { address, level, kind, descriptor, references } of table.entries({ tables: true })) {
    const letter = kind === "table" ? "T" : kind === "block" ? "B" : kind === "page" || kind === "reserved" ? "P" : "I";
    const value = kind === "table" ? descriptor & ~mask : descriptor;
    const count = kind === "table" ? references : "-";
    out += `${address.toString(16).padStart(16, "0")} L${level} ${letter} ${value.toString(16).padStart(16, "0")} ${count}\n`;
  }
  return out;
}

const operation = fc.record({
  what: fc.constantFrom("map", "map", "unmap", "wrprotect", "poke", "word", "split"),
  page: fc.nat(3000),
  pages: fc.integer({ min: 1, max: 700 }),
  value: fc.nat(2 ** 20),
});
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

function perform(table: ReturnType<ReturnType<typeof createEngine>["createStage2"]>, o: Operation): void {
  const { granule } = table;
  const at = o.page * granule;
  const size = o.pages * granule;
  if (o.what === "map") table.map(at, size, (o.value & ~0xff) * 2 ** 16, o.value & 1 ? "rw" : "rx");
  else if (o.what === "unmap") table.unmap(at, size);
  else if (o.what === "wrprotect") table.wrprotect(at, size);
  else if (o.what === "poke") table.poke(at, BigInt(o.value & ~3) << 4n);
  else if (o.what === "split") table.split(at, size);
  // A stray store that no operation of the core knows of.
  else {
    const root = Number(table.info().rootPa - table.engine.physBase) + table.engine.arenaPointer;
    table.engine.u32[root / 4 + 2 * (300 + (o.page % 200))] = (o.value & ~3) * 4;
  }
}

describe("CanonicalDumper", () => {
  it.each([4096, 16384, 65536] as const)("is what a first dump would be, %i bytes", (granule) => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 12 }), (operations) => {
        using engine = createEngine({ arenaBytes: 8 << 20 });
        const table = engine.createStage2({ granule, ipaBits: 40 });
        const dumper = new CanonicalDumper(table);
        for (const o of operations) {
          perform(table, o);
          const dumped = text(dumper.dump());
          expect(dumped).toBe(text(canonicalDump(table)));
          expect(dumped).toBe(lines(table));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("gives the same array for the same bytes only", () => {
    using engine = createEngine();
    const table = engine.createStage2();
    const dumper = new CanonicalDumper(table);
    table.map(0, 4096, 0, "rw");
    const first = dumper.dump();
    expect(dumper.dump()).toBe(first);
    table.wrprotect(0, 4096);
    const second = dumper.dump();
    expect(second).not.toBe(first);
    table.unmap(0, 4096);
    expect(dumper.dump()).toHaveLength(0);
  });

  it("sees a reference count that changes alone", () => {
    using engine = createEngine();
    const table = engine.createStage2();
    const dumper = new CanonicalDumper(table);
    table.map(0, 4096, 0, "rw");
    // 0x400 is the one entry that is not zero and not counted [FMT-43].
    table.poke(0x1000, 0x400n);
    const before = text(dumper.dump());
    table.poke(0x1000, 0x404n);
    expect(text(dumper.dump())).not.toBe(before);
    expect(text(dumper.dump())).toBe(lines(table));
  });

  it("refuses a table outside the arena, and works again when that table is removed", () => {
    using engine = createEngine();
    const table = engine.createStage2();
    const dumper = new CanonicalDumper(table);
    table.map(0, 4096, 0, "rw");
    const before = text(dumper.dump());
    const root = (Number(table.info().rootPa - engine.physBase) + engine.arenaPointer) / 4;
    engine.u32[root + 2] = 0x1003;
    expect(() => dumper.dump()).toThrow(GranuleError);
    engine.u32[root + 2] = 0;
    expect(text(dumper.dump())).toBe(before);
  });
});
