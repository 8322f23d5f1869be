// The explore build of the core: what the explorer runs in place of the module that ships. Both come from the same sources.

/** One load, store, atomic, wait or fill of the core, in the order of the build. */
export interface Site {
  /** What it does. */
  readonly kind: AccessKind;
  /** Bytes of the access; 1 for a fill, which has a length of its own. */
  readonly bytes: number;
  /** The function of the core, as `assembly/table/bbm/tryBreak`. */
  readonly name: string;
  /** `path:line` of the source. */
  readonly line: string;
}

/** What an access does. An exchange reads and writes in one step, whether it succeeds or not. */
export type AccessKind =
  | "load"
  | "store"
  | "fill"
  | "atomic load"
  | "atomic store"
  | "exchange"
  | "wait"
  | "notify"
  | "fence";

/** A build of the core for the explorer; `npm run build:explore` makes it, and `loadBuild` of granule/explore/node reads it. */
export interface ExploreBuild {
  /** The module. */
  readonly bytes: Uint8Array;
  /** Names the build in replay strings: 8 hexadecimal digits. */
  readonly hash: string;
  /** Its accesses. */
  readonly sites: readonly Site[];
  /** Flaws that can be switched on, by number from 1; none in a build of the core as it ships. */
  readonly flaws: readonly string[];
}

/** Does an access of this kind change memory? */
export function writes(kind: AccessKind): boolean {
  return kind === "store" || kind === "fill" || kind === "atomic store" || kind === "exchange";
}

/** Is it one that orders what is around it? */
export function isAtomic(kind: AccessKind): boolean {
  return kind === "atomic load" || kind === "atomic store" || kind === "exchange";
}
