import { levelShift } from "../model/granule.js";
import type { Manifest, MarkerNote } from "../trace/index.js";
import type { HostMemory } from "../vm/host-memory.js";

/** Linux 6.13 and newer give a huge page for a write to the huge zero page. */
const HUGE_ZERO_WRITES_SINCE = 613;

/** What a VMM's start line says of transparent huge pages: the setting in brackets. */
const THP_SETTING = /\bthp=.*?\[(always|madvise|never)\]/;
/** What a test VMM writes about its largest area, without addresses. */
const UPPER_HALF = "madvise NOHUGEPAGE upper half";
const HUGETLBFS = /-mem-path \/dev\/hugepages/;

function versionOf(manifest: Manifest | undefined): number {
  return manifest ? manifest.version[0] * 100 + manifest.version[1] : HUGE_ZERO_WRITES_SINCE;
}

/** The host of a trace: its memory, and what markers and invalidations do to it. */
export class Host {
  readonly memory: HostMemory;
  readonly #pageSize: number;
  readonly #otherwise: { readonly hugetlb: number; readonly thp: boolean };
  readonly #fixed: boolean;
  readonly #largest: { hva: number; size: number } | undefined;

  constructor(
    memory: HostMemory,
    pageSize: number,
    otherwise: { readonly hugetlb: number; readonly thp: boolean },
    fixed: boolean,
    largest?: { hva: number; size: number },
  ) {
    this.#largest = largest;
    this.memory = memory;
    this.#pageSize = pageSize;
    this.#otherwise = otherwise;
    this.#fixed = fixed;
  }

  /** Applies what a marker says about the VMM's memory. */
  marker(note: MarkerNote): void {
    if (note.type === "vmm-start" && !this.#fixed) {
      // QEMU asks for huge pages for its guest's memory, so "madvise" is enough.
      const setting = THP_SETTING.exec(note.args)?.[1];
      if (setting !== undefined) this.memory.otherwise({ ...this.#otherwise, thp: setting !== "never" });
    } else if (note.type === "remark" && note.text === UPPER_HALF && this.#largest) {
      const { hva, size } = this.#largest;
      this.memory.define({ hva: hva + size / 2, size: size / 2, hugetlb: 0, thp: false, fresh: true });
    } else if (note.type === "fork") {
      this.memory.fork();
    } else if (note.type === "fork-gone") {
      this.memory.forkGone();
    } else if (note.type === "host-memory") {
      this.#call(note.call, note.how, note.hva, note.hva + note.len);
    }
  }

  #call(call: string, how: string, start: number, end: number): void {
    if (start > end || end > this.memory.end) return; // no VMM has memory there: the kernel refused the call
    if (call === "munmap") this.memory.unmap(start, end, false);
    else if (call === "munmap+mmap") this.memory.unmap(start, end, true);
    else if (call === "mprotect") this.memory.protect(start, end, how !== "RO");
    else if (how === "MADV_COLLAPSE" || how === "COLLAPSE") this.memory.collapse(start, end);
    else if (how === "DONTNEED" || how === "MADV_DONTNEED") this.memory.discard(start, end);
  }

  /**
   * An invalidation that no fault caused: the task shows what happened to the memory. In each case the host split the
   * huge pages that the range covers only in part.
   */
  invalidated(task: string, start: number, end: number): void {
    if (start > end || end > this.memory.end) return;
    if (task.startsWith("khugepaged")) this.memory.collapse(start, end);
    else {
      this.memory.splitPartly(start, end);
      if (task.startsWith("ksmd")) this.memory.share(start, end);
      else if (end - start === this.#pageSize) this.memory.replaced(start);
    }
  }
}

/** What a VM has to know of the host that a manifest describes. */
export function hostKind(manifest: Manifest | undefined): { splitsHugeZero: boolean } {
  return { splitsHugeZero: versionOf(manifest) < HUGE_ZERO_WRITES_SINCE };
}

/** The host that a manifest describes, as far as it does: `memory` gets its areas. */
export function describeHost(
  memory: HostMemory,
  manifest: Manifest | undefined,
  granule: number,
  backing: { hugetlb: number; thp: boolean } | undefined,
): Host {
  const block = 2 ** levelShift(granule, 2);
  const files = HUGETLBFS.test(manifest?.vmmCommand ?? "");
  const otherwise = backing ? { ...backing } : { hugetlb: files ? block : 0, thp: false };
  memory.otherwise(otherwise);
  for (const b of manifest?.backing ?? []) {
    if (b.hva + b.size > memory.end) continue;
    const hugetlb = b.kind === "hugetlb" ? b.pageSize : 0;
    memory.define({
      hva: b.hva,
      size: b.size,
      hugetlb,
      thp: b.kind === "anonymous" && b.hugePages === "advised",
      fresh: true,
    });
  }
  const largest = [...(manifest?.backing ?? [])].sort((a, b) => b.size - a.size)[0];
  return new Host(memory, granule, otherwise, backing !== undefined, largest);
}
