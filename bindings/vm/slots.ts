import { DirtyBitmap } from "./bitmap.js";
import { countUpTo } from "./sorted.js";

/** KVM_MEM_LOG_DIRTY_PAGES. */
export const LOG_DIRTY = 1;
/** KVM_MEM_READONLY. */
export const READ_ONLY = 2;

/** KVM_USER_MEM_SLOTS of arm64. */
const MAX_SLOTS = 32767;

/** A stretch of guest memory and its place in the VMM's address space: the argument of KVM_SET_USER_MEMORY_REGION. */
export interface SlotRequest {
  readonly slot: number;
  readonly flags: number;
  readonly gpa: number;
  /** Bytes; 0 deletes the slot. */
  readonly size: number;
  readonly hva: number;
}

/** A memory slot in use. */
export interface Slot extends SlotRequest {
  /** Written pages, while the slot logs them [DLG-4]. */
  readonly dirty: DirtyBitmap | undefined;
}

/** What a request did [DLG-1]. */
export interface SlotChange {
  readonly kind: "create" | "delete" | "move" | "flags" | "none" | "refused";
  readonly before: Slot | undefined;
  readonly after: Slot | undefined;
}

/** A part of a slot, as a range of guest addresses. */
export interface GuestRange {
  readonly slot: Slot;
  readonly gpa: number;
  readonly size: number;
}

/** A stretch [start, end) of the VMM's address space. */
export interface HostRange {
  readonly start: number;
  readonly end: number;
}

const REFUSED: SlotChange = { kind: "refused", before: undefined, after: undefined };

const firstOf = (slot: Slot): number => slot.gpa;

/** The memory slots of a VM: guest addresses to host addresses and back. */
export class MemorySlots {
  readonly #granule: number;
  readonly #limit: number;
  readonly #byId = new Map<number, Slot>();
  /** In order of guest address. */
  readonly #sorted: Slot[] = [];
  #last: Slot | undefined;
  #most = 0;

  /** @param limit - first guest address that no slot may reach beyond */
  constructor(granule: number, limit: number) {
    this.#granule = granule;
    this.#limit = limit;
  }

  /** The largest number of slots that existed at one time. */
  get most(): number {
    return this.#most;
  }

  /** The slots in order of guest address. */
  get all(): readonly Slot[] {
    return this.#sorted;
  }

  /** Creates, moves, changes or deletes a slot. A request that KVM would refuse changes nothing [DLG-1, DLG-2]. */
  set(request: SlotRequest, initiallySet = false): SlotChange {
    const before = this.#byId.get(request.slot);
    if (request.size === 0) return before ? this.#replace("delete", before, undefined) : REFUSED;
    if (!this.#acceptable(request, before)) return REFUSED;
    const kind = changeOf(request, before);
    if (kind === "none") return { kind, before, after: before };
    const logs = (request.flags & (LOG_DIRTY | READ_ONLY)) === LOG_DIRTY;
    const pages = request.size / this.#granule;
    const dirty = logs
      ? ((kind === "move" ? before?.dirty : undefined) ?? new DirtyBitmap(pages, initiallySet))
      : undefined;
    const { slot, flags, gpa, size, hva } = request;
    return this.#replace(kind, before, { slot, flags, gpa, size, hva, dirty });
  }

  #acceptable(r: SlotRequest, before: Slot | undefined): boolean {
    const g = this.#granule;
    if (r.slot < 0 || r.slot >= MAX_SLOTS) return false;
    if (r.gpa % g || r.size % g || r.hva % g || r.gpa + r.size > this.#limit || r.size / g >= 2 ** 31) return false;
    if (before && (before.size !== r.size || before.hva !== r.hva || (before.flags ^ r.flags) & READ_ONLY))
      return false;
    // The slots do not overlap each other, so only the nearest ones can overlap a new one.
    const at = this.#position(r.gpa);
    const near = this.#sorted.slice(Math.max(0, at - 2), at + 2);
    return !near.some((s) => s !== before && s.gpa < r.gpa + r.size && r.gpa < s.gpa + s.size);
  }

  /** How many slots begin at or below an address. */
  #position(gpa: number): number {
    return countUpTo(this.#sorted, firstOf, gpa);
  }

  #replace(kind: SlotChange["kind"], before: Slot | undefined, after: Slot | undefined): SlotChange {
    if (before) this.#sorted.splice(this.#position(before.gpa) - 1, 1);
    if (after) {
      this.#byId.set(after.slot, after);
      this.#sorted.splice(this.#position(after.gpa), 0, after);
      this.#most = Math.max(this.#most, this.#sorted.length);
    } else if (before) this.#byId.delete(before.slot);
    this.#last = undefined;
    return { kind, before, after };
  }

  /** The slot with this number. */
  get(slot: number): Slot | undefined {
    return this.#byId.get(slot);
  }

  /** The slot that a guest address lies in. */
  find(gpa: number): Slot | undefined {
    const last = this.#last;
    if (last && gpa >= last.gpa && gpa - last.gpa < last.size) return last;
    const slot = this.#sorted[this.#position(gpa) - 1];
    if (!slot || gpa - slot.gpa >= slot.size) return undefined;
    this.#last = slot;
    return slot;
  }

  /** The parts of the guest range [gpa, gpa + size) that lie in slots, as host ranges. */
  toHost(gpa: number, size: number): HostRange[] {
    const found: HostRange[] = [];
    for (const slot of this.#sorted) {
      const from = Math.max(gpa, slot.gpa);
      const to = Math.min(gpa + size, slot.gpa + slot.size);
      if (from < to) found.push({ start: slot.hva + (from - slot.gpa), end: slot.hva + (to - slot.gpa) });
    }
    return found;
  }

  /** Guest ranges of the host range [start, end), in whole pages [NOT-2]. A host page may be in several slots. */
  ofHost(start: number, end: number): GuestRange[] {
    const found: GuestRange[] = [];
    const g = this.#granule;
    for (const slot of this.#sorted) {
      const from = Math.max(start, slot.hva);
      const to = Math.min(end, slot.hva + slot.size);
      if (from >= to) continue;
      const first = Math.floor((from - slot.hva) / g) * g;
      const last = Math.ceil((to - slot.hva) / g) * g;
      found.push({ slot, gpa: slot.gpa + first, size: last - first });
    }
    return found;
  }
}

function changeOf(r: SlotRequest, before: Slot | undefined): SlotChange["kind"] {
  if (!before) return "create";
  if (before.gpa !== r.gpa) return "move";
  return before.flags === r.flags ? "none" : "flags";
}
