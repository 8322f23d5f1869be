// Which barriers of page-table code are needed: protocols whose accesses have the orders that Arm code gives them, each with one order
// taken away. No schedule of sequentially consistent accesses shows such a flaw; a weak memory does. No walker waits, so each of
// them is also a litmus program. See docs/museum/barriers.md.

import type { AccessOptions, ProtocolWalker } from "../../protocol.js";
import { type Exhibit, exhibit } from "./exhibit.js";

const PAGE = "barriers";
const relaxed = { order: "relaxed" } as const;
const acquire = { order: "acquire" } as const;
const release = { order: "release" } as const;

/** Of a slot: nothing, or a table. */
const TABLE = 1;
/** Of an entry of the table: a page. */
const LEAF = 7;
/** Of what was a table. */
const FREED = 9;
const USED = "the walk reads a table that is freed";

type PublishWord = "slot" | "entry";
type PublishFlaw = "plain-make" | "no-dependency" | "fence-behind";

/** The entries of a new table are written, and the table is linked by the make. */
const link = (flaw: PublishFlaw | undefined): ProtocolWalker<PublishWord> =>
  function* (m) {
    yield* m.store("entry", LEAF, relaxed);
    yield* m.store("slot", TABLE, flaw === "plain-make" || flaw === "fence-behind" ? relaxed : release);
    if (flaw === "fence-behind") yield* m.fence();
  };

/** A walk follows what it has read: the address of its second load comes from the first. */
const follow = (flaw: PublishFlaw | undefined): ProtocolWalker<PublishWord> =>
  function* (m) {
    if ((yield* m.load("slot", relaxed)) !== TABLE) return LEAF;
    const by: AccessOptions<PublishWord> = flaw === "no-dependency" ? relaxed : { order: "relaxed", after: ["slot"] };
    return yield* m.load("entry", by);
  };

const publish = exhibit<PublishWord, PublishFlaw>({
  page: PAGE,
  name: "publish-table",
  title: "a table is filled and linked, and a walk without the lock goes through it",
  cites: ["S2-20", "WLK-6", "stage2_make_pte: smp_store_release"],
  words: { slot: 0, entry: 0 },
  weak: "orders",
  flaws: {
    "plain-make": "the make is a relaxed store (WRITE_ONCE), and no release",
    "fence-behind": "a full fence stands behind the make, and not before it",
    "no-dependency": "the second load does not depend on the first: its address was known before",
  },
  walkers: (flaw) => [link(flaw), follow(flaw)],
  check: (_, [, read]) => (read === LEAF ? undefined : "the walk reads a table that is not filled yet"),
});

type LockWord = "lock" | "entry";
type LockFlaw = "relaxed-unlock" | "relaxed-lock";

/** The lock is held by walker 0 at first. */
const lock = exhibit<LockWord, LockFlaw>({
  page: PAGE,
  name: "lock-order",
  title: "one walker writes an entry under the lock, and the next one that has the lock reads it",
  cites: ["LCK-2", "LCK-3"],
  words: { lock: 1, entry: 0 },
  weak: "orders",
  flaws: {
    "relaxed-unlock": "the lock is let go by a relaxed store",
    "relaxed-lock": "the lock is taken by a relaxed compare-exchange",
  },
  walkers: (flaw) => [
    function* (m) {
      yield* m.plain.store("entry", LEAF);
      yield* m.store("lock", 0, flaw === "relaxed-unlock" ? relaxed : release);
    },
    function* (m) {
      const order = flaw === "relaxed-lock" ? relaxed : acquire;
      if ((yield* m.compareExchange("lock", 0, 2, order)) !== 0) return LEAF;
      return yield* m.plain.load("entry");
    },
  ],
  check: (_, [, read]) => (read === LEAF ? undefined : "what was written under the lock is not seen under it"),
});

type FenceFlaw = "no-fences" | "no-walker-fence" | "no-remover-fence" | "release-acquire";
const FENCE_FLAWS: Readonly<Record<FenceFlaw, string>> = {
  "no-fences": "neither side has a fence",
  "no-walker-fence": "the walk reads before others can see that it is inside",
  "no-remover-fence": "the remover looks before others can see what it has unlinked",
  "release-acquire": "a release and an acquire on either side in place of the fences",
};

/** Store, fence, load: how each side does the first two, and the order of the third. */
function sides(flaw: FenceFlaw | undefined) {
  const orders = flaw === "release-acquire",
    isFenced = flaw === undefined;
  return {
    store: orders ? release : relaxed,
    load: orders ? acquire : relaxed,
    walker: isFenced || flaw === "no-remover-fence",
    remover: isFenced || flaw === "no-walker-fence",
  };
}

