// Locks, sections, limbo and intent, walker by walker on one thread: who gets what, who is told to wait, who repairs it.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { ARENA_AT, bare, PAGES, type Walkers, walkers } from "./walkers.js";

/** A clock on which a walker that waits gives up. */
const LATE = 6000;
const [SHARED, EXCLUSIVE, LOCK_FREE] = [2, 3, 1];

function three(step = LATE): {
  a: Walkers;
  b: Walkers;
  c: Walkers;
  t: number;
  u32: Uint32Array;
  clock: { step: number; asked: () => void };
} {
  const { all, u32, clock } = walkers(3, step);
  const [a, b, c] = all as [Walkers, Walkers, Walkers];
  const t = a.takeTable() >>> 0;
  a.finishTable(t);
  return { a, b, c, t, u32, clock };
}

describe("the lock of a table", () => {
  it("is held for writing as often as it was taken, and then nobody's [LCK-2]", () => {
    const { a, b, t } = three();
    expect([a.writeLock(t), a.writeLock(t), a.writes(t), a.writing(0)]).toEqual([0, 0, 2, 1]);
    expect([a.isWriter(t), b.isWriter(t), b.writerOf(t)]).toEqual([1, 0, 1]);
    a.writeUnlock(t);
    expect([b.tryWriteLock(t), b.writeLock(t), b.writing(1)]).toEqual([0, K.ETIMEDOUT, 0]);
    a.writeUnlock(t);
    expect([a.writerOf(t), a.writes(t), a.writing(0)]).toEqual([0, 0, 0]);
    expect([b.tryWriteLock(t), b.writes(t), b.writing(1), b.isWriter(t)]).toEqual([1, 1, 1, 1]);
  });

  it("is not to be had while others read, and is free again for who gave up [LCK-17]", () => {
    const { a, b, c, t } = three();
    expect([a.readLock(t), a.readLock(t), a.isReader(t), b.isReader(t)]).toEqual([0, 0, 1, 0]);
    expect([b.tryWriteLock(t), b.writerOf(t), b.writing(1)]).toEqual([0, 0, 0]);
    expect([b.writeLock(t), b.writerOf(t), b.writing(1)]).toEqual([K.ETIMEDOUT, 0, 0]);
    a.readUnlock(t);
    expect([b.tryWriteLock(t), c.readLock(t)]).toEqual([0, 0]);
    a.readUnlock(t);
    c.readUnlock(t);
    expect([b.tryWriteLock(t), c.readLock(t), c.inSection()]).toEqual([1, K.ETIMEDOUT, 0]);
    expect([b.readLock(t), b.inSection(), b.isReader(t)]).toEqual([0, 1, 1]);
  });

  it("is had whatever lies behind the last walker's block: journals are not read as slots [LCK-2]", () => {
    const { all, u32 } = walkers(2, LATE, 64);
    const [a] = all as [Walkers];
    const t = a.takeTable() >>> 0;
    a.finishTable(t);
    u32[a.slotAt(2) / 4] = 1;
    u32[a.slotAt(2) / 4 + 1] = t;
    expect([a.writeLock(t), a.isWriter(t)]).toEqual([0, 1]);
    a.writeUnlock(t);
    expect(a.tryWriteLock(t)).toBe(1);
    a.writeUnlock(t);
    const before = a.epoch();
    expect([a.advance(), a.epoch()]).toEqual([-1, before + 2]);
  });

  it("is refused in a section of something else", () => {
    const { a, t } = three();
    const other = a.takeTable() >>> 0;
    a.finishTable(other);
    a.readLock(other);
    expect([a.readLock(t), a.writeLock(t), a.writerOf(t)]).toEqual([K.EDEADLK, K.EDEADLK, 0]);
    expect([a.readLock(other), a.reading()]).toEqual([0, other]);
  });

  it.each([
    [SHARED, 0, 1],
    [EXCLUSIVE, 1, 0],
    [LOCK_FREE, 0, 1],
    [0, 0, 0],
  ])("in mode %i is one of a writer %i or a section %i", (mode, writer, section) => {
    const { a, t } = three();
    expect(a.lock(t, mode)).toBe(0);
    expect([a.isWriter(t), a.inSection(), a.isReader(t)]).toEqual([writer, section, mode === SHARED ? 1 : 0]);
    a.unlock(t, mode);
    expect([a.isWriter(t), a.inSection(), a.slotOfWalker(0)]).toEqual([0, 0, 0n]);
  });

  it("of a dead writer is taken over once it may have written, and let go if it waited for readers", () => {
    const { a, b, c, t } = three();
    expect(b.inheritWriteLock(t, 0)).toBe(0);
    a.writeLock(t);
    expect([b.inheritWriteLock(t, 2), b.inheritWriteLock(t, 0), b.isWriter(t), b.writing(1)]).toEqual([0, 1, 1, 1]);
    b.writeUnlock(t);
    expect([b.writing(1), c.readLock(t)]).toEqual([0, 0]);
    // One that announced itself while C reads, and died there, has done nothing.
    a.announce(t, 0);
    expect([b.inheritWriteLock(t, 0), b.isWriter(t), b.writing(1), b.writerOf(t)]).toEqual([0, 0, 0, 0]);
  });
});

