/** Both peers against each other on random operations, and against descriptors worked out by hand. */
import { describe, expect, it } from "vitest";
import { Xorshift } from "../random.js";
import { NaivePeer } from "./naive.js";
import { EAGAIN, EINVAL, ENOMEM, ERANGE, PAGE_SIZE, type Peer, PROT_R, PROT_W, PROT_X } from "./peer.js";
import { TypedPeer } from "./typed.js";

const GIB = 2 ** 30;
const MIB2 = 2 ** 21;
const LIMIT = 2 ** 40;
/** Ranges around the borders of a block, of a table and of a start page. */
const BASES = [0, GIB - MIB2, GIB, 512 * GIB - 4 * MIB2, LIMIT - 8 * MIB2];
const PROTECTIONS = [0, PROT_R, PROT_W, PROT_R | PROT_W, PROT_R | PROT_X, PROT_R | PROT_W | PROT_X];
const makers: readonly (() => Peer)[] = [() => new TypedPeer(6000), () => new NaivePeer()];

type Operation = (peer: Peer) => number;

function pick<T>(random: Xorshift, from: readonly T[]): T {
  return from[random.below(from.length)]!;
}

/** An address in one of the windows: of a page, or of a block. */
function address(random: Xorshift): number {
  const unit = pick(random, [PAGE_SIZE, MIB2]);
  return pick(random, BASES) + random.below((8 * MIB2) / unit) * unit;
}

function size(random: Xorshift): number {
  const pages = PAGE_SIZE * (1 + random.below(1100));
  return pick(random, [PAGE_SIZE, PAGE_SIZE * (1 + random.below(8)), pages, MIB2, 3 * MIB2]);
}

function draw(random: Xorshift): Operation {
  const ipa = address(random);
  const bytes = size(random);
  const prot = pick(random, PROTECTIONS);
  const flag = random.below(2) === 0;
  // The third frame base makes the low word pass 2^32 inside a run.
  const pa = pick(random, [16 * GIB + ipa, 16 * GIB + ipa + PAGE_SIZE, 4 * GIB - 4 * PAGE_SIZE, 2 ** 47 - MIB2]);
  const gig = pick(random, [0, GIB, 2 * GIB]);
  const gigOffset = pick(random, [0, 0, MIB2]);
  const gigs = pick(random, [GIB, 2 * GIB]);
  return pick<Operation>(random, [
    (peer) => peer.map(ipa, bytes, pa, prot, flag),
    (peer) => peer.map(ipa, bytes, pa, prot, flag),
    (peer) => peer.map(ipa, PAGE_SIZE, pa, prot, flag),
    (peer) => peer.map(gig, GIB, 64 * GIB + gig + gigOffset, prot, false),
    (peer) => peer.unmap(ipa, bytes),
    (peer) => peer.unmap(gig, gigs),
    (peer) => peer.wrprotect(ipa, bytes),
    (peer) => peer.testClearYoung(ipa, bytes, flag),
    (peer) => peer.relax(ipa, prot),
    (peer) => peer.split(ipa, Math.min(bytes, MIB2)),
    (peer) => peer.lookup(ipa) + peer.foundLevel + peer.foundHigh,
    (peer) => peer.countLeaves(ipa, bytes),
    (peer) => peer.walkLeaves(ipa, bytes, () => undefined),
  ]);
}

describe("the peers", () => {
  it.each([1, 2, 3, 4, 5, 6])("agree on random operations, seed %i", (seed) => {
    const random = new Xorshift(88172645463325252n + BigInt(seed));
    const typed = new TypedPeer(6000);
    const naive = new NaivePeer();
    for (let step = 0; step < 400; step++) {
      const operation = draw(random);
      expect(operation(typed), `step ${step}`).toBe(operation(naive));
      expect(typed.counters(), `step ${step}`).toEqual(naive.counters());
      if (step % 20 !== 0) continue;
      expect(typed.digest(), `step ${step}`).toBe(naive.digest());
      expect([typed.countsHold(), naive.countsHold()], `step ${step}`).toEqual([true, true]);
    }
    expect(typed.countLeaves(0, LIMIT)).toBeGreaterThan(0);
    expect(typed.digest()).toBe(naive.digest());
    for (const peer of [typed, naive]) {
      expect(peer.unmap(0, LIMIT)).toBe(0);
      expect(peer.counters().tables).toBe(0);
      expect(peer.countLeaves(0, LIMIT)).toBe(0);
    }
  });
});

