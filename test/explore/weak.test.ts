// Weak memory: what the well-known small programs may give under each model, and what they may not.

import { describe, expect, it } from "vitest";
import {
  type AccessOptions,
  explore,
  type Protocol,
  protocol,
  replay,
  type Scenario,
  type Shared,
  type WeakModel,
} from "../../bindings/explore/index.js";

type W = "x" | "y";
type Walk = Protocol<W>["walkers"][number];
type Opts = AccessOptions<W>;

const made = (name: string, ...walkers: readonly Walk[]) =>
  protocol({ name, title: "", words: { x: 0, y: 0 }, walkers });

async function outcomes(scenario: Scenario, weak?: WeakModel): Promise<readonly string[]> {
  const { outcomes: all, complete } = await explore(scenario, { weak, races: false });
  expect(complete).toBe(true);
  return all;
}

/** What the last walkers returned, or both words. */
const results = (all: readonly string[], from = 0): string[] => [
  ...new Set(all.map((one) => one.split(" | ").slice(from, -1).join(" "))),
];

const message = (store: Opts, load: Opts, plain = false) =>
  made(
    "mp",
    function* (m) {
      yield* plain ? m.plain.store("x", 1) : m.store("x", 1, { order: "relaxed" });
      yield* m.store("y", 1, store);
    },
    function* (m) {
      const flag = yield* m.load("y", load);
      const data = yield* plain ? m.plain.load("x") : m.load("x", { order: "relaxed", after: ["y"] });
      return flag * 10 + data;
    },
  );
/** The flag is seen, and the data is not. */
const STALE = " 10";

describe("message passing", () => {
  const orders: [Opts["order"], Opts["order"], boolean][] = [
    ["release", "acquire", false],
    ["seqcst", "seqcst", false],
    ["relaxed", "acquire", true],
  ];
  it.each(orders)("a store that is %s, a load that is %s: may the data be missed? %s", async (store, load, isStale) => {
    const all = results(await outcomes(message({ order: store as Order }, { order: load as Order }), "orders"));
    expect(all.includes(STALE)).toBe(isStale);
    expect(results(await outcomes(message({ order: store as Order }, { order: load as Order })))).not.toContain(STALE);
  });

  it("a dependency is enough for the reader, and nothing is not", async () => {
    const reader = (after: readonly W[]) =>
      made(
        "mp",
        function* (m) {
          yield* m.store("x", 1, { order: "relaxed" });
          yield* m.store("y", 1, { order: "release" });
        },
        function* (m) {
          const flag = yield* m.load("y", { order: "relaxed" });
          return flag * 10 + (yield* m.load("x", { order: "relaxed", after }));
        },
      );
    expect(results(await outcomes(reader(["y"]), "orders"))).not.toContain(STALE);
    expect(results(await outcomes(reader([]), "orders"))).toContain(STALE);
  });

  it("two fences do what release and acquire do", async () => {
    const fenced = (writer: boolean, reader: boolean) =>
      made(
        "mp",
        function* (m) {
          yield* m.store("x", 1, { order: "relaxed" });
          if (writer) yield* m.fence("release");
          yield* m.store("y", 1, { order: "relaxed" });
        },
        function* (m) {
          const flag = yield* m.load("y", { order: "relaxed" });
          if (reader) yield* m.fence("acquire");
          return flag * 10 + (yield* m.load("x", { order: "relaxed" }));
        },
      );
    for (const [writer, reader] of [
      [true, true],
      [true, false],
      [false, true],
    ] as const) {
      expect(results(await outcomes(fenced(writer, reader), "orders")).includes(STALE)).toBe(!(writer && reader));
    }
  });

  it("plain accesses beside atomic ones are ordered by these, and by nothing else", async () => {
    expect(results(await outcomes(message({}, {}, true), "plain"))).not.toContain(STALE);
    const bare = made(
      "bare",
      function* (m) {
        yield* m.plain.store("x", 1);
        yield* m.plain.store("y", 1);
      },
      function* (m) {
        return (yield* m.plain.load("y")) * 10 + (yield* m.plain.load("x"));
      },
    );
    expect(results(await outcomes(bare, "plain"))).toContain(STALE);
    expect(results(await outcomes(bare))).not.toContain(STALE);
  });
});

type Order = NonNullable<Opts["order"]>;

describe("store buffering", () => {
  const each = (own: W, other: W, order: Order, fence: boolean): Walk =>
    function* (m) {
      yield* m.store(own, 1, { order: order === "acquire" ? "release" : order });
      if (fence) yield* m.fence();
      return yield* m.load(other, { order });
    };
  const buffers = (order: Order, one: boolean, two: boolean) =>
    made("sb", each("x", "y", order, one), each("y", "x", order, two));

  it("both may read 0 unless both have a full fence, or all is sequentially consistent", async () => {
    const may = async (scenario: ReturnType<typeof buffers>) =>
      results(await outcomes(scenario, "orders")).includes("0 0");
    expect(await may(buffers("relaxed", false, false))).toBe(true);
    expect(await may(buffers("acquire", false, false))).toBe(true);
    expect(await may(buffers("relaxed", true, false))).toBe(true);
    expect(await may(buffers("relaxed", true, true))).toBe(false);
    expect(await may(buffers("seqcst", false, false))).toBe(false);
    expect(results(await outcomes(buffers("relaxed", false, false), "plain"))).not.toContain("0 0");
  });
});