/** Who walks says so in its read slot, and reads the root then; who removes takes the root away, and looks at the slots then. */
const section = exhibit<"root" | "read slot" | "table", FenceFlaw>({
  page: PAGE,
  name: "section-order",
  title: "a walk enters its section and reads the root, while the root is taken away and sections are looked for",
  cites: ["LCK-10", "WLK-12", "IDE-3"],
  words: { root: TABLE, "read slot": 0, table: TABLE },
  weak: "orders",
  flaws: FENCE_FLAWS,
  walkers: (flaw) => {
    const { store, load, walker, remover } = sides(flaw);
    return [
      function* (m) {
        yield* m.store("read slot", 1, store);
        if (walker) yield* m.fence();
        if ((yield* m.load("root", load)) !== TABLE) return TABLE;
        return yield* m.load("table", { order: "relaxed", after: ["root"] });
      },
      function* (m) {
        yield* m.store("root", 0, store);
        if (remover) yield* m.fence();
        if ((yield* m.load("read slot", load)) === 0)
          yield* m.store("table", FREED, { order: "relaxed", after: ["read slot"] });
      },
    ];
  },
  check: (_, [read]) => (read === FREED ? USED : undefined),
});

/** An odd slot is in a section, since the epoch that its other bits say. */
const epoch = exhibit<"epoch" | "read slot" | "slot" | "table", FenceFlaw | "relaxed-epoch">({
  page: PAGE,
  name: "epoch-order",
  title: "a walk enters with the epoch that it has read, while a table is unlinked and the epoch moves on",
  cites: ["LCK-10", "LCK-12"],
  words: { epoch: 2, "read slot": 0, slot: TABLE, table: TABLE },
  weak: "orders",
  flaws: { ...FENCE_FLAWS, "relaxed-epoch": "who reads the new epoch has not acquired what was unlinked before it" },
  walkers: (flaw) => {
    const isRelaxed = flaw === "relaxed-epoch",
      { store, load, walker, remover } = sides(isRelaxed ? undefined : flaw);
    return [
      function* (m) {
        const now = yield* m.load("epoch", isRelaxed ? relaxed : acquire);
        yield* m.store("read slot", now | 1, store);
        if (walker) yield* m.fence();
        if ((yield* m.load("slot", load)) !== TABLE) return TABLE;
        return yield* m.load("table", { order: "relaxed", after: ["slot"] });
      },
      function* (m) {
        yield* m.store("slot", 0, store);
        yield* m.store("epoch", 4, isRelaxed ? relaxed : release);
        if (remover) yield* m.fence();
        const seen = yield* m.load("read slot", load);
        if (seen === 0 || seen > 4) yield* m.store("table", FREED, { order: "relaxed", after: ["read slot"] });
      },
    ];
  },
  check: (_, [read]) => (read === FREED ? USED : undefined),
});

/** Of the place in the reverse map. */
const SPTE = 1;
const SKIP = 2;

/** The lock-free unmap without its waiting: the remover frees only where it saw nothing published. */
const hazard = exhibit<"place" | "published" | "spte", FenceFlaw>({
  page: PAGE,
  name: "rmap-order",
  title: "mark, then look; publish, then read: the two fences of the lock-free unmap",
  cites: ["INV-11", "INV-12", "INV-13", "HZ-8"],
  words: { place: SPTE, published: 0, spte: SPTE },
  weak: "orders",
  flaws: {
    ...FENCE_FLAWS,
    "no-walker-fence": "the unmapper reads the place before what it has published can be seen",
    "no-remover-fence": "the remover looks at the published word before its mark can be seen",
  },
  walkers: (flaw) => {
    const { store, load, walker, remover } = sides(flaw);
    return [
      function* (m) {
        yield* m.store("place", SKIP, store);
        if (remover) yield* m.fence();
        if ((yield* m.load("published", load)) === 0) {
          yield* m.store("spte", FREED, { order: "relaxed", after: ["published"] });
        }
      },
      function* (m) {
        yield* m.store("published", 1, store);
        if (walker) yield* m.fence();
        if ((yield* m.load("place", load)) === SKIP) return SPTE;
        return yield* m.load("spte", { order: "relaxed", after: ["place"] });
      },
    ];
  },
  check: (_, [, read]) => (read === FREED ? "the unmapper uses an entry whose page is freed" : undefined),
});

export const BARRIERS: readonly Exhibit[] = [publish, lock, section, epoch, hazard];
