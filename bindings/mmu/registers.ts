import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { AddressLike } from "../model/address.js";
import type { HypTable } from "../tables/hyp.js";
import type { Stage2Table } from "../tables/stage2.js";

/** The system registers that rule a translation. What is left out is 0. */
export interface MmuRegisters {
  /** HCR_EL2: VM (0), PTW (2), DC (12), TGE (27), CD (32), E2H (34), FWB (46). */
  hcr?: AddressLike;
  /** SCTLR of the regime: M (0), I (12), WXN (19), EPAN (57). */
  sctlr?: AddressLike;
  /** TCR_EL1, or TCR_EL2. */
  tcr?: AddressLike;
  /** TTBR0 of the regime. */
  ttbr0?: AddressLike;
  /** TTBR1 of the regime, where it has two halves. */
  ttbr1?: AddressLike;
  /** MAIR of the regime. */
  mair?: AddressLike;
  vtcr?: AddressLike;
  vttbr?: AddressLike;
}

const REGISTERS: Readonly<Record<keyof MmuRegisters, true>> = {
  hcr: true,
  sctlr: true,
  tcr: true,
  ttbr0: true,
  ttbr1: true,
  mair: true,
  vtcr: true,
  vttbr: true,
};

/** Names of the registers. */
export const REGISTER_NAMES: readonly string[] = Object.keys(REGISTERS);

/** Is this the name of a register? */
export function isRegister(name: string): name is keyof MmuRegisters {
  return Object.hasOwn(REGISTERS, name);
}

const HCR_VM = 1n;
const HCR_DC = 1n << 12n;
/** @internal */
export const HCR_TGE: bigint = 1n << 27n;
/** @internal */
export const HCR_E2H: bigint = 1n << 34n;
const HCR_FWB = 1n << 46n;
const SCTLR_M = 1n;
/** MAIR of Linux: Normal, tagged, non-cacheable, Device-nGnRnE, Device-nGnRE [FMT-10]. */
const LINUX_MAIR = 0x04_00_44_f0_ffn;

/**
 * Registers with which a guest without a stage 1 of its own runs on `table`: what goes in are IPAs. HCR_EL2.DC is set, so
 * memory is what stage 2 makes of write-back. EINVAL once the table is destroyed.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { stage2Registers } from "granule/mmu";
 * using engine = createEngine();
 * console.log(Object.keys(stage2Registers(engine.createStage2())).join()); // hcr,vtcr,vttbr
 * ```
 */
export function stage2Registers(table: Stage2Table, vmid = 0): MmuRegisters {
  const fwb = table.format.flags & K.T_FWB ? HCR_FWB : 0n;
  return { hcr: HCR_VM | HCR_DC | fwb, vtcr: table.vtcr, vttbr: table.vttbr(vmid) };
}

/** TCR_EL2 in the layout that EL2&0 has: as TCR_EL1, the upper half switched off. */
function twoRanges(tcr: bigint): bigint {
  const field = (low: bigint, bits: bigint) => (tcr >> low) & ((1n << bits) - 1n);
  return field(0n, 16n) | (1n << 23n) | (field(16n, 3n) << 32n) | (field(32n, 1n) << 59n);
}

/**
 * Registers with which EL2 runs on `table`, Linux's MAIR among them; EL2&0 for a table made with `hvhe`.
 * EINVAL once the table is destroyed.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { hypRegisters } from "granule/mmu";
 * using engine = createEngine();
 * console.log(hypRegisters(engine.createHyp()).sctlr); // 1n
 * ```
 */
export function hypRegisters(table: HypTable, paBits?: number): MmuRegisters {
  const { rootPa, outputBits } = table.info();
  if (rootPa === 0n) throw invalid("hypRegisters", "the table is destroyed: there is nothing to walk");
  const tcr = table.tcr(paBits ?? (outputBits > 48 ? 52 : 48));
  const ttbr0 = BigInt.asUintN(64, table.engine.core.vttbr(rootPa, 0, 0));
  const hvhe = (table.format.flags & K.T_HVHE) !== 0;
  return { hcr: hvhe ? HCR_E2H : 0n, sctlr: SCTLR_M, tcr: hvhe ? twoRanges(tcr) : tcr, ttbr0, mair: LINUX_MAIR };
}