describe.each(makers.map((make) => ({ name: make().name, make })))("$name", ({ make }) => {
  it("writes the descriptors of [FMT-31]", () => {
    const peer = make();
    expect(peer.map(GIB, PAGE_SIZE, 0x4000_0000, PROT_R | PROT_W, false)).toBe(0);
    expect([peer.lookup(GIB + 5), peer.foundHigh, peer.foundLevel]).toEqual([0x4000_07db, 0x0040_0000, 3]);
    expect(peer.map(0, MIB2, 0x1_4020_0000, PROT_R | PROT_X, false)).toBe(0);
    expect([peer.lookup(MIB2 - 1), peer.foundHigh, peer.foundLevel]).toEqual([0x4020_0759, 1, 2]);
  });

  it("keeps permissions when it maps over, and relaxes them when asked", () => {
    const peer = make();
    peer.map(GIB, PAGE_SIZE, 0, PROT_R, false);
    peer.map(GIB, PAGE_SIZE, 0, PROT_R | PROT_W, false);
    expect(peer.lookup(GIB) & 0xc0).toBe(0x40);
    expect(peer.relax(GIB, PROT_W | PROT_X)).toBe(0);
    expect(peer.lookup(GIB) & 0xc0).toBe(0xc0);
    expect(peer.foundHigh).toBe(0);
    expect(peer.relax(GIB + PAGE_SIZE, PROT_W)).toBe(-EAGAIN);
    expect(peer.counters()).toMatchObject({ tlbiIpa: 0, tlbiLocal: 2 });
  });

  it("drops the rest of a block that a page breaks, and takes a block over a table", () => {
    const peer = make();
    peer.map(0, MIB2, 0, PROT_R, false);
    peer.map(PAGE_SIZE, PAGE_SIZE, 0, PROT_R, true);
    expect([peer.countLeaves(0, MIB2), peer.counters().tlbiIpa]).toEqual([1, 1]);
    peer.map(0, GIB, 0, PROT_R, false);
    expect(peer.counters()).toEqual({ tables: 0, tlbiIpa: 1, tlbiLocal: 0, tlbiRange: 1 });
    expect(peer.countsHold()).toBe(true);
  });

  it("splits into pages of the same permissions, one invalidation a block", () => {
    const peer = make();
    peer.map(0, GIB, 4 * GIB, PROT_R, false);
    expect(peer.split(0, GIB)).toBe(0);
    expect([peer.countLeaves(0, GIB), peer.counters().tables, peer.counters().tlbiIpa]).toEqual([262_144, 513, 1]);
    expect([peer.lookup(GIB - 1), peer.foundHigh]).toEqual([0x3fff_f75b, 0x0040_0001]);
    expect(peer.countsHold()).toBe(true);
  });

  it("counts the kernel's 514 invalidations for the removal of 1 GiB of pages", () => {
    const peer = make();
    peer.map(GIB, GIB, 16 * GIB, PROT_R, true);
    peer.unmap(GIB, GIB);
    expect(peer.counters()).toEqual({ tables: 0, tlbiIpa: 0, tlbiLocal: 0, tlbiRange: 514 });
  });

  it("refuses what it cannot do", () => {
    const peer = make();
    expect(peer.map(LIMIT - PAGE_SIZE, 2 * PAGE_SIZE, 0, PROT_R, false)).toBe(-ERANGE);
    expect(peer.map(0, PAGE_SIZE, 7, PROT_R, false)).toBe(-EINVAL);
    expect(peer.map(0, PAGE_SIZE, 0, 8, false)).toBe(-EINVAL);
    expect(peer.map(Number.NaN, PAGE_SIZE, 0, PROT_R, false)).toBe(-ERANGE);
    for (const bad of [-1, LIMIT, Number.NaN]) expect(peer.lookup(bad)).toBe(-ERANGE);
    expect([peer.unmap(LIMIT, 1), peer.wrprotect(-1, 1), peer.relax(LIMIT, PROT_R)]).toEqual([
      -ERANGE,
      -ERANGE,
      -ERANGE,
    ]);
  });
});

describe("the arena of the typed peer", () => {
  it("runs out with ENOMEM and keeps its counts", () => {
    const peer = new TypedPeer(6);
    expect(peer.map(0, GIB, 0, PROT_R, true)).toBe(-ENOMEM);
    expect([peer.counters().tables, peer.countsHold()]).toEqual([4, true]);
    expect(peer.unmap(0, GIB)).toBe(0);
    expect(peer.map(0, MIB2, 0, PROT_R, false)).toBe(0);
    expect(peer.split(0, MIB2)).toBe(0);
  });

  it("splits step by step when it lacks pages for the whole tree", () => {
    const peer = new TypedPeer(8);
    peer.map(0, GIB, 0, PROT_R, false);
    expect(peer.split(4 * MIB2, MIB2)).toBe(0);
    expect([peer.countLeaves(0, GIB), peer.counters()]).toEqual([
      511 + 512,
      expect.objectContaining({ tables: 2, tlbiIpa: 2 }),
    ]);
    expect(peer.split(0, GIB)).toBe(-ENOMEM);
    expect(peer.countsHold()).toBe(true);
  });
});
