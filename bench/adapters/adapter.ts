/**
 * What a workload needs of an engine. One call is one batch, so that an engine behind a boundary crosses it once per
 * batch.
 *
 * @module
 */
import type { AddressBatch } from "../random.js";

/** One engine in a benchmark. Addresses and sizes are numbers; results are zero or a negative errno if not said otherwise. */
export interface EngineAdapter {
  /** Name in the result rows: `wasm`, `typescript`, `naive`. */
  readonly peer: string;
  /** Whether the engine can walk beside others (SHARED); workloads that need it skip the rest. */
  readonly shared: boolean;
  /** An empty table and empty counters; `shared`: to be used as one of several walkers. Never timed. */
  reset(shared?: boolean): void;
  /**
   * Puts a page order where {@link EngineAdapter.faultBatch} and {@link EngineAdapter.relaxBatch} will read it. Never
   * timed: it stands for the caller's own array, and must do none of the batch's work.
   */
  stageOrder?(order: Uint32Array, ipa: number, pa: number): void;
  /** The same for the addresses of {@link EngineAdapter.lookupBatch}. */
  stageAddresses?(batch: AddressBatch): void;
  map(ipa: number, size: number, pa: number, prot: number, forcePages: boolean): number;
  unmap(ipa: number, size: number): number;
  wrprotect(ipa: number, size: number): number;
  /** 1 if a leaf was young, else 0. */
  testClearYoung(ipa: number, size: number, clear: boolean): number;
  /** Splits chunk after chunk; the table pages for a chunk are taken before it starts. */
  split(ipa: number, size: number, chunk: number): number;
  /** Maps page `order[i]` of a range, one after the other, as a fault handler does. `shared`: as a SHARED walk. */
  faultBatch(order: Uint32Array, ipa: number, pa: number, prot: number, shared: boolean): number;
  /** Handles a permission fault on page `order[i]` of a range, one after the other. */
  relaxBatch(order: Uint32Array, ipa: number, prot: number): number;
  /** Finds the leaf of each address. Returns the sum of low words and levels, modulo 2^32. */
  lookupBatch(batch: AddressBatch): number;
  /** Reads every leaf entry of a range and counts the valid ones, by a visitor of the engine's own. */
  countLeaves(ipa: number, size: number): number;
  /** Counts the same in JavaScript, which reads every leaf entry in the way that is quickest for the engine. */
  readLeaves(ipa: number, size: number): number;
  /** Counts the same with a JavaScript function that is called for each leaf entry with address, level and descriptor. */
  visitLeaves(ipa: number, size: number): number;
  /**
   * A table of four levels with `pages` pages from `ipa` to `pa`, and, `nested`, a guest's table of four levels above it.
   * Engines that have no hardware walker lack both. Never timed.
   */
  stageTranslations?(nested: boolean, batch: AddressBatch, ipa: number, pa: number, pages: number): void;
  /** Translates the staged addresses as reads, without any TLB. Returns the number of faults. */
  translateBatch?(): number;
  /** Makes the same accesses through a TLB that is kept from batch to batch. Returns the number of faults. */
  accessBatch?(): number;
  /** Memory of the tables in use, start pages aside. */
  tableBytes(): number;
  /** `LeafDigest` over all valid leaves; engines that did the same work agree. */
  digest(): string;
}
