// The lock-free unmap of a deleted slot's reverse maps, as posted in 2013: who may free a shadow page while somebody without the
// lock is still in its reverse map? Part G of the statements has the protocol; docs/museum/lock-free-unmap.md tells the story.

import type { ProtocolWalker } from "../../protocol.js";
import { awaitSeen, drain, exchangeSeen, fence, loadSeen, storeLate } from "./buffers.js";
import { awaitChange, type Exhibit, exhibit } from "./exhibit.js";

const MAIL = "Re: [PATCH v3 08/15] KVM: MMU: allow unmap invalid rmap out of mmu-lock, 18 April 2013";
const PAGE = "lock-free-unmap";

/** Of the shadow entry. */
const PRESENT = 1;
const FREED = 9;
/** Of its place in the reverse map: the entry's address, or SKIP. */
const SPTE = 1;
const SKIP = 2;
/** Of the published word: the reverse map of the deleted slot, and the one of the slot that took its place. */
const OLD_MAP = 1;
const NEW_MAP = 2;

type Word = "spte" | "place" | "published";
type OrderFlaw = "check-first" | "read-first" | "present-only" | "new-generation";
type FenceFlaw = "no-fences" | "no-remover-fence" | "no-unmapper-fence";
type Flaw = OrderFlaw | FenceFlaw;

/** Removes one shadow entry and then frees the page that it lies in. */
function remover(flaw: Flaw | undefined): ProtocolWalker<Word> {
  const map = flaw === "new-generation" ? NEW_MAP : OLD_MAP,
    isFenced = flaw !== "no-fences" && flaw !== "no-remover-fence";
  return function* (m) {
    if (flaw === "check-first") yield* awaitSeen(m, "published", map);
    const was = yield* m.exchange("spte", 0);
    if (flaw !== "present-only" || was === PRESENT) {
      yield* storeLate("place", SKIP);
      if (isFenced) yield* fence("place");
      if (flaw !== "check-first") yield* awaitSeen(m, "published", map);
    }
    yield* m.store("spte", FREED);
    if (!isFenced) yield* fence("place");
  };
}

/** Empties the reverse map without the lock; 1 if it used an entry whose page was freed. */
function unmapper(flaw: Flaw | undefined): ProtocolWalker<Word> {
  const isFenced = flaw !== "no-fences" && flaw !== "no-unmapper-fence";
  return function* (m) {
    let place = flaw === "read-first" ? yield* loadSeen(m, "place") : 0;
    yield* storeLate("published", OLD_MAP);
    if (isFenced) yield* fence("published");
    if (flaw !== "read-first") place = yield* loadSeen(m, "place");
    let used = false;
    if (place !== SKIP) {
      const was = yield* m.exchange("spte", 0);
      // What it has removed it counts in the page that the entry lies in.
      used = was === FREED || (was === PRESENT && (yield* m.load("spte")) === FREED);
      yield* exchangeSeen("place", SKIP);
    }
    if (!isFenced) yield* fence("published"); // at the latest: stores of one CPU are seen in order
    yield* m.store("published", 0);
    return used ? 1 : 0;
  };
}

const check = (_: Readonly<Record<Word, number>>, results: readonly (number | undefined)[]) =>
  results[1] === 0 ? undefined : "the unmapper uses an entry whose page is freed";

/** Remover and unmapper at one entry, each step in its order. */
const removal = exhibit<Word, OrderFlaw>({
  page: PAGE,
  name: "lock-free-unmap",
  title: "a shadow page is freed while its slot's reverse map is emptied without the lock",
  cites: [MAIL, "INV-10", "INV-13", "INV-14", "HZ-2", "HZ-3", "HZ-6", "HZ-8"],
  words: { spte: PRESENT, place: SPTE, published: 0 },
  flaws: {
    "check-first": "the remover looks at the published word, and marks the place afterwards",
    "read-first": "the unmapper reads the place, and publishes afterwards",
    "present-only": "the remover waits only where it has taken the entry itself",
    "new-generation": "the remover waits for the reverse map of the slot that took the deleted one's place",
  },
  walkers: (flaw) => [remover(flaw), unmapper(flaw)],
  check,
});