describe("a spin lock", () => {
  it("has one holder, who alone lets go, and whoever buries the holder has it", () => {
    const { a, b, c } = three();
    const p = a.poolLock();
    expect([a.acquire(p), a.isHeld(p), b.acquire(p), b.tryAcquire(p, 7)]).toEqual([0, 1, K.ETIMEDOUT, 0]);
    b.relinquishMine(p);
    expect(b.isHeld(p)).toBe(1);
    expect([b.inherit(p, 3), b.inherit(p, 1), c.inherit(p, 1)]).toEqual([0, 1, 0]);
    a.relinquishMine(p);
    expect(a.isHeld(p)).toBe(1);
    b.relinquishMine(p);
    expect([a.isHeld(p), c.tryAcquire(p, 7), a.tryAcquire(p, 7)]).toEqual([0, 1, 0]);
    c.relinquish(p);
    expect([a.acquireAs(p, 9), b.isHeld(p), b.inherit(p, 9)]).toEqual([0, 1, 1]);
  });
});

describe("a section", () => {
  it("says the table and the epoch, and holds up the epoch until it ends [LCK-10]", () => {
    const { a, b, t } = three();
    const began = a.epoch();
    a.enter(t);
    a.enter(0);
    expect(b.slotOfWalker(0)).toBe((BigInt(t) << 32n) | BigInt(began | 1));
    expect([b.advance(), b.epoch()]).toEqual([-1, began + 2]);
    expect([b.advance(), b.epoch(), b.isPast(began)]).toEqual([0, began + 2, 0]);
    a.leave();
    expect([a.inSection(), b.advance()]).toEqual([1, 0]);
    a.leave();
    expect([a.inSection(), b.advance(), b.isPast(began)]).toEqual([0, -1, 1]);
    expect([b.isPast(began + 2), b.advance(), b.isPast(began + 2)]).toEqual([0, -1, 1]);
  });

  it("of another is waited for, and given up on", () => {
    const { a, b, t } = three();
    expect(b.synchronize()).toBe(0);
    a.enter(t);
    expect(b.synchronize()).toBe(K.ETIMEDOUT);
    a.leave();
    expect(b.synchronize()).toBe(0);
  });
});

