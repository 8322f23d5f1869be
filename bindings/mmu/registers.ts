import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { fieldOf, get, maskOf, put } from "../core/field.js";
import type { AddressLike } from "../model/address.js";
import { LINUX_MAIR } from "../model/registers.js";
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
  /** VTCR_EL2. */
  vtcr?: AddressLike;
  /** VTTBR_EL2. */
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
  if (table?.isHyp !== false) throw invalid("stage2Registers", "this is not a stage-2 table");
  const fwb = table.format.flags & K.T_FWB ? K.HCR_FWB : 0n;
  return { hcr: K.HCR_VM | K.HCR_DC | fwb, vtcr: table.vtcr, vttbr: table.vttbr(vmid) };
}

/** The half of a TCR_EL1 that belongs to TTBR0, which TCR_EL2 has too. */
const LOWER_HALF = fieldOf(K.TCR_EL1_HALF - 1, 0);

/** TCR_EL2 in the layout that EL2&0 has: as TCR_EL1, the upper half switched off. */
function twoRanges(tcr: bigint): bigint {
  const lower = tcr & maskOf(LOWER_HALF),
    ds = tcr & K.TCR_EL2_DS ? K.TCR_EL1_DS : 0n;
  return lower | K.TCR_EL1_EPD1 | put(get(tcr, K.TCR_PS), K.TCR_EL1_IPS) | ds;
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
  if (table?.isHyp !== true) throw invalid("hypRegisters", "this is not a hypervisor's table");
  const { rootPa, outputBits } = table.info();
  if (rootPa === 0n) throw invalid("hypRegisters", "the table is destroyed: there is nothing to walk");
  const tcr = table.tcr(paBits ?? (outputBits > 48 ? 52 : 48));
  const ttbr0 = BigInt.asUintN(64, table.engine.core.vttbr(rootPa, 0, 0));
  const hvhe = (table.format.flags & K.T_HVHE) !== 0;
  return { hcr: hvhe ? K.HCR_E2H : 0n, sctlr: K.SCTLR_M, tcr: hvhe ? twoRanges(tcr) : tcr, ttbr0, mair: LINUX_MAIR };
}