/** The same on CPUs with store buffers, which are walkers 2 and 3. */
const fences = exhibit<Word, FenceFlaw>({
  page: PAGE,
  name: "unmap-fences",
  title: "the same on CPUs with store buffers: a fence on either side",
  cites: [MAIL, "INV-11", "INV-12", "INV-13", "HZ-8"],
  words: { spte: PRESENT, place: SPTE, published: 0 },
  flaws: {
    "no-fences": "the order that the commit text gives, which names no fences",
    "no-remover-fence": "the remover looks at the published word before its mark can be seen",
    "no-unmapper-fence": "the unmapper reads the place before what it has published can be seen",
  },
  walkers: (flaw) => [remover(flaw), unmapper(flaw), drain("place"), drain("published")],
  check,
});

type BatchWord = "spte" | "pending" | "stale translation";

/** A notifier that promises that nothing is mapped any more. */
const notifier = (flaw: "no-pending" | "late-pending" | undefined): ProtocolWalker<BatchWord> =>
  function* (m) {
    const was = yield* m.exchange("spte", 0),
      pending = flaw === "no-pending" ? 0 : yield* m.load("pending");
    if (was === PRESENT || pending !== 0) yield* m.store("stale translation", 0);
    return yield* m.load("stale translation");
  };

const batch = (flaw: "no-pending" | "late-pending" | undefined): ProtocolWalker<BatchWord> =>
  function* (m) {
    const late = flaw === "late-pending";
    if (!late) yield* m.add("pending", 1);
    const was = yield* m.exchange("spte", 0);
    if (was !== PRESENT) {
      if (!late) yield* m.add("pending", -1);
      return;
    }
    if (late) yield* m.add("pending", 1);
    yield* m.store("stale translation", 0);
    yield* m.add("pending", -1);
  };

/** Removed, and not yet flushed: who promises that all is gone must know. */
const promise = exhibit({
  page: PAGE,
  name: "unmap-notifier",
  title: "a notifier comes between the removal of an entry and the flush of its batch",
  cites: [MAIL, "INV-14", "HZ-5", "HZ-8"],
  words: { spte: PRESENT, pending: 0, "stale translation": 1 },
  flaws: {
    "no-pending": "the notifier finds nothing mapped, and does not ask for batches that are not flushed",
    "late-pending": "the unmapper counts its batch after it has taken the entry",
  },
  walkers: (flaw: "no-pending" | "late-pending" | undefined) => [notifier(flaw), batch(flaw)],
  check: (_, [stale]) => (stale === 0 ? undefined : "the notifier returns, and a stale translation is left"),
});

/** The arrays of the deleted slot: who searches in them, and who frees them. */
const arrays = exhibit({
  page: PAGE,
  name: "unmap-arrays",
  title: "the reverse maps of a deleted slot are freed while a remover searches in them",
  cites: [MAIL, "INV-14", "HZ-4"],
  words: { slot: 1, searching: 0, arrays: 1 },
  flaws: { "no-grace": "the arrays are freed without asking who searches in them" },
  walkers: (flaw: "no-grace" | undefined) => [
    function* (m) {
      yield* m.store("searching", 1);
      const found = (yield* m.load("slot")) === 1 ? yield* m.load("arrays") : 1;
      yield* m.store("searching", 0);
      return found;
    },
    function* (m) {
      yield* m.store("slot", 0);
      if (flaw !== "no-grace") yield* awaitChange(m, "searching", 1);
      yield* m.store("arrays", 0);
    },
  ],
  check: (_, [found]) => (found === 1 ? undefined : "the remover searches in arrays that are freed"),
});

export const UNMAP: readonly Exhibit[] = [removal, fences, promise, arrays];
