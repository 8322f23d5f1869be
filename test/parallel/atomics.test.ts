// Walkers meet in atomic accesses alone. A machine that forgives a plain store in place of an atomic one would hide it, but
// Wasm does not forgive every difference: an atomic access to an address that is not aligned traps, a plain one does not.
// So each function is called on a word that is one byte off. (The words of the header, like the epoch, cannot be moved.)

import { describe, expect, it } from "vitest";
import { cells } from "../memory/compiled.js";

const WORD = 0x8000;
const OFF = WORD + 1;
const ARENA = 1 << 20;

/** An engine whose walkers' blocks lie one byte off: the words in them that others read are no longer aligned. */
function misplaced() {
  const made = cells();
  const { core, u32 } = made;
  expect(core.layOut(4n << 20n, ARENA, 0n, 1, 2, 0)).toBe(0);
  const aligned = core.slotOfWalker(0);
  expect(aligned).toBe(0n);
  // The header holds the pointer of the walkers' blocks: the word whose change moves them.
  const words = [...u32.subarray(0, 0x4000)].flatMap((word, i) => (word !== 0 ? [i] : []));
  const at = words.find((i) => {
    u32[i] = (u32[i] as number) + 1;
    try {
      core.slotOfWalker(0);
    } catch {
      return true;
    }
    u32[i] = (u32[i] as number) - 1;
    return false;
  });
  expect(at, "the header's word for the walkers").toBeDefined();
  return made;
}

const UNALIGNED = /unaligned/;

describe("a descriptor [WLK-4, S2-5, LCK-6]", () => {
  const { core, u64 } = cells();

  it("is read, published and exchanged atomically by those who share it", () => {
    expect(() => core.read(OFF, 1)).toThrow(UNALIGNED);
    expect(() => core.release(OFF, 1n)).toThrow(UNALIGNED);
    expect(() => core.exchange(OFF, 1n)).toThrow(UNALIGNED);
    expect(() => core.compareExchange(OFF, 0n, 1n)).toThrow(UNALIGNED);
  });

  it("is read and written plainly by an exclusive walk, which pays nothing for the others", () => {
    core.write(OFF, 0x1234_5678_9abc_def1n);
    expect(core.read(OFF, 0)).toBe(0x1234_5678_9abc_def1n);
  });

  it("changes as these say", () => {
    core.release(WORD, 5n);
    expect(core.compareExchange(WORD, 4n, 6n)).toBe(0);
    expect([core.read(WORD, 1), core.compareExchange(WORD, 5n, 6n)]).toEqual([5n, 1]);
    expect([core.exchange(WORD, 7n), core.read(WORD, 1), u64[WORD / 8]]).toEqual([6n, 7n, 7n]);
  });
});

describe("a spin lock", () => {
  it("is taken, wrested and let go atomically [LCK-6]", () => {
    const { core } = cells();
    expect(() => core.acquire(OFF)).toThrow(UNALIGNED);
    expect(() => core.wrest(OFF, 1)).toThrow(UNALIGNED);
    expect(() => core.relinquish(OFF)).toThrow(UNALIGNED);
  });

  it("belongs to who took it", () => {
    const { core, u32 } = cells();
    expect([core.acquire(WORD), u32[WORD / 4]]).toEqual([0, 1]);
    expect([core.wrest(WORD, 2), core.wrest(WORD, 1), u32[WORD / 4]]).toEqual([0, 1, 0]);
    expect(core.acquire(WORD)).toBe(0);
    core.relinquish(WORD);
    expect(u32[WORD / 4]).toBe(0);
  });
});

describe("a table's lock", () => {
  it("is looked at, taken and let go atomically [LCK-1, LCK-2]", () => {
    const { core } = cells();
    expect(core.layOut(4n << 20n, ARENA, 0n, 1, 2, 0)).toBe(0);
    expect(core.attach(0, 0)).toBe(0);
    const table = 0x20_0001;
    expect(() => core.writerOf(table)).toThrow(UNALIGNED);
    expect(() => core.writeLock(table)).toThrow(UNALIGNED);
    expect(() => core.readLock(table)).toThrow(UNALIGNED);
  });
});

describe("a walker's slot", () => {
  it("is written and read atomically, in one access for table and epoch [WLK-12]", () => {
    const { core } = misplaced();
    expect(() => core.slotOfWalker(1)).toThrow(UNALIGNED);
    expect(() => core.expel(1)).toThrow(UNALIGNED);
    expect(() => core.attach(1, 0)).toThrow(UNALIGNED);
  });
});