describe("a table in limbo", () => {
  it("goes once everybody has left, the oldest first, with its owner and level [LCK-10]", () => {
    const { a, b, t } = three();
    const other = a.takeTable() >>> 0;
    a.finishTable(other);
    const [p, q] = [a.takeFrames(0) >>> 0, a.takeFrames(0) >>> 0];
    expect([a.someWait(), a.release()]).toEqual([0, 0]);
    b.enter(0);
    a.retire(t, p, 1);
    a.retire(other, q, -1);
    expect([a.waiting(), b.someWait(), a.oldest(), a.youngest()]).toEqual([2, 1, a.nameOf(p), a.nameOf(q)]);
    expect([a.ownerOf(p), a.levelOf(p), a.ownerOf(q), a.levelOf(q)]).toEqual([t, 1, other, -1]);
    a.advance();
    expect([a.advance(), a.release()]).toEqual([1, 0]);
    b.leave();
    a.advance();
    expect([a.release() >>> 0, a.waiting(), a.oldest(), a.intent(0, 3) & ~7]).toEqual([p, 1, a.nameOf(q), p]);
    expect([b.release() >>> 0, a.waiting(), a.oldest(), a.youngest(), a.someWait()]).toEqual([q, 0, 0, 0, 0]);
    expect(b.release()).toBe(0);
  });

  it("is a stray of its walker while the queue is somebody else's, and comes into it later", () => {
    const { a, b, t } = three();
    const [p, q] = [a.takeFrames(0) >>> 0, a.takeFrames(0) >>> 0];
    b.acquire(a.limboLock());
    a.retire(t, p, 2);
    a.retire(t, q, 1);
    expect([a.waiting(), a.strays(0), a.intent(0, 3), a.release()]).toEqual([0, a.nameOf(q), 0, 0]);
    a.appendStraysOf(0);
    expect([a.waiting(), a.strays(0)]).toEqual([0, a.nameOf(q)]);
    b.relinquish(a.limboLock());
    b.appendStraysOf(0);
    expect([a.waiting(), a.strays(0), b.strays(1), a.oldest(), a.youngest()]).toEqual([
      2,
      0,
      0,
      a.nameOf(q),
      a.nameOf(p),
    ]);
    expect([a.ownerOf(p), a.levelOf(p), a.levelOf(q), b.intent(1, 3), a.isHeld(a.limboLock())]).toEqual([
      t,
      2,
      1,
      0,
      0,
    ]);
  });

  it("is named by the walker that brings it into the queue until it is there or a stray again", () => {
    const { a, b, c, t, clock } = three();
    const p = a.takeFrames(0) >>> 0;
    b.acquire(a.limboLock());
    a.retire(t, p, 2);
    const named: number[] = [];
    clock.asked = () => named.push(a.intent(2, 3));
    c.appendStraysOf(0); // waits for the lock, and could die there
    const [first, ...others] = new Set(named);
    expect([(first as number) & ~7, others]).toEqual([p, []]);
    expect([a.strays(0), a.strays(2), a.intent(2, 3)]).toEqual([0, a.nameOf(p), 0]);
  });

  it("is none, also where a walker died with an empty queue in hand", () => {
    const { a, b, t } = three();
    a.acquire(a.limboLock());
    expect(b.recoverLimboOf(0)).toBe(1);
    expect([a.waiting(), a.oldest(), a.youngest(), a.isHeld(a.limboLock())]).toEqual([0, 0, 0, 0]);
    const p = b.takeFrames(0) >>> 0;
    b.retire(t, p, 2);
    expect([a.waiting(), a.oldest(), a.youngest()]).toEqual([1, a.nameOf(p), a.nameOf(p)]);
  });

  it("is found by who buries a walker that had the queue", () => {
    const { a, b, c, t, u32 } = three();
    const [p, q] = [a.takeFrames(0) >>> 0, a.takeFrames(0) >>> 0];
    a.retire(t, p, 2);
    a.retire(t, q, 2);
    expect(b.recoverLimboOf(0)).toBe(0);
    // A died with the queue locked, its count off, and the younger one still in its hand.
    a.acquire(a.limboLock());
    a.holdTree(t, q, 2);
    for (let i = 0; i < 64; i++) if (u32[a.limboLock() / 4 + i] === 2) u32[a.limboLock() / 4 + i] = 7;
    expect([b.recoverLimboOf(2), b.recoverLimboOf(0), b.waiting(), b.youngest()]).toEqual([0, 1, 2, a.nameOf(q)]);
    expect([a.intent(0, 3), c.isHeld(a.limboLock())]).toEqual([0, 0]);
    expect([a.isLimboDoubtful(), a.doubtLimbo(), b.isLimboDoubtful()]).toEqual([0, undefined, 1]);
  });
});

describe("a page that is taken again", () => {
  it("has no references, whichever walker had some on what it was", () => {
    const { a, b, c } = three();
    const p = a.takeFrames(0) >>> 0;
    for (const [walker, n] of [
      [a, 3],
      [b, -1],
      [c, 5],
    ] as const)
      walker.addReference(p, n);
    expect(a.references(p)).toBe(7);
    expect([a.giveFrames(p), b.takeFrames(0) >>> 0, b.references(p)]).toEqual([1, p, 0]);
  });
});

