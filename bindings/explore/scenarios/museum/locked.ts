// A block takes the place of a table while others do the same: the marker LOCKED, who may take a slot that holds it, and what a
// walk may follow after its visitor has replaced the table. See docs/museum/locked.md.

import type { ProtocolWalker } from "../../protocol.js";
import { type Exhibit, exhibit } from "./exhibit.js";

const MAIL = "Re: [PATCH 11/14] KVM: arm64: Make changes block->table to leaf PTEs parallel-aware, 13 September 2022";
const PAGE = "locked";
const EAGAIN = -11;

/** Of the slot: what it maps, or from LOCKED on a marker. */
const TABLE = 1;
const BLOCK = 2;
const LOCKED = 3;

type Flaw = "untested" | "own-markers" | "blind";

/** Break, free the table, make. */
function block(flaw: Flaw | undefined): ProtocolWalker<"slot" | "times freed"> {
  return function* (m, id) {
    const marker = flaw === "own-markers" ? LOCKED + id : LOCKED;
    const old = yield* m.load("slot");
    if (old === BLOCK) return EAGAIN; // an equal mapping is there already
    const isTested = flaw !== "untested" && flaw !== "own-markers";
    if (isTested && old >= LOCKED) return EAGAIN;
    if (flaw === "blind") yield* m.store("slot", marker);
    else if ((yield* m.compareExchange("slot", old, marker)) !== old) return EAGAIN;
    if (old === TABLE) yield* m.add("times freed", 1);
    yield* m.store("slot", BLOCK);
    return 0;
  };
}

function owners(words: Readonly<Record<"slot" | "times freed", number>>, results: readonly (number | undefined)[]) {
  if (words["times freed"] !== 1) return `the table is freed ${words["times freed"]} times`;
  const done = results.filter((result) => result === 0).length;
  return done === 1 ? undefined : `${done} walkers own the slot between break and make`;
}

const take = exhibit<"slot" | "times freed", Flaw>({
  page: PAGE,
  name: "block-over-table",
  title: "two walkers put a block in place of one table: exactly one owns the slot",
  cites: [MAIL, "S2-20", "LCK-5", "LCK-6"],
  words: { slot: TABLE, "times freed": 0 },
  flaws: {
    untested: "LOCKED is not tested for: the compare-exchange of LOCKED for LOCKED succeeds",
    "own-markers": "each walker has a marker of its own in place of the test: it takes the slot from the other",
    blind: "the slot is taken by a store in place of a compare-exchange",
  },
  walkers: (flaw) => [block(flaw), block(flaw)],
  check: owners,
});

/** Of the page that was the child table. */
const CHILD = 1;
const FREE = 2;
const OTHERS = 3;

const reread = exhibit({
  page: PAGE,
  name: "read-after-pre",
  title: "a visitor replaces a table by a block before its children are visited, and somebody takes the page",
  cites: ["BUG-20", "WLK-6", "WLK-7", "commit a9f0e3d5a089"],
  words: { slot: TABLE, page: CHILD },
  flaws: { "stale-child": "the walk goes on with the value that it read before the visit" },
  walkers: (flaw: "stale-child" | undefined) => [
    function* (m) {
      let entry = yield* m.load("slot");
      if (entry === TABLE) {
        yield* m.store("slot", BLOCK); // the visitor, before the children
        yield* m.store("page", FREE);
      }
      if (flaw !== "stale-child") entry = yield* m.load("slot");
      return entry === TABLE ? yield* m.load("page") : CHILD;
    },
    function* (m) {
      yield* m.compareExchange("page", FREE, OTHERS);
    },
  ],
  check: (_, [read]) => {
    if (read === CHILD) return undefined;
    return read === FREE ? "the walk reads a table that is freed" : "the walk reads somebody else's page as a table";
  },
});

export const LOCKED_SLOTS: readonly Exhibit[] = [take, reread];
