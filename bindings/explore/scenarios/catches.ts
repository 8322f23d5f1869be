// Which scenario finds which flaw of bindings/core/flaws.mjs.

/** How a flaw is found. */
export interface Catch {
  readonly scenario: string;
  /** Only by a death. */
  readonly deaths?: boolean;
  /** Only by the race that it lets in. */
  readonly races?: boolean;
  /** With so many preemptions: the search is too large without a bound. */
  readonly bound?: number;
}

/** Flaws by name; each is found by a violation of its scenario. */
export const CATCHES: Readonly<Record<string, Catch>> = {
  "locked-again": { scenario: "fault-fault-clean" },
  "blind-take": { scenario: "fault-fault-clean" },
  "hole-by-store": { scenario: "fault-fault-same" },
  "grace-of-one-step": { scenario: "lockfree-look-block", races: true },
  "no-grace": { scenario: "lockfree-look-block", races: true },
  "freed-at-once": { scenario: "fault-block" },
  "discarded-at-once": { scenario: "lockfree-unmap", races: true },
  "deaf-reader": { scenario: "fault-unmap" },
  "hasty-writer": { scenario: "fault-unmap" },
  "look-before-entering": { scenario: "fault-unmap" },
  "epoch-ignores-readers": { scenario: "hyp-look-unmap" },
  "no-synchronize": { scenario: "lockfree-look-destroy", races: true },
  "root-stays": { scenario: "fault-destroy" },
  "any-life": { scenario: "unmap-destroy-release" },
  "torn-counts": { scenario: "faults-empty", races: true },
  "record-for-two": { scenario: "create-once" },
  "spin-by-store": { scenario: "faults-empty" },
  "table-lost": { scenario: "faults-empty" },
  "no-intent": { scenario: "fault-fault-clean", deaths: true },
  "no-hand": { scenario: "split-fault", deaths: true },
  "section-kept": { scenario: "fault-fault", deaths: true },
  "writer-kept": { scenario: "fault-unmap", deaths: true },
  "no-doubt": { scenario: "fault-fault", deaths: true },
  "plain-make": { scenario: "fault-fault-clean", races: true },
  "plain-unlock": { scenario: "fault-unmap", races: true },
  "bury-twice": { scenario: "bury-bury" },
  "dsb-waits-for-nobody": { scenario: "vm-fault-log", bound: 1 },
  "guest-runs-unseen": { scenario: "vm-fault-log", bound: 1 },
  "no-last-dsb": { scenario: "vm-adversary-log", bound: 1 },
  "fill-beside-tlbi": { scenario: "vm-store-log", bound: 1 },
  "fill-within-tlbi": { scenario: "vm-store-log", bound: 1 },
  "log-without-flush": { scenario: "vm-store-log", bound: 1 },
  "mark-before-map": { scenario: "vm-fault-log", bound: 1 },
  "bits-lost": { scenario: "vm-neighbour-log", bound: 1 },
  "harvest-by-store": { scenario: "vm-dirty-unmap", bound: 1 },
  "sequence-before-progress": { scenario: "vm-notifier-fault", bound: 2 },
  "sequence-after-progress": { scenario: "vm-notifier-fault", bound: 2 },
  "sequence-after-host": { scenario: "vm-notifier-fault", bound: 1 },
  "touch-unlocked": { scenario: "vm-touch-forked", bound: 1 },
};