describe("the arena of a dead walker", () => {
  it("has what was taken, and no more, once its lists are made anew", () => {
    const { a, b } = three();
    const blocks = [0, 1, 0, 3].map((order) => a.takeFrames(order) >>> 0);
    a.giveFrames(blocks[0] as number);
    expect([b.recoverFrames(1), a.taken()]).toEqual([0, 11]);
    a.acquire(a.poolLock());
    expect([b.recoverFrames(3), b.recoverFrames(1), b.taken(), b.isHeld(a.poolLock())]).toEqual([0, 1, 11, 0]);
    expect(blocks.map((p) => b.isTaken(p))).toEqual([0, 1, 1, 1]);
    for (const p of blocks.slice(1)) expect(b.giveFrames(p)).toBe(1);
    expect(b.taken()).toBe(0);
    // All of it is one piece again: the largest blocks are there, as many as the arena has.
    const large = Array.from({ length: 256 >> (K.ORDERS - 1) }, () => b.takeFrames(K.ORDERS - 1) >>> 0);
    expect(large.every((p) => p !== 0)).toBe(true);
    expect([b.takeFrames(0), b.taken()]).toEqual([0, 256]);
  });
});

describe("a page that two walkers give back at once", () => {
  it("goes back once, and one of them is told: the other was faster while it waited for the free lists [PROP-4]", () => {
    const { all, clock } = walkers(3);
    const [a, b, c] = all as [Walkers, Walkers, Walkers];
    const page = a.takeFrames(0) >>> 0;
    c.acquire(a.poolLock());
    let other = -1;
    // The first look at the clock: `a` has seen that the page is taken, and waits.
    Object.defineProperty(clock, "step", {
      get: () => {
        if (other === -1) {
          other = 0;
          c.relinquish(a.poolLock());
          other = b.giveFrames(page);
        }
        return 0;
      },
    });
    expect([a.giveFrames(page), other, a.taken()]).toEqual([0, 1, 0]);
    expect([a.takeFrames(0) >>> 0, a.taken()]).toEqual([page, 1]);
  });
});

describe("what a walker has in hand", () => {
  const words = (w: Walkers, id: number): number[] => [0, 1, 2, 3, 4, 5].map((word) => w.intent(id, word));

  it("is said before the step and taken back after it", () => {
    const { a, b, t } = three();
    const [p, q] = [a.takeFrames(0) >>> 0, 0x5000];
    expect(words(b, 0)).toEqual([0, p, 0, 0, 0, 0]);
    a.countHeld(t, p);
    expect(words(b, 0)).toEqual([0, p | 1, 0, 0, 0, t]);
    a.intendBreak(t, q, 5n, 2);
    expect([b.isClaimed(q, 1), b.isClaimed(q, 0), b.isClaimed(p, 1)]).toEqual([1, 0, 0]);
    a.intendMake(q);
    expect([b.isClaimed(q, 1), a.intent(0, 0)]).toEqual([1, q | 1]);
    a.finishMake(0);
    expect(words(b, 0)).toEqual([0, p | 1, 0, 0, 0, t]);
    a.intendBreak(t, q, 5n, 2);
    a.finishMake(p);
    expect(words(b, 0)).toEqual([0, 0, 0, 0, 0, t]);
    a.intendBreak(t, q, 5n, 2);
    a.abandonBreak();
    expect([b.isClaimed(q, 1), a.intent(0, 0)]).toEqual([0, 0]);
  });

  it("is one of a page, a page on its way back, and a tree", () => {
    const { a, b, t } = three();
    const [p, q] = [0x6000, 0x7000];
    a.holdPage(p);
    a.holdTree(t, p, 1);
    expect(words(b, 0)).toEqual([0, 0, 0, p | 3, 0, t]);
    a.holdPage(q);
    a.finishMake(q);
    expect(words(b, 0)).toEqual([0, 0, 0, p | 3, 0, t]);
    a.finishMake(p);
    expect(words(b, 0)).toEqual([0, 0, 0, 0, 0, t]);
    a.holdTree(t, p, 3);
    a.holdPage(q);
    a.intendGiveCounted(t, p);
    expect(words(b, 0)).toEqual([0, q, p | 1, 0, 0, t]);
    a.finishGive();
    a.intendGive(q);
    a.intendCount();
    a.holdTree(t, p, -1);
    expect(words(b, 0)).toEqual([0, q, q, p | 1, 1, t]);
    a.handOver();
    a.handOverTree();
    expect(words(b, 0)).toEqual([0, 0, q, 0, 1, t]);
    a.intendBreak(t, q, 5n, 2);
    a.holdPage(p);
    a.holdTree(t, q, 0);
    b.intendNothingOf(0);
    expect(words(b, 0)).toEqual([0, 0, 0, 0, 0, t]);
  });
});

