import type { Ipa, Like, Pa, Va } from "../model/address.js";
import type { Granule } from "../model/granule.js";

// What a table says of itself, and how it is asked.

/** Geometry and use of a table. */
export interface TableInfo {
  /** Page size in bytes. */
  granule: Granule;
  /** Level of the start tables, -1 to 3. */
  startLevel: number;
  /** Start tables side by side, 1..16. */
  rootPages: number;
  /** Physical address of the first one; 0n once destroyed. */
  rootPa: Pa;
  /** Input addresses are below 2^inputBits. */
  inputBits: number;
  /** Output addresses are below 2^outputBits. */
  outputBits: number;
  /** Table pages now, start tables included. */
  pages: number;
  /** The most table pages that ever were. */
  peakPages: number;
}

/** Where to look, input addresses in bytes: `from` (default 0) up to `to` (default the end). */
export interface Range<A extends Ipa | Va = Ipa | Va> {
  /** First input address. Default 0. */
  from?: Like<A>;
  /** First address after the range. Default the end of the table. */
  to?: Like<A>;
}

/** What else `entries` gives. */
export interface EntryOptions<A extends Ipa | Va = Ipa | Va> extends Range<A> {
  /** Table entries, before those below them. Default false. */
  tables?: boolean;
  /** Runs of empty entries. Default false. */
  holes?: boolean;
  /** @internal Scan this detached page, whose entries are of `level`, instead. */
  root?: { pointer: number; level: number };
}

/** Outcome of an operation that may lose a race or have nothing to do. */
export type Outcome = "done" | "again";
