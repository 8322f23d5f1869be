import { checkOptions, describe, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { PageCache } from "./cache.js";
import type { EngineMemory } from "./memory.js";

/**
 * Where tables come from: a cache, the arena without limit (`"arena"`, the default), the walker's own cache, topped up
 * before the lock is taken (`"own"`, as a vCPU has one) [MC-6, MC-7], or nowhere (`null`).
 */
export type CacheOption = PageCache | "arena" | "own" | null | undefined;

/** How an operation over a range shares its table. */
export interface ShareOptions {
  /** Walk as one of several walkers: the table's lock for reading, compare-exchange on every entry. Default false: exclusive. */
  shared?: boolean;
}

/** How an operation on one leaf shares its table. */
export interface LeafShareOptions extends ShareOptions {
  /** Without the table's lock: one compare-exchange, success or give up. Tables with `lockFree` only [IDE-1]. Default false. */
  lockFree?: boolean;
}

/** @internal What `LeafShareOptions` has. */
export const SHARE: OptionKinds<LeafShareOptions> = { shared: "boolean", lockFree: "boolean" };

/** Share options, when they are such; EINVAL names the first that is not. */
export function checkShare(operation: string, options: LeafShareOptions): LeafShareOptions {
  return checkOptions(operation, options, SHARE);
}

/** The flags of share options. */
export function shareFlags(options: LeafShareOptions): number {
  return (options.shared ? K.SHARED : 0) | (options.lockFree ? K.LOCK_FREE : 0);
}

/** The flags of an operation's share options, if it was given any; EINVAL names the first that is not one. */
export function shareFlagsOf(operation: string, options: LeafShareOptions | undefined): number {
  return options === undefined ? 0 : shareFlags(checkShare(operation, options));
}

/** The handle of a cache option, as the core knows it. EINVAL for what is no cache, or another engine's. */
export function cacheHandle(cache: CacheOption, memory: EngineMemory, operation: string): number {
  if (cache === undefined || cache === "arena") return K.CACHE_ARENA;
  if (cache === null) return K.CACHE_NONE;
  if (cache === "own") return K.CACHE_OWN;
  if (!(cache instanceof PageCache)) {
    throw invalid(operation, `the cache is ${describe(cache)}: a PageCache, "arena", "own" or null`);
  }
  return cache.handleIn(memory, operation);
}

/** How a map walks. */
export interface MapOptions extends ShareOptions {
  /** Where tables come from. Default: the arena. */
  cache?: CacheOption;
  /** Handle a fault: a race lost, or nothing to do, ends the walk and is reported. Default false: skipped [WLK-10]. */
  handleFault?: boolean;
  /** No cache maintenance for what is mapped. Default false. */
  skipCacheMaintenance?: boolean;
  /** No TLBI at the break. Only for tables that nothing walks yet. Default false. */
  skipBreakTlbi?: boolean;
}

/** @internal What `MapOptions` has. */
export const MAP: OptionKinds<MapOptions> = {
  shared: "boolean",
  cache: "any",
  handleFault: "boolean",
  skipCacheMaintenance: "boolean",
  skipBreakTlbi: "boolean",
};

/** Map options, when they are such; EINVAL names the first that is not. */
export function checkMap(operation: string, options: MapOptions): MapOptions {
  return checkOptions(operation, options, MAP);
}

/** The walk flags of map options [WLK-3]. */
export function mapFlags(options: MapOptions): number {
  return (
    (options.handleFault ? K.HANDLE_FAULT : 0) |
    (options.shared ? K.SHARED : 0) |
    (options.skipCacheMaintenance ? K.SKIP_CMO : 0) |
    (options.skipBreakTlbi ? K.SKIP_BBM_TLBI : 0)
  );
}
