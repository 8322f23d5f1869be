/**
 * The same library on the debug core: every precondition asserted, freed pages poisoned. Several times slower.
 *
 * @module
 */

import { BYTES } from "./core/bytes.granule.debug.generated.js";
import { compile, fromBase64 } from "./core/core.js";
import { Engine } from "./tables/engine.js";
import type { EngineOptions } from "./tables/layout.js";

export * from "./api.js";

let compiled: WebAssembly.Module | undefined;

/**
 * An engine on the debug core; otherwise as `createEngine` of `granule`.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule/debug";
 * using engine = createEngine();
 * console.log(engine.createHyp({ vaBits: 39 }).info().startLevel); // 1
 * ```
 */
export function createEngine(options: EngineOptions = {}): Engine {
  compiled ??= compile(fromBase64(BYTES), "createEngine");
  return Engine.make(compiled, options);
}