describe("a page of its own", () => {
  it("is plain until software state is written to it, and when it is taken again", () => {
    const { a } = three();
    const [p, q] = [a.takeFrames(0) >>> 0, a.takeFrames(0) >>> 0];
    const plain = () => [a.isPlain(p), a.isPlain(q)];
    expect(plain()).toEqual([1, 1]);
    a.markSoftware(p);
    expect(plain()).toEqual([0, 1]);
    a.markSoftware(p);
    a.giveFrames(p);
    expect([a.takeFrames(0) >>> 0, ...plain(), a.isTaken(p)]).toEqual([p, 1, 1, 1]);
  });
});

describe("caches", () => {
  const [OWN, ARENA_ITSELF, NONE] = [2, 1, 0];
  /** Where a cache counts its pages, as memory/cache.ts has it. */
  const COUNT_AT = 4;

  it("of a dead walker go back with all their pages, once the free lists can be locked [MC-5]", () => {
    const { a, b, c } = three();
    const caches = [12, 14, 16].map((ps) => a.createCache(ps, 4) >>> 0) as [number, number, number];
    for (const cache of caches) expect(a.topUp(cache, 2)).toBe(0);
    expect(a.taken()).toBe(3 + 4 * (1 + 4 + 16));
    c.acquire(a.poolLock());
    expect([b.giveAllOf(0), a.taken()]).toEqual([0, 87]);
    c.relinquish(a.poolLock());
    expect([b.giveAllOf(0), a.taken(), a.cachesOf(0)]).toEqual([1, 0, 0]);
    expect([b.giveAllOf(0), b.giveAllOf(2)]).toEqual([1, 1]);
  });

  it.each([false, true])("are no longer in the hand of a dead walker when they went back; counted: %s", (counted) => {
    const { a, b, t } = three();
    const cache = a.createCache(12, 4) >>> 0;
    a.topUp(cache, 1);
    const page = a.takePage(cache, 12) >>> 0;
    const hold = (p: number) => (counted ? a.countHeld(t, p) : a.holdPage(p));
    hold(page); // it has left the cache, and is somebody else's to find
    expect([b.giveAllOf(0), b.intent(0, 1) & ~1]).toEqual([1, page]);
    const next = a.createCache(12, 4) >>> 0;
    hold(next);
    expect([b.giveAllOf(0), b.intent(0, 1)]).toEqual([1, 0]);
  });

  it.each([false, true])(
    "a page that a walker died with on its way out of one goes back with it; counted: %s",
    (counted) => {
      const { a, b, t, u32 } = three();
      const cache = a.createCache(12, 4) >>> 0;
      a.topUp(cache, 1);
      const page = a.takePage(cache, 12) >>> 0;
      if (counted) a.countHeld(t, page);
      u32[(cache + COUNT_AT) / 4] = 4; // as it was while the page was in hand already
      expect([a.cached(cache), b.giveAllOf(0), b.intent(0, 1), a.taken()]).toEqual([4, 1, 0, 0]);
    },
  );

  it("leave the list of their walker one by one, from wherever they are", () => {
    for (const first of [0, 1, 2]) {
      const { a, b } = three();
      const caches = [0, 1, 2].map(() => a.createCache(12, 4) >>> 0);
      a.destroyCache(caches[first] as number);
      expect([a.taken(), a.isCache(caches[first] as number, 12)]).toEqual([2, 0]);
      expect([b.giveAllOf(0), a.taken()]).toEqual([1, 0]);
    }
  });

  it("hold what they were asked for, up to their capacity, and give the last page first [MC-2, MC-3]", () => {
    const { a, b } = three();
    const cache = a.createCache(12, 4) >>> 0;
    expect([a.isCache(cache, 12), a.isCache(cache, 14), b.isCache(cache, 12), a.isCache(cache + 4, 12)]).toEqual([
      1, 0, 0, 0,
    ]);
    expect([a.topUp(cache, 5), a.cached(cache), a.topUp(cache, 0), a.cached(cache)]).toEqual([K.EINVAL, 0, 0, 0]);
    expect([a.topUp(cache, 1), a.cached(cache), a.available(cache)]).toEqual([0, 4, 4]);
    const page = a.takePage(cache, 12) >>> 0;
    expect([a.isTaken(page), a.cached(cache), a.intent(0, 1)]).toEqual([1, 3, page]);
    expect([a.topUp(cache, 3), a.cached(cache)]).toEqual([0, 3]);
    expect([a.fillTo(cache, 5), a.fillTo(cache, 1), a.cached(cache), a.taken()]).toEqual([K.EINVAL, 0, 1, 3]);
    expect([a.fillTo(cache, 2), a.cached(cache), a.taken(), a.intent(0, 1)]).toEqual([0, 2, 4, 0]);
    expect([NONE, ARENA_ITSELF].map((stand) => a.available(stand) >>> 0)).toEqual([0, 0xffff_ffff]);
    expect([a.takePage(NONE, 12), a.takePage(ARENA_ITSELF, 14) !== 0, a.taken()]).toEqual([0, true, 8]);
  });

  it("of a walker's own are made when they are needed, one for each granule, and go when it leaves [MC-7]", () => {
    const { a, b } = three();
    const own = [12, 14, 16].map((ps) => a.resolve(OWN, ps) >>> 0);
    expect(new Set(own).size).toBe(3);
    expect([12, 14, 16].map((ps) => a.resolve(OWN, ps) >>> 0)).toEqual(own);
    expect([NONE, ARENA_ITSELF, own[1] as number].map((cache) => a.resolve(cache, 12) >>> 0)).toEqual([0, 1, own[1]]);
    expect([b.resolve(OWN, 12) === own[0], a.taken()]).toEqual([false, 4]);
    // An empty one of its own takes from the arena, an empty one that was made does not [MC-4].
    const made = a.createCache(12, 1) >>> 0;
    expect([a.takePage(made, 12), a.takePage(own[0] as number, 12) !== 0]).toEqual([0, true]);
    a.destroyCache(made);
    a.giveOwn();
    expect([a.taken(), a.cachesOf(0), a.resolve(OWN, 12) !== 0]).toEqual([2, 0, true]);
  });
});

