// Who walks without a lock, who frees, and who sleeps: sections, the barrier that stands in for them at EL2, user tables, and the
// references of a table that is unlinked. See docs/museum/rcu.md.

import type { ProtocolWalker, Shared } from "../../protocol.js";
import { awaitChange, type Exhibit, exhibit, lock, type Steps, unlock } from "./exhibit.js";

const MAIL = "Re: [PATCH v5 08/14] KVM: arm64: Protect stage-2 traversal with RCU, November and December 2022";
const PAGE = "rcu";
const EAGAIN = -11;

/** Of a slot. */
const TABLE = 1;
const BLOCK = 2;
/** Of a page that was a table. */
const FREED = 9;

type WalkFlaw = "no-barrier" | "barrier-first" | "masked-late" | "interrupts-on";

/** A walk that no lock guards: interrupts are off meanwhile, so that whoever frees can wait for an answer. */
const walk = (flaw: WalkFlaw | undefined): ProtocolWalker<"slot" | "masked" | "table"> =>
  function* (m) {
    const isOn = flaw === "interrupts-on";
    let entry = flaw === "masked-late" ? yield* m.load("slot") : 0;
    if (!isOn) yield* m.store("masked", 1);
    if (flaw !== "masked-late") entry = yield* m.load("slot");
    const read = entry === TABLE ? yield* m.load("table") : 0;
    if (!isOn) yield* m.store("masked", 0);
    return read;
  };

/** Unlinks, waits until each CPU has answered an interrupt, frees. */
const remove = (flaw: WalkFlaw | undefined): ProtocolWalker<"slot" | "masked" | "table"> =>
  function* (m) {
    if (flaw === "barrier-first") yield* awaitChange(m, "masked", 1);
    yield* m.store("slot", 0);
    if (flaw !== "no-barrier" && flaw !== "barrier-first") yield* awaitChange(m, "masked", 1);
    yield* m.store("table", FREED);
  };

const barrier = exhibit<"slot" | "masked" | "table", WalkFlaw>({
  page: PAGE,
  name: "walk-barrier",
  title: "a walk with interrupts off, and a table is freed once each CPU has answered an interrupt",
  cites: [MAIL, "IDE-3", "BUG-14", "commit e86fc1a3a3e9"],
  words: { slot: TABLE, masked: 0, table: TABLE },
  flaws: {
    "no-barrier": "the table is freed without an answer",
    "barrier-first": "the answers are awaited before the table is unlinked",
    "masked-late": "the walk reads the slot before it turns interrupts off",
    "interrupts-on": "the walk leaves interrupts on, and answers in the middle of it",
  },
  walkers: (flaw) => [walk(flaw), remove(flaw)],
  check: (_, [read]) => (read === FREED ? "the walk reads a table that is freed" : undefined),
});

const sleep = exhibit({
  page: PAGE,
  name: "section-allocation",
  title: "EL2's map needs a page, and the last one waits for a grace period",
  cites: [MAIL, "BUG-10", "LCK-15", "IDE-4", "commit b7833bf202e3"],
  words: { section: 0, "free pages": 0 },
  flaws: { "in-section": "the walk is in a read section while it allocates" },
  walkers: (flaw: "in-section" | undefined) => [
    function* (m) {
      if (flaw === "in-section") yield* m.store("section", 1);
      yield* awaitChange(m, "free pages", 0);
      yield* m.add("free pages", -1);
      if (flaw === "in-section") yield* m.store("section", 0);
    },
    function* (m) {
      yield* awaitChange(m, "section", 1);
      yield* m.add("free pages", 1);
    },
  ],
});

