// What no test that runs can show: x86 and V8 forgive a plain store where an atomic one belongs, other machines do not.
// So the sources of the functions through which walkers meet are read.

import { describe, expect, it } from "vitest";
import { text } from "../house/sources.js";

/** The accesses to memory that a function writes down, in order. */
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
    ["epoch", "epoch", ["atomic.load<u32>"]],
    ["epoch", "enter", ["atomic.store<u64>"]], // one store says both the table and the epoch
    ["epoch", "leave", ["atomic.store<u64>"]],
    ["epoch", "slotOfWalker", ["atomic.load<u64>"]],
    ["epoch", "advance", ["atomic.cmpxchg<u32>"]],
    ["lock", "writerOf", ["atomic.load<u32>"]],
    ["lock", "writeLock", ["atomic.cmpxchg<u32>", "atomic.load<u32>"]],
    ["lock", "writeUnlock", ["atomic.store<u32>", "atomic.load<u32>"]],
    ["spin", "acquire", ["atomic.cmpxchg<u32>"]],
    ["spin", "relinquish", ["atomic.store<u32>"]],
  ])("%s.ts: %s", (file, name, expected) => {
    expect(accesses(file, name)).toEqual(expected);
  });
});