describe("the arena", () => {
  it("is a range of physical memory and of pointers: pages that are in it, aligned", () => {
    const { a } = three();
    const p = a.takeFrames(0) >>> 0;
    const arena = p - Number(a.virtToPhys(p));
    const end = arena + (1 << 20);
    expect([0n, 8n, (1n << 20n) - 8n].map((pa) => a.physToVirt(pa, 8) >>> 0)).toEqual([arena, arena + 8, end - 8]);
    expect([(1n << 20n) - 4n, 1n << 20n, -8n, 1n << 60n].map((pa) => a.physToVirt(pa, 8))).toEqual([0, 0, 0, 0]);
    expect([arena, end - 8].map((at) => a.isArenaRange(at, 8n))).toEqual([1, 1]);
    expect([arena - 8, end, end - 4, arena + 4].map((at) => a.isArenaRange(at, 8n))).toEqual([0, 0, 0, 0]);
    expect([a.isArenaRange(arena, 1n << 20n), a.isArenaRange(arena, (1n << 20n) + 1n)]).toEqual([1, 0]);
    expect([arena, end - 4096, arena + 4096].map((at) => a.isArenaPage(at, 12))).toEqual([1, 1, 1]);
    expect([arena - 4096, end, arena + 8].map((at) => a.isArenaPage(at, 12))).toEqual([0, 0, 0]);
    expect([a.isArenaPage(arena + 4096, 14), a.isArenaPage(arena + 16384, 14)]).toEqual([0, 1]);
  });
});

