import { checkOptions, describe, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { GranuleError, invalid } from "../core/errors.js";
import { MapsView } from "../core/vm-views.generated.js";
import { levelShift } from "../model/granule.js";
import type { Engine } from "../tables/engine.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { VirtualMachine } from "./machine.js";

/** How a VM's reverse maps work. */
export interface ReverseMapOptions {
  /** `rmap-2013`: as the x86 series of 2013 was posted, with its holes [INV-14]; a demonstration, it may free what is in use. */
  quirks?: "rmap-2013";
}

const MAPS: OptionKinds<ReverseMapOptions> = { quirks: "any" };

/** Guest addresses that lead to memory which has addresses already; bytes, plain numbers. */
export interface AliasOptions {
  /** First address of the alias, a multiple of 1 GiB away from `of`. */
  gpa: number;
  /** First address of the memory, in a slot. */
  of: number;
  /** Bytes, a multiple of the page. */
  size: number;
}

const ALIAS: OptionKinds<AliasOptions> = { gpa: "number", of: "number", size: "number" };

/** A stretch of a shadow, and the memory that it maps; bytes, plain numbers. */
export interface ShadowMapping {
  /** First address in the shadow. */
  ipa: number;
  /** First guest address of the memory, in a slot. */
  gpa: number;
  /** Bytes, a multiple of the page. */
  size: number;
  /** May be stored to. Default true. */
  write?: boolean;
}

const MAPPING: OptionKinds<ShadowMapping> = { ipa: "number", gpa: "number", size: "number", write: "boolean" };

/** One descriptor that maps a page. */
export interface ReverseEntry {
  /** Physical address of the table page that holds it. */
  page: bigint;
  /** Which entry of that page it is. */
  index: number;
  /** What it holds; 0n once it was taken. */
  descriptor: bigint;
}

/** What one head knows [RMAP-2]. */
export interface ReverseMap {
  /** Level of the leaves. */
  level: number;
  /** One descriptor in the head itself, or a chain of descriptors of 14 entries each. */
  form: "single" | "chain";
  /** The order is that of the chain. */
  entries: ReverseEntry[];
}

/** What happened in the reverse maps of a VM since it was made. */
export interface ReverseMapStats {
  /** Entries that there are: one for each leaf of all tables [RMAP-9]. */
  entries: number;
  /** Leaves that were taken without a lock when slots went. */
  taken: number;
  /** Flushes of whoever took them. */
  batches: number;
  /** Flushes of notifiers that found one of these pending [HZ-5]. */
  pendingFlushes: number;
  /** Times that somebody had to wait until the unmapper had left a page's entries. */
  waits: number;
  /** Times that it did not leave within ten seconds. */
  abandoned: number;
  /** Chains of more than 1000 entries that were emptied [RMAP-8]. */
  recycled: number;
}

/**
 * A table that maps the memory of slots at addresses of its own, as KVM keeps for the guest of a guest. Make one with `addShadow`.
 *
 * @example
 * ```ts
 * import { createVm } from "granule/vm";
 * using vm = createVm({ reverseMaps: true });
 * const ram = vm.addSlot({ gpa: 0, size: 2 << 20 });
 * using shadow = vm.reverseMaps?.addShadow();
 * shadow?.map({ ipa: 0x7000, gpa: 0, size: 8192 });
 * vm.changeHost("discard", 4096, 4096); // the notifier finds it
 * console.log(shadow?.table.countLeaves()); // 1
 * vm.removeSlot(ram);
 * console.log(shadow?.table.countLeaves()); // 0
 * ```
 */
export class Shadow implements Disposable {
  /** The table, for reading. */
  readonly table: Stage2Table<Engine>;
  readonly #machine: VirtualMachine;
  #closed = false;

  /** @internal Use `addShadow`. */
  constructor(machine: VirtualMachine, table: Stage2Table<Engine>) {
    this.#machine = machine;
    this.table = table;
    check(machine.core.vmAddShadow(machine.pointer, table.handle), "addShadow");
  }

  /** Maps addresses of the shadow to memory of a slot. EINVAL where there is no slot. */
  map(mapping: ShadowMapping): void {
    const { ipa, gpa, size, write = true } = checkOptions("map", mapping, MAPPING);
    const { core, pointer } = this.#machine;
    const prot = K.PROT_R | (write ? K.PROT_W : 0);
    const status = core.vmMapShadow(pointer, this.table.handle, ipa, gpa, size, prot);
    if (status !== K.EAGAIN) check(status, "map"); // it is mapped so already
  }

  /** Unmaps addresses of the shadow, whole leaves of it. */
  unmap(ipa: number, size: number): void {
    if (!(size > 0)) throw invalid("unmap", `size is ${describe(size)}: more than 0 bytes`);
    check(this.#machine.core.vmDropShadow(this.#machine.pointer, this.table.handle, ipa, size), "unmap");
  }

  /** The guest's guest is gone: all of its table goes. Twice is harmless. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    check(this.#machine.core.vmDropShadow(this.#machine.pointer, this.table.handle, 0, 0), "close");
    this.table.close();
  }

  /** The same as `close`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function check(status: number, operation: string): number {
  if (status < 0) throw new GranuleError(status, { operation });
  return status;
}

/** `quirks` as the core takes it; EINVAL for any other name. */
function quirksOf(options: ReverseMapOptions | true): number {
  const { quirks } = options === true ? ({} as ReverseMapOptions) : checkOptions("createVm", options, MAPS);
  if (quirks !== undefined && quirks !== "rmap-2013") {
    throw invalid("createVm", `reverseMaps.quirks is ${describe(quirks)}: "rmap-2013", or leave it out`);
  }
  return quirks === undefined ? 0 : K.QUIRKS_2013;
}

/**
 * The reverse maps of a VM: which descriptors map a page of guest memory, in all tables. `vm.reverseMaps` has them if the VM was
 * made with `reverseMaps`.
 *
 * @example
 * ```ts
 * import { createVm } from "granule/vm";
 * using vm = createVm({ reverseMaps: true });
 * const ram = vm.addSlot({ gpa: 0, size: 2 << 20, backing: "4k" });
 * vm.reverseMaps?.addAlias({ gpa: 2 ** 30, of: 0, size: 2 << 20 });
 * for (const gpa of [0, 2 ** 30]) vm.run(1, { gpa, size: 4096, writes: 1 });
 * const [map] = vm.reverseMaps?.mappings(0) ?? [];
 * console.log(map?.form, map?.entries.length); // chain 2
 * vm.removeSlot(ram);
 * console.log(vm.reverseMaps?.stats().taken, vm.table.countLeaves()); // 2 0
 * ```
 */
export class ReverseMaps {
  readonly #machine: VirtualMachine;
  readonly #table: Stage2Table<Engine>;
  readonly #record: MapsView;

  /** @internal A VM makes its own. */
  constructor(machine: VirtualMachine, table: Stage2Table<Engine>, options: ReverseMapOptions | true) {
    this.#machine = machine;
    this.#table = table;
    check(machine.core.vmReverseMaps(machine.pointer, quirksOf(options)), "createVm");
    this.#record = new MapsView(table.engine.words, machine.core.vmMaps(machine.pointer) >>> 0);
  }

  /** Are there mappings at other addresses than the memory's own? What collects dirty state by address does not know them. */
  get hasOthers(): boolean {
    return this.#record.aliases > 0 || this.#record.tables > 1;
  }

  /**
   * Lets guest addresses lead to memory of a slot which has addresses of its own. It goes with the slot. EINVAL for addresses that
   * are not a multiple of 1 GiB apart or memory that is not in one slot, EEXIST over a slot or an alias, EBUSY after 64.
   */
  addAlias(options: AliasOptions): void {
    const { gpa, of, size } = checkOptions("addAlias", options, ALIAS);
    this.#refuseDbm("addAlias");
    check(this.#machine.core.vmAddAlias(this.#machine.pointer, gpa, of, size), "addAlias");
  }

  /** One more table that maps the same memory, at addresses of `ipaBits` bits. EBUSY after 15. */
  addShadow({ ipaBits = 40 }: { ipaBits?: number } = {}): Shadow {
    this.#refuseDbm("addShadow");
    const { granule, engine } = this.#table;
    return new Shadow(
      this.#machine,
      engine.createStage2({ granule, ipaBits, lpa2: (this.#table.format.flags & K.T_LPA2) !== 0 }),
    );
  }

  #refuseDbm(operation: string): void {
    if (this.#machine.strategy === K.LOG_DBM)
      throw invalid(operation, "dbm collects dirty state at the memory's own addresses alone");
  }

  /** What maps the page of a guest address, level by level; nothing where nothing does. EINVAL outside the slots. */
  mappings(gpa: number): ReverseMap[] {
    const { engine, granule } = this.#table;
    const { core, pointer } = this.#machine;
    const out = engine.borrowBuffer();
    const most = engine.bufferBytes / 4;
    const maps: ReverseMap[] = [];
    for (let level = K.FIRST_LEVEL; level <= K.LAST_LEVEL; level++) {
      const found = core.vmMappings(pointer, gpa, level, out, most);
      if (found < 0) engine.returnBuffer(out);
      check(found, "mappings");
      const n = Math.min(found & ~K.MAPPINGS_CHAIN, most);
      if (n === 0) continue;
      const words = engine.u32.subarray(out / 4, out / 4 + n).filter((p) => p !== K.SKIP);
      const entries = Array.from(words, (p) => this.#entry(p, levelShift(granule, 3)));
      maps.push({ level, form: found & K.MAPPINGS_CHAIN ? "chain" : "single", entries });
    }
    engine.returnBuffer(out);
    return maps;
  }

  #entry(p: number, pageShift: number): ReverseEntry {
    const { engine } = this.#table;
    const page = Math.floor(p / 2 ** pageShift) * 2 ** pageShift;
    return {
      page: engine.physBase + BigInt(page - engine.arenaPointer),
      index: (p - page) / 8,
      descriptor: engine.u64[p / 8] ?? 0n,
    };
  }

  /**
   * Frees tables that were unlinked while other threads might be in them. Until then their leaves have entries; `engine.reclaim` leaves
   * them alone. ETIMEDOUT if a thread makes no progress.
   */
  reclaim(): void {
    check(this.#machine.core.vmReclaim(this.#machine.pointer), "reclaim");
  }

  /** What happened. */
  stats(): ReverseMapStats {
    const { taken, batches, pendingFlushes, waits, abandoned, recycled } = this.#record;
    const entries = this.#machine.core.vmMapEntries(this.#machine.pointer) >>> 0;
    return { entries, taken, batches, pendingFlushes, waits, abandoned, recycled };
  }
}
