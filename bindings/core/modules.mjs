// The Wasm modules of the package: each has its own file of exports in assembly/, and shares the rooms below it.

/**
 * `type`: name of the interface of its exports. Each has a debug build, for the tests; `debug`: the package has it too.
 * `instead`: files that are compiled in place of others. `inline`: the size up to which functions are inlined, where it is not the usual
 * one. `whole`: a function with one caller is inlined whatever its size; the loops of the engine's walks keep theirs out of the way.
 * @typedef {{ name: string, entry: string, type: string, debug: boolean, instead?: Record<string, string>, inline?: number, whole?: boolean }} Module
 */

/** In a machine of several CPUs, all TLBs hear a TLBI, and a CPU writes down which pages it makes dirty. Tables may have reverse maps. */
const OF_VM = {
  "assembly/record/interconnect.ts": "assembly/sim/interconnect.ts",
  "assembly/mmu/dirtied.ts": "assembly/sim/dirtied.ts",
  "assembly/memory/leaves.ts": "assembly/vm/leaves.ts",
};

/** @type {Module[]} */
export const MODULES = [
  { name: "granule", entry: "assembly/engine.ts", type: "Core", debug: true },
  { name: "audit", entry: "assembly/audit.ts", type: "AuditCore", debug: false },
  { name: "mmu", entry: "assembly/mmu.ts", type: "MmuCore", debug: false, whole: true },
  // A fault of a guest goes through all rooms, so here calls cost more than bytes do.
  { name: "vm", entry: "assembly/vm.ts", type: "VmCore", debug: false, instead: OF_VM, inline: 45, whole: true },
];

/** Files that the build of a module makes. */
export function outputs({ name }) {
  return { raw: `build/${name}.raw.wasm`, release: `build/${name}.wasm`, debug: `build/${name}.debug.wasm` };
}
