import { type CoreSource, compile, instantiateModule } from "./core.js";
import type { MmuCore } from "./interfaces.generated.js";
import type { WasmMemory } from "./platform.js";

export type { MmuCore } from "./interfaces.generated.js";

/** One instance of the hardware's walker on `memory`. */
export function instantiateMmu(source: CoreSource, memory: WasmMemory): MmuCore {
  return instantiateModule<MmuCore>(compile(source, "createMmu"), memory, "mmuConfigure");
}
