// Protocols of one's own: what is found in them, and the strings that replay it.

import { describe, expect, it } from "vitest";
import {
  explore,
  formatReplay,
  type Protocol,
  parseReplay,
  protocol,
  replay,
  type Shared,
} from "../../bindings/explore/index.js";

type Walk<W extends string> = Protocol<W>["walkers"][number];

function counter(walker: Walk<"counter">, walkers = 2) {
  return protocol({
    name: "counter",
    title: "walkers add 1",
    words: { counter: 0 },
    walkers: new Array(walkers).fill(walker),
    check: (m) => (m.counter === walkers ? undefined : `the counter is ${m.counter}`),
  });
}

describe("protocols", () => {
  it("an update is lost between a load and a store, and the string is the shortest", async () => {
    const made = counter(function* (m) {
      const seen = yield* m.load("counter");
      yield* m.store("counter", seen + 1);
    });
    const { violations, outcomes, schedules } = await explore(made);
    expect(violations).toEqual([{ rule: "the counter is 1", replay: "x1:counter:0:0*1,1*1", steps: 2 }]);
    expect(outcomes).toHaveLength(2);
    expect(schedules).toBe(6n);
    expect(replay("x1:counter:0:0*1,1*1", [made]).rules).toEqual(["the counter is 1"]);
    expect(replay("x1:counter:0:0*2,1*2", [made]).rules).toEqual([]);
  });

  it("three walkers that add in one step: all of it is seen, and nothing is wrong", async () => {
    const { violations, complete, schedules } = await explore(
      counter(function* (m) {
        yield* m.add("counter", 1);
      }, 3),
    );
    expect(violations).toEqual([]);
    expect([complete, schedules]).toEqual([true, 6n]);
  });

  it("plain accesses without an order race, and with a lock around them they do not", async () => {
    function* plain(m: Shared<"counter" | "lock">) {
      const seen = yield* m.plain.load("counter");
      yield* m.plain.store("counter", seen + 1);
    }
    const make = (name: string, walker: Walk<"counter" | "lock">) =>
      protocol({ name, title: "", words: { counter: 0, lock: 0 }, walkers: [walker, walker] });
    const bare = await explore(make("bare", plain));
    expect(bare.races).toBeGreaterThan(0);
    const locked = await explore(
      make("locked", function* (m) {
        while ((yield* m.compareExchange("lock", 0, 1)) !== 0) yield* m.wait("lock", 1);
        yield* plain(m);
        yield* m.store("lock", 0);
      }),
    );
    expect([locked.races, locked.complete, locked.violations]).toEqual([0, true, []]);
    expect(locked.outcomes).toEqual([" |  | counter 2, lock 0"]);
  });

  it("who waits for each other for ever is stuck", async () => {
    const take = (first: "a" | "b", second: "a" | "b"): Walk<"a" | "b"> =>
      function* (m) {
        for (const word of [first, second]) while ((yield* m.compareExchange(word, 0, 1)) !== 0) yield* m.wait(word, 1);
        for (const word of [second, first]) yield* m.store(word, 0);
      };
    const made = protocol({
      name: "embrace",
      title: "",
      words: { a: 0, b: 0 },
      walkers: [take("a", "b"), take("b", "a")],
    });
    const { violations } = await explore(made);
    expect(violations.map(({ rule }) => rule)).toEqual(["stuck: nobody who has not ended can go on"]);
    expect(replay(violations[0]?.replay ?? "", [made]).rules).toEqual(["stuck: nobody who has not ended can go on"]);
  });

  it("who is polite for ever goes round in a circle", async () => {
    const polite: Walk<"turn"> = function* (m, id) {
      while ((yield* m.exchange("turn", id)) === id) yield* m.wait("turn", id);
    };
    const result = await explore(protocol({ name: "polite", title: "", words: { turn: 0 }, walkers: [polite] }), {
      limit: 100,
    });
    expect(result.violations.map(({ rule }) => rule.split(":")[0])).toEqual(["stuck"]);
  });
});

describe("replay strings", () => {
  it("are read as they are written", () => {
    const text = "x1:fault-block~no-hand:9987f8f3:0*8,1*11,!0+5,!1";
    expect(formatReplay(parseReplay(text))).toBe(text);
  });

  it.each(["", "x2:a:0:0*1", "x1:a:0", "x1:a:0:0*x", "x1:a:0:0*1,!", "x1:a:0:0*1:more"])("%j is none", (text) => {
    expect(() => parseReplay(text)).toThrow(/not "/);
  });

  it("a name that no scenario has is an error", () => {
    expect(() => replay("x1:nobody:0:", [])).toThrow("there is no scenario nobody");
  });
});
