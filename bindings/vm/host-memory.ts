import * as K from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import type { VmCore } from "../core/vm-core.js";

/** Kind of memory of a stretch of the VMM's address space. */
export interface MemoryArea {
  /** First byte. */
  readonly hva: number;
  /** Bytes. */
  readonly size: number;
  /** Bytes of a hugetlb page; 0 for anonymous memory. */
  readonly hugetlb: number;
  /** Anonymous memory gets huge pages where a whole one fits. */
  readonly thp: boolean;
  /** The memory was untouched when the VM started; otherwise the VMM had filled it. */
  readonly fresh: boolean;
  /**
   * Registers of a device (a PFNMAP mapping), in mappings of `hugetlb` bytes or pages: Device memory for the guest, or `uncached`
   * Normal-NC; never executed, never logged [FLT-31, DLG-3]. Default: memory.
   */
  readonly device?: "device" | "uncached";
}

/** The page that the host provides for a fault. */
export interface HostPage {
  /** Bytes of the host's mapping. */
  readonly size: number;
  /** The size comes from hugetlb, not from a transparent huge page. */
  readonly hugetlb: boolean;
  /** The guest may store there without asking the host first. */
  readonly writable: boolean;
}

/**
 * The VMM's own memory, as a guest's fault sees it: assembly/vm/host.ts has the model. Ranges are [start, end) in bytes.
 *
 * @example
 * ```ts
 * import { createVm } from "granule/vm";
 * using vm = createVm();
 * vm.host.define({ hva: 2 ** 32, size: 2 << 20, hugetlb: 0, thp: true, fresh: true });
 * console.log(vm.host.touch(2 ** 32, false)?.writable, vm.host.touch(2 ** 32, true)?.writable); // false true
 * ```
 */
export class HostMemory {
  readonly #core: VmCore;
  readonly #vm: number;
  /** First address that is no address of the VMM's: 2^50 with 4K pages, more with larger ones. */
  readonly end: number;

  /** @internal A machine makes its own. */
  constructor(core: VmCore, vm: number, blockShift: number) {
    this.#core = core;
    this.#vm = vm;
    this.end = 2 ** (blockShift + K.KEY_BITS);
  }

  #check(status: number, operation: string): void {
    if (status < 0) throw new GranuleError(status, { operation });
  }

  #change(what: number, start: number, end: number, operation: string): void {
    this.#check(this.#core.hostChange(this.#vm, what, start, end), operation);
  }

  /** Sets the kind of a stretch; an earlier definition of it is dropped. */
  define({ hva, size, hugetlb, thp, fresh, device }: MemoryArea): void {
    const registers = device === undefined ? 0 : K.AREA_DEVICE | (device === "uncached" ? K.AREA_UNCACHED : 0);
    const flags = (thp ? K.AREA_THP : 0) | (fresh ? K.AREA_FRESH : 0) | registers;
    this.#check(this.#core.hostDefine(this.#vm, hva, hva + size, hugetlb, flags), "define");
  }

  /** The kind of memory that nobody described. */
  otherwise({ hugetlb, thp }: { readonly hugetlb: number; readonly thp: boolean }): void {
    this.#check(this.#core.hostOtherwise(this.#vm, hugetlb, thp ? 1 : 0), "otherwise");
  }

  /** The guest touches a byte and the host provides a page: `undefined` where there is no memory, or none that may be written. */
  touch(hva: number, write: boolean, exec = false): HostPage | undefined {
    const page = this.#core.hostTouch(this.#vm, hva, write ? 1 : 0, exec ? 1 : 0);
    if (page <= 0) return undefined;
    return {
      size: 2 ** (page & K.PAGE_SHIFT),
      hugetlb: (page & K.PAGE_HUGETLB) !== 0,
      writable: (page & K.PAGE_WRITABLE) !== 0,
    };
  }

  /** The pages are given back (MADV_DONTNEED, a balloon). A block that is empty again may become a huge page again. */
  discard(start: number, end: number): void {
    this.#change(K.HOST_DISCARD, start, end, "discard");
  }

  /** The VMM writes to all of it, as when it loads an image: what was untouched becomes memory of its own. */
  fill(start: number, end: number): void {
    this.#change(K.HOST_FILL, start, end, "fill");
  }

  /** KSM merged the pages: they are read-only until they are written. */
  share(start: number, end: number): void {
    this.#change(K.HOST_SHARE, start, end, "share");
  }

  /** Small pages become one huge page: khugepaged, MADV_COLLAPSE. */
  collapse(start: number, end: number): void {
    this.#change(K.HOST_COLLAPSE, start, end, "collapse");
  }

  /** Splits the huge pages that the range covers in part: the host cannot change a part of a huge page. */
  splitPartly(start: number, end: number): void {
    this.#change(K.HOST_SPLIT_PARTLY, start, end, "splitPartly");
  }

  /** One page was replaced, but not given back: the VMM wrote to a page that it could only read before. */
  replaced(hva: number): void {
    this.#change(K.HOST_REPLACED, hva, hva, "replaced");
  }

  /** mprotect: without PROT_WRITE, writes fail and reads map read-only. */
  protect(start: number, end: number, writable: boolean): void {
    this.#change(writable ? K.HOST_READ_WRITE : K.HOST_READ_ONLY, start, end, "protect");
  }

  /** munmap, and with `again` an mmap of ordinary memory in its place. */
  unmap(start: number, end: number, again: boolean): void {
    this.#change(again ? K.HOST_REMAP : K.HOST_UNMAP, start, end, "unmap");
  }

  /** fork: private memory is shared with the child until one of them writes to it. */
  fork(): void {
    this.#change(K.HOST_FORK, 0, 0, "fork");
  }

  /** The child has exited: a write no longer copies what was shared with it. */
  forkGone(): void {
    this.#change(K.HOST_FORK_GONE, 0, 0, "forkGone");
  }
}
