// Races that were fixed in the kernel one by one, each as small as it can be. See docs/museum/fixed.md.

import type { ProtocolWalker, Shared } from "../../protocol.js";
import { beginAccess, invalidate } from "./cpu.js";
import { type Exhibit, exhibit, lock, type Steps, unlock } from "./exhibit.js";

const PAGE = "fixed";
const EINVAL = -22;
const FREED = 9;

/** Output addresses of three pages. */
const FIRST_ADDRESS = 10;
const PAGES = ["first", "second", "third"] as const;
type BulkFlaw = "ends-early" | "running-address";

/** Maps three pages, and goes on where another walker came first. */
const bulk = (flaw: BulkFlaw | undefined): ProtocolWalker<(typeof PAGES)[number]> =>
  function* (m) {
    let running = FIRST_ADDRESS;
    for (const [i, page] of PAGES.entries()) {
      const address = flaw === "running-address" ? running : FIRST_ADDRESS + i;
      if ((yield* m.compareExchange(page, 0, address)) === 0) running++;
      else if (flaw === "ends-early") return;
    }
  };

const bulkWalk = exhibit<(typeof PAGES)[number], BulkFlaw>({
  page: PAGE,
  name: "bulk-walk",
  title: "three pages are mapped in one walk, and a fault maps the one in the middle",
  cites: ["BUG-11", "BUG-15", "commit ddcadb297ce5", "commit 1f0f4a2ef7a5"],
  words: { first: 0, second: 0, third: 0 },
  flaws: {
    "ends-early": "a lost race ends the walk",
    "running-address": "the output address rises only where the walk has installed an entry",
  },
  walkers: (flaw) => [
    bulk(flaw),
    function* (m) {
      yield* m.compareExchange("second", 0, FIRST_ADDRESS + 1);
    },
  ],
  check: ({ third }) => {
    if (third === FIRST_ADDRESS + 2) return undefined;
    return third === 0 ? "the third page is not mapped" : "the third page is mapped to the second one's memory";
  },
});

type RelaxWord = "entry" | "denial of 0" | "denial of 1";
const READ_ONLY = 1;
const WRITABLE = 2;
/** So often a vCPU tries again; without the flaw it takes two. */
const TRIES = 3;

/** A vCPU that writes: its TLB may hold an entry that forbids it. How often it tried in vain. */
const writer = (flaw: "no-local-flush" | undefined): ProtocolWalker<RelaxWord> =>
  function* (m, id) {
    const denial = id === 0 ? "denial of 0" : "denial of 1";
    for (let vain = 0; vain < TRIES; vain++) {
      if ((yield* m.load(denial)) === 0) return vain;
      const old = yield* m.compareExchange("entry", READ_ONLY, WRITABLE),
        isLost = old !== READ_ONLY;
      if (!isLost || flaw !== "no-local-flush") yield* m.store(denial, 0);
    }
    return TRIES;
  };

const relax = exhibit({
  page: PAGE,
  name: "lost-relax",
  title: "two vCPUs whose TLBs forbid a write relax one page",
  cites: ["BUG-25", "IDE-2"],
  words: { entry: READ_ONLY, "denial of 0": 1, "denial of 1": 1 },
  flaws: { "no-local-flush": "who loses the race does not flush its own TLB, and faults again and again" },
  walkers: (flaw: "no-local-flush" | undefined) => [writer(flaw), writer(flaw)],
  check: (_, results) => {
    return results.includes(TRIES) ? "a vCPU faults for ever: its TLB still forbids the write" : undefined;
  },
});

/** Of the CPU: its walk cache leads to the table; its TLB holds the page. */
const WALK = 2;
const LEAF = 4;
type FlushWord = "slot" | "table" | "page" | "cpu";
type FlushFlaw = "level-hint" | "deferred-flush";

/** An access of the hardware; FREED if it read a table or page that is freed. */
function* access(m: Shared<FlushWord>): Steps {
  let cached = yield* beginAccess(m, "cpu"),
    read = 0;
  if (!(cached & (WALK | LEAF)) && (yield* m.load("slot")) === 1) cached |= WALK;
  if (cached & WALK && !(cached & LEAF)) {
    read = yield* m.load("table");
    cached |= LEAF;
  }
  if (cached & LEAF && read !== FREED) read = yield* m.load("page");
  yield* m.store("cpu", cached);
  return read;
}

const removal = (flaw: FlushFlaw | undefined): ProtocolWalker<FlushWord> =>
  function* (m) {
    yield* m.store("slot", 0);
    if (flaw === "deferred-flush") yield* m.store("table", FREED);
    yield* invalidate(m, "cpu", flaw === "level-hint" ? LEAF : 0);
    if (flaw !== "deferred-flush") yield* m.store("table", FREED);
    yield* m.store("page", FREED);
  };

const tableFlush = exhibit<FlushWord, FlushFlaw>({
  page: PAGE,
  name: "table-flush",
  title: "a table is unmapped and freed, its page too, while the guest uses the page",
  cites: ["BUG-26", "BUG-27", "HWM-39", "commit 36e008323926", "commit f62d4c3eb687"],
  words: { slot: 1, table: 1, page: 1, cpu: 0 },
  flaws: {
    "level-hint": "the TLBI names the table's level: what was cached from below it stays",
    "deferred-flush": "the TLBI is put off, and the table is freed before it",
  },
  walkers: (flaw) => [
    function* (m) {
      const first = yield* access(m),
        second = yield* access(m);
      return first === FREED || second === FREED ? FREED : 0;
    },
    removal(flaw),
  ],
  check: (_, [read]) => (read === FREED ? "the hardware uses memory that is freed" : undefined),
});

type RangeFlaw = "einval" | "stale-root";
type RangeWord = "lock" | "root" | "table" | "chunks done";

/** A range in two chunks; between them others may take the lock. */
const range = (flaw: RangeFlaw | undefined): ProtocolWalker<RangeWord> =>
  function* (m) {
    let root = 0;
    for (let chunk = 0; chunk < 2; chunk++) {
      yield* lock(m, "lock");
      if (chunk === 0 || flaw !== "stale-root") root = yield* m.load("root");
      const read = root === 0 ? 0 : yield* m.load("table");
      yield* unlock(m, "lock");
      if (read === FREED) return FREED;
      if (root === 0) return chunk === 0 || flaw === "einval" ? EINVAL : 0;
      yield* m.add("chunks done", 1);
    }
    return 0;
  };

const chunks = exhibit<RangeWord, RangeFlaw>({
  page: PAGE,
  name: "range-teardown",
  title: "a range is handled in chunks, and between two of them the table is torn down",
  cites: ["BUG-36", "NOT-20", "NOT-21"],
  words: { lock: 0, root: 1, table: 1, "chunks done": 0 },
  flaws: {
    einval: "a table that is gone after the lock was dropped is an error",
    "stale-root": "after the lock was dropped the root is not read again",
  },
  walkers: (flaw) => [
    range(flaw),
    function* (m) {
      yield* lock(m, "lock");
      yield* m.store("root", 0);
      yield* unlock(m, "lock");
      yield* m.store("table", FREED);
    },
  ],
  check: (words, [result]) => {
    if (result === FREED) return "the walk reads a table that is freed";
    if (result === EINVAL && words["chunks done"] > 0) return "EINVAL for a table that was torn down meanwhile";
    return undefined;
  },
});

export const FIXED: readonly Exhibit[] = [bulkWalk, relax, tableFlush, chunks];
