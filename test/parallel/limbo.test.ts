// What an operation does about tables in limbo on its way out, and how walks store where somebody reads without the lock.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { KB4, MB2 } from "../support/tables.js";
import { BASE, expectAllGiven, FAULT, home, pair, pointsOf, slotAt } from "../support/walkers.js";

const PAGE = BigInt(KB4);

describe("tables in limbo", () => {
  it("are freed four at a time by whoever ends an operation, so that none pays for all [LCK-10]", () => {
    const made = pair();
    const { one, a, b } = made;
    const section = b.lock("read");
    for (let i = 0n; i < 11n; i++) {
      const at = BASE + i * BigInt(MB2);
      a.map(at, KB4, home(at), "rw", FAULT);
      a.map(at, MB2, home(at), "rw", FAULT);
    }
    const freed = () => one.counters().tablesFreed;
    expect(freed()).toBe(0);
    const perOperation: number[] = [];
    const operations = [() => section[Symbol.dispose](), ...Array.from({ length: 8 }, () => () => a.mkyoung(BASE))];
    for (const operation of operations) {
      const before = freed();
      operation();
      perOperation.push(freed() - before);
    }
    expect(Math.max(...perOperation)).toBe(4);
    expect(perOperation.reduce((sum, n) => sum + n, 0)).toBe(11);
    expectAllGiven(made);
  });
});

describe("a table whose leaves are changed without its lock", () => {
  const SHARED_STORES = [K.POINT_EXCHANGED, K.POINT_RELEASED];

  /** Slots that an exclusive write protection of 16 pages stores to, one shared access each. */
  function slotsStored(lockFree: boolean): number {
    const { one, a } = pair({ lockFree });
    a.map(BASE, 16 * KB4, home(BASE), "rw");
    const slots = Array.from({ length: 16 }, (_, i) => slotAt(a, BASE + BigInt(i) * PAGE));
    const points = pointsOf(one, () => a.wrprotect(BASE, 16 * KB4));
    const stored = points.filter(({ kind }) => SHARED_STORES.includes(kind)).map(({ pointer }) => pointer);
    return slots.filter((slot) => stored.includes(slot)).length;
  }

  /** Slots that an exclusive map of 16 pages stores to, one shared access each. */
  function slotsMapped(lockFree: boolean): number {
    const { one, a } = pair({ lockFree });
    a.map(BASE, KB4, home(BASE), "rw");
    const points = pointsOf(one, () => a.map(BASE + PAGE, 16 * KB4, home(BASE + PAGE), "rw"));
    const stored = points.filter(({ kind }) => SHARED_STORES.includes(kind)).map(({ pointer }) => pointer);
    const slots = Array.from({ length: 16 }, (_, i) => slotAt(a, BASE + BigInt(i + 1) * PAGE));
    return slots.filter((slot) => stored.includes(slot)).length;
  }

  it("is mapped one atomic access at a time too: who reads meanwhile may see half of a vector store", () => {
    expect(slotsMapped(true)).toBe(16);
    expect(slotsMapped(false)).toBe(0);
  });

  it("is stored to one atomic access at a time, even by an exclusive walk [IDE-1, WLK-4]", () => {
    expect(slotsStored(true)).toBe(16);
    expect(slotsStored(false)).toBe(0);
  });
});
