/**
 * A judge of what page-table code does: break-before-make, TLB maintenance, table and VMID life cycles, checked record by
 * record; on-line over an engine's journal, or off-line over casemate logs.
 *
 * @module
 */
import { BYTES } from "../core/bytes.audit.generated.js";
import { type CoreSource, compile, fromBase64 } from "../core/core.js";
import { Judge, type JudgeOptions } from "./judge.js";

export type { Judge, JudgeOptions, Verdict } from "./judge.js";
export type { MissingStep, Violation, ViolationKind } from "./violation.js";
export type { Watch } from "./watch.js";

let compiled: WebAssembly.Module | undefined;

/**
 * A judge. The module is compiled once and kept; `source` takes another, compiled or as bytes of `granule/audit.wasm`.
 * Throws EINVAL for options that make no sense.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { createJudge } from "granule/audit";
 * using engine = createEngine({ journalRecords: 1 << 16 });
 * const watch = createJudge().watch(engine);
 * const table = engine.createStage2();
 * table.map(0, 2 << 20, 0, "rw");
 * table.split(0, 2 << 20);
 * console.log(watch.drain().length); // 0
 * table.map(0, 4096, 0x10_0000, "rw", { skipBreakTlbi: true });
 * console.log(watch.drain()[0]?.missing); // tlbi
 * ```
 */
export function createJudge(options: JudgeOptions = {}, source?: CoreSource): Judge {
  if (source === undefined) compiled ??= compile(fromBase64(BYTES), "createJudge");
  return new Judge(source ?? (compiled as WebAssembly.Module), options);
}

/**
 * Options for logs of a hypervisor as casemate knows them: pages are set up by a record, one VM's memory is no
 * other's. An access flag that is cleared need not be flushed: ageing does not.
 *
 * @example
 * ```ts
 * import { CASEMATE_OPTIONS, createJudge } from "granule/audit";
 * const judge = createJudge(CASEMATE_OPTIONS);
 * const log = judge.casemate();
 * log.push(new TextEncoder().encode('(unlock (id 0) (tid 0) (address 0x1000) (src "a.c:1"))'));
 * log.end();
 * console.log(judge.finish().violations[0]?.kind); // lock
 * ```
 */
export const CASEMATE_OPTIONS: JudgeOptions = { exclusive: true, knownPages: true };
