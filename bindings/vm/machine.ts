import { BYTES } from "../core/bytes.vm.generated.js";
import * as K from "../core/constants.generated.js";
import { type CoreSource, compile, fromBase64 } from "../core/core.js";
import { GranuleError } from "../core/errors.js";
import { put } from "../core/field.js";
import type { WasmModule } from "../core/platform.js";
import { instantiateVm, type VmCore } from "../core/vm-core.js";
import { AgentView, VmView } from "../core/vm-views.generated.js";
import { createMmu, type Mmu, stage2Registers } from "../mmu/index.js";
import { levelShift } from "../model/granule.js";
import type { Engine } from "../tables/engine.js";
import type { Stage2Table } from "../tables/stage2.js";
import { HostMemory } from "./host-memory.js";

/** KVM_MEM_LOG_DIRTY_PAGES. */
export const LOG_DIRTY: number = K.SLOT_LOG;
/** KVM_MEM_READONLY. */
export const READ_ONLY: number = K.SLOT_READ_ONLY;

/** A stretch of guest memory and its place in the VMM's address space: the argument of KVM_SET_USER_MEMORY_REGION. */
export interface SlotRequest {
  readonly slot: number;
  readonly flags: number;
  readonly gpa: number;
  /** Bytes; 0 deletes the slot. */
  readonly size: number;
  readonly hva: number;
}

/** A stretch [start, end) of the VMM's address space. */
export interface HostRange {
  readonly start: number;
  readonly end: number;
}

/** A stage-2 abort, decoded [FLT-2, FLT-20]. */
export interface Fault {
  readonly kind: "translation" | "access flag" | "permission" | "other";
  readonly level: number;
  readonly write: boolean;
  readonly exec: boolean;
  /** On the way to a table of the guest's stage 1 (S1PTW). */
  readonly walk?: boolean;
  /** Of a cache maintenance instruction (CM). */
  readonly cacheMaintenance?: boolean;
}

/** What a fault led to. */
export interface Service {
  /**
   * `map`, `relax`, `young`: an operation on the table. `mmio`: no memory there, the VMM emulates a device [FLT-6].
   * `beyond`: outside the VM's address space, an abort for the guest [FLT-5]. `refused`: the VMM gets an error. `abort`: the guest gets
   * a prefetch abort or a data abort [FLT-6, FLT-7]. `skip`: cache maintenance where there is no memory, nothing is done.
   */
  readonly kind: "map" | "relax" | "young" | "mmio" | "beyond" | "refused" | "abort" | "skip";
  readonly ipa: number;
  readonly size: number;
  readonly prot: number;
}

/** How a VM is made. */
export interface MachineOptions {
  readonly table: Stage2Table<Engine>;
  readonly ipaBits: number;
  /** A write to the huge zero page gives a small page (Linux before 6.13), not a huge one. Default false. */
  readonly splitsHugeZero?: boolean;
  /** The VM's module, in place of the inlined one. */
  readonly module?: CoreSource;
  /** Physical address of the guest's first byte. Default 2^ipaBits, or 0 where that would not fit. */
  readonly physBase?: number | undefined;
}

/** Operations that were done, by opcode and outcome. */
export interface OperationCount {
  readonly op: number;
  /** 0, or the errno; `undefined` for a rare one. */
  readonly status: number | undefined;
  readonly count: number;
}

const KINDS: Readonly<Record<Fault["kind"], number>> = {
  translation: K.FAULT_TRANSLATION,
  "access flag": K.FAULT_ACCESS,
  permission: K.FAULT_PERMISSION,
  other: K.FAULT_NONE,
};

const SERVICES: Readonly<Record<number, Service["kind"]>> = {
  [K.SERVICE_MAP]: "map",
  [K.SERVICE_RELAX]: "relax",
  [K.SERVICE_YOUNG]: "young",
  [K.SERVICE_MMIO]: "mmio",
  [K.SERVICE_BEYOND]: "beyond",
  [K.SERVICE_REFUSED]: "refused",
  [K.SERVICE_ABORT]: "abort",
  [K.SERVICE_SKIP]: "skip",
};

