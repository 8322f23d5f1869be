import { wasmRefusal } from "../core/core.js";

/** What this place allows; see `capabilities`. */
export interface Capabilities {
  /** Can WebAssembly be compiled here? Without, there is no engine. */
  wasm: boolean;
  /** Can a pool have threads here? Without, it works on this thread, a piece at a time. */
  threads: boolean;
  /** Why there is no WebAssembly or why there are no threads, and what to do; undefined where both are there. */
  reason: string | undefined;
  /** Threads that the machine runs at once, as far as the place says so; 1 if it does not. */
  cores: number;
  /** May this thread sleep while it waits for a lock? The main thread of a browser may not: it spins. */
  sleeps: boolean;
}

/** The parts of a browser's or worker's global scope that matter here. */
interface Place {
  crossOriginIsolated?: boolean;
  isSecureContext?: boolean;
  document?: unknown;
  navigator?: { hardwareConcurrency?: number };
  process?: {
    versions?: { node?: string };
    getBuiltinModule?: (name: string) => { availableParallelism(): number };
  };
  SharedArrayBuffer?: unknown;
  Worker?: unknown;
}

const NOT_ISOLATED =
  "the page is not cross-origin isolated, so its memory cannot be shared with workers: serve it with the headers " +
  "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp";
const NOT_SECURE =
  "the page is not cross-origin isolated, and cannot be: browsers isolate only pages that come by https, or from localhost";
const SEE = ' (docs/parallel.md of the package, "Where there are threads")';

function whyNoThreads(place: Place): string | undefined {
  if (place.process?.versions?.node !== undefined) return undefined;
  if (place.crossOriginIsolated === false || !place.SharedArrayBuffer) {
    return (place.isSecureContext === false ? NOT_SECURE : NOT_ISOLATED) + SEE;
  }
  return typeof place.Worker === "function"
    ? undefined
    : "there are no workers here, as in a worklet or a service worker";
}

/**
 * Can WebAssembly be compiled here, and are there threads for a pool? If not: why, and what to do.
 *
 * @example
 * ```ts
 * import { capabilities } from "granule";
 * const { wasm, threads, reason } = capabilities();
 * console.log(wasm, threads, reason); // true true undefined
 * ```
 */
export function capabilities(place: object = globalThis): Capabilities {
  const here = place as Place;
  const refusal = wasmRefusal();
  const reason = refusal ?? whyNoThreads(here);
  return {
    wasm: refusal === undefined,
    threads: reason === undefined,
    reason,
    cores:
      here.navigator?.hardwareConcurrency ?? here.process?.getBuiltinModule?.("node:os").availableParallelism() ?? 1,
    sleeps: !("document" in here),
  };
}
