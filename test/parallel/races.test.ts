// One test for each window between two walkers, forced at the schedule points of the debug core and in both orders.
// One thread is enough where neither waits for the other: what the second does, it does inside the first one's point.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import type { Engine } from "../../bindings/index.js";
import { expectReferences, KB4, MB2, pointerOf } from "../support/tables.js";
import {
  at,
  BASE,
  COLUMN,
  expectAllGiven,
  FAULT,
  home,
  type Pair,
  pair,
  pointsOf,
  SHARED,
  slotAt,
  swapped,
} from "../support/walkers.js";

const PAGE = BigInt(KB4);
const BLOCK = BigInt(MB2);

/** Each window with walker 0 first, and with walker 1 first. */
const ORDERS: readonly (readonly [string, (made: Pair) => Pair])[] = [
  ["walker 0 first", (made) => made],
  ["walker 1 first", swapped],
];

/** The moments at which a slot is being changed: before it is taken, and while it is. */
const MOMENTS = [
  ["before the slot is taken", K.POINT_EXCHANGE],
  ["between break and make", K.POINT_RELEASE],
] as const;

/** A table of pages at BASE, so that the slots of its pages are there. */
function withPages(config = {}): Pair {
  const made = pair(config);
  made.a.map(BASE + BLOCK - PAGE, KB4, home(BASE + BLOCK - PAGE), "r");
  return made;
}

function withBlock(prot: "r" | "rw" = "rw", config = {}): Pair {
  const made = pair(config);
  made.a.map(BASE, MB2, home(BASE), prot);
  return made;
}

/** What must hold when nobody walks any more. */
function expectSound(made: Pair): void {
  expectReferences(made.a);
  expect([...made.a.entries()].filter(({ kind }) => kind === "locked")).toEqual([]);
  expect(made.one.counters().warnings).toBe(0);
  expectAllGiven(made);
}