const OUTCOMES: readonly (number | undefined)[] = [
  K.OK,
  K.EAGAIN,
  K.ENOMEM,
  K.EINVAL,
  K.ERANGE,
  K.EFAULT,
  K.ETIMEDOUT,
  undefined,
];

let compiled: WasmModule | undefined;

/** The inlined module, compiled once. */
export function inlinedVm(): WasmModule {
  compiled ??= compile(fromBase64(BYTES), "createVm");
  return compiled;
}

/**
 * The memory of a VM: its slots, the faults of its vCPUs, and what the host does to the memory behind the slots. All of
 * it becomes operations on one stage-2 table. Faults are serviced as KVM does it [FLT-5..42], in the core.
 *
 * A physical address is the guest address plus 2^ipaBits, or the guest address itself where the sum would not fit. So
 * input and output are aligned alike, and no two slots share a page.
 */
export class VirtualMachine implements Disposable {
  /** The VMM's memory, which lies behind the slots. */
  readonly host: HostMemory;
  /** The module's exports, for those who want no facade. */
  readonly core: VmCore;
  /** The module, for instances in other threads. */
  readonly module: WasmModule;
  /** Pointer of the VM in the engine's memory; assembly/vm/state.ts draws it. */
  readonly pointer: number;
  readonly #engine: Engine;
  readonly #record: VmView;
  readonly #agent: AgentView;
  readonly #table: Stage2Table<Engine>;
  #mmu: Mmu | undefined;
  #closed = false;

  constructor({ table, ipaBits, splitsHugeZero = false, module = inlinedVm(), physBase }: MachineOptions) {
    const engine = table.engine;
    this.#engine = engine;
    this.#table = table;
    this.module = compile(module, "createVm");
    this.core = instantiateVm(this.module, engine.memory, engine.offset, engine.hosts);
    engine.check(this.core.vmAttach(engine.walker), "createVm");
    const base = physBase ?? (table.info().outputBits > ipaBits ? 2 ** ipaBits : 0);
    const flags = splitsHugeZero ? K.HOST_SPLITS_HUGE_ZERO : 0;
    const pointer = this.core.vmCreate(table.handle, ipaBits, base, flags, 0);
    if (pointer < 0 && pointer >= -K.MAX_ERRNO) throw new GranuleError(pointer, { operation: "createVm" });
    this.pointer = pointer >>> 0;
    this.#record = new VmView(engine.words, this.pointer);
    this.#agent = new AgentView(engine.words, this.core.vmAgent(this.pointer) >>> 0);
    this.host = new HostMemory(this.core, this.pointer, levelShift(table.granule, 2));
  }

  /** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: 0, 1 on, 3 with all pages dirty at first [DLG-6]. */
  set manualDirtyLog(mode: number) {
    this.#record.manualDirtyLog = mode;
  }

  /** How stores to pages that log are noticed; assembly/vm/state.ts says what each means. */
  setStrategy(strategy: "protect" | "dbm" | "ring" | "hdbss"): void {
    this.#record.strategy = { protect: K.LOG_PROTECT, dbm: K.LOG_DBM, ring: K.LOG_RING, hdbss: K.LOG_HDBSS }[strategy];
  }

  /** What was last set. */
  get strategy(): number {
    return this.#record.strategy;
  }

  /** KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE in bytes, 0 for off [DLG-30]. */
  set eagerSplit(bytes: number) {
    this.#record.eagerSplit = BigInt(bytes);
  }

  /** What eager splitting looks at: blocks, or pages too. */
  set splitWalk(walk: "blocks" | "pages") {
    this.#record.splitWalk = walk === "pages" ? K.LAST_LEVEL : 0;
  }

