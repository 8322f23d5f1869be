import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { PaLike, SizeLike, Va, VaLike } from "../model/address.js";
import { type Granule, granuleShift } from "../model/granule.js";
import { type ProtLike, toProt } from "../model/protection.js";
import { paRangeCode } from "../model/registers.js";
import { checkQuirks, TABLE_CONFIG, type TableConfig } from "./config.js";
import { type DirectOptions, HypDirect } from "./direct.js";
import type { Format } from "./entry.js";
import { isCount } from "./layout.js";
import type { EngineMemory } from "./memory.js";
import type { CacheOption } from "./options.js";
import { Table } from "./table.js";
import type { AdoptOptions, TableTicket } from "./ticket.js";

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

/** Levels that there can be: -1 to 3. */
const LEVELS = 5;

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
export class HypTable<E extends EngineMemory = EngineMemory> extends Table<E, Va> {
  readonly isHyp = true;
  /** Its operations on plain numbers, with tables from the arena. */
  readonly direct: HypDirect;

  private constructor(engine: E, granule: Granule, format: Format, strict: boolean) {
    super(engine, granule, format, strict);
    this.direct = new HypDirect(this);
  }

  /** @internal The table of a ticket, which another walker of the same engine made. */
  static adopt<E extends EngineMemory>(engine: E, ticket: TableTicket, brought: AdoptOptions): HypTable<E> {
    if (brought.forcePte !== undefined) throw invalid("adopt", "forcePte is of stage-2 tables");
    const table = new HypTable(engine, ticket.granule, ticket.format, ticket.strict);
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
    const [least, most] = [ps + 1, Math.min(63, ps + LEVELS * (ps - 3))];
    if (!isCount(vaBits, least, most)) {
      throw invalid("createHyp", `vaBits is ${vaBits}: tables of this granule translate ${least}..${most} bits`);
    }
    const flags =
      K.T_HYP |
      (config.lpa2 ? K.T_LPA2 : 0) |
      ((config.pa52 ?? true) ? K.T_WIDE : 0) |
      (config.hvhe ? K.T_HVHE : 0) |
      (config.bti ? K.T_BTI : 0) |
      (config.barrier ? K.T_BARRIER : 0) |
      ((config.pageCount ?? true) ? K.T_PAGE_COUNT : 0) |
      (config.quirks === "linux-6.12" ? K.T_LINUX : 0);
    const table = new HypTable(engine, granule, { ps, flags }, config.strict ?? true);
    table.create(config, (mask) => engine.core.createHyp(ps, vaBits, flags, mask), "createHyp");
    return table;
  }

  ticket(): TableTicket {
    return { ...this.ticketOf(), vtcr: 0n };
  }

  /**
   * Its operations on plain numbers, with tables from `cache`. EINVAL for what is no cache of this engine.
   *
   * @example
   * ```ts
   * import { createEngine, Prot } from "granule";
   * using engine = createEngine();
   * const cache = engine.createCache(4096, 4); // empty: there are no pages for tables
   * console.log(engine.createHyp().createDirect({ cache }).map(0, 4096, 0x8000, Prot.R)); // -12
   * ```
   */
  createDirect(options: Pick<DirectOptions, "cache">): HypDirect {
    this.assertUsable("createDirect");
    return new HypDirect(this, options);
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
  map(va: VaLike, size: SizeLike, pa: PaLike, prot: ProtLike, options?: { cache?: CacheOption }): void {
    const cache = options === undefined ? undefined : checkOptions("map", options, { cache: "any" }).cache;
    this.perform(K.OP_HYP_MAP, "map", va, size, pa, toProt(prot), 0, cache);
  }

  /** Unmaps up to the first hole or a block larger than what is left; the bytes unmapped [S1-6; kvm_pgtable_hyp_unmap]. */
  unmap(va: VaLike, size: SizeLike): bigint {
    this.perform(K.OP_HYP_UNMAP, "unmap", va, size, 0);
    return this.performed();
  }
}
