/**
 * Arm64 page tables at WebAssembly speed: KVM's stand-alone page-table walker as a library.
 * Works in Node 20.19 and newer, browsers and workers, with nothing to set up: the core is inlined.
 *
 * @module
 */

import { BYTES } from "./core/bytes.granule.generated.js";
import { compile, fromBase64 } from "./core/core.js";
import { Engine, type EngineOptions } from "./tables/engine.js";

export * from "./api.js";

let compiled: WebAssembly.Module | undefined;

/**
 * An engine on the release core, which is compiled once and kept.
 * Throws EINVAL for options that make no sense.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * using engine = createEngine({ arenaBytes: 16 << 20 });
 * const table = engine.createStage2({ ipaBits: 40 });
 * table.map(0x4000_0000, 0x1000, 0x8_0000_0000, "rwx");
 * console.log(table.leaf(0x4000_0000).kind); // page
 * ```
 */
export function createEngine(options: EngineOptions = {}): Engine {
  compiled ??= compile(fromBase64(BYTES));
  return new Engine(compiled, options);
}
