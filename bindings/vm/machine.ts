import * as K from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import { granuleShift, levelShift } from "../model/granule.js";
import { PageCache } from "../tables/cache.js";
import type { OperationQueue } from "../tables/queue.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { HostMemory } from "./host-memory.js";
import { type GuestRange, type HostRange, MemorySlots, READ_ONLY, type Slot, type SlotRequest } from "./slots.js";

/** A stage-2 abort, decoded [FLT-2, FLT-20]. */
export interface Fault {
  readonly kind: "translation" | "access flag" | "permission" | "other";
  readonly level: number;
  readonly write: boolean;
  readonly exec: boolean;
}

/** What a fault led to. */
export interface Service {
  /**
   * `map`, `relax`, `young`: an operation on the table. `mmio`: no memory there, the VMM emulates a device [FLT-6].
   * `beyond`: outside the VM's address space, an abort for the guest [FLT-5]. `refused`: the VMM gets an error.
   */
  readonly kind: "map" | "relax" | "young" | "mmio" | "beyond" | "refused";
  readonly ipa: number;
  readonly size: number;
  readonly prot: number;
}

/** How a VM is made. */
export interface MachineOptions {
  readonly table: Stage2Table;
  readonly queue: OperationQueue;
  readonly host: HostMemory;
  readonly ipaBits: number;
}

/** The purpose of an operation in the queue. */
export const Purpose = { FAULT: 1, HOST: 2, SLOT: 3, LOG: 4 } as const;

const MAX_VCPUS = 256;
const GIB = 2 ** 30;
/** A range of more chunks is split in one operation. */
const MAX_CHUNKS = 1 << 12;

/**
 * The memory of a VM: its slots, the faults of its vCPUs, and what the host does to the memory behind the slots. All of
 * it becomes operations on one stage-2 table. Faults are serviced as KVM does it [FLT-5..42].
 *
 * A physical address is the guest address plus 2^ipaBits, or the guest address itself where the sum would not fit. So
 * input and output are aligned alike, and no two slots share a page.
 */
export class VirtualMachine implements Disposable {
  readonly slots: MemorySlots;
  readonly #table: Stage2Table;
  readonly #queue: OperationQueue;
  readonly #host: HostMemory;
  readonly #granule: number;
  readonly #blockSize: number;
  readonly #limit: number;
  readonly #physBase: number;
  readonly #caches = new Map<number, PageCache>();
  /** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: 1 on, 2 initially set [DLG-6]. */
  manualDirtyLog = 0;
  /** KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, 0 for off [DLG-30]. */
  eagerSplit = 0;
  /** Ranges that were write-protected, and pages that were marked as written. */
  readonly log: { protects: number; marks: number } = { protects: 0, marks: 0 };

  constructor(options: MachineOptions) {
    const { table, queue, host, ipaBits } = options;
    this.#table = table;
    this.#queue = queue;
    this.#host = host;
    this.#granule = table.granule;
    this.#blockSize = 2 ** levelShift(table.granule, 2);
    this.#limit = 2 ** ipaBits;
    this.#physBase = table.info().outputBits > ipaBits ? 2 ** ipaBits : 0;
    this.slots = new MemorySlots(table.granule, this.#limit);
  }

  /** The cache of a vCPU. Beyond a number of vCPUs, the others take pages from the arena. */
  #cache(vcpu: number): number {
    let cache = this.#caches.get(vcpu);
    if (!cache) {
      if (this.#caches.size >= MAX_VCPUS) return K.CACHE_ARENA;
      cache = this.#newCache();
      if (!cache) return K.CACHE_ARENA;
      this.#caches.set(vcpu, cache);
    }
    return cache.handle;
  }

  /** Gives no cache when the arena is full: then the fault fails, and the replay continues. */
  #newCache(): PageCache | undefined {
    try {
      return new PageCache(this.#table.engine, granuleShift(this.#table.granule), K.CACHE_CAPACITY);
    } catch (error) {
      if (error instanceof GranuleError && error.errno === K.ENOMEM) return undefined;
      throw error;
    }
  }

  #push(
    op: number,
    purpose: number,
    addr: number,
    size: number,
    prot = 0,
    level = 0,
    cache: number = K.CACHE_NONE,
  ): void {
    const flags = op === K.OP_MAP ? K.HANDLE_FAULT | K.SUBMIT_TOP_UP : 0;
    const phys = op === K.OP_MAP ? this.#physBase + addr : 0;
    this.#queue.push(op, this.#table.handle, cache, addr, size, phys, prot, flags, level, purpose);
  }

