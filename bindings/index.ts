/**
 * Arm64 page tables at WebAssembly speed: KVM's stand-alone page-table walker as a library.
 * Runs in Node 20.19 and newer, in browsers and in workers. The core is inlined, so one engine needs no file and no server; several
 * walkers share memory between threads, for which a browser wants a cross-origin isolated page.
 *
 * @module
 */

import { BYTES } from "./core/bytes.granule.generated.js";
import { compile, fromBase64 } from "./core/core.js";
import { Engine } from "./tables/engine.js";
import type { EngineOptions } from "./tables/layout.js";

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
  compiled ??= compile(fromBase64(BYTES), "createEngine");
  return Engine.make(compiled, options);
}
