/**
 * The library without the inlined core: for strict content security policies and for sharing one compiled module.
 *
 * @module
 */

import type { CoreSource } from "./core/core.js";
import { invalid } from "./core/errors.js";
import type { Url } from "./core/platform.js";
import { Engine } from "./tables/engine.js";
import type { EngineOptions } from "./tables/layout.js";

export * from "./api.js";

/**
 * An engine on a core of your own: compiled, or bytes of `granule/granule.wasm`. EINVAL for bytes that are no core.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule/slim";
 * import { readFileSync } from "node:fs";
 * import { fileURLToPath } from "node:url";
 * const wasm = readFileSync(fileURLToPath(import.meta.resolve("granule/granule.wasm")));
 * using engine = createEngine(new WebAssembly.Module(wasm));
 * console.log(engine.createStage2().info().startLevel); // 1
 * ```
 */
export function createEngine(source: CoreSource, options: EngineOptions = {}): Engine {
  return Engine.make(source, options);
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
export async function loadEngine(url: string | Url, options: EngineOptions = {}): Promise<Engine> {
  const response = await fetch(url as string | URL);
  if (!response.ok) throw invalid("loadEngine", `${String(url)}: ${response.status} ${response.statusText}`);
  return Engine.make(await response.arrayBuffer(), options);
}
