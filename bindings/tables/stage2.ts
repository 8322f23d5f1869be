import { checkChoice, checkFunction, checkNow, checkOptions, checkWord, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { put, valuesOf } from "../core/field.js";
import { type Ipa, type IpaLike, type PaLike, type SizeLike, toAddress } from "../model/address.js";
import { type Granule, granuleShift } from "../model/granule.js";
import { type ProtLike, toProt } from "../model/protection.js";
import { paRangeCode } from "../model/registers.js";
import { type Columns, checkColumns } from "./columns.js";
import { checkQuirks, TABLE_CONFIG, type TableConfig } from "./config.js";
import { type DirectOptions, Stage2Direct } from "./direct.js";
import type { Format } from "./entry.js";
import { assertPrompt } from "./hooks.js";
import type { TableHost } from "./host.js";
import type { EngineMemory } from "./memory.js";
import {
  type CacheOption,
  cacheHandle,
  checkMap,
  type LeafShareOptions,
  type MapOptions,
  mapFlags,
  type ShareOptions,
  shareFlagsOf,
} from "./options.js";
import { refusal, unlinkedRefusal } from "./refusal.js";
import { type Outcome, Table } from "./table.js";
import type { AdoptOptions, TableTicket } from "./ticket.js";

/** A guest's stage-2 table: sizes and CPU features. */
export interface Stage2Config extends TableConfig {
  /** IPA size in bits, 32..52 (48 without `lpa2` for 4K and 16K). Default 40. */
  ipaBits?: number;
  /** The VTCR_EL2 value in place of `ipaBits`, `paBits`, `hardwareAf`, `hardwareDirty` and `vmid16` [REG-1]. */
  vtcr?: bigint;
  /** Physical address size of the CPU: 32 36 40 42 44 48 52. Default 48. */
  paBits?: number;
  /** Forced write-back: no cache maintenance, and unmap flushes once at its end [FMT-20]. Default true. */
  fwb?: boolean;
  /** Range TLBI instructions (FEAT_TLBIRANGE). Default true. */
  tlbiRange?: boolean;
  /** Separate execute rights of EL1 and EL0 (FEAT_XNX) [FMT-25]. Default false. */
  xnx?: boolean;
  /** The hardware sets the access flag (VTCR.HA). Default true. */
  hardwareAf?: boolean;
  /** The hardware sets dirty state (VTCR.HD): leaves change by atomic read-modify-write only [BUG-50]. Default false. */
  hardwareDirty?: boolean;
  /** 16-bit VMIDs (VTCR.VS). Default true. */
  vmid16?: boolean;
  /** pKVM's host table flags: `noFwb` refuses forced write-back, `identity` demands IPA = PA. */
  flags?: {
    /** Forced write-back is refused. Default false. */
    noFwb?: boolean;
    /** Every mapping must have IPA = PA. Default false. */
    identity?: boolean;
  };
  /** Encoding of annotations and of the locked marker [FMT-40, FMT-41]. Default "6.12". */
  annotations?: "6.12" | "7.x";
  /**
   * Attributes of single leaves may change without the table's lock: `mkyoung` and `relaxPerms` with `lockFree`, and
   * lookups. Exclusive operations then change live leaves by atomic read-modify-write, page by page [IDE-1]. Default false.
   */
  lockFree?: boolean;
  /** Pages only: never, always, below an address, or as a callback says, once per map with raw address and end [S2-2]. */
  forcePte?: ForcePte;
}

/** When leaves must be pages. */
export type ForcePte =
  | "none"
  | "all"
  | {
      /** Mappings that begin below this address are made of pages. */
      below: IpaLike;
    }
  | ((addr: Ipa, end: Ipa, prot: number) => boolean);

const CONFIG: OptionKinds<Stage2Config> = {
  ...TABLE_CONFIG,
  ipaBits: "number",
  vtcr: "address",
  paBits: "number",
  fwb: "boolean",
  tlbiRange: "boolean",
  xnx: "boolean",
  hardwareAf: "boolean",
  hardwareDirty: "boolean",
  vmid16: "boolean",
  flags: "object",
  annotations: "any",
  lockFree: "boolean",
  forcePte: "any",
};

function checkConfig(config: Stage2Config): void {
  checkOptions("createStage2", config, CONFIG);
  checkQuirks("createStage2", config.quirks);
  checkChoice("createStage2", "annotations", config.annotations, [undefined, "6.12", "7.x"]);
  if (config.flags) checkOptions("createStage2", config.flags, { noFwb: "boolean", identity: "boolean" });
}

function stage2Flags(c: Stage2Config): number {
  const on = (flag: number, value: boolean | undefined, otherwise: boolean) => ((value ?? otherwise) ? flag : 0);
  return (
    on(K.T_LPA2, c.lpa2, false) |
    on(K.T_WIDE, c.pa52, true) |
    on(K.T_FWB, (c.fwb ?? true) && !c.flags?.noFwb, true) |
    on(K.T_RANGE_TLBI, c.tlbiRange, true) |
    on(K.T_XNX, c.xnx, false) |
    on(K.T_IDMAP, c.flags?.identity, false) |
    on(K.T_LOCK_FREE, c.lockFree, false) |
    on(K.T_TYPED, c.annotations === "7.x", false) |
    on(K.T_LINUX, c.quirks === "linux-6.12", false) |
    on(K.T_DCACHE, c.hooks?.dcacheCleanInvalPoc !== null, true) |
    on(K.T_ICACHE, c.hooks?.icacheInvalPou !== null, true) |
    K.T_PAGE_COUNT
  );
}

/** VTCR_EL2 of a configuration; EINVAL for sizes that the architecture does not have. */
function vtcrOf(engine: EngineMemory, ps: number, c: Stage2Config): bigint {
  if (c.vtcr !== undefined) return toAddress(c.vtcr, "createStage2");
  const bits = c.ipaBits ?? 40;
  const max = c.lpa2 || (ps === 16 && (c.pa52 ?? true)) ? 52 : 48;
  if (!Number.isInteger(bits) || bits < 32 || bits > max) {
    throw invalid("createStage2", `ipaBits ${bits}: this granule has IPAs of 32..${max} bits`);
  }
  const mmfr0 = BigInt(paRangeCode(c.paBits ?? 48));
  const mmfr1 = (c.vmid16 ?? true) ? put(K.VMIDBITS_16, K.MMFR1_VMIDBITS) : 0n;
  const wide = max === 52 ? 1 : 0;
  const vtcr = engine.core.vtcr(ps, bits, mmfr0, mmfr1, c.lpa2 ? 1 : 0, wide, (c.hardwareAf ?? true) ? 1 : 0);
  return BigInt.asUintN(64, vtcr) | (c.hardwareDirty ? K.VTCR_HD : 0n);
}

/** The function in the shape in which the core calls it. */
function forceHost(force: Extract<ForcePte, (...args: never) => unknown>): NonNullable<TableHost["forcePte"]> {
  return (a, e, p) => checkNow("forcePte", force(a as Ipa, e as Ipa, p));
}

/**
 * A guest's stage-2 table: every operation of the kernel's, by its name. Make one with `engine.createStage2`.
 * Addresses are IPAs and PAs in bytes. Sizes are rounded out to pages [WLK-1]; a range beyond the input or output
 * address space is an ERANGE, and a refused operation changes nothing [PROP-8].
 */
export class Stage2Table<E extends EngineMemory = EngineMemory> extends Table<E, Ipa> {
  readonly isHyp = false;
  /** The table's VTCR_EL2. */
  readonly vtcr: bigint;
  /** Its operations on plain numbers, exclusive, with tables from the arena. */
  readonly direct: Stage2Direct;

  private constructor(engine: E, granule: Granule, format: Format, vtcr: bigint, strict: boolean) {
    super(engine, granule, format, strict);
    this.vtcr = vtcr;
    this.direct = new Stage2Direct(this);
  }

  /** @internal The table of a ticket, which another walker of the same engine made. */
  static adopt<E extends EngineMemory>(engine: E, ticket: TableTicket, brought: AdoptOptions): Stage2Table<E> {
    const table = new Stage2Table(engine, ticket.granule, ticket.format, ticket.vtcr, ticket.strict);
    const { forcePte } = brought;
    table.borrow(
      ticket,
      brought,
      forcePte === undefined ? undefined : forceHost(checkFunction("adopt", "forcePte", forcePte)),
    );
    return table;
  }

  /** @internal Use `engine.createStage2`. */
  static make<E extends EngineMemory>(engine: E, config: Stage2Config): Stage2Table<E> {
    checkConfig(config);
    const granule = config.granule ?? 4096;
    const ps = granuleShift(granule);
    if (config.lpa2 && ps === 16) throw invalid("createStage2", "LPA2 is of 4K and 16K pages; 64K has pa52");
    const flags = stage2Flags(config);
    const vtcr = vtcrOf(engine, ps, config);
    if (config.vtcr !== undefined && Boolean(vtcr & K.VTCR_DS) !== Boolean(config.lpa2)) {
      throw invalid("createStage2", "VTCR.DS and lpa2 differ");
    }
    const table = new Stage2Table(engine, granule, { ps, flags }, vtcr, config.strict ?? true);
    table.create(config, (mask) => engine.core.createStage2(ps, vtcr, flags, mask), "createStage2", vtcr);
    try {
      table.setForcePte(config.forcePte === undefined ? "none" : config.forcePte);
    } catch (error) {
      table.close();
      throw error;
    }
    return table;
  }

  ticket(): TableTicket {
    return { ...this.ticketOf(), vtcr: this.vtcr };
  }

  /**
   * Its operations on plain numbers that share the table, handle faults, or take tables from a cache, as a VMM's fault loop does.
   * EINVAL for unknown options, or what is no cache of this engine.
   *
   * @example
   * ```ts
   * import { createEngine, Prot } from "granule";
   * using engine = createEngine({ walkers: 2 });
   * const table = engine.createStage2();
   * const faults = table.createDirect({ shared: true, handleFault: true, cache: "own" });
   * console.log(faults.map(0x1000, 4096, 0x8000, Prot.R), faults.map(0x1000, 4096, 0x8000, Prot.R)); // 0 -11
   * ```
   */
  createDirect(options: DirectOptions): Stage2Direct {
    this.assertUsable("createDirect");
    return new Stage2Direct(this, options);
  }

  /**
   * VTTBR_EL2 that names this table: start tables, VMID (8 or 16 bits, as VTCR.VS says), CnP [REG-8].
   * EINVAL for a VMID that does not fit, or once destroyed.
   */
  vttbr(vmid: number, cnp = false): bigint {
    this.assertUsable("vttbr", vmid);
    const limit = valuesOf(this.vtcr & K.VTCR_VS ? K.TTBR_ID : K.TTBR_ID8);
    const { rootPa } = this.info();
    if (vmid < 0 || vmid >= limit) throw invalid("vttbr", `VMID ${vmid}: this VTCR has VMIDs below ${limit}`);
    if (rootPa === 0n) throw invalid("vttbr", "the table is destroyed");
    return BigInt.asUintN(64, this.engine.core.vttbr(rootPa, vmid, cnp ? 1 : 0));
  }

  /**
   * Chooses anew when leaves must be pages. A function decides for calls of this walker alone: each other walker brings its own when
   * it adopts the table, and is refused with EPERM without. EPERM (thrown) with several walkers unless the table was made, or
   * adopted, with `maySleep: false`.
   */
  setForcePte(force: ForcePte): void {
    const { core, hosts } = this.engine;
    this.assertUsable("setForcePte");
    hosts.assertIdle("setForcePte", this.handle);
    let mode: number = K.FORCE_HOST;
    let below = 0n;
    if (typeof force === "function") {
      const host = hosts.tables.get(this.handle) ?? { mask: 0, maySleep: true };
      assertPrompt(this.engine, "setForcePte", host.maySleep);
      hosts.tables.set(this.handle, { ...host, forcePte: forceHost(force) });
    } else if (typeof force === "object" && force !== null) {
      checkOptions("forcePte", force, { below: "address" });
      mode = K.FORCE_BELOW;
      below = toAddress(force.below, "forcePte");
    } else {
      mode = checkChoice("forcePte", "it", force, ["none", "all"]) === "all" ? K.FORCE_ALL : K.FORCE_NONE;
    }
    this.engine.check(core.setForcePte(this.handle, mode, below), "forcePte");
  }

  /**
   * Maps [ipa, ipa + size) to pa.., as blocks where they fit [S2-2..7; kvm_pgtable_stage2_map]. What is mapped there is
   * replaced by break-before-make; a change of permissions only is not made ("again" with `handleFault`): that is `relaxPerms`.
   * Throws ENOMEM when tables run out; what was mapped until then stays.
   */
  map(ipa: IpaLike, size: SizeLike, pa: PaLike, prot: ProtLike, options?: MapOptions): Outcome {
    const flags = options === undefined ? 0 : mapFlags(checkMap("map", options));
    const status = this.perform(K.OP_MAP, "map", ipa, size, pa, toProt(prot), flags, options?.cache);
    return status === K.EAGAIN ? "again" : "done";
  }

  /** Removes every leaf that the range touches, whole, and tables that become empty [S2-10, S2-11; kvm_pgtable_stage2_unmap]. */
  unmap(ipa: IpaLike, size: SizeLike): void {
    this.perform(K.OP_UNMAP, "unmap", ipa, size, 0);
  }

  /** Gives the pages to an owner: 0 erases, 1 is the hypervisor [S2-8; kvm_pgtable_stage2_set_owner]. 6.12 annotations only. */
  setOwner(ipa: IpaLike, size: SizeLike, owner: number, cache?: CacheOption): void {
    this.perform(K.OP_SET_OWNER, "setOwner", ipa, size, 0, 0, 0, cache, owner);
  }

  /** The 7.x form: `type` 2..15 over a payload in bits 59:1 [FMT-41]. Tables with `annotations: "7.x"` only. */
  annotate(ipa: IpaLike, size: SizeLike, type: number, payload: bigint, cache?: CacheOption): void {
    this.perform(K.OP_ANNOTATE, "annotate", ipa, size, payload, 0, 0, cache, type);
  }

  /**
   * Handles many translation faults in one call: maps the pages of the first `n` `addresses` to those of `values`, one
   * after the other, each as `map` with `handleFault` does; each one's status (0, or -11 for "again") goes to `statuses`.
   * A real cache is topped up to one fault's worth whenever a page needs a table. Throws what stopped it (ENOMEM,
   * or ERANGE, under either quirks); the pages before that are mapped. Some 15 ns a page, where a single call takes 50.
   */
  mapColumns(columns: Columns, n: number, prot: ProtLike, options: MapOptions = {}): void {
    this.assertUsable("mapColumns");
    const { core } = this.engine;
    const mask = toProt(prot);
    const flags = mapFlags(checkMap("mapColumns", options));
    const cache = cacheHandle(options.cache, this.engine, "mapColumns");
    checkColumns("mapColumns", columns).run(
      this.engine,
      "mapColumns",
      n,
      (addresses, values, statuses) => core.mapPages(this.handle, addresses, values, statuses, n, mask, cache, flags),
      (errno, address, phys) => refusal(this, errno, { address, phys, prot: mask, cache: options.cache }),
    );
  }

  /**
   * Handles many permission faults in one call: adds `prot` to the leaves of the first `n` `addresses`, each with its
   * local flush, as `relaxPerms` does. Statuses as of `mapColumns`.
   */
  relaxColumns(columns: Columns, n: number, prot: ProtLike, options: LeafShareOptions = {}): void {
    this.assertUsable("relaxColumns");
    const { core } = this.engine;
    const mask = toProt(prot);
    const flags = shareFlagsOf("relaxColumns", options);
    checkColumns("relaxColumns", columns).run(
      this.engine,
      "relaxColumns",
      n,
      (addresses, _values, statuses) => core.relaxPages(this.handle, addresses, statuses, n, mask, flags),
      (errno, address) => refusal(this, errno, { address, prot: mask }),
    );
  }

  /** Takes write permission from every leaf of the range; flush afterwards [S2-14; kvm_pgtable_stage2_wrprotect]. */
  wrprotect(ipa: IpaLike, size: SizeLike, options?: ShareOptions): void {
    this.perform(K.OP_WRPROTECT, "wrprotect", ipa, size, 0, 0, shareFlagsOf("wrprotect", options));
  }

  /** Sets the access flag; the descriptor as it was, 0n if nothing is mapped [S2-15; kvm_pgtable_stage2_mkyoung]. */
  mkyoung(ipa: IpaLike, options?: LeafShareOptions): bigint {
    this.perform(K.OP_MKYOUNG, "mkyoung", ipa, 0, 0, 0, shareFlagsOf("mkyoung", options));
    return this.performed();
  }

  /** Was any leaf of the range accessed? With `clear` (default) the flags are cleared [S2-16; kvm_pgtable_stage2_test_clear_young]. */
  testClearYoung(ipa: IpaLike, size: SizeLike, clear = true, options?: ShareOptions): boolean {
    const flags = shareFlagsOf("testClearYoung", options);
    const level = clear ? 1 : 0;
    return this.perform(K.OP_TEST_CLEAR_YOUNG, "testClearYoung", ipa, size, 0, 0, flags, undefined, level) === 1;
  }

  /** Adds permissions to the leaf of `ipa`, never takes any; "again" if nothing is mapped [S2-17; kvm_pgtable_stage2_relax_perms]. */
  relaxPerms(ipa: IpaLike, prot: ProtLike, options?: LeafShareOptions): Outcome {
    const flags = shareFlagsOf("relaxPerms", options);
    return this.perform(K.OP_RELAX_PERMS, "relaxPerms", ipa, 0, 0, toProt(prot), flags) === K.EAGAIN ? "again" : "done";
  }

  /** Cleans the data cache of the range's cacheable leaves; nothing to do with FWB [S2-19; kvm_pgtable_stage2_flush]. */
  flush(ipa: IpaLike, size: SizeLike, options?: ShareOptions): void {
    this.perform(K.OP_FLUSH, "flush", ipa, size, 0, 0, shareFlagsOf("flush", options));
  }

  /** Splits blocks into pages as far as the cache has tables; ENOMEM otherwise [S2-26; kvm_pgtable_stage2_split]. */
  split(ipa: IpaLike, size: SizeLike, cache?: CacheOption, options?: ShareOptions): void {
    this.perform(K.OP_SPLIT, "split", ipa, size, 0, 0, shareFlagsOf("split", options), cache);
  }

  /** Flushes the TLBs of the range, by range operations or the whole VMID [TLB-3, TLB-11; kvm_tlb_flush_vmid_range]. */
  flushTlbRange(ipa: IpaLike, size: SizeLike): void {
    this.perform(K.OP_TLB_FLUSH_RANGE, "flushTlbRange", ipa, size, 0);
  }

  /** Teardown in pieces: empties the range and frees tables that become empty; nothing is flushed [S2-27, BUG-33]. */
  destroyRange(ipa: IpaLike, size: SizeLike): void {
    this.perform(K.OP_DESTROY_RANGE, "destroyRange", ipa, size, 0);
  }

  /**
   * A detached subtree that maps pa.. as one entry of `level` would [S2-25; kvm_pgtable_stage2_create_unlinked].
   * Its page's pointer in `engine.memory`; free it with `freeUnlinked`.
   */
  createUnlinked(
    pa: PaLike,
    level: number,
    prot: ProtLike,
    options: { cache?: CacheOption; forcePte?: boolean } = {},
  ): number {
    const { core } = this.engine;
    const phys = toAddress(pa, "createUnlinked");
    checkOptions("createUnlinked", options, { cache: "any", forcePte: "boolean" });
    this.assertUsable("createUnlinked", level);
    const mask = toProt(prot);
    const cache = cacheHandle(options.cache, this.engine, "createUnlinked");
    const status = core.createUnlinked(this.handle, phys, level, mask, cache, options.forcePte ? 1 : 0);
    this.engine.check(status, "createUnlinked", (errno) =>
      unlinkedRefusal(this, errno, level, { address: 0n, phys, prot: mask, cache: options.cache }),
    );
    return this.engine.results.unlinked.page;
  }

  /** Frees the detached subtree at `pointer`, once named by an entry of `level` [S2-28; kvm_pgtable_stage2_free_unlinked]. */
  freeUnlinked(pointer: number, level: number): void {
    this.assertUsable("freeUnlinked", level);
    const page = checkWord("freeUnlinked", "pointer", pointer);
    this.engine.check(this.engine.core.freeUnlinked(this.handle, page, level), "freeUnlinked", (errno) =>
      errno === K.EINVAL ? `${page} is no table page of the arena, or ${level} is no level (-1..3)` : undefined,
    );
  }
}
