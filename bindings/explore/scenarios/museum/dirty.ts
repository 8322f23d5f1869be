// The hardware sets the dirty bit (W of a page with DBM) whenever it likes, and no lock of ours keeps it out. Each software update of
// the same entry beside it. See docs/museum/dirty-bits.md.

import type { ProtocolWalker, Shared } from "../../protocol.js";
import { beginAccess, invalidate } from "./cpu.js";
import { type Exhibit, exhibit, type Steps } from "./exhibit.js";

const MAIL = "[RFC PATCH v2 3/8] KVM: arm64: Add some HW_DBM related pgtable interfaces, 22 September 2023";
const PAGE = "dirty-bits";

/** Of the entry. */
const VALID = 1;
const WRITABLE = 2; // of a page with DBM: it was written
const DBM = 4;
const ACCESSED = 8;
const EXECUTABLE = 16;
const LOCKED = 32;
/** A page that may be written and was not yet. */
const CLEAN = VALID | DBM;

/** Of the CPU: the TLB holds a translation that lets it write. */
const CACHED = 2;

type Word = "entry" | "cpu" | "data" | "log";
const WORDS: Readonly<Record<Word, number>> = { entry: CLEAN, cpu: 0, data: 0, log: 0 };

/** What the hardware does for a store of the guest; 0 if it faults. */
function* store(m: Shared<Word>): Steps {
  const held = yield* beginAccess(m, "cpu"),
    done = held & CACHED ? 1 : yield* translate(m);
  if (done) yield* m.add("data", 1);
  yield* m.store("cpu", done ? CACHED : 0);
  return done;
}

/** The hardware's walk: sets what says that the page was written. */
function* translate(m: Shared<Word>): Steps {
  for (;;) {
    const entry = yield* m.load("entry");
    if (!(entry & VALID) || !(entry & (WRITABLE | DBM))) return 0;
    const dirty = entry | WRITABLE | ACCESSED;
    if (dirty === entry || (yield* m.compareExchange("entry", entry, dirty)) === entry) return 1;
  }
}

const guest: ProtocolWalker<Word> = function* (m) {
  return yield* store(m);
};
const guestTwice: ProtocolWalker<Word> = function* (m) {
  return (yield* store(m)) + (yield* store(m));
};

/** Nothing that was written may be neither in the log nor in the entry. */
function logged({ data, log, entry }: Readonly<Record<Word, number>>): string | undefined {
  return data > 0 && log === 0 && !(entry & WRITABLE) ? "a write is in no log" : undefined;
}

/** A read-modify-write that tries again from what it finds; the entry that it replaced. */
function* update(m: Shared<Word>, next: (old: number) => number): Steps {
  for (;;) {
    const old = yield* m.load("entry");
    if ((yield* m.compareExchange("entry", old, next(old))) === old) return old;
  }
}

const protect = (entry: number) => entry & ~WRITABLE;
type HarvestFlaw = "no-tlbi" | "stale-retry" | "two-reads" | "plain-store";

/** Takes W away and returns the entry by which it decides what to log. */
function* takeDirty(m: Shared<Word>, flaw: HarvestFlaw | undefined): Steps {
  if (flaw === undefined || flaw === "no-tlbi") return yield* update(m, protect);
  const seen = yield* m.load("entry");
  if (flaw === "plain-store") yield* m.store("entry", protect(seen));
  if (flaw === "two-reads") yield* update(m, protect);
  if (flaw === "stale-retry") {
    for (let old = seen; ; ) {
      const now = yield* m.compareExchange("entry", old, protect(seen));
      if (now === old) break;
      old = now;
    }
  }
  return seen;
}

/** The dirty log is read: collect, invalidate, and only then copy the page. The copy is its result. */
const harvest = (flaw: HarvestFlaw | undefined): ProtocolWalker<Word> =>
  function* (m) {
    const old = yield* takeDirty(m, flaw);
    if (old & WRITABLE) yield* m.store("log", 1);
    if (flaw !== "no-tlbi") yield* invalidate(m, "cpu");
    return yield* m.load("data");
  };

const getLog = exhibit<Word, HarvestFlaw>({
  page: PAGE,
  name: "dirty-harvest",
  title: "the dirty log is read and the page is copied while the guest writes it twice",
  cites: [MAIL, "DBM-7", "DBM-8", "DBM-9", "DBM-10", "BUG-50"],
  words: WORDS,
  flaws: {
    "no-tlbi": "no TLBI after W was cleared: the next write goes through the TLB, and marks nothing",
    "stale-retry": "after a lost race the value that was computed from the first read is stored",
    "two-reads": "one read decides what is logged, and another one what is cleared",
    "plain-store": "W is cleared by a load and a store",
  },
  walkers: (flaw) => [guestTwice, harvest(flaw)],
  check: (words, [, copy]) => {
    if (words.data === copy || words.entry & WRITABLE) return logged(words);
    return "a write after the copy is in no log";
  },
});

