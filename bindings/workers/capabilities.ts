/** What this place allows; see `capabilities`. */
export interface Capabilities {
  /** Can a pool have threads here? Without, it works on this thread, a piece at a time. */
  threads: boolean;
  /** Why there are none. */
  reason: string | undefined;
  /** Threads that the machine runs at once, as far as the place says so; 1 if it does not. */
  cores: number;
  /** May this thread sleep while it waits for a lock? The main thread of a browser may not: it spins. */
  sleeps: boolean;
}

/** The parts of a browser's or worker's global scope that matter here. */
interface Place {
  crossOriginIsolated?: boolean;
  document?: unknown;
  navigator?: { hardwareConcurrency?: number };
  process?: {
    versions?: { node?: string };
    getBuiltinModule?: (name: string) => { availableParallelism(): number };
  };
  Worker?: unknown;
}

function whyNoThreads(place: Place): string | undefined {
  if (typeof SharedArrayBuffer === "undefined") {
    return "there is no SharedArrayBuffer: the page is not cross-origin isolated (see README for the two headers)";
  }
  if (place.process?.versions?.node !== undefined) return undefined;
  if (typeof place.Worker !== "function") return "there are no workers here";
  if (place.crossOriginIsolated === false) {
    return "the page is not cross-origin isolated: memory cannot be shared with workers (see README for the two headers)";
  }
  return undefined;
}

/**
 * Are there threads for a pool, and if not, why?
 *
 * @example
 * ```ts
 * import { capabilities } from "granule";
 * const { threads, reason } = capabilities();
 * console.log(threads, reason); // true undefined
 * ```
 */
export function capabilities(place: object = globalThis): Capabilities {
  const here = place as Place;
  const reason = whyNoThreads(here);
  return {
    threads: reason === undefined,
    reason,
    cores:
      here.navigator?.hardwareConcurrency ?? here.process?.getBuiltinModule?.("node:os").availableParallelism() ?? 1,
    sleeps: !("document" in here),
  };
}