  /** Services a fault of a vCPU [FLT-5, FLT-6]. */
  fault(vcpu: number, ipa: number, fault: Fault): Service {
    if (ipa >= this.#limit) return outcome("beyond", ipa);
    if (fault.kind === "other") return outcome("refused", ipa);
    const slot = this.slots.find(ipa);
    if (!slot || (fault.write && slot.flags & READ_ONLY)) return outcome("mmio", ipa);
    if (fault.kind === "access flag") {
      this.#push(K.OP_MKYOUNG, Purpose.FAULT, ipa, 0);
      return outcome("young", ipa);
    }
    return this.#memoryAbort(vcpu, slot, ipa, fault);
  }

  /** The host provides a page, and the fault maps it [FLT-20..39]. */
  #memoryAbort(vcpu: number, slot: Slot, ipa: number, fault: Fault): Service {
    const permission = fault.kind === "permission";
    if (permission && !fault.write && !fault.exec) return outcome("refused", ipa);
    const hva = slot.hva + (ipa - slot.gpa);
    const page = this.#host.touch(hva, fault.write, fault.exec);
    if (!page) return outcome("refused", ipa);
    const hardware = permission ? this.#entrySize(fault.level) : 0;
    const size = this.#size(slot, hva, page.size, page.hugetlb, hardware);
    const writable = page.writable && !(slot.flags & READ_ONLY) && (fault.write || !slot.dirty);
    const prot = K.PROT_R | (writable ? K.PROT_W : 0) | (fault.exec ? K.PROT_X : 0);
    const start = ipa - (ipa % size);
    if (permission && size === hardware) this.#push(K.OP_RELAX_PERMS, Purpose.FAULT, start, 0, prot);
    else this.#push(K.OP_MAP, Purpose.FAULT, start, size, prot, 0, this.#cache(vcpu));
    if (writable && slot.dirty) {
      slot.dirty.mark(Math.floor((ipa - slot.gpa) / this.#granule));
      this.log.marks++;
    }
    return { kind: permission && size === hardware ? "relax" : "map", ipa: start, size, prot };
  }

  #entrySize(level: number): number {
    return 2 ** levelShift(this.#granule, level);
  }

  /** Bytes to map [FLT-25, FLT-26, FLT-33]. `hardware`: size of the leaf of a permission fault, else 0. */
  #size(slot: Slot, hva: number, hostSize: number, hugetlb: boolean, hardware: number): number {
    const page = this.#granule;
    const block = this.#blockSize;
    if (slot.dirty) return page;
    if (hugetlb) {
      if (page === 4096 && hostSize >= GIB && this.#supportsHuge(slot, hva, GIB)) return GIB;
      return hostSize >= block && this.#supportsHuge(slot, hva, block) ? block : page;
    }
    if (hardware > page) return hardware;
    return hostSize >= block && this.#supportsHuge(slot, hva, block) ? block : page;
  }

  /** May a mapping of this size lie around a host address [FLT-27]? */
  #supportsHuge(slot: Slot, hva: number, size: number): boolean {
    if ((slot.gpa - slot.hva) % size !== 0) return false;
    const start = hva - (hva % size);
    return start >= slot.hva && start + size <= slot.hva + slot.size;
  }

  /** Changes a memory slot. */
  setRegion(request: SlotRequest): "done" | "refused" {
    const change = this.slots.set(request, this.manualDirtyLog === 3);
    const { kind, before, after } = change;
    if (kind === "refused") return "refused";
    if (before && (kind === "delete" || kind === "move")) this.#push(K.OP_UNMAP, Purpose.SLOT, before.gpa, before.size);
    if (after && kind === "create") this.#host.assume(after.hva, after.size);
    if (after?.dirty && !before?.dirty && this.manualDirtyLog !== 3) {
      this.#protect(after.gpa, after.size);
      this.#split(after.gpa, after.size);
    }
    return "done";
  }

  /** Removes write permission and flushes [DLG-10, TLB-26]. */
  #protect(gpa: number, size: number): void {
    this.log.protects++;
    this.#push(K.OP_WRPROTECT, Purpose.LOG, gpa, size);
    this.#push(K.OP_TLB_FLUSH_RANGE, Purpose.LOG, gpa, size);
  }

