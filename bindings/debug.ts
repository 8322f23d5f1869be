/**
 * The same library on the debug core: every precondition asserted, freed pages poisoned. Several times slower.
 *
 * @module
 */

import { Engine, type EngineOptions } from "./tables/engine.js";
import { compile, fromBase64 } from "./core/core.js";
import { BYTES } from "./core/debug.generated.js";

export * from "./api.js";

let compiled: WebAssembly.Module | undefined;

/** An engine on the debug core; otherwise as `createEngine` of `granule`. */
export function createEngine(options: EngineOptions = {}): Engine {
  compiled ??= compile(fromBase64(BYTES));
  return new Engine(compiled, options);
}
