import * as K from "../core/constants.generated.js";
import type { PageCache } from "./cache.js";

/** Where tables come from: a cache, the arena without limit (`"arena"`, the default), or nowhere (`null`). */
export type CacheOption = PageCache | "arena" | null | undefined;

/** The handle of a cache option, as the core knows it. */
export function cacheHandle(cache: CacheOption): number {
  if (cache === null) return K.CACHE_NONE;
  return cache === undefined || cache === "arena" ? K.CACHE_ARENA : cache.handle;
}

/** How a map walks. */
export interface MapOptions {
  /** Where tables come from. Default: the arena. */
  cache?: CacheOption;
  /** Handle a fault: a race lost, or nothing to do, ends the walk and is reported. Default false: skipped [WLK-10]. */
  handleFault?: boolean;
  /** Walk as one of several walkers: compare-exchange on every slot. Default false. */
  shared?: boolean;
  /** No cache maintenance for what is mapped. Default false. */
  skipCacheMaintenance?: boolean;
  /** No TLBI at the break. Only for tables that nothing walks yet. Default false. */
  skipBreakTlbi?: boolean;
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