describe.each(ORDERS)("%s", (_, order) => {
  describe.each(MOMENTS)("%s", (_moment, kind) => {
    it("two walkers on one hole: exactly one installs, the other is told to look again [LCK-5, S2-22]", () => {
      const made = withPages();
      const { one, a, b } = order(made);
      const outcomes: string[] = [];
      const seen = at(one, kind, slotAt(a, BASE), () => outcomes.push(b.map(BASE, KB4, home(BASE, 1n), "rw", FAULT)));
      outcomes.push(a.map(BASE, KB4, home(BASE), "rw", FAULT));
      expect(seen.met).toBe(1);
      expect(outcomes.sort()).toEqual(["again", "done"]);
      // Before the exchange the second comes first; after it the slot is locked, and the first makes [S2-24].
      expect(a.leaf(BASE).pa).toBe(kind === K.POINT_EXCHANGE ? home(BASE, 1n) : home(BASE));
      expectSound(made);
    });

    it("two walkers on one block that becomes a table: one table, none lost, the loser tries again [S2-7, S2-21]", () => {
      const made = withBlock();
      const { one, a, b } = order(made);
      const outcomes: string[] = [];
      const second = BASE + 5n * PAGE;
      at(one, kind, slotAt(a, BASE), () => outcomes.push(b.map(second, KB4, home(second), "rw", FAULT)));
      outcomes.push(a.map(BASE, KB4, home(BASE), "rw", FAULT));
      expect(outcomes.sort()).toEqual(["again", "done"]);
      at(one, 0, 0, () => {});
      a.map(BASE, KB4, home(BASE), "rw", FAULT);
      a.map(second, KB4, home(second), "rw", FAULT);
      expect([...a.leaves()].map(({ address, pa }) => [address, pa])).toEqual([
        [BASE, home(BASE)],
        [second, home(second)],
      ]);
      expectSound(made);
    });

    it("two blocks over one table: one replaces it, and it is freed once [S2-6, LCK-10, BUG-22]", () => {
      const made = withPages();
      const { one, a, b } = order(made);
      const outcomes: string[] = [];
      const slot = slotAt(a, BASE);
      const parent = parentSlot(made, BASE);
      expect(parent).not.toBe(slot);
      at(one, kind, parent, () => outcomes.push(b.map(BASE, MB2, home(BASE), "rw", FAULT)));
      outcomes.push(a.map(BASE, MB2, home(BASE), "rw", FAULT));
      expect(outcomes.sort()).toEqual(["again", "done"]);
      expect(a.leaf(BASE)).toMatchObject({ kind: "block", pa: home(BASE) });
      made.one.reclaim();
      expect(made.one.limbo()).toEqual({ waiting: 0, retired: 1, heldUpBy: undefined });
      expectSound(made);
    });

    it("a block over a table against a fault below it: the fault sees the lock and gives up, or is lost with the table [LCK-10]", () => {
      const made = withPages();
      const { one, a, b } = order(made);
      const outcomes: string[] = [];
      at(one, kind, parentSlot(made, BASE), () => outcomes.push(b.map(BASE, KB4, home(BASE), "rw", FAULT)));
      outcomes.push(a.map(BASE, MB2, home(BASE), "rw", FAULT));
      expect(outcomes).toEqual([kind === K.POINT_EXCHANGE ? "done" : "again", "done"]);
      expect(a.leaf(BASE)).toMatchObject({ kind: "block", pa: home(BASE) });
      expectSound(made);
    });

    it("a column of faults against a fault: each page once, none an error [LCK-5]", () => {
      const made = withPages();
      const { one, a, b } = order(made);
      using columns = one.createColumns(3);
      for (let i = 0n; i < 3n; i++) columns.addresses[Number(i)] = BASE + i * PAGE;
      for (let i = 0n; i < 3n; i++) columns.values[Number(i)] = home(BASE + i * PAGE);
      const middle = BASE + PAGE;
      let second = "";
      // A column takes a hole and makes it in one step: there is no moment in between.
      const moment = kind === K.POINT_EXCHANGE ? K.POINT_EXCHANGE : K.POINT_EXCHANGED;
      at(one, moment, slotAt(a, middle), () => {
        second = b.map(middle, KB4, home(middle), "rw", FAULT);
      });
      a.mapColumns(columns, 3, "rw", COLUMN);
      const won = moment === K.POINT_EXCHANGED;
      expect([...columns.statuses.subarray(0, 3)]).toEqual([0, won ? 0 : K.EAGAIN, 0]);
      expect(second).toBe(won ? "again" : "done");
      expect([...a.leaves({ to: BASE + 3n * PAGE })].map(({ pa }) => pa)).toEqual(
        [0n, 1n, 2n].map((i) => home(BASE + i * PAGE)),
      );
      columns.close();
      expectSound(made);
    });
  });

  it("a column's references kept back are added before it leaves, beside those of the other [S2-23, WLK-17]", () => {
    const made = withPages();
    const { one, a, b } = order(made);
    using columns = one.createColumns(3);
    columns.addresses.set([0n, 1n, 3n].map((i) => BASE + i * PAGE));
    columns.values.set([0n, 1n, 3n].map((i) => home(BASE + i * PAGE)));
    at(one, K.POINT_EXCHANGED, slotAt(a, BASE + PAGE), () => b.map(BASE + 2n * PAGE, KB4, home(BASE), "rw", FAULT));
    a.mapColumns(columns, 3, "rw", COLUMN);
    expectReferences(a);
    // What would be freed by a count that is too low: all pages but one go, the table and the one stay.
    a.unmap(BASE, 4 * KB4);
    expect(a.leaf(BASE + BLOCK - PAGE).kind).toBe("page");
    columns.close();
    expectSound(made);
  });

  it("relax against a write protection: who comes second decides, and none is lost [S2-13, WLK-11]", () => {
    const made = withBlock("r");
    const { one, a, b } = order(made);
    at(one, K.POINT_EXCHANGE, slotAt(a, BASE), () => b.relaxPerms(BASE, "w", SHARED));
    expect(a.relaxPerms(BASE, "x", SHARED)).toBe("again"); // a fault gives up, and comes again
    const protectedToo = at(one, K.POINT_EXCHANGE, slotAt(a, BASE), () => b.relaxPerms(BASE, "x", SHARED));
    a.wrprotect(BASE, MB2, SHARED); // a range looks again
    expect(protectedToo.met).toBe(1);
    expect(a.leaf(BASE).prot & (K.PROT_W | K.PROT_X)).toBe(K.PROT_X);
    at(one, K.POINT_EXCHANGE, slotAt(a, BASE), () => b.wrprotect(BASE, MB2, SHARED));
    expect(a.relaxPerms(BASE, "w", SHARED)).toBe("done"); // nothing to protect: nothing was changed
    at(one, K.POINT_EXCHANGE, slotAt(a, BASE), () => {});
    expectSound(made);
  });

  it("relax that loses to a write protection grants nothing, and flushes its own CPU all the same [BUG-25, PROP-5]", () => {
    const made = withBlock("rw");
    const { one, a, b } = order(made);
    at(one, K.POINT_EXCHANGE, slotAt(a, BASE), () => b.wrprotect(BASE, MB2, SHARED));
    const { tlbiIpaLocal, lost } = one.counters(one.walker);
    expect(a.relaxPerms(BASE, "x", SHARED)).toBe("again");
    expect(a.leaf(BASE).prot & (K.PROT_W | K.PROT_X)).toBe(0);
    expect(one.counters(one.walker)).toMatchObject({ tlbiIpaLocal: tlbiIpaLocal + 1, lost: lost + 1 });
    expectSound(made);
  });

  it("mkyoung against age: neither flag is lost [S2-15, S2-16, WLK-11]", () => {
    const made = withBlock("r");
    const { one, a, b } = order(made);
    const slot = slotAt(a, BASE);
    const young = (clear: boolean) => a.testClearYoung(BASE, MB2, clear, SHARED);
    expect(young(true)).toBe(true);
    // Before age looks the leaf is made young: it sees that.
    at(one, K.POINT_READ, slot, () => b.mkyoung(BASE, SHARED));
    expect(young(true)).toBe(true);
    // Age loses its exchange: it looks again and clears the flag, and what the other changed stays.
    b.mkyoung(BASE, SHARED);
    at(one, K.POINT_EXCHANGE, slot, () => b.relaxPerms(BASE, "x", SHARED));
    expect([young(true), young(false)]).toEqual([true, false]);
    // A fault that loses gives up: its guest comes again.
    at(one, K.POINT_EXCHANGE, slot, () => b.relaxPerms(BASE, "w", SHARED));
    expect([a.mkyoung(BASE, SHARED) === 0n, young(false)]).toEqual([false, false]);
    at(one, K.POINT_EXCHANGE, slot, () => young(true));
    expect([a.mkyoung(BASE, SHARED) === 0n, young(false)]).toEqual([false, true]);
    expect(a.leaf(BASE).prot & (K.PROT_W | K.PROT_X)).toBe(K.PROT_W | K.PROT_X);
    expectSound(made);
  });

  it("without the lock: relax and mkyoung against exclusive write protection, age and unmap, one compare-exchange each [IDE-1, BUG-50]", () => {
    const made = withBlock("rw", { lockFree: true });
    const { one, a, b } = order(made);
    const slot = slotAt(a, BASE);
    const free = { lockFree: true };
    at(one, K.POINT_EXCHANGE, slot, () => b.relaxPerms(BASE, "x", free));
    a.wrprotect(BASE, MB2); // exclusive: it holds the lock that the other does not ask for
    expect(a.leaf(BASE).prot & (K.PROT_W | K.PROT_X)).toBe(K.PROT_X);
    at(one, K.POINT_EXCHANGE, slot, () => b.wrprotect(BASE, MB2));
    expect(a.relaxPerms(BASE, "w", free)).toBe("done"); // nothing to protect
    at(one, K.POINT_EXCHANGE, slot, () => b.wrprotect(BASE, MB2));
    expect(a.relaxPerms(BASE, "w", free)).toBe("done"); // has it already: no exchange
    at(one, K.POINT_EXCHANGE, slot, () => b.mkyoung(BASE, free));
    a.testClearYoung(BASE, MB2);
    at(one, K.POINT_EXCHANGE, slot, () => b.unmap(BASE, MB2));
    expect(a.mkyoung(BASE, free)).not.toBe(0n); // its snapshot; the mapping is gone all the same
    expect(a.leaf(BASE).kind).toBe("hole");
    expectSound(made);
  });

  it("a late install into a table that is not linked any more is lost, found and released at free time [LCK-11, BUG-21]", () => {
    const made = withPages();
    const { one, a, b } = order(made);
    const before = a.info().pages;
    const child = slotAt(a, BASE) & ~(KB4 - 1);
    let block = "";
    const seen = at(one, K.POINT_CHILD, child, () => {
      block = b.map(BASE, MB2, home(BASE), "rw", FAULT);
    });
    expect(a.map(BASE, KB4, home(BASE), "rw", FAULT)).toBe("done"); // the walk that is about to go below
    expect([seen.met, block]).toEqual([0, ""]);
    // A single page goes straight down; two pages are met row by row.
    expect(a.map(BASE + PAGE, BLOCK, home(BASE + PAGE), "rw", SHARED)).toBe("done");
    expect([seen.met, block]).toEqual([1, "done"]);
    expect(a.leaf(BASE + PAGE)).toMatchObject({ kind: "block", pa: home(BASE + PAGE) & ~(BLOCK - 1n) });
    made.one.reclaim();
    expect(a.info().pages).toBe(before); // one table went, one came for the page behind the block
    expectSound(made);
  });

  it("a fault through an address column finds its slot, and the table goes meanwhile: lost, not damaged [LCK-11]", () => {
    const made = withPages();
    const { one, a, b } = order(made);
    using columns = one.createColumns(1);
    columns.addresses[0] = BASE;
    columns.values[0] = home(BASE);
    at(one, K.POINT_EXCHANGE, slotAt(a, BASE), () => b.map(BASE, MB2, home(BASE), "r", FAULT));
    a.mapColumns(columns, 1, "rw", COLUMN);
    expect(columns.statuses[0]).toBe(0);
    expect(a.leaf(BASE)).toMatchObject({ kind: "block", prot: K.PROT_R });
    columns.close();
    expectSound(made);
  });

  it("a table just made that a block replaces before the walk descends is not walked; the fault comes again [WLK-5, LCK-5]", () => {
    const made = pair();
    made.a.map(BASE + 4n * BLOCK, KB4, home(BASE), "r"); // the level-2 table is there, with a hole at BASE
    const { one, a, b } = order(made);
    const slot = slotAt(a, BASE);
    const seen = at(one, K.POINT_RELEASED, slot, () => b.map(BASE, MB2, home(BASE), "rw", FAULT));
    expect(a.map(BASE, KB4, home(BASE), "rw", FAULT)).toBe("again");
    expect(seen.met).toBe(1);
    expect(a.leaf(BASE).kind).toBe("block");
    at(one, K.POINT_RELEASED, slot, () => b.map(BASE, MB2, home(BASE, 1n), "rw", FAULT));
    a.map(BASE, KB4, home(BASE), "rw", SHARED); // a range looks again, and does what it was asked
    expect(a.leaf(BASE)).toMatchObject({ kind: "page", pa: home(BASE) });
    expectSound(made);
  });

  it("a split whose new table a block replaces before the walk descends splits that [WLK-5, WLK-11]", () => {
    const made = withBlock("rw");
    const { one, a, b } = order(made);
    at(one, K.POINT_RELEASED, slotAt(a, BASE), () => b.map(BASE, MB2, home(BASE, 1n), "rw", FAULT));
    a.split(BASE, MB2, "arena", SHARED);
    expect(a.leaf(BASE)).toMatchObject({ kind: "page", pa: home(BASE, 1n) });
    expectSound(made);
  });

  it("a column of permission faults never changes a table that was a leaf when it was found [IDE-1, WLK-4]", () => {
    const made = withBlock("r");
    const { one, a, b } = order(made);
    using columns = one.createColumns(1);
    columns.addresses[0] = BASE + PAGE;
    const slot = slotAt(a, BASE);
    const seen = at(one, K.POINT_READ, slot, () => b.map(BASE, KB4, home(BASE), "r", FAULT), 3);
    a.relaxColumns(columns, 1, "rw", SHARED);
    expect(seen.met).toBe(3);
    expect(columns.statuses[0]).toBe(K.EAGAIN); // the rest of the block refaults [S2-7]
    expect((one.u64[slot / 8] as bigint) & 0xfc3n).toBe(3n);
    columns.close();
    expectSound(made);
  });

  it("a column of lookups never gives a table for a leaf [WLK-14]", () => {
    const made = withBlock("r");
    const { one, a, b } = order(made);
    using columns = one.createColumns(2);
    columns.addresses.set([BASE, BASE + PAGE]);
    const seen = at(one, K.POINT_READ, slotAt(a, BASE), () => b.map(BASE, KB4, home(BASE), "r", FAULT), 5);
    a.leafColumns(columns, 2);
    expect(seen.met).toBe(5);
    expect([...columns.statuses.subarray(0, 2)]).toEqual([3, 3]);
    expect([...columns.values.subarray(0, 2)]).toEqual([a.leaf(BASE).descriptor, 0n]);
    columns.close();
    expectSound(made);
  });

  it("three pages of which the middle one is taken by another: address and output stay in step [BUG-15, BUG-11]", () => {
    for (const other of [home(BASE + PAGE), home(BASE + PAGE, 1n)]) {
      const made = withPages();
      const { one, a, b } = order(made);
      const seen = at(one, K.POINT_EXCHANGE, slotAt(a, BASE + PAGE), () => {
        b.map(BASE + PAGE, KB4, other, "rw", FAULT);
      });
      expect(a.map(BASE, 3 * KB4, home(BASE), "rw", SHARED)).toBe("done");
      expect(seen.met).toBe(1);
      const pas = [0n, 1n, 2n].map((i) => a.leaf(BASE + i * PAGE).pa);
      expect(pas).toEqual([0n, 1n, 2n].map((i) => home(BASE + i * PAGE)));
      expectSound(made);
    }
  });

  it("a write protection of a range meets a hole that becomes a page: it looks again and protects it [WLK-11]", () => {
    const made = withPages();
    const { one, a, b } = order(made);
    a.map(BASE, KB4, home(BASE), "rw");
    at(one, K.POINT_EXCHANGE, slotAt(a, BASE), () => b.map(BASE, KB4, home(BASE, 1n), "rw", FAULT));
    a.wrprotect(BASE, MB2, SHARED);
    expect(a.leaf(BASE)).toMatchObject({ pa: home(BASE, 1n), prot: K.PROT_R });
    expectSound(made);
  });

  it("a walker in a table while it is unlinked may go on reading; once it has left, the table is freed [LCK-10, LCK-11, PROP-4, BUG-14]", () => {
    const made = withPages();
    const { one, two, a, b } = order(made);
    a.map(BASE, KB4, home(BASE), "rw");
    const child = slotAt(a, BASE) & ~(KB4 - 1);
    let during: unknown;
    const seen = at(one, K.POINT_CHILD, child, () => {
      b.map(BASE, MB2, home(BASE), "rw", FAULT);
      for (let i = 0; i < 5; i++) during = two.limbo();
    });
    a.testClearYoung(BASE, 2 * MB2, true, SHARED); // reads every entry of the child, in which nothing may be poison
    expect(seen.met).toBe(1);
    expect(during).toEqual({ waiting: 1, retired: 1, heldUpBy: one.walker });
    expect(two.limbo().waiting).toBe(0);
    expect(one.u64[child / 8]).toBe(0xa5a5_a5a5_a5a5_a5a5n);
    expectSound(made);
  });

  it("the table that a walk itself replaced by a block is not read again [BUG-20, WLK-7]", () => {
    const made = withPages();
    const { one, a } = order(made);
    const child = slotAt(a, BASE) & ~(KB4 - 1);
    const points = pointsOf(one, () => a.map(BASE, 2 * MB2, home(BASE), "rw", SHARED));
    const unlinked = points.findIndex(({ kind }) => kind === K.POINT_RETIRED);
    expect(unlinked).toBeGreaterThan(0);
    const before = points.slice(0, unlinked).some(({ pointer }) => (pointer & ~(KB4 - 1)) === child);
    const after = points
      .slice(unlinked)
      .filter(({ kind, pointer }) => kind === K.POINT_READ && (pointer & ~(KB4 - 1)) === child);
    expect([before, after]).toEqual([false, []]);
    expectSound(made);
  });

  it("a table that another walker replaced after PRE is read again and not walked [BUG-20, WLK-7]", () => {
    const made = withPages();
    const { one, a, b } = order(made);
    const child = slotAt(a, BASE) & ~(KB4 - 1);
    const parent = parentSlot(made, BASE);
    // Row by row from the middle of the table on: the block does not fit, so PRE leaves the table alone.
    const from = BASE + BLOCK - PAGE;
    const kinds: number[] = [];
    let replaced = false;
    one.hosts.point = (kind, pointer) => {
      if (kind === K.POINT_READ && pointer === parent && kinds.push(kind) === 2) {
        replaced = b.map(BASE, MB2, home(BASE), "rw", FAULT) === "done";
      } else if (replaced && kind !== K.POINT_FREE) {
        expect(pointer & ~(KB4 - 1)).not.toBe(child);
      }
    };
    a.map(from, 2 * KB4, home(from), "r", SHARED);
    one.hosts.point = () => {};
    expect(replaced).toBe(true);
    expectSound(made);
  });
});

