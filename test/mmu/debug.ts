// The hardware's walker in its debug build: preconditions checked, and a function of the test at each shared access.

import { readFileSync } from "node:fs";
import * as K from "../../bindings/core/constants.generated.js";
import type { MmuCore } from "../../bindings/core/mmu-core.js";

const wasm = new WebAssembly.Module(readFileSync(new URL("../../build/mmu.debug.wasm", import.meta.url)));

/** The debug build's exports on `memory`. */
export interface DebugMmu extends MmuCore {
  /** Called before and after each access to a shared word (POINT_*): what another thread does there, a test does here. */
  onPoint: (kind: number, pointer: number) => void;
}

/** An instance of the debug build on `memory`. It throws what a broken precondition is called. */
export function debugMmu(memory: WebAssembly.Memory): DebugMmu {
  const names = new Map(Object.entries(K).flatMap(([name, value]) => (/^RULE_/.test(name) ? [[value, name]] : [])));
  const host = {
    demand: (rule: number) => {
      throw new Error(`${names.get(rule)}`);
    },
    breach: (rule: number) => {
      throw new Error(`breach ${rule}`);
    },
    point: (kind: number, pointer: number) => debug.onPoint(kind, pointer >>> 0),
  };
  // `base` is there for builds that were not optimised: they import it, and do not use it.
  const { exports } = new WebAssembly.Instance(wasm, { env: { memory, base: 0 }, host });
  const debug = { ...(exports as unknown as MmuCore), onPoint: () => {} } as DebugMmu;
  return debug;
}