describe("the record of a table", () => {
  it("has one life after the other, each with a handle of its own", () => {
    const { all } = walkers(2, LATE);
    const [a, b] = all as [Walkers, Walkers];
    const records = [a.takeTable(), b.takeTable()].map((p) => p >>> 0) as [number, number];
    expect(records[1]).toBeGreaterThan(records[0]);
    const [t] = records;
    expect([a.isTableHandle(t), a.finishTable(t), a.handle(t), b.isTableHandle(t)]).toEqual([0, t, t, 1]);
    expect([a.addPages(t, 3), b.addPages(t, -1), a.addPages(t, 0)]).toEqual([3, 2, 2]);
    a.writeLock(t);
    a.writeUnlock(t);
    expect([a.giveTable(t), a.isTableHandle(t), b.isTableHandle(t)]).toEqual([1, 0, 0]);
    expect(b.takeTable() >>> 0).toBe(t);
    const handle = b.finishTable(t) >>> 0;
    expect(handle).not.toBe(t);
    expect([a.isTableHandle(handle), a.isTableHandle(t), a.handle(t), a.addPages(t, 0)]).toEqual([1, 0, handle, 0]);
    for (const wrong of [0, 8, records[1], -1, 0x7fffffff]) expect(a.isTableHandle(wrong), `${wrong}`).toBe(0);
    expect([a.takeTable() !== 0, a.takeTable() !== 0, a.takeTable()]).toEqual([true, true, 0]);
  });

  it("takes nothing with it of the record behind, nor of who holds its lock", () => {
    const { all, u32 } = walkers(2, LATE);
    const [a, b] = all as [Walkers, Walkers];
    const [t, next] = [a.takeTable(), a.takeTable()].map((p) => p >>> 0) as [number, number];
    for (const p of [t, next]) a.finishTable(p);
    b.writeLock(next);
    b.addPages(next, 5);
    const words = () => [...u32.subarray(next / 4, next / 4 + 64)];
    const before = words();
    expect([a.giveTable(t), a.isTableHandle(next)]).toEqual([1, 1]);
    expect(words()).toEqual(before);
  });
});

describe("a memory that walkers share", () => {
  it("is laid out once, in sizes that exist, and below 2^52", () => {
    const [end, arena] = [1n << 52n, 1 << 20];
    const laid = (base: bigint, bytes = arena, tables = 4, n = 2): number =>
      bare().layOut(ARENA_AT, bytes, base, tables, n, 0);
    expect([0n, end - BigInt(arena)].map((base) => laid(base))).toEqual([0, 0]);
    for (const base of [end, end - BigInt(arena >> 1), 1n]) expect(laid(base), `${base}`).toBe(K.EINVAL);
    expect([laid(0n, 0), laid(0n, arena + 4096), laid(0n, arena, 0), laid(0n, arena, 4, 0)]).toEqual(
      Array(4).fill(K.EINVAL),
    );
    expect([laid(0n, arena, 1025), laid(0n, arena, 4, 65), laid(0n, 64 * arena)]).toEqual([
      K.EINVAL,
      K.EINVAL,
      K.ENOMEM,
    ]);
    const { all } = walkers(1);
    expect(all[0]?.layOut(ARENA_AT, arena, 0n, 4, 1, 0)).toBe(K.EEXIST);
  });
});

describe("physical memory", () => {
  const END = PAGES << 16;

  it("ends where the linear memory does, and holds whole descriptors", () => {
    const { all } = walkers(1);
    const [a] = all as [Walkers];
    expect([0, 8, END - 8].map((p) => a.isInMemory(p, 8n))).toEqual([1, 1, 1]);
    expect([4, END, END - 4].map((p) => a.isInMemory(p, 8n))).toEqual([0, 0, 0]);
    expect([a.isInMemory(END, 0n), a.isInMemory(8, BigInt(END))]).toEqual([1, 0]);
  });

  it("is a window at any address: the first word of it, the last, and none beside it", () => {
    const { all } = walkers(1);
    const [a] = all as [Walkers];
    const base = 0x4000_0000n;
    const at = (pa: bigint, bytes = 0x1000n, pointer = 0x2000) => a.wordAt(pa, base, bytes, pointer) >>> 0;
    expect([at(base), at(base + 8n), at(base + 0xff8n)]).toEqual([0x2000, 0x2008, 0x2ff8]);
    expect([at(base - 8n), at(base + 0xffcn), at(base + 0x1000n), at(base + 4n), at(0n)]).toEqual([1, 1, 1, 1, 1]);
    expect([at(base, 8n), at(base + 8n, 8n), at(base, 7n), at(base, 0n)]).toEqual([0x2000, 1, 1, 1]);
    expect([at(base, 64n, END - 8), at(base + 8n, 64n, END - 8), at(base, 64n, END)]).toEqual([END - 8, 1, 1]);
  });
});
