import { type CoreSource, compile, type Host, instantiate } from "./core.js";
import type { VmCore } from "./interfaces.generated.js";
import type { WasmMemory } from "./platform.js";

export type { VmCore } from "./interfaces.generated.js";

/** One instance of the VM's module for the engine at `base` of `memory`, with the functions that the tables of an engine have. */
export function instantiateVm(source: CoreSource, memory: WasmMemory, base: number, host: Host): VmCore {
  return instantiate<VmCore>(compile(source, "createVm"), memory, base, host, "vmCreate");
}