type Update = "age" | "relax" | "stop";
const UPDATES: Readonly<Record<Update, readonly [says: string, next: (old: number) => number]>> = {
  age: ["the access flag is cleared", (old) => old & ~ACCESSED],
  relax: ["the right to execute is added", (old) => old | EXECUTABLE],
  stop: ["DBM is taken away", (old) => old & ~DBM],
};

/** Updates that leave W as it is. */
function keeping(name: Update): Exhibit {
  const [says, next] = UPDATES[name];
  return exhibit({
    page: PAGE,
    name: `dirty-${name}`,
    title: `${says} while the guest writes the page`,
    cites: ["BUG-50", "DBM-8", "DBM-11"],
    words: WORDS,
    flaws: { "plain-store": `${says} by a load and a store: W is overwritten` },
    walkers: (flaw: "plain-store" | undefined) => [
      guest,
      function* (m) {
        if (flaw === "plain-store") yield* m.store("entry", next(yield* m.load("entry")));
        else yield* update(m, next);
      },
    ],
    check: logged,
  });
}

type RemovalFlaw = "by-snapshot" | "plain-store";

/** Takes the entry out and leaves `next`: what it was, to the best of the flaw's knowledge. */
function* takeOut(m: Shared<Word>, next: number, flaw: RemovalFlaw | undefined): Steps {
  if (flaw === undefined) return yield* m.exchange("entry", next);
  const seen = yield* m.load("entry");
  if (flaw === "plain-store") yield* m.store("entry", next);
  else yield* m.exchange("entry", next);
  return seen;
}

const REMOVAL_FLAWS: Readonly<Record<RemovalFlaw, string>> = {
  "by-snapshot": "the read before the exchange decides, and not what the exchange returned",
  "plain-store": "the entry is replaced by a load and a store",
};

const unmap = exhibit<Word, RemovalFlaw>({
  page: PAGE,
  name: "dirty-unmap",
  title: "the page is unmapped while the guest writes it",
  cites: [MAIL, "DBM-8", "BUG-50"],
  words: WORDS,
  flaws: REMOVAL_FLAWS,
  walkers: (flaw) => [
    guest,
    function* (m) {
      const old = yield* takeOut(m, 0, flaw);
      yield* invalidate(m, "cpu");
      if (old & WRITABLE) yield* m.store("log", 1);
    },
  ],
  check: logged,
});

const replace = exhibit<Word, RemovalFlaw>({
  page: PAGE,
  name: "dirty-replace",
  title: "break and make of the entry, which shall keep W, while the guest writes the page",
  cites: [MAIL, "DBM-4", "DBM-8", "DBM-11"],
  words: WORDS,
  flaws: REMOVAL_FLAWS,
  walkers: (flaw) => [
    guest,
    function* (m) {
      const old = yield* takeOut(m, LOCKED, flaw);
      yield* invalidate(m, "cpu");
      yield* m.store("entry", CLEAN | (old & WRITABLE));
    },
  ],
  check: logged,
});

const annotate = exhibit({
  page: PAGE,
  name: "dirty-annotation",
  title: "dirty pages are collected while a page that nobody wrote is given to another owner",
  cites: [MAIL, "DBM-7"],
  words: WORDS,
  flaws: { "w-without-valid": "W is tested without valid: an annotation counts as a dirty page" },
  walkers: (flaw: "w-without-valid" | undefined) => [
    function* (m) {
      yield* m.exchange("entry", WRITABLE | EXECUTABLE); // not valid: the bits are an owner's number
    },
    function* (m) {
      const seen = yield* m.load("entry"),
        isDirty = (seen & WRITABLE) !== 0 && (flaw === "w-without-valid" || (seen & VALID) !== 0);
      if (isDirty) yield* m.store("log", 1);
    },
  ],
  check: ({ log, data }) => (log > data ? "a page that nobody wrote is reported dirty" : undefined),
});

export const DIRTY: readonly Exhibit[] = [
  getLog,
  keeping("age"),
  keeping("relax"),
  keeping("stop"),
  unmap,
  replace,
  annotate,
];