describe("other shapes", () => {
  const relaxed = { order: "relaxed" } as const;
  it("the last of two stores may be the one that was made first (2+2W)", async () => {
    const both = (first: W, second: W): Walk =>
      function* (m) {
        yield* m.store(first, 1, relaxed);
        yield* m.store(second, 2, relaxed);
      };
    const scenario = made("2+2w", both("x", "y"), both("y", "x"));
    expect((await outcomes(scenario, "orders")).some((one) => one.endsWith("x 1, y 1"))).toBe(true);
    expect((await outcomes(scenario)).some((one) => one.endsWith("x 1, y 1"))).toBe(false);
  });

  it("one word is coherent: nobody reads a newer value and then an older one", async () => {
    const scenario = made(
      "corr",
      function* (m) {
        yield* m.store("x", 1, relaxed);
        yield* m.store("x", 2, relaxed);
      },
      function* (m) {
        return (yield* m.load("x", relaxed)) * 10 + (yield* m.load("x", relaxed));
      },
    );
    expect(results(await outcomes(scenario, "orders")).sort()).toEqual([" 0", " 1", " 11", " 12", " 2", " 22"]);
  });

  it("no exchange is lost, whatever its order", async () => {
    const add: Walk = function* (m) {
      yield* m.add("x", 1, relaxed);
    };
    expect(await outcomes(made("add", add, add, add), "orders")).toEqual([" |  |  | x 3, y 0"]);
  });

  it("a chain of release and acquire passes on what the first one wrote", async () => {
    const chain = (order: Order) =>
      protocol({
        name: "wrc",
        title: "",
        words: { x: 0, y: 0, z: 0 },
        walkers: [
          function* (m: Shared<W | "z">) {
            yield* m.store("x", 1, relaxed);
            yield* m.store("y", 1, { order: "release" });
          },
          function* (m) {
            if ((yield* m.load("y", { order })) === 1) yield* m.store("z", 1, { order: "release" });
          },
          function* (m) {
            return (yield* m.load("z", { order: "acquire" })) === 1 ? yield* m.load("x", relaxed) : 1;
          },
        ],
      });
    expect(results(await outcomes(chain("acquire"), "orders"), 2)).toEqual(["1"]);
    expect(results(await outcomes(chain("relaxed"), "orders"), 2)).toContain("0");
  });

  it("whoever waits for a word sees it change in the end", async () => {
    const scenario = made(
      "wait",
      function* (m) {
        yield* m.store("x", 1, relaxed);
        yield* m.store("y", 1, { order: "release" });
      },
      function* (m) {
        while ((yield* m.load("y", { order: "acquire" })) === 0) yield* m.wait("y", 0);
        return yield* m.load("x", relaxed);
      },
    );
    const { violations, complete, outcomes: all } = await explore(scenario, { weak: "orders" });
    expect([violations, complete, results(all)]).toEqual([[], true, [" 1"]]);
  });

  it("an access cannot have every order", async () => {
    const bad = made("bad", function* (m) {
      yield* m.load("x", { order: "release" });
    });
    await expect(explore(bad)).rejects.toThrow("no atomic load can be release: relaxed, acquire, seqcst");
  });
});

describe("replay strings", () => {
  const checked = (name: string) =>
    protocol({
      name,
      title: "",
      words: { x: 0, y: 0 },
      walkers: [
        function* (m) {
          yield* m.store("x", 42, { order: "relaxed" });
          yield* m.store("y", 1, { order: "relaxed" });
        },
        function* (m) {
          return (yield* m.load("y", { order: "acquire" })) === 1 ? yield* m.load("x", { order: "relaxed" }) : 42;
        },
      ],
      check: (_, [, seen]) => (seen === 42 ? undefined : `${seen} was read`),
    });

  it("name the memory and what goes back, are the shortest, and replay", async () => {
    const scenario = checked("stale");
    const { violations } = await explore(scenario, { weak: "orders" });
    expect(violations).toEqual([{ rule: "0 was read", replay: "x1:stale+orders:0:0*2,1*1,1<1", steps: 4 }]);
    const { rules, lines, text } = replay(violations[0]?.replay ?? "", [scenario]);
    expect(rules).toEqual(["0 was read"]);
    expect(lines[3]).toMatchObject({ does: "atomic load", at: "x", stale: "reads 0x0, 1 store back" });
    expect(text).toContain("reads 0x0, 1 store back");
    expect(replay("x1:stale+orders:0:0*2,1*2", [scenario]).rules).toEqual([]);
    expect((await explore(scenario)).violations).toEqual([]);
  });

  it("what may not go back does not", () => {
    expect(replay("x1:stale+plain:0:0*2,1*1,1<1", [checked("stale")]).rules).toEqual([]);
    expect(replay("x1:stale+orders:0:0*2,1*1,1<7", [checked("stale")]).rules).toEqual([]);
  });

  it("nobody dies on a weak memory", async () => {
    await expect(explore(checked("dead"), { weak: "orders", deaths: "atomics" })).rejects.toThrow("nobody can die");
  });
});