/** Pointer of the level-2 entry of `addr`, where a table hangs now. */
function parentSlot({ one, a }: Pair, addr: bigint): number {
  const { rootPa } = a.info();
  const root = pointerOf(one, rootPa) / 8 + Number(addr >> 30n);
  const level2 = pointerOf(one, (one.u64[root] as bigint) & 0xffff_ffff_f000n);
  return level2 + Number((addr >> 21n) & 511n) * 8;
}

describe("publication", () => {
  it("a table is counted, and all that is in it is there, before its parent names it [S2-5, S2-26, LCK-6]", () => {
    const made = withBlock("rw");
    const { one, a } = made;
    const slot = slotAt(a, BASE);
    const page = slot & ~(KB4 - 1);
    const counted = one.core.pageReferences(page);
    let full = -1;
    const seen = at(one, K.POINT_RELEASE, slot, () => {
      expect(one.u64[slot / 8]).toBe(0x400n); // locked, and nothing else in the way
      expect(one.core.pageReferences(page)).toBe(counted); // broken: one fewer; to be made: one more again
      full = fullest(one);
    });
    a.split(BASE, MB2, "arena", SHARED);
    expect(seen.met).toBe(1);
    expect(full).toBe(512);
    expectSound(made);
  });

  it("a shared make is a release store at its point, an exclusive one is none [S2-5, LCK-6]", () => {
    const made = withPages();
    const { one, a } = made;
    const slot = slotAt(a, BASE);
    const here = (points: { kind: number; pointer: number }[]) =>
      points.filter(({ pointer, kind }) => pointer === slot && kind !== K.POINT_READ).map(({ kind }) => kind);
    const shared = pointsOf(one, () => a.map(BASE, KB4, home(BASE), "rw", FAULT));
    expect(here(shared)).toEqual([K.POINT_EXCHANGE, K.POINT_EXCHANGED, K.POINT_RELEASE, K.POINT_RELEASED]);
    expect(here(pointsOf(one, () => a.map(BASE, KB4, home(BASE, 1n), "rw")))).toEqual([]);
    expectSound(made);
  });
});

/** Most valid entries in any of the arena's first pages: what a split builds is among them. */
function fullest(one: Engine): number {
  let most = 0;
  const first = one.arenaPointer / 8;
  for (let page = 0; page < 64; page++) {
    let n = 0;
    for (let i = 0; i < 512; i++) if ((one.u64[first + page * 512 + i] as bigint) & 1n) n++;
    most = Math.max(most, n);
  }
  return most;
}
