/**
 * One operation a call, as an emulator's or a VMM's loop makes them. Each loop belongs to one engine, so that the calls in it are
 * of one kind; it goes through the staged pages once and returns what the engines must agree on.
 *
 * @module
 */
import { PAGE_SIZE } from "../peers/peer.js";

/** The operations that are called one by one. `-rich`: with bigints, names and objects. */
export const CALLS = [
  "call-empty",
  "call-map",
  "call-unmap",
  "call-leaf",
  "call-relax",
  "call-mkyoung",
  "call-wrprotect",
  "call-translate",
  "call-access-hit",
  "call-map-rich",
  "call-unmap-rich",
  "call-leaf-rich",
  "call-relax-rich",
  "call-mkyoung-rich",
  "call-translate-rich",
  "call-access-hit-rich",
] as const;

/** One of {@link CALLS}. */
export type CallId = (typeof CALLS)[number];

/** An engine's loops. */
export interface CallLoops {
  /** A table with these pages mapped or not; its last-level tables are there and stay. Never timed. */
  stage(pages: CallPages, mapped: boolean): void;
  /** The loop of an operation; undefined if the engine has none. */
  loop(id: CallId): (() => number) | undefined;
}

/** Entries of a last-level table, and how many of each are mapped before and stay: so no table becomes empty. */
const TABLE_ENTRIES = 512;
const KEPT = 2;

/** The pages of the calls, in random order, as offsets in bytes; and those that keep the tables. */
export interface CallPages {
  readonly ipa: number;
  readonly pa: number;
  readonly offsets: Float64Array;
  readonly kept: Float64Array;
}

/** Pages of a range in the order of `order`, which has every page of it, and more. */
export function callPages(order: Uint32Array, pages: number, ipa: number, pa: number): CallPages {
  const inside = order.filter((page) => page < pages);
  const bytes = (some: Uint32Array): Float64Array => Float64Array.from(some, (page) => page * PAGE_SIZE);
  const keeps = (page: number): boolean => page % TABLE_ENTRIES < KEPT;
  return {
    ipa,
    pa,
    offsets: bytes(inside.filter((page) => !keeps(page))),
    kept: bytes(inside.filter(keeps)),
  };
}
