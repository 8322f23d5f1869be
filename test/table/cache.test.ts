import { describe, expect, it } from "vitest";
import { codeOf, KB4, leaves, MB2, smallEngine } from "../support/tables.js";

describe("page caches", () => {
  it("MC-1, MC-2, MC-3: topUp does nothing when there is enough, and fills to the capacity when there is not", () => {
    const engine = smallEngine();
    using cache = engine.createCache();
    cache.topUp(0);
    expect(cache.count).toBe(0);
    cache.topUp(2);
    expect(cache.count).toBe(40);
    cache.fill(3);
    cache.topUp(3);
    expect(cache.count).toBe(3);
    cache.topUp(4);
    expect(cache.count).toBe(40);
    expect(codeOf(() => cache.topUp(41))).toBe("EINVAL");
  });

  it("MC-2: a capacity of zero, or one that no block holds, is refused", () => {
    const engine = smallEngine();
    const { taken } = engine.arena();
    for (const capacity of [0, -1, NaN, 1 << 20, 2 ** 32])
      expect(
        codeOf(() => engine.createCache(4096, capacity)),
        String(capacity),
      ).toBe("EINVAL");
    expect(engine.arena().taken).toBe(taken);
  });

  it("MC-3: when memory ends: fine from `min` on, ENOMEM below it; what was taken stays", () => {
    const engine = smallEngine({ arenaBytes: 1 << 20 });
    using cache = engine.createCache(4096, 1000);
    cache.topUp(10);
    const { count } = cache;
    expect(count).toBeGreaterThan(100);
    expect(codeOf(() => cache.topUp(count))).toBe("");
    expect(codeOf(() => cache.topUp(count + 1))).toBe("ENOMEM");
    expect(cache.fill(count + 5)).toBe(false);
    expect(cache.count).toBe(count);
  });

  it("MC-4, MC-9: a walk takes pages from the end; an empty cache is an ENOMEM, typed", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    using cache = engine.createCache(4096, 8);
    cache.fill(3);
    const last = engine.u32[cache.handle / 4 + 4 + 2];
    table.map(0, KB4, 0, "r", { cache });
    expect(cache.count).toBe(1);
    const top = [...table.entries({ tables: true })][0];
    expect(Number((top?.pa ?? 0n) - engine.physBase) + engine.arenaPointer).toBe(last);
    expect(codeOf(() => table.map(1 << 30, KB4, 0, "r", { cache }))).toBe("ENOMEM");
    expect(leaves(table)).toHaveLength(1);
  });

  it("pages come zeroed, whatever they held", () => {
    const engine = smallEngine();
    const block = engine.takeBlock(KB4);
    engine.u64.fill(~0n, block / 8, block / 8 + 512);
    engine.giveBlock(block);
    using cache = engine.createCache(4096, 4);
    cache.fill(4);
    const table = engine.createStage2({ ipaBits: 39 });
    table.map(0, KB4, 0, "r", { cache });
    expect([...table.entries()]).toHaveLength(1);
  });

  it("MC-5: closing gives everything back, twice is harmless, and it cannot be used then", () => {
    const engine = smallEngine();
    const { taken } = engine.arena();
    const cache = engine.createCache(16384, 5);
    cache.fill(5);
    cache.close();
    cache.close();
    expect(engine.arena().taken).toBe(taken);
    expect(codeOf(() => cache.topUp(1))).toBe("EINVAL");
    expect(codeOf(() => cache.count)).toBe("EINVAL");
  });

  it("a cache of another granule is refused", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 39 });
    using cache = engine.createCache(16384, 5);
    cache.fill(5);
    expect(codeOf(() => table.map(0, KB4, 0, "r", { cache }))).toBe("EINVAL");
    expect(cache.count).toBe(5);
  });

  it("MC-6: topped up to the minimum, one fault always succeeds", () => {
    const engine = smallEngine();
    const table = engine.createStage2({ ipaBits: 48 });
    using cache = engine.createCache(4096, 3);
    for (let i = 0; i < 20; i++) {
      cache.topUp(3);
      table.map(BigInt(i) << 39n, i % 2 ? KB4 : MB2, 0, "r", { cache });
    }
    expect(leaves(table)).toHaveLength(20);
  });
});

describe("blocks of the arena", () => {
  it("are zeroed, given back once, and nothing else is taken back", () => {
    const engine = smallEngine();
    const { taken } = engine.arena();
    const block = engine.takeBlock(5000);
    expect(engine.arena().taken).toBe(taken + 8192);
    for (const wrong of [block + 4096, block + 8, 0, 4, 0xfffff000])
      expect(codeOf(() => engine.giveBlock(wrong))).toBe("EINVAL");
    engine.giveBlock(block);
    expect(codeOf(() => engine.giveBlock(block))).toBe("EINVAL");
    expect(engine.arena().taken).toBe(taken);
  });

  it("buddies merge: after any order of giving back the largest block is there again", () => {
    const engine = smallEngine({ arenaBytes: 2 << 20 });
    const largest = () => {
      try {
        engine.giveBlock(engine.takeBlock(1 << 20));
        return true;
      } catch {
        return false;
      }
    };
    expect(largest()).toBe(true);
    const blocks = Array.from({ length: 200 }, () => engine.takeBlock(4096));
    for (let i = 0; i < 200; i += 2) engine.giveBlock(blocks[i] as number);
    for (let i = 1; i < 200; i += 2) engine.giveBlock(blocks[i] as number);
    expect(largest()).toBe(true);
  });
});
