// The protocol between an unmapper without the lock and removers with it, in all interleavings [HZ-8].

import { describe, expect, it } from "vitest";
import { batch, entriesOf, explore, notifier, remover, unmapper } from "../support/hazard-model.js";

const EXCHANGE = "the unmapper exchanges in a freed page";
const COUNT = "the unmapper counts in a freed page";

describe("a remover and an unmapper", () => {
  it("with publish, fence, read against mark, fence, wait: no use of a freed page [HZ-2, HZ-3, HZ-6]", () => {
    const { states, violations } = explore([remover(), unmapper()], entriesOf(1));
    expect(violations).toEqual([]);
    expect(states).toBeGreaterThan(150);
  });

  it("the remover without its fence: the unmapper is not seen [HZ-3, INV-11]", () => {
    const { violations } = explore([remover({ noFence: true }), unmapper()], entriesOf(1));
    expect(violations).toEqual([COUNT, EXCHANGE]);
  });

  it("the unmapper without its fence: the mark is not seen [HZ-2, INV-12]", () => {
    const { violations } = explore([remover(), unmapper({ noFence: true })], entriesOf(1));
    expect(violations).toEqual([COUNT, EXCHANGE]);
  });

  it("the remover looks before it marks [INV-10, INV-13]", () => {
    const { violations } = explore([remover({ checksFirst: true }), unmapper()], entriesOf(1));
    expect(violations).toContain(EXCHANGE);
  });

  it("the remover does not wait where the entry was 0 already [HZ-3, INV-14]", () => {
    const { violations } = explore([remover({ skipsAbsent: true }), unmapper()], entriesOf(1));
    expect(violations).toEqual([COUNT]);
  });

  it("the unmapper reads the entry before it publishes [HZ-2, INV-13]", () => {
    const { violations } = explore([remover(), unmapper({ readsEarly: true })], entriesOf(1));
    expect(violations).toContain(EXCHANGE);
  });
});

describe("a notifier that promises", () => {
  const memory = { ...entriesOf(1), tlb: 1, p: 0 };

  it("with the count of pending batches: no stale translation [HZ-5]", () => {
    expect(explore([notifier(), batch(true)], memory).violations).toEqual([]);
  });

  it("without it: the batch of the other is not flushed yet [HZ-5, INV-14]", () => {
    expect(explore([notifier(), batch(false)], memory).violations).toEqual([
      "a stale translation after the notifier has returned",
    ]);
  });
});

describe("three entries and two removers", () => {
  it("keep the protocol, whichever entries they take [HZ-2, HZ-3, HZ-8]", () => {
    for (const [first, second] of [
      [0, 1],
      [0, 2],
      [1, 2],
      [2, 2],
    ] as const) {
      const { violations } = explore([remover({}, first), remover({}, second), unmapper({}, 3)], entriesOf(3));
      expect(violations, `${first} and ${second}`).toEqual([]);
    }
  });

  it("show the flaw when one of them has it", () => {
    const { violations } = explore([remover({}, 0), remover({ noFence: true }, 2), unmapper({}, 3)], entriesOf(3));
    expect(violations).toEqual([COUNT, EXCHANGE]);
  });
});
