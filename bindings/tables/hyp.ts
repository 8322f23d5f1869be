import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { AddressLike } from "../model/address.js";
import { type Granule, granuleShift } from "../model/granule.js";
import type { ProtLike } from "../model/protection.js";
import { paRangeCode } from "../model/registers.js";
import type { Format } from "./entry.js";
import type { EngineMemory } from "./memory.js";
import type { CacheOption } from "./options.js";
import { type AdoptOptions, checkQuirks, TABLE_CONFIG, Table, type TableConfig, type TableTicket } from "./table.js";

/** The hypervisor's own stage-1 table at EL2. */
export interface HypConfig extends TableConfig {
  /** Virtual address size in bits. Default 48. */
  vaBits?: number;
  /** Is the hypervisor at EL2&0 with two privilege levels (hVHE)? Default false: nVHE [FMT-11, FMT-13]. */
  hvhe?: boolean;
  /** Guarded pages: executable mappings get GP, as with a kernel that uses BTI [FMT-14]. Default false. */
  bti?: boolean;
  /**
   * Lookups take no lock: a table that an unmap empties goes only when every walker has passed a quiescent point, which the
   * unmap waits for [IDE-3]. Default false: lookups wait for the table's lock.
   */
  barrier?: boolean;
  /** Can references be counted? Without, unmap does nothing [WLK-16]. Default true. */
  pageCount?: boolean;
}

const CONFIG: OptionKinds<HypConfig> = {
  ...TABLE_CONFIG,
  vaBits: "number",
  hvhe: "boolean",
  bti: "boolean",
  barrier: "boolean",
  pageCount: "boolean",
};

/**
 * The hypervisor's own stage 1: map and unmap. Make one with `engine.createHyp`. Addresses are VAs and PAs in bytes.
 */
export class HypTable<E extends EngineMemory = EngineMemory> extends Table<E> {
  readonly isHyp = true;

  private constructor(engine: E, granule: Granule, format: Format) {
    super(engine, granule, format);
  }

  /** @internal The table of a ticket, which another walker of the same engine made. */
  static adopt<E extends EngineMemory>(engine: E, ticket: TableTicket, brought: AdoptOptions): HypTable<E> {
    if (brought.forcePte !== undefined) throw invalid("adopt", "forcePte is of stage-2 tables");
    const table = new HypTable(engine, ticket.granule, ticket.format);
    table.borrow(ticket, brought);
    return table;
  }

  /** @internal Use `engine.createHyp`. */
  static make<E extends EngineMemory>(engine: E, config: HypConfig): HypTable<E> {
    checkOptions("createHyp", config, CONFIG);
    checkQuirks("createHyp", config.quirks);
    const granule = config.granule ?? 4096;
    const ps = granuleShift(granule);
    if (config.lpa2 && ps === 16) throw invalid("createHyp", "LPA2 is of 4K and 16K pages; 64K has pa52");
    const vaBits = config.vaBits ?? 48;
    if (!Number.isInteger(vaBits) || vaBits < 0 || vaBits > 64)
      throw invalid("createHyp", `vaBits ${vaBits} makes no sense`);
    const flags =
      K.T_HYP |
      (config.lpa2 ? K.T_LPA2 : 0) |
      ((config.pa52 ?? true) ? K.T_WIDE : 0) |
      (config.hvhe ? K.T_HVHE : 0) |
      (config.bti ? K.T_BTI : 0) |
      (config.barrier ? K.T_BARRIER : 0) |
      ((config.pageCount ?? true) ? K.T_PAGE_COUNT : 0) |
      (config.quirks === "linux-6.12" ? K.T_LINUX : 0);
    const table = new HypTable(engine, granule, { ps, flags });
    table.create(config, (mask) => engine.core.createHyp(ps, vaBits, flags, mask), "createHyp");
    return table;
  }

  ticket(): TableTicket {
    return { ...this.ticketOf(), vtcr: 0n };
  }

  /** TCR_EL2 for this table on an nVHE CPU with `paBits` of physical address [REG-9]. */
  tcr(paBits = 48): bigint {
    this.assertUsable("tcr");
    const { inputBits } = this.info();
    const lpa2 = this.format.flags & K.T_LPA2 ? 1 : 0;
    return BigInt.asUintN(64, this.engine.core.tcrEl2(this.format.ps, inputBits, paRangeCode(paBits), lpa2));
  }

  /**
   * Maps [va, va + size) to pa.. [S1-1..5; kvm_pgtable_hyp_map]. R is required; X excludes W and Device. Where something
   * else is mapped it refuses before anything changes: EINVAL at a page, EEXIST at a block.
   */
  map(
    va: AddressLike,
    size: AddressLike,
    pa: AddressLike,
    prot: ProtLike,
    options: { cache?: CacheOption } = {},
  ): void {
    checkOptions("map", options, { cache: "any" });
    this.perform({ op: K.OP_HYP_MAP, name: "map", addr: va, size, phys: pa, prot, cache: options.cache });
  }

  /** Unmaps up to the first hole or a block larger than what is left; the bytes unmapped [S1-6; kvm_pgtable_hyp_unmap]. */
  unmap(va: AddressLike, size: AddressLike): bigint {
    this.perform({ op: K.OP_HYP_UNMAP, name: "unmap", addr: va, size });
    return this.performed().value;
  }
}
