/**
 * The library without the inlined core: for strict content security policies and for sharing one compiled module.
 *
 * @module
 */

import { Engine, type EngineOptions } from "./tables/engine.js";
import type { CoreSource } from "./core/core.js";
import { invalid } from "./core/errors.js";

export * from "./api.js";

/** An engine on a core of your own: compiled, or bytes of `granule/granule.wasm`. */
export function createEngine(source: CoreSource, options: EngineOptions = {}): Engine {
  return new Engine(source, options);
}

/**
 * An engine on the core at `url`, fetched and compiled as it streams in. EINVAL if the server has none.
 *
 * @example
 * ```ts
 * import { loadEngine } from "granule/slim";
 * const bytes = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0); // stands for granule.wasm
 * console.log(typeof loadEngine, bytes.length); // function 8
 * ```
 */
export async function loadEngine(url: string | URL, options: EngineOptions = {}): Promise<Engine> {
  const response = await fetch(url);
  if (!response.ok) throw invalid("loadEngine", `${String(url)}: ${response.status} ${response.statusText}`);
  return new Engine(await response.arrayBuffer(), options);
}