  /** Ranges that were write-protected, and pages that were marked as written. */
  get log(): { protects: number; marks: number } {
    return { protects: this.#record.protects, marks: this.#agent.marks };
  }

  /** The most slots that there were at one time. */
  get mostSlots(): number {
    return this.#record.mostSlots;
  }

  /** Is a guest address in a slot? */
  isMemory(gpa: number): boolean {
    return this.core.vmFindSlot(this.pointer, gpa) >= 0;
  }

  /** The VMM's address of a guest address; -1 outside the slots. */
  hostAddress(gpa: number): number {
    return this.core.vmHostAddress(this.pointer, gpa);
  }

  /** Services a fault of a vCPU [FLT-5, FLT-6]. */
  fault(ipa: number, { kind, level, write, exec, walk = false, cacheMaintenance = false }: Fault): Service {
    const what =
      KINDS[kind] |
      (write ? K.FAULT_WRITE : 0) |
      (exec ? K.FAULT_EXEC : 0) |
      (walk ? K.FAULT_WALK : 0) |
      (cacheMaintenance ? K.FAULT_CACHE : 0) |
      Number(put(BigInt(level - K.FIRST_LEVEL), K.FAULT_LEVEL));
    this.core.vmFault(this.pointer, ipa, what);
    const { kind: service, size, prot, ipa: at } = this.#agent;
    return { kind: SERVICES[service] as Service["kind"], ipa: Number(at), size: Number(size), prot };
  }

  /**
   * Does the hardware do this access by the table as it is? It sets the access flag and dirty state as its registers let it. No TLB
   * is between.
   */
  accesses(ipa: number, { write, exec }: Pick<Fault, "write" | "exec">): boolean {
    this.#mmu ??= createMmu({ engine: this.#engine, registers: stage2Registers(this.#table) });
    return this.#mmu.lookup(ipa, write ? K.A_WRITE : exec ? K.A_FETCH : K.A_READ) >= 0;
  }

  /** Level at which the table ends for a guest address, and whether a leaf is there. */
  look(ipa: number): { level: number; valid: boolean } | undefined {
    const found = this.core.vmLevel(this.pointer, ipa);
    return found < 0 ? undefined : { level: (found & 7) + K.FIRST_LEVEL, valid: (found & 8) !== 0 };
  }

  /** Creates, moves, changes or deletes a memory slot. A request that KVM would refuse changes nothing [DLG-1, DLG-2]. */
  setRegion({ slot, flags, gpa, size, hva }: SlotRequest): "done" | "refused" {
    return this.core.vmSetRegion(this.pointer, slot, flags, gpa, size, hva) < 0 ? "refused" : "done";
  }

  /** KVM_GET_DIRTY_LOG: pages written since they were last protected; `undefined` if logging is off [DLG-13..15]. */
  getDirtyLog(slot: number): number | undefined {
    const pages = this.core.vmGetDirtyLog(this.pointer, slot);
    return pages < 0 ? undefined : pages;
  }

  /** KVM_CLEAR_DIRTY_LOG of what is dirty in a range [DLG-16]. */
  clearDirtyLog(slot: number, firstPage: number, pages: number): void {
    this.core.vmClearDirtyLog(this.pointer, slot, firstPage, pages);
  }

  /** The dirty bitmap as it is, one bit a page in words of 64; `undefined` if logging is off [DLG-13]. */
  dirtyBitmap(slot: number): BigUint64Array | undefined {
    const pages = this.core.vmSlotPages(this.pointer, slot);
    if (pages < 0) return undefined;
    return this.#words(pages, (from, out, max) => this.core.vmDirtyWords(this.pointer, slot, from, out, max));
  }

  /** The bits that the last read or clear of a dirty log took out of it, for a slot of so many pages. */
  takenBitmap(pages: number): BigUint64Array {
    return this.#words(pages, (from, out, max) => this.core.vmTakenWords(this.pointer, from, out, max));
  }

  /** The words of a bitmap, which the core copies out buffer by buffer. */
  #words(pages: number, copy: (from: number, out: number, max: number) => number): BigUint64Array {
    const bitmap = new BigUint64Array(Math.ceil(pages / 64));
    const out = this.#engine.borrowBuffer();
    for (let i = 0, n = 1; i < bitmap.length && n > 0; i += n) {
      n = copy(i, out, this.#engine.bufferBytes / 8);
      bitmap.set(this.#engine.u64.subarray(out / 8, out / 8 + n), i);
    }
    this.#engine.returnBuffer(out);
    return bitmap;
  }

  /** The host is about to change [start, end) of the VMM's memory [NOT-1, NOT-6]. True if it lies in a slot. */
  invalidate(start: number, end: number): boolean {
    return this.core.vmInvalidate(this.pointer, start, end) > 0;
  }

  /**
   * The host begins to change [start, end): what the guest has there is unmapped, and faults there try again until
   * `endInvalidation` of the same range [NOT-1, NOT-4]. With `mayBlock` others get the table in between [NOT-7]. True if it lies in a slot.
   */
  beginInvalidation(start: number, end: number, mayBlock = true): boolean {
    const met = this.core.vmInvalidateBegin(this.pointer, start, end, mayBlock ? 1 : 0);
    this.#engine.check(met, "beginInvalidation");
    return met > 0;
  }

  /** The host has changed [start, end) [NOT-3]. EINVAL if nothing began. */
  endInvalidation(start: number, end: number): void {
    this.#engine.check(this.core.vmInvalidateEnd(this.pointer, start, end), "endInvalidation");
  }

  /** Only faults in the range that is being invalidated try again, as on x86; not set: all do, as on arm64 [NOT-5]. */
  set retryByRange(on: boolean) {
    this.#record.retryByRange = on ? 1 : 0;
  }

  /** Pages above which a range is flushed with the whole VMID; 0 for no limit [TLB-36]. */
  set flushLimit(pages: number) {
    this.#record.flushLimit = pages;
  }

  /** The VMID as KVM keeps it: generation and index; 0 for none yet [VMID-1]. */
  get vmid(): number {
    return Number(this.#record.vmid);
  }

  /** Changes with every change of the slots; bit 63 is set during one [NOT-32]. */
  get generation(): bigint {
    return this.#record.generation;
  }

  /** Unmaps a guest range. Gives the host ranges of the parts that lie in slots. */
  unmap(gpa: number, size: number): readonly HostRange[] {
    this.core.vmUnmap(this.pointer, gpa, size);
    return this.hostRanges(gpa, size);
  }

  /** The host ranges of a guest range, as far as it lies in slots. */
  hostRanges(gpa: number, size: number): readonly HostRange[] {
    const parts: HostRange[] = [];
    for (let i = 0; ; ) {
      i = this.core.vmHostPart(this.pointer, gpa, size, i);
      if (i === 0) return parts;
      const start = Number(this.#agent.ipa);
      parts.push({ start, end: start + Number(this.#agent.size) });
    }
  }

  /**
   * The host asks whether [start, end) was accessed; with `clear` it also clears the access flags [NOT-8]. Whether it lies in a
   * slot.
   */
  age(start: number, end: number, clear: boolean): boolean {
    return this.core.vmAge(this.pointer, start, end, clear ? 1 : 0) > 0;
  }

  /** The host replaced a page: the new one is mapped read-only, without memory for tables (before 6.10) [NOT-11]. */
  changePage(hva: number): boolean {
    return this.core.vmChangePage(this.pointer, hva) > 0;
  }

  /** The guest switched its caches on or off: without forced write-back, KVM cleans all of its memory. */
  cleanCaches(): void {
    this.core.vmCleanCaches(this.pointer);
  }

  /** Did the last `age` find an access flag? */
  get young(): boolean {
    return this.#agent.status === 1;
  }

  /** What was done to the table, and how it ended. */
  operations(): OperationCount[] {
    const counts: OperationCount[] = [];
    for (let op = 0; op < K.OPERATIONS; op++) {
      OUTCOMES.forEach((status, outcome) => {
        const count = this.#engine.u32[this.core.vmCounter(this.pointer, op, outcome) >>> 2] ?? 0;
        if (count > 0) counts.push({ op, status, count });
      });
    }
    return counts;
  }

  /** Gives back what the VM keeps; the table is the caller's. Twice is harmless. */
  close(): void {
    if (!this.#closed && !this.#engine.closed) {
      this.#mmu?.close();
      this.core.vmDestroy(this.pointer);
    }
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