  /** Splits blocks chunk by chunk, if eager splitting is on [DLG-32]. */
  #split(gpa: number, size: number): void {
    if (this.eagerSplit === 0) return;
    const chunk = size / this.eagerSplit > MAX_CHUNKS ? size : this.eagerSplit;
    const end = gpa + size;
    for (let at = gpa; at < end; ) {
      const next = Math.min(at - (at % chunk) + chunk, end);
      this.#push(K.OP_SPLIT, Purpose.LOG, at, next - at, 0, 0, K.CACHE_ARENA);
      at = next;
    }
  }

  /** KVM_GET_DIRTY_LOG: pages written since they were last protected; `undefined` if logging is off [DLG-13..15]. */
  getDirtyLog(id: number): number | undefined {
    const slot = this.slots.get(id);
    if (!slot?.dirty) return undefined;
    const pages = slot.dirty.count();
    if (this.manualDirtyLog === 0) this.#clear(slot, 0, slot.dirty.pages);
    return pages;
  }

  /** KVM_CLEAR_DIRTY_LOG of what was dirty in a range [DLG-16]. */
  clearDirtyLog(id: number, firstPage: number, pages: number): void {
    const slot = this.slots.get(id);
    if (slot?.dirty) this.#clear(slot, firstPage, pages);
  }

  #clear(slot: Slot, firstPage: number, pages: number): void {
    slot.dirty?.clear(firstPage, pages, (first, n) => {
      const gpa = slot.gpa + first * this.#granule;
      this.#protect(gpa, n * this.#granule);
      if (this.manualDirtyLog === 3) this.#split(gpa, n * this.#granule);
    });
  }

  /** The host is about to change [start, end) of the VMM's memory [NOT-1, NOT-6]. True if it lies in a slot. */
  invalidate(start: number, end: number): boolean {
    const ranges = this.slots.ofHost(start, end);
    for (const { gpa, size } of ranges) this.#push(K.OP_UNMAP, Purpose.HOST, gpa, size);
    return ranges.length > 0;
  }

  /** Unmaps a guest range. Gives the host ranges of the parts that lie in slots. */
  unmap(gpa: number, size: number): readonly HostRange[] {
    this.#push(K.OP_UNMAP, Purpose.HOST, gpa, size);
    return this.slots.toHost(gpa, size);
  }

  /** The host asks whether [start, end) was accessed; with `clear` it also clears the access flags [NOT-8]. */
  age(start: number, end: number, clear: boolean): boolean {
    const ranges = this.slots.ofHost(start, end);
    for (const { gpa, size } of ranges) this.#push(K.OP_TEST_CLEAR_YOUNG, Purpose.HOST, gpa, size, 0, clear ? 1 : 0);
    return ranges.length > 0;
  }

  /** The host replaced a page: the new one is mapped read-only, without memory for tables (before 6.10) [NOT-11]. */
  changePage(hva: number): boolean {
    const ranges: readonly GuestRange[] = this.slots.ofHost(hva, hva + 1);
    for (const { gpa, size } of ranges) {
      this.#queue.push(
        K.OP_MAP,
        this.#table.handle,
        K.CACHE_NONE,
        gpa,
        size,
        this.#physBase + gpa,
        K.PROT_R,
        0,
        0,
        Purpose.HOST,
      );
    }
    return ranges.length > 0;
  }

  /** The guest switched its caches on or off: without forced write-back, KVM cleans all of its memory. */
  cleanCaches(): void {
    for (const { gpa, size } of this.slots.all) this.#push(K.OP_FLUSH, Purpose.FAULT, gpa, size);
  }

  /** Gives the vCPUs' caches back; the table is the caller's. */
  close(): void {
    for (const cache of this.#caches.values()) cache.close();
    this.#caches.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function outcome(kind: Service["kind"], ipa: number): Service {
  return { kind, ipa, size: 0, prot: 0 };
}
