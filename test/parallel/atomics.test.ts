// What no test that runs can show: x86 and V8 forgive a plain store where an atomic one belongs, other machines do not.
// So the sources are read: shared words have one door each, and through it go atomic accesses alone.

import { describe, expect, it } from "vitest";
import { filesBelow, text } from "../house/sources.js";

const DOORS = ["assembly/memory/cell.ts", "assembly/memory/shared.ts", "assembly/memory/word.ts"];

/** The accesses to memory that a function of a door writes down, in order. */
function accesses(file: string, name: string): string[] {
  const source = text(`assembly/memory/${file}.ts`);
  const start = source.search(new RegExp(`function ${name}\\(`));
  expect(start, name).toBeGreaterThanOrEqual(0);
  const body = source.slice(start, source.indexOf("\n}", start));
  return [...body.matchAll(/\b(?:atomic\.\w+|load|store)<\w+>/g)].map(([access]) => access);
}

describe("walkers meet in atomic accesses alone [WLK-4, WLK-12, S2-5, LCK-6]", () => {
  it.each([
    ["cell", "read", ["load<u64>", "atomic.load<u64>"]], // the plain one is the exclusive walk's
    ["cell", "release", ["atomic.store<u64>"]],
    ["cell", "exchange", ["atomic.xchg<u64>"]],
    ["cell", "compareExchange", ["atomic.cmpxchg<u64>"]],
    ["word", "peek", ["atomic.load<u32>"]],
    ["word", "publish", ["atomic.store<u32>"]],
    ["word", "claim", ["atomic.cmpxchg<u32>"]],
    ["word", "swap", ["atomic.xchg<u32>"]],
    ["word", "add", ["atomic.add<u32>"]],
    ["word", "peek64", ["atomic.load<u64>"]],
    ["word", "publish64", ["atomic.store<u64>"]], // a slot: one store says both the table and the epoch
    ["word", "add64", ["atomic.add<u64>"]],
  ])("%s.ts: %s", (file, name, expected) => {
    expect(accesses(file, name)).toEqual(expected);
  });

  it("and nowhere but in the files that say what each is for", () => {
    const users = filesBelow("assembly").filter((path) => /^(?!\s*\/\/).*\batomic\.\w+</m.test(text(path)));
    expect(users.toSorted()).toEqual(DOORS);
  });

  it("a shared word is read and written by its door: no field access of one in the core", () => {
    const stray = filesBelow("assembly")
      .filter((path) => /^assembly\/(memory|table|record|index)/.test(path))
      .flatMap((path) =>
        [...text(path).matchAll(/\bt\.(root|writer|left|sleepers|destroyer|doubtful)\b/g)].map(
          ([field]) => `${path}: ${field}`,
        ),
      );
    expect(stray).toEqual([]);
  });
});