const topUp = exhibit({
  page: PAGE,
  name: "top-up",
  title: "a fault needs a table page, and the last one comes back once a notifier had the lock",
  cites: [MAIL, "MC-6", "LCK-15", "IDE-4"],
  words: { lock: 0, "free pages": 0, tables: 0 },
  flaws: { "under-lock": "the page is allocated under the lock, and not before" },
  walkers: (flaw: "under-lock" | undefined) => {
    function* allocate(m: Shared<"lock" | "free pages" | "tables">): Steps {
      yield* awaitChange(m, "free pages", 0);
      return yield* m.add("free pages", -1);
    }
    return [
      function* (m) {
        if (flaw !== "under-lock") yield* allocate(m);
        yield* lock(m, "lock");
        if (flaw === "under-lock") yield* allocate(m);
        yield* m.add("tables", 1);
        yield* unlock(m, "lock");
      },
      function* (m) {
        yield* lock(m, "lock");
        yield* unlock(m, "lock");
        yield* m.add("free pages", 1);
      },
    ];
  },
});

/** Of a leaf: valid, and writable. */
const VALID = 1;
const WRITABLE = 2;

const fastFault = exhibit({
  page: PAGE,
  name: "fast-fault",
  title: "a permission fault without the lock while the page is unmapped",
  cites: [MAIL, "IDE-1"],
  words: { entry: VALID, unmapped: 0 },
  flaws: { "plain-store": "the right is added by a load and a store" },
  walkers: (flaw: "plain-store" | undefined) => [
    function* (m) {
      const old = yield* m.load("entry");
      if (!(old & VALID)) return EAGAIN;
      if (flaw === "plain-store") yield* m.store("entry", old | WRITABLE);
      else if ((yield* m.compareExchange("entry", old, old | WRITABLE)) !== old) return EAGAIN;
      return 0;
    },
    function* (m) {
      yield* m.exchange("entry", 0);
    },
  ],
  check: ({ entry }) => (entry & VALID ? "the page that was unmapped is mapped again" : undefined),
});

type CountFlaw = "own-kept" | "own-twice" | "no-grace" | "counted-early";
type CountWord = "slot" | "section" | "entry" | "references";

/** A fault in the table, which may be unlinked meanwhile: its entry is lost then, and its vCPU faults again. */
const install: ProtocolWalker<CountWord> = function* (m) {
  yield* m.store("section", 1);
  if ((yield* m.load("slot")) === TABLE && (yield* m.compareExchange("entry", 0, VALID)) === 0) {
    yield* m.add("references", 1);
  }
  yield* m.store("section", 0);
};

/** A block takes the table's place; after the grace period what the table holds is counted off, and then the table itself. */
const retire = (flaw: CountFlaw | undefined): ProtocolWalker<CountWord> =>
  function* (m) {
    const early = flaw === "counted-early" ? yield* m.load("entry") : 0;
    yield* m.store("slot", BLOCK);
    if (flaw !== "no-grace") yield* awaitChange(m, "section", 1);
    const found = flaw === "counted-early" ? early : yield* m.load("entry");
    if (found === VALID) yield* m.add("references", -1);
    if (flaw !== "own-kept") yield* m.add("references", -1);
    if (flaw === "own-twice") yield* m.add("references", -1);
  };

const references = exhibit<CountWord, CountFlaw>({
  page: PAGE,
  name: "late-install",
  title: "an entry is installed in a table that a block replaces: all references are dropped, each once",
  cites: ["LCK-11", "BUG-21", "BUG-22", "commit f6a27d6dc51b"],
  words: { slot: TABLE, section: 0, entry: 0, references: 1 },
  flaws: {
    "own-kept": "the table's own last reference is kept",
    "own-twice": "the table's own last reference is dropped by two",
    "no-grace": "the table is torn down while a fault may be in it",
    "counted-early": "what the table held when it was unlinked is counted off, and not what was installed later",
  },
  walkers: (flaw) => [install, retire(flaw)],
  check: ({ references: left }) => {
    if (left === 0) return undefined;
    return left > 0 ? `${left} references are left: the table leaks` : "more references are dropped than were taken";
  },
});

export const SECTIONS: readonly Exhibit[] = [barrier, sleep, topUp, fastFault, references];
