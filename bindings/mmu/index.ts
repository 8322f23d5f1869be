/**
 * The hardware's walker: translates accesses by the tables of an engine, or of any memory image, as an Arm CPU does.
 * Runs in browsers too.
 *
 * @module
 */

import { BYTES } from "../core/bytes.mmu.generated.js";
import { compile, fromBase64 } from "../core/core.js";
import { Mmu, type MmuOptions } from "./mmu.js";

export type { MmuCore } from "../core/mmu-core.js";
export { TlbDomain, type TlbMessage, tlbMessages } from "./domain.js";
export {
  ENTRY_KINDS,
  type EntryKind,
  type HostBits,
  TLBI_FORMS,
  type TlbiEffect,
  type TlbiForm,
  type TlbiScope,
  tlbiEffect,
} from "./forms.js";
export { Mmu, type MmuColumns, type MmuOptions, rowAddress } from "./mmu.js";
export { hypRegisters, type MmuRegisters, stage2Registers } from "./registers.js";
export type {
  AccessKind,
  AccessOptions,
  FaultException,
  FaultKind,
  LeafFacts,
  MemoryAttributes,
  Rights,
  Translation,
  TranslationFault,
} from "./result.js";
export { type Replacement, TLB_PRESETS, type TlbBankShape, type TlbPreset, type TlbShape } from "./shapes.js";
export type { WalkExplanation, WalkStep, WalkStepKind } from "./steps.js";
export {
  createTlb,
  type DsbDomain,
  Tlb,
  type TlbBankStats,
  type TlbEntry,
  type TlbiOptions,
  type TlbOptions,
  type TlbStats,
  type TlbWhims,
} from "./tlb.js";

let compiled: WebAssembly.Module | undefined;

/**
 * An MMU on the tables of an engine, or on a memory image. Throws EINVAL for options that make no sense; whatever the
 * registers say is fine, and gives the faults that a CPU gives.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { createMmu, stage2Registers } from "granule/mmu";
 * // An emulator: guest memory is mapped at stage 2, loads of the guest go through the MMU.
 * using engine = createEngine();
 * const table = engine.createStage2({ ipaBits: 40 });
 * table.map(0x4000_0000, 2 << 20, 0x8000_0000, "rw");
 * using mmu = createMmu({ engine, registers: stage2Registers(table) });
 * const load = (address: bigint) => {
 *   const t = mmu.translate(address, "r", { iss: 0x0181_0000 }); // ldr w1
 *   return t.ok ? `read ${t.pa.toString(16)}` : `ESR_EL2 ${t.exception?.esr.toString(16)}`;
 * };
 * console.log(load(0x4000_1234n)); // read 80001234
 * console.log(load(0x5000_0000n)); // ESR_EL2 93810006
 * ```
 */
export function createMmu(options: MmuOptions): Mmu {
  compiled ??= compile(fromBase64(BYTES), "createMmu");
  return new Mmu(compiled, options);
}
